"""The table of partially pooled dimensions."""

from __future__ import annotations

from collections.abc import Sequence

from value_retention.analysis.effects.pooled import PooledDimension
from value_retention.analysis.report.cells import UNADJUSTED, interval, number


def pooled_cells(rows: Sequence[PooledDimension]) -> tuple[list[str], list[list[str]]]:
    """Headings, and the cells of a row per dimension. `effects.pooled.EXPLORATORY` belongs above the table."""
    headings = [
        "Dimension",
        "Questions",
        f"Alone{UNADJUSTED}\npoints",
        f"Partially pooled{UNADJUSTED}\npoints",
    ]
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
