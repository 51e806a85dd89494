"""Folders that hold several runs: two judges, several models, failed evals, other tasks."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from inspect_ai.log import EvalConfig, EvalDataset, EvalLog, EvalSample, EvalSpec, write_eval_log
from inspect_ai.scorer import Score
from made_records import answer

from value_retention.analysis.cli import cli
from value_retention.analysis.runs.load import load_runs
from value_retention.tasks.errors import InputError
from value_retention.tasks.record import AnswerRecord


def made(model: str, judge: str = "lab/one", **more: Any) -> list[AnswerRecord]:
    """Ten answers; the second judge passes fewer of them."""
    records = [
        answer(str(k), 1, {"x": float(k % (2 if judge == "lab/one" else 5) == 0)}, judge=judge, **more)
        for k in range(10)
    ]
    return [replace(r, run=replace(r.run, model=model)) for r in records]


def write(file: Path, records: Sequence[AnswerRecord]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(record.to_json() + "\n" for record in records), "utf-8")
    return file


@pytest.fixture
def judged_twice(tmp_path: Path) -> Path:
    """Folders ``base`` and ``tuned``, each judged by two judges."""
    for name in ("base", "tuned"):
        for number, judge in enumerate(("lab/one", "lab/two")):
            text = f"an answer of {name}"
            write(tmp_path / name / f"{number}.records.jsonl", made(f"lab/{name}", judge, text=text))
    return tmp_path


def command(*arguments: str | Path) -> Any:
    return CliRunner().invoke(cli, [str(part) for part in arguments])


def test_one_of_two_judges_is_chosen(judged_twice: Path) -> None:
    runs = [judged_twice / "base", judged_twice / "tuned"]
    assert len(load_runs(runs)) == 4
    chosen = load_runs(runs, judge="lab/two")
    assert [run.name for run in chosen] == ["base", "tuned"]
    assert {record.judges[0].name for run in chosen for record in run.records} == {"lab/two"}
    with pytest.raises(InputError, match=r"lab/one, lab/two"):
        load_runs(runs, judge="lab/three")
    refused = command("compare", *runs)
    assert isinstance(refused.exception, InputError)
    assert "--judge NAME" in str(refused.exception)
    for name in ("table", "compare", "agreement"):
        assert command(name, *runs, "--judge", "lab/two").exit_code == (1 if name == "agreement" else 0)
    shown = command("compare", *runs, "--judge", "lab/two")
    assert "lab/two" in shown.output
    assert "lab/one" not in shown.output


def test_an_arms_file_chooses_the_judge_and_the_option_overrules_it(judged_twice: Path) -> None:
    text = "arms:\n  - {name: base, role: base, run: base}\n"
    text += "  - {domain: coding, method: SFT, data: d, seed: 1, run: tuned}\n"
    file = judged_twice / "arms.yaml"
    file.write_text(text)
    refused = command("arms", file)
    assert isinstance(refused.exception, InputError)
    assert "--judge" in str(refused.exception)
    file.write_text("judge: lab/one\n" + text)
    assert "lab/one" in command("arms", file).output
    assert "lab/two" in command("arms", file, "--judge", "lab/two").output
    file.write_text("judge: [lab/one]\n" + text)
    assert "`judge`" in str(command("arms", file).exception)


def test_a_panel_is_chosen_by_its_judges_names(tmp_path: Path) -> None:
    first, second = made("m"), made("m", "lab/two")
    panel = [
        replace(a, judges=a.judges + b.judges, grades=a.grades + b.grades, grades_expected=2)
        for a, b in zip(first, first, strict=True)
    ]
    panel = [
        replace(
            p,
            judges=(p.judges[0], b.judges[0]),
            grades=(p.grades[0], replace(b.grades[0], grade=p.grades[0].grade)),
        )
        for p, b in zip(panel, second, strict=True)
    ]
    write(tmp_path / "m" / "one.records.jsonl", first)
    write(tmp_path / "m" / "panel.records.jsonl", panel)
    for name in ("lab/one + lab/two", "lab/one,lab/two"):
        (run,) = load_runs([tmp_path / "m"], judge=name)
        assert len(run.records[0].judges) == 2
    (run,) = load_runs([tmp_path / "m"], judge="lab/one")
    assert len(run.records[0].judges) == 1


@pytest.mark.parametrize(
    ("models", "names"),
    [
        (("/data/base", "lab/tuned"), ["base", "tuned"]),
        (("one/same", "two/same"), ["one/same", "two/same"]),
        (("m", "m"), ["runs/0", "runs/1"]),
    ],
)
def test_the_runs_of_a_parent_folder_are_named_by_model(
    tmp_path: Path, models: Sequence[str], names: Sequence[str]
) -> None:
    for number, model in enumerate(models):
        write(tmp_path / "runs" / str(number) / f"{number}.records.jsonl", made(model))
        if len(set(models)) > 1:
            more = f"{number}-moru.records.jsonl"
            write(tmp_path / "runs" / str(number) / more, made(model, benchmark="moru"))
    runs = load_runs([tmp_path / "runs"])
    assert [run.name for run in runs] == names
    assert all(len(run.benchmarks()) == len(set(models)) for run in runs), (
        "the benchmarks of a model are one run"
    )
    assert next(run.name for run in load_runs([f"x={tmp_path / 'runs'}"])).startswith("x/")


def log(file: Path, task: str, records: Sequence[AnswerRecord] = (), status: Any = "success") -> Path:
    """An Inspect log with records, or with another task's scores."""
    samples = [
        EvalSample(
            id=r.item, epoch=r.epoch, input=r.question, target="",
            scores={"s": Score(value={"overall": r.overall}, metadata={"record": r.to_dict()})},
        )
        for r in records
    ]  # fmt: skip
    spec = EvalSpec(
        created="2026-01-02T03:04:05+00:00", task=task, dataset=EvalDataset(), model="m", config=EvalConfig()
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    write_eval_log(EvalLog(eval=spec, samples=samples, status=status), str(file))
    return file


def test_a_failed_eval_among_others_is_named_and_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log(tmp_path / "logs" / "good.eval", "value_retention/anima_2_2", made("m"))
    bad = log(tmp_path / "logs" / "bad.eval", "value_retention/anima_2_2", status="error")
    upstream = log(tmp_path / "logs" / "upstream.eval", "inspect_evals/anima", status="cancelled")
    (run,) = load_runs([tmp_path / "logs"])
    assert len(run.records) == 10
    for file in (bad, upstream):
        assert f"passed over {file}" in caplog.text
    with pytest.raises(InputError, match="status error"):
        load_runs([bad])
    (tmp_path / "logs" / "good.eval").unlink()
    with pytest.raises(InputError, match="no records"):
        load_runs([tmp_path / "logs"])


def test_the_log_of_another_task_is_kept_beside_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log(tmp_path / "logs" / "a.eval", "value_retention/anima_2_2", made("m"))
    other = log(tmp_path / "logs" / "b.eval", "inspect_evals/ifeval")
    (run,) = load_runs([tmp_path / "logs"])
    assert run.others == (str(other),)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
