"""Error rates of the small-sample parts of the analysis, beside those of the plain methods they replace.

As a script it prints the tables of docs/statistics.md: ``python tests/simulation_inference.py [RUNS] [PART...]``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import ndtri

from value_retention.analysis.judges.confusion import JudgedGrade, confusions_of
from value_retention.analysis.judges.differences import JudgedRun, run_differences
from value_retention.analysis.judges.leave_one_out import QuestionColumn
from value_retention.analysis.planning import power
from value_retention.analysis.stats import cluster
from value_retention.analysis.stats.limits import interval_caution
from value_retention.analysis.stats.sequential import look_level, planned_times
from value_retention.tasks.cluster import cluster_table, standard_error

Array = np.ndarray[Any, Any]
Rows = list[tuple[str, dict[str, float]]]

SIZES = {
    "one cluster of 30, 60 of one": [30] + [1] * 60,
    "8, 8, 4, 2 and 93 of one": [8, 8, 4, 2] + [1] * 93,
    "10 and 20 of one": [10] + [1] * 20,
    "five of 5, 10 of one": [5] * 5 + [1] * 10,
    "one of 8, 6 of one": [8] + [1] * 6,
    "115 of one": [1] * 115,
}


def unequal_clusters(sizes: list[int], shared: float, runs: int, seed: int) -> dict[str, float]:
    """Coverage of 95 % intervals of a mean over questions in clusters of unequal size, no effect.

    Args:
        sizes: Questions of each cluster.
        shared: Part of the variance of a question's difference that its cluster shares.
        runs: Simulated benchmarks.
        seed: Seed.
    """
    rng = np.random.default_rng(seed)
    size = np.array(sizes, dtype=float)[:, None]
    own, common = rng.normal(0, 1, (2, len(sizes), runs))
    table = cluster_table(
        np.sqrt(shared) * size * common + np.sqrt((1 - shared) * size) * own, np.tile(size, (1, runs))
    )
    count = len(sizes)
    plain = np.sqrt(count / (count - 1) * (table.influence**2).sum(axis=0))
    kish = size.sum() ** 2 / (size**2).sum()
    effective = np.sqrt(kish / (kish - 1) * (table.influence**2).sum(axis=0))
    interval = cluster.t_interval(table)
    return {
        "n - 1": _covered(table.estimate, plain, count - 1.0),
        "Kish": _covered(table.estimate, effective, kish - 1),
        "CR2, Satterthwaite (ours)": float(np.mean((interval.low <= 0) & (interval.high >= 0))) * 100,
        "df": float(interval.df[0]),
    }


def _covered(estimate: Array, se: Array, df: float) -> float:
    return float(np.mean(np.abs(estimate) <= cluster.t_quantile(np.array([df]), 0.975)[0] * se)) * 100


def rare_grades(before: float, after: float, clusters: int, runs: int, seed: int) -> dict[str, float]:
    """Coverage of the t interval of a difference between two scores near 0 or 1, and whether a caution shows."""
    rng = np.random.default_rng(seed)
    question = rng.normal(0, 1.3, (clusters, runs))
    scores = []
    for level in (before, after):
        logit = _level(level) + question + rng.normal(0, 0.5, (clusters, runs))
        answers = logit + rng.normal(0, 0.7, (5, clusters, runs))
        scores.append((rng.random(answers.shape) < 1 / (1 + np.exp(-answers))).mean(axis=0))
    table = cluster_table(scores[1] - scores[0], np.ones((clusters, runs)))
    interval = cluster.t_interval(table)
    spread = interval.se > 0
    inside = (interval.low <= after - before) & (interval.high >= after - before)
    shown = [
        interval_caution(clusters - 1.0, a, b) is not None
        for a, b in zip(scores[0].mean(axis=0)[:500], scores[1].mean(axis=0)[:500], strict=True)
    ]
    return {"coverage": float(inside[spread].mean()) * 100, "caution shown": float(np.mean(shown)) * 100}


def _level(score: float) -> float:
    """Logit at which the mean score over questions, models and answers is this one."""
    draws = ndtri((np.arange(20_000) + 0.5) / 20_000) * np.sqrt(1.3**2 + 0.5**2 + 0.7**2)
    low, high = -12.0, 12.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if (1 / (1 + np.exp(-middle - draws))).mean() < score else (low, middle)
    return low


def judge_errors(
    false_pass: tuple[float, float], shift: float, labels: int, runs: int, seed: int
) -> dict[str, float]:
    """Corrected difference of two runs by one judge with a false-fail rate of 5 %, by labels drawn at random.

    Args:
        false_pass: The judge's false-pass rate on each run.
        shift: Of the second model, in logits.
        labels: Labels on each run.
        runs: Simulated comparisons of 115 questions, 5 answers, 3 dimensions.
        seed: Seed.
    """
    rng = np.random.default_rng(seed)
    names = [f"{n}" for n in range(115)]
    inside, pooled_inside, raw_inside, p_values = [], [], [], []
    big = rng.normal(0, np.sqrt(1.3**2 + 0.5**2 + 0.7**2), 400_000)
    truth = float(np.mean(1 / (1 + np.exp(-big - shift)) - 1 / (1 + np.exp(-big))))
    for _ in range(runs):
        question = rng.normal(0, 1.3, (115, 1, 1))
        judged = []
        graded: list[list[JudgedGrade]] = []
        for model in range(2):
            logit = (
                question + model * shift + rng.normal(0, 0.5, (115, 1, 1)) + rng.normal(0, 0.7, (115, 5, 1))
            )
            good = rng.random((115, 5, 3)) < 1 / (1 + np.exp(-logit))
            said = rng.random(good.shape) < np.where(good, 0.95, false_pass[model])
            told = rng.permutation(good.size) < labels
            graded.append([
                JudgedGrade(names[k // 15], True, "d", float(s), float(t) if known else None, 1.0)
                for k, (s, t, known) in enumerate(zip(said.ravel(), good.ravel(), told, strict=True))
            ])  # fmt: skip
            column = QuestionColumn(
                tuple(names),
                tuple(names),
                (True,) * 115,
                said.mean(axis=(1, 2)),
                np.zeros(115),
                np.full(115, 15.0),
            )
            judged.append(JudgedRun(f"{model}", column, tuple(confusions_of("j", "b", graded[-1]))))
        found = next(run_differences("j", "b", judged, 0.95, {("b", "0", "1")}))
        both = next(confusions_of("j", "b", graded[0] + graded[1]))
        if found.corrected is None or both.refused or found.shown.low is None or found.shown.high is None:
            continue
        slope = both.informedness or 1.0
        inside.append(found.corrected.low <= truth <= found.corrected.high)
        raw_inside.append(found.shown.low <= truth <= found.shown.high)
        pooled_inside.append(found.shown.low / slope <= truth <= found.shown.high / slope)
        p_values.append(found.errors_p or 0.0)
    return {
        "own rates (ours)": float(np.mean(inside)) * 100,
        "one pooled rate": float(np.mean(pooled_inside)) * 100,
        "as graded": float(np.mean(raw_inside)) * 100,
        "error rates tested unequal": float(np.mean(np.array(p_values) < 0.05)) * 100,
        "used": 100 * len(inside) / runs,
    }


def judge_part(runs: int) -> Rows:
    """Corrected differences where the judge errs alike or differently on the two runs."""
    cases = [((0.1, 0.1), 0.0), ((0.1, 0.25), 0.0), ((0.1, 0.25), -0.5), ((0.1, 0.1), -0.5)]
    return [
        (
            f"false passes {a:.0%} and {b:.0%}, shift {shift:g} logits, {labels} labels per run",
            judge_errors((a, b), shift, labels, runs, seed),
        )
        for seed, ((a, b), shift) in enumerate(cases)
        for labels in (100, 300)
    ]


def planned_power(model: float, languages: int, epochs: int, runs: int, seed: int) -> dict[str, float]:
    """Power that a plan promises as 80 %, on grades: 115 questions, or 67 in three languages.

    Args:
        model: Spread of a checkpoint's own strong and weak questions, in logits: a value of `power.ASSUMED`.
        languages: 1 or 3.
        epochs: Answers per question.
        runs: Simulated comparisons.
        seed: Seed.
    """
    name = next(name for name, sd in power.ASSUMED.items() if sd == model)
    sizes = [1] * 115 if languages == 1 else [3] * 67
    planned = power.detectable(power.assumed_spreads(name, languages == 3), sizes, epochs, 0.95) / 100
    rng = np.random.default_rng(seed)
    spread = np.sqrt(1.3**2 + model**2 + 0.7**2 + (0.5**2 if languages == 3 else 0))
    shape = (runs, len(sizes), languages, epochs)
    question = rng.normal(0, 1.3, (*shape[:2], 1, 1))
    own = [question + rng.normal(0, model, question.shape) for _ in range(2)]
    if languages == 3:
        own = [logit + rng.normal(0, 0.5, (*shape[:3], 1)) for logit in own]
    found = {"planned, points": planned * 100}
    for verdict, truth in (("retained", 0.0), ("degraded", -planned)):
        scores = []
        for logit, level in zip(own, (0.0, _dimension_level(truth, float(spread))), strict=True):
            answer = level + logit + rng.normal(0, 0.7, shape)
            grades = [rng.random(shape) < 1 / (1 + np.exp(-answer - d)) for d in np.linspace(-1, 1, 4)]
            scores.append(np.mean(grades, axis=0).mean(axis=(2, 3)).T)
        interval = cluster.t_interval(cluster_table(scores[1] - scores[0], np.ones((len(sizes), runs))))
        shown = interval.low > -planned if verdict == "retained" else interval.high < 0
        found[f"{verdict}, per cent"] = float(np.mean(shown)) * 100
    return found


def _dimension_level(difference: float, spread: float) -> float:
    """Logit at which the mean over four dimensions is this much above that at 0."""
    draws = (ndtri((np.arange(20_000) + 0.5) / 20_000) * spread)[:, None] + np.linspace(-1, 1, 4)
    low, high = -3.0, 3.0
    for _ in range(40):
        middle = (low + high) / 2
        below = (1 / (1 + np.exp(-middle - draws))).mean() - 0.5 < difference
        low, high = (middle, high) if below else (low, middle)
    return low


def power_part(runs: int) -> Rows:
    """What a plan promises with 80 % power, on simulated grades."""
    return [
        (
            f"{'ANIMA, 115' if languages == 1 else 'MORU, 67 x 3'}, spread {model:g}, {epochs} epochs",
            planned_power(model, languages, epochs, runs, seed),
        )
        for seed, (model, languages) in enumerate((m, n) for n in (1, 3) for m in power.ASSUMED.values())
        for epochs in (1, 5)
    ]


def stopping(model: float, loss: float, runs: int, seed: int) -> dict[str, float]:
    """Judging ANIMA epoch by epoch at a margin of 5 points until `retained`, `degraded` or `improved` is shown.

    Args:
        model: Spread of a checkpoint's own strong and weak questions, in logits.
        loss: True loss, points.
        runs: Simulated comparisons of 115 questions and up to 5 epochs.
        seed: Seed.
    """
    rng = np.random.default_rng(seed)
    epochs, margin = 5, 5.0
    question = rng.normal(0, 1.3, (runs, 115, 1))
    level = _dimension_level(-loss / 100, float(np.sqrt(1.3**2 + model**2 + 0.7**2)))
    scores = []
    for shift in (0.0, level):
        answer = (
            shift + question + rng.normal(0, model, question.shape) + rng.normal(0, 0.7, (runs, 115, epochs))
        )
        grades = [rng.random(answer.shape) < 1 / (1 + np.exp(-answer - d)) for d in np.linspace(-1, 1, 4)]
        scores.append(np.mean(grades, axis=0) * 100)
    difference = (scores[1] - scores[0]).cumsum(axis=2) / np.arange(1, epochs + 1)
    looks = [cluster_table(difference[:, :, k].T, np.ones((115, runs))) for k in range(epochs)]
    errors = np.array([standard_error(look) for look in looks])
    times = planned_times(range(1, epochs + 1))
    shown: dict[str, list[str]] = {"spending": [], "at 95 % each": []}
    used, inside = [], {"spending": 0, "at 95 % once stopped": 0}
    for run in range(runs):
        for name in shown:
            verdict = ""
            for k in range(epochs):
                part = (
                    look_level(errors[: k + 1, run].tolist(), times[: k + 1]) if name == "spending" else 0.95
                )
                half = cluster.t_quantile(np.array([114.0]), (1 + part) / 2)[0] * errors[k, run]
                low, high = looks[k].estimate[run] - half, looks[k].estimate[run] + half
                verdict = "degraded" if high < 0 else "improved" if low > 0 else ""
                verdict = "retained" if low > -margin else verdict
                if verdict:
                    break
            shown[name].append(verdict)
            if name == "spending":
                used.append((k + 1) / epochs)
                once = cluster.t_quantile(np.array([114.0]), 0.975)[0] * errors[k, run]
                inside["spending"] += low <= -loss <= high
                inside["at 95 % once stopped"] += abs(looks[k].estimate[run] + loss) <= once
    last = cluster.t_interval(looks[-1])
    wrong = {"retained"} if loss >= margin else set()
    wrong |= {"degraded"} if loss == 0 else {"improved"}

    def share(names: set[str], kind: str) -> float:
        return float(np.mean([v in names for v in shown[kind]])) * 100

    return {
        "wrong": share(wrong, "spending"),
        "wrong, 95 % at each look": share(wrong, "at 95 % each"),
        "retained": share({"retained"}, "spending"),
        "retained, all 5 epochs": float(np.mean(last.low > -margin)) * 100,
        "degraded": share({"degraded"}, "spending"),
        "degraded, all 5 epochs": float(np.mean((last.high < 0) & (last.low <= -margin))) * 100,
        **{f"coverage, {name}": float(hits) / runs * 100 for name, hits in inside.items()},
        "calls saved": 100 - float(np.mean(used)) * 100,
    }


def stopping_part(runs: int) -> Rows:
    """Judging until the verdict is clear."""
    return [
        (f"loss of {loss:g}, spread {model:g}", stopping(model, loss, runs, seed))
        for seed, model in enumerate(power.ASSUMED.values())
        for loss in (0.0, 5.0, 10.0, 29.0)
    ]


def clusters_part(runs: int) -> Rows:
    """Intervals on clusters of unequal size."""
    return [
        (f"{name}, {share * 100:.0f} % shared", unequal_clusters(sizes, share, runs, seed))
        for seed, (name, sizes) in enumerate(SIZES.items())
        for share in (0.0, 0.2, 0.7, 1.0)
    ]


def rare_part(runs: int) -> Rows:
    """Intervals on few or rare grades."""
    pairs = ((0.05, 0.05), (0.05, 0.15), (0.1, 0.03), (0.05, 0.01), (0.2, 0.05), (0.5, 0.2))
    return [
        (f"{a:.0%} to {b:.0%}, {n} clusters", rare_grades(a, b, n, runs, seed))
        for seed, (a, b) in enumerate(pairs)
        for n in (8, 11, 20, 40)
    ]


PARTS: dict[str, tuple[str, int, Callable[[int], Rows]]] = {
    "clusters": ("coverage of 95 % intervals, clusters of unequal size", 1, clusters_part),
    "rare": ("coverage of the t interval, scores near 0", 1, rare_part),
    "judge": ("coverage of the corrected difference, per cent", 10, judge_part),
    "power": ("designs planned for 80 % power", 2, power_part),
    "stopping": ("judging epoch by epoch, margin 5, per cent", 2, stopping_part),
}
"""Title, by how much the number of runs is divided, and the part."""


def main(runs: int = 4000, *parts: str) -> None:
    """Print the tables of the named parts, or of all, as Markdown."""
    for part in parts or PARTS:
        title, fewer, compute = PARTS[part]
        rows = compute(runs // fewer)
        columns = list(rows[0][1])
        print(
            f"\n| {title}, {runs // fewer} runs | "
            + " | ".join(columns)
            + " |\n|---|"
            + "---|" * len(columns)
        )
        for name, values in rows:
            print(f"| {name} | " + " | ".join(f"{values[c]:.1f}" for c in columns) + " |", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]), *sys.argv[2:])
