"""The steps of checking an evidence folder: manifest, hashes, records read again, figures compared."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from value_retention.analysis.exchange.bundle import (
    CHECKSUM,
    MANIFEST,
    PAGES,
    SCHEMA,
    Manifest,
    RunEntry,
    checksum_line,
    files_in,
    measured,
    versions,
)
from value_retention.analysis.report.export import json_text
from value_retention.analysis.runs.load import Run, load_runs
from value_retention.tasks.errors import InputError
from value_retention.tasks.text import printable

if TYPE_CHECKING:
    from pydantic import TypeAdapter

DRAWING = ("matplotlib", "numpy", "platform")
"""Versions on which the coordinates in a plot depend."""

TOLERANCE = 1e-9
"""Largest difference, relative or absolute, between a recorded figure and the same figure computed elsewhere."""


@cache
def _schema() -> TypeAdapter[Manifest]:
    from pydantic import TypeAdapter

    return TypeAdapter(Manifest)


def read_manifest(folder: Path) -> tuple[Manifest | None, list[str]]:
    """Read the manifest and check it against its checksum.

    Returns:
        The manifest, or None if it cannot be read, and a line per fault.
    """
    from pydantic import ValidationError

    faults: list[str] = []
    content = {}
    for name in (MANIFEST, CHECKSUM):
        path = folder / name
        if path.is_symlink() or not path.is_file():
            faults.append(fault(name, "a file", "no file"))
        else:
            content[name] = path.read_bytes()
    text = content.get(MANIFEST)
    if text is None:
        return None, faults
    line = checksum_line(hashlib.sha256(text).hexdigest()).encode()
    if content.get(CHECKSUM, line) != line:
        recorded = content[CHECKSUM][:64].decode("utf-8", "replace")
        faults.append(fault(MANIFEST, f"SHA-256 {recorded} ({CHECKSUM})", line[:64].decode()))
    try:
        manifest = _schema().validate_json(text)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(map(str, problem["loc"]))
        return None, [*faults, fault(MANIFEST, f"a manifest of schema {SCHEMA}", f"{where} {problem['msg']}")]
    if manifest.schema != SCHEMA:
        return None, [*faults, fault(MANIFEST, f"schema {SCHEMA}", f"schema {manifest.schema}")]
    if json_text(asdict(manifest)).encode() != text:
        faults.append(fault(MANIFEST, "JSON as `value-retention report` writes it", "other text"))
    return manifest, faults


def check_files(folder: Path, manifest: Manifest) -> list[str]:
    """Compare the files of a folder with its manifest.

    Returns:
        A line per file that is missing, additional, a link, or changed.
    """
    faults: list[str] = []
    recorded = {entry.path: entry for entry in manifest.files}
    found = set(files_in(folder))
    for path, entry in recorded.items():
        place = folder / path
        if path not in found:
            faults.append(fault(path, f"{entry.bytes} bytes", "no file"))
        elif place.is_symlink() or not place.is_file():
            faults.append(fault(path, "a regular file", "a link" if place.is_symlink() else "another kind"))
        elif (size_hash := measured(place)) != (entry.bytes, entry.sha256):
            expected = f"{entry.bytes} bytes, SHA-256 {entry.sha256}"
            faults.append(fault(path, expected, "{} bytes, SHA-256 {}".format(*size_hash)))
    faults += [
        fault(path, "no such file in the manifest", "an additional file")
        for path in sorted(found - {*recorded, MANIFEST, CHECKSUM})
    ]
    faults += [fault(name, "an entry in the manifest", "none") for name in PAGES if name not in recorded]
    return faults


def restored(folder: Path, entry: RunEntry, score: str | None = None) -> Run:
    """Read a run of an evidence folder again.

    Args:
        folder: The evidence folder.
        entry: The run in the manifest.
        score: Score to read of Inspect logs that have several.

    Raises:
        InputError: what the reader raises, or records that are not those of one run.
    """
    found = load_runs([folder / entry.folder], score=score)
    if len(found) != 1:
        raise InputError(
            "not the records of one run", where=entry.folder, found=", ".join(run.name for run in found)
        )
    # A benchmark whose answers were judged later in another run was read and left out.
    records = tuple(record for record in found[0].records if record.benchmark in entry.benchmarks)
    return replace(found[0], name=entry.name, records=records)


def differences(recorded: Any, computed: Any, at: str = "") -> Iterator[str]:
    """Where two JSON values differ, numbers by more than `TOLERANCE`, with both values.

    Args:
        recorded: From ``report.json``.
        computed: The same from the records.
        at: Place of both, such as ``effects[3].low``.
    """
    if isinstance(recorded, dict) and isinstance(computed, dict):
        for key in dict.fromkeys([*computed, *recorded]):
            place = f"{at}.{key}".removeprefix(".")
            if key in recorded and key in computed:
                yield from differences(recorded[key], computed[key], place)
            else:
                yield f"{place}: " + ("not in the report" if key in computed else "not from the records")
    elif isinstance(recorded, list) and isinstance(computed, list):
        if len(recorded) != len(computed):
            yield f"{at}: {len(computed)} entries from the records, {len(recorded)} in the report"
        for k, pair in enumerate(zip(recorded, computed, strict=False)):
            yield from differences(*pair, f"{at}[{k}]")
    elif not _equal(recorded, computed):
        yield f"{at}: {_short(computed)} from the records, {_short(recorded)} in the report"


def _equal(a: object, b: object) -> bool:
    if isinstance(a, int | float) and isinstance(b, int | float) and bool not in (type(a), type(b)):
        return math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return type(a) is type(b) and a == b


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) < 80 else f"{text[:77]}..."


def fault(path: str, expected: str, found: str) -> str:
    """One line about a file: what was expected and what was found."""
    return " ".join(printable(f"{path}: expected {expected}, found {found}").split())


def numbers(value: Any) -> int:
    """Numbers in a JSON value."""
    if isinstance(value, dict):
        return sum(map(numbers, value.values()))
    if isinstance(value, list | tuple):
        return sum(map(numbers, value))
    return int(isinstance(value, int | float) and not isinstance(value, bool))


def same_drawing(recorded: Mapping[str, str]) -> bool:
    """Whether plots drawn here have the same coordinates as those of a manifest."""
    here = versions()
    return all(recorded.get(name) == here.get(name) for name in DRAWING)


def differing_versions(recorded: Mapping[str, str]) -> list[str]:
    """Which versions of a manifest are not those installed here, and what could not be compared for that reason."""
    here = versions()
    names = [name for name in dict.fromkeys([*recorded, *here]) if recorded.get(name) != here.get(name)]
    listed = ", ".join(
        f"{name} {recorded.get(name, 'not recorded')}, here {here.get(name, 'not installed')}"
        for name in names
    )
    lines = [f"versions other than recorded: {listed}"] if names else []
    if not same_drawing(recorded):
        lines.append("PICTURES NOT COMPARED: the libraries that draw them have other versions here")
    return lines
