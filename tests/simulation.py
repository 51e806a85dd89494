"""Error rates of the analysis on simulated benchmarks, beside those of analyses that ignore dependence.

As a script it prints the tables of docs/statistics.md: ``python tests/simulation.py``.

Data are drawn as the benchmarks make them: questions differ, each model has its own strong and weak
questions (MORU: also in each language), an answer's grades share the answer, repeats are noisy. All runs of
a design are columns of one table, so thousands of runs are a few matrix products.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from click.testing import CliRunner
from synthetic import (
    SIBLINGS,
    Shape,
    Spread,
    anima_shape,
    moru_shape,
    synthetic_records,
)

from value_retention.analysis.cli import cli
from value_retention.analysis.effects.families import judged
from value_retention.analysis.effects.rows import Effect
from value_retention.analysis.effects.trajectory import first_loss, joint_level
from value_retention.analysis.effects.verdicts import Claim, Verdict, claims
from value_retention.analysis.runs.align import ENGLISH, OTHER, OVERALL
from value_retention.analysis.stats import cluster, resample
from value_retention.analysis.stats.fieller import fieller
from value_retention.analysis.stats.proportion import score_interval
from value_retention.analysis.stats.seeds import seed_interval
from value_retention.analysis.stats.settings import Settings
from value_retention.tasks.cluster import ClusterTable, cluster_table, degrees_of_freedom, standard_error

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Design:
    """A benchmark's shape and the spread of its logits."""

    name: str
    clusters: int
    """Rows of ANIMA, of which some render one English text; questions of MORU."""
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
    siblings: tuple[int, ...] = ()
    """Rows per English text that several rows render; they share 70 % of the question's and the model's effect."""

    def texts(self) -> Array:
        """English text of each row, shape (clusters,)."""
        singles = self.clusters - sum(self.siblings)
        sizes = [*self.siblings, *([1] * singles)]
        return np.repeat(np.arange(len(sizes)), sizes)


ANIMA = Design("ANIMA, 115 rows, 97 questions x 5", 115, 1, 5, 4, siblings=SIBLINGS)
MORU = Design("MORU, 67 x 3 languages x 5", 67, 3, 5, 4, language=0.5)
DESIGNS = [
    ANIMA,
    replace(ANIMA, name="ANIMA, real effect", shift=0.8),
    replace(ANIMA, name="ANIMA, other languages, 85 rows", clusters=85),
    Design("ANIMA, English, 30 x 5", 30, 1, 5, 4),
    Design("one dimension, 26 questions, 5 % pass", 26, 1, 5, 1, level=-3.9),
    MORU,
    replace(MORU, name="MORU, real effect", shift=0.8),
]


def offsets(design: Design) -> Array:
    """How much easier each dimension is than the mean, in logits; the dimensions are given, not drawn."""
    return np.linspace(-1, 1, design.dimensions) if design.dimensions > 1 else np.zeros(1)


def spread(design: Design, sd: float, runs: int, rng: np.random.Generator) -> Array:
    """An effect of each row, in part shared by the rows that render one text; shape (runs, clusters)."""
    own = rng.normal(0, sd, (runs, design.clusters))
    if not design.siblings:
        return own
    texts = design.texts()
    several = np.bincount(texts)[texts] > 1
    shared = rng.normal(0, sd, (runs, texts.max() + 1))[:, texts]
    return np.where(several, np.sqrt(0.7) * shared + np.sqrt(0.3) * own, own)


def draw(design: Design, runs: int, rng: np.random.Generator, expected: list[Array] | None = None) -> Array:
    """Grades of two models, shape (2, runs, clusters, languages, epochs, dimensions).

    ``expected`` receives each model's mean score on each question over endlessly many answers.
    """
    shape = (runs, design.clusters, design.languages, design.epochs, design.dimensions)
    question = spread(design, design.question, runs, rng)[..., None, None, None]
    dimension = offsets(design)
    points, weights = np.polynomial.hermite_e.hermegauss(9)
    grades = np.empty((2, *shape), np.float32)
    for model in range(2):
        own = spread(design, design.model, runs, rng)[..., None, None, None]
        tongue = rng.normal(0, 1, shape[:3])[..., None, None] * design.language
        level = design.level + model * design.shift + question + own + tongue + dimension
        answer = rng.normal(0, design.answer, shape[:4])[..., None]
        grades[model] = rng.random(shape, dtype=np.float32) < 1 / (1 + np.exp(-level - answer))
        if expected is not None:
            terms = zip(points, weights / weights.sum(), strict=True)
            passed = sum(w / (1 + np.exp(-level - design.answer * x)) for x, w in terms)
            expected.append(np.asarray(passed).mean(axis=(3, 4)))
    return grades


def difference_table(design: Design, values: Array) -> ClusterTable:
    """Cluster table of a difference per row and language, shape (runs, clusters, languages)."""
    texts = design.texts()
    membership = (np.arange(texts.max() + 1)[:, None] == texts).astype(float)
    sizes = membership.sum(axis=1) * design.languages
    return cluster_table(membership @ values.sum(axis=-1).T, np.tile(sizes[:, None], len(values)))


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
    """Coverage of 95 % intervals, ours and naive."""
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
    if design.languages > 1 or design.siblings:
        found["translations independent"] = _t_coverage(items.reshape(runs, -1), truth)
    table = difference_table(design, items)
    interval = cluster.t_interval(table)
    inside = (interval.low <= truth) & (truth <= interval.high)
    # A run in which the two models agree on every question has no spread; it is right, if 0 is the truth.
    found["cluster t"] = float(np.mean(inside)) * 100
    low, high = resample.percentile_interval(
        resample.bootstrap(table, resample.cluster_counts(len(table.sums), 4000, seed))
    )
    found["cluster bootstrap"] = float(np.mean((low <= truth) & (truth <= high))) * 100
    return found


def score_coverage(design: Design, runs: int, seed: int) -> dict[str, float]:
    """Coverage of 95 % intervals of one model's score: Wilson's as in the reports, and the cluster t interval."""
    grades = draw(design, runs, np.random.default_rng(seed))[0].mean(axis=(3, 4)).astype(np.float64)
    rng = np.random.default_rng(98)
    variance = design.question**2 + design.model**2 + design.language**2 + design.answer**2
    logit = design.level + rng.normal(0, np.sqrt(variance), (2_000_000, 1)) + offsets(design)
    truth = float(np.mean(1 / (1 + np.exp(-logit))))
    table = difference_table(design, grades)
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
    variances = np.array([standard_error(group) ** 2 for group in groups])
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
    interval = cluster.t_interval(cluster_table(sums, sizes))
    p = cluster.t_p_value(interval.estimate, interval.se, interval.df).reshape(runs, -1)
    holm = np.array([[q for q in cluster.adjust(row, "holm") if q is not None] for row in p.tolist()])
    return {
        "13 dimensions, raw": float(np.mean(p.min(axis=1) < 0.05)) * 100,
        "13 dimensions, Holm": float(np.mean(holm.min(axis=1) < 0.05)) * 100,
    }


def verdict_rates(design: Design, runs: int, seed: int) -> dict[str, float]:
    """Rates of single verdicts, in per cent: wrong ones at the edge, and `retained` where nothing changed."""
    found = {}
    lost = replace(design, shift=-0.3)
    margin = abs(true_difference(lost))
    table = difference_table(lost, _differences(draw(lost, runs, np.random.default_rng(seed))))
    edge = _shown(cluster.t_interval(table), margin)
    found["retained although the loss equals the margin"] = _rate(edge, "kept")
    found["degraded beyond the margin although the loss equals it"] = _rate(edge, "beyond")
    expected: list[Array] = []
    grades = draw(design, runs, np.random.default_rng(seed + 1), expected)
    table = difference_table(design, _differences(grades))
    new = cluster.t_interval(table)
    same = _shown(new, 0.05)
    found["degraded although nothing changed"] = _rate(same, "lower")
    found["improved although nothing changed"] = _rate(same, "higher")
    found["retained at 5 points where nothing changed"] = _rate(same, "kept")
    truth = (expected[1] - expected[0]).mean(axis=(1, 2))
    noise = grades.mean(axis=5).var(axis=4, ddof=1).sum(axis=0) / design.epochs
    total = noise.sum(axis=(1, 2))
    se = np.sqrt(total) / (design.clusters * design.languages)
    df = total**2 / (noise**2 / (2 * (design.epochs - 1))).sum(axis=(1, 2))
    half = cluster.t_quantile(df, 0.975) * se
    these = cluster.TInterval(table.estimate, se, df, table.estimate - half, table.estimate + half, 0.95)
    found["retained at 5 points, --questions fixed"] = _rate(_shown(these, 0.05), "kept")
    inside = np.abs(these.estimate - truth) <= half
    found["coverage for these questions"] = float(np.mean(inside)) * 100
    return found


def _differences(grades: Array) -> Array:
    scores = grades.mean(axis=(4, 5)).astype(np.float64)
    return np.asarray(scores[1] - scores[0])


def _shown(interval: cluster.TInterval, margin: float) -> list[frozenset[Claim]]:
    ends = zip(interval.low, interval.high, strict=True)
    return [claims(low, high, margin) for low, high in ends]


def _rate(shown: list[frozenset[Claim]], claim: Claim) -> float:
    return 100 * sum(claim in one for one in shown) / len(shown)


def checkpoint_scores(design: Design, shifts: Sequence[float], runs: int, seed: int) -> Array:
    """Scores of checkpoints that answer the same questions, shape (checkpoints, runs, clusters, languages).

    Args:
        design: Benchmark and spread.
        shifts: Of each checkpoint, in logits.
        runs: Simulated trajectories.
        seed: Of all draws.
    """
    rng = np.random.default_rng(seed)
    shape = (runs, design.clusters, design.languages, design.epochs, design.dimensions)
    question = spread(design, design.question, runs, rng)[..., None, None, None]
    found = []
    for shift in shifts:
        own = spread(design, design.model, runs, rng)[..., None, None, None]
        tongue = rng.normal(0, 1, shape[:3])[..., None, None] * design.language
        answer = rng.normal(0, design.answer, shape[:4])[..., None]
        level = design.level + shift + question + own + tongue + offsets(design) + answer
        found.append((rng.random(shape, dtype=np.float32) < 1 / (1 + np.exp(-level))).mean(axis=(3, 4)))
    return np.array(found)


def wrong_first_loss(design: Design, shifts: Sequence[float], runs: int, seed: int) -> float:
    """Per cent of trajectories whose first shown loss is at a checkpoint that lost nothing.

    Args:
        design: Benchmark and spread.
        shifts: True change of each checkpoint after the baseline, in logits.
        runs: Simulated trajectories.
        seed: Of all draws.
    """
    scores = checkpoint_scores(design, [0.0, *shifts], runs, seed)
    found = [cluster.t_interval(difference_table(design, later - scores[0])) for later in scores[1:]]
    wrong = 0
    for k in range(runs):
        effects = [
            replace(
                plain_effect(str(step), OVERALL, "overall", 100 * interval.estimate[k], 100 * interval.se[k]),
                df=float(interval.df[k]), run=str(step),
            )
            for step, interval in enumerate(found)
        ]  # fmt: skip
        shown = first_loss(judged(effects, Settings(margin=5.0)))
        wrong += shown is not None and shifts[int(shown.run)] >= 0
    return 100 * wrong / runs


def joint_coverage(design: Design, checkpoints: int, runs: int, seed: int) -> dict[str, float]:
    """Per cent of trajectories in which the intervals of all scores hold the true score."""
    scores = checkpoint_scores(design, [0.0] * checkpoints, runs, seed)
    rng = np.random.default_rng(98)
    variance = design.question**2 + design.model**2 + design.language**2 + design.answer**2
    logit = design.level + rng.normal(0, np.sqrt(variance), (2_000_000, 1)) + offsets(design)
    truth = float(np.mean(1 / (1 + np.exp(-logit))))
    grades = np.full(
        checkpoints, float(design.clusters * design.languages * design.epochs * design.dimensions)
    )
    held = {"simultaneous": 0, "each at 95 %": 0}
    for k in range(runs):
        table = difference_table(design, scores[:, k].astype(np.float64))
        for name, level in (("simultaneous", joint_level(table, 0.95, seed)), ("each at 95 %", 0.95)):
            low, high = score_interval(table, grades, level)
            held[name] += bool(np.all((low <= truth) & (truth <= high)))
    return {name: 100 * count / runs for name, count in held.items()}


FAMILIES = {
    "nothing changed, 2 benchmarks": [(0, 0), (0, 0)],
    "nothing changed, 2 benchmarks x 10 candidates": [(0, 0)] * 20,
    "one benchmark lost 20 points, nothing on the other": [(-20, -20), (0, 0)],
    "one of 10 candidates fails everything": [(-60, -60)] * 2 + [(0, 0)] * 18,
    "a loss of exactly the margin on both": [(-5, -5), (-5, -5)],
    "one loss of the margin, nothing on the other": [(-5, -5), (0, 0)],
    "English unchanged, others lost 15 points": [(0, -15), (0, -15)],
    "English lost the margin, others gained: 0 overall": [(-5, 2.5), (-5, 2.5)],
}
"""True effect on English and on other questions, points, of each primary figure of a report. A third is English."""


def family_rate(truths: list[tuple[float, float]], runs: int, seed: int) -> tuple[float, float]:
    """Per cent of reports with a wrong primary verdict, and with a wrong primary or secondary one."""
    rng = np.random.default_rng(seed)
    settings = Settings(margin=5.0)
    wrong = np.zeros(2)
    for _ in range(runs):
        effects, truth = [], []
        for number, (english, other) in enumerate(truths):
            e, o = rng.normal(english, 3.0), rng.normal(other, 2.1)
            parts = [
                (OVERALL, "overall", (e + 2 * o) / 3, (english + 2 * other) / 3, (3.0**2 + 4 * 2.1**2) ** 0.5 / 3),
                (ENGLISH, "group", e, english, 3.0), (OTHER, "group", o, other, 2.1),
            ]  # fmt: skip
            for metric, kind, estimate, true, se in parts:
                effects.append(plain_effect(str(number), metric, kind, estimate, se))
                truth.append(true)
        bad = [_is_wrong(e.verdict, true) for e, true in zip(judged(effects, settings), truth, strict=True)]
        wrong += [any(bad[::3]), any(bad)]
    return tuple((100 * wrong / runs).tolist())


def plain_effect(statement: str, metric: str, kind: Any, estimate: float, se: float) -> Effect:
    """An effect with an estimate, an error and a baseline of 50 %."""
    values = dict.fromkeys(
        ("boot_low", "boot_high", "boot_p", "worst_low", "worst_high", "worst_low_se", "worst_high_se",
         "detectable")
    )  # fmt: skip
    half = float(cluster.t_quantile(np.array([200.0]), 0.975)[0]) * se
    p = float(cluster.t_p_value(*(np.array([x]) for x in (estimate, se, 200.0)))[0])
    counts = dict.fromkeys(
        ("clusters", "questions", "answers_baseline", "answers_run", "grades", "grades_missing"), 100
    )
    return Effect(
        benchmark="b", comparison="pair", statement=statement, baseline="a", run="b", weights={"a": -1.0, "b": 1.0},
        kind=kind, metric=metric, tier="primary" if kind == "overall" else "secondary", score_baseline=50.0,
        score_run=50.0 + estimate, baseline_low=45.0, baseline_high=55.0, difference=estimate, se=se, df=200.0,
        t_low=estimate - half, t_high=estimate + half, p=p, unit="new questions", **counts, **values,
    )  # fmt: skip


def _is_wrong(verdict: Verdict | None, truth: float, margin: float = 5.0) -> bool:
    """Whether a verdict says something that is not so."""
    says = {
        "retained": truth > -margin,
        "retained, lower": -margin < truth < 0,
        "degraded": truth < 0,
        "degraded beyond the margin": truth < -margin,
        "improved": truth > 0,
    }
    return not says.get(str(verdict), True)


def null_reports(pairs: int, seed: int, epochs: int = 1) -> float:
    """Per cent of reports of the command itself with a wrong verdict, on pairs of runs that do not differ.

    Questions, models and grades are drawn anew for each pair, on all rows of both benchmarks.
    """
    wrong = 0
    with TemporaryDirectory() as place:
        files = [Path(place) / f"{name}.records.jsonl" for name in "ab"]
        out = Path(place) / "out.json"
        for k in range(pairs):
            for file in files:
                records = [
                    record
                    for shape in (anima_shape(), moru_shape())
                    for record in synthetic_records(
                        file.name, shape, {}, epochs=epochs, seed=seed + k, questions=seed + k
                    )
                ]
                file.write_text("\n".join(record.to_json() for record in records), encoding="utf-8")
            arguments = [
                "compare",
                *map(str, files),
                "--margin",
                "5",
                "--resamples",
                "1000",
                "--json",
                str(out),
            ]
            done = CliRunner().invoke(cli, arguments)
            assert done.exit_code == 0, done.exception
            effects = json.loads(out.read_text("utf-8"))["effects"]
            wrong += any(_is_wrong(effect["verdict"], 0.0) for effect in effects)
    return 100 * wrong / pairs


CORRELATIONS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3)


def end_rates(design: Design, runs: int, seed: int) -> list[float]:
    """How often an end at 2.5 % misses 0, per cent: for each of `CORRELATIONS`, the most of eight designs.

    1, 2, 5 and 20 epochs; a model's deviation of 0.5 and 1.
    """
    rng = np.random.default_rng(seed)
    found = []
    for epochs, model in product((1, 2, 5, 20), (0.5, 1.0)):
        one = replace(design, epochs=epochs, model=model)
        tables = [
            difference_table(one, _differences(draw(one, min(2000, runs - k), rng)))
            for k in range(0, runs, 2000)
        ]
        t = np.abs(np.concatenate([table.estimate / standard_error(table) for table in tables]))
        df = np.array([degrees_of_freedom(tables[0], c)[0] for c in CORRELATIONS])
        found.append(50 * (t[:, None] > cluster.t_quantile(df, 0.975)).mean(axis=0))
    return [float(most) for most in np.max(found, axis=0)]


def null_rates(runs: int, seed: int) -> dict[str, float]:
    """The same pairs without the command, by the thousand: primary figures whose interval misses 0, per cent.

    Both benchmarks are read at 97.5 %, as Holm's rule does while both are open. One epoch, the generator's spreads.
    """
    rng = np.random.default_rng(seed)
    missed = {}
    for shape in (anima_shape(), moru_shape()):
        parts = [_null_misses(shape, min(2000, runs - k), rng) for k in range(0, runs, 2000)]
        missed[shape.benchmark] = np.concatenate(parts)
    found = {f"{name} at 97.5 %": 100 * float(hits.mean()) for name, hits in missed.items()}
    return found | {"either: a wrong report": 100 * float(np.any(list(missed.values()), axis=0).mean())}


def _null_misses(shape: Shape, runs: int, rng: np.random.Generator) -> Array:
    """Whether the interval of two models that do not differ misses 0, shape (runs,)."""
    spread_, rows = Spread(), shape.rows
    texts = np.unique([row[1] for row in rows], return_inverse=True)[1]
    several = np.bincount(texts)[texts] > 1
    names = sorted({tag for row in rows for tag in row[4]})
    question = rng.normal(0, spread_.question, (runs, texts.max() + 1))
    dimension = rng.normal(0, spread_.dimension, (runs, len(names)))
    scores = np.empty((2, runs, len(rows)))
    for model in range(2):
        own = question + rng.normal(0, spread_.model, question.shape)
        noise = rng.normal(
            0, np.where(several, np.hypot(spread_.language, spread_.answer), spread_.answer), scores[0].shape
        )
        for n, row in enumerate(rows):
            logit = (own[:, texts[n]] + noise[:, n])[:, None] + dimension[
                :, [names.index(tag) for tag in row[4]]
            ]
            scores[model, :, n] = (rng.random(logit.shape) < 1 / (1 + np.exp(-logit))).mean(axis=1)
    membership = (np.arange(texts.max() + 1)[:, None] == texts).astype(float)
    sizes = np.tile(membership.sum(axis=1)[:, None], runs)
    interval = cluster.t_interval(cluster_table(membership @ (scores[1] - scores[0]).T, sizes), 0.975)
    return np.asarray((interval.low > 0) | (interval.high < 0))


def share_coverage(runs: int, seed: int) -> dict[str, float]:
    """Coverage of Fieller's interval for the retained share: half of a gain is left, 97 clusters."""
    rng = np.random.default_rng(seed)
    found = {}
    for name, gain in (("a gain of 20 points", 20.0), ("a gain of 4 points", 4.0)):
        hits = unbounded = 0
        for _ in range(runs):
            base = rng.normal(0, 12, 97)
            mid, post = (level - base + rng.normal(0, 15, 97) for level in (gain, gain / 2))
            ratio = fieller(post.mean(), mid.mean(), np.cov(post, mid) / 97, 96.0)
            if ratio is None or ratio.low is None or ratio.high is None:
                hits, unbounded = hits + 1, unbounded + 1
                continue
            inside = ratio.low <= 0.5 <= ratio.high
            unbounded += ratio.kind == "unbounded"
            hits += inside if ratio.kind == "bounded" else not inside
        found[name] = 100 * hits / runs
        found[f"{name}: unbounded"] = 100 * unbounded / runs
    return found


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


SCORE_DESIGNS = [
    ANIMA,
    *(design for design in DESIGNS if design.level),
    MORU,
    Design("8 questions, 5 % pass", 8, 1, 5, 1, level=-3.9),
]

COLUMNS = [
    "every grade independent", "every epoch independent", "translations independent", "cluster t",
    "cluster bootstrap",
]  # fmt: skip


def main(runs: int = 4000) -> None:
    """Print the tables as Markdown."""
    pairs = max(runs // 20, 1)
    print(f"Coverage of 95 % intervals, per cent, {runs} runs of each design (Monte Carlo error 0.3)\n")
    print("| design | " + " | ".join(COLUMNS) + " |")
    print("|---|" + "---|" * len(COLUMNS))
    for k, design in enumerate(DESIGNS):
        found = coverage(design, runs, seed=k)
        cells = [f"{found[name]:.1f}" if name in found else "" for name in COLUMNS]
        print(f"| {design.name} | " + " | ".join(cells) + " |", flush=True)
    print(
        "\n| coverage of a score's interval | Wilson | cluster t | cluster t beyond 0 to 100 |\n|---|---|---|---|"
    )
    for k, design in enumerate(SCORE_DESIGNS):
        found = score_coverage(design, runs, seed=20 + k)
        cells = [f"{found[name]:.1f}" for name in ("Wilson", "cluster t", "cluster t leaves 0 to 100")]
        print(f"| {design.name} | " + " | ".join(cells) + " |", flush=True)
    print("\n| reports with a wrong verdict | primary | primary or secondary |\n|---|---|---|")
    for name, truths in FAMILIES.items():
        primary, both = family_rate(truths, runs // (4 if len(truths) > 2 else 1), 30)
        print(f"| {name} | {primary:.1f} | {both:.1f} |", flush=True)
    print(
        f"| nothing changed: the command on {pairs} pairs of runs | | {null_reports(pairs, 40):.1f} |",
        flush=True,
    )
    print("\n| an end at 2.5 % misses; working correlation | " + " | ".join(map(str, CORRELATIONS)) + " |")
    print("|---|" + "---|" * len(CORRELATIONS))
    for design in (DESIGNS[0], DESIGNS[2]):
        cells = [f"{rate:.2f}" for rate in end_rates(design, 10 * runs, 5)]
        print(f"| {design.name} | " + " | ".join(cells) + " |", flush=True)
    rows: list[tuple[str, Callable[[], dict[str, float]]]] = [
        ("ANIMA", lambda: verdict_rates(ANIMA, runs, 13)),
        ("MORU", lambda: verdict_rates(MORU, runs, 15)),
        ("coverage, other languages less English", lambda: contrast_coverage(runs, 11)),
        ("any false alarm", lambda: false_alarms(runs, 12)),
        ("coverage, three training seeds per arm", lambda: seed_coverage(runs, 14)),
        ("null pairs, wrong primary figures", lambda: null_rates(10 * runs, 41)),
        ("coverage, retained share", lambda: share_coverage(runs // 2, 16)),
    ]
    print("\n| what | | per cent |\n|---|---|---|")
    for what, compute in rows:
        for name, value in compute().items():
            print(f"| {what} | {name} | {value:.1f} |", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
