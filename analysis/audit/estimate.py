"""What is left to do of an audit: answers, judge calls, tokens, time and money, before any of it is spent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from value_retention.adapters.settings import LEXICAL
from value_retention.analysis.audit.spec import Audit
from value_retention.analysis.planning.plan import estimate_tokens, plan
from value_retention.tasks.data import Dataset

ANSWER_TOKENS = 600
"""Assumed tokens of an answer, as in `value-retention plan`."""


@dataclass(frozen=True)
class Estimate:
    """At most this much is left: what an interrupted step has saved is not subtracted.

    Attributes:
        models: Models without finished answers.
        answers: Their answers to the benchmarks.
        answer_tokens: Tokens that the models write for them.
        calls: Judge calls for all models that are not judged.
        input_tokens: Tokens that the judge reads.
        output_tokens: Tokens that it writes.
        minutes_answers: At the audit's ``tokens_per_second``.
        minutes_judge: At the audit's ``calls_per_second``.
        usd: Price of the judge; None without a price.
    """

    models: int
    answers: int
    answer_tokens: float
    calls: int
    input_tokens: float
    output_tokens: float
    minutes_answers: float
    minutes_judge: float
    usd: float | None


def estimate(
    audit: Audit, datasets: Sequence[Dataset], unanswered: Sequence[str], unjudged: Sequence[str]
) -> Estimate:
    """Count what is left.

    Args:
        audit: The audit.
        datasets: Its benchmarks' rows.
        unanswered: Models without finished answers.
        unjudged: Models whose answers are not judged.
    """
    paid = [name for name in audit.judge if name != LEXICAL]
    plans = []
    for dataset in datasets:
        epochs = audit.epochs or dataset.benchmark.epochs
        plans.append(plan(dataset, epochs, len(paid), ANSWER_TOKENS, estimate_tokens))
    calls = sum(p.calls for p in plans) * len(unjudged)
    read, written = (sum(getattr(p, name) for p in plans) * len(unjudged) * bool(paid)
                     for name in ("input_tokens", "output_tokens"))  # fmt: skip
    tokens = sum(p.answer_tokens for p in plans) * len(unanswered)
    return Estimate(
        models=len(unanswered),
        answers=sum(p.answers for p in plans) * len(unanswered),
        answer_tokens=tokens,
        calls=calls,
        input_tokens=read,
        output_tokens=written,
        minutes_answers=tokens / audit.tokens_per_second / 60,
        minutes_judge=calls / audit.calls_per_second / 60,
        usd=None if audit.usd is None else audit.usd.cost(read, written),
    )


def lines(audit: Audit, found: Estimate) -> list[str]:
    """The estimate in words."""
    said = []
    if found.answers:
        plural = "s" if found.models > 1 else ""
        said.append(
            f"{found.models} model{plural}: at most {found.answers:,} answers, "
            f"about {found.answer_tokens:,.0f} tokens, "
            f"{found.minutes_answers:,.0f} minutes at {audit.tokens_per_second:g} tokens per second"
        )
    if found.models and audit.capability:
        said.append(f"besides, for each of them: {', '.join(audit.capability.tasks)} (not estimated)")
    if found.calls:
        said.append(
            f"judge {', '.join(audit.judge)}: at most {found.calls:,} calls, "
            f"about {found.input_tokens:,.0f} tokens read "
            f"and {found.output_tokens:,.0f} written, {found.minutes_judge:,.0f} minutes at "
            f"{audit.calls_per_second:g} calls per second"
        )
        said.append(
            f"cost of the judge: about {found.usd:,.2f} US dollars"
            if found.usd is not None
            else "cost of the judge: unknown; `price: {input: ..., output: ...}` in the file gives it"
        )
    return said
