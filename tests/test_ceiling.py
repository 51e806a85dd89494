"""A score beside the same model's ceiling test: in the run's folder or named; refused where it is another's."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import made_records
import numpy as np
import pytest
from click.testing import CliRunner, Result
from helpers import ANIMA_2_2
from hypothesis import given, settings
from hypothesis import strategies as st

from value_retention.analysis.cli import cli
from value_retention.analysis.effects.ceilings import NO_CEILING, ceilings_of
from value_retention.analysis.runs.load import load_runs
from value_retention.analysis.runs.scores import reduce_run
from value_retention.analysis.stats.settings import Settings
from value_retention.tasks.answers import Answer, Design, make_record
from value_retention.tasks.data import load
from value_retention.tasks.errors import InputError
from value_retention.tasks.record import AnswerRecord

OWN = [0.1 + 0.05 * (n % 9) for n in range(24)]
TOP = [0.6 + 0.05 * (n % 7) for n in range(24)]


def made(scores: list[float], ceiling: bool = False, epochs: int = 1, **common: Any) -> list[AnswerRecord]:
    records = [
        made_records.answer(
            str(n),
            epoch,
            {f"d{k}": float(k < round(score * 20)) for k in range(20)},
            text=f"{score}",
            **common,
        )
        for n, score in enumerate(scores)
        for epoch in range(1, epochs + 1)
    ]
    sampling = {"temperature": 1.0} | ({"ceiling": True} if ceiling else {})
    return [dataclasses.replace(r, run=dataclasses.replace(r.run, sampling=sampling)) for r in records]


def write(file: Path, records: list[AnswerRecord]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(record.to_json() + "\n" for record in records), "utf-8")
    return file


def command(*arguments: object) -> Result:
    return CliRunner().invoke(cli, list(map(str, arguments)))


# -- the figures ------------------------------------------------------------------------------------------

steps = st.lists(st.tuples(st.integers(0, 20), st.integers(1, 20)), min_size=8, max_size=20)


@settings(max_examples=15, deadline=None)
@given(steps)
def test_the_share_is_that_of_the_means_and_the_ceiling_has_its_own_interval(
    pairs: list[tuple[int, int]],
) -> None:
    own, top = ([pair[side] / 20 for pair in pairs] for side in (0, 1))
    (run,) = reduce_run("m", (), made(own), made(top, ceiling=True, epochs=2))
    assert run.ceiling is not None
    (row, *_) = ceilings_of([run], Settings())
    assert (row.score, row.ceiling) == (pytest.approx(np.mean(own) * 100), pytest.approx(np.mean(top) * 100))
    assert row.low is not None
    assert row.high is not None
    assert row.low <= np.mean(top) * 100 <= row.high
    if row.share is not None:
        assert row.share.estimate == pytest.approx(np.mean(own) / np.mean(top))


def test_fiellers_interval_is_where_the_paired_t_test_accepts() -> None:
    (run,) = reduce_run("m", (), made(OWN), made(TOP, ceiling=True))
    (row, *_) = ceilings_of([run], Settings())
    assert row.share is not None
    own, top = (np.round(np.array(scores) * 20) / 20 for scores in (OWN, TOP))
    for end in (row.share.low, row.share.high):
        rest = own - end * top
        t = abs(rest.mean()) / (rest.std(ddof=1) / np.sqrt(24))
        assert t == pytest.approx(2.0686576, abs=1e-4)  # the 97.5 % quantile with 23 degrees of freedom


def test_a_ceiling_of_zero_has_no_share() -> None:
    own = [0.05 * (n % 2) for n in range(24)]
    (run,) = reduce_run("m", (), made(own), made([0.0] * 24, ceiling=True))
    (row, *_) = ceilings_of([run], Settings())
    assert (row.share, row.reasons["share"]) == (None, NO_CEILING)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"judge": "lab/judge-2"}, "judges"),
        ({"temperature": 0.5}, "sampling"),
        ({"revision": "def"}, "revision"),
    ],
)
def test_a_ceiling_test_that_was_asked_or_judged_otherwise_is_refused(
    other: dict[str, Any], said: str
) -> None:
    top = made(TOP, ceiling=True, **{k: v for k, v in other.items() if k != "temperature"})
    if "temperature" in other:
        top = [
            dataclasses.replace(r, run=dataclasses.replace(r.run, sampling={**other, "ceiling": True}))
            for r in top
        ]
    (run,) = reduce_run("m", (), made(OWN), top)
    with pytest.raises(InputError, match=said):
        ceilings_of([run], Settings())


def test_a_ceiling_test_of_another_model_is_refused() -> None:
    top = [
        dataclasses.replace(r, run=dataclasses.replace(r.run, model="lab/other"))
        for r in made(TOP, ceiling=True)
    ]
    (run,) = reduce_run("m", (), made(OWN), top)
    with pytest.raises(InputError, match="another model"):
        ceilings_of([run], Settings())


# -- the commands -----------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two runs, of which the first holds its ceiling test too."""
    write(tmp_path / "base" / "a.records.jsonl", made(OWN))
    write(tmp_path / "base" / "top.records.jsonl", made(TOP, ceiling=True))
    write(tmp_path / "tuned" / "a.records.jsonl", made(OWN[::-1]))
    write(tmp_path / "top" / "a.records.jsonl", made(TOP[::-1], ceiling=True))
    return tmp_path


SHARE = f"{sum(OWN) / sum(TOP) * 100:.1f} ["


def test_a_folder_with_both_is_one_run_with_its_ceiling(folder: Path) -> None:
    (run,) = load_runs([folder / "base"])
    assert (len(run.records), len(run.ceiling)) == (24, 24)
    out = folder / "out.json"
    done = command("compare", folder / "base", folder / "tuned", "--margin", 5, "--full", "--json", out)
    assert done.exit_code == 0, done.output
    assert SHARE in done.output
    (row,) = json.loads(out.read_text("utf-8"))["ceilings"]
    assert (row["run"], row["metric"]) == ("base", "overall_mean")
    assert row["share"]["estimate"] == pytest.approx(sum(OWN) / sum(TOP))
    first_screen = command("compare", folder / "base", folder / "tuned", "--margin", 5).output
    assert SHARE not in first_screen
    table = command("table", folder / "base").output
    assert "base (ceiling test): anima_2_2" in table


def test_a_ceiling_test_is_named_by_run(folder: Path) -> None:
    report = folder / "report.md"
    runs = (folder / "base", folder / "tuned")
    done = command("report", *runs, "--ceiling", f"tuned={folder / 'top'}", "-o", report)
    assert done.exit_code == 0, done.output
    lines = [line for line in report.read_text("utf-8").splitlines() if SHARE.replace("[", "\\[") in line]
    assert [line.split("|")[1].strip() for line in lines] == ["base, ANIMA 2.2", "tuned, ANIMA 2.2"]


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        ("nobody=top", "unknown run"),
        ("tuned", "no path"),
        ("tuned=tuned", "ordinary answers"),
        ("base=top", "has already"),
    ],
)
def test_a_wrong_ceiling_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, given_: str, said: str
) -> None:
    monkeypatch.chdir(folder)
    done = command("compare", "base", "tuned", "--ceiling", given_)
    assert done.exit_code != 0
    assert said in str(done.exception) + done.output


def test_an_ordinary_run_is_not_compared_with_a_ceiling_test(folder: Path) -> None:
    done = command("compare", folder / "tuned", folder / "top")
    assert done.exit_code != 0
    assert "ceiling test" in str(done.exception) + done.output


def test_judging_a_folder_with_both_judges_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VALUE_RETENTION_JOURNAL_DIR", str(tmp_path / "journal"))
    dataset = load(ANIMA_2_2, "sample")
    run = made(OWN)[0].run
    for name, sampling in (("ordinary", {}), ("ceiling", {"ceiling": True})):
        asked = dataclasses.replace(run, sampling=sampling)
        records = [
            make_record(Design.of(dataset), Answer.of(item, 1, f"{name} {item.id}"), (), (), asked)
            for item in dataset.items[:6]
        ]
        write(tmp_path / "m" / f"{name}.records.jsonl", records)
    done = command("judge", tmp_path / "m", "--judge", "lexical")
    assert done.exit_code == 0, done.output
    (judged,) = load_runs([tmp_path / "m"])
    for part in (judged.records, judged.ceiling):
        assert len(part) == 6
        assert {record.status for record in part} == {"scored"}


def test_a_ceiling_test_that_is_not_judged_yet_does_not_stop_a_comparison(folder: Path) -> None:
    saved = [
        dataclasses.replace(
            r, judges=(), grades=(), grades_expected=0, grades_missing=0, status="not_judged", overall=None,
            dimension_scores=dict.fromkeys(r.dimensions),
        )
        for r in made(TOP, ceiling=True)
    ]  # fmt: skip
    write(folder / "base" / "top.records.jsonl", saved)
    done = command("compare", folder / "base", folder / "tuned", "--full")
    assert done.exit_code == 0, done.output
    assert "own ceiling" not in done.output


def test_an_evidence_folder_holds_the_ceiling_test_from_another_place(folder: Path) -> None:
    runs = (folder / "base", folder / "tuned", "--ceiling", f"tuned={folder / 'top'}")
    done = command("report", *runs, "--margin", 5, "-o", folder / "evidence")
    assert done.exit_code == 0, done.output
    assert len(json.loads((folder / "evidence" / "report.json").read_text("utf-8"))["ceilings"]) == 2
    checked = command("verify", folder / "evidence")
    assert checked.exit_code == 0, checked.output
