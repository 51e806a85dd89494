"""Intervals, tests and power on the tables of `tasks.cluster`: many differences at once, one row per cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from value_retention.tasks.cluster import ClusterTable, Floats, degrees_of_freedom, standard_error

MIN_CLUSTERS = 6
"""Fewer clusters are described, never tested: with n clusters, all differences have one sign by chance in 2 / 2**n."""

MIN_DF = 5.0
"""Below these degrees of freedom, a few large clusters carry the figure: 95 % intervals cover 97 to 99.9 %."""

ALPHA = 0.05

POWER = 0.8
"""Probability with which what is called detectable, or said to settle a figure, is shown."""


@dataclass(frozen=True)
class TInterval:
    """Cluster t intervals; every array has shape (columns,). NaN where there are too few clusters.

    Attributes:
        estimate: The figure.
        se: Its standard error.
        df: Degrees of freedom; clusters that carry the column, less one, where they are equally large.
        low: Lower end.
        high: Upper end.
        level: Confidence level.
    """

    estimate: Floats
    se: Floats
    df: Floats
    low: Floats
    high: Floats
    level: float


def t_interval(table: ClusterTable, level: float = 0.95) -> TInterval:
    """Cluster t interval: one difference per cluster, clusters independent.

    With equally large clusters it is ``scipy.stats.ttest_1samp(cluster_means, 0).confidence_interval()``;
    otherwise the ratio of sums is linearised (Cochran, Sampling Techniques, 1977, section 6.5), with the
    error and the degrees of freedom below.

    Args:
        table: Shape (clusters, columns).
        level: Confidence level.

    Returns:
        Intervals; ``se`` and the ends are NaN for fewer than two clusters.
    """
    df = degrees_of_freedom(table)
    se = standard_error(table)
    half = t_quantile(df, (1 + level) / 2) * se
    return TInterval(table.estimate, se, df, table.estimate - half, table.estimate + half, level)


def t_quantile(df: Floats, probability: float) -> Floats:
    """Quantile of Student's t; NaN where df < 1."""
    from scipy.special import stdtrit

    quantile: Floats = np.asarray(stdtrit(np.where(df >= 1, df, 1.0), probability), dtype=np.float64)
    return np.where(df >= 1, quantile, np.nan)


def t_p_value(estimate: Floats, se: Floats, df: Floats) -> Floats:
    """Two-sided p of Student's t; NaN where there is no spread or no degree of freedom."""
    from scipy.special import stdtr

    with np.errstate(invalid="ignore", divide="ignore"):
        p = 2 * np.asarray(stdtr(df, -np.abs(estimate / se)), dtype=np.float64)
    return np.where((se > 0) & (df > 0), p, np.nan)


@lru_cache(maxsize=256)
def detectable_in_sd(clusters: int, power: float) -> float:
    """Smallest true mean difference, in standard deviations of the clusters, found with the given power.

    The same as `statsmodels.stats.power.TTestPower().solve_power`, without its second of imports. For
    `MIN_CLUSTERS` and more; below, the noncentral t of scipy is not exact enough.
    """
    from scipy.special import nctdtr

    df = clusters - 1.0
    critical = float(t_quantile(np.array([df]), 1 - ALPHA / 2)[0])

    def found(shift: float) -> float:
        return float(1 - nctdtr(df, shift, critical) + nctdtr(df, shift, -critical))

    low, high = 0.0, 2 * critical + 10
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if found(middle) < power else (low, middle)
    return high / float(np.sqrt(clusters))


def minimum_detectable(se: float, clusters: int, power: float = POWER) -> float:
    """Minimum detectable effect of a two-sided paired t test at 5 %, in the unit of ``se``.

    Args:
        se: Standard error of the difference.
        clusters: Clusters it rests on, at least `MIN_CLUSTERS`.
        power: Probability of finding an effect of that size.
    """
    return detectable_in_sd(clusters, power) * se * float(np.sqrt(clusters))


def adjust(p_values: Sequence[float | None], method: Literal["holm", "bh"]) -> list[float | None]:
    """Correct the tests of one family; missing tests stay missing and do not count.

    The same as `statsmodels.stats.multitest.multipletests`, which runs the garbage collector every time.

    Args:
        p_values: Raw p values, None where nothing was tested.
        method: ``holm`` (family-wise error, for claims) or ``bh`` (Benjamini-Hochberg's false discovery
            rate, for exploring).
    """
    present = [index for index, p in enumerate(p_values) if p is not None]
    raw = np.array([p_values[index] for index in present], dtype=np.float64)
    order = np.argsort(raw, kind="stable")
    ranks = np.arange(1, len(raw) + 1)
    if method == "holm":
        stepped = np.maximum.accumulate(raw[order] * (len(raw) + 1 - ranks))
    else:
        stepped = np.minimum.accumulate((raw[order] * len(raw) / ranks)[::-1])[::-1]
    corrected: list[float | None] = [None] * len(p_values)
    for place, p in zip(order, np.minimum(stepped, 1.0).tolist(), strict=True):
        corrected[present[place]] = p
    return corrected
