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
    NO_GAIN,
    NO_SCORE,
    NO_SIDES,
    NOT_GATED,
    ONE_EPOCH,
    ONE_SEED_ONLY,
    ZERO,
    Contrast,
    Effect,
    Share,
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
    ZERO: "zero below",
    NO_GAIN: "no gain",
    ONE_EPOCH: "one answer",
    NO_SIDES: "n/a",
    NOT_GATED: "not tested",
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


UNADJUSTED = "†"
"""Follows an interval that is not adjusted for the other tests of the report."""


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
    heading = f"Verdict, margin\n{margin_text(result)}"
    verdict = Column(heading, value(lambda e: verdict_text(e, long=False), "verdict"))
    return [
        *([Column("Comparison", lambda e: e.statement)] if several else []),
        Column("Figure", lambda e: e.metric),
        Column("Clusters", lambda e: str(e.clusters)),
        *([] if several else sides),
        Column("Difference\npoints", value(lambda e: number(e.difference, sign=True), "difference")),
        Column(f"{level}\ninterval", value(interval_text, "interval")),
        Column(
            "p adjusted\nor q",
            value(lambda e: p_text(e.q if e.p_adjusted is None else e.p_adjusted), "p", "adjusted"),
        ),
        *([] if result.settings.margin is None else [verdict]),
        Column(
            "These\nquestions" + UNADJUSTED, value(lambda e: estimand_text(e, False), "these_questions"), True
        ),
        Column("New\nquestions" + UNADJUSTED, value(lambda e: estimand_text(e, True), "interval"), True),
        Column(
            f"Bootstrap{UNADJUSTED}\n{level}",
            value(lambda e: interval(e.boot_low, e.boot_high), "bootstrap"),
            True,
        ),
        Column("p\nraw", value(lambda e: p_text(e.p), "p"), True),
        Column("p\nbootstrap", value(lambda e: p_text(e.boot_p), "bootstrap"), True),
        Column("Detect-\nable", value(lambda e: number(e.detectable), "detectable"), True),
        Column("Answers", lambda e: f"{e.answers_baseline} + {e.answers_run}", True),
        Column("Grades\nmissing", lambda e: f"{e.grades_missing} of {e.grades}", True),
        Column("Worst\ncase", worst_text, True),
    ]


def margin_text(result: Result) -> str:
    """The margin with its unit: ``5 points``; an empty text without one."""
    return "" if result.settings.margin is None else f"{result.settings.margin:g} points"


def interval_text(e: Effect) -> str:
    """The interval that decides a verdict, or the unadjusted one, marked as such."""
    if e.low is not None:
        return interval(e.low, e.high)
    text = interval(e.t_low, e.t_high)
    return text and text + UNADJUSTED


def estimand_text(e: Effect, new: bool) -> str:
    """Unadjusted interval for new questions, or for these."""
    found = e.new_questions if new else e.these_questions
    return interval(found.low, found.high) if found else ""


def verdict_text(e: Effect, long: bool = True) -> str:
    """The verdict, marked where the missing grades could overturn it; what would settle an inconclusive one."""
    if e.tier == "exploratory":
        return "exploratory"
    if e.verdict is None:
        return ""
    needs = [
        f"{count} {what}"
        for count, what in ((e.needed_questions, "questions"), (e.needed_epochs, "answers to each"))
        if count is not None
    ]
    settled = f" ({' or '.join(needs)} would settle it)" if needs and long else ""
    return e.verdict + settled + (MARK if e.verdict_holds is False else "")


def worst_text(effect: Effect) -> str:
    """Worst-case bounds, where any grade is missing."""
    if not effect.grades_missing:
        return "none missing"
    return or_reason(interval(effect.worst_low, effect.worst_high), effect.reasons, "difference")


def sentence(e: Effect, result: Result) -> str:
    """An effect in plain words: what changed, by how much, how certain, and the verdict with margin, level and unit."""
    figures = f"{number(e.difference, sign=True)} points {interval_text(e)}".strip()
    known = figures if e.difference is not None else or_reason("", e.reasons, "difference")
    level = f", {(e.level or result.settings.level) * 100:.3g} % interval" if e.t_low is not None else ""
    p = f", adjusted p {p_text(e.p_adjusted)}" if e.p_adjusted is not None else ""
    said = f"{title_of(e.benchmark)}, {e.statement}: {e.metric} {known}, {e.clusters} clusters{level}{p}"
    if e.verdict is None:
        reason = or_reason("", e.reasons, "interval").replace("n/a", "")
        return f"{said}: {reason}." if reason else f"{said}."
    return f"{said}: {verdict_text(e)}; margin {margin_text(result)}, {e.unit}."


def estimands(e: Effect) -> str:
    """Both intervals of an effect, side by side."""
    new, these = (estimand_text(e, new) for new in (True, False))
    these = these or or_reason("", e.reasons, "these_questions")
    seeds = f"; new seeds {interval(e.seeds.low, e.seeds.high)}" if e.seeds else ""
    return f"    new questions {new}; these questions {these}{seeds}{UNADJUSTED}" if new else ""


CONTRAST_TITLES = [
    "Comparison, design", "Clusters", "English\npoints", "other\npoints", "Difference\nother − English",
    f"interval{UNADJUSTED}", "q", "Ratio other / English\n(Fieller)",
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
        or_reason(p_text(c.q), c.reasons, "p"),
        or_reason(c.ratio.text() if c.ratio else "", c.reasons, "ratio"),
    ]


SHARE_TITLES = [
    "Comparison",
    "Figure",
    "Clusters",
    "Gain\npoints",
    "Kept\npoints",
    f"Retained share{UNADJUSTED}",
]


def share_cells(share: Share) -> list[str]:
    """Cells of the table of retained shares, in the order of `SHARE_TITLES`."""
    text = share.ratio.text() if share.ratio else ""
    return [
        f"{title_of(share.benchmark)}, {share.run} of {share.baseline} less {share.before}",
        share.metric,
        str(share.clusters),
        number(share.gain, sign=True) or SHORT[NO_SCORE],
        number(share.kept, sign=True) or SHORT[NO_SCORE],
        or_reason(
            text if share.shown or not text else f"{text}: the gain is not shown", share.reasons, "ratio"
        ),
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
