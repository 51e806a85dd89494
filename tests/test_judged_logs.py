"""Logs of judged evals that are not ours are runs with one dimension, and capability where they are named so."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from helpers import Server, lm_eval, one, results, run, scripted_server
from inspect_ai import Task, task
from inspect_ai import eval as inspect_eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import EvalLog, read_eval_log, write_eval_log
from inspect_ai.model import Model, ModelOutput, ModelUsage, get_model
from inspect_ai.scorer import includes, model_graded_fact, model_graded_qa

from value_retention.analysis import compare
from value_retention.analysis.cli import cli
from value_retention.analysis.runs.capability import read_capability
from value_retention.analysis.runs.load import load_runs
from value_retention.tasks.benchmark import benchmark_of
from value_retention.tasks.check import checked
from value_retention.tasks.errors import InputError
from value_retention.tasks.record import AnswerRecord

QUESTIONS = 30


def output(model: str, text: str) -> ModelOutput:
    made = ModelOutput.from_content(model, text)
    made.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)  # counting them needs a download
    return made


def grader(name: str, replies: Callable[[str], str] | None = None) -> Model:
    """A judge that passes an answer that says "right", and cannot read one that says "unreadable"."""

    def reply(messages: Any, *rest: Any) -> ModelOutput:
        prompt = messages[-1].text
        submission = prompt.partition("[Submission]: ")[2].partition("\n***")[0]
        grade = "C" if "right" in submission else "P" if "half" in submission else "I"
        said = "I cannot decide." if "unreadable" in submission else f"Reasons. GRADE: {grade}"
        return output(f"mockllm/{name}", replies(submission) if replies else said)

    return get_model(f"mockllm/{name}", custom_outputs=reply)


def answering(share: float) -> Model:
    """Right in a share of the questions, in fewer at the second time; one answer that the judge cannot read."""
    asked: Counter[str] = Counter()

    def answer(messages: Any, *rest: Any) -> ModelOutput:
        question = messages[-1].text
        if "BEGIN DATA" in question:  # without a judge, Inspect asks the tested model
            return output("mockllm/m", "GRADE: C")
        asked[question] += 1
        number = int(question.split()[1].strip("?")) * 37 % QUESTIONS
        text = "right" if number + asked[question] < share * QUESTIONS else "half" if number % 3 else "wrong"
        return output("mockllm/m", "unreadable" if (number, asked[question]) == (5, 2) else text)

    return get_model("mockllm/m", custom_outputs=answer)


@task
def civics(scorer: Any = None, first: int = 0) -> Task:
    samples = [
        Sample(id=f"q{n}", input=f"Question {n + first}?", target=f"Rule {n}") for n in range(QUESTIONS)
    ]
    scorers = scorer or model_graded_qa(partial_credit=True)
    return Task(dataset=MemoryDataset(samples), scorer=scorers, version=3)


def log_at(folder: Path, made: Task, judge: Any = "judge", epochs: int = 2, share: float = 0.9) -> EvalLog:
    """A real log of the task in a folder."""
    roles: Any = {"grader": grader(judge) if isinstance(judge, str) else judge} if judge else None
    options: Any = {"log_dir": str(folder), "display": "none", "epochs": epochs, "model_roles": roles}
    (log,) = inspect_eval(made, model=answering(share), **options)
    assert log.status == "success", log.error
    return log


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("judged")
    for name, share in (("base", 0.9), ("tuned", 0.4)):
        log_at(place / name, civics(), share=share)
    return place


def records_at(place: Path, score: str | None = None) -> list[AnswerRecord]:
    (found,) = load_runs([place], score=score)
    return list(found.records)


def accuracy(log: EvalLog, name: str) -> float:
    assert log.results is not None
    return next(s.metrics["accuracy"].value for s in log.results.scores if s.name == name)


def command(*arguments: str | Path) -> str:
    done = CliRunner().invoke(cli, [str(part) for part in arguments])
    assert done.exit_code == 0, done.output
    return " ".join(done.output.split())


# -- Inspect ----------------------------------------------------------------------------------------------


def test_a_record_holds_what_the_log_tells(logs: Path) -> None:
    records = records_at(logs / "base")
    assert len(records) == 2 * QUESTIONS
    first = records[0]
    sample = (read_eval_log(one(logs / "base", "*.eval")).samples or [])[0]
    assert (first.benchmark, first.benchmark_version, first.item, first.cluster) == (
        "civics",
        "3",
        "q0",
        "q0",
    )
    assert (first.question, first.answer) == ("Question 0?", sample.output.completion)
    assert [(judge.name, judge.is_llm) for judge in first.judges] == [("mockllm/judge", True)]
    assert (first.dimensions, first.run.harness, first.run.model) == (
        ("model_graded_qa",),
        "inspect_ai",
        "mockllm/m",
    )
    benchmark = benchmark_of(first)
    assert (benchmark.name, benchmark.epochs, benchmark.size) == ("civics", 2, QUESTIONS)
    assert dict(benchmark.judge.scale.worth) == {"C": 1.0, "P": 0.5, "I": 0.0}
    (lost,) = [record for record in records if record.status == "unscored"]
    assert [(g.outcome, g.grade, g.rationale) for g in lost.grades] == [
        ("unparsed", None, "Grade not found in model output: I cannot decide.")
    ]
    prompts = {record.answer: record.grades[0].prompt_hash for record in records if record.item == "q1"}
    assert len(set(prompts.values())) == len(prompts)


def test_the_score_is_the_accuracy_that_inspect_reports(logs: Path) -> None:
    for name in ("base", "tuned"):
        log = read_eval_log(one(logs / name, "*.eval"))
        items: dict[str, list[float]] = {}
        for record in records_at(logs / name):
            if record.overall is not None:
                items.setdefault(record.item, []).append(record.overall)
        mean = sum(sum(values) / len(values) for values in items.values()) / len(items)
        assert mean == pytest.approx(accuracy(log, "model_graded_qa"))
        assert 0 < mean < 1
    assert "P" in {s.scores["model_graded_qa"].value for s in log.samples or [] if s.scores}


def test_records_are_accepted_again_and_a_changed_grade_is_not(logs: Path, tmp_path: Path) -> None:
    records = records_at(logs / "base")
    file = tmp_path / "base.records.jsonl"
    file.write_text("".join(record.to_json() + "\n" for record in records), "utf-8")
    assert records_at(file) == records
    values = records[0].to_dict()
    values["grades"][0]["grade"] = 0.7
    with pytest.raises(InputError, match="invalid grade"):
        checked(AnswerRecord.from_dict(values), "here")


def test_table_compare_and_report_find_the_loss(logs: Path, tmp_path: Path) -> None:
    runs = [f"{name}={logs / name}" for name in ("base", "tuned")]
    assert "judge mockllm/judge" in command("table", *runs)
    out = tmp_path / "out.json"
    assert "degraded beyond the margin" in command("compare", *runs, "--margin", "5", "--json", out)
    content = json.loads(out.read_text("utf-8"))
    assert {row["benchmark"] for row in content["judged"]} == {"civics"}
    assert {row["clusters"] for row in content["effects"] if row["metric"] == "overall_mean"} == {QUESTIONS}
    command("report", *runs, "--margin", "5", "-o", tmp_path / "page.html")
    assert "civics" in (tmp_path / "page.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("made", "judge", "aspect"),
    [
        (lambda: civics(), "other", "judges"),
        (lambda: civics(first=100), "judge", "data revision and content"),
        (lambda: civics(model_graded_qa(partial_credit=True, instructions="End with GRADE: C or GRADE: I")),
         "judge", "judge prompt"),
        (lambda: civics(), None, "judges"),
    ],
    ids=["judge", "data", "prompt", "no judge"],
)  # fmt: skip
def test_runs_with_another_judge_or_other_questions_are_refused_by_name(
    logs: Path, tmp_path: Path, made: Callable[[], Task], judge: str | None, aspect: str
) -> None:
    log_at(tmp_path / "tuned", made(), judge, share=0.4)
    with pytest.raises(InputError) as refused:
        compare([*load_runs([logs / "base"]), *load_runs([tmp_path / "tuned"])])
    assert f"- {aspect} (civics)" in str(refused.value)


def test_without_a_judge_the_model_judges_itself_and_the_name_says_so(tmp_path: Path) -> None:
    log_at(tmp_path, civics(), None, epochs=1)
    (judge,) = records_at(tmp_path)[0].judges
    assert judge.name == "mockllm/m (the evaluated model itself)"


def test_several_graders_are_one_judge_with_the_grade_that_inspect_counted(tmp_path: Path) -> None:
    hard = grader("hard", lambda text: "GRADE: I")
    for name, graders in (("two", [grader("a"), hard]), ("three", [grader("a"), grader("b"), hard])):
        log = log_at(tmp_path / name, civics(), graders, epochs=1, share=0.5)
        records = records_at(tmp_path / name)
        values = {str(s.id): s.scores["model_graded_qa"].value for s in log.samples or [] if s.scores}
        worth = {"C": 1.0, "P": 0.5, "I": 0.0}
        expected = {item: worth.get(str(value)) for item, value in values.items()}
        assert {record.item: record.overall for record in records} == expected
        assert records[0].grades[0].rationale is not None
        assert records[0].grades[0].rationale.startswith("votes: ")
        assert {judge.name for record in records for judge in record.judges} == {
            " + ".join(
                f"mockllm/{part}" for part in {"two": ("a", "hard"), "three": ("a", "b", "hard")}[name]
            )
            + " (combined)"
        }
    assert None in [record.overall for record in records_at(tmp_path / "two")], "no majority: missing"


def test_of_several_scores_the_user_chooses_one(tmp_path: Path) -> None:
    graded = [model_graded_qa(model=grader("a")), model_graded_fact(model=grader("b")), includes()]
    log = log_at(tmp_path, civics(scorer=graded), epochs=1)
    with pytest.raises(InputError, match="--score"):
        load_runs([tmp_path])
    records = records_at(tmp_path, "model_graded_fact")
    assert {record.dimensions for record in records} == {("model_graded_fact",)}
    assert {judge.name for record in records for judge in record.judges} == {"mockllm/b"}
    assert benchmark_of(records[0]).judge.scale.binary
    plain = records_at(tmp_path, "includes")
    assert sum(r.overall or 0 for r in plain) / len(plain) == accuracy(log, "includes")
    assert {judge.name for record in plain for judge in record.judges} == {"mockllm/judge"}


def test_a_failed_eval_has_missing_grades_and_an_unknown_grade_is_refused(logs: Path, tmp_path: Path) -> None:
    log = read_eval_log(one(logs / "base", "*.eval"))
    assert log.samples is not None
    log.status, log.samples[0].scores = "error", {}
    write_eval_log(log, str(tmp_path / "failed.eval"))
    first, second = records_at(tmp_path / "failed.eval")[:2]
    assert [(r.status, r.grades[0].outcome) for r in (first, second)] == [
        ("unscored", "judge_error"),
        ("scored", "graded"),
    ]
    for value in ("7", 0.37):
        assert log.samples[1].scores is not None
        log.samples[1].scores["model_graded_qa"].value = value
        write_eval_log(log, str(tmp_path / "odd.eval"))
        with pytest.raises(InputError, match="unsupported grade"):
            load_runs([tmp_path / "odd.eval"])


def test_the_same_log_is_capability_where_it_is_named_so_and_cannot_be_judged_again(logs: Path) -> None:
    found = read_capability("base", [logs / "base"])
    assert found.tasks["civics"].metrics[0].name == "model_graded_qa"
    done = CliRunner().invoke(cli, ["judge", str(logs / "base"), "--judge", "lexical"])
    assert isinstance(done.exception, InputError)
    assert "cannot be judged again" in str(done.exception)


# -- lm-eval ----------------------------------------------------------------------------------------------

PISA = """
task: pisa_made_llm_judged
dataset_path: json
dataset_kwargs: {{data_files: {{made: {data}}}}}
test_split: made
output_type: generate_until
doc_to_text: !function utils.pisa_doc_to_text
doc_to_choice: ["A", "B", "C", "D"]
doc_to_target: answer
process_results: !function utils.pisa_process_results_llm_judged
generation_kwargs: {{until: ["<|endoftext|>"]}}
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
metadata: {{version: 1}}
"""

SCRIPT = """
scripted_server.is_judge_prompt = lambda text: text.startswith("Student Answer:")
scripted_server.judge_reply = lambda prompt, kind: str(int("right" in prompt.partition("Options:")[0]))
scripted_server.model_answer = (
    lambda question: "right" if scripted_server.number(question) % 10 < {share} else "wrong"
)
"""


@pytest.fixture(scope="module")
def pisa(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two real runs of lm-eval with the code of its PISA task on made rows, judged by the scripted server."""
    import lm_eval.tasks.pisa.utils as code

    place = tmp_path_factory.mktemp("pisa")
    (place / "tasks").mkdir()
    shutil.copy(str(code.__file__), place / "tasks" / "utils.py")
    rows = [
        {
            "question": f"Which is number {n}?",
            "choices": str([f"choice {k}" for k in range(4)]),
            "answer": n % 4,
        }
        for n in range(24)
    ]
    data = place / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (place / "tasks" / "pisa_made_llm_judged.yaml").write_text(PISA.format(data=data))
    for name, share in (("base", 8), ("tuned", 3)):
        with scripted_server(patch=SCRIPT.format(share=share)) as server:
            asked_of(server, place, name)
    return place


def asked_of(server: Server, place: Path, name: str) -> None:
    done = run(
        *lm_eval(*server.lm_eval_model, "--include_path", place / "tasks", "--tasks", "pisa_made_llm_judged"),
        *("--log_samples", "--output_path", place / name),
        **server.environment | {"OPENAI_BASE_URL": server.url},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert server.stats()["judge"] == 24


@pytest.mark.slow
def test_lm_evals_judged_samples_are_a_run(pisa: Path, tmp_path: Path) -> None:
    for name in ("base", "tuned"):
        records = records_at(pisa / name)
        reported = results(pisa / name)["results"]["pisa_made_llm_judged"]["acc,none"]
        assert sum(record.overall or 0 for record in records) / 24 == pytest.approx(reported)
    first = records[0]
    assert (first.benchmark, first.dimensions, first.item) == ("pisa_made_llm_judged", ("acc",), "0")
    assert (first.question, first.answer) in [("Which is number 0?", a) for a in ("right", "wrong")]
    assert [judge.name for judge in first.judges] == ["unknown"]
    assert (first.run.harness, first.run.model, first.benchmark_version) == ("lm_eval", "scripted", "1")
    runs = [f"{name}={pisa / name}" for name in ("base", "tuned")]
    assert "degraded" in command("compare", *runs, "--margin", "5")
    command("report", *runs, "--margin", "5", "-o", tmp_path / "page.html")
    assert read_capability("base", [pisa / "base"]).tasks["pisa_made_llm_judged"].metrics[0].name == "acc"


@pytest.mark.slow
def test_the_samples_of_another_task_are_a_run_only_if_a_metric_is_named(pisa: Path, tmp_path: Path) -> None:
    for file in (pisa / "base").rglob("*pisa*llm_judged*"):
        name = file.name.replace("pisa_made_llm_judged", "quiz")
        (tmp_path / name).write_text(file.read_text("utf-8"), "utf-8")
    beside = one(pisa / "base", "results_*.json")
    (tmp_path / beside.name).write_text(beside.read_text("utf-8").replace("pisa_made_llm_judged", "quiz"))
    with pytest.raises(InputError, match="no answers found"):
        load_runs([tmp_path])
    assert {record.benchmark for record in records_at(tmp_path, "acc")} == {"quiz"}
