"""The journal: answers and judge replies on disk as they arrive, in one SQLite file per run.

A killed run loses only the calls in flight. Started again, it reads the journal and makes the remaining calls.
Rows are keyed by content, so nothing is stored twice, and two processes may write to one file.
"""

from __future__ import annotations

import hashlib
import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from value_retention.tasks.errors import InputError
from value_retention.tasks.record import canonical_json, well_formed

SCHEMA = """
CREATE TABLE IF NOT EXISTS run (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS answers (
    key TEXT NOT NULL, number INTEGER NOT NULL, writer TEXT NOT NULL, text TEXT NOT NULL, at REAL NOT NULL,
    PRIMARY KEY (key, writer, number)
);
CREATE TABLE IF NOT EXISTS replies (
    key TEXT NOT NULL, attempt INTEGER NOT NULL, item TEXT, epoch INTEGER, dimension TEXT, variables TEXT,
    judge TEXT, settings TEXT, prompt_hash TEXT, answer_hash TEXT, text TEXT NOT NULL, retries INTEGER,
    latency REAL, input_tokens INTEGER, output_tokens INTEGER, request_id TEXT, at REAL NOT NULL,
    PRIMARY KEY (key, attempt)
);
CREATE TABLE IF NOT EXISTS failures (
    key TEXT NOT NULL, judge TEXT, error TEXT NOT NULL, retries INTEGER, latency REAL, at REAL NOT NULL
);
"""
VERSION = 1
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


@dataclass(frozen=True)
class CallKey:
    """Everything that a judge's reply depends on. Calls with equal keys are the same call."""

    item: str
    epoch: int
    dimension: str
    variables: tuple[tuple[str, str], ...]
    judge: str
    settings: str
    """Canonical JSON of the judge's settings."""
    prompt_hash: str
    answer_hash: str

    def digest(self, round_: str = "") -> str:
        """SHA-256 of the key: the row's primary key. `round_` separates runs that share a journal."""
        parts = [
            self.item,
            str(self.epoch),
            self.dimension,
            canonical_json(list(self.variables)),
            self.judge,
            self.settings,
            self.prompt_hash,
            self.answer_hash,
            *([round_] if round_ else []),
        ]
        return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


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
                hint="finish the run with the version that wrote the journal, or choose another file",
            )
        connection.executescript(SCHEMA)
        connection.execute(f"PRAGMA user_version={VERSION}")
        return connection

    def _unusable(self, error: Exception) -> InputError:
        return InputError(
            "cannot write the journal; its content is intact",
            where=self.path,
            found=f"{type(error).__name__}: {error}",
            expected="a writable folder with free space",
            hint="free some space and run the same command again; finished calls are not repeated. With another "
            "folder (VALUE_RETENTION_JOURNAL_DIR), move the file there first, or they are",
        )

    def _guard(self, work: Callable[[], T]) -> T:
        with self._lock:
            try:
                return work()
            except (sqlite3.Error, OSError) as error:
                raise self._unusable(error) from error

    def _execute(self, sql: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        return self._guard(lambda: self._connection.execute(sql, values).fetchall())

    # -- the run ----------------------------------------------------------------------------------------

    def get(self, name: str) -> str | None:
        """Read a note about the run. None if it is not set."""
        rows = self._execute("SELECT value FROM run WHERE name = ?", (name,))
        return rows[0][0] if rows else None

    def put(self, name: str, value: str) -> None:
        """Write a note about the run."""
        self._execute("INSERT OR REPLACE INTO run VALUES (?, ?)", (name, value))

    # -- answers ----------------------------------------------------------------------------------------

    def answers(self, writer: str = "") -> dict[str, list[str]]:
        """Saved answers by key, in order of arrival."""
        found: dict[str, list[str]] = {}
        for key, text in self._execute(
            "SELECT key, text FROM answers WHERE writer = ? ORDER BY number", (writer,)
        ):
            found.setdefault(key, []).append(text)
        return found

    def add_answer(self, key: str, text: str, writer: str = "") -> None:
        """Save one answer. `writer` separates the shards of data-parallel processes."""
        self._execute(
            "INSERT INTO answers SELECT ?1, COALESCE(MAX(number), 0) + 1, ?2, ?3, ?4 "
            "FROM answers WHERE key = ?1 AND writer = ?2",
            (key, writer, well_formed(text), time.time()),
        )

    # -- replies ----------------------------------------------------------------------------------------

    def replies(self) -> dict[str, list[Reply]]:
        """All saved replies by call, attempts in order."""
        found: dict[str, list[Reply]] = {}
        for key, *columns in self._execute(
            "SELECT key, text, retries, latency, input_tokens, output_tokens, request_id FROM replies "
            "ORDER BY key, attempt"
        ):
            text, *rest = columns
            found.setdefault(key, []).append(Reply(text, None, *rest))
        return found

    def add_reply(self, call: CallKey, attempt: int, reply: Reply, digest: str | None = None) -> None:
        """Save one reply or one failure. The next run repeats a failed call."""
        key = digest or call.digest()
        if reply.text is None:
            self._execute(
                "INSERT INTO failures VALUES (?, ?, ?, ?, ?, ?)",
                (key, call.judge, well_formed(reply.error or ""), reply.retries, reply.latency, time.time()),
            )
            return
        self._execute(
            "INSERT OR IGNORE INTO replies VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                key,
                attempt,
                call.item,
                call.epoch,
                call.dimension,
                canonical_json(list(call.variables)),
                call.judge,
                call.settings,
                call.prompt_hash,
                call.answer_hash,
                well_formed(reply.text),
                reply.retries,
                reply.latency,
                reply.input_tokens,
                reply.output_tokens,
                reply.request_id,
                time.time(),
            ),
        )

    def usage(self) -> dict[str, dict[str, int]]:
        """Replies, retries, failures and tokens by judge."""
        totals: dict[str, dict[str, int]] = {}
        for judge, count, retries, tokens_in, tokens_out in self._execute(
            "SELECT judge, COUNT(*), SUM(retries), SUM(input_tokens), SUM(output_tokens) FROM replies "
            "GROUP BY judge"
        ):
            totals[judge] = {
                "replies": count,
                "retries": retries or 0,
                "failures": 0,
                "input_tokens": tokens_in or 0,
                "output_tokens": tokens_out or 0,
            }
        for judge, count, retries in self._execute(
            "SELECT judge, COUNT(*), SUM(retries) FROM failures GROUP BY judge"
        ):
            total = totals.setdefault(
                judge, {"replies": 0, "retries": 0, "failures": 0, "input_tokens": 0, "output_tokens": 0}
            )
            total["failures"] = count
            total["retries"] += retries or 0
        return totals

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()


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


def journal_folder(environ: dict[str, str] | None = None) -> Path:
    """Where journals go: ``VALUE_RETENTION_JOURNAL_DIR``, else the user's cache folder."""
    env = os.environ if environ is None else environ
    if folder := env.get("VALUE_RETENTION_JOURNAL_DIR"):
        return Path(folder).expanduser()
    cache = env.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "value_retention" / "journals"
