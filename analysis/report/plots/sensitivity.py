"""Figures of what a verdict depends on: the margin, missing grades, single languages, single judges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from value_retention.analysis.effects.leave_out import WithoutLanguage
from value_retention.analysis.effects.margins import margin_p, smallest_margin
from value_retention.analysis.effects.provenance import judged_line
from value_retention.analysis.effects.result import Result
from value_retention.analysis.effects.rows import Effect
from value_retention.analysis.judges.leave_one_out import JudgeScore
from value_retention.analysis.report.cells import UNADJUSTED, number
from value_retention.analysis.report.plots.canvas import INK, PALE, SOFT, canvas
from value_retention.analysis.report.plots.groups import DASHES
from value_retention.analysis.runs.names import title_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_LANGUAGES = 12
"""Languages that a figure leaves out in turn: those with the most questions."""


def margin_curve(result: Result, effects: Sequence[Effect]) -> Figure | None:
    """One-sided p of each primary comparison of a benchmark by margin; None without an adjusted interval."""
    settings, benchmark = result.settings, effects[0].benchmark
    known = [(e, found) for e in effects if (found := smallest_margin(e)) is not None]
    if not known:
        return None
    most = max(2 * (settings.margin or 5.0), 1.3 * max(found for _, found in known))
    margins = np.linspace(0, most, 60)
    footer = judged_line(result.judged, benchmark)
    clusters = f"n = {max(e.clusters for e, _ in known)} clusters"
    title = f"{title_of(benchmark)}: verdict by margin, {clusters}"
    figure, (ax,) = canvas(title, result.headline, footer, 7.2, 3.4 + 0.08 * len(known))
    for k, (e, smallest) in enumerate(known):
        p = [margin_p(e, margin, settings) or 0.0 for margin in margins]
        name = f"{e.statement}: from {number(smallest)}"
        ax.plot(margins, p, ls=DASHES[k % 4], lw=1 + 0.5 * (k // 4), color=INK, label=name)
        ax.plot(smallest, margin_p(e, smallest, settings) or 0.0, "o", ms=4, color=INK, mfc="white")
    threshold = (1 - settings.level) / 2
    ax.axhline(threshold, color=SOFT, lw=0.8)
    if settings.margin is not None:
        ax.axvline(settings.margin, color=SOFT, lw=1, ls="--")
    ax.set_ylim(-0.02, 1.02)
    ax.set_ylabel("p, one-sided, adjusted", fontsize=8)
    ax.set_xlabel(
        f"margin, points; retained where the curve is below {number(threshold, 3)} (horizontal line)",
        fontsize=8,
    )
    ax.legend(fontsize=7.5, frameon=False, loc="upper right")
    return figure


def missing_bounds(result: Result, effects: Sequence[Effect]) -> Figure:
    """Differences of a benchmark with their intervals, and their bounds over all that missing grades could be."""
    shown = [e for e in effects if e.difference is not None]
    title = f"{title_of(effects[0].benchmark)}: missing grades"
    footer = judged_line(result.judged, effects[0].benchmark)
    figure, (ax,) = canvas(title, result.headline, footer, 7.2, 1.3 + 0.34 * len(shown))
    for k, e in enumerate(shown):
        if e.worst_low is not None and e.worst_high is not None:
            ax.plot([e.worst_low, e.worst_high], [-k - 0.15] * 2, color=SOFT, lw=1.2, ls="--")
        _line(ax, -k, e.difference, e.low, e.high, "o" if e.low is not None else "D")
    ax.axvline(0, color=INK, lw=0.8, zorder=0)
    labels = [f"{e.statement}\n{e.grades_missing} of {e.grades} missing, n = {e.clusters}" for e in shown]
    ax.set_yticks(-np.arange(len(shown)), labels)
    ax.set_ylim(-len(shown) + 0.4, 0.6)
    ax.set_xlabel("points; solid: adjusted interval; dashed: bounds over the missing grades", fontsize=8)
    return figure


def without_languages(result: Result, rows: Sequence[WithoutLanguage], effect: Effect) -> Figure:
    """One comparison with each language left out in turn, beside the difference over all of them."""
    first = rows[0]
    left = len(rows) - MOST_LANGUAGES
    rows = sorted(rows, key=lambda row: row.questions)[:MOST_LANGUAGES]
    title = f"{title_of(first.benchmark)}, {first.statement}: leave one language out"
    footer = judged_line(result.judged, first.benchmark, effect.weights)
    figure, (ax,) = canvas(title, result.headline, footer, 6.4, 1.4 + 0.2 * len(rows))
    if effect.difference is not None:
        ax.axvline(effect.difference, color=PALE, lw=1.2, zorder=0)
    if result.settings.margin is not None:
        ax.axvline(-result.settings.margin, color=SOFT, lw=1, ls="--", zorder=0)
    ax.axvline(0, color=INK, lw=0.8, zorder=0)
    for k, row in enumerate(rows):
        _line(ax, -k, row.difference, row.t_low, row.t_high, "o", fill="white")
    ax.set_yticks(-np.arange(len(rows)), [f"without {row.language} (n = {row.clusters})" for row in rows])
    ax.set_ylim(-len(rows) + 0.4, 0.6)
    level = f"{result.settings.level * 100:g} %"
    others = f"\n{left} languages with fewer questions are in the table only" if left > 0 else ""
    ax.set_xlabel(
        f"points, {level} intervals, not adjusted ({UNADJUSTED}); n: clusters; pale: all languages{others}",
        fontsize=8,
    )
    return figure


def panel_scores(result: Result, run: str, rows: Sequence[JudgeScore]) -> Figure:
    """A run's score by each judge alone and without each judge."""
    benchmark = rows[0].benchmark
    title = f"{title_of(benchmark)}, {run}: score by part of the panel"
    figure, (ax,) = canvas(
        title, result.headline, judged_line(result.judged, benchmark, [run]), 6.4, 1.3 + 0.24 * len(rows)
    )
    for k, row in enumerate(rows):
        value, low, high = (
            None if end is None else end * 100 for end in (row.score.value, row.score.low, row.score.high)
        )
        _line(ax, -k, value, low, high, "o", fill="white")
    ax.set_yticks(-np.arange(len(rows)), [f"{row.panel} (n = {row.score.clusters})" for row in rows])
    ax.set_ylim(-len(rows) + 0.4, 0.6)
    ax.set_xlabel(f"score, %, intervals not adjusted ({UNADJUSTED}); n: clusters", fontsize=8)
    return figure


def _line(
    ax: Axes,
    y: float,
    value: float | None,
    low: float | None,
    high: float | None,
    marker: str,
    fill: str = INK,
) -> None:
    if low is not None and high is not None:
        ax.plot([low, high], [y, y], color=INK, lw=1.2)
    if value is not None:
        ax.plot(value, y, marker, ms=4.5, color=INK, mfc=fill)
