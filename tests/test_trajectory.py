"""Checkpoints in order: simultaneous intervals, and the first checkpoint with a shown loss."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.stats import multivariate_t
from simulation import ANIMA, MORU, joint_coverage, wrong_first_loss
from synthetic import anima_shape, moru_shape, synthetic_records

from value_retention.analysis.cli import cli
from value_retention.analysis.effects.trajectory import joint_level
from value_retention.analysis.stats.cluster import t_quantile
from value_retention.tasks.cluster import cluster_table, covariance
from value_retention.tasks.errors import InputError

LEVELS = {"base": 0.6, "mid": 0.6, "step100": 0.59, "step300": 0.45, "step500": 0.4}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("trajectory")
    found = []
    for name, level in LEVELS.items():
        records = synthetic_records(name, anima_shape(), {"all": level}, epochs=2)
        if name != "mid":
            records += synthetic_records(name, moru_shape(), {"all": 0.6}, epochs=2)
        path = folder / f"{name}.records.jsonl"
        path.write_text("".join(f"{record.to_json()}\n" for record in records), "utf-8")
        found.append(f"{name}={path}")
    return found


def run(*arguments: str) -> tuple[str, BaseException | None]:
    done = CliRunner().invoke(cli, [*arguments, "--margin", "5", "--resamples", "1000"])
    return " ".join(done.output.split()), done.exception


def test_the_first_shown_loss_is_named_and_agrees_with_the_verdicts(files: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    said, error = run("compare", *files, "--trajectory", "--json", str(out))
    assert error is None, said
    value = json.loads(out.read_text("utf-8"))
    anima, moru = value["trajectory"]
    assert [step["run"] for step in anima["steps"]] == list(LEVELS)
    assert [step["run"] for step in moru["steps"]] == [name for name in LEVELS if name != "mid"]
    assert (anima["first_loss"], moru["first_loss"]) == ("step300", None)
    effects = {(e["benchmark"], e["run"]): e for e in value["effects"] if e["tier"] == "primary"}
    for row in (anima, moru):
        assert row["level_of_each"] > row["level"]
        for step in row["steps"]:
            assert step["low"] < step["score"] < step["high"]
            effect = effects.get((row["benchmark"], step["run"]))
            if effect is not None:
                assert (step["difference_low"], step["difference_high"]) == (effect["low"], effect["high"])
                assert step["loss"] == (effect["high"] < 0)
    assert "ANIMA 2.2: the first loss shown is at step300 (−" in said
    assert "3rd of 4 checkpoints after base)" in said
    assert "MORU: no loss is shown at any of 3 checkpoints after base." in said


def test_the_report_shows_the_curve_its_table_and_the_sentence(files: list[str], tmp_path: Path) -> None:
    page = tmp_path / "r.md"
    said, error = run("report", *files, "--trajectory", "-o", str(page))
    assert error is None, said
    text = page.read_text("utf-8")
    assert "the first loss shown is at step300" in text
    assert "ANIMA 2.2: trajectory" in text
    assert "simulated, seed 0" in text


@pytest.mark.slow
def test_an_evidence_folder_of_a_trajectory_is_verified(files: list[str], tmp_path: Path) -> None:
    said, error = run("report", *files, "--trajectory", "-o", str(tmp_path / "evidence"))
    assert error is None, said
    done = CliRunner().invoke(cli, ["verify", str(tmp_path / "evidence")])
    assert done.exit_code == 0, done.output
    content = json.loads((tmp_path / "evidence" / "report.json").read_text("utf-8"))
    assert content["trajectory"][0]["first_loss"] == "step300"


def test_two_runs_or_no_common_baseline_are_refused(files: list[str]) -> None:
    _, error = run("compare", *files[:2], "--trajectory")
    assert isinstance(error, InputError)
    assert "three runs" in str(error)


def test_the_joint_level_is_that_of_the_multivariate_t_distribution() -> None:
    """Against scipy's probability of the box of all intervals."""
    rng = np.random.default_rng(3)
    shared = rng.normal(0, 1, (40, 1))
    values = shared + rng.normal(0, 0.7, (40, 4))
    table = cluster_table(values, np.ones(values.shape))
    each = joint_level(table, 0.95, seed=0)
    spread = covariance(table)
    sd = np.sqrt(np.diag(spread))
    critical = float(t_quantile(np.array([39.0]), (1 + each) / 2)[0])
    box = multivariate_t(np.zeros(4), spread / np.outer(sd, sd), df=39, seed=1)
    inside = box.cdf(np.full(4, critical), lower_limit=np.full(4, -critical))
    assert inside == pytest.approx(0.95, abs=0.004)
    assert 0.95 < each < 1 - 0.05 / 4 + 0.001


def test_runs_of_one_checkpoint_need_no_wider_intervals() -> None:
    values = np.tile(np.random.default_rng(4).normal(0, 1, (30, 1)), 3)
    assert joint_level(cluster_table(values, np.ones(values.shape)), 0.95, 0) == pytest.approx(
        0.95, abs=0.004
    )


@pytest.mark.slow
def test_a_checkpoint_without_a_loss_is_named_as_rarely_as_the_level_says() -> None:
    """Six checkpoints of which none changed, and of which only the last two lost: at most 5 % name a wrong one."""
    for losses in ((0.0,) * 6, (0.0, 0.0, 0.0, 0.0, -1.5, -1.5)):
        assert wrong_first_loss(ANIMA, losses, 1000, 31) < 6.2, losses  # 5 % and 1.7 Monte Carlo errors


@pytest.mark.slow
def test_the_intervals_of_all_scores_hold_together() -> None:
    for design in (ANIMA, MORU):
        found = joint_coverage(design, 6, 300, 32)
        assert found["simultaneous"] > 91.5  # 95 % less 2.8 Monte Carlo errors
        assert found["each at 95 %"] < found["simultaneous"] - 4
