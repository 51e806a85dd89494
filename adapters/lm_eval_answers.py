"""Generated answers on disk as they arrive in lm-eval, and back from there after a kill.

lm-eval hands a task its answers only when all of them are there; a run killed before that would pay for
them twice. Every model of lm-eval reports each answer to its cache hook when it has it, cache or no cache,
so that hook is listened to (see `_listen`).
"""

from __future__ import annotations

import atexit
import errno
import hashlib
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from value_retention.adapters.judges.journal import Journal, journal_folder
from value_retention.tasks.errors import InputError
from value_retention.tasks.record import canonical_json, well_formed

logger = logging.getLogger("lm_eval.value_retention")

JOURNAL_VARIABLE = "VALUE_RETENTION_JOURNAL"
_open_stores: list[AnswerStore] = []
_complete_stores: list[AnswerStore] = []


class AnswerStore:
    """The answers of one task in one process, in the run's journal.

    One journal serves all tasks of a run. Without ``VALUE_RETENTION_JOURNAL`` a task that was finished starts
    anew on the next run, and an unfinished one is continued; with it, whatever the file holds is used.
    """

    def __init__(
        self, journal: Journal, task: str, shard: tuple[int, int], sampled: str, lock: int | None = None
    ) -> None:
        self.journal = journal
        self.task = task
        self._lock = lock
        self._note = f"round {task} {shard[0]}/{shard[1]} {sampled}"
        self._round = int(journal.get(self._note) or 0)
        self._writer = f"{self._note} {self._round}"
        self.round = str(self._round or "")
        """Tells this run's judge replies from those of earlier ones in the same journal."""
        self._saved: dict[int, list[str]] = {}
        self._wanted: dict[str, int] = {}
        self._seen: dict[str, int] = {}

    @classmethod
    def open(
        cls, task: str, model: dict[str, Any], sampling: object, content: str, shard: tuple[int, int]
    ) -> AnswerStore:
        """Open the journal of this run.

        Args:
            task: Task name.
            model: Arguments of the model; a local checkpoint that changed is another model.
            sampling: How it is asked.
            content: Hash of the data.
            shard: Rank and world size.

        Raises:
            InputError: another process is at the same run.
        """
        named = os.environ.get(JOURNAL_VARIABLE)
        if named:
            path = Path(named).expanduser()
        else:
            pretrained = model.get("pretrained")
            digest = hashlib.sha256(canonical_json([model, _fingerprint(pretrained)]).encode()).hexdigest()[
                :16
            ]
            label = Path(str(pretrained or model.get("model") or "model")).name[:40]
            path = journal_folder() / f"{label}-{digest}.sqlite"
        sampled = hashlib.sha256(canonical_json([sampling, content]).encode()).hexdigest()[:16]
        # Twice in one process (a notebook): the second run is a new one, or goes on with an interrupted one.
        for earlier in [s for s in _complete_stores if s.journal.path == str(path) and s.task == task]:
            earlier.finish()
            _complete_stores.remove(earlier)
        for earlier in [s for s in _open_stores if s.journal.path == str(path) and s.task == task]:
            _open_stores.remove(earlier)
            earlier.release()
        journal = Journal(path)
        # Under tensor parallelism all processes say rank 0 and are one run: the first holds the lock.
        first = os.environ.get("LOCAL_RANK", "0") == "0" or shard[1] > 1
        lock = _lock(f"{path}.{task}-{shard[0]}.lock") if first else None
        store = cls(journal, task, shard, sampled, lock)
        _listen()
        _open_stores.append(store)
        return store

    def resume(self, instances: Sequence[Any]) -> None:
        """Take the saved answers of these requests, and ask for that many fewer."""
        saved = self.journal.answers(self._writer)
        found = 0
        for instance in instances:
            key = _key(instance.args[0])
            available = saved.get(key, [])
            mine = available[: instance.repeats]
            saved[key] = available[len(mine) :]
            instance.repeats -= len(mine)
            self._saved[id(instance)] = mine
            self._wanted[key] = self._wanted.get(key, 0) + instance.repeats
            found += len(mine)
        logger.info(
            "value_retention: answers and grades are kept in %s (%d answers of an unfinished run are there)",
            self.journal.path,
            found,
        )

    def heard(self, prompt: object, text: object) -> None:
        """An answer arrived."""
        key = _key(prompt)
        if isinstance(text, str) and self._seen.get(key, 0) < self._wanted.get(key, 0):
            self._seen[key] = self._seen.get(key, 0) + 1
            self.journal.add_answer(key, _text(text), self._writer)

    def collect(self, instances: Sequence[Any]) -> None:
        """Give every request all its answers: saved ones first. What no hook reported is saved now.

        Padding that lm-eval adds to even out data-parallel ranks is cut off.
        """
        if self in _open_stores:
            _open_stores.remove(self)
        for instance in instances:
            new = [_text(response) for response in instance.resps[: instance.repeats]]
            key = _key(instance.args[0])
            for text in new:
                if self._seen.get(key, 0) > 0:
                    self._seen[key] -= 1
                else:
                    self.journal.add_answer(key, text, self._writer)
            instance.resps = [*self._saved.pop(id(instance), []), *new]
            instance.repeats = len(instance.resps)

    def complete(self) -> None:
        """Everything of this task is there; other tasks and lm-eval's own results may still follow.

        Only when the process ends well does the next run of this task start anew (unless a journal is named
        for it); killed before, it finds everything here.
        """
        if not _complete_stores:
            atexit.register(_finish_all)
            _watch_for_crashes()
        _complete_stores.append(self)
        _failures.pop((self.journal.path, self.task), None)

    def fail(self, message: str) -> None:
        """Grades of this task are missing: say so at the end, and make the command's exit status 1.

        lm-eval has other tasks to finish and results to write, so nothing is raised. Its command gives a task
        no say in the exit status; elsewhere (a notebook, a test) only the message is logged.
        """
        logger.error(message)
        command = Path(sys.argv[0]).name if sys.argv else ""
        called = command in ("lm_eval", "lm-eval") or "lm_eval" in Path(sys.argv[0]).parts
        if called and not _failures:
            atexit.register(_fail)
        _failures[self.journal.path, self.task] = message
        self.release()

    def release(self) -> None:
        """Let another process do the same run."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def finish(self) -> None:
        """The next run of this task starts anew."""
        if not os.environ.get(JOURNAL_VARIABLE):
            self.journal.put(self._note, str(self._round + 1))
        self.release()


_crashed = False


def _watch_for_crashes() -> None:
    previous = sys.excepthook

    def hook(*error: Any) -> None:
        global _crashed
        _crashed = True
        previous(*error)

    hook.handles_input_errors = getattr(previous, "handles_input_errors", False)  # type: ignore[attr-defined]
    sys.excepthook = hook


def _finish_all() -> None:
    if not _crashed and not _failures:
        for store in _complete_stores:
            store.finish()


def _listen() -> None:
    """Let the open stores hear of every answer that any lm-eval model reports to its cache hook."""
    from lm_eval.api.model import CacheHook

    original = CacheHook.add_partial
    if getattr(original, "heard_by_value_retention", False):
        return

    def add_partial(self: Any, attr: str, req: Any, res: Any) -> None:
        if attr == "generate_until":
            for store in _open_stores:
                store.heard(req[0], res)
        original(self, attr, req, res)

    add_partial.heard_by_value_retention = True  # type: ignore[attr-defined]
    CacheHook.add_partial = add_partial


def _key(prompt: object) -> str:
    """SHA-256 of a prompt; chat requests carry theirs in a field."""
    return hashlib.sha256(str(getattr(prompt, "prompt", prompt)).encode("utf-8", "surrogatepass")).hexdigest()


def _text(answer: object) -> str:
    """lm-eval marks an answer that never came by a placeholder of its own: that is an empty answer."""
    from lm_eval.models.api_models import LMEVAL_MODEL_NONE_ANSWER_PLACEHOLDER

    text = answer if isinstance(answer, str) else ""
    return "" if text == LMEVAL_MODEL_NONE_ANSWER_PLACEHOLDER else well_formed(text)


def _fingerprint(pretrained: object) -> list[tuple[str, int, int]]:
    """Names, sizes, times of a local checkpoint's files: trained anew in place it is another model."""
    folder = Path(str(pretrained)) if pretrained else None
    if folder is None or not folder.is_dir():
        return []
    files = sorted(file for file in folder.iterdir() if file.is_file())
    return [(file.name, (stat := file.stat()).st_size, stat.st_mtime_ns) for file in files]


_failures: dict[tuple[str, str], str] = {}
"""Journal and task to what is missing of it; a later run in this process that has all takes it away."""


def _fail() -> None:
    if not _failures:
        return
    for message in _failures.values():
        print(f"value-retention: {message}", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


def _lock(path: str) -> int | None:
    """Hold a lock file until it is closed or this process ends; None where there are no such locks.

    Raises:
        InputError: another process holds it.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        # A lock of this process alone: a child that it forks and that outlives it must not keep it.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(file)
        if error.errno not in (errno.EACCES, errno.EAGAIN):
            return None  # a file system without locks
        raise InputError(
            "another process is at this run: the same task, model and settings",
            where=path.removesuffix(".lock"),
            expected="one at a time, or they would share their answers",
            hint="wait for it, or set VALUE_RETENTION_JOURNAL_DIR to another folder for a second run",
        ) from None
    return file
