"""One judge against labels by people: confusion, sensitivity and specificity.

Which answers people label often depends on the grade of the judge, for example if rare grades are drawn more often.
The unweighted shares are then biased. The share of passes is known for all grades of the judge, so the labels are
weighted to that share: the estimator of Begg and Greenes, Assessment of diagnostic tests when disease verification
is subject to selection bias, Biometrics 39 (1983), 207-215. Within passes and within fails, the weights of a drawn
template (`draw`) apply.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from value_retention.analysis.stats.cluster import MIN_CLUSTERS
from value_retention.analysis.stats.misclassification import Proportion, effective_size, informedness, wilson

Kind = Literal["overall", "language group", "dimension"]

MIN_LABELS = 10
"""Labels of each class that a correction needs, on at least `MIN_CLUSTERS` clusters."""


@dataclass(frozen=True)
class JudgedGrade:
    """One grade of one judge, labelled or not."""

    cluster: str
    english: bool
    dimension: str
    grade: float | None
    truth: float | None
    """Label by people, 1 or 0; None without a label."""
    weight: float
    """Weight of the label."""


@dataclass(frozen=True)
class Rate:
    """Sensitivity or specificity, in [0, 1], with its Wilson interval on the effective number of labels.

    Attributes:
        value: The rate, weighted (see the module); None without a label of its class.
        low: Lower end.
        high: Upper end.
        labels: Labels of its class on answers with a grade.
        effective: Effective number of labels.
        clusters: Clusters of the labels.
    """

    value: float | None
    low: float | None
    high: float | None
    labels: int
    effective: float | None
    clusters: int

    @property
    def proportion(self) -> Proportion | None:
        """The rate as input of the correction; None without a label of its class."""
        if self.value is None or self.effective is None:
            return None
        return Proportion(self.value, self.effective)


@dataclass(frozen=True)
class Confusion:
    """One judge against labels by people on one group of grades. Counts are unweighted labels.

    Attributes:
        judge: The judge.
        benchmark: ``anima_2_2`` or ``moru``.
        kind: Kind of group.
        name: ``overall``, ``English``, ``non-English`` or a dimension.
        pass_pass: People pass, the judge passes.
        pass_fail: People pass, the judge fails.
        fail_pass: People fail, the judge passes.
        fail_fail: People fail, the judge fails.
        missing: Labels without a grade of this judge.
        sensitivity: Share of the passes by people that the judge passes.
        specificity: Share of the fails by people that the judge fails.
        informedness: Sensitivity + specificity - 1; None without labels of both classes.
        informedness_low: Lower end of its interval.
        refused: Why these rates cannot correct a score; None if they can.
    """

    judge: str
    benchmark: str
    kind: Kind
    name: str
    pass_pass: int
    pass_fail: int
    fail_pass: int
    fail_fail: int
    missing: int
    sensitivity: Rate
    specificity: Rate
    informedness: float | None
    informedness_low: float | None
    refused: str | None


def confusions_of(
    judge: str, benchmark: str, graded: list[JudgedGrade], level: float = 0.95
) -> Iterator[Confusion]:
    """Yield the confusion over all grades, per language group and per dimension, if there is a label.

    Args:
        judge: The judge's label.
        benchmark: ``anima_2_2`` or ``moru``.
        graded: All grades of the judge, with and without a label.
        level: Confidence level.
    """
    parts: list[tuple[Kind, str, list[JudgedGrade]]] = [("overall", "overall", graded)]
    for name, english in (("English", True), ("non-English", False)):
        parts.append(("language group", name, [g for g in graded if g.english == english]))
    for name in sorted({g.dimension for g in graded}):
        parts.append(("dimension", name, [g for g in graded if g.dimension == name]))
    for kind, name, part in parts:
        if any(g.truth is not None for g in part):
            yield _confusion(judge, benchmark, kind, name, part, level)


def _confusion(
    judge: str, benchmark: str, kind: Kind, name: str, graded: list[JudgedGrade], level: float
) -> Confusion:
    labelled = [g for g in graded if g.truth is not None]
    there = [g for g in labelled if g.grade is not None]
    counts = Counter((g.truth, g.grade) for g in there)
    passes = [g.grade for g in graded if g.grade is not None]
    share = sum(passes) / len(passes) if passes else 0.0
    right, wrong = (_rate(there, share, which, level) for which in (1.0, 0.0))
    both = None
    if right.proportion is not None and wrong.proportion is not None:
        both = informedness(right.proportion, wrong.proportion, level)
    return Confusion(
        judge,
        benchmark,
        kind,
        name,
        counts[1.0, 1.0],
        counts[1.0, 0.0],
        counts[0.0, 1.0],
        counts[0.0, 0.0],
        len(labelled) - len(there),
        right,
        wrong,
        both[0] if both else None,
        both[1] if both else None,
        _refusal(there, share, right, wrong, both),
    )


def _refusal(
    there: list[JudgedGrade], share: float, right: Rate, wrong: Rate, both: tuple[float, float] | None
) -> str | None:
    for rate, which in ((right, "passes"), (wrong, "fails")):
        if rate.labels < MIN_LABELS or rate.clusters < MIN_CLUSTERS:
            return (
                f"too few labels that are {which}: {rate.labels} on {rate.clusters} clusters; needs "
                f"{MIN_LABELS} on {MIN_CLUSTERS}"
            )
    for grade, which, of_all in ((1.0, "passes", share), (0.0, "fails", 1 - share)):
        if of_all > 0 and not any(g.grade == grade for g in there):
            return f"not identified: no labels on answers that the judge {which} ({of_all:.0%} of its grades)"
    if both is None or both[0] <= 0:
        total = 1 + both[0] if both else 1.0
        return f"not identified: sensitivity + specificity is {total:.2f}, no better than chance"
    if both[1] <= 0:
        return (
            f"not identified: sensitivity + specificity is {1 + both[0]:.2f}, but its interval starts at "
            f"{1 + both[1]:.2f}, and 1 is chance"
        )
    return None


def _rate(there: list[JudgedGrade], share: float, which: float, level: float) -> Rate:
    """Return sensitivity (``which`` 1) or specificity (0), weighted to the share of judged passes.

    The standard error is linearised over clusters. It excludes the variance between judged passes and judged
    fails, because their shares are known.
    """
    own = [g for g in there if g.truth == which]
    if not own:
        return Rate(None, None, None, 0, None, 0)
    grades = np.array([g.grade for g in there], dtype=np.float64)
    truth = np.array([g.truth == which for g in there], dtype=np.float64)
    weights = np.array([g.weight for g in there])
    for grade, of_all in ((1.0, share), (0.0, 1 - share)):
        same = grades == grade
        weights[same] *= of_all / max(float(weights[same].sum()), 1e-300)
    hits = (grades == which).astype(np.float64)
    total = float(weights @ truth)
    value = float(np.clip(weights @ (truth * hits) / total, 0.0, 1.0))
    parts = weights * truth * (hits - value) / total
    for grade in (1.0, 0.0):
        same = grades == grade
        if same.any():
            parts[same] -= weights[same] * parts[same].sum() / weights[same].sum()
    codes = np.unique([g.cluster for g in there], return_inverse=True)[1]
    by_cluster = np.bincount(codes, weights=parts)
    count = len(by_cluster)
    se = float(np.sqrt(count / (count - 1) * (by_cluster**2).sum())) if count > 1 else float("nan")
    clusters = len({g.cluster for g in own})
    if 0 < value < 1:
        size = effective_size(value, se, count, float(len(there)), level)
    else:
        mine = weights[truth == 1]
        size = effective_size(value, se, clusters, float(mine.sum() ** 2 / (mine**2).sum()), level)
    low, high = wilson(Proportion(value, size), level)
    return Rate(value, low, high, len(own), size, clusters)
