"""The retained share: how much of what a training stage gave is left after the next one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from value_retention.analysis.effects.comparisons import Comparison
from value_retention.analysis.effects.estimate import weighted
from value_retention.analysis.effects.rows import CONSTANT, FEW, NO_GAIN, NO_SCORE, Share
from value_retention.analysis.runs.align import Metric, Panel, cluster_tables
from value_retention.analysis.stats.cluster import MIN_CLUSTERS, t_interval
from value_retention.analysis.stats.fieller import fieller
from value_retention.analysis.stats.settings import Settings
from value_retention.tasks.cluster import cluster_table, covariance


def retained_shares(
    panel: Panel,
    metrics: Sequence[Metric],
    comparisons: Sequence[Comparison],
    before: str,
    settings: Settings,
) -> list[Share]:
    """(post - before) / (baseline - before) of every primary comparison, overall and per language group.

    Args:
        panel: Runs of one benchmark, ``before`` among them.
        metrics: Its figures.
        comparisons: Those of the report; the primary ones are of post-trained runs against the baseline.
        before: The run before the value was trained in.
        settings: For the level.
    """
    main = [metric for metric in metrics if metric.kind in ("overall", "group")]
    first = np.array([float(run == before) for run in panel.runs])
    found = []
    for comparison in (c for c in comparisons if c.primary and c.baseline in panel.runs):
        gain = np.array([float(run == comparison.baseline) for run in panel.runs]) - first
        values = weighted(np.stack([comparison.weights + gain, gain]), panel.score)
        values[:, np.isnan(values).any(axis=0)] = np.nan
        table = cluster_tables(panel, main, values)
        for m, metric in enumerate(main):
            pick = np.array([m, len(main) + m])
            pair = cluster_table(table.sums[:, pick], table.sizes[:, pick])
            kept, gained = (None if np.isnan(x) else float(x) * 100 for x in pair.estimate)
            clusters = int(pair.clusters[0])
            reason = NO_SCORE if not clusters else FEW if clusters < MIN_CLUSTERS else None
            spread = covariance(pair)
            if reason is None and not spread.any():
                reason = CONSTANT
            ratio, shown = None, False
            if reason is None and kept is not None and gained is not None:
                ratio = fieller(kept, gained, spread * 1e4, clusters - 1.0, settings.level)
                shown = bool(t_interval(pair, settings.level).low[1] > 0)
                reason = None if ratio else NO_GAIN
            found.append(
                Share(
                    panel.benchmark,
                    metric.name,
                    before,
                    comparison.baseline,
                    comparison.run,
                    clusters,
                    gained,
                    kept,
                    ratio,
                    shown,
                    {"ratio": reason} if reason else {},
                )
            )
    return found
