"""The guards on the answers as text: a table per run and language, and lines below a marked verdict."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from value_retention.analysis.effects.guards import ALL, RULE, guard_counts
from value_retention.analysis.effects.result import Result
from value_retention.analysis.effects.rows import Effect
from value_retention.analysis.report.cells import UNADJUSTED, interval, number
from value_retention.analysis.report.tables import Table
from value_retention.analysis.runs.guards import GUARDS
from value_retention.analysis.runs.names import title_of
from value_retention.analysis.runs.scores import RunScores

GUARD_TITLE = "Guards on the answers: share of answers, % (marked of known)"
GUARD_HEADINGS = ["Run, language", "Answers", *(guard.replace(" ", "\n").capitalize() for guard in GUARDS)]

GUARD_NOTE = (
    "Truncated: the token limit cut the output. Repetitive: 30 % or more of its sequences of four words occurred in it "
    "before. Refusing: it opens with one of a short list of phrases. Other language: than the question, by py3langid. "
    f"Answers of which a mark is not known are not counted. {RULE}"
)
"""What the table shows, and when a verdict is marked."""


def guard_tables(result: Result) -> Iterator[Table]:
    """Shares of marked answers, per run and language."""
    yield Table(GUARD_TITLE, GUARD_HEADINGS, guard_rows(result.runs), GUARD_NOTE)


def guard_rows(runs: Iterable[RunScores], marked_only: bool = False) -> list[list[str]]:
    """Rows of the table, in the order of `GUARD_HEADINGS`.

    Args:
        runs: Reduced runs.
        marked_only: Leave out languages without a mark.
    """
    rows = []
    for row in guard_counts(runs):
        counts = row["guards"].values()
        if marked_only and row["language"] != ALL and not any(count["marked"] for count in counts):
            continue
        name = f"{row['run']}, {title_of(row['benchmark'])}, {row['language']}"
        rows.append([name, str(row["answers"]), *map(_cell, counts)])
    return rows


def _cell(count: dict[str, int]) -> str:
    if not count["known"]:
        return "unknown"
    return f"{number(count['marked'] / count['known'] * 100)} ({count['marked']} of {count['known']})"


def guard_lines(e: Effect, result: Result) -> list[str]:
    """Lines below a primary verdict whose sides differ in a guard: by how much, and the difference without them."""
    if e.tier != "primary":
        return []
    key = (e.benchmark, e.statement)
    lines = [
        f"    caution, form of the answers: {row.guard} {number(row.share_baseline)} % in {row.baseline}, "
        f"{number(row.share_run)} % in {row.run} ({number(row.difference, sign=True)} points "
        f"{interval(row.low, row.high)}{UNADJUSTED})"
        for row in result.guarded.differences
        if row.differs and (row.benchmark, row.statement) == key
    ]
    for rest in result.guarded.without:
        if (rest.benchmark, rest.statement) != key:
            continue
        found = "no question is left"
        if rest.difference is not None:
            shown = "too few clusters for an interval" if rest.low is None else rest.verdict or ""
            found = (
                f"{number(rest.difference, sign=True)} points {interval(rest.low, rest.high)}".strip()
                + f", {rest.questions} questions in {rest.clusters} clusters{f': {shown}' if shown else ''}"
            )
        lines.append(f"    without the {rest.left_out} questions with such an answer: {found}")
    return lines
