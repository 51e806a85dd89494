"""Figures over all runs of a benchmark: English against other languages, and the judge's replies."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from value_retention.analysis.effects.provenance import judged_line
from value_retention.analysis.effects.result import Result
from value_retention.analysis.effects.rows import Score
from value_retention.analysis.report.cells import number
from value_retention.analysis.report.plots.canvas import INK, MARKERS, PALE, SOFT, canvas, legend_above
from value_retention.analysis.runs.align import ENGLISH, OTHER
from value_retention.analysis.runs.names import title_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DASHES = ("-", "--", ":", "-.")


def slope(result: Result, benchmark: str) -> Figure:
    """Each run's score on English and on other questions, with its interval."""
    groups = [s for s in result.scores if s.benchmark == benchmark and s.kind == "group"]
    scores = {(s.run, s.metric): s for s in groups}
    runs = list(dict.fromkeys(s.run for s in groups))
    title = f"{title_of(benchmark)}: English and other languages"
    footer = judged_line(result.judged, benchmark)
    figure, (ax,) = canvas(title, result.headline, footer, 5.8, max(3.8, 1.5 + 0.3 * len(runs)))
    offsets = (np.arange(len(runs)) - (len(runs) - 1) / 2) * min(0.05, 0.3 / len(runs))
    ends: list[tuple[float, str]] = []
    for k, run in enumerate(runs):
        pair = [scores[run, ENGLISH], scores[run, OTHER]]
        _slope_line(ax, pair, np.array([0.0, 1.0]) + offsets[k], k)
        english, other = (number(s.score) or "no score" for s in pair)
        ends.append((pair[1].score or 0.0, f"{run} ({english}, {other})"))
    low, high = ax.get_ylim()
    spread = _apart([height for height, _ in ends], (high - low) / 18)
    for k, (place, (height, text)) in enumerate(zip(spread, ends, strict=True)):
        start = 1 + offsets[k] + 0.02
        ax.plot([start, 1.2], [height, place], color=SOFT, lw=0.5, clip_on=False, zorder=0)
        ax.annotate(text, (1.21, place), fontsize=8, va="center", annotation_clip=False)
    first = [scores[runs[0], name] for name in (ENGLISH, OTHER)]
    names = [f"{s.metric}\n{s.clusters} clusters, {s.questions} questions" for s in first]
    ax.set_xticks([0, 1], names, fontsize=8)
    ax.set_xlim(-0.3, 1.16)
    ax.set_ylabel(f"score, %, with {result.settings.level * 100:g} % interval", fontsize=8)
    return figure


def _slope_line(ax: Axes, pair: Sequence[Score], x: np.ndarray, k: int) -> None:
    heights = [np.nan if s.score is None else s.score for s in pair]
    ax.plot(
        x, heights, ls=DASHES[k % 4], lw=1.2, color=INK, marker=MARKERS[k % len(MARKERS)], ms=5,
        mfc="white" if k % 2 else INK,
    )  # fmt: skip
    for place, s in zip(x, pair, strict=True):
        if s.low is not None and s.high is not None:
            ax.plot([place, place], [s.low, s.high], color=SOFT, lw=1, zorder=0)


def _apart(heights: Sequence[float], gap: float) -> list[float]:
    """Heights moved apart so that labels do not overlap, about their mean."""
    placed = list(heights)
    for lower, upper in pairwise(np.argsort(heights).tolist()):
        placed[upper] = max(placed[upper], placed[lower] + gap)
    moved = float(np.mean(placed) - np.mean(heights))
    return [height - moved for height in placed]


def judges(result: Result, benchmark: str) -> Figure:
    """Per judge and run: how often each dimension passes (prevalence), and the share of grades missing."""
    totals: dict[tuple[str, str, str], list[float]] = {}
    for run in result.runs:
        for count in run.judges if run.benchmark == benchmark else ():
            entry = totals.setdefault((run.run, count.judge, count.dimension), [0.0, 0.0, 0.0])
            entry[0] += count.graded
            entry[1] += count.passed
            entry[2] += count.missing
    dimensions = list(dict.fromkeys(dimension for _, _, dimension in totals))
    series = list(dict.fromkeys((run, judge) for run, judge, _ in totals))
    judged_by = ", ".join(dict.fromkeys(judge for _, judge in series))
    title = f"{title_of(benchmark)}: grades by {judged_by}"
    height = 1.3 + (0.2 + 0.04 * len(series)) * len(dimensions)
    footer = judged_line(result.judged, benchmark)
    figure, axes = canvas(title, result.headline, footer, 7.2, height, columns=2)
    several = len({judge for _, judge in series}) > 1
    asked = dict.fromkeys(dimensions, 0)
    for k, (run_name, judge) in enumerate(series):
        cells = [totals.get((run_name, judge, d), [0.0, 0.0, 0.0]) for d in dimensions]
        graded, passed, missing = (np.array(column) for column in zip(*cells, strict=True))
        for d, n in zip(dimensions, graded + missing, strict=True):
            asked[d] += int(n)
        y = -np.arange(len(dimensions)) - (k - (len(series) - 1) / 2) * min(0.22, 0.7 / len(series))
        name = f"{run_name}, {judge}" if several else run_name
        with np.errstate(invalid="ignore", divide="ignore"):
            for ax, share in ((axes[0], passed / graded), (axes[1], missing / (graded + missing))):
                ax.plot(
                    100 * share, y, ls="", marker=MARKERS[k % len(MARKERS)], ms=4, mec=INK, mew=0.8,
                    mfc="white" if k % 2 else INK, label=name if ax is axes[0] else None,
                )  # fmt: skip
    heights = -np.arange(len(dimensions))
    axes[0].set_yticks(heights, [f"{d} (n = {asked[d]})" for d in dimensions])
    axes[1].set_yticks(heights, [])
    axes[0].set_xlabel("grades that pass, % (prevalence)\nn: grades asked for, all runs", fontsize=8)
    axes[1].set_xlabel("grades missing, %", fontsize=8)
    axes[0].set_xlim(-3, 103)
    axes[1].set_xlim(-0.3, max(5.0, axes[1].get_xlim()[1]))
    for ax in axes:
        ax.set_ylim(-len(dimensions) + 0.4, 0.6)
        ax.hlines(heights, *ax.get_xlim(), color=PALE, lw=0.6, zorder=0)
    longest = max(len(name) for name in axes[0].get_legend_handles_labels()[1])
    legend_above(axes[1], max(1, min(3, 48 // max(longest, 1))), handles_of=axes[0])
    return figure
