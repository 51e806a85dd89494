"""Settings of an analysis: level, resamples, seed and margins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from value_retention.tasks.errors import InputError

MOST_RESAMPLES = 100_000
"""A p of 0.05 is known to 0.0007 with these; more only take memory, which grows with them."""

LEAST_LEVEL = 0.8
"""Lowest level of the intervals that stand beside a verdict."""


@dataclass(frozen=True)
class Settings:
    """How an analysis is computed.

    Attributes:
        level: Confidence level of all intervals.
        resamples: Bootstrap resamples and sign-flip patterns.
        seed: Seed of both.
        margins: Percentage points within which a difference counts as none; empty: no verdicts.
    """

    level: float = 0.95
    resamples: int = 10_000
    seed: int = 0
    margins: tuple[float, ...] = ()


def checked_settings(
    level: float = 0.95, resamples: int = 10_000, seed: int = 0, margins: Sequence[float] = ()
) -> Settings:
    """Check settings that a user chose; see `Settings`.

    Raises:
        InputError: a value out of range, or margins with a level below `LEAST_LEVEL`.
    """
    checks = [
        ("--level", level, 0.5 <= level <= 0.999, "from 0.5 to 0.999, such as 0.95"),
        (
            "--resamples", resamples, 1000 <= resamples <= MOST_RESAMPLES,
            f"from 1000 to {MOST_RESAMPLES} (all are held in memory); 10000 is the default",
        ),
        ("--seed", seed, seed >= 0, "0 or more"),
        *(("--margin", m, 0 < m < 100, "percentage points above 0, such as 5") for m in margins),
    ]  # fmt: skip
    for where, found, good, expected in checks:
        if not good:
            raise InputError("a setting is out of range", where=where, found=found, expected=expected)
    if margins and level < LEAST_LEVEL:
        raise InputError(
            f"--margin needs --level of at least {LEAST_LEVEL:g}",
            where="--level",
            found=level,
            expected=f"{LEAST_LEVEL:g} or more",
            hint="verdicts are tested at 5 %, and a narrower interval would contradict them; raise the level "
            "or leave out the margin",
        )
    return Settings(level, resamples, seed, tuple(dict.fromkeys(map(float, margins))))
