"""Questions, answers and grades behind each figure of each comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from value_retention.analysis.runs.align import Metric, Panel
from value_retention.tasks.cluster import Floats


@dataclass(frozen=True, eq=False)
class Counts:
    """Numbers behind each figure of each comparison; arrays of shape (comparisons, metrics)."""

    questions: NDArray[np.int64]
    answers_baseline: NDArray[np.int64]
    answers_run: NDArray[np.int64]
    grades: NDArray[np.int64]
    missing: NDArray[np.int64]


def count(
    panel: Panel,
    metrics: Sequence[Metric],
    weights: Floats,
    scored: NDArray[np.bool_],
    used: NDArray[np.int64] | None = None,
) -> Counts:
    """Count questions, answers per side, grades and missing grades.

    Args:
        panel: The runs.
        metrics: M figures.
        weights: Shape (c, r).
        scored: Whether all runs with a weight have the score, shape (c, n, 1 + D).
        used: Positions of the r runs in the panel; None for all of them.
    """
    runs = slice(None) if used is None else used
    columns = np.array([max(metric.column, 0) for metric in metrics])
    rows = np.array([metric.rows for metric in metrics]).T & panel.carried[:, columns]
    shown = scored[:, :, columns] & rows
    grades, missing = (
        np.einsum("rnm,nm->rm", counted[runs][:, :, columns], rows)
        for counted in (panel.expected, panel.missing)
    )
    answers = [np.einsum("cnm,cn->cm", shown, side.astype(np.int64) @ panel.answers[runs])
               for side in (weights < 0, weights > 0)]  # fmt: skip
    members = (weights != 0).astype(np.int64)
    return Counts(shown.sum(axis=1), answers[0], answers[1], members @ grades, members @ missing)
