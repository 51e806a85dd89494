"""Two one-sided tests at a margin chosen beforehand, and the verdicts that follow.

"Not significant" is not "no effect". A verdict of no loss needs the whole interval inside the margin
(Schuirmann 1987; Lakens 2017); a verdict of loss needs the interval below zero. Anything else is inconclusive.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from value_retention.analysis.stats.cluster import ALPHA, Floats

Verdict = Literal["retained", "degraded", "improved", "inconclusive"]


def tost_p(estimate: Floats, se: Floats, df: Floats, margin: float) -> Floats:
    """p of the two one-sided t tests: small when the difference lies inside (-margin, margin).

    With one difference per cluster it is `statsmodels.stats.weightstats.ttost_paired`. ``p < 0.05`` is the
    same as the 90 % interval lying inside the margin.

    Args:
        estimate: Differences, in any unit.
        se: Their standard errors.
        df: Degrees of freedom.
        margin: Largest difference that counts as none, in the same unit, > 0.

    Returns:
        Larger of the two one-sided p values; NaN where there is no spread.
    """
    from scipy.special import stdtr

    with np.errstate(invalid="ignore", divide="ignore"):
        above = np.asarray(stdtr(df, -(estimate + margin) / se), dtype=np.float64)
        below = np.asarray(stdtr(df, (estimate - margin) / se), dtype=np.float64)
    return np.where((se > 0) & (df > 0), np.maximum(above, below), np.nan)


def verdict(tost: float, low: float, high: float, p: float) -> Verdict:
    """One of the four verdicts.

    A family of several tests passes its Holm-corrected p values, so that of all verdicts in a family
    at most one in twenty families holds a wrong one.

    Args:
        tost: p of the equivalence test.
        low: Lower end of the 95 % interval.
        high: Its upper end.
        p: p of the test against zero.

    Returns:
        ``retained`` when the difference is shown to lie inside the margin, however certain a small
        difference may be; else ``degraded`` or ``improved`` when it is shown to differ from zero; else
        ``inconclusive``.
    """
    if tost < ALPHA:
        return "retained"
    if p < ALPHA and high < 0:
        return "degraded"
    if p < ALPHA and low > 0:
        return "improved"
    return "inconclusive"


def holds_at_worst(judged: Verdict, low: float | None, high: float | None, margin: float) -> bool | None:
    """Whether a verdict would stand for every possible value of the missing grades.

    The verdict itself rests on the grades that were read.

    Args:
        judged: The verdict.
        low: Smallest possible difference.
        high: Largest possible difference.
        margin: The margin, in the same unit.

    Returns:
        False where ``retained`` could lie outside the margin, or a difference have the other sign or none;
        None for ``inconclusive``.
    """
    if judged == "inconclusive" or low is None or high is None:
        return None
    if judged == "retained":
        return -margin <= low and high <= margin
    return high < 0 if judged == "degraded" else low > 0
