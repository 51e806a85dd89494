"""The columns of known data sets, converted to one shape: a document, or a prompt with its answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from value_retention.train.errors import TrainError

Row = Mapping[str, Any]
Message = dict[str, str]
ROLES = ("system", "user", "assistant")


class UnusableRowError(Exception):
    """A row that cannot be used. Its text is the reason that the row is counted under."""


@dataclass(frozen=True)
class Example:
    """One row of a data set, in the shape that all formats share."""

    text: str | None = None
    """A plain document, for mid-training."""
    prompt: tuple[Message, ...] = ()
    """A conversation that ends with a user turn."""
    answer: str | None = None
    """The assistant's turn after the prompt, if the data set has one."""


Format = tuple[Callable[[Row], Example], tuple[str, ...]]
"""Function that reads a row, and the columns that it needs."""


def text(row: Row) -> Example:
    """Plain documents, column ``text``."""
    return Example(text=_stripped(row["text"], "text"))


def rlhflow(row: Row) -> Example:
    """RLHFlow prompt collections: context_messages, a conversation that ends with a user turn."""
    return Example(prompt=_conversation(row["context_messages"]))


def ultrafeedback(row: Row) -> Example:
    """HuggingFaceH4/ultrafeedback_binarized: chosen, a conversation with the better-rated answer last."""
    chosen = row["chosen"]
    if not isinstance(chosen, list) or not chosen or chosen[-1].get("role") != "assistant":
        raise UnusableRowError("the chosen conversation does not end with an answer")
    return Example(prompt=_conversation(chosen[:-1]), answer=_stripped(chosen[-1].get("content"), "chosen"))


def _dialogues(question: str, answer: str, context: str | None = None) -> Format:
    """Format of a data set with the columns question, answer and, if named, context, which may be empty."""

    def read(row: Row) -> Example:
        content = _stripped(row[question], question)
        extra = row[context] if context else None
        if isinstance(extra, str) and extra.strip():
            content += f"\n\n{extra.strip()}"
        return Example(prompt=({"role": "user", "content": content},), answer=_stripped(row[answer], answer))

    return read, (question, context, answer) if context else (question, answer)


FORMATS: dict[str, Format] = {
    "text": (text, ("text",)),
    "dolly": _dialogues("instruction", "response", context="context"),  # databricks/databricks-dolly-15k
    "alpaca": _dialogues("instruction", "output", context="input"),  # tatsu-lab/alpaca
    "magicoder": _dialogues("instruction", "response"),  # ise-uiuc/Magicoder-Evol-Instruct-110K
    "oss_instruct": _dialogues("problem", "solution"),  # ise-uiuc/Magicoder-OSS-Instruct-75K
    "rlhflow": (rlhflow, ("context_messages",)),
    "ultrafeedback": (ultrafeedback, ("chosen",)),
}
"""By the name in a config."""


def stage_row(example: Example, stage: str) -> dict[str, Any]:
    """Return the row in the form that the trainer takes.

    Args:
        example: One example.
        stage: ``midtrain`` (``{"text": ...}``), ``sft`` (``{"prompt": [...], "completion": [...]}``, so that
            the loss is on the answer alone) or ``grpo`` (``{"prompt": [...]}``, without the answer).

    Raises:
        UnusableRowError: The example lacks what the stage needs.
    """
    if stage == "midtrain":
        if example.text is None:
            raise UnusableRowError("not a document")
        return {"text": example.text}
    if not example.prompt:
        raise UnusableRowError("no prompt")
    prompt = [dict(message) for message in example.prompt]
    if stage == "grpo":
        return {"prompt": prompt}
    if example.answer is None:
        raise UnusableRowError("no answer")
    return {"prompt": prompt, "completion": [{"role": "assistant", "content": example.answer}]}


def check_columns(rows: Iterable[Any], dataset_format: str, where: str) -> None:
    """Check that the first row of a data set has the columns of its format.

    Raises:
        TrainError: The data set is empty, or a column is missing.
    """
    expected = FORMATS[dataset_format][1]
    first = next(iter(rows), None)
    if first is None:
        raise TrainError("the data set is empty", where=where)
    found = sorted(first) if isinstance(first, dict) else type(first).__name__
    if not isinstance(first, dict) or not set(expected) <= set(first):
        raise TrainError(
            f"the data set lacks columns of {dataset_format}", where=where, found=found,
            expected=", ".join(expected), hint="choose the --dataset_format that fits, or rename the columns",
        )  # fmt: skip


def _conversation(messages: Any) -> tuple[Message, ...]:
    if not isinstance(messages, list) or not messages:
        raise UnusableRowError("empty conversation")
    turns: list[Message] = []
    for message in messages:
        if not isinstance(message, Mapping) or message.get("role") not in ROLES:
            raise UnusableRowError("message with an unknown role")
        turns.append({"role": message["role"], "content": _stripped(message.get("content"), "message")})
    if turns[-1]["role"] != "user":
        raise UnusableRowError("the conversation does not end with a user turn")
    return tuple(turns)


def _stripped(value: Any, what: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise UnusableRowError(f"empty {what}")
    return value.strip()
