"""How many calls of one judge are in flight at once: a number that the user set, or one that adapts.

The adaptive limit grows while the provider keeps up and shrinks when it answers 429: slow start, then additive
increase and multiplicative decrease, as in TCP (Chiu and Jain 1989; Jacobson 1988). Inspect's own
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

    def succeeded(self) -> None:
        """Grow after a reply: twofold per round until the first rate limit, then by one call per round.

        A round is as many replies as there are slots. Slots that nobody needs say nothing about the provider.
        """
        if self.slots.available_tokens < 1:
            self._set(self._limit + (1 / self._limit if self.decreases else 1))

    def rate_limited(self, decreases: int) -> None:
        """Shrink after a 429, once per round.

        Args:
            decreases: `decreases` when the call began. A call that is older than the last decrease tells
                nothing about the present limit.
        """
        if decreases == self.decreases:
            self.decreases += 1
            self._set(self._limit * DECREASE)

    def _set(self, limit: float) -> None:
        if self._adaptive:
            self._limit = min(max(limit, 1.0), self.most)
            self.slots.total_tokens = int(self._limit)
