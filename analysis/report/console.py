"""The report in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from value_retention.analysis.effects.caveats import extent
from value_retention.analysis.effects.compare import Comparison
from value_retention.analysis.report.cells import (
    CONTRAST_TITLES,
    MARK,
    SECTIONS,
    TITLES,
    contrast_cells,
    effect_columns,
    legend,
    number,
)
from value_retention.analysis.report.export import pairs_of
from value_retention.analysis.stats.cluster import MIN_CLUSTERS

if TYPE_CHECKING:
    from rich.console import Console

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
    from rich.text import Text

    out.print(Text(line, style=style))


def heading(comparison: Comparison, benchmark: str, baseline: str, run: str) -> str:
    """What a table of a pair is about, and how many questions of which languages that is."""
    panel = next(p for p in comparison.panels if p.benchmark == benchmark)
    return f"{TITLES.get(benchmark, benchmark)}: {run} against {baseline}, {extent(panel, (baseline, run))}"


def print_comparison(comparison: Comparison, out: Console | None = None) -> None:
    """Print scores, differences, English against other languages, and what they do not support."""
    out = out or console()
    for line in comparison.headline:
        say(out, line, "bold red")
    cells: list[str] = []
    for (benchmark, baseline, run), effects in pairs_of(comparison.effects):
        title = heading(comparison, benchmark, baseline, run)
        columns = effect_columns(baseline, run, comparison.settings)
        small = [e for e in effects if e.kind == "language" and e.clusters < MIN_CLUSTERS]
        listed_effects = [e for e in effects if e not in small]
        rows = [[column.cell(effect) for column in columns] for effect in listed_effects]
        sections = [
            before.kind != after.kind and bool({before.kind, after.kind} & SECTIONS)
            for before, after in pairwise(listed_effects)
        ]
        print_table(out, title, [column.title for column in columns], rows, sections)
        cells += [cell for row in rows for cell in row]
        if small:
            listed = ", ".join(f"{e.metric} {number(e.difference, sign=True)} ({e.clusters})" for e in small)
            say(
                out,
                f"Languages with fewer than {MIN_CLUSTERS} clusters, described and not tested (points, "
                f"clusters): {listed}.",
                "dim",
            )
    _print_contrasts(comparison, out, cells)
    _print_notes(comparison, out, cells)


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
    from rich.text import Text

    widths = [
        max(max(len(line) for line in text.split("\n")) for text in column)
        for column in zip(headings, *rows, strict=True)
    ]
    first = min(widths[0], FIRST_WIDTH)
    for number_, group in enumerate(_groups_that_fit(widths, first, out.width)):
        table = Table(
            title=Text(title + (", continued" if number_ else ""), style="bold"),
            title_justify="left",
            header_style="bold",
            box=box.SIMPLE_HEAD,
            padding=(0, 1, 0, 0),
        )
        table.add_column(Text(headings[0]), width=first, overflow="fold")
        for k in group:
            table.add_column(Text(headings[k]), justify="right", no_wrap=True, min_width=widths[k])
        for index, row in enumerate(rows):
            table.add_row(Text(row[0]), *(Text(row[k]) for k in group))
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


def _print_contrasts(comparison: Comparison, out: Console, cells: list[str]) -> None:
    if not comparison.contrasts:
        return
    rows = [contrast_cells(contrast) for contrast in comparison.contrasts]
    cells += [cell for row in rows for cell in row]
    print_table(out, "Effect on non-English questions less effect on English ones", CONTRAST_TITLES, rows)
    # The same note may hold for all questions and for the matched ones.
    notes = (
        f"{TITLES.get(contrast.benchmark, contrast.benchmark)}, {contrast.run}: {contrast.note}"
        for contrast in comparison.contrasts
        if contrast.note
    )
    for note in dict.fromkeys(notes):
        say(out, note)
    say(out, '"Multilingual" can mean all rows (overall) or the rows without English (non-English).')


def _print_notes(comparison: Comparison, out: Console, cells: list[str]) -> None:
    settings = comparison.settings
    how = (
        f"Differences are run less baseline, over the questions scored in both, one value per cluster. "
        f"Bootstrap: percentile, {settings.resamples} resamples of clusters, seed {settings.seed}. "
        "p: sign-flip test of the cluster differences; Holm for claims, BH for exploring, over all tests of "
        "one kind in this report. Detectable: true difference found with 80 % power. Worst case: bounds "
        "whatever the missing grades were."
    )
    say(out, how, "dim")
    if settings.margin is None:
        say(out, "No margin was named, so there is no verdict (--margin 5).", "dim")
    else:
        say(
            out,
            f"Verdicts (Holm-corrected): retained, inside ±{settings.margin:g} points by two one-sided "
            "tests; degraded or improved, shown to differ from zero; inconclusive, neither.",
            "dim",
        )
    if any(effect.verdict_holds is False for effect in comparison.effects):
        say(out, f"{MARK}: the worst case for the missing grades would overturn the verdict.", "dim")
    for line in legend(cells):
        say(out, line, "dim")
    for note in comparison.notes:
        say(out, note)
