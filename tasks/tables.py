"""Raw rows of one table, from the hub at a commit or from a folder."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from value_retention.tasks.benchmark import Benchmark, Dimensions, Questions, Table
from value_retention.tasks.errors import InputError

Row = dict[str, Any]

EXTENSIONS = (".parquet", ".jsonl", ".csv")


def hub_rows(table: Table, repo: str, revision: str) -> list[Row]:
    """Rows of a hub dataset at a commit. Works offline if the commit is in the cache.

    Raises:
        InputError: the hub cannot be reached and the commit is not cached, or the repository, revision or config
            does not exist.
    """
    import datasets

    config = table.hub.config if table.hub else None
    try:
        rows = datasets.load_dataset(repo, config, split="train", revision=revision)
    # `datasets` and `huggingface_hub` raise a dozen unrelated types here (ConnectionError, FileNotFoundError,
    # DatasetNotFoundError, HfHubHTTPError, ValueError, ...). Each means that the rows cannot be read.
    except Exception as error:
        raise InputError(
            "cannot read the benchmark from the Hugging Face hub",
            where=f"{repo} at {revision}" + (f", config {config}" if config else ""),
            found=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}",
            expected="access to the hub (gated data needs HF_TOKEN), or the commit in the cache",
            hint="without the hub: copy the dataset to a folder DIR in the hub's layout and set data=DIR "
            "(or VALUE_RETENTION_DATA=DIR); to try the software: data=sample",
        ) from error
    return [dict(row) for row in rows]


def _place(table: Table, root: Path) -> Path:
    """Where a folder holds a table: in a snapshot of the pinned commit, if the folder is one or a cache of the hub."""
    if table.hub:
        cached = root / f"datasets--{table.hub.repo.replace('/', '--')}" / "snapshots" / table.hub.revision
        for snapshot in (cached, root.resolve()):
            if _is_snapshot(table, snapshot) and snapshot.is_dir():
                return snapshot / (table.hub.config or "")
    return root / table.folder


def _is_snapshot(table: Table, folder: Path) -> bool:
    *_, repo, snapshots, commit = ("", "", *folder.parts)
    named = repo == f"datasets--{(table.repo or '').replace('/', '--')}"
    return named and snapshots == "snapshots" and commit == table.revision


def is_snapshot(table: Table, root: Path) -> bool:
    """Whether the rows of a table in a folder are those of the hub's cache at the pinned commit, links followed."""
    place = _place(table, root).resolve()
    return table.hub is not None and any(_is_snapshot(table, folder) for folder in (place, *place.parents))


def folder_rows(table: Table, root: Path) -> list[tuple[str, Row]]:
    """Rows of a table in a folder, each with its place (``file, row N``). Never through a cache.

    Reads the table's own path if that is a file, ``DIR/anima/questions/*.parquet`` (or ``.jsonl``, ``.csv``), or a
    single file ``DIR/anima/questions.jsonl``. The folder can also be the hub's cache, or its snapshot of the pinned
    commit.
    If files are named by split, only ``train`` is read.

    Raises:
        InputError: missing folder or table, several formats in one folder, or an unreadable file.
    """
    if not root.is_dir():
        raise InputError(
            "the data folder does not exist",
            where="data (or VALUE_RETENTION_DATA)",
            found=str(root),
            expected="'sample', 'hub', 'hub:REPO@COMMIT', or a folder in the hub's layout, with "
            f"{table.folder}",
        )
    place = _place(table, root)
    files = _data_files(place) if place.is_dir() else [place] if _is_table(place) else []
    if not files:
        files = [f for f in (place.with_name(place.name + ext) for ext in EXTENSIONS) if f.is_file()]
    if not files:
        raise InputError(
            "the data folder lacks a table of the benchmark",
            where=str(root),
            found=", ".join(sorted(p.name for p in root.iterdir())[:12]) or "an empty folder",
            expected=f"{table.folder}/ with .parquet, .jsonl or .csv files, as on the hub ({table.repo})"
            if table.repo
            else f"{table.folder}: a .parquet, .jsonl or .csv file, or a folder of them",
            hint="name the folder ABOVE the dataset's folder"
            if root.name == table.folder.partition("/")[0]
            else None,
        )
    suffixes = sorted({file.suffix for file in files})
    if len(suffixes) > 1:
        raise InputError(
            "a table has several formats",
            where=str(place),
            found=", ".join(suffixes),
            expected="one format",
        )
    return [(f"{file}, row {n}", row) for file in files for n, row in enumerate(_read(file))]


def check_columns(table: Questions | Dimensions, rows: list[tuple[str, Row]]) -> None:
    """Refuse a table without rows or with a missing column.

    Raises:
        InputError: names the missing columns and the columns found.
    """
    if not rows:
        raise InputError("empty table", where=table.folder)
    where, first = rows[0]
    columns: set[str] = set().union(*(row.keys() for _, row in rows))
    missing = [column for column in table.columns.required if column not in columns]
    if missing:
        raise InputError(
            f"missing column: {', '.join(missing)}",
            where=where.rpartition(",")[0] or where,
            found=", ".join(map(str, first)),
            expected=", ".join(table.columns.required),
        )


def _is_table(place: Path) -> bool:
    return place.suffix in EXTENSIONS and place.is_file()


def _data_files(place: Path) -> list[Path]:
    files = sorted(f for f in place.rglob("*") if f.suffix in EXTENSIONS and not f.name.startswith("."))
    train = [f for f in files if f.name.startswith("train") or f.parent.name == "train"]
    return train or files


def _read(file: Path) -> Iterator[Row]:
    try:
        if file.suffix == ".parquet":
            import pyarrow.parquet

            yield from pyarrow.parquet.read_table(file).to_pylist()
        elif file.suffix == ".csv":
            yield from _read_csv(file)
        else:
            yield from _read_jsonl(file)
    except (OSError, ValueError, csv.Error) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            "cannot read a data file",
            where=str(file),
            found=f"{type(error).__name__}: {str(error).splitlines()[0]}",
            expected=f"a valid {file.suffix[1:]} file",
        ) from error


def _read_csv(file: Path) -> Iterator[Row]:
    with file.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.reader(lines)
        header = next(reader, [])
        for number, cells in enumerate(filter(None, reader)):
            if len(cells) != len(header):
                raise InputError(
                    f"a row has {'more' if len(cells) > len(header) else 'fewer'} cells than the header",
                    where=f"{file}, row {number}",
                    found=f"{len(cells)} cells",
                    expected=f"{len(header)} cells",
                )
            # pandas writes null as an empty cell.
            yield {name: cell or None for name, cell in zip(header, cells, strict=True)}


def _read_jsonl(file: Path) -> Iterator[Row]:
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except ValueError as error:
                raise InputError(
                    "invalid JSON",
                    where=f"{file}, row {number}",
                    found=str(error),
                    expected="one JSON object per line",
                ) from error
            if not isinstance(value, dict):
                raise InputError(
                    "invalid line",
                    where=f"{file}, row {number}",
                    found=line.strip()[:80],
                    expected="a JSON object",
                )
            yield value


def hub_source(benchmark: Benchmark, spec: str) -> tuple[str, str]:
    """Repository and revision of ``hub`` or ``hub:REPO@REVISION``.

    Raises:
        InputError: missing repository or revision, or a benchmark whose questions are not on the hub.
    """
    if spec == "hub":
        if benchmark.questions.repo is None:
            raise InputError(
                "the questions of this benchmark are in a folder, not on the hub",
                where="data",
                found=spec,
                expected=f"the folder with {benchmark.questions.folder}",
            )
        return benchmark.questions.repo, benchmark.questions.revision
    repo, _, revision = spec.removeprefix("hub:").partition("@")
    if not repo or not revision:
        raise InputError(
            "a hub dataset needs a revision",
            where="data",
            found=spec,
            expected="hub:OWNER/NAME@COMMIT (a commit, because tags and branches move)",
        )
    return repo, revision
