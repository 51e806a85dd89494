"""What a run will take, before anything is spent: calls, tokens, time, money, and what it could detect."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from value_retention.tasks.batched import batched_prompt, criteria
from value_retention.tasks.benchmark import ANIMA_2_2, MORU
from value_retention.tasks.load import Dataset
from value_retention.tasks.rubric import judge_calls

CountTokens = Callable[[str], float]

REPLY_TOKENS = {"per_dimension": 220.0, "batched": 60.0}
"""Tokens of a reply: the judge is asked for at most 300 words of reasoning and the grade; a batched reply has
one short sentence and one grade for each criterion, so this is per criterion there. An assumption: pass
``--reply-tokens`` with what your judge writes (`value-retention judge` prints what providers counted)."""

# Standard error of a paired difference over epochs, in points, by simulation on data shaped like ANIMA
# (115 questions with spread, a model-by-question effect, noisy repeats): 3.2 / 2.3 / 1.9 / 1.6 / 1.4.
_EPOCH_ERRORS = {1: 3.2, 2: 2.3, 5: 1.9, 10: 1.6, 30: 1.4}
_CLUSTERS = 115
MDE_AT_DESIGN = {ANIMA_2_2.name: 5.1, MORU.name: 5.4}
"""Minimum detectable effect in points at 80 % power, 5 epochs, all questions (same simulations)."""


@dataclass(frozen=True)
class Plan:
    """One benchmark's needs for one run, all epochs and judges together."""

    benchmark: str
    questions: int
    clusters: int
    epochs: int
    answers: int
    calls: int
    input_tokens: float
    output_tokens: float
    answer_tokens: float
    """Tokens that the tested model writes."""
    detectable: float
    """Smallest difference between two checkpoints found with 80 % power, in points."""
    more_epochs: dict[int, float]
    """The same with other numbers of epochs."""


def estimate_tokens(text: str) -> float:
    """Tokens without a tokenizer: bytes / 4, which fits English to about a tenth and overstates others."""
    return len(text.encode("utf-8")) / 4


def answer_text(tokens: int, count: CountTokens) -> str:
    """A text of about that many tokens, to stand for an answer in a prompt."""
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
    """Count calls and tokens on the rows themselves: every prompt is rendered and measured once.

    Args:
        dataset: The benchmark's rows.
        epochs: Answers per question.
        judges: Size of the panel.
        answer_tokens: Length of an answer.
        count: Tokens of a text, by the judge's tokenizer or an estimate.
        protocol: ``per_dimension`` or ``batched``.
        reply_tokens: Tokens of a reply (per criterion when batched).
    """
    answer = answer_text(answer_tokens, count)
    each = REPLY_TOKENS[protocol] if reply_tokens is None else reply_tokens
    calls, tokens_in, tokens_out = 0, 0.0, 0.0
    for item in dataset.items:
        if protocol == "batched":
            prompts: Iterable[str] = [batched_prompt(dataset, item, answer)]
            tokens_out += each * len(criteria(dataset, item))
        else:
            prompts = [call.prompt for call in judge_calls(dataset, item, answer)]
            tokens_out += each * len(list(prompts))
        sizes = [count(prompt) for prompt in prompts]
        calls += len(sizes)
        tokens_in += sum(sizes)
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
    """Smallest difference between two checkpoints found with 80 % power at the 5 % level, in points.

    The simulated value of the full design, scaled by the square root of the clusters and by the standard
    error that simulations gave for the number of epochs. Questions set the floor: many epochs do not help.
    """
    full = 67 if benchmark == MORU.name else _CLUSTERS
    return MDE_AT_DESIGN[benchmark] * math.sqrt(full / clusters) * epoch_error(epochs) / _EPOCH_ERRORS[5]


def epoch_error(epochs: int) -> float:
    """Standard error in points for a number of epochs: a^2 + b^2 / epochs through the simulated values."""
    # Questions' part and repeats' part from the ends of the simulated series.
    repeats = (_EPOCH_ERRORS[1] ** 2 - _EPOCH_ERRORS[30] ** 2) / (1 - 1 / 30)
    questions = _EPOCH_ERRORS[1] ** 2 - repeats
    if epochs in _EPOCH_ERRORS:
        return _EPOCH_ERRORS[epochs]
    return math.sqrt(questions + repeats / epochs)
