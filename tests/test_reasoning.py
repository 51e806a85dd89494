"""From a model's output to its answer."""

from __future__ import annotations

import time

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from value_retention.tasks.reasoning import MARKERS, split, truncated_by_reason

# -- <think>, as Inspect splits it ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "answer", "reasoning"),
    [
        ("Plain.\n", "Plain.\n", None),
        ("", "", None),
        ("<think>hm</think>Yes.", "Yes.", "hm"),
        ("<think>\nhm\n</think>\n\nYes.\n", "Yes.", "hm"),
        ("hm</think>\nYes.", "Yes.", "hm"),
        ("<think>never ends", "", "never ends"),
        ("<think>a</think>One.<think>b</think>Two.", "One.Two.", "a\n\nb"),
        ("<think>a</think>b</think>Yes.", "Yes.", "a\n\nb"),
        ("Use the <think> tag.", "Use the <think> tag.", None),
        ("<THINK>Yes.", "<THINK>Yes.", None),
        ("<think></think>Yes.", "Yes.", ""),
        ("<think>all of it</think>", "", "all of it"),
        ('<think signature="x">hm</think>Yes.', "Yes.", "hm"),
    ],
)
def test_what_comes_before_the_end_of_thinking_is_kept_apart(
    written: str, answer: str, reasoning: str | None
) -> None:
    assert split(written) == (answer, reasoning)


def test_thoughts_that_the_harness_took_out_come_first() -> None:
    assert split("Yes.", ["first"]) == ("Yes.", "first")
    assert split("b</think>Yes.", ["first"]) == ("Yes.", "first\n\nb")


@given(
    st.lists(st.sampled_from(["<think>", "</think>", "<think", ">", "a", " ", "\n"]), max_size=12).map(
        "".join
    )
)
def test_splitting_ends_and_leaves_no_thought(text: str) -> None:
    answer, reasoning = split(text)
    assert "</think>" not in answer
    assert not answer.lstrip().startswith("<think>")
    if reasoning is not None:
        assert split(answer) in [(answer, None), ("", answer.strip())]


# -- other markers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "answer", "reasoning"),
    [
        ("[THINK]hm[/THINK]Yes.", "Yes.", "hm"),
        ("\n<thinking>\na\n</thinking>\n<reasoning>b</reasoning>\n\nYes.\n", "Yes.", "a\n\nb"),
        ("hm</seed:think>\nYes.", "Yes.", "hm"),
        ("a</thinking>b</thinking>Yes.", "Yes.", "a\n\nb"),
        ("<thought>never ends", "", "never ends"),
        ("◁think▷all of it◁/think▷", "", "all of it"),
        ("<|channel>thought\n<channel|>Yes.", "Yes.", ""),
        ("<|START_THINKING|>hm<|END_THINKING|><|START_RESPONSE|>Yes.", "Yes.", "hm"),
        (
            "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>Yes.",
            "Yes.",
            "hm",
        ),
        ("<|channel|>final<|message|>Yes.", "Yes.", ""),
        ("analysisWe say yes.assistantfinalYes.", "Yes.", "We say yes."),
        ("analysisWe say", "", "We say"),
        ("analysis of yes.", "analysis of yes.", None),
        ("Write <thinking>hm</thinking>, then answer.", "Write <thinking>hm</thinking>, then answer.", None),
        ("Yes. <reasoning>since it hurts", "Yes. <reasoning>since it hurts", None),
        ("<think>a</think><thinking>b</thinking>Yes.", "Yes.", "a\n\nb"),
    ],
)
def test_a_block_at_the_start_is_reasoning_and_a_tag_in_the_answer_is_not(
    written: str, answer: str, reasoning: str | None
) -> None:
    assert split(written) == (answer, reasoning)


PAIRS = [("<think>", "</think>"), ("<mine>", "</mine>"), *MARKERS]
WORDS = st.text("abcXYZ .<>/[]|\n", max_size=40)


def has_marker(text: str) -> bool:
    return any(end in text or text.lstrip().startswith(start) for start, end in PAIRS)


@given(st.sampled_from(PAIRS), st.lists(WORDS, min_size=1, max_size=4), WORDS, st.booleans())
def test_what_is_wrapped_in_markers_is_taken_off(
    pair: tuple[str, str], texts: list[str], said: str, prompted: bool
) -> None:
    start, end = pair
    thoughts = [f"We{text}" for text in texts[: 1 if start == "analysis" else None]]
    written = "".join(start + thought + end for thought in thoughts)
    if prompted:  # the template put the first start into the prompt
        written = written.removeprefix(start)
    answer, reasoning = split(f"{written}Yes{said}", markers=(PAIRS[1],))
    assert answer == f"Yes{said}".strip()
    if not (prompted and start == "<think>"):  # whose whole blocks are taken off first
        assert reasoning == "\n\n".join(thought.strip() for thought in thoughts)


@given(st.sampled_from(PAIRS), WORDS)
def test_a_block_that_never_ends_is_all_reasoning(pair: tuple[str, str], text: str) -> None:
    assert split(f"{pair[0]}We{text}", markers=(PAIRS[1],)) == ("", f"We{text}".strip())


def test_a_marker_may_start_and_end_reasoning() -> None:
    markers = (("***", "***"),)
    assert split("***hm***Yes, ***all*** of it.", markers=markers) == ("Yes, ***all*** of it.", "hm")
    assert split("***hm", markers=markers) == ("", "hm")


@given(WORDS, st.sampled_from([start for start, _ in PAIRS if start != "analysis"]))
def test_text_without_blocks_is_unchanged(text: str, start: str) -> None:
    assume(not has_marker(text))
    assert split(text, markers=(PAIRS[1],)) == (text, None)
    assert split(f"A {start} {text}", markers=(PAIRS[1],)) == (f"A {start} {text}", None)


def test_a_cut_output_of_a_model_that_thinks_is_all_reasoning_unless_reasoning_has_ended() -> None:
    assert split("Let me see", (), True, True) == ("", "Let me see")
    assert split("hm</think>Yes, it", (), True, True) == ("Yes, it", "hm")
    assert split("Yes, it", ["hm"], True, True) == ("Yes, it", "hm")
    for thinking, truncated in ((None, True), (False, True), (True, None), (True, False)):
        assert split("Let me see", (), thinking, truncated) == ("Let me see", None)


THINK_UNITS = ("<think>", "<think", "</think>", "<think></think>", "<summary>", "x")


@pytest.mark.parametrize(
    ("unit", "end"),
    [
        *((unit, "</think>Yes.") for unit in THINK_UNITS),
        *((unit, "</thinking>Yes.") for unit in ("<thinking>", "</thinking>", "<thinking></thinking>", " ")),
        *((unit, "assistantfinalYes.") for unit in ("analysis", "assistantfinal", "<|end|>")),
        *((unit, "") for unit in ("<think>", "[THINK]")),
    ],
)
def test_a_megabyte_of_markers_takes_seconds(unit: str, end: str) -> None:
    started = time.process_time()
    split("<think>" * (unit == "<summary>") + unit * (1_000_000 // len(unit)) + end)
    assert time.process_time() - started < 10


# -- truncated ------


def test_inspects_stop_reason_tells_whether_the_limit_cut_an_answer() -> None:
    reasons = ("max_tokens", "model_length", "stop", "content_filter", "unknown")
    assert [truncated_by_reason(reason) for reason in reasons] == [True, True, False, False, None]
