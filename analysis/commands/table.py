"""``value-retention table``: runs of either harness to one table, a row per grade."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from value_retention.analysis.commands.options import reading_options

if TYPE_CHECKING:
    from value_retention.analysis.runs.load import Run
    from value_retention.analysis.runs.scores import RunScores


@click.command("table")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@reading_options
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the table: .parquet or .csv.")
def command(runs: tuple[str, ...], output: Path | None) -> None:
    """Read runs and write one table, a row per grade.

    RUN is a folder or file of lm-eval (--log_samples), Inspect or `value-retention judge`; NAME=PATH names it.
    Without -o it prints the scores of every run in per cent, with questions, clusters and Wilson intervals.
    """
    from value_retention.analysis.commands.inputs import check_written, load_all
    from value_retention.analysis.report.grades import grades_table, write_table
    from value_retention.analysis.runs.load import runs_in_order

    check_written({"-o": output}, runs, ())
    loaded = runs_in_order(load_all(runs))
    check_written({"-o": output}, runs, loaded)
    if output is None:
        _show(loaded)
        return
    table = grades_table(loaded)
    write_table(table, output)
    missing = int(table["grade"].isna().sum())
    click.echo(f"{len(table)} grades of {len(loaded)} run(s) in {output}; {missing} missing")


def _show(runs: Sequence[Run]) -> None:
    from value_retention.analysis.report.cells import legend
    from value_retention.analysis.report.console import console, print_table, say
    from value_retention.analysis.report.grades import HEADINGS, score_tables
    from value_retention.analysis.report.guards import GUARD_HEADINGS, GUARD_NOTE, GUARD_TITLE, guard_rows

    out = console()
    cells: list[str] = []
    reduced: list[RunScores] = []
    warnings, tables = score_tables(runs, reduced)
    for line in warnings:
        say(out, line, "bold red")
    for title, rows in tables:
        print_table(out, title, HEADINGS, rows)
        cells += [cell for row in rows for cell in row]
    print_table(out, GUARD_TITLE, GUARD_HEADINGS, guard_rows(reduced, marked_only=True))
    for line in (*legend(cells), GUARD_NOTE):
        say(out, line, "dim")
