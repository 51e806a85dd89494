"""Answers of an interrupted run whose model is uncertain, and two runs of one model: every output says so first."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import made_records
import pandas as pd
import pytest
from click.testing import CliRunner

from value_retention.analysis.cli import cli
from value_retention.analysis.effects.compare import compare_pairs
from value_retention.analysis.runs.scores import reduce_run
from value_retention.analysis.stats.settings import Settings
from value_retention.tasks.record import AnswerRecord

AGE = "12 of 24 answers, 3 hours old"


def records(passed: float, **run: str) -> list[AnswerRecord]:
    made = [
        made_records.answer(str(n), 1, {"Care": passed if n % 3 else 1.0 - passed, "Scope": 1.0})
        for n in range(24)
    ]
    return [dataclasses.replace(r, run=dataclasses.replace(r.run, **run)) for r in made]


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    found = []
    for name, made in {"base": records(1.0), "tuned": records(0.0, resumed=AGE)}.items():
        found.append(str(tmp_path / f"{name}.records.jsonl"))
        Path(found[-1]).write_text("".join(record.to_json() + "\n" for record in made), "utf-8")
    return found


def test_table_and_compare_say_first_that_a_run_was_resumed(tmp_path: Path, files: list[str]) -> None:
    outputs = {kind: tmp_path / f"x.{kind}" for kind in ("json", "csv", "tex")}
    options = ["--json", outputs["json"], "--csv", outputs["csv"], "--latex", outputs["tex"]]
    for command in (["table", *files], ["compare", *files, *map(str, options)]):
        done = CliRunner().invoke(cli, command)
        assert done.exit_code == 0, done.output
        assert done.output.startswith("RESUMED: tuned")
        assert AGE in done.output
    content = json.loads(outputs["json"].read_text("utf-8"))
    assert [row["resumed"] for row in content["judged"]] == ["", AGE]
    assert "RESUMED" in content["headline"][0]
    assert set(pd.read_csv(outputs["csv"])["resumed"]) == {AGE}
    assert outputs["tex"].read_text("utf-8").startswith("% RESUMED")


def test_a_table_of_grades_names_the_model_and_the_age(tmp_path: Path, files: list[str]) -> None:
    out = tmp_path / "grades.csv"
    assert CliRunner().invoke(cli, ["table", files[1], "-o", str(out)]).exit_code == 0
    assert set(pd.read_csv(out)["resumed"]) == {AGE}


@pytest.mark.parametrize(
    ("identities", "said"), [(("f00", "f00"), True), (("f00", "ba5"), False), (("", ""), False)]
)
def test_two_runs_of_one_model_are_named(identities: tuple[str, str], said: bool) -> None:
    runs = {"base": records(1.0, identity=identities[0]), "tuned": records(0.0, identity=identities[1])}
    scores = [part for name, made in runs.items() for part in reduce_run(name, (), made)]
    headline = " ".join(compare_pairs(scores, Settings()).headline)
    assert ("base and tuned are answers of the same model" in headline) == said
    assert ("f00" in headline) == said
