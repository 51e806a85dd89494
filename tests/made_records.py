"""Records made by hand for the tests of the analysis: every grade is written down in the test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from value_retention.tasks.answers import Answer, Design, make_record
from value_retention.tasks.data import Item
from value_retention.tasks.record import (
    AnswerRecord,
    DataInfo,
    DroppedRow,
    GradeRecord,
    JudgeInfo,
    RunInfo,
    text_hash,
)

Grades = Mapping[str, float | None]
"""Dimension to grade; None for one that could not be read."""


@dataclass(frozen=True)
class MadeRun:
    """What `compare` takes."""

    name: str
    records: Sequence[AnswerRecord]
    files: Sequence[str] = field(default=())


def answer(
    item: str,
    epoch: int,
    grades: Grades,
    *,
    language: str = "en",
    cluster: str | None = None,
    benchmark: str = "anima_2_2",
    source: str | None = None,
    translation: str | None = None,
    question: str | None = None,
    judge: str = "lab/judge-1",
    settings: Mapping[str, Any] | None = None,
    version: str = "6-D",
    revision: str = "abc",
    dropped: tuple[DroppedRow, ...] = (),
    parser: str = "1",
    text: str = "an answer",
    prompt: str = "prompt",
    weights: Mapping[str, float] | None = None,
    temperature: float = 1.0,
    truncated: bool | None = None,
) -> AnswerRecord:
    """One answer by hand."""
    replies = tuple(
        GradeRecord(name, {}, judge, "unparsed" if g is None else "graded", g, "reply", text_hash(prompt))
        for name, g in grades.items()
    )
    weights = dict(weights or dict.fromkeys(grades, 1.0))
    asked = Item(
        item,
        cluster or item,
        question or f"question {item}",
        language,
        language,
        tuple(grades),
        source=source,
        translation=translation,
    )
    data = DataInfo("hub", revision, "c" * 64, dropped, published=True)
    run = RunInfo("inspect_ai", "0.3.285", "lab/model", {}, {"temperature": temperature})
    return make_record(
        Design(benchmark, version, data, weights, parser),
        Answer(asked, epoch, text, truncated=truncated),
        [JudgeInfo(judge, dict(settings or {}))],
        replies,
        run,
    )


def run_of(name: str, items: Mapping[str, Sequence[Grades]], **common: Any) -> MadeRun:
    """A run from item to the grades of each epoch; further settings go to every answer."""
    records = [
        answer(item, epoch, grades, **common)
        for item, epochs in items.items()
        for epoch, grades in enumerate(epochs, start=1)
    ]
    return MadeRun(name, records, (f"{name}.eval",))
