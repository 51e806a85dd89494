"""Records from Inspect logs (``.eval`` or ``.json``)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from value_retention.adapters.readers.judged import judged_records, judged_score
from value_retention.adapters.readers.upstream import upstream_benchmark, upstream_records
from value_retention.tasks.check import checked
from value_retention.tasks.definition import packaged
from value_retention.tasks.errors import InputError
from value_retention.tasks.record import AnswerRecord

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalSpec

RECORD = "record"
"""Key of the record in a score's metadata."""

UNUSED = {"store", "messages"}
EVENTS = {"events", "attachments"}


class NoRecordsError(InputError):
    """An Inspect log without records: the log of another eval, or of one that failed.

    Attributes:
        path: The file.
        status: The eval's status; ``success`` if it finished.
        ours: Whether the log is of one of our tasks or of the upstream evals.
        about: Task, status and number of samples.
    """

    def __init__(self, log: EvalLog, path: Path, **expected: str) -> None:
        self.path = str(path)
        self.status, self.ours = log.status, is_our_task(log.eval)
        self.about = f"eval {log.eval.task}, status {log.status}, {len(log.samples or ())} samples"
        super().__init__("no records in the Inspect log", where=str(path), found=self.about, **expected)


def read_log(path: Path, score: str | None = None) -> Iterator[AnswerRecord]:
    """Records of one log of our tasks, of the upstream evals (`upstream`) or other judged ones (`judged`).

    Args:
        path: The log.
        score: Name of the score to read, where the log has several.

    Raises:
        NoRecordsError: the log of another eval, or without a scored sample.
        InputError: not an Inspect log, a truncated log, or an inconsistent record.
    """
    log = _with_score(open_log(path), score, path)
    if upstream_benchmark(log.eval.task) is not None:
        if not any(sample.scores for sample in log.samples or ()):
            raise NoRecordsError(
                log,
                path,
                expected="scored samples",
                hint="finish the eval, or score the log with `inspect score`",
            )
        yield from upstream_records(
            log, str(path), lambda: _with_score(open_log(path, events=True), score, path)
        )
        return
    if not is_our_task(log.eval) and (name := judged_score(log, score, str(path))):
        yield from judged_records(log, name, str(path))
        return
    found = False
    for sample in log.samples or ():
        where = f"{path}, sample {sample.id} epoch {sample.epoch}"
        records = [
            r for s in (sample.scores or {}).values() if (r := (s.metadata or {}).get(RECORD)) is not None
        ]
        if len(records) > 1:
            raise InputError(
                "an answer has several scores",
                where=where,
                found=", ".join(sample.scores or {}),
                expected="one score",
                hint="choose one: --score NAME",
            )
        for record in records:
            found = True
            yield checked(AnswerRecord.from_dict(record, where), where)
    if not found:
        raise NoRecordsError(
            log,
            path,
            expected=f"scored samples of a value_retention task, of {_upstream_tasks()}, or of a task with "
            "model_graded_qa or model_graded_fact",
        )


def _upstream_tasks() -> str:
    return ", ".join(f"inspect_evals/{name}" for b in packaged().values() for name in b.upstream_names)


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
        spec.task.rpartition("/")[2].removesuffix("_ceiling") in names
        or any(scorer.name.rpartition("/")[2] == "judged" for scorer in spec.scorers or ())
        or upstream_benchmark(spec.task) is not None
    )


def open_log(path: Path, events: bool = False, header: bool = False) -> EvalLog:
    """Read an Inspect log, without the parts that no reader here uses.

    Args:
        path: The log.
        events: Read the events and attachments too.
        header: Read the header only.

    Raises:
        InputError: not an Inspect log, or a damaged one.
    """
    from inspect_ai.log import read_eval_log

    try:
        return read_eval_log(
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
