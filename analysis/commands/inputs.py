"""Runs named on the command line, read one at a time and reduced at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from value_retention.analysis.commands.outputs import check_outputs, run_inputs
from value_retention.analysis.runs.names import check_names
from value_retention.analysis.runs.scores import RunScores, reduce_run
from value_retention.tasks.errors import InputError

if TYPE_CHECKING:
    from value_retention.analysis.effects.arms import ArmsResult
    from value_retention.analysis.effects.result import Settings
    from value_retention.analysis.examples.claims import Claim
    from value_retention.analysis.judges.agreement import Agreement
    from value_retention.analysis.runs.load import Run


def load_all(paths: Sequence[str]) -> list[Run]:
    """`load_runs` of a command line, with names that every output can hold and that differ.

    Raises:
        InputError: what the reader raises, or a name that cannot be written down.
    """
    from value_retention.analysis.runs.load import load_runs

    check_names(paths, "RUN")
    runs = load_runs(paths)
    check_names([text for run in runs for text in (run.name, *run.files)], "RUN")
    return runs


def read_scores(path: str, name: str | None = None) -> list[RunScores]:
    """Read a path and reduce it, so that its records can be forgotten before the next one is read.

    Args:
        path: What `load_runs` reads; ``NAME=PATH`` gives it a name.
        name: Name for what is found there; by default the reader's.

    Raises:
        InputError: what the reader raises; or one name for several runs of one benchmark.
    """
    found = [scores for run in load_all([path]) for scores in reduce_run(run.name, run.files, run.records)]
    if name is None:
        return found
    benchmarks = [scores.benchmark for scores in found]
    if len(set(benchmarks)) < len(benchmarks):
        raise InputError(
            "several runs of one benchmark for one arm",
            where=f"{name}: {path}",
            found=", ".join(f"{scores.run} ({', '.join(scores.files)})" for scores in found),
            expected="one run per arm and benchmark",
            hint="point at the files or folders one by one",
        )
    return [replace(scores, run=name) for scores in found]


def read_all(
    paths: Sequence[str], settings: Settings | None = None
) -> tuple[list[RunScores], list[tuple[str, Agreement]]]:
    """Read the paths of a command line one by one.

    Args:
        paths: What `load_runs` reads.
        settings: For the agreement of the judges in runs that were judged by a panel; None leaves it out.

    Returns:
        Reduced runs, and (run, agreement) for every figure of every panel.
    """
    scores: list[RunScores] = []
    agreements: list[tuple[str, Agreement]] = []
    for path in paths:
        for run in load_all([path]):
            scores += reduce_run(run.name, run.files, run.records)
            if settings is not None and max(len(record.judges) for record in run.records) > 1:
                from value_retention.analysis.judges.agreement import judge_agreement

                report = judge_agreement(
                    [run], by="dimension", resamples=settings.resamples, seed=settings.seed,
                    level=settings.level,
                )  # fmt: skip
                agreements += [(run.name, row) for row in report.agreements]
    return scores, agreements


def check_written(
    outputs: Mapping[str, Path | None], paths: Sequence[str], read: Sequence[Run | RunScores]
) -> None:
    """`check_outputs` for runs that were read already.

    Args:
        outputs: Option to file.
        paths: What the runs were read from, as on the command line.
        read: What was read.
    """
    check_names([str(path) for path in outputs.values() if path is not None], "output")
    check_outputs(outputs, [*run_inputs(paths, ()), *(file for run in read for file in run.files)])


def analyse_file(
    path: Path, settings: Settings, margins: Sequence[float] = (), allow: Sequence[str] = ()
) -> ArmsResult:
    """Read an arms file and its runs, and analyse them.

    Args:
        path: The YAML.
        settings: Level, resamples, seed.
        margins: Points; empty for the file's own.
        allow: Differences to let through, besides those that the file lets through.
    """
    from value_retention.analysis.effects.arms import analyse_arms
    from value_retention.analysis.effects.design import read_arms

    content = read_arms(path)
    runs = [scores for arm in content.arms for run in arm.runs for scores in read_scores(run, arm.name)]
    result = analyse_arms(content.arms, runs, settings, margins or content.margins, [*content.allow, *allow])
    return replace(result, files=(str(path), *(file for run in runs for file in run.files)))


def write_arms(
    result: ArmsResult, claims: Sequence[Claim], json_file: Path | None, latex_file: Path | None
) -> list[str]:
    """Write what was asked for; one line per file written.

    Raises:
        InputError: a file that cannot be written, or must not be: one that was read, or two outputs in one.
    """
    paths = [run for arm in result.arms for run in arm.runs]
    outputs = {"--json": json_file, "--latex": latex_file}
    check_names([str(path) for path in outputs.values() if path is not None], "output")
    check_outputs(outputs, [*run_inputs(paths, ()), *result.files])
    from value_retention.analysis.report.design import arms_latex
    from value_retention.analysis.report.export import json_text, writing

    written = []
    if json_file is not None:
        content = result.to_dict() | {"claims": [asdict(claim) for claim in claims]}
        written.append((json_file, json_text(content)))
    if latex_file is not None:
        written.append((latex_file, arms_latex(result)))
    for path, text in written:
        with writing(path):
            path.write_text(text, encoding="utf-8")
    return [f"wrote {path}" for path, _ in written]
