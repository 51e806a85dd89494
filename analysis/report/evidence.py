"""The questions behind a difference: both answers side by side, with every grade and the judge's words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from value_retention.analysis.effects.result import Result
from value_retention.analysis.effects.rows import Effect

if TYPE_CHECKING:
    from value_retention.analysis.runs.load import Run
    from value_retention.tasks.record import AnswerRecord

LOSSES, GAINS = 10, 5
"""Questions shown per comparison and benchmark."""


@dataclass(frozen=True)
class Shown:
    """One answer to a question.

    Attributes:
        run: Name of the run.
        mean: Score on the question over all epochs, and over the seeds of an arm, per cent.
        score: This answer's, per cent; None if it has no grade.
        record: The answer with its grades.
    """

    run: str
    mean: float
    score: float | None
    record: AnswerRecord


@dataclass(frozen=True)
class Case:
    """A question on which two runs differ.

    Attributes:
        difference: Points, second run less first.
        first: Answer of the baseline.
        second: Answer of the other run.
    """

    difference: float
    first: Shown
    second: Shown


def evidence(result: Result, runs: Iterable[Run]) -> list[tuple[Effect, list[Case]]]:
    """The largest losses and gains of each primary comparison of a run, or the seeds of an arm, with a baseline.

    The answer that is shown is the one whose score is nearest to the mean on the question, over all answers and seeds,
    so that no lucky draw stands for five.

    Args:
        result: A comparison of runs or arms.
        runs: The runs that were compared, with their records.
    """
    wanted = [(effect, _largest(result, effect)) for effect in result.effects if effect.tier == "primary"]
    needed = {
        (run, effect.benchmark, item) for effect, found in wanted for item, *_ in found for run in effect.weights
    }  # fmt: skip
    answers: dict[tuple[str, str, str], list[AnswerRecord]] = {}
    for run in runs:
        for record in run.records:
            key = run.name, record.benchmark, record.item
            if key in needed:
                answers.setdefault(key, []).append(record)
    return [
        (
            effect,
            [
                Case((means[1] - means[0]) * 100, *(
                    _nearest([(run, r) for run in side for r in answers[run, effect.benchmark, item]], mean)
                    for side, mean in zip(_sides(effect), means, strict=True)
                ))
                for item, *means in found
            ],
        )
        for effect, found in wanted
        if found
    ]  # fmt: skip


def _sides(effect: Effect) -> tuple[list[str], list[str]]:
    """Runs that are subtracted, and the others."""
    first = [run for run, weight in effect.weights.items() if weight < 0]
    return first, [run for run in effect.weights if run not in first]


def _largest(result: Result, effect: Effect) -> list[tuple[str, float, float]]:
    """Item and both means of the questions with the largest losses, then of those with the largest gains."""
    if effect.comparison not in ("pair", "gain over base"):
        return []
    (panel,) = (panel for panel in result.panels if panel.benchmark == effect.benchmark)
    first, second = (
        panel.score[[panel.runs.index(run) for run in side], :, 0].mean(axis=0) for side in _sides(effect)
    )
    change = second - first
    order = [int(n) for n in np.argsort(change, kind="stable") if not np.isnan(change[n])]
    losses = [n for n in order if change[n] < 0][:LOSSES]
    gains = [n for n in reversed(order) if change[n] > 0][:GAINS]
    return [(panel.questions[n].item, float(first[n]), float(second[n])) for n in losses + gains]


def _nearest(answers: list[tuple[str, AnswerRecord]], mean: float) -> Shown:
    """The answer with the score nearest to the mean, of runs with their records."""
    scored = [(run, record) for run, record in answers if record.overall is not None]
    run, record = min(
        scored or answers, key=lambda pair: (abs((pair[1].overall or 0.0) - mean), pair[1].epoch)
    )
    return Shown(run, mean * 100, None if record.overall is None else record.overall * 100, record)
