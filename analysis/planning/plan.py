"""Size of a run before it starts: answers, judge calls, tokens, and the smallest difference it can detect."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from value_retention.tasks.batched import batched_prompt, criteria
from value_retention.tasks.benchmark import ANIMA_2_2, MORU
from value_retention.tasks.load import Dataset
from value_retention.tasks.rubric import judge_calls

CountTokens = Callable[[str], float]

REPLY_TOKENS = {"per_dimension": 220.0, "batched": 60.0}
"""Assumed tokens of a reply. Per dimension, the judge may write up to 300 words of reasoning and the grade. Batched,
it writes a short sentence and a grade per criterion, and the figure is per criterion. Set ``--reply-tokens`` to
what your judge writes; `value-retention judge` prints the tokens that providers counted."""

# Standard error of a paired difference in points, by number of epochs, from simulations of ANIMA-like data
# (115 questions that vary, a model-by-question effect, noisy repeats).
_EPOCH_ERRORS = {1: 3.2, 2: 2.3, 5: 1.9, 10: 1.6, 30: 1.4}
_CLUSTERS = 115
MDE_AT_DESIGN = {ANIMA_2_2.name: 5.1, MORU.name: 5.4}
"""Minimum detectable effect in points at 80 % power with 5 epochs and all questions (same simulations)."""


@dataclass(frozen=True)
class Plan:
    """Size of one run of one benchmark, over all epochs and judges."""

    benchmark: str
    questions: int
    clusters: int
    epochs: int
    answers: int
    calls: int
    input_tokens: float
    output_tokens: float
    answer_tokens: float
    """Tokens that the evaluated model writes."""
    detectable: float
    """Smallest difference between two checkpoints that is detected with 80 % power, in points."""
    more_epochs: dict[int, float]
    """The same by number of epochs."""


def estimate_tokens(text: str) -> float:
    """Estimate tokens as bytes / 4: within about 10 % for English, too many for other languages."""
    return len(text.encode("utf-8")) / 4


def answer_text(tokens: int, count: CountTokens) -> str:
    """Return a text of about that many tokens, in place of an answer in a prompt."""
    words = "The animal may feel this and its interests count, so weigh the harm with care. "
    per_copy = max(1.0, count(words * 20) / 20)
    return words * max(1, round(tokens / per_copy))


def plan(
    dataset: Dataset,
    epochs: int,
    judges: int,
    answer_tokens: int,
    count: CountTokens,
    protocol: str = "per_dimension",
    reply_tokens: float | None = None,
) -> Plan:
    """Render every prompt once and count calls and tokens.

    Args:
        dataset: The benchmark's rows.
        epochs: Answers per question.
        judges: Size of the panel.
        answer_tokens: Length of an answer.
        count: Function from a text to its number of tokens.
        protocol: ``per_dimension`` or ``batched``.
        reply_tokens: Tokens of a reply (batched: per criterion); None for `REPLY_TOKENS`.
    """
    answer = answer_text(answer_tokens, count)
    each = REPLY_TOKENS[protocol] if reply_tokens is None else reply_tokens
    calls, tokens_in, tokens_out = 0, 0.0, 0.0
    for item in dataset.items:
        if protocol == "batched":
            prompts = [batched_prompt(dataset, item, answer)]
            tokens_out += each * len(criteria(dataset, item))
        else:
            prompts = [call.prompt for call in judge_calls(dataset, item, answer)]
            tokens_out += each * len(prompts)
        calls += len(prompts)
        tokens_in += sum(map(count, prompts))
    clusters = len({item.cluster for item in dataset.items})
    name = dataset.benchmark.name
    return Plan(
        benchmark=name,
        questions=len(dataset.items),
        clusters=clusters,
        epochs=epochs,
        answers=len(dataset.items) * epochs,
        calls=calls * epochs * judges,
        input_tokens=tokens_in * epochs * judges,
        output_tokens=tokens_out * epochs * judges,
        answer_tokens=float(answer_tokens) * len(dataset.items) * epochs,
        detectable=detectable_difference(name, clusters, epochs),
        more_epochs={n: detectable_difference(name, clusters, n) for n in _EPOCH_ERRORS},
    )


def detectable_difference(benchmark: str, clusters: int, epochs: int) -> float:
    """Smallest difference in points between two checkpoints that is detected with 80 % power at the 5 % level.

    The simulated value of the full design, scaled by the square root of the number of clusters and by the
    simulated standard error for the number of epochs. The number of questions limits what more epochs can gain.
    """
    full = 67 if benchmark == MORU.name else _CLUSTERS
    return MDE_AT_DESIGN[benchmark] * math.sqrt(full / clusters) * epoch_error(epochs) / _EPOCH_ERRORS[5]


def epoch_error(epochs: int) -> float:
    """Standard error in points, the root of a^2 + b^2 / epochs fitted to the simulated values."""
    if epochs in _EPOCH_ERRORS:
        return _EPOCH_ERRORS[epochs]
    # The variances of questions and of repeats, from both ends of the simulated series.
    repeats = (_EPOCH_ERRORS[1] ** 2 - _EPOCH_ERRORS[30] ** 2) / (1 - 1 / 30)
    return math.sqrt(_EPOCH_ERRORS[1] ** 2 - repeats + repeats / epochs)
