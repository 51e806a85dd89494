"""Records from Inspect logs (``.eval`` or ``.json``). A log stands for what Inspect says it stands for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from value_retention.adapters.readers.judged import judged_records, judged_score
from value_retention.adapters.readers.own import CRITERIA, record_in, restore
from value_retention.adapters.readers.upstream import upstream_benchmark, upstream_records
from value_retention.tasks.benchmark import packaged
from value_retention.tasks.errors import InputError
from value_retention.tasks.record import AnswerRecord, DroppedRow, RunInfo

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalSample, EvalSpec

UNUSED = {"store", "messages"}
EVENTS = {"events", "attachments"}


class NoRecordsError(InputError):
    """An Inspect log without records: the log of another eval, or of one that failed.

    Attributes:
        path: The file.
        status: The eval's status; ``success`` if it finished.
        ours: Whether the log is of one of our tasks or of the upstream evals.
        about: Task, status, number of samples, and why samples were left out.
    """

    def __init__(self, log: EvalLog, path: Path, left_out: Sequence[DroppedRow] = ()) -> None:
        self.path = str(path)
        self.status, self.ours = log.status, is_our_task(log.eval)
        out = f"; left out: {left_out[0].row} ({left_out[0].reason})" if left_out else ""
        more = f" and {len(left_out) - 1} more" if len(left_out) > 1 else ""
        scored = f"{len(log.samples or ())} samples with a score"
        self.about = f"eval {log.eval.task}, status {log.status}, {scored}{out}{more}"
        upstream = ", ".join(f"inspect_evals/{name}" for b in packaged().values() for name in b.inspect_evals)
        super().__init__(
            "no records in the Inspect log",
            where=str(path),
            found=self.about,
            expected=f"scored samples of a value_retention task, of {upstream}, or of a task with model_graded_qa or "
            "model_graded_fact",
            hint="finish the eval (`inspect eval-retry`), or score the log (`inspect score`)"
            if self.ours
            else None,
        )


def read_log(path: Path, score: str | None = None) -> Iterator[AnswerRecord]:
    """Records of one log of our tasks, of the upstream evals (`upstream`) or other judged ones (`judged`).

    Samples that were invalidated, or failed, have no record. Each record's `RunInfo` names them, and says how many
    questions were asked.

    Args:
        path: The log.
        score: Name of the score to read, where the log has several.

    Raises:
        NoRecordsError: the log of another eval, or without a scored sample.
        InputError: not an Inspect log, a truncated log, or an inconsistent record.
    """
    log = _with_score(open_log(path), score, path)
    upstream = upstream_benchmark(log.eval.task) is not None
    judged = None if upstream or is_our_task(log.eval) else judged_score(log, score, str(path))
    left_out = tuple(_leave_out(log, unscored=judged is None))
    if upstream:
        found = upstream_records(
            log, str(path), lambda: _with_score(open_log(path, events=True), score, path)
        )
    elif judged:
        found = judged_records(log, judged, str(path))
    else:
        found = _own_records(log, str(path))
    ids = log.eval.dataset.sample_ids
    before: RunInfo | None = None
    for record in found:
        if record.run != before:
            before = record.run
            run = replace(record.run, asked=len(set(ids)) if ids else None, left_out=left_out)
        yield replace(record, run=run)
    if before is None:
        raise NoRecordsError(log, path, left_out)


def _own_records(log: EvalLog, path: str) -> Iterator[AnswerRecord]:
    criteria = (log.eval.metadata or {}).get(CRITERIA)
    for sample in log.samples or ():
        record = record_in(sample.scores, f"{path}, sample {sample.id} epoch {sample.epoch}")
        if record is not None:
            yield replace(record, criteria=criteria) if criteria else record
            criteria = None


def _leave_out(log: EvalLog, unscored: bool) -> Iterator[DroppedRow]:
    """Take samples that do not count out of a log, and name them: invalidated ones, and those that are missing.

    Args:
        log: The log.
        unscored: Whether samples without a score are left out, or only those without an answer.
    """
    samples, kept = list(log.samples or ()), []
    for sample in samples:
        reason = why_left_out(sample, unscored)
        if reason is None:
            kept.append(sample)
        else:
            yield DroppedRow(f"{sample.id} epoch {sample.epoch}", reason)
    log.samples = kept
    seen = {(str(sample.id), sample.epoch) for sample in samples}
    for name in log.eval.dataset.sample_ids or ():
        for epoch in range(1, (log.eval.config.epochs or 1) + 1):
            if (str(name), epoch) not in seen:
                reason = f"not answered, the eval's status is {log.status!r}"
                yield DroppedRow(f"{name} epoch {epoch}", reason)


def why_left_out(sample: EvalSample, unscored: bool = True) -> str | None:
    """Why a sample does not count, in one line. None if it counts."""
    if sample.invalidation is not None:
        return (
            f"invalidated by {sample.invalidation.author}: {sample.invalidation.reason or 'no reason given'}"
        )
    if sample.scores or (sample.output.choices and not unscored):
        return None
    if sample.error is not None:
        return f"error: {(sample.error.message.strip() or 'without a message').splitlines()[-1].strip()}"
    return "no score"


def current_logs(paths: Iterable[Path]) -> list[Path]:
    """The logs without those that a later attempt at the same task replaces (`inspect eval-retry`, `eval-set`).

    Logs with one ``task_id`` are attempts at one task. As in Inspect, the last that succeeded counts, and else the
    last.
    """
    best: dict[str, tuple[tuple[bool, str], Path]] = {}
    for path in paths:
        log = open_log(path, header=True)
        rank = (log.status == "success" and not log.invalidated, log.eval.created)
        key = log.eval.task_id or str(path)
        if key not in best or rank > best[key][0]:
            best[key] = rank, path
    return [path for _, path in best.values()]


def _with_score(log: EvalLog, name: str | None, path: Path) -> EvalLog:
    """The log with one of its scores, if it has several and one is named.

    Raises:
        InputError: no score of that name.
    """
    names = list(dict.fromkeys(key for sample in log.samples or () for key in sample.scores or {}))
    if name is None or len(names) < 2:
        return log
    chosen = [key for key in names if name in (key, key.rpartition("/")[2])]
    if len(chosen) != 1:
        raise InputError(
            "unknown score", where=f"--score, {path}", found=name, expected="one of " + ", ".join(names)
        )
    for sample in log.samples or ():
        sample.scores = {key: score for key, score in (sample.scores or {}).items() if key == chosen[0]}
    if log.results:
        own = [s for s in log.results.scores if chosen[0] in (s.scorer, s.name)]
        log.results.scores = own or log.results.scores
    return log


def is_our_task(spec: EvalSpec) -> bool:
    """Whether an eval is one of ours, or of the same benchmarks in Inspect Evals."""
    names = {benchmark.task_name for benchmark in packaged().values()}
    return (
        spec.task.rpartition("/")[2] in names
        or any(scorer.name.rpartition("/")[2] == "judged" for scorer in spec.scorers or ())
        or upstream_benchmark(spec.task) is not None
    )


def open_log(path: Path, events: bool = False, header: bool = False) -> EvalLog:
    """Read an Inspect log, without the parts that no reader here uses. Of edited scores, only the value is as edited.

    Args:
        path: The log.
        events: Read the events and attachments too.
        header: Read the header only.

    Raises:
        InputError: not an Inspect log, or a damaged one.
    """
    from inspect_ai.log import read_eval_log

    try:
        log = read_eval_log(
            path,
            header_only=header,
            resolve_attachments="core" if events else False,
            exclude_fields=UNUSED if events else UNUSED | EVENTS,
        )
    # A damaged zip file, invalid JSON and an invalid schema raise different types.
    except Exception as error:
        raise InputError(
            "cannot read the Inspect log",
            where=str(path),
            found=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}",
            expected="a complete .eval or .json log",
            hint="`inspect log recover` repairs the log of an interrupted eval",
        ) from error
    for sample in log.samples or ():
        for score in (sample.scores or {}).values():
            restore(score)
    return log
