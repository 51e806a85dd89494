"""From a model's output to its answer: where the reasoning ends, and whether the token limit cut the output.

``<think>`` blocks are removed as Inspect removes them. All other markers stand in `MARKERS`, and a user adds to them
with the setting ``reasoning_markers``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache

from value_retention.tasks import upstream
from value_retention.tasks.record import CUT

Pairs = tuple[tuple[str, str], ...]

MARKERS: Pairs = (
    ("<thinking>", "</thinking>"),  # models prompted or tuned to write Claude's tags
    ("<thought>", "</thought>"),  # EXAONE Deep; Gemini through its OpenAI-compatible API
    ("<reasoning>", "</reasoning>"),  # models of GRPO recipes with <reasoning> and <answer>
    ("[THINK]", "[/THINK]"),  # Magistral, Ministral
    ("<seed:think>", "</seed:think>"),  # Seed-OSS
    ("<longcat_think>", "</longcat_think>"),  # LongCat
    ("◁think▷", "◁/think▷"),  # Kimi-VL, Kimi k1.5
    ("<|channel>thought\n", "<channel|>"),  # Gemma 4
    ("<unused94>thought\n", "<unused95>"),  # MedGemma
    ("<|inner_prefix|>", "<|inner_suffix|>"),  # Apertus
    ("<|START_THINKING|>", "<|END_THINKING|>"),  # Command A Reasoning
    ("<|begin_of_thought|>", "<|end_of_thought|>"),  # Sky-T1, OpenThinker
    ("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),  # gpt-oss (harmony)
    ("analysis", "assistantfinal"),  # the same, decoded without its special tokens
)
"""Start and end of reasoning. Unlike ``<think>``, a block counts only at the start of the text: a tag within an answer
is part of it."""

MOST_BLOCKS = 30
"""Starts or ends of ``<think>`` blocks that Inspect's slow pattern is asked to remove. In a text with more, all is
reasoning up to the last ``</think>``."""

_THINK_END = "</think>"
_THINK_START = re.compile(r"\A\s*<think(?:\s[^>]*)?>")
_WORD = re.compile(r"\S|\Z")
_BEFORE = r"(?:<\|end\|>)?(?:<\|start\|>assistant)?"
_AFTER = r"(?:\s*<\|(?:START_RESPONSE|begin_of_solution)\|>)?"
"""What the models above write around a marker."""


def split(
    text: str,
    thoughts: Sequence[str] = (),
    thinking: bool | None = None,
    truncated: bool | None = None,
    markers: Pairs = (),
) -> tuple[str, str | None]:
    """Split a text into answer and reasoning.

    Everything up to an end that has no start is reasoning too: some chat templates put the start into the prompt. A
    block without its end (the token limit came first) leaves an empty answer.

    Args:
        text: The model's output.
        thoughts: Reasoning that the harness has already removed.
        thinking: Whether the model was asked to think, and its thoughts are in `text`. If so, an output that the
            token limit cut before any end of reasoning is all reasoning.
        truncated: Whether the token limit cut the output.
        markers: Further starts and ends of reasoning, as plain text.

    Returns:
        Answer and reasoning. Without reasoning: the unchanged text and None.
    """
    answer, found, pairs = text, [*thoughts], (*markers, *MARKERS)
    if any(sign in text for sign in _signs(pairs)):
        answer, blocks = _without_think(text)
        answer, more = _without_blocks(answer, pairs)
        found += [*blocks, *more]
    if thinking and truncated and not found:
        answer, found = "", [text.strip()]
    return (answer.strip(), "\n\n".join(found)) if found else (text, None)


@cache
def _signs(pairs: Pairs) -> set[str]:
    """Of each marker, its first character or, where that is a letter, all of it: texts without these have none."""
    markers = [marker for pair in pairs for marker in pair]
    return {"<"} | {marker if marker[0].isalnum() else marker[0] for marker in markers}


def _without_think(text: str) -> tuple[str, list[str]]:
    found = []
    # A block needs a closing tag. Inspect's pattern is slow on texts that only repeat the opening tag.
    starts, ends = text.count("<think") + text.count("<summary>"), text.count(_THINK_END)
    few = max(starts, ends) <= MOST_BLOCKS
    while few and _THINK_END in text:
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


@cache
def _pattern(pairs: Pairs) -> re.Pattern[str]:
    """Every marker as a group: ``s3`` is the start of the fourth pair, ``e3`` its end."""
    groups = []
    for n, (start, end) in enumerate(pairs):
        # The bare word is a marker only where a sentence follows at once.
        sentence = "(?=[A-Z])" if start == "analysis" else ""
        groups += [f"(?P<s{n}>{re.escape(start)}{sentence})", f"(?P<e{n}>{re.escape(end)})"]
    first = re.escape("".join({"<"} | {marker[0] for pair in pairs for marker in pair}))
    return re.compile(f"(?=[{first}]){_BEFORE}(?:{'|'.join(groups)}){_AFTER}")


def _without_blocks(text: str, pairs: Pairs) -> tuple[str, list[str]]:
    """The text after its blocks, in one pass over the markers."""
    found: list[str] = []
    position, word = 0, _first_word(text, 0)
    opened: str | None = None
    within: Counter[str] = Counter()  # ends that belong to starts in the answer
    for mark in _pattern(pairs).finditer(text):
        group = str(mark.lastgroup)
        start, end = pairs[int(group[1:])]
        if group[0] == "s" and not start == end == opened:
            if opened is None and mark.start() <= word:
                opened, position = end, mark.end()
            elif opened is None:
                within[end] += 1
        elif opened is None and within[end]:
            within[end] -= 1
        elif opened in (None, end):
            found.append(text[position : mark.start()].strip())
            position, word = mark.end(), _first_word(text, mark.end())
            opened = None
            within.clear()
    if opened is not None:
        found.append(text[position:].strip())
        position = len(text)
    return text[position:], found


def _first_word(text: str, position: int) -> int:
    """Where the text goes on after white space."""
    match = _WORD.search(text, position)
    assert match is not None
    return match.start()


def truncated_by_reason(reason: str) -> bool | None:
    """Whether the token limit cut an output, from Inspect's ``stop_reason``. None if unknown."""
    return None if reason == "unknown" else reason in CUT
