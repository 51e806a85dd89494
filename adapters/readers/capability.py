"""Other tasks beside ours (IFEval, MMLU, GSM8K, ...): their metrics per sample, as either harness logs them.

A metric is used if the mean of its samples is the figure that the harness reports. Others (perplexity, BLEU, a median)
are named and left out: a paired difference of means says nothing about them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SAME = 1e-9
"""A mean this close to the harness's figure, relative to figures above 1, is that figure."""


@dataclass(frozen=True, eq=False)
class SampleMetric:
    """One metric of one task, for each of its n samples.

    Attributes:
        name: The harness's name for it, with lm-eval's filter or Inspect's scorer.
        sums: Sum of each sample's values, shape (n,); NaN where a sample has none.
        sizes: Number of each sample's values, shape (n,): 1, or the length of a list that the harness pools.
        higher_is_better: None where the harness does not say.
    """

    name: str
    sums: Floats
    sizes: Floats
    higher_is_better: bool | None = None


@dataclass(frozen=True, eq=False)
class TaskSamples:
    """One task of one run. A sample is a row: repeats and epochs are averaged.

    Attributes:
        task: Name of the task.
        files: The samples file and the results file, or the log.
        keys: Hash of each sample; the same in every run that asks it.
        questions: Hash of each sample's document. Rows with one document are one cluster.
        prompts: Hash of what was asked and of the target, per sample.
        metrics: Usable metrics, the task's main one first.
        left_out: Unusable metrics, with the reason.
        aspects: What has to be equal between two runs, as text.
    """

    task: str
    files: tuple[str, ...]
    keys: tuple[str, ...]
    questions: tuple[str, ...]
    prompts: tuple[str, ...]
    metrics: tuple[SampleMetric, ...]
    left_out: tuple[str, ...]
    aspects: Mapping[str, str]


@dataclass(frozen=True)
class TaskGroup:
    """A figure that lm-eval reports for a group of tasks.

    Attributes:
        name: Name of the group.
        metric: Name of the metric.
        tasks: The tasks in it, those of groups in the group too.
        weightings: How the tasks may be weighted, by the group's figure: ``size`` (by their number of samples),
            ``equal``. Both where they give the same.
    """

    name: str
    metric: str
    tasks: tuple[str, ...]
    weightings: tuple[str, ...]


def mean_of(sums: Floats, sizes: Floats) -> float:
    """Mean over the values of all samples that have one; NaN if none has."""
    known = np.isfinite(sums)
    return float(sums[known].sum() / sizes[known].sum()) if sizes[known].sum() else float("nan")


def is_figure(mean: float, reported: Sequence[float]) -> bool:
    """Whether a mean is one of the figures that the harness reports."""
    return any(abs(mean - figure) <= SAME * max(1.0, abs(figure)) for figure in reported)


def sum_and_size(value: object) -> tuple[float, int] | None:
    """Sum and number of a sample's values: a number, true or false, or a list of true and false. Else None."""
    if value in ("True", "False"):  # lm-eval's text for NumPy's booleans
        return float(value == "True"), 1
    if isinstance(value, bool | int | float):
        return float(value), 1
    if isinstance(value, list) and value and all(isinstance(part, bool) for part in value):
        return float(sum(value)), len(value)
    return None
