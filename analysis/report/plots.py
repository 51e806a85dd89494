"""Figures as SVG and PNG: drawn from the comparison's own rows, legible in grey, with n on every label."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from value_retention.analysis.effects.compare import Comparison
from value_retention.analysis.effects.result import Effect
from value_retention.analysis.report.canvas import INK, PALE, SOFT, canvas, save
from value_retention.analysis.report.cells import SECTIONS, TITLES, interval, number
from value_retention.analysis.report.export import pairs_of, question_rows
from value_retention.analysis.report.plots_agreement import agreement_figure
from value_retention.analysis.report.plots_groups import judges, slope
from value_retention.analysis.stats.cluster import MIN_CLUSTERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from value_retention.analysis.judges.agreement import Agreement


def save_plots(comparison: Comparison, folder: Path) -> list[Path]:
    """Draw every figure of a comparison into a folder; no name is taken for mathematics.

    Per benchmark and pair ``forest`` and ``questions``; per benchmark ``languages`` (where there is more
    than one) and ``judges``; per panel of judges ``agreement``, where the comparison holds it. Each as
    ``.svg`` and ``.png``.

    Returns:
        The files written.
    """
    from matplotlib import rc_context

    with rc_context({"text.parse_math": False}):
        return _save_plots(comparison, folder)


def _save_plots(comparison: Comparison, folder: Path) -> list[Path]:
    written: list[Path] = []
    names = file_names([run.run for run in comparison.runs])
    for (benchmark, baseline, run), effects in pairs_of(comparison.effects):
        name = f"{benchmark}_{names[run]}_vs_{names[baseline]}"
        written += save(forest(comparison, effects), folder / f"forest_{name}")
        written += save(paired_questions(comparison, benchmark, baseline, run), folder / f"questions_{name}")
    for panel in comparison.panels:
        name = panel.benchmark
        if panel.english.any() and not panel.english.all():
            written += save(slope(comparison, name), folder / f"languages_{name}")
        written += save(judges(comparison, name), folder / f"judges_{name}")
    panels: dict[tuple[str, str, tuple[str, ...]], list[Agreement]] = {}
    for run, row in comparison.agreements:
        panels.setdefault((run, row.benchmark, row.raters), []).append(row)
    for (run, benchmark, raters), rows in panels.items():
        stem = file_name("_".join((f"agreement_{benchmark}", names[run], *raters)))
        written += save(agreement_figure(rows, run, comparison.headline), folder / stem)
    return written


def file_name(text: str) -> str:
    """A run's name as part of a file name."""
    return re.sub(r"[^\w.-]+", "-", text).strip("-") or "run"


def file_names(runs: Sequence[str]) -> dict[str, str]:
    """The same for several runs, with a number where two would have one, so that no figure replaces another."""
    found: dict[str, str] = {}
    for run in dict.fromkeys(runs):
        stem = name = file_name(run)
        number_ = 2
        while name in found.values():
            name, number_ = f"{stem}-{number_}", number_ + 1
        found[run] = name
    return found


def forest(comparison: Comparison, effects: Sequence[Effect]) -> Figure:
    """Differences of one pair: cluster t interval as a line, bootstrap interval as ticks, n beside it."""
    shown = [e for e in effects if e.difference is not None]
    shown = [e for e in shown if e.kind != "language" or e.clusters >= MIN_CLUSTERS]
    first = shown[0]
    title = f"{TITLES.get(first.benchmark, first.benchmark)}: {first.run} against {first.baseline}"
    figure, (ax,) = canvas(title, comparison.headline, 7.2, 1.1 + 0.24 * len(shown))
    places = _spaced(shown)
    margin = comparison.settings.margin
    if margin is not None:
        ax.axvspan(-margin, margin, color=PALE, alpha=0.6, lw=0, zorder=0)
        ax.annotate(
            f"±{margin:g}", (0, 1), xycoords=("data", "axes fraction"), xytext=(0, 2),
            textcoords="offset points", ha="center", fontsize=7.5, color=SOFT,
        )  # fmt: skip
    ax.axvline(0, color=SOFT, lw=0.8, zorder=1)
    _beside(ax, 1.0, "n", "points")
    for e, y in zip(shown, places, strict=True):
        difference, *ends = (
            np.nan if v is None else v for v in (e.difference, e.t_low, e.t_high, e.boot_low, e.boot_high)
        )
        tested = e.t_low is not None
        ax.plot(ends[:2], [y, y], color=INK, lw=1.4, zorder=2)
        ax.plot(ends[2:], [y, y], "|", color=SOFT, ms=7, mew=1.2, zorder=3)
        size = 6.5 if e.kind == "overall" else 4.5
        ax.plot(difference, y, "o", color=INK, mfc=INK if tested else "white", ms=size, zorder=4)
        _beside(ax, y, str(e.clusters), f"{number(e.difference, sign=True)} {interval(e.t_low, e.t_high)}")
    ax.set_yticks(places, [e.metric for e in shown])
    ax.set_ylim(places[-1] - 0.8, 1.4)
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
    level = f"{comparison.settings.level * 100:g} %"
    band = "; grey: margin" if margin is not None else ""
    ax.set_xlabel(
        f"{first.run} less {first.baseline}, percentage points\n"
        f"line: {level} cluster t interval; ticks: cluster bootstrap; n: clusters;\n"
        f"hollow: described, not tested{band}",
        fontsize=8,
    )
    return figure


def _beside(ax: Axes, y: float, count: str, text: str) -> None:
    """Number of clusters and the figures, in two columns to the right of the axes."""
    for x, part, side in ((1.07, count, "right"), (1.1, text, "left")):
        ax.annotate(
            part, (x, y), xycoords=("axes fraction", "data"), fontsize=7.5, va="center", ha=side,
            color=INK, annotation_clip=False,
        )  # fmt: skip


def _spaced(effects: Sequence[Effect]) -> list[float]:
    """Heights from 0 downwards, with a gap between dimensions, languages and sources and the rest."""
    places, y = [], 0.0
    for index, effect in enumerate(effects):
        if index:
            before = effects[index - 1].kind
            apart = before != effect.kind and {before, effect.kind} & SECTIONS
            y -= 1.6 if apart else 1
        places.append(y)
    return places


def paired_questions(comparison: Comparison, benchmark: str, baseline: str, run: str) -> Figure:
    """Both runs' score on every question, English and other questions apart, sorted by difference."""
    panel = next(p for p in comparison.panels if p.benchmark == benchmark)
    rows = [r for r in question_rows(panel) if None not in (r["scores"][baseline], r["scores"][run])]
    english = {q.item for q in panel.questions if q.is_english}
    groups = [
        (name, [r for r in rows if (r["item"] in english) == is_english])
        for name, is_english in (("English", True), ("other languages", False))
    ]
    groups = [(name, members) for name, members in groups if members]
    title = f"{TITLES.get(benchmark, benchmark)}, question by question: {run} against {baseline}"
    figure, axes = canvas(title, comparison.headline, 7.2, 2.6 * len(groups) + 0.3, rows=len(groups))
    for ax, (name, members) in zip(axes, groups, strict=True):
        members.sort(key=lambda r: (r["scores"][run] - r["scores"][baseline], r["scores"][baseline]))
        x = np.arange(len(members))
        before = np.array([r["scores"][baseline] for r in members])
        after = np.array([r["scores"][run] for r in members])
        ax.vlines(x, before, after, color=SOFT, lw=0.8)
        ax.plot(x, before, "o", ms=3.6, mfc="white", mec=INK, mew=0.8, label=baseline)
        ax.plot(x, after, "o", ms=3.6, color=INK, label=run)
        down, up = int((after < before).sum()), int((after > before).sum())
        equal = len(members) - down - up
        ax.set_title(
            f"{name}: n = {len(members)} questions, {down} lower, {up} higher, {equal} equal",
            loc="left",
            fontsize=8.5,
        )
        ax.set_ylim(-4, 104)
        ax.set_xlim(-1, len(members))
        ax.set_xticks([])
        ax.set_ylabel("score, %", fontsize=8)
    axes[-1].set_xlabel("questions, from the largest drop to the largest gain", fontsize=8)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", fontsize=8, frameon=False, ncols=2)
    return figure
