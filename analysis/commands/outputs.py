"""Output places: a command never overwrites its inputs, and never writes two outputs to one file."""

from __future__ import annotations

import os.path
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from value_retention.analysis.runs.names import check_names
from value_retention.tasks.errors import InputError

if TYPE_CHECKING:
    from value_retention.analysis.runs.load import Run


def check_outputs(outputs: Mapping[str, Path | None], inputs: Iterable[str | Path]) -> None:
    """Check every output before the first one is written.

    Args:
        outputs: Option and file; None where the option was not given.
        inputs: Files that the command reads.

    Raises:
        InputError: an invalid name, an output that is an input (links are resolved), or two outputs that are
            one file.
    """
    read = [Path(path) for path in inputs]
    check_names([str(path) for path in (*read, *outputs.values()) if path], "input or output")
    seen: dict[str, Path] = {}
    for option, path in outputs.items():
        if path is None:
            continue
        for other in read:
            if _same(path, other):
                raise InputError(
                    "the output would overwrite an input",
                    where=option,
                    found=str(path),
                    expected=f"a file other than {other}",
                )
        for earlier, other in seen.items():
            if _same(path, other):
                raise InputError(
                    "two outputs go to the same file",
                    where=f"{earlier} and {option}",
                    found=str(path),
                    expected="a different file for each",
                )
        seen[option] = path


def _same(one: Path, other: Path) -> bool:
    if one.expanduser().resolve() == other.expanduser().resolve():
        return True
    try:
        return one.samefile(other)  # hard links, and names that differ in case where the disk does not care
    except OSError:
        return False


def run_inputs(paths: Sequence[str], runs: Iterable[Run]) -> Iterator[Path]:
    """Files behind RUN arguments: those that were read, and those that a harness wrote beside them.

    Args:
        paths: As on the command line, including ``NAME=PATH``.
        runs: The runs that `load_runs` read from them.
    """
    from value_retention.analysis.runs.load import RECORDS_SUFFIX

    for text in paths:
        for name in (text, text.partition("=")[2]):
            place = Path(name).expanduser() if name else None
            # Not `Path.is_file`, which raises for a name that is too long to be one.
            if place is not None and os.path.isfile(place):
                yield place
            elif place is not None and os.path.isdir(place):
                # Unjudged copies of answers that were judged later are read and dropped: no run names their file.
                for file in place.rglob("*"):
                    harness = file.name.startswith(("samples_", "results_")) or file.suffix == ".eval"
                    if harness or file.name.endswith(RECORDS_SUFFIX) or _is_log(file):
                        yield file
    for run in runs:
        yield from map(Path, run.files)


def _is_log(file: Path) -> bool:
    """Whether a harness wrote a JSON file in a run's folder; commands of this package write a schema into theirs."""
    if file.suffix != ".json" or not file.is_file():
        return False
    with file.open("rb") as content:
        return b'"schema": "value-retention/' not in content.read(200)
