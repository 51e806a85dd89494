"""Differences of two runs on other tasks: helpful performance beside the value.

Exploratory: unadjusted intervals, no verdict, and in no family of the value's tests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from value_retention.adapters.readers.capability import SampleMetric, TaskGroup, TaskSamples
from value_retention.analysis.effects.rows import CONSTANT, FEW
from value_retention.analysis.runs.capability import Capability, check_alike
from value_retention.analysis.stats import cluster
from value_retention.analysis.stats.cluster import MIN_CLUSTERS
from value_retention.tasks.cluster import ClusterTable, Floats, cluster_table, combine, take


@dataclass(frozen=True)
class CapabilityEffect:
    """One metric of one task or group: ``run`` less ``baseline``, over the samples that both runs scored.

    Attributes:
        task: Name of the task or group.
        metric: The harness's name of the metric.
        tasks: Tasks of a group; 0 for a task.
        main: Whether it is the first metric of the task, and the task is in no group that is shown.
        higher_is_better: None where the harness does not say.
        baseline: Run that is subtracted.
        run: The other run.
        samples: Samples that both runs scored.
        clusters: Different documents among them.
        only_baseline: Samples that only the baseline scored; they do not count.
        only_run: Samples that only the other run scored.
        unit: ``points``, for metrics in [0, 1], or ``as reported``.
        score_baseline: Mean over the common samples; per cent where the unit is points.
        score_run: The same for ``run``.
        difference: ``score_run - score_baseline``.
        se: Standard error over clusters.
        df: Degrees of freedom.
        low: Lower end of the t interval at the level of the settings, not adjusted for other tests.
        high: Upper end.
        p: Two-sided t p.
        reasons: Field to the reason that it is None.
    """

    task: str
    metric: str
    tasks: int
    main: bool
    higher_is_better: bool | None
    baseline: str
    run: str
    samples: int
    clusters: int
    only_baseline: int
    only_run: int
    unit: str
    score_baseline: float
    score_run: float
    difference: float
    se: float | None = None
    df: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    reasons: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class CapabilityResult:
    """Rows, lines for the head of the report, and notes."""

    rows: tuple[CapabilityEffect, ...]
    headline: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Pair:
    """One metric of one task in two runs, over their k common samples. Arrays of shape (k,)."""

    before: Floats
    after: Floats
    sizes: Floats
    questions: tuple[str, ...]
    only_baseline: int
    only_run: int


def compare_capability(
    runs: Mapping[str, Capability], pairs: Sequence[tuple[str, str]], level: float, allow: Sequence[str] = ()
) -> CapabilityResult:
    """Compare the other tasks of runs.

    Args:
        runs: Run to its other tasks.
        pairs: Baseline and run of each comparison.
        level: Confidence level.
        allow: Values of ``--allow``.

    Raises:
        InputError: runs that were not asked alike.
    """
    known = [(runs[a], runs[b]) for a, b in pairs if a in runs and b in runs]
    headline = check_alike(known, allow)
    rows: list[CapabilityEffect] = []
    notes = _left_out(runs)
    for one, other in known:
        found = list(_effects(one, other, level))
        rows += found
        notes += _of_one_run(one, other, found)
    for a, b in pairs:
        for run, lacking in ((a, b), (b, a)):
            if only := sorted(_tasks(runs, run) - _tasks(runs, lacking)):
                headline.append(
                    f"LEFT OUT of {b} against {a}, because only {run} has samples: {_listed(only)}."
                )
    return CapabilityResult(tuple(rows), tuple(headline), tuple(dict.fromkeys(notes)))


def _left_out(runs: Mapping[str, Capability]) -> list[str]:
    """Metrics and groups that are not compared: one line per reason, with the runs."""
    found: dict[str, list[str]] = {}
    for run in runs.values():
        for reason in run.left_out:
            found.setdefault(reason, []).append(run.run)
    return [f"Not compared: {reason} ({', '.join(names)})." for reason, names in found.items()]


def _of_one_run(one: Capability, other: Capability, rows: Sequence[CapabilityEffect]) -> list[str]:
    """Metrics and samples that only one run of a comparison has."""
    notes = []
    for run, lacking in ((one, other), (other, one)):
        only = [
            f"{task}, {metric}"
            for task in run.tasks.keys() & lacking.tasks.keys()
            for metric in _metrics(run, task) - _metrics(lacking, task)
        ]
        if only:
            notes.append(f"Not compared, because only {run.run} has them: {_listed(sorted(only))}.")
    if counts := [
        f"{row.task}, {row.metric} ({row.only_baseline} in {row.baseline}, {row.only_run} in {row.run})"
        for row in rows
        if row.only_baseline or row.only_run
    ]:
        notes.append(f"Samples that only one run has do not count: {_listed(counts)}.")
    return notes


def _listed(names: Sequence[str], most: int = 12) -> str:
    """Names, and the number of those that are not listed."""
    return "; ".join(names[:most]) + (f"; and {len(names) - most} more" if len(names) > most else "")


def _tasks(runs: Mapping[str, Capability], run: str) -> set[str]:
    return set(runs[run].tasks) if run in runs else set()


def _metrics(run: Capability, task: str) -> set[str]:
    return {metric.name for metric in run.tasks[task].metrics}


def _effects(one: Capability, other: Capability, level: float) -> Iterator[CapabilityEffect]:
    """Groups first, then tasks, each in the order of the baseline's files."""
    groups = list(_shared_groups(one.groups, other.groups))
    inside = {task for group in groups for task in group.tasks}
    grouped = {group.name for group in groups}
    seen: set[str] = set()
    for group in groups:
        found = [_pair(one.tasks[task], other.tasks[task], group.metric) for task in group.tasks]
        pairs = [pair for pair in found if pair is not None and len(pair.before)]
        if len(pairs) == len(found):
            metric = _metric(one.tasks[group.tasks[0]], group.metric)
            row = _row(group.name, metric, pairs, _group_tables(pairs, group), level)
            outer = not any(set(group.tasks) < set(g.tasks) for g in groups)
            yield replace(
                row, baseline=one.run, run=other.run, tasks=len(pairs), main=outer and group.name not in seen
            )
            seen.add(group.name)
    for name, task in one.tasks.items():
        if name not in other.tasks or name in grouped:
            continue
        first = True
        for metric in task.metrics:
            pair = _pair(task, other.tasks[name], metric.name)
            if pair is not None and len(pair.before):
                row = _row(name, metric, [pair], _tables(pair), level)
                yield replace(row, baseline=one.run, run=other.run, main=first and name not in inside)
                first = False


def _shared_groups(one: Sequence[TaskGroup], other: Sequence[TaskGroup]) -> Iterator[TaskGroup]:
    """Groups of the same tasks, with a weighting that gives the figures of both runs."""
    theirs = {(group.name, group.metric, group.tasks): group for group in other}
    for group in one:
        found = theirs.get((group.name, group.metric, group.tasks))
        weightings = tuple(kind for kind in group.weightings if found and kind in found.weightings)
        if weightings:
            yield replace(group, weightings=weightings)


def _metric(task: TaskSamples, name: str) -> SampleMetric | None:
    return next((metric for metric in task.metrics if metric.name == name), None)


def _pair(one: TaskSamples, other: TaskSamples, name: str) -> _Pair | None:
    """A metric over the samples that both runs scored; None where a run lacks the metric."""
    a, b = _metric(one, name), _metric(other, name)
    if a is None or b is None:
        return None
    mine, theirs = (
        {k: i for i, k in enumerate(t.keys) if np.isfinite(m.sums[i])} for t, m in ((one, a), (other, b))
    )
    common = [key for key in mine if key in theirs and a.sizes[mine[key]] == b.sizes[theirs[key]]]
    at, there = [mine[key] for key in common], [theirs[key] for key in common]
    return _Pair(
        before=a.sums[at],
        after=b.sums[there],
        sizes=a.sizes[at],
        questions=tuple(one.questions[i] for i in at),
        only_baseline=len(mine) - len(common),
        only_run=len(theirs) - len(common),
    )


def _tables(pair: _Pair) -> tuple[ClusterTable, Floats]:
    """Cluster table of the difference, one cluster per document, and both means."""
    names, member = np.unique(pair.questions, return_inverse=True)
    values = np.stack([pair.after - pair.before, pair.before, pair.after, pair.sizes], axis=1)
    sums = np.zeros((len(names), 4))
    np.add.at(sums, member, values)
    sizes = np.repeat(sums[:, 3:], 3, axis=1)
    table = cluster_table(sums[:, :3], sizes)
    return take(table, np.array([0])), table.estimate[1:]


def _group_tables(pairs: Sequence[_Pair], group: TaskGroup) -> tuple[ClusterTable, Floats]:
    """The same for a group: the mean of its tasks, weighted as lm-eval does. The tasks are taken as given."""
    parts = [_tables(pair) for pair in pairs]
    sizes = np.array([pair.sizes.sum() for pair in pairs])
    weights = sizes if "size" in group.weightings else np.ones(len(pairs))
    total = sum(len(table.sums) for table, _ in parts)
    sums, counts, influence = (np.zeros((total, len(parts))) for _ in range(3))
    start = 0
    for column, (table, _) in enumerate(parts):
        rows, n = slice(start, start + len(table.sums)), len(table.sums)
        sums[rows, column], counts[rows, column] = table.sums[:, 0], table.sizes[:, 0]
        # Each task has its own mean: n - 1 of its n deviations are free.
        influence[rows, column] = table.influence[:, 0] * np.sqrt(n / max(n - 1, 1))
        start += n
    whole = cluster_table(sums, counts)
    means = np.array([mean for _, mean in parts])
    return combine(replace(whole, influence=influence), weights), weights @ means / weights.sum()


def _row(
    task: str,
    metric: SampleMetric | None,
    pairs: Sequence[_Pair],
    tables: tuple[ClusterTable, Floats],
    level: float,
) -> CapabilityEffect:
    table, means = tables
    values = np.concatenate([side / pair.sizes for pair in pairs for side in (pair.before, pair.after)])
    share = bool((values >= 0).all() and (values <= 1).all())
    scale = 100.0 if share else 1.0
    row = CapabilityEffect(
        task=task,
        metric=metric.name if metric else "",
        tasks=0,
        main=False,
        higher_is_better=metric.higher_is_better if metric else None,
        baseline="",
        run="",
        samples=sum(len(pair.before) for pair in pairs),
        clusters=int(table.clusters[0]),
        only_baseline=sum(pair.only_baseline for pair in pairs),
        only_run=sum(pair.only_run for pair in pairs),
        unit="points" if share else "as reported",
        score_baseline=float(means[0]) * scale,
        score_run=float(means[1]) * scale,
        difference=float(table.estimate[0]) * scale,
    )
    found = cluster.t_interval(table, level)
    if row.clusters < MIN_CLUSTERS or not found.se[0] > 0:
        return replace(row, reasons={"interval": FEW if row.clusters < MIN_CLUSTERS else CONSTANT})
    return replace(
        row,
        se=float(found.se[0]) * scale,
        df=float(found.df[0]),
        low=float(found.low[0]) * scale,
        high=float(found.high[0]) * scale,
        p=float(cluster.t_p_value(found.estimate, found.se, found.df)[0]),
    )
