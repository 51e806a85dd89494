"""From rows to items: one path for both benchmarks. Every dropped row is counted and named."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from value_retention.tasks import upstream
from value_retention.tasks.benchmark import BENCHMARKS, Benchmark, Dimension, Item, joint_revision
from value_retention.tasks.errors import InputError
from value_retention.tasks.languages import TAGS, choose_languages, language_tag
from value_retention.tasks.record import AnswerRecord, DataInfo, DroppedRow, canonical_json, text_hash
from value_retention.tasks.tables import Row, check_columns, folder_rows, hub_rows, hub_source
from value_retention.tasks.text import printable

SAMPLE = Path(__file__).with_name("sample")

_QUOTED_NAME = re.compile(r"'[^'\\]*'|\"[^\"\\]*\"")
_QUOTED_NAMES = re.compile(rf"\s*(?:(?:{_QUOTED_NAME.pattern})[\s,]*)*")


@dataclass(frozen=True)
class Dataset:
    """A benchmark's items and dimensions, with their origin."""

    benchmark: Benchmark
    items: tuple[Item, ...]
    dimensions: dict[str, Dimension]
    """By name, in the data's order."""
    info: DataInfo
    prompt_revision: str
    """The revision named in ANIMA's judge prompt."""

    def __len__(self) -> int:
        return len(self.items)


def load_for_run(benchmark: Benchmark, data: str = "hub", languages: Sequence[str] | None = None) -> Dataset:
    """Read a benchmark that is about to be asked or judged: `load`, with known judge prompts only.

    Raises:
        InputError: as `load`, or an unknown judge prompt or grade parser (see `upstream.require_known`).
    """
    upstream.require_known(benchmark.prompt_module)
    return load(benchmark, data, languages)


def load(benchmark: Benchmark, data: str = "hub", languages: Sequence[str] | None = None) -> Dataset:
    """Read a benchmark.

    Args:
        benchmark: `ANIMA_2_2` or `MORU`.
        data: ``hub`` (the pinned commits), ``hub:REPO@COMMIT`` (another dataset in the same layout, such as the
            held-out one), ``sample`` (the bundled items, not a benchmark) or a folder in the hub's layout.
        languages: Names or BCP-47 tags. None for all.

    Returns:
        Items in the data's order. `DataInfo.dropped` names every row that is not scored.

    Raises:
        InputError: missing or malformed data, or a language that is not in the data.
    """
    prompt_revision = benchmark.questions.revision
    if data == "hub" or data.startswith("hub:"):
        source = "hub"
        repo, prompt_revision = hub_source(benchmark, data)
        # ANIMA keeps both tables in one repository, so another repository brings its own dimensions. MORU keeps
        # them in two, so the pinned dimensions stay.
        same = benchmark.dimensions.repo == benchmark.questions.repo
        dim_repo = repo if same else benchmark.dimensions.repo
        dim_revision = prompt_revision if same else benchmark.dimensions.revision
        raw = _numbered(hub_rows(benchmark.questions, repo, prompt_revision), repo)
        raw_dims = _numbered(hub_rows(benchmark.dimensions, dim_repo, dim_revision), dim_repo)
        revision = joint_revision(prompt_revision, dim_revision)
    else:
        source = "sample" if data == "sample" else "folder"
        root = SAMPLE if data == "sample" else Path(data).expanduser()
        raw = folder_rows(benchmark.questions, root)
        raw_dims = folder_rows(benchmark.dimensions, root)
        if source == "sample":
            prompt_revision = revision = "sample"
        else:
            revision = ""
    check_columns(benchmark.questions, raw)
    check_columns(benchmark.dimensions, raw_dims)
    dimensions = _read_dimensions(benchmark, raw_dims)
    items, dropped = _read_items(benchmark, raw, dimensions)
    if not items:
        raise InputError(
            "every row of the data was dropped", where=data, found=f"{len(dropped)} dropped rows"
        )
    # Hash all items, before languages are chosen: runs on parts of the same data stay comparable. The hash takes an
    # ANIMA item's id for its cluster, as in older records: the content is the same.
    hashed = items if benchmark.translated else [replace(item, cluster=item.id) for item in items]
    content = text_hash(
        canonical_json([[asdict(i) for i in hashed], [asdict(d) for d in dimensions.values()]])
    )
    if languages is not None:
        chosen = choose_languages(languages, (item.language for item in items), "languages")
        items = [item for item in items if item.language in chosen]
    info = DataInfo(
        source=source,
        revision=revision or f"sha256:{content}",
        content_hash=content,
        dropped=tuple(dropped),
        is_benchmark=source != "sample",
    )
    return Dataset(benchmark, tuple(items), dimensions, info, prompt_revision)


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
    dimensions: dict[str, Dimension] = {}
    for where, row in rows:
        name = _printable(_text(row, "dimension", where).strip(), "dimension", where)
        guiding = _text(row, "guiding_question", where)
        if not name or not guiding:
            column = "guiding_question" if name else "dimension"
            raise _bad(where, column, row.get(column), "a text")
        name = name.lower() if benchmark.fold_names else name
        if name in dimensions:
            raise InputError("duplicate dimension", where=where, found=name)
        weight = 1.0
        if benchmark.weighted and row.get("default_weighting") is not None:
            try:
                weight = float(row["default_weighting"])
            except (TypeError, ValueError):
                raise _bad(where, "default_weighting", row["default_weighting"], "a number") from None
            if not 0 < weight < math.inf:
                raise _bad(where, "default_weighting", weight, "a finite number above 0")
        dimensions[name] = Dimension(name, guiding, _text(row, "observable_indicators", where), weight)
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
        key = (outcome.cluster, outcome.language) if benchmark.translated else (outcome.id, "")
        before = seen.get(key)
        if before is None:
            seen[key] = (where, outcome)
            items.append(outcome)
        elif benchmark.translated and before[1] == outcome:
            # MORU's hub file has exact duplicates. Any other duplicate is a mistake in the data.
            dropped.append(DroppedRow(outcome.id, "exact duplicate of an earlier row"))
        else:
            raise InputError(
                "two rows have the same id",
                where=f"{where} and {before[0]}",
                found=f"id {outcome.id}",
                expected="one row per id" + (" and language" if benchmark.translated else ""),
            )
    return items, dropped


def _read_item(
    benchmark: Benchmark, row: Row, where: str, dimensions: dict[str, Dimension]
) -> Item | DroppedRow:
    key = _row_id(row, where)
    raw_language = _text(row, "language", where).strip() or None
    tag = language_tag(raw_language or benchmark.default_language or "")
    if tag is None:
        raise _bad(
            where,
            "language",
            raw_language,
            "a BCP-47 tag, or an English name such as " + ", ".join(list(TAGS)[:5]),
        )
    item_id = f"{key}_{raw_language}" if benchmark.translated else key
    question = _text(row, "question", where)
    tags = _tags(row, benchmark, where)
    problem = None
    if not question.strip():
        problem = "no question"
    elif not tags:
        problem = "no dimension tags"
    unknown = [name for name in tags if name not in dimensions]
    if unknown and benchmark.unknown_tag == "drop_row" and problem is None:
        # Reasons are compared between runs: another wording would make old runs incomparable.
        return DroppedRow(item_id, "tag that is no known dimension: " + ", ".join(map(repr, unknown)))
    known = tuple(dict.fromkeys(name for name in tags if name in dimensions))
    if problem is None and not known:
        problem = "no known dimension among its tags"
    if problem is not None:
        if benchmark.row_problem == "drop":
            return DroppedRow(item_id, problem)
        raise InputError(f"invalid row: {problem}", where=where, found=f"id {item_id}")
    translation = _text(row, "translation", where).strip() or None
    return Item(
        id=item_id,
        cluster=key if benchmark.translated else english_cluster(question, translation),
        question=question,
        language=tag,
        language_raw=raw_language,
        dimensions=known,
        variables=_variables(_text(row, "variables", where), where),
        source=_text(row, "source", where) or None,
        translation=translation,
    )


def english_cluster(question: str, translation: str | None) -> str:
    """Cluster of an ANIMA item: a short hash of its English text, whatever its case and spacing.

    Several rows render one English text in several languages. A model's errors on them go together, so they count
    as one question. The hash depends on the row alone: a run on some languages gives the same clusters.

    Args:
        question: The question as asked.
        translation: Its English text; None where the question is English.
    """
    return text_hash(" ".join((translation or question).casefold().split()))[:12]


def clustered(record: AnswerRecord) -> AnswerRecord:
    """The record with the cluster that `load` gives its item; ANIMA's older records have the item there."""
    if BENCHMARKS[record.benchmark].translated:
        return record
    cluster = english_cluster(record.question, record.translation)
    return record if record.cluster == cluster else replace(record, cluster=cluster)


def _row_id(row: Row, where: str) -> str:
    value = row.get("id")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | str) or str(value).strip() == "":
        raise _bad(where, "id", value, "a number or a text")
    return _printable(str(value).strip(), "id", where)


def _printable(name: str, column: str, where: str) -> str:
    """A name that the harnesses print in their tables and logs."""
    if printable(name) != name:
        raise _bad(where, column, name, "a text without control characters")
    return name


def _tags(row: Row, benchmark: Benchmark, where: str) -> list[str]:
    """Tags from a list or from text (comma-separated, or a list literal as in CSV).

    An empty tag in a list is kept, so that its row is dropped as upstream drops it. In comma-separated text it is
    ignored.
    """
    value: Any = row.get(benchmark.tag_column)
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = _written_list(value)
        if value is None:
            raise _bad(where, benchmark.tag_column, row[benchmark.tag_column], "a list of dimension names")
    if value is None:
        return []
    if isinstance(value, str):
        tags = [part.strip() for part in value.split(",") if part.strip()]
    elif isinstance(value, list) and all(isinstance(tag, str) for tag in value):
        tags = value
    else:
        raise _bad(
            where, benchmark.tag_column, value, "a list of dimension names, or names separated by commas"
        )
    return [tag.lower() for tag in tags] if benchmark.fold_names else tags


def _written_list(text: str) -> Any:
    """Parse a list literal of JSON, Python or NumPy (without commas). None for any other text."""
    try:
        return json.loads(text)
    except ValueError:
        body = text.strip()[1:-1] if text.rstrip().endswith("]") else "truncated"
        if not _QUOTED_NAMES.fullmatch(body):
            return None
        return [name[1:-1] for name in _QUOTED_NAME.findall(body)]


def _variables(text: str, where: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Parse lines of ``name:value,value``. A name on two lines gets the values of both."""
    variables: dict[str, list[str]] = {}
    for line in filter(None, (part.strip() for part in text.split("\n"))):
        name, colon, values = (part.strip() for part in line.partition(":"))
        found = [value.strip() for value in values.split(",") if value.strip()]
        if not colon or not name or not found or ":" in values:
            raise _bad(where, "variables", line, "lines of name:value,value")
        variables.setdefault(name, []).extend(found)
    return tuple((name, tuple(values)) for name, values in variables.items())
