"""Where an interval reaches its limits: few effective clusters, and rare grades."""

from __future__ import annotations

from value_retention.analysis.stats.cluster import MIN_DF

EXPECTED = 1.0
"""Effective clusters times the rarer outcome's share, below which intervals cover less than they say."""


def interval_caution(df: float | None, *scores: float | None) -> str | None:
    """A caution where a t interval covers less than it says; None elsewhere. Limits by simulation.

    Args:
        df: Degrees of freedom of the interval.
        scores: Scores of the sides, in [0, 1]; None where a side is not a score.
    """
    if df is None or df <= 0:
        return None
    if df < MIN_DF:
        return f"a few large clusters carry this figure (as many as {df + 1:.1f} equal ones)"
    rare = min((min(score, 1 - score) for score in scores if score is not None), default=1.0)
    if (df + 1) * rare < EXPECTED:
        return "grades of one kind are too rare for these clusters: a 95 % interval may cover only 90 to 93 %"
    return None
