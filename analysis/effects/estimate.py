"""Estimates on aligned runs: every figure of every run, and every figure of every comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from value_retention.analysis.effects.comparisons import Comparison
from value_retention.analysis.effects.counts import count
from value_retention.analysis.effects.rows import (
    CONSTANT,
    FEW,
    INFINITE,
    NO_SCORE,
    NO_SIDES,
    ONE_EPOCH,
    ONE_SEED_ONLY,
    Effect,
    Interval,
    Score,
    Tier,
)
from value_retention.analysis.runs.align import Metric, Panel, cluster_tables, dimension_columns
from value_retention.analysis.stats import cluster, resample
from value_retention.analysis.stats.cluster import MIN_CLUSTERS, Floats
from value_retention.analysis.stats.proportion import score_interval
from value_retention.analysis.stats.seeds import SeedInterval, seed_interval
from value_retention.analysis.stats.settings import Settings

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
    boot_low, boot_high = bootstrap_intervals(panel, metrics, table, settings)
    worst_low = cluster_tables(panel, metrics, weighted(plus, low) - weighted(minus, high))
    worst_high = cluster_tables(panel, metrics, weighted(plus, high) - weighted(minus, low))
    new = cluster.t_interval(table, settings.level)
    these = answer_noise(panel, metrics, weights, both, used, table, settings.level)
    seeds = _seeds(
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
        "worst_low_se": cluster.standard_error(worst_low),
        "worst_high_se": cluster.standard_error(worst_high),
    }
    columns = {name: _list(column * 100) for name, column in points.items()}
    columns["p_flip"] = _list(resample.sign_flip_p(table, settings.resamples, settings.seed))
    estimands = {"new_questions": _intervals(new), "these_questions": _intervals(these)}
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


def answer_noise(
    panel: Panel,
    metrics: Sequence[Metric],
    weights: Floats,
    both: NDArray[np.bool_],
    used: NDArray[np.int64],
    table: cluster.ClusterTable,
    level: float,
) -> cluster.TInterval:
    """Intervals for these very questions: only the answers are random, so only epochs vary.

    The variance of a question's mean over its epochs is estimated per run; the degrees of freedom are Satterthwaite's.
    Figures on dimensions have none here, nor has anything with one answer per question.

    Args:
        panel: The runs.
        metrics: M figures.
        weights: Shape (c, runs used).
        both: Whether all runs with a weight have the score, shape (c, n, 1 + D).
        used: Positions of the runs in the panel.
        table: Cluster table of the differences.
        level: Confidence level.
    """
    rows = np.array([metric.rows if metric.column == 0 else np.zeros_like(metric.rows) for metric in metrics])
    parts = np.nan_to_num(panel.noise[used])
    freedom = np.maximum(panel.answers[used] - 1, 1)
    inside, members = both[:, :, 0].astype(np.float64), rows.astype(np.float64).T
    total = (inside * (weights**2 @ parts)) @ members
    squared = (inside * (weights**4 @ (parts**2 / freedom))) @ members
    questions = inside @ members
    known = ~((weights != 0) @ np.isnan(panel.noise[used]).all(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        se = np.where(known[:, None], np.sqrt(total) / questions, np.nan).ravel()
        df = (total**2 / squared).ravel()
    half = cluster.t_quantile(df, (1 + level) / 2) * se
    return cluster.TInterval(table.estimate, se, df, table.estimate - half, table.estimate + half, level)


def _intervals(found: cluster.TInterval) -> list[Interval | None]:
    """Each column's interval in points; None where there is no spread."""
    p = cluster.t_p_value(found.estimate, found.se, found.df).tolist()
    parts = zip(*(part.tolist() for part in (found.se * 100, found.df, found.low * 100, found.high * 100)), p,
                strict=True)  # fmt: skip
    return [Interval(*part) if part[0] > 0 and part[1] > 0 else None for part in parts]


def _side(
    panel: Panel, metrics: Sequence[Metric], weights: Floats, score: Floats, both: NDArray[np.bool_]
) -> cluster.ClusterTable:
    """Scores of one side of each comparison; NaN where its weights are not those of a mean."""
    values = weighted(weights, score)
    values[~both] = np.nan
    found = cluster_tables(panel, metrics, values)
    mean = np.abs(weights.sum(axis=1) - 1) < 1e-9
    return replace(found, estimate=np.where(np.repeat(mean, len(metrics)), found.estimate, np.nan))


def _seeds(
    panel: Panel,
    metrics: Sequence[Metric],
    comparisons: Sequence[Comparison],
    table: cluster.ClusterTable,
    interval: cluster.TInterval,
    settings: Settings,
) -> dict[int, SeedInterval]:
    """Interval over new training seeds of each column that has one."""
    found: dict[int, SeedInterval] = {}
    levels: Floats | None = None
    for c, comparison in enumerate(comparisons):
        recipes: dict[tuple[str, ...], list[int]] = {}
        for r, recipe in enumerate(comparison.recipes or ()):
            if recipe and comparison.weights[r]:
                recipes.setdefault(recipe, []).append(r)
        if not recipes or any(len(members) < 2 for members in recipes.values()):
            continue
        if levels is None:
            levels = cluster_tables(panel, metrics, panel.score).estimate.reshape(len(panel.runs), -1) * 100
        for m in range(len(metrics)):
            k = c * len(metrics) + m
            if table.clusters[k] < MIN_CLUSTERS or not interval.se[k] > 0:
                continue
            units = round(float(interval.df[k])) + 1
            parts = [(float(comparison.weights[rs].sum()), levels[rs, m]) for rs in recipes.values()]
            seeds = seed_interval(
                float(table.estimate[k]) * 100, float(interval.se[k]) * 100, units, parts,
                settings.level,
            )  # fmt: skip
            if seeds is not None:
                found[k] = seeds
    return found


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
        intervals: The interval over new questions and that for these questions; None where there is no spread.
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
        reasons = dict.fromkeys(("score", "difference", "logit", *all_tests), NO_SCORE)
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
        values = values | dict.fromkeys(("boot_low", "boot_high"))
    if clusters < MIN_CLUSTERS:
        values = values | {"p_flip": None}
    before, after = values["score_baseline"], values["score_run"]
    logit = None
    if before is not None and after is not None:
        logit = cluster.logit_difference(before / 100, after / 100)
    elif clusters:
        reasons["score"] = reasons["logit"] = NO_SIDES
    if logit is None:
        reasons.setdefault("logit", INFINITE)
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
        logit=logit,
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
