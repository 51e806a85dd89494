"""Both harnesses with vLLM for real, on a processor: as the tested model, and as the judge behind a server.

Needs the environment that `make test-vllm` sets up (see `setup_vllm.sh`).
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import helpers
import pytest
from helpers import ANIMA_2_2, MORU
from vllm_server import VllmServer, run_logged, vllm_server

from value_retention.adapters.identity import model_identity
from value_retention.analysis.runs.identity import identity_of
from value_retention.analysis.runs.load import load_runs
from value_retention.tasks.data import load
from value_retention.tasks.prompts import item_calls
from value_retention.tasks.record import AnswerRecord
from value_retention.tasks.scores import benchmark_scores, questions_of

pytestmark = pytest.mark.vllm

EPOCHS = 2
QUESTIONS = 3


@pytest.fixture(scope="module", autouse=True)
def cpu_build() -> None:
    """The names under which lm-eval and vLLM look for the CPU build; a skip would hide a broken set-up."""
    try:
        assert "cpu" in version("vllm")
    except PackageNotFoundError:
        pytest.fail("no vLLM in this environment: run `make test-vllm`")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint whose context takes a judge's prompt: its tokens are short."""
    folder = tmp_path_factory.mktemp("checkpoint") / "tiny"
    done = helpers.run(
        *(helpers.PYTHON, "-m", "value_retention.train.tiny", "--output", folder, "--max-length", "8192")
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def served(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmServer]:
    with vllm_server(checkpoint, tmp_path_factory.mktemp("server") / "log") as server:
        yield server


@pytest.fixture(scope="module")
def lm_eval_run(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output folder of lm-eval with vLLM on the bundled items, judged by the lexical judge."""
    folder = tmp_path_factory.mktemp("lm_eval")
    run_logged(
        *helpers.lm_eval("--model", "vllm", "--batch_size", "auto"),
        *("--model_args", f"pretrained={checkpoint},dtype=bfloat16,enforce_eager=True,max_num_seqs=64"),
        *("--tasks", "anima_2_2,moru_multi", "--gen_kwargs", "max_gen_toks=64"),
        *helpers.metadata(judge="lexical", data="sample", epochs=EPOCHS),
        *("--log_samples", "--output_path", folder / "out"),
        log=folder / "log",
        timeout=400,
        cwd=folder,
    )
    return folder / "out"


def records_of(folder: Path) -> dict[str, list[AnswerRecord]]:
    """Records by benchmark of the one run in a folder."""
    (run,) = load_runs([folder])
    found = defaultdict(list)
    for record in run.records:
        found[record.benchmark].append(record)
    return found


def test_lm_eval_with_vllm_records_every_answer(checkpoint: Path, lm_eval_run: Path) -> None:
    records = records_of(lm_eval_run)
    results = helpers.results(lm_eval_run)
    assert set(records) == {ANIMA_2_2.name, MORU.name}
    for benchmark in (ANIMA_2_2, MORU):
        dataset = load(benchmark, "sample")
        mine = records[benchmark.name]
        answered = Counter((record.item, record.epoch) for record in mine)
        assert answered == {(item.id, epoch): 1 for item in dataset.items for epoch in (1, 2)}
        assert sum(len(record.grades) for record in mine) == EPOCHS * sum(
            item_calls(dataset, item) for item in dataset.items
        )
        assert {grade.outcome for record in mine for grade in record.grades} == {"graded"}
        assert {(r.run.harness, r.run.model, r.run.model_args["dtype"]) for r in mine} == {
            ("lm_eval", str(checkpoint), "bfloat16")
        }
        assert any(record.answer.strip() for record in mine)
        # Epochs are samples: a backend that answers them all alike would give intervals too narrow.
        texts = defaultdict(set)
        for record in mine:
            texts[record.item].add(record.answer)
        assert sum(len(answers) == EPOCHS for answers in texts.values()) > 0.8 * len(texts)
    assert_same_figures(results, "anima_2_2", records[ANIMA_2_2.name], weighted=True)
    for language in ("en", "ms", "hi"):
        mine = [record for record in records[MORU.name] if record.language == language]
        assert_same_figures(results, f"moru_{language}", mine, weighted=False)


def assert_same_figures(results: Any, task: str, records: list[AnswerRecord], weighted: bool) -> None:
    """What lm-eval reports is what its records give."""
    reported = {name.lower(): value for name, value in helpers.figures(results, task).items()}
    expected = benchmark_scores(questions_of(records), weighted)
    for name, value in expected.items():
        if value is not None:
            assert reported[name.lower()] == pytest.approx(value, abs=1e-9), (task, name)


def test_both_engines_draw_from_the_whole_distribution_and_say_so_alike(
    checkpoint: Path, tmp_path: Path
) -> None:
    """`vllm serve` takes the checkpoint's ``top_k`` 3 where a request says nothing, and so does transformers."""
    cut = helpers.with_cuts(checkpoint, tmp_path / "cut")
    loaded = f"pretrained={cut},dtype=bfloat16"
    lines = {
        "hf": ["--model", "hf", "--device", "cpu", "--batch_size", "40", "--model_args", loaded],
        "vllm": ["--model", "vllm", "--model_args", f"{loaded},enforce_eager=True,max_num_seqs=64"],
    }
    with vllm_server(cut, tmp_path / "server.log") as server:
        model = f"model={server.name},base_url={server.url}/completions,num_concurrent=8"
        lines["served"] = ["--model", "local-completions", "--model_args", f"{model},tokenizer_backend=None"]
        lines["as served"] = lines["served"]
        runs = {}
        for name, line in lines.items():
            left = {"top_k": None, "top_p": None} if name == "as served" else {}
            run_logged(
                *helpers.lm_eval(*line, *helpers.first_tokens(tmp_path / name, **left)),
                log=tmp_path / "log",
                timeout=200,
                cwd=tmp_path,
            )
            runs[name] = records_of(tmp_path / name)[ANIMA_2_2.name]
    drawn = {name: len({record.answer for record in records}) for name, records in runs.items()}
    assert drawn.pop("as served") <= 3
    assert min(drawn.values()) > helpers.FIRST_TOKENS / 2, drawn
    alike = {identity_of(runs[name]).aspects["sampling"] for name in ("hf", "vllm", "served")}
    assert len(alike) == 1, alike
    said = model_identity({"pretrained": str(cut)}).text
    assert {runs[name][0].run.identity for name in ("hf", "vllm")} == {said}
    assert said in runs["served"][0].run.identity


def inspect_eval(served: VllmServer, folder: Path, **grader: Any) -> list[AnswerRecord]:
    """Run ANIMA through Inspect with one server for model and judge, reached by two providers."""
    model, judge = f"openai-api/local/{served.name}", f"vllm/{served.name}"
    role = json.dumps({"model": judge, "max_tokens": 48, **grader})
    run_logged(
        *(helpers.BIN / "inspect", "eval", "value_retention/anima_2_2", "-T", "data=sample"),
        *("--model", model, "--max-tokens", "48", "--model-role", f"grader={role}"),
        *("--limit", str(QUESTIONS), "--epochs", "1", "--log-dir", folder / "logs"),
        log=folder / "log",
        timeout=200,
        cwd=folder,
        LOCAL_BASE_URL=served.url,
        LOCAL_API_KEY="none",
        VLLM_BASE_URL=served.url,
    )
    records = records_of(folder / "logs")[ANIMA_2_2.name]
    dataset = load(ANIMA_2_2, "sample")
    assert [record.item for record in records] == [item.id for item in dataset.items[:QUESTIONS]]
    assert {(r.run.harness, r.run.model) for r in records} == {("inspect_ai", model)}
    assert {grade.judge for record in records for grade in record.grades} == {judge}
    assert all(len(record.grades) == record.grades_expected > 0 for record in records)
    return records


def test_a_judge_that_talks_gibberish_gives_no_score(served: VllmServer, tmp_path: Path) -> None:
    before = served.counter("request_success")
    # An empty reply would be asked for again; without an early end there is none.
    records = inspect_eval(served, tmp_path, extra_body={"min_tokens": 16})
    grades = [grade for record in records for grade in record.grades]
    assert {grade.outcome for grade in grades} <= {"unparsed", "cut"}
    assert {grade.grade for grade in grades} == {None}
    assert all(grade.rationale for grade in grades), "the judge's reply is kept"
    assert {record.status for record in records} == {"unscored"}
    assert {record.overall for record in records} == {None}
    assert all(record.grades_missing == record.grades_expected for record in records)
    # One request an answer and one a grade, and none of a reply that was asked for in vain.
    assert served.counter("request_success") - before == len(records) + len(grades)
    assert headline(tmp_path) == {"unscored": 1.0, "missing_grades": 1.0}


def test_a_judge_confined_to_the_two_grades_scores_all(served: VllmServer, tmp_path: Path) -> None:
    choice = {"structured_outputs": {"choice": ["GRADE: C", "GRADE: I"]}}
    records = inspect_eval(served, tmp_path, extra_body=choice)
    for record in records:
        assert (record.status, record.grades_missing) == ("scored", 0)
        for grade in record.grades:
            assert grade.grade == {"GRADE: C": 1.0, "GRADE: I": 0.0}[grade.rationale or ""]
    expected = benchmark_scores(questions_of(records), weighted=True)
    assert headline(tmp_path) == pytest.approx({k: v for k, v in expected.items() if v is not None}, abs=1e-9)


def test_answers_of_vllm_are_judged_by_a_served_model_later_and_once(
    lm_eval_run: Path, served: VllmServer, tmp_path: Path
) -> None:
    samples = helpers.one(lm_eval_run, "samples_anima_2_2_*.jsonl")
    before = samples.read_bytes()
    asked, retries = [], []
    for attempt in ("first", "second"):
        start = served.counter("request_success")
        said = run_logged(
            *(helpers.BIN / "value-retention", "judge", samples, "--judge", f"vllm/{served.name}"),
            *("--judge-args", '{"max_tokens": 24}', "--output", tmp_path / attempt),
            log=tmp_path / "log",
            timeout=300,
            status=1,  # no reply of this judge has a readable grade
            VLLM_BASE_URL=served.url,
            VALUE_RETENTION_JOURNAL_DIR=str(tmp_path / "journal"),
        )
        asked.append(served.counter("request_success") - start)
        retries += [int(number) for number in re.findall(r"(\d+) retries", said)]
    assert samples.read_bytes() == before
    old = records_of(lm_eval_run)[ANIMA_2_2.name]
    first, second = (records_of(tmp_path / attempt)[ANIMA_2_2.name] for attempt in ("first", "second"))
    assert [(r.item, r.epoch, r.answer) for r in first] == [(r.item, r.epoch, r.answer) for r in old]
    assert {grade.judge for record in first for grade in record.grades} == {f"vllm/{served.name}"}
    # Tries again are for empty replies, which noise gives now and then; a saved reply is not paid for twice.
    assert asked == [sum(len(record.grades) for record in first) + retries[0], 0]
    assert len(retries) == len(asked)
    assert first == second


def headline(folder: Path) -> dict[str, float]:
    """The metrics in the only log of a folder."""
    from inspect_ai.log import read_eval_log

    log = read_eval_log(str(helpers.one(folder / "logs", "*.eval")), header_only=True)
    assert log.status == "success"
    assert log.results is not None
    (score,) = log.results.scores
    return {name: metric.value for name, metric in score.metrics.items() if name != "stderr"}
