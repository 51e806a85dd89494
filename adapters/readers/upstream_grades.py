"""Grades of one answer in an upstream log: from the score's metadata, its means, or the judges' replies.

From ANIMA 6-C on, the score's metadata holds every grade. Older logs, and all of MORU's, hold a mean per dimension.
With one judge and one set of variables, the mean is the grade. Otherwise the judges' replies in the log's events are
graded again, and used only if they give the log's means. Of these, replies that the token limit cut are then no grades.
Without events, the mean is kept as one grade in [0, 1] of a judge whose name ends in `MEAN`: enough to compare scores,
refused where single grades are needed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from value_retention.tasks.data import Dataset, Item
from value_retention.tasks.errors import InputError
from value_retention.tasks.grading import read_reply
from value_retention.tasks.prompts import (
    Criterion,
    criteria_of,
    criterion_text,
    guiding_question,
    judge_prompt,
    variable_sets,
)
from value_retention.tasks.record import (
    MEAN,
    UNKNOWN,
    GradeRecord,
    JudgeInfo,
    Outcome,
    criterion_hash,
    text_hash,
    well_formed,
)
from value_retention.tasks.scale import CORRECT, parse_grade
from value_retention.tasks.scores import dimension_scores

if TYPE_CHECKING:
    from inspect_ai.log import EvalSample
    from inspect_ai.model import ModelOutput
    from inspect_ai.scorer import Score

SELF = " (the evaluated model itself)"
"""Suffix of the judge's name if no judge was chosen: upstream then lets the evaluated model judge itself."""
SAME = 1e-6
"""Scores closer than this are equal."""


def logged_values(sample: EvalSample, item: Item, place: str) -> tuple[Score, dict[str, float]]:
    """The score of a sample and its numbers: ``overall`` and dimensions, in [0, 1].

    The log has one score with a dictionary, or one score per dimension. Without a readable grade there are no numbers.

    Raises:
        InputError: the log has overall scores only.
    """
    scores = sample.scores or {}
    several = [name for name, score in scores.items() if isinstance(score.value, Mapping)]
    if len(several) > 1:
        raise InputError(
            "an answer has several scores",
            where=place,
            found=", ".join(several),
            expected="one score",
            hint="choose one: --score NAME",
        )
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
        "the upstream log has overall scores only",
        where=place,
        found=f"{', '.join(scores)} = {score.value!r}",
        expected="a score per dimension",
        hint="score its answers again: inspect score LOG, or run the eval with a version that logs dimensions",
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def same_score(score: float | None, logged: float | None) -> bool:
    """Whether a score equals the log's. Both may be missing."""
    if score is None or logged is None:
        return score is logged
    return abs(score - logged) < SAME


def _keys(item: Item, dataset: Dataset) -> list[Criterion] | None:
    """The calls of one judge, or None if the log does not define a dimension."""
    if any(name not in dataset.dimensions for name in item.dimensions):
        return None
    return criteria_of(dataset, item)


def needs_replies(
    score: Score, values: Mapping[str, float], item: Item, dataset: Dataset, judges: Sequence[JudgeInfo]
) -> bool:
    """Whether single grades cannot be derived from the score alone."""
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
    """The grades of one answer, from the best source in the log.

    Args:
        sample: With its events, if the score needs them (`needs_replies`).
        score: The sample's score.
        values: The numbers of the score.
        item: The question, its dimensions and variables.
        dataset: The dimensions that the log defines.
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
            return [_read_here(grade) for grade in grades]
    mean = " and ".join(judge.name for judge in judges) + MEAN
    return [_grade((name, ()), mean, values.get(name)) for name in item.dimensions]


def _grade(key: Criterion, judge: str, grade: float | None, reply: str | None = None) -> GradeRecord:
    outcome: Outcome = "unparsed" if grade is None else "graded"
    raw = CORRECT.grade_of(grade)
    return GradeRecord(
        key[0], dict(key[1]), judge, outcome, grade, reply, UNKNOWN, raw=raw, scale=CORRECT.name
    )


def _as_fail(grade: GradeRecord) -> GradeRecord:
    """An unreadable reply as a fail, as Inspect before 0.3.245 counted it."""
    return replace(grade, outcome="graded", grade=0.0, raw="I") if grade.grade is None else grade


def _read_here(grade: GradeRecord) -> GradeRecord:
    """The grade as we read its reply, where the token limit cut it or only the judge's reasoning names a grade."""
    outcome, raw, value = read_reply(grade.rationale, grade.stop_reason, CORRECT)
    if outcome == "cut" or (value is None and _upstream_reads(grade)):
        return replace(grade, outcome=outcome, grade=value, raw=raw)
    return grade


def _upstream_reads(grade: GradeRecord) -> bool:
    return parse_grade(grade.rationale or "") is not None


def is_refused(grade: GradeRecord) -> bool:
    """Whether upstream may count a grade in the reply where we do not."""
    return grade.outcome == "cut" or (grade.grade is None and _upstream_reads(grade))


def _listed(listed: Mapping[str, Any], item: Item, judges: Sequence[JudgeInfo]) -> Iterator[GradeRecord]:
    """Grades from the metadata, per dimension and variable set, under the grader's ``NAME_INDEX``."""
    for name in item.dimensions:
        for entry in listed.get(name, ()):
            key = (name, tuple((str(k), str(v)) for k, v in entry["variables"].items()))
            by_index = {label.rpartition("_")[2]: grade for label, grade in entry["by_grader"].items()}
            for index, judge in enumerate(judges):
                yield _grade(key, judge.name, by_index.get(str(index)))


def _replied(
    sample: EvalSample, keys: Sequence[Criterion], dataset: Dataset, judges: Sequence[JudgeInfo]
) -> list[GradeRecord]:
    """Grades from the judges' replies in the events. Empty unless every call has a reply."""
    replies: dict[tuple[str, str], list[tuple[str, ModelOutput]]] = {}
    for event in sample.events:
        if event.event == "model" and event.input and event.output.choices and not event.error:
            prompt = event.input[-1].text
            # The criterion follows the answer, and the answer may hold anything: search from the end.
            about = prompt.rpartition("[Criterion]: ")[2].partition("\n***\n[Observable indicators]")[0]
            replies.setdefault((about, event.model), []).append((prompt, event.output))
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
            # A judge that occurs twice in the panel has two replies.
            prompt, output = found.pop(0) if len(found) > 1 else found[0]
            reply = output.completion
            grade = _grade((name, variables), judge.name, parse_grade(reply), well_formed(reply))
            grades.append(
                replace(
                    grade,
                    prompt_hash=text_hash(prompt),
                    stop_reason=output.stop_reason,
                    served={"model": output.model} if output.model else None,
                )
            )
    return grades


def with_criterion(
    grade: GradeRecord, item: Item, answer: str, dataset: Dataset, known_prompt: bool
) -> GradeRecord:
    """The grade with its criterion, and with the hash of a known judge prompt, if the log does not hold the prompt."""
    variables = tuple(grade.variables.items())
    dimension = dataset.dimensions.get(grade.dimension)
    if dimension is None or variables not in variable_sets(dimension, item):
        return grade
    grade = replace(grade, criterion=criterion_hash(criterion_text(item, dimension, variables)))
    if grade.prompt_hash != UNKNOWN or not known_prompt:
        return grade
    return replace(grade, prompt_hash=text_hash(judge_prompt(dataset, item, dimension, variables, answer)))
