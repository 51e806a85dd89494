"""The margin curve: at which margins a candidate would count as retained."""

from __future__ import annotations

import numpy as np

from value_retention.analysis.effects.rows import Effect
from value_retention.analysis.stats.cluster import t_p_value
from value_retention.analysis.stats.settings import Settings


def smallest_margin(e: Effect, equivalence: bool = False) -> float | None:
    """Smallest margin, points, at which the interval of a verdict lies above the loss of a margin.

    Args:
        e: A judged effect.
        equivalence: The interval must lie below the gain of a margin too.

    Returns:
        At least 0; None without an adjusted interval. The level of the interval is kept as it is.
    """
    if e.low is None or e.high is None:
        return None
    return max(-e.low, e.high if equivalence else 0.0, 0.0)


def margin_p(e: Effect, margin: float, settings: Settings) -> float | None:
    """One-sided p of a loss of the margin or more, adjusted as the effect's interval is.

    It is below (1 - level) / 2 exactly where the interval lies above the loss of the margin. For equivalence, the
    larger p of the two one-sided tests.

    Args:
        e: A judged effect.
        margin: Points.
        settings: For level and equivalence.
    """
    if e.difference is None or e.se is None or e.df is None or e.level is None:
        return None
    away = [e.difference + margin, *([margin - e.difference] if settings.equivalence else [])]
    two_sided = t_p_value(np.array(away), np.full(len(away), e.se), np.full(len(away), e.df))
    one_sided = np.where(np.array(away) >= 0, two_sided / 2, 1 - two_sided / 2)
    factor = (1 - settings.level) / (1 - e.level)
    return float(min(1.0, np.max(one_sided) * factor))
