"""Figures as text, the same in the terminal, in LaTeX and in plots; a missing one shows its reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from value_retention.analysis.effects.language import ZERO, Contrast
from value_retention.analysis.effects.result import CONSTANT, FEW, INFINITE, NO_SCORE, Effect, Settings
from value_retention.analysis.stats.cluster import MIN_CLUSTERS

TITLES = {"anima_2_2": "ANIMA 2.2", "moru": "MORU"}

SECTIONS = {"dimension", "language", "source"}
"""Kinds of figures that stand apart in tables and plots."""

MARK = "*"
"""Follows a verdict that the missing grades could overturn."""

SHORT = {
    NO_SCORE: "no score",
    FEW: f"< {MIN_CLUSTERS} clusters",
    CONSTANT: "no spread",
    INFINITE: "infinite",
    ZERO: "zero below",
}
"""What stands in a cell for each reason; `legend` spells them out."""


def number(value: float | None, digits: int = 1, sign: bool = False) -> str:
    """A number with a true minus sign; an empty text for None."""
    if value is None:
        return ""
    text = f"{value:{'+' if sign else ''}.{digits}f}"
    if float(text) == 0:
        text = f"{0:.{digits}f}"
    return text.replace("-", "−")


def interval(low: float | None, high: float | None) -> str:
    """``[low, high]``, or an empty text."""
    return "" if low is None or high is None else f"[{number(low)}, {number(high)}]"


def p_text(p: float | None) -> str:
    """A p value as papers print it."""
    if p is None:
        return ""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def or_reason(text: str, reasons: dict[str, str], *keys: str) -> str:
    """The text, or the short form of the reason it is missing."""
    if text:
        return text
    found = [reasons[key] for key in keys if key in reasons]
    return SHORT.get(found[0], found[0]) if found else "n/a"


@dataclass(frozen=True)
class Column:
    """A column of the table of effects."""

    title: str
    cell: Callable[[Effect], str]
    detail: bool = False
    """Left out of the LaTeX table."""


def effect_columns(baseline: str, run: str, settings: Settings) -> list[Column]:
    """Columns of the table that compares two runs."""
    level = f"{settings.level * 100:g} %"

    def value(text: Callable[[Effect], str], *keys: str) -> Callable[[Effect], str]:
        return lambda effect: or_reason(text(effect), effect.reasons, *keys)

    columns = [
        Column("Figure", lambda e: e.metric),
        Column("Clusters", lambda e: str(e.clusters)),
        Column(f"{baseline}\n%", value(lambda e: number(e.score_baseline), "score")),
        Column(f"{run}\n%", value(lambda e: number(e.score_run), "score")),
        Column("Difference\npoints", value(lambda e: number(e.difference, sign=True), "difference")),
        Column(f"{level}\ncluster t", value(lambda e: interval(e.t_low, e.t_high), "interval")),
        Column("p\nHolm", value(lambda e: p_text(e.p_holm), "p")),
    ]
    if settings.margin is not None:
        columns.append(Column(f"Verdict\nat ±{settings.margin:g}", value(verdict_text, "verdict")))
    return [
        *columns,
        Column(f"{level}\nbootstrap", value(lambda e: interval(e.boot_low, e.boot_high), "bootstrap"), True),
        Column("p\nraw", value(lambda e: p_text(e.p), "p"), True),
        Column("p\nBH", value(lambda e: p_text(e.p_bh), "p"), True),
        Column("Logits", value(lambda e: number(e.logit, 2, sign=True), "logit"), True),
        Column("Detect-\nable", value(lambda e: number(e.detectable), "detectable"), True),
        Column("Answers", lambda e: f"{e.answers_baseline} + {e.answers_run}", True),
        Column("Grades\nmissing", missing_text, True),
        Column("Worst\ncase", worst_text, True),
    ]


def verdict_text(effect: Effect) -> str:
    """The verdict, marked where it owes itself to the grades that happen to be there."""
    return (effect.verdict or "") + (MARK if effect.verdict_holds is False else "")


def missing_text(effect: Effect) -> str:
    """Missing grades, of how many."""
    return f"{effect.grades_missing} of {effect.grades}"


def worst_text(effect: Effect) -> str:
    """Worst-case bounds, where anything is missing."""
    if not effect.grades_missing:
        return "none missing"
    return or_reason(interval(effect.worst_low, effect.worst_high), effect.reasons, "difference")


def contrast_cells(c: Contrast) -> list[str]:
    """Cells of the table English against non-English, in the order of `CONTRAST_TITLES`."""
    return [
        f"{TITLES.get(c.benchmark, c.benchmark)}, {c.run} − {c.baseline}, {c.design}",
        f"{c.clusters_english}, {c.clusters_other}",
        number(c.english, sign=True) or SHORT[NO_SCORE],
        number(c.other, sign=True) or SHORT[NO_SCORE],
        number(c.difference, sign=True) or SHORT[NO_SCORE],
        or_reason(interval(c.low, c.high), c.reasons, "interval"),
        or_reason(p_text(c.p_holm), c.reasons, "p"),
        or_reason(c.ratio.text() if c.ratio else "", c.reasons, "ratio"),
    ]


CONTRAST_TITLES = [
    "Runs, design", "Clusters", "English\npoints", "other\npoints", "Difference\nother − English",
    "cluster t", "p\nHolm", "Ratio other / English\n(Fieller)",
]  # fmt: skip


def legend(texts: Sequence[str]) -> list[str]:
    """Meaning of the short forms that occur among the cells."""
    return [f"{short}: {long}." for long, short in SHORT.items() if short in texts and short != long]
