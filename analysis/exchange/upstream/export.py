"""Write the two benchmarks into a checkout of lm-evaluation-harness, as that project would merge them.

The files beside this module are templates (`string.Template`). Repository, commits, columns, sampling and version
come from the `Benchmark`, so they cannot differ from those of our own tasks. Nothing that is written imports this
package. Two files of the checkout get a line each: the table of tasks, and the extra with the judge's packages.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from string import Template

from value_retention.tasks.benchmark import ANIMA_2_2, MORU, Benchmark
from value_retention.tasks.errors import InputError
from value_retention.tasks.load import load

TEMPLATES = Path(__file__).parent
FOLDERS = {"anima_2_2": ANIMA_2_2, "moru_multi": MORU}
"""Task folder to benchmark."""

TABLE = "lm_eval/tasks/README.md"
ROWS = {
    "anima_2_2": ("Open questions on the treatment of animals, graded by an LLM judge.", "English and 33 others"),
    "moru_multi": (
        "Open questions on moral reasoning under uncertainty, graded by an LLM judge.",
        "English, Malay, Hindi",
    ),
}
"""Description and languages in the table of tasks."""

PROJECT = "pyproject.toml"
EXTRA = "inspect_evals = [\"inspect-evals>=0.26,<0.27; python_version>='3.11'\", \"openai\"]"


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
        f"lm_eval/tasks/{folder}/{name}": text
        for folder, benchmark in FOLDERS.items()
        for name, text in rendered(folder, benchmark).items()
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


def rendered(folder: str, benchmark: Benchmark) -> dict[str, str]:
    """The files of one task folder, by name."""
    values = _values(benchmark)
    return {
        file.name.removesuffix(".tmpl"): Template(file.read_text("utf-8")).substitute(values)
        for file in sorted((TEMPLATES / folder).glob("*.tmpl"))
    }


def _values(benchmark: Benchmark) -> dict[str, object]:
    metric = "  - {{metric: {}, aggregation: !function utils.mean, higher_is_better: true}}"
    # The sample has every dimension of the benchmark under its name in the judge's prompt.
    dimensions = load(benchmark, "sample").dimensions
    return {
        "repo": benchmark.questions.repo,
        "config": benchmark.questions.config,
        "revision": benchmark.questions.revision,
        "dimension_repo": benchmark.dimensions.repo,
        "dimension_config": benchmark.dimensions.config,
        "dimension_revision": benchmark.dimensions.revision,
        "tags": benchmark.tag_column,
        "prompt_module": benchmark.prompt_module,
        "version": benchmark.version,
        "epochs": benchmark.epochs,
        "temperature": benchmark.temperature,
        "max_tokens": benchmark.max_tokens,
        "dimensions": "\n".join(metric.format(name) for name in dimensions),
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
    for folder in FOLDERS:
        for file in sorted((checkout / "lm_eval" / "tasks" / folder).rglob("*")):
            name = file.relative_to(checkout).as_posix()
            if file.is_dir() or "__pycache__" in file.parts:
                continue
            if files.get(name) != file.read_text("utf-8", errors="replace"):
                raise InputError(
                    "the checkout has this task already, with other content",
                    where=str(file),
                    expected=f"no {file.parent.name}/, or the files of this export",
                    hint="--force overwrites the files of the export and leaves all others",
                )


def _with_rows(table: str) -> str:
    """The table of tasks with a row for each folder, before the first row that sorts after it."""
    lines = table.splitlines()
    first = next((n for n, line in enumerate(lines) if line.startswith("|--")), None)
    if first is None:
        raise InputError("no table of tasks", where=TABLE, expected="a Markdown table with a separator line")
    widths = [len(cell) - 2 for cell in lines[first].strip("|").split("|")]
    for folder, (description, languages) in ROWS.items():
        start = f"| [{folder}]"
        if any(line.startswith(start) for line in lines):
            continue
        cells = (f"[{folder}]({folder}/README.md)", description, languages)
        row = "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"
        end = next((n for n in range(first + 1, len(lines)) if not lines[n].startswith("|")), len(lines))
        place = next((n for n in range(first + 1, end) if lines[n] > start), end)
        lines.insert(place, row)
    return "\n".join(lines) + "\n"


def _with_extra(project: str) -> str:
    """The project file with the extra that the tasks' error message names."""
    if EXTRA in project:
        return project
    head, found, tail = project.partition("[project.optional-dependencies]\n")
    if not found:
        raise InputError("no extras", where=PROJECT, expected="[project.optional-dependencies]")
    lines = tail.split("\n")
    place = next((n + 1 for n, line in enumerate(lines) if line.startswith("ifeval")), 0)
    return head + found + "\n".join([*lines[:place], EXTRA, *lines[place:]])
