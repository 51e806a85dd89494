"""Several lm-eval runs in one process (a notebook): which calls each makes, and which answers it keeps."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lm_eval
import pytest
from helpers import ROOT
from lm_eval.api.model import LM
from lm_eval.tasks import TaskManager

from value_retention.adapters import lm_eval_answers, lm_eval_task
from value_retention.adapters.judges.journal import Journal, Reply
from value_retention.tasks.errors import InputError
from value_retention.tasks.record import JudgeInfo

Run = Callable[..., list[dict[str, Any]]]


class Model(LM):  # type: ignore[misc]
    """Numbers its answers, and is interrupted before request number `last`."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = itertools.count()
        self.prompts: list[str] = []
        self.last = 10**9

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        answers = []
        for number, request in enumerate(requests):
            if number == self.last:
                raise KeyboardInterrupt
            self.prompts.append(request.args[0])
            answers.append(f"answer {next(self.numbers)}")
            self.cache_hook.add_partial("generate_until", request.args, answers[-1])
        return answers

    def loglikelihood(self, requests: Any, disable_tqdm: bool = False) -> Any:
        raise NotImplementedError

    def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> Any:
        raise NotImplementedError


class Judge:
    """Counts its calls, and fails while `down` is set."""

    info, settings, connections = JudgeInfo("script/judge"), "{}", 2

    def __init__(self) -> None:
        self.calls = 0
        self.down = False

    async def ask(self, prompt: str, answer: str, indicators: str, schema: object = None) -> Reply:
        self.calls += 1
        return Reply(None, "ServiceError: down") if self.down else Reply("GRADE: C")

    async def close(self) -> None:
        pass


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> Judge:
    one = Judge()
    monkeypatch.setattr(lm_eval_task, "make_judges", lambda names, args, single_loop=False: [one])
    return one


@pytest.fixture
def run(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Evaluate one question; the records of its answers."""
    monkeypatch.setenv("VALUE_RETENTION_JOURNAL_DIR", str(tmp_path))
    for name in ("_open_stores", "_complete_stores"):
        monkeypatch.setattr(lm_eval_answers, name, [])
    monkeypatch.setattr(lm_eval_answers, "_failures", {})

    def evaluate(epochs: int = 3, languages: str = "en", **options: Any) -> list[dict[str, Any]]:
        metadata = {"judge": "lexical", "data": "sample", "epochs": epochs, "languages": languages}
        tasks = TaskManager(include_path=str(ROOT / "tasks"), include_defaults=False, metadata=metadata)
        results = lm_eval.simple_evaluate(
            model, tasks=["anima_2_2"], task_manager=tasks, limit=1, bootstrap_iters=0, **options
        )
        (sample,) = results["samples"]["anima_2_2"]
        (texts,) = sample["filtered_resps"]
        return [json.loads(text) for text in texts]

    yield evaluate
    for store in lm_eval_answers._complete_stores:
        store.release()


def test_an_interrupted_run_continues_and_no_answer_counts_twice(run: Run, model: Model) -> None:
    for last in (1, 2):
        model.last = last
        with pytest.raises(KeyboardInterrupt):
            run(epochs=5)
    model.last = 10**9
    assert [record["answer"] for record in run(epochs=5)] == [f"answer {n}" for n in range(5)]


def test_a_run_after_a_finished_one_starts_over(run: Run, judge: Judge) -> None:
    first = run()
    calls = judge.calls
    assert calls == sum(len(record["grades"]) for record in first) > 0
    assert [record["answer"] for record in run()] == ["answer 3", "answer 4", "answer 5"]
    assert judge.calls == 2 * calls


def test_equal_answers_in_another_run_are_graded_again(run: Run, model: Model, judge: Judge) -> None:
    run()
    calls = judge.calls
    model.numbers = itertools.count()
    run()
    assert judge.calls == 2 * calls


def test_after_failed_judge_calls_the_next_run_keeps_the_answers_and_completes_the_grades(
    run: Run, model: Model, judge: Judge
) -> None:
    judge.down = True
    assert {grade["outcome"] for record in run() for grade in record["grades"]} == {"judge_error"}
    assert len(lm_eval_answers._failures) == 1
    judge.down = False
    again = run()
    assert [record["answer"] for record in again] == ["answer 0", "answer 1", "answer 2"]
    assert {grade["outcome"] for record in again for grade in record["grades"]} == {"graded"}
    assert not lm_eval_answers._failures
    (store,) = lm_eval_answers._complete_stores
    lm_eval_answers._finish_all()
    assert Journal(store.journal.path).get(store._note) == "1"


def test_lm_evals_request_cache_is_not_used(
    run: Run, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("lm_eval.caching.cache.PATH", str(tmp_path))
    run(epochs=1, cache_requests=True)
    (german, *_) = run(epochs=2, languages="de", cache_requests=True)
    assert len(model.prompts) == 3
    assert german["question"] in model.prompts[-1]
    assert "ignoring --cache_requests" in caplog.text


def test_two_processes_do_not_share_the_answers_of_one_run(
    run: Run, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VALUE_RETENTION_JOURNAL", str(tmp_path / "journal"))
    lock = str(tmp_path / "journal.anima_2_2-0.lock")
    code = f"""
import os, time
from value_retention.adapters.lm_eval_answers import _lock
_lock({lock!r})
child = os.fork() or (os.close(1), time.sleep(60), os._exit(0))
print(child, flush=True)
time.sleep(60)
"""
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    child = int(other.stdout.readline())
    try:
        with pytest.raises(InputError, match="already in progress"):
            run()
        assert not model.prompts
        other.kill()
        other.wait(10)
        # A child that outlived it does not keep the run.
        assert len(run()) == 3
    finally:
        other.kill()
        subprocess.run(["kill", "-9", str(child)], check=False)
