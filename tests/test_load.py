"""Rows to items: the quirks of the data, what is dropped by name, what stops the run."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from helpers import ANIMA_2_2, MORU, REAL, anima_rows, moru_rows, real_rows, write_anima, write_moru

from value_retention.tasks.data import Dataset, english_cluster, load
from value_retention.tasks.errors import InputError
from value_retention.tasks.languages import is_english
from value_retention.tasks.prompts import item_calls
from value_retention.tasks.record import caveats


@pytest.fixture(scope="module")
def anima() -> Dataset:
    return load(ANIMA_2_2, "sample")


@pytest.fixture(scope="module")
def moru() -> Dataset:
    return load(MORU, "sample")


def by_id(dataset: Dataset) -> dict[str, Any]:
    return {item.id: item for item in dataset.items}


# -- where rows come from ---------------------------------------------------------------------------------


def test_a_folder_is_not_the_published_rows_and_may_be_a_part(tmp_path: Path) -> None:
    info = load(ANIMA_2_2, str(write_anima(tmp_path, *anima_rows()))).info
    assert (info.source, info.published, info.size, info.rows) == ("folder", False, ANIMA_2_2.size, 2)
    assert caveats(info) == ["2 of 114 questions", "rows not checked against the published ones"]


def snapshot(cache: Path, repo: str, commit: str) -> Path:
    return cache / f"datasets--{repo.replace('/', '--')}" / "snapshots" / commit


@pytest.mark.parametrize("way", ["cache", "snapshot", "link"])
def test_a_snapshot_of_the_pinned_commit_is_the_published_rows(tmp_path: Path, way: str) -> None:
    write_anima(tmp_path / "rows", *anima_rows())
    repo, commit = str(ANIMA_2_2.questions.repo), ANIMA_2_2.questions.revision
    place = snapshot(tmp_path / "hub", repo, commit)
    place.parent.mkdir(parents=True)
    (tmp_path / "rows" / "anima").rename(place)
    data = {"cache": tmp_path / "hub", "snapshot": place, "link": tmp_path / "rows"}[way]
    if way == "link":
        (data / "anima").symlink_to(place)
    info = load(ANIMA_2_2, str(data), ["en"]).info
    assert (info.source, info.revision, info.published) == ("hub", commit, True)
    assert (info.size, info.rows, caveats(info), caveats(info, asked=1)) == (2, 2, [], ["1 of 2 questions"])


def test_a_snapshot_of_another_commit_is_a_folder(tmp_path: Path) -> None:
    write_anima(tmp_path / "rows", *anima_rows())
    place = snapshot(tmp_path / "hub", str(ANIMA_2_2.questions.repo), "0" * 40)
    place.parent.mkdir(parents=True)
    (tmp_path / "rows" / "anima").rename(place)
    (tmp_path / "rows" / "anima").symlink_to(place)
    info = load(ANIMA_2_2, str(tmp_path / "rows")).info
    assert (info.source, info.published) == ("folder", False)


def test_two_repositories_count_only_if_both_are_snapshots(tmp_path: Path) -> None:
    write_moru(tmp_path, *moru_rows())
    for name, table, published in (
        ("moru-benchmark", MORU.questions, False),
        ("moru-benchmark-dimensions", MORU.dimensions, True),
    ):
        place = snapshot(tmp_path / "hub", str(table.repo), table.revision)
        place.parent.mkdir(parents=True)
        (tmp_path / name).rename(place)
        (tmp_path / name).symlink_to(place)
        assert load(MORU, str(tmp_path)).info.published is published


# -- the sample rows, quirk by quirk as tasks/sample/README.md lists them ---------------------------------


def test_sample_anima_counts(anima: Dataset) -> None:
    assert (len(anima), len(anima.dimensions), sum(item_calls(anima, item) for item in anima.items)) == (
        30,
        13,
        114,
    )
    assert len({item.language for item in anima.items}) == 12
    assert sum(is_english(item.language) for item in anima.items) == 12
    assert [(row.row, row.reason) for row in anima.info.dropped] == [
        ("30", "tag that is no known dimension: ''")
    ]


def test_sample_is_marked_as_no_benchmark(anima: Dataset, moru: Dataset) -> None:
    for dataset in (anima, moru):
        assert dataset.info.source == dataset.info.revision == dataset.prompt_revision == "sample"
        assert dataset.info.is_benchmark is False


def test_id_zero_is_an_id(anima: Dataset) -> None:
    assert anima.items[0].id == "0"


def test_rows_that_render_one_english_text_are_one_cluster(anima: Dataset) -> None:
    by_text: dict[str, set[str]] = {}
    for item in anima.items:
        by_text.setdefault((item.translation or item.question).casefold(), set()).add(item.cluster)
    assert all(len(clusters) == 1 for clusters in by_text.values())
    assert len({item.cluster for item in anima.items}) == len(by_text) == 21
    assert english_cluster("How  ARE\nhens kept?", None) == english_cluster("?", "how are hens kept?")


@real_rows
def test_the_benchmark_has_96_questions_in_114_rows() -> None:
    items = load(ANIMA_2_2, str(REAL)).items
    assert (len(items), len({item.cluster for item in items})) == (114, 96)


def test_null_is_english_and_raw_names_are_kept(anima: Dataset) -> None:
    items = by_id(anima)
    for number in range(9):
        assert (items[str(number)].language, items[str(number)].language_raw) == ("en", None)
    for number in (9, 13, 20):
        assert (items[str(number)].language, items[str(number)].language_raw) == ("en", "English")
    assert [(items[n].language, items[n].language_raw) for n in ("19", "22", "23")] == [
        ("bn", "Bengali"),
        ("bn", "Bangla"),
        ("pa", "Punjab"),
    ]


def test_variables_null_spaced_and_on_two_lines(anima: Dataset) -> None:
    items = by_id(anima)
    assert items["5"].variables == ()
    assert items["0"].variables == (("animal", ("cat", "dog")),)
    assert items["1"].variables == (("animal", ("guinea pig",)),)
    assert items["3"].variables == (
        ("animal", ("pigeon", "rat")),
        ("setting", ("school roof", "railway station")),
    )
    assert [len(items["8"].variables[0][1]), len(items["28"].variables[0][1])] == [2, 2]


def test_question_text_is_kept_as_it_is(anima: Dataset) -> None:
    items = by_id(anima)
    assert items["5"].question.endswith("\nAnswer:")
    assert "{{animal}}" in items["4"].question
    assert '"' in items["4"].question
    assert any("\u0600" <= letter <= "\u06ff" for letter in items["16"].question)


def test_translations_and_weights(anima: Dataset) -> None:
    shared = Counter(item.translation for item in anima.items if item.translation)
    assert sorted(count for count in shared.values() if count > 1) == [2, 2, 4, 5]
    weights = {dimension.weight for dimension in anima.dimensions.values()}
    assert weights == {1.0, 2.0}
    assert anima.dimensions["Harm Minimization"].weight == 2.0


def test_sample_moru_counts_and_duplicates(moru: Dataset) -> None:
    assert (len(moru), len(moru.dimensions), sum(item_calls(moru, item) for item in moru.items)) == (
        36,
        16,
        141,
    )
    assert Counter(item.language for item in moru.items) == {"en": 12, "ms": 12, "hi": 12}
    assert Counter(item.cluster for item in moru.items) == {str(n): 3 for n in range(1, 13)}
    assert sorted(row.row for row in moru.info.dropped) == ["10_ms", "1_en", "3_hi"]
    assert {row.reason for row in moru.info.dropped} == {"exact duplicate of an earlier row"}


def test_moru_names_are_folded_and_unknown_tags_dropped(moru: Dataset) -> None:
    items = by_id(moru)
    assert all(name == name.lower() for name in moru.dimensions)
    for item in moru.items:
        assert item.dimensions == items[f"{item.cluster}_en"].dimensions, item.id
        assert item.dimensions
        assert item.source
        assert item.variables == ()


# -- the real rows, where they are ------------------------------------------------------------------------


@real_rows
def test_real_anima_counts() -> None:
    dataset = load(ANIMA_2_2, str(REAL))
    assert len(dataset) == 114
    assert [row.row for row in dataset.info.dropped] == ["58"]
    assert sum(item_calls(dataset, item) for item in dataset.items) == 507
    assert sum(is_english(item.language) for item in dataset.items) == 30
    assert len(dataset.dimensions) == 13
    assert dataset.info.is_benchmark
    assert dataset.info.revision == f"sha256:{dataset.info.content_hash}"


@real_rows
def test_real_rows_are_upstreams_samples() -> None:
    """Ids, questions, tags and variables as the pinned upstream reads the same parquet file."""
    import json

    import pyarrow.parquet
    from inspect_evals.anima.dataset import record_to_sample

    rows = pyarrow.parquet.read_table(next((REAL / "anima/questions").glob("*.parquet"))).to_pylist()
    dataset = load(ANIMA_2_2, str(REAL))
    convert = record_to_sample(dataset.dimensions)
    theirs = [sample for row in rows if (sample := convert(row))]
    assert len(rows) == 115
    assert [(str(s.id), s.input) for s in theirs] == [(item.id, item.question) for item in dataset.items]
    for sample, item in zip(theirs, dataset.items, strict=True):
        target = json.loads(str(sample.target))
        assert target["tags"] == list(item.dimensions)
        assert target["variables"] == {name: list(values) for name, values in item.variables}


# -- folders ----------------------------------------------------------------------------------------------


def test_all_formats_give_the_same_dataset(tmp_path: Path) -> None:
    for benchmark, rows, write in ((ANIMA_2_2, anima_rows(), write_anima), (MORU, moru_rows(), write_moru)):
        read = [
            load(benchmark, str(write(tmp_path / kind, *rows, kind))) for kind in ("jsonl", "csv", "parquet")
        ]
        assert read[0] == read[1] == read[2]


@pytest.mark.parametrize(
    "written",
    ['["Care", "Scope"]', "['Care', 'Scope']", "['Care' 'Scope']", "['Care'\n \"Scope\"]", "Care, Scope"],
)
def test_tags_in_text_are_read_however_they_were_written(tmp_path: Path, written: str) -> None:
    """CSV by hand, by pandas from a list, and by pandas from parquet (NumPy's form, without commas)."""
    questions, dimensions = anima_rows()
    questions[0]["tags"] = written
    dataset = load(ANIMA_2_2, str(write_anima(tmp_path, questions, dimensions, "csv")))
    assert dataset.items[0].dimensions == ("Care", "Scope")


def test_an_edited_folder_is_read_anew_with_another_hash(tmp_path: Path) -> None:
    questions, dimensions = anima_rows()
    before = load(ANIMA_2_2, str(write_anima(tmp_path, questions, dimensions)))
    dimensions[0]["guiding_question"] += "?"
    after = load(ANIMA_2_2, str(write_anima(tmp_path, questions, dimensions)))
    assert before.dimensions["Care"] != after.dimensions["Care"]
    assert before.info.content_hash != after.info.content_hash
    assert before.info.revision != after.info.revision


def test_equal_content_has_an_equal_hash_wherever_it_was_read(tmp_path: Path, anima: Dataset) -> None:
    import shutil

    from value_retention.tasks.data import SAMPLE

    copied = load(ANIMA_2_2, str(shutil.copytree(SAMPLE, tmp_path / "copy")))
    assert copied.items == anima.items
    assert copied.info.content_hash == anima.info.content_hash
    assert copied.info.is_benchmark, "only the bundled rows are known to be none"


def test_languages_choose_items_but_not_the_hash(anima: Dataset) -> None:
    part = load(ANIMA_2_2, "sample", ["Bengali", "en"])
    assert {item.language for item in part.items} == {"bn", "en"}
    assert len(part) == 14
    assert part.info == anima.info


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(InputError, match=r"(?s)'Klingonese'.*en, hi, ms"):
        load(MORU, "sample", ["Klingonese"])


# -- rows that are dropped, rows that stop the run --------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"question": None}, "no question"),
        ({"question": "  "}, "no question"),
        ({"tags": []}, "no dimension tags"),
        ({"tags": ["Care", "Unheard"]}, "tag that is no known dimension: 'Unheard'"),
        ({"tags": ["Care", ""]}, "tag that is no known dimension: ''"),
    ],
)
def test_anima_drops_a_row_by_name(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    questions, dimensions = anima_rows()
    questions[1] |= change
    dataset = load(ANIMA_2_2, str(write_anima(tmp_path, questions, dimensions)))
    assert [dataclasses.astuple(row) for row in dataset.info.dropped] == [("1", reason)]
    assert [item.id for item in dataset.items] == ["0"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"question": None}, r"no question(?s:.*)row 3(?s:.*)id 2_ms"),
        ({"dimension_tags": None}, "no dimension tags"),
        ({"dimension_tags": " , "}, "no dimension tags"),
        ({"dimension_tags": "Unheard"}, "no known dimension among its tags"),
        ({"language": None}, r"'language'(?s:.*)row 3(?s:.*)found: None(?s:.*)BCP-47"),
        ({"language": "Klingonese"}, r"'language'(?s:.*)found: 'Klingonese'"),
        ({"id": None}, r"'id'(?s:.*)row 3(?s:.*)found: None"),
        ({"id": 1.5}, r"'id'(?s:.*)found: 1\.5"),
        ({"id": True}, r"'id'(?s:.*)found: True"),
        ({"question": 7}, r"'question'(?s:.*)found: 7(?s:.*)expected: text"),
        ({"dimension_tags": ["Care", 3]}, r"'dimension_tags'(?s:.*)found: \['Care', 3\]"),
        ({"dimension_tags": "['Care', Doubt]"}, r"'dimension_tags'(?s:.*)row 3(?s:.*)Doubt\]"),
    ],
)
def test_moru_stops_at_a_row_it_cannot_use(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    questions, dimensions = moru_rows()
    questions[3] |= change
    with pytest.raises(InputError, match=message):
        load(MORU, str(write_moru(tmp_path, questions, dimensions)))


@pytest.mark.parametrize("variables", ["animal", ":hen", "animal:", "animal:a:b", "animal: , "])
def test_variables_that_cannot_be_read_stop_the_run(tmp_path: Path, variables: str) -> None:
    questions, dimensions = anima_rows()
    questions[1]["variables"] = variables
    with pytest.raises(InputError, match=r"(?s)'variables'.*train\.jsonl, row 1.*name:value,value"):
        load(ANIMA_2_2, str(write_anima(tmp_path, questions, dimensions)))


def test_a_name_on_two_lines_has_the_values_of_both(tmp_path: Path) -> None:
    questions, dimensions = anima_rows()
    questions[0]["variables"] = "animal:hen\n\nanimal: cat,\n"
    dataset = load(ANIMA_2_2, str(write_anima(tmp_path, questions, dimensions)))
    assert dataset.items[0].variables == (("animal", ("hen", "cat")),)


def test_duplicate_ids_are_refused(tmp_path: Path) -> None:
    questions, dimensions = anima_rows()
    write_anima(tmp_path, [*questions, questions[0]], dimensions)
    with pytest.raises(InputError, match=r"(?s)same id.*row 2 and .*row 0.*id 0"):
        load(ANIMA_2_2, str(tmp_path))


def test_moru_duplicates_must_be_exact(tmp_path: Path) -> None:
    questions, dimensions = moru_rows()
    write_moru(tmp_path, [*questions, questions[0] | {"question": "Another?"}], dimensions)
    with pytest.raises(InputError, match=r"(?s)same id.*id 1_en.*id and language"):
        load(MORU, str(tmp_path))


def test_one_language_under_two_names_is_one_language(tmp_path: Path) -> None:
    questions, dimensions = moru_rows()
    write_moru(tmp_path, [*questions, questions[0] | {"language": "English"}], dimensions)
    with pytest.raises(InputError, match=r"(?s)same id.*id 1_English"):
        load(MORU, str(tmp_path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dimension": " "}, r"'dimension'(?s:.*)row 1"),
        ({"guiding_question": None}, r"'guiding_question'(?s:.*)row 1(?s:.*)found: None"),
        ({"dimension": "Care"}, r"duplicate(?s:.*)Care"),
        ({"default_weighting": 0}, "finite number above 0"),
        ({"default_weighting": float("inf")}, "finite number above 0"),
        ({"default_weighting": float("nan")}, "finite number above 0"),
        ({"default_weighting": "much"}, r"'default_weighting'(?s:.*)'much'(?s:.*)a number"),
    ],
)
def test_a_dimension_that_cannot_be_used_is_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    questions, dimensions = anima_rows()
    dimensions[1] |= change
    with pytest.raises(InputError, match=message):
        load(ANIMA_2_2, str(write_anima(tmp_path, questions, dimensions)))


def test_moru_dimension_names_that_differ_in_case_only_are_one(tmp_path: Path) -> None:
    questions, dimensions = moru_rows()
    with pytest.raises(InputError, match=r"(?s)duplicate.*care"):
        load(MORU, str(write_moru(tmp_path, questions, [*dimensions, dimensions[0] | {"dimension": "CARE"}])))


def test_nothing_left_is_an_error(tmp_path: Path) -> None:
    questions, dimensions = anima_rows()
    for row in questions:
        row["tags"] = ["Unheard"]
    with pytest.raises(InputError, match="2 dropped rows"):
        load(ANIMA_2_2, str(write_anima(tmp_path, questions, dimensions)))
