"""Where a test or an interval reaches its limits: the smallest p there is, families that cannot reject, rare grades."""

from __future__ import annotations

from collections.abc import Sequence

from value_retention.analysis.stats.cluster import ALPHA, MIN_DF

EXPECTED = 1.0
"""Effective clusters times the rarer outcome's share, below which intervals cover less than they say."""


def smallest_p(clusters: int) -> float:
    """Smallest sign-flip p that this number of clusters can reach: all differences have one sign."""
    return 2.0 ** (1 - clusters) if clusters > 0 else 1.0


def can_reject(clusters: Sequence[int | None], alpha: float = ALPHA) -> bool:
    """Whether Holm's correction can reject any test of a family.

    Args:
        clusters: Clusters of each test in the family; None for one that is not tested.
        alpha: Level of the family.

    Returns:
        False where even the smallest p values that the tests can reach are not small enough.
    """
    best = [smallest_p(n) for n in clusters if n is not None]
    return bool(best) and min(best) * len(best) < alpha


def cannot_reject(family: str, clusters: Sequence[int | None], alpha: float = ALPHA) -> str | None:
    """A warning for a family of tests that cannot reject with any grades; None for other families."""
    tested = [n for n in clusters if n is not None]
    if not tested or can_reject(tested, alpha):
        return None
    return (
        f"{family}: a family of {len(tested)} tests on at most {max(tested)} clusters cannot reject at "
        f"{alpha * 100:g} %. The smallest p after Holm's correction is "
        f"{min(1.0, smallest_p(max(tested)) * len(tested)):.2g}. Compare fewer runs or figures."
    )


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
