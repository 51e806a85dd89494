"""What a benchmark is once its definition has been read: tables, dimensions, items, judging.

`definition` makes these values from a ``benchmark.yaml``. Nothing here or after it knows a benchmark by its name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from value_retention.tasks.scale import Scale

RUBRIC = "rubric"
"""Name of the one dimension of a benchmark whose questions bring a rubric each."""


@dataclass(frozen=True)
class Dimension:
    """One criterion that the judge grades."""

    name: str
    guiding_question: str
    """May hold placeholders such as ``{{animal}}``, filled from the item's variables."""
    indicators: str
    weight: float = 1.0


@dataclass(frozen=True)
class Item:
    """One question in one language."""

    id: str
    cluster: str
    """The unit of resampling: the renderings of one question, say. See `Benchmark.cluster`."""
    question: str
    language: str
    """BCP-47 tag."""
    language_raw: str | None
    dimensions: tuple[str, ...]
    variables: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Placeholder name and its values, in the data's order."""
    source: str | None = None
    translation: str | None = None
    rubric: str | None = None
    """What the judge is told about this question alone."""
    turns: tuple[str, ...] = ()
    """What the user says after each answer. The last answer is judged."""


@dataclass(frozen=True)
class Table:
    """Where one of the two tables of a benchmark lives: on the hub or in a folder, and its columns."""

    folder: str
    """Path below the data folder: a file, or a folder with the hub's files (repository's name, then the config's)."""
    names: tuple[tuple[str, str], ...]
    """Field and its column. A column that the data lack counts as empty, unless it is in `columns`."""
    columns: tuple[str, ...]
    """Required columns."""
    repo: str | None = None
    """Dataset on the hub. None for a table that is in a folder only."""
    config: str | None = None
    revision: str = ""
    """A commit. Tags move."""

    def column(self, name: str) -> str:
        """Column of a field."""
        return dict(self.names)[name]


@dataclass(frozen=True)
class Prompt:
    """The judge prompt: imported from Inspect or Inspect Evals, or a text."""

    module: str = ""
    """Module of the imported prompt. Empty for a text."""
    name: str = ""
    sha256: str = ""
    """Hash of the imported prompt."""
    text: str = ""

    @property
    def source(self) -> str:
        """Module and name, or empty for a text."""
        return f"{self.module}:{self.name}" if self.module else ""

    @property
    def known(self) -> dict[str, str]:
        """The hash that an imported prompt should have, by `source`. Empty for a text."""
        return {self.source: self.sha256} if self.module else {}


@dataclass(frozen=True)
class Benchmark:
    """Everything that differs between benchmarks. They share one code path."""

    name: str
    """Name in records and reports."""
    task_name: str
    """Name of the task in both harnesses."""
    title: str
    short_title: str
    version: str
    """Comparability number and interface letter, as Inspect Evals numbers them (``6-D``). The number changes if
    scores can change."""
    questions: Table
    dimensions: Table | tuple[Dimension, ...]
    """A table, or the dimensions themselves. Empty if each question has a rubric instead."""
    prompt: Prompt
    scale: Scale
    epochs: int
    default_language: str | None
    """Language of a row whose language is null. If None, null is an error."""
    cluster: Literal["id", "english_text", "column"]
    """Which questions are resampled together: those with one id (the translations of a question), those with one
    English text (see `data.english_cluster`), or those with one value in `cluster_column`."""
    cluster_column: str
    row_problem: Literal["drop", "error"]
    """What happens to a row without a question or without a known dimension."""
    unknown_tag: Literal["drop_row", "drop_name"]
    translated: bool
    """True if each language of a question is a separate row with the same id."""
    fold_names: bool
    """Whether dimension names are lower-cased, including those in the judge prompt."""
    turns: tuple[str, ...] = ()
    """What the user says after each answer, in questions that bring no turns of their own."""
    size: int | None = None
    """Questions that are scored. None if the definition does not say."""
    temperature: float = 1.0
    """Temperature of the tested model, in both harnesses."""
    max_tokens: int = 2048
    """Maximum length of an answer in tokens."""
    upstream_names: tuple[str, ...] = ()
    """Names of the same benchmark in Inspect Evals, whose logs are read."""
    definition: str = ""
    """The definition as JSON, which records carry. Empty for a benchmark of this package."""
    home: str = field(default="", compare=False)
    """Folder of the definition and its tables. Empty for a benchmark of this package, and one read from a record."""

    @property
    def weighted(self) -> bool:
        """Whether dimensions have weights, so that ``dimension_normalized_avg`` is reported."""
        if isinstance(self.dimensions, Table):
            return "weight" in dict(self.dimensions.names)
        return len({dimension.weight for dimension in self.dimensions}) > 1

    @property
    def pinned(self) -> str:
        """The data revision of a record with the pinned tables: one commit if both share it, otherwise both."""
        own = self.dimensions.revision if isinstance(self.dimensions, Table) else ""
        return joint_revision(self.questions.revision, own or self.questions.revision)


def joint_revision(questions: str, dimensions: str) -> str:
    """The data revision in a record: one commit if both tables share it, otherwise both."""
    return questions if questions == dimensions else f"{questions}+{dimensions}"
