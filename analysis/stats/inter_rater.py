"""Coefficients of agreement on pass/fail grades, and their cluster-bootstrap intervals.

Grades are 1 (pass) or 0 (fail). Every coefficient is a function of a few sums over units (`unit_sums`), so an
estimate and its 10,000 resamples are one matrix product and one formula; a library call per resample would
take minutes. Tests hold the formulas to `statsmodels.stats.inter_rater`, to the ``krippendorff`` package and
to these worked examples:

- Cohen, A coefficient of agreement for nominal scales, Educ. Psychol. Meas. 20 (1960), 37-46: kappa
- Gwet, Computing inter-rater reliability and its variance in the presence of high agreement, Br. J. Math.
  Stat. Psychol. 61 (2008), 29-48: 125 subjects rated 118, 5, 2, 0 have kappa -0.023, and AC1 0.941
- Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), section A: alpha 0.095

Kappa falls with the prevalence even where judges err as often: two judges that are each right in 95 % of the
cases have kappa .81 where half of the answers pass and .45 where 95 % do. So prevalence stands beside it, and
AC1. A unit that one rater graded says nothing about agreement and is left out of every sum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from value_retention.analysis.stats import resample
from value_retention.analysis.stats.cluster import MIN_CLUSTERS
from value_retention.tasks.cluster import Floats

NAMES = ("raw", "kappa", "ac1", "alpha", "shift")
"""The coefficients, in the order of `coefficients`."""

NOT_SHARED = "no answer was graded by two"
FEW = f"fewer than {MIN_CLUSTERS} clusters: described, no interval"
PAIR_ONLY = "defined for two judges"
NO_SPREAD = "no resample differs: no interval"
ALL_PASS = "every grade is a pass: undefined"
ALL_FAIL = "every grade is a fail: undefined"

UNSTABLE = 0.05
"""Share of resamples without a value above which an interval is not given."""

ROUNDING = 1e-6
"""Interval ends this close are one value, told apart by floating-point residue; a single grade in 100,000
moves a rate further."""


@dataclass(frozen=True)
class Coefficient:
    """A coefficient and its percentile cluster-bootstrap interval; ``reason`` says why any is missing."""

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str | None = None


def unit_sums(grades: Floats) -> Floats:
    """What each unit adds to the sums that all coefficients are made of.

    Args:
        grades: 1, 0 or NaN, shape (n, R).

    Returns:
        Shape (n, 8). Columns: 1; share of agreeing pairs of grades; share of passes; passes; grades; passes x
        fails / (grades - 1); pass of the first rater; pass of the last one. Zeros where fewer than two raters
        graded.
    """
    count = np.isfinite(grades).sum(axis=1).astype(np.float64)
    passes = np.nansum(grades, axis=1)
    fails = count - passes
    total, others = np.maximum(count, 2.0), np.maximum(count - 1, 1.0)
    columns = [
        np.ones(len(grades)),
        (passes * (passes - 1) + fails * (fails - 1)) / (total * others),
        passes / total,
        passes,
        count,
        passes * fails / others,
        np.nan_to_num(grades[:, 0]),
        np.nan_to_num(grades[:, -1]),
    ]
    sums: Floats = np.stack(columns, axis=1) * (count >= 2)[:, None]
    return sums


def coefficients(sums: Floats, pair: bool) -> Floats:
    """Raw agreement, kappa, AC1, alpha and shift from sums over units.

    ``shift`` is the last rater's pass rate less the first's: two judges can agree in 90 % of the cases and
    still place every score 10 points apart.

    Args:
        sums: `unit_sums` added up, shape (8, k).
        pair: Whether there are two raters; kappa and shift are NaN otherwise.

    Returns:
        Shape (5, k), in the order of `NAMES`; NaN where a coefficient is undefined: nothing was compared, or
        (kappa, alpha) every grade is the same.
    """
    units, agreeing, share, passes, count, crossed, first, last = sums
    with np.errstate(invalid="ignore", divide="ignore"):
        raw = agreeing / units
        prevalence = share / units
        chance = 2 * prevalence * (1 - prevalence)
        ac1 = (raw - chance) / (1 - chance)
        alpha = 1 - (count - 1) * crossed / (passes * (count - passes))
        a, b = first / units, last / units
        chance = a * b + (1 - a) * (1 - b)
        kappa = (raw - chance) / (1 - chance)
    constant = (passes == 0) | (passes == count)
    nothing = np.full(units.shape, np.nan)
    found: Floats = np.stack(
        [
            raw,
            np.where(constant, np.nan, kappa) if pair else nothing,
            ac1,
            np.where(constant, np.nan, alpha),
            b - a if pair else nothing,
        ]
    )
    return found


def with_intervals(sums: Floats, pair: bool, resamples: int, seed: int, level: float) -> list[Coefficient]:
    """Each coefficient with its percentile cluster-bootstrap interval, in the order of `NAMES`.

    Args:
        sums: `unit_sums` added up per cluster, shape (clusters, 8).
        pair: Whether there are two raters.
        resamples: Bootstrap resamples of clusters.
        seed: Their seed.
        level: Confidence level.
    """
    values = coefficients(sums.sum(axis=0)[:, None], pair)[:, 0].tolist()
    if len(sums) < MIN_CLUSTERS:
        return [
            Coefficient(None, reason=_undefined(name, sums, pair))
            if np.isnan(value)
            else Coefficient(value, reason=FEW)
            for name, value in zip(NAMES, values, strict=True)
        ]
    counts = resample.cluster_counts(len(sums), resamples, seed)
    drawn = coefficients(sums.T @ counts, pair)
    lost = np.isnan(drawn).mean(axis=1)
    low, high = resample.percentile_interval(drawn, level)
    found = []
    for k, value in enumerate(values):
        if np.isnan(value):
            found.append(Coefficient(None, reason=_undefined(NAMES[k], sums, pair)))
        elif lost[k] > UNSTABLE:
            why = f"undefined in {lost[k]:.0%} of the resamples: no interval"
            found.append(Coefficient(value, reason=why))
        elif high[k] - low[k] <= ROUNDING:
            found.append(Coefficient(value, reason=NO_SPREAD))
        else:
            found.append(Coefficient(value, float(low[k]), float(high[k])))
    return found


def _undefined(name: str, sums: Floats, pair: bool) -> str:
    if name in ("kappa", "shift") and not pair:
        return PAIR_ONLY
    if not len(sums):
        return NOT_SHARED
    return ALL_PASS if sums[:, 3].sum() else ALL_FAIL
