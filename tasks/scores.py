"""From grades to scores: of a dimension, an answer, a question over its epochs, a benchmark over its questions.

Both harnesses and the readers of logs reduce with these functions. A missing value is None, never 0, and is counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from value_retention.tasks.languages import UNDETERMINED, is_english
from value_retention.tasks.record import AnswerRecord, GradeRecord, Status

T = TypeVar("T")

SHARES = ("unscored", "missing_grades")
"""Metrics that are not scores: the share of answers without a score, and of grades that are missing."""


def mean(values: Iterable[float]) -> float | None:
    """Arithmetic mean, or None without values."""
    numbers = list(values)
    return sum(numbers) / len(numbers) if numbers else None


def mean_of(values: Iterable[float | None]) -> float | None:
    """Mean of the values that are not None."""
    return mean(value for value in values if value is not None)


def _groups(items: Iterable[T], key: Callable[[T], object]) -> dict[object, list[T]]:
    groups: dict[object, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def dimension_scores(dimensions: Sequence[str], grades: Iterable[GradeRecord]) -> dict[str, float | None]:
    """Score of each dimension of one answer, in [0, 1], or None if no grade could be read.

    Grades are averaged over judges per variable set, then over variable sets. Missing grades are left out of both
    means, as upstream does.
    """
    grades = list(grades)
    single = {grade.dimension: grade.grade for grade in grades}
    if len(single) == len(grades):  # one judge and no variables, as in most records: the score is the grade
        return {name: single.get(name) for name in dimensions}
    by_dimension = _groups(grades, lambda grade: grade.dimension)
    scores: dict[str, float | None] = {}
    for name in dimensions:
        sets = _groups(by_dimension.get(name, []), lambda grade: tuple(sorted(grade.variables.items())))
        scores[name] = mean_of(mean_of(grade.grade for grade in group) for group in sets.values())
    return scores


def overall_score(scores: Mapping[str, float | None], weights: Mapping[str, float]) -> float | None:
    """Weighted mean of the dimensions that have a score, or None if none has."""
    known = [(score, weights[name]) for name, score in scores.items() if score is not None]
    return sum(s * w for s, w in known) / sum(w for _, w in known) if known else None


def derived(
    dimensions: Sequence[str], weights: Mapping[str, float], grades: Sequence[GradeRecord], judged: bool
) -> dict[str, Any]:
    """The fields of a record that follow from its grades: status, overall, dimension_scores, grades_missing.

    Args:
        dimensions: The item's dimensions.
        weights: Weight of each.
        grades: All grades of the answer.
        judged: Whether there is a judge. If not, the answer is saved to be judged later.
    """
    scores = dimension_scores(dimensions, grades)
    overall = overall_score(scores, weights)
    status: Status = "not_judged" if not judged else "unscored" if overall is None else "scored"
    return {
        "status": status,
        "overall": overall,
        "dimension_scores": scores,
        "grades_missing": sum(grade.outcome != "graded" for grade in grades),
    }


@dataclass(frozen=True)
class QuestionScores:
    """One question over its epochs. Scores are in [0, 1], or None if no epoch has one."""

    cluster: str
    language: str
    overall: float | None
    dimensions: dict[str, float | None]
    weights: dict[str, float]
    answers: int
    unscored: int
    grades_expected: int
    grades_missing: int


def question_scores(epochs: Sequence[AnswerRecord]) -> QuestionScores:
    """Reduce the epochs of one item to the mean of the epochs that have a score."""
    first = epochs[0]
    return QuestionScores(
        cluster=first.cluster,
        language=first.language,
        overall=mean_of(record.overall for record in epochs),
        dimensions={
            name: mean_of(record.dimension_scores[name] for record in epochs) for name in first.dimensions
        },
        weights=first.weights,
        answers=len(epochs),
        unscored=sum(record.status != "scored" for record in epochs),
        grades_expected=sum(record.grades_expected for record in epochs),
        grades_missing=sum(record.grades_missing for record in epochs),
    )


MetricValue = float | None | dict[str, float | None] | list[int]
"""One question's contribution to a metric: a score, the scores of its dimensions, or two counts."""


def metric_values(question: QuestionScores, weighted: bool) -> dict[str, MetricValue]:
    """One question's contribution to every metric of a benchmark, by metric name.

    Args:
        question: The question's scores.
        weighted: Whether the benchmark reports ``dimension_normalized_avg``.
    """
    english = is_english(question.language)
    values: dict[str, MetricValue] = {"overall_mean": question.overall}
    if weighted:
        values["dimension_normalized_avg"] = dict(question.dimensions)
    values["english_mean"] = question.overall if english else None
    other = not english and question.language != UNDETERMINED
    values["non_english_mean"] = question.overall if other else None
    values |= question.dimensions
    values["unscored"] = question.unscored / question.answers
    values["missing_grades"] = [question.grades_missing, question.grades_expected]
    return values


def aggregate_metric(name: str, values: Sequence[Any], weights: Mapping[str, float]) -> float | None:
    """A metric over questions, or None without values.

    Means are over the questions that have a score. ``dimension_normalized_avg`` is the weighted mean of the
    per-dimension means, ``missing_grades`` the share of expected grades that are missing.

    Args:
        name: Metric name, as in `metric_values`.
        values: One value per question; None if the question does not contribute.
        weights: Weight of every dimension.
    """
    if name == "missing_grades":
        missing, expected = (sum(column) for column in zip(*values, strict=True)) if values else (0, 0)
        return missing / expected if expected else None
    if name == "dimension_normalized_avg":
        names = dict.fromkeys(dim for question in values for dim in question)
        return overall_score(
            {dim: mean_of(question.get(dim) for question in values) for dim in names}, weights
        )
    return mean_of(values)


def metric_error(
    name: str, values: Sequence[Any], clusters: Sequence[str], weights: Mapping[str, float]
) -> float | None:
    """Cluster standard error of a metric that is a mean of scores (see `cluster.standard_error`).

    Args:
        name: Metric name, as in `metric_values`.
        values: One value per question, as in `aggregate_metric`.
        clusters: Cluster of each question.
        weights: Weight of every dimension.

    Returns:
        None for the shares of missing scores and grades, and for fewer than two clusters with a score.
    """
    if name in SHARES or not values:
        return None
    import numpy as np

    from value_retention.tasks.cluster import combine, standard_error, table_of

    if name == "dimension_normalized_avg":
        names = list(dict.fromkeys(dim for question in values for dim in question))
        rows = [[question.get(dim) for dim in names] for question in values]
        parts = table_of(clusters, np.array(rows, dtype=np.float64))
        table = combine(parts, np.array([weights[dim] for dim in names]))
    else:
        table = table_of(clusters, np.array([[value] for value in values], dtype=np.float64))
    error = float(standard_error(table)[0])
    return error if math.isfinite(error) else None


def benchmark_scores(questions: Sequence[QuestionScores], weighted: bool) -> dict[str, float | None]:
    """Every metric of a benchmark over its questions, by name.

    Args:
        questions: One per item.
        weighted: Whether the benchmark reports ``dimension_normalized_avg``.
    """
    weights = {name: weight for question in questions for name, weight in question.weights.items()}
    columns: dict[str, list[MetricValue]] = {}
    for question in questions:
        for name, value in metric_values(question, weighted).items():
            columns.setdefault(name, []).append(value)
    # Keeps the counts last even if a dimension first occurs in a later question.
    order = sorted(columns, key=lambda name: name in SHARES)
    return {name: aggregate_metric(name, columns[name], weights) for name in order}


def questions_of(records: Iterable[AnswerRecord]) -> list[QuestionScores]:
    """Records of one run of one benchmark, grouped by item."""
    groups = _groups(records, lambda record: record.item)
    return [question_scores(sorted(group, key=lambda r: r.epoch)) for group in groups.values()]
