"""The contamination stamp: no training on rows that nobody compared with the benchmarks."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Any

from value_retention.train.arguments import DataArguments
from value_retention.train.data import Rows, rows_bytes
from value_retention.train.errors import TrainError
from value_retention.train.formats import FORMATS, UnusableRowError, stage_row
from value_retention.train.source import read_source

BENCHMARKS = ("anima_2_2", "moru")
"""What a stamp has to cover, by the names that it gives them: nothing of the benchmarks is imported here."""

HOW = (
    "python -m value_retention.train.data --config ARM.yaml -o rows.jsonl && "
    "value-retention contamination rows.jsonl && add --rows rows.jsonl to this command "
    "(or --contamination_unchecked true, which the run's card will say)"
)


def check_stamp(arguments: DataArguments, rows: Rows) -> dict[str, Any]:
    """Hold the rows against their stamp, before anything is trained.

    Args:
        arguments: Where the stamp is, or that none is wanted.
        rows: What would be trained on. Rows of a shipped sample are the miniature's, and may have been compared
            with the sample items alone.

    Returns:
        The stamp for the run's card, or ``{"status": "unchecked"}``. Its status is ``clean``, or ``clean of
        the sample items`` where the benchmarks themselves were not compared.

    Raises:
        TrainError: There is no stamp, it is not clean, it is for other rows, or it covers too little.
    """
    if arguments.contamination_unchecked:
        print("value-retention train: these rows were not compared with the benchmarks", file=sys.stderr)
        return {"status": "unchecked"}
    path = arguments.contamination_stamp or (f"{arguments.rows}.stamp.json" if arguments.rows else None)
    if path is None or not Path(path).is_file():
        raise TrainError(
            "the rows have no contamination stamp", where=path or "contamination_stamp", hint=HOW
        )
    try:
        stamp = json.loads(Path(path).read_text(encoding="utf-8"))
        sha256, hits, questions = stamp["rows_sha256"], stamp["hits"], stamp["questions"]
        compared = {s["benchmark"]: s["is_benchmark"] is True for s in stamp["sources"] if s["questions"]}
    except (ValueError, TypeError, KeyError) as error:
        raise TrainError("not a contamination stamp", where=path, found=repr(error), hint=HOW) from error
    if sha256 != rows.report.sha256:
        raise TrainError(
            "the contamination stamp is for other rows", where=path, found=f"rows {sha256}",
            expected=f"rows {rows.report.sha256}", hint=HOW,
        )  # fmt: skip
    if hits != 0 or not questions:
        raise TrainError(
            "the contamination stamp is not clean", where=path,
            found=f"{hits} rows share text with the {questions} questions compared",
            hint="value-retention contamination rows.jsonl --drop clean.jsonl, then --rows clean.jsonl",
        )  # fmt: skip
    samples = [name for name in BENCHMARKS if compared.get(name) is False]
    miniature = _are_shipped(arguments, rows)
    lacking = [f"{name} (not compared)" for name in BENCHMARKS if name not in compared]
    if not miniature:
        lacking += [f"{name} (its sample items only, no benchmark)" for name in samples]
    if lacking:
        raise TrainError(
            "the contamination stamp covers too little", where=path, found=f"it lacks {', '.join(lacking)}",
            expected=f"every question of {' and '.join(BENCHMARKS)}"
            + (", or their sample items" if miniature else ", from the hub or a folder"),
            hint=_full_stamp(arguments, "sample" if miniature else "hub"),
        )  # fmt: skip
    return {"status": "clean of the sample items" if samples else "clean", **stamp}


def _are_shipped(arguments: DataArguments, rows: Rows) -> bool:
    """Whether the data set is a shipped sample, and every row one of it."""
    if not (arguments.dataset or "").startswith("sample:") or arguments.dataset_format not in FORMATS:
        return False
    read, _ = FORMATS[arguments.dataset_format]
    shipped = set()
    for raw in read_source(arguments.dataset or "").rows:
        with contextlib.suppress(UnusableRowError):
            shipped.add(rows_bytes([stage_row(read(raw), rows.report.stage)]))
    return all(rows_bytes([row]) in shipped for row in rows.rows)


def _full_stamp(arguments: DataArguments, data: str) -> str:
    """The command that makes a stamp of both benchmarks."""
    made = f"value-retention contamination {arguments.rows or 'rows.jsonl'} --data {data}"
    if arguments.contamination_stamp:
        made += f" -o {arguments.contamination_stamp}"
    return made + (", or --data FOLDER where there is no hub" if data == "hub" else "")
