"""From a model's output to its answer: where the reasoning ends, and whether the token limit cut the output."""

from __future__ import annotations

import re
from collections.abc import Sequence

from value_retention.tasks import upstream
from value_retention.tasks.record import CUT

_THINK_END = "</think>"
_THINK_START = re.compile(r"\A\s*<think(?:\s[^>]*)?>")


def split(text: str, thoughts: Sequence[str] = ()) -> tuple[str, str | None]:
    """Split a text into answer and reasoning.

    Blocks between thinking tags are removed as Inspect removes them. After that, everything up to a ``</think>``
    is reasoning too: some chat templates put the opening tag into the prompt, so the text lacks it. An unclosed
    block (the token limit came first) leaves an empty answer.

    Args:
        text: The model's output.
        thoughts: Reasoning that the harness has already removed.

    Returns:
        Answer and reasoning. Without reasoning: the unchanged text and None.
    """
    answer, found = _without_think(text)
    found = [*thoughts, *found]
    return (answer.strip(), "\n\n".join(found)) if found else (text, None)


def _without_think(text: str) -> tuple[str, list[str]]:
    found = []
    # Without a closing tag there is no block. Inspect's pattern is slow on texts that only repeat the opening tag.
    while _THINK_END in text:
        text, thought = upstream.take_thought(text)
        if thought is None:
            break
        found.append(thought)
    before, end, after = text.rpartition(_THINK_END)
    if end:
        found.append(before.strip())
        text = after.strip()
    if opened := _THINK_START.match(text):
        found.append(text[opened.end() :].strip())
        text = ""
    return text, found


def truncated_by_reason(reason: str) -> bool | None:
    """Whether the token limit cut an output, from Inspect's ``stop_reason``. None if unknown."""
    return None if reason == "unknown" else reason in CUT
