"""Whether a record that was read holds together: its scores follow from its grades, its hash from its answer.

A record that was edited by hand, or mixed from two, would else be compared as if it had been measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from value_retention.tasks.errors import InputError
from value_retention.tasks.grading import VALUES, dimension_scores, overall_score
from value_retention.tasks.record import MEAN, AnswerRecord, GradeRecord, text_hash

TOLERANCE = 1e-9
_GRADES = tuple(VALUES.values())


def checked(record: AnswerRecord, where: str) -> AnswerRecord:
    """The record, if it holds together.

    Args:
        record: As it was read.
        where: File and line, for the error message.

    Raises:
        InputError: naming the item, what is there and what should be.
    """
    where = f"{where}, item {record.item} epoch {record.epoch}"
    try:
        _check(record, where)
    except (TypeError, KeyError, AttributeError, ZeroDivisionError) as error:
        raise InputError(
            "a record with values that are not the schema's",
            where=where,
            found=f"{type(error).__name__}: {error}",
            expected="texts, numbers and weights as value-retention writes them",
        ) from error
    return record


def _check(record: AnswerRecord, where: str) -> None:
    if (digest := text_hash(record.answer)) != record.answer_hash:
        raise InputError(
            "an answer that is not the one that was judged",
            where=where,
            found=f"a text of hash {digest[:12]}",
            expected=f"answer_hash {record.answer_hash[:12]}",
            hint="take the record from where it was written, unedited",
        )
    single: dict[str, float | None] = {}
    for grade in record.grades:
        value = single[grade.dimension] = grade.grade
        if (value is None) == (grade.outcome == "graded") or (value is not None and value not in _GRADES):
            _check_mean(grade, where)
    if len(single) == len(record.grades):  # one judge, no variables: a score is a grade, and reading is quick
        scores = {name: single.get(name) for name in record.dimensions}
    else:
        scores = dimension_scores(record.dimensions, record.grades)
    _check_scores(record.dimension_scores, scores, where)
    overall = overall_score(scores, record.weights)
    _check_scores({"overall": record.overall}, {"overall": overall}, where)


def _check_mean(grade: GradeRecord, where: str) -> None:
    """Refuse the grade, unless it is a mean of several and may lie between them."""
    value = grade.grade
    if value is not None and grade.outcome == "graded" and grade.judge.endswith(MEAN) and 0 <= value <= 1:
        return
    raise InputError(
        "a grade that no judge can give",
        where=f"{where}, dimension {grade.dimension}, judge {grade.judge}",
        found=f"{value!r}, outcome {grade.outcome}",
        expected=" or ".join(map(str, _GRADES)) + " where the outcome is graded, else none",
    )


def _check_scores(found: Mapping[str, Any], expected: Mapping[str, float | None], where: str) -> None:
    """Compare scores by name; a NaN equals nothing."""
    if found == expected:
        return
    if set(found) != set(expected):
        raise InputError(
            "scores of other dimensions than the record's",
            where=where,
            found=", ".join(found),
            expected=", ".join(expected),
        )
    for name, right in expected.items():
        value = found[name]
        if value is right or (value is not None and right is not None and abs(value - right) <= TOLERANCE):
            continue
        raise InputError(
            "a score that does not follow from the grades",
            where=where,
            found=f"{name} {value!r}",
            expected=f"{name} {right!r}",
            hint="take the record from where it was written, unedited, or judge it again",
        )
