"""A report that can be handed on: one HTML file that needs no network, or the same content as Markdown."""

from __future__ import annotations

import base64
import hashlib
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import Any

from value_retention.analysis.effects.result import Result
from value_retention.analysis.effects.rows import Effect
from value_retention.analysis.report.evidence import Case
from value_retention.analysis.report.notes import explained, language_notes
from value_retention.analysis.report.overview import (
    DAGGER,
    SENTENCES,
    not_shown,
    rests_on,
    scores,
    verdicts,
)
from value_retention.analysis.report.sections import tables as report_tables
from value_retention.analysis.report.sensitivity import cautions
from value_retention.analysis.report.tables import Table
from value_retention.analysis.runs.names import title_of
from value_retention.tasks.text import printable

LONGEST = 20_000
"""Characters of an answer or a rationale that are shown. The records hold the rest."""

CLOSE = 2
"""Comparisons per benchmark, the worst first, with all details on the first screen. Where there are more, only the
worst has pictures of its own: a page with a picture per candidate, question and language is not read."""


@dataclass(frozen=True)
class Picture:
    """A plot as SVG.

    Attributes:
        name: What it shows.
        section: Key of the section that holds its figures.
        of: Benchmark and comparison.
        source: Address that holds the whole picture (``data:``).
    """

    name: str
    section: str
    of: str
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
    tables = list(report_tables(result))
    found = verdicts(result)
    by_benchmark = [list(members) for _, members in groupby(found, lambda verdict: verdict.benchmark)]
    return {
        "version": version,
        "title": _title(result),
        "headline": list(result.headline),
        "scores": scores(result),
        "verdicts": found,
        "many": max(map(len, by_benchmark), default=0) > CLOSE,
        "grouped": [(members[:CLOSE], members[CLOSE:]) for members in by_benchmark],
        "sentences": [line for find in SENTENCES for line in find(result)],
        "rests_on": rests_on(result),
        "not_shown": not_shown(result),
        "dagger": DAGGER,
        "basis": _basis(result),
        "tables": [
            (key, [table for _, table in members]) for key, members in groupby(tables, lambda t: t[0])
        ],
        "notes": [*language_notes(result), *cautions(result), *result.notes],
        "explained": explained(
            result, [cell for _, table in tables for row in table.rows for cell in row], True
        ),
        "cases": [(effect, title_of(effect.benchmark), found) for effect, found in cases],
        "dimensions": sorted(
            {d for _, found in cases for case in found for d in case.first.record.dimensions}
        ),
        "languages": sorted({case.first.record.language for _, found in cases for case in found}),
    }


def _title(result: Result) -> str:
    """The comparisons, or the number of runs where there are many."""
    primary = [effect for effect in result.effects if effect.tier == "primary"]
    statements = list(dict.fromkeys(effect.statement for effect in primary))
    sides = {effect.baseline for effect in primary}
    if len(statements) > 2:
        what = "arms" if result.arms else "runs"
        return f"{len(statements)} " + (f"{what} against {sides.pop()}" if len(sides) == 1 else "comparisons")
    return " · ".join(statements) or "no comparison"


def _basis(result: Result) -> Table:
    """Who answered and who judged, run by run."""
    headings = ["Benchmark", "Run", "Model", "Judge", "Data", "Questions", "Clusters", "Answers to each", "Version",
                "Harness", "Which model answered"]  # fmt: skip
    runs = {(run.benchmark, run.run): run for run in result.runs}
    rows = []
    for row in result.judged:
        run = runs[row.benchmark, row.run]
        rows.append([
            title_of(row.benchmark), row.run, row.model, row.judge, row.data, row.asked,
            str(len({question.cluster for question in run.questions})), row.epochs, run.identity.aspects["version"],
            run.identity.noted.get("harness", "unknown"), row.identity or "not recorded",
        ])  # fmt: skip
    return Table("Run by run", headings, rows)


def _pictures(result: Result) -> list[Picture]:
    """Every plot of the result."""
    from value_retention.analysis.report.plots.comparison import save_plots

    counts = Counter(effect.benchmark for effect in result.effects if effect.tier == "primary")
    most = 1 if max(counts.values(), default=0) > CLOSE else CLOSE
    with tempfile.TemporaryDirectory() as folder:
        return [
            Picture(
                *PICTURES[path.stem.partition("_")[0]],
                _shown_of(path.stem.partition("_")[2], result),
                f"data:image/svg+xml;base64,{_base64(path.read_bytes())}",
            )
            for path in save_plots(result, Path(folder), png=False, most=most)
        ]


def _shown_of(stem: str, result: Result) -> str:
    """Benchmark and comparison of a plot, from the name of its file."""
    for panel in result.panels:
        if stem.startswith(panel.benchmark):
            rest = stem.removeprefix(panel.benchmark).removeprefix("_").replace("_vs_", " against ")
            return f"{title_of(panel.benchmark)}{', ' if rest else ''}{rest}"
    return stem


PICTURES = {
    "trajectory": ("Score by checkpoint, with simultaneous intervals", "trajectory"),
    "plane": ("Value kept against task learned", "plane"),
    "verdicts": ("Verdicts: differences with their intervals, against 0 and the margin", "comparisons"),
    "mitigations": ("Mitigations: differences from the plain arm, intervals not adjusted", "comparisons"),
    "forest": ("Differences with their intervals, against 0 and the margin", "comparisons"),
    "questions": ("Both scores on every question", "comparisons"),
    "languages": ("English and other languages", "scores"),
    "margins": ("Verdict by margin", "margins"),
    "missing": ("Differences with their bounds over the missing grades", "missing"),
    "without-language": (
        "Difference with each language left out, intervals not adjusted",
        "without-language",
    ),
    "judges": ("How often the judges pass each dimension, and missing grades", "judges"),
    "panel": ("Score by part of the panel of judges, intervals not adjusted", "judges"),
    "agreement": ("Agreement of the judges", "agreement"),
}
"""Kind of a plot, from the name of its file: what it shows, and the section with its figures."""


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
