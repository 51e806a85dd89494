"""Raw rows: from the hub at a pinned commit, from a local file or folder, or from the shipped samples."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from value_retention.train.errors import TrainError

SAMPLES = Path(__file__).parent / "samples"
COMMIT = re.compile(r"[0-9a-f]{40}")
SUFFIXES = (".jsonl", ".json", ".parquet")


@dataclass(frozen=True)
class RawRows:
    """The rows of a data set, unchanged."""

    rows: Any
    """A sequence of mappings; a memory-mapped data set if it comes from the hub."""
    name: str
    revision: str
    """Commit on the hub, or ``sha256:...`` over the bytes of the local files."""


def read_source(
    dataset: str, *, config: str | None = None, split: str = "train", revision: str | None = None
) -> RawRows:
    """Read every row of a data set.

    Args:
        dataset: ``sample:NAME`` (a file in ``train/samples``), a local ``.jsonl``, ``.json`` or ``.parquet``
            file, a folder of such files, or the name of a data set on the hub.
        config: Configuration on the hub.
        split: Split on the hub.
        revision: Commit on the hub, 40 hex digits. Branches and tags are errors because they move.

    Raises:
        TrainError: The data set does not exist or cannot be read, or the revision is not a commit.
    """
    if dataset.startswith("sample:"):
        path = SAMPLES / f"{dataset.removeprefix('sample:')}.jsonl"
        if not path.is_file():
            known = ", ".join(f"sample:{file.stem}" for file in sorted(SAMPLES.glob("*.jsonl")))
            raise TrainError("unknown sample", where="dataset", found=dataset, expected=known)
        return _local_rows([path], dataset)
    path = Path(dataset).expanduser()
    if path.is_dir():
        files = sorted(file for suffix in SUFFIXES for file in path.glob(f"*{suffix}"))
        if not files:
            raise TrainError("the folder has no .jsonl, .json or .parquet file", where=dataset)
        return _local_rows(files, dataset)
    if path.is_file():
        return _local_rows([path], dataset)
    if path.suffix in SUFFIXES or dataset.count("/") != 1:
        raise TrainError("file or folder not found", where="dataset", found=dataset)
    return _hub_rows(dataset, config, split, revision)


def _hub_rows(dataset: str, config: str | None, split: str, revision: str | None) -> RawRows:
    if revision is None or not COMMIT.fullmatch(revision):
        raise TrainError(
            "a data set from the hub needs a pinned commit, because branches and tags move",
            where=f"dataset_revision of {dataset}", found=revision, expected="40 hex digits",
            hint=_current_commit(dataset, revision),
        )  # fmt: skip
    from datasets import load_dataset

    try:
        rows = load_dataset(dataset, config, split=split, revision=revision)
    except Exception as error:  # the hub's client raises a dozen kinds
        raise TrainError(
            "cannot read the data set from the hub", where=f"{dataset} at {revision}",
            found=f"{type(error).__name__}: {error}",
            hint="download it on a machine with network access and give its file or folder as --dataset",
        ) from error  # fmt: skip
    return RawRows(rows, dataset, revision)


def _current_commit(dataset: str, revision: str | None) -> str:
    """Return the option that pins the branch's current commit, if the hub answers."""
    try:
        from huggingface_hub import HfApi

        return f"--dataset_revision {HfApi().dataset_info(dataset, revision=revision, timeout=10).sha}"
    except Exception:  # offline, private or misspelt: the message works without the commit
        return f"find the commit on the data set's page ({dataset}, Files, History) and set dataset_revision"


def _local_rows(files: list[Path], name: str) -> RawRows:
    digest = hashlib.sha256()
    rows: list[Any] = []
    for file in files:
        content = file.read_bytes()
        digest.update(content)
        rows.extend(_parquet_rows(file) if file.suffix == ".parquet" else _json_rows(file, content))
    return RawRows(rows, name, f"sha256:{digest.hexdigest()}")


def _parquet_rows(file: Path) -> list[Any]:
    import pyarrow.parquet

    try:
        rows: list[Any] = pyarrow.parquet.read_table(file).to_pylist()
    except (OSError, ValueError) as error:
        raise TrainError("invalid Parquet file", where=file, found=error) from error
    return rows


def _json_rows(file: Path, content: bytes) -> Iterator[Any]:
    try:
        decoded = content.decode("utf-8-sig")
        if file.suffix == ".json":
            yield from json.loads(decoded)
            return
    except (UnicodeDecodeError, json.JSONDecodeError, TypeError) as error:
        raise TrainError("invalid JSON", where=file, found=error, expected="a list of rows, UTF-8") from error
    # Only a line feed ends a line of JSON; `splitlines` would also cut at U+2028 inside a string.
    for number, line in enumerate(decoded.split("\n"), 1):
        if line.strip():
            try:
                yield json.loads(line)
            except json.JSONDecodeError as error:
                raise TrainError("invalid JSON", where=f"{file}, line {number}", found=error) from error
