"""From aligned runs to rows: scores of runs, paired differences, corrections for many tests, verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from value_retention.analysis.effects.result import (
    CONSTANT,
    FEW,
    INFINITE,
    NO_SCORE,
    Effect,
    Score,
)
from value_retention.analysis.effects.result import Settings as Settings
from value_retention.analysis.runs.align import Metric, Panel, cluster_tables, dimension_columns
from value_retention.analysis.stats import cluster, resample
from value_retention.analysis.stats.cluster import MIN_CLUSTERS, Floats
from value_retention.analysis.stats.equivalence import holds_at_worst, tost_p, verdict

PAIRS_AT_ONCE = 32  # Keeps the bootstrapped columns of a chunk below some 100 MB.


def run_scores(panel: Panel, metrics: Sequence[Metric], settings: Settings) -> list[Score]:
    """Every figure of every run of a panel."""
    table = cluster_tables(panel, metrics, panel.score)
    interval = cluster.t_interval(table, settings.level)
    alone = np.arange(len(panel.runs))[:, None]
    counts = _counts(panel, metrics, alone, np.isfinite(panel.score))
    rows = []
    for r, run in enumerate(panel.runs):
        for m, metric in enumerate(metrics):
            k = r * len(metrics) + m
            reasons: dict[str, str] = {}
            if not table.clusters[k]:
                reasons["score"] = reasons["interval"] = NO_SCORE
            elif table.clusters[k] < MIN_CLUSTERS:
                reasons["interval"] = FEW
            elif interval.se[k] == 0:
                reasons["interval"] = CONSTANT
            shown = "interval" not in reasons
            rows.append(
                Score(
                    benchmark=panel.benchmark,
                    run=run,
                    kind=metric.kind,
                    metric=metric.name,
                    clusters=int(table.clusters[k]),
                    questions=int(counts.questions[r, m]),
                    answers=int(counts.answers[r, m, 0]),
                    grades=int(counts.grades[r, m]),
                    grades_missing=int(counts.missing[r, m]),
                    score=_points(table.estimate[k]),
                    low=_points(interval.low[k]) if shown else None,
                    high=_points(interval.high[k]) if shown else None,
                    reasons=reasons,
                )
            )
    return rows


def paired_effects(
    panel: Panel, metrics: Sequence[Metric], pairs: Sequence[tuple[int, int]], settings: Settings
) -> list[Effect]:
    """Every figure of every pair, before the corrections for many tests (`correct`).

    Args:
        panel: Runs of one benchmark.
        metrics: Figures.
        pairs: Positions of (baseline, run) in the panel.
        settings: Level, resamples, seed, margin.
    """
    rows: list[Effect] = []
    for start in range(0, len(pairs), PAIRS_AT_ONCE):
        rows += _chunk(panel, metrics, pairs[start : start + PAIRS_AT_ONCE], settings)
    return rows


def _chunk(
    panel: Panel, metrics: Sequence[Metric], pairs: Sequence[tuple[int, int]], settings: Settings
) -> list[Effect]:
    a, b = np.array(pairs).T
    both = np.isfinite(panel.score[a]) & np.isfinite(panel.score[b])
    table = cluster_tables(panel, metrics, panel.score[b] - panel.score[a])
    interval = cluster.t_interval(table, settings.level)
    boot = bootstrap_intervals(panel, metrics, table, settings)
    columns: dict[str, Floats] = {
        "score_baseline": cluster_tables(panel, metrics, np.where(both, panel.score[a], np.nan)).estimate,
        "score_run": cluster_tables(panel, metrics, np.where(both, panel.score[b], np.nan)).estimate,
        "difference": table.estimate,
        "se": interval.se,
        "t_low": interval.low,
        "t_high": interval.high,
        "boot_low": boot[0],
        "boot_high": boot[1],
        "worst_low": cluster_tables(panel, metrics, panel.low[b] - panel.high[a]).estimate,
        "worst_high": cluster_tables(panel, metrics, panel.high[b] - panel.low[a]).estimate,
    }
    p = resample.sign_flip_p(table, settings.resamples, settings.seed)
    tost = np.full_like(p, np.nan)
    if settings.margin is not None:
        tost = tost_p(interval.estimate, interval.se, interval.df, settings.margin / 100)
    counts = _counts(panel, metrics, np.array(pairs), both)
    listed = {name: _list(column * 100) for name, column in columns.items()}
    p_values, tost_values = _list(p), _list(tost)
    rows = []
    for index, pair in enumerate(pairs):
        for m, metric in enumerate(metrics):
            k = index * len(metrics) + m
            known = {
                "clusters": int(table.clusters[k]),
                "questions": int(counts.questions[index, m]),
                "answers_baseline": int(counts.answers[index, m, 0]),
                "answers_run": int(counts.answers[index, m, 1]),
                "grades": int(counts.grades[index, m]),
                "grades_missing": int(counts.missing[index, m]),
            }
            values = {name: column[k] for name, column in listed.items()}
            rows.append(_effect(panel, pair, metric, known, values, p_values[k], tost_values[k]))
    return rows


def bootstrap_intervals(
    panel: Panel, metrics: Sequence[Metric], table: cluster.ClusterTable, settings: Settings
) -> tuple[Floats, Floats]:
    """Percentile cluster bootstrap of every column that has enough clusters; NaN elsewhere.

    All clusters of the benchmark are resampled together, so a figure on part of the questions is a ratio
    of two random sums, and the dimension-normalized mean is taken anew in every resample.
    """
    counts = resample.cluster_counts(len(panel.clusters), settings.resamples, settings.seed)
    kinds = np.tile([metric.kind for metric in metrics], table.sums.shape[1] // len(metrics))
    tested = table.clusters >= MIN_CLUSTERS
    wanted = np.flatnonzero((tested | (kinds == "dimension")) & (kinds != "normalized"))
    drawn = resample.bootstrap(cluster.take(table, wanted), counts)
    place = {int(k): i for i, k in enumerate(wanted)}
    low, high = np.full(len(tested), np.nan), np.full(len(tested), np.nan)
    dimensions = dimension_columns(metrics)
    for k in np.flatnonzero((kinds == "normalized") & tested).tolist():
        start = k // len(metrics) * len(metrics)
        whole = resample.combine_bootstrap(drawn[[place[start + d] for d in dimensions]], panel.weights)
        (low[k],), (high[k],) = resample.percentile_interval(whole, settings.level)
    low[wanted], high[wanted] = resample.percentile_interval(drawn, settings.level)
    return np.where(tested, low, np.nan), np.where(tested, high, np.nan)


def _effect(
    panel: Panel,
    pair: tuple[int, int],
    metric: Metric,
    known: dict[str, int],
    values: dict[str, float | None],
    p: float | None,
    tost: float | None,
) -> Effect:
    reasons: dict[str, str] = {}
    clusters = known["clusters"]
    tests = ("interval", "bootstrap", "p", "detectable", "verdict")
    se, before, after = values["se"], values["score_baseline"], values["score_run"]
    if not clusters:
        reasons = dict.fromkeys(("score", "difference", "logit", *tests), NO_SCORE)
    elif clusters < MIN_CLUSTERS:
        reasons = dict.fromkeys(tests, FEW)
    elif se == 0:
        reasons = dict.fromkeys(("interval", "bootstrap", "detectable", "verdict"), CONSTANT)
    logit = None
    if before is not None and after is not None:
        logit = cluster.logit_difference(before / 100, after / 100)
        if logit is None:
            reasons["logit"] = INFINITE
    hidden = {"interval": ("se", "t_low", "t_high"), "bootstrap": ("boot_low", "boot_high")}
    for reason, names in hidden.items():
        if reason in reasons:
            values = values | dict.fromkeys(names)
    detectable = None
    if "detectable" not in reasons and se is not None:
        detectable = cluster.minimum_detectable(se, clusters)
    return Effect(
        benchmark=panel.benchmark,
        baseline=panel.runs[pair[0]],
        run=panel.runs[pair[1]],
        kind=metric.kind,
        metric=metric.name,
        p=None if "p" in reasons else p,
        p_holm=None,
        p_bh=None,
        family_size=0,
        logit=logit,
        detectable=detectable,
        tost_p=None if "verdict" in reasons else tost,
        verdict=None,
        verdict_holds=None,
        reasons=reasons,
        **known,
        **values,  # type: ignore[arg-type]
    )


@dataclass(frozen=True, eq=False)
class _Counts:
    """What is behind each figure of each group of runs; arrays of shape (groups, metrics) or (.., runs)."""

    questions: NDArray[np.int64]
    answers: NDArray[np.int64]
    grades: NDArray[np.int64]
    missing: NDArray[np.int64]


def _counts(
    panel: Panel, metrics: Sequence[Metric], groups: NDArray[np.int64], scored: NDArray[np.bool_]
) -> _Counts:
    """Count questions, answers per run, grades and missing grades.

    Args:
        panel: The runs.
        metrics: M figures.
        groups: Positions of the runs of each group, shape (g, runs in a group).
        scored: Whether all runs of a group have the score, shape (g, n, 1 + D).
    """
    columns = np.array([max(metric.column, 0) for metric in metrics])
    rows = np.array([metric.rows for metric in metrics]).T & panel.carried[:, columns]
    shown = scored[:, :, columns] & rows
    grades = np.einsum("rnm,nm->rm", panel.expected[:, :, columns], rows)
    missing = np.einsum("rnm,nm->rm", panel.missing[:, :, columns], rows)
    answers = np.stack([np.einsum("gnm,gn->gm", shown, panel.answers[one]) for one in groups.T], axis=-1)
    return _Counts(shown.sum(axis=1), answers, grades[groups].sum(axis=1), missing[groups].sum(axis=1))


def _points(value: Any) -> float | None:
    """[0, 1] to percent; None for NaN."""
    return None if np.isnan(value) else float(value) * 100


def _list(values: Floats) -> list[float | None]:
    """Numbers, None for NaN."""
    return [None if value != value else value for value in values.tolist()]


def correct(effects: Sequence[Effect], margin: float | None = None) -> list[Effect]:
    """Holm and Benjamini-Hochberg within each (benchmark, kind), over all pairs; then the verdicts.

    A family is every test of one kind in the report: adding runs or dimensions makes each claim harder,
    as it must.
    """
    families: dict[tuple[str, str], list[int]] = {}
    for index, effect in enumerate(effects):
        families.setdefault((effect.benchmark, effect.kind), []).append(index)
    corrected = list(effects)
    for members in families.values():
        raw = [effects[i].p for i in members]
        tested = sum(p is not None for p in raw)
        holm, bh = cluster.adjust(raw, "holm"), cluster.adjust(raw, "bh")
        tost = cluster.adjust([effects[i].tost_p for i in members], "holm")
        for i, p_holm, p_bh, p_tost in zip(members, holm, bh, tost, strict=True):
            corrected[i] = _judged(
                replace(effects[i], p_holm=p_holm, p_bh=p_bh, tost_p=p_tost, family_size=tested), margin
            )
    return corrected


def _judged(effect: Effect, margin: float | None) -> Effect:
    """The effect with its verdict, where there is a margin and enough to judge by."""
    if effect.tost_p is None or effect.t_low is None or effect.t_high is None or effect.p_holm is None:
        return effect
    judged = verdict(effect.tost_p, effect.t_low, effect.t_high, effect.p_holm)
    if margin is None:
        return replace(effect, verdict=judged)
    holds = holds_at_worst(judged, effect.worst_low, effect.worst_high, margin)
    return replace(effect, verdict=judged, verdict_holds=holds)
