"""YAML files that are read by a pydantic model. One message names the line of everything that is wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from value_retention.tasks.errors import InputError

SHOWN = 10
"""Largest number of mistakes in one message."""


class Strict(BaseModel):
    """A mapping without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


M = TypeVar("M", bound=Strict)


def read_yaml(file: Path, model: type[M], what: str, expected: str) -> M:
    """Read a YAML file.

    Args:
        file: The file.
        model: What it holds. Its validators get the file's folder as context.
        what: What it is, for messages: ``benchmark``.
        expected: Where the keys are explained, for messages.

    Raises:
        InputError: missing file, invalid YAML, or invalid values. Names their lines.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        reader = loader(file.read_text("utf-8"))
        node = reader.get_single_node()
        values = None if node is None else reader.construct_document(node)
    except OSError as error:
        raise InputError(
            f"cannot read the {what}", where=str(file), found=error.strerror, expected=f"a {file.name}"
        ) from None
    except (yaml.YAMLError, UnicodeError) as error:
        raise InputError("invalid YAML", where=str(file), found=str(error)) from None
    try:
        return model.model_validate(values, context=str(file.resolve().parent))
    except ValidationError as error:
        # A default that needs another value fails with it.
        problems = [p for p in error.errors(include_url=False) if p["type"] != "default_factory_not_called"]
    found: dict[tuple[int, str], str] = {}
    for problem in problems:
        place = _place(node, problem)
        found.setdefault(place, problem_text(problem))
    lines = [f"line {line}, {key}: {text}" if key else text for (line, key), text in sorted(found.items())]
    more = [f"{len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    listed = "".join(f"\n    - {line}" for line in [*lines[:SHOWN], *more])
    raise InputError(f"invalid {what}", where=str(file), found=listed, expected=expected)


def problem_text(problem: Mapping[str, Any]) -> str:
    """What is wrong with a value, and the value."""
    if problem["type"] == "missing":
        return "missing"
    if problem["type"] == "extra_forbidden":
        return "unknown key"
    message = str(problem["msg"]).removeprefix("Value error, ")
    value = problem["input"]
    shown = f" (found {json.dumps(value, ensure_ascii=False, default=str)[:80]})"
    return message[:1].lower() + message[1:] + (shown if isinstance(value, str | int | float) else "")


def _place(node: Any, problem: Mapping[str, Any]) -> tuple[int, str]:
    """Line (from 1) and keys of the value that an error is about. Pydantic's names of union members are left out."""
    keys: list[str] = []
    line = node.start_mark.line + 1 if node is not None else 1
    for part in problem["loc"]:
        step = None
        if type(node).__name__ == "SequenceNode" and isinstance(part, int) and part < len(node.value):
            step = (node.value[part], node.value[part])
        elif type(node).__name__ == "MappingNode":
            step = next(((key, value) for key, value in node.value if key.value == part), None)
        if step is not None:
            line, node = step[0].start_mark.line + 1, step[1]
        if step is not None or problem["type"] == "missing":
            keys.append(str(part))
    return line, ".".join(keys)
