"""Write records to new files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def model_of(about: Mapping[str, Any]) -> str:
    """The last part of a model's name or path, from the description of a run in the journal."""
    return str(about.get("model", "")).rstrip("/").rpartition("/")[2]


def stem_of(about: Mapping[str, Any]) -> str:
    """Start of the name of a run's records, from its description in the journal."""
    repeat = about.get("judge_args", {}).get("repeat", 1)
    return "-".join(
        [
            model_of(about),
            str(about.get("task", "")),
            "+".join(about.get("judges", ())) or "not-judged",
            *([f"repeat-{repeat}"] if repeat > 1 else []),
        ]
    )


def write_records(folder: Path, stem: str, records: Sequence[str]) -> tuple[Path, bool]:
    """Write records to a file, completely or not at all, and never over another file.

    Args:
        folder: Where to. It is created.
        stem: Start of the file's name. If a file of that name holds other records, a number is added.
        records: JSON texts.

    Returns:
        The file, and whether it was written. It was not if it has these records already.

    Raises:
        InputError: the folder cannot be written.
    """
    from value_retention.analysis.runs.load import RECORDS_SUFFIX
    from value_retention.tasks.errors import InputError

    text = "".join(f"{record}\n" for record in records).encode()
    stem = re.sub(r"[^A-Za-z0-9_.+-]+", "-", stem)[:120]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path, count = folder / f"{stem}{RECORDS_SUFFIX}", 1
        while path.exists() or path.is_symlink():
            if path.is_file() and path.stat().st_size == len(text) and path.read_bytes() == text:
                return path, False
            count += 1
            path = folder / f"{stem}-{count}{RECORDS_SUFFIX}"
        draft = path.with_name(path.name + ".part")
        draft.unlink(missing_ok=True)  # a killed command's, or a link that somebody planted
        with draft.open("xb") as file:
            file.write(text)
        draft.replace(path)
    except OSError as error:
        raise InputError(
            "cannot write the records; they are in the journal",
            where=str(folder),
            found=f"{type(error).__name__}: {error}",
            expected="a writable folder with free space",
            hint="run the same command with another folder (-o): it makes no call again",
        ) from error
    return path, True
