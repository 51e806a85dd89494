"""Which errors of a judge would overturn a verdict, where no labels by people tell how often it errs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from value_retention.analysis.stats.misclassification import rogan_gladen


@dataclass(frozen=True)
class Tipping:
    """Smallest error rates of a judge that would overturn a verdict, in [0, 1]; None where none below 0.5 would.

    Attributes:
        both: False-pass and false-fail rate together, the same in both runs. Such errors shrink every difference.
        false_pass: False-pass rate in one run only, the one that makes the verdict weaker.
        false_fail: The same for false fails.
    """

    both: float | None
    false_pass: float | None
    false_fail: float | None


def tipping(
    before: float, after: float, low: float, high: float, holds: Callable[[float, float, float], bool]
) -> Tipping:
    """Error rates of the judge that would overturn a verdict, where no labels tell them.

    The scores are taken to come from a judge with these rates and are corrected for them (Rogan and Gladen); the
    interval's ends are stretched by the same slope. Rates are tried in steps of 0.001.

    Args:
        before: Score of the baseline in [0, 1].
        after: Score of the run.
        low: Lower end of the interval of ``after - before``.
        high: Upper end.
        holds: Whether the verdict stands for a difference and its two ends.
    """
    below, above = (after - before) - low, high - (after - before)

    def stands(*errors: tuple[float, float]) -> bool:
        # One run may have errors that the other has not; the wider of the two stretches both ends.
        scores = [
            rogan_gladen(p, 1 - fn, 1 - fp) for p, (fp, fn) in zip((before, after), errors, strict=True)
        ]
        slope = min(1 - fp - fn for fp, fn in errors)
        value = scores[1] - scores[0]
        return holds(value, value - below / slope, value + above / slope)

    def first(overturned: Callable[[float], bool]) -> float | None:
        return next((step / 1000 for step in range(1, 500) if overturned(step / 1000)), None)

    none = (0.0, 0.0)
    return Tipping(
        first(lambda e: not stands((e / 2, e / 2), (e / 2, e / 2))),
        first(lambda e: not (stands((e, 0.0), none) and stands(none, (e, 0.0)))),
        first(lambda e: not (stands((0.0, e), none) and stands(none, (0.0, e)))),
    )
