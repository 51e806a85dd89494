"""Grams of many texts at once, hashed with NumPy and looked up in tables of bits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

Gram = tuple[str, ...]
Numbers = np.ndarray[Any, np.dtype[Any]]

_ODD = np.uint64(0x9E3779B97F4A7C15)
_INVERSE = np.uint64(pow(int(_ODD), -1, 2**64))


def grams(split: Sequence[str], size: int) -> Iterator[tuple[Gram, int]]:
    """Yield every gram of a size and its offset."""
    for at in range(len(split) - size + 1):
        yield tuple(split[at : at + size]), at


class Hashes:
    """Hashes of every gram of a sequence of numbers: a polynomial modulo 2^64 over running sums.

    Args:
        codes: Random numbers, shape (tokens,).
    """

    def __init__(self, codes: Numbers) -> None:
        with np.errstate(over="ignore"):
            steps = np.full(len(codes), _ODD, dtype=np.uint64)
            backward = np.full(len(codes), _INVERSE, dtype=np.uint64)
            if len(codes):
                steps[0] = backward[0] = 1
            self.powers = np.cumprod(backward)
            self.sums = np.zeros(len(codes) + 1, dtype=np.uint64)
            np.cumsum(codes * np.cumprod(steps), out=self.sums[1:])

    def of(self, size: int, at: Numbers) -> Numbers:
        """Hashes of the grams of a size that start at these places."""
        hashes: Numbers = (self.sums[at + size] - self.sums[at]) * self.powers[at]
        return hashes

    def everywhere(self, size: int) -> Numbers:
        """Hashes of all grams of a size."""
        count = max(0, len(self.powers) - size + 1)
        hashes: Numbers = (self.sums[size:] - self.sums[:count]) * self.powers[:count]
        return hashes


class Table:
    """Grams of one size: a table of bits for the first look, and the places of each gram in the passages.

    Args:
        size: Tokens of a gram.
        places: Gram to its places: passage and offset.
        codes: Token to a random number, by its id.
        ids: Token to id.
    """

    def __init__(
        self, size: int, places: dict[Gram, list[tuple[int, int]]], codes: Numbers, ids: dict[str, int]
    ) -> None:
        self.size, self.places = size, places
        self.bits = max(12, (64 * len(places)).bit_length())
        self.table = np.zeros(1 << self.bits, dtype=np.bool_)
        if places:
            flat = np.array([ids[token] for gram in places for token in gram], dtype=np.intp)
            hashes = Hashes(codes[flat])
            self.table[self._slots(hashes.of(size, np.arange(0, len(flat), size)))] = True

    def _slots(self, hashes: Numbers) -> Numbers:
        slots: Numbers = hashes >> np.uint64(64 - self.bits)
        return slots

    def among(self, hashes: Hashes, at: Numbers | None = None) -> Numbers:
        """Return the places, of those given, where one of the grams may start."""
        last = len(hashes.powers) - self.size
        if at is None:
            return np.flatnonzero(self.table[self._slots(hashes.everywhere(self.size))])
        at = at[at <= last]
        found: Numbers = at[self.table[self._slots(hashes.of(self.size, at))]]
        return found
