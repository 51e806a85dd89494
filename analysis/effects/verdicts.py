"""Verdicts as non-inferiority trials give them: where an interval lies against 0 and against the margin.

One interval decides everything, so that a verdict and the interval beside it cannot disagree. Its ends are one-sided
bounds at half of 1 - level (2.5 % at a level of 95 %), as the CONSORT extension for non-inferiority recommends.

References:
    G. Piaggio et al., Reporting of noninferiority and equivalence randomized trials: extension of the CONSORT 2010
    statement, JAMA 308 (2012), 2594-2604.
"""

from __future__ import annotations

import math
from collections.abc import Set
from statistics import NormalDist
from typing import Literal

import numpy as np

from value_retention.analysis.stats.cluster import POWER, t_quantile

Verdict = Literal[
    "retained", "retained, lower", "degraded", "degraded beyond the margin", "improved", "inconclusive",
    "not tested", "cannot be judged: baseline near the floor", "cannot be judged: baseline near the ceiling",
]  # fmt: skip

Claim = Literal["kept", "lower", "beyond", "higher"]
"""``kept``: the loss is smaller than the margin. ``lower``: below 0. ``beyond``: a loss larger than the margin.
``higher``: above 0."""

SHOWN = ("retained", "retained, lower", "degraded", "degraded beyond the margin", "improved")
"""Verdicts that an interval shows."""

FLOOR: Verdict = "cannot be judged: baseline near the floor"
CEILING: Verdict = "cannot be judged: baseline near the ceiling"


def claims(low: float, high: float, margin: float | None) -> frozenset[Claim]:
    """What an interval shows.

    Args:
        low: Lower end, points.
        high: Upper end, points.
        margin: Points; None: only 0 is asked about.
    """
    found: dict[Claim, bool] = {"lower": high < 0, "higher": low > 0}
    if margin is not None:
        found["kept"] = low > -margin
        found["beyond"] = high < -margin
    return frozenset(claim for claim, shown in found.items() if shown)


def verdict_of(shown: Set[Claim]) -> Verdict:
    """The verdict that claims amount to."""
    if "beyond" in shown:
        return "degraded beyond the margin"
    if "lower" in shown:
        return "retained, lower" if "kept" in shown else "degraded"
    if "higher" in shown:
        return "improved"
    return "retained" if "kept" in shown else "inconclusive"


def is_final(shown: Set[Claim], margin: float | None) -> bool:
    """Whether nothing further could be claimed of a figure, so that its share of alpha is free for others.

    ``retained`` leaves open on which side of 0 the difference lies, ``degraded`` on which side of the margin.
    """
    sided = bool(shown & {"lower", "higher"})
    open_margin = margin is not None and "lower" in shown and not shown & {"kept", "beyond"}
    return sided and not open_margin


def limited(
    verdict: Verdict,
    low: float | None,
    high: float | None,
    score: float | None,
    margin: float,
) -> Verdict:
    """The verdict, unless the baseline leaves no room to lose or to gain.

    A score that is nearly 0 cannot lose a margin, whatever happened to the value; one that is nearly 100 cannot gain
    it.

    Args:
        verdict: From the interval.
        low: Lower end of the baseline's score interval, per cent; None where unknown.
        high: Upper end.
        score: The baseline's score.
        margin: Points.

    Returns:
        `FLOOR` for all but ``improved`` where the upper end is below twice the margin or the score does not exceed it;
        at the ceiling, `CEILING` in place of ``improved``.
    """
    near_floor = (high is not None and high < 2 * margin) or (score is not None and score <= margin)
    if near_floor and verdict != "improved":
        return FLOOR
    near_top = (low is not None and low > 100 - 2 * margin) or (score is not None and score >= 100 - margin)
    return CEILING if near_top and verdict == "improved" else verdict


def settling_se(difference: float, level: float, margin: float | None) -> float:
    """Standard error at which an inconclusive figure would be decided with a power of `POWER`.

    Args:
        difference: Estimate, points, taken for the truth.
        level: Level of the interval.
        margin: Points.

    Returns:
        Points. The nearest claim counts: above the loss of a margin, below 0 or above 0.
    """
    normal = NormalDist()
    distance = max(abs(difference), difference + margin if margin is not None else 0.0)
    return distance / (normal.inv_cdf((1 + level) / 2) + normal.inv_cdf(POWER))


def needed(
    se: float, target: float, noise: float | None, clusters: int, epochs: float
) -> tuple[int | None, int | None]:
    """Questions, or epochs, that would bring a standard error down to a target.

    Args:
        se: Standard error over new questions, points.
        target: Wanted standard error.
        noise: Part of ``se`` that comes from the answers' randomness (the standard error for these questions).
        clusters: Questions behind ``se``.
        epochs: Answers per question.

    Returns:
        Number of questions at as many epochs; number of epochs with the same questions, None where no number is
        enough or the noise is unknown. The first is None where ``se`` holds nothing but noise.
    """
    if target <= 0:
        return None, None
    between = max(se**2 - (noise or 0.0) ** 2, 0.0)
    questions = math.ceil(clusters * (se / target) ** 2)
    if noise is None or target**2 <= between:
        return questions, None
    return questions, math.ceil(epochs * noise**2 / (target**2 - between))


def half_width(se: float, df: float, level: float) -> float:
    """Half of a t interval."""
    return float(t_quantile(np.array([df]), (1 + level) / 2)[0]) * se
