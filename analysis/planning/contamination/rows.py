"""The texts of a training row of any shape."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any


def texts_of(row: Any, role: str = "") -> Iterator[tuple[str, str]]:
    """Yield the role and the text of every text of a row, in order; the role is empty outside of messages."""
    if isinstance(row, str):
        yield role, row
    elif isinstance(row, dict):
        said_by = row.get("role")
        for key, value in row.items():
            if key != "role":
                yield from texts_of(value, said_by if isinstance(said_by, str) else role)
    elif isinstance(row, list):
        for value in row:
            yield from texts_of(value, role)


def streams(row: Any) -> list[list[str]]:
    """Return what is read as one text: all texts of a row, and the texts of each role that others interrupt.

    A question that is split over two turns of a user has the answer to the first in its middle.
    """
    said = [(role, text) for role, text in texts_of(row) if text.strip()]
    if len(said) < 3:
        return [[text for _, text in said]] if said else []
    places: dict[str, list[int]] = defaultdict(list)
    for place, (role, _) in enumerate(said):
        places[role].append(place)
    interrupted = [
        at for role, at in places.items() if role and at[-1] - at[0] >= len(at)
    ]  # fmt: skip
    return [[text for _, text in said], *([said[place][1] for place in at] for at in interrupted)]
