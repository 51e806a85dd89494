"""Intervals for a proportion that was estimated from clusters: Wilson's, which stays within 0 and 1.

A score is a mean of grades, and grades of one question are not independent. So Wilson's interval takes the
effective sample size: the number of independent grades that would give the cluster-robust standard error
(Korn and Graubard, Confidence intervals for proportions with small expected number of positive counts
estimated from survey data, Surv. Methodol. 24 (1998), 193-201).
"""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np

from value_retention.analysis.stats.cluster import t_quantile
from value_retention.tasks.cluster import ClusterTable, Floats, degrees_of_freedom, standard_error


def effective_sizes(
    value: Any, se: Any, clusters: Any, most: Any, level: float = 0.95, df: Any = None
) -> Floats:
    """Number of independent grades that each estimated proportion is worth; arguments broadcast.

    Args:
        value: Proportions in [0, 1].
        se: Their cluster-robust standard errors; NaN where one cluster carries the proportion.
        clusters: Clusters behind each.
        most: Upper limit: the number of grades, or fewer where they are weighted.
        level: Confidence level of the interval (few clusters widen Student's t).
        df: Degrees of freedom of ``se``. None for clusters - 1.

    Returns:
        At most ``most``. A proportion without spread to estimate from is worth its clusters.
    """
    value, se, clusters, most = (np.asarray(x, dtype=np.float64) for x in (value, se, clusters, most))
    normal = NormalDist().inv_cdf((1 + level) / 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        student = t_quantile(clusters - 1 if df is None else np.asarray(df), (1 + level) / 2)
        size = value * (1 - value) / se**2 * (normal / student) ** 2
    known = (value > 0) & (value < 1) & (se > 0)
    return np.asarray(np.minimum(np.where(known, size, clusters), most), dtype=np.float64)


def wilson_ends(value: Any, size: Any, level: float = 0.95) -> tuple[Floats, Floats]:
    """Wilson's score interval (J. Am. Stat. Assoc. 22 (1927), 209-212); arguments broadcast.

    Args:
        value: Proportions in [0, 1].
        size: Independent grades behind each.
        level: Confidence level.
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    p, n = np.asarray(value, dtype=np.float64), np.asarray(size, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    # At 0 and 1 the end is the proportion itself; rounding would leave some 1e-17.
    return np.clip(middle - half, 0.0, p), np.clip(middle + half, p, 1.0)


def score_interval(table: ClusterTable, grades: Any, level: float = 0.95) -> tuple[Floats, Floats]:
    """Wilson interval of each column's estimate, which is a score in [0, 1].

    Args:
        table: Shape (clusters, columns).
        grades: Grades behind each column.
        level: Confidence level.

    Returns:
        Lower and upper ends in [0, 1]; NaN for a column that no cluster carries.
    """
    value = np.clip(table.estimate, 0.0, 1.0)
    df = degrees_of_freedom(table)
    size = effective_sizes(value, standard_error(table), table.clusters, grades, level, df)
    return wilson_ends(value, size, level)
