"""User settings: ``--metadata`` or ``-T`` first, then the environment, then the packaged default."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from value_retention.tasks.errors import InputError
from value_retention.tasks.text import redacted

LEXICAL = "lexical"
"""Name of the offline judge, the only one that is not an Inspect model's."""

CHOICES = (
    "judge=PROVIDER/MODEL (any Inspect model name, such as openai/gpt-5-mini; separate the judges of a panel "
    f"by commas), judge={LEXICAL} (offline, not an LLM, for trying things out), or judge=none (save the answers "
    "and judge them later with `value-retention judge`)"
)

_SECRET_KEY = re.compile(
    r"(^|[_-])(api[_-]?key|(auth|access|hf)[_-]?token|password|authorization)$"
    r"|(^|[_-])secret([_-]|$)|^token$|^(azure|aws|openai|anthropic|google|together|hf)[_-]?key$",
    re.I,
)
_NO_SECRETS = {"", "none", "empty", "dummy", "local", "null"}


def names_of(value: object) -> list[str]:
    """Names from a list, or from comma-separated text (brackets allowed, as shells and YAML leave them)."""
    if isinstance(value, list | tuple):
        return [str(part).strip() for part in value]
    parts = str(value).strip().removeprefix("[").removesuffix("]").split(",")
    return [part.strip().strip("'\"") for part in parts if part.strip()]


def _panel(value: object) -> list[str]:
    names = names_of(value)
    if names == ["none"]:
        return []
    if not names or "none" in names or len(set(names)) != len(names):
        raise ValueError(CHOICES)
    return names


def _pairs(value: object, read: ValidatorFunctionWrapHandler) -> object:
    try:
        return read(value)
    except ValidationError:
        raise ValueError('pairs of texts that start and end reasoning: [["<plan>", "</plan>"]]') from None


class _Checked(BaseModel):
    """Values without unknown keys. Numbers are finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Number = int | float
Weight = Annotated[Number, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Mark = Annotated[str, Field(min_length=1)]


class ScoringArgs(_Checked, strict=True):
    """Judge settings that can change a grade. They are recorded, and runs are comparable only if they agree."""

    temperature: Weight | None = None
    top_p: Weight | None = None
    top_k: int | None = None
    max_tokens: Positive | None = None
    seed: int | None = None
    frequency_penalty: Number | None = None
    presence_penalty: Number | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    reasoning_tokens: Count | None = None
    parse_retries: Count | None = None


class TransportArgs(_Checked, strict=True):
    """Judge settings that cannot change a grade."""

    max_connections: Positive | None = None
    max_retries: Count | None = None
    attempt_timeout: Positive | None = None
    base_url: str | None = None


class JudgeArgs(TransportArgs, ScoringArgs):
    """All judge settings. `repeat` asks the judge the same again, without its earlier replies."""

    repeat: Positive | None = None


SCORING_ARGS, TRANSPORT_ARGS = tuple(ScoringArgs.model_fields), tuple(TransportArgs.model_fields)
REPEAT = "repeat"

SAMPLING_ARGS = (
    *("temperature", "top_p", "top_k", "max_tokens", "seed", "stop_seqs"),
    *("system_message", "reasoning_effort", "reasoning_tokens"),
)
"""Settings of the tested model that records hold."""


class Settings(_Checked):
    """The settings of a run.

    Attributes:
        judges: None if no judge is set, and empty for ``none``.
        judge_args: Those of `JudgeArgs` that are set.
        resume: Whether answers in the journal may be used.
        reasoning_markers: Further starts and ends of reasoning (see `reasoning.MARKERS`).
    """

    judges: Annotated[tuple[str, ...], BeforeValidator(_panel)] | None = Field(None, alias="judge")
    judge_args: dict[str, Any] = Field(default_factory=dict)
    data: str = "hub"
    epochs: Annotated[Positive, BeforeValidator(str)] | None = None
    languages: Annotated[tuple[str, ...], BeforeValidator(names_of)] | None = None
    resume: bool = True
    reasoning_markers: Annotated[tuple[tuple[Mark, Mark], ...], WrapValidator(_pairs)] = ()

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


KEYS = tuple(field.alias or name for name, field in Settings.model_fields.items())
ENVIRONMENT = {key: f"VALUE_RETENTION_{key.upper()}" for key in KEYS}

Model = TypeVar("Model", bound=_Checked)


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
    for key in ("judge_args", "reasoning_markers"):
        if isinstance(given.get(key), str):
            given[key] = _from_json(given[key], where[key])
            refuse_secrets({key: given[key]}, where[key])
    if isinstance(given.get("judge_args"), dict):
        args = _checked(JudgeArgs, given["judge_args"], where["judge_args"])
        given["judge_args"] = args.model_dump(exclude_none=True)  # null means not set
    return _checked(Settings, given, where)


def _from_json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        # Do not show the text: it may hold a secret.
        raise InputError("invalid JSON", where=where, found=str(error)) from None


def _checked(model: type[Model], given: dict[str, Any], where: str | Mapping[str, str]) -> Model:
    """The settings of a mapping.

    Args:
        model: Their model.
        given: Values by key.
        where: Where they are from: all of them, or each.

    Raises:
        InputError: an unknown key, or an invalid value.
    """
    try:
        return model.model_validate(given)
    except ValidationError as error:
        problem = error.errors(include_url=False)[-1]  # of a number, the first says that it is not an integer
    key = str(problem["loc"][0])
    if problem["type"] == "extra_forbidden":
        raise InputError(
            "unknown setting", where=str(where), found=repr(key), expected=", ".join(model.model_fields)
        )
    place = f"{where}, {key}" if isinstance(where, str) else where[key]
    expected = problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    raise InputError(f"invalid {key}", where=place, found=repr(given[key]), expected=expected)


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
        close = difflib.get_close_matches(name.lower(), KEYS, n=1, cutoff=0.85)
        # No model argument starts with "judge".
        close = close or (["judge_args"] if name.lower().startswith("judge") else [])
        if close:
            raise InputError(
                "misspelt key",
                where="--metadata",
                found=repr(name),
                expected=f"{close[0]!r} (the keys are {', '.join(KEYS)})",
            )
