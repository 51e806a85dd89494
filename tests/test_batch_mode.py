"""The provider's batch mode through `value-retention judge`: whole, killed, and with faults of the provider."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import BIN, Server, assert_plain_refusal, one, run, scripted_server, start

from value_retention.adapters.judges.batch_mode import PROVIDERS
from value_retention.adapters.judges.models import make_judges
from value_retention.adapters.settings import read_settings
from value_retention.tasks.answers import Answer, make_record
from value_retention.tasks.benchmark import ANIMA_2_2
from value_retention.tasks.errors import InputError
from value_retention.tasks.load import load
from value_retention.tasks.record import AnswerRecord, RunInfo
from value_retention.tasks.rubric import count_calls

JUDGE = "openai/scripted"
QUICK = {"size": 10, "tick": 0.1, "send_delay": 0.2}
"""As a provider's batches, in a hurry."""


@pytest.fixture(scope="module")
def calls() -> int:
    return count_calls(load(ANIMA_2_2, "sample", ["en"]))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Answers that were saved to be judged later."""
    dataset = load(ANIMA_2_2, "sample", ["en"])
    answers = [Answer.of(item, 1, f"On {item.id}: it depends.") for item in dataset.items]
    made = [make_record(dataset, answer, (), (), RunInfo("lm_eval", "0", "m")) for answer in answers]
    path = tmp_path / "saved" / "answers.records.jsonl"
    path.parent.mkdir()
    path.write_text("".join(record.to_json() + "\n" for record in made), "utf-8")
    return path


def environment(server: Server, journals: Path) -> dict[str, str]:
    """The judge's own route to the server, and a journal folder."""
    return {
        "OPENAI_BASE_URL": server.url,
        "VALUE_RETENTION_JOURNAL_DIR": str(journals),
        **server.environment,
    }


def judge(saved: Path, output: Path, **args: Any) -> list[str | Path]:
    options = ["--judge", JUDGE, "--judge-args", json.dumps(args)]
    return [BIN / "value-retention", "judge", saved, *options, "-o", output]


def records(folder: Path) -> list[AnswerRecord]:
    lines = one(folder, "*.records.jsonl").read_text("utf-8").splitlines()
    return [AnswerRecord.from_json(line) for line in lines]


def journalled(folder: Path) -> set[str]:
    """Prompt hashes of the replies in the journals below a folder."""
    found: set[str] = set()
    for file in folder.rglob("*.sqlite"):
        connection = sqlite3.connect(file)
        found |= {row[0] for row in connection.execute("SELECT prompt_hash FROM replies")}
        connection.close()
    return found


def wait_until(true: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)


@pytest.mark.slow
def test_one_batch_holds_every_call_and_gives_the_same_records(
    saved: Path, tmp_path: Path, calls: int
) -> None:
    with scripted_server() as server:
        env = environment(server, tmp_path / "journals")
        done = run(*judge(saved, tmp_path / "batch", batch=QUICK), **env)
        assert done.returncode == 0, done.stderr
        assert server.stats()["batches"] == [calls], "one file, and no call outside it"
        again = run(*judge(saved, tmp_path / "single"), **env)
        assert again.returncode == 0, again.stderr
    assert f"{calls} calls made" in done.stdout
    batched, single = records(tmp_path / "batch"), records(tmp_path / "single")
    assert [record.to_dict() for record in batched] == [record.to_dict() for record in single]
    assert {grade.outcome for record in batched for grade in record.grades} == {"graded"}
    assert len(re.findall("Batches: ", done.stderr)) < 10, "only what changes is said"


@pytest.mark.slow
def test_killed_between_two_batches_only_the_open_one_is_submitted_again(
    saved: Path, tmp_path: Path, calls: int
) -> None:
    """Of three batches the first is answered; the kill comes while the others are under way."""
    size = calls // 2 - 1
    journals = tmp_path / "journals"
    with scripted_server("--batch-delay", "4") as server:
        env = environment(server, journals)
        command = judge(saved, tmp_path / "out", batch={**QUICK, "max_size": size})
        process = start(*command, **env)
        wait_until(lambda: server.stats()["batches"] == [size, size, calls - 2 * size])
        wait_until(lambda: len(journalled(journals)) == size)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        kept = journalled(journals)
        assert len(kept) == size
    with scripted_server() as server:
        done = run(*command, **environment(server, journals))
        assert done.returncode == 0, done.stderr
        assert sum(server.stats()["batches"]) == calls - size, "no call whose reply was there is made again"
    assert f"{calls - size} calls made, {size} from the journal" in done.stdout
    grades = [grade for record in records(tmp_path / "out") for grade in record.grades]
    assert (len(grades), {grade.outcome for grade in grades}) == (calls, {"graded"})


@pytest.mark.slow
def test_a_refused_submission_and_lost_calls_are_made_up_for(saved: Path, tmp_path: Path, calls: int) -> None:
    """The batch that is under way when another is refused is fetched all the same."""
    faults = ("--batch-refuse", "1", "--batch-take-first", "--batch-fail", "5", "--batch-delay", "0.5")
    with scripted_server(*faults) as server:
        env = environment(server, tmp_path / "journals")
        batch = {**QUICK, "max_size": calls // 2}
        done = run(*judge(saved, tmp_path / "out", batch=batch, max_retries=2), **env)
        assert done.returncode == 0, done.stderr
        stats = server.stats()
    assert (stats["judge"], stats["judge_repeated"]) == (calls, 0), "no call is answered, and paid for, twice"
    assert sum(stats["batches"]) == calls + 5
    grades = [grade for record in records(tmp_path / "out") for grade in record.grades]
    assert (len(grades), {grade.outcome for grade in grades}) == (calls, {"graded"})
    assert re.search(r"\b[1-9]\d* retries", done.stdout)


@pytest.mark.slow
def test_a_call_that_the_provider_refuses_fails_alone(saved: Path, tmp_path: Path, calls: int) -> None:
    """Its batch was answered and paid for: no other call of it is made again, now or by the next run."""
    with scripted_server("--batch-reject", "1") as server:
        env = environment(server, tmp_path / "journals")
        done = run(*judge(saved, tmp_path / "out", batch=QUICK), **env)
        assert_plain_refusal(done, "1 grades are missing", "status 400: flagged")
        assert server.stats()["batches"] == [calls]
        done = run(*judge(saved, tmp_path / "out", batch=QUICK), **env)
        assert done.returncode == 0, done.stderr
        assert server.stats()["batches"] == [calls, 1]
    assert len(records(tmp_path / "out")[0].grades) > 0


@pytest.mark.slow
def test_batches_that_can_never_be_submitted_end_the_command(saved: Path, tmp_path: Path) -> None:
    """No call waits for a worker that is gone, and no traceback of it is shown."""
    for option in (["--batch-refuse", "1000"], ["--batch-forbidden"]):
        with scripted_server(*option) as server:
            env = environment(server, tmp_path / "journals")
            done = run(*judge(saved, tmp_path / "out", batch=QUICK, max_retries=1), timeout=120, **env)
        assert_plain_refusal(done, "grades are missing", "run the same command again")


# -- settings -------------------------------------------------------------------------------------------


def args(**values: Any) -> dict[str, Any]:
    return read_settings({"judge": JUDGE, "judge_args": values}, {}).judge_args


@pytest.mark.parametrize(
    "batch", [True, False, 1, 500, {}, {"size": 10}, QUICK, {"max_batches": 3, "max_size": 9}]
)
def test_every_form_that_inspect_takes(batch: object) -> None:
    from inspect_ai.model import GenerateConfig

    assert args(batch=batch) == {"batch": batch}
    GenerateConfig(batch=batch)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"batch": "yes"}, "'yes'"),
        ({"batch": 2.5}, "2.5"),
        ({"batch": -1}, "from 1"),
        ({"batch": {"sise": 3}}, r"unknown batch setting(?s:.*)'sise'(?s:.*)size"),
        ({"batch": {"size": 0}}, "batch, size"),
        ({"batch": {"tick": "1"}}, "batch, tick"),
        ({"batch": True, "max_connections": 99}, r"fewer connections(?s:.*)max_connections 99, size 100"),
        ({"batch": {"size": 20}, "max_connections": 8}, "size 20"),
        ({"batch": True, "attempt_timeout": 60}, "no attempt_timeout"),
    ],
)
def test_settings_that_cannot_work_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        args(**values)


def test_a_judge_whose_provider_has_no_batch_mode_is_refused() -> None:
    """Inspect would pass over the setting, and make ten thousand calls at once at full price."""
    with pytest.raises(InputError, match=r"without a batch mode(?s:.*)openai-api/x/y(?s:.*)openai/\.\.\."):
        make_judges(["openai-api/x/y"], {"batch": True})


def test_the_providers_are_those_that_inspect_has_a_batcher_for() -> None:
    from inspect_ai.model import _providers

    folder = Path(next(iter(_providers.__path__)))
    own = {
        file.stem
        for file in folder.glob("[a-z]*.py")
        if re.search(r"self\._\w*batcher\b.*= \w+Batcher", file.read_text("utf-8"))
    }
    assert own == set(PROVIDERS)


def test_in_batch_mode_all_calls_wait_at_once_and_without_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    (batched,) = make_judges([JUDGE], {"batch": True})
    (single,) = make_judges([JUDGE], {})
    assert (batched.connections, single.connections) == (10_000, 32)
    assert batched.timeout > 24 * 3600 > single.timeout  # type: ignore[attr-defined]
    assert batched.settings == single.settings, "the route moves no grade"
