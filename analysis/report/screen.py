"""The first screen of a comparison in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from value_retention.analysis.effects.result import Result
from value_retention.analysis.report.cells import UNADJUSTED
from value_retention.analysis.report.console import console, text_of
from value_retention.analysis.report.overview import DAGGER, SENTENCES, not_shown, rests_on, scores, verdicts

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

LINES = 40
"""Lines of the first screen, at 80 columns or more."""

WARNING_LINES, RUN_LINES, BASIS_LINES = 10, 10, 4
"""Lines of warnings, runs in the table of scores, and lines on what a benchmark rests on, before the rest is cut."""

DETAILS = "Every figure: --full. With the answers, to hand on: value-retention report. For programs: --json."


def print_first_screen(result: Result, out: Console | None = None) -> None:
    """Print warnings, scores, verdicts and what they rest on: at most `LINES` lines.

    Verdicts lose their details before they are left out, and the worst of each benchmark stay longest.

    Args:
        result: A comparison of runs or arms.
        out: Where to; None for the terminal.
    """
    out = out or console()
    warnings = [part for line in result.headline for part in _wrapped(out, line, "bold red")]
    if len(warnings) > WARNING_LINES:
        warnings = warnings[: WARNING_LINES - 1]
        warnings.append(text_of("More warnings, or the rest of this one: --full.", "bold red"))
    head = [*warnings, *_score_lines(result, out.width)]
    said = [part for find in SENTENCES for line in find(result) for part in _wrapped(out, line, "bold")]
    basis = [part for line in rests_on(result) for part in _wrapped(out, line)[:BASIS_LINES]]
    limits = f"Not shown: {'; '.join(not_shown(result))}."
    tail = [*basis, *_wrapped(out, f"{limits} {DAGGER}"), *_wrapped(out, DETAILS)]
    room = LINES - len(head) - len(tail) - len(said) - 2
    body = _verdict_lines(result, out, room)
    if not any(UNADJUSTED in line.plain for line in (*body, *said)):
        tail = [*basis, *_wrapped(out, limits), *_wrapped(out, DETAILS)]
    for line in (*head, text_of(""), *body, *said, text_of(""), *tail):
        out.print(line, no_wrap=True, crop=False)


def _wrapped(out: Console, line: str, style: str = "") -> list[Text]:
    """A line as the terminal will break it."""
    return list(text_of(line, style).wrap(out, max(out.width, 20)))


def _score_lines(result: Result, width: int) -> list[Text]:
    """The overview of scores, one line per run."""
    table = scores(result)
    others = [
        max(map(len, column)) for column in zip(table.headings[1:], *(r[1:] for r in table.rows), strict=True)
    ]
    first = max(8, min(max(len(row[0]) for row in table.rows), width - sum(others) - 2 * len(others)))
    left = len(table.rows) - RUN_LINES
    shown = table.rows if left <= 0 else table.rows[: RUN_LINES - 1]

    def line(cells: Sequence[str], style: str = "") -> Text:
        name = cells[0] if len(cells[0]) <= first else f"…{cells[0][1 - first :]}"
        rest = (f"{cell:>{size}}" for cell, size in zip(cells[1:], others, strict=True))
        return text_of("  ".join([f"{name:<{first}}", *rest]), style)

    more = [text_of(f"and {len(table.rows) - len(shown)} more runs: --full")] if left > 0 else []
    return [text_of(table.title, "bold"), line(table.headings, "bold"), *map(line, shown), *more]


def _verdict_lines(result: Result, out: Console, room: int) -> list[Text]:
    """The verdicts with as much detail as there is room for, the worst of each benchmark first.

    Where the sentences of all do not fit, the worst of each benchmark keeps its sentence, the others have a line.
    """
    found = verdicts(result)
    for details in (True, False):
        lines = [
            part
            for verdict in found
            for line in (verdict.sentence, verdict.share, verdict.caution, *(verdict.more if details else ()))
            if line
            for part in _wrapped(out, *((line, "bold") if line is verdict.sentence else (f"  {line}",)))
        ]
        if len(lines) <= room:
            return lines
    kept: list[Text] = []
    benchmarks = list(dict.fromkeys(verdict.benchmark for verdict in found))
    for place, benchmark in enumerate(benchmarks):
        first, *others = (verdict for verdict in found if verdict.benchmark == benchmark)
        kept += _wrapped(out, first.sentence, "bold")
        own = [_wrapped(out, other.short) for other in others]
        most = (room - len(kept) - 3 * (len(benchmarks) - place - 1)) // (len(benchmarks) - place)
        count = len(own)
        while count and sum(map(len, own[:count])) + (count < len(own)) > most:
            count -= 1
        kept += [line for lines in own[:count] for line in lines]
        if count < len(own):
            kept.append(text_of(f"{benchmark}: {len(own) - count} more comparisons, none worse: --full."))
    return kept
