"""Rows of a result: a score, an effect, a contrast between languages; and reasons for missing values.

Scores are in per cent, differences in percentage points. A value that cannot be computed is None, and the
row's ``reasons`` says why.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from value_retention.analysis.runs.align import Kind
from value_retention.analysis.stats.cluster import MIN_CLUSTERS
from value_retention.analysis.stats.equivalence import Verdict
from value_retention.analysis.stats.fieller import Ratio
from value_retention.analysis.stats.seeds import SeedInterval

NO_SCORE = "no question has a score in every run compared"
FEW = f"fewer than {MIN_CLUSTERS} clusters: described, not tested"
CONSTANT = "every cluster gives the same value: no spread to estimate from"
INFINITE = "a score of 0 or 100 %: its logit is infinite"
NO_SIDES = "a difference between differences: its sides are not scores"
ONE_SEED_ONLY = "one training run in an arm"
ZERO = "the effect on English questions is exactly 0"

ComparisonKind = Literal[
    "pair", "gain over base", "domain effect", "domain effect by data", "same domain, other data",
    "domain x method",
]  # fmt: skip

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
        clusters: Independent units: questions; a MORU question counts once for its three languages.
        questions: Rows scored in every run.
        answers_baseline: Answers behind the baseline's side.
        answers_run: Answers behind the other side.
        grades: Grades expected, all runs.
        grades_missing: Of those, without a grade.
        score_baseline: Per cent, over the questions scored in every run; None where the side is not a mean of runs.
        score_run: The same for ``run``.
        difference: Estimate.
        se: Its standard error.
        df: Degrees of freedom of the t interval.
        t_low: Lower end of the cluster t interval.
        t_high: Upper end.
        boot_low: Lower end of the percentile cluster bootstrap.
        boot_high: Upper end.
        p: Sign-flip p, two-sided.
        logit: Difference of the scores in logits.
        worst_low: Smallest possible difference, with every missing grade against it.
        worst_high: Largest possible difference.
        detectable: Minimum detectable effect at 80 % power, points.
        seeds: Interval over new training seeds; None with one seed per arm.
        tost_p: Margin to the p of the equivalence test.
        family: Tests that are corrected together.
        family_size: Their number.
        p_holm: Holm-corrected p.
        p_bh: Benjamini-Hochberg-corrected p.
        tost_p_holm: Margin to the Holm-corrected p of the equivalence test.
        verdicts: Margin to the verdict, from the Holm-corrected p values.
        verdict_holds: Margin to False where the missing grades could overturn the verdict; None for ``inconclusive``.
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
    clusters: int
    questions: int
    answers_baseline: int
    answers_run: int
    grades: int
    grades_missing: int
    score_baseline: float | None
    score_run: float | None
    difference: float | None
    se: float | None
    df: float | None
    t_low: float | None
    t_high: float | None
    boot_low: float | None
    boot_high: float | None
    p: float | None
    logit: float | None
    worst_low: float | None
    worst_high: float | None
    detectable: float | None
    seeds: SeedInterval | None = None
    tost_p: dict[str, float] = field(default_factory=dict)
    family: str = ""
    family_size: int = 0
    p_holm: float | None = None
    p_bh: float | None = None
    tost_p_holm: dict[str, float] = field(default_factory=dict)
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    verdict_holds: dict[str, bool | None] = field(default_factory=dict)
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
        p_holm: Holm-corrected p.
        p_bh: Benjamini-Hochberg-corrected p.
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
    p_holm: float | None = None
    p_bh: float | None = None
    note: str = ""
    reasons: dict[str, str] = field(default_factory=dict)
