"""The same replies give the same records through both harnesses, and upstream's figures where it survives.

A scripted server plays model and judge for the real command lines. Its model's answers hold braces, data
markers, grades, right-to-left text and thoughts; the figures must agree to 1e-9.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from helpers import (
    ANIMA_2_2,
    BIN,
    COUNTS,
    JUDGE,
    MODEL,
    MORU,
    REAL,
    Server,
    but_run,
    figures,
    finish,
    lm_eval,
    metadata,
    one,
    real_rows,
    results,
    scripted_server,
    start,
    write_rows,
)
from inspect_ai.log import EvalLog, read_eval_log

from value_retention.adapters.readers.inspect import read_log
from value_retention.adapters.readers.own import read_samples
from value_retention.analysis.runs.identity import identity_of
from value_retention.tasks.benchmark import packaged
from value_retention.tasks.data import SAMPLE, load
from value_retention.tasks.prompts import ceiling_system_prompt
from value_retention.tasks.record import AnswerRecord
from value_retention.tasks.scores import benchmark_scores, questions_of
from value_retention.tasks.tables import folder_rows

pytestmark = pytest.mark.slow

BRACES = "Scope Sensitivity"
"""The sample dimension whose braces upstream does not survive."""


# -- command lines ----------------------------------------------------------------------------------------


def ours_in_lm_eval(server: Server, tasks: str, data: Path, epochs: int, out: Path) -> list[Any]:
    return [
        *lm_eval(*server.lm_eval_model, "--tasks", tasks, "--log_samples", "--output_path", out / "lm"),
        *metadata(judge=JUDGE, data=str(data), epochs=epochs, judge_args={"max_connections": 64}),
    ]


def inspect(server: Server, tasks: list[str], epochs: int, logs: Path, *arguments: str) -> list[Any]:
    return [
        *(BIN / "inspect", "eval", *tasks, "--model", MODEL, "--model-role", f"grader={JUDGE}"),
        *("--epochs", str(epochs), "--log-dir", logs, "--display", "plain", "--max-connections", "64"),
        *arguments,
    ]


def anima_upstream(server: Server, data: Path, epochs: int, out: Path) -> list[Any]:
    rows = f"dataset_repo_id={data / 'anima'}"
    return inspect(server, ["inspect_evals/anima"], epochs, out / "up_anima", "-T", rows)


def moru_upstream(server: Server, data: Path, epochs: int, out: Path) -> list[Any]:
    rows = f"dataset_repo_id={data / 'moru-benchmark'}"
    dimensions = f"dimensions_repo_id={data / 'moru-benchmark-dimensions'}"
    return inspect(server, ["inspect_evals/moru"], epochs, out / "up_moru", "-T", rows, "-T", dimensions)


OURS = ["value_retention/anima_2_2", "value_retention/moru_multi"]


def ours_in_inspect(
    server: Server, tasks: list[str], data: Path, epochs: int, out: Path, *more: str
) -> list[Any]:
    return inspect(server, tasks, epochs, out / "inspect", "-T", f"data={data}", *more)


def together(out: Path, *commands: tuple[Server, list[Any]]) -> list[str]:
    """Run command lines at the same time; each has to succeed."""
    fresh = {"HF_DATASETS_CACHE": str(out / "datasets"), "XDG_CACHE_HOME": str(out / "cache")}
    # A journal each: sharing one, the second harness would ask the judge nothing.
    started = [
        start(
            *line,
            cwd=out,
            **server.environment,
            **fresh,
            VALUE_RETENTION_JOURNAL_DIR=str(out / f"journal {n}"),
        )
        for n, (server, line) in enumerate(commands)
    ]
    return [finish(process, timeout=600) for process in started]


# -- what is compared -------------------------------------------------------------------------------------


def lm_records(out: Path, benchmark: str) -> list[AnswerRecord]:
    files = sorted((out / "lm").rglob("samples_*.jsonl"))
    return [record for file in files for record in read_samples(file) if record.benchmark == benchmark]


def inspect_records(out: Path, benchmark: str) -> list[AnswerRecord]:
    logs = (read_log(file) for file in sorted((out / "inspect").glob("*.eval")))
    return [record for records in logs for record in records if record.benchmark == benchmark]


def upstream(log: EvalLog) -> dict[str, float]:
    assert log.status == "success", log.error
    assert log.results is not None
    return {name: m.value for score in log.results.scores for name, m in score.metrics.items()}


def ours(records: list[AnswerRecord]) -> dict[str, float | None]:
    return benchmark_scores(questions_of(records), packaged()[records[0].benchmark].weighted)


def assert_upstreams_figures(records: list[AnswerRecord], log: EvalLog, data: str) -> None:
    mine, theirs = ours(records), upstream(log)
    names = set(theirs)
    assert len(names) == COUNTS["parity"][data]
    assert names >= {"overall_mean", *records[0].dimensions}
    assert {name: mine[name] for name in names} == pytest.approx(theirs, abs=1e-9)
    assert {name for name, value in mine.items() if value is not None} - names <= {
        "english_mean",
        "non_english_mean",
        "unscored",
        "missing_grades",
    }


def assert_upstreams_answers_and_grades(records: list[AnswerRecord], log: EvalLog) -> None:
    """Grade by grade, from what upstream's ANIMA scorer keeps."""
    by_key = {(record.item, record.epoch): record for record in records}
    for sample in log.samples or ():
        (score,) = (sample.scores or {}).values()
        record = by_key[str(sample.id), sample.epoch]
        assert score.answer == record.answer
        assert score.metadata is not None
        theirs = [
            (dimension, tuple(one_set["variables"].items()), grade)
            for dimension, sets in score.metadata["dimension_grades"].items()
            for one_set in sets
            for grade in one_set["by_grader"].values()
        ]
        mine = [(grade.dimension, tuple(grade.variables.items()), grade.grade) for grade in record.grades]
        assert mine == theirs


def assert_lm_evals_figures(out: Path, task: str, records: list[AnswerRecord]) -> None:
    shown = figures(results(out / "lm"), task)
    known = {name: value for name, value in ours(records).items() if value is not None}
    assert {name: shown[name] for name in known if name in shown} == pytest.approx(
        {name: value for name, value in known.items() if name in shown}, abs=1e-9
    )
    assert "overall_mean" in shown


# -- the real rows ----------------------------------------------------------------------------------------


@real_rows
def test_the_real_anima_rows_through_both_harnesses_and_upstream(tmp_path: Path) -> None:
    with scripted_server() as server:
        together(
            tmp_path,
            (server, anima_upstream(server, REAL, 5, tmp_path)),
            (server, ours_in_inspect(server, OURS[:1], REAL, 5, tmp_path)),
            (server, ours_in_lm_eval(server, "anima_2_2", REAL, 5, tmp_path)),
        )
        stats = server.stats()
    lm, inspect_ = lm_records(tmp_path, "anima_2_2"), inspect_records(tmp_path, "anima_2_2")
    assert but_run(lm) == but_run(inspect_)
    assert len(questions_of(lm)) == 114
    assert len(lm) == len(inspect_) == 570
    assert sum(record.grades_expected for record in lm) == sum(len(record.grades) for record in lm) == 2535
    assert sum(record.grades_missing for record in lm) == 0
    log = read_eval_log(one(tmp_path / "up_anima", "*.eval"))
    assert_upstreams_figures(lm, log, "anima_2_2")
    assert_upstreams_answers_and_grades(lm, log)
    assert_lm_evals_figures(tmp_path, "anima_2_2", lm)
    assert (stats["model"], stats["judge"]) == (3 * 570, 3 * 2535)
    # Answers do not change from epoch to epoch here: the three runs asked the judge 507 different texts in all.
    assert stats["judge"] - stats["judge_repeated"] == 507


# -- the sample rows, without the dimension that upstream does not survive --------------------------------


CARD = """---
configs:
- config_name: questions
  data_files: questions/train.parquet
- config_name: dimensions
  data_files: dimensions/train.parquet
---
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample rows as parquet in the hub's layout, which `datasets` reads as it reads a repository."""
    root = tmp_path_factory.mktemp("rows")
    for benchmark in (ANIMA_2_2, MORU):
        for table in (benchmark.questions, benchmark.dimensions):
            rows = [row for _, row in folder_rows(table, SAMPLE) if row.get("dimension") != BRACES]
            write_rows(root / table.folder, rows, "parquet")
    (root / "anima" / "README.md").write_text(CARD)
    return root


def test_sample_rows_through_both_harnesses_and_upstream(data: Path, server: Server, tmp_path: Path) -> None:
    together(
        tmp_path,
        (server, ours_in_lm_eval(server, "anima_2_2,moru_multi", data, 2, tmp_path)),
        (server, ours_in_inspect(server, OURS, data, 2, tmp_path)),
        (server, anima_upstream(server, data, 2, tmp_path)),
        (server, moru_upstream(server, data, 2, tmp_path)),
    )
    for benchmark, folder, count in (("anima_2_2", "up_anima", 26), ("moru", "up_moru", 36)):
        lm, inspect_ = lm_records(tmp_path, benchmark), inspect_records(tmp_path, benchmark)
        assert but_run(lm) == but_run(inspect_)
        assert len(questions_of(lm)) == count
        log = read_eval_log(one(tmp_path / folder, "*.eval"))
        assert len(log.samples or ()) == len(lm) == 2 * count
        assert_upstreams_figures(lm, log, f"sample {benchmark}")
        if benchmark == "anima_2_2":
            assert_upstreams_answers_and_grades(lm, log)
    anima = lm_records(tmp_path, "anima_2_2")
    assert_lm_evals_figures(tmp_path, "anima_2_2", anima)
    assert_lm_evals_figures(tmp_path, "moru_multi", lm_records(tmp_path, "moru"))
    assert {record.run.harness for record in anima} == {"lm_eval"}
    assert any(record.reasoning for record in anima)


# -- the ceiling test -------------------------------------------------------------------------------------


def test_the_ceiling_test_sends_the_same_messages_through_both_harnesses(data: Path, tmp_path: Path) -> None:
    with ExitStack() as stack:
        servers = [stack.enter_context(scripted_server()) for _ in range(2)]
        together(
            tmp_path,
            (
                servers[0],
                ours_in_lm_eval(servers[0], "anima_2_2_ceiling,moru_multi_ceiling", data, 1, tmp_path),
            ),
            (servers[1], ours_in_inspect(servers[1], OURS, data, 1, tmp_path, "-T", "ceiling=true")),
        )
        lm_eval_asked, inspect_asked = (sorted(server.asked()) for server in servers)
    assert lm_eval_asked == inspect_asked
    assert len(lm_eval_asked) == 26 + 36
    assert {tuple(role for role, _ in messages) for messages in lm_eval_asked} == {("system", "user")}
    prompts = {messages[0][1] for messages in lm_eval_asked}
    assert prompts == {ceiling_system_prompt(load(benchmark, str(data))) for benchmark in (ANIMA_2_2, MORU)}
    for benchmark in ("anima_2_2", "moru"):
        lm, inspect_ = lm_records(tmp_path, benchmark), inspect_records(tmp_path, benchmark)
        assert but_run(lm) == but_run(inspect_)
        assert {record.run.sampling.get("ceiling") for record in (*lm, *inspect_)} == {True}
        assert {record.checks.truncated for record in lm if record.checks} == {None}
        assert {record.checks.truncated for record in inspect_ if record.checks} == {False}
        assert identity_of(lm).aspects["system"] == identity_of(inspect_).aspects["system"] == "none"


# -- replies that upstream does not survive: tests/test_upstream_fixes.py ---------------------------------

UNREADABLE = """
import collections
answer, seen = scripted_server.model_answer, collections.Counter()
scripted_server.model_answer = lambda question: "Thinking without a start.</think>\\n\\n" + answer(question)
reply = scripted_server.judge_reply
def judge_reply(prompt, kind):
    seen[prompt] += 1
    # ANIMA: one dimension that is never readable. MORU: unreadable in one of two epochs.
    if "[Criterion]: Epistemic Humility" in prompt or (
        "[Criterion]: epistemic humility" in prompt and seen[prompt] % 2
    ):
        return "GRADE: CI"
    # The token limit cuts some replies.
    return reply(prompt, "cut" if scripted_server.number(prompt, "cut") % 2 else kind)
scripted_server.judge_reply = judge_reply
"""


@pytest.fixture(scope="module")
def unreadable(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run in each harness, against a server of its own that counts its own epochs."""
    out = tmp_path_factory.mktemp("unreadable")
    lines: dict[str, Callable[[Server], list[Any]]] = {
        "lm": lambda server: ours_in_lm_eval(server, "anima_2_2,moru_multi", data, 2, out),
        "inspect": lambda server: ours_in_inspect(server, OURS, data, 2, out),
    }
    fresh = {"HF_DATASETS_CACHE": str(out / "datasets"), "XDG_CACHE_HOME": str(out / "cache")}
    with ExitStack() as stack:
        servers = {name: stack.enter_context(scripted_server(patch=UNREADABLE)) for name in lines}
        started = {
            name: start(
                *line(servers[name]),
                cwd=out,
                **servers[name].environment,
                **fresh,
                VALUE_RETENTION_JOURNAL_DIR=str(out / f"{name} journal"),
            )
            for name, line in lines.items()
        }
        for process in started.values():
            finish(process, timeout=600)
    yield out
    shutil.rmtree(out, ignore_errors=True)


@pytest.mark.parametrize("benchmark", ["anima_2_2", "moru"])
def test_ours_finish_and_count(unreadable: Path, benchmark: str) -> None:
    lm, inspect_ = lm_records(unreadable, benchmark), inspect_records(unreadable, benchmark)
    for records in (lm, inspect_):
        blind = [g for r in records for g in r.grades if g.dimension.lower() == "epistemic humility"]
        lost = len(blind) if benchmark == "anima_2_2" else len(blind) // 2
        assert sum(grade.outcome == "unparsed" for grade in blind) == lost > 0
        cut = [grade for record in records for grade in record.grades if grade.outcome == "cut"]
        assert cut
        assert {(grade.grade, grade.stop_reason) for grade in cut} == {(None, "max_tokens")}
        lost += len(cut)
        assert sum(record.grades_missing for record in records) == lost
        assert ours(records)["missing_grades"] == lost / sum(record.grades_expected for record in records)
        assert {record.status for record in records} == {"scored"}
        assert len({tuple(record.dimension_scores) for record in records if record.item == lm[0].item}) == 1
    assert ours(lm) == pytest.approx(ours(inspect_), abs=1e-12)
    if benchmark == "anima_2_2":
        assert ours(lm)["Epistemic Humility"] is None
        assert but_run(lm) == but_run(inspect_)


def test_a_thought_without_a_start_is_kept_and_not_judged(unreadable: Path) -> None:
    for records in (lm_records(unreadable, "anima_2_2"), inspect_records(unreadable, "anima_2_2")):
        for record in records:
            assert "Thinking without a start." in (record.reasoning or "")
            assert "</think>" not in record.answer
            assert record.answer == record.answer.strip()
