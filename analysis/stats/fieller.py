"""Ratio of two estimates with Fieller's interval, which may be unbounded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from value_retention.analysis.stats.cluster import t_quantile
from value_retention.tasks.cluster import Floats

NEGLIGIBLE = 0.01
"""A denominator below this part of its standard error is 0 for every purpose: even its sign is not known."""


@dataclass(frozen=True)
class Ratio:
    """A ratio and the set of ratios that the data do not exclude.

    Attributes:
        estimate: Numerator / denominator.
        kind: ``bounded``: the set is [low, high]. ``unbounded``: the denominator may be zero; the set is
            everything outside (low, high), or, with both None, every number.
        low: See ``kind``.
        high: See ``kind``.
    """

    estimate: float
    kind: Literal["bounded", "unbounded"]
    low: float | None
    high: float | None

    def text(self) -> str:
        """The interval in words."""
        if self.low is None or self.high is None:
            return f"{_two(self.estimate)}, unbounded (any ratio)"
        if self.kind == "bounded":
            return f"{_two(self.estimate)} [{_two(self.low)}, {_two(self.high)}]"
        return f"{_two(self.estimate)}, unbounded (below {_two(self.low)} or above {_two(self.high)})"


def _two(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def fieller(
    numerator: float, denominator: float, covariance: Floats, df: float, level: float = 0.95
) -> Ratio | None:
    """Fieller's interval for ``numerator / denominator``.

    The set of r for which ``numerator - r * denominator`` is within t standard errors of zero: a quadratic
    in r. It is bounded only when the denominator itself differs from zero at the same level.

    Args:
        numerator: Estimate above the line.
        denominator: Estimate below it.
        covariance: Of (numerator, denominator), shape (2, 2).
        df: Degrees of freedom of the t quantile.
        level: Confidence level.

    Returns:
        The ratio, or None when the denominator is below `NEGLIGIBLE` of its standard error.

    References:
        E. C. Fieller, Some problems in interval estimation, J. R. Stat. Soc. B 16 (1954).
    """
    # The second term is the rounding of a difference of scores, where the error is 0 too.
    error = float(np.sqrt(covariance[1, 1]))
    if abs(denominator) <= max(NEGLIGIBLE * error, 1e-12 * max(1.0, abs(numerator))):
        return None
    t2 = float(t_quantile(np.array([df]), (1 + level) / 2)[0]) ** 2
    a = denominator**2 - t2 * float(covariance[1, 1])
    b = numerator * denominator - t2 * float(covariance[0, 1])
    c = numerator**2 - t2 * float(covariance[0, 0])
    estimate = numerator / denominator
    inside = b * b - a * c
    if a <= 0 and inside <= 0:
        return Ratio(estimate, "unbounded", None, None)
    root = float(np.sqrt(max(inside, 0.0)))
    if a == 0:
        return Ratio(estimate, "unbounded", None, None)
    low, high = sorted(((b - root) / a, (b + root) / a))
    return Ratio(estimate, "bounded" if a > 0 else "unbounded", low, high)
