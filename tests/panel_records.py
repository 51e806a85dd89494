"""Answers judged by panels, for the tests of agreement and calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from value_retention.analysis.runs.load import Run
from value_retention.tasks.answers import Answer, Design, make_record
from value_retention.tasks.data import Item
from value_retention.tasks.record import (
    AnswerRecord,
    DataInfo,
    GradeRecord,
    JudgeInfo,
    RunInfo,
    canonical_json,
    text_hash,
)

Grades = Mapping[str, Sequence[float | None]]
"""Dimension to one grade per judge; None for a reply without one."""


def judged(
    item: str,
    grades: Grades,
    judges: Sequence[str | JudgeInfo] = ("a", "b"),
    *,
    cluster: str | None = None,
    language: str = "en",
    epoch: int = 1,
    text: str | None = None,
    benchmark: str = "anima_2_2",
    variables: Mapping[str, str] | None = None,
    content: str = "c" * 64,
    reply: str = "reply",
) -> AnswerRecord:
    """One answer, judged by a panel."""
    panel = tuple(j if isinstance(j, JudgeInfo) else JudgeInfo(j, {"temperature": 0}) for j in judges)
    text = f"answer to {item}, epoch {epoch}" if text is None else text
    replies = tuple(
        GradeRecord(
            name,
            dict(variables or {}),
            judge.name,
            "unparsed" if value is None else "graded",
            value,
            f"{reply} of {judge.name}",
            text_hash(f"{item} {name} {text}"),
        )
        for name, values in grades.items()
        for judge, value in zip(panel, values, strict=True)
    )
    asked = Item(item, cluster or item, f"question {item}", language, None, tuple(grades))
    data = DataInfo("hub", "r", content, published=True)
    return make_record(
        Design(benchmark, "6-D", data, {}, "p"),
        Answer(asked, epoch, text),
        panel,
        replies,
        RunInfo("lm_eval", "0", "model"),
    )


def run_of(name: str, records: Sequence[AnswerRecord]) -> Run:
    return Run(name, (f"{name}.records.jsonl",), tuple(records))


def table_run(both: int, first: int, second: int, neither: int, name: str = "r") -> Run:
    """A 2 x 2 table of the passes of two judges as a run, with one answer and cluster per grade."""
    pairs = [(1.0, 1.0)] * both + [(1.0, 0.0)] * first + [(0.0, 1.0)] * second + [(0.0, 0.0)] * neither
    return run_of(name, [judged(str(n), {"Care": pair}) for n, pair in enumerate(pairs)])


def write_run(folder: Path, run: Run) -> Path:
    """The run as a file that the commands read."""
    path = folder / f"{run.name}.records.jsonl"
    path.write_text("".join(record.to_json() + "\n" for record in run.records), "utf-8")
    return path


def label_row(record: AnswerRecord, dimension: str, label: object, **more: object) -> dict[str, object]:
    """A row of a label file for one grade of an answer."""
    grade = next(g for g in record.grades if g.dimension == dimension)
    row = {"item": record.item, "answer_hash": record.answer_hash, "dimension": dimension, "label": label}
    return row | {"variables": canonical_json(grade.variables)} | more
