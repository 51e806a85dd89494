"""Logs of either harness to one table, a row per grade; files that are damaged or are something else."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import made_records
import pandas as pd
import pytest
from click.testing import CliRunner
from helpers import ANIMA_2_2, RUN, anima_rows, grade, table_rows, write_anima
from inspect_ai.log import (
    EvalConfig,
    EvalDataset,
    EvalLog,
    EvalSample,
    EvalSpec,
    read_eval_log,
    write_eval_log,
)
from inspect_ai.scorer import Score
from statsmodels.stats.proportion import proportion_confint

from value_retention.adapters.readers.inspect import read_log
from value_retention.adapters.readers.own import is_samples_file, read_samples, run_key
from value_retention.analysis.cli import cli
from value_retention.analysis.report.grades import COLUMNS, grades_table, score_tables, write_table
from value_retention.analysis.runs.load import Run, load_runs, parts_in_order
from value_retention.tasks.answers import Answer, Design, make_record
from value_retention.tasks.data import Dataset, load
from value_retention.tasks.errors import InputError
from value_retention.tasks.record import AnswerRecord, GradeRecord, JudgeInfo
from value_retention.tasks.scores import derived

TIME = "2026-01-02T03-04-05.000000"
PANEL = (JudgeInfo("a", {"temperature": 0.0}), JudgeInfo("lexical", {}, is_llm=False))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return load(ANIMA_2_2, str(write_anima(tmp_path_factory.mktemp("rows"), *anima_rows())))


@pytest.fixture(scope="module")
def records(dataset: Dataset) -> list[AnswerRecord]:
    """Item 0 (hen and cat, then Scope) judged by two, one reply unreadable and one missing; item 1 by none."""
    first = [
        grade(1.0, judge="a", animal="hen"),
        grade(0.0, judge="lexical", animal="hen"),
        grade(None, judge="a", animal="cat"),
        grade(1.0, judge="lexical", animal="cat"),
        grade(None, "Scope", "a", "judge_error"),
        grade(1.0, "Scope", "lexical"),
    ]
    return [
        make_record(Design.of(dataset), Answer.of(dataset.items[0], 1, "Yes."), PANEL, first, RUN),
        make_record(Design.of(dataset), Answer.of(dataset.items[1], 1, "Ja."), (), (), RUN),
    ]


def write_samples(
    folder: Path, records: list[AnswerRecord], time: str = TIME, task: str = "anima_2_2"
) -> Path:
    """A file as lm-eval writes it, as far as it is read."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"samples_{task}_{time}.jsonl"
    lines = [{"doc_id": n, "filtered_resps": [[record.to_json()]]} for n, record in enumerate(records)]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    return file


def unjudged(record: AnswerRecord) -> AnswerRecord:
    """The record as it was saved before its answer was judged."""
    scores = derived(record.dimensions, record.weights, (), judged=False)
    return dataclasses.replace(record, grades=(), judges=(), grades_expected=0, **scores)


def write_records(file: Path, records: Sequence[AnswerRecord]) -> Path:
    """A file as `value-retention judge` writes it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(record.to_json() + "\n" for record in records), "utf-8")
    return file


def write_log(file: Path, records: list[AnswerRecord], **more: dict[str, Any]) -> Path:
    """A log as Inspect writes it."""
    spec = EvalSpec(
        created="2026-01-02T03:04:05+00:00",
        task="value_retention/anima_2_2",
        dataset=EvalDataset(),
        model="m",
        config=EvalConfig(),
    )
    samples = []
    for record in records:
        score = Score(value={"overall": record.overall}, metadata={"record": record.to_dict()})
        scores = {"value_retention/judged": score, **{name: Score(**value) for name, value in more.items()}}
        samples.append(
            EvalSample(id=record.item, epoch=record.epoch, input=record.question, target="", scores=scores)
        )
    write_eval_log(EvalLog(eval=spec, samples=samples, status="success"), str(file))
    return file


def test_a_row_per_grade_with_what_it_was_graded_on(tmp_path: Path, records: list[AnswerRecord]) -> None:
    file = write_samples(tmp_path / "m", records)
    table = grades_table(load_runs([file]))
    assert list(table.columns) == list(COLUMNS)
    assert len(table) == 6 + 1
    rows = table.to_dict("records")
    keys = ["item", "dimension", "variables", "judge", "outcome", "grade", "weight"]
    assert [[row[key] for key in keys] for row in rows[:3]] == [
        ["0", "Care", '{"animal":"cat"}', "a", "unparsed", pytest.approx(float("nan"), nan_ok=True), 1.0],
        ["0", "Care", '{"animal":"cat"}', "lexical", "graded", 1.0, 1.0],
        ["0", "Care", '{"animal":"hen"}', "a", "graded", 1.0, 1.0],
    ]
    assert rows[4]["outcome"] == "judge_error"
    assert [rows[6][key] for key in ("item", "outcome", "language", "language_raw", "attempts")] == [
        *("1", "not_judged", "de", "German", 0),
    ]
    assert {row["judge_settings"] for row in rows[:6]} == {'{"temperature":0.0}', "{}"}
    assert {row["file"] for row in rows} == {str(file)}


def test_missing_grades_are_missing_in_parquet_and_csv(tmp_path: Path, records: list[AnswerRecord]) -> None:
    table = grades_table(load_runs([write_samples(tmp_path / "m", records)]))
    for name in ("g.parquet", "g.csv"):
        write_table(table, tmp_path / name)
    grades = [row["grade"] for row in table_rows(tmp_path / "g.parquet")]
    assert grades == [None, 1.0, 1.0, 0.0, None, 1.0, None]
    csv = pd.read_csv(tmp_path / "g.csv")
    assert csv["grade"].isna().sum() == 3
    assert list(csv.columns) == list(COLUMNS)


def test_both_harnesses_give_the_same_table(tmp_path: Path, records: list[AnswerRecord]) -> None:
    tables = [
        grades_table(load_runs([f"run={file}"])).drop(columns="file")
        for file in (
            write_samples(tmp_path / "lm", records),
            write_log(tmp_path / "log.eval", records),
            write_log(tmp_path / "log.json", records),
        )
    ]
    pd.testing.assert_frame_equal(tables[0], tables[1])
    pd.testing.assert_frame_equal(tables[0], tables[2])


def logged(file: Path, score: str | None = None) -> list[AnswerRecord]:
    """The records of a log, without the number of questions asked, which the log tells."""
    found = read_log(file, score)
    return [dataclasses.replace(r, run=dataclasses.replace(r.run, asked=None)) for r in found]


def test_records_survive_both_kinds_of_log(tmp_path: Path, records: list[AnswerRecord]) -> None:
    assert list(read_samples(write_samples(tmp_path / "lm", records))) == records
    assert logged(write_log(tmp_path / "log.eval", records)) == records


def test_samples_of_other_tasks_are_passed_over(tmp_path: Path, records: list[AnswerRecord]) -> None:
    write_samples(tmp_path / "m", records)
    other = tmp_path / "m" / f"samples_arc_easy_{TIME}.jsonl"
    other.write_text(
        '{"doc_id": 0, "filtered_resps": [["-1.0", "False"]]}\n{"doc_id": 1, "filtered_resps": ["x"]}\n'
    )
    assert list(read_samples(other)) == []
    assert [len(run.records) for run in load_runs([tmp_path / "m"])] == [2]


def test_names_of_samples_files() -> None:
    file = Path(f"samples_moru_en_{TIME}.jsonl")
    assert is_samples_file(file)
    assert run_key(file) == run_key(Path(f"results_{TIME}.json")) == TIME
    assert not is_samples_file(Path("samples_x.json"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[: len(text) // 2], r"samples file(?s:.*)line 1"),
        (lambda text: text + "{}\n", r"(?s)line 3.*KeyError: 'filtered_resps'"),
        (lambda text: text + "[1]\n", "line 3"),
        (
            lambda text: text.replace('\\"schema_version\\": 1', '\\"schema_version\\": 9'),
            "schema_version: 9",
        ),
    ],
)
def test_a_damaged_samples_file_is_named_by_line(
    tmp_path: Path, records: list[AnswerRecord], damage: Any, message: str
) -> None:
    file = write_samples(tmp_path, records)
    file.write_text(damage(file.read_text("utf-8")), "utf-8")
    with pytest.raises(InputError, match=message) as caught:
        list(read_samples(file))
    assert str(file) in str(caught.value)


def test_a_samples_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    file = tmp_path / f"samples_anima_2_2_{TIME}.jsonl"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"samples file(?s:.*)line 1"):
        list(read_samples(file))


@pytest.mark.parametrize("content", [b"", b"{}", b"no log at all", b"PK\x03\x04 cut off"])
@pytest.mark.parametrize("name", ["x.eval", "x.json"])
def test_a_damaged_log_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"(?s)Inspect log.*{name}"):
        list(read_log(tmp_path / name))


def test_a_log_of_another_eval_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"(?s)no records.*eval value_retention/anima_2_2.*0 samples"):
        list(read_log(write_log(tmp_path / "x.eval", [])))


def test_a_log_that_was_scored_twice_is_not_mixed(tmp_path: Path, records: list[AnswerRecord]) -> None:
    again = {"value": 1.0, "metadata": {"record": records[0].to_dict()}}
    file = write_log(tmp_path / "x.eval", records[:1], **{"value_retention/judged1": again})
    with pytest.raises(InputError, match=r"(?s)several scores.*judged, value_retention/judged1.*--score"):
        list(read_log(file))
    assert logged(file, "judged1") == records[:1]
    with pytest.raises(InputError, match=r"(?s)unknown score.*value_retention/judged1"):
        list(read_log(file, "another"))
    assert CliRunner().invoke(cli, ["table", str(file), "--score", "value_retention/judged"]).exit_code == 0


def test_a_score_of_another_scorer_beside_ours_is_passed_over(
    tmp_path: Path, records: list[AnswerRecord]
) -> None:
    file = write_log(tmp_path / "x.eval", records, match={"value": "C"})
    assert logged(file) == records


# -- what is shown ----------------------------------------------------------------------------------------


def test_scores_are_shown_with_questions_clusters_and_interval() -> None:
    items = {str(k): [{"x": float(k % 2), "y": 1.0}] for k in range(12)}
    made = made_records.run_of("m", items)
    few = made_records.run_of("few", {str(k): [{"x": None if k else 1.0}] for k in range(3)})
    runs = [Run(r.name, tuple(r.files), tuple(r.records)) for r in (made, few)]
    warnings, ((title, rows), (_, few_rows)) = score_tables(runs)
    assert not warnings
    assert title.startswith("m: anima_2_2, 12 questions (en), 12 answers, judge lab/judge-1, data hub")
    shown = {row[0]: row[1:] for row in rows}
    # 0.5 and 1.0 in turn: 0.75 * 0.25 / (0.25 / 44) = 33 grades' worth, times (1.96 / 2.201)^2; capped at 24.
    wilson = proportion_confint(0.75 * 24, 24, method="wilson")
    interval = f"[{wilson[0] * 100:.1f}, {wilson[1] * 100:.1f}]"
    assert shown["overall_mean"] == shown["english_mean"] == ["75.0", "12", "12", interval]
    assert shown["y"] == ["100.0", "12", "12", "[75.8, 100.0]"], "Wilson's interval of 12 of 12"
    assert shown["non_english_mean"] == ["nothing to score", "", "", ""]
    assert shown["missing_grades"] == ["0.0", "", "", "share of 24 grades"]
    assert few_rows[0] == ["overall_mean", "100.0", "1", "1", "< 6 clusters"]


def test_part_of_the_sample_is_shown_as_a_part(records: list[AnswerRecord]) -> None:
    sample = load(ANIMA_2_2, "sample")
    part = [dataclasses.replace(r, data=sample.info) for r in records]
    (first, *_), ((title, _),) = score_tables([Run("m", (), tuple(part))])
    assert first.startswith("NOT A BENCHMARK RESULT")
    assert title.startswith(f"m: anima_2_2, 2 of {len(sample)} questions (en, de), 2 answers")


def test_answers_that_a_log_lacks_are_named(tmp_path: Path, records: list[AnswerRecord]) -> None:
    whole = write_log(tmp_path / "whole.eval", records)
    log = read_eval_log(str(whole))
    log.eval.dataset = EvalDataset(samples=5, sample_ids=["0", "1", "2"])
    for status in ("cancelled", "success"):
        log.status = status  # type: ignore[assignment]
        file = tmp_path / f"{status}.eval"
        write_eval_log(log, str(file))
        done = CliRunner().invoke(cli, ["table", str(file)])
        assert done.exit_code == 0, done.exception
        said = f"1 answer: sample 2 epoch 1 (not answered, the eval's status is '{status}')"
        assert said in " ".join(done.stdout.split())
        assert {record.run.asked for record in read_log(file)} == {3}


# -- runs -------------------------------------------------------------------------------------------------


def test_a_run_is_named_by_its_folder_or_by_the_user(tmp_path: Path, records: list[AnswerRecord]) -> None:
    write_samples(tmp_path / "base", records)
    assert [run.name for run in load_runs([tmp_path / "base"])] == ["base"]
    assert [run.name for run in load_runs([f"first={tmp_path / 'base'}"])] == ["first"]


def test_two_runs_in_one_folder_are_told_apart_by_time(tmp_path: Path, records: list[AnswerRecord]) -> None:
    later = TIME.replace("2026", "2027")
    for time in (TIME, later):
        write_samples(tmp_path / "m", records, time)
    assert [run.name for run in load_runs([tmp_path / "m"])] == [f"m/{TIME}", f"m/{later}"]


def test_a_results_file_stands_for_its_samples(tmp_path: Path, records: list[AnswerRecord]) -> None:
    write_samples(tmp_path / "m", records)
    write_samples(tmp_path / "m", records, "2027-01-01T00-00-00.000000")
    results = tmp_path / "m" / f"results_{TIME}.json"
    results.write_text("{}")
    (run,) = load_runs([results])
    assert [Path(file).name for file in run.files] == [f"samples_anima_2_2_{TIME}.jsonl"]


def test_answers_judged_later_replace_their_unjudged_copies(
    tmp_path: Path, records: list[AnswerRecord]
) -> None:
    judged = records[0]
    write_samples(tmp_path / "m", [unjudged(judged)])
    write_records(tmp_path / "m" / "later.records.jsonl", [judged])
    (run,) = load_runs([tmp_path / "m"])
    assert run.records == (parts_in_order(judged),)


def test_another_models_equal_answers_do_not_replace_them(
    tmp_path: Path, records: list[AnswerRecord]
) -> None:
    """Two models may say the same: the answers of one stay unjudged."""
    judged = dataclasses.replace(records[0], run=dataclasses.replace(RUN, model="another"))
    write_records(tmp_path / "m" / "x.records.jsonl", [unjudged(records[0])])
    write_records(tmp_path / "m" / "y.records.jsonl", [judged])
    assert [run.records[0].status for run in load_runs([tmp_path / "m"])] == ["not_judged", "scored"]


def regraded(record: AnswerRecord, grades: Sequence[GradeRecord]) -> AnswerRecord:
    """The record with other grades and the scores that follow from them."""
    scores = derived(record.dimensions, record.weights, grades, judged=True)
    return dataclasses.replace(record, grades=tuple(grades), **scores)


@pytest.mark.parametrize(
    ("change", "left"),
    [
        ({}, 1),
        ({"rationale": "another pass"}, 2),
        ({"model": "another"}, 2),
        ({"judges": (JudgeInfo("a", {"temperature": 1.0}), PANEL[1])}, 2),
    ],
)
def test_filled_grades_replace_those_that_failed(
    tmp_path: Path, records: list[AnswerRecord], change: dict[str, Any], left: int
) -> None:
    """But neither another panel's nor another model's grades, nor those of the same panel's second pass."""
    old = records[0]
    grades = [
        dataclasses.replace(g, outcome="graded", grade=1.0, rationale="late GRADE: C")
        if g.outcome == "judge_error"
        else g
        for g in old.grades
    ]
    change = dict(change)
    if text := change.pop("rationale", None):
        grades = [dataclasses.replace(grade, rationale=f"{text}: {grade.rationale}") for grade in grades]
    if model := change.pop("model", None):
        change["run"] = dataclasses.replace(RUN, model=model)
    new = dataclasses.replace(regraded(old, grades), **change)
    data = dataclasses.replace(old.data, size=None)
    other = dataclasses.replace(old, benchmark="moru", item="9", data=data)
    write_samples(tmp_path / "m", [old, other])
    write_records(tmp_path / "m" / "later.records.jsonl", [new])
    runs = load_runs([tmp_path / "m"])
    assert len(runs) == left
    if left == 1:
        assert set(map(AnswerRecord.to_json, runs[0].records)) == {
            parts_in_order(record).to_json() for record in (new, other)
        }


# -- records that do not hold together --------------------------------------------------------------------

DAMAGE: list[tuple[Callable[[dict[str, Any]], object], str]] = [
    (
        lambda r: r.update(overall=0.9),
        r"does not follow from the grades(?s:.*)overall 0\.9(?s:.*)overall 0\.9375",
    ),
    (lambda r: r.update(overall=None), "overall None"),
    (lambda r: r.update(overall=float("nan")), "overall: (?s:.*)nan"),
    (lambda r: r["dimension_scores"].update(Care=0.5), r"Care 0\.5(?s:.*)Care 0\.75"),
    (lambda r: r["dimension_scores"].update(Other=0.5), "scores and dimensions"),
    (lambda r: r["dimension_scores"].pop("Care"), "scores and dimensions"),
    (lambda r: r.update(answer="No."), "answer_hash"),
    (lambda r: r.update(answer=None), "answer: (?s:.*)None"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGE)
@pytest.mark.parametrize("kind", ["records", "samples", "log"])
def test_a_record_that_does_not_hold_together_is_refused_by_place_and_item(
    tmp_path: Path,
    records: list[AnswerRecord],
    damage: Callable[[dict[str, Any]], object],
    message: str,
    kind: str,
) -> None:
    value = json.loads(records[0].to_json())
    damage(value)
    if kind == "log":
        file = write_log(tmp_path / "x.json", records[:1])
        log = json.loads(file.read_text("utf-8"))
        log["samples"][0]["scores"]["value_retention/judged"]["metadata"]["record"] = value
        file.write_text(json.dumps(log), "utf-8")
        where = r"x\.json, sample 0 epoch 1, item 0"
    elif kind == "samples":
        file = write_samples(tmp_path, records[:1])
        file.write_text(json.dumps({"filtered_resps": [[json.dumps(value)]]}) + "\n", "utf-8")
        where = rf"{TIME}\.jsonl, line 1, item 0"
    else:
        file = tmp_path / "x.records.jsonl"
        file.write_text(records[1].to_json() + "\n" + json.dumps(value) + "\n", "utf-8")
        where = r"x\.records\.jsonl, line 2, item 0 epoch 1"
    with pytest.raises(InputError, match=message) as caught:
        load_runs([file])
    assert re.search(where, str(caught.value))
    assert "found: " in str(caught.value)
    assert "expected: " in str(caught.value)


def test_rounding_is_no_damage(tmp_path: Path, records: list[AnswerRecord]) -> None:
    value = records[0].to_dict()
    value["overall"] += 1e-12
    (tmp_path / "x.records.jsonl").write_text(json.dumps(value), "utf-8")
    assert len(load_runs([tmp_path])[0].records) == 1


def test_brackets_without_end_are_no_record(tmp_path: Path) -> None:
    deep = "[" * 100_000
    for name in ("x.records.jsonl", f"samples_anima_2_2_{TIME}.jsonl"):
        (tmp_path / name).write_text(deep, "utf-8")
        with pytest.raises(InputError, match=r"(?s)line 1.*recursion"):
            load_runs([tmp_path / name])
    text = json.dumps({"filtered_resps": [['{"benchmark": ' + deep]]})
    (tmp_path / f"samples_anima_2_2_{TIME}.jsonl").write_text(text, "utf-8")
    with pytest.raises(InputError, match=r"(?s)JSON.*line 1.*recursion"):
        load_runs([tmp_path / f"samples_anima_2_2_{TIME}.jsonl"])


@pytest.mark.parametrize("path", ["x" * 300, f"base={'x' * 300}", f"{'x' * 300}=nowhere", "~nobody-at-all/x"])
def test_a_name_that_no_file_can_have_does_not_exist(path: str) -> None:
    with pytest.raises(InputError, match="does not exist"):
        load_runs([path])


def test_mistakes_are_named(tmp_path: Path, records: list[AnswerRecord]) -> None:
    with pytest.raises(InputError, match=r"(?s)does not exist.*nowhere"):
        load_runs([tmp_path / "nowhere"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"(?s)no answers.*--log_samples"):
        load_runs([tmp_path / "empty"])
    for folder in ("a/m", "b/m"):
        write_samples(tmp_path / folder, records)
    with pytest.raises(InputError, match=r"(?s)same name.*first=PATH"):
        load_runs([tmp_path / "a" / "m", tmp_path / "b" / "m"])
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match=r"(?s)unknown kind.*notes\.txt"):
        load_runs([tmp_path / "notes.txt"])
    with pytest.raises(InputError, match=r"(?s)unsupported.*\.xlsx.*\.parquet or \.csv"):
        write_table(grades_table([]), tmp_path / "t.xlsx")
    with pytest.raises(InputError, match="cannot be written"):
        write_table(grades_table([]), tmp_path / "nowhere" / "t.csv")
