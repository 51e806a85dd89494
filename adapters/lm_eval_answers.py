"""Save lm-eval's answers to disk as they arrive, and restore them after a kill.

lm-eval passes answers to a task only when all of them are complete; a run killed before that would pay for
them twice. Every model of lm-eval reports each answer to its cache hook at once, with or without a cache, so
this module listens to that hook (see `_listen`).
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

    One journal serves all tasks of a run. A finished task starts over on the next run, and an unfinished one
    continues. With ``VALUE_RETENTION_JOURNAL``, everything in that file is used again.
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
        """Separates this run's judge replies from those of earlier runs in the same journal."""
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
            model: Arguments of the model. A local checkpoint that changed is another model.
            sampling: Sampling settings.
            content: Hash of the data.
            shard: Rank and world size.

        Raises:
            InputError: this run is already in progress.
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
        # A second run in one process (a notebook) starts over, or continues an interrupted one.
        for earlier in [s for s in _complete_stores if s.journal.path == str(path) and s.task == task]:
            earlier.finish()
            _complete_stores.remove(earlier)
        for earlier in [s for s in _open_stores if s.journal.path == str(path) and s.task == task]:
            _open_stores.remove(earlier)
            earlier.release()
        journal = Journal(path)
        # With tensor parallelism all processes report rank 0 and are one run: the first one holds the lock.
        first = os.environ.get("LOCAL_RANK", "0") == "0" or shard[1] > 1
        lock = _lock(f"{path}.{task}-{shard[0]}.lock") if first else None
        store = cls(journal, task, shard, sampled, lock)
        _listen()
        _open_stores.append(store)
        return store

    def resume(self, instances: Sequence[Any]) -> None:
        """Assign saved answers to these requests, and reduce their repeats by that number."""
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
            "value_retention: journal of answers and grades: %s (holds %d answers of an unfinished run)",
            self.journal.path,
            found,
        )

    def heard(self, prompt: object, text: object) -> None:
        """Save an answer that arrived."""
        key = _key(prompt)
        if isinstance(text, str) and self._seen.get(key, 0) < self._wanted.get(key, 0):
            self._seen[key] = self._seen.get(key, 0) + 1
            self.journal.add_answer(key, _text(text), self._writer)

    def collect(self, instances: Sequence[Any]) -> None:
        """Give each request all its answers, saved ones first. Save those that no hook reported.

        Drops the padding that lm-eval adds to data-parallel ranks.
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
        """Mark this task as complete. Other tasks, and lm-eval's own results, may still follow.

        The next run of this task starts over only if this process ends normally (and no journal is named).
        After a kill, the next run finds everything here.
        """
        if not _complete_stores:
            atexit.register(_finish_all)
            _watch_for_crashes()
        _complete_stores.append(self)
        _failures.pop((self.journal.path, self.task), None)

    def fail(self, message: str) -> None:
        """Report missing grades at the end of the process, with exit status 1.

        Nothing is raised, since lm-eval has other tasks to finish and results to write. Outside lm-eval's
        command (in a notebook or a test) the message is only logged.
        """
        logger.error(message)
        command = Path(sys.argv[0]).name if sys.argv else ""
        called = command in ("lm_eval", "lm-eval") or "lm_eval" in Path(sys.argv[0]).parts
        if called and not _failures:
            atexit.register(_fail)
        _failures[self.journal.path, self.task] = message
        self.release()

    def release(self) -> None:
        """Release the lock on this run."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def finish(self) -> None:
        """Make the next run of this task start over."""
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
    """Pass each answer that an lm-eval model reports to its cache hook to the open stores."""
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
    """SHA-256 of a prompt. Chat requests hold theirs in a field."""
    return hashlib.sha256(str(getattr(prompt, "prompt", prompt)).encode("utf-8", "surrogatepass")).hexdigest()


def _text(answer: object) -> str:
    """The text of an answer. lm-eval's placeholder for a failed request becomes an empty answer."""
    from lm_eval.models.api_models import LMEVAL_MODEL_NONE_ANSWER_PLACEHOLDER

    text = answer if isinstance(answer, str) else ""
    return "" if text == LMEVAL_MODEL_NONE_ANSWER_PLACEHOLDER else well_formed(text)


def _fingerprint(pretrained: object) -> list[tuple[str, int, int]]:
    """Names, sizes and times of a local checkpoint's files: after training in place it is another model."""
    folder = Path(str(pretrained)) if pretrained else None
    if folder is None or not folder.is_dir():
        return []
    files = sorted(file for file in folder.iterdir() if file.is_file())
    return [(file.name, (stat := file.stat()).st_size, stat.st_mtime_ns) for file in files]


_failures: dict[tuple[str, str], str] = {}
"""Message by journal and task. A later complete run in this process removes it."""


def _fail() -> None:
    if not _failures:
        return
    for message in _failures.values():
        print(f"value-retention: {message}", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


def _lock(path: str) -> int | None:
    """Lock a file until it is closed or this process ends. None if the platform has no such locks.

    Raises:
        InputError: another process holds the lock.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        # The lock belongs to this process alone: a forked child that outlives it must not hold it.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(file)
        if error.errno not in (errno.EACCES, errno.EAGAIN):
            return None  # a file system without locks
        raise InputError(
            "this run is already in progress (same task, model and settings)",
            where=path.removesuffix(".lock"),
            expected="one process at a time: two would share their answers",
            hint="wait until it ends, or set VALUE_RETENTION_JOURNAL_DIR to another folder for a second run",
        ) from None
    return file
