"""Scores corrected for a judge's errors, with intervals.

A judge that passes a share ``sensitivity`` of the answers people pass, and fails a share ``specificity`` of
those people fail, shows a score of ``p = sensitivity t + (1 - specificity)(1 - t)`` where people's is t.
Solved for t this is the estimator of Rogan and Gladen, Estimating prevalence from results of a screening
test, Am. J. Epidemiol. 107 (1978), 71-76. It holds for every weighted mean of grades, so for a score that
averages dimensions, epochs and questions too, as long as the judge errs alike on all of them.

All three quantities are estimated. Their uncertainty is put together as in Lang and Reiczigel, Confidence
limits for prevalence of disease adjusted for estimated sensitivity and specificity, Prev. Vet. Med. 113
(2014), 13-22. Grades of one question are not independent, so each sample size is the effective one: the
number of independent grades that would give the cluster-robust standard error (Korn and Graubard, Surv.
Methodol. 24 (1998), 193-201; for prevalences, Bayer, Fay and Graubard, arXiv 2205.13494).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from value_retention.analysis.stats.proportion import effective_sizes, wilson_ends


@dataclass(frozen=True)
class Proportion:
    """A proportion and the number of independent grades that it is worth."""

    value: float
    size: float

    @property
    def variance(self) -> float:
        """Of the estimate."""
        return self.value * (1 - self.value) / self.size


@dataclass(frozen=True)
class Corrected:
    """A corrected score in [0, 1].

    Attributes:
        value: The estimate, clipped to [0, 1].
        unclipped: The estimate as it came out.
        low: Lower end, clipped.
        high: Upper end, clipped.
    """

    value: float
    unclipped: float
    low: float
    high: float


def effective_size(value: float, se: float, clusters: int, most: float, level: float = 0.95) -> float:
    """Independent grades that one estimated proportion is worth; see `proportion.effective_sizes`."""
    return float(effective_sizes(value, se, clusters, most, level))


def wilson(share: Proportion, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of one proportion."""
    low, high = wilson_ends(share.value, share.size, level)
    return float(low), float(high)


def informedness(
    sensitivity: Proportion, specificity: Proportion, level: float = 0.95
) -> tuple[float, float]:
    """Sensitivity + specificity - 1, and the lower end of its interval; 0 is a judge no better than chance.

    The interval is that of a difference of two proportions, sensitivity less false-pass rate (Newcombe,
    method 10, Stat. Med. 17 (1998), 873-890).
    """
    value = sensitivity.value + specificity.value - 1
    below = sensitivity.value - wilson(sensitivity, level)[0]
    below_too = specificity.value - wilson(specificity, level)[0]
    return value, value - math.hypot(below, below_too)


def rogan_gladen(apparent: float, sensitivity: float, specificity: float) -> float:
    """The corrected proportion, not clipped."""
    return (apparent + specificity - 1) / (sensitivity + specificity - 1)


def corrected_score(
    apparent: Proportion, sensitivity: Proportion, specificity: Proportion, level: float = 0.95
) -> Corrected:
    """Rogan-Gladen estimate with the interval of Lang and Reiczigel (their equations 2, 6, 7, 16 and 17).

    In their equation 4 the last squared factor is (1 - P), not (1 + P) as printed.

    Args:
        apparent: The score by the judge.
        sensitivity: Share of the answers that people pass which the judge passes.
        specificity: Share of the answers that people fail which the judge fails.
        level: Confidence level.
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    shown = _shrunk(apparent, z**2)
    right, wrong = _shrunk(sensitivity, 2), _shrunk(specificity, 2)
    slope = right.value + wrong.value - 1
    middle = rogan_gladen(shown.value, right.value, wrong.value)
    shift = 2 * z**2 * (middle * right.variance - (1 - middle) * wrong.variance)
    spread = shown.variance + middle**2 * right.variance + (1 - middle) ** 2 * wrong.variance
    half = z * math.sqrt(spread) / slope
    value = rogan_gladen(apparent.value, sensitivity.value, specificity.value)
    return Corrected(
        min(max(value, 0.0), 1.0),
        value,
        min(max(middle + shift - half, 0.0), 1.0),
        min(max(middle + shift + half, 0.0), 1.0),
    )


@dataclass(frozen=True)
class Difference:
    """A difference in [-1, 1] with its interval, and the p of the test against 0 where there is one."""

    value: float
    low: float
    high: float
    p: float | None = None


def difference_of(before: Proportion, after: Proportion, level: float = 0.95) -> Difference:
    """Difference of two independent proportions: Newcombe's interval, and the p of the score test.

    Args:
        before: The proportion that is subtracted.
        after: The other one.
        level: Confidence level.

    References:
        R. G. Newcombe, Interval estimation for the difference between independent proportions, Stat. Med. 17
        (1998), 873-890, method 10.
    """
    value = after.value - before.value
    (low, high), (low0, high0) = wilson(after, level), wilson(before, level)
    ends = (
        value - math.hypot(after.value - low, high0 - before.value),
        value + math.hypot(high - after.value, before.value - low0),
    )
    pooled = (after.value * after.size + before.value * before.size) / (after.size + before.size)
    variance = pooled * (1 - pooled) * (1 / after.size + 1 / before.size)
    p = 2 * NormalDist().cdf(-abs(value) / math.sqrt(variance)) if variance > 0 else 1.0
    return Difference(value, *ends, p)


@dataclass(frozen=True)
class Measured:
    """One side of a corrected difference: the score by the judge, and the judge's rates on this side."""

    apparent: Proportion
    sensitivity: Proportion
    specificity: Proportion


def corrected_difference(
    before: Measured, after: Measured, covariance: float = 0.0, level: float = 0.95
) -> Difference:
    """Difference of two corrected scores, each corrected with its own rates.

    The interval puts those of the two scores together (method of variance estimates recovery): the distance from
    each score to the end of its interval stands for its standard error in that direction.

    Args:
        before: The side that is subtracted.
        after: The other one.
        covariance: Of the two scores by the judge, which answer the same questions.
        level: Confidence level.

    References:
        G. Y. Zou and A. Donner, Construction of confidence limits about effect measures: a general approach, Stat.
        Med. 27 (2008), 1693-1702; with a correlation: G. Y. Zou, Am. J. Epidemiol. 168 (2008), 212-224.
    """
    scores = [
        corrected_score(side.apparent, side.sensitivity, side.specificity, level) for side in (before, after)
    ]
    first, second = scores
    slopes = [side.sensitivity.value + side.specificity.value - 1 for side in (before, after)]
    spread = math.prod(
        math.sqrt(
            side.apparent.variance
            + score.unclipped**2 * side.sensitivity.variance
            + (1 - score.unclipped) ** 2 * side.specificity.variance
        )
        / slope
        for side, score, slope in zip((before, after), scores, slopes, strict=True)
    )
    correlation = min(max(covariance / math.prod(slopes) / spread, 0.0), 0.99) if spread > 0 else 0.0
    value = second.unclipped - first.unclipped

    def reach(one: float, other: float) -> float:
        one, other = max(one, 0.0), max(other, 0.0)
        return math.sqrt(one**2 + other**2 - 2 * correlation * one * other)

    low = value - reach(second.value - second.low, first.high - first.value)
    high = value + reach(second.high - second.value, first.value - first.low)
    return Difference(value, max(low, -1.0), min(high, 1.0))


def _shrunk(share: Proportion, extra: float) -> Proportion:
    """With ``extra`` grades more, half of them passes."""
    size = share.size + extra
    return Proportion((share.value * share.size + extra / 2) / size, size)
