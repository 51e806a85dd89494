"""Settings of an analysis: level, resamples, seed, margin and estimand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from value_retention.tasks.errors import InputError

MOST_RESAMPLES = 100_000
"""A p of 0.05 is known to 0.0007 with these; more only take memory, which grows with them."""

LEAST_LEVEL = 0.8
"""Lowest level of the intervals that decide a verdict."""

Questions = Literal["new", "fixed"]


@dataclass(frozen=True)
class Settings:
    """How an analysis is computed.

    Attributes:
        level: Confidence level of all intervals; 1 - level is the family-wise error rate of the verdicts.
        resamples: Bootstrap resamples.
        seed: Their seed.
        margin: Largest loss, in points, that counts as none; None: no verdicts.
        questions: What verdicts speak about: ``new`` questions like these, or these (``fixed``).
    """

    level: float = 0.95
    resamples: int = 10_000
    seed: int = 0
    margin: float | None = None
    questions: Questions = "new"


def checked_settings(
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
    margin: float | None = None,
    questions: Questions = "new",
) -> Settings:
    """Check settings that a user chose; see `Settings`.

    Raises:
        InputError: a value out of range, or a margin with a level below `LEAST_LEVEL`.
    """
    checks = [
        ("--level", level, 0.5 <= level <= 0.999, "from 0.5 to 0.999, such as 0.95"),
        (
            "--resamples", resamples, 1000 <= resamples <= MOST_RESAMPLES,
            f"from 1000 to {MOST_RESAMPLES} (all are held in memory); 10000 is the default",
        ),
        ("--seed", seed, seed >= 0, "0 or more"),
        ("--margin", margin, margin is None or 0 < margin < 100, "percentage points above 0, such as 5"),
    ]  # fmt: skip
    for where, found, good, expected in checks:
        if not good:
            raise InputError("a setting is out of range", where=where, found=found, expected=expected)
    if margin is not None and level < LEAST_LEVEL:
        raise InputError(
            f"--margin needs --level of at least {LEAST_LEVEL:g}",
            where="--level",
            found=level,
            expected=f"{LEAST_LEVEL:g} or more",
            hint="at a lower level, more than one verdict in five could be wrong",
        )
    return Settings(level, resamples, seed, None if margin is None else float(margin), questions)
