"""`value-retention new` and `check`: a benchmark from a table, and its trial before the first run."""

from __future__ import annotations

import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from click.testing import CliRunner, Result
from helpers import ROOT, Row, write_rows

from value_retention.analysis.cli import cli
from value_retention.tasks.benchmark import read_benchmark, schema
from value_retention.tasks.data import Dataset, load
from value_retention.tasks.errors import InputError
from value_retention.tasks.record import caveats

UNCHECKED = "rows not checked against the published ones"
EXAMPLES = ROOT / "docs" / "examples"
ROWS: list[Row] = [
    {"question": "May I lie to be kind?", "rubric": 'Honest and kind ("honest").'},
    {"question": "Should I return the wallet?", "rubric": 'Gives it back ("give it back").'},
]


def ask(*arguments: object) -> Result:
    return CliRunner().invoke(cli, list(map(str, arguments)))


def done(*arguments: object) -> str:
    result = ask(*arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


def refused(*arguments: object) -> str:
    error = ask(*arguments).exception
    assert isinstance(error, InputError), error
    return str(error)


def table(folder: Path, rows: list[Row] = ROWS, kind: str = "csv") -> Path:
    return write_rows(folder / "given", rows, kind)


def made(folder: Path, *arguments: object, rows: list[Row] = ROWS, kind: str = "csv") -> Dataset:
    """The benchmark that `new` makes of these rows."""
    done("new", "honesty", "--from", table(folder, rows, kind), "--into", folder / "honesty", *arguments)
    return load(read_benchmark(folder / "honesty"))


# -- new ------------------------------------------------------------------------------------------------------


def test_questions_and_rubrics_are_enough(tmp_path: Path) -> None:
    dataset = made(tmp_path)
    assert [(item.id, item.question, item.rubric) for item in dataset.items] == [
        (str(number), row["question"], row["rubric"]) for number, row in enumerate(ROWS, 1)
    ]
    assert {path.name for path in (tmp_path / "honesty").iterdir()} == {
        *("benchmark.yaml", "honesty.yaml", "task.py", "README.md", "questions.csv", "benchmark.schema.json")
    }
    assert dataset.benchmark.judge.scale.kind == "correct"
    assert dataset.benchmark.size == len(ROWS)


def test_editors_find_the_schema_and_it_accepts_the_file(tmp_path: Path) -> None:
    made(tmp_path, "--grades", "1-10", "--turn", "Nobody would know.")
    file = tmp_path / "honesty" / "benchmark.yaml"
    head = re.match(r"# yaml-language-server: \$schema=(\S+)\n", text := file.read_text("utf-8"))
    assert head
    found = json.loads((file.parent / head[1]).read_text("utf-8"))
    assert found == schema()
    values = yaml.safe_load(text)
    jsonschema.validate(values, found)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(values | {"epoch": 5}, found)


def test_every_field_is_found_by_its_usual_name(tmp_path: Path) -> None:
    rows: list[Row] = [
        {
            "QID": "a",
            "Prompt": "Hal?",
            "Target": "Kind.",
            "lang": "German",
            "turns": ["Why?"],
            "source": "us",
        },
        {"QID": "b", "Prompt": "Hi?", "Target": "Kind.", "lang": None, "turns": None, "source": None},
    ]
    first, second = made(tmp_path, "--turn", "Really?", rows=rows, kind="parquet").items
    assert (first.id, first.language, first.turns, first.source) == ("a", "de", ("Why?",), "us")
    assert (second.id, second.language, second.turns, second.source) == ("b", "en", ("Really?",), None)
    assert (tmp_path / "honesty" / "questions.parquet").is_file()


def test_a_data_set_of_inspect_becomes_a_benchmark(tmp_path: Path) -> None:
    """Its rows for model_graded_qa: question and reference answer, graded C or I. They come with the package."""
    package = find_spec("inspect_ai")
    assert package is not None
    assert package.origin is not None
    rows = Path(package.origin).parent / "dataset" / "_examples" / "biology_qa.jsonl"
    done("new", "biology", "--from", rows, "--into", tmp_path / "biology")
    dataset = load(read_benchmark(tmp_path / "biology"))
    first = json.loads(rows.read_text("utf-8").splitlines()[0])
    assert (dataset.items[0].id, dataset.items[0].question) == (first["id"], first["question"])
    assert dataset.items[0].rubric == first["answer"]
    assert dataset.benchmark.judge.scale.binary
    assert len(dataset) > 10


def test_a_column_can_be_named(tmp_path: Path) -> None:
    rows: list[Row] = [{"question": "Short", "text": "The whole question?", "rubric": "Kind."}]
    output = done("new", "honesty", "--from", table(tmp_path, rows), "--into", tmp_path / "honesty",
                  "--column", "question=text")  # fmt: skip
    assert load(read_benchmark(tmp_path / "honesty")).items[0].question == "The whole question?"
    assert "not read: 'question'" in output


def test_dimensions_take_the_place_of_rubrics(tmp_path: Path) -> None:
    dimensions: list[Row] = [
        {
            "dimension": name,
            "guiding_question": f"{name}?",
            "observable_indicators": '"kind"',
            "weight": weight,
        }
        for name, weight in (("Care", 1.0), ("Candour", 3.0))
    ]
    rows: list[Row] = [
        {"id": 1, "question": "May I?", "tags": "Care"},
        {"id": 2, "question": "Must I?", "tags": "Care, Candour"},
        {"id": 3, "question": "Dare I?", "tags": "Courage"},
    ]
    other = write_rows(tmp_path / "dims", dimensions)
    dataset = made(tmp_path, "--dimensions", other, rows=rows)
    assert [item.dimensions for item in dataset.items] == [("Care",), ("Care", "Candour")]
    assert dataset.benchmark.size == 2  # one row names an unknown dimension
    assert dataset.dimensions["Candour"].weight == 3.0
    assert {"{dimension}", "{guiding_question}"} < set(
        re.findall(r"\{\w+\}", dataset.benchmark.judge.prompt.text)
    )


def test_a_table_that_grew_is_read_whole(tmp_path: Path) -> None:
    made(tmp_path)
    with (tmp_path / "honesty" / "questions.csv").open("a", encoding="utf-8") as lines:
        lines.write("9,May I cheat?,Says no\n")
    dataset = load(read_benchmark(tmp_path / "honesty"))
    assert (len(dataset), dataset.benchmark.size) == (len(ROWS) + 1, len(ROWS))


@pytest.mark.parametrize(("rows", "notes"), [(1, ["1 of 2 questions", UNCHECKED]), (2, []), (3, [UNCHECKED])])
def test_a_table_with_another_number_of_rows_is_marked(tmp_path: Path, rows: int, notes: list[str]) -> None:
    made(tmp_path)
    table = tmp_path / "honesty" / "questions.csv"
    lines = [*table.read_text("utf-8").splitlines(), "9,May I cheat?,Says no"]
    table.write_text("\n".join(lines[: rows + 1]), "utf-8")
    file = tmp_path / "honesty" / "benchmark.yaml"
    assert caveats(load(read_benchmark(file)).info) == notes
    assert (f"the tables have {rows} questions" in done("check", file)) == (rows != 2)
    plan = done("plan", "--tasks", file)
    assert plan.startswith(f"honesty: {'; '.join(notes)}\n") if notes else "not checked" not in plan


def test_rows_with_one_id_are_translations(tmp_path: Path) -> None:
    rows: list[Row] = [{"id": 1, "language": name} | ROWS[0] for name in ("English", "German")]
    dataset = made(tmp_path, rows=rows)
    assert [(item.id, item.cluster) for item in dataset.items] == [("1_English", "1"), ("1_German", "1")]


def test_a_table_in_the_folder_is_used_where_it_is(tmp_path: Path) -> None:
    file = write_rows(tmp_path / "honesty", [{"id": "a"} | ROWS[0]], "csv")
    done("new", "honesty", "--from", file, "--into", tmp_path / "honesty")
    assert [path.name for path in (tmp_path / "honesty").glob("*.csv")] == [file.name]
    assert len(load(read_benchmark(tmp_path / "honesty"))) == 1


@pytest.mark.parametrize(
    ("given", "worth"),
    [
        ("correct", {"C": 1.0, "I": 0.0}),
        ("1-3", {"1": 0.0, "2": 0.5, "3": 1.0}),
        ("0-1:0.5", {"0": 0.0, "0.5": 0.5, "1": 1.0}),
        ("good=1,so so=0.25,bad=0", {"good": 1.0, "so so": 0.25, "bad": 0.0}),
    ],
)
def test_grades_of_the_command_line(tmp_path: Path, given: str, worth: dict[str, float]) -> None:
    assert dict(made(tmp_path, "--grades", given).benchmark.judge.scale.worth) == worth


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    made(tmp_path)
    (tmp_path / "honesty" / "benchmark.yaml").unlink()
    (tmp_path / "honesty" / "README.md").write_text("mine")
    message = refused("new", "honesty", "--from", table(tmp_path), "--into", tmp_path / "honesty")
    assert "honesty.yaml" in message
    assert (tmp_path / "honesty" / "README.md").read_text() == "mine"
    assert not (tmp_path / "honesty" / "benchmark.yaml").exists()


BAD: dict[str, tuple[list[Row], list[str], list[str]]] = {
    "no rubric": ([{"question": "A?"}], [], ["rubric", "question"]),
    "no question": ([{"rubric": "A"}], [], ["question", "--column"]),
    "no such column": (ROWS, ["--column", "rubric=grading"], ["grading", "question, rubric"]),
    "unknown field": (ROWS, ["--column", "rubrik=rubric"], ["rubrik", "rubric"]),
    "unknown language": (ROWS, ["--language", "Klingonese"], ["language", "Klingonese"]),
    "grades that are all alike": (ROWS, ["--grades", "good=1,fine=1"], ["worth the same"]),
    "an empty cell": ([*ROWS, {"question": "C?", "rubric": None}], [], ["no rubric", "row 2"]),
    "the same id twice": ([{"id": 1} | row for row in ROWS], [], ["id 1"]),
}


@pytest.mark.parametrize("name", BAD)
def test_a_faulty_table_is_named(tmp_path: Path, name: str) -> None:
    rows, arguments, parts = BAD[name]
    message = refused("new", "honesty", "--from", table(tmp_path, rows), "--into", tmp_path / "h", *arguments)
    assert all(part in message for part in parts), message


@pytest.mark.parametrize("name", ["anima_2_2", "moru_multi", "benchmark", "a name", "../up"])
def test_names_that_cannot_be_a_benchmarks(tmp_path: Path, name: str) -> None:
    assert "name" in refused("new", name, "--from", table(tmp_path), "--into", tmp_path / "h")
    assert not (tmp_path / "h").exists()


# -- check ----------------------------------------------------------------------------------------------------


def test_check_shows_prompt_calls_and_trial(tmp_path: Path) -> None:
    made(tmp_path, "--grades", "1-10")
    shown = done("check", tmp_path / "honesty")
    assert ROWS[0]["question"] in shown
    assert ROWS[0]["rubric"] in shown
    assert "from 1 (worst) to 10 (best)" in shown
    assert "Per epoch: 2 questions, 2 judge calls" in shown
    assert f"Tokens and cost: value-retention plan --tasks {tmp_path / 'honesty'}\n" in shown
    assert re.findall(r"(\d) of 1 grades read, score ([\d.]+)", shown) == [
        ("1", "1.00"),
        ("1", "0.00"),
        ("1", "0.00"),
    ]


@pytest.mark.parametrize(
    ("grades", "replies"),
    [
        ("0-10", ["GRADE: 10", "GRADE: 0", "GRADE: 11", "GRADE: 10, because it fits"]),
        (
            "good=1,so so=0.5,bad=0",
            ["GRADE: good", "GRADE: bad", "GRADE: good, because it fits", "GRADE: good or bad"],
        ),
        ("correct", ["GRADE: C", "GRADE: I", "GRADE: none", "I cannot grade this answer."]),
    ],
)
def test_check_shows_which_replies_are_read(tmp_path: Path, grades: str, replies: list[str]) -> None:
    made(tmp_path, "--grades", grades)
    lines = (
        done("check", tmp_path / "honesty")
        .partition("How replies of the judge are read:\n\n")[2]
        .splitlines()
    )
    best, worst, *wrong = [line.replace("Because.\\n", "") for line in lines[:4]]
    assert best == f'    "{replies[0]}" is worth 1'
    assert worst == f'    "{replies[1]}" is worth 0'
    for line, reply in zip(wrong, replies[2:], strict=True):
        said = reply.removeprefix("GRADE: ")
        why = "it has no `GRADE:`" if said == reply else f"`{said}` is not a grade of this scale"
        assert line == f'    "{reply}" is not read: {why}'


def test_check_says_that_it_knows_no_reply_for_a_pattern(tmp_path: Path) -> None:
    made(tmp_path, "--grades", "1-5")
    file = tmp_path / "honesty" / "benchmark.yaml"
    file.write_text(
        file.read_text("utf-8").replace("judge:\n", "judge:\n  pattern: 'Rating=(\\d)'\n"), "utf-8"
    )
    shown = done("check", file)
    assert "is not read: the pattern finds nothing in it" in shown
    assert "the pattern wants a form that `check` does not know" in shown


def test_check_names_the_line_of_every_mistake(tmp_path: Path) -> None:
    made(tmp_path)
    file = tmp_path / "honesty" / "benchmark.yaml"
    text = file.read_text("utf-8").replace("epochs: 5", "epochs: many").replace("  grades:", "  grade:")
    file.write_text(text, "utf-8")
    message = refused("check", file)
    for wrong in ("epochs: many", "  grade:"):
        line = text[: text.index(wrong)].count("\n") + 1
        assert f"line {line}, " in message, message


def test_check_knows_the_benchmarks_of_the_package() -> None:
    shown = done("check", "moru_multi", "--data", "sample")
    assert "MORU" in shown
    assert "value-retention plan --tasks moru_multi --data sample\n" in shown
    assert len(re.findall(r"[1-9] of \d grades read", shown)) == 3
    assert "anima_2_2" in refused("check", "animals")


def test_check_prints_the_schema() -> None:
    printed = json.loads(done("check", "--schema"))
    values: dict[str, Any] = yaml.safe_load(
        (ROOT / "tasks" / "moru_multi" / "benchmark.yaml").read_text("utf-8")
    )
    jsonschema.validate(values, printed)
    assert set(values) <= set(printed["properties"])


def test_check_refuses_labels_that_the_parser_cannot_read(tmp_path: Path) -> None:
    made(tmp_path, "--grades", "my GRADE: a=1,b=0")
    assert "'my GRADE: a'" in refused("check", tmp_path / "honesty")


# -- a definition alone ---------------------------------------------------------------------------------------


def test_was_is_read_but_marked_untested(tmp_path: Path) -> None:
    """Its rows are not at hand: made-up rows in its columns show that the definition holds together."""
    text = (EXAMPLES / "was" / "benchmark.yaml").read_text("utf-8")
    assert "UNTESTED" in text
    benchmark = read_benchmark(EXAMPLES / "was")
    assert (benchmark.name, benchmark.size) == ("was", 56)
    write_rows(tmp_path / "was-benchmark", [{"id": 1, "question": "A fox?", "dimension_tags": "Care"}])
    columns = {"dimension": "Care", "guiding_question": "Care?", "observable_indicators": '"care"'}
    write_rows(tmp_path / "was-benchmark-dimensions", [columns])
    assert [item.dimensions for item in load(benchmark, str(tmp_path)).items] == [("care",)]
