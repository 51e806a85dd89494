"""Group-sequential comparisons: look at a growing number of epochs, and stop when the verdict is clear.

Looking several times at 5 % each errs more often than 5 %. Alpha spending (Lan and DeMets) gives every look a part of
the error rate, and the bounds follow from the joint distribution of the looks. Judging epoch by epoch has the canonical
one: the mean over the first j epochs and that over the first k > j have the covariance of the latter's variance, since
both hold the same questions. So the correlation of two looks is the ratio of their standard errors, for any split of
the error between questions and answers.

References:
    K. K. G. Lan and D. L. DeMets, Discrete sequential boundaries for clinical trials, Biometrika 70 (1983), 659-663.
    P. Armitage, C. K. McPherson and B. C. Rowe, Repeated significance tests on accumulating data, J. R. Stat. Soc. A
    132 (1969), 235-244. C. Jennison and B. W. Turnbull, Group Sequential Methods (2000), chapters 7, 9 and 19.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist
from typing import Literal

import numpy as np

from value_retention.tasks.cluster import Floats

Spending = Literal["obrien-fleming", "pocock"]

_NODES = 301
"""Points of the integration grid; bounds are exact to 0.001."""
_FAR = 8.0
_LEAST_STEP = 0.05
"""Least increment of the information, as a standard deviation of the standardised difference. A look that brought less
is bounded as if it had brought this, which is conservative."""


def spent(time: float, alpha: float, spending: Spending = "obrien-fleming") -> float:
    """Two-sided error rate spent up to a look.

    Args:
        time: Planned share of the information, from 0 to 1.
        alpha: Two-sided error rate of all looks.
        spending: ``obrien-fleming``: little at first, nearly all of it at the end. ``pocock``: about even.
    """
    if time >= 1:
        return alpha
    if spending == "pocock":
        return alpha * math.log(1 + (math.e - 1) * time)
    normal = NormalDist()
    # Each side spends alpha / 2 by the one-sided function.
    return 4 * (1 - normal.cdf(normal.inv_cdf(1 - alpha / 4) / math.sqrt(time)))


@lru_cache(maxsize=4096)
def boundaries(
    information: tuple[float, ...],
    alpha: float = 0.05,
    spending: Spending = "obrien-fleming",
    times: tuple[float, ...] | None = None,
) -> tuple[float, ...]:
    """Two-sided bounds of the standardised difference at each look.

    Under no effect, the probability that any look so far lies outside its bounds is `spent` at that look.

    Args:
        information: 1 / variance of the difference at each look, in any unit, not falling.
        alpha: Two-sided error rate of all looks.
        spending: Spending function.
        times: Spending times, fixed before the first look; None: the share of the last look's information.

    Returns:
        One bound per look.
    """
    shares = times if times is not None else tuple(i / information[-1] for i in information)
    found: list[float] = []
    grid: Floats = np.zeros(1)
    density: Floats = np.ones(1)
    before, last = 0.0, 0.0
    for share, level in zip(shares, information, strict=True):
        step = math.sqrt(max(level - last, _LEAST_STEP**2 * level))
        level = last + step**2
        new = spent(share, alpha, spending) - before
        before += new
        bound = _bound(grid, density, step, level, new) if new > 0 else math.inf
        found.append(bound)
        # The score process, by its density among the paths that are still inside.
        edge = min(bound, _FAR) * math.sqrt(level)
        after = np.linspace(-edge, edge, _NODES)
        density = _step(grid, density, after, step)
        grid, last = after, level
    return tuple(found)


def _bound(grid: Floats, density: Floats, step: float, level: float, new: float) -> float:
    """The bound that this look's part of the error rate lies outside of."""
    from scipy.special import ndtr

    weights = density * _simpson(grid)
    low, high = 0.0, 40.0
    for _ in range(60):
        middle = (low + high) / 2
        edge = middle * math.sqrt(level)
        outside = ndtr((-edge - grid) / step) + ndtr((grid - edge) / step)
        low, high = (middle, high) if float(weights @ outside) > new else (low, middle)
    return high


def _step(grid: Floats, density: Floats, after: Floats, step: float) -> Floats:
    """Density after a normal increment of standard deviation ``step``."""
    distance = (after[:, None] - grid[None, :]) / step
    kernel = np.exp(-(distance**2) / 2) / (step * math.sqrt(2 * math.pi))
    return np.asarray(kernel @ (density * _simpson(grid)), dtype=np.float64)


def _simpson(grid: Floats) -> Floats:
    """Weights of Simpson's rule; 1 for the single point where the process starts."""
    if len(grid) == 1:
        return np.ones(1)
    weights = np.full(len(grid), 2.0)
    weights[1::2] = 4.0
    weights[[0, -1]] = 1.0
    return np.asarray(weights * (grid[1] - grid[0]) / 3, dtype=np.float64)


def look_level(
    errors: Sequence[float],
    times: Sequence[float],
    alpha: float = 0.05,
    spending: Spending = "obrien-fleming",
) -> float:
    """Confidence level of the interval at the latest look, so that all intervals together err at most alpha.

    The interval is a repeated confidence interval: a t interval at this level covers at every look, so judging may
    stop at any of them.

    Args:
        errors: Standard error of the difference at each look so far, the latest last.
        times: Planned spending times of these looks; the last look of a plan has 1.
        alpha: Error rate of all looks.
        spending: Spending function.

    Returns:
        1 - the two-sided p that the latest bound stands for; 1.0 where the look cannot show anything.
    """
    # The estimate of an error may rise from look to look; information cannot fall.
    information = np.maximum.accumulate([1 / error**2 for error in errors])
    # Two decimals change a bound by less than 0.002, and let looks share their bounds.
    scaled = tuple(round(float(i), 2) for i in information / information[0])
    bound = boundaries(scaled, alpha, spending, tuple(times))[-1]
    return 1.0 if math.isinf(bound) else 1 - 2 * (1 - NormalDist().cdf(bound))


def planned_times(epochs: Sequence[int], question: float = 1.0, answer: float = 7.6) -> tuple[float, ...]:
    """Spending times of looks after these numbers of epochs: the share of the information that each has.

    The times must not depend on the data. The parts of the variance are those of `planning.power.ASSUMED`'s small
    spread on ANIMA; other true parts change the power, not the error rate.

    Args:
        epochs: Epochs at each look, rising.
        question: Variance of a question's difference.
        answer: Variance of one pair of answers, in the same unit.
    """
    variances = [question + answer / n for n in epochs]
    return tuple(variances[-1] / variance for variance in variances)
