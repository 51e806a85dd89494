"""Records of one run reduced to one row per question: judges, variables and epochs averaged away.

This is the only place where the analysis looks at single answers. The result is small (a few numbers per
question), so many runs fit in memory, and nothing after it can mistake an epoch for a new question.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape

import numpy as np
from numpy.typing import NDArray

from value_retention.analysis.runs.guards import Marks, marks_of
from value_retention.analysis.runs.identity import Identity, identity_of
from value_retention.analysis.runs.load import in_order
from value_retention.analysis.runs.names import title_of
from value_retention.tasks.cluster import Floats
from value_retention.tasks.errors import InputError
from value_retention.tasks.languages import is_english
from value_retention.tasks.record import AnswerRecord, GradeRecord, canonical_json, text_hash
from value_retention.tasks.scores import dimension_scores, overall_score, question_scores


@dataclass(frozen=True)
class Question:
    """The part of an item that the statistics use."""

    item: str
    cluster: str
    language: str
    source: str | None

    @property
    def is_english(self) -> bool:
        """English of any region (``en``, ``en-GB``)."""
        return is_english(self.language)


@dataclass(frozen=True)
class JudgeCount:
    """Counts of one judge's replies on one dimension in one language."""

    judge: str
    dimension: str
    language: str
    graded: int
    passed: float
    """Sum of the grades."""
    unparsed: int
    judge_error: int
    cut: int

    @property
    def missing(self) -> int:
        """Grades that are missing, for whatever reason."""
        return self.unparsed + self.judge_error + self.cut


@dataclass(frozen=True, eq=False)
class RunScores:
    """One run's answers to one benchmark. Arrays: n questions x (1 + D), overall, then dimensions.

    Attributes:
        run: Name of the run.
        files: Files it was read from.
        benchmark: ``anima_2_2`` or ``moru``.
        identity: Properties that must be equal between comparable runs.
        questions: The n questions.
        dimensions: The D dimensions.
        weights: Their weights, shape (D,).
        score: Mean over the epochs that have a score, in [0, 1]; NaN where none has.
        low: The same with every missing grade counted as 0.
        high: The same with every missing grade counted as 1.
        carried: Whether the question is tagged with the column's dimension (overall: always).
        expected: Grades that should be there (for a dimension without any listed grade: 1 per answer).
        missing: Grades that are missing among them.
        answers: Answers per question, shape (n,).
        noise: Variance of the overall ``score`` over new answers to the same question, shape (n,); NaN where no
            question has two scored answers.
        judges: Counts of the judges' replies.
        fingerprint: Hash of every answer and grade by item and epoch; equal where two runs are the same.
        guards: How many answers to each question are truncated, empty and so on.
        ceiling: The same model's ceiling test on this benchmark, where there is one.
    """

    run: str
    files: tuple[str, ...]
    benchmark: str
    identity: Identity
    questions: tuple[Question, ...]
    dimensions: tuple[str, ...]
    weights: Floats
    score: Floats
    low: Floats
    high: Floats
    carried: NDArray[np.bool_]
    expected: NDArray[np.int64]
    missing: NDArray[np.int64]
    answers: NDArray[np.int64]
    noise: Floats
    judges: tuple[JudgeCount, ...]
    fingerprint: str
    guards: Marks
    ceiling: RunScores | None = None

    def __repr__(self) -> str:
        """One line: what it holds, without the arrays."""
        scored = self.score[:, 0][np.isfinite(self.score[:, 0])]
        mean = f"{scored.mean() * 100:.1f} %" if scored.size else "none"
        return (
            f"RunScores({self.run!r}: {title_of(self.benchmark)}, {len(self.questions)} questions, "
            f"{self.answers.sum()} answers, overall mean {mean}; judge {self.identity.aspects['judge']}; "
            f"model {self.identity.model})"
        )

    def _repr_html_(self) -> str:
        """The same in a notebook."""
        return f"<code>{escape(repr(self))}</code>"


def filled(record: AnswerRecord, value: float) -> list[float]:
    """Scores of an answer with every missing grade set to ``value``: overall, then its dimensions."""
    grades = [g if g.grade is not None else replace(g, grade=value) for g in record.grades]
    graded = dimension_scores(record.dimensions, grades)
    scores = {d: value if score is None else score for d, score in graded.items()}
    overall = overall_score(scores, record.weights)
    return [value if overall is None else overall, *scores.values()]


def reduce_run(
    name: str, files: Sequence[str], records: Sequence[AnswerRecord], ceiling: Sequence[AnswerRecord] = ()
) -> list[RunScores]:
    """Reduce a run to one `RunScores` per benchmark in it.

    Args:
        name: The run's name.
        files: Files the records came from, for messages.
        records: All its records, in any order.
        ceiling: Those of the same model's ceiling test.

    Raises:
        InputError: no records, or an answer (item and epoch) that occurs twice.
    """
    if not records:
        raise InputError("the run has no answers", where=", ".join(files) or name)
    records = in_order(records)
    benchmarks = dict.fromkeys(record.benchmark for record in records)
    tops = {b: [r for r in in_order(ceiling) if r.benchmark == b] for b in benchmarks}
    return [
        replace(
            _reduce(name, files, b, [r for r in records if r.benchmark == b]),
            ceiling=_reduce(name, files, b, tops[b]) if tops[b] else None,
        )
        for b in benchmarks
    ]


def _reduce(name: str, files: Sequence[str], benchmark: str, records: list[AnswerRecord]) -> RunScores:
    by_item = _by_item(records, f"{name} ({', '.join(files)})" if files else name)
    dimensions = tuple(dict.fromkeys(d for record in records for d in record.dimensions))
    position = {d: k + 1 for k, d in enumerate(dimensions)}
    shape = (len(by_item), 1 + len(dimensions))
    score, low, high = (np.full(shape, np.nan) for _ in range(3))
    expected, missing = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    carried = np.zeros(shape, bool)
    weights = np.zeros(len(dimensions))
    for row, answers in enumerate(by_item.values()):
        tagged = answers[0].dimensions
        columns = [0] + [position[d] for d in tagged]
        carried[row, columns] = True
        for d in tagged:
            weights[position[d] - 1] = answers[0].weights[d]
        question = question_scores(answers)
        score[row, columns] = [_number(v) for v in (question.overall, *question.dimensions.values())]
        low[row, columns], high[row, columns] = (_bound(answers, value) for value in (0.0, 1.0))
        for answer in answers:
            _count_grades(answer, expected[row], missing[row], position)
    return RunScores(
        run=name,
        files=tuple(files),
        benchmark=benchmark,
        identity=identity_of(records),
        questions=_questions([answers[0] for answers in by_item.values()]),
        dimensions=dimensions,
        weights=weights,
        score=score,
        low=low,
        high=high,
        carried=carried,
        expected=expected,
        missing=missing,
        answers=np.array([len(answers) for answers in by_item.values()]),
        noise=_noise(list(by_item.values())),
        judges=_judge_counts(records),
        fingerprint=_fingerprint(records),
        guards=marks_of(list(by_item.values())),
    )


def _noise(items: Sequence[Sequence[AnswerRecord]]) -> Floats:
    """Variance of each question's mean over its epochs; one with a single answer has the others' mean spread."""
    scores = [[r.overall for r in answers if r.overall is not None] for answers in items]
    counts = np.array([len(values) for values in scores])
    spread = np.array([np.var(values, ddof=1) if len(values) > 1 else np.nan for values in scores])
    if (counts > 1).any():
        spread[counts <= 1] = np.nanmean(spread)
    return np.asarray(spread / np.maximum(counts, 1), dtype=np.float64)


def _fingerprint(records: Sequence[AnswerRecord]) -> str:
    """Hash of answers and grades; the judge's words are left out, since only grades enter a score."""
    held = sorted(
        (
            r.item,
            r.epoch,
            r.answer_hash,
            sorted((g.dimension, canonical_json(g.variables), g.judge, str(g.grade)) for g in r.grades),
        )
        for r in records
    )
    return text_hash(canonical_json(held))


def _by_item(records: list[AnswerRecord], where: str) -> dict[str, list[AnswerRecord]]:
    by_item: dict[str, list[AnswerRecord]] = {}
    seen: set[tuple[str, int]] = set()
    for record in records:
        key = (record.item, record.epoch)
        if key in seen:
            raise InputError(
                "duplicate answer",
                where=where,
                found=f"{record.benchmark} item {record.item}, epoch {record.epoch}",
                expected="each item once per epoch",
                hint="two runs may have been read as one: give each its own folder",
            )
        seen.add(key)
        by_item.setdefault(record.item, []).append(record)
    return by_item


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _bound(answers: list[AnswerRecord], value: float) -> Floats:
    """Mean over epochs with missing grades as ``value``; the record's own score where none is missing."""
    rows = []
    for record in answers:
        if record.status == "scored" and not record.grades_missing:
            scores = (record.overall, *record.dimension_scores.values())
            rows.append([_number(score) for score in scores])
        else:
            rows.append(filled(record, value))
    mean: Floats = np.array(rows, dtype=np.float64).mean(axis=0)
    return mean


def _count_grades(
    record: AnswerRecord, expected: NDArray[np.int64], missing: NDArray[np.int64], position: dict[str, int]
) -> None:
    expected[0] += record.grades_expected
    missing[0] += record.grades_missing
    listed: set[str] = set()
    for grade in record.grades:
        column = position.get(grade.dimension)
        if column is None:
            continue
        listed.add(grade.dimension)
        expected[column] += 1
        missing[column] += grade.grade is None
    for dimension in record.dimensions:
        if dimension not in listed:
            expected[position[dimension]] += 1
            missing[position[dimension]] += 1


def _questions(first: list[AnswerRecord]) -> tuple[Question, ...]:
    return tuple(Question(r.item, r.cluster, r.language, r.source) for r in first)


def _judge_counts(records: list[AnswerRecord]) -> tuple[JudgeCount, ...]:
    groups: dict[tuple[str, str, str], list[GradeRecord]] = {}
    for record in records:
        for grade in record.grades:
            groups.setdefault((grade.judge, grade.dimension, record.language), []).append(grade)
    return tuple(
        JudgeCount(
            *key,
            graded=counts["graded"],
            passed=sum(grade.grade for grade in grades if grade.grade is not None),
            unparsed=counts["unparsed"],
            judge_error=counts["judge_error"],
            cut=counts["cut"],
        )
        for key, grades in groups.items()
        for counts in [Counter(grade.outcome for grade in grades)]
    )
