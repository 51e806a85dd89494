"""Cluster standard errors in lm-eval's tables. Its own formulas take questions and a group's tasks for independent.

Importing this module makes lm-eval ask an aggregation function for its `standard_error`, if it has one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from lm_eval import evaluator_utils
from lm_eval.api import metrics

from value_retention.tasks.scores import metric_error

Aggregate = TypeVar("Aggregate", bound=Callable[[list[Any]], Any])

MISSING = "N/A"
"""What lm-eval's tables print where a standard error is missing."""


class Clustered(float):
    """A value with its question's cluster. lm-eval hands on the values of a metric without their questions."""

    cluster: str


class _Error(float):
    """A standard error, and the values that it was computed from."""

    values: list[Any]
    again: Callable[[list[Any]], float | str]


def with_cluster(value: Any, cluster: str) -> Any:
    """One question's value of a metric, with the cluster of the question. Counts and None as they are."""
    if isinstance(value, dict):
        return {name: with_cluster(part, cluster) for name, part in value.items()}
    if not isinstance(value, int | float):
        return value
    clustered = Clustered(value)
    clustered.cluster = cluster
    return clustered


def with_error(aggregate: Aggregate, name: str, weights: Mapping[str, float]) -> Aggregate:
    """An aggregation function that gives its standard error too.

    Args:
        aggregate: The function.
        name: Name of its metric.
        weights: Weight of each dimension.
    """

    def standard_error(values: list[Any]) -> float | str:
        known = [value for value in values if _cluster(value) is not None]
        size = metric_error(name, known, [str(_cluster(value)) for value in known], weights)
        if size is None:
            return MISSING
        error = _Error(size)
        error.values, error.again = known, standard_error
        return error

    aggregate.standard_error = standard_error  # type: ignore[attr-defined]
    return aggregate


def _cluster(value: Any) -> str | None:
    if isinstance(value, dict):
        return next((part.cluster for part in value.values() if part is not None), None)
    return value.cluster if isinstance(value, Clustered) else None


_of_metric, _pooled = evaluator_utils.stderr_for_metric, metrics.pooled_sample_stderr


def _stderr_for_metric(metric: Any, bootstrap_iters: int) -> Any:
    return getattr(metric, "standard_error", None) or _of_metric(metric, bootstrap_iters)


def _pooled_sample_stderr(stderrs: Sequence[Any], sizes: Sequence[int]) -> Any:
    """The error of a group: its tasks share clusters if they ask one question in several languages."""
    if not all(isinstance(error, _Error) for error in stderrs):
        return _pooled(stderrs, sizes)
    return stderrs[0].again([value for error in stderrs for value in error.values])


evaluator_utils.stderr_for_metric = _stderr_for_metric
metrics.pooled_sample_stderr = _pooled_sample_stderr
