"""The report in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from value_retention.analysis.effects.provenance import judged_line
from value_retention.analysis.effects.result import Result
from value_retention.analysis.effects.rows import Effect
from value_retention.analysis.effects.verdicts import SHOWN
from value_retention.analysis.report.cells import (
    CONTRAST_TITLES,
    MAIN,
    SECTIONS,
    SHARE_TITLES,
    contrast_cells,
    effect_columns,
    estimands,
    number,
    score_rows,
    sentence,
    share_cells,
)
from value_retention.analysis.report.guards import guard_lines
from value_retention.analysis.report.notes import explained, language_notes
from value_retention.analysis.report.sections import ADDED, STUDY, TABLES
from value_retention.analysis.report.sensitivity import caution, cautions, judge_errors
from value_retention.analysis.report.tables import effect_tables
from value_retention.analysis.runs.names import title_of
from value_retention.analysis.stats.cluster import MIN_CLUSTERS
from value_retention.tasks.text import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

PIPE_WIDTH = 140
"""Width when the output is a file or a pipe."""

FIRST_WIDTH = 26
"""The first column wraps beyond this; figures never do."""


def console() -> Console:
    """A console as wide as the terminal, or wide enough for a file or pipe."""
    from rich.console import Console

    found = Console()
    return found if found.is_terminal else Console(width=PIPE_WIDTH, force_terminal=False)


def say(out: Console, line: str, style: str = "") -> None:
    """Print a line as it is: a run's name may hold what rich takes for markup or an emoji."""
    out.print(text_of(line, style))


def text_of(line: str, style: str = "") -> Text:
    """A text without markup and control characters: names in records come from outside."""
    from rich.text import Text

    return Text(printable(line), style=style)


def print_result(result: Result, out: Console | None = None, full: bool = False) -> None:
    """Print who judged, the scores, the effects and what they do not support.

    Args:
        result: A comparison of runs or arms.
        out: Where to; None for the terminal.
        full: Print every figure and column, not only the main ones.
    """
    out = out or console()
    for line in result.headline:
        say(out, line, "bold red")
    benchmarks = [panel.benchmark for panel in result.panels]
    for benchmark in benchmarks:
        say(out, judged_line(result.judged, benchmark))
    cells: list[str] = []

    def table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], *rest: Any) -> None:
        print_table(out, title, headings, rows, *rest)
        cells.extend(cell for row in rows for cell in row)

    for benchmark in benchmarks:
        title = f"{title_of(benchmark)}: scores, % [{result.settings.level * 100:g} % interval]"
        table(title, *score_rows(result, benchmark))
    for title, effects in effect_tables(result):
        small = [e for e in effects if full and _small(e)]
        listed = [e for e in effects if not _small(e) and (full or e.kind in MAIN)]
        columns = [c for c in effect_columns(result, listed) if full or not c.detail]
        rows = [[column.cell(effect) for column in columns] for effect in listed]
        table(title, [column.title for column in columns], rows, _rules(listed))
        if small:
            text = ", ".join(f"{e.metric} {number(e.difference, sign=True)} ({e.clusters})" for e in small)
            line = f"Languages with fewer than {MIN_CLUSTERS} clusters, described and not tested (points, clusters)"
            say(out, f"{line}: {text}.", "dim")
    if result.contrasts:
        rows = [contrast_cells(contrast) for contrast in result.contrasts]
        title = "Exploratory: effect on non-English questions less effect on English ones"
        table(title, CONTRAST_TITLES, rows)
    if result.shares:
        title = f"Retained share: what is left of the gain over {result.shares[0].before}"
        table(title, SHARE_TITLES, [share_cells(share) for share in result.shares])
    for key in (*STUDY, *(ADDED if full else ())):
        for part in TABLES[key](result):
            print_table(out, part.title, part.headings, part.rows)
            say(out, part.note, "dim")
    for line in explained(result, cells, full):
        say(out, line, "dim")
    for note in (*(language_notes(result) if full else []), *result.notes):
        say(out, note)
    for line in cautions(result) if full else ():
        say(out, line)
    for effect in result.effects:
        if effect.tier == "primary" or (full and effect.tier == "secondary" and effect.verdict in SHOWN):
            say(out, sentence(effect, result), "bold")
            more = (
                estimands(effect),
                *judge_errors(effect, result),
                caution(effect),
                *guard_lines(effect, result),
            )
            for line in filter(None, more):
                say(out, line)


def _small(effect: Effect) -> bool:
    return effect.kind == "language" and effect.clusters < MIN_CLUSTERS


def _rules(effects: Sequence[Effect]) -> list[bool]:
    """Whether a rule follows each row: between comparisons, and around dimensions, languages and sources."""
    return [
        a.statement != b.statement or (a.kind != b.kind and bool({a.kind, b.kind} & SECTIONS))
        for a, b in pairwise(effects)
    ]


def print_table(
    out: Console,
    title: str,
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    sections: Sequence[bool] = (),
) -> None:
    """Print a table; columns that do not fit go into further tables with the same first column.

    Args:
        out: Where to.
        title: Heading; further tables say that they continue it.
        headings: One per column; may have several lines.
        rows: Cells.
        sections: Whether a rule follows each row but the last.
    """
    from rich import box
    from rich.table import Table

    headings, rows = [*map(printable, headings)], [[*map(printable, row)] for row in rows]
    widths = [
        max(max(len(line) for line in text.split("\n")) for text in column)
        for column in zip(headings, *rows, strict=True)
    ]
    first = min(widths[0], FIRST_WIDTH)
    for number_, group in enumerate(_groups_that_fit(widths, first, out.width)):
        table = Table(
            title=text_of(title + (", continued" if number_ else ""), "bold"),
            title_justify="left",
            header_style="bold",
            box=box.SIMPLE_HEAD,
            padding=(0, 1, 0, 0),
        )
        table.add_column(text_of(headings[0]), width=first, overflow="fold")
        for k in group:
            table.add_column(text_of(headings[k]), justify="right", no_wrap=True, min_width=widths[k])
        for index, row in enumerate(rows):
            table.add_row(text_of(row[0]), *(text_of(row[k]) for k in group))
            if index < len(sections) and sections[index]:
                table.add_section()
        out.print(table)


def _groups_that_fit(widths: Sequence[int], first: int, width: int) -> list[list[int]]:
    """Columns after the first, packed in order into tables no wider than ``width``."""
    groups: list[list[int]] = [[]]
    used = first + 4
    for k in range(1, len(widths)):
        if groups[-1] and used + widths[k] + 2 > width:
            groups.append([])
            used = first + 4
        groups[-1].append(k)
        used += widths[k] + 2
    return groups
