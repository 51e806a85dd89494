"""Which answers a file of labels is about, and what people say of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from value_retention.analysis.judges.labels import LabelRow
from value_retention.analysis.runs.load import Run
from value_retention.tasks.errors import InputError
from value_retention.tasks.record import AnswerRecord, canonical_json

MANY = 5
"""Rows named in a message; the rest are counted."""


@dataclass(frozen=True, order=True)
class Target:
    """What a label is about: a text, whatever run or epoch gave it, on a dimension."""

    benchmark: str
    item: str
    answer_hash: str
    dimension: str
    variables: str
    """Canonical JSON."""


@dataclass(frozen=True)
class Truth:
    """The people's verdict on one target."""

    label: float
    """1 or 0: what most annotators said."""
    weight: float
    """How many targets it stands for; 1 in a file that was not drawn."""


@dataclass(frozen=True)
class Labels:
    """A label file, matched to answers.

    Attributes:
        truth: Verdict by target.
        votes: Every annotator's label by target, for the agreement between people.
        rows: Rows with a label.
        blank: Rows without one.
        tied: Targets on which annotators are evenly split; they are left out.
    """

    truth: dict[Target, Truth]
    votes: dict[Target, dict[str, float]]
    rows: int
    blank: int
    tied: int


def targets_of(record: AnswerRecord) -> list[Target]:
    """Everything about an answer that a label can be about: what it was, or can be, graded on."""
    pairs = dict.fromkeys((g.dimension, canonical_json(g.variables)) for g in record.grades)
    return [Target(record.benchmark, record.item, record.answer_hash, *pair) for pair in pairs]


def match_labels(rows: Sequence[LabelRow], blank: int, runs: Sequence[Run], path: Path) -> Labels:
    """Find the target of every label.

    Args:
        rows: What `read_labels` gave.
        blank: Rows without a label.
        runs: Judged runs.
        path: The file, for messages.

    Raises:
        InputError: no labels, rows that match no answer or more than one, or labels of one annotator that
            contradict each other; the rows are named.
    """
    if not rows:
        raise InputError(
            "a label file without labels",
            where=str(path),
            found=f"{blank} rows, each with an empty label",
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
            hint="is the run whose answers were labelled among the RUNs?",
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
        f"a label that could be about {len(targets)} answers",
        where=f"{path}, {row}",
        found=f"answers that differ in {' and '.join(columns)}",
        expected=f"the column {' and '.join(columns)}",
    )


def _verdicts(found: Sequence[tuple[LabelRow, Target]], blank: int, path: Path) -> Labels:
    given: dict[tuple[Target, str], LabelRow] = {}
    votes: dict[Target, dict[str, float]] = {}
    weights: dict[Target, float] = {}
    for row, target in found:
        first = given.setdefault((target, row.annotator), row)
        if first.label != row.label or weights.get(target, row.weight) != row.weight:
            what = "labels" if first.label != row.label else "weights"
            raise InputError(
                f"two {what} for one answer that contradict each other",
                where=str(path),
                found=f"{first} and {row}",
                expected="one label per answer and annotator"
                if what == "labels"
                else "one weight per answer",
                hint="name the people in the column annotator: the majority counts"
                if what == "labels" and not row.annotator
                else None,
            )
        weights[target] = row.weight
        votes.setdefault(target, {})[row.annotator] = row.label
    truth = {}
    for target, by in votes.items():
        share = sum(by.values()) / len(by)
        if share != 0.5:
            truth[target] = Truth(float(share > 0.5), weights[target])
    return Labels(truth, votes, len(found), blank, len(votes) - len(truth))
