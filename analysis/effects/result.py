"""Rows of a comparison: what a score and a difference say, and why a value may be missing from them.

Scores and differences are in percent and percentage points. A value that cannot be computed is None and its
column's name is a key of ``reasons``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from value_retention.analysis.runs.align import Kind
from value_retention.analysis.stats.cluster import MIN_CLUSTERS
from value_retention.analysis.stats.equivalence import Verdict

NO_SCORE = "no question has a score in every run compared"
FEW = f"fewer than {MIN_CLUSTERS} clusters: described, not tested"
CONSTANT = "every cluster gives the same value: no spread to estimate from"
INFINITE = "a score of 0 or 100 %: its logit is infinite"


@dataclass(frozen=True)
class Settings:
    """How a comparison was computed."""

    level: float = 0.95
    resamples: int = 10_000
    seed: int = 0
    margin: float | None = None
    """Percentage points; None: no verdicts."""


@dataclass(frozen=True)
class Score:
    """One figure of one run, in percent, with its cluster t interval."""

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
    """One figure compared between two runs: ``run`` less ``baseline``.

    Attributes:
        benchmark: ``anima_2_2`` or ``moru``.
        baseline: Run that is compared with.
        run: Run that is compared.
        kind: Family for the corrections.
        metric: Name of the figure.
        clusters: Independent units: questions; a MORU question counts once for its three languages.
        questions: Rows scored in both runs.
        answers_baseline: Answers behind them.
        answers_run: The same for ``run``.
        grades: Grades expected, both runs.
        grades_missing: Of those, not readable.
        score_baseline: Percent, over the questions scored in both.
        score_run: The same for ``run``.
        difference: Percentage points.
        se: Its standard error, points.
        t_low: Lower end of the cluster t interval.
        t_high: Upper end.
        boot_low: Lower end of the percentile cluster bootstrap.
        boot_high: Upper end.
        p: Sign-flip p, two-sided.
        p_holm: Holm-corrected in its family.
        p_bh: Benjamini-Hochberg-corrected in its family.
        family_size: Tests in that family.
        logit: Difference of the scores in logits.
        worst_low: Least the difference could be, whatever the missing grades were.
        worst_high: Most it could be.
        detectable: Minimum detectable effect at 80 % power, points.
        tost_p: p of the equivalence test, Holm-corrected in its family; None without a margin.
        verdict: None without a margin.
        verdict_holds: False where the missing grades could overturn the verdict; None where there is none, or
            ``inconclusive``.
        reasons: Column name to the reason it is None.
    """

    benchmark: str
    baseline: str
    run: str
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
    t_low: float | None
    t_high: float | None
    boot_low: float | None
    boot_high: float | None
    p: float | None
    p_holm: float | None
    p_bh: float | None
    family_size: int
    logit: float | None
    worst_low: float | None
    worst_high: float | None
    detectable: float | None
    tost_p: float | None
    verdict: Verdict | None
    verdict_holds: bool | None = None
    reasons: dict[str, str] = field(default_factory=dict)
