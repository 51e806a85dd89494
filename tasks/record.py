"""The sample-level record: one answer, its grades, and everything that makes runs comparable.

Both harnesses write this record, lm-eval in ``filtered_resps`` of its samples file, Inspect in the
score's metadata. Everything but the `RunInfo` block is a function of the item, the answer and the
judge's replies, so the same answers and replies give the same bytes through either harness.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any, Literal

from value_retention.tasks.errors import InputError

SCHEMA_VERSION = 1
"""Rises when a field changes its meaning or goes; a reader refuses a version it does not know."""

Outcome = Literal["graded", "unparsed", "judge_error"]
"""``graded``: a grade was read. ``unparsed``: the judge replied, no grade could be read.
``judge_error``: no reply (outage, refusal by the provider, retries spent). Only the first has a grade."""

Status = Literal["scored", "unscored", "not_judged"]
"""``unscored``: judged, but no grade at all. ``not_judged``: saved to be judged later."""


MEAN = " (mean)"
"""Ends the judge's name of a grade that is a mean of several, as some logs of other evals hold it."""


def text_hash(text: str) -> str:
    """SHA-256 of a text in UTF-8, as 64 hex digits."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def well_formed(text: str) -> str:
    """The text with lone surrogates (half of a character, as a cut-off JSON reply may hold) replaced by
    U+FFFD: neither SQLite nor a file in UTF-8 can hold them."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def canonical_json(value: object) -> str:
    """JSON with sorted keys, no spaces and no NaN: equal values give equal text."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


@dataclass(frozen=True)
class DroppedRow:
    """A row of the data that is not scored, and why."""

    row: str
    """Id of the row (``58``), or its position where it has no id (``row 12``)."""
    reason: str


@dataclass(frozen=True)
class DataInfo:
    """Where the questions came from."""

    source: str
    """``hub``, ``folder`` or ``sample``."""
    revision: str
    """Commit of the hub data set (questions, then dimensions, joined by ``+`` where they differ);
    ``sha256:...`` of the content for a folder; ``sample`` for the bundled items."""
    content_hash: str
    """SHA-256 over the used items and dimensions: equal for equal content, wherever it was read."""
    dropped: tuple[DroppedRow, ...] = ()
    is_benchmark: bool = True
    """False for the bundled sample items, whose scores are no benchmark result."""


@dataclass(frozen=True)
class JudgeInfo:
    """One judge of the panel."""

    name: str
    """Inspect model name (``openai/gpt-5-mini``) or ``lexical``."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Generation settings that were set explicitly (temperature, max_tokens, ...); never a secret."""
    is_llm: bool = True


def caveats(data: DataInfo, judges: Iterable[JudgeInfo] = ()) -> list[str]:
    """Why a score is no benchmark result, in the words that every table and log shows."""
    notes = [] if data.is_benchmark else ["sample items, no benchmark"]
    return notes + [f"judge {judge.name}, not an LLM" for judge in judges if not judge.is_llm]


@dataclass(frozen=True)
class GradeRecord:
    """One judge's reply on one dimension of one answer, with one set of variable values."""

    dimension: str
    variables: dict[str, str]
    judge: str
    outcome: Outcome
    grade: float | None
    """1.0 or 0.0 when ``outcome`` is ``graded``, else None. Between them only where `judge` ends in `MEAN`."""
    rationale: str | None
    """The judge's reply, whole; None when there was none."""
    prompt_hash: str
    """SHA-256 of the rendered judge prompt."""
    error: str | None = None
    """The judge's failure in one line when ``outcome`` is ``judge_error``."""
    attempts: int = 1
    """Replies that were asked for (more than one only with ``parse_retries``)."""


@dataclass(frozen=True)
class RunInfo:
    """Who asked the model and how: the only block that differs between harnesses."""

    harness: str
    """``lm_eval`` or ``inspect_ai``."""
    harness_version: str
    model: str
    model_args: dict[str, Any] = field(default_factory=dict)
    """Arguments of the tested model (``pretrained``, ``revision``, ``base_url``, ...); never a secret."""
    sampling: dict[str, Any] = field(default_factory=dict)
    """Temperature, max_tokens, seed, system instruction, chat template: as far as the harness says."""


@dataclass(frozen=True)
class AnswerRecord:
    """One answer (item x epoch) with its grades and scores. Scores are in [0, 1]; None is missing."""

    benchmark: str
    """``anima_2_2`` or ``moru``."""
    benchmark_version: str
    """Comparability number and interface letter, as upstream numbers them (``6-D``)."""
    data: DataInfo
    item: str
    cluster: str
    """Unit of resampling: the question. In MORU the translations of a question share one cluster."""
    language: str
    """BCP-47 tag."""
    language_raw: str | None
    """The name in the data; None where the data has null, which is English."""
    source: str | None
    """MORU's source of the question; None in ANIMA."""
    translation: str | None
    """ANIMA's English rendering of a non-English question; rows that share it are matched translations."""
    epoch: int
    """From 1."""
    question: str
    answer: str
    reasoning: str | None
    """What the model wrote before the end of its thinking: kept, never judged."""
    answer_hash: str
    dimensions: tuple[str, ...]
    """The dimensions this item is tagged with, in the data's order."""
    weights: dict[str, float]
    """Weight of each of `dimensions`."""
    protocol: str
    """``per_dimension`` (comparable with published scores) or ``batched`` (not)."""
    parser: str
    """Version of the grade parser."""
    judges: tuple[JudgeInfo, ...]
    status: Status
    overall: float | None
    dimension_scores: dict[str, float | None]
    """Score of every tagged dimension; None where none of its grades could be read."""
    grades_expected: int
    grades_missing: int
    grades: tuple[GradeRecord, ...]
    run: RunInfo
    rubric_hash: str = ""
    """SHA-256 of the judge's words without question, answer and dimension: equal where prompts are built alike.
    Empty in older records, ``unknown`` where a log of another eval does not say."""
    schema_version: int = SCHEMA_VERSION

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON values, keys in the order of the fields."""
        return asdict(self)

    def to_json(self) -> str:
        """The record on one line; field order is fixed, so equal records give equal text."""
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any], where: str = "record") -> AnswerRecord:
        """Read a record back.

        Args:
            value: What `to_dict` gave.
            where: File and line, for the error message.

        Raises:
            InputError: no record, an unknown schema version, or missing or unknown fields.
        """
        version = value.get("schema_version") if isinstance(value, Mapping) else None
        if version != SCHEMA_VERSION:
            raise InputError(
                "a record of a schema this version does not read",
                where=where,
                found=f"schema_version {version!r}",
                expected=f"schema_version {SCHEMA_VERSION}",
                hint="read it with the version of value-retention that wrote it",
            )
        if not NEEDED <= value.keys() <= KNOWN:
            raise InputError(
                "a record with other fields than the schema's",
                where=where,
                found=f"missing {sorted(NEEDED - set(value))}, unknown {sorted(set(value) - KNOWN)}",
                expected=f"the fields of schema {SCHEMA_VERSION}",
            )
        try:
            return cls._of(value)
        except (TypeError, KeyError, ValueError) as error:
            raise InputError(
                "a record with a block that is not the schema's",
                where=where,
                found=str(error),
                expected=f"the fields of schema {SCHEMA_VERSION}",
            ) from error

    @classmethod
    def _of(cls, value: Mapping[str, Any]) -> AnswerRecord:
        data = dict(value["data"])
        data["dropped"] = tuple(DroppedRow(**row) for row in data["dropped"])
        return cls(
            **{
                **value,
                "data": DataInfo(**data),
                "dimensions": tuple(value["dimensions"]),
                "judges": tuple(JudgeInfo(**judge) for judge in value["judges"]),
                "grades": tuple(GradeRecord(**grade) for grade in value["grades"]),
                "run": RunInfo(**value["run"]),
            }
        )

    @classmethod
    def from_json(cls, text: str, where: str = "record") -> AnswerRecord:
        """`from_dict` of a JSON text."""
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:  # the latter of brackets nested without end
            raise InputError("a record that is no JSON", where=where, found=str(error)) from error
        return cls.from_dict(value, where)


KNOWN = {f.name for f in fields(AnswerRecord)}
NEEDED = {f.name for f in fields(AnswerRecord) if f.default is MISSING}
"""A field that came later has a default, for the records that were there before it."""
