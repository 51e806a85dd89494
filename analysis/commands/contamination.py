"""``value-retention contamination``: find training rows that share text with a benchmark question."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click


@click.command()
@click.argument("rows", type=click.Path(path_type=Path))
@click.option(
    "--data",
    default="hub",
    envvar="VALUE_RETENTION_DATA",
    show_default=True,
    help="Questions to compare with: hub (pinned commits), a folder with the hub's layout, or sample.",
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
@click.option(
    "--show", type=click.IntRange(min=0), default=20, show_default=True, help="Number of hits to list."
)
def command(
    rows: Path, data: str, benchmarks: tuple[str, ...], drop: Path | None, output: Path | None, show: int
) -> None:
    """Find training rows that share text with a benchmark question, and write a stamp for training.

    ROWS is a file from `python -m value_retention.train.data`. A row is a hit if it shares 13 consecutive
    words, or the whole of a shorter question, with any question in any language. Every row must have text.
    Training requires a clean stamp. Except for the shipped samples, the stamp must cover both benchmarks, and
    not only their sample items. The exit status is 1 if hits remain, and 0 if the stamp is clean.
    """
    from value_retention.analysis.commands.outputs import check_outputs
    from value_retention.analysis.planning.contamination import (
        check_rows,
        question_files,
        read_lines,
        read_questions,
        stamp,
        without_hits,
    )
    from value_retention.analysis.report.export import writing
    from value_retention.tasks.definition import packaged
    from value_retention.tasks.text import printable

    target = rows if drop is None else drop
    path = output or target.with_name(f"{target.name}.stamp.json")
    place = "-o" if output else "the stamp (choose another place with -o)"
    check_outputs({"--drop": drop, place: path}, [rows, *question_files(data)])
    lines = read_lines(rows)
    questions, sources = read_questions(data, benchmarks or packaged())
    check = check_rows(lines, questions, sources, str(rows))
    for source in sources:
        kind = "" if source.is_benchmark else " (sample items, not the benchmark)"
        click.echo(
            f"compared with {source.questions} questions of {source.benchmark}{kind}, {source.revision}"
        )
    for hit in check.hits[:show]:
        line = f"row {hit.row}: {hit.benchmark} item {hit.item} ({hit.language}): {hit.shared}"
        click.echo(printable(line))
    if len(check.hits) > show:
        click.echo(f"... and {len(check.hits) - show} more")
    click.echo(f"{len(check.hits)} of {check.rows} rows share text with a question")
    dropped = 0
    if drop is not None:
        kept = without_hits(lines, check)
        with writing(drop):
            drop.write_bytes(b"".join(line + b"\n" for line in kept))
        dropped = len(lines) - len(kept)
        check = check_rows(kept, questions, sources, str(drop))
        click.echo(f"wrote {drop}: {len(kept)} rows without a hit")
    made = stamp(target.read_bytes(), check, dropped=dropped)
    with writing(path):
        path.write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")
    whole = {source.benchmark for source in sources if source.is_benchmark} >= packaged().keys()
    result = (
        "clean" if whole else "clean of these questions; only the shipped samples may train with this stamp"
    )
    click.echo(f"wrote {path}: {'not clean' if check.hits else result}")
    sys.exit(1 if check.hits else 0)
