"""Scores of judged runs, corrected for the errors of the judge that labels by people show."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from value_retention.analysis.judges.confusion import Confusion, JudgedGrade, confusions_of
from value_retention.analysis.judges.differences import JudgedRun, RunDifference, run_differences
from value_retention.analysis.judges.leave_one_out import (
    QuestionColumn,
    Score,
    groups_of,
    mean_score,
    question_column,
    regraded,
)
from value_retention.analysis.judges.matching import Labels, Target
from value_retention.analysis.judges.raters import Rater, graded_by, rater_labels
from value_retention.analysis.runs.load import Run, runs_in_order
from value_retention.analysis.stats.inter_rater import NAMES, coefficients, unit_sums
from value_retention.analysis.stats.misclassification import (
    Corrected,
    Proportion,
    corrected_score,
    effective_size,
)
from value_retention.tasks.languages import is_english
from value_retention.tasks.record import AnswerRecord, GradeRecord, canonical_json


@dataclass(frozen=True)
class CorrectedScore:
    """Score of one run by one judge, as graded and corrected for the errors of the judge.

    Attributes:
        judge: The judge.
        run: The run.
        benchmark: ``anima_2_2`` or ``moru``.
        name: ``overall``, ``English`` or ``non-English``.
        score: Mean over questions from the grades of this judge.
        corrected: The corrected score; None if refused.
        clipped: Whether the estimate was outside [0, 1], so that the labels do not fit the score.
        refused: Why there is no corrected score.
        label_clusters: Clusters of the labels that are passes and of those that are fails, on which the rates
            of the correction are based; None without labels.
        own_rates: Whether the rates come from labels on this run. False where it has too few, so that the labels
            on all runs are used; such a score does not enter a difference.
    """

    judge: str
    run: str
    benchmark: str
    name: str
    score: Score
    corrected: Corrected | None
    clipped: bool
    refused: str | None
    label_clusters: tuple[int, int] | None = None
    own_rates: bool = False


@dataclass(frozen=True)
class Calibration:
    """Result of `calibrate`. ``people``: agreement of annotators by coefficient, if there are two or more."""

    confusions: tuple[Confusion, ...]
    scores: tuple[CorrectedScore, ...]
    differences: tuple[RunDifference, ...]
    people: dict[str, float | None]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values: rates and scores are fractions in [0, 1], and a missing one is null."""
        return {"schema": "value-retention/calibrate/1", **asdict(self)}


def calibrate(
    labels: Labels,
    runs: Sequence[Run],
    level: float = 0.95,
    pairs: Collection[tuple[str, str, str]] | None = None,
) -> Calibration:
    """Compare every judge of the runs with the labels, and correct the scores of the runs.

    A judge with the same name and settings is one judge in all runs. Sensitivity and specificity are estimated per
    benchmark and language group, from the runs with labelled answers. A score is corrected with the rates of its
    group on its own run if that has enough labels, else with those on all runs. The differences of the other runs
    from the first use only the rates of each run: a judge may err more on one of them.

    Args:
        labels: Labels from `match_labels`.
        runs: Judged runs.
        level: Confidence level.
        pairs: Benchmark, baseline and run of each difference; None for every run less the first.
    """
    if pairs is None:
        pairs = {(b, runs[0].name, run.name) for run in runs[1:] for b in run.benchmarks()}
    runs = runs_in_order(runs)
    held: dict[tuple[Rater, str, str], list[JudgedGrade]] = {}
    answers: dict[tuple[Rater, str, str], list[AnswerRecord]] = {}
    for run in runs:
        for record in run.records:
            by_judge: dict[Rater, list[GradeRecord]] = {}
            for rater, grade in graded_by(record, ""):
                by_judge.setdefault(replace(rater, place=0), []).append(grade)
            for judge, grades in by_judge.items():
                key = (judge, run.name, record.benchmark)
                held.setdefault(key, []).extend(_judged(record, grades, labels))
                answers.setdefault(key, []).append(regraded(record, grades))
    judges = list(dict.fromkeys(judge for judge, _, _ in held))
    names = dict(zip(judges, rater_labels(judges), strict=True))
    pooled: dict[tuple[Rater, str], list[JudgedGrade]] = {}
    for (judge, _, benchmark), graded in held.items():
        # The labels were drawn from runs with labels; the grades of other runs must not weight them.
        if any(g.truth is not None for g in graded):
            pooled.setdefault((judge, benchmark), []).extend(graded)
    confusions = [
        confusion
        for (judge, benchmark), graded in pooled.items()
        for confusion in confusions_of(names[judge], benchmark, graded, level)
    ]
    scores: list[CorrectedScore] = []
    compared: dict[tuple[Rater, str], list[JudgedRun]] = {}
    for (judge, run_name, benchmark), records in answers.items():
        own = list(confusions_of(names[judge], benchmark, held[judge, run_name, benchmark], level))
        column = question_column(records)
        scores += _scores(names[judge], run_name, benchmark, records, column, (own, confusions), level)
        compared.setdefault((judge, benchmark), []).append(JudgedRun(run_name, column, tuple(own)))
    differences = [
        difference
        for (judge, benchmark), judged in compared.items()
        for difference in run_differences(names[judge], benchmark, judged, level, pairs)
    ]
    return Calibration(
        tuple(confusions), tuple(scores), tuple(differences), _people(labels), tuple(_notes(labels, runs))
    )


def _judged(record: AnswerRecord, grades: Sequence[GradeRecord], labels: Labels) -> Iterator[JudgedGrade]:
    for grade in grades:
        variables = canonical_json(grade.variables)
        key = Target(record.benchmark, record.item, record.answer_hash, grade.dimension, variables)
        truth = labels.truth.get(key)
        yield JudgedGrade(
            record.cluster,
            is_english(record.language),
            grade.dimension,
            grade.grade,
            truth.label if truth else None,
            truth.weight if truth else 1.0,
        )


def _scores(
    judge: str,
    run: str,
    benchmark: str,
    records: list[AnswerRecord],
    column: QuestionColumn,
    confusions: tuple[Sequence[Confusion], Sequence[Confusion]],
    level: float,
) -> Iterator[CorrectedScore]:
    """Yield the score of every group; ``confusions`` are those on this run, and those on all runs."""
    grades = [(is_english(record.language), record.grades_expected) for record in records]
    own, known = (
        {c.name: c for c in some if (c.judge, c.benchmark) == (judge, benchmark) and c.kind != "dimension"}
        for some in confusions
    )
    groups = dict(groups_of(column.english))
    for name, mask in groups.items():
        clusters = [c for c, kept in zip(column.clusters, mask, strict=True) if kept]
        score = mean_score(clusters, column.scores[mask], level, column.grades[mask])
        most = sum(n for english, n in grades if name == "overall" or english == (name == "English"))
        found, refused = _rates_for(name, groups, own)
        mine = refused is None
        if not mine:
            found, refused = _rates_for(name, groups, known)
        if refused is None and (score.value is None or score.se is None):
            refused = score.reason
        labelled = (found.sensitivity.clusters, found.specificity.clusters) if found else None
        if refused is not None or found is None or score.value is None or score.se is None:
            yield CorrectedScore(judge, run, benchmark, name, score, None, False, refused, labelled)
            continue
        size = effective_size(score.value, score.se, score.clusters, float(most), level)
        right, wrong = found.sensitivity.proportion, found.specificity.proportion
        assert right is not None
        assert wrong is not None
        corrected = corrected_score(Proportion(score.value, size), right, wrong, level)
        clipped = corrected.value != corrected.unclipped
        yield CorrectedScore(judge, run, benchmark, name, score, corrected, clipped, None, labelled, mine)


def _rates_for(
    name: str, groups: Collection[str], known: Mapping[str, Confusion]
) -> tuple[Confusion | None, str | None]:
    """Return the rates of the judge for one group of questions, or the reason there are none."""
    if name not in known:
        return None, "no labels on these answers"
    unseen = [group for group in groups if group not in known]
    if name == "overall" and unseen:
        return None, f"no labels on {' and '.join(unseen)} answers, which are part of the score"
    return known[name], known[name].refused


def _people(labels: Labels) -> dict[str, float | None]:
    """Return the agreement between annotators on the answers that several of them labelled."""
    names = sorted({name for votes in labels.votes.values() for name in votes})
    if len(names) < 2:
        return {}
    grades: NDArray[np.float64] = np.array(
        [[votes.get(name, np.nan) for name in names] for votes in labels.votes.values()]
    )
    rows = unit_sums(grades)
    sums = rows.sum(axis=0)
    values = coefficients(sums[:, None], len(names) == 2)[:, 0]
    found: dict[str, float | None] = {"annotators": len(names), "compared": float(sums[0])}
    return found | {
        name: None if np.isnan(value) else float(value) for name, value in zip(NAMES, values, strict=True)
    }


def _notes(labels: Labels, runs: Sequence[Run]) -> Iterator[str]:
    yield f"{labels.rows} labels on {len(labels.votes)} grades; {labels.blank} rows have no label."
    if labels.tied:
        yield f"{labels.tied} grades are left out because annotators are evenly split."
    if {truth.weight for truth in labels.truth.values()} not in ({1.0}, set()):
        yield "The rates use the column weight; the counts are unweighted labels."
    if not all(record.data.is_benchmark for run in runs for record in run.records):
        yield "Sample items: NOT the benchmark."
