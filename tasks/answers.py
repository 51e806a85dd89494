"""From a model's text to a record. The only place that makes an `AnswerRecord`, for readers of foreign logs too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from value_retention.tasks.checks import check_answer
from value_retention.tasks.data import Dataset, Item
from value_retention.tasks.prompts import words_hash
from value_retention.tasks.reasoning import Pairs, split
from value_retention.tasks.record import (
    UNKNOWN,
    AnswerRecord,
    DataInfo,
    GradeRecord,
    JudgeInfo,
    RunInfo,
    text_hash,
    well_formed,
)
from value_retention.tasks.scale import parser_name
from value_retention.tasks.scores import derived


@dataclass(frozen=True)
class Design:
    """What all answers to a benchmark in one run have in common, besides the `RunInfo`.

    Attributes:
        benchmark: Its name.
        version: Its version.
        data: Origin of the questions.
        weights: Weight of each dimension. One that is not there weighs 1.
        parser: Name of the grade parser.
        rubric_hash: Hash of the judge prompt before anything is filled in.
        definition: The benchmark's definition, if it is not of this package.
    """

    benchmark: str
    version: str
    data: DataInfo
    weights: Mapping[str, float]
    parser: str
    rubric_hash: str = UNKNOWN
    definition: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, dataset: Dataset) -> Design:
        """The design of a run on our own data."""
        benchmark = dataset.benchmark
        return cls(
            benchmark.name,
            benchmark.version,
            dataset.info,
            {name: dimension.weight for name, dimension in dataset.dimensions.items()},
            parser_name(benchmark.judge.scale),
            words_hash(benchmark, dataset.prompt_revision),
            benchmark.definition,
        )


@dataclass(frozen=True)
class Answer:
    """The model's answer to one item in one epoch, without its reasoning."""

    item: Item
    epoch: int
    """From 1."""
    text: str
    reasoning: str | None = None
    truncated: bool | None = None
    """Whether the token limit cut the output. None if unknown."""
    thinking: bool | None = None
    """Whether the model thought first: the output has reasoning, the service counted some, or the settings say so.
    None if nothing tells."""
    turns: tuple[str, ...] = ()
    """The conversation before the answer, from the question on. Empty for a question alone."""

    @classmethod
    def of(
        cls,
        item: Item,
        epoch: int,
        written: str,
        thoughts: Sequence[str] = (),
        truncated: bool | None = None,
        turns: Sequence[str] = (),
        thinking: bool | None = None,
        markers: Pairs = (),
    ) -> Answer:
        """Split the raw text. `thinking` is what the settings say; the rest as for `reasoning.split`."""
        removed = [well_formed(thought) for thought in thoughts]
        text, reasoning = split(well_formed(written), removed, thinking, truncated, markers)
        before = tuple(well_formed(turn) for turn in turns)
        return cls(item, epoch, text, reasoning, truncated, True if reasoning else thinking, before)


def make_record(
    design: Design,
    answer: Answer,
    judges: Sequence[JudgeInfo],
    grades: Sequence[GradeRecord],
    run: RunInfo,
    expected: int | None = None,
    criteria: Mapping[str, str] | None = None,
) -> AnswerRecord:
    """Make the record of one answer.

    Args:
        design: What it shares with the other answers of the run.
        answer: The answer.
        judges: The panel. Empty if the answer is saved and judged later.
        grades: One per judge and call, ordered by call, then by judge.
        run: The harness, the model and the sampling settings.
        expected: Number of grades that there should be, if it is not the number of `grades`.
        criteria: Texts of the criteria by their hashes.
    """
    item = answer.item
    weights = {name: design.weights.get(name, 1.0) for name in item.dimensions}
    return AnswerRecord(
        benchmark=design.benchmark,
        benchmark_version=design.version,
        data=design.data,
        item=item.id,
        cluster=item.cluster,
        language=item.language,
        language_raw=item.language_raw,
        source=item.source,
        translation=item.translation,
        epoch=answer.epoch,
        question=item.question,
        answer=answer.text,
        reasoning=answer.reasoning,
        answer_hash=text_hash(answer.text),
        dimensions=item.dimensions,
        weights=weights,
        parser=design.parser,
        judges=tuple(judges),
        grades_expected=len(grades) if expected is None else expected,
        grades=tuple(grades),
        run=run,
        rubric_hash=design.rubric_hash,
        thinking=answer.thinking,
        checks=check_answer(answer.text, item.language, answer.truncated),
        criteria=dict(criteria) if criteria else None,
        definition=dict(design.definition) if design.definition else None,
        turns=answer.turns or None,
        **derived(item.dimensions, weights, grades, judged=bool(judges)),
    )
