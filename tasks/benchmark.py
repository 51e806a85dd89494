"""A benchmark is its ``benchmark.yaml``: one model reads the file, gives its schema, and is the value that code uses.

The two benchmarks of this package are ``anima_2_2/benchmark.yaml`` and ``moru_multi/benchmark.yaml``. Nothing outside
these files knows a benchmark by its name. ``benchmark.schema.json`` is the schema for editors.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Discriminator, Field, Tag, ValidationError, field_validator, model_validator

from value_retention.tasks.errors import InputError
from value_retention.tasks.languages import language_tag
from value_retention.tasks.record import AnswerRecord, canonical_json
from value_retention.tasks.scale import CORRECT, Labels, Numbers, Scale
from value_retention.tasks.yaml_file import Strict, problem_text, read_yaml

FILE = "benchmark.yaml"
RUBRIC = "rubric"
"""Name of the one dimension of a benchmark whose questions bring a rubric each."""
FIELDS = (
    *("question", "answer", "instructions", "rubric"),
    *("criterion", "dimension", "guiding_question", "indicators"),
)
"""What a prompt of a benchmark's own may hold in braces."""

_KINDS = {
    "import": "ImportedPrompt",
    "text": "OwnPrompt",
    "labels": "Labels",
    "column": "Column",
    **dict.fromkeys(("from", "to", "step"), "Numbers"),
    **dict.fromkeys(("hub", "table"), "Dimensions"),
}
"""Member of a union by a key that it alone has."""


def _kind(value: Any) -> str:
    """Which member of a union a value is meant for, so that an error is about that one alone."""
    if isinstance(value, BaseModel):
        return type(value).__name__
    if not isinstance(value, Mapping):
        return "list" if isinstance(value, list | tuple) else "word"
    return next((kind for key, kind in _KINDS.items() if key in value), "mapping")


def _one_of(expected: str) -> Discriminator:
    return Discriminator(_kind, custom_error_type="unknown_kind", custom_error_message=f"expected {expected}")


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,79}$")]
Text = Annotated[str, Field(min_length=1)]


class Hub(Strict):
    """A dataset on the Hugging Face Hub, at a commit."""

    repo: str = Field(pattern=r"^[\w.-]+/[\w.-]+$", description="Owner and name.")
    config: str | None = Field(default=None, description="Configuration (subset) of the dataset.")
    revision: str = Field(
        pattern=r"^[0-9a-f]{40}$", description="Commit of 40 digits. Tags and branches move."
    )


class Table(Strict):
    """A table: a dataset on the hub, or a file beside the benchmark's."""

    hub: Hub | None = Field(default=None, description="A dataset on the hub. Its split `train` is read.")
    table: Text | None = Field(
        default=None, description="CSV, JSON Lines or Parquet file beside this file, or a folder of them."
    )

    @model_validator(mode="after")
    def _one(self) -> Table:
        if (self.hub is None) == (self.table is None):
            raise ValueError("give either `hub` or `table`")
        return self

    @property
    def folder(self) -> str:
        """Path below the data folder: a file, or a folder with the hub's files (repository's name, then config's)."""
        if self.hub is None:
            return str(self.table)
        return self.hub.repo.rpartition("/")[2] + (f"/{self.hub.config}" if self.hub.config else "")

    @property
    def repo(self) -> str | None:
        """Dataset on the hub. None for a table that is in a folder only."""
        return self.hub.repo if self.hub else None

    @property
    def revision(self) -> str:
        """Commit on the hub, or empty."""
        return self.hub.revision if self.hub else ""


class Columns(Strict):
    """Column of each field. Those that the file names must be in the table; the others may be missing."""

    @property
    def required(self) -> list[str]:
        """The columns that the file names, in the order of the fields."""
        named = (getattr(self, field) for field in type(self).model_fields if field in self.model_fields_set)
        return [column for column in named if column is not None]


class QuestionColumns(Columns):
    """Column of each field of a question. A column that is written here must be in the table."""

    id: Text = "id"
    question: Text = "question"
    dimensions: Text = Field(
        default="dimensions", description="Names of dimensions: a list, or separated by commas."
    )
    rubric: Text = Field(default="rubric", description="What the judge is told about this question.")
    variables: Text = Field(
        default="variables", description="Lines of name:value,value for placeholders of dimensions."
    )
    language: Text = Field(default="language", description="BCP-47 tag or English name of the language.")
    source: Text = "source"
    translation: Text = Field(
        default="translation", description="The English text of a question in another language."
    )
    turns: Text = Field(default="turns", description="What the user says after each answer: a list of texts.")


class Questions(Table):
    """The table of questions."""

    columns: QuestionColumns = QuestionColumns()


class DimensionColumns(Columns):
    """Column of each field of a dimension."""

    name: Text = "name"
    guiding_question: Text = "guiding_question"
    indicators: Text = "indicators"
    weight: Text | None = Field(
        default=None, description="Column of the weights. Without it, all dimensions count alike."
    )


class Dimensions(Table):
    """The table of dimensions."""

    columns: DimensionColumns = DimensionColumns()


class ListedDimension(Strict):
    """One criterion that the judge grades."""

    name: Text
    guiding_question: Text = Field(description="May hold placeholders such as {{animal}}.")
    indicators: str = Field(
        default="", description="What the judge looks for. `lexical` looks for phrases in quotes."
    )
    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)


class Rows(Strict):
    """How rows are read."""

    incomplete: Literal["drop", "error"] = Field(
        default="error", description="A row without a question or a dimension."
    )
    unknown_dimension: Literal["drop_row", "drop_name"] = Field(
        default="drop_row",
        description="A row that names an unknown dimension: drop the row, or only the name.",
    )
    translated: bool = Field(
        default=False, description="Each language of a question is a row with the same id."
    )
    lower_case_dimensions: bool = Field(default=False, description="Read names of dimensions in lower case.")


class Column(Strict):
    """A column by whose value questions belong together."""

    column: Text


class ImportedPrompt(Strict):
    """A prompt of Inspect or Inspect Evals, known by its hash. A run stops if it has another one."""

    source: str = Field(
        alias="import", pattern=r"^inspect_(ai|evals)(\.\w+)*:\w+$", description="MODULE:NAME of the text."
    )
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class OwnPrompt(Strict):
    """A prompt of the benchmark's own."""

    text: str = Field(description="The prompt. Fields: " + ", ".join(f"{{{name}}}" for name in FIELDS))

    @field_validator("text")
    @classmethod
    def _holds_the_answer(cls, text: str) -> str:
        lacking = [f"{{{name}}}" for name in ("question", "answer") if f"{{{name}}}" not in text]
        if lacking:
            raise ValueError(f"the prompt lacks {' and '.join(lacking)}")
        return text


class Judge(Strict):
    """What the judge is asked, and what it may answer."""

    prompt: Annotated[
        Annotated[ImportedPrompt, Tag("ImportedPrompt")] | Annotated[OwnPrompt, Tag("OwnPrompt")],
        _one_of("`import` and `sha256`, or `text`"),
    ]
    grades: Annotated[
        Annotated[Literal["correct"], Tag("word")]
        | Annotated[Numbers, Tag("Numbers")]
        | Annotated[Labels, Tag("Labels")],
        _one_of("`correct`, {from: ..., to: ...} or {labels: {...}}"),
    ] = Field(
        default="correct",
        description="`correct`: C and I as in Inspect's model_graded_qa. Or numbers, or labels.",
    )
    pattern: str = Field(
        default="",
        description="Regular expression with one group, the grade. Default: the last `GRADE: ...` of the reply.",
    )

    @model_validator(mode="after")
    def _readable(self) -> Judge:
        if self.pattern:
            if self.grades == "correct":
                raise ValueError(
                    "`pattern` is for numbers and labels; C and I are read as Inspect reads them"
                )
            try:
                groups = re.compile(self.pattern).groups
            except re.error as error:
                raise ValueError(f"invalid regular expression in `pattern`: {error}") from None
            if groups != 1:
                raise ValueError(f"`pattern` has {groups} groups, expected one")
        elif isinstance(self.prompt, OwnPrompt) and "{instructions}" not in self.prompt.text:
            raise ValueError("the prompt lacks {instructions}, which tells the judge how to write its grade")
        return self

    @cached_property
    def scale(self) -> Scale:
        """The grades on offer."""
        return CORRECT if self.grades == "correct" else self.grades.scale(self.pattern)


class Sampling(Strict):
    """How the tested model's answers are drawn, in both harnesses."""

    temperature: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    max_tokens: int = Field(default=2048, ge=1, description="Maximum length of an answer in tokens.")


class Benchmark(Strict):
    """A benchmark: open questions whose answers a judge grades."""

    name: Name = Field(description="Name in records, tables and reports.")
    task_name: Name = Field(
        default_factory=lambda known: known["name"],
        description="Name of the task in both harnesses, if it is another.",
    )
    title: Text
    short_title: Text = Field(default_factory=lambda known: known["name"], description="Title in tables.")
    version: str = Field(
        default="1-A",
        pattern=r"^\d+-[A-Z]+$",
        description="Number and letter. Raise the number whenever scores can change, the letter with the options.",
    )
    license: str | None = Field(default=None, description="Licence of the questions.")
    citation: str | None = None
    size: int | None = Field(default=None, ge=1, description="How many questions are scored.")
    # Only a benchmark that was read from the log of another eval has none.
    questions: Questions = Field(default_factory=lambda: Questions(table="?"))
    dimensions: (
        Annotated[
            Annotated[Dimensions, Tag("Dimensions")]
            | Annotated[tuple[ListedDimension, ...], Field(min_length=1), Tag("list")],
            _one_of("a table ({hub: ...} or {table: ...}), or a list of dimensions"),
        ]
        | None
    ) = Field(default=None, description="A table, or a list. Leave it out if each question has a rubric.")
    language: str | None = Field(
        default=None, description="Language of rows that name none: a BCP-47 tag or an English name."
    )
    cluster: Annotated[
        Annotated[Literal["id", "english_text"], Tag("word")] | Annotated[Column, Tag("Column")],
        _one_of("`id`, `english_text` or {column: NAME}"),
    ] = Field(
        default="id",
        description="Questions that count as one: by id, by their English text, or by the value in a column.",
    )
    rows: Rows = Rows()
    turns: tuple[Text, ...] = Field(
        default=(), description="What the user says after each answer. The last answer is graded."
    )
    judge: Judge
    epochs: int = Field(default=1, ge=1, description="Answers to each question.")
    sampling: Sampling = Sampling()
    inspect_evals: tuple[str, ...] = Field(
        default=(), description="Tasks of Inspect Evals with the same questions and judging."
    )
    _home: str = ""

    @field_validator("language")
    @classmethod
    def _known_language(cls, name: str | None) -> str | None:
        if name is not None and language_tag(name) is None:
            raise ValueError("neither a BCP-47 tag nor the English name of a language")
        return name

    def model_post_init(self, context: Any) -> None:
        """Keep the folder that `read_yaml` passes on."""
        self._home = context or ""

    @property
    def home(self) -> str:
        """Folder of the file and its tables. Empty for a benchmark from a record."""
        return self._home

    @property
    def weighted(self) -> bool:
        """Whether dimensions have weights, so that ``dimension_normalized_avg`` is reported."""
        if isinstance(self.dimensions, Dimensions):
            return self.dimensions.columns.weight is not None
        return len({dimension.weight for dimension in self.dimensions or ()}) > 1

    @property
    def pinned(self) -> str:
        """The data revision of a record with the pinned tables: one commit if both share it, otherwise both."""
        own = self.dimensions.revision if isinstance(self.dimensions, Dimensions) else ""
        return joint_revision(self.questions.revision, own or self.questions.revision)

    @cached_property
    def definition(self) -> dict[str, Any] | None:
        """What the file says, as JSON values, for records to carry. None for a benchmark of this package."""
        if self.name in packaged():
            return None
        values: dict[str, Any] = json.loads(
            canonical_json(self.model_dump(mode="json", by_alias=True, exclude_unset=True))
        )
        return values


def joint_revision(questions: str, dimensions: str) -> str:
    """The data revision in a record: one commit if both tables share it, otherwise both."""
    return questions if questions == dimensions else f"{questions}+{dimensions}"


def schema() -> dict[str, Any]:
    """JSON schema of a ``benchmark.yaml``, for editors."""
    found = Benchmark.model_json_schema(by_alias=True) | {"title": "Benchmark of value-retention"}
    return found | {"required": [*found["required"], "questions"]}


# -- finding and reading --------------------------------------------------------------------------------------


@cache
def packaged() -> dict[str, Benchmark]:
    """The benchmarks of this package, by name."""
    files = sorted(Path(__file__).parent.glob(f"*/{FILE}"))
    return {benchmark.name: benchmark for benchmark in map(_read, files)}


def packaged_names() -> set[str]:
    """Names of this package's benchmarks and of their tasks."""
    return {name for b in packaged().values() for name in (b.name, b.task_name)}


def imported_prompts(*benchmarks: Benchmark) -> dict[str, str]:
    """The imported prompts among those of some benchmarks (``MODULE:NAME``), and the hash that each should have."""
    prompts = (benchmark.judge.prompt for benchmark in benchmarks)
    return {prompt.source: prompt.sha256 for prompt in prompts if isinstance(prompt, ImportedPrompt)}


def find_benchmark(name: str, where: str) -> Benchmark:
    """A benchmark by its name, the name of its task, or the path of its ``benchmark.yaml``.

    Raises:
        InputError: none of these, or an invalid file.
    """
    for benchmark in packaged().values():
        if name in (benchmark.name, benchmark.task_name):
            return benchmark
    if name.endswith((".yaml", ".yml")) or Path(name).expanduser().is_dir():
        return read_benchmark(name)
    names = dict.fromkeys(b.task_name for b in packaged().values())
    raise InputError(
        "unknown benchmark", where=where, found=name, expected=f"{', '.join(names)}, or the path of a {FILE}"
    )


def read_benchmark(path: str | Path) -> Benchmark:
    """Read a benchmark from its ``benchmark.yaml``. Its tables are read later (see `data.load`).

    Args:
        path: The file, or its folder.

    Raises:
        InputError: missing file, invalid YAML, or an invalid value. Names the line.
    """
    file = Path(path).expanduser()
    file = file / FILE if file.is_dir() else file
    benchmark = _read(file)
    if "questions" not in benchmark.model_fields_set:
        raise InputError("a benchmark needs questions", where=str(file), expected="the key `questions`")
    taken = packaged_names()
    if taken & {benchmark.name, benchmark.task_name}:
        raise InputError(
            "the name belongs to a benchmark of this package",
            where=f"{file}, name",
            found=benchmark.task_name,
            expected=f"a name other than {', '.join(sorted(taken))}",
        )
    return benchmark


def benchmark_of(record: AnswerRecord, where: str | None = None, hint: str | None = None) -> Benchmark:
    """The benchmark of a record: the one that the record carries, or one of this package.

    Args:
        record: The record.
        where: Its place, for the error message.
        hint: The next step, for the error message.

    Raises:
        InputError: neither.
    """
    if record.definition is not None:
        return _carried(canonical_json(record.definition))
    known = packaged()
    if record.benchmark not in known:
        raise InputError(
            "unknown benchmark",
            where=where or f"item {record.item} epoch {record.epoch}",
            found=record.benchmark,
            expected=" or ".join(known) + ", or a record with the definition of its benchmark",
            hint=hint,
        )
    return known[record.benchmark]


@cache
def _carried(text: str) -> Benchmark:
    try:
        return Benchmark.model_validate_json(text)
    except ValidationError as error:
        raise InputError(
            "invalid definition of a benchmark in a record",
            found=problem_text(error.errors(include_url=False)[0]),
        ) from None


def _read(file: Path) -> Benchmark:
    keys = "the keys and values of docs/extending.md; `value-retention check --schema` prints the schema"
    return read_yaml(file, Benchmark, "benchmark", keys)
