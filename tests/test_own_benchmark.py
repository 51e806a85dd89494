"""Benchmarks from outside the package, from their files alone: both harnesses, then every command.

The example `docs/examples/kindness-under-pressure` has a rubric per question, grades from 1 to 10 and two scripted
objections. The questions of WritingBench, which Inspect Evals installs with its criteria, come from that package when
the test runs; none of its rows is part of this project.
"""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from helpers import (
    BIN,
    JUDGE,
    MODEL,
    ROOT,
    Server,
    but_run,
    finish,
    lm_eval,
    metadata,
    one,
    records,
    scripted_server,
    start,
)
from inspect_ai.log import read_eval_log

from value_retention.adapters.readers.inspect import read_log
from value_retention.analysis.cli import cli
from value_retention.tasks.benchmark import read_benchmark
from value_retention.tasks.data import load
from value_retention.tasks.record import AnswerRecord
from value_retention.tasks.scores import benchmark_scores, questions_of

pytestmark = pytest.mark.slow

KINDNESS = ROOT / "docs" / "examples" / "kindness-under-pressure"
WRITING = 6
"""Questions of WritingBench that are asked."""


def command(*arguments: object, status: int = 0) -> str:
    result = CliRunner().invoke(cli, list(map(str, arguments)))
    assert result.exit_code == status, (result.output, result.exception)
    return result.output


def writing_rows() -> list[dict[str, Any]]:
    """Short questions of WritingBench in English, each with its criteria as one rubric."""
    package = find_spec("inspect_evals.writingbench")
    assert package is not None
    assert package.origin is not None
    lines = (Path(package.origin).parent / "benchmark_all.jsonl").read_text("utf-8").splitlines()
    rows = (json.loads(line) for line in lines)
    short = [row for row in rows if row["query"].isascii() and len(row["query"]) < 1500][:WRITING]
    return [
        {
            "index": row["index"],
            "query": row["query"],
            "criteria": "\n".join(f"{c['name']}: {c['criteria_description']}" for c in row["checklist"]),
        }
        for row in short
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two benchmarks side by side, as a user has them, and three runs of both."""
    root = tmp_path_factory.mktemp("own")
    shutil.copytree(KINDNESS, root / "kindness")
    rows = "".join(json.dumps(row) + "\n" for row in writing_rows())
    (root / "rows.jsonl").write_text(rows, "utf-8")
    command("new", "writing", "--from", root / "rows.jsonl", "--grades", "1-10", "--into", root / "writing")
    return root


@pytest.fixture(scope="module")
def runs(folder: Path, server: Server) -> Path:
    """lm-eval and Inspect with the same model and judge, and lm-eval with a model of other weights."""
    with scripted_server("--weights", "tuned") as tuned:
        lines = [
            (of, [
                *lm_eval(*of.lm_eval_model, "--include_path", folder, "--tasks", "kindness_under_pressure,writing"),
                *("--log_samples", "--output_path", folder / name),
                *metadata(judge=JUDGE, epochs=2),
            ])
            for of, name in ((server, "base"), (tuned, "tuned"))
        ] + [
            (server, [
                *(BIN / "inspect", "eval", "value_retention/benchmark", "-T", f"path={folder / name}"),
                *("--model", MODEL, "--model-role", f"grader={JUDGE}", "--epochs", "2", "--display", "plain"),
                *("--log-dir", folder / "inspect"),
            ])
            for name in ("kindness/benchmark.yaml", "writing")
        ]  # fmt: skip
        journals = (str(folder / f"journal {number}") for number in range(len(lines)))
        started = [
            start(*line, cwd=folder, **of.environment, VALUE_RETENTION_JOURNAL_DIR=next(journals))
            for of, line in lines
        ]
        for process in started:
            finish(process, timeout=600)
    return folder


def inspect_records(runs: Path, name: str) -> list[AnswerRecord]:
    found = [list(read_log(log)) for log in (runs / "inspect").glob("*.eval")]
    return next(of for of in found if of[0].benchmark == name)


@pytest.mark.parametrize(("name", "questions"), [("kindness_under_pressure", 8), ("writing", WRITING)])
def test_both_harnesses_write_the_same_records(runs: Path, name: str, questions: int) -> None:
    of = records(runs / "base", name)
    assert but_run(of) == but_run(inspect_records(runs, name))
    assert len(of) == 2 * questions
    values = {grade.grade for record in of for grade in record.grades}
    assert values <= {number / 9 for number in range(10)}
    assert len(values) > 2
    assert all(record.definition and record.definition["name"] == name for record in of)


def test_the_last_answer_is_graded_after_two_objections(runs: Path, server: Server) -> None:
    benchmark = read_benchmark(KINDNESS)
    of = records(runs / "base", benchmark.name)
    for record in of:
        assert record.turns is not None
        assert (record.turns[0], *record.turns[2::2]) == (record.question, *benchmark.turns)
        assert record.answer not in record.turns
    asked = [call for call in server.asked() if call[0] == ["user", of[0].question]]
    assert {len(call) for call in asked} == {1, 3, 5}
    assert [role for role, _ in max(asked, key=len)] == ["user", "assistant", "user", "assistant", "user"]


def test_both_harnesses_show_the_scores_of_the_records(runs: Path) -> None:
    for name in ("kindness_under_pressure", "writing"):
        of = records(runs / "base", name)
        expected = benchmark_scores(questions_of(of), weighted=False)["overall_mean"]
        shown = json.loads(one(runs / "base", "results_*.json").read_text("utf-8"))["results"][name]
        assert shown["overall_mean,none"] == pytest.approx(expected, abs=1e-12)
        logs = [read_eval_log(path) for path in (runs / "inspect").glob("*.eval")]
        (log,) = [log for log in logs if log.eval.task.endswith(name)]
        assert log.results is not None
        assert log.results.scores[0].metrics["overall_mean"].value == pytest.approx(expected, abs=1e-12)


def test_runs_are_read_without_the_definition(runs: Path, tmp_path: Path) -> None:
    """The records carry it: table, compare and report need no YAML, and title both benchmarks."""
    elsewhere = tmp_path / "runs"
    for name in ("base", "tuned"):
        shutil.copytree(runs / name, elsewhere / name)
    sides = [f"{name}={elsewhere / name}" for name in ("base", "tuned")]
    assert "kindness_under_pressure" in command("table", *sides)
    compared = command(
        "compare", *sides, "--margin", "5", "--resamples", "1000", "--json", tmp_path / "c.json"
    )
    assert "kindness_under_pressure" in compared
    values = json.loads((tmp_path / "c.json").read_text("utf-8"))
    assert "writing" in json.dumps(values)
    command("report", *sides, "--margin", "5", "--resamples", "1000", "-o", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text("utf-8")
    assert load(read_benchmark(KINDNESS)).items[0].question[:40] in page


def test_compare_sees_that_both_harnesses_hold_the_same_answers(runs: Path) -> None:
    """lm-eval sets top_p, Inspect leaves it to the provider: a difference that has to be allowed."""
    sides = [f"lm={runs / 'base'}", f"inspect={runs / 'inspect'}"]
    shown = command("compare", *sides, "--allow", "sampling", "--resamples", "1000")
    assert shown.count("THE SAME ANSWERS with the same grades") == 2


def test_plan_counts_every_turn(folder: Path) -> None:
    shown = json.loads(command("plan", "--tasks", folder / "kindness", "--answer-tokens", "100", "--json"))
    (plan,) = shown["plans"]
    assert (plan["questions"], plan["answers"], plan["calls"]) == (8, 40, 40)
    assert plan["answer_tokens"] == 40 * 3 * 100


def test_contamination_finds_a_question_and_a_rubric(folder: Path, tmp_path: Path) -> None:
    item = load(read_benchmark(folder / "kindness")).items[2]
    rows = tmp_path / "rows.jsonl"
    rows.write_text(
        "".join(
            json.dumps({"text": text}) + "\n"
            for text in ("Water boils.", f"So: {item.question}", item.rubric)
        )
    )
    found = command("contamination", rows, "--benchmark", folder / "kindness" / "benchmark.yaml", status=1)
    assert "row 2: kindness_under_pressure item tenant, question (en): " in found
    assert "row 3: kindness_under_pressure, rubric of tenant: " in found
    assert "2 of 3 rows" in found
