"""From rows to items: one path for all benchmarks. Every dropped row is counted and named."""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from value_retention.tasks import upstream
from value_retention.tasks.benchmark import (
    RUBRIC,
    Benchmark,
    Column,
    Dimensions,
    imported_prompts,
    joint_revision,
    packaged,
)
from value_retention.tasks.errors import InputError
from value_retention.tasks.languages import TAGS, choose_languages, language_tag
from value_retention.tasks.record import DataInfo, DroppedRow, Source, canonical_json, text_hash
from value_retention.tasks.tables import Row, check_columns, folder_rows, hub_rows, hub_source, is_snapshot
from value_retention.tasks.text import printable

SAMPLE = Path(__file__).with_name("sample")

_QUOTED_NAME = re.compile(r"'[^'\\]*'|\"[^\"\\]*\"")
_QUOTED_NAMES = re.compile(rf"\s*(?:(?:{_QUOTED_NAME.pattern})[\s,]*)*")


@dataclass(frozen=True)
class Dimension:
    """One criterion that the judge grades."""

    name: str
    guiding_question: str
    """May hold placeholders such as ``{{animal}}``, filled from the item's variables."""
    indicators: str
    weight: float = 1.0


@dataclass(frozen=True)
class Item:
    """One question in one language."""

    id: str
    cluster: str
    """The unit of resampling: the renderings of one question, say. See `Benchmark.cluster`."""
    question: str
    language: str
    """BCP-47 tag."""
    language_raw: str | None
    dimensions: tuple[str, ...]
    variables: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Placeholder name and its values, in the data's order."""
    source: str | None = None
    translation: str | None = None
    rubric: str | None = None
    """What the judge is told about this question alone."""
    turns: tuple[str, ...] = ()
    """What the user says after each answer. The last answer is judged."""


@dataclass(frozen=True)
class Dataset:
    """A benchmark's items and dimensions, with their origin."""

    benchmark: Benchmark
    items: tuple[Item, ...]
    dimensions: dict[str, Dimension]
    """By name, in the data's order."""
    info: DataInfo
    prompt_revision: str
    """The revision that a prompt may name."""

    def __len__(self) -> int:
        return len(self.items)


def load_for_run(benchmark: Benchmark, data: str = "hub", languages: Sequence[str] | None = None) -> Dataset:
    """Read a benchmark that is about to be asked or judged: `load`, with known judge prompts only.

    Raises:
        InputError: as `load`, or an unknown judge prompt or grade parser (see `upstream.require_known`).
    """
    upstream.require_known(imported_prompts(benchmark), imported_prompts(*packaged().values()))
    return load(benchmark, data, languages)


def load(benchmark: Benchmark, data: str = "hub", languages: Sequence[str] | None = None) -> Dataset:
    """Read a benchmark.

    Args:
        benchmark: A benchmark (see `benchmark.find_benchmark`).
        data: ``hub`` (the pinned commits; for a benchmark whose tables lie beside its definition, these),
            ``hub:REPO@COMMIT`` (another dataset in the same layout, such as a held-out one), ``sample`` (the bundled
            items, not a benchmark) or a folder in the hub's layout.
        languages: Names or BCP-47 tags. None for all.

    Returns:
        Items in the data's order. `DataInfo.dropped` names every row that is not scored.

    Raises:
        InputError: missing or malformed data, or a language that is not in the data.
    """
    raw = _read(benchmark, data)
    check_columns(benchmark.questions, raw.questions)
    if isinstance(benchmark.dimensions, Dimensions):
        check_columns(benchmark.dimensions, raw.dimensions)
    dimensions = _read_dimensions(benchmark, raw.dimensions)
    items, dropped = _read_items(benchmark, raw.questions, dimensions)
    if not items:
        raise InputError(
            "every row of the data was dropped", where=data, found=f"{len(dropped)} dropped rows"
        )
    # Hash all items, before languages are chosen: runs on parts of the same data stay comparable.
    content = text_hash(
        canonical_json([[asdict(i) for i in items], [asdict(d) for d in dimensions.values()]])
    )
    own = data == "hub" or str(Path(data).expanduser().resolve()) == benchmark.home
    # Own tables have no commit. Rows that were added or lost since the definition counted them are told by it.
    own &= benchmark.size in (None, len(items))
    published = raw.revision == benchmark.pinned if benchmark.pinned else own
    info = DataInfo(
        source=raw.source,
        revision=raw.revision or f"sha256:{content}",
        content_hash=content,
        dropped=tuple(dropped),
        is_benchmark=raw.source != "sample",
        # What the pinned commit holds is the benchmark, whatever its definition says.
        size=len(items) if raw.source == "sample" or (published and benchmark.pinned) else benchmark.size,
        rows=len(items),
        published=published,
    )
    if languages is not None:
        chosen = choose_languages(languages, (item.language for item in items), "languages")
        items = [item for item in items if item.language in chosen]
    return Dataset(benchmark, tuple(items), dimensions, info, raw.prompt_revision)


@dataclass(frozen=True)
class _Raw:
    """The rows of both tables, each with its place, and their origin."""

    questions: list[tuple[str, Row]]
    dimensions: list[tuple[str, Row]]
    source: Source
    revision: str
    """Empty for a folder, whose content is hashed."""
    prompt_revision: str


def _read(benchmark: Benchmark, data: str) -> _Raw:
    questions, dimensions = benchmark.questions, benchmark.dimensions
    if data == "hub" and questions.repo is None and benchmark.home:
        data = benchmark.home
    if data == "hub" or data.startswith("hub:"):
        repo, commit = hub_source(benchmark, data)
        rows = _numbered(hub_rows(questions, repo, commit), repo)
        if not isinstance(dimensions, Dimensions):
            return _Raw(rows, [], "hub", commit, commit)
        if dimensions.repo is None:
            found = folder_rows(dimensions, Path(benchmark.home))
            return _Raw(rows, found, "hub", commit, commit)
        # Where one repository holds both tables, another repository brings its own dimensions. Where there are two,
        # the pinned dimensions stay.
        same = dimensions.repo == questions.repo
        where, own = (repo, commit) if same else (dimensions.repo, dimensions.revision)
        found = _numbered(hub_rows(dimensions, where, own), where)
        return _Raw(rows, found, "hub", joint_revision(commit, own), commit)
    sample = data == "sample"
    if sample and benchmark.definition:
        raise InputError(
            "this benchmark has no sample items",
            where="data",
            found="sample",
            expected="a folder, or no setting for the benchmark's own tables",
        )
    root = SAMPLE if sample else Path(data).expanduser()
    tables = [questions, *([dimensions] if isinstance(dimensions, Dimensions) else [])]
    read = [folder_rows(table, root) for table in tables]
    source: Source = "sample" if sample else "folder"
    revision = "sample" if sample else ""
    if all(is_snapshot(table, root) for table in tables):
        source, revision = "hub", benchmark.pinned
    return _Raw(
        read[0],
        read[1] if len(read) > 1 else [],
        source,
        revision,
        "sample" if sample else questions.revision,
    )


def _numbered(rows: list[Row], repo: str) -> list[tuple[str, Row]]:
    return [(f"{repo}, row {n}", row) for n, row in enumerate(rows)]


def _bad(where: str, column: str, found: object, expected: str) -> InputError:
    return InputError(
        f"invalid value in column {column!r}", where=where, found=repr(found), expected=expected
    )


def _text(row: Row, column: str, where: str) -> str:
    """A text cell. Null becomes the empty text."""
    value = row.get(column)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _bad(where, column, value, "text")
    return value


def _read_dimensions(benchmark: Benchmark, rows: list[tuple[str, Row]]) -> dict[str, Dimension]:
    if not isinstance(benchmark.dimensions, Dimensions):
        named = tuple(Dimension(**dimension.model_dump()) for dimension in benchmark.dimensions or ())
        listed = named or (Dimension(RUBRIC, "", ""),)
        if len({dimension.name for dimension in listed}) < len(listed):
            raise InputError(
                "duplicate dimension", where=benchmark.name, found=", ".join(d.name for d in listed)
            )
        return {dimension.name: dimension for dimension in listed}
    column = benchmark.dimensions.columns
    dimensions: dict[str, Dimension] = {}
    for where, row in rows:
        name = _printable(_text(row, column.name, where).strip(), column.name, where)
        guiding = _text(row, column.guiding_question, where)
        if not name or not guiding:
            empty = column.guiding_question if name else column.name
            raise _bad(where, empty, row.get(empty), "a text")
        name = name.lower() if benchmark.rows.lower_case_dimensions else name
        if name in dimensions:
            raise InputError("duplicate dimension", where=where, found=name)
        weight = 1.0
        if column.weight and row.get(column.weight) is not None:
            try:
                weight = float(row[column.weight])
            except (TypeError, ValueError):
                raise _bad(where, column.weight, row[column.weight], "a number") from None
            if not 0 < weight < math.inf:
                raise _bad(where, column.weight, weight, "a finite number above 0")
        dimensions[name] = Dimension(name, guiding, _text(row, column.indicators, where), weight)
    return dimensions


def _read_items(
    benchmark: Benchmark, rows: list[tuple[str, Row]], dimensions: dict[str, Dimension]
) -> tuple[list[Item], list[DroppedRow]]:
    items: list[Item] = []
    dropped: list[DroppedRow] = []
    # By tag, not by the language's name in the data: "en" and "English" are the same language.
    seen: dict[tuple[str, str], tuple[str, Item]] = {}
    for where, row in rows:
        outcome = _read_item(benchmark, row, where, dimensions)
        if isinstance(outcome, DroppedRow):
            dropped.append(outcome)
            continue
        key = (outcome.cluster, outcome.language) if benchmark.rows.translated else (outcome.id, "")
        before = seen.get(key)
        if before is None:
            seen[key] = (where, outcome)
            items.append(outcome)
        elif benchmark.rows.translated and before[1] == outcome:
            # The hub file of MORU has exact duplicates. Any other duplicate is a mistake in the data.
            dropped.append(DroppedRow(outcome.id, "exact duplicate of an earlier row"))
        else:
            raise InputError(
                "two rows have the same id",
                where=f"{where} and {before[0]}",
                found=f"id {outcome.id}",
                expected="one row per id" + (" and language" if benchmark.rows.translated else ""),
            )
    return items, dropped


def _read_item(
    benchmark: Benchmark, row: Row, where: str, dimensions: dict[str, Dimension]
) -> Item | DroppedRow:
    column = benchmark.questions.columns
    key = _row_id(row, column.id, where)
    raw_language = _text(row, column.language, where).strip() or None
    tag = language_tag(raw_language or benchmark.language or "")
    if tag is None:
        raise _bad(
            where,
            column.language,
            raw_language,
            "a BCP-47 tag, or an English name such as " + ", ".join(list(TAGS)[:5]),
        )
    item_id = f"{key}_{raw_language}" if benchmark.rows.translated else key
    question = _text(row, column.question, where)
    rubric = _text(row, column.rubric, where).strip() or None
    tags = _tags(row, benchmark, dimensions, where)
    problem = None
    if not question.strip():
        problem = "no question"
    elif not tags:
        problem = "no dimension tags"
    elif not benchmark.dimensions and not rubric:
        problem = "no rubric"
    unknown = [name for name in tags if name not in dimensions]
    if unknown and benchmark.rows.unknown_dimension == "drop_row" and problem is None:
        # Reasons are compared between runs: another wording would make them incomparable.
        return DroppedRow(item_id, "tag that is no known dimension: " + ", ".join(map(repr, unknown)))
    known = tuple(dict.fromkeys(name for name in tags if name in dimensions))
    if problem is None and not known:
        problem = "no known dimension among its tags"
    if problem is not None:
        if benchmark.rows.incomplete == "drop":
            return DroppedRow(item_id, problem)
        raise InputError(f"invalid row: {problem}", where=where, found=f"id {item_id}")
    translation = _text(row, column.translation, where).strip() or None
    return Item(
        id=item_id,
        cluster=_cluster(benchmark, row, key, question, translation, where),
        question=question,
        language=tag,
        language_raw=raw_language,
        dimensions=known,
        variables=_variables(_text(row, column.variables, where), column.variables, where),
        source=_text(row, column.source, where) or None,
        translation=translation,
        rubric=rubric,
        turns=_turns(row.get(column.turns), column.turns, where) or benchmark.turns,
    )


def _cluster(
    benchmark: Benchmark, row: Row, key: str, question: str, translation: str | None, where: str
) -> str:
    if benchmark.cluster == "english_text":
        return english_cluster(question, translation)
    return _row_id(row, benchmark.cluster.column, where) if isinstance(benchmark.cluster, Column) else key


def _turns(value: Any, column: str, where: str) -> tuple[str, ...]:
    """A list of texts, or one as JSON text."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        with contextlib.suppress(ValueError):
            value = json.loads(value)
    if value in (None, ""):
        return ()
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list) or not all(isinstance(text, str) and text.strip() for text in value):
        raise _bad(where, column, value, "a list of texts")
    return tuple(value)


def english_cluster(question: str, translation: str | None) -> str:
    """Cluster of an item by its English text: a short hash of it, whatever its case and spacing.

    Several rows render one English text in several languages. A model's errors on them go together, so they count
    as one question. The hash depends on the row alone: a run on some languages gives the same clusters.

    Args:
        question: The question as asked.
        translation: Its English text; None where the question is English.
    """
    return text_hash(" ".join((translation or question).casefold().split()))[:12]


def _row_id(row: Row, column: str, where: str) -> str:
    value = row.get(column)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | str) or str(value).strip() == "":
        raise _bad(where, column, value, "a number or a text")
    return _printable(str(value).strip(), column, where)


def _printable(name: str, column: str, where: str) -> str:
    """A name that the harnesses print in their tables and logs."""
    if printable(name) != name:
        raise _bad(where, column, name, "a text without control characters")
    return name


def _tags(row: Row, benchmark: Benchmark, dimensions: Iterable[str], where: str) -> list[str]:
    """Tags from a list or from text (comma-separated, or a list literal as in CSV).

    An empty tag in a list is kept, so that its row is dropped as upstream drops it. In comma-separated text it is
    ignored. If the definition names no column of tags, a row without tags has all dimensions.
    """
    column = benchmark.questions.columns.dimensions
    value: Any = row.get(column)
    if not benchmark.dimensions or (not value and column not in benchmark.questions.columns.required):
        return list(dimensions)
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = _written_list(value)
        if value is None:
            raise _bad(where, column, row[column], "a list of dimension names")
    if value is None:
        return []
    if isinstance(value, str):
        tags = [part.strip() for part in value.split(",") if part.strip()]
    elif isinstance(value, list) and all(isinstance(tag, str) for tag in value):
        tags = value
    else:
        raise _bad(where, column, value, "a list of dimension names, or names separated by commas")
    return [tag.lower() for tag in tags] if benchmark.rows.lower_case_dimensions else tags


def _written_list(text: str) -> Any:
    """Parse a list literal of JSON, Python or NumPy (without commas). None for any other text."""
    try:
        return json.loads(text)
    except ValueError:
        body = text.strip()[1:-1] if text.rstrip().endswith("]") else "truncated"
        if not _QUOTED_NAMES.fullmatch(body):
            return None
        return [name[1:-1] for name in _QUOTED_NAME.findall(body)]


def _variables(text: str, column: str, where: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Parse lines of ``name:value,value``. A name on two lines gets the values of both."""
    variables: dict[str, list[str]] = {}
    for line in filter(None, (part.strip() for part in text.split("\n"))):
        name, colon, values = (part.strip() for part in line.partition(":"))
        found = [value.strip() for value in values.split(",") if value.strip()]
        if not colon or not name or not found or ":" in values:
            raise _bad(where, column, line, "lines of name:value,value")
        variables.setdefault(name, []).extend(found)
    return tuple((name, tuple(values)) for name, values in variables.items())
