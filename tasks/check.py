"""Whether a record that was read is what was measured: its values agree with each other, and with the data.

Without these checks, a record that was edited by hand or mixed from two would pass for a measurement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cache
from typing import Any

from value_retention.tasks import upstream
from value_retention.tasks.benchmark import Benchmark, benchmark_of, packaged
from value_retention.tasks.data import Dataset, load
from value_retention.tasks.errors import InputError
from value_retention.tasks.grading import Reading, read_reply
from value_retention.tasks.prompts import Criterion, criteria_of
from value_retention.tasks.record import DATE, MEAN, AnswerRecord, GradeRecord, criterion_hash, text_hash
from value_retention.tasks.scale import Scale, parser_name
from value_retention.tasks.scores import derived

TOLERANCE = 1e-9
"""Scores closer than this are equal: Python 3.11 adds with other rounding errors than later versions."""

ORIGINAL = "use the original, unedited file"

OF_ITEM = (
    *("question", "language", "language_raw", "cluster", "source", "translation", "dimensions", "weights"),
    "criteria",
)
"""What an item has, whoever answers and judges it (see `item_facts`)."""


def checked(record: AnswerRecord, where: str) -> AnswerRecord:
    """Check a record.

    Args:
        record: As it was read.
        where: File and line, for the error message.

    Returns:
        The record, with the scores that follow from its grades here.

    Raises:
        InputError: the record contradicts itself, or the data where these are at hand (the bundled sample). Names
            the item, the value found and the value expected.
    """
    where = f"{where}, item {record.item} epoch {record.epoch}"
    benchmark = _benchmark(record, where)
    _check_answer(record, where)
    _check_panel(record, where)
    _check_grades(record, benchmark.judge.scale, _rereads(benchmark.judge.scale, record.parser), where)
    _check_origin(record, benchmark, where)
    _check_data(record, where)
    scores = _scores(record, where)
    return replace(record, **scores) if scores else record


def _refuse(what: str, where: str, found: object, expected: object) -> InputError:
    return InputError(what, where=where, found=found, expected=str(expected), hint=ORIGINAL)


def _benchmark(record: AnswerRecord, where: str) -> Benchmark:
    benchmark = benchmark_of(record, where, ORIGINAL)
    if benchmark.name != record.benchmark or (record.definition is not None and benchmark.name in packaged()):
        raise _refuse("benchmark and definition do not match", where, record.benchmark, benchmark.name)
    return benchmark


def _check_answer(record: AnswerRecord, where: str) -> None:
    """Check epoch, weights, and what is said of texts: hashes, and whether the answer is empty."""
    if record.epoch < 1:
        raise _refuse("epoch out of range", where, record.epoch, "1 or more")
    if (digest := text_hash(record.answer)) != record.answer_hash:
        expected = f"answer_hash {record.answer_hash[:12]}"
        raise _refuse(
            "the answer has changed since it was judged", where, f"a text with hash {digest[:12]}", expected
        )
    if record.checks and record.checks.empty == bool(record.answer.strip()):
        raise _refuse(
            "the check of the answer is wrong", where, f"empty {record.checks.empty}", "the answer's own"
        )
    if record.reasoning and record.thinking is False:
        raise _refuse("an answer with reasoning was made without thinking", where, "thinking false", "true")
    if record.turns is not None and (not record.turns or record.turns[0] != record.question):
        found = repr(record.turns[0][:80]) if record.turns else "no turns"
        raise _refuse("the conversation does not start with the question", where, found, "the question")
    for digest, text in (record.criteria or {}).items():
        if criterion_hash(text) != digest:
            raise _refuse("a criterion has changed", where, f"hash {criterion_hash(text)}", digest)
    names = set(record.dimensions)
    if len(names) != len(record.dimensions) or record.weights.keys() != names:
        found = f"dimensions {', '.join(record.dimensions)}; weights of {', '.join(record.weights)}"
        raise _refuse("weights and dimensions do not match", where, found, "one weight for each dimension")
    if any(weight <= 0 for weight in record.weights.values()):
        raise _refuse("weight out of range", where, record.weights, "weights above 0")


def _criterion(grade: GradeRecord) -> Criterion:
    """What was graded, with the variables in one order."""
    variables = grade.variables
    return grade.dimension, tuple(sorted(variables.items())) if variables else ()


def _check_panel(record: AnswerRecord, where: str) -> None:
    """Check that every judge has one grade for every criterion, and that nobody else has one."""
    panel = [judge.name for judge in record.judges]
    found: dict[Criterion, list[str]] = {}
    for grade in record.grades:
        found.setdefault(_criterion(grade), []).append(grade.judge)
    for (dimension, variables), judges in found.items():
        if judges == panel or sorted(judges) == sorted(panel):
            continue
        place = f"{where}, dimension {dimension}" + "".join(
            f", {name} = {value}" for name, value in variables
        )
        strange = [judge for judge in judges if judge not in panel]
        what = "a grade by a judge that is not listed" if strange else "missing or repeated grades"
        raise _refuse(what, place, ", ".join(strange or judges), f"one grade by each of: {', '.join(panel)}")
    graded = {dimension for dimension, _ in found}
    if graded != set(record.dimensions) and panel:
        listed, expected = (", ".join(sorted(names)) for names in (graded, record.dimensions))
        raise _refuse("grades and dimensions do not match", where, f"grades on {listed or 'none'}", expected)
    if len(record.grades) != record.grades_expected:
        expected = f"grades_expected {record.grades_expected}"
        raise _refuse("missing or additional grades", where, f"{len(record.grades)} grades", expected)


def _rereads(scale: Scale, parser: str) -> bool:
    """Whether the installed parser of the scale is the one that the record names."""
    if scale.kind == "correct":
        return parser == upstream.KNOWN_PARSER and upstream.reads_known_grades()
    return parser == parser_name(scale)


def _check_grades(record: AnswerRecord, scale: Scale, rereads: bool, where: str) -> None:
    """Check grades against outcomes and raw grades, and with `rereads` against the rationales."""
    offered = (*scale.values, None)
    for grade in record.grades:
        # A definition in a record has its labels by name, its file in any order.
        if grade.scale is not None and sorted(grade.scale.split(", ")) != sorted(scale.name.split(", ")):
            raise _refuse("scale and benchmark do not match", _of(grade, where), grade.scale, scale.name)
        if grade.at is not None and not _is_date(grade.at):
            raise _refuse("invalid date", _of(grade, where), grade.at, "a date in UTC, 2026-11-29T18:40:00Z")
        found = Reading(grade.outcome, grade.raw, grade.grade)
        expected = found
        if rereads:
            expected = read_reply(grade.rationale, grade.stop_reason, scale)
        elif grade.raw is not None:
            expected = Reading("graded", grade.raw, dict(scale.worth).get(grade.raw))
        value = expected.worth
        if (value is None) == (grade.outcome == "graded") or grade.grade != value or value not in offered:
            raise _bad_grade(grade, expected.outcome, value, offered, where)
        if found != expected and (grade.raw is not None or found[::2] != expected[::2]):
            reply = "missing" if grade.rationale is None else "present"
            raise _refuse(
                "outcome and rationale do not match",
                _of(grade, where),
                f"outcome {grade.outcome}, grade {grade.raw}, rationale {reply}, stop reason {grade.stop_reason}",
                f"outcome {expected.outcome}, grade {expected.raw}",
            )


def _is_date(text: str) -> bool:
    try:
        return datetime.strptime(text, DATE) is not None
    except ValueError:
        return False


def _of(grade: GradeRecord, where: str) -> str:
    variables = "".join(f", {name} = {value}" for name, value in grade.variables.items())
    return f"{where}, dimension {grade.dimension}{variables}, judge {grade.judge}"


def _bad_grade(
    grade: GradeRecord, outcome: str, value: float | None, offered: Sequence[float | None], where: str
) -> InputError:
    found = f"grade {grade.grade!r}, outcome {grade.outcome}"
    if grade.grade == value or grade.grade not in offered:
        known = " or ".join(str(worth) for worth in reversed(offered) if worth is not None)
        expected = f"{known} if the outcome is 'graded', otherwise None"
        return _refuse("invalid grade", _of(grade, where), found, expected)
    expected = f"grade {value!r}, outcome {outcome}"
    return _refuse("a grade does not follow from its rationale", _of(grade, where), found, expected)


def _scores(record: AnswerRecord, where: str) -> dict[str, Any]:
    """The scores that follow from the grades, where the stored ones have another rounding or order."""
    scores = derived(record.dimensions, record.weights, record.grades, judged=bool(record.judges))
    for name, right in scores.items():
        stored = getattr(record, name)
        pairs = [(name, stored, right)]
        if isinstance(right, dict):
            if stored.keys() != right.keys():
                expected = ", ".join(right)
                raise _refuse("scores and dimensions do not match", where, ", ".join(stored), expected)
            pairs = [(key, stored[key], right[key]) for key in right]
        for part, found, expected in pairs:
            if not _same(found, expected):
                what = "a score does not follow from the grades"
                raise _refuse(what, where, f"{part} {found!r}", f"{part} {expected!r}")
    return {
        name: right
        for name, right in scores.items()
        if (stored := getattr(record, name)) != right or (isinstance(right, dict) and [*stored] != [*right])
    }


def _same(a: object, b: object) -> bool:
    return a == b or (isinstance(a, float) and isinstance(b, float) and abs(a - b) <= TOLERANCE)


def _check_origin(record: AnswerRecord, benchmark: Benchmark, where: str) -> None:
    """Check what says whether a run is the whole benchmark: the data block against the definition, and the run."""
    data, run = record.data, record.run
    place = f"{where}, data"
    if data.is_benchmark != (data.source != "sample"):
        raise _refuse("source and is_benchmark do not match", place, f"{data.source}, {data.is_benchmark}",
                      "false for the bundled sample only")  # fmt: skip
    whole = data.size == data.rows and (data.published or data.source == "sample")
    known = data.size is not None and record.benchmark_version == benchmark.version
    if known and data.size != benchmark.size and not whole:
        raise _refuse("another size than the benchmark's", place, f"size {data.size}", benchmark.size)
    if data.published and benchmark.pinned and data.source != "hub":
        raise _refuse("rows that are not from the hub are not the published ones", place,
                      f"{data.source}, published", f"hub, at {benchmark.pinned}")  # fmt: skip
    if run.asked is not None and not 1 <= run.asked <= (data.rows or run.asked):
        raise _refuse("more questions were asked than there are", f"{where}, run",
                      f"asked {run.asked}", f"1 to {data.rows}")  # fmt: skip
    if any(row.row == f"{record.item} epoch {record.epoch}" for row in run.left_out):
        raise _refuse(
            "an answer that was left out has a record", f"{where}, run", "its name in left_out", "none"
        )


# -- the data -------------------------------------------------------------------------------------------------


def item_facts(record: AnswerRecord) -> dict[str, Any]:
    """What all answers to one item have in common, by the names in `OF_ITEM`.

    ``criteria`` is None if the answer was not judged, and in logs of other evals that hold means only.
    """
    facts = {name: getattr(record, name) for name in OF_ITEM[:-1]}
    known = record.grades and not any(grade.judge.endswith(MEAN) for grade in record.grades)
    return facts | {"criteria": set(map(_criterion, record.grades)) if known else None}


def check_item(found: Mapping[str, Any], expected: Mapping[str, Any], what: str, where: str) -> None:
    """Refuse an item whose facts differ from others of the same item.

    Args:
        found: Its `item_facts`.
        expected: The other ones.
        what: The problem.
        where: File and item.
    """
    for name in OF_ITEM:
        mine, other = found[name], expected[name]
        if mine != other and (name != "criteria" or None not in (mine, other)):
            if name == "criteria":
                mine, other = sorted(mine - other), sorted(other - mine)
            raise _refuse(what, where, f"{name} {_short(mine)}", f"{name} {_short(other)}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else text[:200] + "..."


@cache
def sample(benchmark: str) -> Dataset:
    """The bundled items of a benchmark."""
    return load(packaged()[benchmark], "sample")


@cache
def _sample_facts(benchmark: str) -> dict[str, dict[str, Any]]:
    dataset = sample(benchmark)
    return {
        item.id: {
            **{name: getattr(item, name) for name in OF_ITEM[:-2]},
            "weights": {name: dataset.dimensions[name].weight for name in item.dimensions},
            "criteria": {(name, tuple(sorted(variables))) for name, variables in criteria_of(dataset, item)},
        }
        for item in dataset.items
    }


def _check_data(record: AnswerRecord, where: str) -> None:
    """Check the item against the data, if the record's data are the bundled sample."""
    if (
        record.data.source != "sample"
        or record.data.content_hash != sample(record.benchmark).info.content_hash
    ):
        return
    if record.data != sample(record.benchmark).info:
        raise _refuse(
            "the data block of a record has changed", where, record.data, sample(record.benchmark).info
        )
    facts = _sample_facts(record.benchmark).get(record.item)
    if facts is None:
        raise _refuse("unknown item", where, record.item, "an item of the bundled sample")
    check_item(item_facts(record), facts, "the record does not match the data", where)
