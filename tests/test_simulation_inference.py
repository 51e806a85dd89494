"""Error rates of the small-sample parts (`simulation_inference`), with fewer runs than the docs. Seeded."""

from __future__ import annotations

import pytest
from simulation_inference import (
    SIZES,
    judge_errors,
    planned_power,
    rare_grades,
    unequal_clusters,
)

from value_retention.analysis.stats.cluster import MIN_DF

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("shared", [0.0, 0.7])
def test_intervals_on_unequal_clusters_cover(name: str, shared: float) -> None:
    found = unequal_clusters(SIZES[name], shared, 2000, 1)
    assert found["CR2, Satterthwaite (ours)"] > 92.5
    if (
        found["df"] >= MIN_DF
    ):  # Below, the working correlation makes intervals too wide, and a caution says so.
        assert found["CR2, Satterthwaite (ours)"] < 97.5
    if name.startswith("one cluster of 30") and shared:
        assert found["n - 1"] < 90


def test_an_interval_that_covers_too_little_has_a_caution() -> None:
    found = rare_grades(0.05, 0.01, 20, 2000, 1)
    assert found["coverage"] < 94
    assert found["caution shown"] > 90
    assert rare_grades(0.5, 0.2, 20, 2000, 1)["caution shown"] < 5


def test_a_judge_that_errs_differently_needs_the_rates_of_each_run() -> None:
    found = judge_errors((0.1, 0.25), 0.0, 200, 60, 1)
    assert found["own rates (ours)"] > 93
    assert found["one pooled rate"] < 30


@pytest.mark.parametrize(("model", "languages"), [(0.5, 1), (1.0, 3)])
def test_a_planned_design_has_the_power_that_it_promises(model: float, languages: int) -> None:
    found = planned_power(model, languages, 5, 1000, 1)
    assert found["retained, per cent"] == pytest.approx(80, abs=4)
    assert found["degraded, per cent"] == pytest.approx(80, abs=4)
