"""What stands before the figures: benchmarks left out, runs that differ or are the same, open verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from value_retention.analysis.effects.rows import Effect
from value_retention.analysis.judges.differences import RunDifference
from value_retention.analysis.runs.align import Panel
from value_retention.analysis.runs.names import title_of
from value_retention.analysis.runs.scores import RunScores
from value_retention.analysis.stats.cluster import ALPHA

MARK = "*"
"""Follows a verdict that the missing grades could overturn."""


def left_out(
    benchmark: str, members: Sequence[str], names: Sequence[str], baseline: str | None = None
) -> list[str]:
    """Say that a benchmark is not compared, or not for all runs, and which answers are missing.

    Args:
        benchmark: Its name.
        members: Runs that have answers to it.
        names: All runs.
        baseline: The run that the others are compared with, if one was named.
    """
    lacking = ", ".join(name for name in names if name not in members)
    if not lacking:
        return []
    title, has = title_of(benchmark), ", ".join(members)
    if len(members) < 2:
        return [f"{title} is LEFT OUT: only {has} has answers to it, not {lacking}."]
    if baseline is not None and baseline not in members:
        return [f"{title} is LEFT OUT: the baseline {baseline} has no answers to it ({has} have)."]
    return [f"{title} is compared without {lacking}, which has no answers to it."]


def asked_by(benchmark: str, members: Sequence[RunScores]) -> list[str]:
    """Say that runs differ in harness or seed; both are allowed."""
    found = []
    for name in dict.fromkeys(key for run in members for key in run.identity.noted):
        values = {run.run: run.identity.noted.get(name, "unknown") for run in members}
        if len(set(values.values())) > 1:
            listed = "; ".join(f"{value} in {run}" for run, value in values.items())
            found.append(f"{title_of(benchmark)}: runs differ in {name}: {listed}.")
    return found


def same_answers(benchmark: str, members: Sequence[RunScores]) -> list[str]:
    """Say which runs hold one set of answers and grades, or answers of one model, under several names."""
    groups: dict[str, list[str]] = {}
    models: dict[str, list[str]] = {}
    for run in members:
        groups.setdefault(run.fingerprint, []).append(run.run)
        models.setdefault(run.identity.fingerprint, []).append(run.run)
    found = [
        f"{title_of(benchmark)}: {' and '.join(group)} hold THE SAME ANSWERS with the same grades, item by item. "
        "A comparison of them is not evidence."
        for group in groups.values()
        if len(group) > 1
    ]
    return found + [
        f"{title_of(benchmark)}: {' and '.join(names)} are answers of the same model, as their records tell ({model})."
        for model, names in models.items()
        if model and len(names) > 1
    ]


def extent(panel: Panel, runs: Sequence[str] | None = None) -> str:
    """How much of a benchmark was asked: ``12 of 30 questions (en)``.

    Args:
        panel: Aligned runs.
        runs: Runs whose common questions are counted; None for all of the panel.
    """
    chosen = [panel.runs.index(run) for run in runs or panel.runs]
    common = np.all(panel.answers[chosen] > 0, axis=0).tolist()
    asked = [question for question, shared in zip(panel.questions, common, strict=True) if shared]
    return extent_of([question.language for question in asked], panel.total)


def extent_of(languages: Sequence[str], total: int | None) -> str:
    """The same for questions of these languages out of ``total``."""
    tags = list(dict.fromkeys(languages))
    named = ", ".join(tags) if len(tags) <= 3 else f"{len(tags)} languages"
    count = len(languages)
    part = f"{count} of {total}" if total is not None and count < total else str(count)
    return f"{part} questions ({named})"


def judges_differ(differences: Sequence[RunDifference]) -> list[str]:
    """Say where labels show that a judge errs differently on the two runs of a comparison, on all questions."""
    found = []
    for row in differences:
        if row.name == "overall" and row.errors_p is not None and row.errors_p < ALPHA:
            p = "< 0.001" if row.errors_p < 0.001 else f"= {row.errors_p:.3f}"
            found.append(
                f"{title_of(row.benchmark)}, {row.run} against {row.baseline}: labels show that {row.judge} ERRS "
                f"DIFFERENTLY on the two runs (p {p}). Verdicts rest on its grades as they are; read the corrected "
                "difference."
            )
    return found


def fragile_verdicts(effects: Sequence[Effect]) -> list[str]:
    """Per comparison, the verdicts that the missing grades could overturn."""
    found = []
    for (benchmark, statement), members in groupby(effects, key=lambda e: (e.benchmark, e.statement)):
        rows = list(members)
        open_ = [e.metric for e in rows if e.verdict_holds is False]
        if not open_:
            continue
        whole = next((e for e in rows if e.kind == "overall"), rows[0])
        found.append(
            f"{title_of(benchmark)}, {statement}: {whole.grades_missing} of {whole.grades} grades are missing. "
            f"Were they the worst for it, a verdict marked {MARK} would not hold ({', '.join(open_)})."
        )
    return found
