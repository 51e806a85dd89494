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


def text(row: Row) -> Example:
    """Plain documents, column ``text``."""
    return Example(text=_filled(row, "text"))


def dolly(row: Row) -> Example:
    """databricks/databricks-dolly-15k: instruction, context (may be empty), response, category."""
    return _turn(_filled(row, "instruction"), _optional(row, "context"), _filled(row, "response"))


def alpaca(row: Row) -> Example:
    """tatsu-lab/alpaca: instruction, input (may be empty), output."""
    return _turn(_filled(row, "instruction"), _optional(row, "input"), _filled(row, "output"))


def magicoder(row: Row) -> Example:
    """ise-uiuc/Magicoder-Evol-Instruct-110K: instruction, response."""
    return _turn(_filled(row, "instruction"), "", _filled(row, "response"))


def oss_instruct(row: Row) -> Example:
    """ise-uiuc/Magicoder-OSS-Instruct-75K: problem, solution (and lang, which the problem states)."""
    return _turn(_filled(row, "problem"), "", _filled(row, "solution"))


def rlhflow(row: Row) -> Example:
    """RLHFlow prompt collections: context_messages, a conversation that ends with a user turn."""
    return Example(prompt=_conversation(row["context_messages"]))


def ultrafeedback(row: Row) -> Example:
    """HuggingFaceH4/ultrafeedback_binarized: chosen, a conversation with the better-rated answer last."""
    chosen = row["chosen"]
    if not isinstance(chosen, list) or not chosen or chosen[-1].get("role") != "assistant":
        raise UnusableRowError("the chosen conversation does not end with an answer")
    return Example(prompt=_conversation(chosen[:-1]), answer=_stripped(chosen[-1].get("content"), "chosen"))


FORMATS: dict[str, tuple[Callable[[Row], Example], tuple[str, ...]]] = {
    "text": (text, ("text",)),
    "dolly": (dolly, ("instruction", "context", "response")),
    "alpaca": (alpaca, ("instruction", "input", "output")),
    "magicoder": (magicoder, ("instruction", "response")),
    "oss_instruct": (oss_instruct, ("problem", "solution")),
    "rlhflow": (rlhflow, ("context_messages",)),
    "ultrafeedback": (ultrafeedback, ("chosen",)),
}
"""Name in a config -> (function, required columns)."""


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


def _turn(instruction: str, context: str, answer: str) -> Example:
    content = f"{instruction}\n\n{context}" if context else instruction
    return Example(prompt=({"role": "user", "content": content},), answer=answer)


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


def _filled(row: Row, column: str) -> str:
    return _stripped(row[column], column)


def _stripped(value: Any, what: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise UnusableRowError(f"empty {what}")
    return value.strip()


def _optional(row: Row, column: str) -> str:
    value = row[column]
    return value.strip() if isinstance(value, str) else ""
