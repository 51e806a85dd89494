"""English against the other languages: is the effect the same, and how many times larger is it.

"Significant in one group, not in the other" happens in about half of all runs when both effects are equal,
so it is never read as a difference here; the difference of the two effects is estimated itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from value_retention.analysis.effects.paired import PAIRS_AT_ONCE
from value_retention.analysis.effects.result import CONSTANT, FEW, Effect, Settings
from value_retention.analysis.runs.align import Panel
from value_retention.analysis.stats import cluster, resample
from value_retention.analysis.stats.cluster import MIN_CLUSTERS, ClusterTable, Floats, cluster_table
from value_retention.analysis.stats.fieller import Ratio, fieller

Design = Literal["independent groups (Welch)", "paired by question", "matched translations"]

ZERO = "the effect on English questions is exactly 0"


@dataclass(frozen=True)
class Contrast:
    """Effect on non-English questions less effect on English ones, percentage points.

    Attributes:
        benchmark: Its name.
        baseline: Run that is compared with.
        run: Run that is compared.
        design: ``paired by question`` where a cluster holds both, else ``independent groups (Welch)``;
            ``matched translations`` for the rows that render the same English question.
        clusters_english: Clusters behind the English effect.
        clusters_other: Clusters behind the other.
        english: Effect on English questions, points.
        other: Effect on the others, points.
        difference: ``other - english``.
        low: Lower end of its t interval.
        high: Upper end.
        boot_low: Lower end of the percentile cluster bootstrap.
        boot_high: Upper end.
        df: Its degrees of freedom.
        p: Two-sided t p.
        p_holm: Holm-corrected over the contrasts of the same design in the report.
        ratio: ``other / english`` with Fieller's interval.
        note: A sentence on what the two effects invite to say and do not support; empty if nothing.
        reasons: Column name to the reason it is None.
    """

    benchmark: str
    baseline: str
    run: str
    design: Design
    clusters_english: int
    clusters_other: int
    english: float | None
    other: float | None
    difference: float | None
    low: float | None
    high: float | None
    boot_low: float | None
    boot_high: float | None
    df: float | None
    p: float | None
    p_holm: float | None
    ratio: Ratio | None
    note: str = ""
    reasons: dict[str, str] = field(default_factory=dict)


def language_contrasts(panel: Panel, pairs: Sequence[tuple[int, int]], settings: Settings) -> list[Contrast]:
    """The contrast of every pair, and that on matched translations where there are any.

    Benchmarks in one language only have none.
    """
    found: list[tuple[Contrast, ClusterTable | None]] = []
    for a, b in pairs:
        difference = panel.score[b][:, 0] - panel.score[a][:, 0]
        found += _contrasts(panel, difference, (panel.runs[a], panel.runs[b]), settings)
    return _corrected(_with_bootstrap(found, settings))


def contrasts_of(
    panel: Panel, difference: Floats, names: tuple[str, str], settings: Settings
) -> list[Contrast]:
    """The contrast of one difference per question, and that on matched translations.

    Args:
        panel: For questions and clusters.
        difference: One value per question, in [-1, 1], NaN where there is none; shape (n,).
        names: What is compared: the baseline, and what is compared with it.
        settings: Level, resamples, seed.
    """
    return _with_bootstrap(_contrasts(panel, difference, names, settings), settings)


def _contrasts(
    panel: Panel, difference: Floats, names: tuple[str, str], settings: Settings
) -> list[tuple[Contrast, ClusterTable | None]]:
    """Contrasts without their bootstrap interval, and the tables to bootstrap where there is something to."""
    english = panel.english
    if english.all() or not english.any():
        return []
    return [
        _contrast(panel, names, design, np.where(rows, difference, np.nan), membership, settings)
        for design, rows, membership in _designs(panel, english)
    ]


def _designs(panel: Panel, english: NDArray[np.bool_]) -> list[tuple[Design, NDArray[np.bool_], Floats]]:
    """Which rows enter and how they cluster: the main design, and matched translations if any."""
    every = np.ones(len(english), bool)
    both = (panel.membership @ english > 0) & (panel.membership @ ~english > 0)
    if both.mean() > 0.5:
        # Questions that lack one side say nothing about the difference within a question.
        rows = (both.astype(float) @ panel.membership) > 0
        return [("paired by question", rows, panel.membership)]
    designs: list[tuple[Design, NDArray[np.bool_], Floats]] = [
        ("independent groups (Welch)", every, panel.membership)
    ]
    keys = [q.match for q in panel.questions]
    groups = [
        k
        for k in dict.fromkeys(keys)
        if k is not None and len({q.is_english for q in panel.questions if q.match == k}) == 2
    ]
    if groups:
        membership = np.array([[key == group for key in keys] for group in groups], dtype=float)
        designs.append(("matched translations", membership.sum(axis=0) > 0, membership))
    return designs


def group_tables(values: Floats, english: NDArray[np.bool_], membership: Floats) -> ClusterTable:
    """Columns English and non-English of one difference per question, NaN where there is none."""
    masks = np.stack([english, ~english], axis=1) & np.isfinite(values)[:, None]
    sums = membership @ np.where(masks, np.nan_to_num(values)[:, None], 0.0)
    return cluster_table(sums, membership @ masks.astype(float))


def _contrast(
    panel: Panel,
    names: tuple[str, str],
    design: Design,
    values: Floats,
    membership: Floats,
    settings: Settings,
) -> tuple[Contrast, ClusterTable | None]:
    paired = design != "independent groups (Welch)"
    table = group_tables(values, panel.english, membership)
    if paired:  # Only clusters scored on both sides.
        complete = (table.sizes > 0).all(axis=1)
        table = cluster_table(table.sums[complete], table.sizes[complete])
    english, other = (float(x) for x in table.estimate)
    clusters = [int(n) for n in table.clusters]
    empty = Contrast(
        panel.benchmark, *names, design, clusters[0], clusters[1],
        english=_points(english), other=_points(other), difference=_points(other - english),
        low=None, high=None, boot_low=None, boot_high=None, df=None, p=None, p_holm=None, ratio=None,
    )  # fmt: skip
    tests = ("interval", "p", "ratio")
    if min(clusters) < MIN_CLUSTERS:
        return replace(empty, reasons=dict.fromkeys(tests, FEW)), None
    covariance, df = (_paired_covariance if paired else _independent_covariance)(table)
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    if variance <= 1e-24:
        return replace(empty, reasons=dict.fromkeys(tests, CONSTANT)), None
    se = float(np.sqrt(variance))
    half = float(cluster.t_quantile(np.array([df]), (1 + settings.level) / 2)[0]) * se
    p = cluster.t_p_value(np.array([other - english]), np.array([se]), np.array([df]))[0]
    ratio = fieller(other, english, covariance[::-1, ::-1], df, settings.level)
    contrast = replace(
        empty,
        low=(other - english - half) * 100,
        high=(other - english + half) * 100,
        df=df,
        p=float(p),
        ratio=ratio,
        reasons={} if ratio else {"ratio": ZERO},
    )
    return contrast, table


def _paired_covariance(table: ClusterTable) -> tuple[Floats, float]:
    """Covariance of the two effects, shape (2, 2), from clusters that carry both."""
    count = len(table.influence)
    return table.influence.T @ table.influence * count / (count - 1), count - 1.0


def _independent_covariance(table: ClusterTable) -> tuple[Floats, float]:
    """The same for clusters that carry one or the other, with Welch's degrees of freedom."""
    variances = cluster.standard_error(table) ** 2
    clusters = table.clusters.astype(np.float64)
    total = float((variances**2 / (clusters - 1)).sum())
    df = float(variances.sum() ** 2 / total) if total > 0 else float(clusters.sum() - 2)
    return np.diag(variances), df


def _points(value: float) -> float | None:
    return None if np.isnan(value) else value * 100


def _corrected(found: list[Contrast]) -> list[Contrast]:
    corrected = list(found)
    for design in {c.design for c in found}:
        members = [i for i, c in enumerate(found) if c.design == design]
        for i, p in zip(members, cluster.adjust([found[i].p for i in members], "holm"), strict=True):
            corrected[i] = replace(found[i], p_holm=p)
    return corrected


def with_notes(contrasts: Sequence[Contrast], effects: Sequence[Effect]) -> list[Contrast]:
    """Add a sentence where one group tests significant and the other does not, or the ratio is unbounded."""
    p_values = {(e.benchmark, e.baseline, e.run, e.metric): e.p for e in effects if e.kind == "group"}
    noted = []
    for c in contrasts:
        parts = []
        key = (c.benchmark, c.baseline, c.run)
        p_english, p_other = (p_values.get((*key, name)) for name in ("English", "non-English"))
        if p_english is not None and p_other is not None and (p_english < 0.05) != (p_other < 0.05):
            first, second = ("English", "non-English") if p_english < 0.05 else ("non-English", "English")
            parts.append(
                f"{first} tests significant and {second} does not; that alone is no difference between "
                "them, read the difference of the effects."
            )
        if c.ratio is not None and c.ratio.kind != "bounded":
            parts.append(
                "The effect on English questions is not clearly different from zero, so the ratio of the "
                "effects is unbounded; report the difference."
            )
        noted.append(replace(c, note=" ".join(parts)))
    return noted


def _with_bootstrap(
    found: Sequence[tuple[Contrast, ClusterTable | None]], settings: Settings
) -> list[Contrast]:
    """Add percentile cluster bootstrap intervals, tables of equally many clusters in one product."""
    contrasts = [contrast for contrast, _ in found]
    tables = {index: table for index, (_, table) in enumerate(found) if table is not None}
    for clusters in {len(table.sums) for table in tables.values()}:
        counts = resample.cluster_counts(clusters, settings.resamples, settings.seed)
        members = [index for index, table in tables.items() if len(table.sums) == clusters]
        for start in range(0, len(members), PAIRS_AT_ONCE):
            chunk = members[start : start + PAIRS_AT_ONCE]
            sums, sizes = (np.hstack([getattr(tables[i], name) for i in chunk]) for name in ("sums", "sizes"))
            drawn = resample.bootstrap(cluster_table(sums, sizes), counts)
            low, high = resample.percentile_interval(drawn[1::2] - drawn[0::2], settings.level)
            for place, i in enumerate(chunk):
                contrasts[i] = replace(
                    contrasts[i], boot_low=float(low[place]) * 100, boot_high=float(high[place]) * 100
                )
    return contrasts
