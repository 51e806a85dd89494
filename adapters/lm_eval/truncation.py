"""Whether the token limit cut an output of lm-eval, which does not tell. Unknown is None."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

SURELY, HARDLY = 0.98, 0.8
"""Shares of the limit, in tokens. An answer with at least the first was cut, one with less than the second was not.
Between them it is unknown: a text can have fewer tokens when it is tokenized again than when it was generated."""

_LIMITS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
"""lm-eval's names of the limit, in its order of precedence."""


def truncated_by_length(count: int, limit: int) -> bool | None:
    """From the number of tokens in an output (answer and reasoning) and the limit."""
    if count >= SURELY * limit:
        return True
    return False if count < HARDLY * limit else None


def output_judge(
    model_args: Mapping[str, Any], generation: Mapping[str, Any], stripped: bool = False
) -> Callable[[str], bool | None]:
    """A function from an lm-eval output to whether the limit cut it.

    lm-eval's ``generate_until`` returns no finish reason, so the model's own tokenizer counts. It is the one that the
    model arguments name (``tokenizer``, or ``pretrained`` of a local model). Without one everything is unknown.

    Args:
        model_args: lm-eval's model arguments.
        generation: Its generation settings.
        stripped: Whether lm-eval removes reasoning (``think_end_token``). A text that fills the limit was then cut
            before the reasoning ended. Of any other nothing is known.
    """
    limit = next((generation[name] for name in _LIMITS if generation.get(name) is not None), None)
    tokenizer = tokenizer_of(model_args) if isinstance(limit, int) else None
    if tokenizer is None or not isinstance(limit, int):
        return lambda _: None

    def truncated(text: str) -> bool | None:
        found = truncated_by_length(len(tokenizer.encode(text, add_special_tokens=False)), limit)
        return (found or None) if stripped else found

    return truncated


def tokenizer_of(model_args: Mapping[str, Any]) -> Any:
    """The tokenizer that lm-eval's model arguments name; None where they name none that can be loaded."""
    name = model_args.get("tokenizer") or (
        None if model_args.get("base_url") else model_args.get("pretrained")
    )
    if not isinstance(name, str):
        return None
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(
            name,
            revision=str(model_args.get("revision") or "main"),
            trust_remote_code=str(model_args.get("trust_remote_code", False)).lower() == "true",
        )
    except (OSError, ValueError, ImportError, KeyError):
        return None
