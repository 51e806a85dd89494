"""Judge answers and return records. No call is made twice; each reply is in the journal when it arrives."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

import anyio

from value_retention.adapters.judges.client import Judge
from value_retention.adapters.judges.journal import CallKey, Journal, Reply
from value_retention.adapters.settings import REPEAT
from value_retention.tasks.answers import Answer, Design, make_record
from value_retention.tasks.benchmark import benchmark_of
from value_retention.tasks.data import Dataset
from value_retention.tasks.errors import InputError
from value_retention.tasks.grading import read_reply
from value_retention.tasks.prompts import JudgeCall, criterion_texts, indicators_of, item_calls, judge_calls
from value_retention.tasks.reasoning import split
from value_retention.tasks.record import CUT, AnswerRecord, GradeRecord, RunInfo, date_of
from value_retention.tasks.scale import Scale, why_unreadable
from value_retention.tasks.text import printable

T = TypeVar("T")

SHOWN = 200
"""Characters of a judge's reply in a message."""


class Spending(Protocol):
    """Decides whether another call may be made."""

    def allows(self, judge: str, prompt: str) -> bool:
        """Reserve the maximum cost of this call. False if that would exceed the budget."""
        ...

    def settle(self, judge: str, prompt: str, reply: Reply) -> None:
        """Replace the reservation by the actual cost."""
        ...

    def include(self, judge: str, reply: Reply) -> None:
        """Add the cost of a reply that an earlier, interrupted command paid for."""
        ...


@dataclass
class Tally:
    """Counts of one batch of judging."""

    asked: int = 0
    """Calls made, including failed ones."""
    reused: int = 0
    """Calls found in the journal or in the records to fill."""
    oldest: float = math.inf
    """When the oldest reply from the journal arrived, in seconds since the epoch."""
    retries: int = 0
    unparsed: int = 0
    cut: int = 0
    """Replies that the token limit cut."""
    last_cut: str | None = None
    errors: int = 0
    last_error: str | None = None
    refused: int = 0
    """Errors that are refusals of a prompt."""
    stopped: bool = False
    """Whether the budget stopped the batch before all calls were made."""

    def __str__(self) -> str:
        """The grades that are missing, by reason."""
        return f"grades missing: {self.cut} cut, {self.unparsed} unreadable, {self.errors} failed"


@dataclass(frozen=True)
class Options:
    """How a batch is judged."""

    journal: Journal | None = None
    """Where replies are kept. A call whose reply is there is not made again."""
    run: str = ""
    """The journal's name of the run that makes the calls."""
    known: Mapping[CallKey, list[Reply]] = field(default_factory=dict)
    """Replies that are there already, besides those in the journal."""
    parse_retries: int = 0
    """How often a call is repeated while its reply has no readable grade."""
    fill: bool = False
    """Whether a call is made again if the token limit cut its reply in an earlier run."""
    repeat: int = 1
    """Another number asks the same calls again, for the noise of the judge."""
    spending: Spending | None = None
    advance: Callable[[], object] = lambda: None
    """Called after each call, for a progress bar."""
    tally: Tally = field(default_factory=Tally)

    @classmethod
    def of(cls, judge_args: Mapping[str, Any], **others: Any) -> Options:
        """Options from a judge's settings."""
        return cls(
            parse_retries=judge_args.get("parse_retries", 0),
            repeat=judge_args.get(REPEAT, 1),
            **others,
        )


@dataclass(frozen=True)
class _Request:
    """One call to one judge."""

    answer: int
    position: int
    """Place of its grade in the record."""
    call: JudgeCall
    key: CallKey


def judge_batch(
    dataset: Dataset,
    answers: Sequence[Answer],
    judges: Sequence[Judge],
    run: RunInfo,
    options: Options | None = None,
) -> list[AnswerRecord]:
    """Run `judge_answers` in a new event loop, and close the judges in it."""

    async def work() -> list[AnswerRecord]:
        try:
            return await judge_answers(dataset, answers, judges, run, options)
        finally:
            for judge in judges:
                await judge.close()

    return run_async(work)


async def judge_answers(
    dataset: Dataset,
    answers: Sequence[Answer],
    judges: Sequence[Judge],
    run: RunInfo,
    options: Options | None = None,
) -> list[AnswerRecord]:
    """Judge answers.

    Args:
        dataset: Items and dimensions of the answers.
        answers: The answers.
        judges: The panel. Without a judge, the records hold the answers only.
        run: Copied into the records.
        options: Journal, retries, budget, progress.

    Returns:
        One record per answer, in order. A failed call is a grade with outcome ``judge_error``, a cut reply one
        with outcome ``cut``. If the budget stopped the batch (`Tally.stopped`), the calls that were not made count
        as missing.
    """
    options = options or Options()
    grades: list[dict[int, GradeRecord]] = [{} for _ in answers]

    async def work(judge: Judge, requests: Iterator[_Request]) -> None:
        for request in requests:
            replies = _saved(request.key, judge, options)
            reply = await _reply(request, judge, answers[request.answer], dataset, replies, options)
            if reply is None:
                options.tally.stopped = True
                return
            grade = _grade(request.call, judge, reply, dataset.benchmark.judge.scale, len(replies))
            _count(options.tally, grade, reply)
            grades[request.answer][request.position] = grade
            options.advance()

    # An Inspect scorer judges one answer at a time: it needs a worker per call, not per connection.
    wanted = sum(item_calls(dataset, answer.item) for answer in answers)
    with _frozen_heap(), _input_errors_alone():
        async with anyio.create_task_group() as group:
            for number, judge in enumerate(judges):
                requests = _requests(dataset, answers, judge, number, len(judges), options)
                # Workers share one iterator, so prompts are sent in order: those with the same question and
                # answer follow each other, which the judge's prefix cache can use.
                for _ in range(min(judge.connections, wanted)):
                    group.start_soon(work, judge, requests)
    infos, design = [judge.info for judge in judges], Design.of(dataset)
    return [
        make_record(
            design,
            answer,
            infos,
            [found[n] for n in sorted(found)],
            run,
            expected=item_calls(dataset, answer.item) * len(judges),
            criteria=criterion_texts(dataset, [answer.item]) if judges else None,
        )
        for answer, found in zip(answers, grades, strict=True)
    ]


_batches_under_way = 0


@contextlib.contextmanager
def _frozen_heap() -> Iterator[None]:
    """Exclude existing objects from garbage collection while calls are made.

    Thousands of calls cause dozens of full collections. Each walks every object of the libraries and of a
    loaded model, which takes a tenth of an eval's time. Inspect scores many answers at once: the last one to
    finish unfreezes the heap.
    """
    global _batches_under_way
    if not _batches_under_way:
        gc.freeze()
    _batches_under_way += 1
    try:
        yield
    finally:
        _batches_under_way -= 1
        if not _batches_under_way:
            gc.unfreeze()


@contextlib.contextmanager
def _input_errors_alone() -> Iterator[None]:
    """Raise one InputError in place of a group: a full disk stops every worker with the same message."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException | None = group.subgroup(InputError)
        if error is None:
            raise
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None


def _saved(key: CallKey, judge: Judge, options: Options) -> list[Reply]:
    """The replies to a call that are there already, attempts in order."""
    if known := options.known.get(key):
        return list(known)
    saved = options.journal.replies(key.digest) if options.journal else []
    for reply in saved:
        options.tally.oldest = min(options.tally.oldest, reply.at)
        if options.spending and reply.run == options.run:
            options.spending.include(judge.info.name, reply)
    return saved


async def _reply(
    request: _Request, judge: Judge, answer: Answer, dataset: Dataset, replies: list[Reply], options: Options
) -> Reply | None:
    """The last reply to a request, from the journal or the judge. None if the budget forbids the call."""
    prompt, scale = request.call.prompt, dataset.benchmark.judge.scale
    reply = replies[-1] if replies else None
    most = 1 + options.parse_retries
    if options.fill and reply is not None and reply.stop_reason in CUT:
        most += sum(saved.run != options.run for saved in replies)
    options.tally.reused += reply is not None and not _is_open(reply, scale, len(replies), most)
    while reply is None or _is_open(reply, scale, len(replies), most):
        if options.spending and not options.spending.allows(judge.info.name, prompt):
            return None
        reply = replace(await judge.ask(prompt, _about(request.call, answer, dataset)), at=time.time())
        options.tally.asked += reply.requested
        options.tally.retries += reply.retries
        if options.spending:
            options.spending.settle(judge.info.name, prompt, reply)
        if reply.text is not None:
            replies.append(reply)
        if options.journal:
            options.journal.add_reply(request.key, len(replies), reply, options.run)
        if reply.text is None:
            break
    return reply


def _about(call: JudgeCall, answer: Answer, dataset: Dataset) -> dict[str, Any]:
    """What a judge prompt asks about, for a judge that does not read words."""
    indicators = indicators_of(answer.item, dataset.dimensions[call.dimension])
    return {"answer": answer.text, "indicators": indicators, "scale": dataset.benchmark.judge.scale}


def _requests(
    dataset: Dataset, answers: Sequence[Answer], judge: Judge, number: int, panel: int, options: Options
) -> Iterator[_Request]:
    """The requests for one judge. Positions interleave the panel, so records do not depend on timing."""
    for index, answer in enumerate(answers):
        for position, call in enumerate(judge_calls(dataset, answer.item, answer.text, answer.turns)):
            key = CallKey(
                benchmark=dataset.benchmark.name,
                item=answer.item.id,
                epoch=answer.epoch,
                dimension=call.dimension,
                variables=call.variables,
                judge=judge.info.name,
                settings=judge.settings,
                prompt_hash=call.prompt_hash,
                repeat=options.repeat,
            )
            yield _Request(index, position * panel + number, call, key)


def _is_open(reply: Reply, scale: Scale, replies: int, most: int) -> bool:
    """Whether the call is made again: its last reply gives no grade, and there may be more replies."""
    return replies < most and read_reply(reply.text, reply.stop_reason, scale).worth is None


def _what_was_cut(reply: Reply) -> str:
    limit = f"{reply.output_tokens} tokens" if reply.output_tokens else "the token limit"
    what = f"cut after {limit}" if (reply.text or "").strip() else f"no words: {limit} went into reasoning"
    return f"{what}; raise max_tokens in judge_args"


def _grade(call: JudgeCall, judge: Judge, reply: Reply, scale: Scale, attempts: int) -> GradeRecord:
    outcome, raw, worth = read_reply(reply.text, reply.stop_reason, scale)
    return GradeRecord(
        dimension=call.dimension,
        variables=dict(call.variables),
        judge=judge.info.name,
        outcome=outcome,
        grade=worth,
        rationale=reply.text,
        prompt_hash=call.prompt_hash,
        error=_what_was_cut(reply) if outcome == "cut" else reply.error,
        attempts=max(1, attempts),
        stop_reason=reply.stop_reason,
        raw=raw,
        scale=scale.name,
        criterion=call.criterion,
        at=date_of(reply.at) if judge.info.is_llm and reply.at else None,
        served=dict(reply.served) if judge.info.is_llm and reply.served else None,
    )


def _count(tally: Tally, grade: GradeRecord, reply: Reply) -> None:
    if grade.outcome == "unparsed":
        tally.unparsed += 1
    elif grade.outcome == "cut":
        tally.cut += 1
        tally.last_cut = grade.error
    elif grade.outcome == "judge_error":
        tally.errors += 1
        tally.last_error = grade.error
        tally.refused += reply.refused


def nothing_readable(records: Sequence[AnswerRecord]) -> str | None:
    """What to say of a run in which judges replied and no reply has a readable grade. None for any other run."""
    grades = [grade for record in records for grade in record.grades]
    replies = [grade for grade in grades if grade.outcome in ("unparsed", "cut")]
    if not replies or any(grade.outcome == "graded" for grade in grades):
        return None
    first = next((grade for grade in replies if grade.outcome == "unparsed"), replies[0])
    reply = first.rationale or ""
    scale = benchmark_of(records[0]).judge.scale
    why = "the token limit cut it" if first.outcome == "cut" else why_unreadable(split(reply)[0], scale)
    text = " ".join(reply.split())
    shown = text if len(text) <= SHOWN else f"... {text[-SHOWN:]}"  # the grade is expected at the end
    return (
        f'no judge reply has a readable grade (0 of {len(replies)}). One of them: "{printable(shown)}". Why it is '
        f"not read: {printable(why)}. If the reply is cut off, raise max_tokens in judge_args. If the judge writes its "
        "grade in another way, change the judge's prompt or `judge.pattern` (`value-retention check` shows what is "
        "read), or take another judge"
    )


def run_async(work: Callable[[], Awaitable[T]]) -> T:
    """Run a coroutine to completion, also from inside a running event loop (a notebook)."""

    async def start() -> T:
        return await work()

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(start())
    outcome: list[T] = []
    failure: list[BaseException] = []

    def target() -> None:
        try:
            outcome.append(asyncio.run(start()))
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=target, name="value-retention-judging")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]
