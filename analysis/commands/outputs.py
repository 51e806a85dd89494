"""Where a command may write: never over what it reads, and no two outputs into one file."""

from __future__ import annotations

import os.path
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from value_retention.tasks.errors import InputError

if TYPE_CHECKING:
    from value_retention.analysis.runs.load import Run


def check_outputs(outputs: Mapping[str, Path | None], inputs: Iterable[str | Path]) -> None:
    """Check every place before the first one is written to.

    Args:
        outputs: Option, or what else names it to the user, and the file; None where it was not asked for.
        inputs: Files that the command reads.

    Raises:
        InputError: an output that is an input, by whatever path or link, or that is another output.
    """
    read = [Path(path) for path in inputs]
    seen: dict[str, Path] = {}
    for option, path in outputs.items():
        if path is None:
            continue
        for other in read:
            if _same(path, other):
                raise InputError(
                    "an output that would write over an input",
                    where=option,
                    found=str(path),
                    expected=f"another file than {other}",
                )
        for earlier, other in seen.items():
            if _same(path, other):
                raise InputError(
                    "two outputs in one file",
                    where=f"{earlier} and {option}",
                    found=str(path),
                    expected="a file for each",
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
    """Files behind RUN arguments: what was read, and what a harness wrote beside it.

    Args:
        paths: As on the command line, ``NAME=PATH`` too.
        runs: What `load_runs` made of them.
    """
    from value_retention.analysis.runs.load import RECORDS_SUFFIX

    for text in paths:
        for name in (text, text.partition("=")[2]):
            place = Path(name).expanduser() if name else None
            # Not `Path.is_file`, which raises for a name that is too long to be one.
            if place is not None and os.path.isfile(place):
                yield place
            elif place is not None and os.path.isdir(place):
                # Answers that were judged later are read and left out, so a run does not name their file.
                for file in place.rglob("*"):
                    harness = file.name.startswith(("samples_", "results_")) or file.suffix == ".eval"
                    if harness or file.name.endswith(RECORDS_SUFFIX) or _is_log(file):
                        yield file
    for run in runs:
        yield from map(Path, run.files)


def _is_log(file: Path) -> bool:
    """Whether a JSON file in a run's folder is a harness's, and none that this package's commands wrote."""
    if file.suffix != ".json" or not file.is_file():
        return False
    with file.open("rb") as content:
        return b'"schema": "value-retention/' not in content.read(200)
