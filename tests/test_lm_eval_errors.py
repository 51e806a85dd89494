"""Standard errors in lm-eval's tables: of clusters, for groups too, and lm-eval's own for other tasks."""

from __future__ import annotations

import copy
import json
import pickle

import pytest
from lm_eval import evaluator_utils
from lm_eval.api import metrics
from scipy.stats import sem

from value_retention.adapters.lm_eval.errors import MISSING, with_cluster, with_error
from value_retention.tasks.scores import aggregate_metric

SCORES = {"a": 0.5, "b": 0.1, "c": 0.9}


def mean(values: list[float | None]) -> float | None:
    return aggregate_metric("overall_mean", values, {})


AGGREGATE = with_error(mean, "overall_mean", {})


def error(scores: dict[str, float]) -> float:
    found: float = evaluator_utils.stderr_for_metric(metric=AGGREGATE, bootstrap_iters=10)(
        [with_cluster(value, cluster) for cluster, value in scores.items()]
    )
    return found


def test_the_error_is_that_of_the_clusters_and_is_plain_json() -> None:
    assert error(SCORES) == pytest.approx(sem([*SCORES.values()]))
    assert json.loads(json.dumps(copy.deepcopy(error(SCORES)))) == error(SCORES)
    assert error({"a": 0.5}) == MISSING


def test_a_value_keeps_its_cluster_on_its_way_to_another_process() -> None:
    value = pickle.loads(pickle.dumps(with_cluster({"Care": 0.5, "Scope": None}, "a")))
    assert value == {"Care": 0.5, "Scope": None}
    assert value["Care"].cluster == "a"
    assert with_cluster([1, 2], "a") == [1, 2]


def test_languages_of_one_question_are_one_cluster_in_a_group() -> None:
    """lm-eval's formula takes the tasks of a group for independent."""
    errors = [error(SCORES)] * 3
    assert metrics.pooled_sample_stderr(errors, [3] * 3) == pytest.approx(errors[0])
    plain = metrics.pooled_sample_stderr([*map(float, errors)], [3] * 3)
    assert plain < 0.7 * errors[0]


def test_metrics_of_other_tasks_have_lm_evals_own_error() -> None:
    assert evaluator_utils.stderr_for_metric(metric=metrics.mean, bootstrap_iters=10) is metrics.mean_stderr
