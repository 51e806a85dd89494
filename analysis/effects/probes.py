"""Does the probe, which needs no judge, order the checkpoints of an experiment as the judged scores do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from value_retention.analysis.effects.design import Arm
from value_retention.analysis.effects.rows import Score
from value_retention.analysis.runs.align import OVERALL
from value_retention.analysis.stats.rank import rank_correlation

ALL, REST = "all", "without base and midtrain"
"""Checkpoints of a row. The probe's pairs come from answers of the base and the mid-trained checkpoint, so these two
agree with the probe by construction."""


@dataclass(frozen=True)
class ProbeCorrelation:
    """Spearman's rank correlation of a probe's figure with the overall mean, over checkpoints.

    Attributes:
        benchmark: Its name.
        measure: ``probe`` (share of pairs) or ``probe_margin`` (nats per token).
        checkpoints: `ALL` or `REST`.
        runs: Names of the checkpoints.
        rho: In [-1, 1]; None with fewer than three checkpoints, or where one of the figures is constant.
        p: Two-sided permutation p; None with ``rho``.
    """

    benchmark: str
    measure: str
    checkpoints: str
    runs: tuple[str, ...]
    rho: float | None
    p: float | None


def probe_correlations(
    arms: Sequence[Arm], scores: Sequence[Score], seed: int
) -> tuple[ProbeCorrelation, ...]:
    """The correlation per benchmark and figure of the probe, over all checkpoints and over the trained ones.

    Args:
        arms: The arms of an experiment; those without the figure are left out.
        scores: Scores of their runs.
        seed: Of the pairings that are drawn where there are too many to count.
    """
    found = []
    overall = {(s.benchmark, s.run): s.score for s in scores if s.metric == OVERALL}
    for benchmark in dict.fromkeys(benchmark for benchmark, _ in overall):
        for measure in ("probe", "probe_margin"):
            known = [
                (arm, float(getattr(arm, measure)), float(score))
                for arm in arms
                if getattr(arm, measure) is not None and (score := overall.get((benchmark, arm.name))) is not None
            ]  # fmt: skip
            rest = [row for row in known if not (row[0].base or row[0].before)]
            for checkpoints, rows in ((ALL, known), (REST, rest if len(rest) < len(known) else [])):
                if rows:
                    result = rank_correlation([x for _, x, _ in rows], [y for _, _, y in rows], seed)
                    names = tuple(arm.name for arm, _, _ in rows)
                    found.append(
                        ProbeCorrelation(benchmark, measure, checkpoints, names, result.rho, result.p)
                    )
    return tuple(found)
