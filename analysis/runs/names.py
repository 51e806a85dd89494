"""Names: which ones a terminal, a table and a JSON file can hold, and the titles of benchmarks."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from value_retention.tasks.benchmark import packaged
from value_retention.tasks.errors import InputError

LOOKS = "until-verdict-{}.json"
"""File that ``judge --until-verdict`` leaves beside its records, per benchmark: how many looks it took."""

UNUSABLE = {"Cs": "half of a character, which UTF-8 cannot encode", "Cc": "a control character"}
"""Unicode categories that are refused, with a name for each."""


def check_names(names: Iterable[str], where: str) -> None:
    """Refuse names that cannot be encoded or that would break a line.

    Args:
        names: Names of runs, or paths.
        where: Their source, for the message.

    Raises:
        InputError: a name with a lone surrogate (an argument that is not in the terminal's encoding) or a control
            character.
    """
    for name in names:
        bad = next((c for c in name if unicodedata.category(c) in UNUSABLE), None)
        if bad is not None:
            raise InputError(
                f"invalid name: it contains {UNUSABLE[unicodedata.category(bad)]}",
                where=where,
                found=ascii(name),
                expected="printable text",
                hint="name runs as NAME=PATH, and rename the file",
            )


def title_of(benchmark: str) -> str:
    """Short title of a benchmark of this package. Others have their name."""
    known = packaged().get(benchmark)
    return known.short_title if known else benchmark
