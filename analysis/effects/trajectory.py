"""Checkpoints in order: the scores with simultaneous intervals, and the first checkpoint with a shown loss.

The intervals of the scores hold together: their level is raised until all of them cover at the level of the
settings, by the distribution of the largest of the correlated t statistics (max-t).

The first loss is the first checkpoint whose interval of the difference from the baseline lies below 0. These intervals
are those of the primary verdicts, which Holm's rule adjusts over all benchmarks and checkpoints. The chance that a
report names any checkpoint without a loss is at most 1 - level, whatever happened at the others. No order of the tests
is assumed, because a value may be lost at one checkpoint and come back at the next.

References:
    T. Hothorn, F. Bretz and P. Westfall, Simultaneous inference in general parametric models, Biom. J. 50 (2008),
    346-363.
    S. Holm, A simple sequentially rejective multiple test procedure, Scand. J. Stat. 6 (1979), 65-70.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from value_retention.analysis.effects.rows import Effect
from value_retention.analysis.effects.verdicts import FLOOR
from value_retention.analysis.runs.align import Panel, cluster_tables, metrics_of
from value_retention.analysis.stats.cluster import MIN_CLUSTERS, t_quantile
from value_retention.analysis.stats.proportion import score_interval
from value_retention.analysis.stats.settings import Settings
from value_retention.tasks.cluster import ClusterTable, covariance, degrees_of_freedom
from value_retention.tasks.errors import InputError

DRAWS = 50_000
"""Draws of the largest t statistic: the level is known to 0.1 points."""


@dataclass(frozen=True)
class Step:
    """One checkpoint of a trajectory.

    Attributes:
        run: Its name.
        score: Overall mean over the questions that every checkpoint has a score for, per cent.
        low: Lower end of its simultaneous interval; None with fewer than `MIN_CLUSTERS`.
        high: Upper end.
        difference: From the baseline, points; None for the baseline.
        difference_low: Lower end of the interval that Holm's rule adjusts.
        difference_high: Upper end.
        p_adjusted: Adjusted p of the difference.
        loss: Whether a loss is shown.
    """

    run: str
    score: float | None
    low: float | None
    high: float | None
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    p_adjusted: float | None = None
    loss: bool = False


@dataclass(frozen=True)
class Trajectory:
    """The checkpoints of a benchmark in the order of their training.

    Attributes:
        benchmark: Its name.
        questions: Questions that every checkpoint has a score for.
        clusters: Their clusters.
        level: Level at which all intervals of the scores hold together.
        level_of_each: Level of each of them alone.
        seed: Seed of the draws behind ``level_of_each``.
        steps: The baseline, then the other checkpoints.
        first_loss: Name of the first checkpoint with a shown loss; None if there is none.
    """

    benchmark: str
    questions: int
    clusters: int
    level: float
    level_of_each: float
    seed: int
    steps: tuple[Step, ...]
    first_loss: str | None


def first_loss(effects: Sequence[Effect]) -> Effect | None:
    """The first of the judged differences, in the order of training, that shows a loss."""
    return next((effect for effect in effects if _shows_loss(effect)), None)


def trajectories(
    panels: Sequence[Panel], effects: Sequence[Effect], settings: Settings, order: Sequence[str]
) -> tuple[Trajectory, ...]:
    """The trajectory of each benchmark with a baseline and two checkpoints or more.

    Args:
        panels: The runs, one panel per benchmark.
        effects: Judged effects, every run against one baseline.
        settings: For level and seed.
        order: Names of the runs in the order of training.

    Raises:
        InputError: no benchmark has two checkpoints beside the baseline.
    """
    found = []
    for panel in panels:
        own = [e for e in effects if e.benchmark == panel.benchmark and e.tier == "primary"]
        own.sort(key=lambda effect: order.index(effect.run))
        if len(own) > 1 and len({effect.baseline for effect in own}) == 1:
            found.append(_trajectory(panel, own, settings))
    if not found:
        raise InputError(
            "a trajectory needs three runs or more of one benchmark",
            where="--trajectory",
            found=", ".join(dict.fromkeys(run for panel in panels for run in panel.runs)),
            expected="the checkpoints in the order of training, the baseline first",
        )
    return tuple(found)


def joint_level(table: ClusterTable, level: float, seed: int) -> float:
    """Level of each interval at which the intervals of all columns hold together at ``level``.

    Args:
        table: Columns that the same clusters carry.
        level: Level of all together.
        seed: Seed of `DRAWS` draws from the multivariate t distribution with the columns' correlations.
    """
    from scipy.special import stdtr

    spread = covariance(table)
    varies = np.flatnonzero(np.diag(spread))
    if not len(varies):
        return level
    sd = np.sqrt(np.diag(spread))[varies]
    correlation = spread[np.ix_(varies, varies)] / np.outer(sd, sd)
    df = float(degrees_of_freedom(table)[varies].min())
    rng = np.random.default_rng(seed)
    # Runs of one checkpoint correlate fully: the decomposition must not need full rank.
    normal = rng.multivariate_normal(np.zeros(len(sd)), correlation, DRAWS, method="eigh")
    largest = np.abs(normal).max(axis=1) / np.sqrt(rng.chisquare(df, DRAWS) / df)
    critical = max(float(np.quantile(largest, level)), float(t_quantile(np.array([df]), (1 + level) / 2)[0]))
    return float(1 - 2 * stdtr(df, -critical))


def _trajectory(panel: Panel, effects: Sequence[Effect], settings: Settings) -> Trajectory:
    names = [effects[0].baseline, *(effect.run for effect in effects)]
    rows = [panel.runs.index(name) for name in names]
    common = np.asarray(np.isfinite(panel.score[rows, :, 0]).all(axis=0))
    score = np.where(common[None, :, None], panel.score[rows], np.nan)
    table = cluster_tables(panel, metrics_of(panel)[:1], score)
    clusters = int(table.clusters[0])
    each, low, high = settings.level, np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    if clusters >= MIN_CLUSTERS:
        each = joint_level(table, settings.level, settings.seed)
        grades = (panel.expected - panel.missing)[rows][:, common, 0].sum(axis=1)
        low, high = score_interval(table, grades, each)
    by_run = {effect.run: effect for effect in effects}
    shown = first_loss(effects)
    ends = zip(names, table.estimate, low, high, strict=True)
    return Trajectory(
        panel.benchmark,
        int(common.sum()),
        clusters,
        settings.level,
        each,
        settings.seed,
        tuple(_step(name, by_run.get(name), *map(_percent, figures)) for name, *figures in ends),
        shown.run if shown else None,
    )


def _step(
    run: str, effect: Effect | None, score: float | None, low: float | None, high: float | None
) -> Step:
    if effect is None:
        return Step(run, score, low, high)
    return Step(
        run, score, low, high, effect.difference, effect.low, effect.high, effect.p_adjusted, _shows_loss(effect)
    )  # fmt: skip


def _shows_loss(effect: Effect) -> bool:
    return effect.high is not None and effect.high < 0 and effect.verdict != FLOOR


def _percent(value: float) -> float | None:
    return None if np.isnan(value) else float(value) * 100
