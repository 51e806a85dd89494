"""What the journal says is written stays written: kills, two writers, read-only folders, full disks."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from helpers import PYTHON, environment, run

from value_retention.adapters.judges.journal import CallKey, Journal, Reply, journal_folder
from value_retention.tasks.errors import InputError

WRITER = """
import sys
from value_retention.adapters.judges.journal import CallKey, Journal, Reply
path, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
journal = Journal(path)
for n in range(count):
    call = CallKey(f"{name}{n}", 1, "Care", (), "judge", "{}", "p", "a")
    journal.add_reply(call, 1, Reply(f"reply {n} of {name} " + "x" * 2000))
    journal.add_answer("prompt", f"answer {n}", name)
    print(n, flush=True)
"""


def call(item: str = "1", **changes: Any) -> CallKey:
    values: dict[str, Any] = {
        "epoch": 1,
        "dimension": "Care",
        "variables": (("animal", "hen"),),
        "judge": "j",
        "settings": "{}",
    }
    values |= {"prompt_hash": "p", "answer_hash": "a"} | changes
    return CallKey(**{"item": item} | values)


def test_replies_and_answers_are_read_back_in_order(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "j.sqlite"
    journal = Journal(path)
    journal.add_reply(call(), 1, Reply("no"))
    journal.add_reply(call(), 2, Reply("GRADE: C", None, 3, 0.5, 10, 20, "r"))
    journal.add_answer("k", "second first", "rank 0")
    journal.add_answer("k", "then this", "rank 0")
    journal.add_answer("k", "another's", "rank 1")
    journal.close()
    again = Journal(path)
    assert again.replies() == {call().digest(): [Reply("no"), Reply("GRADE: C", None, 3, 0.5, 10, 20, "r")]}
    assert again.answers("rank 0") == {"k": ["second first", "then this"]}
    assert again.answers("rank 1") == {"k": ["another's"]}
    assert again.answers() == {}


def test_a_reply_is_never_doubled_nor_replaced(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.sqlite")
    for text in ("first", "second"):
        journal.add_reply(call(), 1, Reply(text))
    assert [reply.text for replies in journal.replies().values() for reply in replies] == ["first"]


def test_any_text_can_be_kept(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.sqlite")
    texts = ["", "\x00", "😀", "a\ud83d", "\u202e", "x" * 10**6]
    for n, text in enumerate(texts):
        journal.add_answer(str(n), text)
        journal.add_reply(call(str(n)), 1, Reply(text))
    kept = [text.replace("\ud83d", "\ufffd") for text in texts]
    assert [journal.answers()[str(n)] for n in range(len(texts))] == [[text] for text in kept]
    assert [journal.replies()[call(str(n)).digest()][0].text for n in range(len(texts))] == kept


@pytest.mark.parametrize(
    "change",
    [
        {"item": "2"},
        {"epoch": 2},
        {"dimension": "Scope"},
        {"variables": (("animal", "cat"),)},
        {"judge": "k"},
        {"settings": '{"temperature":0}'},
        {"prompt_hash": "q"},
        {"answer_hash": "b"},
    ],
)
def test_everything_that_a_reply_depends_on_is_in_its_key(change: dict[str, Any]) -> None:
    assert call(**change).digest() != call().digest()


def test_a_failure_is_counted_but_no_reply(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.sqlite")
    journal.add_reply(call(), 1, Reply(None, "down", retries=6))
    journal.add_reply(call("2"), 1, Reply("GRADE: C", retries=1, input_tokens=5, output_tokens=7))
    assert list(journal.replies()) == [call("2").digest()]
    assert journal.usage() == {
        "j": {"replies": 1, "retries": 7, "failures": 1, "input_tokens": 5, "output_tokens": 7}
    }


def test_notes_about_the_run() -> None:
    journal = Journal(":memory:")
    assert journal.get("round") is None
    journal.put("round", "1")
    journal.put("round", "2")
    assert journal.get("round") == "2"


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
    journal = Journal(path)
    texts = [reply.text or "" for replies in journal.replies().values() for reply in replies]
    return sum(f" of {name} " in text for text in texts), len(journal.answers(name).get("prompt", []))


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
    Journal(tmp_path / "j.sqlite").add_answer("k", "kept")
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
        Journal(os.path.join(sys.argv[1], name)).add_answer("k", "lost")
        print("written")
    except InputError as error:
        print("refused:", error)
"""


def test_a_read_only_folder_is_refused_with_its_data_intact(tmp_path: Path) -> None:
    folder = tmp_path / "journals"
    journal = Journal(folder / "old.sqlite")
    journal.add_answer("k", "kept")
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
    assert Journal(folder / "old.sqlite").answers() == {"k": ["kept"]}


FULL = """
import resource, signal, sys
from value_retention.adapters.judges.journal import Journal
from value_retention.tasks.errors import InputError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
journal = Journal(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
try:
    for n in range(1000):
        journal.add_answer("k", str(n) + "x" * 2000)
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
    kept = Journal(path).answers()["k"]
    assert [text.rstrip("x") for text in kept] == [*reported, what]
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


def test_where_journals_go(monkeypatch: pytest.MonkeyPatch) -> None:
    assert journal_folder({"VALUE_RETENTION_JOURNAL_DIR": "~/j"}) == Path.home() / "j"
    assert journal_folder({"XDG_CACHE_HOME": "/c"}) == Path("/c/value_retention/journals")
    assert journal_folder({}) == Path.home() / ".cache/value_retention/journals"
    monkeypatch.setenv("VALUE_RETENTION_JOURNAL_DIR", "/elsewhere")
    assert journal_folder() == Path("/elsewhere")
    assert os.environ["VALUE_RETENTION_JOURNAL_DIR"] == "/elsewhere"
