"""User settings: ``--metadata`` or ``-T`` first, then the environment, then the packaged default."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from value_retention.tasks.errors import InputError
from value_retention.tasks.text import redacted

KEYS = ("judge", "judge_args", "data", "epochs", "languages", "resume")
ENVIRONMENT = {key: f"VALUE_RETENTION_{key.upper()}" for key in KEYS}

# Judge settings that can change a grade. They are recorded, and runs are comparable only if they agree.
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
)
# Settings of the tested model that records hold.
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
# Judge settings that cannot change a grade.
TRANSPORT_ARGS = ("max_connections", "max_retries", "attempt_timeout", "base_url")
# Asks the judge the same again, without its earlier replies. Runs with different numbers are comparable.
REPEAT = "repeat"
CHOICES = (
    "judge=PROVIDER/MODEL (any Inspect model name, such as openai/gpt-5-mini; separate the judges of a panel "
    "by commas), judge=lexical (offline, not an LLM, for trying things out), or judge=none (save the answers "
    "and judge them later with `value-retention judge`)"
)

_SECRET_KEY = re.compile(
    r"(^|[_-])(api[_-]?key|(auth|access|hf)[_-]?token|password|authorization)$"
    r"|(^|[_-])secret([_-]|$)|^token$|^(azure|aws|openai|anthropic|google|together|hf)[_-]?key$",
    re.I,
)
_NO_SECRETS = {"", "none", "empty", "dummy", "local", "null"}

# Numeric judge settings: type and minimum (None: any).
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
    "repeat": (int, 1),
    "max_connections": (int, 1),
    "max_retries": (int, 0),
    "attempt_timeout": (int, 1),
}
_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


@dataclass(frozen=True)
class Settings:
    """The settings of a run. `judges` is None if no judge is set, and empty for ``none``."""

    judges: tuple[str, ...] | None = None
    judge_args: dict[str, Any] = field(default_factory=dict)
    data: str = "hub"
    epochs: int | None = None
    languages: tuple[str, ...] | None = None
    resume: bool = True
    """Whether answers in the journal may be used."""

    def require_judge(self) -> Settings:
        """Return these settings if they name a judge.

        Raises:
            InputError: no judge is set. The message names the three choices.
        """
        if self.judges is None:
            raise InputError(
                "no judge is configured (a model must not judge itself unnoticed)",
                where="metadata key 'judge' (or the environment variable VALUE_RETENTION_JUDGE)",
                expected=CHOICES,
            )
        return self


def read_settings(
    values: Mapping[str, Any], environ: Mapping[str, str], options: Mapping[str, str] | None = None
) -> Settings:
    """Read settings from a harness's key-value pairs and the environment. The pairs take precedence.

    In lm-eval, model arguments share the mapping: unknown keys are ignored unless one holds a secret or looks
    like a misspelling of ours.

    Args:
        values: Key-value pairs.
        environ: Environment variables.
        options: Command-line option of each key, for error messages. Without it they name the metadata key.

    Raises:
        InputError: a secret, a misspelt key, or an invalid value.
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
    if "resume" in given:
        settings = replace(settings, resume=_boolean(given["resume"], where["resume"]))
    return settings


def refuse_secrets(values: Mapping[str, Any], where: str) -> None:
    """Refuse secrets in values that a harness writes to its results.

    Raises:
        InputError: a secret. The message names the key, never the value.
    """
    for key, value in values.items():
        if isinstance(value, Mapping):
            refuse_secrets(value, f"{where}, {key}")
            continue
        if isinstance(value, list | tuple):
            refuse_secrets({f"{key}[{n}]": part for n, part in enumerate(value)}, where)
            continue
        named = _SECRET_KEY.search(str(key)) and str(value).strip().lower() not in _NO_SECRETS
        if value is not None and (named or (isinstance(value, str) and redacted(value) != value)):
            raise InputError(
                "a secret here would be written to the results file",
                where=f"{where}, key {key!r}",
                expected="secrets in the environment only",
                hint="export the provider's variable (OPENAI_API_KEY, HF_TOKEN, ...) and leave the key out",
            )


def public_args(values: Mapping[str, Any]) -> dict[str, Any]:
    """Model arguments for the record, without our keys, secrets and the harness's bookkeeping."""
    skip = {*KEYS, "pairs", "version", "config_source", "token", "api_key"}
    return {
        key: redacted(value) if isinstance(value, str) else value
        for key, value in sorted(values.items())
        if key not in skip
    }


def _refuse_misspelt(values: Mapping[str, Any]) -> None:
    for key in values:
        name = str(key)
        if name in KEYS:
            continue
        close = difflib.get_close_matches(name.lower(), KEYS, n=1, cutoff=0.8)
        # No model argument starts with "judge".
        close = close or (["judge_args"] if name.lower().startswith("judge") else [])
        if close:
            raise InputError(
                "misspelt key",
                where="--metadata",
                found=repr(name),
                expected=f"{close[0]!r} (the keys are {', '.join(KEYS)})",
            )


def names_of(value: object) -> list[str]:
    """Names from a list, or from comma-separated text (brackets allowed, as shells and YAML leave them)."""
    if isinstance(value, list | tuple):
        return [str(part).strip() for part in value]
    parts = str(value).strip().removeprefix("[").removesuffix("]").split(",")
    return [part.strip().strip("'\"") for part in parts if part.strip()]


def _judges(value: object, where: str) -> tuple[str, ...]:
    names = names_of(value)
    if names == ["none"]:
        return ()
    if not names or "none" in names or len(set(names)) != len(names):
        raise InputError("invalid judge", where=where, found=repr(value), expected=CHOICES)
    return tuple(names)


def _judge_args(value: object, where: str) -> dict[str, Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            # Do not show the text: it may hold a secret.
            raise InputError("invalid JSON in judge_args", where=where, found=str(error)) from None
    if not isinstance(value, dict):
        raise InputError("judge_args is not a JSON object", where=where, found=repr(value))
    refuse_secrets(value, where)
    # null means not set.
    value = {key: setting for key, setting in value.items() if setting is not None}
    unknown = [key for key in value if key not in (*SCORING_ARGS, *TRANSPORT_ARGS, REPEAT)]
    if unknown:
        raise InputError(
            "unknown judge setting",
            where=where,
            found=", ".join(map(repr, unknown)),
            expected=", ".join((*SCORING_ARGS, *TRANSPORT_ARGS, REPEAT)),
        )
    for key, (kind, least) in _NUMBERS.items():
        if key in value:
            _check_number(value[key], kind, least, f"{where}, {key}")
    if value.get("reasoning_effort") not in (None, *_EFFORTS):
        raise InputError(
            "unknown reasoning effort",
            where=where,
            found=repr(value["reasoning_effort"]),
            expected=", ".join(_EFFORTS),
        )
    return value


def _check_number(number: object, kind: type, least: int | None, where: str) -> None:
    accepted = int if kind is int else int | float
    right = isinstance(number, accepted) and not isinstance(number, bool) and math.isfinite(number)
    if not right or (least is not None and number < least):  # type: ignore[operator]
        raise InputError(
            "judge setting out of range",
            where=where,
            found=repr(number),
            expected=("a whole number" if kind is int else "a finite number")
            + ("" if least is None else f" of at least {least}"),
        )


def _boolean(value: object, where: str) -> bool:
    text = str(value).lower()
    if text not in ("true", "false"):
        raise InputError("invalid value", where=where, found=repr(value), expected="true or false")
    return text == "true"


def _epochs(value: object, where: str) -> int:
    try:
        epochs = int(str(value))
    except ValueError:
        epochs = 0
    if epochs < 1:
        raise InputError(
            "epochs out of range", where=where, found=repr(value), expected="a whole number of at least 1"
        )
    return epochs
