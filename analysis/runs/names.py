"""Names of runs and files: what a terminal, a table and a JSON file can hold, and a line has room for."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from value_retention.tasks.errors import InputError

UNUSABLE = {"Cs": "half of a character, which no file in UTF-8 can hold", "Cc": "a control character"}
"""Unicode categories that are refused, and what to call them."""


def check_names(names: Iterable[str], where: str) -> None:
    """Refuse names that cannot be written down or that would break the line they stand in.

    Args:
        names: Names of runs, or paths.
        where: What gave them, for the message.

    Raises:
        InputError: a name with a lone surrogate (an argument that is not in the terminal's encoding) or a control
            character.
    """
    for name in names:
        bad = next((c for c in name if unicodedata.category(c) in UNUSABLE), None)
        if bad is not None:
            raise InputError(
                f"a name that cannot be shown: it holds {UNUSABLE[unicodedata.category(bad)]}",
                where=where,
                found=ascii(name),
                expected="text",
                hint="name runs as NAME=PATH, and rename files that have such names",
            )
