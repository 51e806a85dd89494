"""``value-retention new``: a benchmark from a table of questions."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click


@click.command("new")
@click.argument("name")
@click.option(
    "--from", "table", type=click.Path(path_type=Path), required=True,
    help="CSV, JSON Lines or Parquet file with the questions.",
)  # fmt: skip
@click.option(
    "--dimensions", type=click.Path(path_type=Path), help="Table of dimensions, in place of rubrics."
)
@click.option("--turn", "turns", multiple=True, help="What the user says after each answer. Repeatable.")
@click.option(
    "--grades", default="correct", show_default=True,
    help="correct, a range (1-10, 0-1:0.25), or labels (good=1,mixed=0.5,bad=0).",
)  # fmt: skip
@click.option("--language", default="English", show_default=True, help="Language of rows that name none.")
@click.option("--license", default="unknown", show_default=True, help="Licence of the questions.")
@click.option("--title", help="Title in reports. Default: made from NAME.")
@click.option(
    "--column", "columns", multiple=True, metavar="FIELD=COLUMN", help="Column of a field. Repeatable."
)
@click.option("--into", type=click.Path(path_type=Path), help="Folder to write. Default: NAME.")
def command(
    name: str,
    table: Path,
    dimensions: Path | None,
    turns: tuple[str, ...],
    grades: str,
    language: str,
    license: str,  # noqa: A002
    title: str | None,
    columns: tuple[str, ...],
    into: Path | None,
) -> None:
    """Make a benchmark of your own from a table of questions.

    The table needs a question and a rubric in each row; with --dimensions, a question. Writes benchmark.yaml, the
    lm-eval task, a README and a copy of the table. Never overwrites a file.
    """
    from value_retention.analysis.authoring.columns import DIMENSIONS, QUESTIONS, read_table
    from value_retention.analysis.authoring.folder import NewBenchmark, write
    from value_retention.tasks.benchmark import FILE

    chosen = _chosen(columns, QUESTIONS)
    other, required = ("rubric", ("question",)) if dimensions else ("dimensions", ("question", "rubric"))
    fields = {field: names for field, names in QUESTIONS.items() if field != other}
    made = NewBenchmark(
        name=name,
        title=title or name.replace("_", " ").replace("-", " ").capitalize(),
        folder=into or Path(name),
        questions=read_table(table, fields, required, chosen),
        dimensions=read_table(dimensions, DIMENSIONS, ("name", "guiding_question"), {})
        if dimensions
        else None,
        turns=turns,
        grades=_grades(grades),
        language=language,
        license=license,
    )
    places, dataset = write(made)
    for place in places:
        click.echo(f"wrote {place}")
    for read in filter(None, (made.questions, made.dimensions)):
        assigned = ", ".join(
            field if field == column else f"{field} from {column!r}" for field, column in read.columns.items()
        )
        unused = f"; not read: {', '.join(map(repr, read.unused))}" if read.unused else ""
        click.echo(f"{read.path}: {assigned}{unused}")
    click.echo(f"{len(dataset)} questions. Next: value-retention check {made.folder / FILE}")


def _chosen(columns: tuple[str, ...], known: dict[str, tuple[str, ...]]) -> dict[str, str]:
    """Field to column of the option --column."""
    from value_retention.tasks.errors import InputError

    chosen = {}
    for text in columns:
        field, equals, column = text.partition("=")
        if not equals or not column or field not in known:
            raise InputError(
                "invalid column",
                where="--column",
                found=text,
                expected=f"FIELD=COLUMN; fields: {', '.join(known)}",
            )
        chosen[field] = column
    return chosen


def _grades(text: str) -> Any:
    """The option --grades as ``judge.grades`` of a definition."""
    from value_retention.tasks.errors import InputError

    if text == "correct":
        return text
    if numbers := re.fullmatch(r"(-?[\d.]+)-([\d.]+)(?::([\d.]+))?", text):
        values = (float(part) for part in numbers.groups(default="1"))
        worst, best, step = (int(value) if value.is_integer() else value for value in values)
        return {"from": worst, "to": best} | ({"step": step} if step != 1 else {})
    try:
        labels = (part.rpartition("=") for part in text.split(","))
        return {"labels": {label.strip(): float(worth) for label, _, worth in labels}}
    except ValueError:
        raise InputError(
            "unknown grades",
            where="--grades",
            found=text,
            expected="correct, a range such as 1-10 or 0-1:0.25, or labels such as good=1,bad=0",
        ) from None
