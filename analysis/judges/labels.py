"""Read labels by people from a CSV file."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from value_retention.analysis.runs.load import Run
from value_retention.tasks.benchmark import benchmark_of
from value_retention.tasks.errors import InputError
from value_retention.tasks.record import canonical_json

NEEDED = ("item", "dimension", "label")
COLUMNS = (
    "benchmark",
    "item",
    "epoch",
    "answer_hash",
    "language",
    "dimension",
    "variables",
    "guiding_question",
    "indicators",
    "question",
    "answer",
    "label",
    "annotator",
    "comment",
    "weight",
)
"""Columns of a label file in the order of the template. `NEEDED` and epoch or answer_hash are required."""

VALUES = {"1": 1.0, "1.0": 1.0, "c": 1.0, "0": 0.0, "0.0": 0.0, "i": 0.0}
"""Accepted labels, in lower case. Spreadsheets write 1.0 for 1 if a column has blanks."""


@dataclass(frozen=True)
class LabelRow:
    """A row with a label."""

    row: int
    """Row number as in a spreadsheet; the header is row 1."""
    benchmark: str | None
    item: str
    epoch: int | None
    answer_hash: str | None
    dimension: str
    variables: str | None
    label: float
    annotator: str
    weight: float

    def __str__(self) -> str:
        known = {
            "benchmark": self.benchmark,
            "item": self.item,
            "epoch": self.epoch,
            "answer": self.answer_hash and self.answer_hash[:12],
            "dimension": self.dimension,
            "variables": self.variables,
        }
        return f"row {self.row} (" + ", ".join(f"{k} {v}" for k, v in known.items() if v is not None) + ")"


def require_pass_or_fail(runs: Sequence[Run]) -> None:
    """Refuse benchmarks whose grades are on a scale: people label pass or fail.

    Raises:
        InputError: names the benchmarks.
    """
    first = {record.benchmark: record for run in runs for record in reversed(run.records)}
    scaled = sorted(name for name, record in first.items() if not benchmark_of(record).judge.scale.binary)
    if scaled:
        raise InputError(
            "calibration needs grades of pass or fail",
            found=f"grades on a scale in {', '.join(scaled)}",
            expected="runs of benchmarks with two grades",
        )


def read_labels(path: Path) -> tuple[list[LabelRow], int]:
    """Return the labelled rows of a UTF-8 CSV file, and the number of rows without a label.

    Raises:
        InputError: The file cannot be read, columns are unknown, missing or duplicate, or a cell is invalid.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines)
            names = [name or "" for name in reader.fieldnames or ()]
            _check_columns(path, names)
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            "cannot read the label file",
            where=str(path),
            found=f"{type(error).__name__}: {error}",
            expected="a CSV file in UTF-8",
        ) from error
    found = []
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise InputError(
                "the row does not have as many cells as the header", where=f"{path}, row {number}", found=row
            )
        cells = {name: value.strip() for name, value in row.items()}
        if cells["label"]:
            found.append(_label(cells, number, path))
    return found, len(rows) - len(found)


def _check_columns(path: Path, names: Sequence[str]) -> None:
    unknown = [name for name in names if name not in COLUMNS]
    lacking = [name for name in NEEDED if name not in names]
    if not {"epoch", "answer_hash"} & set(names):
        lacking.append("epoch or answer_hash")
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if unknown or lacking or twice:
        wrong = [("unknown", unknown), ("missing", lacking), ("duplicate", twice)]
        raise InputError(
            "the label file has wrong columns",
            where=str(path),
            found="; ".join(f"{what}: {', '.join(map(repr, which))}" for what, which in wrong if which),
            expected=f"{', '.join(NEEDED)}, and epoch or answer_hash; optional: {', '.join(COLUMNS)}",
        )


def _label(cells: dict[str, str], number: int, path: Path) -> LabelRow:
    def bad(column: str, expected: str) -> InputError:
        return InputError(
            f"invalid value in column {column!r}",
            where=f"{path}, row {number}",
            found=repr(cells[column]),
            expected=expected,
        )

    label = VALUES.get(cells["label"].lower())
    if label is None:
        raise bad("label", "1 or C (pass), 0 or I (fail), or empty")
    for column in ("item", "dimension"):
        if not cells[column]:
            raise bad(column, "text")
    epoch = None
    if text := cells.get("epoch"):
        try:
            epoch = int(float(text)) if float(text).is_integer() else 0
        except (ValueError, OverflowError):
            epoch = 0
        if epoch < 1:
            raise bad("epoch", "a whole number of at least 1")
    if epoch is None and not cells.get("answer_hash"):
        raise bad("epoch" if "epoch" in cells else "answer_hash", "an epoch, or an answer_hash")
    variables = None
    if text := cells.get("variables"):
        try:
            value = json.loads(text)
        except ValueError:
            value = None
        if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
            raise bad("variables", 'a JSON object with text values, such as {"animal": "hen"}')
        variables = canonical_json(value)
    weight = 1.0
    if "weight" in cells:
        try:
            weight = float(cells["weight"])
        except ValueError:
            weight = 0.0
        if not 0 < weight < float("inf"):
            raise bad("weight", "a number above 0, or no column weight")
    return LabelRow(
        number,
        cells.get("benchmark") or None,
        cells["item"],
        epoch,
        cells.get("answer_hash") or None,
        cells["dimension"],
        variables,
        label,
        cells.get("annotator", ""),
        weight,
    )
