"""``--ceiling NAME=PATH``: the ceiling test of a run, from another place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from value_retention.tasks.errors import InputError

if TYPE_CHECKING:
    from value_retention.analysis.runs.load import Run
    from value_retention.analysis.runs.scores import RunScores

Load = Callable[[Sequence[str]], "list[Run]"]


def with_ceilings(load: Load, given: Sequence[str]) -> Load:
    """A reader of runs that attaches ceiling tests to the runs that they are of, with their files.

    Args:
        load: Reads the runs at a path.
        given: ``NAME=PATH``, the name of a run and the place of its ceiling test.

    Raises:
        InputError: a place with other answers than those of a ceiling test. The reader raises it for a benchmark that
            the run lacks or has a ceiling test of already.
    """
    tops: dict[str, list[Run]] = {}
    for text in given:
        name, _, path = text.partition("=")
        tops.setdefault(name, []).extend(_read(path))
    return lambda paths: [_attached(run, tops.get(run.name, ())) for run in load(paths)]


def check_ceilings(given: Sequence[str], runs: Sequence[RunScores]) -> None:
    """Refuse the ceiling test of a run that was not read.

    Raises:
        InputError: an unknown run.
    """
    names = list(dict.fromkeys(run.run for run in runs))
    for text in given:
        if text.partition("=")[0] not in names:
            raise InputError(
                "unknown run in --ceiling",
                where="--ceiling",
                found=text,
                expected="NAME=PATH, with NAME one of " + ", ".join(names),
            )


def _attached(run: Run, tops: Sequence[Run]) -> Run:
    for top in tops:
        has = {record.benchmark for record in run.ceiling}
        wrong = [b for b in top.benchmarks() if b in has or b not in run.benchmarks()]
        if wrong:
            raise InputError(
                "a ceiling test that the run has already, or of a benchmark that it lacks",
                where=f"--ceiling, {', '.join(top.files)}",
                found=", ".join(wrong),
                expected=f"one for each of {', '.join(run.benchmarks())} in {run.name}",
            )
        # In the order in which a folder that holds both is read.
        files = tuple(sorted((*run.files, *top.files), key=lambda file: Path(file).absolute()))
        run = replace(run, files=files, ceiling=(*run.ceiling, *top.records))
    return run


def _read(path: str) -> list[Run]:
    from value_retention.analysis.runs.load import is_ceiling, load_runs

    runs = load_runs([path]) if path else []
    other = [run.name for run in runs if run.ceiling or not all(map(is_ceiling, run.records))]
    if other or not runs:
        raise InputError(
            "not a ceiling test alone",
            where=f"--ceiling {path}",
            found=f"ordinary answers in {', '.join(other)}" if other else "no path",
            expected="NAME=PATH, with the path of a ceiling test (docs/running.md)",
        )
    return runs
