"""English against the other languages: the difference of the two effects, and their ratio.

"Significant in one group, not in the other" happens in about half of all runs when both effects are equal,
so it is never read as a difference here; the difference of the two effects is estimated itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from value_retention.analysis.effects.comparisons import Comparison
from value_retention.analysis.effects.estimate import AT_ONCE, weighted
from value_retention.analysis.effects.rows import CONSTANT, FEW, ZERO, Contrast, Design, Effect
from value_retention.analysis.runs.align import ENGLISH, OTHER, Panel
from value_retention.analysis.stats import cluster, resample
from value_retention.analysis.stats.cluster import MIN_CLUSTERS
from value_retention.analysis.stats.fieller import fieller
from value_retention.analysis.stats.settings import Settings
from value_retention.tasks.cluster import (
    ClusterTable,
    Floats,
    cluster_table,
    covariance,
    degrees_of_freedom,
    standard_error,
)


def language_contrasts(panel: Panel, comparisons: Sequence[Comparison], settings: Settings) -> list[Contrast]:
    """The contrast of every comparison, and the one on matched translations where there are any.

    Benchmarks in one language have none. See `families.explored` for the correction.
    """
    english = panel.english
    if english.all() or not english.any():
        return []
    weights = np.array([comparison.weights for comparison in comparisons])
    differences = weighted(weights, panel.score[:, :, 0])
    designs = _designs(panel, english)
    return _with_bootstrap(
        [
            _contrast(panel, comparison, design, np.where(rows, difference, np.nan), membership, settings)
            for comparison, difference in zip(comparisons, differences, strict=True)
            for design, rows, membership in designs
        ],
        settings,
    )


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
    if both.any():
        rows = both.astype(float) @ panel.membership > 0
        designs.append(("matched translations", rows, panel.membership[both]))
    return designs


def group_tables(values: Floats, english: NDArray[np.bool_], membership: Floats) -> ClusterTable:
    """Columns English and non-English of one difference per question, NaN where there is none."""
    masks = np.stack([english, ~english], axis=1) & np.isfinite(values)[:, None]
    sums = membership @ np.where(masks, np.nan_to_num(values)[:, None], 0.0)
    return cluster_table(sums, membership @ masks.astype(float))


def _contrast(
    panel: Panel,
    comparison: Comparison,
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
        panel.benchmark, comparison.kind, comparison.statement, comparison.baseline, comparison.run, design,
        clusters[0], clusters[1], _points(english), _points(other), _points(other - english),
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
        t_low=(other - english - half) * 100,
        t_high=(other - english + half) * 100,
        df=df,
        p=float(p),
        ratio=ratio,
        reasons={} if ratio else {"ratio": ZERO},
    )
    return contrast, table


def _paired_covariance(table: ClusterTable) -> tuple[Floats, float]:
    """Covariance of the two effects, shape (2, 2), from clusters that carry both."""
    return covariance(table), len(table.influence) - 1.0


def _independent_covariance(table: ClusterTable) -> tuple[Floats, float]:
    """The same for clusters of which most carry one or the other, with Welch's degrees of freedom."""
    variances = standard_error(table) ** 2
    freedom = degrees_of_freedom(table)
    total = float((variances**2 / freedom).sum())
    df = float(variances.sum() ** 2 / total) if total > 0 else float(freedom.sum())
    covariance = np.diag(variances)
    covariance[0, 1] = covariance[1, 0] = table.influence[:, 0] @ table.influence[:, 1]
    return covariance, df


def _points(value: float) -> float | None:
    return None if np.isnan(value) else value * 100


def with_notes(contrasts: Sequence[Contrast], effects: Sequence[Effect]) -> list[Contrast]:
    """Add a sentence where one group's interval excludes 0 and the other's does not, or the ratio is unbounded."""
    groups = {(e.benchmark, e.statement, e.metric): e for e in effects if e.kind == "group"}
    noted = []
    for c in contrasts:
        parts = []
        english, other = (groups.get((c.benchmark, c.statement, name)) for name in (ENGLISH, OTHER))
        if (
            english
            and other
            and None not in (english.t_low, other.t_low)
            and _clear(english) != _clear(other)
        ):
            first, second = ("English", "non-English") if _clear(english) else ("non-English", "English")
            parts.append(
                f"{first} tests significant and {second} does not. That alone does not show a difference "
                "between them; read the difference of the effects."
            )
        if c.ratio is not None and c.ratio.kind != "bounded":
            parts.append(
                "The effect on English questions is not clearly different from zero, so the ratio of the "
                "effects is unbounded; report the difference."
            )
        noted.append(replace(c, note=" ".join(parts)))
    return noted


def _clear(effect: Effect) -> bool:
    """Whether the unadjusted interval excludes 0."""
    low, high = effect.t_low, effect.t_high
    return low is not None and high is not None and not low <= 0 <= high


def _with_bootstrap(
    found: Sequence[tuple[Contrast, ClusterTable | None]], settings: Settings
) -> list[Contrast]:
    """Add percentile cluster bootstrap intervals, tables of equally many clusters in one product."""
    contrasts = [contrast for contrast, _ in found]
    tables = {index: table for index, (_, table) in enumerate(found) if table is not None}
    for clusters in {len(table.sums) for table in tables.values()}:
        counts = resample.cluster_counts(clusters, settings.resamples, settings.seed)
        members = [index for index, table in tables.items() if len(table.sums) == clusters]
        for start in range(0, len(members), AT_ONCE):
            chunk = members[start : start + AT_ONCE]
            sums, sizes = (np.hstack([getattr(tables[i], name) for i in chunk]) for name in ("sums", "sizes"))
            drawn = resample.bootstrap(cluster_table(sums, sizes), counts)
            low, high = resample.percentile_interval(drawn[1::2] - drawn[0::2], settings.level)
            for place, i in enumerate(chunk):
                contrasts[i] = replace(
                    contrasts[i], boot_low=float(low[place]) * 100, boot_high=float(high[place]) * 100
                )
    return contrasts
