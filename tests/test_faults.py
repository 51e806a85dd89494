"""Judging is killed and disturbed, and neither loses nor repeats a reply (`faults.py` prints the long table)."""

from __future__ import annotations

from pathlib import Path

import faults
import helpers
import pytest
from helpers import COUNTS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def saved(work: Path) -> Path:
    return faults.save_answers(work)


@pytest.fixture(scope="module")
def expected(saved: Path, work: Path) -> faults.Records:
    return faults.undisturbed(saved, work)


def counted(row: faults.Row) -> dict[str, object]:
    return {name: getattr(row, name) for name in ("kills", "repeated", "lost", "equal")}


def test_killed_judging_repeats_no_finished_call_and_ends_with_the_same_records(
    saved: Path, expected: faults.Records, tmp_path: Path
) -> None:
    row = faults.judge_killed(saved, expected, tmp_path / "killed", kills=4)
    assert counted(row) == COUNTS["judge killed"]


def test_every_kind_of_fault_is_survived_and_every_retry_counted(
    saved: Path, expected: faults.Records, tmp_path: Path
) -> None:
    row = faults.judge_with_faults(saved, expected, tmp_path / "faults", rate=0.1)
    assert row.injected >= 12
    assert counted(row) | {"without a retry": row.injected - row.retries} == COUNTS["faults"] | {"kills": 0}


def test_lm_eval_killed_while_it_generates_and_while_it_judges(
    expected: faults.Records, tmp_path: Path
) -> None:
    row = faults.lm_eval_killed(expected, tmp_path / "lm", [30, 150])
    assert counted(row) == COUNTS["lm_eval killed"]
    assert row.under_way <= 2 * (32 + 4)


def test_with_the_judge_down_the_run_ends_keeps_its_answers_and_says_how_to_go_on(tmp_path: Path) -> None:
    journals = {"VALUE_RETENTION_JOURNAL_DIR": str(tmp_path / "journals")}
    command = helpers.lm_eval("--tasks", "moru_en", "--log_samples", "--output_path", tmp_path / "lm")
    settings = {"judge": helpers.JUDGE, "data": "sample", "epochs": 1}
    args = {"max_retries": 1, "max_connections": 8}
    with helpers.scripted_server("--down") as server:
        done = helpers.run(
            *command,
            *server.lm_eval_model,
            *helpers.metadata(**settings, judge_args=args),
            **server.environment,
            **journals,
        )
        asked = server.stats()
    assert done.returncode == 1, done.stderr[-3000:]
    assert "same command again" in done.stderr
    assert asked["model"] == 12
    records = faults.records_at(tmp_path / "lm")
    assert len(records) == 12
    assert {record["status"] for record in records.values()} == {"unscored"}
    # The judge is back: the missing grades are filled in from what was saved, without the model.
    fill = [helpers.BIN / "value-retention", "judge", tmp_path / "lm", "--fill"]
    with helpers.scripted_server() as server:
        filled = helpers.run(*fill, **server.environment, **journals)
        assert filled.returncode == 0, filled.stderr[-3000:]
        asked = server.stats()
        assert asked["model"] == 0
        again = helpers.run(*fill, **server.environment, **journals)
        assert again.returncode == 0, again.stderr[-3000:]
        assert server.stats() == asked, "what was filled is not paid for again"
    assert "no missing grades" in again.stdout
    records = faults.records_at(tmp_path / "lm")
    assert len(records) == 12
    assert faults.missing(records) == 0
