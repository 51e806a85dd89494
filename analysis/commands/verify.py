"""``value-retention verify``: do the figures of an evidence folder follow from its records."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from value_retention.analysis.effects.result import Result
    from value_retention.analysis.exchange.bundle import Manifest
    from value_retention.analysis.runs.load import Run

SHOWN = 5
"""Figures of ``report.json`` that are named where several differ."""

PICTURE = re.compile(r'src="data:image/svg\+xml;base64,[^"]*"')
"""A plot in the page. The quotation marks of an answer are escaped, so that no answer looks like one."""


@dataclass(frozen=True)
class Verified:
    """What `verify` found.

    Attributes:
        faults: A line per fault: which file, what was expected, what was found. Empty if every check passed.
        checked: What was checked, in lines.
        digest: SHA-256 of the manifest; empty without one.
    """

    faults: tuple[str, ...]
    checked: tuple[str, ...]
    digest: str


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
def command(folder: Path) -> None:
    """Check an evidence folder that `value-retention report -o DIR` wrote.

    Compares every file with the manifest, reads the records again, computes every figure and page again with the
    recorded settings, and compares them with the report. Exit status 0 if every check passes, 1 otherwise.
    """
    found = verify(folder)
    for line in found.checked:
        click.echo(line)
    for line in found.faults:
        click.echo(f"FAULT: {line}")
    if found.digest:
        click.echo(f"SHA-256 of the manifest: {found.digest}")
    count = len(found.faults)
    click.echo("all checks passed" if not count else f"{count} fault{'s' if count > 1 else ''}")
    if count:
        raise click.exceptions.Exit(1)


def verify(folder: Path) -> Verified:
    """Check an evidence folder.

    Raises:
        InputError: the folder does not exist.
    """
    from value_retention.analysis.exchange.bundle import MANIFEST, files_in, measured
    from value_retention.analysis.exchange.bundle_check import check_files, differing_versions, read_manifest
    from value_retention.tasks.errors import InputError

    if not folder.is_dir():
        raise InputError("the folder does not exist", where=str(folder), expected="an evidence folder")
    folder = folder.absolute()
    manifest, faults = read_manifest(folder)
    if manifest is None:
        return Verified(tuple(faults), (), "")
    files = files_in(folder)
    faults += check_files(folder, manifest)
    size = sum(entry.bytes for entry in manifest.files)
    checked = [f"files    {len(files)} compared with the manifest ({size / 1e6:.1f} MB recorded)"]
    try:
        runs, result = _recomputed(folder, manifest, files)
    except InputError as error:
        said = " ".join(str(error).replace(f"{folder}/", "").split())
        faults.append(f"the figures cannot be computed again: {said}")
    else:
        faults += _unread(folder, manifest, runs, result)
        faults += _figures(folder, result)
        faults += _pages(folder, manifest, result, runs)
        checked += _counts(runs, result)
    checked += differing_versions(manifest.versions)
    return Verified(tuple(faults), tuple(checked), measured(folder / MANIFEST)[1])


def _recomputed(folder: Path, manifest: Manifest, files: Sequence[str]) -> tuple[list[Run], Result]:
    """The records of the folder compared again, with the recorded settings.

    Raises:
        InputError: what the reader or the comparison raises, or a run without files in the folder.
    """
    from value_retention.analysis.commands.experiment import compare_file
    from value_retention.analysis.commands.inputs import compare_runs
    from value_retention.analysis.exchange.bundle import ARMS, with_files
    from value_retention.analysis.exchange.bundle_check import restored
    from value_retention.analysis.stats.settings import checked_settings
    from value_retention.tasks.errors import InputError

    for entry in manifest.runs:
        if not any(file.startswith(f"{entry.folder}/") for file in files):
            raise InputError("no records of a run", where=entry.folder, expected=f"the files of {entry.name}")
    kept: list[Run] = []
    options = asdict(manifest.options)
    score = options.pop("score")
    settings = checked_settings(**asdict(manifest.settings))
    entries = {str(folder / entry.folder): entry for entry in manifest.runs}

    def load(places: Sequence[str]) -> list[Run]:
        unknown = next((place for place in places if place not in entries), None)
        if unknown is not None:
            raise InputError("a run that the manifest does not list", where=ARMS, found=unknown)
        return [restored(folder, entries[place], score) for place in places]

    if any(entry.path == ARMS for entry in manifest.files):
        result = compare_file(folder / ARMS, settings, {}, kept=kept, load=load)
    else:
        result = compare_runs(list(entries), settings, {}, kept=kept, load=load, **options)
    names = {
        (run.name, file): Path(file).relative_to(folder).as_posix() for run in kept for file in run.files
    }
    return kept, with_files(result, names, manifest.runs)


def _unread(folder: Path, manifest: Manifest, runs: Sequence[Run], result: Result) -> list[str]:
    """Records that the manifest lists and that no figure rests on."""
    from value_retention.analysis.exchange.bundle_check import fault
    from value_retention.analysis.runs.names import LOOKS

    read = {Path(file) for run in runs for file in run.files}
    read |= {file.parent / LOOKS.format(name) for file in read for run in runs for name in run.benchmarks()}
    read |= {Path(file) for file in result.files}
    return [
        fault(entry.path, "a file that the figures rest on", "a file that is not read")
        for entry in manifest.files
        if entry.kind != "report" and folder / entry.path not in read
    ]


def _figures(folder: Path, result: Result) -> Iterator[str]:
    """Faults of ``report.json``."""
    from value_retention.analysis.exchange.bundle_check import differences
    from value_retention.analysis.report.export import json_text

    name = "report.json"
    text = _text(folder / name)
    computed = json_text(result.to_dict())
    if text is None or text == computed:  # a missing file is a fault already
        return
    try:
        recorded = json.loads(text)
    except (ValueError, RecursionError) as error:
        yield f"{name}: expected JSON, found {type(error).__name__}: {error}"
        return
    found = list(differences(recorded, json.loads(computed)))
    yield from (f"{name}: {line}" for line in found[:SHOWN])
    if len(found) > SHOWN:
        yield f"{name}: {len(found) - SHOWN} more differences"
    if not found and json_text(recorded) != text:
        yield f"{name}: expected JSON as `value-retention report` writes it, found other text"


def _pages(folder: Path, manifest: Manifest, result: Result, runs: Sequence[Run]) -> Iterator[str]:
    """Faults of the pages. Plots are compared where the drawing libraries are those of the manifest."""
    from value_retention.analysis.exchange.bundle import pages, versions
    from value_retention.analysis.exchange.bundle_check import fault, same_drawing

    ours = manifest.versions.get("value-retention", "unknown")
    hint = "" if ours == versions()["value-retention"] else f" (written by value-retention {ours})"
    names = ("report.html", "report.md")
    for name, text in pages(result, runs, names, ours).items():
        recorded = _text(folder / name)
        if recorded is None:
            continue
        if not same_drawing(manifest.versions):
            recorded, text = (PICTURE.sub("plot", part) for part in (recorded, text))
        if recorded != text:
            at = next(
                islice((k for k, (a, b) in enumerate(zip(recorded, text, strict=False)) if a != b), 1), -1
            )
            at = min(len(recorded), len(text)) if at < 0 else at
            line = recorded.count("\n", 0, at) + 1
            expected, found = (repr(part[max(at - 20, 0) : at + 40]) for part in (text, recorded))
            yield fault(f"{name}, line {line}", f"{expected} from the records", found) + hint


def _text(path: Path) -> str | None:
    """The text of a page; None if it is not there or not UTF-8, which is a fault already."""
    try:
        return None if path.is_symlink() else path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _counts(runs: Sequence[Run], result: Result) -> list[str]:
    """What was read and computed again."""
    from value_retention.analysis.exchange.bundle_check import TOLERANCE, numbers

    answers = sum(len(run.records) for run in runs)
    grades = sum(len(record.grades) for run in runs for record in run.records)
    return [
        f"records  {len(runs)} runs, {answers} answers, {grades} grades read again from the judges' replies",
        f"figures  {numbers(result.to_dict())} numbers computed again (tolerance {TOLERANCE:g})",
        "pages    report.html and report.md written again",
    ]
