"""Capability runs: other tasks of the same model, such as IFEval or MMLU, as either harness logged them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from value_retention.adapters.readers.capability import TaskGroup, TaskSamples
from value_retention.adapters.readers.inspect import current_logs, is_our_task, open_log
from value_retention.adapters.readers.inspect_capability import read_task_log
from value_retention.adapters.readers.lm_eval_capability import groups_of, read_task, results_beside
from value_retention.adapters.readers.own import has_records, is_samples_file, run_key
from value_retention.analysis.runs.identity import CAPABILITY
from value_retention.analysis.runs.load import is_json_log
from value_retention.tasks.errors import InputError


@dataclass(frozen=True)
class Capability:
    """The other tasks of one run.

    Attributes:
        run: Name of the run.
        tasks: By name.
        groups: Groups of these tasks, as lm-eval aggregates them.
        left_out: Metrics and groups that are not compared, each with the reason.
    """

    run: str
    tasks: Mapping[str, TaskSamples]
    groups: tuple[TaskGroup, ...]
    left_out: tuple[str, ...]

    @property
    def files(self) -> list[str]:
        """The files that were read."""
        return list(dict.fromkeys(file for task in self.tasks.values() for file in task.files))


def read_capability(run: str, places: Sequence[str | Path]) -> Capability:
    """Read the other tasks of one run.

    Args:
        run: Name of the run.
        places: Files and folders: lm-eval's ``samples_*.jsonl`` or ``results_*.json``, Inspect logs. Samples of
            The benchmarks of this project among them are passed over.

    Raises:
        InputError: nothing to read, a file that cannot be read, or a task with two files.
    """
    tasks: dict[str, TaskSamples] = {}
    groups: list[TaskGroup] = []
    left_out: list[str] = []
    outputs: dict[tuple[Path, str], list[Path]] = {}
    # In one order, wherever the files are: a copy of them gives the same rows.
    for file in sorted({file for place in places for file in task_files(Path(place).expanduser())}):
        key = (file.parent, run_key(file)) if is_samples_file(file) else (file, "")
        outputs.setdefault(key, []).append(file)
    for files in outputs.values():
        found: list[TaskSamples] = []
        if is_samples_file(files[0]):
            beside, results = results_beside(files[0])
            found = [read_task(file, beside, results) for file in files]
            for group in groups_of(results, {task.task: task for task in found}):
                groups.append(group) if isinstance(group, TaskGroup) else left_out.append(group)
        else:
            found = [read_task_log(file) for file in files]
        for task in found:
            other = tasks.setdefault(task.task, task)
            if other is not task:
                raise InputError(
                    "a run has two results of one capability task",
                    where=f"{run}, {task.task}",
                    found=f"{other.files[0]} and {task.files[0]}",
                    expected="one",
                    hint=f"name the file: --capability {run}=FILE",
                )
            left_out += [f"{task.task}, {reason}" for reason in task.left_out]
    if not tasks:
        raise InputError(
            "no capability task found",
            where=f"{run}: {', '.join(map(str, places))}",
            expected="samples_*.jsonl of lm_eval --log_samples, or Inspect logs, of other tasks than the benchmarks",
        )
    return Capability(run, tasks, tuple(groups), tuple(left_out))


def task_files(place: Path) -> list[Path]:
    """Files of tasks other than ours at a path, sorted.

    Raises:
        InputError: no such file or folder.
    """
    if not place.exists():
        raise InputError("the capability run does not exist", where=str(place), expected="a file or a folder")
    files = sorted(file for file in place.rglob("*") if file.is_file()) if place.is_dir() else [place]
    if place.is_file() and place.suffix == ".json" and place.name.startswith("results_"):
        files = sorted(place.parent.glob(f"samples_*_{run_key(place)}.jsonl"))
    logs = [f for f in files if f.suffix == ".eval" or is_json_log(f, place)]
    current = current_logs(logs) if len(logs) > 1 else logs
    return [f for f in files if is_samples_file(f) and not has_records(f)] + [
        f for f in current if not _is_ours(f)
    ]


def _is_ours(log: Path) -> bool:
    return is_our_task(open_log(log, header=True).eval)


def differing(first: TaskSamples, other: TaskSamples) -> list[tuple[str, str, str]]:
    """Aspects in which a task was asked differently in two runs: name and both values."""
    found: list[tuple[str, str, str]] = []
    for name in dict.fromkeys((*first.aspects, *other.aspects)):
        values = first.aspects.get(name, "not logged"), other.aspects.get(name, "not logged")
        if values[0] != values[1]:
            found.append((name, *values))
    prompts = dict(zip(first.keys, first.prompts, strict=True))
    both = [
        (prompt, prompts[key])
        for key, prompt in zip(other.keys, other.prompts, strict=True)
        if key in prompts
    ]
    if not both:
        found.append(
            ("samples", f"{len(first.keys)} samples", f"{len(other.keys)} samples, none of them the same")
        )
    elif changed := sum(a != b for a, b in both):
        found.append(("prompt or target", "as asked", f"another one for {changed} of {len(both)} samples"))
    return found


def check_alike(pairs: Iterable[tuple[Capability, Capability]], allow: Sequence[str]) -> list[str]:
    """Refuse runs that were not asked alike.

    Args:
        pairs: The runs that are compared with each other.
        allow: Values of ``--allow``; `CAPABILITY` lets every difference through but that of all samples.

    Returns:
        A line per allowed difference, for the head of the report.

    Raises:
        InputError: a difference that is not allowed, or no common samples.
    """
    lines = []
    for one, other in pairs:
        for task in one.tasks.keys() & other.tasks.keys():
            for name, *values in differing(one.tasks[task], other.tasks[task]):
                lines.append((name, f"{name} ({task}): {values[0]} in {one.run}; {values[1]} in {other.run}"))
    lines.sort(key=lambda line: line[1])
    refused = [text for name, text in lines if CAPABILITY not in allow or name == "samples"]
    if refused:
        raise InputError(
            "the capability runs are not comparable: these differences could change the scores",
            found="".join(f"\n    - {text}" for text in dict.fromkeys(refused)),
            expected="the same samples, prompts and task versions in both runs",
            hint=f"repeat the runs with the same setup, or allow the differences: --allow {CAPABILITY}",
        )
    return list(dict.fromkeys(f"Allowed to differ: {text}" for _, text in lines))
