"""From item and answer to judge prompts: the calls that an answer needs, and their exact words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product

from value_retention.tasks import upstream
from value_retention.tasks.benchmark import Benchmark, ImportedPrompt
from value_retention.tasks.data import Dataset, Dimension, Item
from value_retention.tasks.errors import InputError
from value_retention.tasks.record import criterion_hash, text_hash
from value_retention.tasks.scale import instructions

_PLACEHOLDER = re.compile(r"\{\{([^}]+)\}\}")
_FIELD = re.compile(r"\{(\w+)\}")

Variables = tuple[tuple[str, str], ...]

Criterion = tuple[str, Variables]
"""What one grade is about: a dimension, and one value for each placeholder."""


@dataclass(frozen=True)
class JudgeCall:
    """One prompt: an answer, one dimension, and one value for each placeholder."""

    dimension: str
    variables: Variables
    prompt: str
    prompt_hash: str
    """SHA-256 of `prompt`."""
    criterion: str
    """Hash of the criterion's text (see `criterion_texts`)."""


def variable_sets(dimension: Dimension, item: Item) -> list[Variables]:
    """Every combination of values for the placeholders of a dimension's guiding question.

    A placeholder without values is replaced by its name. Without placeholders there is one empty combination.
    Order: first occurrence of the placeholder, then the data's order of values.
    """
    values = dict(item.variables)
    names = dict.fromkeys(_PLACEHOLDER.findall(dimension.guiding_question))
    choices = [[(name, value) for value in values.get(name) or (name,)] for name in names]
    return [tuple(combination) for combination in product(*choices)]


def guiding_question(dimension: Dimension, variables: Variables) -> str:
    """The guiding question with its placeholders filled in one pass."""
    filled = dict(variables)
    return _PLACEHOLDER.sub(lambda match: filled.get(match[1], match[0]), dimension.guiding_question)


def criteria_of(dataset: Dataset, item: Item) -> list[Criterion]:
    """What each judge grades in an answer: the item's dimensions, each with all of its variable sets."""
    return [
        (name, variables)
        for name in item.dimensions
        for variables in variable_sets(dataset.dimensions[name], item)
    ]


def literal(text: str) -> str:
    """The text with braces doubled, so that ``str.format`` returns it unchanged."""
    return text.replace("{", "{{").replace("}", "}}")


def template_of(benchmark: Benchmark) -> str:
    """The judge prompt before anything is filled in."""
    prompt = benchmark.judge.prompt
    return upstream.imported(prompt.source) if isinstance(prompt, ImportedPrompt) else prompt.text


def words_hash(benchmark: Benchmark, revision: str) -> str:
    """SHA-256 of the judge prompt before question, answer and criterion are filled in."""
    template = template_of(benchmark)
    named = revision if "{revision}" in template else ""
    return text_hash("\0".join([template, instructions(benchmark.judge.scale), named]))


@cache
def _filled(template: str, revision: str, name: str, guiding: str, indicators: str) -> str:
    """A prompt of Inspect Evals with the dimension filled in, but not question, answer and instructions.

    Upstream formats twice, so it reads a brace in a dimension's text as a field. Here the text is literal. Without
    braces, as in the pinned data, both give the same prompt.
    """
    return template.format(
        revision=literal(revision),
        dimension=literal(name),
        guiding_question=literal(guiding),
        indicators=literal(indicators),
    )


def asked(item: Item, turns: Sequence[str] = ()) -> str:
    """What the judge sees as the question: the question, or the conversation up to the answer.

    Args:
        item: The item.
        turns: The conversation before the answer, from the question on. Empty for a question alone.
    """
    if not turns:
        return item.question
    return "\n\n".join(f"{'Assistant' if n % 2 else 'User'}: {text}" for n, text in enumerate(turns))


def judge_prompt(
    dataset: Dataset,
    item: Item,
    dimension: Dimension,
    variables: Variables,
    answer: str,
    turns: Sequence[str] = (),
) -> str:
    """The prompt for one dimension. An imported one is as upstream renders it.

    Markers in question and answer are defused. Substitution is one pass, so braces and field names in the texts stay
    unchanged.
    """
    benchmark, guiding = dataset.benchmark, guiding_question(dimension, variables)
    filled = {
        "question": upstream.neutralize(asked(item, turns)),
        "answer": upstream.neutralize(answer),
        "instructions": instructions(benchmark.judge.scale),
    }
    template, indicators = template_of(benchmark), indicators_of(item, dimension)
    if isinstance(benchmark.judge.prompt, ImportedPrompt) and "{{question}}" in template:
        return _filled(template, dataset.prompt_revision, dimension.name, guiding, indicators).format(
            **filled
        )
    filled |= {
        "rubric": item.rubric or "",
        "criterion": indicators or guiding,
        "dimension": dimension.name,
        "guiding_question": guiding,
        "indicators": dimension.indicators,
    }
    return _FIELD.sub(lambda match: filled.get(match[1], match[0]), template)


def indicators_of(item: Item, dimension: Dimension) -> str:
    """What a judge looks for: the dimension's indicators and the question's own rubric."""
    return "\n".join(filter(None, (dimension.indicators, item.rubric)))


def judge_calls(dataset: Dataset, item: Item, answer: str, turns: Sequence[str] = ()) -> Iterator[JudgeCall]:
    """The calls that one answer needs, in the order of its criteria.

    Calls with the same question and answer are adjacent, so a judge's prefix cache can serve them.

    Args:
        dataset: The dataset of the item.
        item: The item.
        answer: The answer.
        turns: The conversation before the answer, if there was one.
    """
    for name, variables in criteria_of(dataset, item):
        dimension = dataset.dimensions[name]
        prompt = judge_prompt(dataset, item, dimension, variables, answer, turns)
        criterion = criterion_hash(criterion_text(item, dimension, variables))
        yield JudgeCall(name, variables, prompt, text_hash(prompt), criterion)


def criterion_text(item: Item, dimension: Dimension, variables: Variables) -> str:
    """A criterion as the judge is asked it: name, guiding question with its values, and what the judge looks for."""
    parts = (dimension.name, guiding_question(dimension, variables), indicators_of(item, dimension))
    return "\n\n".join(filter(None, parts))


def criterion_texts(dataset: Dataset, items: Iterable[Item]) -> dict[str, str]:
    """The criteria of items, by the hash that grades hold (see `record.criterion_hash`)."""
    texts = (
        criterion_text(item, dataset.dimensions[name], variables)
        for item in items
        for name, variables in criteria_of(dataset, item)
    )
    return {criterion_hash(text): text for text in texts}


def item_calls(dataset: Dataset, item: Item) -> int:
    """Number of judge calls for one answer and one judge."""
    return len(criteria_of(dataset, item))


CEILING_NOTE = "ceiling test, not a benchmark score"
"""What tables and logs say of a run whose model was shown the criteria."""


def ceiling_system_prompt(dataset: Dataset) -> str:
    """System prompt of the ceiling test: it shows the model the criteria of every dimension.

    Raises:
        InputError: the criteria are rubrics of single questions.
    """
    if not dataset.benchmark.dimensions:
        raise InputError(
            "the ceiling test needs dimensions that hold for every question",
            where=dataset.benchmark.name,
            found="one rubric per question",
        )
    criteria = "\n\n".join(
        f"{dimension.name}: {_PLACEHOLDER.sub(lambda match: match[1], dimension.guiding_question)}"
        for dimension in dataset.dimensions.values()
    )
    return f"Your answers will be assessed on these criteria. Meet every one that applies.\n\n{criteria}"
