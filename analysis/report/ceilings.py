"""The table of scores between floor and ceiling."""

from __future__ import annotations

from collections.abc import Iterator

from value_retention.analysis.effects.ceilings import Ceiling
from value_retention.analysis.effects.result import Result
from value_retention.analysis.report.cells import UNADJUSTED, interval, number, or_reason
from value_retention.analysis.report.tables import Table
from value_retention.analysis.runs.names import title_of

CEILING_TITLE = "Scores beside the model's own ceiling (the criteria in its system prompt; floor 0)"
CEILING_HEADINGS = [
    "Run",
    "Figure",
    "Clusters",
    "Score\n%",
    "Ceiling\n%",
    f"Share of the ceiling\n%{UNADJUSTED}",
]
CEILING_NOTE = (
    "A ceiling far above the score: the model can meet the criteria, and does not think of them. A ceiling near the "
    "score: it does what it can. Its interval is Wilson's, that of the share is Fieller's, over clusters."
)


def ceiling_tables(result: Result) -> Iterator[Table]:
    """Scores beside the ceilings, of runs with a ceiling test."""
    if result.ceilings:
        yield Table(
            CEILING_TITLE, CEILING_HEADINGS, [ceiling_cells(row) for row in result.ceilings], CEILING_NOTE
        )


def ceiling_cells(row: Ceiling) -> list[str]:
    """Cells of the table, in the order of `CEILING_HEADINGS`."""
    share = "" if row.share is None else number(row.share.estimate * 100)
    if row.share is not None and row.share.kind == "bounded" and row.share.low is not None:
        share += f" {interval(row.share.low * 100, (row.share.high or 0.0) * 100)}"
    elif row.share is not None:
        share += ", unbounded"
    top = f"{number(row.ceiling)} {interval(row.low, row.high)}".strip()
    return [
        f"{row.run}, {title_of(row.benchmark)}",
        row.metric,
        str(row.clusters),
        or_reason(number(row.score), row.reasons, "score"),
        or_reason(top, row.reasons, "score"),
        or_reason(share, row.reasons, "share"),
    ]
