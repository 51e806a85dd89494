"""Partial pooling of dimensions against published results and simulated records."""

from __future__ import annotations

from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from value_retention.analysis import compare
from value_retention.analysis.effects.comparisons import pairs
from value_retention.analysis.effects.pooled import pooled_dimensions
from value_retention.analysis.examples.synthetic import anima_shape, synthetic_records
from value_retention.analysis.report.console import print_result
from value_retention.analysis.report.pooled import pooled_cells
from value_retention.analysis.runs.align import align
from value_retention.analysis.runs.load import Run
from value_retention.analysis.runs.scores import reduce_run
from value_retention.analysis.stats.cluster import cluster_table
from value_retention.analysis.stats.pooling import partial_pooling, pooled


def test_eight_schools_are_pooled_as_published() -> None:
    """Rubin (1981); posterior means with a flat prior on the spread (Bayesian Data Analysis, section 5.5)."""
    effects = np.array([28.0, 8, -3, 7, -1, 1, 18, 12])
    errors = np.array([15.0, 10, 16, 11, 9, 11, 10, 18])
    found = pooled(effects, np.diag(errors**2), np.full(8, np.inf))
    np.testing.assert_allclose(found.estimate, [11.4, 7.9, 6.1, 7.7, 5.1, 6.1, 10.6, 8.5], atol=0.6)
    assert found.mean == pytest.approx(8.0, abs=0.3)
    assert found.sd == pytest.approx(6.6, abs=0.6)
    assert (found.low < 0).all()
    assert (found.high > 0).all()


def test_noise_that_all_dimensions_share_is_not_taken_for_a_common_loss() -> None:
    same = np.full((4, 4), 9.0) + np.eye(4)
    found = pooled(np.array([-4.0, -4.5, -3.5, -4.0]), same, np.full(4, 100.0))
    assert found.mean == pytest.approx(-4, abs=0.1)
    assert (found.high > 0).all()


def test_dimensions_on_too_few_questions_are_left_out() -> None:
    rng = np.random.default_rng(1)
    sizes = np.ones((30, 5))
    sizes[4:, 4] = 0
    table = cluster_table(rng.normal(-0.1, 0.3, (30, 5)) * sizes, sizes)
    found = partial_pooling(table)
    assert found is not None
    assert np.isfinite(found.estimate).tolist() == [True] * 4 + [False]
    assert partial_pooling(cluster_table(table.sums[:, 3:], sizes[:, 3:])) is None


def test_the_table_of_a_comparison_shows_both_estimates() -> None:
    runs = [
        scores
        for name, score in (("a", 0.6), ("b", 0.5))
        for scores in reduce_run(name, (), synthetic_records(name, anima_shape(), {"all": score}))
    ]
    panel = align(runs)
    rows = pooled_dimensions(panel, pairs(panel.runs, "a"))
    assert {row.dimension for row in rows} == set(panel.dimensions)
    alone, together = (np.std([getattr(row, name) for row in rows]) for name in ("difference", "pooled"))
    assert together < 0.6 * alone
    assert all(row.low < row.pooled < row.high for row in rows)
    headings, cells = pooled_cells(rows)
    assert len(cells) == len(rows)
    assert {len(row) for row in cells} == {len(headings)}


def test_the_full_report_and_the_json_hold_the_pooled_dimensions_as_exploratory() -> None:
    runs = [
        Run(name, (), tuple(synthetic_records(name, anima_shape(), {"all": score}, epochs=1)))
        for name, score in (("a", 0.6), ("b", 0.5), ("c", 0.5))
    ]
    result = compare(runs, baseline="a", margin=5, resamples=1000)
    value = result.to_dict()["pooled_dimensions"]
    assert value["tier"] == "exploratory"
    assert {(row["statement"], row["dimension"]) for row in value["rows"]} == {
        (f"{run} against a", dimension) for run in "bc" for dimension in result.panels[0].dimensions
    }
    printed = {}
    for full in (False, True):
        out = StringIO()
        print_result(result, Console(file=out, width=200), full=full)
        printed[full] = out.getvalue()
    assert "Exploratory: ANIMA 2.2, b against a: dimensions, partially pooled" in printed[True]
    assert "No verdict follows from it" in printed[True]
    assert "partially pooled" not in printed[False]
