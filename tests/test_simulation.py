"""Error rates on simulated benchmarks (`simulation`): ours are nominal, the naive ones are not. Seeded."""

from __future__ import annotations

import pytest
from simulation import (
    DESIGNS,
    SCORE_DESIGNS,
    Design,
    contrast_coverage,
    coverage,
    false_alarms,
    false_retention,
    score_coverage,
    seed_coverage,
)

pytestmark = pytest.mark.slow

RUNS = 2000  # Monte Carlo error of a 95 % coverage: 0.5 points.


@pytest.mark.parametrize(
    ("design", "seed"), [(d, k) for k, d in enumerate(DESIGNS)], ids=lambda v: str(v)[:40]
)
def test_cluster_intervals_cover_as_they_say(design: Design, seed: int) -> None:
    found = coverage(design, RUNS, seed)
    assert found["cluster t"] == pytest.approx(95, abs=1.5)
    if design.dimensions > 1:
        # On rare dimensions the percentile bootstrap covers less; that is why it is not the default.
        assert found["cluster bootstrap"] == pytest.approx(95, abs=1.5 if design.clusters > 30 else 2.5)
        assert found["every epoch independent"] < 92
        assert found["every grade independent"] < 92
    if design.languages > 1:
        assert found["every grade independent"] < 80
        assert found["translations independent"] < 91
    if not design.shift:
        # Ties among rare grades make the test conservative there, never liberal.
        rare = design.dimensions == 1
        assert (0 if rare else 3.5) < found["sign-flip type I"] < 6.5


@pytest.mark.parametrize(
    ("design", "seed"), [(d, 20 + k) for k, d in enumerate(SCORE_DESIGNS)], ids=lambda v: str(v)[:40]
)
def test_score_intervals_cover_as_they_say_and_stay_within_their_range(design: Design, seed: int) -> None:
    found = score_coverage(design, RUNS, seed)
    assert 93.5 <= found["Wilson"] <= 98.5
    assert found["Wilson"] >= found["cluster t"] - 0.5
    assert found["Wilson leaves 0 to 100"] == 0


def test_the_language_contrast_covers_as_it_says() -> None:
    for design, share in contrast_coverage(RUNS, 11).items():
        assert share == pytest.approx(95, abs=1.5), design


def test_thirteen_dimensions_raise_false_alarms_unless_corrected() -> None:
    found = false_alarms(1000, 12)
    assert found["13 dimensions, raw"] > 25
    assert found["13 dimensions, Holm"] < 6.5


def test_a_loss_as_large_as_the_margin_is_rarely_called_retained() -> None:
    assert 2 < false_retention(RUNS, 13) < 6.5


def test_seed_intervals_cover_new_seeds() -> None:
    found = seed_coverage(RUNS, 14)
    assert found["seeds and questions random"] == pytest.approx(95, abs=1.5)
    assert found["seeds ignored"] < 70
