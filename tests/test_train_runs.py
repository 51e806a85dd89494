"""The scripts as processes on a tiny Llama and the shipped samples: killed, resumed, refused."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from train_support import SCRIPTS, Run, card, completed, refused, settings, weights

from value_retention.train.run import newest_whole_checkpoint, whole_checkpoints
from value_retention.train.tiny import make_tiny

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("train") / "base", max_length=512)


@pytest.fixture(scope="session")
def whole(base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One uninterrupted run per script."""
    folder = tmp_path_factory.mktemp("whole")
    runs = {script: Run(script, folder / script, settings(script, base)) for script in SCRIPTS}
    for run in runs.values():
        assert run.wait() == 0, run.output()
    return {script: run.folder for script, run in runs.items()}


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_same_config_twice_gives_the_same_bytes_and_the_loss_is_a_number(
    script: str, base: Path, whole: dict[str, Path], tmp_path: Path
) -> None:
    if script == "grpo":  # the others are repeated by the kill test below
        again = completed(script, tmp_path / script, settings(script, base, save_strategy="no"))
        assert weights(again.folder) == weights(whole[script])
    found = card(whole[script])
    assert found["status"] == "complete"
    assert found["result"]["steps"] == 9
    assert isinstance(found["result"]["first loss"], float)
    assert found["data"]["rows_in"] > found["data"]["rows_out"] > 0
    assert found["contamination"] == {"status": "unchecked"}
    assert found["parent"]["weights_sha256"]
    assert len(found["config_hash"]) == 64
    assert card(whole[script] / "checkpoint-9")["config_hash"] == found["config_hash"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_run_killed_twice_resumes_to_bit_identical_weights(
    script: str, base: Path, whole: dict[str, Path], tmp_path: Path
) -> None:
    config, folder = settings(script, base), tmp_path / script
    # First while a checkpoint is being written, then between two checkpoints.
    points = (folder / "checkpoint-3", folder / "checkpoint-6" / "value_retention_run.json")
    for point in points:
        run = Run(script, folder, config)
        assert run.send(signal.SIGKILL, point.exists), run.output()
        assert run.wait() == -signal.SIGKILL
        assert card(folder)["status"] == "running"
    last = completed(script, folder, config)
    assert "resuming from" in last.output()
    assert weights(folder) == weights(whole[script])


def test_sigterm_saves_a_checkpoint_and_the_same_command_goes_on(
    base: Path, whole: dict[str, Path], tmp_path: Path
) -> None:
    config, folder = settings("sft", base, save_steps=1000), tmp_path / "sft"
    run = Run("sft", folder, config)
    assert run.send(signal.SIGTERM, lambda: "'loss'" in run.output()), run.output()
    assert run.wait() == 143, run.output()
    assert card(folder)["status"] == "stopped"
    checkpoint = newest_whole_checkpoint(folder)
    assert checkpoint is not None
    assert 0 < int(checkpoint.rpartition("-")[2]) < 9
    assert "Traceback" not in run.output()
    completed("sft", folder, config)
    assert weights(folder) == weights(whole["sft"])


def test_an_incomplete_checkpoint_is_skipped_and_removed(tmp_path: Path) -> None:
    for step, state in ((3, "{}"), (6, '{"global_step'), (9, None)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "rng_state.pth").touch()
        if state is not None:
            (folder / "trainer_state.json").write_text(state)
    (tmp_path / "checkpoint-12").mkdir()
    (tmp_path / "checkpoint-12" / "trainer_state.json").write_text("{}")  # but no random state
    assert [path.name for path in whole_checkpoints(tmp_path)] == ["checkpoint-3"]
    assert newest_whole_checkpoint(tmp_path) == str(tmp_path / "checkpoint-3")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-3"]


def test_a_finished_run_is_not_redone_and_a_folder_of_another_config_is_refused(
    base: Path, whole: dict[str, Path]
) -> None:
    before = weights(whole["sft"])
    same = completed("sft", whole["sft"], settings("sft", base, logging_steps=5))
    assert "already holds this run" in same.output()
    output = refused("sft", whole["sft"], settings("sft", base, learning_rate=2e-3))
    assert "learning_rate: 0.001 there, 0.002 here" in output
    assert "rows: " in refused("sft", whole["sft"], settings("sft", base, shuffle_seed=1))
    assert weights(whole["sft"]) == before


def test_unknown_origin_and_another_parent_are_refused(
    base: Path, whole: dict[str, Path], tmp_path: Path
) -> None:
    strange = tmp_path / "strange"
    (strange / "checkpoint-5").mkdir(parents=True)
    assert "unknown checkpoint" in refused("sft", strange, settings("sft", base))
    output = refused("sft", whole["sft"], settings("sft", whole["midtrain"]))
    assert "parent: " in output
    assert "merge" in refused("sft", tmp_path / "x", settings("sft", whole["sft"]))


def test_training_refuses_rows_without_a_clean_stamp_for_exactly_them(base: Path, tmp_path: Path) -> None:
    from value_retention.train.data import rows_bytes

    config = settings("sft", base, contamination_unchecked=None, max_steps=1, save_strategy="no")
    assert "no contamination stamp" in refused("sft", tmp_path / "a", config)
    rows = tmp_path / "rows.jsonl"
    dialogue = [
        {
            "prompt": [{"role": "user", "content": f"Question {i}?"}],
            "completion": [{"role": "assistant", "content": "Yes."}],
        }
        for i in range(8)
    ]
    rows.write_bytes(rows_bytes(dialogue))
    import hashlib

    stamp: dict[str, Any] = {
        "schema": 2,
        "rows_sha256": hashlib.sha256(rows.read_bytes()).hexdigest(),
        "hits": 0,
        "questions": 316,
        "sources": [
            {"benchmark": "anima_2_2", "is_benchmark": True, "questions": 115},
            {"benchmark": "moru", "is_benchmark": True, "questions": 201},
        ],
    }
    path = tmp_path / "rows.jsonl.stamp.json"
    path.write_text(json.dumps(stamp))
    run = completed("sft", tmp_path / "b", config, "--rows", str(rows))
    assert card(run.folder)["contamination"] == {"status": "clean", **stamp}
    path.write_text(json.dumps(stamp | {"schema": 1}))
    assert "another version of the check" in refused("sft", tmp_path / "c", config, "--rows", str(rows))
    path.write_text(json.dumps(stamp | {"hits": 1}))
    assert "not clean" in refused("sft", tmp_path / "c", config, "--rows", str(rows))
    path.write_text(json.dumps(stamp | {"sources": stamp["sources"][:1]}))
    assert "missing: moru" in refused("sft", tmp_path / "c", config, "--rows", str(rows))
    path.write_text(json.dumps(stamp | {"questions": 0}))
    assert "not clean" in refused("sft", tmp_path / "c", config, "--rows", str(rows))
    path.write_text(json.dumps(stamp))
    rows.write_bytes(rows_bytes(dialogue[:-1]))
    assert "for other rows" in refused("sft", tmp_path / "c", config, "--rows", str(rows))
    path.write_text("[]")
    assert "invalid contamination stamp" in refused("sft", tmp_path / "c", config, "--rows", str(rows))


def test_a_mistake_in_the_config_gives_one_message(base: Path, tmp_path: Path) -> None:
    def said(script: str, *options: str, **changes: Any) -> str:
        return refused(script, tmp_path / "x", settings(script, base, **changes), *options)

    assert "lerning_rate" in said("sft", lerning_rate=1)
    assert "--lerning_rate" in said("sft", "--lerning_rate", "1")
    assert "num_generations" in said("sft", num_generations=4)  # a key of another script
    assert "expected: midtrain" in said(
        "midtrain", stage="sft", dataset="sample:dolly", dataset_format="dolly"
    )
    assert "bfd_split" in said("midtrain", packing_strategy="bfd")
    assert "answers would be cut" in said("sft", max_length=100, max_row_tokens=200)
    assert "expected: false" in said("grpo", shuffle_dataset=None)
    assert "no reward" in said("grpo", reward_functions=None)
    assert "multiple of 2" in said("grpo", num_iterations=2)
    assert "checkpoint folder not found" in said("sft", model_name_or_path="out/nothing/here")
    assert "pinned commit" in said("sft", model_name_or_path="meta-llama/Llama-3.1-8B")
    assert "160 × longer than 3 tokens" in said("sft", max_row_tokens=3)
    assert not list(tmp_path.glob("x/checkpoint-*"))


def test_a_template_that_drops_every_answer_stops_the_run(base: Path, tmp_path: Path) -> None:
    template = tmp_path / "bad.jinja"
    template.write_text(
        "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}"
        "{% if add_generation_prompt %}{% endif %}"
    )
    output = refused("sft", tmp_path / "x", settings("sft", base, chat_template=str(template)))
    assert "160 × the chat template drops the answer" in output


def test_empty_data_stops_the_run(base: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    output = refused("sft", tmp_path / "x", settings("sft", base, dataset=str(empty)))
    assert "the data set is empty" in output


def test_a_diverged_loss_stops_the_run_before_it_reaches_a_checkpoint(base: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    config = settings(
        "midtrain", base, learning_rate=1e30, max_grad_norm=1e30, logging_steps=100, save_steps=2
    )
    output = refused("midtrain", tmp_path / "x", config)
    assert "the loss is not finite" in output
    for path in whole_checkpoints(tmp_path / "x"):
        assert all(value.isfinite().all() for value in load_file(path / "model.safetensors").values())


def _limit_files_and_run(script: str, arguments: list[str], log: str) -> None:
    from train_support import _child

    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
    _child(script, arguments, log)


def test_a_run_on_a_full_disk_stops_with_a_message_and_can_resume(
    base: Path, whole: dict[str, Path], tmp_path: Path
) -> None:
    from train_support import CONTEXT

    config, folder = settings("midtrain", base), tmp_path / "midtrain"
    # A first checkpoint, then a limit that the next one hits in the middle of a file.
    run = Run("midtrain", folder, config)
    assert run.send(signal.SIGKILL, (folder / "checkpoint-3" / "value_retention_run.json").exists)
    run.wait()
    arguments = ["--config", str(folder.with_suffix(".yaml")), "--output_dir", str(folder)]
    process = CONTEXT.Process(target=_limit_files_and_run, args=("midtrain", arguments, str(run.log)))
    process.start()
    process.join(120)
    assert process.exitcode == 3, run.output()
    assert "out of disk space" in run.output()
    assert "Traceback" not in run.output()
    completed("midtrain", folder, config)
    assert weights(folder) == weights(whole["midtrain"])


def history(folder: Path, key: str) -> list[float]:
    state = json.loads((folder / "trainer_state.json").read_text())
    return [entry[key] for entry in state["log_history"] if key in entry]


def test_loss_falls_and_reward_rises(base: Path, tmp_path: Path) -> None:
    """`-s` prints the figures: means of the first and of the last third of the steps."""
    read, taught, rewarded = (tmp_path / script for script in SCRIPTS)
    never = {"save_strategy": "no", "gradient_accumulation_steps": 1}
    completed(
        "midtrain", read, settings("midtrain", base, num_examples=None, max_length=256, max_steps=40, **never)
    )
    completed("sft", taught, settings("sft", read, use_peft=None, num_examples=60, max_steps=15, **never))
    completed(
        "grpo",
        rewarded,
        settings("grpo", read, max_steps=24, num_generations=8, per_device_train_batch_size=16)
        | {"max_completion_length": 24, "learning_rate": 5e-4, **never},
    )
    for folder, key, sign in ((read, "loss", -1), (taught, "loss", -1), (rewarded, "reward", 1)):
        values = history(folder, key)
        third = len(values) // 3
        first, last = sum(values[:third]) / third, sum(values[-third:]) / third
        print(f"{folder.name}: {key} {first:.3f} -> {last:.3f} in {len(values)} steps")
        assert sign * (last - first) > 0


def test_two_processes_take_the_same_steps_as_one(base: Path, tmp_path: Path) -> None:
    import yaml

    config = settings("sft", base, max_steps=3, save_steps=1, lora_dropout=0.0, sequences_per_step=4)
    alone = completed("sft", tmp_path / "one", config).folder
    path, folder = tmp_path / "two.yaml", tmp_path / "two"
    path.write_text(yaml.safe_dump(config))
    # On a CPU, accelerate itself starts only one process.
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "-m"]
    command += ["value_retention.train.sft", "--config", str(path), "--output_dir", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    cards = [card(alone), card(folder)]
    assert [found["world_size"] for found in cards] == [1, 2]
    assert [found["config"]["per_device_train_batch_size"] for found in cards] == [4, 2]
    for key in ("loss", "grad_norm"):
        assert history(folder, key) == pytest.approx(history(alone, key), rel=1e-4)
    states = {path.name for path in (folder / "checkpoint-2").glob("rng_state*")}
    assert states == {"rng_state_0.pth", "rng_state_1.pth"}


def test_losses_on_held_out_rows_are_logged_by_name(base: Path, tmp_path: Path) -> None:
    documents = tmp_path / "documents.jsonl"
    documents.write_text('{"text": "Hens feel pain."}\n')
    rows = tmp_path / "held_out.jsonl"
    dialogue = {
        "prompt": [{"role": "user", "content": "Why?"}],
        "completion": [{"role": "assistant", "content": "Because."}],
    }
    rows.write_text(json.dumps(dialogue) + "\n")
    named = [f"value={documents}", str(rows)]
    config = settings("sft", base, eval_strategy="steps", eval_steps=4, eval_on_start=True, eval_rows=named)
    folder = completed("sft", tmp_path / "sft", config).folder
    found = history(folder, "eval_held_out_loss")
    assert len(found) == 4, "before training, at steps 4 and 8, and at the end"
    assert found[-1] < found[0]
    result = card(folder)["result"]
    assert (result["first eval_held_out_loss"], result["last eval_held_out_loss"]) == (found[0], found[-1])
    assert result["first eval_value_loss"] != result["last eval_value_loss"]
    # Without rows for evaluation, the same settings train as before, and to the same weights.
    alone = completed("sft", tmp_path / "alone", {**config, "eval_rows": None}).folder
    assert not history(alone, "eval_value_loss")
    assert weights(alone) == weights(folder)
    shared = refused("sft", tmp_path / "x", config | {"rows": str(rows)})
    assert "rows for evaluation are trained on" in shared
