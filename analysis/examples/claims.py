"""The claims of arXiv 2606.26102, each held against the runs in its published size, not only in its sign.

The paper's table (per cent): SFT on helpfulness data 35.7 on ANIMA 2.2 and 46.4 / 52.3 on MORU in English /
multilingual, SFT on coding data 65.2 and 71.9 / 51.2; GRPO 18.7 and 32.0 on ANIMA. Its differences are coding less
helpfulness: how two recipes differ, not what either lost.

Records that were generated to match the published means cannot confirm a claim about means. They show something else:
whether an effect of the published size would be seen with this many questions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from value_retention.analysis.effects.result import Result
from value_retention.analysis.effects.rows import Contrast, Effect
from value_retention.analysis.report.cells import interval, number
from value_retention.analysis.report.console import say
from value_retention.analysis.runs.align import ENGLISH, OTHER, OVERALL

if TYPE_CHECKING:
    from rich.console import Console

Conclusion = Literal[
    "agrees in size", "same direction, smaller", "same direction, larger", "not shown", "contradicted",
    "would be seen at these sizes", "would not be seen at these sizes", "cannot be checked",
]  # fmt: skip

PUBLISHED = {
    ("SFT", "helpfulness"): {"anima_2_2": 35.7, "moru English": 46.4, "moru multilingual": 52.3},
    ("SFT", "coding"): {"anima_2_2": 65.2, "moru English": 71.9, "moru multilingual": 51.2},
    ("GRPO", "helpfulness"): {"anima_2_2": 18.7},
    ("GRPO", "coding"): {"anima_2_2": 32.0},
}
"""Per cent, by method and training domain."""

RATIO = 4.5
"""Published ratio of coding's gain on non-English ANIMA questions to its gain on English ones."""

READINGS = {OVERALL: "all rows", OTHER: "without English"}
"""What "multilingual" can mean, by the figure that it then is."""

MARGIN = 5.0
"""Margin, in points, within which "the effect disappears", unless the user names another."""


@dataclass(frozen=True)
class Claim:
    """A claim, what the runs say of it, and why."""

    claim: str
    conclusion: Conclusion
    why: str


def paper_claims(result: Result, readings: Sequence[str] = tuple(READINGS)) -> list[Claim]:
    """Hold every claim of the paper against the intervals, which are not adjusted for one another.

    Args:
        result: An experiment with the domains ``helpfulness`` and ``coding`` and the methods ``SFT`` and ``GRPO``,
            with a margin.
        readings: The meanings of "multilingual" to check (keys of `READINGS`).
    """
    return [
        _size(result, "SFT", "anima_2_2", OVERALL, "anima_2_2"),
        _size(result, "GRPO", "anima_2_2", OVERALL, "anima_2_2"),
        _size(result, "SFT", "moru", ENGLISH, "moru English"),
        *(_disappears(result, metric) for metric in readings),
        _same_in_languages(result),
        _ratio(result),
        _replication(result),
    ]


def _held(low: float, high: float, published: float, synthetic: bool) -> Conclusion:
    """What an interval says about a published positive figure."""
    if synthetic:
        return "would be seen at these sizes" if low > 0 else "would not be seen at these sizes"
    if high < 0:
        return "contradicted"
    if low <= 0:
        return "not shown"
    if low <= published <= high:
        return "agrees in size"
    return "same direction, smaller" if high < published else "same direction, larger"


def _synthetic(result: Result) -> bool:
    return any(row.synthetic for row in result.judged)


def _domain_effect(result: Result, method: str, benchmark: str, metric: str) -> Effect | None:
    """Coding less helpfulness within a method, whichever of the two the arms name first."""
    for effect in result.find("domain effect", benchmark, metric, f"within {method}"):
        words = effect.statement.split(" within ")[0].split(" − ")
        if set(words) == {"coding", "helpfulness"}:
            return effect if words[0] == "coding" else None
    return None


def _missing(claim: str, what: str) -> Claim:
    return Claim(claim, "cannot be checked", f"no {what} in these runs")


def _figures(effect: Effect | Contrast) -> str:
    reason = "; ".join(
        dict.fromkeys(effect.reasons[k] for k in effect.reasons if k in ("interval", "p", "ratio"))
    )
    text = f"{number(effect.difference, sign=True)} {interval(effect.t_low, effect.t_high)}".strip()
    counts = (
        [effect.clusters] if isinstance(effect, Effect) else [effect.clusters_english, effect.clusters_other]
    )
    clusters = " and ".join(map(str, counts))
    return f"{text} points, {clusters} clusters" + (f" ({reason})" if reason else "")


def _size(result: Result, method: str, benchmark: str, metric: str, key: str) -> Claim:
    """Coding less helpfulness, against the published difference."""
    published = PUBLISHED[method, "coding"][key] - PUBLISHED[method, "helpfulness"][key]
    where = "ANIMA" if benchmark == "anima_2_2" else "English MORU"
    claim = f"{method} on coding data scores {number(published)} points above {method} on helpfulness data on {where}"
    effect = _domain_effect(result, method, benchmark, metric)
    if effect is None:
        return _missing(claim, f"{method} arms on coding and helpfulness data with {benchmark} scores")
    figures = f"coding less helpfulness {_figures(effect)}"
    if effect.t_low is None or effect.t_high is None:
        return Claim(claim, "not shown", figures)
    held = _held(effect.t_low, effect.t_high, published, _synthetic(result))
    return Claim(claim, held, f"{figures}; published {number(published, sign=True)}")


def _disappears(result: Result, metric: str) -> Claim:
    margin = result.settings.margin or MARGIN
    claim = f"the effect disappears on multilingual MORU ({READINGS[metric]}), margin {margin:g} points"
    effect = _domain_effect(result, "SFT", "moru", metric)
    if effect is None:
        return _missing(claim, "SFT arms on coding and helpfulness data with MORU scores")
    figures = f"coding less helpfulness {_figures(effect)}"
    low, high = effect.t_low, effect.t_high
    if low is None or high is None:
        return Claim(claim, "not shown", figures)
    inside = -margin < low and high < margin
    figures += f"; {'' if inside else 'not '}shown to lie within ±{margin:g}"
    other = _domain_effect(result, "SFT", "moru", OTHER)
    reversed_ = other is not None and other.t_high is not None and other.t_high < 0
    if metric == OVERALL and other is not None and reversed_:
        figures += f"; without English the effect is reversed, not absent: {_figures(other)}"
        inside = False
    if _synthetic(result):
        return Claim(claim, f"would {'' if inside else 'not '}be seen at these sizes", figures)  # type: ignore[arg-type]
    if inside:
        return Claim(claim, "agrees in size", figures)
    return Claim(
        claim, "contradicted" if reversed_ or low > margin or high < -margin else "not shown", figures
    )


def _same_in_languages(result: Result) -> Claim:
    claim = "the domain effect is smaller on the other MORU languages than on English"
    found = result.find_contrasts("domain effect", "moru", "within SFT")
    if not found:
        return _missing(claim, "SFT arms on coding and helpfulness data with MORU in several languages")
    effect = found[0]
    figures = f"other languages less English {_figures(effect)}, {effect.design}"
    if effect.t_low is None or effect.t_high is None:
        return Claim(claim, "not shown", figures)
    published = 25.5 - (51.2 - 52.3)
    return Claim(claim, _held(-effect.t_high, -effect.t_low, published, _synthetic(result)), figures)


def _ratio(result: Result) -> Claim:
    claim = (
        "coding's gain over the base is larger on non-English than on English ANIMA questions "
        f"(published: {RATIO:g} times)"
    )
    found = [
        c
        for c in result.find_contrasts("gain over base", "anima_2_2", "coding")
        if c.statement.startswith("SFT") and c.design != "matched translations"
    ]
    if not found:
        return _missing(claim, "base and SFT coding arm with ANIMA scores")
    effect = found[0]
    figures = f"other less English {_figures(effect)}"
    unseen: Conclusion = "would not be seen at these sizes" if _synthetic(result) else "not shown"
    if effect.ratio is None:
        return Claim(claim, unseen, figures)
    figures += f"; ratio {effect.ratio.text()}"
    low, high = effect.ratio.low, effect.ratio.high
    if effect.ratio.kind == "unbounded" or low is None or high is None:
        return Claim(claim, unseen, f"{figures}: the English gain may be zero, so no factor can be named")
    if low <= 1:
        return Claim(claim, unseen, f"{figures}: not shown to be larger")
    return Claim(
        claim, _held(low, high, RATIO, _synthetic(result)), f"{figures}: larger, by a factor in that interval"
    )


def _replication(result: Result) -> Claim:
    claim = "a second helpfulness data set gives the same difference to coding"
    found = result.find("domain effect by data", "anima_2_2", OVERALL, "within SFT")
    if len(found) < 2:
        return _missing(claim, "second helpfulness data set")
    text = "; ".join(f"{e.statement}: {_figures(e)}" for e in found)
    published = PUBLISHED["SFT", "coding"]["anima_2_2"] - PUBLISHED["SFT", "helpfulness"]["anima_2_2"]
    held = {
        "not shown"
        if e.t_low is None or e.t_high is None
        else _held(e.t_low, e.t_high, published, _synthetic(result))
        for e in found
    }
    same = [conclusion for conclusion in held if conclusion != "agrees in size"]
    return Claim(claim, same[0] if same else "agrees in size", text)


def print_claims(claims: Sequence[Claim], out: Console) -> None:
    """Print the claims one below the other."""
    for claim in claims:
        say(out, f"{claim.conclusion.upper()}: {claim.claim}", "bold")
        say(out, f"    {claim.why}")
