"""Differences between two runs of one judge: of the judge's errors, and of the scores corrected for them.

A judge that passes 10 % of one checkpoint's bad answers and 25 % of another's shows a difference that is not there.
One pair of rates for both runs would even enlarge it. So each run is corrected with the rates that labels on its own
answers show.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from value_retention.analysis.judges.confusion import Confusion, Rate
from value_retention.analysis.judges.leave_one_out import QuestionColumn, Score, groups_of, mean_score
from value_retention.analysis.stats.misclassification import (
    Difference,
    Measured,
    Proportion,
    corrected_difference,
    difference_of,
    effective_size,
)


@dataclass(frozen=True, eq=False)
class JudgedRun:
    """One run by one judge: its questions, and the confusions from the labels on its own answers."""

    run: str
    column: QuestionColumn
    confusions: tuple[Confusion, ...]


@dataclass(frozen=True)
class RunDifference:
    """One run less the first, by one judge on one group of questions; fractions in [-1, 1].

    Attributes:
        judge: The judge.
        benchmark: ``anima_2_2`` or ``moru``.
        name: ``overall``, ``English`` or ``non-English``.
        baseline: The first run.
        run: The other run.
        sensitivities: The judge's sensitivity on the first run and on the other.
        specificities: The same for its specificity.
        sensitivity: Difference of the judge's sensitivity; None without labels of this class on both runs.
        specificity: The same for its specificity.
        errors_p: Test of equal error rates on both runs: the smaller p of the two, corrected for two tests (Holm).
        shown: Difference of the scores as graded, over questions scored in both runs.
        corrected: Difference of the corrected scores, with its interval; None if refused.
        refused: Why there is no corrected difference.
    """

    judge: str
    benchmark: str
    name: str
    baseline: str
    run: str
    sensitivities: tuple[Rate, Rate]
    specificities: tuple[Rate, Rate]
    sensitivity: Difference | None
    specificity: Difference | None
    errors_p: float | None
    shown: Score
    corrected: Difference | None
    refused: str | None


def run_differences(
    judge: str,
    benchmark: str,
    runs: Sequence[JudgedRun],
    level: float,
    pairs: Collection[tuple[str, str, str]],
) -> Iterator[RunDifference]:
    """Yield the differences of two runs, for every group with labels on both.

    Args:
        judge: The judge's label.
        benchmark: ``anima_2_2`` or ``moru``.
        runs: Its runs.
        level: Confidence level.
        pairs: Benchmark, baseline and run of each difference.
    """
    for baseline, run in permutations(runs, 2):
        if (benchmark, baseline.run, run.run) not in pairs:
            continue
        first, own = ({c.name: c for c in r.confusions if c.kind != "dimension"} for r in (baseline, run))
        place = {item: k for k, item in enumerate(run.column.items)}
        shared = [(k, place[item]) for k, item in enumerate(baseline.column.items) if item in place]
        if not shared:
            continue
        here, there = (np.array(side) for side in zip(*shared, strict=True))
        english = tuple(baseline.column.english[k] for k in here)
        for name, mask in groups_of(english):
            if name in first and name in own:
                columns = (baseline.column, here[mask]), (run.column, there[mask])
                sides = first[name], own[name]
                found = _difference(sides, columns, level)
                right = sides[0].sensitivity, sides[1].sensitivity
                wrong = sides[0].specificity, sides[1].specificity
                yield RunDifference(judge, benchmark, name, baseline.run, run.run, right, wrong, *found)


def _difference(
    confusions: tuple[Confusion, Confusion],
    columns: Sequence[tuple[QuestionColumn, np.ndarray]],
    level: float,
) -> tuple[Difference | None, Difference | None, float | None, Score, Difference | None, str | None]:
    """The fields of a `RunDifference` after the names."""
    rates = [
        None if a is None or b is None else difference_of(a, b, level)
        for a, b in (
            tuple(c.sensitivity.proportion for c in confusions),
            tuple(c.specificity.proportion for c in confusions),
        )
    ]
    tests = [rate.p for rate in rates if rate is not None and rate.p is not None]
    p = min(1.0, min(tests) * len(tests)) if tests else None
    clusters = [columns[0][0].clusters[k] for k in columns[0][1]]
    values = [np.asarray(column.scores[rows], dtype=np.float64) for column, rows in columns]
    both = np.isfinite(values[0]) & np.isfinite(values[1])
    values = [np.where(both, value, np.nan) for value in values]
    shown = mean_score(clusters, values[1] - values[0], level)
    sides = [mean_score(clusters, value, level) for value in values]
    refused = next((f"{c.refused}" for c in confusions if c.refused is not None), None)
    if refused is None and (shown.se is None or None in [side.se for side in sides]):
        refused = shown.reason or next(side.reason for side in sides if side.se is None)
    if refused is not None:
        return rates[0], rates[1], p, shown, None, refused
    measured = []
    for side, confusion, (column, rows) in zip(sides, confusions, columns, strict=True):
        right, wrong = confusion.sensitivity.proportion, confusion.specificity.proportion
        assert right is not None
        assert wrong is not None
        assert side.value is not None
        assert side.se is not None
        size = effective_size(side.value, side.se, side.clusters, float(column.grades[rows].sum()), level)
        measured.append(Measured(Proportion(side.value, size), right, wrong))
    covariance = ((sides[0].se or 0.0) ** 2 + (sides[1].se or 0.0) ** 2 - (shown.se or 0.0) ** 2) / 2
    corrected = corrected_difference(measured[0], measured[1], covariance, level)
    return rates[0], rates[1], p, shown, corrected, None
