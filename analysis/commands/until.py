"""``value-retention judge --until-verdict``: judge two runs epoch by epoch, and stop when the verdict is clear."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from value_retention.analysis.runs.names import LOOKS

if TYPE_CHECKING:
    from value_retention.analysis.effects.result import Result
    from value_retention.analysis.runs.load import Run
    from value_retention.tasks.record import AnswerRecord

    Work = tuple[Run, list[AnswerRecord]]


@dataclass(frozen=True)
class Look:
    """What one look at the epochs judged so far shows: second run less first, overall mean, points.

    Attributes:
        epochs: Epochs judged.
        planned: Epochs that there are.
        level: Level of the interval, which leaves room for the other looks.
        difference: Estimate.
        low: Lower end.
        high: Upper end.
        margin: Largest loss that counts as none.
    """

    epochs: int
    planned: int
    level: float
    difference: float
    low: float
    high: float
    margin: float

    @property
    def shown(self) -> str:
        """What is shown; empty where nothing is."""
        from value_retention.analysis.effects.verdicts import claims

        found = claims(self.low, self.high, self.margin)
        if "lower" in found:
            return "a loss" + (f", smaller than {self.margin:g} points" if "kept" in found else "")
        return f"no loss of {self.margin:g} points" if "kept" in found else ""

    def text(self) -> str:
        """One line."""
        points = f"{self.difference:+.1f} [{self.low:+.1f}, {self.high:+.1f}] points"
        known = f"{points} ({self.level * 100:.2f} % interval)" if self.level < 1 else points
        return f"{self.epochs} of {self.planned} epochs: {known}: shows {self.shown or 'nothing yet'}"


def pairs_of(work: Sequence[Work], order: Sequence[str]) -> list[tuple[int, int]]:
    """Positions of the two runs of each benchmark in ``work``, the baseline first.

    Args:
        work: Runs and their answers.
        order: Names of the runs as on the command line, the baseline first.

    Raises:
        InputError: a benchmark without exactly two runs.
    """
    from value_retention.tasks.errors import InputError

    by_benchmark: dict[str, list[int]] = {}
    for position, (_, records) in enumerate(work):
        by_benchmark.setdefault(records[0].benchmark, []).append(position)
    for benchmark, positions in by_benchmark.items():
        if len(positions) != 2:
            raise InputError(
                "--until-verdict compares two runs",
                where=benchmark,
                found=", ".join(work[k][0].name for k in positions),
                expected="two runs with answers to the same questions",
            )
    ordered = [sorted(pair, key=lambda k: order.index(work[k][0].name)) for pair in by_benchmark.values()]
    return [(pair[0], pair[1]) for pair in ordered]


def judged_until(
    first: Work,
    second: Work,
    margin: float,
    alpha: float,
    judge: Callable[[Work, bool], list[AnswerRecord] | None],
    say: Callable[[str], None],
    folder: Path,
) -> bool:
    """Judge both runs epoch by epoch until a look shows something, and write the epochs judged.

    Args:
        first: The baseline and its answers.
        second: The other run.
        margin: Points.
        alpha: Error rate of all looks.
        judge: Judges answers and returns their records, None if the run failed; True writes them.
        say: Prints a line.
        folder: Folder of the records; receives the mark that `with_looks` reads.

    Returns:
        False if grades are missing, or none could be read.
    """
    from value_retention.analysis.stats.sequential import planned_times
    from value_retention.tasks.errors import InputError

    epochs = sorted({r.epoch for r in first[1]} & {r.epoch for r in second[1]})
    if not epochs:
        raise InputError("the runs have no common epoch", found=f"{first[0].name}, {second[0].name}")
    times = planned_times(range(1, len(epochs) + 1))
    errors: list[float] = []
    part: list[Work] = []
    look: Look | None = None
    for count in range(1, len(epochs) + 1):
        part = [(run, [r for r in records if r.epoch in epochs[:count]]) for run, records in (first, second)]
        judged = [judge(work, False) for work in part]
        if judged[0] is None or judged[1] is None:
            return False
        look = _look((judged[0], judged[1]), errors, times, margin, alpha)
        say(f"{second[0].name} less {first[0].name}, {look.text()}")
        if look.shown:
            break
    if not all(judge(work, True) is not None for work in part):
        return False
    assert look is not None
    _write_mark(folder, first[1][0], second[1][0], look)
    return True


def _write_mark(folder: Path, first: AnswerRecord, second: AnswerRecord, look: Look) -> None:
    """Leave a file beside the records that says how many looks were taken."""
    from value_retention.analysis.report.export import json_text, writing

    mark = {
        "schema": "value-retention/until-verdict/1",
        "benchmark": first.benchmark,
        "models": [first.run.model, second.run.model],
        "margin": look.margin,
        "looks": look.epochs,
        "planned": look.planned,
        "last_look": look.text(),
    }
    path = folder / LOOKS.format(first.benchmark)
    with writing(path):
        path.write_text(json_text(mark), encoding="utf-8")


def with_looks(result: Result) -> Result:
    """Put the looks of `judge --until-verdict` before the figures of runs that it judged.

    Raises:
        InputError: a mark that cannot be read.
    """
    from value_retention.analysis.runs.names import title_of
    from value_retention.tasks.errors import InputError

    models = {(row.benchmark, row.run): row.model for row in result.judged}
    lines = []
    for run in result.runs:
        for path in {Path(file).parent / LOOKS.format(run.benchmark) for file in run.files}:
            if not path.is_file():
                continue
            try:
                mark = json.loads(path.read_text("utf-8"))
                judged, said = (
                    mark["models"],
                    (mark["looks"], mark["planned"], mark["margin"], mark["last_look"]),
                )
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise InputError(
                    "cannot read the mark of judge --until-verdict", where=str(path),
                    found=f"{type(error).__name__}: {error}", expected="the file as the command wrote it",
                ) from error  # fmt: skip
            if models.get((run.benchmark, run.run)) in judged:
                lines.append(
                    f"{title_of(run.benchmark)}: JUDGED UNTIL A VERDICT, with {said[0]} of {said[1]} looks at a margin "
                    f"of {said[2]:g} points. The intervals here do not allow for the looks; the last look does: "
                    f"{said[3]}."
                )
    return replace(result, headline=(*dict.fromkeys(lines), *result.headline))


def _look(
    judged: tuple[list[AnswerRecord], list[AnswerRecord]],
    errors: list[float],
    times: Sequence[float],
    margin: float,
    alpha: float,
) -> Look:
    """The look at these records. Adds its standard error to ``errors``."""
    from value_retention.analysis.runs.align import align, cluster_tables, metrics_of
    from value_retention.analysis.runs.scores import reduce_run
    from value_retention.analysis.stats.cluster import t_interval
    from value_retention.analysis.stats.sequential import look_level

    panel = align([reduce_run(name, (), records)[0] for name, records in zip("ab", judged, strict=True)])
    table = cluster_tables(panel, metrics_of(panel)[:1], panel.score[1:] - panel.score[:1])
    # Without a spread between the questions there is nothing to decide by yet.
    error = float(t_interval(table).se[0])
    level = 1.0
    if error > 0:
        errors.append(error)
        count = len({record.epoch for record in judged[0]})
        level = look_level(errors, times[count - len(errors) : count], alpha)
    found = t_interval(table, level)
    difference, low, high = (float(end[0]) * 100 for end in (found.estimate, found.low, found.high))
    return Look(len({r.epoch for r in judged[0]}), len(times), level, difference, low, high, margin)
