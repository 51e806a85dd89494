"""``benchmark.yaml``: a benchmark as data. Read, checked, and turned into a `Benchmark`.

The two benchmarks of this package are defined in the same way, in ``anima_2_2/benchmark.yaml`` and
``moru_multi/benchmark.yaml``. ``benchmark.schema.json`` is the schema for editors.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from value_retention.tasks.benchmark import Benchmark, Dimension, Prompt, Table
from value_retention.tasks.errors import InputError
from value_retention.tasks.languages import language_tag
from value_retention.tasks.record import AnswerRecord, canonical_json
from value_retention.tasks.scale import CORRECT, Scale, bare_label

FILE = "benchmark.yaml"
FIELDS = (
    *("question", "answer", "instructions", "rubric"),
    *("criterion", "dimension", "guiding_question", "indicators"),
)
"""What a prompt of a definition's own may hold in braces."""
STEPS = 1000
"""Largest number of grades on a scale of numbers."""


_KINDS = {
    "import": "ImportedPrompt",
    "text": "OwnPrompt",
    "labels": "Labels",
    "column": "Column",
    **dict.fromkeys(("from", "to", "step"), "Numbers"),
    **dict.fromkeys(("hub", "table"), "DimensionTable"),
}
"""Member of a union by a key that it alone has."""


def _kind(value: Any) -> str:
    """Which member of a union a value is meant for, so that an error is about that one alone."""
    if isinstance(value, BaseModel):
        return type(value).__name__
    if not isinstance(value, Mapping):
        return "list" if isinstance(value, list) else "word"
    return next((kind for key, kind in _KINDS.items() if key in value), "mapping")


def _one_of(expected: str) -> Discriminator:
    return Discriminator(_kind, custom_error_type="unknown_kind", custom_error_message=f"expected {expected}")


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,79}$")]
Text = Annotated[str, Field(min_length=1)]


class Strict(BaseModel):
    """A mapping without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Hub(Strict):
    """A dataset on the Hugging Face Hub, at a commit."""

    repo: str = Field(pattern=r"^[\w.-]+/[\w.-]+$", description="Owner and name.")
    config: str | None = Field(default=None, description="Configuration (subset) of the dataset.")
    revision: str = Field(
        pattern=r"^[0-9a-f]{40}$", description="Commit of 40 digits. Tags and branches move."
    )


class Source(Strict):
    """A table: a dataset on the hub, or a file beside the definition."""

    hub: Hub | None = Field(default=None, description="A dataset on the hub. Its split `train` is read.")
    table: Text | None = Field(
        default=None, description="CSV, JSON Lines or Parquet file beside this file, or a folder of them."
    )

    @model_validator(mode="after")
    def _one(self) -> Source:
        if (self.hub is None) == (self.table is None):
            raise ValueError("give either `hub` or `table`")
        return self

    def place(self, columns: Strict) -> Table:
        """The table, with the names of its columns. Those that are written down are required."""
        names = columns.model_dump()
        required = tuple(
            names[name] for name in type(columns).model_fields if name in columns.model_fields_set
        )
        pairs = tuple((field, column) for field, column in names.items() if column is not None)
        if self.hub is None:
            return Table(str(self.table), pairs, required)
        folder = self.hub.repo.rpartition("/")[2] + (f"/{self.hub.config}" if self.hub.config else "")
        return Table(folder, pairs, required, self.hub.repo, self.hub.config, self.hub.revision)


class QuestionColumns(Strict):
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


class Questions(Source):
    """The table of questions."""

    columns: QuestionColumns = QuestionColumns()


class DimensionColumns(Strict):
    """Column of each field of a dimension."""

    name: Text = "name"
    guiding_question: Text = "guiding_question"
    indicators: Text = "indicators"
    weight: Text | None = Field(
        default=None, description="Column of the weights. Without it, all dimensions count alike."
    )


class DimensionTable(Source):
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

    import_: str = Field(
        alias="import", pattern=r"^inspect_(ai|evals)(\.\w+)*:\w+$", description="MODULE:NAME of the text."
    )
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")

    def value(self) -> Prompt:
        """The prompt."""
        module, _, name = self.import_.partition(":")
        return Prompt(module, name, self.sha256)


class OwnPrompt(Strict):
    """A prompt of the definition's own."""

    text: str = Field(description="The prompt. Fields: " + ", ".join(f"{{{name}}}" for name in FIELDS))

    @field_validator("text")
    @classmethod
    def _holds_the_answer(cls, text: str) -> str:
        lacking = [f"{{{name}}}" for name in ("question", "answer") if f"{{{name}}}" not in text]
        if lacking:
            raise ValueError(f"the prompt lacks {' and '.join(lacking)}")
        return text

    def value(self) -> Prompt:
        """The prompt."""
        return Prompt(text=self.text)


class Numbers(Strict):
    """Grades from the worst to the best number."""

    from_: float = Field(alias="from", allow_inf_nan=False, description="The worst grade, worth 0.")
    to: float = Field(allow_inf_nan=False, description="The best grade, worth 1.")
    step: float = Field(default=1.0, gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _whole_steps(self) -> Numbers:
        steps = (self.to - self.from_) / self.step
        if not 1 <= round(steps) <= STEPS or not math.isclose(steps, round(steps), abs_tol=1e-6):
            raise ValueError(f"`from` must be below `to`, and a whole number of at most {STEPS} steps apart")
        return self

    def worth(self) -> tuple[tuple[str, float], ...]:
        """Each grade, in digits without an exponent, and its worth: the worst is worth 0, the best 1."""
        count = round((self.to - self.from_) / self.step)
        # Sums of steps such as 0.1 are not exact. Adding 0 makes 0 of -0.
        grades = (round(self.from_ + n * self.step, 9) + 0 for n in range(count + 1))
        return tuple((f"{Decimal(f'{grade:.15g}'):f}", n / count) for n, grade in enumerate(grades))


class Labels(Strict):
    """Labels and what each is worth."""

    labels: dict[Annotated[str, Field(min_length=1)], Annotated[float, Field(ge=0, le=1)]] = Field(
        min_length=2
    )

    @field_validator("labels")
    @classmethod
    def _apart(cls, labels: dict[str, float]) -> dict[str, float]:
        bare = {bare_label(label) for label in labels}
        if len(bare) < len(labels) or "" in bare:
            raise ValueError("two labels differ in case, space or marks only, or one has marks only")
        if len(set(labels.values())) < 2:
            raise ValueError("all labels are worth the same")
        return labels


class JudgeDefinition(Strict):
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
    def _readable(self) -> JudgeDefinition:
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

    def scale(self) -> Scale:
        """The grades on offer."""
        match self.grades:
            case Numbers():
                return Scale("numbers", self.grades.worth(), self.pattern)
            case Labels():
                return Scale("labels", tuple(self.grades.labels.items()), self.pattern)
        return CORRECT


class Sampling(Strict):
    """How the tested model's answers are drawn, in both harnesses."""

    temperature: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    max_tokens: int = Field(default=2048, ge=1, description="Maximum length of an answer in tokens.")


class Definition(Strict):
    """A benchmark: open questions whose answers a judge grades."""

    name: Name = Field(description="Name in records, tables and reports.")
    task_name: Name | None = Field(
        default=None, description="Name of the task in both harnesses, if it is another."
    )
    title: Text
    short_title: Text | None = Field(default=None, description="Title in tables.")
    version: str = Field(
        default="1-A",
        pattern=r"^\d+-[A-Z]+$",
        description="Number and letter. Raise the number whenever scores can change, the letter with the options.",
    )
    license: str | None = Field(default=None, description="Licence of the questions.")
    citation: str | None = None
    size: int | None = Field(default=None, ge=1, description="How many questions are scored.")
    questions: Questions | None = None
    dimensions: (
        Annotated[
            Annotated[DimensionTable, Tag("DimensionTable")]
            | Annotated[list[ListedDimension], Field(min_length=1), Tag("list")],
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
    turns: list[Text] = Field(
        default_factory=list, description="What the user says after each answer. The last answer is graded."
    )
    judge: JudgeDefinition
    epochs: int = Field(default=1, ge=1, description="Answers to each question.")
    sampling: Sampling = Sampling()
    inspect_evals: list[str] = Field(
        default_factory=list, description="Tasks of Inspect Evals with the same questions and judging."
    )

    @field_validator("language")
    @classmethod
    def _known_language(cls, name: str | None) -> str | None:
        if name is not None and language_tag(name) is None:
            raise ValueError("neither a BCP-47 tag nor the English name of a language")
        return name

    def benchmark(self, home: str = "", packaged: bool = False) -> Benchmark:
        """The benchmark that this defines."""
        table = self.questions or Questions(hub=None, table="?")
        listed: Table | tuple[Dimension, ...] = ()
        if isinstance(self.dimensions, DimensionTable):
            listed = self.dimensions.place(self.dimensions.columns)
        elif self.dimensions:
            listed = tuple(
                Dimension(d.name, d.guiding_question, d.indicators, d.weight) for d in self.dimensions
            )
        return Benchmark(
            name=self.name,
            task_name=self.task_name or self.name,
            title=self.title,
            short_title=self.short_title or self.name,
            version=self.version,
            questions=table.place(table.columns),
            dimensions=listed,
            prompt=self.judge.prompt.value(),
            scale=self.judge.scale(),
            epochs=self.epochs,
            default_language=self.language,
            cluster="column" if isinstance(self.cluster, Column) else self.cluster,
            cluster_column=self.cluster.column if isinstance(self.cluster, Column) else "",
            row_problem=self.rows.incomplete,
            unknown_tag=self.rows.unknown_dimension,
            translated=self.rows.translated,
            fold_names=self.rows.lower_case_dimensions,
            turns=tuple(self.turns),
            size=self.size,
            temperature=self.sampling.temperature,
            max_tokens=self.sampling.max_tokens,
            upstream_names=tuple(self.inspect_evals),
            definition="" if packaged else canonical_json(self.values()),
            home=home,
        )

    def values(self) -> dict[str, Any]:
        """The definition as JSON values, as far as it was written down."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


def schema() -> dict[str, Any]:
    """JSON schema of a definition, for editors."""
    return Definition.model_json_schema(by_alias=True) | {"title": "Benchmark of value-retention"}


# -- reading --------------------------------------------------------------------------------------------------


def read_definition(path: str | Path) -> Benchmark:
    """Read a benchmark from its ``benchmark.yaml``. Its tables are read later (see `data.load`).

    Args:
        path: The file, or its folder.

    Raises:
        InputError: no such file, invalid YAML, or an invalid value. Names the line.
    """
    file = Path(path).expanduser()
    file = file / FILE if file.is_dir() else file
    definition = _definition(file)
    if definition.questions is None:
        raise InputError("a benchmark needs questions", where=str(file), expected="the key `questions`")
    taken = packaged_names()
    if taken & {definition.name, definition.task_name}:
        raise InputError(
            "the name belongs to a benchmark of this package",
            where=f"{file}, name",
            found=definition.task_name or definition.name,
            expected=f"a name other than {', '.join(sorted(taken))}",
        )
    return definition.benchmark(str(file.resolve().parent))


@cache
def packaged() -> dict[str, Benchmark]:
    """The benchmarks of this package, by name."""
    files = sorted(Path(__file__).parent.glob(f"*/{FILE}"))
    found = [_definition(file).benchmark(packaged=True) for file in files]
    return {benchmark.name: benchmark for benchmark in found}


def packaged_names() -> set[str]:
    """Names of this package's benchmarks and of their tasks."""
    return {name for b in packaged().values() for name in (b.name, b.task_name)}


def packaged_prompts() -> dict[str, str]:
    """The imported prompts of this package's benchmarks, and the hash of each."""
    return {source: digest for b in packaged().values() for source, digest in b.prompt.known.items()}


def benchmark_of(record: AnswerRecord, where: str | None = None, hint: str | None = None) -> Benchmark:
    """The benchmark of a record: one of this package, or the one whose definition the record carries.

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


def find_benchmark(name: str, where: str) -> Benchmark:
    """A benchmark by its name, the name of its task, or the path of its ``benchmark.yaml``.

    Raises:
        InputError: none of these, or an invalid definition.
    """
    for benchmark in packaged().values():
        if name in (benchmark.name, benchmark.task_name):
            return benchmark
    if name.endswith((".yaml", ".yml")) or Path(name).expanduser().is_dir():
        return read_definition(name)
    names = dict.fromkeys(b.task_name for b in packaged().values())
    raise InputError(
        "unknown benchmark", where=where, found=name, expected=f"{', '.join(names)}, or the path of a {FILE}"
    )


@cache
def _carried(text: str) -> Benchmark:
    try:
        return Definition.model_validate_json(text).benchmark()
    except ValidationError as error:
        raise InputError(
            "invalid definition of a benchmark in a record", found=_said(error.errors(include_url=False)[0])
        ) from None


def _definition(file: Path) -> Definition:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        reader = loader(file.read_text("utf-8"))
        node = reader.get_single_node()
        values = None if node is None else reader.construct_document(node)
    except OSError as error:
        raise InputError(
            "cannot read the benchmark", where=str(file), found=error.strerror, expected=f"a {FILE}"
        ) from None
    except (yaml.YAMLError, UnicodeError) as error:
        raise InputError("invalid YAML", where=str(file), found=str(error)) from None
    try:
        return Definition.model_validate(values)
    except ValidationError as error:
        raise _refusal(file, node, error) from None


def _refusal(file: Path, node: Any, error: ValidationError) -> InputError:
    """One message for all that is wrong, by line."""
    found: dict[tuple[int, str], str] = {}
    for problem in error.errors(include_url=False):
        place, line = _place(node, problem["loc"])
        found.setdefault(
            (line, place), f"line {line}, {place}: {_said(problem)}" if place else _said(problem)
        )
    shown = [found[key] for key in sorted(found)]
    return InputError(
        "invalid benchmark",
        where=str(file),
        found="".join(f"\n    - {sentence}" for sentence in shown[:10])
        + (f"\n    - {len(shown) - 10} more" if len(shown) > 10 else ""),
        expected="the keys and values of docs/extending.md; `value-retention check --schema` prints the schema",
    )


def _place(node: Any, loc: tuple[int | str, ...]) -> tuple[str, int]:
    """Keys and line (from 1) of the value that an error is about. Pydantic's names of union members are left out."""
    keys: list[str] = []
    line = node.start_mark.line + 1 if node is not None else 1
    for part in loc:
        step = None
        if (
            isinstance(part, int)
            and isinstance(getattr(node, "value", None), list)
            and part < len(node.value)
        ):
            step = (node.value[part], node.value[part])
        elif type(node).__name__ == "MappingNode":
            step = next(((key, value) for key, value in node.value if key.value == part), None)
        if step is not None:
            line, node = step[0].start_mark.line + 1, step[1]
            keys.append(str(part))
        elif part == loc[-1] and part not in _CHOICES:
            keys.append(str(part))
    return ".".join(keys), line


_CHOICES = {*_KINDS.values(), "list", "word", "[key]"}


def _said(problem: Mapping[str, Any]) -> str:
    message = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "missing":
        return "missing"
    if problem["type"] == "extra_forbidden":
        return "unknown key"
    value = problem["input"]
    shown = f" (found {json.dumps(value, ensure_ascii=False, default=str)[:80]})"
    return message[:1].lower() + message[1:] + (shown if isinstance(value, str | int | float) else "")
