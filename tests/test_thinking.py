"""What settings say about thinking."""

from __future__ import annotations

from typing import Any

import pytest

from value_retention.adapters.thinking import read_thinking


@pytest.mark.parametrize(
    ("settings", "said", "rest"),
    [
        ({"temperature": 1.0, "max_tokens": 9}, {}, {"temperature": 1.0, "max_tokens": 9}),
        ({"enable_thinking": True, "dtype": "auto"}, {"thinking": True}, {"dtype": "auto"}),
        ({"enable_thinking": "False"}, {"thinking": False}, {}),
        ({"chat_template_args": {"thinking": True, "x": 1}}, {"thinking": True}, {"chat_template_args": {"x": 1}}),
        (
            {"extra_body": {"chat_template_kwargs": {"enable_thinking": False}, "top_k": 20}},
            {"thinking": False},
            {"top_k": 20},
        ),
        ({"thinking": {"type": "enabled", "budget_tokens": 9}}, {"thinking": True}, {"reasoning_tokens": 9}),
        ({"thinking": {"type": "disabled"}}, {"thinking": False}, {}),
        ({"reasoning": {"max_tokens": 0}, "top_k": 9}, {"thinking": False}, {"top_k": 9, "reasoning_tokens": 0}),
        ({"reasoning": {"enabled": True, "effort": "low"}}, {"thinking": True, "reasoning_effort": "low"}, {}),
        ({"reasoning_effort": "high"}, {"reasoning_effort": "high"}, {}),
        ({"reasoning_effort": "none"}, {"reasoning_effort": "none", "thinking": False}, {}),
        ({"reasoning_tokens": 9}, {"thinking": True}, {"reasoning_tokens": 9}),
    ],
)  # fmt: skip
def test_every_spelling_gives_one_name(
    settings: dict[str, Any], said: dict[str, Any], rest: dict[str, Any]
) -> None:
    assert read_thinking(settings) == (said, rest)
