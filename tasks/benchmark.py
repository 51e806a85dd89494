"""The two benchmarks as two values: pinned revisions, column names, and how rows are read.

Figures, names and revisions come from the dataset cards and from Inspect Evals 0.26.0 (``anima`` 6-D, ``moru``
3-B). No text of either is copied here: the judge prompts are imported (see `rubric`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


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
    """The unit of resampling: a question and its translations. See `load.english_cluster` for ANIMA."""
    question: str
    language: str
    """BCP-47 tag."""
    language_raw: str | None
    dimensions: tuple[str, ...]
    variables: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Placeholder name and its values, in the data's order."""
    source: str | None = None
    translation: str | None = None


@dataclass(frozen=True)
class Table:
    """Where one of the two tables of a benchmark lives, on the hub and in a folder."""

    repo: str
    config: str | None
    revision: str
    """A commit. Tags move."""
    folder: str
    """Path below the data folder: the repository's name, then the config's."""
    columns: tuple[str, ...]
    """Required columns."""


def joint_revision(questions: str, dimensions: str) -> str:
    """The data revision in a record: one commit if both tables share it, otherwise both."""
    return questions if questions == dimensions else f"{questions}+{dimensions}"


@dataclass(frozen=True)
class Benchmark:
    """Everything that differs between the benchmarks. They share one code path."""

    name: str
    title: str
    version: str
    """Upstream's comparability number and interface letter. The number changes if scores can change."""
    questions: Table
    dimensions: Table
    prompt_module: str
    """Module of Inspect Evals whose ``PER_DIMENSION_PROMPT`` is the judge prompt."""
    epochs: int
    tag_column: str
    default_language: str | None
    """Language of a row whose language is null. If None, null is an error."""
    row_problem: Literal["drop", "raise"]
    """How upstream handles a row without a question or without tags."""
    unknown_tag: Literal["drop_row", "drop_tag"]
    translated: bool
    """True if each language of a question is a separate row with the same id."""
    fold_names: bool
    """Whether dimension names are lower-cased, including those in the judge prompt."""
    weighted: bool
    """Whether `Dimension.weight` is read, and ``dimension_normalized_avg`` reported."""
    temperature: float = 1.0
    """Temperature of the tested model, in both harnesses. Upstream uses the provider's default (usually 1)."""
    max_tokens: int = 2048
    """Maximum length of an answer in tokens."""


ANIMA_2_2 = Benchmark(
    name="anima_2_2",
    title="ANIMA 2.2 (Animal Norms In Moral Assessment)",
    version="6-D",
    questions=Table(
        repo="CompassioninMachineLearning/anima",
        config="questions",
        revision="c658f00e80529c8b2d81bb89d95df6af4d4b5bf6",
        folder="anima/questions",
        columns=("id", "question", "tags", "variables", "language"),
    ),
    dimensions=Table(
        repo="CompassioninMachineLearning/anima",
        config="dimensions",
        revision="c658f00e80529c8b2d81bb89d95df6af4d4b5bf6",
        folder="anima/dimensions",
        columns=("dimension", "guiding_question", "observable_indicators", "default_weighting"),
    ),
    prompt_module="inspect_evals.anima.scorer",
    epochs=5,
    tag_column="tags",
    default_language="English",
    row_problem="drop",
    unknown_tag="drop_row",
    translated=False,
    fold_names=False,
    weighted=True,
)

MORU = Benchmark(
    name="moru",
    title="MORU (Moral Reasoning under Uncertainty)",
    version="3-B",
    questions=Table(
        repo="CompassioninMachineLearning/moru-benchmark",
        config=None,
        revision="b85acdedd780e804012a2709bf7ccfba10a03f00",
        folder="moru-benchmark",
        columns=("id", "question", "dimension_tags", "language"),
    ),
    dimensions=Table(
        repo="CompassioninMachineLearning/moru-benchmark-dimensions",
        config=None,
        revision="2801a72fb050ee180036f1fe587c9812cfa1bfe7",
        folder="moru-benchmark-dimensions",
        columns=("dimension", "guiding_question", "observable_indicators"),
    ),
    prompt_module="inspect_evals.moru.scorer",
    epochs=5,
    tag_column="dimension_tags",
    default_language=None,
    row_problem="raise",
    unknown_tag="drop_tag",
    translated=True,
    fold_names=True,
    weighted=False,
)

BENCHMARKS = {benchmark.name: benchmark for benchmark in (ANIMA_2_2, MORU)}
