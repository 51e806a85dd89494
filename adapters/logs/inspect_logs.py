"""Records out of Inspect logs (``.eval`` or ``.json``)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from value_retention.adapters.logs.upstream_logs import upstream_benchmark, upstream_records
from value_retention.tasks.check import checked
from value_retention.tasks.errors import InputError
from value_retention.tasks.record import AnswerRecord

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog

RECORD = "record"
"""Key of the record in a score's metadata."""

UNUSED = {"store", "messages", "output"}
EVENTS = {"events", "attachments"}


def read_log(path: Path) -> Iterator[AnswerRecord]:
    """Records of one log of our tasks, or of the upstream evals (see `upstream_logs`).

    Raises:
        InputError: a file that is no Inspect log, one that was cut off, the log of another eval, or a record
            of ours that does not hold together.
    """
    log = _open(path, events=False)
    if upstream_benchmark(log.eval.task) is not None:
        yield from upstream_records(log, str(path), lambda: _open(path, events=True))
        return
    found = False
    for sample in log.samples or ():
        where = f"{path}, sample {sample.id} epoch {sample.epoch}"
        records = [
            r for s in (sample.scores or {}).values() if (r := (s.metadata or {}).get(RECORD)) is not None
        ]
        if len(records) > 1:
            raise InputError(
                "a log with several scores for an answer: which one counts?",
                where=where,
                found=", ".join(sample.scores or {}),
                expected="one score",
                hint="score it with `inspect score --action overwrite --output-file NEW`, or regrade it with "
                "`value-retention judge`, which keeps what is there",
            )
        for record in records:
            found = True
            yield checked(AnswerRecord.from_dict(record, where), where)
    if not found:
        raise InputError(
            "an Inspect log without records of this project",
            where=str(path),
            found=f"eval {log.eval.task}, status {log.status}, {len(log.samples or ())} samples",
            expected="a log of value_retention/anima_2_2 or value_retention/moru_multi with scored samples, or "
            "of inspect_evals/anima, ahb or moru",
        )


def _open(path: Path, events: bool) -> EvalLog:
    from inspect_ai.log import read_eval_log

    try:
        return read_eval_log(
            path,
            resolve_attachments="core" if events else False,
            exclude_fields=UNUSED if events else UNUSED | EVENTS,
        )
    # A damaged zip, JSON or schema each raise a type of their own.
    except Exception as error:
        raise InputError(
            "an Inspect log that cannot be read",
            where=str(path),
            found=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}",
            expected="a whole .eval or .json log",
            hint="`inspect log recover` mends a log that an eval left unfinished",
        ) from error
