"""Cluster statistics against hand computation, scipy and statsmodels."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from value_retention.analysis.stats import cluster, resample
from value_retention.analysis.stats.fieller import fieller
from value_retention.analysis.stats.limits import interval_caution
from value_retention.analysis.stats.misclassification import Proportion, wilson
from value_retention.analysis.stats.proportion import score_interval
from value_retention.analysis.stats.seeds import seed_interval
from value_retention.tasks.cluster import (
    CORRELATION,
    cluster_table,
    combine,
    degrees_of_freedom,
    standard_error,
)

RNG = np.random.default_rng(5)


def columns(*values: list[float]) -> np.ndarray:
    return np.array(values, dtype=float).T


def test_equal_clusters_give_the_one_sample_t_interval() -> None:
    values = RNG.normal(0.1, 1, (40, 7))
    ours = cluster.t_interval(cluster_table(values * 3, np.full(values.shape, 3.0)))
    theirs = scipy.stats.ttest_1samp(values, 0).confidence_interval()
    np.testing.assert_allclose(ours.low, theirs.low)
    np.testing.assert_allclose(ours.high, theirs.high)
    p = cluster.t_p_value(ours.estimate, ours.se, ours.df)
    np.testing.assert_allclose(p, scipy.stats.ttest_1samp(values, 0).pvalue)


def test_ratio_of_sums_by_hand() -> None:
    # Two questions in the first cluster (0.5 and 0.1), one in the second (-0.3), none in the third.
    table = cluster_table(columns([0.6, -0.3, 0.0]), columns([2, 1, 0]))
    assert table.estimate[0] == pytest.approx(0.1)
    assert table.clusters[0] == 2
    # Residuals 0.6 - 0.2 = 0.4 and -0.3 - 0.1 = -0.4, shares 2/3 and 1/3.
    assert standard_error(table)[0] == pytest.approx(np.sqrt(0.16 / (1 / 3) + 0.16 / (2 / 3)) / 3)


@pytest.mark.parametrize("sizes", [[30] + [1] * 60, [8, 8, 4, 2] + [1] * 20, [3] * 12, [5, 4, 3, 2, 1, 1]])
def test_unequal_clusters_give_cr2_and_the_degrees_of_freedom_of_bell_and_mccaffrey(sizes: list[int]) -> None:
    """Against the general matrix formulas for a regression (Imbens and Kolesar 2016, section 2)."""
    groups = np.repeat(np.arange(len(sizes)), sizes)
    n = len(groups)
    values = RNG.normal(0, 1, n) + RNG.normal(0, 1, len(sizes))[groups]
    design = np.ones((n, 1))
    hat = np.eye(n) - design @ design.T / n
    residual = hat @ values
    working = (groups[:, None] == groups) * CORRELATION + np.eye(n) * (1 - CORRELATION)
    variance, columns_ = 0.0, []
    for g in range(len(sizes)):
        rows = groups == g
        root = np.linalg.inv(scipy.linalg.sqrtm(hat[np.ix_(rows, rows)]).real)
        weight = root @ np.ones(sizes[g]) / n
        variance += (weight @ residual[rows]) ** 2
        columns_.append(hat[:, rows] @ weight)
    spread = np.array(columns_) @ working @ np.array(columns_).T
    table = cluster_table(np.bincount(groups, values)[:, None], np.array(sizes, float)[:, None])
    assert standard_error(table)[0] == pytest.approx(np.sqrt(variance))
    assert degrees_of_freedom(table)[0] == pytest.approx(np.trace(spread) ** 2 / (spread**2).sum())


def test_a_column_without_spread_has_no_error_and_one_without_clusters_no_estimate() -> None:
    table = cluster_table(columns([0.1] * 8, [0.0] * 8), columns([1.0] * 8, [0.0] * 8))
    assert standard_error(table)[0] == 0
    assert np.isnan(table.estimate[1])
    assert np.isnan(cluster.t_interval(table).low[1])


def test_the_weighted_mean_of_columns_by_hand() -> None:
    table = cluster_table(columns([1.0, 0.0, 1.0], [0.0, 0.0, 0.5]), columns([1, 1, 1], [0, 1, 1]))
    whole = combine(table, np.array([1.0, 3.0]))
    assert whole.estimate[0] == pytest.approx((2 / 3 + 3 * 0.25) / 4)
    assert whole.sums.sum() == pytest.approx(whole.estimate[0])
    assert whole.influence.sum() == pytest.approx(0)
    # The error of a weighted sum is what the delta method says: here by a numerical jackknife-free check.
    parts = table.influence @ np.array([0.25, 0.75])
    np.testing.assert_allclose(whole.influence[:, 0], parts)


def test_bootstrap_equals_scipy_with_the_same_resamples() -> None:
    values = RNG.normal(0, 1, (5, 60))
    table = cluster_table(np.ascontiguousarray(values.T), np.ones((60, 5)))
    reference = scipy.stats.bootstrap(
        (values,), np.mean, axis=-1, n_resamples=3000, method="percentile", batch=500,
        rng=np.random.default_rng(3),
    )  # fmt: skip
    counts = resample.cluster_counts(60, 3000, 3)
    low, high = resample.percentile_interval(resample.bootstrap(table, counts))
    np.testing.assert_allclose(low, reference.confidence_interval.low, atol=1e-12)
    np.testing.assert_allclose(high, reference.confidence_interval.high, atol=1e-12)


def test_bootstrap_of_a_figure_on_part_of_the_clusters_is_a_ratio_of_sums() -> None:
    values = RNG.normal(0, 1, 12)
    sizes = np.array([1.0, 0, 2, 0, 0, 1, 0, 0, 0, 3, 0, 0])
    table = cluster_table((values * sizes)[:, None], sizes[:, None])
    counts = resample.cluster_counts(12, 1000, 0)
    drawn = resample.bootstrap(table, counts)[0]
    for r in range(1000):
        total = (counts[:, r] * sizes).sum()
        expected = (counts[:, r] * sizes * values).sum() / total if total else np.nan
        np.testing.assert_allclose(drawn[r], expected, atol=1e-12)
    assert np.isnan(drawn).any(), "some resamples draw no carrier, or the next lines test nothing"
    low, high = resample.percentile_interval(drawn[None].copy())
    expected_ends = np.nanpercentile(drawn, [2.5, 97.5])
    np.testing.assert_allclose([low[0], high[0]], expected_ends)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 700),
    st.sampled_from([0.5, 0.8, 0.95, 0.999]),
    st.sampled_from(["normal", "skewed", "coarse", "one value", "ordered", "holes", "nothing"]),
)
def test_a_percentile_interval_is_numpys_whatever_the_values(
    seed: int, resamples: int, level: float, kind: str
) -> None:
    rng = np.random.default_rng(seed)
    drawn = rng.normal(0, 1, (3, resamples)).astype(np.float32)
    if kind == "skewed":
        drawn = np.exp(3 * drawn)
    elif kind == "coarse":
        drawn = np.round(drawn)
    elif kind == "one value":
        drawn[:] = 0.25
    elif kind == "ordered":
        drawn.sort(axis=1)
        drawn[1] = drawn[1, ::-1]
        drawn[2, ::16] = 99.0  # what is looked at first says nothing of the rest
    elif kind == "holes":
        drawn[rng.random(drawn.shape) < 0.3] = np.nan
    elif kind == "nothing":
        drawn[1] = np.nan
    given_ = drawn.copy()
    low, high = resample.percentile_interval(drawn, level)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a column without a value
        expected = np.nanpercentile(drawn.astype(np.float64), [50 - 50 * level, 50 + 50 * level], axis=1)
    np.testing.assert_allclose([low, high], expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(drawn, given_)


def test_the_bootstrap_p_counts_resamples_that_reach_0() -> None:
    drawn = np.array(
        [[1.0, 2.0, 3.0, -1e-15], [-1.0, -2.0, -3.0, -4.0], [0.0] * 4, [1.0, -1.0, np.nan, -1.0]]
    )
    np.testing.assert_allclose(resample.bootstrap_p(drawn), [2 * 2 / 5, 2 / 5, 1, 1])


def test_the_bootstrap_p_agrees_with_its_interval_and_nears_the_t_test() -> None:
    values = RNG.normal(RNG.normal(0, 0.25, 40), 1, (60, 40))
    drawn = resample.bootstrap(
        cluster_table(values, np.ones((60, 40))), resample.cluster_counts(60, 10_000, 0)
    )
    p = resample.bootstrap_p(drawn)
    low, high = resample.percentile_interval(drawn, 0.95)
    assert ((p < 0.05) == ((low > 0) | (high < 0))).all()
    np.testing.assert_allclose(p, scipy.stats.ttest_1samp(values, 0).pvalue, atol=0.03)


def test_counts_are_reused_and_read_only() -> None:
    counts = resample.cluster_counts(9, 500, 1)
    assert counts is resample.cluster_counts(9, 500, 1)
    assert (counts.sum(axis=0) == 9).all()
    with pytest.raises(ValueError, match="read-only"):
        counts[0, 0] = 1


def test_intervals_on_few_or_rare_grades_carry_a_caution() -> None:
    assert interval_caution(114.0, 0.05, 0.10) is None
    for df, scores in ((3.4, (0.5, 0.5)), (7.0, (0.05, 0.3)), (15.0, (0.98, 0.9)), (9.0, (None, 0.04))):
        assert interval_caution(df, *scores)
    assert interval_caution(9.0, None, None) is None
    assert interval_caution(None, 0.01) is None


@pytest.fixture(scope="module")
def frozen_heap() -> Iterator[None]:
    """`multipletests` collects garbage in every call, which takes a second where torch is loaded."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("frozen_heap")
@settings(max_examples=25, deadline=None)
@given(st.lists(st.none() | st.floats(0, 1), max_size=20))
def test_corrections_are_those_of_statsmodels(p_values: list[float | None]) -> None:
    present = [p for p in p_values if p is not None]
    for ours, theirs in (("holm", "holm"), ("bh", "fdr_bh")):
        corrected = cluster.adjust(p_values, ours)  # type: ignore[arg-type]
        assert [p is None for p in corrected] == [p is None for p in p_values]
        if present:
            expected = multipletests(present, method=theirs)[1]
            # Below the smallest normal number, a product has no relative precision.
            tiny = float(np.finfo(np.float64).tiny)
            np.testing.assert_allclose([p for p in corrected if p is not None], expected, atol=tiny)


@pytest.mark.parametrize("clusters", [6, 7, 12, 30, 67, 115])
def test_detectable_effect_is_that_of_statsmodels_power(clusters: int) -> None:
    expected = TTestPower().solve_power(nobs=clusters, alpha=0.05, power=0.8, alternative="two-sided")
    assert cluster.minimum_detectable(2.0, clusters) == pytest.approx(
        expected * 2 * np.sqrt(clusters), rel=1e-4
    )


CRITICAL = scipy.stats.t.ppf(0.975, 40.0)


def inside(r: float, a: float, b: float, cov: np.ndarray) -> bool:
    """Whether a t test of ``numerator - r * denominator = 0`` on 40 df is not significant at 5 %."""
    se = np.sqrt(cov[0, 0] - 2 * r * cov[0, 1] + r * r * cov[1, 1])
    return bool(abs(a - r * b) <= CRITICAL * se)


@settings(max_examples=40, deadline=None)
@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(0.05, 2), st.floats(0.05, 2), st.floats(-0.9, 0.9))
def test_fieller_holds_exactly_the_ratios_that_a_test_does_not_reject(
    a: float, b: float, sa: float, sb: float, rho: float
) -> None:
    cov = np.array([[sa**2, rho * sa * sb], [rho * sa * sb, sb**2]])
    ratio = fieller(a, b, cov, 40.0)
    if ratio is None:
        assert abs(b) <= 0.01 * sb
        return
    for r in np.linspace(-20, 20, 401):
        if ratio.low is None or ratio.high is None:
            expected = True
        elif ratio.kind == "bounded":
            expected = ratio.low <= r <= ratio.high
        else:
            expected = r <= ratio.low or r >= ratio.high
        near = any(end is not None and abs(end - r) < 1e-6 for end in (ratio.low, ratio.high))
        assert near or inside(float(r), a, b, cov) == expected


def test_fieller_is_bounded_only_when_the_denominator_is_significant() -> None:
    cov = np.diag([1.0, 1.0])
    for denominator, kind in ((2.1, "bounded"), (1.9, "unbounded")):
        ratio = fieller(4.0, denominator, cov, 60.0)
        assert ratio is not None
        assert ratio.kind == kind
        assert ("unbounded" in ratio.text()) == (kind == "unbounded")


@pytest.mark.parametrize("denominator", [0.0, 1e-17, -0.0004])
def test_a_denominator_far_below_its_error_has_no_ratio(denominator: float) -> None:
    assert fieller(0.09, denominator, np.diag([0.05**2, 0.05**2]), 60.0) is None


def test_seed_interval_by_hand_and_only_with_several_seeds() -> None:
    recipes = [(1.0, np.array([50.0, 54.0])), (-1.0, np.array([40.0, 42.0]))]
    found = seed_interval(11.0, 1.0, 100, recipes)
    assert found is not None
    pooled = (8.0 + 2.0) / 2
    assert found.seed_sd == pytest.approx(np.sqrt(pooled))
    assert found.se == pytest.approx(np.sqrt(1 + pooled * (1 / 2 + 1 / 2)))
    df = 36.0 / (1 / 99 + 25 / 2)
    assert found.df == pytest.approx(df)
    assert found.high - found.low == pytest.approx(2 * scipy.stats.t.ppf(0.975, df) * found.se)
    assert seed_interval(11.0, 1.0, 100, [*recipes, (1.0, np.array([1.0]))]) is None


def test_a_score_interval_is_wilsons_with_the_effective_size_and_stays_within_0_and_1() -> None:
    """One grade per cluster: the effective size is the number of clusters, but for the width of Student's t."""
    from statsmodels.stats.proportion import proportion_confint

    passed = np.array([[1] * 5 + [0] * 35, [1] * 40, [0] * 40, [1] * 39 + [0]], dtype=float).T
    table = cluster_table(passed, np.ones(passed.shape))
    low, high = score_interval(table, np.full(4, 40.0))
    share = 5 / 40
    size = 39 * (scipy.stats.norm.ppf(0.975) / scipy.stats.t.ppf(0.975, 39)) ** 2
    assert (low[0], high[0]) == pytest.approx(proportion_confint(share * size, size, method="wilson"))
    assert (low[1], high[1]) == pytest.approx(proportion_confint(40, 40, method="wilson"))
    assert (low[2], high[2]) == pytest.approx(proportion_confint(0, 40, method="wilson"), abs=1e-12)
    assert low.min() >= 0
    assert high.max() <= 1
    assert (low <= table.estimate).all()
    assert (table.estimate <= high).all()


def test_a_score_is_worth_no_more_grades_than_it_has() -> None:
    """Clusters that agree with each other: the spread between them alone would promise more."""
    half = np.tile([0.4, 0.6], 10)[:, None]
    table = cluster_table(half, np.ones(half.shape))
    low, high = score_interval(table, np.array([30.0]))
    assert (low[0], high[0]) == pytest.approx(wilson(Proportion(0.5, 30.0)))
