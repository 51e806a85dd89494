"""What a user may set, from ``--metadata`` or ``-T`` over the environment over the packaged default."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from value_retention.tasks.errors import InputError

KEYS = ("judge", "judge_args", "data", "epochs", "languages")
ENVIRONMENT = {key: f"VALUE_RETENTION_{key.upper()}" for key in KEYS}

# Settings of the judge that can move a grade: recorded, and part of what makes runs comparable.
SCORING_ARGS = (
    "temperature",
    "top_p",
    "top_k",
    "max_tokens",
    "seed",
    "frequency_penalty",
    "presence_penalty",
    "reasoning_effort",
    "reasoning_tokens",
    "parse_retries",
    "protocol",
)
# Settings of the tested model that a record names.
SAMPLING_ARGS = (
    "temperature",
    "top_p",
    "top_k",
    "max_tokens",
    "seed",
    "stop_seqs",
    "system_message",
    "reasoning_effort",
    "reasoning_tokens",
)
# Settings that cannot: how fast, how patiently, by which route.
TRANSPORT_ARGS = ("max_connections", "max_retries", "attempt_timeout", "batch", "base_url", "processes")
MAX_CONNECTIONS = 32
"""Calls of a judge that are under way at once, where nothing else is set."""
PROTOCOLS = ("per_dimension", "batched")

CHOICES = (
    "judge=PROVIDER/MODEL (any Inspect model name, such as openai/gpt-5-mini; several between commas make a "
    "panel), judge=lexical (offline, not an LLM, for trying things out), or judge=none (save the answers and "
    "judge them later with `value-retention judge`)"
)

_SECRET_KEY = re.compile(
    r"(^|[_-])(api[_-]?key|(auth|access|hf)[_-]?token|password|authorization)$"
    r"|(^|[_-])secret([_-]|$)|^token$|^(azure|aws|openai|anthropic|google|together|hf)[_-]?key$",
    re.I,
)
_SECRET_VALUE = re.compile(
    r"\b(sk-[A-Za-z0-9_-]{12,}|hf_[A-Za-z0-9]{16,}|AIza[A-Za-z0-9_-]{20,}|gsk_[A-Za-z0-9]{16,}"
    r"|xai-[A-Za-z0-9]{16,})"
    r"|://[^/\s:@]+:[^/\s@]+@|\bBearer\s+\S{8,}"
    r"|://\S+[?&](\w*[_-])?(key|token|secret|sig|signature)=[^&\s]",
    re.I,
)
_NO_SECRETS = {"", "none", "empty", "dummy", "local", "null"}

# Judge settings that are numbers: the type and the least value (None: any).
_NUMBERS: dict[str, tuple[type, int | None]] = {
    "temperature": (float, 0),
    "top_p": (float, 0),
    "top_k": (int, None),
    "max_tokens": (int, 1),
    "seed": (int, None),
    "frequency_penalty": (float, None),
    "presence_penalty": (float, None),
    "reasoning_tokens": (int, 0),
    "parse_retries": (int, 0),
    "max_connections": (int, 1),
    "max_retries": (int, 0),
    "attempt_timeout": (int, 1),
    "processes": (int, 0),
}
# The same for the batch mode, where ``batch`` is an object: the keys of Inspect's BatchConfig.
_BATCH: dict[str, tuple[type, int | None]] = {
    "size": (int, 1),
    "max_size": (int, 1),
    "send_delay": (float, 0),
    "tick": (float, 0),
    "max_batches": (int, 1),
    "max_consecutive_check_failures": (int, 1),
}
_BATCH_SIZE = 100
"""Calls that Inspect waits for before it submits a batch, where nothing else is set."""
_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


@dataclass(frozen=True)
class Settings:
    """A run's choices. `judges` is None when nobody chose, and empty for ``none``."""

    judges: tuple[str, ...] | None = None
    judge_args: dict[str, Any] = field(default_factory=dict)
    data: str = "hub"
    epochs: int | None = None
    languages: tuple[str, ...] | None = None

    def require_judge(self) -> Settings:
        """The same settings, if somebody chose a judge.

        Raises:
            InputError: naming the three choices.
        """
        if self.judges is None:
            raise InputError(
                "no judge is configured, and a model must not judge itself unnoticed",
                where="metadata key 'judge' (or the environment variable VALUE_RETENTION_JUDGE)",
                expected=CHOICES,
            )
        return self


def read_settings(
    values: Mapping[str, Any], environ: Mapping[str, str], options: Mapping[str, str] | None = None
) -> Settings:
    """Settings from a harness's key-value pairs and the environment; the pairs win.

    Keys of others (model arguments share the mapping in lm-eval) are left alone, unless one is a secret or
    looks like a misspelling of ours. Messages name a key as `options` has it, where it came from a command's
    option and not from metadata.

    Raises:
        InputError: a secret, a misspelt key, or a value that cannot be used.
    """
    refuse_secrets(values, "--metadata or --model_args")
    _refuse_misspelt(values)
    given: dict[str, Any] = {}
    where: dict[str, str] = {}
    for key, variable in ENVIRONMENT.items():
        if values.get(key) is not None:
            given[key], where[key] = values[key], (options or {}).get(key, f"metadata key {key!r}")
        elif environ.get(variable):
            given[key], where[key] = environ[variable], f"environment variable {variable}"
    settings = Settings()
    if "judge" in given:
        settings = replace(settings, judges=_judges(given["judge"], where["judge"]))
    if "judge_args" in given:
        settings = replace(settings, judge_args=_judge_args(given["judge_args"], where["judge_args"]))
    if "data" in given:
        settings = replace(settings, data=str(given["data"]))
    if "epochs" in given:
        settings = replace(settings, epochs=_epochs(given["epochs"], where["epochs"]))
    if "languages" in given:
        settings = replace(settings, languages=tuple(names_of(given["languages"])))
    return settings


def refuse_secrets(values: Mapping[str, Any], where: str) -> None:
    """Refuse a key or token among values that a harness writes into its results.

    Raises:
        InputError: naming the key, never the value.
    """
    for key, value in values.items():
        if isinstance(value, Mapping):
            refuse_secrets(value, f"{where}, {key}")
            continue
        if isinstance(value, list | tuple):
            refuse_secrets({f"{key}[{n}]": part for n, part in enumerate(value)}, where)
            continue
        named = _SECRET_KEY.search(str(key)) and str(value).strip().lower() not in _NO_SECRETS
        if value is not None and (named or (isinstance(value, str) and _SECRET_VALUE.search(value))):
            raise InputError(
                "a secret here would be written into the results file",
                where=f"{where}, key {key!r}",
                expected="secrets in the environment only",
                hint="export the provider's variable (OPENAI_API_KEY, HF_TOKEN, ...) and leave the key out",
            )


def public_args(values: Mapping[str, Any]) -> dict[str, Any]:
    """Model arguments for the record: ours and the harness's bookkeeping left out."""
    skip = {*KEYS, "version", "config_source", "token", "api_key"}
    return {key: value for key, value in sorted(values.items()) if key not in skip}


def _refuse_misspelt(values: Mapping[str, Any]) -> None:
    for key in values:
        name = str(key)
        if name in KEYS:
            continue
        close = difflib.get_close_matches(name.lower(), KEYS, n=1, cutoff=0.8)
        # No model argument begins so: such a key was meant for us.
        close = close or (["judge_args"] if name.lower().startswith("judge") else [])
        if close:
            raise InputError(
                "a misspelt key",
                where="--metadata",
                found=repr(name),
                expected=f"{close[0]!r} (the keys are {', '.join(KEYS)})",
            )


def names_of(value: object) -> list[str]:
    """A list, or text with commas (brackets allowed, as shells and YAML leave them)."""
    if isinstance(value, list | tuple):
        return [str(part).strip() for part in value]
    parts = str(value).strip().removeprefix("[").removesuffix("]").split(",")
    return [part.strip().strip("'\"") for part in parts if part.strip()]


def _judges(value: object, where: str) -> tuple[str, ...]:
    names = names_of(value)
    if names == ["none"]:
        return ()
    if not names or "none" in names or len(set(names)) != len(names):
        raise InputError("a judge that cannot be used", where=where, found=repr(value), expected=CHOICES)
    return tuple(names)


def _judge_args(value: object, where: str) -> dict[str, Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            # The text itself may hold a secret.
            raise InputError("judge_args is no JSON object", where=where, found=str(error)) from None
    if not isinstance(value, dict):
        raise InputError("judge_args is no object", where=where, found=repr(value))
    refuse_secrets(value, where)
    # null stands for what is set where nothing is.
    value = {key: setting for key, setting in value.items() if setting is not None}
    unknown = [key for key in value if key not in SCORING_ARGS + TRANSPORT_ARGS]
    if unknown:
        raise InputError(
            "an unknown judge setting",
            where=where,
            found=", ".join(map(repr, unknown)),
            expected=", ".join(SCORING_ARGS + TRANSPORT_ARGS),
        )
    for key, (kind, least) in _NUMBERS.items():
        if key in value:
            _check_number(value[key], kind, least, f"{where}, {key}")
    if value.get("batch"):
        _check_batch(value["batch"], value, f"{where}, batch")
    if value.get("reasoning_effort") not in (None, *_EFFORTS):
        raise InputError(
            "an unknown reasoning effort",
            where=where,
            found=repr(value["reasoning_effort"]),
            expected=", ".join(_EFFORTS),
        )
    if value.get("protocol", PROTOCOLS[0]) not in PROTOCOLS:
        raise InputError(
            "an unknown protocol", where=where, found=repr(value["protocol"]), expected=" or ".join(PROTOCOLS)
        )
    return value


def _check_batch(batch: object, args: Mapping[str, Any], where: str) -> None:
    size: Any = _BATCH_SIZE
    if isinstance(batch, dict):
        unknown = [key for key in batch if key not in _BATCH]
        if unknown:
            raise InputError(
                "an unknown batch setting",
                where=where,
                found=", ".join(map(repr, unknown)),
                expected=", ".join(_BATCH),
            )
        for key, (kind, least) in _BATCH.items():
            if batch.get(key) is not None:
                _check_number(batch[key], kind, least, f"{where}, {key}")
        size = batch.get("size") or size
    elif batch is not True:
        _check_number(batch, int, 1, where)
        size = batch
    if (connections := args.get("max_connections")) is not None and connections < size:
        raise InputError(
            "fewer connections than a batch has calls",
            where=where,
            found=f"max_connections {connections}, size {size}",
            expected="no max_connections: all calls wait for their batches at once",
        )
    if args.get("attempt_timeout") is not None:
        raise InputError(
            "a timeout for calls that wait for their batch, up to a day",
            where=where,
            found=f"attempt_timeout {args['attempt_timeout']}",
            expected="no attempt_timeout",
        )


def _check_number(number: object, kind: type, least: int | None, where: str) -> None:
    accepted = int if kind is int else int | float
    right = isinstance(number, accepted) and not isinstance(number, bool) and math.isfinite(number)
    if not right or (least is not None and number < least):  # type: ignore[operator]
        raise InputError(
            "a judge setting out of range",
            where=where,
            found=repr(number),
            expected=("a whole number" if kind is int else "a number")
            + ("" if least is None else f" from {least}"),
        )


def _epochs(value: object, where: str) -> int:
    try:
        epochs = int(str(value))
    except ValueError:
        epochs = 0
    if epochs < 1:
        raise InputError(
            "epochs out of range", where=where, found=repr(value), expected="a whole number from 1"
        )
    return epochs
