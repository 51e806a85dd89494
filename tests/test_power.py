"""What a plan promises: spreads, detectable differences, the cheapest design, and the options of `plan`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from panel_records import judged, run_of, write_run
from statsmodels.stats.power import TTestPower

from value_retention.analysis.cli import cli
from value_retention.analysis.planning import power
from value_retention.analysis.planning.power import Spreads, read_want
from value_retention.tasks.errors import InputError
from value_retention.tasks.record import AnswerRecord


@pytest.mark.parametrize(("clusters", "epochs"), [(8, 1), (30, 5), (115, 2)])
def test_the_detectable_difference_is_that_of_statsmodels_power(clusters: int, epochs: int) -> None:
    spreads = Spreads("given", 60.0, 40.0, 900.0)
    error = np.sqrt((100 + 900 / epochs) / clusters)
    effect = TTestPower().solve_power(nobs=clusters, alpha=0.05, power=0.8, alternative="two-sided")
    found = power.detectable(spreads, [1] * clusters, epochs, 0.95)
    assert found == pytest.approx(effect * np.sqrt(clusters) * error, rel=0.03)


def test_unequal_clusters_detect_less_than_as_many_single_questions() -> None:
    spreads = power.assumed_spreads("small", False)
    siblings = power.detectable(spreads, [8, 8, 4, 2] + [1] * 93, 5, 0.95)
    assert siblings > 1.08 * power.detectable(spreads, [1] * 115, 5, 0.95)


def test_the_whole_benchmark_detects_6_to_9_points_under_the_assumptions() -> None:
    """Standard errors of 2.1 and 3.0 points, from grades simulated elsewhere, times 2.8."""
    low, high = (
        power.detectable(power.assumed_spreads(m, False), [8, 8, 4, 2] + [1] * 93, 5, 0.95)
        for m in power.ASSUMED
    )
    assert (low, high) == (pytest.approx(5.8, abs=0.3), pytest.approx(8.6, abs=0.3))


@pytest.mark.parametrize(
    ("text", "reach"),
    [
        ("retained at 5", 5.0),
        ("degraded  at 7.5", 7.5),
        ("improved at 3", 3.0),
        ("degraded beyond 5 at 12", 7.0),
    ],
)
def test_a_wish_is_read(text: str, reach: float) -> None:
    assert read_want(text).reach == reach


@pytest.mark.parametrize(
    "text", ["retained", "retained at 0", "kept at 5", "degraded beyond 5 at 4", "retained at -5"]
)
def test_another_wish_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="--want"):
        read_want(text)


def test_the_cheapest_design_reaches_its_power_and_a_cheaper_one_does_not() -> None:
    spreads, sizes = Spreads("given", 50.0, 50.0, 1000.0), [1] * 115
    found = power.cheapest(spreads, sizes, 0.95, read_want("degraded at 10"))
    assert found.reached
    assert found.power >= 0.8
    assert power.power_of(spreads, [1] * (found.clusters - 1), found.epochs, 0.95, 10.0) < 0.8
    assert power.power_of(spreads, sizes, 30, 0.95, 2.0) < 0.8
    beyond = power.cheapest(spreads, sizes, 0.95, read_want("degraded at 2"))
    assert not beyond.reached
    assert (beyond.epochs, beyond.clusters) == (30, 115)


def pilot(
    seed: int, sizes: Sequence[int], cluster_sd: float, question_sd: float, epochs: int = 5
) -> tuple[list[AnswerRecord], list[AnswerRecord]]:
    """Two runs of ten-grade answers, whose pass rates differ by the given spreads around 0.5."""
    rng = np.random.default_rng(seed)
    sides: tuple[list[AnswerRecord], list[AnswerRecord]] = [], []
    item = 0
    for number, size in enumerate(sizes):
        shared = rng.normal(0, cluster_sd)
        for _ in range(size):
            item += 1
            shift = shared + rng.normal(0, question_sd)
            for side, rate in zip(sides, (0.5 - shift / 2, 0.5 + shift / 2), strict=True):
                for epoch in range(1, epochs + 1):
                    passes = (rng.random(10) < rate).astype(float)
                    grades = {f"d{k}": [value] for k, value in enumerate(passes)}
                    side.append(judged(str(item), grades, ["j"], cluster=str(number), epoch=epoch))
    return sides


def test_a_pilot_gives_back_the_spreads_that_were_planted() -> None:
    before, after = pilot(1, [4] * 60, 0.10, 0.08)
    found = power.pilot_spreads(before, after, "pilot")
    assert np.sqrt(found.cluster) == pytest.approx(10, abs=2.5)
    assert np.sqrt(found.question) == pytest.approx(8, abs=2.5)
    assert np.sqrt(found.answer) == pytest.approx(np.sqrt(2 * 250), rel=0.05)
    assert found.clusters == 60
    alone = power.pilot_spreads(*pilot(2, [1] * 150, 0.0, 0.12), "pilot")
    assert np.sqrt(alone.cluster + alone.question) == pytest.approx(12, abs=2.5)


def test_a_pilot_of_one_epoch_or_few_questions_is_refused() -> None:
    for sides in (pilot(3, [1] * 20, 0.1, 0.1, epochs=1), pilot(3, [1] * 8, 0.1, 0.1)):
        with pytest.raises(InputError, match="at least two epochs"):
            power.pilot_spreads(*sides, "pilot")


def plan(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["plan", "--data", "sample", "--tasks", "anima_2_2", *map(str, arguments)])


def test_plan_names_the_cheapest_design_and_its_cost() -> None:
    done = plan("--want", "degraded at 25", "--price-in", "1", "--price-out", "1")
    assert done.exit_code == 0, done.output
    assert "Cheapest design" in done.output
    designs = json.loads(plan("--want", "degraded at 25", "--json").output)["designs"]
    assert [d["source"] for d in designs] == ["assumed, small", "assumed, large"]
    assert all(d["reached"] and d["power"] >= 0.8 for d in designs)
    (design, _) = json.loads(plan("--want", "retained at 1", "--json").output)["designs"]
    assert not design["reached"]
    assert "only this power" in plan("--want", "retained at 1").output


def test_plan_corrects_for_the_verdicts_of_one_report() -> None:
    one, four = (
        json.loads(plan("--checkpoints", n, "--json").output)["plans"][0]["detectable"] for n in ("2", "5")
    )
    assert all(b > a for a, b in zip(one["5"], four["5"], strict=True))


def test_plan_takes_its_spreads_from_a_pilot(tmp_path: Path) -> None:
    sides = pilot(4, [1] * 40, 0.1, 0.1)
    files = [write_run(tmp_path, run_of(name, side)) for name, side in zip(("a", "b"), sides, strict=True)]
    done = plan("--pilot", *files, "--json")
    assert done.exit_code == 0, done.output
    (found,) = json.loads(done.output)["plans"][0]["spreads"]
    assert found["clusters"] == 40
    assert "pilot of 40" in plan("--pilot", *files).output
