"""Several training seeds per arm: the variation of a difference over new seeds and new questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from value_retention.analysis.stats.cluster import t_quantile
from value_retention.tasks.cluster import Floats

ONE_SEED = (
    "One training run per arm. The intervals hold for these checkpoints on other questions like these. They do "
    "not show that another run of the same recipe, or another data set of the same domain, would give the same "
    "difference."
)


@dataclass(frozen=True)
class SeedInterval:
    """A difference with seeds and questions both random.

    Attributes:
        seed_sd: Standard deviation of an arm's score between seeds, pooled, in the unit of the scores.
        se: Standard error of the difference.
        df: Satterthwaite's degrees of freedom.
        low: Lower end of the t interval.
        high: Upper end.
    """

    seed_sd: float
    se: float
    df: float
    low: float
    high: float


def seed_interval(
    difference: float,
    cluster_se: float,
    clusters: int,
    recipes: Sequence[tuple[float, Floats]],
    level: float = 0.95,
) -> SeedInterval | None:
    """Hierarchical interval: clusters crossed with seeds nested in recipes.

    Its variance is that of the seed-averaged cluster differences plus, for each recipe, the variance of its
    seeds' scores over their number. The spread between seeds holds some noise of the repeats that the first
    part holds too; it is counted twice, which errs on the safe side. All recipes are taken to vary equally
    between seeds, so that two or three seeds each still give a usable estimate.

    Args:
        difference: Weighted sum of the recipes' mean scores.
        cluster_se: Its standard error over clusters, seeds held fixed.
        clusters: Number of clusters.
        recipes: Weight in the difference and one score per seed, for every recipe in it.
        level: Confidence level.

    Returns:
        The interval; None when any recipe has one seed only, where the seeds' spread is unknown.

    References:
        F. E. Satterthwaite, An approximate distribution of estimates of variance components, Biometrics
        Bulletin 2 (1946).
    """
    if not recipes or any(len(scores) < 2 for _, scores in recipes):
        return None
    freedom = sum(len(scores) - 1 for _, scores in recipes)
    pooled = sum((len(scores) - 1) * float(np.var(scores, ddof=1)) for _, scores in recipes) / freedom
    of_seeds = pooled * sum(weight**2 / len(scores) for weight, scores in recipes)
    of_clusters = cluster_se**2
    total = of_seeds + of_clusters
    if total <= 0:
        return None
    df = total**2 / (of_clusters**2 / (clusters - 1) + of_seeds**2 / freedom)
    se = float(np.sqrt(total))
    half = float(t_quantile(np.array([df]), (1 + level) / 2)[0]) * se
    return SeedInterval(float(np.sqrt(pooled)), se, df, difference - half, difference + half)
