"""From a model's output to its answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from value_retention.tasks.reasoning import split, truncated_by_reason

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
        ("<thinking>Yes.", "<thinking>Yes.", None),
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


def test_a_model_that_only_opens_thoughts_takes_no_time() -> None:
    assert split("<think>" * 20_000)[0] == ""


# -- truncated ------


def test_inspects_stop_reason_tells_whether_the_limit_cut_an_answer() -> None:
    reasons = ("max_tokens", "model_length", "stop", "content_filter", "unknown")
    assert [truncated_by_reason(reason) for reason in reasons] == [True, True, False, False, None]
