"""The journal: answers, judge replies and records of all runs, on disk as they arrive, in one SQLite file.

Every row has a key that says which call it is: the task, the tested model's identity, its sampling settings and the
prompt; or the benchmark, the judge, its settings and the judge prompt. A call whose row exists is not made again,
whichever command, harness or number of connections asks for it. Rows are looked up by key, so the size of the journal
does not matter.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from value_retention.tasks.errors import InputError
from value_retention.tasks.record import canonical_json, well_formed

FILE = "journal.sqlite"
SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT NOT NULL, number INTEGER NOT NULL, run TEXT NOT NULL, text TEXT NOT NULL, at REAL NOT NULL,
    PRIMARY KEY (key, number)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS replies (
    key TEXT NOT NULL, attempt INTEGER NOT NULL, run TEXT NOT NULL, judge TEXT NOT NULL, prompt_hash TEXT NOT NULL,
    text TEXT NOT NULL, retries INTEGER, latency REAL, input_tokens INTEGER, output_tokens INTEGER, request_id TEXT,
    stop_reason TEXT, served TEXT, at REAL NOT NULL,
    PRIMARY KEY (key, attempt)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, answers_of TEXT NOT NULL, generation INTEGER NOT NULL, about TEXT NOT NULL,
    finished INTEGER NOT NULL, pid INTEGER NOT NULL, launcher INTEGER NOT NULL, started REAL NOT NULL,
    updated REAL NOT NULL, records BLOB
);
CREATE INDEX IF NOT EXISTS runs_answers ON runs (answers_of, generation);
"""
VERSION = 4
OPEN_TIMEOUT = 60.0
"""Seconds to wait while another process opens the file."""

T = TypeVar("T")


@dataclass(frozen=True)
class Reply:
    """A judge's reply to one prompt. Exactly one of `text` and `error` is set."""

    text: str | None
    error: str | None = None
    retries: int = 0
    """Requests after the first one."""
    latency: float = 0.0
    """Seconds, including the waits between retries."""
    input_tokens: int | None = None
    output_tokens: int | None = None
    request_id: str | None = None
    stop_reason: str | None = None
    """Why the judge stopped writing, in Inspect's words."""
    refused: bool = False
    """Whether the service refused the prompt: the same call fails again."""
    requested: bool = True
    """False if no request was made, since the judge is down."""
    served: Mapping[str, str] | None = None
    """What the server said of itself with the reply: ``model``, ``system_fingerprint``."""
    at: float = 0.0
    """When the reply arrived, in seconds since the epoch. 0 if there is none."""
    run: str = ""
    """The run that made the call."""


@dataclass(frozen=True)
class CallKey:
    """Everything that a judge's reply depends on. Calls with equal keys are the same call."""

    benchmark: str
    item: str
    epoch: int
    dimension: str
    variables: tuple[tuple[str, str], ...]
    judge: str
    settings: str
    """Canonical JSON of the judge's settings."""
    prompt_hash: str
    repeat: int = 1
    """Greater than 1 to ask the same again, for the noise of the judge."""

    def __post_init__(self) -> None:
        # A record holds the variables as a JSON object, whose order has no meaning.
        object.__setattr__(self, "variables", tuple(sorted(self.variables)))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the key."""
        return digest(
            self.benchmark,
            self.item,
            self.epoch,
            self.dimension,
            self.variables,
            self.judge,
            self.settings,
            self.prompt_hash,
            self.repeat,
        )


@dataclass(frozen=True)
class JournalRun:
    """A run in the journal: one task of one model, with its judges."""

    id: str
    answers_of: str
    """Hash of the model's identity, its sampling settings and the task."""
    generation: int
    """Counts the sets of answers. A new one begins where saved answers must not be used."""
    about: dict[str, Any]
    """Command, task, model, data, judges."""
    finished: bool = False
    pid: int = 0
    started: float = 0.0
    updated: float = 0.0
    has_records: bool = False


def digest(*parts: object) -> str:
    """SHA-256 of values that JSON can hold, as 64 hex digits."""
    return hashlib.sha256(canonical_json(parts).encode("utf-8", "surrogatepass")).hexdigest()


class Journal:
    """One SQLite file. A row is on disk (survives ``kill -9``) when its `add_...` method returns.

    Args:
        path: The file. Its folder is created. ``:memory:`` keeps nothing.

    Raises:
        InputError: folder or file not writable, disk full, or not a journal file.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = str(path)
        self._lock = threading.RLock()
        if self.path != ":memory:":
            try:
                Path(self.path).parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise self._unusable(error) from error
        self._connection = self._guard(self._open)

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path,
            timeout=OPEN_TIMEOUT,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=64,
        )
        # WAL with NORMAL: a killed process loses no commit, and a second process can read and write.
        _switch_to_wal(connection)
        connection.execute("PRAGMA synchronous=NORMAL")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, VERSION):
            raise InputError(
                "unsupported journal version",
                where=self.path,
                found=f"version {version}",
                expected=f"version {VERSION}",
                hint="choose another file: VALUE_RETENTION_JOURNAL=FILE",
            )
        connection.executescript(SCHEMA)
        connection.execute(f"PRAGMA user_version={VERSION}")
        return connection

    def _unusable(self, error: Exception) -> InputError:
        name = Path(self.path).name
        return InputError(
            "cannot write the journal; its content is intact",
            where=self.path,
            found=f"{type(error).__name__}: {error}",
            expected="a writable folder with free space",
            hint="free some space and run the same command again; finished calls are not repeated. To use another "
            f"disk, move {name}, {name}-wal and {name}-shm together, and set VALUE_RETENTION_JOURNAL_DIR to the "
            "new folder",
        )

    def _guard(self, work: Callable[[], T]) -> T:
        with self._lock:
            try:
                return work()
            except (sqlite3.Error, OSError) as error:
                raise self._unusable(error) from error

    def _execute(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self._guard(lambda: self._connection.execute(sql, values).fetchall())

    # -- answers ----------------------------------------------------------------------------------------

    def answers(self, key: str) -> dict[int, tuple[str, float]]:
        """Saved answers to one prompt: text and time (seconds since the epoch) by number."""
        rows = self._execute("SELECT number, text, at FROM answers WHERE key = ?", (key,))
        return {number: (text, at) for number, text, at in rows}

    def add_answer(self, key: str, number: int, text: str, run: str = "") -> None:
        """Save one answer. An answer that is there already stays."""
        self._execute(
            "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?)",
            (key, number, run, well_formed(text), time.time()),
        )

    # -- replies ----------------------------------------------------------------------------------------

    def replies(self, key: str) -> list[Reply]:
        """Saved replies to one call, attempts in order."""
        rows = self._execute(
            "SELECT text, retries, latency, input_tokens, output_tokens, request_id, stop_reason, served, at, run "
            "FROM replies WHERE key = ? ORDER BY attempt",
            (key,),
        )
        return [
            Reply(text, None, *columns, served=json.loads(served) if served else None, at=at, run=run)  # type: ignore[misc]
            for text, *columns, served, at, run in rows
        ]

    def add_reply(self, call: CallKey, attempt: int, reply: Reply, run: str = "") -> None:
        """Save one reply. A reply that is there already stays. A failure is not saved: it is repeated."""
        if reply.text is None:
            return
        self._execute(
            f"INSERT OR IGNORE INTO replies VALUES ({', '.join('?' * 14)})",
            (
                call.digest,
                attempt,
                run,
                call.judge,
                call.prompt_hash,
                well_formed(reply.text),
                reply.retries,
                reply.latency,
                reply.input_tokens,
                reply.output_tokens,
                reply.request_id,
                reply.stop_reason,
                canonical_json(reply.served) if reply.served else None,
                reply.at or time.time(),
            ),
        )

    # -- runs -------------------------------------------------------------------------------------------

    def start(
        self, answers_of: str, about: Mapping[str, Any], certain: bool = True, resume: bool = True
    ) -> JournalRun:
        """Enter a run, or go on with it.

        A new set of answers (`JournalRun.generation`) begins if the user does not want to resume. It also begins
        if the model is known by its name only and the last run of that name finished: another model may have the
        name by now.

        Args:
            answers_of: Hash of model, sampling settings and task.
            about: Description, for ``value-retention journal list``.
            certain: Whether the model is known by more than its name.
            resume: Whether saved answers may be used.
        """

        def enter() -> JournalRun:
            with self._connection:  # one transaction
                self._connection.execute("BEGIN IMMEDIATE")
                rows = self._connection.execute(
                    "SELECT generation, finished, pid, launcher FROM runs WHERE answers_of = ? "
                    "ORDER BY generation DESC, finished DESC",
                    (answers_of,),
                ).fetchall()
                generation, finished, pid, launcher = rows[0] if rows else (0, False, 0, 0)
                # Data-parallel processes of one launcher share the set of answers that the first of them began.
                sibling = about.get("processes", 1) > 1 and launcher == os.getppid() and pid != os.getpid()
                if rows and not sibling and (not resume or (finished and not certain)):
                    generation += 1
                now = time.time()
                id_ = digest(answers_of, generation, dict(about))[:16]
                self._connection.execute(
                    "INSERT INTO runs VALUES (?, ?, ?, ?, 0, ?, ?, ?, ?, NULL) "
                    "ON CONFLICT (id) DO UPDATE SET finished = 0, pid = excluded.pid, updated = excluded.updated",
                    (id_, answers_of, generation, json.dumps(about), os.getpid(), os.getppid(), now, now),
                )
            return JournalRun(id_, answers_of, generation, dict(about), False, os.getpid(), now, now)

        return self._guard(enter)

    def keep(self, run: JournalRun, records: Iterable[str]) -> None:
        """Save the records of a run (JSON texts), to be exported if their file is lost."""
        packed = zlib.compress("".join(f"{record}\n" for record in records).encode("utf-8", "surrogatepass"))
        self._execute("UPDATE runs SET records = ?, updated = ? WHERE id = ?", (packed, time.time(), run.id))

    def finish(self, run: JournalRun) -> None:
        """Mark a run as finished: its harness has the results."""
        self._execute("UPDATE runs SET finished = 1, updated = ? WHERE id = ?", (time.time(), run.id))

    def runs(self) -> list[JournalRun]:
        """All runs, oldest first."""
        rows = self._execute(
            "SELECT id, answers_of, generation, about, finished, pid, started, updated, records IS NOT NULL "
            "FROM runs ORDER BY started"
        )
        return [
            JournalRun(
                id_, of, generation, json.loads(about), bool(finished), pid, started, updated, bool(has)
            )
            for id_, of, generation, about, finished, pid, started, updated, has in rows
        ]

    def records(self, id_: str) -> str:
        """The records of a run as JSON lines. Empty if it has none."""
        rows = self._execute("SELECT records FROM runs WHERE id = ?", (id_,))
        return zlib.decompress(rows[0][0]).decode() if rows and rows[0][0] else ""

    def sizes(self) -> dict[str, tuple[int, int, int]]:
        """Number of answers, number of replies, and bytes of text and records, by run."""
        totals: dict[str, list[int]] = {}
        for column, table in enumerate(("answers", "replies")):
            sql = f"SELECT run, COUNT(*), SUM(LENGTH(CAST(text AS BLOB))) FROM {table} GROUP BY run"
            for run, count, size in self._execute(sql):
                total = totals.setdefault(run, [0, 0, 0])
                total[column] = count
                total[2] += size
        for run, size in self._execute("SELECT id, COALESCE(LENGTH(records), 0) FROM runs"):
            totals.setdefault(run, [0, 0, 0])[2] += size
        return {run: (answers, replies, size) for run, (answers, replies, size) in totals.items()}

    def prune(self, ids: Iterable[str], before: float) -> None:
        """Remove runs with all that they saved, and what was saved outside a run before a time; free the space."""
        marks = list(ids)

        def remove() -> None:
            with self._connection:  # one transaction
                self._connection.execute("BEGIN")
                for table in ("answers", "replies"):
                    self._connection.execute(f"DELETE FROM {table} WHERE run = '' AND at < ?", (before,))
                    self._connection.executemany(f"DELETE FROM {table} WHERE run = ?", [(m,) for m in marks])
                self._connection.executemany("DELETE FROM runs WHERE id = ?", [(mark,) for mark in marks])
            self._connection.execute("VACUUM")

        self._guard(remove)

    def lock(self, name: str, run: str) -> Lock:
        """Hold a lock until it is released or this process ends, however it ends.

        Args:
            name: What to lock.
            run: `JournalRun.id` or `answers_of`, for the error message.

        Raises:
            InputError: another process holds it.
        """
        held = Lock(self.path, name)
        if not held.acquire():
            rows = self._execute(
                "SELECT pid, updated FROM runs WHERE answers_of = ? OR id = ? ORDER BY updated DESC",
                (run, run),
            )
            pid, since = rows[0] if rows else (None, time.time())
            raise InputError(
                "this run is already in progress",
                where=self.path,
                found=f"process {pid}, since {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(since))}",
                expected="one process at a time: two would pay for the same calls",
                hint="wait until it ends and run the command again: it repeats no call",
            )
        return held

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()


_lock_files: dict[str, int] = {}
"""Descriptors by path. They stay open: closing one would release all locks of this process on the file."""


class Lock:
    """One byte of the file ``<journal>.lock``, locked for this process.

    The system releases it when the process ends. A platform or a file system without locks locks nothing.
    """

    def __init__(self, journal: str, name: str) -> None:
        self._path = f"{journal}.lock"
        self._byte = int(hashlib.sha256(name.encode()).hexdigest()[:12], 16)
        self._journal = journal

    def acquire(self) -> bool:
        """Lock. False if another process holds the lock."""
        if self._journal == ":memory:":
            return True
        try:
            import fcntl
        except ImportError:  # Windows
            return True
        try:
            file = _lock_files.get(self._path)
            if file is None:
                file = _lock_files[self._path] = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, self._byte)
        except (BlockingIOError, PermissionError):
            return False
        except OSError:
            return True
        return True

    def release(self) -> None:
        """Unlock."""
        if (file := _lock_files.get(self._path)) is not None:
            import fcntl

            fcntl.lockf(file, fcntl.LOCK_UN, 1, self._byte)


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """SQLite does not wait its timeout here: processes that open a new file together would fail."""
    until = time.monotonic() + OPEN_TIMEOUT
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(random.uniform(0.01, 0.05))
        else:
            return


def journal_file() -> Path:
    """The file ``VALUE_RETENTION_JOURNAL``, else one in ``VALUE_RETENTION_JOURNAL_DIR`` or the user's cache folder."""
    if named := os.environ.get("VALUE_RETENTION_JOURNAL"):
        return Path(named).expanduser()
    if folder := os.environ.get("VALUE_RETENTION_JOURNAL_DIR"):
        return Path(folder).expanduser() / FILE
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "value_retention" / FILE


def open_journal() -> Journal:
    """Open the journal (see `journal_file`)."""
    return Journal(journal_file())


def age_of(at: float) -> str:
    """How long ago a time was, in words."""
    seconds = max(0.0, time.time() - at)
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"
