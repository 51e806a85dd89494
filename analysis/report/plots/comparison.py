"""Figures as SVG and PNG: drawn from the rows of a result, legible in grey, with n on every label."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from value_retention.analysis.effects.provenance import judged_line
from value_retention.analysis.effects.result import Result, question_rows
from value_retention.analysis.effects.rows import Effect
from value_retention.analysis.report.cells import MAIN, SECTIONS, UNADJUSTED, interval_text, number
from value_retention.analysis.report.overview import worst_first
from value_retention.analysis.report.plots.agreement import agreement_figure
from value_retention.analysis.report.plots.canvas import INK, SOFT, canvas, legend_above, save
from value_retention.analysis.report.plots.groups import judges, slope
from value_retention.analysis.report.plots.plane import plane_figure
from value_retention.analysis.report.plots.sensitivity import (
    margin_curve,
    missing_bounds,
    panel_scores,
    without_languages,
)
from value_retention.analysis.report.sections import primary
from value_retention.analysis.report.tables import by_comparison
from value_retention.analysis.report.trajectory import trajectory_figure
from value_retention.analysis.runs.names import title_of
from value_retention.analysis.stats.cluster import MIN_CLUSTERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from value_retention.analysis.judges.agreement import Agreement


def save_plots(result: Result, folder: Path, png: bool = True, most: int | None = None) -> list[Path]:
    """Draw every figure of a result into a folder; no name is taken for mathematics.

    Per benchmark and task ``plane``; per benchmark and comparison ``forest``, ``questions`` where both sides are single
    runs, and ``without-language`` where there are several languages; per benchmark ``verdicts`` of several comparisons,
    ``mitigations``, ``trajectory``, ``languages``, ``margins``, ``missing`` and ``judges``; per panel of judges
    ``panel`` and ``agreement``. A figure without data is left out. Each as ``.svg`` and ``.png``.

    Args:
        result: A comparison of runs or arms.
        folder: Where to.
        png: Whether to write ``.png`` too.
        most: Comparisons per benchmark, the worst first, with figures of their own; None for all.

    Returns:
        The files written.
    """
    from matplotlib import rc_context

    written: list[Path] = []
    with rc_context({"text.parse_math": False}):
        for stem, figure in _figures(result, most):
            written += save(figure, folder / stem, png)
    return written


def _figures(result: Result, most: int | None = None) -> Iterator[tuple[str, Figure]]:
    """Every figure with the name of its files."""
    close = {
        (benchmark, effect.statement)
        for benchmark, members in groupby(worst_first(result), lambda effect: effect.benchmark)
        for effect in list(members)[:most]
    }
    names = file_names([run.run for run in result.runs])
    statements = file_names([e.statement for e in result.effects])
    for plane in result.planes:
        yield file_name(f"plane_{plane.benchmark}_{plane.task} {plane.data}"), plane_figure(result, plane)
    for panel in result.panels:
        benchmark = panel.benchmark
        own = [effect for effect in result.effects if effect.benchmark == benchmark]
        comparisons = by_comparison(own)
        judged = [e for e in own if e.tier != "exploratory" and e.difference is not None]
        if len({e.statement for e in judged}) > 1:
            yield f"verdicts_{benchmark}", forest(result, judged)
        if mitigated := [e for e in own if e.comparison == "mitigation" and e.kind in MAIN]:
            yield f"mitigations_{benchmark}", forest(result, mitigated)
        for statement, effects in comparisons:
            first = effects[0]
            pair = first.comparison == "pair"
            stem = f"{names[first.run]}_vs_{names[first.baseline]}" if pair else statements[statement]
            if (first.tier == "primary" or most is not None) and (benchmark, statement) not in close:
                continue
            yield f"forest_{benchmark}_{stem}", forest(result, effects)
            if sorted(first.weights.values()) == [-1.0, 1.0]:
                yield f"questions_{benchmark}_{stem}", paired_questions(result, effects)
        if panel.english.any() and not panel.english.all():
            yield f"languages_{benchmark}", slope(result, benchmark)
        yield f"judges_{benchmark}", judges(result, benchmark)
    yield from _sensitivity(result, names, statements, close)
    panels: dict[tuple[str, str, tuple[str, ...]], list[Agreement]] = {}
    for run, row in result.agreements:
        panels.setdefault((run, row.benchmark, row.raters), []).append(row)
    for (run, benchmark, raters), rows in panels.items():
        stem = file_name("_".join((f"agreement_{benchmark}", names[run], *raters)))
        footer = judged_line(result.judged, benchmark, [run])
        yield stem, agreement_figure(rows, run, result.headline, footer)


def _sensitivity(
    result: Result, names: dict[str, str], statements: dict[str, str], close: set[tuple[str, str]]
) -> Iterator[tuple[str, Figure]]:
    """Trajectories, and what the verdicts depend on."""
    for row in result.trajectories:
        yield f"trajectory_{row.benchmark}", trajectory_figure(result, row)
    for benchmark, effects in primary(result):
        curve = margin_curve(result, effects)
        if curve is not None:
            yield f"margins_{benchmark}", curve
        if any(effect.grades_missing for effect in effects):
            yield f"missing_{benchmark}", missing_bounds(result, effects)
    by_pair = {(e.benchmark, e.statement): e for e in result.effects if e.tier == "primary"}
    for key, rows in groupby(result.without_language(), lambda row: (row.benchmark, row.statement)):
        if key not in close:
            continue
        effect = by_pair[key]
        stem = (
            f"{names[effect.run]}_vs_{names[effect.baseline]}"
            if effect.comparison == "pair"
            else statements[effect.statement]
        )
        yield f"without-language_{key[0]}_{stem}", without_languages(result, list(rows), effect)
    overall = [(run, row) for run, row in result.judge_scores if row.group == "overall"]
    for (run, benchmark), members in groupby(overall, lambda pair: (pair[0], pair[1].benchmark)):
        yield f"panel_{benchmark}_{names[run]}", panel_scores(result, run, [row for _, row in members])


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


def forest(result: Result, effects: Sequence[Effect]) -> Figure:
    """Differences as trials draw them: each interval against 0 and the margin, with its verdict.

    The effects are of one comparison, or of several on one benchmark, which the labels then name.

    Filled marks have the adjusted interval that decides a verdict. Hollow ones are exploratory, with an unadjusted
    interval, or without one where there are too few clusters.
    """
    shown = [e for e in effects if e.difference is not None]
    shown = [e for e in shown if e.kind != "language" or e.clusters >= MIN_CLUSTERS]
    first = shown[0]
    several = len({e.statement for e in shown}) > 1
    together = "mitigations" if first.comparison == "mitigation" else "verdicts"
    title = f"{title_of(first.benchmark)}: {together if several else first.statement}"
    footer = judged_line(result.judged, first.benchmark, {run for e in shown for run in e.weights})
    figure, (ax,) = canvas(title, result.headline, footer, 8.4, 1.2 + 0.24 * len(shown))
    places = _spaced(shown)
    margin = result.settings.margin
    if margin is not None:
        ax.axvline(-margin, color=SOFT, lw=1, ls="--", zorder=1)
        ax.annotate(
            f"margin {number(-margin)}", (-margin, 1), xycoords=("data", "axes fraction"), xytext=(0, 2),
            textcoords="offset points", ha="center", fontsize=7.5, color=SOFT,
        )  # fmt: skip
    ax.axvline(0, color=INK, lw=0.8, zorder=1)
    _beside(ax, 1.0, "n", "points")
    for e, y in zip(shown, places, strict=True):
        low, high = (e.t_low, e.t_high) if e.low is None else (e.low, e.high)
        difference = np.nan if e.difference is None else e.difference
        if low is not None and high is not None:
            ax.plot([low, high], [y, y], color=INK if e.low is not None else SOFT, lw=1.4, zorder=2)
        size = 6.5 if e.kind == "overall" else 4.5
        ax.plot(difference, y, "o", color=INK, mfc="white" if e.low is None else INK, ms=size, zorder=4)
        verdict = "" if e.tier == "exploratory" else (e.verdict or "")
        text = f"{number(e.difference, sign=True)} {interval_text(e)}  {verdict}".strip()
        _beside(ax, y, str(e.clusters), text)
    ax.set_yticks(places, [f"{e.statement}, {e.metric}" if several else e.metric for e in shown])
    ax.set_ylim(places[-1] - 0.8, 1.4)
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
    level = f"{result.settings.level * 100:g} %"
    sides = "run less baseline" if several else f"{first.run} less {first.baseline}"
    ax.set_xlabel(
        f"{sides}, percentage points, {first.unit}\n"
        f"filled: {level} interval, adjusted for the verdicts of the report\n"
        f"hollow: exploratory, {level} interval not adjusted ({UNADJUSTED}); n: clusters",
        fontsize=8,
    )
    return figure


def _beside(ax: Axes, y: float, count: str, text: str) -> None:
    """Number of clusters and the figures, in two columns to the right of the axes."""
    # Points, not parts of the axes' width: the layout then needs one pass.
    for x, part, side in ((26, count, "right"), (34, text, "left")):
        ax.annotate(
            part, (1, y), xycoords=("axes fraction", "data"), xytext=(x, 0), textcoords="offset points",
            fontsize=7.5, va="center", ha=side, color=INK, annotation_clip=False,
        )  # fmt: skip


def _spaced(effects: Sequence[Effect]) -> list[float]:
    """Heights from 0 downwards, with a gap between dimensions, languages and sources and the rest."""
    places, y = [], 0.0
    for index, effect in enumerate(effects):
        if index:
            before = effects[index - 1].kind
            apart = (before != effect.kind and {before, effect.kind} & SECTIONS) or (
                effects[index - 1].statement != effect.statement
            )
            y -= 1.6 if apart else 1
        places.append(y)
    return places


def paired_questions(result: Result, effects: Sequence[Effect]) -> Figure:
    """Both runs' score on every question, English and other questions apart, sorted by difference."""
    benchmark = effects[0].benchmark
    baseline, run = sorted(effects[0].weights, key=lambda name: effects[0].weights[name])
    panel = next(p for p in result.panels if p.benchmark == benchmark)
    rows = [r for r in question_rows(panel) if None not in (r["scores"][baseline], r["scores"][run])]
    english = {q.item for q in panel.questions if q.is_english}
    groups = [
        (name, [r for r in rows if (r["item"] in english) == is_english])
        for name, is_english in (("English", True), ("other languages", False))
    ]
    groups = [(name, members) for name, members in groups if members]
    title = f"{title_of(benchmark)}, question by question: {run} against {baseline}"
    footer = judged_line(result.judged, benchmark, (baseline, run))
    figure, axes = canvas(title, result.headline, footer, 7.2, 2.6 * len(groups) + 0.3, rows=len(groups))
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
    legend_above(axes[0], 2)
    return figure
