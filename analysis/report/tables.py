"""The tables of a result, shared by the terminal and LaTeX: which effects stand together, under which title."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from value_retention.analysis.effects.caveats import extent
from value_retention.analysis.effects.result import Result
from value_retention.analysis.effects.rows import Effect
from value_retention.analysis.report.cells import MAIN
from value_retention.analysis.runs.names import title_of

KINDS = {
    "gain over base": "gain over the base",
    "domain effect": "domain effect within each method",
    "domain effect by data": "replication over data sets: domain effect",
    "same domain, other data": "replication over data sets: same domain",
    "domain x method": "domain x method",
    "mitigation": "mitigation less the plain arm",
}
"""Kinds of comparison in an experiment, and their titles."""


@dataclass(frozen=True)
class Table:
    """A table of texts.

    Attributes:
        title: What it shows.
        headings: One per column.
        rows: Cells.
        note: How to read it; empty if it needs none.
        folded: Whether a page shows it on request only, because it is long.
    """

    title: str
    headings: list[str]
    rows: list[list[str]]
    note: str = ""
    folded: bool = False


def effect_tables(result: Result) -> Iterator[tuple[str, list[Effect]]]:
    """Title and effects of each table.

    A pair of runs has a table with all figures. The comparisons of an experiment share a table per kind, with the
    main figures; JSON, CSV and plots hold the others.
    """
    panels = {panel.benchmark: panel for panel in result.panels}
    for (benchmark, kind), members in groupby(result.effects, key=lambda e: (e.benchmark, e.comparison)):
        title = title_of(benchmark)
        if kind != "pair":
            yield f"{title}: {KINDS[kind]}", [e for e in members if e.kind in MAIN]
            continue
        for statement, effects in by_comparison(list(members)):
            yield f"{title}: {statement}, {extent(panels[benchmark], list(effects[0].weights))}", effects


def by_comparison(effects: Sequence[Effect]) -> list[tuple[str, list[Effect]]]:
    """Effects of one benchmark by their statement, in their order."""
    return [(key, list(members)) for key, members in groupby(effects, key=lambda e: e.statement)]
