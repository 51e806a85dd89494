"""Intervals of a comparison's columns: these questions, new seeds, and the bootstrap over clusters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from value_retention.analysis.effects.comparisons import Comparison
from value_retention.analysis.effects.rows import Interval
from value_retention.analysis.runs.align import Metric, Panel, cluster_tables, dimension_columns
from value_retention.analysis.stats import cluster, resample
from value_retention.analysis.stats.cluster import MIN_CLUSTERS
from value_retention.analysis.stats.seeds import SeedInterval, seed_interval
from value_retention.analysis.stats.settings import Settings
from value_retention.tasks.cluster import ClusterTable, Floats, take


def answer_noise(
    panel: Panel,
    metrics: Sequence[Metric],
    weights: Floats,
    both: NDArray[np.bool_],
    used: NDArray[np.int64],
    table: ClusterTable,
    level: float,
) -> cluster.TInterval:
    """Intervals for these very questions: only the answers are random, so only epochs vary.

    The variance of a question's mean over its epochs is estimated per run; the degrees of freedom are Satterthwaite's.
    Figures on dimensions have none here, nor has anything with one answer per question.

    Args:
        panel: The runs.
        metrics: M figures.
        weights: Shape (c, runs used).
        both: Whether all runs with a weight have the score, shape (c, n, 1 + D).
        used: Positions of the runs in the panel.
        table: Cluster table of the differences.
        level: Confidence level.
    """
    rows = np.array([metric.rows if metric.column == 0 else np.zeros_like(metric.rows) for metric in metrics])
    parts = np.nan_to_num(panel.noise[used])
    freedom = np.maximum(panel.answers[used] - 1, 1)
    inside, members = both[:, :, 0].astype(np.float64), rows.astype(np.float64).T
    total = (inside * (weights**2 @ parts)) @ members
    squared = (inside * (weights**4 @ (parts**2 / freedom))) @ members
    questions = inside @ members
    known = ~((weights != 0) @ np.isnan(panel.noise[used]).all(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        se = np.where(known[:, None], np.sqrt(total) / questions, np.nan).ravel()
        df = (total**2 / squared).ravel()
    half = cluster.t_quantile(df, (1 + level) / 2) * se
    return cluster.TInterval(table.estimate, se, df, table.estimate - half, table.estimate + half, level)


def in_points(found: cluster.TInterval) -> list[Interval | None]:
    """Each column's interval in points; None without a spread."""
    p = cluster.t_p_value(found.estimate, found.se, found.df).tolist()
    parts = zip(*(part.tolist() for part in (found.se * 100, found.df, found.low * 100, found.high * 100)), p,
                strict=True)  # fmt: skip
    return [Interval(*part) if part[0] > 0 and part[1] > 0 else None for part in parts]


def seed_intervals(
    panel: Panel,
    metrics: Sequence[Metric],
    comparisons: Sequence[Comparison],
    table: ClusterTable,
    interval: cluster.TInterval,
    settings: Settings,
) -> dict[int, SeedInterval]:
    """Interval over new training seeds of each column that has one."""
    found: dict[int, SeedInterval] = {}
    levels: Floats | None = None
    for c, comparison in enumerate(comparisons):
        recipes: dict[tuple[str, ...], list[int]] = {}
        for r, recipe in enumerate(comparison.recipes or ()):
            if recipe and comparison.weights[r]:
                recipes.setdefault(recipe, []).append(r)
        if not recipes or any(len(members) < 2 for members in recipes.values()):
            continue
        if levels is None:
            levels = cluster_tables(panel, metrics, panel.score).estimate.reshape(len(panel.runs), -1) * 100
        for m in range(len(metrics)):
            k = c * len(metrics) + m
            if table.clusters[k] < MIN_CLUSTERS or not interval.se[k] > 0:
                continue
            units = round(float(interval.df[k])) + 1
            parts = [(float(comparison.weights[rs].sum()), levels[rs, m]) for rs in recipes.values()]
            seeds = seed_interval(
                float(table.estimate[k]) * 100, float(interval.se[k]) * 100, units, parts,
                settings.level,
            )  # fmt: skip
            if seeds is not None:
                found[k] = seeds
    return found


def bootstrapped(panel: Panel, metrics: Sequence[Metric], table: ClusterTable, settings: Settings) -> Floats:
    """Percentile cluster bootstrap of every column that has enough clusters: lower end, upper end and p; NaN elsewhere.

    All clusters of the benchmark are resampled together, so a figure on part of the questions is a ratio
    of two random sums, and the dimension-normalized mean is taken anew in every resample.
    """
    counts = resample.cluster_counts(len(panel.clusters), settings.resamples, settings.seed)
    kinds = np.tile([metric.kind for metric in metrics], table.sums.shape[1] // len(metrics))
    tested = table.clusters >= MIN_CLUSTERS
    wanted = np.flatnonzero((tested | (kinds == "dimension")) & (kinds != "normalized"))
    drawn = resample.bootstrap(take(table, wanted), counts)
    place = {int(k): i for i, k in enumerate(wanted)}
    found = np.full((3, len(tested)), np.nan)
    dimensions = dimension_columns(metrics)
    for k in np.flatnonzero((kinds == "normalized") & tested).tolist():
        start = k // len(metrics) * len(metrics)
        whole = resample.combine_bootstrap(drawn[[place[start + d] for d in dimensions]], panel.weights)
        found[:, k : k + 1] = _low_high_p(whole, settings)
    found[:, wanted] = _low_high_p(drawn, settings)
    return np.where(tested, found, np.nan)


def _low_high_p(drawn: Floats, settings: Settings) -> Floats:
    return np.stack([*resample.percentile_interval(drawn, settings.level), resample.bootstrap_p(drawn)])
