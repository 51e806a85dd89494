"""Size of a run before it starts: answers, judge calls and tokens. `power` says what it can show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from value_retention.tasks.data import Dataset, Item
from value_retention.tasks.prompts import judge_calls
from value_retention.tasks.record import caveats

CountTokens = Callable[[str], float]

REPLY_TOKENS = 220.0
"""Assumed tokens of a reply: the judge may write up to 300 words of reasoning and the grade. Set ``--reply-tokens`` to
what your judge writes; `value-retention judge` prints the tokens that providers counted."""


@dataclass(frozen=True)
class Plan:
    """Size of one run of one benchmark, over all epochs and judges."""

    benchmark: str
    questions: int
    clusters: tuple[int, ...]
    """Questions of each independent cluster."""
    epochs: int
    answers: int
    calls: int
    input_tokens: float
    output_tokens: float
    answer_tokens: float
    """Tokens that the evaluated model writes."""
    translated: bool = False
    """Whether a cluster is one question in several languages."""


def caveat_lines(datasets: Iterable[Dataset]) -> list[str]:
    """Why scores on these rows are not a benchmark's result, a line per benchmark (see `record.caveats`)."""
    notes = {d.benchmark.name: caveats(d.info, asked=len(d)) for d in datasets}
    return [f"{name}: {'; '.join(found)}" for name, found in notes.items() if found]


def estimate_tokens(text: str) -> float:
    """Estimate tokens as bytes / 4: within about 10 % for English, too many for other languages."""
    return len(text.encode("utf-8")) / 4


def conversation(item: Item, answer: str) -> list[str]:
    """The turns before the last answer, if the item has any."""
    return [item.question, *(text for turn in item.turns for text in (answer, turn))] if item.turns else []


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
    reply_tokens: float | None = None,
) -> Plan:
    """Render every prompt once and count calls and tokens.

    Args:
        dataset: The benchmark's rows.
        epochs: Answers per question.
        judges: Size of the panel.
        answer_tokens: Length of an answer.
        count: Function from a text to its number of tokens.
        reply_tokens: Tokens of a reply; None for `REPLY_TOKENS`.
    """
    answer = answer_text(answer_tokens, count)
    tokens = [
        count(call.prompt)
        for item in dataset.items
        for call in judge_calls(dataset, item, answer, conversation(item, answer))
    ]
    calls = len(tokens) * epochs * judges
    return Plan(
        benchmark=dataset.benchmark.name,
        questions=len(dataset.items),
        clusters=tuple(Counter(item.cluster for item in dataset.items).values()),
        epochs=epochs,
        answers=len(dataset.items) * epochs,
        calls=calls,
        input_tokens=sum(tokens) * epochs * judges,
        output_tokens=calls * (REPLY_TOKENS if reply_tokens is None else reply_tokens),
        answer_tokens=float(answer_tokens) * sum(1 + len(item.turns) for item in dataset.items) * epochs,
        translated=dataset.benchmark.rows.translated,
    )
