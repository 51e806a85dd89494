"""Match labels to answers, and take the majority of annotators."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from value_retention.analysis.judges.labels import LabelRow, require_pass_or_fail
from value_retention.analysis.runs.load import Run
from value_retention.tasks.errors import InputError
from value_retention.tasks.record import AnswerRecord, canonical_json

MANY = 5
"""Rows listed in a message; the rest are counted."""


@dataclass(frozen=True, order=True)
class Target:
    """What a label is about: the text of an answer, from any run or epoch, on a dimension."""

    benchmark: str
    item: str
    answer_hash: str
    dimension: str
    variables: str
    """Canonical JSON."""


@dataclass(frozen=True)
class Truth:
    """The majority label of one target."""

    label: float
    """1 or 0."""
    weight: float
    """Number of targets it represents; 1 in a file that was not drawn."""


@dataclass(frozen=True)
class Labels:
    """A label file, matched to answers.

    Attributes:
        truth: Majority label by target.
        votes: Labels of every annotator by target, for the agreement between people.
        rows: Rows with a label.
        blank: Rows without a label.
        tied: Targets on which annotators are evenly split, which are left out.
    """

    truth: dict[Target, Truth]
    votes: dict[Target, dict[str, float]]
    rows: int
    blank: int
    tied: int


def targets_of(record: AnswerRecord) -> list[Target]:
    """Return the targets of an answer: everything that it was or can be graded on."""
    pairs = dict.fromkeys((g.dimension, canonical_json(g.variables)) for g in record.grades)
    return [Target(record.benchmark, record.item, record.answer_hash, *pair) for pair in pairs]


def match_labels(rows: Sequence[LabelRow], blank: int, runs: Sequence[Run], path: Path) -> Labels:
    """Find the target of every label.

    Args:
        rows: Rows from `read_labels`.
        blank: Rows without a label.
        runs: Judged runs.
        path: The file, for messages.

    Raises:
        InputError: There are no labels, a row matches no answer or several, or one annotator gave
            contradictory labels.
    """
    require_pass_or_fail(runs)
    if not rows:
        raise InputError(
            "the file has no labels",
            where=str(path),
            found=f"{blank} rows with an empty label",
            expected="1 or 0 in the column label",
        )
    index: dict[str, list[tuple[int, Target]]] = {}
    for run in runs:
        for record in run.records:
            for target in targets_of(record):
                index.setdefault(record.item, []).append((record.epoch, target))
    found: list[tuple[LabelRow, Target]] = []
    lost: list[LabelRow] = []
    for row in rows:
        candidates = dict.fromkeys(t for epoch, t in index.get(row.item, ()) if _fits(row, epoch, t))
        if len(candidates) > 1:
            raise _ambiguous(row, candidates, path)
        found += [(row, target) for target in candidates]
        lost += [] if candidates else [row]
    if lost:
        raise InputError(
            f"{len(lost)} labels match no graded answer",
            where=str(path),
            found=_named(lost),
            expected="item, epoch or answer_hash, dimension and variables of an answer in the runs",
            hint="add the run with the labelled answers",
        )
    return _verdicts(found, blank, path)


def _fits(row: LabelRow, epoch: int, target: Target) -> bool:
    return (
        target.dimension == row.dimension
        and (row.benchmark is None or row.benchmark == target.benchmark)
        and (row.epoch is None or row.epoch == epoch)
        and (row.answer_hash is None or row.answer_hash == target.answer_hash)
        and (row.variables is None or row.variables == target.variables)
    )


def _named(rows: Iterable[LabelRow]) -> str:
    listed = [str(row) for row in rows]
    more = f", and {len(listed) - MANY} more" if len(listed) > MANY else ""
    return "; ".join(listed[:MANY]) + more


def _ambiguous(row: LabelRow, candidates: Iterable[Target], path: Path) -> InputError:
    targets = list(candidates)
    columns = [
        column
        for column in ("benchmark", "answer_hash", "variables")
        if len({getattr(target, column) for target in targets}) > 1
    ]
    return InputError(
        f"the label matches {len(targets)} answers",
        where=f"{path}, {row}",
        found=f"answers that differ in {' and '.join(columns)}",
        expected=f"a value in {' and '.join(columns)}",
    )


def _verdicts(found: Sequence[tuple[LabelRow, Target]], blank: int, path: Path) -> Labels:
    given: dict[tuple[Target, str], LabelRow] = {}
    votes: dict[Target, dict[str, float]] = {}
    weights: dict[Target, float] = {}
    for row, target in found:
        first = given.setdefault((target, row.annotator), row)
        if first.label != row.label or weights.get(target, row.weight) != row.weight:
            labels = first.label != row.label
            raise InputError(
                f"contradictory {'labels' if labels else 'weights'} for one answer",
                where=str(path),
                found=f"{first} and {row}",
                expected="one label per answer and annotator" if labels else "one weight per answer",
                hint="name people in the column annotator" if labels and not row.annotator else None,
            )
        weights[target] = row.weight
        votes.setdefault(target, {})[row.annotator] = row.label
    truth = {}
    for target, by in votes.items():
        share = sum(by.values()) / len(by)
        if share != 0.5:
            truth[target] = Truth(float(share > 0.5), weights[target])
    return Labels(truth, votes, len(found), blank, len(votes) - len(truth))
