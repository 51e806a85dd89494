"""The folder of a new benchmark: its definition, the lm-eval task, a README, and the user's tables."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from value_retention.analysis.authoring.columns import UserTable, header
from value_retention.analysis.authoring.templates import (
    README,
    TASK_PY,
    TASK_YAML,
    benchmark_yaml,
    judge_prompt,
)
from value_retention.tasks.benchmark import FILE, Benchmark, packaged_names, read_benchmark, schema
from value_retention.tasks.data import Dataset, load
from value_retention.tasks.errors import InputError
from value_retention.tasks.tables import Row

SCHEMA = "benchmark.schema.json"
"""File for editors: the JSON schema of a definition."""


@dataclass(frozen=True)
class NewBenchmark:
    """What a user says of a new benchmark."""

    name: str
    title: str
    folder: Path
    questions: UserTable
    dimensions: UserTable | None
    """None if each question has a rubric."""
    turns: tuple[str, ...]
    grades: Any
    """As ``judge.grades`` of a definition."""
    language: str
    license: str


def definition(new: NewBenchmark) -> dict[str, Any]:
    """The content of ``benchmark.yaml``. Paths are relative to the new folder."""
    columns = {"id": "id", **new.questions.columns}
    value: dict[str, Any] = {
        "name": new.name,
        "title": new.title,
        "version": "1-A",
        "license": new.license,
        "size": len(new.questions.rows),
        "questions": {"table": _place(new, new.questions, "questions").name, "columns": columns},
    }
    if new.dimensions:
        table = _place(new, new.dimensions, "dimensions").name
        value["dimensions"] = {"table": table, "columns": dict(new.dimensions.columns)}
    value |= {"language": new.language, "cluster": "id"}
    if _translated(new.questions):
        value["rows"] = {"translated": True}
    if new.turns:
        value["turns"] = list(new.turns)
    value["judge"] = {
        "prompt": {"text": judge_prompt(bool(new.dimensions), bool(new.turns) or "turns" in columns)},
        "grades": new.grades,
    }
    return value | {"epochs": 5, "sampling": {"temperature": 1.0, "max_tokens": 2048}}


def write(new: NewBenchmark) -> tuple[list[Path], Dataset]:
    """Write the folder. A table that is in the folder already, with ids, is used where it is.

    Returns:
        The files written, the definition first, and the benchmark as it is read from them.

    Raises:
        InputError: an invalid name, language or table, or a file that exists.
    """
    value = definition(new)
    _check(value)
    texts = {
        FILE: benchmark_yaml(value, SCHEMA),
        f"{new.name}.yaml": TASK_YAML.format(name=new.name),
        "task.py": TASK_PY,
        "README.md": readme(new),
        SCHEMA: json.dumps(schema(), indent=2, ensure_ascii=False) + "\n",
    }
    tables = [(new.questions, "questions"), (new.dimensions, "dimensions")]
    copies = [(table, _place(new, table, stem)) for table, stem in tables if table]
    copies = [(table, place) for table, place in copies if table.path.resolve() != place.resolve()]
    places = [*(new.folder / name for name in texts), *(place for _, place in copies)]
    for place in places:
        if place.exists():
            raise InputError(
                "the file exists",
                where=str(place),
                expected="a folder without it: `new` never overwrites",
                hint="choose another folder with --into, or edit the file and run `value-retention check`",
            )
    try:
        new.folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (new.folder / name).write_text(text, encoding="utf-8")
        for table, place in copies:
            _copy(table, place)
        dataset = load(read_benchmark(new.folder))
        value["size"] = len(dataset)  # rows may have been dropped
        (new.folder / FILE).write_text(benchmark_yaml(value, SCHEMA), encoding="utf-8")
    except OSError as error:
        raise InputError("cannot write the benchmark", where=str(new.folder), found=error) from error
    return places, dataset


def _check(value: dict[str, Any]) -> None:
    try:
        name = Benchmark.model_validate(value).name
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        raise InputError(
            "invalid benchmark",
            where=str(problem["loc"][0]),
            found=problem["input"],
            expected=problem["msg"].removeprefix("Value error, "),
        ) from None
    # The task of a benchmark with the name "benchmark" would be in the file of the definition.
    taken = packaged_names() | {Path(FILE).stem}
    if name.lower() in taken:
        raise InputError(
            "the name is taken",
            where="NAME",
            found=name,
            expected=f"a name other than {', '.join(sorted(taken))}",
        )


def _translated(table: UserTable) -> bool:
    """Whether rows share ids because each language of a question is a row."""
    if not {"id", "language"} <= table.columns.keys():
        return False
    ids = [row.get(table.columns["id"]) for row in table.rows]
    return len({str(value) for value in ids}) < len(ids)


def _place(new: NewBenchmark, table: UserTable, stem: str) -> Path:
    """The table in the new folder: the user's file if it is there and complete, else a copy."""
    numbered = stem == "dimensions" or "id" in table.columns
    if numbered and table.path.resolve().parent == new.folder.resolve():
        return new.folder / table.path.name
    # Rows that get ids are written anew, and only a CSV stays one: the cells of the others may be lists.
    kind = table.path.suffix if numbered or table.path.suffix == ".csv" else ".jsonl"
    return new.folder / f"{stem}{kind}"


def _copy(table: UserTable, place: Path) -> None:
    if place.stem == "dimensions" or "id" in table.columns:
        shutil.copyfile(table.path, place)
        return
    rows: Iterable[Row] = ({"id": number, **row} for number, row in enumerate(table.rows, 1))
    with place.open("w", encoding="utf-8", newline="") as lines:
        if place.suffix == ".csv":
            writer = csv.DictWriter(lines, ["id", *header(table.rows)], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        else:
            lines.writelines(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows)


def readme(new: NewBenchmark) -> str:
    """A README in the form of lm-eval's tasks."""
    several = bool(new.turns) or "turns" in new.questions.columns
    answer = "the last answer" if several else "each answer"
    graded = (
        f"{answer} on {len(new.dimensions.rows)} dimensions"
        if new.dimensions
        else f"{answer} by the question's rubric"
    )
    return README.format(
        name=new.name,
        title=new.title,
        license=new.license,
        questions=len(new.questions.rows),
        graded=graded,
        turns=", each followed by scripted replies of the user" if several else "",
    )
