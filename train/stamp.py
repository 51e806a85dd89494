"""The contamination stamp: training needs rows that were compared with the benchmarks."""

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
"""What a stamp must cover, by name. This folder imports nothing of the benchmarks."""

HOW = (
    "python -m value_retention.train.data --config ARM.yaml -o rows.jsonl && "
    "value-retention contamination rows.jsonl, then add --rows rows.jsonl to this command. "
    "--contamination_unchecked true skips the check, and the run's card records that"
)


def check_stamp(arguments: DataArguments, rows: Rows) -> dict[str, Any]:
    """Check the contamination stamp of the rows before training.

    Args:
        arguments: Where the stamp is, or that the check is off.
        rows: What to train on. Rows of a shipped sample (the miniature) need a comparison with the sample items
            only.

    Returns:
        The stamp for the run's card, or ``{"status": "unchecked"}``. Its status is ``clean``, or ``clean of
        the sample items`` if the rows were not compared with the benchmarks themselves.

    Raises:
        TrainError: The stamp is missing, has hits, is for other rows, or does not cover the benchmarks.
    """
    if arguments.contamination_unchecked:
        print("value-retention train: the rows were not compared with the benchmarks", file=sys.stderr)
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
        raise TrainError("invalid contamination stamp", where=path, found=repr(error), hint=HOW) from error
    if sha256 != rows.report.sha256:
        raise TrainError(
            "the contamination stamp is for other rows", where=path, found=f"rows {sha256}",
            expected=f"rows {rows.report.sha256}", hint=HOW,
        )  # fmt: skip
    if hits != 0 or not questions:
        raise TrainError(
            "the contamination stamp is not clean", where=path,
            found=f"{hits} rows share text with one of {questions} questions",
            hint="value-retention contamination rows.jsonl --drop clean.jsonl, then --rows clean.jsonl",
        )  # fmt: skip
    samples = [name for name in BENCHMARKS if compared.get(name) is False]
    miniature = _are_shipped(arguments, rows)
    lacking = [f"{name} (not compared)" for name in BENCHMARKS if name not in compared]
    if not miniature:
        lacking += [f"{name} (only its sample items)" for name in samples]
    if lacking:
        data = "sample" if miniature else "hub"
        output = f" -o {arguments.contamination_stamp}" if arguments.contamination_stamp else ""
        raise TrainError(
            "the contamination stamp does not cover the benchmarks", where=path,
            found=f"missing: {', '.join(lacking)}",
            expected=f"every question of {' and '.join(BENCHMARKS)}"
            + (", or their sample items" if miniature else ", from the hub or a folder"),
            hint=f"value-retention contamination {arguments.rows or 'rows.jsonl'} --data {data}{output}"
            + ("" if miniature else ", or --data FOLDER without network access"),
        )  # fmt: skip
    return {"status": "clean of the sample items" if samples else "clean", **stamp}


def _are_shipped(arguments: DataArguments, rows: Rows) -> bool:
    """Whether the data set is a shipped sample and contains every row."""
    if not (arguments.dataset or "").startswith("sample:") or arguments.dataset_format not in FORMATS:
        return False
    read, _ = FORMATS[arguments.dataset_format]
    shipped = set()
    for raw in read_source(arguments.dataset or "").rows:
        with contextlib.suppress(UnusableRowError):
            shipped.add(rows_bytes([stage_row(read(raw), rows.report.stage)]))
    return all(rows_bytes([row]) in shipped for row in rows.rows)
