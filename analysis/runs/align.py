"""Runs of one benchmark side by side: the same questions in the same order, and the figures to compute.

`Panel` aligns; `Metric` names a figure; `cluster_tables` turns per-question values into the cluster sums
that the room `stats` works on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from value_retention.analysis.runs.scores import Question, RunScores
from value_retention.tasks.cluster import ClusterTable, Floats, cluster_table, combine, take
from value_retention.tasks.errors import InputError
from value_retention.tasks.text import by_name

Kind = Literal["overall", "normalized", "dimension", "group", "language", "source"]
"""Kind of a figure."""

OVERALL, NORMALIZED = "overall_mean", "dimension_normalized_avg"
ENGLISH, OTHER = "english_mean", "non_english_mean"
"""Figures by the names that both harnesses print; a dimension, language or source has its own."""


@dataclass(frozen=True, eq=False)
class Metric:
    """One figure: the mean over ``rows`` of one column of the scores.

    Attributes:
        kind: Its kind.
        name: `OVERALL`, `NORMALIZED`, `ENGLISH`, `OTHER`, a dimension, a language tag or a source.
        column: 0 for the overall score of a question, 1 + d for its dimension d, -1 for the
            dimension-normalized mean of all dimensions.
        rows: Which questions belong to it, shape (n,).
    """

    kind: Kind
    name: str
    column: int
    rows: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Panel:
    """r runs x n questions x (1 + D) columns, as `RunScores` has them; a question a run lacks is NaN there.

    Attributes:
        benchmark: Its name.
        runs: Names, in the order given.
        questions: Union of the runs' questions, by name.
        dimensions: The D dimensions.
        weights: Their weights.
        score: Shape (r, n, 1 + D), in [0, 1].
        low: Missing grades as 0.
        high: Missing grades as 1.
        carried: Shape (n, 1 + D).
        expected: Grades, shape (r, n, 1 + D).
        missing: Grades, the same.
        answers: Shape (r, n).
        noise: Variance of the overall score over new answers, shape (r, n).
        membership: One row per cluster, 1 where the question belongs to it; shape (clusters, n).
        clusters: Names of the clusters, sorted.
        total: Questions of the whole benchmark; None where the runs do not tell.
    """

    benchmark: str
    runs: tuple[str, ...]
    questions: tuple[Question, ...]
    dimensions: tuple[str, ...]
    weights: Floats
    score: Floats
    low: Floats
    high: Floats
    carried: NDArray[np.bool_]
    expected: NDArray[np.int64]
    missing: NDArray[np.int64]
    answers: NDArray[np.int64]
    noise: Floats
    membership: Floats
    clusters: tuple[str, ...]
    total: int | None = None

    @property
    def english(self) -> NDArray[np.bool_]:
        """Which questions are English, shape (n,)."""
        return np.array([question.is_english for question in self.questions])


def align(runs: Sequence[RunScores]) -> Panel:
    """Put runs of one benchmark side by side.

    Args:
        runs: At least one; comparable ones (see `identity.check_comparable`).

    Raises:
        InputError: a run without any score.
    """
    # A log without the English texts has more clusters; the run that knows them has the last word.
    by_clusters = sorted(runs, key=lambda run: -len({q.cluster for q in run.questions}))
    known = {q.item: q for run in by_clusters for q in run.questions}
    questions = {item: known[item] for item in sorted(known, key=by_name)}
    dimensions = list(dict.fromkeys(d for run in runs for d in run.dimensions))
    row = {item: i for i, item in enumerate(questions)}
    column = {d: k + 1 for k, d in enumerate(dimensions)}
    shape = (len(runs), len(questions), 1 + len(dimensions))
    score, low, high = (np.full(shape, np.nan) for _ in range(3))
    expected, missing = (np.zeros(shape, np.int64) for _ in range(2))
    carried = np.zeros(shape[1:], bool)
    answers = np.zeros(shape[:2], np.int64)
    noise = np.full(shape[:2], np.nan)
    weights = np.zeros(len(dimensions))
    for r, run in enumerate(runs):
        if np.isnan(run.score[:, 0]).all():
            raise InputError(
                "no answer of this run has a score",
                where=f"{run.run} ({', '.join(run.files)})" if run.files else run.run,
                found=f"{run.missing[:, 0].sum()} of {run.expected[:, 0].sum()} grades missing",
                hint="judge the answers again; `value-retention judge` takes saved answers",
            )
        place = np.ix_([row[q.item] for q in run.questions], [0] + [column[d] for d in run.dimensions])
        score[r][place], low[r][place], high[r][place] = run.score, run.low, run.high
        expected[r][place], missing[r][place] = run.expected, run.missing
        carried[place] |= run.carried
        answers[r, place[0].ravel()] = run.answers
        noise[r, place[0].ravel()] = run.noise
        weights[[column[d] - 1 for d in run.dimensions]] = run.weights
    clusters = sorted({q.cluster for q in questions.values()}, key=by_name)
    totals = {run.identity.total for run in runs}
    membership = np.array([[q.cluster == c for q in questions.values()] for c in clusters], dtype=float)
    return Panel(
        benchmark=runs[0].benchmark,
        runs=tuple(run.run for run in runs),
        questions=tuple(questions.values()),
        dimensions=tuple(dimensions),
        weights=weights,
        score=score,
        low=low,
        high=high,
        carried=carried,
        expected=expected,
        missing=missing,
        answers=answers,
        noise=noise,
        membership=membership,
        clusters=tuple(clusters),
        total=totals.pop() if len(totals) == 1 else None,
    )


def metrics_of(panel: Panel) -> list[Metric]:
    """The figures of a benchmark, in the order of a report."""
    every = np.ones(len(panel.questions), bool)
    english = panel.english
    found = [Metric("overall", OVERALL, 0, every), Metric("normalized", NORMALIZED, -1, every)]
    if english.any() and not english.all():
        found += [Metric("group", ENGLISH, 0, english), Metric("group", OTHER, 0, ~english)]
    found += [Metric("dimension", d, k + 1, every) for k, d in enumerate(panel.dimensions)]
    languages = np.array([q.language for q in panel.questions])
    sources = np.array([q.source or "" for q in panel.questions])
    others = languages[~english] if english.any() else languages
    if len(set(others)) > 1:
        found += [Metric("language", tag, 0, languages == tag) for tag in _by_count(others)]
    if any(sources):
        found += [Metric("source", name, 0, sources == name) for name in _by_count(sources[sources != ""])]
    return found


def _by_count(values: NDArray[np.str_]) -> list[str]:
    names, counts = np.unique(values, return_counts=True)
    return [str(names[i]) for i in np.lexsort((names, -counts))]


def cluster_tables(panel: Panel, metrics: Sequence[Metric], values: Floats) -> ClusterTable:
    """Cluster sums of every metric for several sets of values at once.

    Args:
        panel: For questions, clusters and dimension weights.
        metrics: The M figures.
        values: Shape (p, n, 1 + D): a difference of runs or a run, NaN where there is none.

    Returns:
        Shape (clusters, p * M), the metrics of the first set first.
    """
    columns = np.array([max(metric.column, 0) for metric in metrics])
    rows = np.array([metric.rows for metric in metrics]).T
    taken = values[:, :, columns]
    used = np.isfinite(taken) & panel.carried[:, columns] & rows
    count = len(panel.clusters)
    flat = (count, values.shape[0] * len(metrics))
    sums = np.einsum("cn,pnm->cpm", panel.membership, np.where(used, taken, 0.0), optimize=True).reshape(flat)
    sizes = np.einsum("cn,pnm->cpm", panel.membership, used.astype(np.float64), optimize=True).reshape(flat)
    table = cluster_table(sums, np.rint(sizes))
    composite = [k for k, metric in enumerate(metrics) if metric.column < 0]
    return _with_composites(table, panel, metrics, composite) if composite else table


def dimension_columns(metrics: Sequence[Metric]) -> list[int]:
    """Positions of the single dimensions among the metrics, in the order of the panel's dimensions."""
    return [k for k, metric in enumerate(metrics) if metric.kind == "dimension"]


def _with_composites(
    table: ClusterTable, panel: Panel, metrics: Sequence[Metric], composite: list[int]
) -> ClusterTable:
    """The table with its dimension-normalized columns computed from the dimensions' columns."""
    parts = np.array(dimension_columns(metrics))
    sums, sizes, influence = table.sums.copy(), table.sizes.copy(), table.influence.copy()
    estimate, clusters = table.estimate.copy(), table.clusters.copy()
    for start in range(0, sums.shape[1], len(metrics)):
        pick = parts + start
        whole = combine(take(table, pick), panel.weights)
        for k in composite:
            sums[:, start + k], sizes[:, start + k] = whole.sums[:, 0], whole.sizes[:, 0]
            influence[:, start + k] = whole.influence[:, 0]
            estimate[start + k], clusters[start + k] = whole.estimate[0], whole.clusters[0]
    return ClusterTable(sums, sizes, estimate, influence, clusters)
