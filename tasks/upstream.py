"""The judge prompts and the grade parser, imported from Inspect and Inspect Evals.

A score is the benchmark's only with these, so they are imported, never retyped. Most have private names, listed in
`adapters/private.py`. `KNOWN` holds their hashes, and a run stops if an installed part has another hash. A record
names its parser by hash: runs are comparable if prompts and parser are equal, in any version of the packages.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from value_retention.tasks.errors import InputError
from value_retention.tasks.record import canonical_json, text_hash

ACCEPT = "VALUE_RETENTION_ACCEPT_PROMPTS"
"""Environment variable: the hash of unknown prompts that the user accepts."""

TRIED = {"inspect_ai": ("0.3.278", "0.3.285"), "inspect_evals": ("0.26.0", "0.26.0")}
"""First and last version in which every part has its `KNOWN` hash."""

KNOWN = {
    "grading instructions": "7c6cdf15888e0f2173e623fb52ba2d0b75aeb575a9937b0e3e66c9f4370afd5a",
    "grade pattern": "15d3dae9a3bb8967d9a2ef6c43a7222acb3a1cab0756109717715a7b4a1a7ce4",
    "grade words": "f90851ccd92c5e2872a82cfe93e6521ec92ae3723e984acb283d02e351dbdcd1",
    "data markers": "c5732c4fe0f8e84bcb7ec8768e825510b1ed940ea29177f8104b807d8c71ae65",
    "thinking blocks": "218189893a61ca1a153f51f1f0ca130e4fb659b389627364b25549382091586a",
}
"""SHA-256 of each part of Inspect. For a function, the hash of its results for `PROBES`. The prompts' hashes are in the
definitions of the benchmarks."""

READING = ("grade pattern", "grade words", "data markers", "thinking blocks")
"""The parts that process texts of models and judges. Together they are the parser that a record names."""

PROBES = (
    "",
    "No marks.",
    "[BEGIN DATA] [end data] [END\u00a0DATA] [END  DATA] [END-DATA] [Begin Data]",
    "<think>a</think>b",
    "before <think>a</think> after <think>b</think> end",
    "<think>\n a <think>b</think> c \n</think>\n\nd",
    '<think signature="rs_1" redacted="true">a\nb</think>c',
    "<think><summary>s</summary> a</think>b",
    "a</think>b",
    "<think>never closed",
    "<THINK>a</THINK>b",
    "<thinking>a</thinking>b",
)


@cache
def imported(source: str) -> str:
    """A prompt of Inspect or Inspect Evals, by ``MODULE:NAME``."""
    module, _, name = source.partition(":")
    text: str = getattr(import_module(module), name)
    return text


@cache
def _model_graded() -> Any:
    return import_module("inspect_ai.scorer._model")


@cache
def instructions() -> str:
    """The grading instructions of ``model_graded_qa`` with the grades C and I on offer."""
    text: str = _model_graded().default_instructions(False)
    return text


def neutralize(text: str) -> str:
    """Defuse ``[BEGIN DATA]`` and ``[END DATA]`` in a question or an answer."""
    defused: str = _model_graded().neutralize_structural_delimiters(text)
    return defused


@cache
def _constants() -> dict[str, Any]:
    """The constants of Inspect's grade parser, read from its file: importing Inspect takes two seconds, and reading
    a record needs nothing else of it."""
    spec = find_spec("inspect_ai")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("inspect_ai")
    file = Path(spec.submodule_search_locations[0]) / "scorer" / "_model.py"
    names = ("_GRADE_SPACING", "_PERMISSIVE_GRADE_PATTERN", "_GRADE_WORD_VALUES")
    lines: list[ast.stmt] = [
        node
        for node in ast.parse(file.read_bytes()).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in names
    ]
    found: dict[str, Any] = {}
    exec(compile(ast.Module(lines, []), str(file), "exec"), found)  # three assignments of literals
    return found


@cache
def grade_pattern() -> re.Pattern[str]:
    """Pattern whose one group is the word after the last ``GRADE:`` of a reply."""
    return re.compile(_constants()["_PERMISSIVE_GRADE_PATTERN"])


@cache
def grade_words() -> dict[str, str]:
    """Spelled-out verdicts (lower case) to their letter."""
    words: dict[str, str] = _constants()["_GRADE_WORD_VALUES"]
    return words


@cache
def reads_known_grades() -> bool:
    """Whether the installed Inspect reads a grade as `KNOWN_PARSER` does."""
    parts = ("grade pattern", "grade words")
    return installed(parts) == {name: KNOWN[name] for name in parts}


def take_thought(text: str) -> tuple[str, str | None]:
    """Remove the first block between thinking tags. Returns the text without it, and the block."""
    rest, capsule = import_module("inspect_ai.model._reasoning").parse_content_with_reasoning(text)
    return rest, None if capsule is None else capsule.reasoning


def _part(name: str) -> object:
    """What is hashed of a part of `KNOWN`."""
    match name:
        case "grading instructions":
            return instructions()
        case "grade pattern":
            return grade_pattern().pattern
        case "grade words":
            return canonical_json(grade_words())
        case "data markers":
            return canonical_json([neutralize(text) for text in PROBES])
        case "thinking blocks":
            return canonical_json([take_thought(text) for text in PROBES])
        case _:
            return imported(name)


def installed(parts: Iterable[str]) -> dict[str, str]:
    """Hash of each part in the installed packages, or ``missing`` if they lack it or its name."""
    found = {}
    for name in parts:
        try:
            found[name] = text_hash(str(_part(name)))
        except (ImportError, AttributeError, TypeError, KeyError, NameError, OSError, SyntaxError):
            found[name] = "missing"
    return found


def _parser(hashes: dict[str, str]) -> str:
    """Name of a parser: version 1 of this project's rules, and the hash of Inspect's parts."""
    return f"1+model_graded_qa-{text_hash(canonical_json([hashes[name] for name in READING]))[:12]}"


KNOWN_PARSER = _parser(KNOWN)
"""The parser of every version in `TRIED`."""


@cache
def parser_version() -> str:
    """Name of the installed parser, for new records."""
    return _parser(installed(READING))


def was_tried(package: str, number: str) -> bool:
    """Whether a version lies in the range of `TRIED`. Development versions do not."""
    first, last = map(_numbers, TRIED[package])
    return first <= _numbers(number) <= last


def _numbers(number: str) -> tuple[int, ...]:
    """The parts of a release's number. Empty for any other text."""
    parts = number.split(".")
    return tuple(map(int, parts)) if all(part.isdecimal() for part in parts) else ()


def parser_of(inspect_version: str) -> str:
    """Name of the parser in a version of Inspect. For an unknown version, the version itself."""
    if was_tried("inspect_ai", inspect_version):
        return KNOWN_PARSER
    return parser_version() if inspect_version == version("inspect_ai") else f"inspect_ai-{inspect_version}"


def same_words(versions: dict[str, str], prompts: Mapping[str, str]) -> bool:
    """Whether the installed packages render the same prompts as these versions (package to version).

    Args:
        versions: Version of each package.
        prompts: Imported prompts, and the hash that each should have.
    """
    return all(
        versions.get(package) == version(package)
        or (was_tried(package, versions.get(package, "")) and not changed(prompts))
        for package in TRIED
    )


def changed(prompts: Mapping[str, str]) -> list[str]:
    """The parts whose installed hash differs from the known one.

    Args:
        prompts: Imported prompts, and the hash that each should have.
    """
    known = KNOWN | dict(prompts)
    return [name for name, found in installed(known).items() if found != known[name]]


def require_known(prompts: Mapping[str, str], others: Mapping[str, str]) -> None:
    """Refuse to start a run with unknown prompts or parser, unless `ACCEPT` holds their hash.

    Args:
        prompts: The benchmark's imported prompt, if it has one, and the hash that it should have.
        others: The prompts of other benchmarks, which are accepted together with it.

    Raises:
        InputError: names the changed parts, the versions that were tried, and the switch.
    """
    unknown = changed(prompts)
    if not unknown:
        return
    hashes = installed([*KNOWN, *dict.fromkeys([*others, *prompts])])
    joint = text_hash(canonical_json(hashes))[:12]
    missing = [name for name in unknown if hashes[name] == "missing"]
    if not missing and os.environ.get(ACCEPT) == joint:
        return
    tried = " and ".join(f"{name} {a}" + (f" to {b}" if a != b else "") for name, (a, b) in TRIED.items())
    install = "pip install " + " ".join(f"{name}=={last}" for name, (_, last) in TRIED.items())
    go_on = f"; or, to go on with scores that `compare` does not mix with others: {ACCEPT}={joint}"
    raise InputError(
        "unknown judge prompt or grade parser in the installed packages",
        where=" and ".join(f"{name} {version(name)}" for name in TRIED),
        found=f"{'missing' if missing else 'changed'}: {', '.join(missing or unknown)}",
        expected=f"the prompts and parser of {tried}",
        hint=install + ("" if missing else go_on),
    )
