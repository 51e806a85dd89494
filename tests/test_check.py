"""Records that were edited: each is refused, with the place, the item, the value found and the value expected."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import ANIMA_2_2, MORU, RUN, anima_rows, grade, write_anima
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from value_retention.analysis.effects.compare import compare_pairs
from value_retention.analysis.runs.load import load_runs
from value_retention.analysis.runs.scores import reduce_run
from value_retention.analysis.stats.settings import Settings
from value_retention.tasks.answers import Answer, Design, make_record
from value_retention.tasks.check import checked
from value_retention.tasks.data import Dataset, load
from value_retention.tasks.errors import InputError
from value_retention.tasks.prompts import judge_calls
from value_retention.tasks.record import AnswerRecord, GradeRecord, JudgeInfo, text_hash

Value = dict[str, Any]
PANEL = (JudgeInfo("a"), JudgeInfo("b"))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return load(ANIMA_2_2, str(write_anima(tmp_path_factory.mktemp("rows"), *anima_rows())))


@pytest.fixture(scope="module")
def value(dataset: Dataset) -> Value:
    """An answer on two dimensions, one of them with two variable sets, by two judges; one reply is unreadable."""
    grades = [
        *(
            grade(v, judge=j, animal=a)
            for a, j, v in [("hen", "a", 1.0), ("hen", "b", 0.0), ("cat", "a", None)]
        ),
        grade(1.0, judge="b", animal="cat"),
        grade(0.0, "Scope", "a"),
        grade(None, "Scope", "b", "judge_error"),
    ]
    record = make_record(Design.of(dataset), Answer.of(dataset.items[0], 1, "Yes."), PANEL, grades, RUN)
    return json.loads(record.to_json())  # type: ignore[no-any-return]


def read(value: Value) -> AnswerRecord:
    return checked(AnswerRecord.from_json(json.dumps(value), "line 1"), "line 1")


def edited(value: Value, edit: Callable[[Value], object]) -> Value:
    new = copy.deepcopy(value)
    edit(new)
    return new


def derive(value: Value) -> None:
    """Make the stored scores follow from the grades again, as a careful forger would."""
    from value_retention.tasks.scores import derived

    grades = [GradeRecord(**g) for g in value["grades"]]
    value.update(derived(value["dimensions"], value["weights"], grades, judged=bool(value["judges"])))


def every_grade(value: Value, **change: Any) -> None:
    for row in value["grades"]:
        row.update(change)
    derive(value)


def without_zeros(value: Value) -> None:
    value["grades"] = [row for row in value["grades"] if row["grade"] != 0]
    derive(value)


def doubled(value: Value) -> None:
    value["grades"] += value["grades"][:1]
    value["grades_expected"] += 1
    derive(value)


def other_judge(value: Value) -> None:
    value["grades"][1].update(judge="c")
    derive(value)


EDITS: list[tuple[Callable[[Value], object], str]] = [
    (lambda v: every_grade(v, grade=1.0, outcome="graded"), r"rationale(?s:.*)grade 1\.0(?s:.*)grade 0\.0"),
    (lambda v: v["grades"][0].update(grade=0.0), r"rationale(?s:.*)Care, animal = hen, judge a"),
    (lambda v: v["grades"][0].update(rationale="GRADE: I"), "rationale"),
    (lambda v: v["grades"][0].update(rationale=None), "rationale"),
    (lambda v: v["grades"][5].update(rationale="late"), "outcome and rationale"),
    (lambda v: v["grades"][0].update(grade=0.5), "invalid grade"),
    (lambda v: v["grades"][0].update(stop_reason="max_tokens"), r"rationale(?s:.*)grade None, outcome cut"),
    (lambda v: v["grades"][2].update(stop_reason="max_tokens"), r"outcome and rationale(?s:.*)outcome cut"),
    (lambda v: v["grades"][2].update(outcome="cut"), r"outcome and rationale(?s:.*)outcome unparsed"),
    (lambda v: v["grades"][0].update(grade=None), "rationale"),
    (lambda v: v["grades"][2].update(grade=1.0), "rationale"),
    (lambda v: v["grades"][0].update(outcome="unparsed"), "invalid grade"),
    (without_zeros, r"missing or repeated(?s:.*)hen(?s:.*)found: a\n"),
    (doubled, r"missing or repeated(?s:.*)found: a, b, a\n"),
    (other_judge, r"not listed(?s:.*)found: c\n(?s:.*)a, b"),
    (lambda v: v["grades"].clear(), "grades and dimensions"),
    (lambda v: v.update(judges=[]), "not listed"),
    (lambda v: v.update(judges=[], grades=[], status="not_judged"), "grades_expected 6"),
    (lambda v: v.update(grades_missing=-5), r"grades_missing -5(?s:.*)grades_missing 2"),
    (lambda v: v.update(grades_expected=7), "grades_expected 7"),
    (lambda v: v.update(status="unscored"), "status 'unscored'"),
    (lambda v: v["weights"].update(Care=9.0), "overall"),
    (lambda v: v.update(weights={"Care": 1.0}), "one weight for each dimension"),
    (lambda v: v.update(weights={"Care": 0.0, "Scope": 0.0}), "above 0"),
    (lambda v: v["dimensions"].append("Care"), "one weight for each dimension"),
    (lambda v: v.update(epoch=0), "epoch"),
    (lambda v: v["grades"][0].update(scale="1 to 10"), r"scale(?s:.*)judge a(?s:.*)C or I"),
    (lambda v: v["grades"][0].update(at="yesterday"), r"invalid date(?s:.*)yesterday"),
    (lambda v: v.update(reasoning="I think.", thinking=False), "without thinking"),
    (lambda v: v.update(turns=[]), "does not start with the question"),
    (lambda v: v.update(turns=["Hello?", "Yes.", "May I?"]), "does not start with the question"),
    (lambda v: v["data"].update(size=2), r"another size(?s:.*)size 2(?s:.*)114"),
    (lambda v: v["data"].update(published=True), "not the published ones"),
    (lambda v: v["data"].update(is_benchmark=False), "source and is_benchmark"),
    (lambda v: v["run"].update(asked=3), r"more questions were asked(?s:.*)1 to 2"),
    (lambda v: v["run"].update(asked=0), "asked 0"),
    (
        lambda v: v["run"].update(left_out=[{"row": "0 epoch 1", "reason": "error"}]),
        "was left out has a record",
    ),
    (lambda v: v.update(benchmark="mmlu"), r"unknown benchmark(?s:.*)mmlu(?s:.*)anima_2_2"),
]


@pytest.mark.parametrize(("edit", "message"), EDITS)
def test_an_edited_record_is_refused(value: Value, edit: Callable[[Value], object], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read(edited(value, edit))
    for part in (r"line 1, item 0 epoch [01]", "found: ", "expected: "):
        assert caught.match(part)


WRONG_TYPES: list[tuple[Value, str]] = [
    ({"epoch": "1"}, r"epoch: .*'1'"),
    ({"epoch": True}, "epoch: "),
    ({"epoch": 1.5}, "epoch: "),
    ({"item": None}, r"item: .*None"),
    ({"benchmark": 3}, "benchmark: "),
    ({"weights": {"Care": "3"}}, "weights.Care: "),
    ({"weights": {"Care": float("inf")}}, "weights.Care: "),
    ({"judges": "a"}, "judges: "),
    ({"judges": [{"name": "a", "settings": {"temperature": float("nan")}}]}, "NaN"),
    ({"data": None}, "data: "),
    ({"data": {"source": "web", "revision": "r", "content_hash": "h"}}, r"data.source: .*'web'"),
    ({"run": {"harness": "x"}}, "run.harness_version: "),
    ({"status": "done"}, "status: "),
    ({"grades": [{"dimension": "Care"}]}, "grades.0.variables: "),
    ({"unknown": 1}, "unknown: "),
]


@pytest.mark.parametrize(("change", "message"), WRONG_TYPES)
def test_a_wrong_type_is_refused_by_name(value: Value, change: Value, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read(value | change)
    assert caught.match(r"where: line 1")
    assert "Traceback" not in str(caught.value)


def paths(value: object, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The places of all numbers, texts and nulls in a record."""
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        return [path for key, part in pairs for path in paths(part, (*at, key))]
    return [at]


DERIVED = {
    "overall",
    "dimension_scores",
    "status",
    "grades_missing",
    "grades_expected",
    "weights",
    "answer_hash",
}
NEW = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 9),
    st.floats(0, 1),
    st.sampled_from(["", "a", "b", "GRADE: C", "Care"]),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(data=st.data())
def test_a_single_edit_is_refused_or_changes_no_score(value: Value, data: st.DataObject) -> None:
    places = [
        path for path in paths(value) if path[0] in DERIVED | {"grades", "judges", "answer", "dimensions"}
    ]
    *path, last = data.draw(st.sampled_from(places))
    new = copy.deepcopy(value)
    block = new
    for key in path:
        block = block[key]
    if data.draw(st.booleans()) and isinstance(block, list):
        del block[last]
    else:
        block[last] = data.draw(NEW)
    try:
        record = read(new)
    except InputError:
        return
    before = read(value)
    for name in sorted(DERIVED - {"weights"}):
        assert getattr(record, name) == getattr(before, name), name


def test_a_cut_reply_is_no_grade_although_it_can_be_read(value: Value) -> None:
    def cut(v: Value) -> None:
        v["grades"][0].update(grade=None, outcome="cut", stop_reason="max_tokens")
        derive(v)

    record = read(edited(value, cut))
    assert (record.grades[0].rationale, record.grades_missing) == ("GRADE: C", value["grades_missing"] + 1)


def test_rationales_of_another_parser_are_not_read_again(value: Value) -> None:
    """Runs of different parsers are not comparable in the first place."""
    new = edited(value, lambda v: v.update(parser="another"))
    new["grades"][0]["rationale"] = "in other words"
    assert read(new).overall == value["overall"]


# -- the data -------------------------------------------------------------------------------------------------


def sample_value(item: int = 0, benchmark: Any = ANIMA_2_2) -> Value:
    """A judged answer to an item of the bundled sample."""
    dataset = load(benchmark, "sample")
    of = dataset.items[item]
    grades = [
        GradeRecord(c.dimension, dict(c.variables), "a", "graded", 1.0, "GRADE: C", c.prompt_hash)
        for c in judge_calls(dataset, of, "Yes.")
    ]
    record = make_record(Design.of(dataset), Answer.of(of, 1, "Yes."), PANEL[:1], grades, RUN)
    return json.loads(record.to_json())  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "change",
    [
        {"question": "Another?"},
        {"language": "de"},
        {"item": "999"},
        {"source": "elsewhere"},
        {"cluster": "other"},
        {"data": {"is_benchmark": True}},
        {"weights": 2.5},
        {"grades": "rat"},
    ],
)
@pytest.mark.parametrize("benchmark", [ANIMA_2_2, MORU])
def test_a_record_of_the_sample_must_match_the_sample(benchmark: Any, change: Value) -> None:
    value = sample_value(benchmark=benchmark)
    assert read(value).to_json() == json.dumps(value, ensure_ascii=False)
    if "weights" in change:
        change = {"weights": dict.fromkeys(value["weights"], change["weights"])}
    elif "data" in change:
        change = {"data": value["data"] | change["data"]}
    elif "grades" in change:
        name = change["grades"]
        grades = [g | {"variables": {"animal": f"{name} {n}"}} for n, g in enumerate(value["grades"])]
        change = {"grades": grades}
    with pytest.raises(InputError, match=r"(?s)data|unknown item"):
        read(value | change)


def written(folder: Path, name: str, values: list[Value]) -> Path:
    file = folder / f"{name}.records.jsonl"
    file.write_text("".join(json.dumps(value) + "\n" for value in values), "utf-8")
    return file


def weighted(value: Value, **weights: float) -> Value:
    new = edited(value, lambda v: v["weights"].update(weights))
    derive(new)
    return new


FORGED: list[tuple[Callable[[Value], Value], str]] = [
    (lambda v: v | {"question": "Another?"}, "question"),
    (lambda v: v | {"language": "de"}, "language"),
    (lambda v: weighted(v, Care=50.0), "weights"),
    (
        lambda v: edited(v, lambda w: [g["variables"].update(animal="dog") for g in w["grades"][:2]]),
        "criteria",
    ),
]


@pytest.mark.parametrize(("forge", "fact"), FORGED)
def test_two_answers_to_one_item_must_agree_about_it(
    tmp_path: Path, value: Value, forge: Callable[[Value], Value], fact: str
) -> None:
    file = written(tmp_path, "x", [value, forge(value | {"epoch": 2})])
    with pytest.raises(
        InputError, match=rf"(?s)x\.records\.jsonl, item 0 epoch 2.*found: {fact}.*expected: {fact}"
    ):
        load_runs([file])


def test_a_dimension_has_one_weight_in_a_run(tmp_path: Path, value: Value) -> None:
    file = written(tmp_path, "x", [value, weighted(value | {"item": "7"}, Care=50.0)])
    with pytest.raises(InputError, match=r"(?s)two weights.*item 7.*Care.*found: 50\.0.*expected: 1\.0"):
        load_runs([file])


@pytest.mark.parametrize(("forge", "fact"), FORGED)
def test_two_runs_on_the_same_data_must_agree_about_each_item(
    tmp_path: Path, value: Value, forge: Callable[[Value], Value], fact: str
) -> None:
    runs = load_runs([written(tmp_path, "base", [value]), written(tmp_path, "tuned", [forge(value)])])
    scores = [part for run in runs for part in reduce_run(run.name, run.files, run.records)]
    with pytest.raises(
        InputError, match=rf"(?s)tuned.records.jsonl.*item 0.*found: {fact}.*expected: {fact}"
    ):
        compare_pairs(scores, Settings())


def test_hashes_of_the_fixture_are_right(value: Value) -> None:
    assert value["answer_hash"] == text_hash(value["answer"])
