"""What every interchange format needs: a run's figures per benchmark, the model's public name, the date."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from value_retention.analysis.effects.estimate import run_scores
from value_retention.analysis.effects.provenance import Judged, judged_of
from value_retention.analysis.effects.rows import Score
from value_retention.analysis.runs.align import OVERALL, align, metrics_of
from value_retention.analysis.runs.load import Run, runs_in_order
from value_retention.analysis.runs.scores import RunScores, reduce_run
from value_retention.analysis.stats.settings import Settings
from value_retention.tasks.errors import InputError
from value_retention.tasks.record import AnswerRecord

MODEL_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)+")
"""A name on the Hugging Face Hub or of a provider: ``developer/model``."""

_DATE = re.compile(r"(?<!\d)20\d\d-[01]\d-[0-3]\d(?=T\d\d-\d\d-\d\d)")
"""Date in the name of a file that lm-eval or Inspect wrote."""


@dataclass(frozen=True, eq=False)
class Part:
    """One run's answers to one benchmark, with its figures.

    Attributes:
        scores: The reduced run.
        records: The answers.
        figures: Every figure, per cent, with a 95 % Wilson interval over clusters.
        judged: Who answered, who judged, on which data.
        date: Day on which the answers were logged, from the name of the log; None if no name tells.
    """

    scores: RunScores
    records: tuple[AnswerRecord, ...]
    figures: tuple[Score, ...]
    judged: Judged
    date: str | None

    @property
    def overall(self) -> Score:
        """The overall mean."""
        return next(figure for figure in self.figures if figure.metric == OVERALL)

    def model_id(self, given: str | None) -> str:
        """The public name of the model.

        Args:
            given: The user's choice; None for the name in the records.

        Raises:
            InputError: a name that is not ``developer/model``, such as a local path.
        """
        name = given or self.judged.model
        local = given is None and Path(name).exists()
        if local or not MODEL_ID.fullmatch(name):
            raise InputError(
                "the model has no public name",
                where="--model-id" if given else self.scores.run,
                found=f"{name} (a local folder)" if local else name,
                expected="developer/model, as on the Hugging Face Hub",
                hint="name it: --model-id meta-llama/Llama-3.1-8B",
            )
        return name


def parts_of(runs: Sequence[Run]) -> list[Part]:
    """Every benchmark of every run.

    Raises:
        InputError: an answer that occurs twice, a part of a benchmark, or rows that are not known to be its own.
    """
    found = []
    for run in runs_in_order(runs):
        for scores in reduce_run(run.name, run.files, run.records):
            records = tuple(record for record in run.records if record.benchmark == scores.benchmark)
            panel = align([scores])
            figures = tuple(run_scores(panel, metrics_of(panel), Settings()))
            (judged,) = judged_of([scores])
            _refuse_part(judged)
            found.append(Part(scores, records, figures, judged, _date(run.files)))
    return found


def _refuse_part(judged: Judged) -> None:
    """Refuse figures that would be published under a benchmark's name and are not its figures."""
    problems = [
        (judged.is_benchmark and judged.is_part, f"{judged.asked} questions", "all questions"),
        (
            judged.is_benchmark and not judged.published,
            f"rows from {judged.data}, not checked against the published ones",
            "rows from the hub at the pinned commit",
        ),
    ]
    for wrong, found, expected in problems:
        if wrong:
            raise InputError(
                "not a benchmark result",
                where=f"{judged.run}, {judged.benchmark}",
                found=found,
                expected=expected,
            )


def _date(files: Sequence[str]) -> str | None:
    """The latest date in the names of a run's files."""
    return max((found[0] for file in files if (found := _DATE.search(Path(file).name))), default=None)
