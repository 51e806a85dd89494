"""Which figures have a verdict, at which level, and which are explored: the one place that decides it.

Primary figures are the overall means of all benchmarks and candidates of a report. They are one family under Holm's
step-down rule: with k figures open, each is read off its interval at the level 1 - alpha / k; a figure about which
nothing further could be claimed (`verdicts.is_final`) leaves its share of alpha to the others. A wrong verdict needs
an interval that misses the true difference, so the rate of reports with a wrong primary verdict is at most alpha.

Secondary figures (English and non-English questions) follow their overall mean in a fixed sequence: a claim about a
group is made only where the same claim was shown overall, at the level 1 - alpha / m with m primary figures. Both
groups are tested at that level, since the overall mean is a weighted mean of them: where the claim holds overall it
holds in at least one, so at most one of the two can be wrong. If nothing changed, a wrong secondary verdict needs a
wrong primary one, so alpha covers both together; otherwise it holds for the primary and for the secondary verdicts.

Everything else is exploratory: estimate, unadjusted interval and Benjamini-Hochberg q, but no verdict.

References:
    S. Holm, A simple sequentially rejective multiple test procedure, Scand. J. Stat. 6 (1979), 65-70.
    J. J. Goeman and A. Solari, The sequential rejection principle of familywise error control, Ann. Stat. 38 (2010).
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any, TypeVar

from value_retention.analysis.effects.rows import NOT_GATED, Contrast, Effect
from value_retention.analysis.effects.verdicts import (
    CEILING,
    FLOOR,
    Claim,
    Verdict,
    claims,
    half_width,
    is_final,
    limited,
    needed,
    settling_se,
    verdict_of,
)
from value_retention.analysis.stats.cluster import adjust
from value_retention.analysis.stats.settings import Settings

Test = TypeVar("Test", Effect, Contrast)

PRIMARY = "primary: overall means of all benchmarks and candidates"


def judged(effects: Sequence[Effect], settings: Settings) -> list[Effect]:
    """All effects of a report with their adjusted intervals, verdicts and q values."""
    found = explored(effects)
    primary = [i for i, e in enumerate(found) if e.tier == "primary" and e.se is not None]
    levels, shown = _step_down([found[i] for i in primary], settings)
    gates: dict[tuple[str, str], frozenset[Claim]] = {}
    for i, level, what in zip(primary, levels, shown, strict=True):
        found[i] = _with_verdict(found[i], level, what, settings, len(primary))
        if found[i].verdict not in (FLOOR, CEILING):
            gates[found[i].benchmark, found[i].statement] = what
    share = 1 - (1 - settings.level) / max(len(primary), 1)
    for i, effect in enumerate(found):
        if (
            effect.tier != "exploratory"
            and effect.se is None
            and _limited("inconclusive", effect, settings) == FLOOR
        ):
            found[i] = _with(effect, verdict=FLOOR)
        elif effect.tier == "secondary" and effect.se is not None:
            gate = gates.get((effect.benchmark, effect.statement), frozenset())
            found[i] = _follow(effect, gate, share, settings, len(primary))
    return found


def explored(tests: Sequence[Test]) -> list[Test]:
    """Exploratory figures with their Benjamini-Hochberg q, a family per benchmark and kind of figure.

    Mitigations are families apart, so that one more of them changes no q of the plain arms.
    """
    families: dict[str, list[int]] = {}
    for index, test in enumerate(tests):
        apart = ", mitigations" if test.comparison == "mitigation" else ""
        if isinstance(test, Contrast):
            name = f"{test.benchmark}, non-English less English, {test.design}{apart}"
            families.setdefault(name, []).append(index)
        elif test.tier == "exploratory":
            families.setdefault(f"{test.benchmark}, {test.kind}{apart}", []).append(index)
    found = list(tests)
    for name, members in families.items():
        raw = [tests[i].p for i in members]
        size = sum(p is not None for p in raw)
        for i, q in zip(members, adjust(raw, "bh"), strict=True):
            found[i] = _with(tests[i], family=f"exploratory: {name}", family_size=size, q=q)
    return found


def _with(test: Test, **changes: Any) -> Test:
    """The row with other values. `dataclasses.replace` would pass all 50 fields through the initialiser, a second for
    ten thousand rows."""
    found = copy(test)
    vars(found).update(changes)
    return found


def _limited(verdict: Verdict, effect: Effect, settings: Settings) -> Verdict:
    """The verdict, unless the baseline leaves no room for it."""
    if settings.margin is None:
        return verdict
    return limited(verdict, effect.baseline_low, effect.baseline_high, effect.score_baseline, settings.margin)


def _ends(effect: Effect, level: float) -> tuple[float, float]:
    """Ends of the t interval at a level, points."""
    assert effect.difference is not None
    assert effect.se is not None
    assert effect.df is not None
    half = half_width(effect.se, effect.df, level)
    return effect.difference - half, effect.difference + half


def _step_down(family: Sequence[Effect], settings: Settings) -> tuple[list[float], list[frozenset[Claim]]]:
    """Level of each figure's interval, and what it shows; see the first lines of this module."""
    alpha = 1 - settings.level
    levels = [settings.level] * len(family)
    shown: list[frozenset[Claim]] = [frozenset()] * len(family)
    waiting = list(range(len(family)))
    while waiting:
        level = 1 - alpha / len(waiting)
        for i in waiting:
            levels[i] = level
            shown[i] = claims(*_ends(family[i], level), settings.margin)
        left = [i for i in waiting if not is_final(shown[i], settings.margin)]
        if len(left) == len(waiting):
            break
        waiting = left
    return levels, shown


def _with_verdict(
    effect: Effect, level: float, shown: frozenset[Claim], settings: Settings, size: int
) -> Effect:
    """The effect with its adjusted interval and, where there is a margin, the verdict that it shows."""
    low, high = _ends(effect, level)
    assert effect.p is not None
    factor = (1 - settings.level) / (1 - level)
    effect = _with(
        effect, family=PRIMARY if effect.tier == "primary" else "secondary: after the overall mean", family_size=size,
        level=level, low=low, high=high, p_adjusted=min(1.0, effect.p * factor),
    )  # fmt: skip
    if settings.margin is None:
        return effect
    found = _limited(verdict_of(shown), effect, settings)
    effect = _with(effect, verdict=found, verdict_holds=_holds(effect, shown, settings))
    return _settled(effect, settings) if found == "inconclusive" else effect


def _follow(effect: Effect, gate: frozenset[Claim], level: float, settings: Settings, size: int) -> Effect:
    """A secondary effect: what its overall mean shows may be shown of it too, and nothing else is tested."""
    seen = claims(*_ends(effect, level), settings.margin)
    if gate and (seen & gate or not seen):
        return _with_verdict(effect, level, seen & gate, settings, size)
    verdict: Verdict | None = None if settings.margin is None else "not tested"
    return _with(effect, verdict=verdict, reasons=effect.reasons | {"adjusted": NOT_GATED})


def _holds(effect: Effect, shown: frozenset[Claim], settings: Settings) -> bool | None:
    """Whether the same would be shown if every missing grade were the worst for it: the test is run again.

    None where nothing is shown. Seeds and answers add to the spread of the filled scores what they add to that of
    the observed ones.
    """
    if not shown or None in (effect.worst_low, effect.worst_high, effect.worst_low_se, effect.worst_high_se):
        return None if not shown else False
    assert effect.level is not None
    assert effect.se is not None
    own = effect.new_questions.se if effect.new_questions else effect.se
    ends = []
    for worst, se, sign in (
        (effect.worst_low, effect.worst_low_se, -1), (effect.worst_high, effect.worst_high_se, 1),
    ):  # fmt: skip
        assert worst is not None
        assert se is not None
        spread = float(max(se**2 + effect.se**2 - own**2, 0.0)) ** 0.5
        ends.append(worst + sign * half_width(spread, effect.df or 1.0, effect.level))
    return shown <= claims(ends[0], ends[1], settings.margin)


def _settled(effect: Effect, settings: Settings) -> Effect:
    """An inconclusive effect with the number of questions, or of answers to each, that would settle it."""
    assert effect.difference is not None
    assert effect.se is not None
    assert effect.level is not None
    target = settling_se(effect.difference, effect.level, settings.margin)
    noise = effect.these_questions.se if effect.these_questions else None
    if effect.seeds is not None:
        return effect  # More seeds are needed, not more questions.
    questions, epochs = needed(effect.se, target, noise, effect.clusters, effect.epochs)
    if settings.questions == "fixed":
        questions = None
    return _with(effect, needed_questions=questions, needed_epochs=epochs)
