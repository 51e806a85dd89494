"""Training rows that share text with benchmark questions: n-grams of normalised text, in every language.

`value_retention.train` must not read a benchmark, so the comparison is here. It takes the rows file from
``python -m value_retention.train.data`` and the questions from `value_retention.tasks.load`, and writes the stamp
that training requires.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from value_retention.tasks.benchmark import Table
from value_retention.tasks.definition import find_benchmark, packaged
from value_retention.tasks.errors import InputError
from value_retention.tasks.load import load

N = 13
"""Number of shared tokens in a row, as in the overlap checks of Brown et al. 2020 (arXiv 2005.14165, C)."""
STAMP_SCHEMA = 1
NORMALISATION = (
    "NFKC, case folded, marks kept, format characters dropped; words, or characters where unspaced"
)


@dataclass(frozen=True)
class Question:
    """A benchmark question, or its English translation from the data."""

    benchmark: str
    item: str
    language: str
    tokens: tuple[str, ...]


@dataclass(frozen=True)
class Source:
    """The questions of one benchmark that were compared."""

    benchmark: str
    data: str
    revision: str
    is_benchmark: bool
    """False for the bundled sample items."""
    questions: int


@dataclass(frozen=True)
class Hit:
    """A training row that shares text with a question."""

    row: int
    """Line of the rows file, counted from 1."""
    benchmark: str
    item: str
    language: str
    shared: str
    """The shared text, normalised."""


@dataclass(frozen=True)
class Check:
    """The result for one rows file."""

    rows: int
    hits: tuple[Hit, ...]
    sources: tuple[Source, ...]
    questions_sha256: str


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Patterns of a token and of format characters, from Unicode categories.

    The standard library's `\\w` would cut words of Indic scripts at their vowel signs, which are marks.
    """
    categories = [unicodedata.category(chr(code)) for code in range(sys.maxunicode + 1)]
    marks = [code for code, category in enumerate(categories) if category[0] == "M"]
    formats = [code for code, category in enumerate(categories) if category == "Cf"]
    # Scripts without spaces, one token per character: Thai, Lao, Myanmar, Khmer, kana, ideographs.
    unspaced = (
        "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
        "\U00020000-\U0003ffff"
    )
    mark = _ranges(marks)
    token = f"[{unspaced}][{mark}]*|(?:(?![{unspaced}])[^\\W_]|[{mark}])+"
    return re.compile(token), re.compile(f"[{_ranges(formats)}]+")


def _ranges(codes: Sequence[int]) -> str:
    """Return the code points as the inside of a character class."""
    spans: list[tuple[int, int]] = []
    for code in codes:
        if spans and spans[-1][1] == code - 1:
            spans[-1] = (spans[-1][0], code)
        else:
            spans.append((code, code))
    return "".join(f"\\U{low:08x}-\\U{high:08x}" for low, high in spans)


_ASCII_TOKEN = re.compile("[a-z0-9]+")


def tokens(text: str) -> list[str]:
    """Split a normalised text into words, or into characters for scripts without spaces."""
    if text.isascii():
        return _ASCII_TOKEN.findall(text.lower())
    token, formats = _patterns()
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return token.findall(formats.sub("", folded))


def read_questions(data: str, benchmarks: Iterable[str]) -> tuple[list[Question], list[Source]]:
    """Read every question of the benchmarks in every language, and the English translations.

    Args:
        data: ``hub``, ``sample`` or a folder, as in `value_retention.tasks.load.load`.
        benchmarks: Names, or paths of definitions.

    Raises:
        InputError: A benchmark is unknown, or its data cannot be read.
    """
    questions: list[Question] = []
    sources: list[Source] = []
    for name in dict.fromkeys(benchmarks):
        benchmark = find_benchmark(name, "--benchmark")
        dataset = load(benchmark, data)
        for item in dataset.items:
            for text in (item.question, item.translation):
                split = tuple(tokens(text or ""))
                if split:
                    questions.append(Question(benchmark.name, item.id, item.language, split))
        info = dataset.info
        sources.append(Source(benchmark.name, data, info.revision, info.is_benchmark, len(dataset.items)))
    return questions, sources


def question_files(data: str) -> Iterator[Path]:
    """Yield the benchmark files of a data folder; none for ``hub`` and ``sample``."""
    if data in ("hub", "sample"):
        return
    tables = (table for b in packaged().values() for table in (b.questions, b.dimensions))
    for name in {Path(table.folder).parts[0] for table in tables if isinstance(table, Table)}:
        yield from (Path(data).expanduser() / name).rglob("*")
        yield from Path(data).expanduser().glob(f"{name}.*")


class Index:
    """Index of questions for the search in texts.

    Args:
        questions: Questions to search for. One with fewer than `N` tokens must occur as a whole.
    """

    def __init__(self, questions: Sequence[Question]) -> None:
        self.grams: dict[tuple[str, ...], Question] = {}
        for question in questions:
            size = min(N, len(question.tokens))
            for start in range(len(question.tokens) - size + 1):
                self.grams.setdefault(question.tokens[start : start + size], question)
        self.sizes = sorted({len(gram) for gram in self.grams})
        self.vocabulary = {token for gram in self.grams for token in gram}

    def find(self, text: str) -> tuple[Question, str] | None:
        """Return the first question that a text shares tokens with, and the shared text; None without one."""
        for run in self._known_runs(tokens(text)):
            for size in self.sizes:
                for start in range(len(run) - size + 1):
                    gram = tuple(run[start : start + size])
                    question = self.grams.get(gram)
                    if question is not None:
                        return question, " ".join(gram)
        return None

    def _known_runs(self, split: list[str]) -> Iterator[list[str]]:
        """Yield stretches of tokens that all occur in questions; an n-gram cannot match outside them."""
        for known, run in groupby(split, key=self.vocabulary.__contains__):
            if known:
                yield list(run)


def texts_of(row: Any) -> Iterator[str]:
    """Yield every text of a training row of any shape, except the roles of messages."""
    if isinstance(row, str):
        yield row
    elif isinstance(row, dict):
        for key, value in row.items():
            if key != "role":
                yield from texts_of(value)
    elif isinstance(row, list):
        for value in row:
            yield from texts_of(value)


def read_lines(path: str | Path) -> list[bytes]:
    """Return the lines of a rows file, unchanged.

    Raises:
        InputError: The file does not exist or is empty.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(
            "rows file not found",
            where=str(path),
            hint="write it with `python -m value_retention.train.data --config ARM.yaml -o rows.jsonl`",
        )
    lines = [line for line in path.read_bytes().split(b"\n") if line.strip()]
    if not lines:
        raise InputError("the rows file is empty", where=str(path))
    return lines


def check_rows(
    lines: Sequence[bytes], questions: Sequence[Question], sources: Sequence[Source], where: str = "rows"
) -> Check:
    """Compare every row with every question.

    Args:
        lines: JSON, one row each.
        questions: What must not be trained on.
        sources: Source of the questions.
        where: Name of the rows file, for messages.

    Raises:
        InputError: A line is invalid JSON, or a row has no text to compare.
    """
    index = Index(questions)
    hits: list[Hit] = []
    empty: list[int] = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InputError("invalid JSON", where=f"{where}, line {number}", found=error) from error
        texts = [text for text in texts_of(row) if text.strip()]
        if not texts:
            empty.append(number)
        for text in texts:
            if found := index.find(text):
                question, shared = found
                hits.append(Hit(number, question.benchmark, question.item, question.language, shared))
                break
    if empty:
        raise InputError(
            "rows without text: they cannot be compared with a question",
            where=f"{where}, line {empty[0]}",
            found=f"{len(empty)} of {len(lines)} rows, the first {lines[empty[0] - 1][:80].decode(errors='replace')}",
            expected="text in every row, as `python -m value_retention.train.data` writes it",
            hint="remove these rows, or check that this is the right file",
        )
    return Check(len(lines), tuple(hits), tuple(sources), questions_hash(questions))


def questions_hash(questions: Iterable[Question]) -> str:
    """Return a SHA-256 over the normalised questions that does not depend on their order."""
    lines = sorted(f"{q.benchmark}\t{q.item}\t{q.language}\t{' '.join(q.tokens)}" for q in questions)
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()


def without_hits(lines: Sequence[bytes], check: Check) -> list[bytes]:
    """Return the lines without a hit."""
    bad = {hit.row for hit in check.hits}
    return [line for number, line in enumerate(lines, 1) if number not in bad]


def stamp(content: bytes, check: Check, *, dropped: int = 0) -> dict[str, Any]:
    """Return the stamp for training: which rows were compared with which questions, and the number of hits.

    Args:
        content: Bytes of the rows file.
        check: Its comparison.
        dropped: Rows with a hit that were removed before.
    """
    return {
        "schema": STAMP_SCHEMA,
        "rows_sha256": hashlib.sha256(content).hexdigest(),
        "rows": check.rows,
        "dropped": dropped,
        "hits": len(check.hits),
        "questions_sha256": check.questions_sha256,
        "questions": sum(source.questions for source in check.sources),
        "sources": [asdict(source) for source in check.sources],
        "n": N,
        "normalisation": NORMALISATION,
    }
