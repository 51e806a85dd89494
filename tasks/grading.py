"""From a model's text to its answer, and from a judge's reply to its grade."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from value_retention.tasks import upstream
from value_retention.tasks.record import CUT, Outcome
from value_retention.tasks.scale import Scale, read_grade

_THINK_END = "</think>"
_THINK_START = re.compile(r"\A\s*<think(?:\s[^>]*)?>")


def split_reasoning(text: str, thoughts: Sequence[str] = ()) -> tuple[str, str | None]:
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
    found = list(thoughts)
    # Without a closing tag there is no block. This check keeps the slow pattern off texts that only repeat the
    # opening tag.
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
    return (text.strip(), "\n\n".join(found)) if found else (text, None)


class Reading(NamedTuple):
    """What a judge's reply counts as."""

    outcome: Outcome
    raw: str | None = None
    """The grade, as the scale offers it."""
    worth: float | None = None
    """In [0, 1]."""


def read_reply(reply: str | None, stop_reason: str | None, scale: Scale) -> Reading:
    """Read a judge's reply.

    A reply that the token limit cut does not count as a grade, whatever it says: its last words may be a thought.

    Args:
        reply: The judge's words. None if there are none.
        stop_reason: Why the judge stopped (see `record.GradeRecord.stop_reason`).
        scale: The grades on offer.
    """
    if reply is None:
        return Reading("judge_error")
    if stop_reason in CUT:
        return Reading("cut")
    found = read_grade(reply, scale)
    return Reading("unparsed") if found is None else Reading("graded", *found)
