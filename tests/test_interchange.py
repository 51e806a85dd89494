"""Runs in the formats of Every Eval Ever and the Hugging Face Hub."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from helpers import ANIMA_2_2
from huggingface_hub import parse_eval_result_entries
from made_records import run_of
from test_table import write_records, write_samples

from value_retention.analysis.cli import cli
from value_retention.analysis.exchange.every_eval_ever import WITHHELD
from value_retention.tasks.benchmark import joint_revision
from value_retention.tasks.errors import InputError
from value_retention.tasks.prompts import words_hash
from value_retention.tasks.record import AnswerRecord, DataInfo, JudgeInfo

VALIDATOR = os.environ.get("EVERY_EVAL_EVER") or shutil.which("every_eval_ever")
"""The command of the package every-eval-ever 0.3.0. It needs Python 3.12, so it lives in its own environment."""

REVISION = joint_revision(ANIMA_2_2.questions.revision, ANIMA_2_2.dimensions.revision)


def records(questions: int = 12, **common: Any) -> list[AnswerRecord]:
    """Answers of which one has no grade and one lacks a grade."""
    grades: dict[str, list[dict[str, float | None]]] = {
        str(n): [{"Care": float(n % 3 > 0), "Scope": float(n % 2)}] * 2 for n in range(questions)
    }
    grades["0"] = [{"Care": None, "Scope": None}, {"Care": None, "Scope": 1.0}]
    return list(run_of("m", grades, revision=REVISION, **common).records)


def export(folder: Path, run: Path, form: str, *options: str) -> Result:
    return CliRunner().invoke(cli, ["export", str(run), "--format", form, "-o", str(folder), *options])


def exported(folder: Path, *options: str, **common: Any) -> tuple[dict[str, Any], list[dict[str, Any]], Path]:
    """The aggregate, the samples and the path of an export for Every Eval Ever."""
    run = write_samples(folder / "run", records(**common))
    done = export(folder / "out", run, "every-eval-ever", *options)
    assert done.exit_code == 0, (done.output, done.exception)
    (path,) = (folder / "out").rglob("*[0-9a-f].json")
    (samples,) = (folder / "out").rglob("*_samples.jsonl")
    lines = [json.loads(line) for line in samples.read_text("utf-8").splitlines()]
    return json.loads(path.read_text("utf-8")), lines, path


def validated(folder: Path) -> subprocess.CompletedProcess[str]:
    """The validator's verdict on every file below a folder."""
    assert VALIDATOR is not None
    files = [str(path) for path in (folder / "data").rglob("*.json*")]
    return subprocess.run([VALIDATOR, "validate", *files], capture_output=True, text=True, check=False)


@pytest.mark.skipif(
    VALIDATOR is None, reason="needs every_eval_ever 0.3.0 on PATH, or EVERY_EVAL_EVER=COMMAND"
)
@pytest.mark.parametrize("judges", [["lab/judge-1"], ["lab/judge-1", "lexical"]])
def test_the_projects_own_validator_passes(tmp_path: Path, judges: list[str]) -> None:
    made = records()
    panel = tuple(JudgeInfo(name, {"temperature": 0.0}, is_llm=name != "lexical") for name in judges)
    made = [
        replace(
            r,
            judges=panel,
            grades=tuple(replace(g, judge=judge.name) for judge in panel for g in r.grades),
            grades_expected=r.grades_expected * len(panel),
            grades_missing=r.grades_missing * len(panel),
        )
        for r in made
    ]
    run = write_records(tmp_path / "m.records.jsonl", made)
    assert export(tmp_path, run, "every-eval-ever", "--texts").exit_code == 0
    done = validated(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed, 0 warning-only, 0 failed" in done.stdout
    (path,) = (tmp_path / "data").rglob("*[0-9a-f].json")
    path.write_text(path.read_text("utf-8").replace('"max_score": 1.0', '"max_score": 0.01', 1))
    assert validated(tmp_path).returncode == 1


def test_scores_carry_their_interval_and_their_judges(tmp_path: Path) -> None:
    log, _, path = exported(tmp_path)
    assert path.parent == tmp_path / "out" / "data" / "anima_2_2" / "lab" / "model"
    assert log["schema_version"] == "0.3.0"
    assert log["evaluation_timestamp"] == "2026-01-02"
    assert log["eval_library"]["additional_details"]["answers_without_score"] == "1"
    by_name = {result["evaluation_name"]: result for result in log["evaluation_results"]}
    assert {f"anima_2_2.{name}" for name in ("overall_mean", "Care", "Scope")} <= set(by_name)
    overall = by_name["anima_2_2.overall_mean"]
    table = CliRunner().invoke(cli, ["table", str(tmp_path / "run")]).output
    details = overall["score_details"]
    interval = details["uncertainty"]["confidence_interval"]
    shown = f"[{interval['lower'] * 100:.1f}, {interval['upper'] * 100:.1f}]"
    assert shown in table
    assert f"{details['score'] * 100:.1f}" in table
    assert interval["confidence_level"] == 0.95
    assert details["details"]["grades_missing"] == "3"
    (judge,) = overall["metric_config"]["llm_scoring"]["judges"]
    assert judge["model_info"]["id"] == "lab/judge-1"
    assert overall["source_data"]["hf_repo"] == "CompassioninMachineLearning/anima"


def test_each_scored_answer_is_a_line_and_no_missing_grade_is_a_zero(tmp_path: Path) -> None:
    log, lines, path = exported(tmp_path)
    assert len(lines) == 23 == log["detailed_evaluation_results"]["total_rows"]
    assert {line["evaluation_id"] for line in lines} == {log["evaluation_id"]}
    known = {result["evaluation_result_id"] for result in log["evaluation_results"]}
    assert {line["evaluation_result_id"] for line in lines} <= known
    (first,) = [line for line in lines if line["sample_id"] == "0"]
    assert first["evaluation"] == {"score": 1.0, "is_correct": True}
    assert first["metadata"]["grades_missing"] == "1"
    assert all(isinstance(value, str) for value in first["metadata"].values())
    samples = path.with_name(f"{path.stem}_samples.jsonl").read_bytes()
    assert log["detailed_evaluation_results"]["checksum"] == hashlib.sha256(samples).hexdigest()


def test_gated_texts_are_withheld_unless_asked_for(tmp_path: Path) -> None:
    _, lines, _ = exported(tmp_path / "a")
    _, full, _ = exported(tmp_path / "b", "--texts")
    assert {line["input"]["raw"] for line in lines} == {WITHHELD}
    assert {text for line in lines for text in line["output"]["raw"]} == {WITHHELD}
    assert "question 3" not in json.dumps(lines)
    assert "question 3" in {line["input"]["raw"] for line in full}
    assert [line["sample_hash"] for line in lines] == [line["sample_hash"] for line in full]


def test_the_same_run_has_the_same_identity_and_another_run_another(tmp_path: Path) -> None:
    first, second = (exported(tmp_path / name)[0] for name in "ab")
    other = exported(tmp_path / "c", questions=13)[0]
    assert first["evaluation_id"] == second["evaluation_id"] != other["evaluation_id"]
    assert first["detailed_evaluation_results"] == second["detailed_evaluation_results"]


def test_the_judges_words_are_given_where_they_are_known(tmp_path: Path) -> None:
    known = words_hash(ANIMA_2_2, ANIMA_2_2.questions.revision)
    for name, rubric in (("known", known), ("other", "0" * 64)):
        made = [replace(r, rubric_hash=rubric) for r in records()]
        run = write_samples(tmp_path / name / "run", made)
        assert export(tmp_path / name, run, "every-eval-ever").exit_code == 0
        (path,) = (tmp_path / name / "data").rglob("*[0-9a-f].json")
        scoring = json.loads(path.read_text("utf-8"))["evaluation_results"][0]["metric_config"]["llm_scoring"]
        assert ("{question}" in scoring["input_prompt"]) == (name == "known")


def test_a_local_checkpoint_needs_a_public_name(tmp_path: Path) -> None:
    made = [replace(r, run=replace(r.run, model=str(tmp_path / "checkpoint"))) for r in records()]
    run = write_records(tmp_path / "m.records.jsonl", made)
    assert isinstance(export(tmp_path / "o", run, "every-eval-ever").exception, InputError)
    for bad in ("../..", "lab", "/lab/x", "lab/.."):
        assert isinstance(
            export(tmp_path / "o", run, "every-eval-ever", "--model-id", bad).exception, InputError
        )
    assert not (tmp_path / "o").exists()
    assert export(tmp_path / "o", run, "every-eval-ever", "--model-id", "lab/x").exit_code == 0
    for file in (tmp_path / "o").rglob("*.json*"):
        assert str(tmp_path) not in file.read_text("utf-8")


def test_the_hub_gets_an_entry_per_benchmark(tmp_path: Path) -> None:
    made = [replace(r, data=replace(r.data, revision=f"{'a' * 40}+{'b' * 40}")) for r in records()]
    done = export(tmp_path, write_samples(tmp_path / "run", made), "hub")
    assert done.exit_code == 0, (done.output, done.exception)
    content = yaml.safe_load((tmp_path / ".eval_results" / "anima_2_2.yaml").read_text("utf-8"))
    (entry,) = parse_eval_result_entries(content)
    assert entry.dataset_id == "CompassioninMachineLearning/anima"
    assert entry.task_id == "anima_2_2"
    assert entry.dataset_revision == "a" * 40
    assert entry.date == "2026-01-02"
    assert entry.value == 66.67  # question 0: 1; then 1, .5, .5, .5, 1, 0, 1, .5, .5, .5, 1
    for part in (
        "judge lab/judge-1",
        "12 questions x 2 answers",
        "95 % interval [",
        "6.3 % of grades missing",
    ):
        assert part in (entry.notes or ""), entry.notes


@pytest.mark.parametrize("problem", ["sample", "lexical", "part", "unchecked", "two runs"])
def test_what_is_not_a_benchmark_result_does_not_go_to_the_hub(tmp_path: Path, problem: str) -> None:
    made = records()
    if problem == "sample":
        made = [replace(r, data=DataInfo("sample", "x", "y", is_benchmark=False)) for r in made]
    if problem in ("part", "unchecked"):
        data = replace(made[0].data, size=114 if problem == "part" else None, published=problem == "part")
        made = [replace(r, data=data) for r in made]
    if problem == "lexical":
        made = [replace(r, judges=(replace(r.judges[0], is_llm=False),)) for r in made]
    run = write_samples(tmp_path / "run", made)
    if problem == "two runs":
        run = write_samples(
            tmp_path / "run", records(text="another"), time="2026-02-02T03-04-05.000000"
        ).parent
    done = export(tmp_path, run, "hub")
    assert isinstance(done.exception, InputError), done.output
    assert not (tmp_path / ".eval_results").exists()
    if problem in ("part", "unchecked"):
        done = export(tmp_path / "out", run, "every-eval-ever")
        assert isinstance(done.exception, InputError), done.output
        assert "12 of 114 questions" in str(done.exception) or "not checked" in str(done.exception)
