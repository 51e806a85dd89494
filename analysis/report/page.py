"""A report that can be handed on: one HTML file that needs no network, or the same content as Markdown."""

from __future__ import annotations

import base64
import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import Any

from value_retention.analysis.effects.result import Result
from value_retention.analysis.effects.rows import Effect
from value_retention.analysis.report.cells import (
    CONTRAST_TITLES,
    SHARE_TITLES,
    contrast_cells,
    effect_columns,
    estimands,
    score_rows,
    sentence,
    share_cells,
    verdict_text,
)
from value_retention.analysis.report.console import explained, language_notes
from value_retention.analysis.report.evidence import Case
from value_retention.analysis.report.pooled import pooled_cells
from value_retention.analysis.report.sensitivity import caution, cautions, judge_errors
from value_retention.analysis.report.tables import effect_tables
from value_retention.analysis.runs.names import title_of
from value_retention.tasks.text import printable

LONGEST = 20_000
"""Characters of an answer or a rationale that are shown. The records hold the rest."""


@dataclass(frozen=True)
class Verdict:
    """What a primary comparison shows.

    Attributes:
        word: Benchmark, comparison and verdict.
        sentence: Figure, interval, clusters and verdict in words.
        more: Both estimands, judge errors, a caution.
    """

    word: str
    sentence: str
    more: list[str]


@dataclass(frozen=True)
class Table:
    """A table of texts."""

    title: str
    headings: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Picture:
    """A plot as SVG.

    Attributes:
        name: Says what it shows.
        source: Address that holds the whole picture (``data:``).
    """

    name: str
    source: str


def html(result: Result, cases: Sequence[tuple[Effect, list[Case]]], version: str) -> str:
    """The report as one HTML file.

    Answers and the judges' words are untrusted. The template escapes them, and the page's Content-Security-Policy
    allows the page's own script and style by their hash, pictures inside the page, and nothing else.
    """
    from jinja2 import Environment, StrictUndefined

    folder = files("value_retention.analysis.report")
    style, script, page = (
        folder.joinpath(f"page.{ending}").read_text("utf-8") for ending in ("css", "js", "html")
    )
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["shown"] = _shown
    return environment.from_string(page).render(
        **_content(result, cases, version),
        pictures=_pictures(result),
        style=style,
        script=script,
        policy="; ".join(
            [
                "default-src 'none'",
                "img-src data:",
                f"style-src '{_hash(style)}'",
                f"script-src '{_hash(script)}'",
                "base-uri 'none'",
                "form-action 'none'",
            ]
        ),
    )


def markdown(result: Result, cases: Sequence[tuple[Effect, list[Case]]], version: str) -> str:
    """The report as Markdown, without the pictures."""
    from jinja2 import Environment, StrictUndefined

    page = files("value_retention.analysis.report").joinpath("page.md").read_text("utf-8")
    # Not HTML: `_plain` takes away what Markdown would take for markup.
    environment = Environment(
        autoescape=False, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["plain"] = _plain
    environment.filters["quoted"] = lambda text: "\n".join(f"    {line}" for line in _shown(text).split("\n"))
    return environment.from_string(page).render(**_content(result, cases, version))


def _content(result: Result, cases: Sequence[tuple[Effect, list[Case]]], version: str) -> dict[str, Any]:
    """What both forms of the report say."""
    primary = [effect for effect in result.effects if effect.tier == "primary"]
    tables = list(_tables(result))
    return {
        "version": version,
        "title": " · ".join(dict.fromkeys(effect.statement for effect in primary)) or "no comparison",
        "headline": list(result.headline),
        "verdicts": [
            Verdict(
                f"{title_of(effect.benchmark)}, {effect.statement}: {verdict_text(effect) or 'no verdict'}",
                sentence(effect, result),
                [
                    line.strip()
                    for line in (estimands(effect), *judge_errors(effect, result), caution(effect))
                    if line
                ],
            )
            for effect in primary
        ],
        "basis": Table(
            "Who answered and who judged",
            [
                "Benchmark",
                "Run",
                "Model",
                "Judge",
                "Data",
                "Questions",
                "Answers to each",
                "Which model answered",
            ],
            [
                [
                    title_of(row.benchmark),
                    row.run,
                    row.model,
                    row.judge,
                    row.data,
                    str(row.questions)
                    if row.questions_in_data in (None, row.questions)
                    else f"{row.questions} of {row.questions_in_data}",
                    row.epochs,
                    row.identity or "not recorded",
                ]
                for row in result.judged
            ],
        ),
        "tables": tables,
        "notes": [*language_notes(result), *cautions(result), *result.notes],
        "explained": explained(
            result, [cell for table in tables for row in table.rows for cell in row], True
        ),
        "cases": [(effect, title_of(effect.benchmark), found) for effect, found in cases],
        "dimensions": sorted(
            {d for _, found in cases for case in found for d in case.first.record.dimensions}
        ),
        "languages": sorted({case.first.record.language for _, found in cases for case in found}),
    }


def _tables(result: Result) -> list[Table]:
    found = []
    for panel in result.panels:
        headings, rows = score_rows(result, panel.benchmark)
        found.append(Table(f"{title_of(panel.benchmark)}: scores, %", headings, rows))
    if result.shares:
        rows = [share_cells(share) for share in result.shares]
        found.append(
            Table(f"Retained share of the gain over {result.shares[0].before}", list(SHARE_TITLES), rows)
        )
    for title, effects in effect_tables(result):
        columns = effect_columns(result, effects)
        rows = [[column.cell(effect) for column in columns] for effect in effects]
        found.append(Table(title, [column.title for column in columns], rows))
    for (benchmark, statement), members in groupby(result.pooled(), lambda r: (r.benchmark, r.statement)):
        title = f"Exploratory: {title_of(benchmark)}, {statement}: dimensions, partially pooled"
        found.append(Table(title, *pooled_cells(list(members))))
    if result.contrasts:
        rows = [contrast_cells(contrast) for contrast in result.contrasts]
        found.append(
            Table(
                "Exploratory: effect on non-English questions less effect on English ones",
                CONTRAST_TITLES,
                rows,
            )
        )
    return found


def _pictures(result: Result) -> list[Picture]:
    """Every plot of the result."""
    from value_retention.analysis.report.plots import save_plots

    with tempfile.TemporaryDirectory() as folder:
        return [
            Picture(_caption(path.stem), f"data:image/svg+xml;base64,{_base64(path.read_bytes())}")
            for path in save_plots(result, Path(folder))
            if path.suffix == ".svg"
        ]


PICTURES = {
    "forest": "Differences with their intervals, against 0 and the margin",
    "questions": "Both scores on every question",
    "languages": "English and other languages",
    "judges": "How often the judges pass each dimension, and missing grades",
    "agreement": "Agreement of the judges",
}


def _caption(stem: str) -> str:
    """What a picture shows, from the name of its file."""
    kind, _, rest = stem.partition("_")
    return f"{PICTURES[kind]}: {rest.replace('_vs_', ' against ')}"


def _hash(text: str) -> str:
    return f"sha256-{_base64(hashlib.sha256(text.encode()).digest())}"


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _shown(text: str | None) -> str:
    """A text from outside as it is shown: without control characters, and not longer than a reader reads."""
    text = printable(text or "")
    cut = len(text) - LONGEST
    return text if cut <= 0 else f"{text[:LONGEST]} [{cut} more characters in the records]"


def _plain(text: str) -> str:
    """A text in a line or a cell of Markdown."""
    text = " ".join(printable(text).split())
    for mark in "\\`*_{}[]<>#|":
        text = text.replace(mark, f"\\{mark}")
    return text
