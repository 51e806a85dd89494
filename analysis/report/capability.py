"""Helpful performance beside the value: the table of other tasks, and one line per comparison with both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from value_retention.analysis.effects.capability import CapabilityEffect
from value_retention.analysis.effects.result import Result
from value_retention.analysis.effects.rows import Effect
from value_retention.analysis.report.cells import (
    UNADJUSTED,
    interval,
    interval_text,
    number,
    or_reason,
    p_text,
)
from value_retention.analysis.report.tables import Table
from value_retention.analysis.runs.names import title_of

MOST_LINES, MOST_TASKS = 3, 6
"""Comparisons, and tasks of each, in the lines of the first screen."""

EXPLORATORY = (
    "Other tasks: over the samples that both runs scored, one cluster per document, t intervals, not adjusted and "
    "without verdicts."
)


def capability_tables(result: Result) -> Iterator[Table]:
    """A table of the other tasks per comparison."""
    level = f"{result.settings.level * 100:g} %"
    for baseline, run in _pairs(result.capability):
        rows = [row for row in result.capability if (row.baseline, row.run) == (baseline, run)]
        headings = [
            "Task", "Metric", "Samples", baseline, run, "Difference", f"{level}\ninterval{UNADJUSTED}", "p\nraw",
        ]  # fmt: skip
        yield Table(
            f"Other tasks: {run} against {baseline}", headings, [_cells(row) for row in rows], EXPLORATORY
        )


def capability_lines(result: Result) -> list[str]:
    """One line per comparison: the main metric of each other task, and the overall mean of each benchmark."""
    pairs = _pairs(result.capability)
    lines = [
        f"{run} against {baseline}: {_both(result, baseline, run)}." for baseline, run in pairs[:MOST_LINES]
    ]
    left = len(pairs) - MOST_LINES
    return lines if left <= 0 else [*lines, f"Other tasks of {left} more comparisons are in the tables."]


def _both(result: Result, baseline: str, run: str) -> str:
    """Other tasks and benchmarks of one comparison."""
    main = [row for row in result.capability if row.main and (row.baseline, row.run) == (baseline, run)]
    parts = [
        f"{row.task} {number(row.difference, _digits(row), sign=True)} {_or_short(_interval(row), row)}"
        for row in main[:MOST_TASKS]
    ]
    parts += [f"{len(main) - MOST_TASKS} more tasks"] if len(main) > MOST_TASKS else []
    parts += [
        f"{title_of(e.benchmark)} {number(e.difference, sign=True)} {_or_short(interval_text(e), e)}"
        for e in result.effects
        if e.tier == "primary" and (e.baseline, e.run) == (baseline, run)
    ]
    return ", ".join(parts)


def _or_short(text: str, row: CapabilityEffect | Effect) -> str:
    return text or f"({or_reason('', row.reasons, 'interval')})"


def _pairs(rows: Sequence[CapabilityEffect]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((row.baseline, row.run) for row in rows))


def _digits(row: CapabilityEffect) -> int:
    return 1 if row.unit == "points" else 3


def _interval(row: CapabilityEffect) -> str:
    if row.low is None or row.high is None:
        return ""
    if row.unit == "points":
        return interval(row.low, row.high) + UNADJUSTED
    return f"[{number(row.low, 3)}, {number(row.high, 3)}]{UNADJUSTED}"


def _cells(row: CapabilityEffect) -> list[str]:
    digits = _digits(row)
    notes = [f"{row.tasks} tasks"] if row.tasks else []
    notes += ["lower is better"] if row.higher_is_better is False else []
    return [
        row.task + (f" ({', '.join(notes)})" if notes else ""),
        row.metric,
        str(row.samples),
        number(row.score_baseline, digits),
        number(row.score_run, digits),
        number(row.difference, digits, sign=True),
        or_reason(_interval(row).removesuffix(UNADJUSTED), row.reasons, "interval"),
        or_reason(p_text(row.p), row.reasons, "interval"),
    ]
