"""Group-sequential bounds against published tables, and the level of an interval at each look."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from value_retention.analysis.stats.sequential import Spending, boundaries, look_level, planned_times, spent


@pytest.mark.parametrize(
    ("spending", "expected"),
    [
        ("obrien-fleming", [4.877, 3.357, 2.680, 2.290, 2.031]),
        ("pocock", [2.438, 2.427, 2.410, 2.397, 2.386]),
    ],
)
def test_five_equal_looks_have_the_published_bounds(spending: Spending, expected: list[float]) -> None:
    """Two-sided 5 %; DeMets and Lan, Stat. Med. 13 (1994), 1341-1352, and the program ld98 and R's ldbounds."""
    found = boundaries((1.0, 2.0, 3.0, 4.0, 5.0), 0.05, spending)
    np.testing.assert_allclose(found, expected, atol=0.001)


def test_unequal_looks_spend_what_they_should_by_the_normal_distribution() -> None:
    information = (1.0, 1.5, 3.4)
    bounds = boundaries(information)
    roots = np.sqrt(information)
    correlation = np.minimum.outer(roots, roots) / np.maximum.outer(roots, roots)
    for k in range(1, 4):
        ends = np.array(bounds[:k])
        inside = scipy.stats.multivariate_normal.cdf(
            ends, np.zeros(k), correlation[:k, :k], lower_limit=-ends, abseps=1e-7, releps=1e-7
        )
        assert 1 - inside == pytest.approx(spent(information[k - 1] / 3.4, 0.05), abs=2e-5)


def test_one_look_is_an_ordinary_test() -> None:
    assert boundaries((1.0,))[0] == pytest.approx(scipy.stats.norm.ppf(0.975), abs=1e-6)
    assert look_level([2.0], [1.0]) == pytest.approx(0.95)


def test_a_look_that_brings_no_information_is_bounded_safely() -> None:
    bounds = boundaries((1.0, 1.0, 1.0), times=(0.4, 0.7, 1.0))
    assert all(math.isfinite(bound) for bound in bounds)
    assert bounds[-1] > scipy.stats.norm.ppf(0.975) - 1e-6


def test_the_level_of_a_look_falls_as_the_error_rate_is_spent() -> None:
    times = planned_times(range(1, 6))
    assert times[-1] == 1.0
    assert times == tuple(sorted(times))
    errors = [3.2, 2.3, 2.1, 2.0, 1.9]
    levels = [look_level(errors[:k], times[:k]) for k in range(1, 6)]
    assert levels == sorted(levels, reverse=True)
    assert 0.95 < levels[-1] < 0.97
    # An error that rises by chance does not undo what was spent.
    assert look_level([2.0, 2.4], times[:2]) == pytest.approx(look_level([2.0, 2.0], times[:2]))


@pytest.mark.slow
def test_stopping_early_keeps_the_error_rate() -> None:
    """The first look of 115 questions in five epochs has 29 % of the information; see simulation_inference."""
    from simulation_inference import stopping

    none = stopping(0.5, 0.0, 1000, 1)
    assert none["wrong"] < 4  # one side of 5 %, Monte Carlo error 0.5
    assert none["wrong, 95 % at each look"] > none["wrong"]
    large = stopping(0.5, 29.0, 200, 2)
    assert large["calls saved"] > 70
    assert large["degraded"] > 99
