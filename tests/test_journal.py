"""What the journal says is written stays written: kills, two writers, read-only folders, full disks."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers import PYTHON, environment, run

from value_retention.adapters.judges.journal import CallKey, Journal, Reply, journal_file
from value_retention.tasks.errors import InputError

WRITER = """
import sys
from value_retention.adapters.judges.journal import CallKey, Journal, Reply
path, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
journal = Journal(path)
for n in range(count):
    call = CallKey("b", f"{name}{n}", 1, "Care", (), "judge", "{}", "p")
    journal.add_reply(call, 1, Reply(f"reply {n} of {name} " + "x" * 2000))
    journal.add_answer(name, n, f"answer {n}")
    print(n, flush=True)
"""


def call(item: str = "1", **changes: Any) -> CallKey:
    values: dict[str, Any] = {
        "benchmark": "b",
        "epoch": 1,
        "dimension": "Care",
        "variables": (("animal", "hen"),),
        "judge": "j",
        "settings": "{}",
    }
    values |= {"prompt_hash": "p"} | changes
    return CallKey(**{"item": item} | values)


def replies(journal: Journal, of: CallKey | None = None) -> list[Reply]:
    """Saved replies to a call, without the time."""
    return [replace(reply, at=0.0) for reply in journal.replies((of or call()).digest)]


def answers(journal: Journal, key: str = "k") -> dict[int, str]:
    return {number: text for number, (text, _) in journal.answers(key).items()}


def test_replies_and_answers_are_read_back_in_order(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "j.sqlite"
    journal = Journal(path)
    journal.add_reply(call(), 1, Reply("no"), "run 1")
    journal.add_reply(call(), 2, Reply("GRADE: C", None, 3, 0.5, 10, 20, "r", "max_tokens"))
    journal.add_answer("k", 2, "the second")
    journal.add_answer("k", 1, "the first")
    journal.close()
    again = Journal(path)
    assert replies(again) == [
        Reply("no", run="run 1"),
        Reply("GRADE: C", None, 3, 0.5, 10, 20, "r", "max_tokens"),
    ]
    assert answers(again) == {1: "the first", 2: "the second"}
    assert answers(again, "another") == {}
    assert all(abs(time.time() - at) < 60 for _, at in again.answers("k").values())


def test_the_order_of_variables_makes_no_other_call() -> None:
    first, second = (("animal", "hen"), ("number", "10")), (("number", "10"), ("animal", "hen"))
    assert call(variables=first) == call(variables=second)
    assert call(variables=first).digest == call(variables=second).digest


def test_what_was_saved_is_never_replaced(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.sqlite")
    for text in ("first", "second"):
        journal.add_reply(call(), 1, Reply(text))
        journal.add_answer("k", 1, text)
    assert [reply.text for reply in replies(journal)] == ["first"]
    assert answers(journal) == {1: "first"}


def test_any_text_can_be_kept(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.sqlite")
    texts = ["", "\x00", "😀", "a\ud83d", "\u202e", "x" * 10**6]
    for n, text in enumerate(texts):
        journal.add_answer("k", n, text)
        journal.add_reply(call(str(n)), 1, Reply(text))
    kept = [text.replace("\ud83d", "\ufffd") for text in texts]
    assert list(answers(journal).values()) == kept
    assert [replies(journal, call(str(n)))[0].text for n in range(len(texts))] == kept


@pytest.mark.parametrize(
    "change",
    [
        {"benchmark": "c"},
        {"item": "2"},
        {"epoch": 2},
        {"dimension": "Scope"},
        {"variables": (("animal", "cat"),)},
        {"judge": "k"},
        {"settings": '{"temperature":0}'},
        {"prompt_hash": "q"},
        {"repeat": 2},
    ],
)
def test_everything_that_a_reply_depends_on_is_in_its_key(change: dict[str, Any]) -> None:
    assert call(**change).digest != call().digest


def test_a_failed_call_is_not_saved(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.sqlite")
    journal.add_reply(call(), 1, Reply(None, "down", retries=6))
    assert replies(journal) == []


# -- runs -------------------------------------------------------------------------------------------------


def entered(journal: Journal, **options: bool) -> int:
    """Generation of the answers of a run that is entered now."""
    return journal.start("model and task", {"task": "t"}, **options).generation


def test_a_run_of_a_known_model_uses_its_answers_until_the_user_starts_anew() -> None:
    journal = Journal(":memory:")
    run = journal.start("model and task", {"task": "t"})
    journal.finish(run)
    assert entered(journal) == 0
    assert entered(journal, resume=False) == 1
    assert entered(journal) == 1, "the old answers do not come back"
    assert entered(journal, resume=False) == 2


def test_a_model_known_by_name_keeps_the_answers_of_an_interrupted_run_only() -> None:
    journal = Journal(":memory:")
    assert entered(journal, certain=False) == 0
    assert entered(journal, certain=False) == 0, "the run before did not finish"
    journal.finish(journal.start("model and task", {"task": "t"}, certain=False))
    assert entered(journal, certain=False) == 1
    assert entered(journal, certain=False) == 1


def test_records_of_a_run_are_kept_with_its_size() -> None:
    journal = Journal(":memory:")
    run = journal.start("m", {"task": "t", "judges": ["j"]})
    journal.add_answer("k", 1, "four", run.id)
    journal.add_reply(call(), 1, Reply("ünf"), run.id)
    assert journal.sizes() == {run.id: (1, 1, 8)}
    journal.keep(run, ['{"a": 1}', '{"b": "é"}'])
    assert journal.records(run.id) == '{"a": 1}\n{"b": "é"}\n'
    (listed,) = journal.runs()
    assert (listed.id, listed.about, listed.has_records, listed.finished) == (run.id, run.about, True, False)


def test_pruned_runs_take_along_what_they_saved_and_nothing_else() -> None:
    journal = Journal(":memory:")
    runs = [journal.start(name, {"task": "t"}) for name in ("a", "b")]
    for each in runs:
        journal.add_answer(each.id, 1, "text", each.id)
        journal.add_reply(call(each.id), 1, Reply("text"), each.id)
    journal.add_reply(call("by Inspect"), 1, Reply("text"))
    journal.prune([runs[0].id], before=0.0)
    assert [each.id for each in journal.runs()] == [runs[1].id]
    assert [len(answers(journal, each.id)) for each in runs] == [0, 1]
    assert [len(replies(journal, call(item))) for item in (runs[0].id, runs[1].id, "by Inspect")] == [0, 1, 1]
    journal.prune([], before=time.time() + 1)
    assert replies(journal, call("by Inspect")) == []


LOCKER = """
import sys
from value_retention.adapters.judges.journal import Journal
from value_retention.tasks.errors import InputError
try:
    Journal(sys.argv[1]).lock(sys.argv[2], "id")
    print("locked", flush=True)
    sys.stdin.read()
except InputError as error:
    print("refused:", error)
"""


def locker(path: Path, name: str) -> tuple[subprocess.Popen[str], str]:
    command = [PYTHON, "-c", LOCKER, str(path), name]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()
    )
    assert process.stdout is not None
    return process, process.stdout.readline()


def test_one_process_at_a_time_works_on_a_run(tmp_path: Path) -> None:
    first, said = locker(tmp_path / "j.sqlite", "run")
    assert said == "locked\n"
    second, said = locker(tmp_path / "j.sqlite", "run")
    assert "already in progress" in said
    other, said = locker(tmp_path / "j.sqlite", "another run")
    assert said == "locked\n"
    first.kill()
    first.wait()
    third, said = locker(tmp_path / "j.sqlite", "run")
    assert said == "locked\n", "the lock ends with its process"
    for process in (second, other, third):
        process.communicate()


# -- kills and neighbours ---------------------------------------------------------------------------------


def start_writer(path: Path, name: str, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [PYTHON, "-c", WRITER, str(path), name, str(count)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )


def written(path: Path, name: str) -> tuple[int, int]:
    """Replies and answers of one writer."""
    Journal(path).close()  # takes in the log of a killed writer
    connection = sqlite3.connect(path)
    (count,) = connection.execute(
        "SELECT COUNT(*) FROM replies WHERE text LIKE ?", (f"%of {name} %",)
    ).fetchone()
    return count, len(answers(Journal(path), name))


def test_nothing_that_was_reported_is_lost_to_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    chance = random.Random(0)
    for number in range(4):
        process = start_writer(path, f"w{number}-", 100_000)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(chance.uniform(0.0, 0.3))
        process.send_signal(signal.SIGKILL)
        reported = 1 + len(process.stdout.read().splitlines())
        process.wait()
        replies, answers = written(path, f"w{number}-")
        # The last line may have been cut off, the last row written but not reported.
        assert reported - 1 <= answers <= reported + 1
        assert answers <= replies <= answers + 1
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_processes_that_share_a_new_journal_do_not_disturb_each_other(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    processes = [start_writer(path, f"w{n}-", 150) for n in range(4)]
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert [written(path, f"w{n}-") for n in range(4)] == [(150, 150)] * 4


def test_a_file_that_another_process_is_just_making_is_waited_for(tmp_path: Path) -> None:
    """SQLite itself gives up at once when it finds a reserved lock while it changes the journal mode."""
    other = sqlite3.connect(tmp_path / "j.sqlite", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.3, lambda: other.execute("COMMIT"))
    release.start()
    Journal(tmp_path / "j.sqlite").add_answer("k", 1, "kept")
    release.join()


# -- places that cannot be written ------------------------------------------------------------------------


def test_a_folder_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        InputError, match=r"(?s)write the journal.*file/j\.sqlite.*VALUE_RETENTION_JOURNAL_DIR"
    ):
        Journal(tmp_path / "file" / "j.sqlite")


READ_ONLY = """
import os, sys
from value_retention.adapters.judges.journal import Journal
from value_retention.tasks.errors import InputError
if os.geteuid() == 0:  # root may write anywhere
    os.setgid(65534), os.setuid(65534)
for name in ("old.sqlite", "new.sqlite"):
    try:
        Journal(os.path.join(sys.argv[1], name)).add_answer("k", 1, "lost")
        print("written")
    except InputError as error:
        print("refused:", error)
"""


def test_a_read_only_folder_is_refused_with_its_data_intact(tmp_path: Path) -> None:
    folder = tmp_path / "journals"
    journal = Journal(folder / "old.sqlite")
    journal.add_answer("k", 1, "kept")
    journal.close()
    for place in (folder, *folder.iterdir()):
        place.chmod(0o555 if place.is_dir() else 0o444)
    for parent in list(folder.parents)[:3]:
        parent.chmod(parent.stat().st_mode | 0o055)  # let another user come here
    done = run(PYTHON, "-c", READ_ONLY, folder)
    folder.chmod(0o755)
    assert done.stdout.count("refused: cannot write the journal") == 2, done.stdout + done.stderr
    assert "written" not in done.stdout
    (folder / "old.sqlite").chmod(0o644)
    assert answers(Journal(folder / "old.sqlite")) == {1: "kept"}


FULL = """
import resource, signal, sys
from value_retention.adapters.judges.journal import Journal
from value_retention.tasks.errors import InputError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
journal = Journal(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
try:
    for n in range(1000):
        journal.add_answer("k", n, str(n) + "x" * 2000)
        print(n, flush=True)
except InputError as error:
    print("refused:", error)
"""


def test_a_full_disk_is_refused_with_its_data_intact(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    done = run(PYTHON, "-c", FULL, path)
    *reported, what = done.stdout.partition("refused: ")[0].splitlines() or [""]
    assert "refused: cannot write the journal" in done.stdout, done.stderr
    assert "free some space" in done.stdout
    assert "j.sqlite-wal" in done.stdout, "what is not yet in the main file must move along"
    kept = answers(Journal(path))
    assert [text.rstrip("x") for _, text in sorted(kept.items())] == [*reported, what]
    assert len(kept) > 10


def test_another_file_is_refused_and_left_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("my notes, " * 100)
    with pytest.raises(InputError, match=r"(?s)notes\.txt.*not a database"):
        Journal(path)
    assert path.read_text().startswith("my notes")


def test_a_journal_of_another_version_is_refused(tmp_path: Path) -> None:
    Journal(tmp_path / "j.sqlite").close()
    connection = sqlite3.connect(tmp_path / "j.sqlite")
    connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(InputError, match=r"(?s)journal version.*version 99"):
        Journal(tmp_path / "j.sqlite")


def test_where_the_journal_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VALUE_RETENTION_JOURNAL_DIR")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert journal_file() == Path.home() / ".cache/value_retention/journal.sqlite"
    monkeypatch.setenv("XDG_CACHE_HOME", "/c")
    assert journal_file() == Path("/c/value_retention/journal.sqlite")
    monkeypatch.setenv("VALUE_RETENTION_JOURNAL_DIR", "~/j")
    assert journal_file() == Path.home() / "j/journal.sqlite"
    monkeypatch.setenv("VALUE_RETENTION_JOURNAL", "/elsewhere/j")
    assert journal_file() == Path("/elsewhere/j")
