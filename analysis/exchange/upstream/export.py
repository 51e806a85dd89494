"""Write the two benchmarks into a checkout of lm-evaluation-harness, as that project would merge them.

    python -m value_retention.analysis.exchange.upstream.export CHECKOUT [--force]

The files beside this module are templates (`string.Template`). Repository, commits, columns, sampling and version
come from the `Benchmark`, so they cannot differ from those of our own tasks. Nothing that is written imports this
package. Two files of the checkout get a line each: the table of tasks, and the extra with the judge's packages.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

from value_retention.tasks.benchmark import Benchmark, Dimensions, ImportedPrompt, packaged
from value_retention.tasks.data import load
from value_retention.tasks.errors import InputError

TEMPLATES = Path(__file__).parent
TABLE = "lm_eval/tasks/README.md"
ROW = "table_row.txt"
"""In each folder of templates: description and languages for the table of tasks."""
PROJECT = "pyproject.toml"
EXTRA = 'inspect_evals = ["inspect-evals>=0.26,<0.27; python_version>=\'3.11\'", "openai"]'


@dataclass(frozen=True)
class Written:
    """A file of the export."""

    path: Path
    """Relative to the checkout."""
    lines: int
    """Lines written: all of a new file, those added to one that was there."""


def export(checkout: Path, force: bool = False) -> list[Written]:
    """Write the task folders, the rows of the table and the extra.

    A second export changes nothing if the files are as it would write them.

    Args:
        checkout: Root of a clone of lm-evaluation-harness.
        force: Overwrite files of the task folders that differ.

    Returns:
        The files, relative to the checkout.

    Raises:
        InputError: not a checkout of lm-evaluation-harness, or a task folder that holds something else.
    """
    edited = {TABLE: _with_rows(_read(checkout, TABLE)), PROJECT: _with_extra(_read(checkout, PROJECT))}
    files = {
        f"lm_eval/tasks/{benchmark.task_name}/{name}": text
        for benchmark in exported()
        for name, text in rendered(benchmark).items()
    }
    if not force:
        _refuse_others(checkout, files)
    written = []
    for name, text in (files | edited).items():
        place = checkout / name
        place.parent.mkdir(exist_ok=True)
        lines = len(text.splitlines())
        if name in edited:
            lines -= len(place.read_text("utf-8").splitlines())
        place.write_text(text, "utf-8")
        written.append(Written(Path(name), lines))
    return written


def exported() -> list[Benchmark]:
    """The benchmarks that have templates."""
    return [benchmark for benchmark in packaged().values() if (TEMPLATES / benchmark.task_name).is_dir()]


def rendered(benchmark: Benchmark) -> dict[str, str]:
    """The files of a benchmark's task folder, by name."""
    values = _values(benchmark)
    return {
        file.name.removesuffix(".tmpl"): Template(file.read_text("utf-8")).substitute(values)
        for file in sorted((TEMPLATES / benchmark.task_name).glob("*.tmpl"))
    }


def _values(benchmark: Benchmark) -> dict[str, object]:
    metric = "  - {{metric: {}, aggregation: !function utils.mean, higher_is_better: true}}"
    # The sample has every dimension of the benchmark under its name in the judge's prompt.
    names = load(benchmark, "sample").dimensions
    questions, prompt = benchmark.questions, benchmark.judge.prompt
    assert isinstance(benchmark.dimensions, Dimensions)
    assert isinstance(prompt, ImportedPrompt)
    pinned, dimensions = questions.hub, benchmark.dimensions.hub
    assert pinned
    assert dimensions
    return {
        "repo": pinned.repo,
        "config": pinned.config,
        "revision": pinned.revision,
        "dimension_repo": dimensions.repo,
        "dimension_config": dimensions.config,
        "dimension_revision": dimensions.revision,
        "tags": questions.columns.dimensions,
        "prompt_module": prompt.source.partition(":")[0],
        "version": benchmark.version,
        "epochs": benchmark.epochs,
        "temperature": benchmark.sampling.temperature,
        "max_tokens": benchmark.sampling.max_tokens,
        "dimensions": "\n".join(metric.format(name) for name in names),
    }


def _read(checkout: Path, name: str) -> str:
    """A file that every checkout of lm-evaluation-harness has."""
    file = checkout / name
    if not file.is_file() or not (checkout / "lm_eval/api/task.py").is_file():
        raise InputError(
            "not a checkout of lm-evaluation-harness",
            where=str(checkout),
            found=f"no {name}" if not file.is_file() else "no lm_eval/api/task.py",
            expected="the root of a clone",
            hint="git clone https://github.com/EleutherAI/lm-evaluation-harness",
        )
    return file.read_text("utf-8")


def _refuse_others(checkout: Path, files: dict[str, str]) -> None:
    """Refuse to overwrite or to mix with files that an export would not write."""
    for benchmark in exported():
        for file in sorted((checkout / "lm_eval" / "tasks" / benchmark.task_name).rglob("*")):
            name = file.relative_to(checkout).as_posix()
            if file.is_dir() or "__pycache__" in file.parts:
                continue
            if files.get(name) != file.read_text("utf-8", errors="replace"):
                raise InputError(
                    "the checkout already has this task, with other content",
                    where=str(file),
                    expected=f"no {file.parent.name}/, or the files of this export",
                    hint="--force overwrites the files of the export and leaves all others",
                )


def _with_rows(table: str) -> str:
    """The table of tasks with a row for each folder, after the row whose name comes before it in the alphabet."""
    lines = table.splitlines()
    first = next((n for n, line in enumerate(lines) if line.startswith("|--")), None)
    if first is None:
        raise InputError(
            "cannot find the table of tasks", where=TABLE, expected="a Markdown table with a separator line"
        )
    widths = [len(cell) - 2 for cell in lines[first].strip("|").split("|")]
    for folder in (benchmark.task_name for benchmark in exported()):
        start = f"| [{folder}]"
        if any(line.startswith(start) for line in lines):
            continue
        description, languages = (TEMPLATES / folder / ROW).read_text("utf-8").splitlines()
        cells = (f"[{folder}]({folder}/README.md)", description, languages)
        row = "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"
        end = next((n for n in range(first + 1, len(lines)) if not lines[n].startswith("|")), len(lines))
        earlier = [n for n in range(first + 1, end) if "| [" <= lines[n] < start]
        lines.insert(max(earlier, key=lines.__getitem__, default=first) + 1, row)
    return "\n".join(lines) + "\n"


def _with_extra(project: str) -> str:
    """The project file with the extra that the tasks' error message names."""
    if EXTRA in project:
        return project
    head, found, tail = project.partition("[project.optional-dependencies]\n")
    if not found:
        raise InputError("cannot find the extras", where=PROJECT, expected="[project.optional-dependencies]")
    lines = tail.split("\n")
    place = next((n + 1 for n, line in enumerate(lines) if line.startswith("ifeval")), 0)
    return head + found + "\n".join([*lines[:place], EXTRA, *lines[place:]])


def main(arguments: Sequence[str] | None = None) -> None:
    """Export from the command line. A user's mistake gives one message and exit status 2."""
    parser = argparse.ArgumentParser(
        prog="python -m value_retention.analysis.exchange.upstream.export",
        description="Write ANIMA 2.2 and MORU into a clone of lm-evaluation-harness, ready for a pull request.",
        epilog="The tasks do not import this package. They give the same scores for the same answers and judge "
        "replies. See docs/upstream.md for the checks that lm-evaluation-harness asks for.",
    )
    parser.add_argument("checkout", type=Path, metavar="CHECKOUT", help="root of the clone")
    parser.add_argument(
        "--force", action="store_true", help="overwrite files of the task folders that differ"
    )
    options = parser.parse_args(arguments)
    try:
        written = export(options.checkout, options.force)
    except InputError as error:
        print(f"value-retention: {error}", file=sys.stderr)
        sys.exit(2)
    for file in written:
        print(f"{file.lines:5} {file.path}")
    print(f"{sum(file.lines for file in written):5} lines in all")


if __name__ == "__main__":
    main()
