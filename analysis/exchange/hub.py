"""A run as ``.eval_results/*.yaml``, which the Hugging Face Hub shows on a model's page and on leaderboards.

The format is that of `huggingface_hub.EvalResultEntry`.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from value_retention.analysis.exchange.parts import Part
from value_retention.analysis.report.cells import interval, number
from value_retention.analysis.report.export import writing
from value_retention.tasks.benchmark import benchmark_of
from value_retention.tasks.errors import InputError

if TYPE_CHECKING:
    from huggingface_hub import EvalResultEntry

    from value_retention.tasks.benchmark import Benchmark

FOLDER = ".eval_results"


def write_hub(parts: Sequence[Part], folder: Path) -> list[Path]:
    """Write one YAML file per benchmark below ``.eval_results``, to be uploaded to the model's repository.

    Args:
        parts: One run.
        folder: Where to.

    Raises:
        InputError: several runs, or scores that are not results of the benchmark.
    """
    import yaml
    from huggingface_hub import eval_result_entries_to_yaml

    names = list(dict.fromkeys(part.scores.run for part in parts))
    if len(names) > 1 or len({part.scores.benchmark for part in parts}) < len(parts):
        raise InputError(
            "several runs for one model page",
            found=", ".join(names),
            expected="one run",
            hint="export the runs one by one, each to its own folder",
        )
    entries = [hub_entry(part) for part in parts]
    written = []
    for entry in entries:
        path = folder / FOLDER / f"{entry.task_id}.yaml"
        with writing(path):
            path.write_text(
                yaml.safe_dump(eval_result_entries_to_yaml([entry]), sort_keys=False, allow_unicode=True),
                "utf-8",
            )
        written.append(path)
    return written


def hub_entry(part: Part) -> EvalResultEntry:
    """The overall mean of a run on a benchmark, per cent.

    Raises:
        InputError: sample items, or a judge that is not an LLM.
    """
    from huggingface_hub import EvalResultEntry

    benchmark = benchmark_of(part.records[0])
    _check_result(part, benchmark)
    commit = part.judged.data_revision.partition("+")[0]
    return EvalResultEntry(
        dataset_id=str(benchmark.questions.repo),
        task_id=benchmark.task_name,
        value=round(float(part.overall.score or 0.0), 2),
        dataset_revision=commit if part.judged.data_source == "hub" else None,
        date=part.date,
        notes=_notes(part),
    )


def _check_result(part: Part, benchmark: Benchmark) -> None:
    judged = part.judged
    problems = [
        (benchmark.questions.repo is None, "questions in a folder", "a dataset on the hub"),
        (not judged.is_benchmark, judged.data, "the questions of the benchmark"),
        (not judged.judges or not all(judged.judges.values()), f"judge {judged.judge}", "an LLM as judge"),
    ]
    for wrong, found, expected in problems:
        if wrong:
            raise InputError(
                "not a benchmark result",
                where=f"{part.scores.run}, {part.scores.benchmark}",
                found=found,
                expected=expected,
                hint="--format every-eval-ever takes such runs and marks them",
            )


def _notes(part: Part) -> str:
    """Judge and circumstances in one line: what a reader needs in order not to compare the wrong figures."""
    overall, aspects = part.overall, part.scores.identity.aspects
    noted = [
        f"judge {part.judged.judge}",
        f"{part.judged.questions} questions x {part.judged.epochs} answers",
        f"95 % interval {interval(overall.low, overall.high)}" if overall.low is not None else "",
        f"{number(100 * overall.grades_missing / overall.grades)} % of grades missing"
        if overall.grades_missing
        else "",
        "CEILING TEST: the model was shown the criteria" if aspects["ceiling"] != "no" else "",
        f"system prompt {aspects['system']}" if aspects["system"] != "none" else "",
        f"sampling {aspects['sampling']}",
        f"benchmark version {aspects['version']}",
        f"data content {part.scores.identity.content[:12]}" if part.judged.data_source != "hub" else "",
        part.scores.identity.noted["harness"],
        f"value-retention {version('value-retention')}",
    ]
    return "; ".join(filter(None, noted))
