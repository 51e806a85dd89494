"""What settings say about thinking, whatever an engine or a service calls it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CONTAINERS = ("extra_body", "chat_template_kwargs", "chat_template_args")
"""Settings that hold settings."""

_IN_BLOCK = {
    "enabled": "thinking",
    "effort": "reasoning_effort",
    "budget_tokens": "reasoning_tokens",
    "max_tokens": "reasoning_tokens",
}
"""Names in a ``thinking: {...}`` (Anthropic) or ``reasoning: {...}`` (OpenRouter), and those outside of one."""


def read_thinking(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Take from settings what they say about thinking.

    Args:
        values: Settings of a request or of a model, by name.

    Returns:
        ``thinking`` (true or false) and ``reasoning_effort``, as far as they are set, and all other settings.
    """
    said: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    for name, value in values.items():
        if name in CONTAINERS and isinstance(value, Mapping):
            within, left = read_thinking(value)
            said |= within
            # A request's extra body is a part of the request.
            rest |= left if name == "extra_body" else {name: left} if left else {}
        elif name in ("thinking", "reasoning") and isinstance(value, Mapping):
            block = {_IN_BLOCK.get(str(key), str(key)): one for key, one in value.items()}
            if "type" in block:
                block["thinking"] = block.pop("type") != "disabled"
            within, left = read_thinking(block)
            said |= within
            rest |= left
        elif name in ("thinking", "enable_thinking") and str(value).lower() in ("true", "false"):
            said["thinking"] = str(value).lower() == "true"
        elif name == "reasoning_effort" and value is not None:
            said |= {name: value} | ({"thinking": False} if value == "none" else {})
        else:
            said |= {"thinking": value > 0} if name == "reasoning_tokens" and isinstance(value, int) else {}
            rest[name] = value
    return said, rest
