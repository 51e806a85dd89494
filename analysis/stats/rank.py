"""Rank correlation of two measures over a few checkpoints, with an exact permutation test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

MOST_PAIRINGS = 50_000
"""Pairings that are counted. 8 values have 40,320, all of which count; of more values, as many are drawn."""


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's rank correlation.

    Attributes:
        rho: In [-1, 1]; None with fewer than three values, or where a measure is constant.
        p: Two-sided permutation p: how often a random pairing has a rho as far from 0. None with ``rho``.
        n: Number of values.
    """

    rho: float | None
    p: float | None
    n: int


def rank_correlation(first: Sequence[float], second: Sequence[float], seed: int = 0) -> RankCorrelation:
    """Spearman's rho of two measures of the same checkpoints. Equal values share their mean rank.

    Args:
        first: One measure.
        second: The other, in the same order.
        seed: Of the pairings that are drawn where there are too many to count.
    """
    from scipy.stats import permutation_test, rankdata

    x, y = (np.asarray(rankdata(values), dtype=np.float64) for values in (first, second))
    x, y = x - x.mean(), y - y.mean()
    scale = float(np.sqrt((x**2).sum() * (y**2).sum()))
    if len(x) < 3 or scale == 0:
        return RankCorrelation(None, None, len(x))

    def distance(ranks: Any, axis: int = -1) -> Any:
        # Rounded, so that equal correlations of different pairings are equal.
        return np.abs(np.round((ranks * y).sum(axis=axis) / scale, 12))

    test = permutation_test(
        (x,), distance, permutation_type="pairings", vectorized=True, n_resamples=MOST_PAIRINGS,
        alternative="greater", rng=np.random.default_rng(seed),
    )  # fmt: skip
    return RankCorrelation(float((x * y).sum() / scale), float(test.pvalue), len(x))
