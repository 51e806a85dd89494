"""Whether candidate and baseline differ in the guards on their answers, and what is left without those questions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from value_retention.analysis.effects.comparisons import Comparison
from value_retention.analysis.effects.estimate import effects_of, weighted
from value_retention.analysis.effects.rows import Effect
from value_retention.analysis.effects.verdicts import Verdict, claims, half_width, limited, verdict_of
from value_retention.analysis.runs.align import OVERALL, Metric, Panel
from value_retention.analysis.runs.guards import GUARDS
from value_retention.analysis.runs.names import title_of
from value_retention.analysis.runs.scores import RunScores
from value_retention.analysis.stats.cluster import MIN_CLUSTERS, t_interval
from value_retention.analysis.stats.settings import Settings
from value_retention.tasks.cluster import ClusterTable, Floats, cluster_table

LEAST = 5.0
"""Points. A smaller difference between the shares of marked answers is not pointed out."""

RULE = (
    f"A verdict is marked where the shares of marked answers differ by at least {LEAST:g} points and the paired "
    "interval of that difference, over clusters and not adjusted for other tests, excludes 0."
)


ALL = "all"
"""Language of the row that counts all languages."""


@dataclass(frozen=True)
class GuardDifference:
    """One guard on the two sides of a primary comparison: shares in per cent, difference in points.

    Attributes:
        benchmark: Its name.
        statement: The comparison in words.
        baseline: Side that is subtracted.
        run: The other side.
        guard: One of `GUARDS`.
        questions: Questions with a known share in every run.
        clusters: Their clusters.
        share_baseline: Mean share of marked answers; None where no question has a known share in every run.
        share_run: The same for ``run``.
        difference: ``run`` less ``baseline``.
        low: Lower end of the paired t interval over clusters; None below `MIN_CLUSTERS`.
        high: Upper end.
        differs: Whether `RULE` marks the verdict.
    """

    benchmark: str
    statement: str
    baseline: str
    run: str
    guard: str
    questions: int
    clusters: int
    share_baseline: float | None
    share_run: float | None
    difference: float | None
    low: float | None
    high: float | None
    differs: bool


@dataclass(frozen=True)
class WithoutMarked:
    """The overall difference without the questions that have an answer marked by a guard that differs.

    Attributes:
        benchmark: Its name.
        statement: The comparison in words.
        guards: The guards that differ.
        left_out: Questions left out.
        questions: Questions that remain.
        clusters: Their clusters.
        difference: Points; None without a question.
        low: Lower end of the interval at the level of the verdict's; None below `MIN_CLUSTERS`.
        high: Upper end.
        verdict: What that interval shows; None without a margin or an interval.
    """

    benchmark: str
    statement: str
    guards: tuple[str, ...]
    left_out: int
    questions: int
    clusters: int
    difference: float | None
    low: float | None
    high: float | None
    verdict: Verdict | None


@dataclass(frozen=True)
class Guarded:
    """What the guards say about the primary comparisons of a result."""

    differences: tuple[GuardDifference, ...] = ()
    without: tuple[WithoutMarked, ...] = ()

    def to_dict(self, runs: Sequence[RunScores]) -> dict[str, Any]:
        """JSON values, with the counts of the runs."""
        return {
            "rule": RULE,
            "answers": guard_counts(runs),
            "differences": [asdict(row) for row in self.differences],
            "without_marked": [asdict(row) for row in self.without],
        }

    def headline(self) -> list[str]:
        """One line per comparison whose sides differ."""
        marked = [row for row in self.differences if row.differs]
        found = []
        for (benchmark, statement), rows in groupby(marked, key=lambda row: (row.benchmark, row.statement)):
            shares = ", ".join(
                f"{r.guard} {r.share_run:.0f} % against {r.share_baseline:.0f} %" for r in rows
            )
            found.append(
                f"{title_of(benchmark)}, {statement}: the answers differ IN FORM ({shares}). A formatting "
                "collapse looks like a lost value: read the difference without those questions."
            )
        return found


def marked_shares(panel: Panel, runs: Sequence[RunScores]) -> Floats:
    """Share of marked answers in [0, 1], NaN where unknown: shape (r, n, guards), in the order of the panel."""
    row = {question.item: i for i, question in enumerate(panel.questions)}
    share = np.full((len(panel.runs), len(row), len(GUARDS)), np.nan)
    for run in runs:
        if run.benchmark == panel.benchmark:
            places = [row[question.item] for question in run.questions]
            share[panel.runs.index(run.run), places] = run.guards.share
    return share


def guard_counts(runs: Iterable[RunScores]) -> list[dict[str, Any]]:
    """Answers, and marked and known ones by guard, for all languages and for each language of each run."""
    rows = []
    for run in runs:
        languages = np.array([question.language for question in run.questions])
        tags = sorted(set(languages.tolist()))
        for tag in [ALL, *(tags if len(tags) > 1 else [])]:
            chosen = np.full(len(languages), True) if tag == ALL else languages == tag
            marked, known = (n[chosen].sum(axis=0).tolist() for n in (run.guards.marked, run.guards.known))
            rows.append(
                {
                    "run": run.run,
                    "benchmark": run.benchmark,
                    "language": tag,
                    "answers": int(run.answers[chosen].sum()),
                    "guards": {
                        guard: {"marked": marked[g], "known": known[g]} for g, guard in enumerate(GUARDS)
                    },
                }
            )
    return rows


def guarded(
    panels: Sequence[Panel],
    runs: Sequence[RunScores],
    comparisons: Sequence[Sequence[Comparison]],
    effects: Sequence[Effect],
    settings: Settings,
) -> Guarded:
    """Compare the guards of the sides of every primary comparison.

    Args:
        panels: Aligned runs, one panel per benchmark.
        runs: The runs.
        comparisons: Those of each panel.
        effects: The effects of the report, judged, for the level of each verdict.
        settings: Level, margin, estimand.
    """
    differences: list[GuardDifference] = []
    without = []
    levels = {(e.benchmark, e.statement): e.level for e in effects if e.tier == "primary"}
    for panel, planned in zip(panels, comparisons, strict=True):
        share = marked_shares(panel, runs)
        for comparison in planned:
            if not comparison.primary:
                continue
            rows = _differences(panel, share, comparison, settings)
            differences += rows
            chosen = [g for g, row in enumerate(rows) if row.differs]
            if chosen:
                out = (share[comparison.weights != 0][:, :, chosen] > 0).any(axis=(0, 2))
                names = tuple(rows[g].guard for g in chosen)
                level = levels.get((panel.benchmark, comparison.statement)) or settings.level
                without.append(_without(panel, comparison, out, names, level, settings))
    return Guarded(tuple(differences), tuple(without))


def _table(panel: Panel, values: Floats) -> ClusterTable:
    """Cluster sums of values per question, shape (n, columns), NaN where there is none."""
    known = np.isfinite(values)
    return cluster_table(
        panel.membership @ np.where(known, values, 0.0), panel.membership @ known.astype(np.float64)
    )


def _differences(
    panel: Panel, share: Floats, comparison: Comparison, settings: Settings
) -> list[GuardDifference]:
    weights = comparison.weights[None, :]
    plus, minus = (weighted(np.maximum(sign * weights, 0), share)[0] for sign in (1, -1))
    difference = plus - minus
    known = np.isfinite(difference)
    table = _table(panel, difference)
    interval = t_interval(table, settings.level)
    sides = [_table(panel, np.where(known, side, np.nan)).estimate * 100 for side in (minus, plus)]
    rows = []
    for g, guard in enumerate(GUARDS):
        clusters = int(table.clusters[g])
        value, low, high = (float(x[g]) * 100 for x in (table.estimate, interval.low, interval.high))
        tested = clusters >= MIN_CLUSTERS
        rows.append(
            GuardDifference(
                benchmark=panel.benchmark,
                statement=comparison.statement,
                baseline=comparison.baseline,
                run=comparison.run,
                guard=guard,
                questions=int(known[:, g].sum()),
                clusters=clusters,
                share_baseline=float(sides[0][g]) if clusters else None,
                share_run=float(sides[1][g]) if clusters else None,
                difference=value if clusters else None,
                low=low if tested else None,
                high=high if tested else None,
                differs=tested and abs(value) >= LEAST and (low > 0 or high < 0),
            )
        )
    return rows


def _without(
    panel: Panel,
    comparison: Comparison,
    out: NDArray[np.bool_],
    guards: tuple[str, ...],
    level: float,
    settings: Settings,
) -> WithoutMarked:
    """The primary figure of a comparison without some questions, computed as the report's own."""
    kept = {name: getattr(panel, name).copy() for name in ("score", "low", "high")}
    for values in kept.values():
        values[:, out] = np.nan
    overall = Metric("overall", OVERALL, 0, np.ones(len(panel.questions), bool))
    (effect,) = effects_of(replace(panel, **kept), [overall], [comparison], settings)
    low = high = verdict = None
    if effect.difference is not None and effect.se is not None and effect.df is not None:
        half = half_width(effect.se, effect.df, level)
        low, high = effect.difference - half, effect.difference + half
        if settings.margin is not None:
            shown = verdict_of(claims(low, high, settings.margin))
            verdict = limited(
                shown, effect.baseline_low, effect.baseline_high, effect.score_baseline, settings.margin
            )
    return WithoutMarked(
        panel.benchmark, comparison.statement, guards, int(out.sum()), effect.questions, effect.clusters,
        effect.difference, low, high, verdict,
    )  # fmt: skip
