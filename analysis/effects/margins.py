"""The margin curve: at which margins a candidate would count as retained."""

from __future__ import annotations

import numpy as np

from value_retention.analysis.effects.rows import Effect
from value_retention.analysis.stats.cluster import t_p_value
from value_retention.analysis.stats.settings import Settings


def smallest_margin(e: Effect) -> float | None:
    """Smallest margin, points, at which the interval of a verdict lies above the loss of a margin.

    Args:
        e: A judged effect.

    Returns:
        At least 0; None without an adjusted interval. The level of the interval is kept as it is.
    """
    if e.low is None:
        return None
    return max(-e.low, 0.0)


def margin_p(e: Effect, margin: float, settings: Settings) -> float | None:
    """One-sided p of a loss of the margin or more, adjusted as the effect's interval is.

    It is below (1 - level) / 2 exactly where the interval lies above the loss of the margin.

    Args:
        e: A judged effect.
        margin: Points.
        settings: For the level.
    """
    if e.difference is None or e.se is None or e.df is None or e.level is None:
        return None
    away = e.difference + margin
    two_sided = float(t_p_value(np.array([away]), np.array([e.se]), np.array([e.df]))[0])
    one_sided = two_sided / 2 if away >= 0 else 1 - two_sided / 2
    return min(1.0, one_sided * (1 - settings.level) / (1 - e.level))
