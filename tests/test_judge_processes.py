"""Judging in other processes: the same records, connections shared, nothing lost when a process dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from helpers import JUDGE, ROOT, RUN, Server, environment, scripted_server
from hypothesis import given
from hypothesis import strategies as st

from value_retention.adapters import discovery
from value_retention.adapters.judges import judge_processes
from value_retention.adapters.judges.journal import Journal
from value_retention.adapters.judges.judge_processes import Job, JudgeProcesses, Text, _split
from value_retention.adapters.judges.judging import Options, judge_answers, request_count, run_async
from value_retention.adapters.judges.models import make_judges
from value_retention.adapters.settings import read_settings
from value_retention.tasks.answers import Answer
from value_retention.tasks.benchmark import ANIMA_2_2
from value_retention.tasks.errors import InputError
from value_retention.tasks.load import Dataset, load

TASK_FILES = sorted((ROOT / "tasks").rglob("*.yaml"))


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return load(ANIMA_2_2, "sample")


@pytest.fixture(scope="module")
def texts(dataset: Dataset) -> list[Text]:
    return [(item, epoch, f"Of {item.id}, {epoch}.") for item in dataset.items for epoch in (1, 2)]


@pytest.fixture
def started() -> Any:
    """Make processes that end with the test."""
    made: list[JudgeProcesses] = []

    def start(judge: str, **args: Any) -> JudgeProcesses:
        made.append(JudgeProcesses((judge,), args))
        return made[-1]

    yield start
    for processes in made:
        processes.close()


def job(dataset: Dataset, texts: list[Text], journal: Path, **args: Any) -> Job:
    return Job(dataset, texts, (JUDGE,), args, RUN, str(journal))


def reach(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let judges of this process, and of those it starts, reach the scripted server."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)


def judged_here(wanted: Job, journal: Journal | None = None) -> tuple[list[Any], Any]:
    options = Options.of(wanted.args, journal=journal)
    answers = [Answer.of(*text) for text in wanted.texts]
    judges = make_judges(wanted.judges, wanted.args)
    return run_async(
        lambda: judge_answers(wanted.dataset, answers, judges, wanted.run, options)
    ), options.tally


@given(st.integers(0, 40), st.integers(1, 5), st.integers(1, 70))
def test_answers_keep_their_order_and_connections_are_shared(
    answers: int, workers: int, connections: int
) -> None:
    texts: Any = list(range(answers))
    whole = Job(SimpleNamespace(), texts, (JUDGE,), {"max_connections": connections}, RUN, "")  # type: ignore[arg-type]
    parts = _split(whole, workers)
    assert 1 <= len(parts) <= workers
    assert [text for part in parts for text in part.texts] == texts
    shares = [part.args["max_connections"] for part in parts]
    assert sum(shares) == connections
    assert min(shares) >= 1
    assert max(shares) - min(shares) <= 1
    assert answers == 0 or min(len(part.texts) for part in parts) >= 1


@pytest.mark.parametrize(
    ("judge", "args"),
    [
        ("none", {}),
        ("lexical", {}),
        ("openai/a,lexical", {}),
        ("hf/a", {}),
        ("openai/a,vllm/b", {}),
        ("vllm-completions/a", {}),
        ("openai/a", {"batch": True}),
        ("openai/a", {"processes": 0}),
    ],
)
def test_there_are_none_where_they_would_be_no_help(
    judge: str, args: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge_processes, "JudgeProcesses", lambda *_: pytest.fail("started"))
    settings = read_settings({"judge": judge, "judge_args": args}, {})
    assert judge_processes.judge_processes(settings) is None


def test_they_are_started_once_and_by_the_first_process_of_a_parallel_run_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(judge_processes, "JudgeProcesses", lambda *made: SimpleNamespace(closed=False))
    monkeypatch.setattr(judge_processes, "_running", {})
    settings, other = (read_settings({"judge": "openai/a", "judge_args": {"seed": n}}, {}) for n in (1, 2))
    first = judge_processes.judge_processes(settings)
    assert first is not None
    assert judge_processes.judge_processes(settings) is first
    assert judge_processes.judge_processes(other) is not first
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert judge_processes.judge_processes(settings) is None


@pytest.mark.parametrize(
    ("argv", "early"),
    [
        (["lm_eval", "--tasks", "hellaswag", "--output_path", "runs/moru_en"], False),
        (["lm_eval", "--tasks", "hellaswag,anima_2_2"], True),
        (["lm_eval", "run", "--tasks=moru_ms"], True),
        (["lm_eval", "--tasks", "hellaswag"], False),
    ],
)
def test_a_run_of_our_tasks_starts_them_before_the_task_files_are_read(
    argv: list[str], early: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[Any] = []

    class TaskManager:
        def __init__(self, verbosity: Any, include_path: Any, include_defaults: Any, metadata: Any) -> None:
            done.append("read")

    manager = SimpleNamespace(TaskManager=TaskManager)
    discovery._add_tasks_folder(manager)  # type: ignore[no-untyped-call]
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(judge_processes, "start_early", done.append)
    manager.TaskManager(metadata={"judge": "openai/a"})  # type: ignore[call-arg]
    assert done == [{"judge": "openai/a"}, "read"] if early else ["read"]


def test_what_is_wrong_with_the_settings_is_left_for_the_task_to_say() -> None:
    judge_processes.start_early({"judge": "openai/a", "judge_args": {"temprature": 0}})


def test_the_names_that_start_them_are_those_of_the_tasks() -> None:
    configs = [yaml.safe_load(file.read_text("utf-8").replace("!function", "")) for file in TASK_FILES]
    names = {
        config.get("task") if isinstance(config.get("task"), str) else config.get("group")
        for config in configs
    }
    assert names - {None} == discovery.OURS


@pytest.mark.slow
def test_a_judge_that_another_process_does_not_know_is_not_judged_there(started: Any) -> None:
    unknown = started("known_here_only/x")
    assert unknown.infos() is None
    assert unknown.closed
    assert unknown._workers[0].process.poll() is not None


@pytest.mark.slow
def test_keys_and_addresses_are_those_of_the_time_of_judging(
    dataset: Dataset, texts: list[Text], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started: Any
) -> None:
    monkeypatch.setenv("SCRIPTED_API_KEY", "wrong")
    monkeypatch.setenv("SCRIPTED_BASE_URL", "http://127.0.0.1:9/v1")
    processes = started(JUDGE)
    assert processes.infos()
    with scripted_server() as server:
        reach(server, monkeypatch)
        _, tally = processes.judge(job(dataset, texts[:2], tmp_path / "journal"), lambda _: None)
        assert (tally.errors, server.stats()["judge"]) == (0, tally.asked)


@pytest.mark.slow
def test_a_journal_that_cannot_be_written_is_said_plainly(
    dataset: Dataset, texts: list[Text], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started: Any
) -> None:
    monkeypatch.setenv("SCRIPTED_API_KEY", "x")
    monkeypatch.setenv("SCRIPTED_BASE_URL", "http://127.0.0.1:9/v1")
    with pytest.raises(InputError, match="the journal cannot be written"):
        started(JUDGE).judge(job(dataset, texts, tmp_path), lambda _: None)


@pytest.mark.slow
def test_the_same_records_as_here_and_every_call_once(
    dataset: Dataset, texts: list[Text], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started: Any
) -> None:
    total = request_count(dataset, [item for item, *_ in texts], 1, "per_dimension")
    with scripted_server("--replies", "unreadable") as server:
        reach(server, monkeypatch)
        processes = started(JUDGE, max_connections=9, parse_retries=1)
        wanted = job(dataset, texts, tmp_path / "journal", max_connections=9, parse_retries=1)
        here, told = judged_here(wanted)
        assert processes.infos() == [judge.info for judge in make_judges((JUDGE,), wanted.args)]
        progress: list[int] = []
        there, tally = processes.judge(wanted, progress.append)
        assert len(processes._workers) == 2
        assert [record.to_json() for record in there] == [record.to_json() for record in here]
        assert tally == told
        assert tally.unparsed > 0
        assert sum(progress) == total
        asked = server.stats()["judge"]
        again, tally = processes.judge(wanted, progress.append)
        assert [record.to_json() for record in again] == [record.to_json() for record in here]
        assert (tally.asked, tally.reused) == (0, total)
        assert server.stats()["judge"] == asked


@pytest.mark.slow
def test_when_a_process_dies_the_rest_is_judged_here_and_no_finished_call_is_repeated(
    dataset: Dataset,
    texts: list[Text],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    started: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with scripted_server("--latency", "0.05") as server:
        reach(server, monkeypatch)
        processes = started(JUDGE, max_connections=8)
        wanted = job(dataset, texts, tmp_path / "journal", max_connections=8)
        assert processes.judge(wanted, lambda _: processes._workers[0].process.kill()) is None
        assert "a judge process failed (EOFError" in caplog.text
        caplog.clear()
        assert processes.judge(wanted, lambda _: None) is None
        assert not caplog.text
        journal = Journal(wanted.journal)
        saved = len(journal.replies())
        records, tally = judged_here(wanted, journal)
        # The other process finished its half.
        assert tally.reused == saved > len(records) // 2
        assert all(not record.grades_missing for record in records)
        # Only what was in flight in the process that died was asked for twice.
        assert server.stats()["judge_repeated"] <= 4


def begin(server: Any, tmp_path: Path, first: str = "", **options: Any) -> tuple[subprocess.Popen[str], str]:
    """A process that judges with judge processes until it is stopped; the first line it prints."""
    code = f"""
from pathlib import Path
from helpers import JUDGE
from test_judge_processes import ANIMA_2_2, JudgeProcesses, job, load
dataset = load(ANIMA_2_2, "sample")
texts = [(item, epoch, "Yes.") for item in dataset.items for epoch in range(1, 99)]
processes = JudgeProcesses((JUDGE,), {{}})
processes.infos()
{first}
processes.judge(job(dataset, texts, Path({str(tmp_path)!r}) / "journal"), lambda n: print(n, flush=True))
"""
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(PYTHONPATH=path, **server.environment),
        **options,
    )
    assert process.stdout is not None
    return process, process.stdout.readline()


@pytest.mark.slow
@pytest.mark.parametrize(
    "first",
    ["", "import os, time; os.fork() or (os.close(1), os.close(2), time.sleep(40), os._exit(0))"],
    ids=["alone", "beside a child that outlives it"],
)
def test_they_end_with_a_process_that_is_killed(first: str, tmp_path: Path) -> None:
    with scripted_server("--latency", "0.05") as server:
        process, progress = begin(server, tmp_path, first)
        process.kill()
        # Its error output, which they share, ends when the last of them has gone.
        _, errors = process.communicate(timeout=20)
    assert int(progress) > 0, errors
    assert not errors


@pytest.mark.slow
def test_ctrl_c_ends_them_with_the_process_that_started_them(tmp_path: Path) -> None:
    with scripted_server("--latency", "0.05") as server:
        process, progress = begin(server, tmp_path, start_new_session=True)
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert int(progress) > 0, errors
    assert process.returncode != 0
    assert errors.count("KeyboardInterrupt") == 1, errors
