"""What stands before every figure of `compare` and `arms`: what was left out, asked otherwise or counted twice."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from value_retention.analysis.effects.result import Effect
from value_retention.analysis.report.cells import MARK, TITLES
from value_retention.analysis.runs.align import Panel
from value_retention.analysis.runs.scores import RunScores

NAMED = 5
"""Figures that a line names before it only counts."""


def left_out(
    benchmark: str, members: Sequence[str], names: Sequence[str], baseline: str | None = None
) -> list[str]:
    """Which benchmark is not compared, or not for all runs, and for want of whose answers.

    Args:
        benchmark: Its name.
        members: Runs that have answers to it.
        names: All runs.
        baseline: The run that the others are compared with, if one was named.
    """
    lacking = ", ".join(name for name in names if name not in members)
    if not lacking:
        return []
    title, has = TITLES.get(benchmark, benchmark), ", ".join(members)
    if len(members) < 2:
        return [f"{title} is LEFT OUT: only {has} has answers to it, not {lacking}."]
    if baseline is not None and baseline not in members:
        return [f"{title} is LEFT OUT: the baseline {baseline} has no answers to it ({has} have)."]
    return [f"{title} is compared without {lacking}: no answers to it there."]


def asked_by(benchmark: str, members: Sequence[RunScores]) -> list[str]:
    """That runs differ in the harness, or in the seed of their answers: both are let through, never unsaid."""
    found = []
    for name in dict.fromkeys(key for run in members for key in run.identity.noted):
        values = {run.run: run.identity.noted.get(name, "not said") for run in members}
        if len(set(values.values())) > 1:
            listed = "; ".join(f"{value} in {run}" for run, value in values.items())
            found.append(f"{TITLES.get(benchmark, benchmark)}: runs differ in {name}: {listed}.")
    return found


def same_answers(benchmark: str, members: Sequence[RunScores]) -> list[str]:
    """Which runs hold one set of answers and grades under several names."""
    groups: dict[str, list[str]] = {}
    for run in members:
        groups.setdefault(run.fingerprint, []).append(run.run)
    return [
        f"{TITLES.get(benchmark, benchmark)}: {' and '.join(group)} hold THE SAME ANSWERS with the same grades, "
        "item by item: no difference between them is evidence of anything."
        for group in groups.values()
        if len(group) > 1
    ]


def extent(panel: Panel, runs: Sequence[str] | None = None) -> str:
    """How much of a benchmark was asked: ``12 of 30 questions (en)``.

    Args:
        panel: Aligned runs.
        runs: Those whose common questions are counted; None for all of the panel.
    """
    chosen = [panel.runs.index(run) for run in runs or panel.runs]
    common = np.all(panel.answers[chosen] > 0, axis=0).tolist()
    asked = [question for question, shared in zip(panel.questions, common, strict=True) if shared]
    return extent_of([question.language for question in asked], panel.total)


def extent_of(languages: Sequence[str], total: int | None) -> str:
    """The same for questions of these languages, out of so many."""
    tags = list(dict.fromkeys(languages))
    named = ", ".join(tags) if len(tags) <= 3 else f"{len(tags)} languages"
    count = len(languages)
    part = f"{count} of {total}" if total is not None and count < total else str(count)
    return f"{part} questions ({named})"


def part_only(panel: Panel) -> list[str]:
    """That the compared questions are not the whole benchmark, so "overall" is not its score."""
    asked = int(np.any(panel.answers > 0, axis=0).sum())
    if panel.total is None or asked >= panel.total:
        return []
    return [
        f'{TITLES.get(panel.benchmark, panel.benchmark)}: {extent(panel)}; "overall" is over these, '
        "it is not the benchmark's score."
    ]


def fragile_verdicts(effects: Sequence[Effect]) -> list[str]:
    """Per pair, the verdicts that the missing grades could overturn."""
    found = []
    for (benchmark, baseline, run), members in groupby(
        effects, key=lambda e: (e.benchmark, e.baseline, e.run)
    ):
        rows = list(members)
        open_ = [e.metric for e in rows if e.verdict_holds is False]
        if not open_:
            continue
        whole = next((e for e in rows if e.kind == "overall"), rows[0])
        listed = ", ".join(open_[:NAMED]) + (f" and {len(open_) - NAMED} more" if len(open_) > NAMED else "")
        found.append(
            f"{TITLES.get(benchmark, benchmark)}, {run} against {baseline}: {whole.grades_missing} of "
            f"{whole.grades} grades are missing; with the worst case the verdicts marked {MARK} would not hold "
            f"({listed})."
        )
    return found
