"""What must not be trained on: questions, their translations, and the rubrics of the judge."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from value_retention.analysis.planning.contamination.words import tokens
from value_retention.tasks.benchmark import Table, find_benchmark, packaged
from value_retention.tasks.data import Dataset, load

Kind = Literal["question", "translation", "rubric"]
KINDS: tuple[Kind, ...] = ("question", "translation", "rubric")

N = 13
"""Number of shared tokens in a row, as in the overlap checks of Brown et al. 2020 (arXiv 2005.14165, C). A shorter text
of the benchmark counts as a whole."""
SHORTEST = 4
"""Tokens of a question that counts inside a longer text. A shorter one only counts where it is the whole text."""
ALONE = 8
"""Tokens of a short text that counts where chance could write less: the line of a rubric, and a question that begins in
one text of a row and ends in the next."""

_LABEL = r"[*#]*[^\W\d_][^\s.?!:：؟？。！।]*(?:[ \t][^\s.?!:：؟？。！।]+){0,2}[ \t]?[:：][*]*"
_LABEL_BEFORE = re.compile(rf"\A\s*{_LABEL}\s*")
_LABEL_AFTER = re.compile(
    rf"(?:(?<=[.?!؟？。！।\n\"”»)\]])[ \t]*|(?<=\s)(?=\S+\s*\Z)){_LABEL}\s*\Z",
)


@dataclass(frozen=True)
class Passage:
    """A text of a benchmark."""

    kind: Kind
    benchmark: str
    item: str
    """Id of the item; for a rubric, the dimension, or the id where a question has its own."""
    language: str
    tokens: tuple[str, ...]
    text: str
    """Its tokens to be read, as in the text: one for each of `tokens`."""


@dataclass(frozen=True)
class Source:
    """The texts of one benchmark that were compared."""

    benchmark: str
    data: str
    revision: str
    is_benchmark: bool
    """False for the bundled sample items."""
    questions: int
    translations: int
    rubrics: int


def unlabelled(text: str) -> str:
    """Return a question without a label at its start or end, such as ``Question:`` and ``Answer:``.

    A label has up to three words in any script, and a colon. At the end it follows the end of a sentence or line, or is
    one word.

    The whole text is returned where fewer than `SHORTEST` tokens would be left.
    """
    core = _LABEL_AFTER.sub("", _LABEL_BEFORE.sub("", text))
    return core if len(tokens(core)) >= SHORTEST else text


def read_passages(data: str, benchmarks: Iterable[str]) -> tuple[list[Passage], list[Source]]:
    """Read every question of the benchmarks in every language, its English translation, and the rubrics.

    Args:
        data: ``hub``, ``sample`` or a folder, as in `value_retention.tasks.data.load`.
        benchmarks: Names, or paths of definitions.

    Raises:
        InputError: A benchmark is unknown, or its data cannot be read.
    """
    passages: list[Passage] = []
    sources: list[Source] = []
    for name in dict.fromkeys(benchmarks):
        benchmark = find_benchmark(name, "--benchmark")
        dataset = load(benchmark, data)
        passages += [
            passage(kind, benchmark.name, item, language, text)
            for kind, item, language, text in texts(dataset)
            if tokens(text)
        ]
        info, items = dataset.info, dataset.items
        translations = sum(item.translation is not None for item in items)
        rubrics = len(dataset.dimensions) + sum(item.rubric is not None for item in items)
        sources.append(
            Source(benchmark.name, data, info.revision, info.is_benchmark, len(items), translations, rubrics)
        )
    return passages, sources


def texts(dataset: Dataset) -> Iterator[tuple[Kind, str, str, str]]:
    """Yield kind, item, language and text of everything in a data set that must not be trained on."""
    for item in dataset.items:
        yield "question", item.id, item.language, unlabelled(item.question)
        yield "translation", item.id, "en", unlabelled(item.translation or "")
        # What the user says later is often short and common; the rubric's lines are phrases as well.
        for turn in item.turns:
            if len(tokens(turn)) >= N:
                yield "question", item.id, item.language, turn
        for line in lines(item.rubric or ""):
            yield "rubric", item.id, "en", line
    for dimension in dataset.dimensions.values():
        for text in (dimension.guiding_question, *lines(dimension.indicators)):
            yield "rubric", dimension.name, "en", text


def lines(rubric: str) -> Iterator[str]:
    """Yield a rubric, and each of its lines that is long enough to count alone."""
    yield rubric
    split = [line for line in rubric.split("\n") if line.strip()]
    if len(split) > 1:
        yield from (line for line in split if ALONE <= len(tokens(line)) < N)


def passage(kind: Kind, benchmark: str, item: str, language: str, text: str) -> Passage:
    """Normalise a text of a benchmark."""
    split, read = tokens(text), tokens(text, lookalikes=False)
    return Passage(
        kind, benchmark, item, language, tuple(split), " ".join(read if len(read) == len(split) else split)
    )


def passages_hash(passages: Iterable[Passage]) -> str:
    """Return a SHA-256 over the normalised passages that does not depend on their order."""
    known = sorted(f"{p.kind}\t{p.benchmark}\t{p.item}\t{p.language}\t{' '.join(p.tokens)}" for p in passages)
    return hashlib.sha256("\n".join(known).encode("utf-8", "surrogatepass")).hexdigest()


def benchmark_files(data: str) -> Iterator[Path]:
    """Yield the benchmark files of a data folder; none for ``hub`` and ``sample``."""
    if data in ("hub", "sample"):
        return
    tables = (table for b in packaged().values() for table in (b.questions, b.dimensions))
    for name in {Path(table.folder).parts[0] for table in tables if isinstance(table, Table)}:
        yield from (Path(data).expanduser() / name).rglob("*")
        yield from Path(data).expanduser().glob(f"{name}.*")
