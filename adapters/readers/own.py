"""Our records: in files of records, in lm-eval's samples, in the scores of Inspect logs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from value_retention.tasks.check import checked
from value_retention.tasks.errors import InputError
from value_retention.tasks.record import AnswerRecord

RECORD = "record"
"""Key of the record in the metadata of an Inspect score."""
CRITERIA = "criteria"
"""Key of the criteria's texts in the metadata of an Inspect task."""


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


def read_records(path: Path) -> Iterator[AnswerRecord]:
    """Records of a file with one record per line.

    Raises:
        InputError: invalid JSON or an inconsistent record. Names the line.
    """
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            where = f"{path}, line {number}"
            yield checked(AnswerRecord.from_json(line, where), where)


def read_samples(path: Path) -> Iterator[AnswerRecord]:
    """Records of one samples file, ``samples_<task>_<time>.jsonl``. The file of another task has none.

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


def record_in(scores: Any, where: str) -> AnswerRecord | None:
    """The record in the scores of an Inspect sample. None if they are another task's.

    Args:
        scores: Name to ``Score``.
        where: File and sample, for error messages.

    Raises:
        InputError: several records, an inconsistent one, or a score that was edited: its grades were not.
    """
    found = {name: s for name, s in (scores or {}).items() if (s.metadata or {}).get(RECORD) is not None}
    if len(found) > 1:
        raise InputError(
            "an answer has several scores",
            where=where,
            found=", ".join(found),
            expected="one score",
            hint="choose one: --score NAME",
        )
    for score in found.values():
        refuse_edited(score, where)
        return checked(AnswerRecord.from_dict(score.metadata[RECORD], where), where)
    return None


def edit_of(score: Any) -> str | None:
    """Who edited what an Inspect score rests on, and why: its value, or a part of the scorer's metadata. None if nobody
    did."""
    edits = [edit for edit in score.history if edit.provenance and _changes(edit, score.metadata or {})]
    if not edits:
        return None
    by = edits[-1].provenance
    return f"edited by {by.author}: {by.reason or 'no reason given'}"


def _changes(edit: Any, scored: dict[str, Any]) -> bool:
    given = edit.metadata if isinstance(edit.metadata, dict) else {}
    return edit.value != "UNCHANGED" or any(given.get(key, value) != value for key, value in scored.items())


def restore(score: Any) -> None:
    """Set answer, explanation and metadata of an Inspect score to what its scorer left: the judge was asked about that
    answer and gave that reply. `edit_score` keeps them first in the history. The value stays as edited."""
    if score.history and score.history[0].provenance is None:
        first = score.history[0]
        score.answer, score.explanation, score.metadata = first.answer, first.explanation, first.metadata


def refuse_edited(score: Any, where: str) -> None:
    """Refuse a score of many grades whose value was edited.

    Raises:
        InputError: it was.
    """
    if edit := edit_of(score):
        raise InputError(
            "a score was edited, and the grades that it comes from were not",
            where=where,
            found=edit,
            expected="scores as they were graded",
            hint="to leave the answer out, invalidate its sample (inspect_ai.log.invalidate_samples); to correct a "
            "judge, label its grades (`value-retention calibrate`)",
        )
