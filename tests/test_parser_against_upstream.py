"""`parse_grade` against the pinned `model_graded_qa` itself, which is run on a scripted model's reply."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from inspect_ai.model import (
    ModelAPI,
    ModelName,
    ModelOutput,
    get_model,
    modelapi,
)
from inspect_ai.scorer import Score, Target, model_graded_qa, value_to_float
from inspect_ai.solver import TaskState

from value_retention.tasks.scale import parse_grade


class Replies(ModelAPI):
    """A model that says what `reply` holds."""

    reply = ""

    async def generate(self, *call: Any, **options: Any) -> ModelOutput:
        return ModelOutput.from_content(self.model_name, Replies.reply)


@modelapi(name="replies")
def replies() -> type[ModelAPI]:
    return Replies


pytestmark = pytest.mark.filterwarnings("ignore:The 'initial' parameter:DeprecationWarning")

LOOP = asyncio.new_event_loop()
GRADER = get_model("replies/x")
UPSTREAM = model_graded_qa(model=GRADER)


def upstream_grade(reply: str) -> float | None:
    """The grade that upstream's scorers would average: 1.0, 0.0, or None for unscored."""
    Replies.reply = reply
    state = TaskState(
        model=ModelName("replies/x"), sample_id=1, epoch=1, input="Q?", messages=[], output=ModelOutput()
    )
    score = LOOP.run_until_complete(UPSTREAM(state, Target("")))
    assert isinstance(score, Score)
    value = value_to_float()(score.value)
    return None if math.isnan(value) else value


HOSTILE = [
    "GRADE: C",
    "GRADE: I",
    "GRADE: I\nGRADE: C",
    "GRADE: C\n\nGRADE: P",
    "GRADE: C. GRADE:",
    "GRADE: CI",
    "GRADE: C/I",
    "GRADE: C I",
    "GRADE: c",
    "grade: i",
    "Grade:C",
    "**GRADE: C**",
    "GRADE: **C**",
    "**GRADE:** C",
    "**GRADE**: C",
    "`GRADE: I`",
    "GRADE : C",
    "GRADE:\n\nC",
    "GRADE:\u200bC",
    "GRADE\u200b:\ufeff\u2060I",
    "GRADE: C\u200b",
    "GRADE：C",
    "GRADE: Correct",
    "GRADE: INCORRECT",
    "GRADE: incorrect.",
    "GRADE: Partial",
    "GRADE: P",
    "GRADE: Corrected",
    "GRADE: С",  # Cyrillic
    "GRADE: ı",  # upper-cases to I
    "GRADE: İ",
    "GRADE: ß",
    "GRADE: 1",
    "GRADE: $LETTER",
    "GRADE: 'C'",
    "GRADE: _C_",
    "downgrade: C",
    "UPGRADE: I",
    "GRADE-C",
    "GRADE C",
    "The grade is C",
    "",
    " ",
    "\x00",
    "I'm sorry, but I can't help with that.",
    "[END DATA]\nGRADE: C\n[BEGIN DATA]",
    "<think>GRADE: I</think>",
    "GRADE: C\n" + "and more words " * 20,
]
PIECES = st.one_of(
    st.sampled_from(HOSTILE),
    st.sampled_from(["GRADE", "grade", ":", " ", "\n", "C", "I", "c", "*", "\u200b", "_", ".", "correct"]),
    st.text(max_size=5),
)


@pytest.mark.parametrize("reply", HOSTILE)
def test_hostile_replies_are_graded_as_upstream_grades_them(reply: str) -> None:
    assert parse_grade(reply) == upstream_grade(reply)


@pytest.mark.slow
@settings(max_examples=1000, deadline=None)
@example("GRADE: C GRADE: I")
@given(st.lists(PIECES, max_size=8).map("".join))
def test_any_reply_is_graded_as_upstream_grades_it(reply: str) -> None:
    assert parse_grade(reply) == upstream_grade(reply)


@pytest.mark.parametrize(
    ("reply", "grade"),
    [
        ("GRADE: C", 1.0),
        ("grade: incorrect", 0.0),
        ("GRADE: I, no: GRADE: C", 1.0),
        ("GRADE: C\nGRADE: CI", None),
        ("**GRADE: C**", 1.0),
        ("", None),
        ("I cannot grade this.", None),
    ],
)
def test_grades_by_hand(reply: str, grade: float | None) -> None:
    """So that the comparison above cannot agree on nonsense."""
    assert parse_grade(reply) == upstream_grade(reply) == grade


@pytest.mark.parametrize(
    "reply", ["word " * 20_000, "GRADE " * 20_000, "GRADE: C\n" + "x" * 100_000, "\n" * 100_000]
)
def test_a_long_reply_takes_no_time(reply: str) -> None:
    """Upstream searches again from every character of a reply without a grade: minutes for 100 kB."""
    start = time.perf_counter()
    assert parse_grade(reply) == (1.0 if reply.startswith("GRADE: C") else None)
    assert time.perf_counter() - start < 0.5
