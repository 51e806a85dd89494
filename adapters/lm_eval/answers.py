"""Save lm-eval's answers to disk as they arrive, and use saved ones again.

lm-eval passes answers to a task only when all of them are complete; a run killed before that would pay for
them twice. Every model of lm-eval reports each answer to its cache hook at once, with or without a cache, so
this module listens to that hook (see `_listen`).
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from value_retention.adapters.identity import Identity
from value_retention.adapters.judges.journal import Journal, JournalRun, Lock, age_of, digest, open_journal
from value_retention.tasks.errors import InputError
from value_retention.tasks.record import well_formed

logger = logging.getLogger("lm_eval.value_retention")


class AnswerStore:
    """The answers to one task in one process: those in the journal, and those that arrive.

    Attributes:
        journal: The journal.
        run: This run's entry in it.
        resumed: How many of the answers are from an earlier run and how old they are, if the model is known by
            its name only. Else None.
    """

    def __init__(self, journal: Journal, run: JournalRun, certain: bool, lock: Lock) -> None:
        self.journal = journal
        self.run = run
        self.resumed: str | None = None
        self._lock = lock
        self._certain = certain
        self._keys: list[tuple[str, range]] = []
        """Key and numbers of each request."""
        self._open: dict[str, deque[int]] = {}
        """Numbers of the answers that are still to come."""
        self._heard: Counter[tuple[str, str]] = Counter()
        """How often a text arrived, by key and text."""
        self._asked: set[int] = set()
        """``id`` of each request's prompt."""

    @classmethod
    def open(
        cls,
        identity: Identity,
        sampling: object,
        about: Mapping[str, Any],
        shard: tuple[int, int],
        resume: bool,
    ) -> AnswerStore:
        """Open the journal, and enter this run.

        Args:
            identity: The tested model.
            sampling: Sampling settings in force.
            about: Description of the run, with ``task``.
            shard: Rank and number of data-parallel processes.
            resume: Whether saved answers may be used.

        Raises:
            InputError: this run is already in progress, or the journal cannot be written.
        """
        answers_of = digest(about["task"], identity.digest, sampling)
        for earlier in [s for s in (*_open_stores, *_complete_stores) if s.run.answers_of == answers_of]:
            earlier.leave()  # a second run in one process, as in a notebook
        journal = open_journal()
        # With tensor parallelism all processes report rank 0 and are one run: the first one holds the lock.
        first = os.environ.get("LOCAL_RANK", "0") == "0" or shard[1] > 1
        name = answers_of if shard[1] == 1 else f"{answers_of} {shard[0]}"
        lock = journal.lock(name, answers_of) if first else Lock(":memory:", name)
        about = {**about, "process": shard[0], "processes": shard[1]} if shard[1] > 1 else about
        run = journal.start(answers_of, about, identity.certain, resume)
        store = cls(journal, run, identity.certain, lock)
        _listen()
        _open_stores.append(store)
        return store

    def follow_up(self) -> AnswerStore:
        """A store for the next turn of conversations: the same run, and answers of its own."""
        store = AnswerStore(self.journal, self.run, self._certain, self._lock)
        _open_stores.append(store)
        return store

    def resume(self, instances: Sequence[Any]) -> None:
        """Look up the answers to these requests, and reduce their repeats by those that are there."""
        taken: dict[str, int] = {}
        saved, total, oldest = 0, 0, time.time()
        for instance in instances:
            key = self._key(instance.args[0])
            self._asked.add(id(instance.args[0]))
            first = taken.get(key, 0) + 1  # two questions with one text have different answers
            numbers = range(first, first + instance.repeats)
            taken[key] = numbers[-1]
            there = self.journal.answers(key)
            missing = [number for number in numbers if number not in there]
            self._keys.append((key, numbers))
            self._open.setdefault(key, deque()).extend(missing)
            total += len(numbers)
            saved += len(numbers) - len(missing)
            oldest = min([oldest, *(there[number][1] for number in numbers if number in there)])
            instance.repeats = len(missing)
        logger.info(
            "value_retention: journal of answers and grades: %s, run %s", self.journal.path, self.run.id
        )
        if not saved:
            return
        age = age_of(oldest)
        logger.info("value_retention: %d of %d answers are in the journal, up to %s old", saved, total, age)
        if not self._certain:
            self.resumed = (
                f"{saved} of {total} answers are from an earlier run of a model with this name, {age} ago"
            )
            logger.warning(
                "value_retention: %s. The server does not say which weights it holds. If they have changed since, "
                "start anew with --metadata '{\"resume\": false}'.",
                self.resumed,
            )

    def heard(self, prompt: object, text: object) -> None:
        """Save an answer that arrived."""
        key = self._key(prompt)
        if isinstance(text, str) and self._open.get(key):
            self._heard[key, text] += 1
            self._save(key, text)

    def asked(self, prompt: object, itself: bool) -> bool:
        """Whether a request has this prompt: the object itself, or its text."""
        return id(prompt) in self._asked if itself else self._key(prompt) in self._open

    def collect(self, instances: Sequence[Any]) -> None:
        """Give each request its answers in the order of the journal. Save those that no hook reported.

        Drops the padding that lm-eval adds to data-parallel ranks.
        """
        if self in _open_stores:
            _open_stores.remove(self)
        for instance, (key, _) in zip(instances, self._keys, strict=True):
            for text in instance.resps[: instance.repeats]:
                if self._heard[key, text] > 0:
                    self._heard[key, text] -= 1
                elif self._open[key]:
                    self._save(key, text)
        for instance, (key, numbers) in zip(instances, self._keys, strict=True):
            # An answer keeps its number (its epoch) when a run is resumed, in whatever order lm-eval returns them.
            there = self.journal.answers(key)
            instance.resps = [there[number][0] for number in numbers if number in there]
            instance.repeats = len(instance.resps)

    def _key(self, prompt: object) -> str:
        """Key of the answers to a prompt in this task. Chat requests hold theirs in a field."""
        return digest(self.run.answers_of, self.run.generation, str(getattr(prompt, "prompt", prompt)))

    def _save(self, key: str, text: object) -> None:
        self.journal.add_answer(key, self._open[key].popleft(), _text(text), self.run.id)

    def complete(self, records: Iterable[str]) -> None:
        """Save the records. The run is finished when this process ends normally: lm-eval's results follow."""
        self.journal.keep(self.run, records)
        if not _complete_stores:
            atexit.register(finish_all)
        _complete_stores.append(self)
        _failures.pop(self.run.answers_of, None)

    def fail(self, message: str, records: Iterable[str]) -> None:
        """Save the records, and report missing or unreadable grades at the end of the command, with exit status 1.

        Nothing is raised here, since lm-eval has other tasks to finish and results to write.
        """
        logger.error(message)
        self.journal.keep(self.run, records)
        _failures[self.run.answers_of] = message
        self._lock.release()

    def leave(self) -> None:
        """Mark this run as finished if it is complete, and release its lock."""
        if self in _complete_stores:
            _complete_stores.remove(self)
            self.journal.finish(self.run)
        if self in _open_stores:
            _open_stores.remove(self)
        self._lock.release()


_open_stores: list[AnswerStore] = []
_complete_stores: list[AnswerStore] = []
_failures: dict[str, str] = {}
"""Message by run. A later complete run in this process removes it."""
_stopped = False


def stop(message: str, status: int = 1) -> SystemExit:
    """The exception that ends lm-eval with a message. The next run goes on from here."""
    global _stopped
    _stopped = True
    print(message, file=sys.stderr, flush=True)
    return SystemExit(status)


def interrupted() -> SystemExit:
    """The exception that ends lm-eval after Ctrl-C."""
    path = (_open_stores or _complete_stores)[0].journal.path if _open_stores or _complete_stores else None
    kept = f" Answers and grades so far are in {path}; the same command goes on from there." if path else ""
    return stop(f"value-retention: interrupted.{kept}", 130)


def finish_all() -> None:
    """Mark the complete runs of this process as finished if all went well. Else the next run resumes them."""
    if not _stopped and not _failures and getattr(sys, "last_value", None) is None:
        for store in list(_complete_stores):
            store.leave()


def exit_status() -> None:
    """End the command: with a message and status 1 if grades are missing, or none could be read.

    Raises:
        SystemExit: grades are missing, or none could be read.
    """
    if _failures:
        raise stop("\n".join(f"value-retention: {message}" for message in _failures.values()))


def _listen() -> None:
    """Pass each answer that an lm-eval model reports to its cache hook to the open stores."""
    from lm_eval.api.model import CacheHook

    original = CacheHook.add_partial
    if getattr(original, "heard_by_value_retention", False):
        return

    def add_partial(self: Any, attr: str, req: Any, res: Any) -> None:
        if attr == "generate_until":
            try:
                if store := _asker(req[0]):
                    store.heard(req[0], res)
            except InputError as error:
                # lm-eval takes any `Exception` for a failed request and asks again, at full price.
                raise stop(str(error)) from error
        original(self, attr, req, res)

    add_partial.heard_by_value_retention = True  # type: ignore[attr-defined]
    CacheHook.add_partial = add_partial


def _asker(prompt: object) -> AnswerStore | None:
    """The store that waits for the answer to a prompt.

    Two tasks may ask one question. Models pass on the request's own prompt, which tells them apart. Where a model
    passes a copy, None: `AnswerStore.collect` saves each task's own answers.
    """
    for itself in (True, False):
        if stores := [store for store in _open_stores if store.asked(prompt, itself)]:
            return stores[0] if len(stores) == 1 else None
    return None


def _text(answer: object) -> str:
    """The text of an answer. lm-eval's placeholder for a failed request becomes an empty answer."""
    from lm_eval.models.api_models import LMEVAL_MODEL_NONE_ANSWER_PLACEHOLDER

    text = answer if isinstance(answer, str) else ""
    return "" if text == LMEVAL_MODEL_NONE_ANSWER_PLACEHOLDER else well_formed(text)
