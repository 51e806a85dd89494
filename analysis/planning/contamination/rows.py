"""The texts of a training row of any shape."""

from __future__ import annotations

from collections import defaultdict
from typing import Any


def texts_of(row: Any) -> list[tuple[str, str]]:
    """Return the role and the text of every text of a row, in order; the role is empty outside of messages."""
    said: list[tuple[str, str]] = []
    _collect(row, "", said)
    return said


def _collect(value: Any, role: str, said: list[tuple[str, str]]) -> None:
    if isinstance(value, str):
        said.append((role, value))
    elif isinstance(value, dict):
        by = value.get("role", role)
        for key, inner in value.items():
            if key != "role":
                _collect(inner, str(by), said)
    elif isinstance(value, list):
        for inner in value:
            _collect(inner, role, said)


def streams(row: Any) -> list[list[str]]:
    """Return what is read as one text: all texts of a row, and the texts of each role that others interrupt.

    A question that is split over two turns of a user has the answer to the first in its middle.
    """
    said = [(role, text) for role, text in texts_of(row) if text.strip()]
    if len(said) < 3:  # nothing can be interrupted
        return [[text for _, text in said]] if said else []
    places: dict[str, list[int]] = defaultdict(list)
    for place, (role, _) in enumerate(said):
        places[role].append(place)
    interrupted = [at for role, at in places.items() if role and at[-1] - at[0] >= len(at)]
    return [[text for _, text in said], *([said[place][1] for place in at] for at in interrupted)]
