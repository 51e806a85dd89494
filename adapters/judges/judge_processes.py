"""Judges in processes of their own, beside lm-eval.

A judge's client is Python: seconds of imports, then milliseconds for every call. In lm-eval's own process a run
waits for both. Here judges are imported and checked while lm-eval reads its task files and loads the model, and
two processes share the calls.

Nothing depends on them. The journal is on disk and shared, so if a process dies, or a judge is known in this
process only (a provider defined in a notebook), the caller judges here and finds every finished call.
"""

from __future__ import annotations

import atexit
import logging
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from value_retention.adapters.settings import MAX_CONNECTIONS, Settings, read_settings
from value_retention.tasks.benchmark import Item
from value_retention.tasks.errors import InputError
from value_retention.tasks.record import AnswerRecord, JudgeInfo, RunInfo, canonical_json

if TYPE_CHECKING:
    from value_retention.adapters.judges.judging import Tally
    from value_retention.tasks.load import Dataset

logger = logging.getLogger("lm_eval.value_retention")

PROCESSES = 2
LOADED_WHERE_IMPORTED = (
    "hf",
    "mockllm",
    "nnterp",
    "none",
    "sglang",
    "transformer_lens",
    "vllm",
    "vllm-completions",
)
"""Providers that hold a model, or start its server, in the process that imports them: one of it is enough."""
PROGRESS_EVERY = 0.1
"""Seconds."""
ALIVE_EVERY = 0.2
"""Seconds between two looks whether the process that started this one is still there."""

Text = tuple[Item, int, str]
"""What a model wrote: item, epoch, and the whole of it, reasoning included."""


@dataclass(frozen=True)
class Job:
    """Answers to be judged, and how. All of it can be pickled."""

    dataset: Dataset
    texts: Sequence[Text]
    judges: tuple[str, ...]
    args: Mapping[str, Any]
    run: RunInfo
    journal: str
    """Path of the run's journal."""
    round: str = ""
    """As in `judging.Options`."""
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)
    """As it is now: keys and addresses may have been set since the processes began."""


class JudgeProcesses:
    """Processes that judge for this one; they start at once, and end with it (also when it is killed).

    Args:
        judges: Names of models.
        args: Their settings.
    """

    def __init__(self, judges: tuple[str, ...], args: Mapping[str, Any]) -> None:
        self._judges, self._args = judges, args
        self.closed = False
        self._count = min(int(args.get("processes", PROCESSES)), _connections(args))
        self._workers: list[_Worker] = []
        self._infos: Future[list[JudgeInfo] | None] = Future()
        self._started = threading.Thread(target=self._start, name="judge-processes", daemon=True)
        self._started.start()
        atexit.register(self.close)

    def _start(self) -> None:
        """One after the other: the harness is at work too, and has more to do."""
        try:
            infos = self._add().receive()
            if infos is None:
                self.close()
            self._infos.set_result(infos)
            for _ in range(self._count - 1 if infos else 0):
                self._add()
        except Exception as error:
            logger.debug("judge processes: %r", error)
            if not self._infos.done():
                self.close()
                self._infos.set_result(None)

    def _add(self) -> _Worker:
        worker = _Worker()
        self._workers.append(worker)
        worker.send((self._judges, self._args))
        return worker

    def infos(self) -> list[JudgeInfo] | None:
        """The judges; None when they cannot be had in another process."""
        return self._infos.result()

    def judge(self, job: Job, advance: Callable[[int], object]) -> tuple[list[AnswerRecord], Tally] | None:
        """Judge, the answers split between the processes and the connections too.

        Args:
            job: What is to be judged.
            advance: Called with the number of calls that were finished since it was called last.

        Returns:
            One record per text, in order; None when a process failed, which was logged.

        Raises:
            InputError: the journal cannot be written.
        """
        from value_retention.adapters.judges.judging import Tally

        self._started.join()
        if self.closed:
            return None
        parts = _split(job, len(self._workers))
        lock = threading.Lock()

        def locked(calls: int) -> None:
            with lock:
                advance(calls)

        with ThreadPoolExecutor(max_workers=len(parts)) as threads:
            try:
                futures = [
                    threads.submit(worker.work, part, locked)
                    for worker, part in zip(self._workers, parts, strict=False)
                ]
                wait(futures)
            except BaseException:
                # Ctrl-C: without this the threads would be waited for, and they for the processes.
                self.close()
                raise
        try:
            done = [future.result() for future in futures]
        except InputError:
            raise
        except Exception as error:
            self.close()
            logger.warning(
                "a judge process failed (%r); judging goes on without them, from the journal", error
            )
            return None
        records = [record for part, _ in done for record in part]
        return records, sum((tally for _, tally in done), start=Tally())

    def close(self) -> None:
        """End the processes. Every reply that they got is in the journal."""
        self.closed = True
        for worker in self._workers:
            worker.process.kill()
            worker.process.wait()
        _running.pop(_key(self._judges, self._args), None)


def _connections(args: Mapping[str, Any]) -> int:
    return int(args.get("max_connections") or MAX_CONNECTIONS)


def _split(job: Job, workers: int) -> list[Job]:
    """Neighbouring answers stay together: they may share a prompt prefix, and records keep their order."""
    connections = _connections(job.args)
    count = max(1, min(workers, connections, len(job.texts)))
    size, left = divmod(len(job.texts), count)
    parts, start = [], 0
    for number in range(count):
        end = start + size + (number < left)
        share = connections // count + (number < connections % count)
        args = {**job.args, "max_connections": share}
        parts.append(replace(job, texts=job.texts[start:end], args=args))
        start = end
    return parts


class _Worker:
    """One process, and the pipes to it."""

    def __init__(self) -> None:
        code = f"from {__name__} import serve; serve({os.getpid()})"
        # -P: what lies in the user's folder is not imported. Discovery is lm-eval's, and not wanted there.
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "VALUE_RETENTION_NO_DISCOVERY": "1"},
        )

    def send(self, message: object) -> None:
        assert self.process.stdin is not None
        pickle.dump(message, self.process.stdin)
        self.process.stdin.flush()

    def receive(self) -> Any:
        assert self.process.stdout is not None
        return pickle.load(self.process.stdout)

    def work(self, job: Job, advance: Callable[[int], object]) -> tuple[list[AnswerRecord], Tally]:
        """Send a job and hear its progress until it is done."""
        self.send(job)
        while True:
            message = self.receive()
            if isinstance(message, int):
                advance(message)
            elif isinstance(message, tuple):
                return message
            elif isinstance(message, Exception):
                raise message
            # What is left is the answer to the first message, of a process that nobody waited for.


_running: dict[str, JudgeProcesses] = {}


def _key(judges: tuple[str, ...], args: Mapping[str, Any]) -> str:
    return canonical_json([list(judges), dict(args)])


def judge_processes(settings: Settings) -> JudgeProcesses | None:
    """The processes for the judges of these settings, started if they are not there yet.

    Returns:
        None where processes would be no help: an offline judge, a model that is loaded where it is imported,
        batches (which are filled from all calls), the second and further processes of a parallel run.
    """
    judges, args = settings.judges or (), settings.judge_args
    if os.environ.get("LOCAL_RANK", "0") != "0":
        return None
    if not judges or args.get("batch") or args.get("processes") == 0 or not sys.executable:
        return None
    if not all("/" in name and name.partition("/")[0] not in LOADED_WHERE_IMPORTED for name in judges):
        return None
    key = _key(judges, args)
    if key not in _running or _running[key].closed:
        _running[key] = JudgeProcesses(judges, args)
    return _running[key]


def start_early(metadata: Mapping[str, Any] | None) -> None:
    """Start the processes for a run that is being set up; whatever is wrong with it is said later."""
    try:
        judge_processes(read_settings(metadata or {}, os.environ))
    except (InputError, OSError) as error:
        logger.debug("judge processes: %s", error)


# -- in the other process ------------------------------------------------------------------------------


def serve(parent: int) -> None:
    """Answer messages from standard input: first the judges' names and settings, then jobs.

    Args:
        parent: Number of the process to end with.
    """
    replies = os.fdopen(os.dup(1), "wb")
    # What a library prints must not get between the messages.
    os.dup2(2, 1)
    # Ctrl-C reaches the whole group; the other process decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(inbox,), daemon=True).start()
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()

    def send(message: object) -> None:
        try:
            pickle.dump(message, replies)
            replies.flush()
        except OSError:
            os._exit(0)

    send(_make(*inbox.get()))
    while True:
        job = inbox.get()
        try:
            send(_judge(job, send))
        except InputError as error:
            send(error)
        except Exception as error:
            # Not every exception can be pickled.
            send(RuntimeError(f"{type(error).__name__}: {error}"))


def _listen(inbox: queue.SimpleQueue[Any]) -> None:
    """Pass messages on, and end this process when there is nobody left to send one."""
    try:
        while True:
            inbox.put(pickle.load(sys.stdin.buffer))
    finally:
        os._exit(0)


def _watch(parent: int) -> None:
    """End this process with the one that started it, even when a child of that one keeps the pipe open."""
    # Windows has no such children, and does not tell of a parent's end in this way.
    while os.name != "posix" or os.getppid() == parent:
        time.sleep(ALIVE_EVERY)
    os._exit(0)


def _make(judges: tuple[str, ...], args: Mapping[str, Any]) -> list[JudgeInfo] | None:
    from value_retention.adapters.judges.models import make_judges

    try:
        return [judge.info for judge in make_judges(judges, args)]
    except Exception as error:
        # The other process makes them itself then, and has the same to say, or more.
        logger.debug("judge processes: %r", error)
        return None


def _judge(job: Job, send: Callable[[object], None]) -> tuple[list[AnswerRecord], Tally]:
    from value_retention.adapters.judges.journal import Journal
    from value_retention.adapters.judges.judging import Options, judge_answers, run_async
    from value_retention.adapters.judges.models import make_judges
    from value_retention.tasks.answers import Answer

    finished, told = 0, time.monotonic()

    def advance() -> None:
        nonlocal finished, told
        finished += 1
        if time.monotonic() - told > PROGRESS_EVERY:
            send(finished)
            finished, told = 0, time.monotonic()

    os.environ.clear()
    os.environ.update(job.environment)
    journal = Journal(job.journal)
    options = Options.of(job.args, journal=journal, round=job.round, advance=advance)
    answers = [Answer.of(item, epoch, text) for item, epoch, text in job.texts]
    judges = make_judges(job.judges, job.args)
    records = run_async(lambda: judge_answers(job.dataset, answers, judges, job.run, options))
    journal.close()
    send(finished)
    return records, options.tally
