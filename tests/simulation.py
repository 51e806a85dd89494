"""Error rates of the analysis on simulated benchmarks, beside those of analyses that ignore dependence.

As a script it prints the tables of docs/statistics.md: ``python tests/simulation.py``.

Data are drawn as the benchmarks make them: questions differ, each model has its own strong and weak
questions (MORU: also in each language), an answer's grades share the answer, repeats are noisy. All runs of
a design are columns of one table, so thousands of runs are a few matrix products.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from value_retention.analysis.examples.synthetic import anima_shape
from value_retention.analysis.stats import cluster, resample
from value_retention.analysis.stats.cluster import cluster_table
from value_retention.analysis.stats.equivalence import tost_p
from value_retention.analysis.stats.proportion import score_interval
from value_retention.analysis.stats.seeds import seed_interval

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Design:
    """A benchmark's shape and the spread of its logits."""

    name: str
    clusters: int
    languages: int
    epochs: int
    dimensions: int
    level: float = 0.0
    shift: float = 0.0
    """Of the second model, in logits."""
    question: float = 1.3
    model: float = 0.5
    language: float = 0.0
    answer: float = 0.7


ANIMA = Design("ANIMA, 115 questions x 5", 115, 1, 5, 4)
DESIGNS = [
    ANIMA,
    Design("ANIMA, real effect", 115, 1, 5, 4, shift=0.8),
    Design("ANIMA, English, 30 x 5", 30, 1, 5, 4),
    Design("one dimension, 26 questions, 5 % pass", 26, 1, 5, 1, level=-3.9),
    Design("MORU, 67 x 3 languages x 5", 67, 3, 5, 4, language=0.5),
    Design("MORU, real effect", 67, 3, 5, 4, shift=0.8, language=0.5),
]


def offsets(design: Design) -> Array:
    """How much easier each dimension is than the mean, in logits; the dimensions are given, not drawn."""
    return np.linspace(-1, 1, design.dimensions) if design.dimensions > 1 else np.zeros(1)


def draw(design: Design, runs: int, rng: np.random.Generator) -> Array:
    """Grades of two models, shape (2, runs, clusters, languages, epochs, dimensions)."""
    shape = (runs, design.clusters, design.languages, design.epochs, design.dimensions)
    question = rng.normal(0, design.question, shape[:2])[..., None, None, None]
    dimension = offsets(design)
    grades = np.empty((2, *shape), np.float32)
    for model in range(2):
        own = rng.normal(0, design.model, shape[:2])[..., None, None, None]
        tongue = rng.normal(0, 1, shape[:3])[..., None, None] * design.language
        answer = rng.normal(0, design.answer, shape[:4])[..., None]
        logit = design.level + model * design.shift + question + own + tongue + answer + dimension
        grades[model] = rng.random(shape, dtype=np.float32) < 1 / (1 + np.exp(-logit))
    return grades


def true_difference(design: Design) -> float:
    """Mean score difference over infinitely many questions, by half a million draws; 0 without a shift."""
    if not design.shift:
        return 0.0
    rng = np.random.default_rng(99)
    variance = design.question**2 + design.model**2 + design.language**2 + design.answer**2
    logit = design.level + rng.normal(0, np.sqrt(variance), (500_000, 1)) + offsets(design)
    return float(np.mean(1 / (1 + np.exp(-logit - design.shift)) - 1 / (1 + np.exp(-logit))))


def covered(estimate: Array, half: Array, truth: float) -> float:
    """Share of intervals estimate +- half that hold the truth, per cent."""
    return float(np.mean(np.abs(estimate - truth) <= half)) * 100


def coverage(design: Design, runs: int, seed: int) -> dict[str, float]:
    """Coverage of 95 % intervals, ours and naive, and type-I error of the sign-flip test where nothing is."""
    grades = draw(design, runs, np.random.default_rng(seed))
    truth = true_difference(design)
    a, b = grades.reshape(2, runs, -1).astype(np.float64)
    n = a.shape[1]
    answers = grades.mean(axis=-1)
    differences = (answers[1] - answers[0]).astype(np.float64)
    found = {
        "every grade independent": covered(
            b.mean(1) - a.mean(1), 1.96 * np.sqrt((a.var(1) + b.var(1)) / n), truth
        ),
        "every epoch independent": _t_coverage(differences.reshape(runs, -1), truth),
    }
    items = differences.mean(axis=-1)
    if design.languages > 1:
        found["translations independent"] = _t_coverage(items.reshape(runs, -1), truth)
    table = cluster_table(items.sum(axis=-1).T, np.full((design.clusters, runs), float(design.languages)))
    interval = cluster.t_interval(table)
    inside = (interval.low <= truth) & (truth <= interval.high)
    # A run in which the two models agree on every question has no spread; it is right, if 0 is the truth.
    found["cluster t"] = float(np.mean(inside)) * 100
    low, high = resample.percentile_interval(
        resample.bootstrap(table, resample.cluster_counts(design.clusters, 4000, seed))
    )
    found["cluster bootstrap"] = float(np.mean((low <= truth) & (truth <= high))) * 100
    if not truth:
        found["sign-flip type I"] = float(np.mean(resample.sign_flip_p(table, 2000, seed) < 0.05)) * 100
    return found


def score_coverage(design: Design, runs: int, seed: int) -> dict[str, float]:
    """Coverage of 95 % intervals of one model's score: Wilson's as in the reports, and the cluster t interval."""
    grades = draw(design, runs, np.random.default_rng(seed))[0].mean(axis=(3, 4)).astype(np.float64)
    rng = np.random.default_rng(98)
    variance = design.question**2 + design.model**2 + design.language**2 + design.answer**2
    logit = design.level + rng.normal(0, np.sqrt(variance), (2_000_000, 1)) + offsets(design)
    truth = float(np.mean(1 / (1 + np.exp(-logit))))
    table = cluster_table(grades.sum(axis=-1).T, np.full((design.clusters, runs), float(design.languages)))
    interval = cluster.t_interval(table)
    total = design.clusters * design.languages * design.epochs * design.dimensions
    low, high = score_interval(table, np.full(runs, float(total)))
    return {
        "Wilson": float(np.mean((low <= truth) & (truth <= high))) * 100,
        "cluster t": float(np.mean((interval.low <= truth) & (truth <= interval.high))) * 100,
        "cluster t leaves 0 to 100": float(np.mean((interval.low < 0) | (interval.high > 1))) * 100,
        "Wilson leaves 0 to 100": float(np.mean((low < 0) | (high > 1))) * 100,
    }


def _t_coverage(values: Array, truth: float) -> float:
    n = values.shape[1]
    half = cluster.t_quantile(np.array([n - 1.0]), 0.975)[0] * values.std(axis=1, ddof=1) / np.sqrt(n)
    return covered(values.mean(axis=1), half, truth)


def contrast_coverage(runs: int, seed: int) -> dict[str, float]:
    """Coverage of the difference between languages: Welch on ANIMA, paired by question on MORU."""
    rng = np.random.default_rng(seed)
    scores = draw(Design("", 115, 1, 5, 4, shift=0.4), runs, rng).mean(axis=(3, 4, 5))
    difference = (scores[1] - scores[0]).astype(np.float64).T
    groups = [cluster_table(part, np.ones(part.shape)) for part in (difference[:30], difference[30:])]
    variances = np.array([cluster.standard_error(group) ** 2 for group in groups])
    df = variances.sum(0) ** 2 / (variances[0] ** 2 / 29 + variances[1] ** 2 / 84)
    half = cluster.t_quantile(df, 0.975) * np.sqrt(variances.sum(0))
    found = {"ANIMA, 30 English and 85 others, Welch": covered(groups[1].estimate, half, groups[0].estimate)}  # type: ignore[arg-type]
    scores = draw(Design("", 67, 3, 5, 4, shift=0.4, language=0.5), runs, rng).mean(axis=(4, 5))
    difference = (scores[1] - scores[0]).astype(np.float64)
    within = (difference[:, :, 1:].mean(axis=2) - difference[:, :, 0]).T
    interval = cluster.t_interval(cluster_table(within, np.ones(within.shape)))
    found["MORU, paired by question"] = float(np.mean((interval.low <= 0) & (interval.high >= 0))) * 100
    return found


def false_alarms(runs: int, seed: int) -> dict[str, float]:
    """Share of runs without any effect in which one of the 13 ANIMA dimensions tests significant."""
    rng = np.random.default_rng(seed)
    names = list(dict.fromkeys(tag for *_, tags in anima_shape().rows for tag in tags))
    carried = np.array([[name in tags for name in names] for *_, tags in anima_shape().rows])
    scores = draw(Design("", 115, 1, 5, len(names)), runs, rng).mean(axis=(3, 4))
    difference = (scores[1] - scores[0]).astype(np.float64)
    sums = (difference * carried).transpose(1, 0, 2).reshape(115, -1)
    sizes = np.tile(carried.astype(float), (1, runs))
    p = resample.sign_flip_p(cluster_table(sums, sizes), 2000, seed).reshape(runs, -1)
    holm = np.array([[q for q in cluster.adjust(row, "holm") if q is not None] for row in p.tolist()])
    return {
        "13 dimensions, raw": float(np.mean(p.min(axis=1) < 0.05)) * 100,
        "13 dimensions, Holm": float(np.mean(holm.min(axis=1) < 0.05)) * 100,
    }


def false_retention(runs: int, seed: int) -> float:
    """Share of MORU runs called retained at the margin that equals the true loss, per cent; 5 at most."""
    design = Design("", 67, 3, 5, 4, shift=-0.3, language=0.5)
    margin = abs(true_difference(design))
    scores = draw(design, runs, np.random.default_rng(seed)).mean(axis=(4, 5))
    difference = (scores[1] - scores[0]).astype(np.float64).mean(axis=2).T
    interval = cluster.t_interval(cluster_table(difference, np.ones(difference.shape)))
    return float(np.mean(tost_p(interval.estimate, interval.se, interval.df, margin) < 0.05)) * 100


def seed_coverage(runs: int, seed: int) -> dict[str, float]:
    """Coverage with three training seeds per arm and no difference between the recipes."""
    rng = np.random.default_rng(seed)
    hits, blind = 0, 0
    for _ in range(runs):
        level = rng.normal(0, 3.0, (2, 3, 1))
        scores = rng.normal(50, 20, 115) + level + rng.normal(0, 14, (2, 3, 115))
        difference = scores[1].mean(axis=0) - scores[0].mean(axis=0)
        se = float(difference.std(ddof=1) / np.sqrt(115))
        estimate = float(difference.mean())
        recipes = [(-1.0, scores[0].mean(axis=1)), (1.0, scores[1].mean(axis=1))]
        interval = seed_interval(estimate, se, 115, recipes)
        assert interval is not None
        hits += interval.low <= 0 <= interval.high
        blind += abs(estimate) <= 1.98 * se
    return {"seeds and questions random": 100 * hits / runs, "seeds ignored": 100 * blind / runs}


SCORE_DESIGNS = [ANIMA, *(design for design in DESIGNS if design.level or "MORU, 67" in design.name)]

COLUMNS = [
    "every grade independent", "every epoch independent", "translations independent", "cluster t",
    "cluster bootstrap", "sign-flip type I",
]  # fmt: skip


def main(runs: int = 4000) -> None:
    """Print the tables as Markdown."""
    print(f"Coverage of 95 % intervals, per cent, {runs} runs of each design (Monte Carlo error 0.3)\n")
    print("| design | " + " | ".join(COLUMNS) + " |")
    print("|---|" + "---|" * len(COLUMNS))
    for k, design in enumerate(DESIGNS):
        found = coverage(design, runs, seed=k)
        cells = [f"{found[name]:.1f}" if name in found else "" for name in COLUMNS]
        print(f"| {design.name} | " + " | ".join(cells) + " |", flush=True)
    rows: list[tuple[str, Callable[[], dict[str, float]]]] = [
        ("coverage, other languages less English", lambda: contrast_coverage(runs, 11)),
        ("any false alarm", lambda: false_alarms(runs, 12)),
        ("called retained when the loss equals the margin", lambda: {"MORU": false_retention(runs, 13)}),
        ("coverage, three training seeds per arm", lambda: seed_coverage(runs, 14)),
    ]
    print(
        "\n| coverage of a score's interval | Wilson | cluster t | cluster t beyond 0 to 100 |\n|---|---|---|---|"
    )
    for k, design in enumerate(SCORE_DESIGNS):
        found = score_coverage(design, runs, seed=20 + k)
        cells = [f"{found[name]:.1f}" for name in ("Wilson", "cluster t", "cluster t leaves 0 to 100")]
        print(f"| {design.name} | " + " | ".join(cells) + " |", flush=True)
    print("\n| what | design | per cent |\n|---|---|---|")
    for what, compute in rows:
        for name, value in compute().items():
            print(f"| {what} | {name} | {value:.1f} |", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
