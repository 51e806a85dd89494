"""A log stands for what Inspect says it stands for: invalidated samples, edits, errors, and later attempts."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from inspect_ai.log import (
    EvalConfig,
    EvalDataset,
    EvalError,
    EvalLog,
    EvalMetric,
    EvalResults,
    EvalSample,
    EvalScore,
    EvalSpec,
    ProvenanceData,
    edit_score,
    invalidate_samples,
    write_eval_log,
)
from inspect_ai.model import ModelOutput
from inspect_ai.scorer import Score, ScoreEdit

from value_retention.adapters.readers.inspect import read_log
from value_retention.analysis.cli import cli
from value_retention.analysis.runs.capability import read_capability
from value_retention.analysis.runs.load import load_runs
from value_retention.tasks.errors import InputError
from value_retention.tasks.record import AnswerRecord, DroppedRow

PERSON = ProvenanceData(author="kim", reason="endpoint down")


def log_of(values: dict[int, str | None], **more: object) -> EvalLog:
    """An eval with ``model_graded_qa``, two epochs; a question without a grade ended in an error."""
    samples = [
        EvalSample(
            id=number,
            epoch=epoch,
            input=f"Question {number}?",
            target="",
            uuid=f"{number}-{epoch}",
            output=ModelOutput.from_content("m", "An answer.") if value else ModelOutput(),
            scores={"model_graded_qa": Score(value=value, answer="An answer.", explanation="Because.")}
            if value
            else None,
            error=None
            if value
            else EvalError(message="ValueError\n  timeout", traceback="", traceback_ansi=""),
        )
        for number, value in values.items()
        for epoch in (1, 2)
    ]
    spec = EvalSpec(
        created=str(more.pop("created", "2026-01-02T03:04:05+00:00")),
        task="kindqa",
        task_id=str(more.pop("task_id", "t")),
        dataset=EvalDataset(samples=9, sample_ids=[1, 2, 3]),
        model="m",
        config=EvalConfig(epochs=2),
    )
    return EvalLog(eval=spec, samples=samples, **{"status": "success", **more})  # type: ignore[arg-type]


def written(log: EvalLog, path: Path) -> Path:
    write_eval_log(log, str(path))
    return path


def read(log: EvalLog, folder: Path) -> list[AnswerRecord]:
    return list(read_log(written(log, folder / "a.eval")))


def test_an_invalidated_sample_is_left_out_and_named(tmp_path: Path) -> None:
    log = invalidate_samples(log_of({1: "C", 2: "I", 3: "C"}), ["2-1"], PERSON)
    records = read(log, tmp_path)
    assert sorted((r.item, r.epoch) for r in records) == [("1", 1), ("1", 2), ("2", 2), ("3", 1), ("3", 2)]
    assert {r.run.left_out for r in records} == {
        (DroppedRow("2 epoch 1", "invalidated by kim: endpoint down"),)
    }
    said = CliRunner().invoke(cli, ["table", f"a={tmp_path}"]).output
    assert "ANSWERS LEFT OUT: a, kindqa: 1 answer: sample 2 epoch 1" in " ".join(said.split())


def test_failed_samples_and_those_that_were_never_asked_are_named(tmp_path: Path) -> None:
    (record, _) = read(log_of({1: "C", 2: None}, status="error"), tmp_path)
    assert record.run.asked == 3
    assert sorted(record.run.left_out, key=lambda row: row.row) == [
        DroppedRow("2 epoch 1", "error: timeout"),
        DroppedRow("2 epoch 2", "error: timeout"),
        DroppedRow("3 epoch 1", "not answered, the eval's status is 'error'"),
        DroppedRow("3 epoch 2", "not answered, the eval's status is 'error'"),
    ]


def test_an_error_without_a_message_is_named_too(tmp_path: Path) -> None:
    log = log_of({1: "C", 2: None})
    assert log.samples
    for sample in log.samples:
        if sample.error:
            sample.error.message = ""
    (record, *_) = read(log, tmp_path)
    assert DroppedRow("2 epoch 1", "error: without a message") in record.run.left_out


def test_an_edited_grade_counts_and_says_who_edited_it(tmp_path: Path) -> None:
    log = log_of({1: "C", 2: "I"})
    assert log.samples
    log.results = None
    edit_score(
        log, 1, "model_graded_qa", ScoreEdit(value="I", provenance=PERSON), recompute_metrics=False, epoch=1
    )
    first, second = (record for record in read(log, tmp_path) if record.item == "1")
    assert (first.grades[0].grade, first.grades[0].raw, first.grades[0].error) == (
        0.0,
        "I",
        "edited by kim: endpoint down",
    )
    assert (second.grades[0].grade, second.grades[0].error) == (1.0, None)


def test_an_edited_score_of_many_grades_is_refused(tmp_path: Path, sample_log: EvalLog) -> None:
    assert sample_log.samples
    sample = sample_log.samples[0]
    assert sample.scores
    (name,) = sample.scores
    value = dict(sample.scores[name].value)  # type: ignore[arg-type]
    edit = ScoreEdit(value=value | {"overall": 0.0}, provenance=PERSON)
    edit_score(sample_log, sample.id, name, edit, recompute_metrics=False, epoch=sample.epoch)
    with pytest.raises(InputError, match=r"(?s)was edited.*edited by kim: endpoint down.*invalidate"):
        read(sample_log, tmp_path)


@pytest.fixture
def sample_log(tmp_path: Path) -> EvalLog:
    from inspect_ai import eval as inspect_eval
    from inspect_ai.log import read_eval_log
    from inspect_ai.model import ModelUsage, get_model

    from value_retention.adapters.inspect.tasks import anima_2_2

    out = ModelOutput.from_content("mockllm/model", "Animals can suffer.")
    out.usage = ModelUsage()
    model = get_model("mockllm/model", custom_outputs=[out] * 3, memoize=False)
    task = anima_2_2(data="sample", judge="lexical")
    (log,) = inspect_eval(
        task,
        model=model,
        epochs=1,
        limit=3,
        log_dir=str(tmp_path / "logs"),
        display="none",
        log_format="json",
    )
    return read_eval_log(log.location)


def test_a_log_of_ours_holds_each_criterion_once_and_every_record_its_checks(
    tmp_path: Path, sample_log: EvalLog
) -> None:
    records = read(sample_log, tmp_path)
    assert {record.run.asked for record in records} == {3}
    assert [bool(record.criteria) for record in records] == [True, False, False]
    texts = records[0].criteria or {}
    for record in records:
        assert record.checks is not None
        assert (record.checks.truncated, record.checks.empty) == (False, False)
        for grade in record.grades:
            assert texts[grade.criterion or ""].startswith(grade.dimension)
            assert (grade.raw, grade.scale) in (("C", "C or I"), ("I", "C or I"))


@pytest.mark.parametrize("first", ["error", "success"])
def test_of_the_attempts_at_one_task_the_last_that_succeeded_counts(tmp_path: Path, first: str) -> None:
    failed = log_of({1: "I"}, status=first, created="2026-01-02T03:04:05+00:00")
    whole = log_of({1: "C", 2: "C", 3: "C"}, created="2026-01-03T03:04:05+00:00")
    later = log_of({1: "I", 2: "I"}, status="cancelled", created="2026-01-04T03:04:05+00:00")
    for name, log in (("a", whole), ("b", failed), ("c", later)):
        written(log, tmp_path / f"{name}.eval")
    (run,) = load_runs([tmp_path])
    assert run.files == (str(tmp_path / "a.eval"),)
    invalid = invalidate_samples(whole, ["1-1"], PERSON)
    written(invalid, tmp_path / "a.eval")
    (run,) = load_runs([tmp_path])
    expected = "c" if first == "error" else "b"
    assert run.files == (str(tmp_path / f"{expected}.eval"),)


def test_logs_of_two_tasks_are_two_runs(tmp_path: Path) -> None:
    for name in ("a", "b"):
        written(log_of({1: "C"}, task_id=name), tmp_path / f"{name}.eval")
    assert len(load_runs([tmp_path])) == 2


def test_invalidated_samples_of_another_task_do_not_count(tmp_path: Path) -> None:
    log = log_of({1: "C", 2: "I", 3: "C"})
    log.results = EvalResults(
        scores=[
            EvalScore(
                name="model_graded_qa",
                scorer="model_graded_qa",
                metrics={"accuracy": EvalMetric(name="accuracy", value=2 / 3)},
            )
        ]
    )
    invalid = invalidate_samples(log, ["2-1", "2-2", "3-1"], PERSON)
    path = written(invalid, tmp_path / "b" / "b.eval")
    # An earlier attempt at the task, and the invalidated one as a copy.
    written(
        log_of({1: "I"}, status="error", created="2026-01-01T03:04:05+00:00"), path.parent / "a" / "a.eval"
    )
    written(invalid, path.parent / "copy.json")
    found = read_capability("tuned", [path.parent])
    (metric,) = found.tasks["kindqa"].metrics
    assert metric.sums.tolist() == [1.0, 1.0]
    assert found.left_out == (
        "kindqa, sample 2 epoch 1 (invalidated by kim: endpoint down), "
        "3 epoch 1 (invalidated by kim: endpoint down) and 1 more",
    )
    all_of_it = invalidate_samples(log, [s.uuid for s in log.samples or () if s.uuid], PERSON)
    with pytest.raises(InputError, match="all samples of the log are left out"):
        read_capability("tuned", [written(all_of_it, path)])


def test_an_edit_of_anything_but_the_value_changes_no_record(tmp_path: Path, sample_log: EvalLog) -> None:
    before = read(sample_log, tmp_path)
    assert sample_log.samples
    sample = sample_log.samples[0]
    assert sample.scores
    (name,) = sample.scores
    note = ScoreEdit(answer="Other.", explanation="Other.", metadata={"note": 1}, provenance=PERSON)
    edit_score(sample_log, sample.id, name, note, recompute_metrics=False, epoch=sample.epoch)
    assert read(sample_log, tmp_path) == before
    changed = before[0].to_dict() | {"item": "other"}
    edit = ScoreEdit(metadata={"record": changed}, provenance=PERSON)
    edit_score(sample_log, sample.id, name, edit, recompute_metrics=False, epoch=sample.epoch)
    with pytest.raises(InputError, match=r"(?s)was edited.*edited by kim: endpoint down"):
        read(sample_log, tmp_path)
    other = log_of({1: "C"})
    other.results = None
    edit_score(other, 1, "model_graded_qa", note, recompute_metrics=False, epoch=1)
    (first, _) = read(other, tmp_path)
    assert (first.answer, first.grades[0].rationale, first.grades[0].error) == (
        "An answer.",
        "Because.",
        None,
    )


def test_a_log_whose_samples_were_all_invalidated_says_so(tmp_path: Path) -> None:
    log = invalidate_samples(log_of({1: "C"}), ["1-1", "1-2"], PERSON)
    with pytest.raises(
        InputError, match=r"left out: 1 epoch 1 \(invalidated by kim: endpoint down\) and 5 more"
    ):
        read(log, tmp_path)
