"""How many answers to each question the answer checks mark: the guards of a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from value_retention.tasks.checks import speaks_another
from value_retention.tasks.cluster import Floats
from value_retention.tasks.record import AnswerRecord

GUARDS = ("truncated", "empty", "repetitive", "refusing", "other language")


def marks(record: AnswerRecord) -> tuple[bool | None, ...]:
    """Whether each of `GUARDS` marks an answer. None: not known."""
    made = record.checks
    if made is None:
        return (None,) * len(GUARDS)
    other = speaks_another(made.language, record.language)
    return made.truncated, made.empty, made.repetitive, made.refusing, other


@dataclass(frozen=True, eq=False)
class Marks:
    """How many answers to each question a guard marks. Arrays: n questions x `GUARDS`.

    Attributes:
        marked: Answers with the mark.
        known: Answers of which it is known whether they have it.
    """

    marked: NDArray[np.int64]
    known: NDArray[np.int64]

    @property
    def share(self) -> Floats:
        """Marked of known answers per question, in [0, 1]. NaN where nothing is known."""
        with np.errstate(invalid="ignore"):
            return np.where(self.known > 0, self.marked / np.maximum(self.known, 1), np.nan)


def marks_of(items: Sequence[Sequence[AnswerRecord]]) -> Marks:
    """Mark the answers to each question.

    Args:
        items: Per question, its answers.
    """
    counts = np.zeros((2, len(items), len(GUARDS)), np.int64)
    for row, answers in enumerate(items):
        for record in answers:
            for column, mark in enumerate(marks(record)):
                if mark is not None:
                    counts[0, row, column] += mark
                    counts[1, row, column] += 1
    return Marks(counts[0], counts[1])
