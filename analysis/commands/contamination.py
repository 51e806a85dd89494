"""``value-retention contamination``: find training rows that share text with a benchmark."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

if TYPE_CHECKING:
    from value_retention.analysis.planning.contamination.check import Check, Finding

SHOWN = 100
"""Characters of a text that are printed."""


@click.command()
@click.argument("rows", type=click.Path(path_type=Path))
@click.option(
    "--data",
    default="hub",
    envvar="VALUE_RETENTION_DATA",
    show_default=True,
    help="Benchmark texts to compare with: hub (pinned commits), a folder with the hub's layout, or sample.",
)
@click.option(
    "--benchmark",
    "benchmarks",
    multiple=True,
    help="Name, or the path of a benchmark.yaml. Default: all of this package.",
)
@click.option("--drop", type=click.Path(path_type=Path), help="Write the rows without a hit to this file.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Stamp to write. [default: ROWS.stamp.json]"
)
@click.option("--strict", is_flag=True, help="Count near matches as hits.")
@click.option(
    "--show",
    type=click.IntRange(min=0),
    default=20,
    show_default=True,
    help="Number of hits, and of near matches, to list.",
)
def command(
    rows: Path,
    data: str,
    benchmarks: tuple[str, ...],
    drop: Path | None,
    output: Path | None,
    strict: bool,
    show: int,
) -> None:
    """Find training rows that share text with a benchmark, and write a stamp for training.

    ROWS is a file from `python -m value_retention.train.data`. A row is a hit if it shares 13 consecutive
    words, or the whole of a shorter text, with a question in any language, its translation or a rubric. A row
    that is only similar to one is a near match: it is listed with both texts, and does not stop training.

    Every row must have text. Training requires a clean stamp. Except for the shipped samples, the stamp must
    cover both benchmarks, and not only their sample items. The exit status is 1 if hits remain, and 0 if the
    stamp is clean.
    """
    from value_retention.analysis.commands.outputs import check_outputs
    from value_retention.analysis.planning.contamination.check import check_rows, read_lines, stamp
    from value_retention.analysis.planning.contamination.passages import benchmark_files, read_passages
    from value_retention.analysis.report.export import writing
    from value_retention.tasks.benchmark import packaged

    target = rows if drop is None else drop
    path = output or target.with_name(f"{target.name}.stamp.json")
    place = "-o" if output else "the stamp (choose another place with -o)"
    check_outputs({"--drop": drop, place: path}, [rows, *benchmark_files(data)])
    passages, sources = read_passages(data, benchmarks or packaged())
    for source in sources:
        kind = "" if source.is_benchmark else " (sample items, not the benchmark)"
        click.echo(
            f"compared with {source.questions} questions, {source.translations} translations and "
            f"{source.rubrics} rubrics of {source.benchmark}{kind}, {source.revision}"
        )
    with progress(rows) as advance, draft(drop) as clean:
        check = check_rows(
            read_lines(rows, advance), passages, sources, str(rows), clean=clean, strict=strict, listed=show
        )
    report(check, strict)
    if drop is not None:
        click.echo(f"wrote {drop}: {check.rows} rows without a hit")
    with writing(path):
        path.write_text(json.dumps(stamp(check), indent=2) + "\n", encoding="utf-8")
    whole = {source.benchmark for source in sources if source.is_benchmark} >= packaged().keys()
    result = "clean" if whole else "clean of these texts; only the shipped samples may train with this stamp"
    click.echo(f"wrote {path}: {'not clean' if check.hits else result}")
    sys.exit(1 if check.hits else 0)


def report(check: Check, strict: bool) -> None:
    """Print the hits and the near matches."""
    from value_retention.analysis.planning.contamination.index import NEAR
    from value_retention.tasks.text import printable

    hits, rows = check.hits + check.dropped, check.rows + check.dropped
    for found in check.listed_hits:
        click.echo(printable(f"row {found.row}: {place_of(found)}: {shortened(found.text)}"))
    if hits > len(check.listed_hits):
        click.echo(f"... and {hits - len(check.listed_hits)} more hits")
    for found in check.listed_near:
        click.echo(printable(f"row {found.row} is close to {place_of(found)}, {found.similarity:.0%} alike"))
        click.echo(printable(f"    row:       {shortened(found.text)}"))
        click.echo(printable(f"    benchmark: {shortened(found.theirs)}"))
    if check.near > len(check.listed_near):
        click.echo(f"... and {check.near - len(check.listed_near)} more near matches")
    also = f", or are at least {NEAR:.0%} alike" if strict else ""
    click.echo(f"{hits} of {rows} rows share text with a benchmark{also}")
    if check.near:
        click.echo(
            f"warning: near matches, at least {NEAR:.0%} like a text of a benchmark: {check.near}. Read them. They do "
            "not stop training; --strict counts them as hits"
        )


def place_of(found: Finding) -> str:
    """Return where the text stands in the benchmark."""
    known = found.passage
    if known.kind == "rubric":
        return f"{known.benchmark}, rubric of {known.item}"
    return f"{known.benchmark} item {known.item}, {known.kind} ({known.language})"


def shortened(text: str) -> str:
    """Return the start of a long text."""
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


@contextmanager
def progress(rows: Path) -> Iterator[Callable[[int], object]]:
    """Show on stderr how much of the file was read; a log file gets a line every 30 seconds."""
    from tqdm import tqdm

    size = rows.stat().st_size if rows.is_file() else None
    every = 0.5 if sys.stderr.isatty() else 30.0
    with tqdm(
        total=size, desc="Comparing", unit="B", unit_scale=True, mininterval=every, maxinterval=every, delay=1
    ) as bar:
        yield bar.update


@contextmanager
def draft(path: Path | None) -> Iterator[BinaryIO | None]:
    """Open a file that takes its place only when the comparison has ended."""
    from value_retention.analysis.report.export import writing

    if path is None:
        yield None
        return
    with writing(path):
        part = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            with part.open("wb") as file:
                yield file
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
