"""From the runs of a command line to a result and its files. Runs are read and reduced one at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from value_retention.analysis.commands.options import JUDGE, SCORE, as_options, chosen
from value_retention.analysis.commands.outputs import check_outputs, run_inputs
from value_retention.analysis.runs.names import check_names, title_of
from value_retention.analysis.runs.scores import RunScores, reduce_run
from value_retention.tasks.errors import InputError
from value_retention.tasks.text import by_name

if TYPE_CHECKING:
    from value_retention.analysis.effects.result import Result
    from value_retention.analysis.judges.agreement import Agreement
    from value_retention.analysis.judges.leave_one_out import JudgeScore
    from value_retention.analysis.runs.load import Run
    from value_retention.analysis.stats.settings import Settings


def load_all(paths: Sequence[str], judge: str | None = None) -> list[Run]:
    """`load_runs` for paths of a command line, with names that every output can hold.

    Args:
        paths: What `load_runs` reads.
        judge: Judge whose grades are read; None for that of --judge, or all.

    Raises:
        InputError: what the reader raises, or an invalid name.
    """
    from value_retention.analysis.runs.load import load_runs

    check_names(paths, "RUN")
    runs = load_runs(paths, chosen(JUDGE) or judge, chosen(SCORE))
    check_names([text for run in runs for text in (run.name, *run.files)], "RUN")
    return runs


def read_all(
    paths: Sequence[str],
    settings: Settings | None = None,
    kept: list[Run] | None = None,
    load: Callable[[Sequence[str]], list[Run]] = load_all,
    judge_scores: list[tuple[str, JudgeScore]] | None = None,
    others: dict[str, tuple[str, ...]] | None = None,
) -> tuple[list[RunScores], list[tuple[str, Agreement]]]:
    """Read the paths of a command line one by one.

    Args:
        paths: What `load_runs` reads.
        settings: For the agreement of the judges where a panel judged; None leaves it out.
        kept: Receives the runs with their records, which are not kept otherwise.
        load: Reads the runs at a path.
        judge_scores: Receives run and score by part of each panel.
        others: Receives the files of other tasks, by run.

    Returns:
        Reduced runs, and (run, agreement) for every figure of every panel.
    """
    scores: list[RunScores] = []
    agreements: list[tuple[str, Agreement]] = []
    for path in paths:
        for run in load([path]):
            if kept is not None:
                kept.append(run)
            if others is not None:
                others[run.name] = (*others.get(run.name, ()), *run.others)
            scores += reduce_run(run.name, run.files, run.records, run.ceiling)
            if settings is not None and max(len(record.judges) for record in run.records) > 1:
                from value_retention.analysis.judges.agreement import judge_agreement

                report = judge_agreement(
                    [run], by="dimension", resamples=settings.resamples, seed=settings.seed,
                    level=settings.level,
                )  # fmt: skip
                agreements += [(run.name, row) for row in report.agreements]
                if judge_scores is not None:
                    judge_scores += [(run.name, row) for row in report.scores]
    return scores, agreements


def compare_runs(
    paths: Sequence[str],
    settings: Settings,
    outputs: Mapping[str, Path | None],
    *,
    baseline: str | None = None,
    first: bool = False,
    before: str | None = None,
    allow: Sequence[str] = (),
    agreement: bool = True,
    kept: list[Run] | None = None,
    load: Callable[[Sequence[str]], list[Run]] = load_all,
    trajectory: bool = False,
    capability: Sequence[str] = (),
    ceilings: Sequence[str] = (),
) -> Result:
    """Read the runs of a command line and compare them in pairs.

    Args:
        paths: What `load_runs` reads.
        settings: Level, resamples, seed, margin and estimand.
        outputs: Option to file. A file that was read is refused.
        baseline: Name or path of the run to compare the others with; None for every pair.
        first: Whether the first run is the baseline if none is named.
        before: The run before the value was trained in.
        allow: Aspects in which the runs may differ.
        agreement: Whether to compute the agreement of the judges where a panel judged.
        kept: Receives the runs with their records, which are not kept otherwise.
        load: Reads the runs at a path.
        trajectory: Whether the runs are checkpoints in the order of training, the first of them the baseline.
        capability: Other tasks of the runs, ``RUN=PATH``; besides those in the runs' own folders.
        ceilings: ``NAME=PATH`` of ceiling tests.
    """
    from value_retention.analysis.commands.ceilings import check_ceilings, with_ceilings
    from value_retention.analysis.commands.until import with_looks
    from value_retention.analysis.effects.compare import compare_pairs
    from value_retention.analysis.effects.trajectory import trajectories
    from value_retention.analysis.runs.load import runs_in_order

    load = with_ceilings(load, ceilings) if ceilings else load
    by_judge: list[tuple[str, JudgeScore]] = []
    others: dict[str, tuple[str, ...]] = {}
    scores, agreements = read_all(paths, settings if agreement else None, kept, load, by_judge, others)
    check_ceilings(ceilings, scores)
    check_written(outputs, [*paths, *ceilings], scores)
    if baseline is None and (first or trajectory) and scores:
        baseline = scores[0].run
    result = compare_pairs(scores, settings, baseline=baseline, before=before, allow=allow)
    order = list(dict.fromkeys(run.run for run in scores))
    steps = trajectories(result.panels, result.effects, settings, order) if trajectory else ()
    for rows in (agreements, by_judge):
        rows.sort(key=lambda row: by_name(row[0]))
    if kept is not None and not trajectory:
        kept[:] = runs_in_order(kept)
    result = replace(result, agreements=tuple(agreements), judge_scores=tuple(by_judge), trajectories=steps)
    result = with_capability(result, capability, others, allow)
    check_written(outputs, result.files, ())
    return with_looks(result)


def with_capability(
    result: Result, given: Sequence[str], others: Mapping[str, Sequence[str]], allow: Sequence[str]
) -> Result:
    """Add other tasks of the runs to a comparison of runs.

    Args:
        result: The comparison.
        given: ``RUN=PATH`` of the command line. A run that is named here is read from there only.
        others: Files of other tasks in the runs' own folders, by run.
        allow: Values of ``--allow``.

    Raises:
        InputError: an unknown run, nothing to read, or runs that were not asked alike.
    """
    from value_retention.analysis.effects.capability import compare_capability
    from value_retention.analysis.runs.capability import read_capability

    places: dict[str, list[str]] = {}
    names = list(dict.fromkeys(run.run for run in result.runs))
    for text in given:
        name = next((name for name in names if text.startswith(f"{name}=")), "")
        path = text.removeprefix(f"{name}=")
        if not name or not path:
            raise InputError(
                "--capability needs a compared run and a path",
                where="--capability",
                found=text,
                expected=f"RUN=PATH with RUN one of {', '.join(names)}",
            )
        places.setdefault(name, []).append(path)
    places = {name: list(files) for name, files in others.items() if files} | places
    if not places:
        return result
    if result.arms:
        start = next((arm.name for arm in result.arms if arm.base), names[0])
        pairs = [(start, name) for name in names if name != start]
    else:
        pairs = list(dict.fromkeys((e.baseline, e.run) for e in result.effects if e.comparison == "pair"))
    try:
        runs = {name: read_capability(name, places[name]) for name in names if name in places}
        found = compare_capability(runs, pairs, result.settings.level, allow)
    except InputError as error:
        if given:
            raise
        # Nobody asked for these tasks: they do not stop the comparison of the value.
        click.echo(f"WARNING: other tasks in the runs' folders are left out: {error}", err=True)
        return result
    return replace(
        result,
        headline=(*result.headline, *found.headline),
        notes=(*result.notes, *found.notes),
        files=(*result.files, *(file for run in runs.values() for file in run.files)),
        capability=found.rows,
        capability_files={name: tuple(run.files) for name, run in runs.items()},
    )


def with_labels(result: Result, labels: Path, runs: Sequence[Run]) -> Result:
    """Add the errors of each judge by labels, and the differences corrected for them, to a comparison of runs.

    Raises:
        InputError: labels that cannot be read, or that match no answer.
    """
    from value_retention.analysis.effects.caveats import judges_differ
    from value_retention.analysis.judges.calibrate import calibrate
    from value_retention.analysis.judges.labels import read_labels
    from value_retention.analysis.judges.matching import match_labels

    rows, blank = read_labels(labels)
    pairs = {(e.benchmark, e.baseline, e.run) for e in result.effects if e.tier == "primary"}
    found = calibrate(match_labels(rows, blank, runs, labels), runs, result.settings.level, pairs)
    seen = {(row.benchmark, row.baseline, row.run) for row in found.differences if row.name == "overall"}
    lacking = [
        f"{title_of(benchmark)}, {run} against {baseline}: the judge's errors are unknown, because not both runs have "
        "labels."
        for benchmark, baseline, run in sorted(pairs - seen)
    ]
    return replace(
        result,
        headline=(*result.headline, *judges_differ(found.differences)),
        notes=(*result.notes, *lacking, *found.notes),
        calibrated=found.differences,
    )


def check_written(
    outputs: Mapping[str, Path | None], paths: Sequence[str], read: Sequence[Run | RunScores]
) -> None:
    """`check_outputs` with the files behind runs.

    Args:
        outputs: Option to file.
        paths: The runs, as on the command line.
        read: The runs that were read.
    """
    check_outputs(outputs, [*run_inputs(paths, ()), *(file for run in read for file in run.files)])


def write_result(result: Result, files: Mapping[str, Path | None], plots: Path | None) -> list[str]:
    """Write the outputs that were asked for.

    Args:
        result: A comparison of runs or arms.
        files: Path by kind; see `export.write_files`.
        plots: Folder for the figures.

    Returns:
        One line per file or folder written.

    Raises:
        InputError: a file that cannot be written, that was read, or that is named twice.
    """
    from value_retention.analysis.report.export import write_files

    outputs = as_options(files)
    check_outputs(outputs, [*run_inputs([run for arm in result.arms for run in arm.runs], ()), *result.files])
    written = write_files(result, files)
    if plots is not None:
        from value_retention.analysis.report.plots.comparison import save_plots

        written.append(f"wrote {len(save_plots(result, plots))} figures to {plots}")
    return written
