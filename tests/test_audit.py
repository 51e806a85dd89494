"""`value-retention audit`: what it refuses, which exit status it gives, and that a killed one goes on."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from helpers import ANIMA_2_2, BIN, JUDGE, OUR_TASKS, PYTHON, RUN, Server, environment, run, scripted_server

from value_retention.analysis.audit.spec import checked_audit
from value_retention.analysis.audit.steps import STEP, answer_steps
from value_retention.analysis.cli import cli
from value_retention.tasks.answers import Answer, Design, make_record
from value_retention.tasks.data import Dataset, load
from value_retention.tasks.prompts import judge_calls
from value_retention.tasks.record import AnswerRecord, GradeRecord, JudgeInfo

# A candidate that lost the value, and servers whose every answer and grade differs a little.
PLANTED = """
import itertools
from scripted_server import Server, completion, number
count = itertools.count()
def answer(self, body, text, judging):
    self.stats["judge" if judging else "model"] += 1
    if judging:
        self.answered[text] = self.answered.get(text, 0) + 1
        rate = 10 if "a weaker view" in text else 75
        return completion(body, "GRADE: " + ("C" if number(text) % 100 < rate else "I"))
    view = "a weaker view" if body["model"] == "worse" else "a firm view"
    return completion(body, f"This is {view}, said for the {next(count)}th time.")
Server.answer = answer
"""


def audit(*arguments: str | Path) -> Any:
    return CliRunner().invoke(cli, ["audit", *map(str, arguments)])


def write(folder: Path, **content: Any) -> Path:
    file = folder / "audit.yaml"
    file.write_text(yaml.safe_dump(content), "utf-8")
    return file


def judged(
    dataset: Dataset, rate: float, epochs: int, seed: int, judge: str = "lab/judge"
) -> list[AnswerRecord]:
    """Answers whose grades pass at a rate."""
    draw = random.Random(seed)
    info = JudgeInfo(judge, {})
    found = []
    for item in dataset.items:
        for epoch in range(1, epochs + 1):
            answer = Answer.of(item, epoch, f"Answer {draw.random()}.")
            grades = []
            for call in judge_calls(dataset, item, answer.text):
                passed = draw.random() < rate
                made = f"GRADE: {'C' if passed else 'I'}", call.prompt_hash
                variables = dict(call.variables)
                grades.append(GradeRecord(call.dimension, variables, judge, "graded", float(passed), *made))
            found.append(
                make_record(Design.of(dataset), answer, [info], grades, replace(RUN, model=f"lab/{seed}"))
            )
    return found


def finished(folder: Path, name: str, rate: float, *, items: int = 30, epochs: int = 3, **more: Any) -> str:
    """A finished run on sample items, written as records."""
    dataset = load(ANIMA_2_2, "sample")
    dataset = replace(dataset, items=dataset.items[:items])
    file = folder / f"{name}.records.jsonl"
    seed = sum(map(ord, name))
    file.write_text("".join(f"{r.to_json()}\n" for r in judged(dataset, rate, epochs, seed, **more)), "utf-8")
    return file.name


def given_runs(folder: Path, base: str, candidate: str, **content: Any) -> Path:
    told = {
        "tasks": "anima_2_2",
        "data": "sample",
        "epochs": 3,
        "judge": "openai-api/lab/judge",
        "margin": 20,
    }
    return write(folder, base={"runs": base}, candidates={"tuned": {"runs": candidate}}, **(told | content))


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_API_KEY", "x")
    monkeypatch.setenv("LAB_BASE_URL", "http://127.0.0.1:9/v1")


LAB = "openai-api/lab/judge"


@pytest.mark.parametrize(
    ("rates", "items", "margin", "status", "says"),
    [
        ((0.8, 0.8), 30, 20, 0, "retained"),
        ((0.8, 0.1), 30, 20, 1, "degraded beyond the margin"),
        ((0.8, 0.7), 8, 5, 2, "inconclusive"),
        ((0.03, 0.02), 30, 20, 2, "near the floor"),
    ],
)
def test_the_exit_status_is_the_verdict(
    tmp_path: Path, keys: None, rates: tuple[float, float], items: int, margin: float, status: int, says: str
) -> None:
    base, tuned = (
        finished(tmp_path, name, rate, items=items, judge=LAB)
        for name, rate in zip(("one", "two"), rates, strict=True)
    )
    out = tmp_path / "out"
    file = given_runs(tmp_path, base, tuned, margin=margin)
    done = audit(file, "-o", out)
    assert done.exit_code == status, done.output
    printed = " ".join(done.output.split())
    assert says in printed
    assert f"Exit status {status}" in printed
    assert "<html" in (out / "report" / "report.html").read_text("utf-8")
    assert audit(file, "-o", out).exit_code == status


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"judge": "openai-api/lab/other"}, "no answers by this judge"),
        ({"epochs": 5}, "epochs of anima_2_2"),
        ({"tasks": "anima_2_2,moru_multi"}, "lacks a benchmark"),
    ],
)
def test_finished_runs_that_do_not_fit_are_refused_by_name(
    tmp_path: Path, keys: None, change: dict[str, Any], says: str
) -> None:
    base, tuned = (finished(tmp_path, name, 0.8, judge=LAB) for name in ("one", "two"))
    done = audit(given_runs(tmp_path, base, tuned, **change))
    assert done.exit_code == 3
    assert says in done.output


GOOD: dict[str, Any] = {"base": "lab/base", "candidates": ["lab/tuned"], "judge": "lexical", "margin": 5}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"margin": None}, "margin"),
        ({"margin": 0}, "margin"),
        ({"candidates": []}, "candidates"),
        ({"candidates": ["a/tuned", "b/tuned"]}, "two candidates are named tuned"),
        ({"candidates": {"base": "lab/tuned"}}, "'base' cannot name a candidate"),
        ({"candidates": {"../x": "lab/tuned"}}, "cannot name a candidate"),
        ({"candidates": {"tuned": {"model": "x", "runs": "y"}}}, "either `model` or `runs`"),
        ({"marigin": 5}, "marigin"),
        ({"tasks": "anima"}, "unknown benchmark"),
        ({"judge": "none"}, "does not judge"),
        ({"lm_eval": {"limit": 5}}, "cannot be set here: limit"),
        ({"inspect": {}, "lm_eval": {"model": "hf"}}, "either `lm_eval` or `inspect`"),
        ({"judge": "openai/x", "budget": 5}, "`budget` needs `price"),
        ({"base": "no/such/folder"}, "the model does not exist"),
        ({"base": {"runs": "missing"}}, "the run does not exist"),
        ({"data": "missing"}, "missing"),
        ({"level": 2}, "--level"),
        ({"judge_args": {"api_key": "sk-abcdefghijklmnop"}}, "secret"),
        ({"capability": "no_such_task"}, "unknown task"),
    ],
)
def test_an_invalid_audit_is_refused_before_anything_runs(
    tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    content = {key: value for key, value in ({"data": "sample"} | GOOD | change).items() if value is not None}
    done = audit(write(tmp_path, **content), "--yes")
    assert done.exit_code == 3, done.output
    assert says in done.output
    assert not (tmp_path / "audit").exists()


@pytest.mark.parametrize("arguments", [["--margin", "x"], ["--unknown"], ["missing.yaml"], ["--base", "x"]])
def test_errors_of_usage_do_not_exit_as_a_verdict(arguments: list[str]) -> None:
    assert audit(*arguments).exit_code == 3


def test_options_take_the_place_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["--base", "lab/base", "--candidate", "a=lab/one", "--candidate", "b=lab/two"]
    more = ["--judge", "lexical", "--margin", "5", "--data", "sample", "--epochs", "2", "--dry-run"]
    done = audit(*options, *more)
    assert done.exit_code == 0, done.output
    assert done.output.startswith("anima_2_2: sample items, not a benchmark\nmoru: sample items")
    assert "3 models: at most 396 answers" in done.output  # 30 and 36 questions
    commands = [line for line in done.output.splitlines() if " lm_eval run " in line]
    assert [Path(line.split()[-1]).name for line in commands] == [
        "base.part.yaml",
        "a.part.yaml",
        "b.part.yaml",
    ]
    assert "judge" in done.output.splitlines()[-1]


def test_nothing_is_spent_without_consent_or_beyond_the_budget(tmp_path: Path, keys: None) -> None:
    price = {"input": 10.0, "output": 10.0}
    asked = GOOD | {"data": "sample", "judge": LAB, "price": price}
    done = audit(write(tmp_path, **asked))
    assert (done.exit_code, "--yes in scripts" in done.output) == (3, True)
    done = audit(write(tmp_path, **asked), "--yes", "--budget", "0.01")
    assert (done.exit_code, "exceeds the budget" in done.output) == (3, True)
    assert not list((tmp_path / "audit").rglob(STEP))


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit" / "thesis.txt").touch()
    done = audit(write(tmp_path, data="sample", **GOOD), "--yes")
    assert (done.exit_code, "thesis.txt" in done.output) == (3, True)


def test_what_changes_an_answer_is_part_of_a_steps_key() -> None:
    def steps(**lm_eval: Any) -> list[Any]:
        content = GOOD | {"capability": {"tasks": ["ifeval"], "limit": 5, "lm_eval": {"num_fewshot": 2}}}
        return answer_steps(checked_audit(content | {"lm_eval": lm_eval}, "test"), Path("audit"))

    value, other = steps(model="vllm", model_args={"dtype": "float32"})[:2]
    assert value.config["model_args"] == {"dtype": "float32", "pretrained": "lab/base"}
    assert (value.config["tasks"], value.config["metadata"]["judge"]) == (["anima_2_2", "moru_multi"], "none")
    assert (other.config["tasks"], other.config["limit"], other.config["num_fewshot"]) == (["ifeval"], 5, 2)
    assert "metadata" not in other.config
    quicker = steps(
        model="vllm", model_args={"dtype": "float32", "tensor_parallel_size": 2}, batch_size="auto"
    )
    assert [step.key for step in quicker[:2]] == [value.key, other.key]
    assert steps(model="vllm", model_args={"dtype": "bfloat16"})[0].key != value.key


def test_a_failed_step_says_what_it_printed(tmp_path: Path) -> None:
    harness = tmp_path / "harness.py"
    harness.write_text("import sys; print('\\x1b[31mCUDA out of memory\\x1b[0m'); sys.exit(9)")
    done = audit(write(tmp_path, data="sample", command=f"{PYTHON} {harness}", **GOOD), "--yes")
    assert done.exit_code == 3
    assert "the step failed: answers of base (exit status 9)\n  CUDA out of memory\n" in done.output
    assert "run the same command again" in done.output


# -- with the real harnesses ----------------------------------------------------------------------------

EPOCHS, CONCURRENT = 2, 4
ANSWERS = 66 * EPOCHS
"""Answers of one model to both benchmarks."""


def served(folder: Path, server: Server, **content: Any) -> Path:
    told = {
        "base": "base", "candidates": {"same": "same", "worse": "worse"}, "judge": JUDGE, "margin": 20,
        "judge_args": {"max_connections": CONCURRENT}, "data": "sample", "epochs": EPOCHS,
        "lm_eval": {
            "model": "local-chat-completions", "apply_chat_template": True,
            "model_args": {
                "base_url": f"{server.url}/chat/completions", "num_concurrent": CONCURRENT,
                "tokenized_requests": False,
            },
        },
    }  # fmt: skip
    return write(folder, **{k: v for k, v in (told | content).items() if v is not None})


def command(file: Path, *more: str) -> list[str]:
    return [str(BIN / "value-retention"), "audit", str(file), "--yes", *more]


@pytest.mark.slow
def test_killed_in_every_step_it_goes_on_and_finds_the_planted_loss(tmp_path: Path) -> None:
    with scripted_server("--latency", "0.05", patch=PLANTED) as server:
        file = served(tmp_path, server)
        variables = environment(
            **OUR_TASKS, **server.environment, VALUE_RETENTION_JOURNAL_DIR=str(tmp_path / "journals")
        )

        def killed_at(count: str, number: int, refused: bool = False) -> None:
            process = subprocess.Popen(
                command(file), env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip
            while server.stats()[count] < number:
                assert process.poll() is None, "the audit ended before it could be killed"
                time.sleep(0.05)
            process.kill()
            process.wait()
            if refused:
                # A step that outlives its audit holds the folder until it ends.
                os.killpg(process.pid, signal.SIGSTOP)
                other = run(*command(file), **variables)
                said = "already at work in this folder" in other.stderr
                assert (other.returncode, said) == (3, True), other.stderr
            os.killpg(process.pid, signal.SIGKILL)

        killed_at("model", 20, refused=True)
        killed_at("model", ANSWERS + 20)
        killed_at("judge", 100)
        done = run(*command(file), **variables)
        assert done.returncode == 1, (done.stdout + done.stderr)[-4000:]
        stats = server.stats()
        # A call in flight when its command was killed is asked again; one that was answered is not.
        assert 3 * ANSWERS <= stats["model"] <= 3 * ANSWERS + 2 * CONCURRENT
        assert stats["judge_repeated"] <= CONCURRENT
        figures = json.loads((tmp_path / "audit" / "report" / "report.json").read_text("utf-8"))
        verdicts = {
            (e["run"], e["benchmark"]): e["verdict"] for e in figures["effects"] if e["tier"] == "primary"
        }
        assert verdicts["worse", "anima_2_2"] == verdicts["worse", "moru"] == "degraded beyond the margin"
        assert verdicts["same", "anima_2_2"] == verdicts["same", "moru"] == "retained"
        assert {path.name for path in (tmp_path / "audit").iterdir()} >= {
            "answers",
            "grades",
            "report",
            "steps",
        }
        again = run(*command(file), **variables)
        assert again.returncode == 1
        assert server.stats() == stats, "a finished audit asked again"
        other = run(*command(served(tmp_path, server, epochs=3)), **variables)
        assert other.returncode == 3
        assert "answers of base were made with other settings" in other.stderr


@pytest.mark.slow
def test_inspect_asks_in_place_of_lm_eval(tmp_path: Path) -> None:
    with scripted_server(patch=PLANTED) as server:
        models = {name: f"openai-api/scripted/{name}" for name in ("base", "worse")}
        file = served(
            tmp_path, server, base=models["base"], candidates={"worse": models["worse"]}, lm_eval=None,
            inspect={}, tasks="anima_2_2",
        )  # fmt: skip
        done = run(*command(file), **environment(**server.environment))
        assert done.returncode == 1, (done.stdout + done.stderr)[-4000:]
        assert server.stats()["model"] == 2 * 30 * EPOCHS
