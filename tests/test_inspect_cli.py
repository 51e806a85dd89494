"""Inspect through its command line: options of the harness, panels, re-scoring, retries, refusals."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from helpers import BIN, JUDGE, MODEL, Server, assert_plain_refusal, one, run, scripted_server
from inspect_ai import eval as inspect_eval
from inspect_ai.log import EvalLog, read_eval_log
from inspect_ai.model import GenerateConfig, ModelAPI, ModelOutput, ModelUsage, get_model, modelapi
from test_benchmark import write

from value_retention.adapters.inspect import tasks as inspect_tasks
from value_retention.adapters.inspect.tasks import _Panel, anima_2_2, moru_multi
from value_retention.adapters.judges.run import Tally
from value_retention.adapters.readers.inspect import read_log
from value_retention.tasks.benchmark import packaged
from value_retention.tasks.errors import InputError
from value_retention.tasks.scores import benchmark_scores, metric_error, questions_of


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


SECOND = "openai-api/scripted/second"
INSPECT = BIN / "inspect"
TO_MODEL = ("--model", MODEL, "--display", "plain")


@pytest.mark.parametrize("make", [anima_2_2, moru_multi, "own"])
def test_a_tasks_rows_are_read_once(make: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    loads: list[str] = []
    load = inspect_tasks.load_for_run

    def counted(benchmark: Any, data: str, languages: Any) -> Any:
        loads.append(benchmark.name)
        return load(benchmark, data, languages)

    monkeypatch.setattr(inspect_tasks, "load_for_run", counted)
    if make == "own":
        inspect_tasks.benchmark(str(write(tmp_path)), judge="lexical")
    else:
        make(data="sample", languages=["en"], judge="lexical", ceiling=True)
    assert len(loads) == 1
    assert not inspect_tasks._read


def figures(log: EvalLog) -> dict[str, float]:
    assert log.results is not None
    (score,) = log.results.scores
    return {name: metric.value for name, metric in score.metrics.items()}


def assert_figures_are_the_records(path: Path) -> None:
    """The log's results hold what the core computes from the records in the log."""
    records = list(read_log(path))
    expected = benchmark_scores(questions_of(records), packaged()[records[0].benchmark].weighted)
    known = {name: value for name, value in expected.items() if value is not None}
    questions = questions_of(records)
    overall, clusters = [q.overall for q in questions], [q.cluster for q in questions]
    error = metric_error("overall_mean", overall, clusters, {})
    assert error
    assert figures(read_eval_log(path)) == pytest.approx(known | {"stderr": error}, abs=1e-12)
    assert any(0 < value < 1 for value in known.values())


@pytest.fixture(scope="module")
def panel(server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both tasks at once, judged by a panel of two with a temperature for one of them."""
    logs = tmp_path_factory.mktemp("panel")
    done = run(
        *(INSPECT, "eval", "value_retention/anima_2_2", "value_retention/moru_multi", *TO_MODEL),
        *("--model-role", f"grader=[{{model: {JUDGE}, temperature: 0.5}}, {{model: {SECOND}}}]"),
        *("-T", "data=sample", "-T", "languages=en,ms", "--epochs", "2", "--limit", "4", "--log-dir", logs),
        fresh=True,
        **server.environment,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return {name: one(logs, f"*{name}*.eval") for name in ("anima-2-2", "moru-multi")}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "version"), [("anima-2-2", 6), ("moru-multi", 3)])
def test_limit_epochs_languages_and_figures(panel: dict[str, Path], name: str, version: int) -> None:
    log = read_eval_log(panel[name])
    assert log.status == "success"
    assert log.eval.task_version == version
    assert log.eval.metadata is not None
    assert log.eval.metadata["notes"] == ["sample items, not a benchmark"]
    benchmark = {"anima-2-2": "anima_2_2", "moru-multi": "moru"}[name]
    assert log.eval.dataset.name == f"{benchmark} (sample items, not a benchmark)"
    records = list(read_log(panel[name]))
    assert len(log.samples or ()) == len(records) == 8
    assert {record.language for record in records} <= {"en", "ms"}
    assert sorted((record.item, record.epoch) for record in records) == sorted(
        (str(sample.id), sample.epoch) for sample in log.samples or ()
    )
    assert_figures_are_the_records(panel[name])


@pytest.mark.slow
def test_every_sample_and_epoch_has_the_same_keys(panel: dict[str, Path]) -> None:
    for path in panel.values():
        keys = set()
        for sample in read_eval_log(path).samples or ():
            ((name, score),) = (sample.scores or {}).items()
            assert name == "judged"
            assert isinstance(score.value, Mapping)
            keys.add(tuple(score.value))
            assert score.explanation is not None
            assert score.explanation.startswith("**Overall: 0.")
        assert len(keys) == 1


@pytest.mark.slow
def test_a_panel_keeps_each_judges_grades_and_settings(panel: dict[str, Path]) -> None:
    for record in read_log(panel["anima-2-2"]):
        assert [(judge.name, judge.settings) for judge in record.judges] == [
            (JUDGE, {"temperature": 0.5}),
            (SECOND, {}),
        ]
        assert [grade.judge for grade in record.grades] == [JUDGE, SECOND] * (record.grades_expected // 2)
        assert all("GRADE:" in (grade.rationale or "") for grade in record.grades)
        assert (record.run.harness, record.run.model) == ("inspect_ai", MODEL)
        assert record.run.sampling == {"temperature": 1.0, "max_tokens": 2048}


@pytest.mark.slow
def test_a_log_is_scored_again_by_another_judge(
    panel: dict[str, Path], server: Server, tmp_path: Path
) -> None:
    before = server.stats()
    done = run(
        *(INSPECT, "score", panel["anima-2-2"], "--model-role", f"grader={SECOND}", "--display", "plain"),
        *("--action", "overwrite", "--output-file", tmp_path / "again.eval"),
        **server.environment,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    first, again = list(read_log(panel["anima-2-2"])), list(read_log(tmp_path / "again.eval"))
    assert [r.answer_hash for r in first] == [r.answer_hash for r in again]
    assert [[j.name for j in record.judges] for record in again] == [[SECOND]] * 8
    assert [(r.data, r.run) for r in first] == [(r.data, r.run) for r in again]
    names = [
        [s.name for s in read_eval_log(log).eval.scorers or ()]
        for log in (panel["anima-2-2"], tmp_path / "again.eval")
    ]
    assert names == [["judged"]] * 2, "a log that was scored again can be scored again"
    assert server.stats()["model"] == before["model"], "answers are not asked for again"
    assert server.stats()["judge"] - before["judge"] == sum(record.grades_expected for record in again)
    assert_figures_are_the_records(tmp_path / "again.eval")


@pytest.mark.slow
def test_an_eval_that_failed_is_finished_by_eval_retry(tmp_path: Path) -> None:
    """The model's service refuses one question; on another day it does not."""
    refuse = (
        "import aiohttp.web\nanswer = scripted_server.model_answer\n"
        "def refuse(question):\n"
        "    if 'caretaker' in question: raise aiohttp.web.HTTPBadRequest(text='no')\n"
        "    return answer(question)\n"
        "scripted_server.model_answer = refuse"
    )
    # On one port: the log keeps the judge's address, and the retry goes there.
    port = free_port()
    with scripted_server("--port", port, patch=refuse) as broken:
        failed = run(
            *(INSPECT, "eval", "value_retention/anima_2_2", *TO_MODEL, "--model-role", f"grader={JUDGE}"),
            *("-T", "data=sample", "--epochs", "2", "--limit", "4", "--log-dir", tmp_path / "failed"),
            *("--max-samples", "1"),
            **broken.environment,
        )
        log = read_eval_log(one(tmp_path / "failed", "*.eval"))
        assert log.status == "error", failed.stdout[-2000:]
        finished = sum(bool(sample.scores) for sample in log.samples or ())
        assert 0 < finished < 8
    with scripted_server("--port", port) as mended:
        done = run(
            *(INSPECT, "eval-retry", log.location, "--log-dir", tmp_path / "retried", "--display", "plain"),
            **mended.environment,
        )
        stats = mended.stats()
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    retried = one(tmp_path / "retried", "*.eval")
    assert read_eval_log(retried).status == "success"
    records = list(read_log(retried))
    assert (len(records), sum(record.grades_missing for record in records)) == (8, 0)
    assert stats["model"] == 8 - finished, "finished answers are not asked for again"
    assert_figures_are_the_records(retried)


@pytest.mark.slow
def test_a_judge_that_is_down_is_found_out_once_and_said(tmp_path: Path) -> None:
    with scripted_server("--down") as down:
        done = run(
            *(INSPECT, "eval", "value_retention/anima_2_2", *TO_MODEL, "--model-role", f"grader={JUDGE}"),
            *("-T", "data=sample", "-T", "judge_args={max_retries: 0}", "--epochs", "1"),
            *("--max-samples", "2", "--log-dir", tmp_path),
            **down.environment,
        )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    records = list(read_log(one(tmp_path, "*.eval")))
    assert [record.status for record in records] == ["unscored"] * 30
    assert {grade.outcome for record in records for grade in record.grades} == {"judge_error"}
    said = " ".join((done.stdout + done.stderr).split())
    assert said.count("judge calls fail (") == 1
    assert "`value-retention judge LOG --fill`" in said
    errors = [grade.error or "" for record in records for grade in record.grades]
    assert sum(error.startswith("judge is down: ") for error in errors) > 60


@pytest.mark.slow
def test_answers_saved_for_later_and_the_ceiling_test(server: Server, tmp_path: Path) -> None:
    before = server.stats()["judge"]
    done = run(
        *(INSPECT, "eval", "value_retention/anima_2_2", *TO_MODEL, "--epochs", "1", "--limit", "2"),
        *("-T", "judge=none", "-T", "ceiling=true", "--log-dir", tmp_path),
        VALUE_RETENTION_DATA="sample",
        VALUE_RETENTION_JUDGE="lexical",
        **server.environment,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    log = read_eval_log(one(tmp_path, "*.eval"))
    assert figures(log) == {"not_judged": 1.0}
    assert server.stats()["judge"] == before
    records = list(read_log(Path(log.location)))
    assert {(record.status, record.judges) for record in records} == {("not_judged", ())}
    assert records[0].run.sampling["ceiling"] is True
    assert log.eval.metadata is not None
    assert "ceiling test, not a benchmark score" in log.eval.metadata["notes"]
    assert "ceiling test, not a benchmark score" in str(log.eval.dataset.name)
    system = (log.samples or [])[0].messages[0]
    assert system.role == "system"
    assert "Sentience Acknowledgement: " in system.text


@pytest.mark.slow
def test_a_judge_that_is_named_twice_over_is_refused_and_the_environment_gives_way(
    server: Server, tmp_path: Path
) -> None:
    before = server.stats()
    grader = f"grader={JUDGE}"
    eval_ = (INSPECT, "eval", "value_retention/anima_2_2", *TO_MODEL, "--model-role", grader)
    eval_ += ("-T", "data=sample", "--limit", "1", "--epochs", "1", "--log-dir", tmp_path)
    done = run(*eval_, "-T", "judge=lexical", **server.environment)
    assert_plain_refusal(done, "--model-role grader", "set twice")
    assert server.stats() == before
    done = run(*eval_, VALUE_RETENTION_JUDGE="lexical", **server.environment)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    (record,) = read_log(one(tmp_path, "*.eval"))
    assert [judge.name for judge in record.judges] == [JUDGE]
    # The log's judge is the role's; another cannot be named beside it unnoticed.
    log = one(tmp_path, "*.eval")
    done = run(
        *(INSPECT, "score", log, "--scorer", "value_retention/judged", "--action", "append", "--overwrite"),
        *("-S", "benchmark=anima_2_2", "-S", "data=sample", "-S", "judge=lexical", "--model-role", grader),
        **server.environment,
    )
    assert "set twice" in done.stdout + done.stderr
    assert done.returncode != 0


@pytest.mark.slow
def test_no_judge_stops_before_anything_is_generated(server: Server, tmp_path: Path) -> None:
    before = server.stats()["model"]
    done = run(
        *(INSPECT, "eval", "value_retention/moru_multi", *TO_MODEL, "-T", "data=sample"),
        cwd=tmp_path,
        **server.environment,
    )
    assert_plain_refusal(
        done, "no judge is configured", "--model-role", "grader=PROVIDER/MODEL", "lexical", "none"
    )
    assert server.stats()["model"] == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"data": "/nowhere"}, "/nowhere"),
        ({"data": "sample", "languages": "Klingonese"}, "'Klingonese'"),
        ({"data": "sample", "judge": "gpt-5-mini"}, "'gpt-5-mini'"),
        ({"data": "sample", "judge": "lexical", "judge_args": {"api_key": "abcdef123"}}, "secret"),
        ({"data": "sample", "judge": "lexical", "judge_args": {"temprature": 0}}, "'temprature'"),
        ({"data": "hub:someone/else"}, "OWNER/NAME@COMMIT"),
        ({}, "Hugging Face hub"),
    ],
)
@pytest.mark.parametrize("task", [anima_2_2, moru_multi])
def test_a_mistake_is_refused_when_the_task_is_made(
    task: Any, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError) as caught:
        task(**arguments)
    assert message in str(caught.value)
    assert "abcdef123" not in str(caught.value)


class Echo(ModelAPI):
    """A model that keeps the settings of the last call. A filter stops ``filtered``; ``private`` keeps its
    reasoning to itself."""

    asked: GenerateConfig

    async def generate(self, *call: Any, **options: Any) -> ModelOutput:
        Echo.asked = options.get("config") or call[3]
        reason: Any = "content_filter" if self.model_name == "filtered" else "stop"
        output = ModelOutput.from_content(self.model_name, "An answer.", reason)
        if self.model_name == "private":
            output.usage = ModelUsage(output_tokens=9, reasoning_tokens=7)
        return output


@modelapi(name="echo")
def echo() -> type[ModelAPI]:
    return Echo


def test_a_record_names_the_settings_that_the_model_was_asked_with(tmp_path: Path) -> None:
    """The task's settings override those of a model made in Python."""
    model = get_model("echo/x", config=GenerateConfig(temperature=0.2, top_p=0.9))
    task = anima_2_2(data="sample", judge="lexical", languages="en")
    options: Any = {"limit": 1, "epochs": 1, "log_dir": str(tmp_path), "display": "none", "top_k": 7}
    (log,) = inspect_eval(task, model=model, **options)
    (record,) = read_log(Path(log.location))
    assert record.run.sampling == {"temperature": 1.0, "top_p": 0.9, "top_k": 7, "max_tokens": 2048}
    assert {name: getattr(Echo.asked, name) for name in record.run.sampling} == record.run.sampling


@pytest.mark.parametrize("thinking", [True, False])
def test_a_record_names_thinking_and_a_cut_thought_is_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, thinking: bool
) -> None:
    async def cut(self: Echo, *call: Any, **options: Any) -> ModelOutput:
        return ModelOutput.from_content(self.model_name, "«a»Let me see", "max_tokens")

    monkeypatch.setattr(Echo, "generate", cut)
    body = {"chat_template_kwargs": {"enable_thinking": thinking}, "min_p": 0.1}
    task = anima_2_2(data="sample", judge="lexical", languages="en", reasoning_markers='[["«", "»"]]')
    options: Any = {"limit": 1, "epochs": 1, "log_dir": str(tmp_path), "display": "none", "extra_body": body}
    (log,) = inspect_eval(task, model="echo/x", **options)
    (record,) = read_log(Path(log.location))
    assert record.run.sampling == {
        "temperature": 1.0,
        "max_tokens": 2048,
        "min_p": 0.1,
        "thinking": thinking,
        "reasoning_markers": [["«", "»"]],
    }
    assert (record.answer, record.reasoning, record.thinking) == ("Let me see", "a", True)


@pytest.mark.parametrize("judge", ["lexical", "echo/judge", "echo/filtered"])
def test_an_eval_without_a_readable_grade_says_so_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], judge: str
) -> None:
    monkeypatch.setattr(inspect_tasks, "_unread", {})
    options: Any = {"limit": 2, "epochs": 1, "log_dir": str(tmp_path), "display": "none"}
    (log,) = inspect_eval(anima_2_2(data="sample", judge=judge, languages="en"), model="echo/x", **options)
    assert (log.status, len(list(read_log(Path(log.location))))) == ("success", 2)
    ceiling = anima_2_2(data="sample", judge="lexical", languages="en", ceiling=True)
    inspect_eval(ceiling, model="echo/x", **options)  # its replies are readable
    capsys.readouterr()
    inspect_tasks._say_unread()
    said = capsys.readouterr().err
    if judge == "lexical":
        assert said == ""
    elif judge == "echo/filtered":
        assert "judge calls failed (stopped by the content filter: An answer.). To repeat them" in said
    else:
        assert "echo/x: no judge reply has a readable grade (0 of " in said
        assert '"An answer.". Why it is not read: it has no `GRADE:`' in said


def test_a_model_that_keeps_its_reasoning_to_itself_thought(tmp_path: Path) -> None:
    task, options = anima_2_2(data="sample", judge="none", languages="en"), {"limit": 1, "epochs": 1}
    for model, reasoning, thinking in (("echo/private", "", True), ("echo/x", None, None)):
        (log,) = inspect_eval(task, model=model, log_dir=str(tmp_path / model), display="none", **options)
        (record,) = read_log(Path(log.location))
        assert (record.answer, record.reasoning, record.thinking) == ("An answer.", reasoning, thinking)


def test_each_reason_for_missing_grades_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    panel = _Panel(["lexical"], {})
    for _ in range(2):
        panel.warn(Tally(cut=1, last_cut="cut after 9 tokens; raise max_tokens in judge_args"))
        panel.warn(Tally(errors=1, last_error="down"))
        panel.warn(Tally(unparsed=1))
    cut, failed = [entry.getMessage() for entry in caplog.records]
    assert cut.startswith(
        "the token limit cuts judge replies (cut after 9 tokens; raise max_tokens in judge_args). "
    )
    assert failed.startswith("judge calls fail (down). ")


def test_epochs_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert anima_2_2(data="sample", judge="lexical").epochs == 5
    monkeypatch.setenv("VALUE_RETENTION_EPOCHS", "3")
    assert anima_2_2(data="sample", judge="lexical").epochs == 3
    monkeypatch.setenv("VALUE_RETENTION_EPOCHS", "0")
    with pytest.raises(InputError, match="epochs"):
        anima_2_2(data="sample", judge="lexical")
