"""The table of partially pooled dimensions."""

from __future__ import annotations

from collections.abc import Sequence

from value_retention.analysis.effects.pooled import PooledDimension
from value_retention.analysis.report.cells import interval, number


def pooled_cells(rows: Sequence[PooledDimension]) -> tuple[list[str], list[list[str]]]:
    """Headings, and the cells of a row per dimension. `effects.pooled.EXPLORATORY` belongs above the table."""
    headings = ["Dimension", "Questions", "Alone\npoints", "Partially pooled\npoints"]
    cells = [
        [
            row.dimension,
            str(row.clusters),
            f"{number(row.difference, sign=True)} {interval(row.t_low, row.t_high)}",
            f"{number(row.pooled, sign=True)} {interval(row.low, row.high)}",
        ]
        for row in rows
    ]
    return headings, cells
