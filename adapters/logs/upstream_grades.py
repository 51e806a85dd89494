"""Grades of one answer in an upstream log: from the score's metadata, its means, or the judges' replies.

From ANIMA 6-C on every grade is in the score's metadata. Older logs, and MORU's in every version, hold a mean
per dimension: with one judge and one set of variables that is the grade. Otherwise the judges' replies are
read from the log's events and graded anew, and count only if they give the log's own means. Where there are no
events either, the mean itself is kept as one grade in [0, 1] of a judge whose name ends in `MEAN`: enough to
compare scores, refused where single grades are needed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from value_retention.tasks.benchmark import Item
from value_retention.tasks.errors import InputError
from value_retention.tasks.grading import dimension_scores, parse_grade
from value_retention.tasks.load import Dataset
from value_retention.tasks.record import MEAN, GradeRecord, JudgeInfo, text_hash, well_formed
from value_retention.tasks.rubric import Variables, guiding_question, judge_prompt, variable_sets

if TYPE_CHECKING:
    from inspect_ai.log import EvalSample
    from inspect_ai.scorer import Score

UNKNOWN = "unknown"
SELF = " (the evaluated model itself)"
"""Ends the name of a judge that nobody chose: upstream then lets the evaluated model judge itself."""
SAME = 1e-6
"""Scores closer than this are the same score."""

Key = tuple[str, Variables]
"""Dimension and the values of its placeholders: what one call of one judge is about."""


def logged_values(sample: EvalSample, item: Item, place: str) -> tuple[Score, dict[str, float]]:
    """The score of a sample, and the numbers in it: ``overall`` and dimensions, in [0, 1].

    One score with a dictionary, or one score per dimension; no numbers where nothing could be graded.

    Raises:
        InputError: one number for everything.
    """
    scores = sample.scores or {}
    for score in scores.values():
        if isinstance(score.value, Mapping):
            return score, {name: float(v) for name, v in score.value.items() if _is_number(v)}  # type: ignore[arg-type]
    single = {name: score for name, score in scores.items() if name in (*item.dimensions, "overall")}
    if any(name in single for name in item.dimensions):
        first = next(iter(single.values()))
        return first, {name: s.as_float() for name, s in single.items() if _is_number(s.value)}
    score = next(iter(scores.values()))
    if isinstance(score.value, float) and math.isnan(score.value):
        return score, {}
    raise InputError(
        "an upstream log that holds overall scores only",
        where=place,
        found=f"{', '.join(scores)} = {score.value!r}",
        expected="a score per dimension",
        hint="score its answers again: inspect score LOG, or run the eval with a version that logs dimensions",
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def same_score(score: float | None, logged: float | None) -> bool:
    """Whether a score is the one that the log holds; both may be missing."""
    if score is None or logged is None:
        return score is logged
    return abs(score - logged) < SAME


def _keys(item: Item, dataset: Dataset) -> list[Key] | None:
    """The calls of one judge; None where the log does not define a dimension."""
    if any(name not in dataset.dimensions for name in item.dimensions):
        return None
    return [
        (name, variables)
        for name in item.dimensions
        for variables in variable_sets(dataset.dimensions[name], item)
    ]


def needs_replies(
    score: Score, values: Mapping[str, float], item: Item, dataset: Dataset, judges: Sequence[JudgeInfo]
) -> bool:
    """Whether the score alone leaves single grades open."""
    keys = _keys(item, dataset)
    one_each = len(judges) == 1 and keys is not None and len(keys) == len(item.dimensions)
    return bool(values) and not (score.metadata or {}).get("dimension_grades") and not one_each


def logged_grades(
    sample: EvalSample,
    score: Score,
    values: Mapping[str, float],
    item: Item,
    dataset: Dataset,
    judges: Sequence[JudgeInfo],
) -> list[GradeRecord]:
    """The grades of one answer, from the best that the log holds.

    Args:
        sample: With its events, if the score needs them (`needs_replies`).
        score: The sample's score.
        values: The numbers in it.
        item: The question, its dimensions and variables.
        dataset: Dimensions as far as the log defines them.
        judges: The panel.
    """
    listed = (score.metadata or {}).get("dimension_grades")
    if isinstance(listed, Mapping) and listed:
        return list(_listed(listed, item, judges))
    keys = _keys(item, dataset) or [(name, ()) for name in item.dimensions]
    if not values:
        return [_grade(key, judge.name, None) for key in keys for judge in judges]
    if not needs_replies(score, values, item, dataset, judges):
        return [_grade(key, judges[0].name, values.get(key[0])) for key in keys]
    replied = _replied(sample, keys, dataset, judges)
    for grades in (replied, [_as_fail(grade) for grade in replied]):
        scores = dimension_scores(item.dimensions, grades)
        if grades and all(same_score(scores[name], values.get(name)) for name in item.dimensions):
            return grades
    mean = " and ".join(judge.name for judge in judges) + MEAN
    return [_grade((name, ()), mean, values.get(name)) for name in item.dimensions]


def _grade(key: Key, judge: str, grade: float | None, reply: str | None = None) -> GradeRecord:
    outcome: Any = "unparsed" if grade is None else "graded"
    return GradeRecord(key[0], dict(key[1]), judge, outcome, grade, reply, UNKNOWN)


def _as_fail(grade: GradeRecord) -> GradeRecord:
    """An unreadable reply as an Inspect before 0.3.245 counted it: a fail."""
    return replace(grade, outcome="graded", grade=0.0) if grade.grade is None else grade


def _listed(listed: Mapping[str, Any], item: Item, judges: Sequence[JudgeInfo]) -> Iterator[GradeRecord]:
    """Grades from the metadata: per dimension and variable set, by ``NAME_INDEX`` of the grader."""
    for name in item.dimensions:
        for entry in listed.get(name, ()):
            key = (name, tuple((str(k), str(v)) for k, v in entry["variables"].items()))
            by_index = {label.rpartition("_")[2]: grade for label, grade in entry["by_grader"].items()}
            for index, judge in enumerate(judges):
                yield _grade(key, judge.name, by_index.get(str(index)))


def _replied(
    sample: EvalSample, keys: Sequence[Key], dataset: Dataset, judges: Sequence[JudgeInfo]
) -> list[GradeRecord]:
    """Grades from the judges' replies in the events; none unless there is a reply to every call."""
    replies: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for event in sample.events:
        if event.event == "model" and event.input and event.output.choices and not event.error:
            prompt = event.input[-1].text
            # What was asked about stands behind the answer, which may hold anything.
            about = prompt.rpartition("[Criterion]: ")[2].partition("\n***\n[Observable indicators]")[0]
            replies.setdefault((about, event.model), []).append((prompt, event.output.completion))
    grades = []
    for name, variables in keys:
        if name not in dataset.dimensions:
            return []
        guiding = guiding_question(dataset.dimensions[name], variables)
        about = f"{name}\n***\n[Guiding question for that dimension]: {guiding}"
        for judge in judges:
            found = replies.get((about, judge.name.removesuffix(SELF)))
            if not found:
                return []
            # A judge that is in the panel twice has two replies.
            prompt, reply = found.pop(0) if len(found) > 1 else found[0]
            grade = _grade((name, variables), judge.name, parse_grade(reply), well_formed(reply))
            grades.append(replace(grade, prompt_hash=text_hash(prompt)))
    return grades


def with_prompt(grade: GradeRecord, item: Item, answer: str, dataset: Dataset) -> GradeRecord:
    """The grade with the hash of the judge's prompt, rendered anew where it was not read from the log."""
    variables = tuple(grade.variables.items())
    dimension = dataset.dimensions.get(grade.dimension)
    if grade.prompt_hash != UNKNOWN or dimension is None or variables not in variable_sets(dimension, item):
        return grade
    prompt = judge_prompt(dataset, item, dimension, variables, answer)
    return replace(grade, prompt_hash=text_hash(prompt))
