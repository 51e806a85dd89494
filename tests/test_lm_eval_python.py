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

from value_retention.adapters.judges.journal import Journal, Reply
from value_retention.adapters.lm_eval import answers as lm_eval_answers
from value_retention.adapters.lm_eval import task as lm_eval_task
from value_retention.tasks.errors import InputError
from value_retention.tasks.record import JudgeInfo

Run = Callable[..., list[dict[str, Any]]]


class Model(LM):  # type: ignore[misc]
    """Numbers its answers, is interrupted before request number `last`, and may report a copy of the prompt."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = itertools.count()
        self.prompts: list[str] = []
        self.last = 10**9
        self.words: Callable[[int], str] = "answer {}".format
        self.copies = False
        self.unreported = ""

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        answers = []
        for number, request in enumerate(requests):
            if number == self.last:
                raise KeyboardInterrupt
            self.prompts.append(request.args[0])
            answers.append(self.words(next(self.numbers)))
            prompt = "".join(list(request.args[0])) if self.copies else request.args[0]
            if answers[-1] != self.unreported:
                self.cache_hook.add_partial("generate_until", (prompt, {}), answers[-1])
        return answers

    def loglikelihood(self, requests: Any, disable_tqdm: bool = False) -> Any:
        raise NotImplementedError

    def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> Any:
        raise NotImplementedError


class Judge:
    """Counts its calls, fails while `down` is set, is cut where `cut` says so, and otherwise says `text`."""

    info, settings, connections = JudgeInfo("script/judge"), "{}", 2

    def __init__(self) -> None:
        self.calls = 0
        self.down = False
        self.cut: Callable[[int], bool] = lambda number: False
        self.text = "GRADE: C"

    async def ask(self, prompt: str, about: object) -> Reply:
        self.calls += 1
        if self.down:
            return Reply(None, "ServiceError: down")
        return Reply(self.text, stop_reason="max_tokens" if self.cut(self.calls) else "stop")

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

    def evaluate(
        epochs: int = 3, languages: str = "en", resume: bool = True, args: Any = None, **options: Any
    ) -> list[dict[str, Any]]:
        metadata = {"judge": "lexical", "data": "sample", "epochs": epochs, "languages": languages}
        metadata |= {"resume": resume} | (args or {})
        tasks = TaskManager(include_path=str(ROOT / "tasks"), include_defaults=False, metadata=metadata)
        results = lm_eval.simple_evaluate(
            model, tasks=["anima_2_2"], task_manager=tasks, limit=1, bootstrap_iters=0, **options
        )
        (sample,) = results["samples"]["anima_2_2"]
        (texts,) = sample["filtered_resps"]
        return [json.loads(text) for text in texts]

    yield evaluate
    for store in list(lm_eval_answers._complete_stores):
        store.leave()


def test_an_interrupted_run_continues_and_no_answer_counts_twice(run: Run, model: Model) -> None:
    for last in (1, 2):
        model.last = last
        with pytest.raises(KeyboardInterrupt):
            run(epochs=5)
    model.last = 10**9
    assert [record["answer"] for record in run(epochs=5)] == [f"answer {n}" for n in range(5)]


def test_a_model_known_by_name_is_asked_again_after_a_finished_run(run: Run, judge: Judge) -> None:
    """Another model may have the name by now."""
    first = run()
    calls = judge.calls
    assert calls == sum(len(record["grades"]) for record in first) > 0
    again = run()
    assert [record["answer"] for record in again] == ["answer 3", "answer 4", "answer 5"]
    assert {record["run"]["resumed"] for record in [*first, *again]} == {None}
    assert judge.calls == 2 * calls


def test_a_cut_thought_is_no_answer_and_thinking_is_recorded(run: Run, model: Model, tiny: Path) -> None:
    args = {"tokenizer": str(tiny), "think_end_token": "</think>", "enable_thinking": True}
    cut = "word " * 400

    def of(said: str, **changed: Any) -> tuple[Any, ...]:
        model.words = lambda number: said
        (record,) = run(epochs=1, args=args | changed, gen_kwargs={"max_gen_toks": 50})
        found = record["answer"], record["reasoning"], record["checks"]["truncated"], record.get("thinking")
        return (*found, record["run"]["sampling"].get("thinking"))

    assert of(cut) == ("", cut.strip(), True, True, True)
    assert of("Yes.") == ("Yes.", None, None, True, True)
    assert of(cut, enable_thinking=False) == (cut, None, True, False, False)
    assert of("Yes.", enable_thinking=False) == ("Yes.", None, False, False, False)
    assert of(cut, enable_thinking=None) == ("", cut.strip(), True, True, None)
    assert of("(hm)Yes.", enable_thinking=None, think_end_token=None) == ("(hm)Yes.", None, False, None, None)
    changed = {"enable_thinking": None, "think_end_token": None, "reasoning_markers": [["(", ")"]]}
    assert of("(hm)Yes.", **changed) == ("Yes.", "hm", False, True, None)


def test_an_interrupted_run_of_such_a_model_goes_on_and_says_so(
    run: Run, model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    model.last = 2
    with pytest.raises(KeyboardInterrupt):
        run()
    model.last = 10**9
    told = [record["run"]["resumed"] for record in run()]
    assert len(set(told)) == 1
    assert told[0].startswith("2 of 3 answers are from an earlier run")
    assert "seconds ago" in told[0]
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [text for text in warnings if told[0] in text and '"resume": false' in text]


@pytest.mark.parametrize("copies", [False, True])
def test_two_tasks_that_ask_one_question_have_answers_of_their_own(
    run: Run, model: Model, copies: bool, tmp_path: Path
) -> None:
    """Interrupted, too: what the model reported is kept, where it says which request it answers."""
    own = "task: copy\nclass: !function value_retention.adapters.lm_eval.task.JudgedTask\ndataset_path: anima_2_2\n"
    (tmp_path / "copy.yaml").write_text(own, "utf-8")
    metadata = {"judge": "none", "data": "sample", "epochs": 3, "languages": "en"}

    def answers() -> dict[str, list[str]]:
        paths = [str(ROOT / "tasks"), str(tmp_path)]
        tasks = TaskManager(include_path=paths, include_defaults=False, metadata=metadata)
        names = ["anima_2_2", "copy"]
        results = lm_eval.simple_evaluate(model, tasks=names, task_manager=tasks, limit=1, bootstrap_iters=0)
        found = {name: results["samples"][name][0]["filtered_resps"][0] for name in names}
        return {name: [json.loads(text)["answer"] for text in texts] for name, texts in found.items()}

    model.copies = copies
    model.last = 4
    with pytest.raises(KeyboardInterrupt):
        answers()
    kept = 0 if copies else 4
    model.last = 10**9
    first = 4 - kept
    assert answers() == {
        "anima_2_2": [f"answer {first + n}" for n in range(3)],
        "copy": [f"answer {first + 3 + n}" for n in range(3)],
    }
    assert len(set(model.prompts)) == 1
    assert len(model.prompts) == 4 + 6 - kept


def test_an_answer_that_the_model_did_not_report_takes_no_others_place(run: Run, model: Model) -> None:
    """lm-eval's API models report no answer for a request that got no text."""
    model.unreported = "answer 0"
    assert sorted(record["answer"] for record in run()) == ["answer 0", "answer 1", "answer 2"]


def test_without_resume_no_saved_answer_is_used(run: Run, model: Model) -> None:
    model.last = 2
    with pytest.raises(KeyboardInterrupt):
        run()
    model.last = 10**9
    fresh = run(resume=False)
    assert [record["answer"] for record in fresh] == ["answer 2", "answer 3", "answer 4"]
    assert {record["run"]["resumed"] for record in fresh} == {None}


def test_a_model_known_by_its_files_answers_once(
    run: Run, model: Model, judge: Judge, tmp_path: Path
) -> None:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    args = {"pretrained": str(folder)}
    first = run(args=args)
    calls = judge.calls
    assert run(args=args | {"batch_size": 8}) == [
        record | {"run": record["run"] | {"model_args": record["run"]["model_args"] | {"batch_size": 8}}}
        for record in first
    ]
    assert (len(model.prompts), judge.calls) == (3, calls)
    assert [record["answer"] for record in run(5, args=args)] == [f"answer {n}" for n in range(5)]
    assert len(model.prompts) == 5
    # Trained on in place, it is another model.
    (folder / "model.safetensors").write_bytes(b"other weights")
    assert [record["answer"] for record in run(args=args)] == ["answer 5", "answer 6", "answer 7"]


def test_an_answer_keeps_its_epoch_in_whatever_order_it_comes_back(
    run: Run, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server's answers arrive in another order than lm-eval returns them."""
    (tmp_path / "model.gguf").write_bytes(b"weights")
    ask = model.generate_until
    monkeypatch.setattr(model, "generate_until", lambda requests, **options: ask(requests)[::-1])
    args = {"pretrained": str(tmp_path / "model.gguf")}
    assert run(args=args) == run(args=args)


def test_equal_answers_in_another_run_have_the_grades_that_were_paid_for(
    run: Run, model: Model, judge: Judge
) -> None:
    run()
    calls = judge.calls
    model.numbers = itertools.count()
    run()
    assert judge.calls == calls


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
    assert [each.finished for each in store.journal.runs()] == [False]
    lm_eval_answers.finish_all()
    assert [each.finished for each in store.journal.runs()] == [True]


def test_a_run_without_a_readable_reply_ends_with_status_1_and_its_records(
    run: Run, model: Model, judge: Judge, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lm_eval_answers, "_stopped", False)
    judge.text = "I cannot say."
    assert {grade["outcome"] for record in run() for grade in record["grades"]} == {"unparsed"}
    with pytest.raises(SystemExit) as stopped:
        lm_eval_answers.exit_status()
    assert stopped.value.code == 1
    said = capsys.readouterr().err
    assert "\nvalue-retention: anima_2_2: no judge reply has a readable grade (0 of " in said
    assert '"I cannot say.". Why it is not read: it has no `GRADE:`' in said


def test_cut_replies_are_said_and_the_run_is_complete(
    run: Run, judge: Judge, caplog: pytest.LogCaptureFixture
) -> None:
    judge.cut = lambda number: number % 2 == 0
    first = run(epochs=1)
    assert {grade["outcome"] for record in first for grade in record["grades"]} == {"cut", "graded"}
    missing = first[0]["grades_missing"]
    (warning,) = [
        entry.getMessage() for entry in caplog.records if entry.levelname == "WARNING" and "cut" in entry.msg
    ]
    for part in (
        f"{missing} grades are missing",
        "raise max_tokens in judge_args",
        "`value-retention judge RUN --fill`",
    ):
        assert part in warning
    assert not lm_eval_answers._failures


def test_a_run_whose_replies_are_all_cut_ends_with_status_1(
    run: Run, judge: Judge, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lm_eval_answers, "_stopped", False)
    judge.cut = lambda number: True
    assert {grade["outcome"] for record in run() for grade in record["grades"]} == {"cut"}
    with pytest.raises(SystemExit) as stopped:
        lm_eval_answers.exit_status()
    assert stopped.value.code == 1
    assert '"GRADE: C". Why it is not read: the token limit cut it' in capsys.readouterr().err


def test_a_full_disk_ends_the_run_at_once(
    run: Run, model: Model, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """lm-eval's API models take any other exception for a failed request, and ask again."""

    def full(*arguments: object) -> None:
        raise InputError("cannot write the journal")

    monkeypatch.setattr(Journal, "add_answer", full)
    monkeypatch.setattr(lm_eval_answers, "_stopped", False)
    with pytest.raises(SystemExit) as stopped:
        run()
    assert stopped.value.code == 1
    assert len(model.prompts) == 1
    assert "cannot write the journal" in capsys.readouterr().err


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
    """The lock is the process's own: a child that outlives it does not keep the run."""
    with monkeypatch.context() as only_now:
        locked: list[str] = []
        lock = Journal.lock
        only_now.setattr(
            Journal, "lock", lambda self, name, run: locked.append(name) or lock(self, name, run)
        )
        run()
    code = f"""
import os, time
from value_retention.adapters.judges.journal import open_journal
open_journal().lock({locked[0]!r}, "")
child = os.fork() or (os.close(1), time.sleep(60), os._exit(0))
print(child, flush=True)
time.sleep(60)
"""
    (store,) = lm_eval_answers._complete_stores
    store.leave()
    model.prompts.clear()
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    child = int(other.stdout.readline())
    try:
        with pytest.raises(InputError, match="already in progress"):
            run()
        assert not model.prompts
        other.kill()
        other.wait(10)
        assert len(run()) == 3
    finally:
        other.kill()
        subprocess.run(["kill", "-9", str(child)], check=False)
