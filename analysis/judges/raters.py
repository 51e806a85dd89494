"""Grades of several judges on the same answers, side by side.

A rater is one pass of one judge: a judge that grades twice is two raters. A unit is what one grade is about: an answer
on one dimension with one set of variables.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from value_retention.analysis.runs.load import Run, runs_in_order
from value_retention.tasks.cluster import Floats
from value_retention.tasks.errors import InputError
from value_retention.tasks.languages import is_english
from value_retention.tasks.record import MEAN, AnswerRecord, GradeRecord, canonical_json

AnswerKey = tuple[str, int]
"""Item and epoch."""

Reply = tuple[str, str | None, float | None]
"""Prompt hash, text of the reply, grade."""


@dataclass(frozen=True, order=True)
class Rater:
    """One pass of one judge."""

    judge: str
    settings: str
    """Canonical JSON of the judge's settings."""
    run: str
    place: int = 0
    """Counts from 0 if a panel has the same judge several times."""


@dataclass(frozen=True)
class Unit:
    """What one grade is about."""

    item: str
    epoch: int
    cluster: str
    language: str
    dimension: str
    variables: str
    """Canonical JSON."""

    @property
    def group(self) -> str:
        """``English`` or ``non-English``."""
        return "English" if is_english(self.language) else "non-English"


@dataclass(frozen=True, eq=False)
class SharedGrades:
    """Grades of one benchmark on the answers that all runs hold.

    Attributes:
        benchmark: ``anima_2_2`` or ``moru``.
        raters: The R raters.
        labels: A short, unique name for each.
        units: The n units that any rater was asked about.
        grades: 1, 0 or, without a grade, NaN; shape (n, R).
        answers: One record per shared answer.
        by_answer: Grades of each of `answers`, each with the position of its rater.
        notes: Remarks on the data for the reader.
    """

    benchmark: str
    raters: tuple[Rater, ...]
    labels: tuple[str, ...]
    units: tuple[Unit, ...]
    grades: Floats
    answers: tuple[AnswerRecord, ...]
    by_answer: tuple[tuple[tuple[int, GradeRecord], ...], ...]
    notes: tuple[str, ...]


def graded_by(record: AnswerRecord, run: str) -> Iterator[tuple[Rater, GradeRecord]]:
    """Yield every grade of an answer with its rater.

    Raises:
        InputError: A grade is a mean of several.
    """
    seen: Counter[tuple[str, str, str]] = Counter()
    panel: dict[str, list[str]] = {}
    for judge in record.judges:
        panel.setdefault(judge.name, []).append(canonical_json(judge.settings))
    for grade in record.grades:
        if grade.judge.endswith(MEAN):
            raise InputError(
                "the log has only means over several grades, and single grades are needed",
                where=f"item {record.item} epoch {record.epoch}, {grade.dimension}",
                found=grade.judge,
                expected="a log whose events hold the replies of the judges",
            )
        key = (grade.dimension, canonical_json(grade.variables), grade.judge)
        settings = panel.get(grade.judge, ["{}"])
        nth = min(seen[key], len(settings) - 1)
        seen[key] += 1
        place = settings[:nth].count(settings[nth])
        yield Rater(grade.judge, settings[nth], run, place), grade


def rater_labels(raters: Sequence[Rater]) -> tuple[str, ...]:
    """Return short, unique names: the judge, and as needed settings, run and pass."""
    labels = [rater.judge for rater in raters]
    for part in ("settings", "run", "place"):
        groups: dict[str, list[int]] = {}
        for index, label in enumerate(labels):
            groups.setdefault(label, []).append(index)
        for label, members in groups.items():
            values = [getattr(raters[index], part) for index in members]
            if len(set(values)) < 2:
                continue
            texts = values
            if part == "settings":
                texts = _differing(values)
            elif part == "place":
                texts = [f"pass {value + 1}" for value in values]
            for index, text in zip(members, texts, strict=True):
                labels[index] = f"{label} ({text})"
    return tuple(labels)


def _differing(settings: Sequence[str]) -> list[str]:
    """Return the settings in which the judges differ, as text."""
    parsed = [json.loads(text) for text in settings]
    keys = sorted({key for values in parsed for key in values})
    differ = [k for k in keys if len({canonical_json(values.get(k)) for values in parsed}) > 1]
    return [", ".join(f"{k}={values.get(k, 'default')}" for k in differ) for values in parsed]


def shared_grades(runs: Sequence[Run]) -> tuple[list[SharedGrades], list[str]]:
    """Put the grades of the same answers side by side, benchmark by benchmark.

    A run need not hold every benchmark: `value-retention judge` writes one file per benchmark, and each file is a
    run if a benchmark was judged more than once.

    Returns:
        One `SharedGrades` for each benchmark with two or more raters, and for the others the reasons.

    Raises:
        InputError: No benchmark has two raters, the runs hold different answers, or an answer occurs twice.
    """
    found: list[SharedGrades] = []
    lacking: list[str] = []
    runs = runs_in_order(runs)
    for benchmark in sorted({b for run in runs for b in run.benchmarks()}):
        answers = {run.name: answers_of(run, benchmark) for run in runs}
        held = {name: records for name, records in answers.items() if records}
        judged = {name: records for name, records in held.items() if any(r.grades for r in records.values())}
        notes = [
            f"{benchmark}: {name} has {len(records)} answers and no grades."
            for name, records in held.items()
            if name not in judged
        ]
        keys = [key for key in next(iter(judged.values()), {}) if all(key in r for r in judged.values())]
        shared = _side_by_side(benchmark, keys, judged, notes) if keys else None
        if shared is not None and len(shared.raters) > 1:
            found.append(shared)
            continue
        if judged:
            names = "; ".join(f"{name}: {len(records)} answers" for name, records in judged.items())
            why = "the runs share no answer"
            if shared is not None:
                why = (
                    f"{shared.labels[0]} is the only judge"
                    if shared.labels
                    else "no shared answer has a grade"
                )
            notes.append(f"{benchmark}: no agreement, because {why} ({names}).")
        lacking += notes
    if not found:
        raise InputError(
            "agreement needs two judges on the same answers",
            found=" ".join(lacking),
            expected="a run judged by a panel, or several runs of the same answers",
            hint="judge the same answers again: value-retention judge RUN --judge JUDGE",
        )
    return found, lacking


def answers_of(run: Run, benchmark: str) -> dict[AnswerKey, AnswerRecord]:
    """Return the answers of a run to one benchmark.

    Raises:
        InputError: An item occurs twice in one epoch.
    """
    found: dict[AnswerKey, AnswerRecord] = {}
    for record in run.records:
        if record.benchmark != benchmark:
            continue
        key = (record.item, record.epoch)
        if key in found:
            raise InputError(
                "duplicate answer",
                where=f"{run.name} ({', '.join(run.files)})",
                found=f"{benchmark} item {record.item}, epoch {record.epoch}",
                expected="each item once per epoch",
                hint="two runs may share a folder: give each its own",
            )
        found[key] = record
    return found


def _side_by_side(
    benchmark: str,
    keys: list[AnswerKey],
    runs: dict[str, dict[AnswerKey, AnswerRecord]],
    notes: Sequence[str],
) -> SharedGrades:
    first, *others = runs
    for name in others:
        _refuse_other_answers(benchmark, keys, (first, runs[first]), (name, runs[name]))
    by_answer = [
        [pair for name, answers in runs.items() for pair in graded_by(answers[key], name)] for key in keys
    ]
    raters = list(dict.fromkeys(rater for pairs in by_answer for rater, _ in pairs))
    position = {rater: index for index, rater in enumerate(raters)}
    answers = [runs[first][key] for key in keys]
    units, rows, replies = _units(answers, by_answer, position)
    grades = np.full((len(units), len(raters)), np.nan)
    for row, column, grade in rows:
        grades[row, column] = np.nan if grade is None else grade
    labels = rater_labels(raters)
    return SharedGrades(
        benchmark,
        tuple(raters),
        labels,
        tuple(units),
        grades,
        tuple(answers),
        tuple(tuple((position[rater], grade) for rater, grade in pairs) for pairs in by_answer),
        (*notes, *_answer_notes(benchmark, keys, runs), *_reply_notes(raters, labels, replies)),
    )


def _refuse_other_answers(
    benchmark: str,
    keys: list[AnswerKey],
    one: tuple[str, dict[AnswerKey, AnswerRecord]],
    other: tuple[str, dict[AnswerKey, AnswerRecord]],
) -> None:
    differ = [
        key
        for key in keys
        if (one[1][key].answer_hash, one[1][key].question)
        != (other[1][key].answer_hash, other[1][key].question)
    ]
    if differ:
        item, epoch = differ[0]
        raise InputError(
            f"{one[0]} and {other[0]} hold different answers",
            where=f"{benchmark} item {item}, epoch {epoch}, and {len(differ) - 1} more of {len(keys)}",
            found=f"answers {one[1][differ[0]].answer_hash[:12]} and {other[1][differ[0]].answer_hash[:12]}",
            expected="the same answers in every run",
            hint="to compare two models, use value-retention compare",
        )


def _units(
    answers: list[AnswerRecord],
    by_answer: list[list[tuple[Rater, GradeRecord]]],
    position: dict[Rater, int],
) -> tuple[list[Unit], list[tuple[int, int, float | None]], list[dict[int, Reply]]]:
    """Return units, grades as (unit, rater, grade), and for each unit the replies by rater."""
    units: list[Unit] = []
    rows: list[tuple[int, int, float | None]] = []
    replies: list[dict[int, Reply]] = []
    for record, pairs in zip(answers, by_answer, strict=True):
        place: dict[tuple[str, str], int] = {}
        for rater, grade in pairs:
            key = (grade.dimension, canonical_json(grade.variables))
            if key not in place:
                place[key] = len(units)
                units.append(Unit(record.item, record.epoch, record.cluster, record.language, *key))
                replies.append({})
            rows.append((place[key], position[rater], grade.grade))
            replies[place[key]][position[rater]] = (grade.prompt_hash, grade.rationale, grade.grade)
    return units, rows, replies


def _answer_notes(
    benchmark: str, keys: list[AnswerKey], runs: dict[str, dict[AnswerKey, AnswerRecord]]
) -> Iterator[str]:
    first = next(iter(runs.values()))[keys[0]]
    if not first.data.is_benchmark:
        yield f"{benchmark}: sample items, NOT the benchmark."
    for name, answers in runs.items():
        if len(answers) > len(keys):
            extra = len(answers) - len(keys)
            yield f"{benchmark}: {extra} of the {len(answers)} answers of {name} are not in every run."
    parsers = {record.parser for answers in runs.values() for record in answers.values()}
    if len(parsers) > 1:
        yield f"{benchmark}: different grade parsers ({', '.join(sorted(parsers))})."


def _reply_notes(
    raters: list[Rater], labels: Sequence[str], replies: list[dict[int, Reply]]
) -> Iterator[str]:
    """Note pairs with different prompts, and passes of one judge with equal replies."""
    for a in range(len(raters)):
        for b in range(a + 1, len(raters)):
            both = [(unit[a], unit[b]) for unit in replies if a in unit and b in unit]
            other = sum(x[0] != y[0] for x, y in both)
            pair = f"{labels[a]} and {labels[b]}"
            if other:
                yield f"{pair}: different prompts for {other} of {len(both)} grades."
            same = bool(both) and all(x == y and x[1] is not None for x, y in both)
            if same and raters[a].judge == raters[b].judge:
                yield (
                    f"{pair}: all replies have the same text. One run is a copy of the other, or the judge is "
                    "deterministic; this does not measure re-judge noise."
                )
