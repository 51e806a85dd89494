"""Power of a comparison before it is paid for: what a design can show, and the cheapest one that shows it.

A verdict follows from one interval (`stats.cluster.t_interval`), so its power is simulated with that interval on the
benchmark's own clusters. Three spreads of the difference between two checkpoints decide it: between questions, between
questions that belong together, and between repeats of an answer. They come from a pilot, or from the assumptions in
`ASSUMED`. More epochs reduce only the last one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from value_retention.analysis.stats.cluster import POWER, t_interval
from value_retention.tasks.cluster import Floats, cluster_table
from value_retention.tasks.errors import InputError
from value_retention.tasks.record import AnswerRecord

EPOCHS = (1, 2, 3, 5, 8, 10, 15, 20, 30)
RUNS = 4000
"""Simulated comparisons; a power of 80 % is known to 0.6 points."""

ASSUMED = {"small": 0.5, "large": 1.0}
"""Standard deviation, in logits, of a checkpoint's own strong and weak questions. Published runs lie between."""
_QUESTION, _LANGUAGE, _ANSWER, _DIMENSIONS = 1.3, 0.5, 0.7, 4
_SIBLINGS = 0.7
"""Part of the variances of questions and checkpoints that ANIMA's renderings of one text share."""


@dataclass(frozen=True)
class Spreads:
    """Variances of a question's difference between two checkpoints, in squared points.

    Attributes:
        source: Where they come from.
        cluster: Part that all questions of a cluster share.
        question: Part of each question.
        answer: Part of one pair of answers; divided by the epochs.
        clusters: Clusters of the pilot; None where assumed.
    """

    source: str
    cluster: float
    question: float
    answer: float
    clusters: int | None = None


@dataclass(frozen=True)
class Want:
    """What a design must show with a power of `POWER`.

    Attributes:
        text: As the user wrote it.
        reach: Points that the true difference lies from the end that the interval must not hold.
    """

    text: str
    reach: float


@dataclass(frozen=True)
class Cheapest:
    """The cheapest design that reaches what was asked, or the power of the largest one that does not.

    Attributes:
        source: Source of the spreads.
        epochs: Answers per question.
        clusters: Independent questions.
        questions: Questions in those clusters.
        power: Its power.
        reached: Whether it is `POWER` or more.
    """

    source: str
    epochs: int
    clusters: int
    questions: int
    power: float
    reached: bool


def read_want(text: str) -> Want:
    """Read which verdict a design must be able to reach.

    ``retained at 5``: a margin of 5 points, where nothing was lost. ``degraded at 5`` or ``improved at 5``: a true
    difference of 5 points. ``degraded beyond 5 at 12``: a loss of 12 points, with a margin of 5.

    Raises:
        InputError: the text has another form.
    """
    form = r"(?:retained|degraded|improved) at (?P<at>\d+(?:\.\d+)?)"
    beyond = r"degraded beyond (?P<margin>\d+(?:\.\d+)?) at (?P<loss>\d+(?:\.\d+)?)"
    words = " ".join(text.split())
    if found := re.fullmatch(form, words):
        reach = float(found["at"])
    elif found := re.fullmatch(beyond, words):
        reach = float(found["loss"]) - float(found["margin"])
    else:
        reach = 0.0
    if not reach > 0:
        raise InputError(
            "unsupported verdict or form",
            where="--want",
            found=repr(text),
            expected='"retained at 5", "degraded at 5", "improved at 5" or "degraded beyond 5 at 12", in points',
        )
    return Want(words, reach)


@lru_cache(maxsize=8)
def assumed_spreads(model: str, translated: bool) -> Spreads:
    """Spreads of simulated grades, half of which pass.

    Args:
        model: Key of `ASSUMED`.
        translated: Whether a cluster is one question in several languages (MORU); else its questions are renderings
            of one text by different authors (ANIMA).
    """
    rng = np.random.default_rng(20)
    shape = (40_000, 2, 2, 1)  # Clusters, two questions in each, two answers to each.
    shared = 1.0 if translated else _SIBLINGS

    def effect(sd: float) -> Floats:
        own = np.sqrt(1 - shared) * rng.normal(0, sd, (shape[0], 2, 1, 1))
        return np.asarray(np.sqrt(shared) * rng.normal(0, sd, (shape[0], 1, 1, 1)) + own, dtype=np.float64)

    question = effect(_QUESTION)
    scores = []
    for _ in range(2):
        logit = question + effect(ASSUMED[model]) + rng.normal(0, _ANSWER, shape)
        if translated:
            logit = logit + rng.normal(0, _LANGUAGE, (shape[0], 2, 1, 1))
        grades = rng.random((*shape[:3], _DIMENSIONS)) < 1 / (
            1 + np.exp(-logit - np.linspace(-1, 1, _DIMENSIONS))
        )
        scores.append(grades.mean(axis=-1) * 100)
    difference = scores[1] - scores[0]
    siblings = float((difference[:, 0, 0] * difference[:, 1, 1]).mean())
    repeats = float((difference[:, :, 0] * difference[:, :, 1]).mean())
    return Spreads(
        f"assumed, {model}",
        siblings,
        max(repeats - siblings, 0.0),
        float((difference**2).mean()) - repeats,
    )


def pilot_spreads(before: Iterable[AnswerRecord], after: Iterable[AnswerRecord], where: str) -> Spreads:
    """Spreads from two runs of a benchmark: analysis of variance of repeats, questions and clusters.

    Args:
        before: Records of one checkpoint.
        after: Records of another.
        where: The runs, for messages.

    Raises:
        InputError: fewer than 10 common clusters, or one answer per question.
    """
    sides = [_scores_by_item(records) for records in (before, after)]
    items = [item for item in sides[0] if item in sides[1]]
    clusters = [sides[0][item][0] for item in items]
    repeats = [_repeat_variance([side[item][1] for item in items]) for side in sides]
    if len(set(clusters)) < 10 or None in repeats:
        raise InputError(
            "the pilot is too small",
            where=where,
            found=f"{len(set(clusters))} common clusters, {'one answer' if None in repeats else 'several answers'} "
            "per question",
            expected="10 clusters with at least two epochs in each run",
        )
    difference = np.array([np.mean(sides[1][i][1]) - np.mean(sides[0][i][1]) for i in items])
    noise = float(
        np.mean([sum((r or 0.0) / len(s[i][1]) for r, s in zip(repeats, sides, strict=True)) for i in items])
    )
    codes = np.unique(clusters, return_inverse=True)[1]
    size = np.bincount(codes).astype(np.float64)
    means = np.bincount(codes, weights=difference) / size
    count = len(size)
    between = float((size * (means - difference.mean()) ** 2).sum() / (count - 1))
    if count == len(items):
        return Spreads("pilot", max(between - noise, 0.0), 0.0, sum(r or 0.0 for r in repeats), count)
    within = float(((difference - means[codes]) ** 2).sum() / (len(items) - count))
    typical = (len(items) - float((size**2).sum()) / len(items)) / (count - 1)
    return Spreads(
        "pilot", max((between - within) / typical, 0.0), max(within - noise, 0.0), sum(r or 0.0 for r in repeats), count
    )  # fmt: skip


def _scores_by_item(records: Iterable[AnswerRecord]) -> dict[str, tuple[str, list[float]]]:
    """Cluster and the scores in points of every item's answers; answers without a score are left out."""
    found: dict[str, tuple[str, list[float]]] = {}
    for record in records:
        if record.overall is not None:
            found.setdefault(record.item, (record.cluster, []))[1].append(record.overall * 100)
    return found


def _repeat_variance(scores: Sequence[Sequence[float]]) -> float | None:
    """Pooled variance between repeats of an answer; None where no question has two."""
    several = [values for values in scores if len(values) > 1]
    freedom = sum(len(values) - 1 for values in several)
    return sum(float(np.var(v)) * len(v) for v in several) / freedom if freedom else None


def upper_ends(spreads: Spreads, sizes: Sequence[int], epochs: int, level: float) -> Floats:
    """Upper ends of the interval in simulated comparisons without a difference, points, ascending; shape (RUNS,).

    Args:
        spreads: Of the difference.
        sizes: Questions of each cluster.
        epochs: Answers per question.
        level: Confidence level.
    """
    size = np.array(sizes, dtype=np.float64)[:, None]
    spread = np.sqrt(size**2 * spreads.cluster + size * (spreads.question + spreads.answer / epochs))
    normal = np.random.default_rng(21).standard_normal((len(sizes), RUNS))
    table = cluster_table(spread * normal, np.broadcast_to(size, normal.shape))
    return np.asarray(np.sort(t_interval(table, level).high), dtype=np.float64)


def detectable(spreads: Spreads, sizes: Sequence[int], epochs: int, level: float) -> float:
    """Smallest true difference that is shown with a power of `POWER`, points.

    It is also the smallest margin at which a checkpoint that lost nothing is shown to be ``retained``: both verdicts
    ask one end of one interval to stay clear of one number.
    """
    return float(np.quantile(upper_ends(spreads, sizes, epochs, level), POWER))


def power_of(spreads: Spreads, sizes: Sequence[int], epochs: int, level: float, reach: float) -> float:
    """Probability that the interval of a difference ``reach`` points away stays clear of it."""
    return float(np.mean(upper_ends(spreads, sizes, epochs, level) < reach))


def part_of(sizes: Sequence[int], count: int) -> list[int]:
    """Sizes of that many clusters, drawn without replacement by a fixed seed."""
    return [sizes[k] for k in np.random.default_rng(22).permutation(len(sizes))[:count]]


def cheapest(spreads: Spreads, sizes: Sequence[int], level: float, want: Want) -> Cheapest:
    """The design with the fewest answers that reaches what is wanted.

    Args:
        spreads: Of the difference.
        sizes: Questions of each cluster of the whole benchmark.
        level: Confidence level.
        want: What it must show.
    """
    order = part_of(sizes, len(sizes))
    found: list[Cheapest] = []
    for epochs in EPOCHS:
        low, high = 6, len(order)
        most = power_of(spreads, order, epochs, level, want.reach)
        if most < POWER:
            continue
        power = most
        while low < high:
            middle = (low + high) // 2
            reached = power_of(spreads, order[:middle], epochs, level, want.reach)
            low, high, power = (middle + 1, high, power) if reached < POWER else (low, middle, reached)
        found.append(Cheapest(spreads.source, epochs, high, sum(order[:high]), power, True))
    if found:
        return min(found, key=lambda design: design.epochs * design.questions)
    power = power_of(spreads, order, EPOCHS[-1], level, want.reach)
    return Cheapest(spreads.source, EPOCHS[-1], len(order), sum(order), power, False)
