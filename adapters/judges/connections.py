"""How many calls of one judge are in flight at once: a number that the user set, or one that adapts.

The adaptive limit grows while the provider keeps up and shrinks when it does not: slow start, then additive
increase and multiplicative decrease, as in TCP (Jacobson 1988; Chiu and Jain 1989). Inspect's own
`adaptive_connections` acts only inside `Model.generate`, which judging outside an eval does not use.
"""

from __future__ import annotations

import anyio

START = 32
"""Calls in flight at the start, where the user set no limit."""
MOST = 256
"""Calls in flight at most, where the user set no limit."""
DECREASE = 0.85
"""Factor on a rate limit. Slow start overshoots by a factor of 2 at most, which takes five decreases."""
SLOWER = 2.0
"""A provider keeps up while replies take no more than this factor longer than at the start."""


class Connections:
    """A limit on concurrent calls.

    Args:
        fixed: The user's limit, which never changes. None for an adaptive one.
    """

    def __init__(self, fixed: int | None = None) -> None:
        self.most = fixed or MOST
        self.slots = anyio.CapacityLimiter(fixed or START)
        """A call holds one of them (``async with``)."""
        self._adaptive = fixed is None
        self._limit = float(self.slots.total_tokens)
        self.decreases = 0
        """How often the limit shrank. A call remembers the number at its start."""
        self._replies = 0
        self._at_start = self._recent = (
            0.0  # mean seconds of a reply: the first START, and about the last round
        )

    def grow(self, seconds: float) -> None:
        """Count a reply: the limit doubles per round until it first shrinks, then grows by one call per round.

        A round is as many replies as there are slots. The limit stays while slots are free, or replies slow.

        Args:
            seconds: Time that the request took.
        """
        self._replies += 1
        self._recent += (seconds - self._recent) / min(self._replies, self._limit)
        if self._replies <= START:
            self._at_start = self._recent
        if self.slots.available_tokens < 1 and self._recent <= SLOWER * self._at_start:
            self._set(self._limit + (1 / self._limit if self.decreases else 1))

    def shrink(self, decreases: int) -> None:
        """Shrink after a rate limit or a timeout, once per round.

        Args:
            decreases: `decreases` when the call began. A call that is older than the last decrease says
                nothing about the present limit.
        """
        if decreases == self.decreases:
            self.decreases += 1
            self._set(self._limit * DECREASE)

    def _set(self, limit: float) -> None:
        if self._adaptive:
            self._limit = min(max(limit, 1.0), self.most)
            self.slots.total_tokens = int(self._limit)
