"""From item and answer to judge prompts: the calls that an answer needs, and their exact words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product

from value_retention.tasks import upstream
from value_retention.tasks.benchmark import Benchmark, Dimension, Item
from value_retention.tasks.load import Dataset
from value_retention.tasks.record import text_hash

_PLACEHOLDER = re.compile(r"\{\{([^}]+)\}\}")

Variables = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class JudgeCall:
    """One prompt: an answer, one dimension, and one value for each placeholder."""

    dimension: str
    variables: Variables
    prompt: str
    prompt_hash: str
    """SHA-256 of `prompt`."""


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


def _literal(text: str) -> str:
    """The text with braces doubled, so that ``str.format`` returns it unchanged."""
    return text.replace("{", "{{").replace("}", "}}")


@cache
def _template(benchmark: Benchmark, revision: str, name: str, guiding: str, indicators: str) -> str:
    """The prompt with the dimension filled in, but not question, answer and instructions.

    Upstream formats twice, so it reads a brace in a dimension's text as a field. Here the text is literal. Without
    braces, as in the pinned data, both give the same prompt.
    """
    return upstream.prompt_template(benchmark.prompt_module).format(
        revision=_literal(revision),
        dimension=_literal(name),
        guiding_question=_literal(guiding),
        indicators=_literal(indicators),
    )


def judge_prompt(
    dataset: Dataset, item: Item, dimension: Dimension, variables: Variables, answer: str
) -> str:
    """The prompt as upstream renders it. Markers in question and answer are defused. Substitution is one pass, so
    braces and field names in them stay unchanged."""
    template = _template(
        dataset.benchmark,
        dataset.prompt_revision,
        dimension.name,
        guiding_question(dimension, variables),
        dimension.indicators,
    )
    return template.format(
        question=upstream.neutralize(item.question),
        answer=upstream.neutralize(answer),
        instructions=upstream.instructions(),
    )


def judge_calls(dataset: Dataset, item: Item, answer: str) -> Iterator[JudgeCall]:
    """The calls that one answer needs, in the order of the item's dimensions and their variable sets.

    Calls with the same question and answer are adjacent, so a judge's prefix cache can serve them.
    """
    for name in item.dimensions:
        dimension = dataset.dimensions[name]
        for variables in variable_sets(dimension, item):
            prompt = judge_prompt(dataset, item, dimension, variables, answer)
            yield JudgeCall(name, variables, prompt, text_hash(prompt))


def item_calls(dataset: Dataset, item: Item) -> int:
    """Number of judge calls for one answer and one judge."""
    return sum(len(variable_sets(dataset.dimensions[name], item)) for name in item.dimensions)


CEILING_NOTE = "ceiling test, not a benchmark score"
"""What tables and logs say of a run whose model was shown the criteria."""


def ceiling_system_prompt(dataset: Dataset) -> str:
    """System prompt of the ceiling test: it shows the model the criteria of every dimension."""
    criteria = "\n\n".join(
        f"{dimension.name}: {_PLACEHOLDER.sub(lambda match: match[1], dimension.guiding_question)}"
        for dimension in dataset.dimensions.values()
    )
    return f"Your answers will be assessed on these criteria. Meet every one that applies.\n\n{criteria}"
