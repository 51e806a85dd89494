"""Standard error of a mean over questions in clusters, for many columns at once: one row per cluster.

Every function takes two tables of the same shape, ``sums`` and ``sizes``, float64 of shape (clusters,
columns). A column is one figure (one dimension of one pair of runs, say); ``sums[c, m]`` is the sum of that
figure over the questions of cluster c that carry it, ``sizes[c, m]`` their number. The estimate is a ratio
of sums, ``sums.sum(0) / sizes.sum(0)``: the mean over questions. Where every cluster carries equally many
questions it is the plain mean of cluster means, and its error that of the one-sample t test on them.
Where clusters differ in size, the error and its degrees of freedom are those of Bell and McCaffrey.

Epochs never appear here: they were averaged away before (they are repeats of one question, not new ones).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CORRELATION = 0.15
"""Working correlation of the differences on one cluster's questions, for the degrees of freedom. By simulation
the smallest at which each end of ANIMA's intervals errs as rarely as it says, at 1 to 20 epochs."""


@dataclass(frozen=True)
class ClusterTable:
    """Sums and sizes per cluster, and what follows. Arrays of shape (clusters, columns) or (columns,).

    Attributes:
        sums: Sum of the figure over the cluster's questions.
        sizes: Number of the cluster's questions that carry the figure.
        estimate: ``sums.sum(0) / sizes.sum(0)``, NaN for a column that no cluster carries.
        influence: Each cluster's part of the estimate's error; its columns add up to 0.
        clusters: Number of clusters that carry the column.
    """

    sums: Floats
    sizes: Floats
    estimate: Floats
    influence: Floats
    clusters: NDArray[np.int64]


def cluster_table(sums: Floats, sizes: Floats) -> ClusterTable:
    """Estimate and linearise each column; see the module's first lines for the shapes."""
    total = sizes.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        estimate = np.where(total > 0, sums.sum(axis=0) / total, np.nan)
        influence = (sums - estimate * sizes) / total
    return ClusterTable(sums, sizes, estimate, influence, (sizes > 0).sum(axis=0))


def table_of(clusters: Sequence[str], values: Floats) -> ClusterTable:
    """The table of values of questions.

    Args:
        clusters: Cluster of each of the n questions.
        values: Shape (n, columns). NaN where a question does not carry a column.
    """
    row = np.unique(clusters, return_inverse=True)[1]
    known = np.isfinite(values)
    sums, sizes = (np.zeros((len(set(clusters)), values.shape[1])) for _ in range(2))
    np.add.at(sums, row, np.where(known, values, 0.0))
    np.add.at(sizes, row, known)
    return cluster_table(sums, sizes)


def take(table: ClusterTable, columns: NDArray[np.int64]) -> ClusterTable:
    """Some columns of a table."""
    return ClusterTable(
        table.sums[:, columns],
        table.sizes[:, columns],
        table.estimate[columns],
        table.influence[:, columns],
        table.clusters[columns],
    )


def combine(table: ClusterTable, weights: Floats) -> ClusterTable:
    """One column that is the weighted mean of the table's columns, such as the dimension-normalized score.

    Columns that no cluster carries are left out. The result's ``sums`` are each cluster's contribution to
    the figure and its ``sizes`` 1 / clusters, so that flipping signs and linearising go on working.

    Args:
        table: The parts.
        weights: One weight per column, shape (columns,).
    """
    used = np.isfinite(table.estimate) & (weights > 0)
    if not used.any():
        empty = np.zeros((table.sums.shape[0], 1))
        return cluster_table(empty, empty)
    share = weights[used] / weights[used].sum()
    carried = (table.sizes[:, used] > 0).any(axis=1)
    parts = (table.sums[:, used] / table.sizes[:, used].sum(axis=0)) @ share
    influence = table.influence[:, used] @ share
    count = int(carried.sum())
    return ClusterTable(
        sums=parts[:, None],
        sizes=np.where(carried, 1.0 / count, 0.0)[:, None],
        estimate=np.array([float(table.estimate[used] @ share)]),
        influence=influence[:, None],
        clusters=np.array([count]),
    )


def standard_error(table: ClusterTable) -> Floats:
    """Cluster-robust standard error of each column's estimate (CR2), NaN for fewer than two clusters.

    A large cluster pulls the estimate towards itself, so that its own residual is too small. CR2 divides its
    square by 1 less the cluster's share of the questions; with equal clusters that is the usual n / (n - 1).
    A spread that is only rounding (every cluster gives the same value) is exactly 0.

    References:
        R. M. Bell and D. F. McCaffrey, Bias reduction in standard errors for linear regression with
        multi-stage samples, Surv. Methodol. 28 (2002), 169-181.
    """
    share = _shares(table)
    with np.errstate(invalid="ignore", divide="ignore"):
        se = np.sqrt((table.influence**2 / (1 - share)).sum(axis=0))
        scale = np.abs(table.sums).max(axis=0, initial=0.0) / table.sizes.sum(axis=0)
        rounding = np.abs(table.influence).max(axis=0, initial=0.0) <= 1e-12 * scale
    return np.where(table.clusters > 1, np.where(rounding, 0.0, se), np.nan)


def covariance(table: ClusterTable) -> Floats:
    """Covariance of the columns' estimates, shape (columns, columns), for columns that the same clusters carry."""
    count = int(table.clusters[0])
    return np.asarray(table.influence.T @ table.influence * count / max(count - 1, 1), dtype=np.float64)


def degrees_of_freedom(table: ClusterTable, correlation: float = CORRELATION) -> Floats:
    """Satterthwaite's degrees of freedom of `standard_error`, each column; 0 for fewer than two clusters.

    The closed form for a mean, with one correlation between questions of a cluster as the working model. Clusters of
    equal size give n - 1, whatever the correlation; the 115 rows of ANIMA, with texts in 8, 8, 4 and 2 renderings,
    give 27. The correlation is given and not estimated: a few small clusters tell little about it, and where they
    happen to agree, the error and an estimate of it would be too small together.

    Args:
        table: Shape (clusters, columns).
        correlation: Working correlation, in [0, 1].

    References:
        G. W. Imbens and M. Kolesar, Robust standard errors in small samples: some practical advice, Rev. Econ.
        Stat. 98 (2016), 701-712, whose working model is a common variance and correlation.
    """
    share = _shares(table)
    with np.errstate(invalid="ignore", divide="ignore"):
        # Cluster c adds u = (s - share * sum(s)) / sqrt(1 - share) to the error, where s has the variance `own`. With
        # M the covariance of u, the degrees of freedom are trace(M)^2 / trace(M^2).
        own = share * (1 + correlation * np.maximum(table.sizes - 1, 0))
        whole = own.sum(axis=0)
        pull = 1 / (1 - share)
        trace = (pull * (own - 2 * own * share + whole * share**2)).sum(axis=0)
        own_own, share_share, own_share = (
            (pull * part).sum(axis=0) for part in (own**2, share**2, own * share)
        )
        squares = (pull**2 * own**2 * (1 - 4 * share)).sum(axis=0)
        squares += 2 * whole * (pull**2 * own * share**2).sum(axis=0)
        squares += 2 * own_own * share_share + 2 * own_share**2
        squares += whole**2 * share_share**2 - 4 * whole * own_share * share_share
        df = trace**2 / squares
    return np.where(table.clusters > 1, df, 0.0)


def _shares(table: ClusterTable) -> Floats:
    """Share of each column's questions that each cluster has."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(table.sizes / table.sizes.sum(axis=0), dtype=np.float64)
