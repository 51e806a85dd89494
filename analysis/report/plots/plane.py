"""Figure of the plane: value kept against task learned, with seeds, intervals and the Pareto front."""

from __future__ import annotations

import textwrap
from itertools import cycle, pairwise
from typing import TYPE_CHECKING, Any

from value_retention.analysis.effects.plane import Plane, Point
from value_retention.analysis.effects.provenance import judged_line
from value_retention.analysis.effects.result import Result
from value_retention.analysis.report.plane import FRONT, ROLES, plane_title, seeds_line, task_label
from value_retention.analysis.report.plots.canvas import INK, MARKERS, SOFT, canvas
from value_retention.tasks.cluster import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#a07000", "#56b4e9", INK)
"""Told apart with all common kinds of colour vision (Okabe and Ito); as many as keep pairs with `MARKERS` distinct."""

DASHES: dict[str, list[Any]] = {
    "baseline": ["--"], "before": [":"], "control": ["-.", (0, (6, 1, 1, 1, 1, 1)), (0, (1, 4))],
}  # fmt: skip
"""Line styles by role; there may be several controls."""


def plane_figure(result: Result, plane: Plane) -> Figure:
    """Every seed a small mark, every arm's mean a large one with its interval; better is up and to the right."""
    arms = [point for point in plane.points if point.role == "arm"]
    runs = [seed.run for point in plane.points for seed in point.seeds]
    footer = judged_line(result.judged, plane.benchmark, runs)
    height = max(4.0, 1.8 + 0.2 * len(plane.points))
    figure, (ax,) = canvas(plane_title(plane), result.headline, footer, 8.4, height)
    names = {point.name for point in arms}
    for k, point in enumerate(arms):
        _arm(ax, point, k, point.mitigation or "plain" if len(names) == 1 else point.label)
    for role, styles in DASHES.items():
        for point, style in zip((p for p in plane.points if p.role == role), cycle(styles), strict=False):
            label = f"{point.name} ({ROLES[role]})"
            ax.axhline(point.value, color=SOFT, lw=0.9, ls=style, zorder=0, label=label)
            if point.task is not None:
                ax.plot(point.task, point.value, marker="|", ms=12, color=SOFT, zorder=1)
    _front(ax, arms)
    _share_axis(ax, plane)
    if not plane.higher_is_better:
        ax.invert_xaxis()
    ax.set_ylabel(f"value: overall mean, %, {result.settings.level * 100:g} % interval", fontsize=8)
    inverted = "" if plane.higher_is_better else " (axis inverted)"
    note = textwrap.wrap(" ".join(filter(None, [FRONT, seeds_line(plane)])), 90)
    ax.set_xlabel("\n".join([f"task: {task_label(plane)}{inverted}", *note]), fontsize=8)
    title = names.pop() if len(names) == 1 else None
    ax.legend(
        loc="center left", bbox_to_anchor=(1.14, 0.5), fontsize=7.5, frameon=False, title=title,
        title_fontsize=7.5, alignment="left",
    )  # fmt: skip
    return figure


def _arm(ax: Axes, point: Point, k: int, label: str) -> None:
    colour, marker = COLOURS[k % len(COLOURS)], MARKERS[k % len(MARKERS)]
    x = point.task
    assert x is not None
    if point.low is not None and point.high is not None:
        ax.plot([x, x], [point.low, point.high], color=colour, lw=0.9, alpha=0.6, zorder=2)
    for seed in point.seeds if len(point.seeds) > 1 else ():
        if seed.task is not None:
            ax.plot(seed.task, seed.value, marker=marker, ms=4, color=colour, mec="white", mew=0.5, zorder=5)
    count = f" ({len(point.seeds)} seeds)" if len(point.seeds) > 1 else ""
    fill = colour if point.mitigation else "white"
    ax.plot(
        x, point.value, ls="", marker=marker, ms=8, mec=colour, mfc=fill, mew=1.3, zorder=4,
        label="\n".join(textwrap.wrap(label + count, 34)),
    )  # fmt: skip


def _front(ax: Axes, arms: list[Point]) -> None:
    """The front as a stair: what lies below and before it is reached by one of its arms."""
    best = sorted((p.value, p.task) for p in arms if p.front and p.task is not None)
    for k, ((low, x), (high, other)) in enumerate(pairwise(best)):
        label = "Pareto front of the means" if not k else None
        ax.plot([x, other, other], [low, low, high], color=INK, lw=0.8, zorder=1, label=label)


def _share_axis(ax: Axes, plane: Plane) -> None:
    """A second axis with the retained share, where the gain that it is a share of is shown."""
    ends = {point.role: point.value for point in plane.points if point.role in ("before", "baseline")}
    if len(ends) < 2 or not any(point.share and point.share.shown for point in plane.points):
        return
    start, gain = ends["before"], ends["baseline"] - ends["before"]

    def share_of(value: Floats) -> Floats:
        return (value - start) / gain

    def value_of(share: Floats) -> Floats:
        return start + share * gain

    axis = ax.secondary_yaxis("right", functions=(share_of, value_of))  # type: ignore[arg-type]
    axis.set_ylabel("retained share of the gain", fontsize=8)
    axis.tick_params(labelsize=8, color=SOFT)
