"""A benchmark tried out: a judge prompt, replies that are read and refused, three answers graded by ``lexical``."""

from __future__ import annotations

from decimal import Decimal

from value_retention.adapters.judges.client import make_judges
from value_retention.adapters.judges.lexical import indicator_phrases, on_scale
from value_retention.adapters.judges.run import judge_batch
from value_retention.adapters.settings import LEXICAL
from value_retention.analysis.planning.plan import conversation
from value_retention.tasks.answers import Answer
from value_retention.tasks.data import Dataset, Item
from value_retention.tasks.prompts import judge_calls
from value_retention.tasks.record import AnswerRecord, RunInfo
from value_retention.tasks.scale import Scale, parse_grade, why_unreadable

TRIED = 3
PLAIN = "I would think about everyone who is affected before I decide."


def example_prompt(dataset: Dataset) -> tuple[str, str]:
    """Question and judge prompt of the first call for the first question, with an invented answer."""
    item = dataset.items[0]
    call = next(judge_calls(dataset, item, PLAIN, conversation(item, PLAIN)))
    return f"question {item.id}, {call.dimension}", call.prompt


def trial(dataset: Dataset) -> list[AnswerRecord]:
    """Grade invented answers to the first questions with the judge ``lexical``, in this process.

    Returns:
        Three records: of an answer with a phrase that the judge looks for, of a plain answer, and of an empty one.
    """
    items = [dataset.items[number % len(dataset.items)] for number in range(TRIED)]
    texts = (_fitting(dataset, items[0]), PLAIN, "")
    answers = [
        Answer.of(item, epoch, text, turns=conversation(item, PLAIN))
        for epoch, (item, text) in enumerate(zip(items, texts, strict=True), 1)
    ]
    return judge_batch(dataset, answers, make_judges([LEXICAL], {}), RunInfo("check", "", "invented answers"))


def _fitting(dataset: Dataset, item: Item) -> str:
    criteria = [item.rubric or "", *(dataset.dimensions[name].indicators for name in item.dimensions)]
    phrases = [phrase for text in criteria for phrase, _ in indicator_phrases(text)]
    return f"{PLAIN} {', '.join(phrases)}."


def unreadable_grades(scale: Scale) -> list[str]:
    """Grades that the parser does not read back from a reply in the form that the instructions ask for."""
    if scale.pattern:
        return []  # the prompt says how a grade is written
    return [
        grade for grade, worth in scale.worth if parse_grade(f"Because.\n\nGRADE: {grade}", scale) != worth
    ]


def example_replies(scale: Scale) -> tuple[list[tuple[str, float]], list[tuple[str, str]]]:
    """Replies of a judge that the parser of a scale reads, with their worth, and others, with the reason.

    Returns:
        Two of each, all of them tried. None that is read if the scale has a pattern that wants another form.
    """
    good, poor = (on_scale(f"Because.\nGRADE: {letter}", scale) for letter in "CI")
    best, worst = (choose(scale.worth, key=lambda pair: pair[1])[0] for choose in (max, min))
    before, _, after = good.rpartition(best)
    wrong = [f"{best}, because it fits", f"{best} or {worst}", "none"]
    if scale.kind == "numbers":
        grades = [Decimal(grade) for grade, _ in scale.worth]
        wrong.insert(0, f"{grades[-1] + grades[1] - grades[0]}")
    others = [*(f"{before}{text}{after}" for text in wrong), "I cannot grade this answer."]
    read = [(text, worth) for text in (good, poor) if (worth := parse_grade(text, scale)) is not None]
    refused = [(text, why_unreadable(text, scale)) for text in others if parse_grade(text, scale) is None]
    return read, refused[:2]
