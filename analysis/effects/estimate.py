"""Estimates on aligned runs: every figure of every run, and every figure of every comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from value_retention.analysis.effects.comparisons import Comparison
from value_retention.analysis.effects.counts import count
from value_retention.analysis.effects.intervals import (
    answer_noise,
    bootstrapped,
    in_points,
    seed_intervals,
)
from value_retention.analysis.effects.rows import (
    CONSTANT,
    FEW,
    NO_SCORE,
    NO_SIDES,
    ONE_EPOCH,
    ONE_SEED_ONLY,
    Effect,
    Interval,
    Score,
    Tier,
)
from value_retention.analysis.runs.align import Metric, Panel, cluster_tables
from value_retention.analysis.stats import cluster
from value_retention.analysis.stats.cluster import MIN_CLUSTERS
from value_retention.analysis.stats.proportion import score_interval
from value_retention.analysis.stats.seeds import SeedInterval
from value_retention.analysis.stats.settings import Settings
from value_retention.tasks.cluster import ClusterTable, Floats, standard_error

NEW, THESE, NEW_SEEDS = "new questions", "these questions", "new seeds"
"""What a verdict generalises to."""

TIERS: dict[str, Tier] = {"overall": "primary", "group": "secondary"}
"""Tier of a kind of figure in a primary comparison; every other figure is exploratory."""

AT_ONCE = 32  # Comparisons; keeps the bootstrapped columns of a chunk below some 100 MB.


def run_scores(panel: Panel, metrics: Sequence[Metric], settings: Settings) -> list[Score]:
    """Every figure of every run of a panel."""
    table = cluster_tables(panel, metrics, panel.score)
    counts = count(panel, metrics, np.eye(len(panel.runs)), np.isfinite(panel.score))
    low, high = score_interval(table, (counts.grades - counts.missing).ravel(), settings.level)
    rows = []
    for r, run in enumerate(panel.runs):
        for m, metric in enumerate(metrics):
            k = r * len(metrics) + m
            clusters = int(table.clusters[k])
            reasons: dict[str, str] = {}
            if not clusters:
                reasons["score"] = reasons["interval"] = NO_SCORE
            elif clusters < MIN_CLUSTERS:
                reasons["interval"] = FEW
            rows.append(
                Score(
                    benchmark=panel.benchmark,
                    run=run,
                    kind=metric.kind,
                    metric=metric.name,
                    clusters=clusters,
                    questions=int(counts.questions[r, m]),
                    answers=int(counts.answers_run[r, m]),
                    grades=int(counts.grades[r, m]),
                    grades_missing=int(counts.missing[r, m]),
                    score=_points(table.estimate[k]),
                    low=None if reasons else _points(low[k]),
                    high=None if reasons else _points(high[k]),
                    reasons=reasons,
                )
            )
    return rows


def effects_of(
    panel: Panel, metrics: Sequence[Metric], comparisons: Sequence[Comparison], settings: Settings
) -> list[Effect]:
    """Every figure of every comparison, before `families.judged`.

    Args:
        panel: Runs of one benchmark.
        metrics: Figures.
        comparisons: Weights in the order of the panel's runs.
        settings: Level, resamples, seed, estimand.
    """
    rows: list[Effect] = []
    for start in range(0, len(comparisons), AT_ONCE):
        rows += _chunk(panel, metrics, comparisons[start : start + AT_ONCE], settings)
    return rows


def weighted(weights: Floats, values: Floats) -> Floats:
    """Weighted sums of runs, NaN where a run with a weight has none.

    Args:
        weights: Shape (c, r).
        values: Shape (r, ...).

    Returns:
        Shape (c, ...).
    """
    flat = values.reshape(len(values), -1)
    absent = np.isnan(flat)
    sums = weights @ np.where(absent, 0.0, flat)
    if absent.any():
        sums[(weights != 0).astype(float) @ absent.astype(float) > 0] = np.nan
    return np.asarray(sums.reshape(len(weights), *values.shape[1:]), dtype=np.float64)


def _chunk(
    panel: Panel, metrics: Sequence[Metric], comparisons: Sequence[Comparison], settings: Settings
) -> list[Effect]:
    weights = np.array([comparison.weights for comparison in comparisons])
    used = np.flatnonzero(weights.any(axis=0))
    weights = weights[:, used]
    score, low, high = panel.score[used], panel.low[used], panel.high[used]
    plus, minus = np.maximum(weights, 0), np.maximum(-weights, 0)
    values = weighted(weights, score)
    both = np.isfinite(values)
    table = cluster_tables(panel, metrics, values)
    counts = count(panel, metrics, weights, both, used)
    baseline = _side(panel, metrics, minus, score, both)
    boot_low, boot_high, boot_p = bootstrapped(panel, metrics, table, settings)
    worst_low = cluster_tables(panel, metrics, weighted(plus, low) - weighted(minus, high))
    worst_high = cluster_tables(panel, metrics, weighted(plus, high) - weighted(minus, low))
    new = cluster.t_interval(table, settings.level)
    these = answer_noise(panel, metrics, weights, both, used, table, settings.level)
    seeds = seed_intervals(
        panel, metrics, comparisons, table, these if settings.questions == "fixed" else new, settings
    )
    base_low, base_high = score_interval(
        baseline, (counts.grades - counts.missing).ravel() / 2, settings.level
    )
    points: dict[str, Floats] = {
        "score_baseline": baseline.estimate,
        "score_run": _side(panel, metrics, plus, score, both).estimate,
        "baseline_low": base_low,
        "baseline_high": base_high,
        "difference": table.estimate,
        "boot_low": boot_low,
        "boot_high": boot_high,
        "worst_low": worst_low.estimate,
        "worst_high": worst_high.estimate,
        "worst_low_se": standard_error(worst_low),
        "worst_high_se": standard_error(worst_high),
    }
    columns = {name: _list(column * 100) for name, column in points.items()} | {"boot_p": _list(boot_p)}
    estimands = {"new_questions": in_points(new), "these_questions": in_points(these)}
    rows = []
    for c, comparison in enumerate(comparisons):
        known = {
            "comparison": comparison.kind,
            "statement": comparison.statement,
            "baseline": comparison.baseline,
            "run": comparison.run,
            "weights": {panel.runs[r]: w for r, w in zip(used, weights[c].tolist(), strict=True) if w},
        }
        for m, metric in enumerate(metrics):
            k = c * len(metrics) + m
            counted = {
                "benchmark": panel.benchmark,
                "kind": metric.kind,
                "metric": metric.name,
                "tier": TIERS.get(metric.kind, "exploratory") if comparison.primary else "exploratory",
                "clusters": int(table.clusters[k]),
                "questions": int(counts.questions[c, m]),
                "answers_baseline": int(counts.answers_baseline[c, m]),
                "answers_run": int(counts.answers_run[c, m]),
                "grades": int(counts.grades[c, m]),
                "grades_missing": int(counts.missing[c, m]),
            }
            found = {name: column[k] for name, column in columns.items()}
            again = None if comparison.recipes is None else seeds.get(k, ONE_SEED_ONLY)
            intervals = {name: column[k] for name, column in estimands.items()}
            rows.append(_effect(known | counted, found, intervals, again, settings))
    return rows


def _side(
    panel: Panel, metrics: Sequence[Metric], weights: Floats, score: Floats, both: NDArray[np.bool_]
) -> ClusterTable:
    """Scores of one side of each comparison; NaN where its weights are not those of a mean."""
    values = weighted(weights, score)
    values[~both] = np.nan
    found = cluster_tables(panel, metrics, values)
    mean = np.abs(weights.sum(axis=1) - 1) < 1e-9
    return replace(found, estimate=np.where(np.repeat(mean, len(metrics)), found.estimate, np.nan))


def _effect(
    known: dict[str, Any],
    values: dict[str, float | None],
    intervals: dict[str, Interval | None],
    seeds: SeedInterval | str | None,
    settings: Settings,
) -> Effect:
    """A row, with the reason for each value that is missing.

    Args:
        known: Fields that are never missing.
        values: Numbers, None for NaN.
        intervals: The interval over new questions and that for these questions; None without a spread.
        seeds: Interval over new seeds, the reason that there is none, or None where seeds are not known.
        settings: For the estimand of the verdict.
    """
    reasons: dict[str, str] = {}
    clusters, fixed = known["clusters"], settings.questions == "fixed"
    chosen = intervals["these_questions" if fixed else "new_questions"]
    unit = THESE if fixed else NEW
    if isinstance(seeds, SeedInterval):
        p = cluster.t_p_value(*(np.array([x]) for x in (values["difference"], seeds.se, seeds.df)))
        chosen = Interval(seeds.se, seeds.df, seeds.low, seeds.high, float(p[0]))
        unit = f"{unit}, {NEW_SEEDS}"
    all_tests = ("interval", "bootstrap", "p", "detectable", "verdict")
    if not clusters:
        reasons = dict.fromkeys(("score", "difference", *all_tests), NO_SCORE)
    elif clusters < MIN_CLUSTERS:
        reasons = dict.fromkeys(all_tests, FEW)
    elif chosen is None:
        noisy = fixed and intervals["new_questions"] is not None
        reasons = dict.fromkeys(("interval", "p", "detectable", "verdict"), ONE_EPOCH if noisy else CONSTANT)
        if not noisy:
            reasons["bootstrap"] = CONSTANT
    if intervals["these_questions"] is None:
        reasons.setdefault("these_questions", ONE_EPOCH)
    if "interval" in reasons:
        chosen = None
    if "bootstrap" in reasons:
        values = values | dict.fromkeys(("boot_low", "boot_high", "boot_p"))
    if clusters and None in (values["score_baseline"], values["score_run"]):
        reasons["score"] = NO_SIDES
    if isinstance(seeds, str):
        reasons["seeds"] = seeds
    return Effect(
        **known,
        **values,  # type: ignore[arg-type]
        se=chosen.se if chosen else None,
        df=chosen.df if chosen else None,
        t_low=chosen.low if chosen else None,
        t_high=chosen.high if chosen else None,
        p=chosen.p if chosen else None,
        unit=unit,
        detectable=cluster.minimum_detectable(chosen.se, round(chosen.df) + 1)
        if chosen is not None
        else None,
        new_questions=intervals["new_questions"] if clusters >= MIN_CLUSTERS else None,
        these_questions=intervals["these_questions"] if clusters >= MIN_CLUSTERS else None,
        seeds=seeds if isinstance(seeds, SeedInterval) else None,
        reasons=reasons,
    )


def _points(value: Any) -> float | None:
    """[0, 1] to per cent; None for NaN."""
    return None if np.isnan(value) else float(value) * 100


def _list(values: Floats) -> list[float | None]:
    """Numbers, None for NaN."""
    return [None if value != value else value for value in values.tolist()]
