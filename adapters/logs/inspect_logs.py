"""Records from Inspect logs (``.eval`` or ``.json``)."""

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
        InputError: not an Inspect log, a truncated log, the log of another eval, or an inconsistent record.
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
                "an answer has several scores",
                where=where,
                found=", ".join(sample.scores or {}),
                expected="one score",
                hint="score the log with `inspect score --action overwrite --output-file NEW`, or use "
                "`value-retention judge`, which leaves the log unchanged",
            )
        for record in records:
            found = True
            yield checked(AnswerRecord.from_dict(record, where), where)
    if not found:
        raise InputError(
            "no records in the Inspect log",
            where=str(path),
            found=f"eval {log.eval.task}, status {log.status}, {len(log.samples or ())} samples",
            expected="scored samples of value_retention/anima_2_2, value_retention/moru_multi, "
            "inspect_evals/anima, ahb or moru",
        )


def _open(path: Path, events: bool) -> EvalLog:
    from inspect_ai.log import read_eval_log

    try:
        return read_eval_log(
            path,
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
