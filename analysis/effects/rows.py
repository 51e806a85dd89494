"""Rows of a result: a score, an effect, a contrast between languages; and reasons for missing values.

Scores are in per cent, differences in percentage points. A value that cannot be computed is None, and the
row's ``reasons`` says why.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from value_retention.analysis.effects.verdicts import Verdict
from value_retention.analysis.runs.align import Kind
from value_retention.analysis.stats.cluster import MIN_CLUSTERS
from value_retention.analysis.stats.fieller import Ratio
from value_retention.analysis.stats.seeds import SeedInterval

NO_SCORE = "no question has a score in every run compared"
FEW = f"fewer than {MIN_CLUSTERS} clusters: described, not tested"
CONSTANT = "every cluster gives the same value: no spread to estimate from"
NO_SIDES = "a difference between differences: its sides are not scores"
ONE_SEED_ONLY = "one training run in an arm"
NOT_GATED = "the same is not shown of the overall mean"
ONE_EPOCH = "one answer per question: their randomness is unknown"
ZERO = "the effect on English questions may be 0"
NO_GAIN = "the gain before post-training is 0"

ComparisonKind = Literal[
    "pair", "gain over base", "domain effect", "domain effect by data", "same domain, other data",
    "domain x method", "mitigation",
]  # fmt: skip

Tier = Literal["primary", "secondary", "exploratory"]

Design = Literal["independent groups (Welch)", "paired by question", "matched translations"]


@dataclass(frozen=True)
class Score:
    """One figure of one run, per cent, with its Wilson interval over clusters."""

    benchmark: str
    run: str
    kind: Kind
    metric: str
    clusters: int
    questions: int
    answers: int
    grades: int
    grades_missing: int
    score: float | None
    low: float | None
    high: float | None
    reasons: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Interval:
    """A t interval of a difference, points, at the level of the settings and not adjusted for other tests.

    Attributes:
        se: Standard error.
        df: Degrees of freedom.
        low: Lower end.
        high: Upper end.
        p: Two-sided t p.
    """

    se: float
    df: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class Effect:
    """One figure of one comparison: ``run`` less ``baseline``, points.

    Attributes:
        benchmark: ``anima_2_2`` or ``moru``.
        comparison: Kind of the comparison.
        statement: The comparison in words.
        baseline: Side that is subtracted: a run's name, or what its runs share.
        run: The other side.
        weights: Weight of each run in the comparison.
        kind: Kind of the figure.
        metric: Name of the figure, as both harnesses print it.
        tier: ``primary``, ``secondary`` or ``exploratory``; the last has no verdict.
        clusters: Independent units: questions, whose renderings in several languages count once.
        questions: Rows scored in every run.
        answers_baseline: Answers behind the baseline's side.
        answers_run: Answers behind the other side.
        grades: Grades expected, all runs.
        grades_missing: Of those, without a grade.
        score_baseline: Per cent, over the questions scored in every run; None where the side is not a mean of runs.
        score_run: The same for ``run``.
        baseline_low: Lower end of the Wilson interval of ``score_baseline``.
        baseline_high: Upper end.
        difference: Estimate.
        se: Standard error over the verdict's unit.
        df: Degrees of freedom of the t interval.
        t_low: Lower end of the t interval at the level of the settings, not adjusted for other tests.
        t_high: Upper end.
        boot_low: Lower end of the percentile cluster bootstrap.
        boot_high: Upper end.
        boot_p: Its two-sided p: twice the smaller share of resamples that reach 0, plus one.
        p: Two-sided t p, which agrees with ``t_low`` and ``t_high``.
        worst_low: Smallest possible difference, with every missing grade against it.
        worst_high: Largest possible difference.
        worst_low_se: Standard error of ``worst_low``.
        worst_high_se: Standard error of ``worst_high``.
        detectable: Minimum detectable effect at 80 % power, points.
        unit: What the interval, p and verdict generalise to.
        new_questions: Interval for other questions like these.
        these_questions: Interval for these questions, only the answers being random.
        seeds: Interval over new training seeds; None with one seed per arm.
        family: Tests that are corrected together.
        family_size: Their number.
        level: Level of ``low`` and ``high``; None for an exploratory figure, which has no adjusted interval.
        low: Lower end of the adjusted interval, from which the verdict is read.
        high: Upper end.
        p_adjusted: Adjusted p of the test against 0; agrees with ``low`` and ``high``.
        q: Benjamini-Hochberg q of an exploratory figure.
        verdict: None without a margin, and for an exploratory figure.
        verdict_holds: False where the missing grades could overturn the verdict.
        needed_questions: Questions that would settle an inconclusive verdict, at as many answers each.
        needed_epochs: Answers per question that would settle it.
        reasons: Column to the reason that it is None.
    """

    benchmark: str
    comparison: ComparisonKind
    statement: str
    baseline: str
    run: str
    weights: dict[str, float]
    kind: Kind
    metric: str
    tier: Tier
    clusters: int
    questions: int
    answers_baseline: int
    answers_run: int
    grades: int
    grades_missing: int
    score_baseline: float | None
    score_run: float | None
    baseline_low: float | None
    baseline_high: float | None
    difference: float | None
    se: float | None
    df: float | None
    t_low: float | None
    t_high: float | None
    boot_low: float | None
    boot_high: float | None
    boot_p: float | None
    p: float | None
    worst_low: float | None
    worst_high: float | None
    worst_low_se: float | None
    worst_high_se: float | None
    detectable: float | None
    unit: str
    new_questions: Interval | None = None
    these_questions: Interval | None = None
    seeds: SeedInterval | None = None
    family: str = ""
    family_size: int = 0
    level: float | None = None
    low: float | None = None
    high: float | None = None
    p_adjusted: float | None = None
    q: float | None = None
    verdict: Verdict | None = None
    verdict_holds: bool | None = None
    needed_questions: int | None = None
    needed_epochs: int | None = None
    reasons: dict[str, str] = field(default_factory=dict)

    @property
    def epochs(self) -> float:
        """Answers per question and run."""
        runs = sum(weight > 0 for weight in self.weights.values())
        return self.answers_run / max(self.questions * runs, 1)


@dataclass(frozen=True)
class Share:
    """The retained share: (post - before) / (baseline - before), of the gain that the training before gave.

    Attributes:
        benchmark: Its name.
        metric: Name of the figure.
        before: The checkpoint before the value was trained in.
        baseline: The checkpoint with the value, before post-training.
        run: The checkpoint or recipe after post-training.
        clusters: Questions behind it.
        gain: ``baseline`` less ``before``, points.
        kept: ``run`` less ``before``, points.
        ratio: ``kept / gain`` with Fieller's interval over clusters, not adjusted; None without an estimate.
        shown: Whether the gain itself is shown at the level of the settings; otherwise the share is unbounded.
        reasons: Column to the reason that it is None.
    """

    benchmark: str
    metric: str
    before: str
    baseline: str
    run: str
    clusters: int
    gain: float | None
    kept: float | None
    ratio: Ratio | None
    shown: bool
    reasons: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Contrast:
    """Effect on non-English questions less effect on English ones, points.

    Attributes:
        benchmark: Its name.
        comparison: Kind of the comparison.
        statement: The comparison in words.
        baseline: Side that is subtracted.
        run: The other side.
        design: ``paired by question`` where a cluster holds both languages, else ``independent groups (Welch)``;
            ``matched translations`` for the rows that render the same English question.
        clusters_english: Clusters behind the English effect.
        clusters_other: Clusters behind the other effect.
        english: Effect on English questions.
        other: Effect on the other questions.
        difference: ``other - english``.
        t_low: Lower end of its t interval.
        t_high: Upper end.
        boot_low: Lower end of the percentile cluster bootstrap.
        boot_high: Upper end.
        df: Degrees of freedom.
        p: Two-sided t p.
        ratio: ``other / english`` with Fieller's interval.
        family: Tests that are corrected together.
        family_size: Their number.
        q: Benjamini-Hochberg q; a contrast is exploratory.
        note: A caution about reading the two effects; empty if none applies.
        reasons: Column to the reason that it is None.
    """

    benchmark: str
    comparison: ComparisonKind
    statement: str
    baseline: str
    run: str
    design: Design
    clusters_english: int
    clusters_other: int
    english: float | None
    other: float | None
    difference: float | None
    t_low: float | None = None
    t_high: float | None = None
    boot_low: float | None = None
    boot_high: float | None = None
    df: float | None = None
    p: float | None = None
    ratio: Ratio | None = None
    family: str = ""
    family_size: int = 0
    q: float | None = None
    note: str = ""
    reasons: dict[str, str] = field(default_factory=dict)
