"""lm-eval through its command line: options of the harness, settings of ours, and every refusal."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from helpers import (
    BIN,
    FIRST_TOKENS,
    JUDGE,
    Server,
    anima_rows,
    assert_plain_refusal,
    figures,
    first_tokens,
    lm_eval,
    metadata,
    one,
    records,
    results,
    run,
    with_cuts,
    write_anima,
    write_rows,
)

from value_retention.adapters.identity import model_identity
from value_retention.tasks.benchmark import packaged
from value_retention.tasks.scores import benchmark_scores, metric_error, questions_of

pytestmark = pytest.mark.slow


def assert_figures_are_the_records(folder: Path, task: str) -> None:
    """lm-eval's table holds what the core computes from the records of its samples file."""
    of = records(folder, task)
    expected = benchmark_scores(questions_of(of), packaged()[of[0].benchmark].weighted)
    shown = figures(results(folder), task)
    known = {name: value for name, value in expected.items() if value is not None}
    assert {name: value for name, value in shown.items() if name != "sample_len"} == (
        pytest.approx(known, abs=1e-12)
    )
    questions = questions_of(of)
    overall, clusters = [q.overall for q in questions], [q.cluster for q in questions]
    assert results(folder)["results"][task]["overall_mean_stderr,none"] == pytest.approx(
        metric_error("overall_mean", overall, clusters, {})
    )
    assert any(0 < value < 1 for value in known.values()), "figures that could not tell right from wrong"


# -- options of the harness -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chat(tiny: Path, server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chat checkpoint in HF with every option at once; `epochs` in the environment is overruled."""
    out = tmp_path_factory.mktemp("chat")
    done = run(
        *lm_eval("--model", "hf", "--model_args", f"pretrained={tiny}", "--device", "cpu"),
        *("--batch_size", "16", "--tasks", "anima_2_2,moru_multi", "--limit", "4"),
        *("--apply_chat_template", "--system_instruction", "Be brief."),
        *("--gen_kwargs", "max_gen_toks=12,temperature=0.7", "--log_samples", "--output_path", out),
        *metadata(judge=JUDGE, epochs=2, judge_args={"temperature": 0.0}),
        fresh=True,
        VALUE_RETENTION_DATA="sample",
        VALUE_RETENTION_EPOCHS="3",
        **server.environment,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "sample items, not a benchmark" in done.stdout
    assert "row 30 is not scored" in done.stderr
    return out


def test_limit_epochs_and_figures(chat: Path) -> None:
    for task, cluster in (("anima_2_2", 4), ("moru_en", 4), ("moru_ms", 4), ("moru_hi", 4)):
        of = records(chat, task)
        assert len(of) == 8
        assert len({record.cluster for record in of}) == cluster
        assert [record.epoch for record in of[:2]] == [1, 2]
        assert_figures_are_the_records(chat, task)


def test_the_group_is_the_mean_of_its_languages(chat: Path) -> None:
    shown = results(chat)
    parts = [figures(shown, task) for task in ("moru_en", "moru_ms", "moru_hi")]
    group = figures(shown, "moru_multi")
    assert group["overall_mean"] == pytest.approx(sum(part["overall_mean"] for part in parts) / 3)
    assert group["english_mean"] == parts[0]["english_mean"]
    assert group["non_english_mean"] == pytest.approx(sum(p["non_english_mean"] for p in parts[1:]) / 2)
    assert "english_mean" not in parts[1]


def test_a_groups_error_takes_the_languages_of_a_question_for_one_cluster(chat: Path) -> None:
    questions = [q for task in ("moru_en", "moru_ms", "moru_hi") for q in questions_of(records(chat, task))]
    overall, clusters = [q.overall for q in questions], [q.cluster for q in questions]
    shown = results(chat)["groups"]["moru_multi"]["overall_mean_stderr,none"]
    assert shown == pytest.approx(metric_error("overall_mean", overall, clusters, {}))
    assert shown > 0


def test_a_record_names_model_sampling_judge_and_data(chat: Path, tiny: Path) -> None:
    record = records(chat, "anima_2_2")[0]
    assert record.run.harness == "lm_eval"
    assert record.run.model == str(tiny)
    assert record.run.model_args["pretrained"] == str(tiny)
    assert record.run.sampling == {
        "top_k": 0,
        "top_p": 1.0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "until": [],
        "do_sample": True,
        "temperature": 0.7,
        "max_gen_toks": 12,
        "apply_chat_template": True,
        "system_instruction": "Be brief.",
    }
    assert record.run.identity == model_identity({"pretrained": str(tiny)}).text
    assert [(judge.name, judge.settings, judge.is_llm) for judge in record.judges] == [
        (JUDGE, {"temperature": 0.0}, True)
    ]
    assert record.data.is_benchmark is False
    assert [row.row for row in record.data.dropped] == ["30"]


def test_the_results_name_data_judge_and_dropped_rows(chat: Path) -> None:
    told = results(chat)["configs"]["anima_2_2"]["metadata"]["value_retention"]
    assert told["judges"][0]["name"] == JUDGE
    assert told["data"]["dropped"] == [{"row": "30", "reason": "tag that is no known dimension: ''"}]
    assert told["notes"] == ["sample items, not a benchmark"]
    record = records(chat, "anima_2_2")[0]
    assert (told["model"], told["sampling"]) == (record.run.identity, record.run.sampling)


def test_the_chat_template_and_the_system_instruction_reach_the_model(chat: Path) -> None:
    lines = one(chat, "samples_anima_2_2_*.jsonl").read_text("utf-8").splitlines()
    prompt = str(json.loads(lines[0])["arguments"])
    assert "Be brief." in prompt
    assert "<|start_header_id|>user" in prompt


def test_answers_come_from_the_whole_distribution_whatever_the_checkpoint_says(
    tiny: Path, tmp_path: Path
) -> None:
    """A null leaves a value to transformers, which takes the checkpoint's ``top_k`` 3 and ``top_p`` 0.5."""
    cut = with_cuts(tiny, tmp_path / "cut")
    model = ["--model", "hf", "--model_args", f"pretrained={cut}", "--device", "cpu", "--batch_size", "40"]
    left = {"ours": {}, "theirs": {"top_k": None, "top_p": None}}
    for name, values in left.items():
        done = run(
            *lm_eval(*model, *first_tokens(tmp_path / name, **values)),
            VALUE_RETENTION_JOURNAL_DIR=str(tmp_path / f"{name} journals"),
        )
        assert done.returncode == 0, done.stderr[-3000:]
    ours, theirs = (
        {record.answer for record in records(tmp_path / name, "anima_2_2")} for name in ("ours", "theirs")
    )
    assert len(theirs) <= 3
    assert len(ours) > FIRST_TOKENS / 2


def test_two_data_parallel_processes_agree(tiny: Path, server: Server, tmp_path: Path) -> None:
    """Five questions on two ranks: the padding that evens them out must not be judged or counted."""
    done = run(
        *(BIN / "accelerate", "launch", "--cpu", "--num_processes", "2", "--mixed_precision", "no"),
        *("--dynamo_backend", "no", "-m", "lm_eval", "--model", "hf", "--model_args", f"pretrained={tiny}"),
        *("--tasks", "anima_2_2", "--limit", "5", "--gen_kwargs", "max_gen_toks=8", "--batch_size", "4"),
        *("--log_samples", "--output_path", str(tmp_path), *metadata(judge=JUDGE, data="sample", epochs=2)),
        **server.environment,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    of = records(tmp_path, "anima_2_2")
    assert sorted((record.item, record.epoch) for record in of) == [
        (str(item), epoch) for item in range(5) for epoch in (1, 2)
    ]
    assert {record.grades_missing for record in of} == {0}
    assert_figures_are_the_records(tmp_path, "anima_2_2")


def test_an_api_model_with_settings_from_the_environment_only(server: Server, tmp_path: Path) -> None:
    done = run(
        *lm_eval(*server.lm_eval_model, "--tasks", "moru_en,anima_2_2", "--log_samples"),
        *("--output_path", tmp_path),
        VALUE_RETENTION_JUDGE="lexical",
        VALUE_RETENTION_DATA="sample",
        VALUE_RETENTION_EPOCHS="1",
        VALUE_RETENTION_LANGUAGES="en",
        **server.environment,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert (len(records(tmp_path, "moru_en")), len(records(tmp_path, "anima_2_2"))) == (12, 12)
    assert_figures_are_the_records(tmp_path, "anima_2_2")
    told = results(tmp_path)["configs"]["moru_en"]["metadata"]["value_retention"]
    assert told["notes"] == ["sample items, not a benchmark", "judge lexical, not an LLM"]
    assert "judge lexical, not an LLM" in done.stdout
    assert "non_english_mean" not in figures(results(tmp_path), "anima_2_2")


# -- refusals ---------------------------------------------------------------------------------------------

KEY = "sk-" + "a1B2" * 6
SAMPLE = {"judge": "lexical", "data": "sample"}
REFUSED: dict[str, tuple[dict[str, Any], list[str]]] = {
    "no judge": ({"data": "sample"}, ["no judge is configured", "lexical", "judge=none", "PROVIDER/MODEL"]),
    "unknown judge": (SAMPLE | {"judge": "gpt-5-mini"}, ["unknown judge", "'gpt-5-mini'"]),
    "unknown provider": (SAMPLE | {"judge": "nosuch/x"}, ["cannot use this judge", "nosuch"]),
    "judge without a key": (SAMPLE | {"judge": "openai-api/nowhere/x"}, ["NOWHERE_API_KEY"]),
    "unknown language": (SAMPLE | {"languages": ["Klingonese"]}, ["'Klingonese'", "one of"]),
    "no language": (SAMPLE | {"languages": []}, ["empty list of languages"]),
    "epochs 0": (SAMPLE | {"epochs": 0}, ["invalid epochs", "greater than or equal to 1"]),
    "misspelt key": (SAMPLE | {"epoch": 2}, ["misspelt key", "'epochs'"]),
    "misspelt judge setting": (SAMPLE | {"judge_args": {"temprature": 0}}, ["'temprature'"]),
    "api key": (SAMPLE | {"api_key": KEY}, ["a secret here", "'api_key'"]),
    "api key as a value": (SAMPLE | {"judge_args": {"base_url": KEY}}, ["a secret here"]),
    "hub unreachable": ({"judge": "lexical"}, ["Hugging Face hub", "to a folder DIR"]),
    "missing folder": (SAMPLE | {"data": "/nowhere/at/all"}, ["does not exist", "/nowhere/at/all"]),
    "one table missing": (
        SAMPLE | {"data": "{root}/one"},
        ["lacks a table", "anima/dim"],
    ),
    "wrong column": (SAMPLE | {"data": "{root}/column"}, ["column: question", "text"]),
    "duplicate ids": (SAMPLE | {"data": "{root}/twice"}, ["same id", "id 0"]),
    "output in a file": (SAMPLE, ["cannot write the results", "output in a file out"]),
    "unreadable row": (SAMPLE | {"data": "{root}/row"}, ["'variables'", "row 1", "'animal'", "name:value"]),
}


def bad_folders(root: Path) -> None:
    questions, dimensions = anima_rows()
    write_rows(root / "one" / "anima" / "questions", questions)
    renamed = [{("text" if key == "question" else key): row[key] for key in row} for row in questions]
    write_anima(root / "column", renamed, dimensions)
    write_anima(root / "twice", [*questions, questions[0]], dimensions)
    write_anima(root / "row", [questions[0], questions[1] | {"variables": "animal"}], dimensions)


@pytest.fixture(scope="module")
def outcomes(
    server: Server, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, subprocess.CompletedProcess[str]]:
    """Every refusal, and two runs without a mistake (one that only saves answers), by name."""
    root = tmp_path_factory.mktemp("outcomes")
    bad_folders(root)
    (root / "output in a file out").write_text("a file")
    common = ["--tasks", "anima_2_2", "--limit", "3", "--output_path"]
    nowhere = ["--model", "hf", "--model_args", "pretrained=no-such-checkpoint"]
    lines = {name: metadata(**told) for name, (told, _) in REFUSED.items()}
    lines["good"] = metadata(**SAMPLE, epochs=1)
    lines["judge none"] = ["--log_samples", *metadata(judge="none", data="sample", epochs=1)]
    lines["predict only"] = ["--predict_only", *metadata(judge=JUDGE, data="sample", epochs=1)]
    return {
        name: run(
            *lm_eval(*(nowhere if name in REFUSED else ["--model", "dummy"]), *common, root / f"{name} out"),
            *(part.replace("{root}", str(root)) for part in line),
            VALUE_RETENTION_JOURNAL_DIR=str(root / f"{name} journals"),
            **({} if name in REFUSED else server.environment),
        )
        for name, line in lines.items()
    }


def test_the_same_command_without_a_mistake_runs(
    outcomes: dict[str, subprocess.CompletedProcess[str]],
) -> None:
    assert outcomes["good"].returncode == 0, outcomes["good"].stderr
    assert "overall_mean" in outcomes["good"].stdout


@pytest.mark.parametrize("name", ["judge none", "predict only"])
def test_answers_are_saved_to_be_judged_later_and_no_judge_is_called(
    outcomes: dict[str, subprocess.CompletedProcess[str]], name: str
) -> None:
    done = outcomes[name]
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    of = records(Path(done.args[done.args.index("--output_path") + 1]), "anima_2_2")
    assert [(record.status, record.grades) for record in of] == [("not_judged", ())] * 3
    assert {record.answer for record in of} == {"lol"}  # what lm-eval's dummy model says
    assert "0 from the journal" not in said
    assert ("not_judged" if name == "judge none" else "bypass") in said


@pytest.mark.parametrize("name", REFUSED)
def test_a_mistake_is_one_message(outcomes: dict[str, subprocess.CompletedProcess[str]], name: str) -> None:
    assert_plain_refusal(outcomes[name], "value-retention: ", *REFUSED[name][1])
    said = outcomes[name].stdout + outcomes[name].stderr
    assert KEY not in said
    assert "no-such-checkpoint" not in said, "refused before the model is loaded"
