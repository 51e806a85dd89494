"""Scores by part of a panel: each judge alone, and the panel without each judge in turn.

A score that changes when one judge is left out depends on that judge. `tasks.scores` computes the scores from
the grades of the remaining judges.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from value_retention.analysis.judges.raters import SharedGrades
from value_retention.analysis.stats.cluster import MIN_CLUSTERS, t_interval
from value_retention.analysis.stats.inter_rater import (
    ALL_FAIL,
    ALL_PASS,
    FEW,
    NO_SPREAD,
    NOT_SHARED,
    PAIR_ONLY,
    ROUNDING,
)
from value_retention.analysis.stats.proportion import score_interval
from value_retention.tasks.cluster import Floats, cluster_table
from value_retention.tasks.languages import is_english
from value_retention.tasks.record import AnswerRecord, GradeRecord
from value_retention.tasks.scores import derived, question_scores

GROUPS = ("overall", "English", "non-English")
NO_SCORE = "no question has a score"
CONSTANT = "every cluster has the same value: no interval"

SHORT = {
    NOT_SHARED: "none shared",
    FEW: f"< {MIN_CLUSTERS} clusters",
    PAIR_ONLY: "two judges only",
    NO_SPREAD: "no spread",
    ALL_PASS: "all pass",
    ALL_FAIL: "all fail",
    NO_SCORE: "no score",
    CONSTANT: "no spread",
}


def short_reason(reason: str) -> str:
    """Return the text of a cell for a missing value or interval."""
    return SHORT.get(reason, "unstable")


@dataclass(frozen=True)
class Score:
    """Mean score over questions, in [0, 1], with its Wilson interval; or a change of it, with a cluster t interval.

    Attributes:
        value: The mean; None if no question has a score.
        low: Lower end.
        high: Upper end.
        se: Cluster-robust standard error.
        questions: Questions with a score.
        clusters: Their clusters.
        reason: Why the value or the interval is missing.
    """

    value: float | None
    low: float | None
    high: float | None
    se: float | None
    questions: int
    clusters: int
    reason: str | None = None


@dataclass(frozen=True)
class JudgeScore:
    """Score of one benchmark by part of the panel.

    Attributes:
        benchmark: ``anima_2_2`` or ``moru``.
        panel: ``all judges``, ``JUDGE alone`` or ``without JUDGE``.
        group: ``overall``, ``English`` or ``non-English``.
        score: The score.
        change: Difference from the score of all judges, over questions with both; None below three judges.
        unscored: Answers without any grade of these judges.
    """

    benchmark: str
    panel: str
    group: str
    score: Score
    change: Score | None
    unscored: int


def regraded(record: AnswerRecord, grades: Sequence[GradeRecord]) -> AnswerRecord:
    """Return the record with these grades only."""
    scores = derived(record.dimensions, record.weights, grades, judged=True)
    return replace(record, grades=tuple(grades), grades_expected=len(grades), **scores)


@dataclass(frozen=True, eq=False)
class QuestionColumn:
    """One score per question, NaN if it has none: arrays of shape (questions,)."""

    items: tuple[str, ...]
    clusters: tuple[str, ...]
    english: tuple[bool, ...]
    scores: Floats
    unscored: Floats
    """Answers without a score."""
    grades: Floats
    """Grades behind the score."""


def question_column(records: Sequence[AnswerRecord]) -> QuestionColumn:
    """Return the overall score of every question, averaged over epochs."""
    by_item: dict[str, list[AnswerRecord]] = {}
    for record in records:
        by_item.setdefault(record.item, []).append(record)
    questions = [question_scores(answers) for answers in by_item.values()]
    return QuestionColumn(
        tuple(by_item),
        tuple(answers[0].cluster for answers in by_item.values()),
        tuple(is_english(question.language) for question in questions),
        np.array([np.nan if q.overall is None else q.overall for q in questions], dtype=np.float64),
        np.array([q.unscored for q in questions], dtype=np.float64),
        np.array(
            [sum(r.grades_expected - r.grades_missing for r in answers) for answers in by_item.values()],
            dtype=np.float64,
        ),
    )


def groups_of(english: Sequence[bool]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield name and mask of all questions and, if there are both, of the English and the other ones."""
    mask = np.array(english, dtype=bool)
    yield GROUPS[0], np.ones(len(mask), bool)
    if mask.any() and not mask.all():
        yield GROUPS[1], mask
        yield GROUPS[2], ~mask


def mean_score(
    clusters: Sequence[str], scores: Floats, level: float = 0.95, grades: Floats | None = None
) -> Score:
    """Return the mean over questions with a score, and its interval.

    Args:
        clusters: Cluster of each question.
        scores: Score of each, NaN if missing, shape (questions,).
        level: Confidence level.
        grades: Grades behind each score, for Wilson's interval; None for a difference, which gets a cluster t
            interval.
    """
    there = np.isfinite(scores)
    questions = int(there.sum())
    if not questions:
        return Score(None, None, None, None, 0, 0, NO_SCORE)
    kept = [cluster for cluster, known in zip(clusters, there, strict=True) if known]
    codes = np.unique(kept, return_inverse=True)[1]
    sums: Floats = np.bincount(codes, weights=scores[there])[:, None].astype(np.float64)
    sizes = np.bincount(codes).astype(np.float64)[:, None]
    table = cluster_table(sums, sizes)
    found = t_interval(table, level)
    value = float(found.estimate[0])
    if len(sums) < MIN_CLUSTERS:
        return Score(value, None, None, None, questions, len(sums), FEW)
    low, high, se = float(found.low[0]), float(found.high[0]), float(found.se[0])
    if grades is not None:
        ends = score_interval(table, grades[there].sum(), level)
        return Score(value, float(ends[0][0]), float(ends[1][0]), se, questions, len(sums), None)
    if high - low <= ROUNDING:
        return Score(value, None, None, se, questions, len(sums), CONSTANT)
    return Score(value, low, high, se, questions, len(sums), None)


def judge_scores(shared: SharedGrades, level: float = 0.95) -> list[JudgeScore]:
    """Return the scores of each judge alone and, for three or more judges, of all and without each.

    Args:
        shared: Grades side by side.
        level: Confidence level.
    """
    everyone = range(len(shared.raters))
    columns = {
        f"{label} alone": _column(shared, {rater})
        for rater, label in zip(everyone, shared.labels, strict=True)
    }
    whole = None
    if len(shared.raters) > 2:
        whole = _column(shared, everyone)
        columns = {"all judges": whole} | columns
        for rater, label in zip(everyone, shared.labels, strict=True):
            columns[f"without {label}"] = _column(shared, set(everyone) - {rater})
    rows = []
    for panel, column in columns.items():
        for group, mask in groups_of(column.english):
            clusters = [c for c, kept in zip(column.clusters, mask, strict=True) if kept]
            change = None
            if whole is not None and column is not whole:
                change = mean_score(clusters, column.scores[mask] - whole.scores[mask], level)
            score = mean_score(clusters, column.scores[mask], level, column.grades[mask])
            unscored = int(column.unscored[mask].sum())
            rows.append(JudgeScore(shared.benchmark, panel, group, score, change, unscored))
    return rows


def _column(shared: SharedGrades, kept: Collection[int]) -> QuestionColumn:
    return question_column(
        [
            regraded(record, [grade for rater, grade in grades if rater in kept])
            for record, grades in zip(shared.answers, shared.by_answer, strict=True)
        ]
    )
