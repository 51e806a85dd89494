"""The sample-level record: one answer, its grades, and everything that makes runs comparable.

Both harnesses write this record, lm-eval in ``filtered_resps`` of its samples file, Inspect in the
score's metadata. Everything but the `RunInfo` block, ``checks.truncated``, and date and server of a grade is a function
of the item, the answer and the judge's replies, so the same answers and replies give the same bytes through either
harness. docs/extending.md has all fields in a table.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from value_retention.tasks.errors import InputError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Outcome = Literal["graded", "unparsed", "cut", "judge_error"]
"""``graded``: a grade was read. ``unparsed``: the judge replied without a readable grade. ``cut``: the token limit cut
the reply, so its last words are no verdict. ``judge_error``: no reply (outage, refusal by the provider, retries used
up). Only ``graded`` has a grade."""

CUT = ("max_tokens", "model_length")
"""Inspect's stop reasons of an output that a token limit cut."""

Source = Literal["hub", "folder", "sample"]

Status = Literal["scored", "unscored", "not_judged"]
"""``unscored``: judged, without a single grade. ``not_judged``: saved to be judged later."""


UNKNOWN = "unknown"
"""What a log of another eval does not tell."""

MEAN = " (mean)"
"""Suffix of the judge's name where a grade is a mean of several, as in some logs of other evals."""


def text_hash(text: str) -> str:
    """SHA-256 of a text in UTF-8, as 64 hex digits."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def well_formed(text: str) -> str:
    """Replace lone surrogates (half a character, as in a truncated JSON reply) by U+FFFD. Neither SQLite nor a UTF-8
    file can hold them."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


# `json.dumps` would make an encoder for each call; a large run has 100,000.
_CANONICAL = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def canonical_json(value: object) -> str:
    """JSON with sorted keys, no spaces and no NaN: equal values give equal text."""
    return (
        _CANONICAL.encode(value) if value != {} else "{}"
    )  # most calls are for a dimension without variables


DATE = "%Y-%m-%dT%H:%M:%SZ"


def date_of(at: float) -> str:
    """Seconds since the epoch as a date in UTC: ``2026-11-29T18:40:00Z``."""
    return datetime.fromtimestamp(at, UTC).strftime(DATE)


def criterion_hash(text: str) -> str:
    """Short hash of a criterion's text, by which grades refer to it: 16 hex digits."""
    return text_hash(text)[:16]


@dataclass(frozen=True)
class DroppedRow:
    """A row of the data that is not scored, or an answer that is left out, and why."""

    row: str
    """Id of the row (``58``), or its position if it has no id (``row 12``). Of an answer, with its epoch."""
    reason: str


@dataclass(frozen=True)
class DataInfo:
    """Origin of the questions."""

    source: Source
    revision: str
    """Commit of the hub dataset (questions, then dimensions, joined by ``+`` if they differ);
    ``sha256:...`` of the content for a folder; ``sample`` for the bundled items."""
    content_hash: str
    """SHA-256 over the items and dimensions in use. Equal content gives equal hashes, whatever its source."""
    dropped: tuple[DroppedRow, ...] = ()
    is_benchmark: bool = True
    """False for the bundled sample items: their scores are not benchmark results."""
    size: int | None = None
    """Questions that the benchmark has. None if its definition does not say."""
    rows: int | None = None
    """Questions that `source` has, after `dropped`. None if a log of another eval does not say."""
    published: bool = False
    """Whether the rows are the published ones: from the hub at the commit that the definition pins, or, for a
    benchmark without a commit, the tables beside its definition."""


@dataclass(frozen=True)
class JudgeInfo:
    """One judge of the panel."""

    name: str
    """Inspect model name (``openai/gpt-5-mini``) or ``lexical``."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Generation settings that were set explicitly (temperature, max_tokens, ...). Never a secret."""
    is_llm: bool = True


def caveats(data: DataInfo, judges: Iterable[JudgeInfo] = (), asked: int | None = None) -> list[str]:
    """Why a score is not a benchmark result, in the words that every table and log shows.

    Args:
        data: Origin of the questions.
        judges: The panel.
        asked: Number of questions asked. None for all that `data` has.
    """
    if not data.is_benchmark:
        notes = ["sample items, not a benchmark"]
    else:
        part, rows = part_of(data, asked), "rows not checked against the published ones"
        notes = ([part] if part else []) + ([] if data.published else [rows])
    return notes + [f"judge {judge.name}, not an LLM" for judge in judges if not judge.is_llm]


def part_of(data: DataInfo, asked: int | None = None) -> str | None:
    """``40 of 114 questions`` if not all questions of the benchmark were asked, else None."""
    found, wanted = data.rows if asked is None else asked, data.size or data.rows
    return f"{found} of {wanted} questions" if found is not None and wanted and found < wanted else None


@dataclass(frozen=True)
class GradeRecord:
    """One judge's reply on one dimension of one answer, with one set of variable values."""

    dimension: str
    variables: dict[str, str]
    judge: str
    outcome: Outcome
    grade: float | None
    """Worth of the grade in [0, 1] (1.0 for C, 0.0 for I) if ``outcome`` is ``graded``, otherwise None."""
    rationale: str | None
    """The judge's whole reply, or None if there was none."""
    prompt_hash: str
    """SHA-256 of the rendered judge prompt."""
    error: str | None = None
    """In one line, the judge's failure if ``outcome`` is ``judge_error``, and what the limit cut if it is ``cut``."""
    attempts: int = 1
    """Number of replies requested (more than one only with ``parse_retries``, and where a cut reply was filled)."""
    stop_reason: str | None = None
    """Why the judge stopped writing, in Inspect's words (``stop``, ``max_tokens``, ...). None if nothing tells."""
    raw: str | None = None
    """The grade as the judge gave it, on `scale`: ``C``, ``7``, ``good``. None if there is none, and for a mean."""
    scale: str | None = None
    """The grades on offer, in words (see `scale.Scale.name`). None if a log of another eval does not tell."""
    criterion: str | None = None
    """Hash of the criterion as the judge was asked it. Its text is in `AnswerRecord.criteria`."""
    at: str | None = None
    """When the reply arrived, in UTC (``2026-11-29T18:40:00Z``). None for a judge that is not an LLM."""
    served: dict[str, str] | None = None
    """What the judge's server said of itself with this reply: ``model``, ``system_fingerprint``."""

    @property
    def is_gap(self) -> bool:
        """Whether `value-retention judge --fill` asks for this grade again."""
        return self.outcome in ("judge_error", "cut")


@dataclass(frozen=True)
class RunInfo:
    """The harness, the model and its settings: the only block that differs between harnesses."""

    harness: str
    """``lm_eval`` or ``inspect_ai``."""
    harness_version: str
    model: str
    model_args: dict[str, Any] = field(default_factory=dict)
    """Arguments of the tested model (``pretrained``, ``revision``, ``base_url``, ...). Never a secret."""
    sampling: dict[str, Any] = field(default_factory=dict)
    """Temperature, max_tokens, seed, system instruction, chat template: as far as the harness reports them."""
    identity: str = ""
    """Which model answered: hash of the checkpoint's files, commit, or what a server says of itself. Empty where
    the harness does not report it."""
    resumed: str | None = None
    """How old the answers are that an interrupted run left, if the model's identity is uncertain; else None."""
    asked: int | None = None
    """Questions that the run asked: all, or a part (languages, ``--limit``). None if the harness does not tell."""
    left_out: tuple[DroppedRow, ...] = ()
    """Answers that the run has no record of, and why: an error, a sample that was invalidated."""


@dataclass(frozen=True)
class AnswerChecks:
    """What an answer looks like, whatever it says (see `checks`). None: not known."""

    truncated: bool | None
    """Whether the token limit cut the model's output."""
    empty: bool
    repetitive: bool | None
    refusing: bool | None
    language: str | None
    """Language that the answer is written in, as far as it can be identified."""


@dataclass(frozen=True)
class AnswerRecord:
    """One answer (item and epoch) with its grades and scores. Scores are in [0, 1], or None if missing."""

    # For pydantic, which also applies it to the blocks above. Strict: the text "1" is not the number 1.
    __pydantic_config__ = {"strict": True, "extra": "forbid", "allow_inf_nan": False}  # noqa: RUF012

    benchmark: str
    """Name of the benchmark: ``anima_2_2``, ``moru``, or that of `definition`."""
    benchmark_version: str
    """Comparability number and interface letter, numbered as upstream does (``6-D``)."""
    data: DataInfo
    item: str
    cluster: str
    """The unit of resampling: the renderings of one question, say (see `benchmark.Benchmark.cluster`)."""
    language: str
    """BCP-47 tag."""
    language_raw: str | None
    """The language's name in the data, or None if the data has null (English)."""
    source: str | None
    """Source of the question, where the data name one."""
    translation: str | None
    """English text of a question in another language, where the data have it. Rows that share it render one text."""
    epoch: int
    """From 1."""
    question: str
    answer: str
    reasoning: str | None
    """The model's reasoning before the answer. Kept, never judged."""
    answer_hash: str
    dimensions: tuple[str, ...]
    """The item's dimension tags, in the data's order."""
    weights: dict[str, float]
    """Weight of each of `dimensions`."""
    parser: str
    """The grade parser, named by the hash of its pattern and words (see `upstream.parser_version`)."""
    judges: tuple[JudgeInfo, ...]
    status: Status
    overall: float | None
    dimension_scores: dict[str, float | None]
    """Score of every tagged dimension, or None if none of its grades could be read."""
    grades_expected: int
    grades_missing: int
    grades: tuple[GradeRecord, ...]
    run: RunInfo
    rubric_hash: str = UNKNOWN
    """SHA-256 of the judge prompt without question, answer and dimension. ``unknown`` if a log of another eval does
    not tell."""
    thinking: bool | None = None
    """Whether the model thought first: its output has reasoning, its service counted some, or the settings say so. None
    if nothing tells."""
    checks: AnswerChecks | None = None
    """Checks of the answer's form, made when the record is."""
    criteria: dict[str, str] | None = None
    """Texts of criteria by their hashes. In a file of records, each text is in the first record that refers to it. In
    an Inspect log, all are in the task's metadata."""
    definition: dict[str, Any] | None = None
    """The benchmark's definition (see `benchmark.Benchmark`). None for a benchmark of this package."""
    turns: tuple[str, ...] | None = None
    """The conversation before the answer: user, model, user, and so on, from the question on. None for a question
    alone."""
    schema_version: Literal[1] = 1
    """Incremented when a field changes its meaning or is removed. Records of another version are refused."""

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON values, keys in the order of the fields.

        Optional fields of the record and of its grades (those with the default None) are left out without a value.
        """
        values = asdict(self)
        for part, names in (
            (values, _OPTIONAL),
            *((grade, _OPTIONAL_OF_GRADE) for grade in values["grades"]),
        ):
            for name in names:
                if part[name] is None:
                    del part[name]
        return values

    def to_json(self) -> str:
        """The record on one line. The field order is fixed, so equal records give equal text."""
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_dict(cls, value: object, where: str = "record") -> AnswerRecord:
        """Read a record from the result of `to_dict`. Otherwise as `from_json`."""
        try:
            return cls.from_json(json.dumps(value), where)
        except TypeError as error:
            raise InputError("invalid value in a record", where=where, found=str(error)) from error

    @classmethod
    def from_json(cls, text: str | bytes, where: str = "record") -> AnswerRecord:
        """Read a record from JSON. `check.checked` checks that its values agree with each other.

        Args:
            text: The result of `to_json`.
            where: File and line, for the error message.

        Raises:
            InputError: invalid JSON, another schema version, a missing or unknown field, or a wrong type.
        """
        from pydantic import ValidationError

        try:
            record = _schema().validate_json(text)
        except ValidationError as error:
            problems: list[Any] = error.errors(include_url=False)
            # In another version, other fields can differ too.
            problem = next((p for p in problems if p["loc"] == ("schema_version",)), problems[0])
            invalid = "JSON" if problem["type"] == "json_invalid" else "value"
            raise InputError(
                f"invalid {invalid} in a record",
                where=_place(text, where),
                found=_problem(problem),
                expected="the fields and types of record schema 1",
            ) from None
        _refuse_nan(text, where)
        return record


def _optional(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind) if field.default is None)


_OPTIONAL, _OPTIONAL_OF_GRADE = _optional(AnswerRecord), _optional(GradeRecord)


def texts_once(records: Iterable[AnswerRecord]) -> Iterator[AnswerRecord]:
    """The records for a file: each criterion's text is left in the first record that has it."""
    known: set[str] = set()
    for record in records:
        new = {digest: text for digest, text in (record.criteria or {}).items() if digest not in known}
        known |= new.keys()
        yield replace(record, criteria=new or None)


@cache
def _schema() -> TypeAdapter[AnswerRecord]:
    """The validator. Importing pydantic and making it takes a fifth of a second."""
    from pydantic import TypeAdapter

    return TypeAdapter(AnswerRecord)


def _problem(problem: Mapping[str, Any]) -> str:
    """A pydantic error in one line: ``grades.3.grade: 'C' (Input should be a valid number)``."""
    place = ".".join(map(str, problem["loc"]))
    found = problem["msg"]
    if problem["type"] not in ("missing", "unexpected_keyword_argument", "json_invalid"):
        found = f"{repr(problem['input'])[:80]} ({found})"
    return f"{place}: {found}" if place else found


def _place(text: str | bytes, where: str) -> str:
    """Where, with the item if the text is a JSON object."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return where
    return (
        f"{where}, item {value.get('item')} epoch {value.get('epoch')}" if isinstance(value, dict) else where
    )


def _refuse_nan(text: str | bytes, where: str) -> None:
    """Refuse NaN and infinity in the free-form settings. As a part of a text they are fine."""
    present = (
        b"NaN" in text or b"Infinity" in text
        if isinstance(text, bytes)
        else "NaN" in text or "Infinity" in text
    )
    if not present:
        return

    def refuse(constant: str) -> NoReturn:
        raise InputError("invalid value in a record", where=where, found=constant, expected="a finite number")

    json.loads(text, parse_constant=refuse)
