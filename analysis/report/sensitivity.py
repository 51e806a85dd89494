"""Lines below a verdict: errors of the judge that labels show or that would overturn it, and cautions."""

from __future__ import annotations

from collections.abc import Sequence

from value_retention.analysis.effects.result import Result
from value_retention.analysis.effects.rows import Effect
from value_retention.analysis.effects.sensitivity import caution_of, tipping_of
from value_retention.analysis.judges.confusion import Rate
from value_retention.analysis.judges.differences import RunDifference
from value_retention.analysis.report.cells import UNADJUSTED, interval, number, p_text
from value_retention.analysis.runs.align import ENGLISH, OTHER, OVERALL
from value_retention.analysis.runs.names import title_of

GROUPS = {OVERALL: "overall", ENGLISH: "English", OTHER: "non-English"}
"""Figure to the group of questions on which a judge is compared with labels."""


def judge_errors(e: Effect, result: Result) -> list[str]:
    """The judge's errors beside a verdict: those that labels show, else those that would overturn it."""
    measured = [
        row
        for row in result.calibrated
        if (row.benchmark, row.baseline, row.run, row.name)
        == (e.benchmark, e.baseline, e.run, GROUPS.get(e.metric))
    ]
    lines = [line for row in measured for line in calibrated_lines(row)]
    found = tipping_of(e, result.settings)
    if found is None or (measured and all(row.corrected is not None for row in measured)):
        return lines
    rates = [
        f"{number(rate * 100)} % {what}"
        for rate, what in (
            (found.both, "in both runs (half false passes, half false fails)"),
            (found.false_pass, "false passes in one run only"),
            (found.false_fail, "false fails in one run only"),
        )
        if rate is not None
    ]
    return [*lines, f"    judge errors that would overturn it: {'; '.join(rates) or 'none below 50 %'}"]


def calibrated_lines(row: RunDifference) -> list[str]:
    """A judge's error rates on both runs by labels, the test of their difference, and the corrected difference."""

    def rates(what: str, right: Sequence[Rate]) -> str:
        sides = [
            "no label"
            if rate.value is None or rate.low is None or rate.high is None
            else f"{number((1 - rate.value) * 100)} % {interval((1 - rate.high) * 100, (1 - rate.low) * 100)}"
            for rate in right
        ]
        return f"{what} {sides[0]} in {row.baseline}, {sides[1]} in {row.run}"

    equal = "" if row.errors_p is None else f"; p that they are equal {p_text(row.errors_p)}"
    first = f"{rates('false passes', row.specificities)}; {rates('false fails', row.sensitivities)}"
    if row.corrected is None:
        second = f"no corrected difference: {row.refused}"
    else:
        ends = interval(row.corrected.low * 100, row.corrected.high * 100)
        value = number(row.corrected.value * 100, sign=True)
        second = f"corrected for them, run by run: {value} points {ends}{UNADJUSTED}"
    return [f"    errors of {row.judge} by labels: {first}{equal}", f"    {second}"]


def caution(e: Effect) -> str:
    """A warning where the interval may cover less than it says."""
    found = caution_of(e)
    return f"    caution: {found}" if found else ""


def cautions(result: Result) -> list[str]:
    """The same for exploratory figures, one line per comparison and reason."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for e in result.effects:
        reason = caution_of(e) if e.tier == "exploratory" else None
        if reason:
            found.setdefault((e.benchmark, e.statement, reason), []).append(e.metric)
    return [
        f"Caution, {title_of(benchmark)}, {statement}: {', '.join(metrics)}: {reason}."
        for (benchmark, statement, reason), metrics in found.items()
    ]
