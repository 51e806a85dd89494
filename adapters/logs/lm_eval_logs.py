"""Records out of what lm-eval wrote: ``samples_<task>_<time>.jsonl``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from value_retention.tasks.check import checked
from value_retention.tasks.errors import InputError
from value_retention.tasks.record import AnswerRecord


def is_samples_file(path: Path) -> bool:
    """Whether the name is that of an lm-eval samples file."""
    return path.name.startswith("samples_") and path.suffix == ".jsonl"


def run_key(path: Path) -> str:
    """The time in the name: the files of one lm-eval run share it."""
    return path.stem.rpartition("_")[2]


def read_samples(path: Path) -> Iterator[AnswerRecord]:
    """Records of one samples file. A task that is not ours has none.

    Raises:
        InputError: a line that is no JSON (a truncated file), a record of another schema, or one that does not
            hold together.
    """
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            where = f"{path}, line {number}"
            try:
                responses = json.loads(line.decode("utf-8"))["filtered_resps"]
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise InputError(
                    "a samples file that cannot be read",
                    where=where,
                    found=f"{type(error).__name__}: {error}",
                    expected="what lm_eval --log_samples writes, whole",
                    hint="run lm_eval again, or copy the file anew if it was cut off",
                ) from error
            for response in responses:
                for text in response if isinstance(response, list) else ():
                    if isinstance(text, str) and text.startswith('{"benchmark"'):
                        yield checked(AnswerRecord.from_json(text, where), where)
