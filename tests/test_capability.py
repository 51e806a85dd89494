"""Other tasks beside the value, from real outputs of lm-eval and Inspect made here."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import BIN, PYTHON, assert_plain_refusal, lm_eval, metadata, one, results, run
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_rel

from value_retention.adapters.readers.capability import SampleMetric, TaskSamples, mean_of
from value_retention.analysis import compare, load_runs
from value_retention.analysis.effects.capability import CapabilityEffect, compare_capability
from value_retention.analysis.runs.capability import Capability, read_capability
from value_retention.tasks.errors import InputError

WORDS = [
    "red",
    "blue",
    "green",
    "house",
    "river",
    "stone",
    "cloud",
    "apple",
    "seven",
    "music",
    "paper",
    "light",
]
SIZES = {"choice": 24, "left": 8, "right": 20}
TASKS = ("cap_choice", "cap_left", "cap_right", "cap_words", "cap_parts")

TASK = """task: cap_{name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
doc_to_text: "{{{{question}}}}"
metadata: {{version: 1.0}}
"""
CHOICE = """output_type: multiple_choice
doc_to_choice: choices
doc_to_target: gold
metric_list: [{metric: acc}, {metric: acc_norm, aggregation: mean, higher_is_better: true}]
"""
ANSWER = """output_type: generate_until
doc_to_target: "{{answer}}"
generation_kwargs: {until: [], max_gen_toks: 6, do_sample: false}
"""
FILTERS = """metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
filter_list:
  - {name: strict-match, filter: [{function: regex, regex_pattern: "([a-z]{4,})"}, {function: take_first}]}
  - {name: flexible-extract, filter: [{function: regex, regex_pattern: "([a-z]+)"}, {function: take_first}]}
"""
LISTS = """process_results: !function scoring.parts
metric_list:
  - {metric: all_parts, aggregation: mean, higher_is_better: true}
  - {metric: parts, aggregation: !function scoring.pooled, higher_is_better: true}
  - {metric: letters, aggregation: !function scoring.longest, higher_is_better: true}
"""
SCORING = """
def parts(doc, results):
    hits = [part in results[0] for part in doc["parts"]]
    return {"all_parts": all(hits), "parts": hits, "letters": float(len(results[0]))}

def pooled(items):
    return sum(sum(item) for item in items) / sum(len(item) for item in items)

def longest(items):
    return 1 + max(items)
"""
GROUPS = {"group": ("cap_left, cap_right", "false"), "top": ("cap_group, cap_choice", "true")}


def write_tasks(folder: Path) -> None:
    """Tasks of every kind: several choices, two filters, lists per sample, a group, and a group in a group."""
    rng = random.Random(1)
    for name, count in {**SIZES, "words": 24}.items():
        rows = [
            {
                "question": f"{name} {i}: which word?",
                "choices": rng.sample(WORDS, 4),
                "gold": rng.randrange(4),
                "answer": rng.choice(WORDS),
                "parts": rng.sample("aeiostrn", 1 + i % 3),
            }
            for i in range(count)
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name in SIZES:
        (folder / f"{name}.yaml").write_text(TASK.format(name=name, data=folder / f"{name}.jsonl") + CHOICE)
    for name, more in (("words", FILTERS), ("parts", LISTS)):
        text = TASK.format(name=name, data=folder / "words.jsonl")
        (folder / f"{name}.yaml").write_text(text + ANSWER + more)
    (folder / "scoring.py").write_text(SCORING)
    for name, (tasks, by_size) in GROUPS.items():
        metrics = f"[{{metric: acc, weight_by_size: {by_size}}}]"
        (folder / f"{name}.yaml").write_text(
            f"group: cap_{name}\ntask: [{tasks}]\naggregate_metric_list: {metrics}\nmetadata: {{version: 1}}\n"
        )


@pytest.fixture(scope="module")
def outputs(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders ``base`` and ``tuned``: ANIMA and the tasks above in one command of lm-eval, on two tiny models."""
    root = tmp_path_factory.mktemp("capability")
    (root / "tasks").mkdir()
    write_tasks(root / "tasks")
    made = run(PYTHON, "-m", "value_retention.train.tiny", "--seed", "5", "--output", root / "other")
    assert made.returncode == 0, made.stderr[-3000:]
    for name, model in (("base", tiny), ("tuned", root / "other")):
        done = run(
            *lm_eval("--model", "hf", "--model_args", f"pretrained={model}", "--device", "cpu"),
            *("--batch_size", "16", "--include_path", root / "tasks", "--tasks"),
            *("anima_2_2,cap_top,cap_words,cap_parts", "--limit", "24", "--gen_kwargs", "max_gen_toks=6"),
            *("--log_samples", "--output_path", root / name),
            *metadata(judge="lexical", data="sample", epochs=1),
        )
        assert done.returncode == 0, done.stderr[-3000:]
    return root


def samples(folder: Path, task: str, filter_name: str = "none") -> list[dict[str, Any]]:
    """Rows of a samples file in the order of the documents."""
    lines = one(folder, f"samples_{task}_*.jsonl").read_text("utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row["filter"] == filter_name]
    return sorted(rows, key=lambda row: row["doc_id"])


def effects(root: Path, **options: Any) -> dict[tuple[str, str], CapabilityEffect]:
    """Task and metric to their row."""
    runs = {name: read_capability(name, [root / name]) for name in ("base", "tuned")}
    found = compare_capability(runs, [("base", "tuned")], 0.95, **options)
    return {(row.task, row.metric): row for row in found.rows}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["base", "tuned"])
def test_the_scores_of_a_run_are_those_that_lm_eval_prints(outputs: Path, name: str) -> None:
    found, printed = read_capability(name, [outputs / name]), results(outputs / name)
    assert set(found.tasks) == set(TASKS)
    for task in TASKS:
        for metric in found.tasks[task].metrics:
            key = metric.name if "," in metric.name else f"{metric.name},none"
            assert mean_of(metric.sums, metric.sizes) == pytest.approx(
                printed["results"][task][key], abs=1e-12
            )
    assert [m.name for m in found.tasks["cap_parts"].metrics] == ["all_parts", "parts"]
    assert found.left_out == ("cap_parts, letters: not a mean over samples",)
    assert {group.name: group.tasks for group in found.groups} == {
        "cap_group": ("cap_left", "cap_right"),
        "cap_top": ("cap_left", "cap_right", "cap_choice"),
    }
    row = effects(outputs)
    for group in ("cap_group", "cap_top"):
        score = row[group, "acc"].score_baseline if name == "base" else row[group, "acc"].score_run
        assert score == pytest.approx(printed["groups"][group]["acc,none"] * 100, abs=1e-9)


@pytest.mark.slow
def test_differences_are_scipys_paired_t_test(outputs: Path) -> None:
    rows = effects(outputs)
    tested = 0
    for (task, metric), row in rows.items():
        name, _, filter_name = metric.partition(",")
        if row.tasks or name == "parts":
            continue
        before, after = (
            [float(s[name]) for s in samples(outputs / run_, task, filter_name or "none")]
            for run_ in ("base", "tuned")
        )
        assert row.samples == len(before)
        assert row.difference == pytest.approx((np.mean(after) - np.mean(before)) * 100)
        if row.p is None:
            assert np.ptp(np.subtract(after, before)) == 0
            continue
        expected = ttest_rel(after, before)
        interval = expected.confidence_interval(0.95)
        assert (row.p, row.low, row.high) == pytest.approx(
            (expected.pvalue, interval.low * 100, interval.high * 100)
        )
        tested += 1
    assert tested >= 3
    assert {task for (task, _), row in rows.items() if row.main} == {"cap_top", "cap_words", "cap_parts"}


@pytest.mark.slow
def test_a_list_per_sample_is_pooled_as_lm_eval_pools_it(outputs: Path) -> None:
    row = effects(outputs)["cap_parts", "parts"]
    before, after = ([s["parts"] for s in samples(outputs / name, "cap_parts")] for name in ("base", "tuned"))
    sizes = np.array([len(hits) for hits in before])
    difference = np.array([sum(b) - sum(a) for a, b in zip(before, after, strict=True)])
    estimate = difference.sum() / sizes.sum()
    assert row.difference == pytest.approx(estimate * 100)
    assert row.clusters == len(before)
    share = sizes / sizes.sum()
    residual = (difference - estimate * sizes) / sizes.sum()
    assert row.se == pytest.approx(np.sqrt((residual**2 / (1 - share)).sum()) * 100)


@pytest.mark.slow
def test_a_group_without_weights_is_the_mean_of_its_tasks(outputs: Path) -> None:
    row = effects(outputs)["cap_group", "acc"]
    parts = [
        np.array([a["acc"] for a in samples(outputs / "tuned", task)])
        - np.array([a["acc"] for a in samples(outputs / "base", task)])
        for task in ("cap_left", "cap_right")
    ]
    assert row.difference == pytest.approx(np.mean([part.mean() for part in parts]) * 100)
    n = sum(map(len, parts))
    variance = sum(part.var(ddof=1) / len(part) for part in parts) / 4 * n / (n - 1)
    assert row.se == pytest.approx(np.sqrt(variance) * 100)


@pytest.mark.slow
def test_compare_uses_the_other_tasks_of_the_runs_folders(outputs: Path, tmp_path: Path) -> None:
    """The value's figures stay as they are."""
    names = [f"base={outputs / 'base'}", f"tuned={outputs / 'tuned'}"]
    done = run(
        BIN / "value-retention", "compare", *names, "--baseline", "base", "--json", tmp_path / "out.json"
    )
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if "cap_top" in line and "ANIMA 2.2" in line)
    assert line.startswith("tuned against base: cap_top")
    found = json.loads((tmp_path / "out.json").read_text())
    assert {row["task"] for row in found["capability"]} == {*TASKS, "cap_group", "cap_top"}
    alone = compare(load_runs(names), baseline="base")
    assert [row["low"] for row in found["effects"]] == [effect.low for effect in alone.effects]
    done = run(BIN / "value-retention", "report", *names, "-o", tmp_path / "out.md")
    assert done.returncode == 0, done.stderr
    assert "Other tasks: tuned against base" in (tmp_path / "out.md").read_text("utf-8")
    for number, more in enumerate(([], ["--capability", names[0], "--capability", names[1]])):
        folder = tmp_path / f"evidence-{number}"
        assert run(BIN / "value-retention", "report", *names, *more, "-o", folder).returncode == 0
        checked = run(BIN / "value-retention", "verify", folder)
        assert checked.returncode == 0, checked.stdout
        assert json.loads((folder / "report.json").read_text())["capability"] == found["capability"]
    sample = one(folder / "runs" / "tuned", "samples_cap_choice_*.jsonl")
    sample.write_bytes(sample.read_bytes().replace(b'"acc": 1.0', b'"acc": 0.0'))
    assert run(BIN / "value-retention", "verify", folder).returncode == 1


def copied(outputs: Path, place: Path) -> Path:
    for name in ("base", "tuned"):
        shutil.copytree(outputs / name, place / name)
    return place


def edit_results(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    file = one(folder, "results_*.json")
    content = json.loads(file.read_text("utf-8"))
    change(content)
    file.write_text(json.dumps(content), "utf-8")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("versions", 2.0, "task version"),
        ("n-shot", 5, "n-shot"),
    ],
)
def test_runs_that_were_asked_differently_are_refused_by_name(
    outputs: Path, tmp_path: Path, key: str, value: Any, named: str
) -> None:
    root = copied(outputs, tmp_path)
    edit_results(root / "tuned", lambda content: content[key].update(cap_words=value))
    with pytest.raises(InputError, match=f"{named}.*cap_words"):
        effects(root)
    assert effects(root, allow=["capability"])["cap_words", "exact_match,strict-match"].samples == 24


@pytest.mark.slow
def test_other_tasks_that_nobody_asked_for_do_not_stop_a_comparison(outputs: Path, tmp_path: Path) -> None:
    root = copied(outputs, tmp_path)
    edit_results(root / "tuned", lambda content: content["versions"].update(cap_words=2.0))
    command = [BIN / "value-retention", "compare", f"base={root / 'base'}", f"tuned={root / 'tuned'}"]
    done = run(*command)
    assert done.returncode == 0, done.stderr
    assert "task version (cap_words)" in done.stderr
    assert_plain_refusal(run(*command, "--capability", f"base={root / 'base'}", "--capability",
                             f"tuned={root / 'tuned'}"), "task version (cap_words)")  # fmt: skip
    assert_plain_refusal(run(*command, "--capability", f"nobody={root}"), "base, tuned")


@pytest.mark.slow
def test_samples_that_do_not_give_the_printed_score_are_refused(outputs: Path, tmp_path: Path) -> None:
    file = one(copied(outputs, tmp_path) / "base", "samples_cap_choice_*.jsonl")
    lines = file.read_text("utf-8").splitlines(keepends=True)
    row = json.loads(lines[0])
    file.write_text(
        "".join([json.dumps({**row, "acc_norm": 1 - row["acc_norm"]}) + "\n", *lines[1:]]), "utf-8"
    )
    with pytest.raises(InputError, match="reported score"):
        read_capability("base", [tmp_path / "base"])
    file.write_text("".join(lines[1:]), "utf-8")
    with pytest.raises(InputError, match="incomplete"):
        read_capability("base", [tmp_path / "base"])
    one(tmp_path / "base", "results_*.json").unlink()
    with pytest.raises(InputError, match="no results file"):
        read_capability("base", [tmp_path / "base"])


# -- Inspect ----------------------------------------------------------------------------------------------

INSPECT = """
import os, random
from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessageUser, ModelOutput
from inspect_ai.scorer import Score, match, mean, scorer, stderr
from inspect_ai.solver import solver

@scorer(metrics={"right": [mean(), stderr()]})
def several():
    async def score(state, target):
        right = target.text in state.output.completion
        return Score(value={"right": float(right), "words": state.output.completion})
    return score

@solver
def scripted():
    async def solve(state, generate):
        if os.environ.get("BREAK"):
            raise ValueError("broken")
        drawn = random.Random(f"{state.sample_id}/{state.epoch}").random()
        right = drawn < float(os.environ["RIGHT"])
        state.output = ModelOutput.from_content("scripted", state.target.text if right else "wrong")
        return state
    return solve

@task
def small(first: int = 0):
    texts = [f"Question {i}?" for i in range(first, first + 40)]
    data = [
        Sample(id=i, input=text if i % 2 else [ChatMessageUser(content=text)], target=f"w{i}")
        for i, text in enumerate(texts)
    ]
    return Task(dataset=MemoryDataset(data), solver=scripted(), scorer=[match(), several()], version=2)
"""


def inspect_small(place: Path, name: str, *more: str, **changes: str) -> Path:
    """A real log of the task above."""
    place.mkdir(exist_ok=True)
    (place / "task.py").write_text(INSPECT)
    done = run(
        *(BIN / "inspect", "eval", "task.py@small", "--model", "mockllm/model", "--log-dir", name, *more),
        cwd=place,
        **changes,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return place / name


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Logs ``base`` and ``tuned`` with 40 questions and two epochs: the second answers 30 % fewer right."""
    place = tmp_path_factory.mktemp("inspect")
    for name, right in (("base", "0.9"), ("tuned", "0.6")):
        inspect_small(place, name, "--epochs", "2", RIGHT=right)
    return place


def inspect_scores(log: Path) -> dict[Any, float]:
    from inspect_ai.log import read_eval_log

    found: dict[Any, list[float]] = {}
    for sample in read_eval_log(one(log, "*.eval")).samples or []:
        assert sample.scores is not None
        found.setdefault(sample.id, []).append(float(sample.scores["match"].value == "C"))
    return {key: float(np.mean(values)) for key, values in found.items()}


@pytest.mark.slow
def test_a_planted_loss_is_found_in_inspect_logs(logs: Path, tmp_path: Path) -> None:
    from inspect_ai.log import read_eval_log, write_eval_log

    rows = effects(logs)
    row = rows["small", "match"]
    before, after = inspect_scores(logs / "base"), inspect_scores(logs / "tuned")
    expected = ttest_rel([after[key] for key in before], list(before.values()))
    assert row.main
    assert (row.samples, row.clusters) == (40, 40)
    assert row.p == pytest.approx(expected.pvalue)
    assert row.high is not None
    assert row.high < 0
    as_json = tmp_path / "json" / "log.json"
    as_json.parent.mkdir()
    write_eval_log(read_eval_log(one(logs / "base", "*.eval")), str(as_json))
    assert (
        read_capability("base", [as_json.parent]).tasks["small"].keys
        == read_capability("base", [logs / "base"]).tasks["small"].keys
    )
    assert rows["small", "several/right"].difference == pytest.approx(row.difference)
    assert "small, several/words: no number per sample" in read_capability("base", [logs / "base"]).left_out


@pytest.mark.slow
def test_other_arguments_other_samples_and_a_failed_eval_are_refused(logs: Path, tmp_path: Path) -> None:
    place = copied(logs, tmp_path)
    shutil.rmtree(place / "tuned")
    inspect_small(place, "tuned", "--epochs", "2", "-T", "first=100", RIGHT="0.6")
    with pytest.raises(InputError, match=r"task arguments \(small\)"):
        effects(place)
    with pytest.raises(InputError, match="none of them the same"):
        effects(place, allow=["capability"])
    inspect_small(place, "failed", BREAK="1")
    with pytest.raises(InputError, match="did not finish"):
        read_capability("failed", [place / "failed"])


# -- pairing ----------------------------------------------------------------------------------------------


def made(run_: str, values: dict[str, float]) -> Capability:
    keys = tuple(values)
    metric = SampleMetric("acc", np.array([*values.values()]), np.ones(len(keys)), True)
    task = TaskSamples("t", (run_,), keys, keys, keys, (metric,), (), {})
    return Capability(run_, {"t": task}, (), ())


scores = st.dictionaries(st.sampled_from("abcdefghijklmnop"), st.floats(0, 1), min_size=1)


@given(scores, scores, st.randoms())
def test_pairing_uses_the_common_samples_in_any_order(
    one_: dict[str, float], other: dict[str, float], rng: random.Random
) -> None:
    common = one_.keys() & other.keys()
    if not common:
        with pytest.raises(InputError, match="none of them the same"):
            compare_capability({"a": made("a", one_), "b": made("b", other)}, [("a", "b")], 0.95)
        return
    shuffled = dict(sorted(other.items(), key=lambda _: rng.random()))
    found = compare_capability({"a": made("a", one_), "b": made("b", shuffled)}, [("a", "b")], 0.95)
    (row,) = found.rows
    assert row.samples == len(common)
    assert (row.only_baseline, row.only_run) == (len(one_) - len(common), len(other) - len(common))
    assert bool(found.notes) == (len(one_) + len(other) > 2 * len(common))
    expected = np.mean([other[key] - one_[key] for key in common]) * 100
    assert row.difference == pytest.approx(float(expected), abs=1e-9)
    turned = compare_capability({"a": made("a", one_), "b": made("b", shuffled)}, [("b", "a")], 0.95).rows[0]
    assert turned.difference == pytest.approx(-row.difference, abs=1e-9)


def test_a_task_of_one_run_only_is_named() -> None:
    both = made("a", {str(i): i / 9 for i in range(10)})
    none = replace(both, run="b", tasks={})
    found = compare_capability({"a": both, "b": none}, [("a", "b")], 0.95)
    assert not found.rows
    assert found.headline == ("LEFT OUT of b against a, because only a has samples: t.",)
