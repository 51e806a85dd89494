"""Small sign-flip p values, by a saddlepoint approximation of the distribution of a sum with random signs.

Random sign patterns cannot show a p below 1 / (patterns + 1). The saddlepoint approximation can, with a small
relative error also far out in the tail.

References:
    J. Robinson, Saddlepoint approximations for permutation tests and confidence intervals, J. R. Stat. Soc. B 44
    (1982), 91-101. R. Lugannani and S. Rice, Saddle point approximation for the distribution of the sum of
    independent random variables, Adv. Appl. Probab. 12 (1980), 475-490.
"""

from __future__ import annotations

import numpy as np

from value_retention.analysis.stats.cluster import Floats

_STEPS = 80  # Newton's steps; a sum one flip from its maximum needs about 40.


def flip_tail(values: Floats) -> Floats:
    """Two-sided sign-flip p of each column's sum.

    Grades are coarse, so sums lie on a lattice. The tail starts one smallest flip before the observed sum. That is
    the continuity correction for a lattice of that step; for a finer one it is conservative.

    Args:
        values: One number per cluster, shape (clusters, columns).

    Returns:
        Shape (columns,), at least 2 / 2**n for n clusters with a number other than 0; 1 without any.
    """
    size = np.abs(values)
    flips = (size > 0).sum(axis=0)
    scale = np.sqrt((size**2).sum(axis=0))
    x = size / np.where(scale > 0, scale, 1.0)
    step = np.where(x > 0, x, np.inf).min(axis=0, initial=np.inf)
    edge = np.abs(values.sum(axis=0)) / np.where(scale > 0, scale, 1.0) - step
    p = np.ones(values.shape[1])
    # Next to the middle the formula is 0 / 0, and the p is near 1.
    columns = np.flatnonzero((edge > 0.1) & (flips > 0))
    if columns.size:
        least = 2.0 ** (1 - flips[columns])
        p[columns] = np.clip(2 * _upper_tail(x[:, columns], edge[columns]), least, 1.0)
    return p


def _upper_tail(x: Floats, edge: Floats) -> Floats:
    """P(sum of +-x >= edge) by the formula of Lugannani and Rice; every column of x has a sum of squares of 1."""
    from scipy.special import ndtr

    t = edge.copy()
    for _ in range(_STEPS):
        # The derivative of the cumulant function is concave: Newton's steps never pass the root.
        slope = np.tanh(t * x)
        gap = edge - (x * slope).sum(axis=0)
        t += gap / (x**2 * (1 - slope**2)).sum(axis=0)
        if (gap < 1e-9).all():
            break
    tilted = t * x
    cumulant = (tilted + np.log1p(np.exp(-2 * tilted)) - np.log(2)).sum(axis=0)
    w = np.sqrt(2 * (t * edge - cumulant))
    u = t * np.sqrt((x**2 * (1 - np.tanh(tilted) ** 2)).sum(axis=0))
    density = np.exp(-(w**2) / 2) / np.sqrt(2 * np.pi)
    return np.asarray(ndtr(-w) + density * (1 / u - 1 / w), dtype=np.float64)
