"""Partial pooling of several figures of one comparison: an exploratory view, never a verdict.

Each dimension rests on few questions, so the largest differences are mostly noise. Partial pooling moves every estimate
towards their common mean, the more the noisier it is. It helps where all dimensions lost or gained alike, and hides a
dimension that stands alone; so it never replaces the estimate itself.

The model is y ~ N(true, V), true_d ~ N(mean, sd**2), with V the cluster-robust covariance of the estimates, which share
questions and answers. The mean and the true values are integrated out; sd is averaged over a grid, its prior flat.

References:
    A. Gelman et al., Bayesian Data Analysis, 3rd edition (2013), section 5.4; R. E. Fay and R. A. Herriot, Estimates
    of income for small places, J. Am. Stat. Assoc. 74 (1979), 269-277.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from value_retention.analysis.stats.cluster import (
    MIN_CLUSTERS,
    ClusterTable,
    Floats,
    standard_error,
    t_quantile,
)

_GRID = 60


@dataclass(frozen=True, eq=False)
class Pooled:
    """Partially pooled estimates; arrays of shape (columns,), NaN for a column that is not in the model.

    Attributes:
        estimate: Posterior means.
        low: Lower ends of their intervals.
        high: Upper ends.
        mean: Common mean.
        sd: Posterior mean of the standard deviation of the true values around it.
    """

    estimate: Floats
    low: Floats
    high: Floats
    mean: float
    sd: float


def partial_pooling(table: ClusterTable, level: float = 0.95) -> Pooled | None:
    """Partially pooled estimates of the columns of one comparison, in the table's unit.

    Args:
        table: One column per figure, such as a dimension; shape (clusters, columns).
        level: Level of the intervals.

    Returns:
        None with fewer than three columns on `MIN_CLUSTERS` clusters, where a spread cannot be told.
    """
    se = standard_error(table)
    used = np.flatnonzero((table.clusters >= MIN_CLUSTERS) & (se > 0))
    if len(used) < 3:
        return None
    influence = table.influence[:, used] / np.sqrt((table.influence[:, used] ** 2).sum(axis=0))
    covariance = (influence.T @ influence) * np.outer(se[used], se[used])
    found = pooled(table.estimate[used], covariance, table.clusters[used].astype(np.float64) - 1, level)
    whole = np.full((3, len(se)), np.nan)
    whole[:, used] = found.estimate, found.low, found.high
    return Pooled(whole[0], whole[1], whole[2], found.mean, found.sd)


def pooled(observed: Floats, covariance: Floats, df: Floats, level: float = 0.95) -> Pooled:
    """Partially pooled estimates from estimates and their covariance.

    Args:
        observed: Shape (columns,), three or more.
        covariance: Of the estimates, shape (columns, columns).
        df: Degrees of freedom of each variance, for the width of the intervals.
        level: Level of the intervals.
    """
    # Three times the spread that is seen bounds the spread that is likely.
    least = float(np.sqrt(np.diag(covariance).min()))
    grid = np.linspace(0, 3 * max(float(observed.std()), least), _GRID)
    parts = [_given_spread(observed, covariance, sd) for sd in grid]
    weight = np.exp(np.array([part[0] for part in parts]) - max(part[0] for part in parts))
    weight /= weight.sum()
    means, variances = (np.array([part[k] for part in parts]) for k in (1, 2))
    estimate = weight @ means
    spread = np.sqrt(weight @ (variances + (means - estimate) ** 2))
    half = t_quantile(df, (1 + level) / 2) * spread
    mean = float(weight @ np.array([part[3] for part in parts]))
    return Pooled(estimate, estimate - half, estimate + half, mean, float(weight @ grid))


def _given_spread(observed: Floats, covariance: Floats, sd: float) -> tuple[float, Floats, Floats, float]:
    """Log marginal likelihood of a spread, and the means, variances and common mean of the true values given it."""
    size = len(observed)
    # A trace of the noise keeps the matrix regular where two figures carry the same questions.
    total = covariance + (sd**2 + 1e-9 * float(np.trace(covariance)) / size) * np.eye(size)
    precision = np.linalg.inv(total)
    mean_variance = 1 / float(precision.sum())
    mean = float(precision.sum(axis=0) @ observed) * mean_variance
    residual = observed - mean
    log_likelihood = -0.5 * (
        float(np.linalg.slogdet(total)[1]) - np.log(mean_variance) + float(residual @ precision @ residual)
    )
    kept = sd**2 * precision
    # The part that the common mean leaves undecided, carried to every true value.
    carried = 1 - kept.sum(axis=1)
    variances = sd**2 * (1 - np.diag(kept)) + carried**2 * mean_variance
    return log_likelihood, mean + kept @ residual, variances, mean
