"""Agreement between judges on the same answers, and scores by part of the panel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from value_retention.analysis.judges.leave_one_out import JudgeScore, judge_scores
from value_retention.analysis.judges.raters import Rater, SharedGrades, shared_grades
from value_retention.analysis.runs.load import Run
from value_retention.analysis.stats.cluster import MIN_CLUSTERS
from value_retention.analysis.stats.inter_rater import Coefficient, unit_sums, with_intervals
from value_retention.tasks.cluster import Floats

Kind = Literal["overall", "dimension", "language group", "language"]
By = Literal["dimension", "all"]
Figure = tuple[Kind, str, NDArray[np.bool_]]
"""Kind, name and mask of the units, shape (n,)."""


@dataclass(frozen=True)
class Agreement:
    """Agreement of some raters on some grades. Rates and coefficients are fractions, not per cent.

    Attributes:
        benchmark: ``anima_2_2`` or ``moru``.
        raters: Labels of the raters: two, or all if there are more.
        kind: Kind of group.
        name: ``overall``, a dimension, ``English``, ``non-English`` or a BCP-47 tag.
        clusters: Clusters with a compared unit.
        compared: Units that two or more raters graded.
        missing: Units that fewer raters graded.
        prevalence: Mean share of passes among the compared units.
        pass_rates: Share of passes of each rater among the compared units.
        raw: Share of pairs of grades that agree.
        kappa: Cohen's kappa (two raters).
        ac1: Gwet's AC1.
        alpha: Krippendorff's alpha for nominal data.
        shift: Pass rate of the second rater minus that of the first (two raters).
    """

    benchmark: str
    raters: tuple[str, ...]
    kind: Kind
    name: str
    clusters: int
    compared: int
    missing: int
    prevalence: float | None
    pass_rates: tuple[float | None, ...]
    raw: Coefficient
    kappa: Coefficient
    ac1: Coefficient
    alpha: Coefficient
    shift: Coefficient


@dataclass(frozen=True)
class AgreementReport:
    """Result of `judge_agreement`."""

    settings: dict[str, float]
    """``level``, ``resamples`` and ``seed``."""
    raters: tuple[tuple[str, str, Rater], ...]
    """Benchmark, label and rater."""
    agreements: tuple[Agreement, ...]
    scores: tuple[JudgeScore, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values. Rates, scores and coefficients are fractions; a null has its ``reason``."""
        return {
            "schema": "value-retention/agreement/1",
            "units": "fractions, not per cent",
            "settings": self.settings,
            "raters": [{"benchmark": b, "label": label, **asdict(rater)} for b, label, rater in self.raters],
            "agreement": [asdict(row) for row in self.agreements],
            "scores": [asdict(row) for row in self.scores],
            "notes": list(self.notes),
        }


def judge_agreement(
    runs: Sequence[Run], *, by: By = "all", resamples: int = 10_000, seed: int = 0, level: float = 0.95
) -> AgreementReport:
    """Agreement between all judges of the runs, in pairs and, if there are three or more, together.

    Args:
        runs: Runs over the same answers.
        by: Groups in addition to the overall one: dimensions, or dimensions and languages (all).
        resamples: Bootstrap resamples of clusters.
        seed: Seed of the resampling.
        level: Confidence level.

    Raises:
        InputError: The runs hold different answers, or no benchmark has two raters (see `shared_grades`).
    """
    found, lacking = shared_grades(runs)
    rows: list[Agreement] = []
    for shared in found:
        if not pass_or_fail(shared.grades):
            continue
        wanted = list(figures(shared, by))
        for members in _rater_sets(len(shared.raters)):
            rows += [_agreement(shared, members, figure, (resamples, seed, level)) for figure in wanted]
    return AgreementReport(
        {"level": level, "resamples": resamples, "seed": seed},
        tuple((s.benchmark, label, r) for s in found for label, r in zip(s.labels, s.raters, strict=True)),
        tuple(rows),
        tuple(score for shared in found for score in judge_scores(shared, level)),
        (*(note for shared in found for note in (*shared.notes, *_notes(shared))), *lacking),
    )


def _rater_sets(count: int) -> Iterator[tuple[int, ...]]:
    if count > 2:
        yield tuple(range(count))
    yield from combinations(range(count), 2)


def figures(shared: SharedGrades, by: By) -> Iterator[Figure]:
    """Yield the groups of a benchmark. A language with too few clusters is part of its language group only."""
    units = shared.units
    yield "overall", "overall", np.ones(len(units), bool)
    for name in sorted({unit.dimension for unit in units}):
        yield "dimension", name, np.array([unit.dimension == name for unit in units])
    if by == "all":
        for name in ("English", "non-English"):
            mask = np.array([unit.group == name for unit in units])
            if mask.any() and not mask.all():
                yield "language group", name, mask
        for name in sorted({unit.language for unit in units}):
            if len({unit.cluster for unit in units if unit.language == name}) >= MIN_CLUSTERS:
                yield "language", name, np.array([unit.language == name for unit in units])


def _agreement(
    shared: SharedGrades,
    members: tuple[int, ...],
    figure: Figure,
    how: tuple[int, int, float],
) -> Agreement:
    kind, name, mask = figure
    grades = shared.grades[mask][:, list(members)]
    rows = unit_sums(grades)
    compared = rows[:, 0] > 0
    clusters = [unit.cluster for unit, kept in zip(shared.units, mask, strict=True) if kept]
    codes = np.unique([c for c, k in zip(clusters, compared, strict=True) if k], return_inverse=True)[1]
    count = int(codes.max()) + 1 if len(codes) else 0
    sums = np.zeros((count, rows.shape[1]))
    np.add.at(sums, codes, rows[compared])
    values = with_intervals(sums, len(members) == 2, *how)
    total = int(compared.sum())
    rates = [_rate(column[compared]) for column in grades.T]
    return Agreement(
        shared.benchmark,
        tuple(shared.labels[m] for m in members),
        kind,
        name,
        count,
        total,
        len(grades) - total,
        float(sums[:, 2].sum() / total) if total else None,
        tuple(rates),
        *values,
    )


def pass_or_fail(grades: Floats) -> bool:
    """Whether every grade is 1, 0 or missing."""
    return bool(np.isin(grades[np.isfinite(grades)], (0.0, 1.0)).all())


def _rate(grades: Floats) -> float | None:
    known = grades[np.isfinite(grades)]
    return float(known.mean()) if len(known) else None


def _notes(shared: SharedGrades) -> Iterator[str]:
    if not pass_or_fail(shared.grades):
        yield (
            f"{shared.benchmark}: the grades are on a scale. Agreement is computed for pass and fail only, so the "
            "scores of each judge are shown alone."
        )
        return
    clusters: dict[str, set[str]] = {}
    for unit in shared.units:
        clusters.setdefault(unit.language, set()).add(unit.cluster)
    listed = sorted(name for name, found in clusters.items() if len(found) < MIN_CLUSTERS)
    if listed:
        yield (
            f"{shared.benchmark}: languages with fewer than {MIN_CLUSTERS} clusters appear only in their "
            f"language group: {', '.join(listed)}."
        )
