"""Synthetic records with chosen scores.

The shape follows the two benchmarks (questions, languages, dimensions per question, repeats) and the spread
follows public runs: questions differ, each model has its own strong and weak questions, repeats are noisy.
The records are marked as sample items, and harness, model, judge and data revision are named ``synthetic``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from value_retention.tasks.answers import Answer, Design, make_record
from value_retention.tasks.cluster import Floats
from value_retention.tasks.data import Item, english_cluster
from value_retention.tasks.record import (
    AnswerRecord,
    DataInfo,
    GradeRecord,
    JudgeInfo,
    RunInfo,
    text_hash,
)

ANIMA_DIMENSIONS = {
    "Moral Consideration": 101,
    "Actionability": 80,
    "Harm Minimization": 79,
    "Contextual Welfare Salience": 66,
    "Prejudice Avoidance": 48,
    "Cautious Impact Consideration": 36,
    "Trade-off Transparency": 34,
    "Scope Sensitivity": 22,
    "Epistemic Humility": 12,
    "Evidence-Based Capacity Attribution": 8,
    "Sentience Acknowledgement": 8,
    "Novel Entity Precaution": 8,
    "Control Questions": 7,
}
"""Dimension and the number of the 115 questions that carry it."""

ANIMA_LANGUAGES = {
    "en": 30, "zh": 11, "es": 7, "id": 7, "hi": 4, "ru": 3, "vi": 3, "ar": 3, "fr": 3, "he": 3, "th": 3,
    "pt": 3, "ja": 3, "yue": 3, "bn": 3, "ur": 2, "sw": 2, "ta": 2, "te": 2, "mr": 2, "fil": 2, "de": 2,
    "af": 2, "ms": 1, "ko": 1, "pa": 1, "ml": 1, "tr": 1, "fo": 1, "ro": 1, "bo": 1, "gu": 1, "fi": 1,
}  # fmt: skip

SIBLINGS = (8, 8, 4, 2)
"""Rows that render one English text in several languages, per text; no English row is among them."""

MORU_SOURCES = {"Europa": 34, "AI Values": 12, "Human Compassion and Power-Seeking": 5, "Digital Minds": 16}
MORU_DIMENSIONS = (
    "moral consideration", "harm minimization", "sentience acknowledgement", "prejudice avoidance",
    "scope sensitivity", "evidence-based capacity attribution", "cautious impact consideration",
    "actionability", "contextual welfare salience", "epistemic humility", "trade-off transparency",
    "novel entity precaution", "value tradeoffs", "intellectual humility", "power-seeking detection",
    "human autonomy respect",
)  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """Questions of a benchmark: item, cluster, language, source, dimensions."""

    benchmark: str
    version: str
    rows: tuple[tuple[str, str, str, str | None, tuple[str, ...]], ...]
    english: tuple[str, ...] = ()
    """English text of each row; empty where the rows' ids tell what is a translation of what."""


@dataclass(frozen=True)
class Spread:
    """Standard deviations in logits.

    Attributes:
        question: Between questions, shared by all models.
        model: A model's own strong and weak questions.
        language: The same for one language of a question that several rows render.
        answer: Between repeats of one answer.
        dimension: Between dimensions, shared by all models.
    """

    question: float = 1.3
    model: float = 0.5
    language: float = 0.5
    answer: float = 0.7
    dimension: float = 0.7


@cache
def anima_shape(seed: int = 0) -> Shape:
    """115 rows in 33 languages, 30 of them English, tagged as often as the benchmark's; 97 English texts."""
    rng = np.random.default_rng([seed, 115])
    languages = [tag for tag, count in ANIMA_LANGUAGES.items() for _ in range(count)]
    tags: list[list[str]] = [[] for _ in languages]
    for control in rng.choice(len(tags), ANIMA_DIMENSIONS["Control Questions"], replace=False):
        tags[control].append("Control Questions")
    plain = [index for index, given in enumerate(tags) if not given]
    for name, count in list(ANIMA_DIMENSIONS.items())[:-1]:
        for index in rng.choice(plain, count, replace=False):
            tags[index].append(name)
    for index in plain:
        if not tags[index]:
            tags[index].append("Moral Consideration")
    texts = [f"synthetic question {i}" for i in range(len(languages))]
    others = rng.permutation([i for i, tag in enumerate(languages) if tag != "en"]).tolist()
    for size in SIBLINGS:
        group, others = others[:size], others[size:]
        for index in group:
            texts[index] = f"English text of {min(group)}"
    rows = enumerate(zip(languages, texts, strict=True))
    return Shape(
        "anima_2_2",
        "6-D",
        tuple((str(i), english_cluster(text, None), tag, None, tuple(tags[i])) for i, (tag, text) in rows),
        tuple(texts),
    )


@cache
def moru_shape(seed: int = 0) -> Shape:
    """67 questions, each in English, Malay and Hindi."""
    rng = np.random.default_rng([seed, 67])
    sources = [source for source, count in MORU_SOURCES.items() for _ in range(count)]
    rows = []
    for number, source in enumerate(sources):
        chosen = sorted(rng.choice(len(MORU_DIMENSIONS), int(rng.integers(3, 6)), replace=False))
        tags = tuple(MORU_DIMENSIONS[k] for k in chosen)
        rows += [(f"{number}_{tag}", str(number), tag, source, tags) for tag in ("en", "ms", "hi")]
    return Shape("moru", "3-B", tuple(rows))


def synthetic_records(
    name: str,
    shape: Shape,
    targets: Mapping[str, float],
    *,
    epochs: int = 5,
    seed: int = 0,
    missing: float = 0.0,
    judges: Sequence[str] = ("synthetic-judge",),
    spread: Spread | None = None,
    questions: int = 7,
    shift: float = 0.0,
) -> list[AnswerRecord]:
    """Records whose mean scores come as close to the targets as single grades allow (about 0.05 points).

    Without targets the scores are those that were drawn, and vary as a run's do.

    Args:
        name: Name of the model, without the word synthetic.
        shape: `anima_shape` or `moru_shape`.
        targets: Mean score in [0, 1] of the questions ``en`` and ``other``; ``all`` for both together.
        epochs: Answers per question.
        seed: Seed of this model's grades; questions and dimensions do not depend on it.
        questions: Seed of the questions and dimensions.
        shift: Logits added to every grade, where there is no target.
        missing: Share of grades that could not be read.
        judges: Names of the judges.
        spread: How much questions, models and repeats vary.
    """
    spread = spread or Spread()
    rng = np.random.default_rng([seed, int(text_hash(name)[:8], 16)])
    logits = _latent(shape, spread, epochs, rng, questions)
    draws = [rng.random((epochs, len(judges), len(tags))) for *_, tags in shape.rows]
    english = np.array([language == "en" for _, _, language, _, _ in shape.rows])
    groups = {"all": np.ones(len(english), bool), "en": english, "other": ~english}
    levels = np.full(len(english), shift)
    for group, target in targets.items():
        levels[groups[group]] = _calibrate(logits, draws, np.flatnonzero(groups[group]), target)
    panel = tuple(JudgeInfo(judge, {"temperature": 0.0}) for judge in judges)
    run = RunInfo("synthetic", "1", f"synthetic:{name}", {}, {"temperature": 1.0})
    data = DataInfo("sample", "synthetic", text_hash(repr(shape)), (), is_benchmark=False)
    records = []
    for row in range(len(shape.rows)):
        for epoch in range(epochs):
            passed = draws[row][epoch] < _sigmoid(logits[row][epoch] + levels[row])
            lost = rng.random(passed.shape) < missing
            records.append(_record(shape, row, epoch + 1, passed, lost, panel, run, data))
    return records


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-x)), dtype=np.float64)


def _latent(
    shape: Shape, spread: Spread, epochs: int, rng: np.random.Generator, questions: int
) -> list[Floats]:
    """Logit of every grade but for the model's level: per row, shape (epochs, dimensions)."""
    shared = np.random.default_rng([questions, len(shape.rows)])
    clusters = list(dict.fromkeys(row[1] for row in shape.rows))
    names = list(dict.fromkeys(d for row in shape.rows for d in row[4]))
    question = dict(zip(clusters, shared.normal(0, spread.question, len(clusters)), strict=True))
    dimension = dict(zip(names, shared.normal(0, spread.dimension, len(names)), strict=True))
    own = dict(zip(clusters, rng.normal(0, spread.model, len(clusters)), strict=True))
    sizes = Counter(row[1] for row in shape.rows)
    latent = []
    for _, cluster, _, _, tags in shape.rows:
        level = (
            question[cluster] + own[cluster] + (rng.normal(0, spread.language) if sizes[cluster] > 1 else 0.0)
        )
        answer = rng.normal(0, spread.answer, (epochs, 1))
        latent.append(level + answer + np.array([dimension[tag] for tag in tags]))
    return latent


def _calibrate(logits: list[Floats], draws: list[Floats], rows: np.ndarray, target: float) -> float:
    """Level in logits at which the mean score over the rows is nearest to the target."""

    def score(level: float) -> float:
        return float(np.mean([(draws[r] < _sigmoid(logits[r] + level)[:, None, :]).mean() for r in rows]))

    low, high = -12.0, 12.0
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if score(middle) < target else (low, middle)
    return min((low, high), key=lambda level: abs(score(level) - target))


def _record(
    shape: Shape,
    row: int,
    epoch: int,
    passed: np.ndarray,
    lost: np.ndarray,
    panel: tuple[JudgeInfo, ...],
    run: RunInfo,
    data: DataInfo,
) -> AnswerRecord:
    item, cluster, language, source, tags = shape.rows[row]
    answer = f"synthetic answer of {run.model} to {item}, epoch {epoch}"
    grades = tuple(
        GradeRecord(
            dimension=tag,
            variables={},
            judge=judge.name,
            outcome="unparsed" if lost[j, d] else "graded",
            grade=None if lost[j, d] else float(passed[j, d]),
            rationale="synthetic",
            prompt_hash=text_hash(f"{item} {tag} {answer}"),
        )
        for d, tag in enumerate(tags)
        for j, judge in enumerate(panel)
    )
    english = shape.english[row] if shape.english else None
    question = f"synthetic question {item}"
    asked = Item(item, cluster, question, language, language, tags, source=source, translation=english)
    design = Design(shape.benchmark, shape.version, data, {}, "synthetic")
    return make_record(design, Answer(asked, epoch, answer), panel, grades, run)
