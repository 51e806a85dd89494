"""Blank figures with the house style, and how to save them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from value_retention.analysis.report.export import writing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, SOFT, PALE = "#1a1a1a", "#7a7a7a", "#d9d9d9"
MARKERS = "osD^vPX*"
DPI = 200


def canvas(
    title: str,
    headline: Sequence[str],
    footer: str,
    width: float,
    height: float,
    rows: int = 1,
    columns: int = 1,
) -> tuple[Figure, list[Axes]]:
    """A figure without pyplot, so that nothing depends on a display or stays open.

    Args:
        title: Set at the top left.
        headline: What must be read first, above the title.
        footer: Who judged, on which data, at the bottom.
        width: Inches.
        height: Inches, without title, headline and footer.
        rows: Axes one below the other.
        columns: Axes side by side.
    """
    from matplotlib.figure import Figure

    lines = textwrap.wrap(" ".join(headline), int(width * 17))
    below = textwrap.wrap(footer, int(width * 19))
    top, bottom = 0.14 * len(lines) + 0.34, 0.12 * len(below) + 0.08
    height += top + bottom
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    layout = figure.get_layout_engine()
    assert layout is not None
    layout.set(rect=(0, bottom / height, 1, 1 - (top + bottom) / height))  # type: ignore[call-arg]
    if lines:
        figure.text(0.01, 1 - 0.05 / height, "\n".join(lines), fontsize=7, va="top", color=INK, weight="bold")
    figure.text(0.01, 1 - (top - 0.26) / height, title, fontsize=10, va="top", color=INK)
    figure.text(0.01, 0.04 / height, "\n".join(below), fontsize=6.5, va="bottom", color=INK)
    axes = [figure.add_subplot(rows, columns, k + 1) for k in range(rows * columns)]
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(labelsize=8, color=SOFT)
    return figure, axes


def legend_above(ax: Axes, columns: int, handles_of: Axes | None = None) -> None:
    """A legend above the right end of an axes, clear of title and footer."""
    handles, names = (handles_of or ax).get_legend_handles_labels()
    ax.legend(
        handles, names, loc="lower right", bbox_to_anchor=(1, 1), fontsize=8, frameon=False, ncols=columns
    )


def save(figure: Figure, stem: Path, png: bool = True) -> list[Path]:
    """Write ``stem.svg`` and, unless it is not wanted, ``stem.png``; the same figure gives the same SVG."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine("none")
    files = [stem.with_name(stem.name + ending) for ending in ((".svg", ".png") if png else (".svg",))]
    with writing(files[0]), rc_context({"svg.fonttype": "none", "svg.hashsalt": "value-retention"}):
        # `savefig` draws everything twice, the first time to find a layout that is known already.
        FigureCanvasSVG(figure).print_svg(str(files[0]), metadata={"Date": None})  # type: ignore[no-untyped-call]
        for file in files[1:]:
            figure.savefig(file, dpi=DPI)
    return files
