"""Consistency of a record that was read: its scores follow from its grades, its hash from its answer.

Without this check, a record that was edited by hand or mixed from two would pass for a measurement.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from value_retention.tasks import upstream
from value_retention.tasks.errors import InputError
from value_retention.tasks.grading import VALUES, dimension_scores, overall_score
from value_retention.tasks.record import MEAN, AnswerRecord, GradeRecord, text_hash

TOLERANCE = 1e-9
_GRADES = tuple(VALUES.values())


def checked(record: AnswerRecord, where: str) -> AnswerRecord:
    """Check a record, and give its parser the present name.

    Args:
        record: As it was read.
        where: File and line, for the error message.

    Returns:
        The record. Only ``parser`` may differ: older records name it by Inspect's version.

    Raises:
        InputError: the record contradicts itself. Names the item, the value found and the value expected.
    """
    where = f"{where}, item {record.item} epoch {record.epoch}"
    try:
        _check(record, where)
        parser = upstream.current_parser(record.parser)
    except (TypeError, KeyError, AttributeError, ZeroDivisionError) as error:
        raise InputError(
            "invalid value in a record",
            where=where,
            found=f"{type(error).__name__}: {error}",
            expected="a record as value-retention writes it",
        ) from error
    return record if parser == record.parser else replace(record, parser=parser)


def _check(record: AnswerRecord, where: str) -> None:
    if (digest := text_hash(record.answer)) != record.answer_hash:
        raise InputError(
            "the answer has changed since it was judged",
            where=where,
            found=f"a text with hash {digest[:12]}",
            expected=f"answer_hash {record.answer_hash[:12]}",
            hint="use the original, unedited file",
        )
    single: dict[str, float | None] = {}
    for grade in record.grades:
        value = single[grade.dimension] = grade.grade
        if (value is None) == (grade.outcome == "graded") or (value is not None and value not in _GRADES):
            _check_mean(grade, where)
    if len(single) == len(record.grades):  # one judge, no variables: each score is a grade (fast path)
        scores = {name: single.get(name) for name in record.dimensions}
    else:
        scores = dimension_scores(record.dimensions, record.grades)
    _check_scores(record.dimension_scores, scores, where)
    overall = overall_score(scores, record.weights)
    _check_scores({"overall": record.overall}, {"overall": overall}, where)


def _check_mean(grade: GradeRecord, where: str) -> None:
    """Refuse a grade that is not 0 or 1, unless it is a mean of several."""
    value = grade.grade
    if value is not None and grade.outcome == "graded" and grade.judge.endswith(MEAN) and 0 <= value <= 1:
        return
    raise InputError(
        "invalid grade",
        where=f"{where}, dimension {grade.dimension}, judge {grade.judge}",
        found=f"{value!r}, outcome {grade.outcome}",
        expected=" or ".join(map(str, _GRADES)) + " if the outcome is 'graded', otherwise None",
    )


def _check_scores(found: Mapping[str, Any], expected: Mapping[str, float | None], where: str) -> None:
    """Compare scores by name. A NaN equals nothing."""
    if found == expected:
        return
    if set(found) != set(expected):
        raise InputError(
            "the scores and the dimensions of a record do not match",
            where=where,
            found=", ".join(found),
            expected=", ".join(expected),
        )
    for name, right in expected.items():
        value = found[name]
        if value is right or (value is not None and right is not None and abs(value - right) <= TOLERANCE):
            continue
        raise InputError(
            "a score does not follow from the grades",
            where=where,
            found=f"{name} {value!r}",
            expected=f"{name} {right!r}",
            hint="use the original, unedited file, or judge the answer again",
        )
