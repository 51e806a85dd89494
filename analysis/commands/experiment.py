"""From an arms file to a result. Runs are read and reduced one at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from value_retention.analysis.commands.inputs import check_written, load_all, read_all, with_capability
from value_retention.tasks.errors import InputError

if TYPE_CHECKING:
    from value_retention.analysis.effects.design import Arm
    from value_retention.analysis.effects.result import Result
    from value_retention.analysis.judges.agreement import Agreement
    from value_retention.analysis.judges.leave_one_out import JudgeScore
    from value_retention.analysis.runs.load import Run
    from value_retention.analysis.runs.scores import RunScores
    from value_retention.analysis.stats.settings import Settings


def compare_file(
    path: Path,
    settings: Settings,
    outputs: Mapping[str, Path | None],
    *,
    allow: Sequence[str] = (),
    capability: Sequence[str] = (),
    kept: list[Run] | None = None,
    load: Callable[[Sequence[str]], list[Run]] | None = None,
) -> Result:
    """Read an arms file and its runs, and compare the arms.

    Args:
        path: The YAML.
        settings: Level, resamples, seed, margin and estimand; without a margin, that of the file.
        outputs: Option to file. A file that was read is refused.
        allow: Aspects in which the runs may differ, besides those that the file allows.
        capability: Other tasks of the arms, ``ARM=PATH``; besides those in the runs' own folders.
        kept: Receives the runs with their records, which are not kept otherwise. With them, the agreement of the
            judges is computed where a panel judged.
        load: Reads the runs at a path; None for `load_all` with the judge of the file.
    """
    from value_retention.analysis.commands.until import with_looks
    from value_retention.analysis.effects.compare import compare_arms
    from value_retention.analysis.effects.design import read_arms
    from value_retention.analysis.effects.plane import planes_of
    from value_retention.analysis.effects.probes import probe_correlations
    from value_retention.analysis.stats.settings import checked_settings

    content = read_arms(path)
    if settings.margin is None:
        settings = checked_settings(**(asdict(settings) | {"margin": content.margin}))
    allow = [*content.allow, *allow]
    load = load or (lambda places: load_all(places, content.judge))
    scores: list[RunScores] = []
    agreements: list[tuple[str, Agreement]] = []
    by_judge: list[tuple[str, JudgeScore]] = []
    others: dict[str, tuple[str, ...]] = {}
    for arm in content.arms:
        named = partial(_load_as, arm.name, load)
        own, more = read_all(arm.runs, settings if kept is not None else None, kept, named, by_judge, others)
        _check_one_each(arm, own)
        check_written(outputs, arm.runs, own)
        scores += own
        agreements += more
    result = compare_arms(content.arms, scores, settings, allow)
    files = (str(path), *(file for run in scores for file in run.files))
    result = replace(result, files=files, agreements=tuple(agreements), judge_scores=tuple(by_judge))
    result = with_capability(result, capability, others, allow)
    check_written(outputs, result.files, ())
    planes = planes_of(result.panels, result.arms, result.capability, settings, content.tasks)
    probes = probe_correlations(result.arms, result.scores, settings.seed)
    return with_looks(replace(result, planes=planes, probes=probes))


def _load_as(name: str, load: Callable[[Sequence[str]], list[Run]], paths: Sequence[str]) -> list[Run]:
    """The runs at some paths under one name."""
    return [replace(run, name=name) for run in load(paths)]


def _check_one_each(arm: Arm, scores: Sequence[RunScores]) -> None:
    """Refuse an arm with several runs of one benchmark."""
    benchmarks = [run.benchmark for run in scores]
    if len(set(benchmarks)) < len(benchmarks):
        raise InputError(
            "an arm has several runs of one benchmark",
            where=f"{arm.name}: {', '.join(arm.runs)}",
            found=", ".join(f"{run.benchmark} ({', '.join(run.files)})" for run in scores),
            expected="one run per arm and benchmark",
            hint="choose a judge (--judge NAME, or `judge: NAME` in the arms file), or name the files one by one",
        )
