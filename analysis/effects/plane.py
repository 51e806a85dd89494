"""Value kept against task learned: every arm of an experiment as a point, with its seeds and the Pareto front.

The task is that of another benchmark (IFEval, say) that the runs answered too, or the loss on held-out rows of the
training data. Such losses can be compared among arms of one data set only, so each data set has a plane of its own.

A plane describes the checkpoints at hand, without a test or verdict. Its front is one of means: with other seeds or
questions another arm may be on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from value_retention.analysis.effects.capability import CapabilityEffect
from value_retention.analysis.effects.comparisons import Comparison, recipe_weights
from value_retention.analysis.effects.design import Arm
from value_retention.analysis.effects.estimate import NEW, NEW_SEEDS
from value_retention.analysis.effects.rows import Share
from value_retention.analysis.effects.shares import retained_shares
from value_retention.analysis.runs.align import Panel, cluster_tables, metrics_of
from value_retention.analysis.stats.cluster import MIN_CLUSTERS
from value_retention.analysis.stats.proportion import score_interval
from value_retention.analysis.stats.seeds import seed_interval
from value_retention.analysis.stats.settings import Settings
from value_retention.tasks.cluster import Floats, standard_error
from value_retention.tasks.errors import InputError

TASK_LOSS = "task_loss"
"""Name of the held-out task loss among the tasks of an arms file."""

PROBE = "value_pairs"
"""Task of the probe, which measures the value: never taken for the task unless it is named."""

Role = Literal["arm", "baseline", "before", "control"]


@dataclass(frozen=True)
class Seed:
    """One checkpoint: its run, its figure on the task, its overall mean in per cent."""

    run: str
    task: float | None
    value: float


@dataclass(frozen=True)
class Point:
    """An arm, or a checkpoint to refer to.

    Attributes:
        name: Method, domain and data, or the name of the checkpoint.
        role: ``baseline`` is the checkpoint that the arms were trained from, ``before`` the one before that.
        mitigation: What was done to keep the value; empty for a plain arm.
        seeds: Its checkpoints.
        task: Mean figure on the task; None for a checkpoint to refer to whose figure is not known.
        value: Mean of the seeds' overall means, per cent.
        low: Lower end of its interval at the level of the settings; None with fewer than `MIN_CLUSTERS`.
        high: Upper end.
        unit: What the interval generalises to.
        share: Retained share of the gain from ``before`` to ``baseline``, where both are known.
        value_loss: Mean loss on held-out texts of the value, nats per token, where known.
        probe: Mean share of the probe's pairs, where known.
        front: Whether no other arm is at least as good on both axes and better on one; None for other roles.
    """

    name: str
    role: Role
    mitigation: str
    seeds: tuple[Seed, ...]
    task: float | None
    value: float
    low: float | None
    high: float | None
    unit: str
    value_loss: float | None
    probe: float | None
    share: Share | None = None
    front: bool | None = None

    @property
    def label(self) -> str:
        """Name and mitigation."""
        return f"{self.name}, {self.mitigation}" if self.mitigation else self.name


@dataclass(frozen=True)
class Plane:
    """The arms of an experiment on one benchmark and one task.

    Attributes:
        benchmark: Its name.
        task: Name of the task or group, or `TASK_LOSS`.
        metric: The harness's name of the metric; empty for a loss.
        unit: Of the task's figure: ``%``, ``as reported`` or ``nats per token``.
        higher_is_better: Of the task's figure.
        data: Data set of the arms of a plane with losses.
        points: The arms, then the checkpoints to refer to.
        left_out: Arms without a figure on the task or without a score.
    """

    benchmark: str
    task: str
    metric: str
    unit: str
    higher_is_better: bool
    data: str
    points: tuple[Point, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class _Task:
    """A task with the figure of each run; ``names`` are the arms that it may compare."""

    name: str
    metric: str
    unit: str
    higher_is_better: bool
    data: str
    figures: Mapping[str, float]
    names: frozenset[str]


def planes_of(
    panels: Sequence[Panel],
    arms: Sequence[Arm],
    capability: Sequence[CapabilityEffect],
    settings: Settings,
    wanted: Sequence[str] = (),
) -> tuple[Plane, ...]:
    """A plane per benchmark and task with two arms or more.

    Args:
        panels: Runs of each benchmark.
        arms: The arms.
        capability: Other tasks of the runs, each run against one baseline.
        settings: For the level.
        wanted: Tasks: `TASK_LOSS`, or names as in ``capability``, with ``:METRIC`` for another metric than the first.
            Empty: the first main task, and `TASK_LOSS` without other tasks.

    Raises:
        InputError: an unknown task.
    """
    tasks = _tasks(arms, capability, wanted)
    found = [_plane(panel, task, arms, settings) for panel in panels for task in tasks]
    return tuple(plane for plane in found if sum(point.role == "arm" for point in plane.points) > 1)


def on_front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Whether no other point is at least as high in both coordinates and higher in one."""
    return [
        not any(x <= u and y <= v and (x < u or y < v) for u, v in points)
        for x, y in points
    ]  # fmt: skip


def _tasks(arms: Sequence[Arm], capability: Sequence[CapabilityEffect], wanted: Sequence[str]) -> list[_Task]:
    losses = _losses(arms)
    if not wanted:
        main = next((row for row in capability if row.main and row.task != PROBE), None)
        wanted = (f"{main.task}:{main.metric}",) if main else (TASK_LOSS,) if losses else ()
    found = []
    for name in wanted:
        if name == TASK_LOSS and losses:
            found += losses
            continue
        first = next((r for r in capability if name in (r.task, f"{r.task}:{r.metric}")), None)
        if first is None:
            known = [*dict.fromkeys(row.task for row in capability), *([TASK_LOSS] if losses else [])]
            raise InputError(
                "unknown task", where="tasks of the arms file", found=name,
                expected=", ".join(known) or "none: no run has other tasks, and no arm a task_loss",
            )  # fmt: skip
        rows = [row for row in capability if (row.task, row.metric) == (first.task, first.metric)]
        figures = {row.baseline: row.score_baseline for row in rows} | {
            row.run: row.score_run for row in rows
        }
        unit = "%" if first.unit == "points" else first.unit
        better, names = first.higher_is_better is not False, frozenset(arm.name for arm in arms)
        found.append(_Task(first.task, first.metric, unit, better, "", figures, names))
    return found


def _losses(arms: Sequence[Arm]) -> list[_Task]:
    """Held-out losses, a task per data set of the arms."""
    sets = dict.fromkeys((arm.domain, arm.data) for arm in arms if arm.trained and arm.task_loss is not None)
    found = []
    for domain, data in sets:
        # A loss of the checkpoint before says nothing where it is not known on which data set.
        members = [
            arm for arm in arms if ((arm.domain, arm.data) == (domain, data) if arm.trained else len(sets) == 1)
        ]  # fmt: skip
        figures = {arm.name: arm.task_loss for arm in members if arm.task_loss is not None}
        names = frozenset(arm.name for arm in members)
        found.append(_Task(TASK_LOSS, "", "nats per token", False, data or domain, figures, names))
    return found


def _plane(panel: Panel, task: _Task, arms: Sequence[Arm], settings: Settings) -> Plane:
    recipes: dict[tuple[str, ...], list[Arm]] = {}
    left_out = []
    for arm in (arm for arm in arms if arm.trained and arm.name in task.names):
        if arm.name in task.figures and arm.name in panel.runs:
            recipes.setdefault(arm.recipe, []).append(arm)
        else:
            left_out.append(arm.name)
    points = [
        _point(" ".join(filter(None, recipe[:3])), "arm", members, panel, task, settings)
        for recipe, members in recipes.items()
    ]
    sign = 1 if task.higher_is_better else -1
    front = on_front([(sign * (point.task or 0.0), point.value) for point in points])
    shares = _shares(panel, arms, settings)
    points = [
        replace(point, front=best, share=shares.get(recipe))
        for point, recipe, best in zip(points, recipes, front, strict=True)
    ]
    for arm in (arm for arm in arms if not arm.trained and arm.name in panel.runs):
        role: Role = "before" if arm.before else "baseline" if arm.base else "control"
        points.append(_point(arm.name, role, [arm], panel, task, settings))
    return Plane(
        panel.benchmark, task.name, task.metric, task.unit, task.higher_is_better, task.data, tuple(points),
        tuple(left_out),
    )  # fmt: skip


def _point(
    name: str, role: Role, members: Sequence[Arm], panel: Panel, task: _Task, settings: Settings
) -> Point:
    rows = [panel.runs.index(arm.name) for arm in members]
    overall = metrics_of(panel)[:1]
    values = cluster_tables(panel, overall, panel.score[rows]).estimate * 100
    seeds = tuple(
        Seed(arm.name, task.figures.get(arm.name), float(value))
        for arm, value in zip(members, values, strict=True)
    )
    low, high, unit = _interval(panel, rows, values, settings)
    return Point(
        name, role, members[0].mitigation, seeds, _mean([seed.task for seed in seeds]), float(values.mean()), low, high,
        unit, _mean([arm.value_loss for arm in members]), _mean([arm.probe for arm in members]),
    )  # fmt: skip


def _mean(values: Sequence[float | None]) -> float | None:
    """The mean of the values that are known."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _interval(
    panel: Panel, rows: Sequence[int], values: Floats, settings: Settings
) -> tuple[float | None, float | None, str]:
    """Interval of the mean over runs, per cent, and what it generalises to.

    New seeds and new questions with several runs; as in the table of scores with one.
    """
    table = cluster_tables(panel, metrics_of(panel)[:1], panel.score[rows].mean(axis=0, keepdims=True))
    clusters = int(table.clusters[0])
    if clusters < MIN_CLUSTERS:
        return None, None, NEW
    se = float(standard_error(table)[0]) * 100
    found = seed_interval(float(values.mean()), se, clusters, [(1.0, values)], settings.level)
    if found is not None:
        return max(found.low, 0.0), min(found.high, 100.0), f"{NEW}, {NEW_SEEDS}"
    grades = (panel.expected - panel.missing)[rows[0], :, 0].sum()
    low, high = score_interval(table, np.array([grades]), settings.level)
    return float(low[0]) * 100, float(high[0]) * 100, NEW


def _shares(panel: Panel, arms: Sequence[Arm], settings: Settings) -> dict[tuple[str, ...], Share]:
    """Retained share of the overall mean of each recipe, where the checkpoints before are known."""
    own = [next(arm for arm in arms if arm.name == name) for name in panel.runs]
    before, base = (next((a for a in own if getattr(a, role)), None) for role in ("before", "base"))
    if before is None or base is None:
        return {}
    start = np.array([float(arm is base) for arm in own])
    recipes = list(dict.fromkeys(arm.recipe for arm in own if arm.trained))
    gains = []
    for recipe in recipes:
        name, weights = " ".join(filter(None, recipe)), recipe_weights(own, recipe) - start
        gains.append(
            Comparison("gain over base", f"{name} − {base.name}", weights, name, base.name, primary=True)
        )
    found = retained_shares(panel, metrics_of(panel)[:1], gains, before.name, settings)
    return dict(zip(recipes, found, strict=True))
