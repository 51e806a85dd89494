"""Figure of the judges' agreement: raw, kappa and AC1 side by side, since each misleads alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from value_retention.analysis.report.cells import number
from value_retention.analysis.report.plots.canvas import INK, PALE, SOFT, canvas, legend_above
from value_retention.analysis.runs.names import title_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from value_retention.analysis.judges.agreement import Agreement

PAIR = (("raw", "raw agreement", "|"), ("kappa", "Cohen's kappa", "s"), ("ac1", "Gwet's AC1", "o"))
PANEL = (("raw", "raw agreement", "|"), ("alpha", "Krippendorff's alpha", "s"), ("ac1", "Gwet's AC1", "o"))


def agreement_figure(
    rows: Sequence[Agreement], run: str, headline: Sequence[str] = (), footer: str = ""
) -> Figure:
    """Agreement of one set of judges on one run, a line per figure.

    Args:
        rows: Agreements of the same judges and benchmark, at least one.
        run: Name of the run, for the title.
        headline: What must be read first.
        footer: Who judged, on which data.
    """
    first = rows[0]
    coefficients = PAIR if len(first.raters) == 2 else PANEL
    judges = " and ".join(first.raters)
    title = f"{title_of(first.benchmark)}, {run}: agreement of {judges}"
    figure, (ax,) = canvas(title, headline, footer, 7.2, 1.3 + 0.34 * len(rows))
    heights = -np.arange(len(rows), dtype=float)
    for k, (name, label, marker) in enumerate(coefficients):
        found = [getattr(row, name) for row in rows]
        y = heights + 0.22 * (1 - k)
        values, low, high = (
            np.array([np.nan if getattr(c, part) is None else getattr(c, part) for c in found], dtype=float)
            for part in ("value", "low", "high")
        )
        ax.hlines(y, low, high, color=SOFT, lw=1, zorder=1)
        fill = "white" if marker == "s" else INK
        ax.plot(values, y, ls="", marker=marker, color=INK, mfc=fill, ms=5, mew=1, label=label, zorder=2)
    labels = [f"{row.name} (n = {row.compared}, {_percent(row.prevalence)} pass)" for row in rows]
    ax.set_yticks(heights, labels)
    ax.set_ylim(heights[-1] - 0.6, 0.6)
    ax.axvline(0, color=PALE, lw=0.8, zorder=0)
    ax.hlines(heights[:-1] - 0.5, *ax.get_xlim(), color=PALE, lw=0.5, zorder=0)
    ax.set_xlabel(
        "agreement; lines: bootstrap intervals over clusters; n: grades compared.\n"
        "Kappa and alpha fall where nearly all grades pass or fail.",
        fontsize=8,
    )
    legend_above(ax, 3)
    return figure


def _percent(share: float | None) -> str:
    return "no" if share is None else f"{number(share * 100, 0)} %"
