"""Compare runs: records in, a `Comparison` out. This is the analysis a notebook calls."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from value_retention.analysis.effects.caveats import (
    asked_by,
    fragile_verdicts,
    left_out,
    part_only,
    same_answers,
)
from value_retention.analysis.effects.language import Contrast, language_contrasts, with_notes
from value_retention.analysis.effects.paired import correct, paired_effects, run_scores
from value_retention.analysis.effects.result import Effect, Score, Settings
from value_retention.analysis.runs.align import Panel, align, metrics_of
from value_retention.analysis.runs.identity import check_comparable, differences
from value_retention.analysis.runs.scores import RunScores, reduce_run
from value_retention.tasks.errors import InputError
from value_retention.tasks.record import AnswerRecord

if TYPE_CHECKING:
    import pandas as pd

    from value_retention.analysis.judges.agreement import Agreement

ONE_RUN_EACH = (
    "Each checkpoint is one training run. The intervals say how the difference would vary over other "
    "questions like these; they say nothing about another training run with the same data."
)

MOST_RESAMPLES = 100_000
"""A p of 0.05 is known to 0.0007 with these; more only take memory, which grows with them."""

LEAST_LEVEL = 0.8
"""Lowest level of the intervals that stand beside a verdict."""


class RunLike(Protocol):
    """What `compare` needs of a run; `load_runs` gives them."""

    @property
    def name(self) -> str:
        """Name of the run."""

    @property
    def files(self) -> Sequence[str]:
        """Files it was read from."""

    @property
    def records(self) -> Sequence[AnswerRecord]:
        """Its answers."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Everything a report or a figure shows.

    Attributes:
        headline: What must be read first: data that is no benchmark's, differences let through, benchmarks
            left out, runs that are one, verdicts that missing grades could overturn.
        notes: Sentences on what the figures support.
        scores: Each figure of each run.
        effects: Each figure of each pair.
        contrasts: English against the other languages, per pair.
        panels: The aligned scores per question, one per benchmark.
        runs: The reduced runs, for the counts of the judges' replies.
        settings: How it was computed.
        agreements: Run and agreement of its judges, per figure; of runs judged by a panel, where asked for.
    """

    headline: tuple[str, ...]
    notes: tuple[str, ...]
    scores: tuple[Score, ...]
    effects: tuple[Effect, ...]
    contrasts: tuple[Contrast, ...]
    panels: tuple[Panel, ...]
    runs: tuple[RunScores, ...]
    settings: Settings = field(default_factory=Settings)
    agreements: tuple[tuple[str, Agreement], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON values; no NaN, a missing value is null and has its reason beside it."""
        from value_retention.analysis.report.export import comparison_dict

        return comparison_dict(self)

    def to_frame(self) -> pd.DataFrame:
        """The effects as a pandas table, a row per figure and pair."""
        from value_retention.analysis.report.export import effects_frame

        return effects_frame(self)

    def print(self) -> None:
        """Print the report as the command does."""
        from value_retention.analysis.report.console import print_comparison

        print_comparison(self)


def reduce_runs(runs: Iterable[RunLike]) -> list[RunScores]:
    """Reduce runs one by one, so that only one run's records need to be in memory.

    Raises:
        InputError: two runs of the same name, or what `reduce_run` raises.
    """
    reduced: list[RunScores] = []
    for run in runs:
        reduced += reduce_run(run.name, [str(file) for file in run.files], run.records)
    return unique_names(reduced)


def unique_names(runs: Sequence[RunScores]) -> list[RunScores]:
    """Refuse two runs of one name and benchmark: a table could not tell them apart."""
    seen: dict[tuple[str, str], RunScores] = {}
    for run in runs:
        other = seen.setdefault((run.run, run.benchmark), run)
        if other is not run:
            raise InputError(
                "two runs of the same name",
                where=", ".join((*other.files, *run.files)) or None,
                found=run.run,
                expected="a name of its own for each run",
                hint="name them on the command line: NAME=PATH",
            )
    return list(runs)


def compare(
    runs: Iterable[RunLike],
    *,
    baseline: str | None = None,
    margin: float | None = None,
    allow: Sequence[str] = (),
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Comparison:
    """Compare runs pairwise on every figure of every benchmark they share.

    Args:
        runs: Two or more, from `load_runs`.
        baseline: Name of the run to compare the others with; without it, every pair.
        margin: Percentage points within which a difference counts as none; without it, no verdicts.
        allow: Differences between runs to let through, such as ``judge`` (see `comparable.ASPECTS`).
        level: Confidence level of all intervals.
        resamples: Bootstrap resamples and sign-flip patterns.
        seed: Seed of both.

    Raises:
        InputError: runs that must not be compared, nothing to compare, or a bad setting.
    """
    settings = checked_settings(level, resamples, seed, margin)
    return compare_reduced(reduce_runs(runs), settings, baseline=baseline, allow=allow)


def checked_settings(level: float, resamples: int, seed: int, margin: float | None) -> Settings:
    """Settings that make sense.

    Raises:
        InputError: otherwise.
    """
    checks = [
        ("--level", level, 0.5 <= level <= 0.999, "from 0.5 to 0.999, such as 0.95"),
        (
            "--resamples", resamples, 1000 <= resamples <= MOST_RESAMPLES,
            f"from 1000 to {MOST_RESAMPLES}, which are in memory at once; 10000 is the default",
        ),
        ("--seed", seed, seed >= 0, "0 or more"),
    ]  # fmt: skip
    for where, found, good, expected in checks:
        if not good:
            raise InputError("a setting out of range", where=where, found=found, expected=expected)
    check_margins([] if margin is None else [margin], level)
    return Settings(level, resamples, seed, margin)


def check_margins(margins: Sequence[float], level: float) -> None:
    """Refuse margins that are no points, and verdicts beside intervals that are narrower than their tests.

    Raises:
        InputError: either.
    """
    for margin in margins:
        if not 0 < margin < 100:
            raise InputError(
                "a setting out of range", where="--margin", found=margin,
                expected="percentage points above 0, such as 5",
            )  # fmt: skip
    if margins and level < LEAST_LEVEL:
        raise InputError(
            "verdicts beside intervals of so low a level",
            where="--level", found=level, expected=f"{LEAST_LEVEL:g} or more where there is a margin",
            hint="verdicts are tested at 5 %: intervals this narrow would contradict them. Leave out the margin, "
            "or take a higher level",
        )  # fmt: skip


def compare_reduced(
    runs: Sequence[RunScores], settings: Settings, *, baseline: str | None = None, allow: Sequence[str] = ()
) -> Comparison:
    """`compare` for runs that are reduced already."""
    names = list(dict.fromkeys(run.run for run in runs))
    if len(names) < 2:
        raise InputError(
            "one run is nothing to compare", found=", ".join(names) or "no run", expected="two runs or more"
        )
    chosen = _named(baseline, runs) if baseline is not None else None
    panels: list[Panel] = []
    headline: list[str] = []
    missed: list[str] = []
    benchmarks = dict.fromkeys(run.benchmark for run in runs)
    for benchmark in benchmarks:
        members = [run for run in runs if run.benchmark == benchmark]
        present = [run.run for run in members]
        missed += left_out(benchmark, present, names, chosen)
        if len(members) < 2 or (chosen and chosen not in present):
            continue
        headline += checked_alike(benchmark, members, allow)
        _check_common(members)
        panels.append(align(members))
        headline += part_only(panels[-1])
    if not panels:
        listed = "; ".join(f"{run.run}: {run.benchmark}" for run in runs)
        expected = "two runs of one benchmark" + (f", one of them {chosen}" if chosen else "")
        raise InputError("no benchmark in common", found=listed, expected=expected)
    scores: list[Score] = []
    effects: list[Effect] = []
    contrasts: list[Contrast] = []
    for panel in panels:
        metrics = metrics_of(panel)
        pairs = _pairs(panel.runs, chosen)
        scores += run_scores(panel, metrics, settings)
        effects += paired_effects(panel, metrics, pairs, settings)
        contrasts += language_contrasts(panel, pairs, settings)
    effects = correct(effects, settings.margin)
    return Comparison(
        headline=(*labels(runs), *headline, *missed, *fragile_verdicts(effects)),
        notes=(ONE_RUN_EACH,),
        scores=tuple(scores),
        effects=tuple(effects),
        contrasts=tuple(with_notes(contrasts, effects)),
        panels=tuple(panels),
        runs=tuple(runs),
        settings=settings,
    )


def checked_alike(benchmark: str, members: Sequence[RunScores], allow: Sequence[str]) -> list[str]:
    """Refuse runs of a benchmark that were not asked and judged alike.

    Returns:
        What must be said of them first: differences let through, harnesses, runs that are one.

    Raises:
        InputError: a difference that is not allowed.
    """
    found = differences(benchmark, [(run.run, run.files, run.identity) for run in members])
    allowed = check_comparable(found, allow)
    return [*allowed, *asked_by(benchmark, members), *same_answers(benchmark, members)]


def _named(baseline: str, runs: Sequence[RunScores]) -> str:
    """Name of the run that the user means by a name or a path."""
    wanted = {baseline, baseline.rstrip("/"), Path(baseline).name}
    exact = [run.run for run in runs if run.run == baseline]
    loose = [run.run for run in runs if run.run in wanted or _holds(baseline, run.files)]
    names = list(dict.fromkeys(exact or loose))
    if len(names) != 1:
        raise InputError(
            "no run of this name" if not names else "more than one run of this name",
            where="--baseline",
            found=baseline,
            expected="one of " + ", ".join(dict.fromkeys(run.run for run in runs)),
        )
    return names[0]


def _holds(path: str, files: Sequence[str]) -> bool:
    """Whether a run's files are the path or lie below it."""
    root = Path(path).absolute()
    return any(root == Path(file).absolute() or root in Path(file).absolute().parents for file in files)


def _check_common(members: Sequence[RunScores]) -> None:
    items = [{question.item for question in run.questions} for run in members]
    for run, own in zip(members[1:], items[1:], strict=True):
        if not own & items[0]:
            raise InputError(
                "no common questions",
                where=" and ".join(f"{r.run} ({', '.join(r.files)})" for r in (members[0], run)),
                found=f"{len(items[0])} and {len(own)} questions of {run.benchmark}, none in both",
                expected="answers to the same questions",
            )


def _pairs(names: Sequence[str], baseline: str | None) -> list[tuple[int, int]]:
    """Positions (baseline, run): with a baseline the others against it, else every pair in order."""
    if baseline is None:
        return list(combinations(range(len(names)), 2))
    first = list(names).index(baseline)
    return [(first, k) for k in range(len(names)) if k != first]


def labels(runs: Sequence[RunScores]) -> list[str]:
    """First lines for data that is not the benchmark's."""
    from value_retention.analysis.examples.synthetic import LABEL, is_synthetic

    found = []
    if any(is_synthetic(run) for run in runs):
        found.append(LABEL)
    other = list(dict.fromkeys(r.run for r in runs if not r.identity.is_benchmark and not is_synthetic(r)))
    if other:
        found.append(f"NOT A BENCHMARK RESULT: sample items, not the benchmark's, in {', '.join(other)}.")
    return found
