"""Records from lm-eval's samples files, ``samples_<task>_<time>.jsonl``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from value_retention.tasks.check import checked
from value_retention.tasks.errors import InputError
from value_retention.tasks.record import AnswerRecord


def is_samples_file(path: Path) -> bool:
    """Whether the file is named like an lm-eval samples file."""
    return path.name.startswith("samples_") and path.suffix == ".jsonl"


def has_records(path: Path) -> bool:
    """Whether a samples file is of one of our tasks: its first sample holds a record."""
    with path.open("rb") as lines:
        return b'"{\\"benchmark\\"' in lines.readline()


def run_key(path: Path) -> str:
    """The time in the file's name. The files of one lm-eval run share it."""
    return path.stem.rpartition("_")[2]


def read_samples(path: Path) -> Iterator[AnswerRecord]:
    """Records of one samples file. The file of another task has none.

    Raises:
        InputError: invalid JSON (as in a truncated file), an unsupported schema, or an inconsistent record.
    """
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            where = f"{path}, line {number}"
            try:
                responses = json.loads(line.decode("utf-8"))["filtered_resps"]
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise InputError(
                    "cannot read the samples file",
                    where=where,
                    found=f"{type(error).__name__}: {error}",
                    expected="a complete file from lm_eval --log_samples",
                    hint="if the file was truncated, copy it again; otherwise run lm_eval again",
                ) from error
            for response in responses:
                for text in response if isinstance(response, list) else ():
                    if isinstance(text, str) and text.startswith('{"benchmark"'):
                        yield checked(AnswerRecord.from_json(text, where), where)
