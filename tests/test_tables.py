"""Raw rows from folders, and what is said about folders and files that cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import ANIMA_2_2, MORU, PYTHON, anima_rows, run, write_rows

from value_retention.tasks.errors import InputError
from value_retention.tasks.tables import check_columns, folder_rows, hub_source

TABLE = ANIMA_2_2.questions


def place(root: Path) -> Path:
    return root / "anima" / "questions"


def test_a_row_knows_its_file_and_number(tmp_path: Path) -> None:
    file = write_rows(place(tmp_path), [{"id": 0}, {"id": 1}])
    assert folder_rows(TABLE, tmp_path) == [(f"{file}, row 0", {"id": 0}), (f"{file}, row 1", {"id": 1})]


def test_a_single_file_beside_the_folder_is_read(tmp_path: Path) -> None:
    (tmp_path / "anima").mkdir()
    (tmp_path / "anima" / "questions.jsonl").write_text('{"id": 7}\n\n{"id": 8}\n')
    assert [row["id"] for _, row in folder_rows(TABLE, tmp_path)] == [7, 8]


def test_parts_of_a_split_are_read_in_order_and_other_splits_left_out(tmp_path: Path) -> None:
    place(tmp_path).mkdir(parents=True)
    for name, number in [("train-00001-of-2", 1), ("train-00000-of-2", 0), ("test-00000-of-1", 9)]:
        (place(tmp_path) / f"{name}.jsonl").write_text(f'{{"id": {number}}}\n')
    assert [row["id"] for _, row in folder_rows(TABLE, tmp_path)] == [0, 1]


def test_the_hub_layout_with_a_data_folder_is_read(tmp_path: Path) -> None:
    write_rows(tmp_path / "moru-benchmark" / "data", [{"id": 1}], "parquet")
    assert [row for _, row in folder_rows(MORU.questions, tmp_path)] == [{"id": 1}]


def test_csv_with_a_byte_order_mark_and_line_breaks_in_a_cell(tmp_path: Path) -> None:
    place(tmp_path).mkdir(parents=True)
    (place(tmp_path) / "train.csv").write_bytes('\ufeffid,question\r\n1,"a\nb, ""c"""\r\n2,\r\n'.encode())
    rows = [row for _, row in folder_rows(TABLE, tmp_path)]
    assert rows == [{"id": "1", "question": 'a\nb, "c"'}, {"id": "2", "question": None}]


def test_an_edited_file_is_read_anew(tmp_path: Path) -> None:
    """`datasets` would give the old rows: it caches folders by their name."""
    for number in (1, 2):
        write_rows(place(tmp_path), [{"id": number}], "parquet")
        assert folder_rows(TABLE, tmp_path)[0][1] == {"id": number}


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("train.jsonl", '{"id": 0}\n{"id": 1', r"train\.jsonl, row 1"),
        ("train.jsonl", "[1, 2]\n", r"row 0(?s:.*)found: \[1, 2\]"),
        ("train.csv", "id,question\n1,a,b\n", r"more cells than the header(?s:.*)row 0"),
        ("train.csv", "id,question\n1,a\n2\n", r"fewer cells than the header(?s:.*)row 1"),
        ("train.parquet", "no parquet", r"(?s)train\.parquet.*found: Arrow"),
        ("train.jsonl", b'{"id": "\xff"}\n', r"(?s)train\.jsonl.*UnicodeDecodeError"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, name: str, text: str | bytes, expected: str) -> None:
    place(tmp_path).mkdir(parents=True)
    (place(tmp_path) / name).write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(InputError, match=expected):
        folder_rows(TABLE, tmp_path)


def test_a_missing_folder_says_what_may_stand_there(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"(?s)does not exist.*VALUE_RETENTION_DATA.*nowhere.*'sample'.*anima/questions"
    ):
        folder_rows(TABLE, tmp_path / "nowhere")


def test_a_folder_without_one_table_says_what_is_there(tmp_path: Path) -> None:
    write_rows(tmp_path / "anima" / "dimensions", anima_rows()[1])
    write_rows(tmp_path / "moru-benchmark", [{"id": 1}])
    with pytest.raises(InputError, match=r"(?s)found: anima, moru-benchmark.*anima/questions/"):
        folder_rows(TABLE, tmp_path)


def test_the_data_sets_own_folder_is_one_too_deep(tmp_path: Path) -> None:
    write_rows(place(tmp_path), [{"id": 1}])
    with pytest.raises(InputError, match="ABOVE"):
        folder_rows(TABLE, tmp_path / "anima")


def test_two_formats_side_by_side_are_refused(tmp_path: Path) -> None:
    for kind in ("csv", "jsonl"):
        write_rows(place(tmp_path), [{"id": 1}], kind)
    with pytest.raises(InputError, match=r"(?s)several formats.*found: \.csv, \.jsonl"):
        folder_rows(TABLE, tmp_path)


def test_a_wrong_column_is_named_beside_those_that_are_there() -> None:
    rows = [("here.csv, row 0", {"id": 1, "text": "", "tags": [], "variables": "", "language": None})]
    with pytest.raises(
        InputError, match=r"(?s)column: question\n.*where: here\.csv\n.*found: id, text, tags"
    ):
        check_columns(TABLE, rows)


def test_a_column_that_only_later_rows_have_is_there() -> None:
    full = dict.fromkeys(TABLE.columns.required)
    check_columns(TABLE, [("f, row 0", {"id": 1}), ("f, row 1", full)])


def test_an_empty_table_is_refused() -> None:
    with pytest.raises(InputError, match=r"anima/questions"):
        check_columns(TABLE, [])


def test_the_hub_is_the_pinned_commit_or_a_named_one() -> None:
    assert hub_source(ANIMA_2_2, "hub") == (TABLE.repo, TABLE.revision)
    assert hub_source(ANIMA_2_2, "hub:someone/held-out@abc") == ("someone/held-out", "abc")


@pytest.mark.parametrize("spec", ["hub:someone/held-out", "hub:someone/held-out@", "hub:@abc", "hub:"])
def test_a_hub_data_set_without_a_commit_is_refused(spec: str) -> None:
    with pytest.raises(InputError, match="@COMMIT"):
        hub_source(ANIMA_2_2, spec)


@pytest.mark.slow
def test_an_unreachable_hub_with_an_empty_cache_says_how_to_use_a_folder(tmp_path: Path) -> None:
    script = (
        "from value_retention.tasks.benchmark import packaged\n"
        "from value_retention.tasks.data import load\n"
        "from value_retention.tasks.errors import InputError\n"
        "for benchmark in packaged().values():\n"
        "    try: load(benchmark)\n"
        "    except InputError as error: print(error)\n"
    )
    done = run(PYTHON, "-c", script, HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path), HF_DATASETS_CACHE=None)
    assert done.returncode == 0, done.stderr[-2000:]
    for benchmark in (ANIMA_2_2, MORU):
        assert f"{benchmark.questions.repo} at {benchmark.questions.revision}" in done.stdout
    assert done.stdout.count("to a folder DIR") == 2
    assert done.stdout.count("VALUE_RETENTION_DATA=DIR") == 2
    assert done.stdout.count("data=sample") == 2
