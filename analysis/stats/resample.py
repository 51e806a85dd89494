"""Resampling clusters: the percentile bootstrap, as matrix products.

A bootstrap resample of clusters is a row of counts (how often each cluster was drawn), so all resamples of
all columns are one product, counts x sums. The counts depend on (clusters, resamples, seed) only and are
drawn once per process. They come from the same stream of random integers that `scipy.stats.bootstrap` uses,
so that both give the same resamples for the same seed.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from value_retention.tasks.cluster import ClusterTable, Floats

_ROUNDING = 1e-12
"""A mean of grades nearer to 0 is 0."""

_TAIL_STRIDE = 16
"""One resample in this many is sampled to find how far a tail reaches."""
_ROWS_AT_ONCE = 500  # Bincount of this many resamples stays in the processor's cache.


@lru_cache(maxsize=8)
def cluster_counts(clusters: int, resamples: int, seed: int) -> Floats:
    """How often each cluster is drawn in each resample.

    Args:
        clusters: Number of clusters to draw, with replacement, and to draw from.
        resamples: Number of resamples.
        seed: Seed of the random integers.

    Returns:
        Read-only array of shape (clusters, resamples); every column adds up to ``clusters``.
    """
    rng = np.random.default_rng(seed)
    counts = np.empty((clusters, resamples))
    for start in range(0, resamples, _ROWS_AT_ONCE):
        rows = min(_ROWS_AT_ONCE, resamples - start)
        drawn = rng.integers(0, clusters, (rows, clusters)) + np.arange(rows)[:, None] * clusters
        block = np.bincount(drawn.ravel(), minlength=rows * clusters).reshape(rows, clusters)
        counts[:, start : start + rows] = block.T
    counts.setflags(write=False)
    return counts


def bootstrap(table: ClusterTable, counts: Floats) -> Floats:
    """Every column's estimate in every resample.

    Args:
        table: Shape (clusters, columns).
        counts: `cluster_counts` for the same number of clusters.

    Returns:
        Shape (columns, resamples); NaN where no drawn cluster carries the column.
    """
    # Equal sizes (the usual case) need no second product: the denominator is the same in every resample.
    constant = (table.sizes == table.sizes[:1]).all(axis=0)
    scale = np.where(constant, table.sizes.sum(axis=0), 1.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        drawn: Floats = (table.sums / scale).T @ counts
        ragged = np.flatnonzero(~constant)
        if ragged.size:
            sizes, which = np.unique(table.sizes[:, ragged], axis=1, return_inverse=True)
            denominators = sizes.T @ counts
            drawn[ragged] /= denominators[which.ravel()]
    return drawn


def combine_bootstrap(drawn: Floats, weights: Floats) -> Floats:
    """Weighted mean of bootstrapped columns in each resample; columns missing in a resample are left out.

    Args:
        drawn: Shape (columns, resamples).
        weights: Shape (columns,).

    Returns:
        Shape (1, resamples).
    """
    there = np.isfinite(drawn)
    total = weights @ there
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(weights @ np.where(there, drawn, 0.0) / total)[None, :]


def percentile_interval(drawn: Floats, level: float = 0.95) -> tuple[Floats, Floats]:
    """Percentile interval of each bootstrapped column, interpolated as `numpy.percentile` does.

    Only the two tails are sorted. A sample of the resamples tells how far they reach; where a tail turns out too
    short, or a column has NaN, all of its resamples are sorted.

    Args:
        drawn: Shape (columns, resamples); NaN resamples are left out.
        level: Confidence level.

    Returns:
        Lower and upper ends, each of shape (columns,).
    """
    columns, resamples = drawn.shape
    ends = np.full((2, columns), np.nan)
    probabilities = ((1 - level) / 2, (1 + level) / 2)
    sample = np.sort(drawn[:, ::_TAIL_STRIDE], axis=1)
    # Four standard errors of the sample's own quantile further in than the end.
    reach = sample.shape[1] * probabilities[0] + 4 * np.sqrt(sample.shape[1] * probabilities[0]) + 1
    inside = min(int(reach), sample.shape[1] - 1)
    lows, highs = sample[:, inside], sample[:, -1 - inside]
    whole = ~np.isnan(drawn.min(axis=1, initial=np.inf))
    for column, row in enumerate(drawn):
        for end, probability in enumerate(probabilities):
            found = None
            if whole[column]:
                tail = row[row >= highs[column]] if end else row[row <= lows[column]]
                found = _at(tail, resamples - tail.size if end else 0, probability, resamples)
            if found is None:
                kept = row[~np.isnan(row)]
                found = _at(kept, 0, probability, kept.size)
            ends[end, column] = np.nan if found is None else found
    return ends[0], ends[1]


def bootstrap_p(drawn: Floats) -> Floats:
    """Two-sided p of each bootstrapped column against 0: 2(k + 1)/(B + 1), where k of B resamples reach 0.

    Of the two sides of 0, k is of the one that fewer resamples reach.

    Args:
        drawn: Shape (columns, resamples); NaN resamples are left out.

    Returns:
        Shape (columns,), in (0, 1].

    References:
        A. C. Davison and D. V. Hinkley, Bootstrap Methods and their Application, 1997, section 4.4.
    """
    reach = np.minimum((drawn <= _ROUNDING).sum(axis=1), (drawn >= -_ROUNDING).sum(axis=1))
    return np.asarray(
        np.minimum(2 * (reach + 1) / ((~np.isnan(drawn)).sum(axis=1) + 1), 1.0), dtype=np.float64
    )


def _at(part: Floats, first: int, probability: float, size: int) -> float | None:
    """A quantile of ``size`` values, of which ``part`` are those from place ``first`` on; None if not in it."""
    position = probability * (size - 1)
    below = int(position)
    above = min(below + 1, size - 1)
    if not size or below < first or above >= first + part.size:
        return None
    part = np.sort(part)
    one, other = float(part[below - first]), float(part[above - first])
    return one + (other - one) * (position - below)
