"""What people should label: graded answers, drawn from strata, with the judge's grade left out."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from value_retention.analysis.judges.labels import COLUMNS
from value_retention.analysis.judges.matching import Target
from value_retention.analysis.runs.load import Run
from value_retention.tasks.errors import InputError
from value_retention.tasks.languages import is_english
from value_retention.tasks.load import Dataset
from value_retention.tasks.record import AnswerRecord, canonical_json
from value_retention.tasks.rubric import guiding_question


@dataclass(frozen=True, order=True)
class Stratum:
    """Grades that are drawn alike."""

    benchmark: str
    dimension: str
    group: str
    """``English`` or ``non-English``."""
    grade: str
    """``pass``, ``fail``, or ``split`` where judges are evenly divided."""


@dataclass(frozen=True)
class Drawn:
    """A drawn target, the first answer it occurs in, and its weight (targets it stands for)."""

    target: Target
    record: AnswerRecord
    weight: float


@dataclass(frozen=True)
class Draw:
    """A template's content, and what it was drawn from."""

    drawn: tuple[Drawn, ...]
    population: int
    strata: int
    ungraded: int
    """Answers and dimensions that no judge could grade; they are not drawn."""


def strata_of(runs: Sequence[Run]) -> tuple[dict[Stratum, list[tuple[Target, AnswerRecord]]], int]:
    """Everything that was graded, by stratum, and how much could not be graded."""
    grades: dict[Target, list[float]] = {}
    first: dict[Target, AnswerRecord] = {}
    for run in runs:
        for record in run.records:
            for grade in record.grades:
                variables = canonical_json(grade.variables)
                target = Target(record.benchmark, record.item, record.answer_hash, grade.dimension, variables)
                first.setdefault(target, record)
                given = grades.setdefault(target, [])
                if grade.grade is not None:
                    given.append(grade.grade)
    strata: dict[Stratum, list[tuple[Target, AnswerRecord]]] = {}
    for target, given in grades.items():
        if given:
            record = first[target]
            share = sum(given) / len(given)
            stratum = Stratum(
                target.benchmark,
                target.dimension,
                "English" if is_english(record.language) else "non-English",
                "split" if share == 0.5 else "pass" if share > 0.5 else "fail",
            )
            strata.setdefault(stratum, []).append((target, record))
    # Sorted, so that a draw depends on what was graded and on the seed, not on the order of the files.
    ordered = {stratum: sorted(strata[stratum], key=lambda member: member[0]) for stratum in sorted(strata)}
    return ordered, sum(not given for given in grades.values())


def allocate(sizes: Sequence[int], count: int) -> list[int]:
    """How many to draw from each stratum: at least one, and in proportion to the root of its size.

    The root lies between equal shares (which spend most labels on rare strata) and proportional ones (which
    hardly see them); Bankier, Am. Stat. 42 (1988), 174-177.

    Args:
        sizes: Size of each stratum, at least 1.
        count: How many to draw, between the number of strata and the sum of the sizes.
    """
    taken = [1] * len(sizes)
    while sum(taken) < count:
        # Highest averages: the next one goes where the root of the size is largest for what was taken.
        free = [k for k in range(len(sizes)) if taken[k] < sizes[k]]
        taken[max(free, key=lambda k: (sizes[k] ** 0.5 / (taken[k] + 1), -k))] += 1
    return taken


def draw(runs: Sequence[Run], count: int, seed: int = 0) -> Draw:
    """Draw what people should label, at random within strata, in random order.

    Args:
        runs: Judged runs.
        count: How many answers and dimensions.
        seed: Seed of the draw.

    Raises:
        InputError: nothing graded, or fewer than one per stratum.
    """
    strata, ungraded = strata_of(runs)
    if not strata:
        raise InputError("nothing to draw from: no grade in the runs", found=", ".join(r.name for r in runs))
    population = sum(map(len, strata.values()))
    if count < len(strata):
        raise InputError(
            "a draw with fewer labels than strata: some could not be weighted back",
            where="--draw",
            found=count,
            expected=f"at least {len(strata)} (dimension, English or not, pass or fail); 200 is a start",
        )
    rng = np.random.default_rng(seed)
    shares = allocate([len(members) for members in strata.values()], min(count, population))
    drawn = []
    for members, share in zip(strata.values(), shares, strict=True):
        for index in rng.choice(len(members), share, replace=False):
            target, record = members[index]
            drawn.append(Drawn(target, record, len(members) / share))
    order = rng.permutation(len(drawn))
    return Draw(tuple(drawn[k] for k in order), population, len(strata), ungraded)


def check_content(runs: Sequence[Run], datasets: Mapping[str, Dataset], where: str) -> None:
    """Refuse data that the answers were not given to.

    Raises:
        InputError: another content than the runs'.
    """
    for run in runs:
        for record in run.records:
            dataset = datasets.get(record.benchmark)
            if dataset is not None and record.data.content_hash != dataset.info.content_hash:
                raise InputError(
                    f"other data than {run.name} was asked from",
                    where=where,
                    found=f"content hash {dataset.info.content_hash[:12]}",
                    expected=f"{record.data.content_hash[:12]}, revision {record.data.revision}",
                )


def write_template(path: Path, drawn: Sequence[Drawn], datasets: Mapping[str, Dataset]) -> None:
    """Write the template: UTF-8 CSV with an empty label, and no grade.

    Args:
        path: Where to; a file that is there is not written over, it may hold labels.
        drawn: What to label.
        datasets: By benchmark, where at hand, for guiding question and indicators.

    Raises:
        InputError: the file exists, or cannot be written.
    """
    try:
        with path.open("x", encoding="utf-8", errors="replace", newline="") as lines:
            writer = csv.DictWriter(lines, COLUMNS)
            writer.writeheader()
            writer.writerows(_row(one, datasets.get(one.target.benchmark)) for one in drawn)
    except FileExistsError as error:
        raise InputError(
            "a file that exists: it may hold labels",
            where=str(path),
            expected="a new file",
            hint="name another with -o, or delete it",
        ) from error
    except OSError as error:
        raise InputError("the template cannot be written", where=str(path), found=str(error)) from error


def _row(one: Drawn, dataset: Dataset | None) -> dict[str, object]:
    target, record = one.target, one.record
    guiding = indicators = ""
    if dataset is not None:
        dimension = dataset.dimensions[target.dimension]
        guiding = guiding_question(dimension, tuple(json.loads(target.variables).items()))
        indicators = dimension.indicators
    return {
        "benchmark": target.benchmark,
        "item": target.item,
        "epoch": record.epoch,
        "answer_hash": target.answer_hash,
        "language": record.language,
        "dimension": target.dimension,
        "variables": target.variables,
        "guiding_question": guiding,
        "indicators": indicators,
        "question": record.question,
        "answer": record.answer,
        "label": "",
        "annotator": "",
        "comment": "",
        "weight": repr(one.weight),
    }
