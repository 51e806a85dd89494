"""The claims of arXiv 2606.26102, each checked on the runs: whether it holds, and why.

The paper's table (per cent): SFT on helpfulness data 35.7 on ANIMA 2.2 and 46.4 / 52.3 on MORU in English /
multilingual, SFT on coding data 65.2 and 71.9 / 51.2; GRPO 18.7 and 32.0 on ANIMA.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from value_retention.analysis.effects.families import significant
from value_retention.analysis.effects.result import Result
from value_retention.analysis.effects.rows import Contrast, Effect
from value_retention.analysis.report.cells import interval, number, p_text
from value_retention.analysis.report.console import say
from value_retention.analysis.runs.align import ENGLISH, OTHER, OVERALL
from value_retention.analysis.stats.cluster import ALPHA

if TYPE_CHECKING:
    from rich.console import Console

Holds = Literal["holds at these sizes", "does not follow", "cannot be checked"]

PUBLISHED = {
    ("SFT", "helpfulness"): {"anima_2_2": 35.7, "moru English": 46.4, "moru multilingual": 52.3},
    ("SFT", "coding"): {"anima_2_2": 65.2, "moru English": 71.9, "moru multilingual": 51.2},
    ("GRPO", "helpfulness"): {"anima_2_2": 18.7},
    ("GRPO", "coding"): {"anima_2_2": 32.0},
}
"""Per cent, by method and training domain."""

READINGS = {OVERALL: "all rows", OTHER: "without English"}
"""What "multilingual" can mean, by the figure that it then is."""

MARGINS = (3.0, 5.0)
"""Margins, in points, at which "the effect disappears" is tested."""


@dataclass(frozen=True)
class Claim:
    """A claim, whether it holds in the runs, and why."""

    claim: str
    holds: Holds
    why: str


def paper_claims(result: Result, readings: Sequence[str] = tuple(READINGS)) -> list[Claim]:
    """Check every claim of the paper.

    Args:
        result: An experiment with the domains ``helpfulness`` and ``coding`` and the methods ``SFT`` and
            ``GRPO``, with `MARGINS` among its margins.
        readings: The meanings of "multilingual" to check (keys of `READINGS`).
    """
    claims = [
        _loss(result, "SFT", "anima_2_2", OVERALL, "helpfulness SFT costs 29.5 points on ANIMA"),
        _loss(result, "GRPO", "anima_2_2", OVERALL, "helpfulness GRPO costs 13.3 points on ANIMA"),
        _loss(result, "SFT", "moru", ENGLISH, "helpfulness SFT costs 25.5 points on English MORU"),
    ]
    for metric in readings:
        claims += [_disappears(result, metric, margin) for margin in MARGINS]
    claims.append(_same_in_languages(result))
    claims.append(_ratio(result))
    claims.append(_replication(result))
    return claims


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
    p = f", Holm p {p_text(effect.p_holm)}" if effect.p_holm is not None else ""
    counts = (
        [effect.clusters] if isinstance(effect, Effect) else [effect.clusters_english, effect.clusters_other]
    )
    clusters = " and ".join(map(str, counts))
    return f"{text} points, {clusters} clusters{p}" + (f" ({reason})" if reason else "")


def _loss(result: Result, method: str, benchmark: str, metric: str, claim: str) -> Claim:
    effect = _domain_effect(result, method, benchmark, metric)
    if effect is None:
        return _missing(claim, f"{method} arms on coding and helpfulness data with {benchmark} scores")
    figures = f"coding less helpfulness {_figures(effect)}"
    if effect.difference is not None and effect.difference > 0 and significant(effect):
        return Claim(claim, "holds at these sizes", f"{figures}; for these checkpoints, one run each")
    return Claim(claim, "does not follow", figures)


def _disappears(result: Result, metric: str, margin: float) -> Claim:
    reading = READINGS[metric]
    claim = f"the effect disappears on multilingual MORU ({reading}), margin {margin:g} points"
    effect = _domain_effect(result, "SFT", "moru", metric)
    if effect is None:
        return _missing(claim, "SFT arms on coding and helpfulness data with MORU scores")
    figures = f"coding less helpfulness {_figures(effect)}"
    p = effect.tost_p.get(f"{margin:g}")
    equivalent = p is not None and p < ALPHA
    if p is not None:
        figures += f"; equivalence test at ±{margin:g} on its own: p {p_text(p)}"
    other = _domain_effect(result, "SFT", "moru", OTHER)
    if metric == OVERALL and other is not None and significant(other) and (other.difference or 0) < 0:
        mean = f"the mean of all rows is {'' if equivalent else 'not '}shown inside it"
        return Claim(
            claim,
            "does not follow",
            f"{figures}; {mean}, and without English the effect is reversed, not absent: {_figures(other)}",
        )
    if equivalent:
        return Claim(claim, "holds at these sizes", f"{figures}; shown inside ±{margin:g}")
    significance = "differs from zero" if significant(effect) else "not significant is not absent"
    return Claim(claim, "does not follow", f"{figures}; not shown inside ±{margin:g} ({significance})")


def _same_in_languages(result: Result) -> Claim:
    claim = "the domain effect differs between English and the other MORU languages"
    found = result.find_contrasts("domain effect", "moru", "within SFT")
    if not found:
        return _missing(claim, "SFT arms on coding and helpfulness data with MORU in several languages")
    effect = found[0]
    holds: Holds = "holds at these sizes" if significant(effect) else "does not follow"
    return Claim(claim, holds, f"other languages less English {_figures(effect)}, {effect.design}")


def _ratio(result: Result) -> Claim:
    claim = "coding's gain over the base is 4.5 times larger on non-English than on English ANIMA questions"
    found = [
        c
        for c in result.find_contrasts("gain over base", "anima_2_2", "coding")
        if c.statement.startswith("SFT") and c.design != "matched translations"
    ]
    if not found:
        return _missing(claim, "base and SFT coding arm with ANIMA scores")
    effect = found[0]
    figures = f"other less English {_figures(effect)}"
    if effect.ratio is None:
        return Claim(claim, "does not follow", figures)
    figures += f"; ratio {effect.ratio.text()}"
    if effect.ratio.kind == "unbounded" or effect.ratio.low is None:
        why = f"{figures}: the English gain may be zero, so no factor can be named"
        return Claim(claim, "does not follow", why)
    if significant(effect) and effect.ratio.low > 1:
        why = f"{figures}: larger, yes; how many times is open within that interval"
        return Claim(claim, "does not follow", why)
    return Claim(claim, "does not follow", f"{figures}: not shown to be larger")


def _replication(result: Result) -> Claim:
    claim = "a second helpfulness data set replicates the loss"
    found = result.find("domain effect by data", "anima_2_2", OVERALL, "within SFT")
    if len(found) < 2:
        return _missing(claim, "second helpfulness data set")
    text = "; ".join(f"{e.statement}: {_figures(e)}" for e in found)
    same = all(significant(e) and (e.difference or 0) > 0 for e in found)
    return Claim(claim, "holds at these sizes" if same else "does not follow", text)


def print_claims(claims: Sequence[Claim], out: Console) -> None:
    """Print the claims one below the other."""
    for claim in claims:
        say(out, f"{claim.holds.upper()}: {claim.claim}", "bold")
        say(out, f"    {claim.why}")
