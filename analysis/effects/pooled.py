"""The dimensions of a comparison, partially pooled: exploratory, without a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from value_retention.analysis.effects.comparisons import Comparison
from value_retention.analysis.effects.estimate import weighted
from value_retention.analysis.runs.align import Panel, cluster_tables, metrics_of
from value_retention.analysis.stats.cluster import t_interval
from value_retention.analysis.stats.pooling import partial_pooling

EXPLORATORY = (
    "Exploratory: each dimension is moved towards the mean of all, the more the fewer questions it has. A dimension "
    "that stands alone is hidden by this. No verdict follows from it."
)


@dataclass(frozen=True)
class PooledDimension:
    """One dimension of one comparison, points.

    Attributes:
        benchmark: Its name.
        statement: The comparison in words.
        dimension: Its name.
        clusters: Independent questions.
        difference: The estimate alone.
        t_low: Lower end of its t interval.
        t_high: Upper end.
        pooled: The partially pooled estimate.
        low: Lower end of its interval.
        high: Upper end.
        common: Mean of all dimensions in the model.
    """

    benchmark: str
    statement: str
    dimension: str
    clusters: int
    difference: float
    t_low: float
    t_high: float
    pooled: float
    low: float
    high: float
    common: float


def pooled_dimensions(
    panel: Panel, comparisons: Sequence[Comparison], level: float = 0.95
) -> list[PooledDimension]:
    """Partially pooled differences of every dimension of every comparison.

    Args:
        panel: Runs of one benchmark.
        comparisons: Weights in the order of the panel's runs.
        level: Level of the intervals.

    Returns:
        Nothing for a comparison with fewer than three dimensions that can be tested.
    """
    metrics = [metric for metric in metrics_of(panel) if metric.kind == "dimension"]
    rows = []
    for comparison in comparisons:
        values = weighted(np.array([comparison.weights]), panel.score)
        table = cluster_tables(panel, metrics, values)
        found, plain = partial_pooling(table, level), t_interval(table, level)
        if found is None:
            continue
        for k in np.flatnonzero(np.isfinite(found.estimate)).tolist():
            rows.append(
                PooledDimension(
                    benchmark=panel.benchmark,
                    statement=comparison.statement,
                    dimension=metrics[k].name,
                    clusters=int(table.clusters[k]),
                    difference=float(plain.estimate[k]) * 100,
                    t_low=float(plain.low[k]) * 100,
                    t_high=float(plain.high[k]) * 100,
                    pooled=float(found.estimate[k]) * 100,
                    low=float(found.low[k]) * 100,
                    high=float(found.high[k]) * 100,
                    common=found.mean * 100,
                )
            )
    return rows
