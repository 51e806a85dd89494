"""Grades to scores: by hand, against plain NumPy, and against upstream's own metric functions."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from helpers import ANIMA_2_2, RUN, grade
from hypothesis import given, settings
from hypothesis import strategies as st
from inspect_ai.scorer import SampleScore, Score
from inspect_evals.anima.metrics import avg_by_dimension, dimension_normalized_avg, overall_mean
from inspect_evals.anima.types import AnimaDimension
from inspect_evals.moru.metrics import overall_mean as moru_overall_mean
from scipy.stats import sem
from statsmodels.regression.linear_model import OLS

from value_retention.tasks.answers import Answer, Design, make_record
from value_retention.tasks.data import Dataset, Dimension, Item
from value_retention.tasks.grading import read_reply
from value_retention.tasks.prompts import item_calls
from value_retention.tasks.record import AnswerRecord, DataInfo, GradeRecord, JudgeInfo
from value_retention.tasks.scale import CORRECT
from value_retention.tasks.scores import (
    aggregate_metric,
    benchmark_scores,
    dimension_scores,
    metric_error,
    metric_values,
    overall_score,
    question_scores,
    questions_of,
)

WEIGHTS = {"Care": 1.0, "Scope": 3.0, "Doubt": 0.5}
DIMENSIONS = {name: Dimension(name, "{{animal}}?", "", weight) for name, weight in WEIGHTS.items()}
PANEL = (JudgeInfo("a"), JudgeInfo("b"))


def item(number: int, dimensions: tuple[str, ...], language: str = "en", values: int = 1) -> Item:
    variables = (("animal", tuple(f"v{n}" for n in range(values))),)
    return Item(str(number), str(number), f"Q{number}?", language, None, dimensions, variables)


def record(
    of: Item, grades: list[GradeRecord], epoch: int = 1, judges: tuple[JudgeInfo, ...] = PANEL
) -> AnswerRecord:
    dataset = Dataset(ANIMA_2_2, (of,), DIMENSIONS, DataInfo("folder", "r", "h"), "r")
    return make_record(
        Design.of(dataset),
        Answer.of(of, epoch, "An answer."),
        judges,
        grades,
        RUN,
        expected=item_calls(dataset, of) * len(judges),
    )


# -- judge replies ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "outcome", "worth"),
    [
        ("[THINK]GRADE: C[/THINK]I cannot decide.", "unparsed", None),
        ("It could be GRADE: C.</think>I cannot decide.", "unparsed", None),
        ("<thinking>GRADE: C", "unparsed", None),
        ("<seed:think>GRADE: C</seed:think>\n\nGRADE: I", "graded", 0.0),
        ("The answer ends with [/THINK]. GRADE: C", "graded", 1.0),
    ],
)
def test_a_grade_in_the_judges_reasoning_is_no_grade(reply: str, outcome: str, worth: float | None) -> None:
    assert read_reply(reply, "stop", CORRECT)[::2] == (outcome, worth)


# -- by hand ----------------------------------------------------------------------------------------------


def test_judges_are_averaged_per_variable_set_then_sets_per_dimension() -> None:
    grades = [
        grade(1.0, judge="a", animal="hen"),
        grade(0.0, judge="b", animal="hen"),
        grade(1.0, judge="a", animal="cat"),
        grade(None, judge="b", animal="cat"),
    ]
    # (1/2 + 1) / 2, and not the mean 2/3 of the three grades.
    assert dimension_scores(["Care"], grades) == {"Care": 0.75}


def test_a_dimension_without_a_readable_grade_is_missing_not_zero() -> None:
    grades = [grade(None), grade(None, outcome="judge_error", animal="x"), grade(0.0, "Scope")]
    scores = dimension_scores(["Care", "Scope", "Doubt"], grades)
    assert scores == {"Care": None, "Scope": 0.0, "Doubt": None}
    assert overall_score(scores, WEIGHTS) == 0.0
    assert overall_score({"Care": None}, WEIGHTS) is None
    assert overall_score({}, {}) is None


def test_dimensions_are_weighted_over_those_that_have_a_score() -> None:
    assert overall_score({"Care": 1.0, "Scope": 0.0, "Doubt": None}, WEIGHTS) == 0.25
    assert overall_score({"Care": 1.0, "Scope": 0.0, "Doubt": 1.0}, WEIGHTS) == pytest.approx(1.5 / 4.5)


def test_a_record_counts_what_is_missing_by_kind() -> None:
    grades = [grade(None), grade(1.0, judge="b"), grade(None, outcome="judge_error", animal="x")]
    made = record(item(1, ("Care",), values=2), grades)
    assert (made.status, made.overall) == ("scored", 1.0)
    assert (made.grades_expected, made.grades_missing) == (4, 2)


def test_nothing_readable_is_unscored_and_no_judge_is_not_judged() -> None:
    made = record(item(1, ("Care",)), [grade(None), grade(None, judge="b")])
    assert (made.status, made.overall, made.dimension_scores) == ("unscored", None, {"Care": None})
    saved = record(item(1, ("Care",)), [], judges=())
    assert (saved.status, saved.overall) == ("not_judged", None)
    assert (saved.grades_expected, saved.grades_missing) == (0, 0)


def test_an_epoch_without_a_grade_neither_counts_nor_changes_the_keys() -> None:
    one = item(1, ("Care", "Scope"))
    epochs = [
        record(one, [grade(1.0), grade(0.0, "Scope")], 1),
        record(one, [grade(None), grade(None, "Scope")], 2),
        record(one, [grade(None), grade(1.0, "Scope")], 3),
    ]
    assert all(set(epoch.dimension_scores) == {"Care", "Scope"} for epoch in epochs)
    question = question_scores(epochs)
    assert question.dimensions == {"Care": 1.0, "Scope": 0.5}
    assert question.overall == pytest.approx((0.25 + 1.0) / 2)
    assert (question.answers, question.unscored) == (3, 1)


def test_metrics_of_a_run_by_hand() -> None:
    records = [
        record(item(1, ("Care",)), [grade(1.0)]),
        record(item(2, ("Care", "Scope"), "de"), [grade(0.0), grade(1.0, "Scope")]),
        record(item(3, ("Doubt",), "en-GB"), [grade(None, "Doubt")]),
    ]
    scores = benchmark_scores(questions_of(records), weighted=True)
    assert scores == {
        "overall_mean": pytest.approx((1.0 + 0.75) / 2),
        "dimension_normalized_avg": pytest.approx((0.5 * 1 + 1.0 * 3) / 4),
        "english_mean": 1.0,
        "non_english_mean": 0.75,
        "Care": 0.5,
        "Scope": 1.0,
        "Doubt": None,
        "unscored": pytest.approx(1 / 3),
        "missing_grades": pytest.approx(1 / 8),
    }
    assert list(scores)[-2:] == ["unscored", "missing_grades"]
    assert "dimension_normalized_avg" not in benchmark_scores(questions_of(records), weighted=False)


def test_nothing_at_all_is_none_everywhere() -> None:
    assert benchmark_scores([], weighted=True) == {}
    for name in ("overall_mean", "dimension_normalized_avg", "missing_grades", "unscored"):
        assert aggregate_metric(name, [], WEIGHTS) is None
    assert aggregate_metric("overall_mean", [None, None], WEIGHTS) is None
    assert aggregate_metric("missing_grades", [[0, 0]], WEIGHTS) is None


# -- against NumPy and upstream ---------------------------------------------------------------------------

EPOCHS, JUDGES, SETS = 2, 2, 2
GRADES = st.sampled_from([0.0, 1.0, None])
QUESTION = st.fixed_dictionaries(
    {
        "dimensions": st.sets(st.sampled_from(sorted(WEIGHTS)), min_size=1).map(sorted).map(tuple),
        # epoch, dimension, variable set, judge
        "grades": st.lists(GRADES, min_size=24, max_size=24),
    }
)


def cube(question: dict[str, list[float | None]]) -> np.ndarray:
    values = [math.nan if value is None else value for value in question["grades"]]
    return np.array(values).reshape(EPOCHS, len(WEIGHTS), SETS, JUDGES)


def records_of(number: int, question: dict) -> list[AnswerRecord]:  # type: ignore[type-arg]
    of = item(number, question["dimensions"], values=SETS)
    values = cube(question)
    return [
        record(
            of,
            [
                grade(None if math.isnan(value) else float(value), name, PANEL[judge].name, animal=f"v{one}")
                for d, name in enumerate(sorted(WEIGHTS))
                if name in of.dimensions
                for one in range(SETS)
                for judge in range(JUDGES)
                for value in [values[epoch, d, one, judge]]
            ],
            epoch + 1,
        )
        for epoch in range(EPOCHS)
    ]


@pytest.mark.filterwarnings("ignore:Mean of empty slice:RuntimeWarning")
@settings(max_examples=150, deadline=None)
@given(st.lists(QUESTION, min_size=1, max_size=4))
def test_scores_are_nested_means_over_what_is_there(questions: list[dict]) -> None:  # type: ignore[type-arg]
    names = sorted(WEIGHTS)
    by_question, by_dimension = [], []
    for number, question in enumerate(questions):
        values = cube(question)
        values[:, [name not in question["dimensions"] for name in names]] = np.nan
        dims = np.nanmean(np.nanmean(values, axis=3), axis=2)  # epoch x dimension
        weights = np.where(np.isnan(dims), 0, np.array([WEIGHTS[name] for name in names]))
        with np.errstate(invalid="ignore"):
            overall = np.nansum(np.nan_to_num(dims) * weights, axis=1) / weights.sum(axis=1)
        by_question.append(np.nanmean(overall))
        by_dimension.append(np.nanmean(dims, axis=0))
        for epoch, made in enumerate(records_of(number, question)):
            assert_same(made.overall, overall[epoch])
            json.loads(made.to_json(), parse_constant=pytest.fail)  # never NaN
    records = [made for n, question in enumerate(questions) for made in records_of(n, question)]
    scores = benchmark_scores(questions_of(records), weighted=True)
    assert_same(scores["overall_mean"], np.nanmean(by_question))
    for name, value in zip(names, np.nanmean(by_dimension, axis=0), strict=True):
        assert_same(scores.get(name), value)


def assert_same(ours: float | None, oracle: float) -> None:
    assert (ours is None and math.isnan(oracle)) or ours == pytest.approx(oracle, abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(st.lists(QUESTION, min_size=1, max_size=4))
def test_run_metrics_are_upstreams_on_the_same_question_scores(questions: list[dict]) -> None:  # type: ignore[type-arg]
    records = [made for n, question in enumerate(questions) for made in records_of(n, question)]
    reduced = questions_of(records)
    # What upstream's reducer hands to its metrics: questions with a score, dimensions with a score.
    theirs = [
        SampleScore(
            score=Score(
                value={"overall": q.overall} | {k: v for k, v in q.dimensions.items() if v is not None}
            )
        )
        for q in reduced
        if q.overall is not None
    ]
    scores = benchmark_scores(reduced, weighted=True)
    if not theirs:
        assert scores["overall_mean"] is None, "upstream says 0.0 here"
        return
    dims = {
        name: AnimaDimension(
            name=name, weight=weight, scoring_description="", guiding_question="", indicators=""
        )
        for name, weight in WEIGHTS.items()
    }
    assert scores["overall_mean"] == pytest.approx(overall_mean()(theirs), abs=1e-12)
    assert scores["overall_mean"] == pytest.approx(moru_overall_mean()(theirs), abs=1e-12)
    assert scores["dimension_normalized_avg"] == pytest.approx(
        dimension_normalized_avg(dims)(theirs), abs=1e-12
    )
    for name, value in avg_by_dimension()(theirs).items():
        assert scores[name] == pytest.approx(value, abs=1e-12)


@given(st.lists(QUESTION, min_size=1, max_size=4), st.randoms())
def test_neither_order_nor_splitting_moves_a_score(questions: list[dict], random) -> None:  # type: ignore[type-arg, no-untyped-def]
    records = [made for n, question in enumerate(questions) for made in records_of(n, question)]
    before = benchmark_scores(questions_of(records), weighted=True)
    random.shuffle(records)
    after = benchmark_scores(questions_of(records), weighted=True)
    assert after == {name: value if value is None else pytest.approx(value) for name, value in before.items()}


def test_metric_values_name_every_part_of_a_question() -> None:
    question = question_scores([record(item(1, ("Care", "Scope"), "ms"), [grade(1.0), grade(None, "Scope")])])
    assert metric_values(question, weighted=True) == {
        "overall_mean": 1.0,
        "dimension_normalized_avg": {"Care": 1.0, "Scope": None},
        "english_mean": None,
        "non_english_mean": 1.0,
        "Care": 1.0,
        "Scope": None,
        "unscored": 0.0,
        "missing_grades": [1, 4],
    }


# -- standard errors --------------------------------------------------------------------------------------


def clustered_error(
    sizes: list[int], name: str = "overall_mean"
) -> tuple[float | None, list[float], list[str]]:
    """Error of a metric over questions in clusters of these sizes, with the values and clusters."""
    rng = np.random.default_rng(sum(sizes))
    clusters = [f"c{number}" for number, size in enumerate(sizes) for _ in range(size)]
    values = [*map(float, rng.random(len(clusters)).round(3))]
    return metric_error(name, values, clusters, WEIGHTS), values, clusters


def test_the_error_of_equal_clusters_is_that_of_a_regression_with_clusters() -> None:
    error, values, clusters = clustered_error([3] * 7)
    fit = OLS(values, np.ones(len(values))).fit(
        cov_type="cluster", cov_kwds={"groups": np.unique(clusters, return_inverse=True)[1]}
    )
    assert error == pytest.approx(fit.bse[0])
    means = np.reshape(values, (7, 3)).mean(axis=1)
    assert error == pytest.approx(sem(means))
    alone = metric_error("Care", values, [*map(str, range(len(values)))], {})
    assert alone == pytest.approx(sem(values))
    assert alone != pytest.approx(error)


def test_the_error_of_unequal_clusters_by_hand() -> None:
    error, values, clusters = clustered_error([4, 2, 1, 1])
    n, mean = len(values), np.mean(values)
    squares = [
        sum(value - mean for value, c in zip(values, clusters, strict=True) if c == cluster) ** 2
        / (1 - clusters.count(cluster) / n)
        for cluster in set(clusters)
    ]
    assert error == pytest.approx(math.sqrt(sum(squares)) / n)


def test_questions_without_a_score_leave_the_error_as_it_is() -> None:
    error, values, clusters = clustered_error([2, 2, 1])
    assert metric_error("overall_mean", [*values, None], [*clusters, "new"], {}) == error


def test_the_error_of_the_normalized_average_is_that_of_its_weighted_mean() -> None:
    """Where each question has all dimensions, it is a mean over questions."""
    values = [{"Care": a, "Scope": b} for a, b in ((0.1, 0.9), (0.4, 0.2), (1.0, 0.7), (0.3, 0.3))]
    error = metric_error("dimension_normalized_avg", values, ["a", "b", "c", "d"], WEIGHTS)
    assert error == pytest.approx(sem([(v["Care"] + 3 * v["Scope"]) / 4 for v in values]))


@pytest.mark.parametrize(
    ("name", "values", "clusters"),
    [
        ("overall_mean", [], []),
        ("overall_mean", [0.5], ["a"]),
        ("overall_mean", [0.5, 0.7], ["a", "a"]),
        ("overall_mean", [0.5, None], ["a", "b"]),
        ("dimension_normalized_avg", [{"Care": None}, {"Care": None}], ["a", "b"]),
        ("unscored", [0.0, 1.0], ["a", "b"]),
        ("missing_grades", [[0, 1], [1, 1]], ["a", "b"]),
    ],
)
def test_what_has_no_error_has_none_and_not_nan(name: str, values: list[Any], clusters: list[str]) -> None:
    assert metric_error(name, values, clusters, WEIGHTS) is None
