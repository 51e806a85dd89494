"""Resampling clusters: the percentile bootstrap and the sign-flip test, as matrix products.

A bootstrap resample of clusters is a row of counts (how often each cluster was drawn), so all resamples of
all columns are one product, counts x sums. The counts depend on (clusters, resamples, seed) only and are
drawn once per process. They come from the same stream of random integers that `scipy.stats.bootstrap` uses,
so that both give the same resamples for the same seed.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from value_retention.analysis.stats.cluster import ClusterTable, Floats
from value_retention.analysis.stats.saddlepoint import flip_tail

EXACT_UP_TO = 22
"""Clusters up to which all 2**n sign patterns are counted instead of drawn."""
_FEW_EXTREME = 25
"""Below this number of extreme patterns among those drawn, p comes from the tail approximation."""

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


@lru_cache(maxsize=64)
def _signs(clusters: int, draws: int, seed: int) -> NDArray[np.float32]:
    """Random sign patterns, shape (draws, clusters)."""
    bits = np.random.default_rng([seed, clusters]).integers(0, 2, (draws, clusters), dtype=np.int8)
    random: NDArray[np.float32] = (1 - 2 * bits).astype(np.float32)
    return random


def sign_flip_p(table: ClusterTable, draws: int = 10_000, seed: int = 0) -> Floats:
    """Two-sided sign-flip permutation p of each column: the mean cluster difference against 0.

    Under no effect each cluster's difference is as likely to have the other sign. Up to `EXACT_UP_TO` clusters
    every pattern counts, as in `scipy.stats.permutation_test(permutation_type="samples")`; above, the p is
    ``(1 + as extreme) / (1 + draws)``. Where fewer than 25 of the patterns drawn are as extreme, this is too
    coarse for a large family of tests, and p comes from `saddlepoint.flip_tail`. `limits.smallest_p` has the
    smallest p that can be reached.

    Args:
        table: Shape (clusters, columns); clusters that do not carry a column are left out of it.
        draws: Random patterns.
        seed: Their seed.

    Returns:
        Shape (columns,); NaN for a column without clusters.
    """
    p_values = np.full(table.sums.shape[1], np.nan)
    for columns in _alike(table.sizes > 0):
        pattern = table.sizes[:, columns[0]] > 0
        clusters = int(pattern.sum())
        if not clusters:
            continue
        values = table.sums[np.ix_(pattern, columns)]
        if clusters <= EXACT_UP_TO:
            p_values[columns] = _exact_flip_p(values)
            continue
        flipped = np.abs(_signs(clusters, draws, seed) @ values.astype(np.float32))
        # Equal sums can differ by float32 rounding; grades are coarse, so a tie is a tie.
        edge = np.abs(values.sum(axis=0)) - 1e-6 * np.abs(values).sum(axis=0)
        extreme = (flipped >= edge).sum(axis=0)
        found = (1 + extreme) / (1 + draws)
        rare = np.flatnonzero(extreme < _FEW_EXTREME)
        if rare.size:
            found[rare] = flip_tail(values[:, rare])
        p_values[columns] = found
    return p_values


def _alike(carried: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """Positions of the columns that equal each other, a group for each pattern."""
    packed = np.ascontiguousarray(np.packbits(carried, axis=0).T)
    keys = packed.view(f"V{packed.shape[1]}").ravel()
    _, which, counts = np.unique(keys, return_inverse=True, return_counts=True)
    return np.split(np.argsort(which, kind="stable"), np.cumsum(counts)[:-1])


def _exact_flip_p(values: Floats) -> Floats:
    """Share of all sign patterns whose sum is as far from 0, each column; shape (clusters, columns) in.

    Every sum is one of the sums over the first half of the clusters plus one over the second half, so counting
    them takes two short sorted lists. The first sign is fixed: a pattern and its opposite are as extreme.
    """
    half = len(values) // 2 + 1
    first, second = _all_sums(values[:half])[: 2 ** (half - 1)], np.sort(_all_sums(values[half:]), axis=0)
    edges = np.abs(values.sum(axis=0)) - 1e-6 * np.abs(values).sum(axis=0)
    p = np.empty(values.shape[1])
    for column, edge in enumerate(edges):
        part, other = first[:, column], second[:, column]
        above = len(other) - np.searchsorted(other, edge - part, side="left")
        below = np.searchsorted(other, -edge - part, side="right")
        # An edge of 0 or less holds every pattern, which both sides would count.
        p[column] = 1.0 if edge <= 0 else (above.sum() + below.sum()) / (len(part) * len(other))
    return p


def _all_sums(values: Floats) -> Floats:
    """Sums over the rows with every pattern of signs, shape (2**rows, columns); the first sign changes last."""
    sums = np.zeros((1, values.shape[1]))
    for row in values[::-1]:
        sums = np.concatenate([sums + row, sums - row])
    return sums
