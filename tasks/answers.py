"""From a model's text to a record. The only place that makes an `AnswerRecord`, apart from the log readers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from value_retention.tasks.benchmark import Item
from value_retention.tasks.data import Dataset
from value_retention.tasks.grading import derived, split_reasoning
from value_retention.tasks.prompts import item_calls, words_hash
from value_retention.tasks.record import AnswerRecord, GradeRecord, JudgeInfo, RunInfo, text_hash, well_formed
from value_retention.tasks.scale import parser_name


@dataclass(frozen=True)
class Answer:
    """The model's answer to one item in one epoch, without its reasoning."""

    item: Item
    epoch: int
    """From 1."""
    text: str
    reasoning: str | None
    text_hash: str
    truncated: bool | None = None
    """Whether the token limit cut the output. None if unknown."""
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
    ) -> Answer:
        """Split the raw text. `thoughts` is reasoning that the harness has already removed."""
        text, reasoning = split_reasoning(
            well_formed(written), [well_formed(thought) for thought in thoughts]
        )
        before = tuple(well_formed(turn) for turn in turns)
        return cls(item, epoch, text, reasoning, text_hash(text), truncated, before)


def make_record(
    dataset: Dataset,
    answer: Answer,
    judges: Sequence[JudgeInfo],
    grades: Sequence[GradeRecord],
    run: RunInfo,
) -> AnswerRecord:
    """Make the record of one answer.

    Args:
        dataset: The dataset of the item.
        answer: The answer.
        judges: The panel. Empty if the answer is saved and judged later.
        grades: One per judge and call, ordered by call, then by judge.
        run: The harness, the model and the sampling settings.
    """
    item = answer.item
    weights = {name: dataset.dimensions[name].weight for name in item.dimensions}
    return AnswerRecord(
        benchmark=dataset.benchmark.name,
        benchmark_version=dataset.benchmark.version,
        data=dataset.info,
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
        answer_hash=answer.text_hash,
        dimensions=item.dimensions,
        weights=weights,
        parser=parser_name(dataset.benchmark.scale),
        judges=tuple(judges),
        grades_expected=item_calls(dataset, item) * len(judges),
        grades=tuple(grades),
        run=run,
        rubric_hash=words_hash(dataset.benchmark, dataset.prompt_revision),
        truncated=answer.truncated,
        definition=json.loads(dataset.benchmark.definition) if dataset.benchmark.definition else None,
        turns=answer.turns or None,
        **derived(item.dimensions, weights, grades, judged=bool(judges)),
    )
