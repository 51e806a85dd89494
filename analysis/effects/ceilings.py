"""A score between the model's own floor and ceiling: does it not think of the value, or can it not show it?

In the ceiling test the same model answers the same questions with the criteria in its system prompt. The floor is 0: no
answer meets a criterion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from value_retention.analysis.effects.estimate import run_scores
from value_retention.analysis.effects.rows import CONSTANT, FEW, NO_SCORE, Score
from value_retention.analysis.runs.align import Metric, Panel, align, cluster_tables, metrics_of
from value_retention.analysis.runs.identity import check_comparable, differences
from value_retention.analysis.runs.scores import RunScores
from value_retention.analysis.stats.cluster import MIN_CLUSTERS
from value_retention.analysis.stats.fieller import Ratio, fieller
from value_retention.analysis.stats.settings import Settings
from value_retention.tasks.cluster import cluster_table, covariance
from value_retention.tasks.errors import InputError

FREE = ("ceiling", "epochs")
"""Aspects in which a run and its ceiling test may differ."""

NO_CEILING = "the ceiling is 0"


@dataclass(frozen=True)
class Ceiling:
    """One figure of a run beside its ceiling, per cent, over the questions that have a score in both.

    Attributes:
        benchmark: Its name.
        run: Name of the run.
        metric: Name of the figure.
        clusters: Clusters of the questions.
        questions: Their number.
        score: Of the run.
        ceiling: Of its ceiling test.
        low: Lower end of the Wilson interval of ``ceiling``.
        high: Upper end.
        share: ``score / ceiling`` with Fieller's interval over clusters, not adjusted; None without an estimate.
        reasons: Column to the reason that it is None.
    """

    benchmark: str
    run: str
    metric: str
    clusters: int
    questions: int
    score: float | None
    ceiling: float | None
    low: float | None
    high: float | None
    share: Ratio | None
    reasons: dict[str, str] = field(default_factory=dict)


def ceilings_of(runs: Sequence[RunScores], settings: Settings, allow: Sequence[str] = ()) -> list[Ceiling]:
    """Each run that has a ceiling test, overall and per language group. A test without any grade is left out.

    Args:
        runs: Reduced runs.
        settings: For the level.
        allow: Aspects in which a run and its ceiling test may differ, besides `FREE`.

    Raises:
        InputError: a ceiling test of another model, data or judge.
    """
    return [
        row
        for run in runs
        if run.ceiling is not None and np.isfinite(run.ceiling.score[:, 0]).any()
        for row in _rows(run, run.ceiling, settings, allow)
    ]


def _rows(run: RunScores, ceiling: RunScores, settings: Settings, allow: Sequence[str]) -> list[Ceiling]:
    other = replace(ceiling, run=f"{run.run} (ceiling test)")
    _check_same(run, other, allow)
    panel = align([run, other])
    scores = panel.score.copy()
    scores[:, np.isnan(scores).any(axis=0)] = np.nan
    panel = replace(panel, score=scores)
    main = [metric for metric in metrics_of(panel) if metric.kind in ("overall", "group")]
    found = run_scores(panel, main, settings)
    return [
        _row(panel, metric, own, top, settings)
        for metric, own, top in zip(main, found[: len(main)], found[len(main) :], strict=True)
    ]


def _check_same(run: RunScores, ceiling: RunScores, allow: Sequence[str]) -> None:
    """Refuse a ceiling test that was asked or judged otherwise, or of another model."""
    pair = (run, ceiling)
    found = differences(run.benchmark, [(part.run, part.files, part.identity) for part in pair])
    check_comparable([difference for difference in found if difference.aspect not in FREE], allow)
    known = all(part.identity.fingerprint for part in pair)
    models = [part.identity.fingerprint if known else part.identity.model for part in pair]
    if models[0] != models[1]:
        raise InputError(
            "the ceiling test is of another model",
            where=" and ".join(f"{part.run} ({', '.join(part.files)})" for part in pair),
            found=f"{models[0]}; {models[1]}",
            expected="the same model in both",
        )


def _row(panel: Panel, metric: Metric, own: Score, top: Score, settings: Settings) -> Ceiling:
    table = cluster_tables(panel, [metric], panel.score)
    pair = cluster_table(table.sums, table.sizes)
    reason = NO_SCORE if not own.clusters else FEW if own.clusters < MIN_CLUSTERS else None
    spread = covariance(pair)
    if reason is None and not spread.any():
        reason = CONSTANT
    share = None
    if reason is None:
        score, ceiling = pair.estimate.tolist()
        share = fieller(score, ceiling, spread, own.clusters - 1.0, settings.level)
        reason = None if share else NO_CEILING
    return Ceiling(
        panel.benchmark, own.run, metric.name, own.clusters, own.questions, own.score, top.score, top.low, top.high,
        share, top.reasons | ({"share": reason} if reason else {}),
    )  # fmt: skip
