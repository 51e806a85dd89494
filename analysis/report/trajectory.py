"""A trajectory in words, as a table and as a plot."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from value_retention.analysis.effects.provenance import judged_line
from value_retention.analysis.effects.result import Result
from value_retention.analysis.effects.trajectory import Trajectory
from value_retention.analysis.report.cells import interval, number, p_text
from value_retention.analysis.report.plots.canvas import INK, SOFT, canvas
from value_retention.analysis.report.tables import Table
from value_retention.analysis.runs.names import title_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def first_losses(result: Result) -> Iterator[str]:
    """Per benchmark, the first checkpoint with a shown loss."""
    for row in result.trajectories:
        steps = row.steps[1:]
        after = f"of {len(steps)} checkpoints after {row.steps[0].run}"
        shown = next((k for k, step in enumerate(steps) if step.run == row.first_loss), None)
        if shown is None:
            yield f"{title_of(row.benchmark)}: no loss is shown at any {after}."
            continue
        step = steps[shown]
        ends = interval(step.difference_low, step.difference_high)
        yield (
            f"{title_of(row.benchmark)}: the first loss shown is at {step.run} "
            f"({number(step.difference, sign=True)} {ends}, {_ordinal(shown + 1)} {after}). An earlier loss that is "
            "too small to be shown is not excluded."
        )


def _ordinal(count: int) -> str:
    ending = "th" if 10 < count % 100 < 14 else {1: "st", 2: "nd", 3: "rd"}.get(count % 10, "th")
    return f"{count}{ending}"


def trajectory_tables(result: Result) -> Iterator[Table]:
    """A row per checkpoint."""
    for row in result.trajectories:
        level = f"{row.level * 100:g} %"
        yield Table(
            f"{title_of(row.benchmark)}: trajectory, {row.questions} questions, {row.clusters} clusters",
            ["Checkpoint", f"Score, %\n{level} simultaneous", "Difference, points\nadjusted by Holm's rule",
             "p adjusted", "Loss shown"],
            [
                [
                    step.run,
                    f"{number(step.score)} {interval(step.low, step.high)}".strip() or "no score",
                    f"{number(step.difference, sign=True)} {interval(step.difference_low, step.difference_high)}"
                    if step.difference is not None
                    else ("baseline" if step is row.steps[0] else "no score"),
                    p_text(step.p_adjusted),
                    "" if step is row.steps[0] else "yes" if step.loss else "no",
                ]
                for step in row.steps
            ],
            f"The intervals of the scores hold together at {level}: each has a level of {row.level_of_each * 100:.2f} "
            f"%, from the largest of the correlated t statistics (simulated, seed {row.seed}). The intervals of the "
            "differences are those of the verdicts.",
        )  # fmt: skip


def trajectory_figure(result: Result, row: Trajectory) -> Figure:
    """Score by checkpoint with simultaneous intervals; a filled mark shows a loss."""
    names = [step.run for step in row.steps]
    footer = judged_line(result.judged, row.benchmark, names)
    width = max(5.8, 1.6 + 0.7 * len(names))
    title = f"{title_of(row.benchmark)}: score by checkpoint, n = {row.clusters} clusters"
    figure, (ax,) = canvas(title, result.headline, footer, width, 3.6)
    x = np.arange(len(names))
    scores = np.array([np.nan if step.score is None else step.score for step in row.steps])
    ax.axhline(scores[0], color=SOFT, lw=0.8, ls="--", zorder=0)
    ax.plot(x, scores, color=SOFT, lw=1, zorder=1)
    for place, step in zip(x, row.steps, strict=True):
        if step.low is not None and step.high is not None:
            ax.plot([place, place], [step.low, step.high], color=INK, lw=1.4, zorder=2)
        if step.score is not None:
            ax.plot(place, step.score, "o", color=INK, mfc=INK if step.loss else "white", ms=6, zorder=3)
    ax.set_xticks(x, names, rotation=20 if max(map(len, names)) * len(names) > 60 else 0)
    ax.set_ylabel("score, %", fontsize=8)
    ax.set_xlabel(
        f"{row.level * 100:g} % intervals of the scores hold together; dashed: {names[0]}\n"
        f"they may overlap where a loss is shown, because all checkpoints answer the same questions\n"
        f"filled: the loss against {names[0]} is shown after Holm's adjustment",
        fontsize=8,
    )
    return figure
