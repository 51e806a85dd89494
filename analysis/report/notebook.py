"""`compare` as a notebook calls it: runs in, a result that prints itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from value_retention.analysis.effects.compare import compare_pairs
from value_retention.analysis.effects.result import Result
from value_retention.analysis.report.console import print_result
from value_retention.analysis.runs.load import Run
from value_retention.analysis.runs.scores import reduce_run
from value_retention.analysis.stats.settings import Questions, checked_settings


@dataclass(frozen=True, eq=False)
class Report(Result):
    """A `Result` that can be shown."""

    def print(self, full: bool = False) -> None:
        """Print the report as the command does; ``full`` adds every figure and column."""
        print_result(self, full=full)


def compare(
    runs: Iterable[Run],
    *,
    baseline: str | None = None,
    before: str | None = None,
    margin: float | None = None,
    equivalence: bool = False,
    questions: Questions = "new",
    allow: Sequence[str] = (),
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Report:
    """Compare runs pairwise on every figure of every benchmark they share.

    Args:
        runs: Two or more, from `load_runs`. They are reduced one by one, so an iterator keeps one in memory.
        baseline: Name of the run to compare the others with; without it, every pair.
        before: Name of the run before the value was trained in; with a baseline, gives the retained share.
        margin: Largest loss, in points, that counts as none; without it, no verdicts.
        equivalence: Whether a gain above the margin counts against ``retained`` too.
        questions: What the verdicts speak about: ``new`` questions like these, or these (``fixed``).
        allow: Aspects in which the runs may differ, such as ``judge`` (keys of `identity.ASPECTS`).
        level: Confidence level of all intervals.
        resamples: Bootstrap resamples and sign-flip patterns.
        seed: Seed of both.

    Raises:
        InputError: runs that are not comparable, nothing to compare, or a setting out of range.
    """
    settings = checked_settings(level, resamples, seed, margin, equivalence, questions)
    reduced = [
        part for run in runs for part in reduce_run(run.name, [str(file) for file in run.files], run.records)
    ]
    return Report(**vars(compare_pairs(reduced, settings, baseline=baseline, before=before, allow=allow)))
