"""The result of a comparison of runs or of arms: everything that an output shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from value_retention.analysis.effects.capability import CapabilityEffect
from value_retention.analysis.effects.ceilings import Ceiling
from value_retention.analysis.effects.comparisons import Comparison
from value_retention.analysis.effects.design import Arm
from value_retention.analysis.effects.guards import Guarded
from value_retention.analysis.effects.leave_out import WithoutLanguage, without_each_language
from value_retention.analysis.effects.margins import smallest_margin
from value_retention.analysis.effects.plane import Plane
from value_retention.analysis.effects.probes import ProbeCorrelation
from value_retention.analysis.effects.provenance import Judged, provenance
from value_retention.analysis.effects.rows import Contrast, Effect, Score, Share
from value_retention.analysis.effects.sensitivity import caution_of, tipping_of
from value_retention.analysis.runs.align import Panel
from value_retention.analysis.runs.scores import JudgeCount, RunScores
from value_retention.analysis.stats.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

    from value_retention.analysis.effects.trajectory import Trajectory
    from value_retention.analysis.judges.agreement import Agreement
    from value_retention.analysis.judges.differences import RunDifference
    from value_retention.analysis.judges.leave_one_out import JudgeScore

SCHEMA = "value-retention/result/2"


@dataclass(frozen=True, eq=False)
class Result:
    """What was found, and what it rests on.

    Attributes:
        headline: What must be read first: data that are not the benchmark's, judges that are not LLMs, allowed
            differences, benchmarks left out, runs that are the same, verdicts that missing grades could overturn.
        notes: What the figures do and do not support.
        judged: Who answered and who judged, per run and benchmark.
        scores: Each figure of each run.
        effects: Each figure of each comparison.
        contrasts: English against the other languages, per comparison.
        shares: The retained share per comparison, where the checkpoint before the value was trained in is known.
        panels: The aligned scores per question, one per benchmark.
        comparisons: The comparisons of each panel.
        runs: The reduced runs, for the counts of the judges' replies.
        settings: How it was computed.
        arms: The arms of an experiment; empty where runs are compared in pairs.
        files: Files that were read; no output may overwrite them.
        agreements: Run and agreement of its judges, per figure; of runs judged by a panel, where requested.
        calibrated: Errors of each judge on the two runs of a comparison, and the difference corrected for them;
            where labels by people were given.
        trajectories: The checkpoints in the order of their training, per benchmark, where requested.
        judge_scores: Run and its score by part of the panel of judges; of runs judged by a panel, where requested.
        capability: Each metric of other tasks, such as IFEval, of each comparison; in no family of tests.
        capability_files: Run to the files behind ``capability``.
        guarded: Whether the sides of a comparison differ in the form of their answers.
        ceilings: Scores beside the ceiling of the same model, of runs with a ceiling test.
        planes: Value kept against task learned, of arms with a figure on a task.
        probes: Rank correlation of a probe with the scores, of arms with a probe.
    """

    headline: tuple[str, ...]
    notes: tuple[str, ...]
    judged: tuple[Judged, ...]
    scores: tuple[Score, ...]
    effects: tuple[Effect, ...]
    contrasts: tuple[Contrast, ...]
    shares: tuple[Share, ...]
    panels: tuple[Panel, ...]
    comparisons: tuple[tuple[Comparison, ...], ...]
    runs: tuple[RunScores, ...]
    settings: Settings
    arms: tuple[Arm, ...] = ()
    files: tuple[str, ...] = ()
    agreements: tuple[tuple[str, Agreement], ...] = ()
    calibrated: tuple[RunDifference, ...] = ()
    trajectories: tuple[Trajectory, ...] = ()
    judge_scores: tuple[tuple[str, JudgeScore], ...] = ()
    capability: tuple[CapabilityEffect, ...] = ()
    capability_files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    guarded: Guarded = field(default_factory=Guarded)
    ceilings: tuple[Ceiling, ...] = ()
    planes: tuple[Plane, ...] = ()
    probes: tuple[ProbeCorrelation, ...] = ()

    def without_language(self) -> list[WithoutLanguage]:
        """Every primary comparison with each language left out in turn."""
        return [
            row
            for panel, comparisons in zip(self.panels, self.comparisons, strict=True)
            for row in without_each_language(panel, comparisons, self.settings.level)
        ]

    def to_dict(self) -> dict[str, Any]:
        """JSON values; see `Effect`, `Score`, `Contrast` and `Judged` for the fields.

        There is no NaN: a missing value is null, and its row's ``reasons`` says why.
        """
        return {
            "schema": SCHEMA,
            "units": {"scores": "per cent", "differences": "percentage points"},
            "headline": list(self.headline),
            "judged": [asdict(row) for row in self.judged],
            "notes": list(self.notes),
            "settings": asdict(self.settings),
            "arms": [asdict(arm) for arm in self.arms],
            "runs": [
                {
                    "run": run.run,
                    "benchmark": run.benchmark,
                    "files": list(run.files),
                    **dict(run.identity.aspects),
                    "also": dict(run.identity.noted),
                }
                for run in self.runs
            ],
            "scores": [asdict(score) for score in self.scores],
            "effects": [_with_sensitivity(effect, self.settings) for effect in self.effects],
            "contrasts": [asdict(contrast) for contrast in self.contrasts],
            "retained_shares": [asdict(share) for share in self.shares],
            "questions": [row for panel in self.panels for row in question_rows(panel)],
            "judges": [
                {"run": run.run, "benchmark": run.benchmark, **_counts(count)}
                for run in self.runs
                for count in run.judges
            ],
            "agreement": [{"run": run, **asdict(row)} for run, row in self.agreements],
            "calibration": [asdict(row) for row in self.calibrated],
            "capability": [asdict(row) for row in self.capability],
            "leave_one_language_out": [asdict(row) for row in self.without_language()],
            "judge_scores": [{"run": run, **asdict(row)} for run, row in self.judge_scores],
            "trajectory": [asdict(row) for row in self.trajectories],
            "guards": self.guarded.to_dict(self.runs),
            "ceilings": [asdict(row) for row in self.ceilings],
            "planes": [asdict(row) for row in self.planes],
            "probe": [asdict(row) for row in self.probes],
        }

    def to_frame(self) -> pd.DataFrame:
        """The effects as a pandas table, a row per figure and comparison.

        A row stands on its own: it names judge, models, data, epochs and settings, and ``label`` repeats the
        headline. ``reasons`` says why a value is missing. ``t_low`` and ``t_high`` are not adjusted for other tests;
        ``low`` and ``high`` are, at the ``interval_level``, and decide the verdict.
        """
        import pandas as pd

        label = " ".join(self.headline)
        settings = {n: getattr(self.settings, n) for n in ("level", "resamples", "seed", "margin")}
        return pd.DataFrame(
            [
                {
                    **provenance(effect, self.judged),
                    **_flat(effect),
                    **settings,
                    "label": label,
                }
                for effect in self.effects
            ]
        )


def _counts(count: JudgeCount) -> dict[str, Any]:
    """A judge's counts; ``cut`` only where the token limit cut a reply."""
    return {name: value for name, value in asdict(count).items() if name != "cut" or value}


def _with_sensitivity(effect: Effect, settings: Settings) -> dict[str, Any]:
    """An effect's fields, its caution, the judge errors (per cent) that would overturn its verdict, and the smallest
    margin at which it would be retained."""
    found = tipping_of(effect, settings)
    rates = found and {name: rate if rate is None else rate * 100 for name, rate in asdict(found).items()}
    return {
        **asdict(effect),
        "caution": caution_of(effect),
        "overturning_judge_errors": rates,
        "smallest_margin": smallest_margin(effect),
    }


def _flat(effect: Effect) -> dict[str, Any]:
    """An effect's fields as columns of a table."""
    row: dict[str, Any] = {}
    for name in (f.name for f in fields(effect)):
        value = getattr(effect, name)
        if name == "weights":
            row[name] = "; ".join(f"{weight:+g} {run}" for run, weight in value.items())
        elif name in ("seeds", "new_questions", "these_questions"):
            row |= {f"{name}_{end}": getattr(value, end, None) for end in ("low", "high")}
        elif name == "reasons":
            row[name] = "; ".join(f"{key}: {reason}" for key, reason in value.items())
        else:
            row["interval_level" if name == "level" else name] = value
    return row


def question_rows(panel: Panel) -> list[dict[str, Any]]:
    """Each question with its overall score per run, per cent; None where the run has no score for it."""
    return [
        {
            "benchmark": panel.benchmark,
            "item": question.item,
            "cluster": question.cluster,
            "language": question.language,
            "source": question.source,
            "scores": {
                run: None if np.isnan(panel.score[r, n, 0]) else float(panel.score[r, n, 0]) * 100
                for r, run in enumerate(panel.runs)
            },
            "answers": {run: int(panel.answers[r, n]) for r, run in enumerate(panel.runs)},
        }
        for n, question in enumerate(panel.questions)
    ]
