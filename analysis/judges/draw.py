"""A template for labels by people: graded answers drawn from strata, without the grades."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from value_retention.analysis.judges.labels import COLUMNS, require_pass_or_fail
from value_retention.analysis.judges.matching import Target
from value_retention.analysis.runs.load import Run
from value_retention.tasks.data import Dataset
from value_retention.tasks.errors import InputError
from value_retention.tasks.languages import is_english
from value_retention.tasks.prompts import guiding_question
from value_retention.tasks.record import AnswerRecord, canonical_json


@dataclass(frozen=True, order=True)
class Stratum:
    """Grades with the same chance of being drawn."""

    benchmark: str
    dimension: str
    group: str
    """``English`` or ``non-English``."""
    grade: str
    """``pass``, ``fail``, or ``split`` if judges are evenly divided."""


@dataclass(frozen=True)
class Drawn:
    """A drawn target, the first answer with it, and its weight (the number of targets it represents)."""

    target: Target
    record: AnswerRecord
    weight: float


@dataclass(frozen=True)
class Draw:
    """The content of a template, and the size of the population."""

    drawn: tuple[Drawn, ...]
    population: int
    strata: int
    ungraded: int
    """Targets without a grade, which are not drawn."""


def strata_of(runs: Sequence[Run]) -> tuple[dict[Stratum, list[tuple[Target, AnswerRecord]]], int]:
    """Return the graded targets by stratum, and the number of targets without a grade."""
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
    # Sorted, so that a draw depends on the grades and the seed and not on the order of the files.
    ordered = {stratum: sorted(strata[stratum], key=lambda member: member[0]) for stratum in sorted(strata)}
    return ordered, sum(not given for given in grades.values())


def allocate(sizes: Sequence[int], count: int) -> list[int]:
    """Allocate a draw to strata: at least one each, and in proportion to the square root of the size.

    The root is between equal shares, which spend most labels on rare strata, and proportional shares, which
    hardly draw from them (Bankier, Am. Stat. 42 (1988), 174-177).

    Args:
        sizes: Size of each stratum, at least 1.
        count: Number to draw, between the number of strata and the sum of the sizes.
    """
    taken = [1] * len(sizes)
    while sum(taken) < count:
        # Highest averages: draw next where the root of the size is largest for the number already taken.
        free = [k for k in range(len(sizes)) if taken[k] < sizes[k]]
        taken[max(free, key=lambda k: (sizes[k] ** 0.5 / (taken[k] + 1), -k))] += 1
    return taken


def draw(runs: Sequence[Run], count: int, seed: int = 0) -> Draw:
    """Draw targets for labels at random within strata, in random order.

    Args:
        runs: Judged runs.
        count: Number of targets.
        seed: Seed of the draw.

    Raises:
        InputError: The runs have no grade, or ``count`` is below the number of strata.
    """
    require_pass_or_fail(runs)
    strata, ungraded = strata_of(runs)
    if not strata:
        raise InputError("the runs have no grades", found=", ".join(run.name for run in runs))
    population = sum(map(len, strata.values()))
    if count < len(strata):
        raise InputError(
            "fewer labels than strata, and each stratum needs one",
            where="--draw",
            found=count,
            expected=f"at least {len(strata)} (dimension, English or not, pass or fail)",
            hint="start with 200",
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
    """Check that the runs were made with these data.

    Raises:
        InputError: The content differs.
    """
    for run in runs:
        for record in run.records:
            dataset = datasets.get(record.benchmark)
            if dataset is not None and record.data.content_hash != dataset.info.content_hash:
                raise InputError(
                    f"the data differ from those of {run.name}",
                    where=where,
                    found=f"content hash {dataset.info.content_hash[:12]}",
                    expected=f"{record.data.content_hash[:12]}, revision {record.data.revision}",
                )


def write_template(path: Path, drawn: Sequence[Drawn], datasets: Mapping[str, Dataset]) -> None:
    """Write the template: UTF-8 CSV with an empty label, and no grade.

    Args:
        path: File to write. An existing file is not overwritten, because it may contain labels.
        drawn: What to label.
        datasets: Data by benchmark, for guiding question and indicators; may lack a benchmark.

    Raises:
        InputError: The file exists or cannot be written.
    """
    try:
        with path.open("x", encoding="utf-8", errors="replace", newline="") as lines:
            writer = csv.DictWriter(lines, COLUMNS)
            writer.writeheader()
            writer.writerows(_row(one, datasets.get(one.target.benchmark)) for one in drawn)
    except FileExistsError as error:
        raise InputError(
            "the file exists and may contain labels",
            where=str(path),
            expected="a new file",
            hint="choose another with -o, or delete this one",
        ) from error
    except OSError as error:
        raise InputError("cannot write the template", where=str(path), found=str(error)) from error


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
