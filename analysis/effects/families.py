"""Which tests are corrected together, the correction, and the verdicts that follow from it.

This is the one place that decides it: the comparison commands only hand in all tests of a report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from value_retention.analysis.effects.rows import Contrast, Effect
from value_retention.analysis.stats.cluster import ALPHA, adjust
from value_retention.analysis.stats.equivalence import holds_at_worst, verdict

Test = TypeVar("Test", Effect, Contrast)


def family_of(test: Effect | Contrast) -> str:
    """Name of a test's family: all tests of one kind of figure on one benchmark, over every comparison."""
    if isinstance(test, Contrast):
        return f"{test.benchmark}, non-English less English, {test.design}"
    return f"{test.benchmark}, {test.kind}"


def corrected(tests: Sequence[Test]) -> list[Test]:
    """Fill in the family of each test and its Holm and Benjamini-Hochberg p; effects get their verdicts too.

    Args:
        tests: All tests of a report: a family grows with every comparison and figure in it, so each single
            claim gets harder.
    """
    families: dict[str, list[int]] = {}
    for index, test in enumerate(tests):
        families.setdefault(family_of(test), []).append(index)
    found = list(tests)
    for name, members in families.items():
        raw = [tests[i].p for i in members]
        size = sum(p is not None for p in raw)
        for i, holm, bh in zip(members, adjust(raw, "holm"), adjust(raw, "bh"), strict=True):
            found[i] = replace(tests[i], family=name, family_size=size, p_holm=holm, p_bh=bh)
        effects = [(i, test) for i in members if isinstance(test := found[i], Effect)]
        for i, judged in _judged(effects):
            found[i] = judged  # type: ignore[call-overload]
    return found


def _judged(family: Sequence[tuple[int, Effect]]) -> list[tuple[int, Effect]]:
    """The effects of a family with a verdict at every margin where there is enough to judge by."""
    for margin in dict.fromkeys(margin for _, effect in family for margin in effect.tost_p):
        tests = adjust([effect.tost_p.get(margin) for _, effect in family], "holm")
        judged = []
        for (i, effect), p in zip(family, tests, strict=True):
            low, high, p_holm = effect.t_low, effect.t_high, effect.p_holm
            if p is not None and low is not None and high is not None and p_holm is not None:
                found = verdict(p, low, high, p_holm)
                holds = holds_at_worst(found, effect.worst_low, effect.worst_high, float(margin))
                effect = replace(
                    effect,
                    tost_p_holm=effect.tost_p_holm | {margin: p},
                    verdicts=effect.verdicts | {margin: found},
                    verdict_holds=effect.verdict_holds | {margin: holds},
                )
            judged.append((i, effect))
        family = judged
    return list(family)


def significant(test: Effect | Contrast) -> bool:
    """Whether a test rejects after the correction within its family."""
    return test.p_holm is not None and test.p_holm < ALPHA
