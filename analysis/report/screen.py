"""The first screen of a comparison in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from value_retention.analysis.effects.result import Result
from value_retention.analysis.report.console import console, text_of
from value_retention.analysis.report.overview import SENTENCES, Verdict, not_shown, rests_on, scores, verdicts

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

LINES = 40
"""Lines of the first screen, at `SCREEN_WIDTH` columns or more."""

SCREEN_WIDTH = 80
WARNING_LINES, RUN_LINES = 10, 10
"""Lines of warnings, and runs in the table of scores, before the rest is only counted."""

DETAILS = "Every figure: --full. A page to hand on, with the answers: value-retention report. For programs: --json, --csv."


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
    limits = f"Not shown: {'; '.join(not_shown(result))}."
    tail = [part for line in (*rests_on(result), limits, DETAILS) for part in _wrapped(out, line)]
    head = [*warnings, *_score_lines(result, out.width)]
    said = [part for find in SENTENCES for line in find(result) for part in _wrapped(out, line, "bold")]
    room = LINES - len(head) - len(tail) - len(said) - 2
    for line in (*head, text_of(""), *_verdict_lines(result, out, room), *said, text_of(""), *tail):
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
    """The verdicts with as much detail as there is room for, the worst of each benchmark first."""
    found = verdicts(result)

    def block(verdict: Verdict, detail: int) -> list[Text]:
        more = [verdict.share, verdict.caution, *(verdict.more if detail > 1 else [])] if detail else []
        lines = _wrapped(out, verdict.sentence, "bold")
        return lines + [part for line in more if line for part in _wrapped(out, f"  {line}")]

    for detail in (2, 1, 0):
        lines = [line for verdict in found for line in block(verdict, detail)]
        if len(lines) <= room:
            return lines
    benchmarks = list(dict.fromkeys(verdict.benchmark for verdict in found))
    kept: list[Text] = []
    for number_, benchmark in enumerate(benchmarks):
        own = [block(verdict, 0) for verdict in found if verdict.benchmark == benchmark]
        most = (room - len(kept)) // (len(benchmarks) - number_) - 1
        taken: list[list[Text]] = []
        while len(taken) < len(own) and sum(map(len, taken)) + len(own[len(taken)]) <= max(most, len(own[0])):
            taken.append(own[len(taken)])
        kept += [line for lines in taken for line in lines]
        if len(taken) < len(own):
            kept.append(
                text_of(f"{benchmark}: {len(own) - len(taken)} more comparisons, none worse: --full.")
            )
    return kept
