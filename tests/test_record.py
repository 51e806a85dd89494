"""The sample-level record: read back as it was written, and never in a form that another tool cannot read."""

from __future__ import annotations

import dataclasses
import json
import re

import pytest
from helpers import ANIMA_2_2, ROOT, RUN, dataset_of, grade
from hypothesis import given
from hypothesis import strategies as st

from value_retention.tasks import upstream
from value_retention.tasks.answers import Answer, Design, make_record
from value_retention.tasks.data import Dimension
from value_retention.tasks.errors import InputError
from value_retention.tasks.record import (
    AnswerChecks,
    AnswerRecord,
    DataInfo,
    DroppedRow,
    GradeRecord,
    JudgeInfo,
    RunInfo,
    canonical_json,
    caveats,
    text_hash,
    texts_once,
    well_formed,
)

DATASET = dataclasses.replace(
    dataset_of(ANIMA_2_2, Dimension("Care", "Is the {{animal}} well?", ""), "Qué?"),
    info=DataInfo("hub", "c" * 40, "h" * 64, (DroppedRow("58", "no tags"),)),
)
JUDGE = JudgeInfo("openai/x", {"temperature": 0.0})


def record(answer: str = "An answer.") -> AnswerRecord:
    of = Answer.of(DATASET.items[0], 2, answer)
    return make_record(Design.of(DATASET), of, [JUDGE], [grade(1.0, judge="openai/x", animal="animal")], RUN)


TEXTS = st.one_of(st.text(), st.text(st.characters(categories=["Cs", "Lu"])))


@given(TEXTS)
def test_a_record_is_read_back_as_it_was_written(answer: str) -> None:
    made = record(answer)
    text = made.to_json()
    assert AnswerRecord.from_json(text) == made
    assert AnswerRecord.from_json(text).to_json() == text
    assert "\n" not in text
    text.encode("utf-8")  # a file can hold it


@given(TEXTS)
def test_half_characters_are_replaced_and_nothing_else(text: str) -> None:
    whole = well_formed(text)
    assert well_formed(whole) == whole
    whole.encode("utf-8")
    if not any("\ud800" <= letter <= "\udfff" for letter in text):
        assert whole == text


def test_halves_of_one_character_become_it() -> None:
    assert well_formed("a\ud83d\ude00b\ud83dc") == "a😀b\ufffdc"


def test_a_record_carries_what_makes_runs_comparable() -> None:
    made = record()
    assert (made.benchmark, made.benchmark_version) == ("anima_2_2", "6-D")
    assert made.data.dropped == (DroppedRow("58", "no tags"),)
    assert made.answer_hash == text_hash("An answer.")
    assert made.parser == upstream.parser_version()
    assert (made.epoch, made.item, made.cluster, made.language) == (2, "1", "1", "en")


def test_a_record_of_another_schema_is_refused() -> None:
    value = record().to_dict() | {"schema_version": 2, "added": True}
    del value["parser"]
    with pytest.raises(InputError, match=r"(?s)where: file, line 7, item 1.*schema_version: 2.*schema 1"):
        AnswerRecord.from_dict(value, "file, line 7")


def test_missing_and_unknown_fields_are_named() -> None:
    value = record().to_dict()
    with pytest.raises(InputError, match=r"extra: Unexpected"):
        AnswerRecord.from_dict(value | {"extra": 1})
    del value["epoch"]
    with pytest.raises(InputError, match=r"epoch: Field required"):
        AnswerRecord.from_dict(value)


@pytest.mark.parametrize("block", ["data", "run"])
def test_a_block_that_was_changed_is_refused_too(block: str) -> None:
    value = record().to_dict()
    value[block] = value[block] | {"extra": 1}
    with pytest.raises(InputError, match=r"(?s)where: here.*extra"):
        AnswerRecord.from_dict(value, "here")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"text"', "[" * 100_000])
def test_a_text_that_is_no_record_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="where: here"):
        AnswerRecord.from_json(text, "here")


def test_canonical_json_is_one_text_for_equal_values() -> None:
    assert canonical_json({"b": 1, "a": "é"}) == canonical_json({"a": "é", "b": 1}) == '{"a":"é","b":1}'
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json(float("nan"))


def test_json_keeps_the_order_of_the_fields() -> None:
    fields = [field.name for field in dataclasses.fields(AnswerRecord)]
    value = json.loads(record().to_json())
    assert list(value) == [n for n in fields if n not in ("thinking", "criteria", "definition", "turns")]
    optional = ("error", "stop_reason", "criterion", "at", "served", "raw", "scale")
    assert not [name for name in optional if name in value["grades"][0]]
    whole = dataclasses.replace(
        record(),
        thinking=True,
        definition={"name": "x"},
        turns=("Q?", "A.", "Sure?"),
        criteria={"0": "Care"},
    )
    assert list(json.loads(whole.to_json())) == fields


def test_a_text_of_a_criterion_is_once_in_a_file() -> None:
    texts = [{"1": "a", "2": "b"}, {"2": "b"}, None, {"2": "b", "3": "c"}]
    records = [dataclasses.replace(record(), criteria=each) for each in texts]
    assert [made.criteria for made in texts_once(records)] == [{"1": "a", "2": "b"}, None, None, {"3": "c"}]


def test_a_part_and_unchecked_rows_are_named() -> None:
    whole = DataInfo("hub", "r", "h", size=114, rows=114, published=True)
    assert caveats(whole) == caveats(whole, asked=114) == []
    assert caveats(whole, [JudgeInfo("lexical", is_llm=False)], 40) == [
        "40 of 114 questions",
        "judge lexical, not an LLM",
    ]
    folder = DataInfo("folder", "r", "h", size=114, rows=40)
    assert caveats(folder) == ["40 of 114 questions", "rows not checked against the published ones"]
    own = DataInfo("folder", "r", "h", rows=12, published=True)
    assert (caveats(own), caveats(own, asked=3)) == ([], ["3 of 12 questions"])
    sample = DataInfo("sample", "sample", "h", is_benchmark=False, rows=30)
    assert caveats(sample, asked=3) == ["sample items, not a benchmark"]


def test_the_documentation_names_every_field() -> None:
    page = (ROOT / "docs" / "extending.md").read_text("utf-8")
    section = page[page.index("## The record") : page.index("## The way of one answer")]
    named = {name.rpartition(".")[2] for name in re.findall(r"`([a-z_.\[\]]+)`", section)}
    for kind in (AnswerRecord, DataInfo, GradeRecord, RunInfo, AnswerChecks):
        missing = {field.name for field in dataclasses.fields(kind)} - named
        assert not missing - {"run", "checks", "data", "grades"}, kind
