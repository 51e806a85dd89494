"""Questions and rubrics planted into training rows, and how many the contamination check finds.

    python tests/planted.py [--data FOLDER]

"n-grams" is what 13 words in a row of the question as stored would find in one text, without anything else.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from value_retention.analysis.planning.contamination.check import check_rows
from value_retention.analysis.planning.contamination.passages import N, read_passages
from value_retention.analysis.planning.contamination.rows import texts_of
from value_retention.analysis.planning.contamination.words import tokens
from value_retention.tasks.benchmark import find_benchmark, packaged
from value_retention.tasks.data import Dataset, Dimension, Item, load
from value_retention.tasks.errors import InputError
from value_retention.tasks.prompts import guiding_question, variable_sets
from value_retention.train.data import SAMPLES

LOOKALIKE = str.maketrans("aceiopxyABCEHKMOPTX", "асеіорхуАВСЕНКМОРТХ")
WIDE = {code: code + 0xFEE0 for code in range(0x21, 0x7F)} | {0x20: 0x3000}
RUBRIC = "rubric"
ORDINARY = "Well then, here is what I was asked yesterday, and I am curious what others think about it."


def unmarked(text: str) -> str:
    """Without punctuation and symbols, in capitals."""
    kept = (" " if unicodedata.category(c)[0] in "PS" else c for c in text)
    return "".join(kept).upper()


def inserted(text: str) -> str:
    """A word more after every ten; after every ten characters in a script without spaces."""
    words = text.split()
    if len(words) < len(text) / 15:
        return "well".join(text[at : at + 10] for at in range(0, len(text), 10))
    return " ".join(w + (" really" if at % 10 == 5 else "") for at, w in enumerate(words))


def mistyped(text: str) -> str:
    """Two letters exchanged in every eighth word; in every eighth pair of characters without spaces."""
    words = text.split()
    if len(words) < len(text) / 15:
        return "".join(text[at + 1] + text[at] + text[at + 2 : at + 8] for at in range(0, len(text) - 1, 8))
    for at in range(3, len(words), 8):
        word, middle = words[at], len(words[at]) // 2
        words[at] = (
            word[: middle - 1] + word[middle] + word[middle - 1] + word[middle + 1 :] if middle else "x"
        )
    return " ".join(words)


def split_over_turns(text: str) -> list[dict[str, str]]:
    words = text.split(" ") if " " in text else list(text)
    glue, half = (" ", len(words) // 2) if " " in text else ("", len(words) // 2)
    return [
        {"role": "user", "content": glue.join(words[:half])},
        {"role": "assistant", "content": "I see. Tell me more."},
        {"role": "user", "content": glue.join(words[half:])},
    ]


def unanswered(text: str) -> str:
    """Without the label that some questions end in, or start with."""
    return re.sub(r"\s*Answer:\s*$", "", re.sub(r"^\s*Question:\s*", "", text))


FORMS: dict[str, Callable[[str], Any]] = {
    "verbatim": lambda text: text,
    "inside a longer text": lambda text: f"{ORDINARY} {text} {ORDINARY}",
    '"Answer:" dropped': unanswered,
    "capitals, no punctuation": lambda text: unmarked(unanswered(text)),
    "NFD": lambda text: unicodedata.normalize("NFD", text),
    "full-width letters": lambda text: text.translate(WIDE),
    "zero-width characters": lambda text: "\u200b".join(text),
    "split over two turns": split_over_turns,
    "homoglyphs": lambda text: text.translate(LOOKALIKE),
    "a word inserted every ten": inserted,
    "a typo every eighth word": mistyped,
}
"""How a question is planted: the content of a row from its text."""


def row_of(content: Any) -> dict[str, Any]:
    if isinstance(content, str):
        content = [{"role": "user", "content": content}]
    return {
        "prompt": content,
        "completion": [{"role": "assistant", "content": "I have to think about that."}],
    }


def rubric_texts(item: Item, dimension: Dimension) -> Iterator[str]:
    """The guiding question as the judge sees it, and the indicators."""
    yield guiding_question(dimension, variable_sets(dimension, item)[0])
    if dimension.indicators:
        yield dimension.indicators


@dataclass
class Found:
    """What was found of the rows of one form."""

    rows: int = 0
    ngrams: int = 0
    hits: int = 0
    near: int = 0


def planted_rows(data: str) -> Iterator[tuple[str, str, Any]]:
    """Yield language group, form and row of everything that is planted."""
    for dataset in datasets(data):
        for item in dataset.items:
            language = "English" if item.language == "en" else "other languages"
            for form, plant in FORMS.items():
                yield language, form, row_of(plant(item.question))
        for dimension in dataset.dimensions.values():
            for text in rubric_texts(dataset.items[0], dimension):
                yield "English", RUBRIC, {"text": f"{ORDINARY} {text}"}


def datasets(data: str) -> list[Dataset]:
    """The benchmarks in a data folder; a folder may lack one."""
    found = []
    for name in packaged():
        with contextlib.suppress(InputError):
            found.append(load(find_benchmark(name, "tests"), data))
    return found


def ngram_index(data: str) -> Callable[[Any], bool]:
    """Whether plain n-grams of the stored questions find a row."""
    known = set()
    for dataset in datasets(data):
        for item in dataset.items:
            split = tokens(item.question, lookalikes=False)
            size = min(N, len(split))
            known |= {tuple(split[at : at + size]) for at in range(len(split) - size + 1)}
    sizes = {len(gram) for gram in known}

    def hit(row: Any) -> bool:
        return any(
            tuple(split[at : at + size]) in known
            for split in (tokens(text, lookalikes=False) for _, text in texts_of(row))
            for size in sizes
            for at in range(len(split) - size + 1)
        )

    return hit


def planted(data: str, plants: Iterable[tuple[str, str, Any]] | None = None) -> dict[tuple[str, str], Found]:
    """What is found of the planted rows, by language group and form."""
    rows = list(planted_rows(data) if plants is None else plants)
    lines = [json.dumps(row, ensure_ascii=False).encode() + b"\n" for _, _, row in rows]
    names = [dataset.benchmark.name for dataset in datasets(data)]
    check = check_rows(lines, *read_passages(data, names), listed=len(rows))
    by_ngram, found = ngram_index(data), defaultdict[tuple[str, str], Found](Found)
    for language, form, row in rows:
        found[language, form].rows += 1
        found[language, form].ngrams += by_ngram(row)
    for each in check.listed_hits:
        language, form, _ = rows[each.row - 1]
        found[language, form].hits += 1
        assert (form == RUBRIC) == (each.passage.kind == "rubric"), each
    for each in check.listed_near:
        found[rows[each.row - 1][:2]].near += 1
    return dict(sorted(found.items(), key=lambda item: item[0][0]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", default="sample")
    data = parser.parse_args().data
    shipped = [
        ("", "shipped sample rows", json.loads(line))
        for path in SAMPLES.glob("*.jsonl")
        for line in path.open("rb")
    ]
    print("| planted | language | rows | n-grams | hits | warnings |\n|---|---|---|---|---|---|")
    for (language, form), each in (planted(data) | planted(data, shipped)).items():
        cells = (form, language, each.rows, each.ngrams, each.hits, each.near)
        print(f"| {' | '.join(map(str, cells))} |")


if __name__ == "__main__":
    main()
