"""Leave one language out: does a difference rest on one of the languages?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from value_retention.analysis.effects.comparisons import Comparison
from value_retention.analysis.effects.estimate import weighted
from value_retention.analysis.runs.align import OVERALL, Metric, Panel, cluster_tables
from value_retention.analysis.stats.cluster import MIN_CLUSTERS, t_interval


@dataclass(frozen=True)
class WithoutLanguage:
    """A difference over all questions but those in one language, points.

    Attributes:
        benchmark: Its name.
        statement: The comparison in words.
        baseline: Side that is subtracted.
        run: The other side.
        language: Language tag that is left out.
        questions: Questions that remain.
        clusters: Clusters that remain.
        difference: Estimate; None where no question remains.
        t_low: Lower end of its t interval, not adjusted; None with fewer than `MIN_CLUSTERS` or no spread.
        t_high: Upper end.
    """

    benchmark: str
    statement: str
    baseline: str
    run: str
    language: str
    questions: int
    clusters: int
    difference: float | None
    t_low: float | None
    t_high: float | None


def without_each_language(
    panel: Panel, comparisons: Sequence[Comparison], level: float
) -> list[WithoutLanguage]:
    """Every primary comparison with each language left out in turn; empty where there is one language.

    Args:
        panel: Runs of one benchmark.
        comparisons: Weights in the order of the panel's runs.
        level: Confidence level.
    """
    primary = [comparison for comparison in comparisons if comparison.primary]
    languages = np.array([question.language for question in panel.questions])
    tags = list(dict.fromkeys(languages.tolist()))
    if len(tags) < 2 or not primary:
        return []
    metrics = [Metric("overall", OVERALL, 0, languages != tag) for tag in tags]
    values = weighted(np.array([comparison.weights for comparison in primary]), panel.score)
    table = cluster_tables(panel, metrics, values)
    found = t_interval(table, level)
    rows = []
    for c, comparison in enumerate(primary):
        scored = np.isfinite(values[c, :, 0])
        for m, tag in enumerate(tags):
            k = c * len(tags) + m
            clusters = int(table.clusters[k])
            tested = clusters >= MIN_CLUSTERS and found.se[k] > 0
            rows.append(
                WithoutLanguage(
                    panel.benchmark,
                    comparison.statement,
                    comparison.baseline,
                    comparison.run,
                    tag,
                    int((scored & metrics[m].rows).sum()),
                    clusters,
                    float(found.estimate[k]) * 100 if clusters else None,
                    float(found.low[k]) * 100 if tested else None,
                    float(found.high[k]) * 100 if tested else None,
                )
            )
    return rows
