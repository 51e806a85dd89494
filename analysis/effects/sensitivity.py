"""What weakens a verdict: errors of the judge that would overturn it, and an interval that covers too little."""

from __future__ import annotations

from value_retention.analysis.effects.rows import Effect
from value_retention.analysis.effects.verdicts import SHOWN, claims
from value_retention.analysis.stats.limits import interval_caution
from value_retention.analysis.stats.settings import Settings
from value_retention.analysis.stats.tipping import Tipping, tipping


def tipping_of(e: Effect, settings: Settings) -> Tipping | None:
    """Error rates of the judge that would overturn a verdict; None where nothing is shown.

    Args:
        e: A judged effect.
        settings: For the margin.
    """
    margin, before, after, low, high = settings.margin, e.score_baseline, e.score_run, e.low, e.high
    if (
        e.verdict not in SHOWN
        or margin is None
        or before is None
        or after is None
        or low is None
        or high is None
    ):
        return None
    shown = claims(low, high, margin)

    def holds(_: float, below: float, above: float) -> bool:
        return shown <= claims(below * 100, above * 100, margin)

    return tipping(before / 100, after / 100, low / 100, high / 100, holds)


def caution_of(e: Effect) -> str | None:
    """A warning where the interval may cover less than it says; None elsewhere."""
    if e.se is None:
        return None
    scores = [None if score is None else score / 100 for score in (e.score_baseline, e.score_run)]
    return interval_caution(e.df, *scores)
