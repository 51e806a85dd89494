"""Figures as text: the same in the terminal, LaTeX and plots. A missing figure shows its reason."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from value_retention.analysis.effects.caveats import MARK
from value_retention.analysis.effects.result import Result
from value_retention.analysis.effects.rows import (
    CONSTANT,
    FEW,
    INFINITE,
    NO_SCORE,
    NO_SIDES,
    ONE_SEED_ONLY,
    ZERO,
    Contrast,
    Effect,
)
from value_retention.analysis.runs.names import title_of
from value_retention.analysis.stats.cluster import MIN_CLUSTERS

MAIN = ("overall", "normalized", "group")
"""Kinds of figures in an overview."""

SECTIONS = {"dimension", "language", "source"}
"""Kinds of figures that stand apart in tables and plots."""

SHORT = {
    NO_SCORE: "no score",
    FEW: f"< {MIN_CLUSTERS} clusters",
    CONSTANT: "no spread",
    INFINITE: "infinite",
    ZERO: "zero below",
    NO_SIDES: "n/a",
    ONE_SEED_ONLY: "one run",
}
"""Short form of each reason, for a cell; `legend` spells them out."""


def number(value: float | None, digits: int = 1, sign: bool = False) -> str:
    """A number with a true minus sign, rounded half away from zero; an empty text for None.

    Floating-point residue is rounded off first, so that 13.75 and 13.749999999 are both 13.8.
    """
    if value is None:
        return ""
    units = math.floor(round(abs(value) * 10**digits, 6) + 0.5)
    text = f"{units / 10**digits:.{digits}f}"
    if value < 0 and units:
        return f"−{text}"
    return f"+{text}" if sign and units else text


def interval(low: float | None, high: float | None) -> str:
    """``[low, high]``, or an empty text."""
    return "" if low is None or high is None else f"[{number(low)}, {number(high)}]"


def p_text(p: float | None) -> str:
    """A p value as papers print it."""
    if p is None:
        return ""
    return "< 0.001" if p < 0.001 else number(p, 3)


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


def effect_columns(result: Result, effects: Sequence[Effect]) -> list[Column]:
    """Columns of a table of effects; several comparisons in it are told apart in its first column."""
    level = f"{result.settings.level * 100:g} %"

    def value(text: Callable[[Effect], str], *keys: str) -> Callable[[Effect], str]:
        return lambda effect: or_reason(text(effect), effect.reasons, *keys)

    sides = [
        Column(f"{effects[0].baseline}\n%", value(lambda e: number(e.score_baseline), "score")),
        Column(f"{effects[0].run}\n%", value(lambda e: number(e.score_run), "score")),
    ]
    several = len({e.statement for e in effects}) > 1
    verdicts = [
        Column(f"Verdict\nat ±{m:g}", value(lambda e, m=f"{m:g}": verdict_text(e, m), "verdict"))  # type: ignore[misc]
        for m in result.settings.margins
    ]
    seeds = Column(
        "With new\nseeds", value(lambda e: interval(e.seeds.low, e.seeds.high) if e.seeds else "", "seeds")
    )
    return [
        *([Column("Comparison", lambda e: e.statement)] if several else []),
        Column("Figure", lambda e: e.metric),
        Column("Clusters", lambda e: str(e.clusters)),
        *([] if several else sides),
        Column("Difference\npoints", value(lambda e: number(e.difference, sign=True), "difference")),
        Column(f"{level}\ncluster t", value(lambda e: interval(e.t_low, e.t_high), "interval")),
        Column("p\nHolm", value(lambda e: p_text(e.p_holm), "p")),
        *verdicts,
        *([seeds] if any(e.seeds for e in effects) else []),
        Column(f"{level}\nbootstrap", value(lambda e: interval(e.boot_low, e.boot_high), "bootstrap"), True),
        Column("p\nraw", value(lambda e: p_text(e.p), "p"), True),
        Column("p\nBH", value(lambda e: p_text(e.p_bh), "p"), True),
        Column("Logits", value(lambda e: number(e.logit, 2, sign=True), "logit"), True),
        Column("Detect-\nable", value(lambda e: number(e.detectable), "detectable"), True),
        Column("Answers", lambda e: f"{e.answers_baseline} + {e.answers_run}", True),
        Column("Grades\nmissing", lambda e: f"{e.grades_missing} of {e.grades}", True),
        Column("Worst\ncase", worst_text, True),
    ]


def verdict_text(effect: Effect, margin: str) -> str:
    """The verdict at a margin, marked where the missing grades could overturn it."""
    return effect.verdicts.get(margin, "") + (MARK if effect.verdict_holds.get(margin) is False else "")


def worst_text(effect: Effect) -> str:
    """Worst-case bounds, where any grade is missing."""
    if not effect.grades_missing:
        return "none missing"
    return or_reason(interval(effect.worst_low, effect.worst_high), effect.reasons, "difference")


def sentence(e: Effect) -> str:
    """An effect in plain words: what changed, by how much, how certain, and the verdict."""
    figures = f"{number(e.difference, sign=True)} points {interval(e.t_low, e.t_high)}".strip()
    known = figures if e.difference is not None else or_reason("", e.reasons, "difference")
    p = f", Holm p {p_text(e.p_holm)}" if e.p_holm is not None and e.t_low is not None else ""
    verdicts = "; ".join(
        f"{verdict_text(e, margin)} at a margin of {margin} points" for margin in e.verdicts
    ) or or_reason("", e.reasons, "interval").replace("n/a", "")
    end = f": {verdicts}" if verdicts else ""
    return f"{title_of(e.benchmark)}, {e.statement}: {e.metric} {known}, {e.clusters} clusters{p}{end}."


CONTRAST_TITLES = [
    "Comparison, design", "Clusters", "English\npoints", "other\npoints", "Difference\nother − English",
    "cluster t", "p\nHolm", "Ratio other / English\n(Fieller)",
]  # fmt: skip


def contrast_cells(c: Contrast) -> list[str]:
    """Cells of the table English against non-English, in the order of `CONTRAST_TITLES`."""
    return [
        f"{title_of(c.benchmark)}, {c.statement}, {c.design}",
        f"{c.clusters_english}, {c.clusters_other}",
        number(c.english, sign=True) or SHORT[NO_SCORE],
        number(c.other, sign=True) or SHORT[NO_SCORE],
        number(c.difference, sign=True) or SHORT[NO_SCORE],
        or_reason(interval(c.t_low, c.t_high), c.reasons, "interval"),
        or_reason(p_text(c.p_holm), c.reasons, "p"),
        or_reason(c.ratio.text() if c.ratio else "", c.reasons, "ratio"),
    ]


def score_rows(result: Result, benchmark: str) -> tuple[list[str], list[list[str]]]:
    """Overview of a benchmark: headings, and a row per run with its main scores and their intervals."""
    scores = [s for s in result.scores if s.benchmark == benchmark and s.kind in MAIN]
    metrics = list(dict.fromkeys(s.metric for s in scores))
    by_run = {(s.run, s.metric): s for s in scores}
    headings = ["Run", *(f"{m}\nn = {max(s.clusters for s in scores if s.metric == m)}" for m in metrics)]
    rows = []
    for run in dict.fromkeys(s.run for s in scores):
        found = [by_run[run, metric] for metric in metrics]
        cells = [
            or_reason(f"{number(s.score)} {interval(s.low, s.high)}".strip(), s.reasons, "score")
            for s in found
        ]
        rows.append([run, *cells])
    return headings, rows


def legend(texts: Sequence[str]) -> list[str]:
    """Meaning of the short forms that occur among the cells."""
    return [f"{short}: {long}." for long, short in SHORT.items() if short in texts and short != long]
