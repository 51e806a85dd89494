"""A user's table: which column holds what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from value_retention.tasks.benchmark import Table
from value_retention.tasks.errors import InputError
from value_retention.tasks.tables import EXTENSIONS, Row, folder_rows

QUESTIONS: dict[str, tuple[str, ...]] = {
    "id": ("id", "question_id", "item_id", "qid", "index"),
    "question": ("question", "prompt", "query", "input", "instruction"),
    "rubric": ("rubric", "criteria", "criterion", "target", "reference", "answer"),
    "dimensions": ("dimensions", "dimension_tags", "tags"),
    "language": ("language", "lang"),
    "variables": ("variables",),
    "turns": ("turns", "follow_ups"),
    "source": ("source",),
    "translation": ("translation",),
}
"""Fields of a question, and the column names that are recognized for each, in this order."""

DIMENSIONS: dict[str, tuple[str, ...]] = {
    "name": ("name", "dimension"),
    "guiding_question": ("guiding_question", "question"),
    "indicators": ("indicators", "observable_indicators"),
    "weight": ("weight", "default_weighting"),
}
"""Fields of a dimension, likewise."""


@dataclass(frozen=True)
class UserTable:
    """A table with its columns assigned to fields."""

    path: Path
    rows: tuple[Row, ...]
    columns: dict[str, str]
    """Field to column, in the order of the fields."""

    @property
    def unused(self) -> list[str]:
        """Columns that no field reads."""
        return [name for name in header(self.rows) if name not in self.columns.values()]


def header(rows: Sequence[Row]) -> list[str]:
    """The columns of all rows, in the order of their first occurrence."""
    return list(dict.fromkeys(name for row in rows for name in row))


def read_table(
    path: Path, known: Mapping[str, Sequence[str]], required: Sequence[str], chosen: Mapping[str, str]
) -> UserTable:
    """Read a table and assign its columns.

    Args:
        path: A CSV, JSON Lines or Parquet file.
        known: `QUESTIONS` or `DIMENSIONS`.
        required: Fields that the table must have.
        chosen: Field to column, as the user gave them. They take precedence over recognized names.

    Raises:
        InputError: missing or unreadable file, no rows, or a required or chosen column that is missing.
    """
    if not path.is_file() or path.suffix not in EXTENSIONS:
        kind = f"a file of type {path.suffix or 'unknown'}"
        raise InputError(
            "cannot read the table",
            where=str(path),
            found=kind if path.is_file() else "no such file",
            expected=f"a file ending in {', '.join(EXTENSIONS)}",
        )
    rows = tuple(row for _, row in folder_rows(Table(table=path.name), path.parent))
    names = header(rows)
    if not rows:
        raise InputError("empty table", where=str(path))
    columns: dict[str, str] = {}
    for field, accepted in known.items():
        column = chosen.get(field) or _recognized(names, accepted)
        if column is not None and column not in names:
            raise InputError(
                "missing column",
                where=f"{path}, --column {field}={column}",
                found=", ".join(names),
                expected=f"a column of the table for {field}",
            )
        if column is not None and column not in columns.values():
            columns[field] = column
    for field in required:
        if field not in columns:
            raise InputError(
                f"no column for {field}",
                where=str(path),
                found=", ".join(names),
                expected=f"a column named {' or '.join(known[field])}",
                hint=f"rename the column, or name it: --column {field}=COLUMN",
            )
    return UserTable(path, rows, columns)


def _recognized(names: Sequence[str], accepted: Sequence[str]) -> str | None:
    by_key = {name.strip().lower().replace(" ", "_"): name for name in reversed(names)}
    return next((by_key[name] for name in accepted if name in by_key), None)
