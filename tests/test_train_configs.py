"""The shipped configs: one experiment on any number of GPUs, arms that differ in their data only, and one step each."""

from __future__ import annotations

import ast
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from train_support import CONTEXT, card, one_step_each

from value_retention.train.arguments import (
    CONFIGS,
    STUDIES,
    DataArguments,
    TrainError,
    batch_of,
    read_config,
)
from value_retention.train.data import SAMPLES
from value_retention.train.plan import arms, machines, settings, steps
from value_retention.train.rewards import RewardArguments
from value_retention.train.rows import CHAT_TEMPLATE
from value_retention.train.tiny import make_tiny

STUDY_ARMS = [(folder.name, arm) for folder in STUDIES for arm in arms(folder.name)]


@pytest.mark.parametrize("machine", machines())
@pytest.mark.parametrize("arm", arms("llama31-8b"))
def test_a_step_has_as_many_sequences_on_every_machine(arm: str, machine: str) -> None:
    one, many = settings("llama31-8b", arm, None), settings("llama31-8b", arm, machine)
    processes = yaml.safe_load((CONFIGS / "accelerate" / machine).read_text())["num_processes"]
    for values, world in ((one, 1), (many, processes)):
        size, times = values["per_device_train_batch_size"], values["gradient_accumulation_steps"]
        assert size * times * world == {"midtrain": 32, "sft": 32, "grpo": 64}[values["stage"]]
        assert size <= read_config(f"llama31-8b/{arm}.yaml")["per_device_train_batch_size"]
    # The trainer counts batches per process, then steps: the same number on every machine.
    rows = {"rows_out": 5003, "tokens": 5_003_000}
    assert steps(one, rows) == steps(many, rows) == {"midtrain": 153, "sft": 157, "grpo": 625}[one["stage"]]


@pytest.mark.parametrize("arm", arms("llama31-8b"))
def test_a_learning_rate_is_for_the_weights_that_are_trained(arm: str) -> None:
    for machine in (None, *machines()):
        values = settings("llama31-8b", arm, machine)
        lora, full = {"midtrain": (2e-4, 1e-5), "sft": (2e-4, 1e-5), "grpo": (1e-5, 1e-6)}[values["stage"]]
        if not arm.endswith("-lowlr"):
            assert values["learning_rate"] == (lora if values["use_peft"] else full)
        assert values["dtype"] == ("bfloat16" if values["use_peft"] else "float32")
        assert values["use_peft"] == (machine is None or machine.startswith("ddp"))


@pytest.mark.parametrize("processes", [3, 64])
def test_a_step_that_cannot_be_shared_out_is_refused(processes: int) -> None:
    with pytest.raises(TrainError, match=f"32 sequences on {processes} processes"):
        batch_of({"sequences_per_step": 32, "per_device_train_batch_size": 8}, processes)


LABELS = {"domain", "mitigation", "parent"}
DATA = {"dataset", "dataset_revision", "dataset_split"}


def test_an_arm_is_three_lines_and_differs_from_its_siblings_in_its_data_only() -> None:
    for study in STUDIES:
        known: dict[str, set[str]] = {}
        for arm in arms(study.name):
            own = yaml.safe_load((study / f"{arm}.yaml").read_text())
            values = read_config(f"{study.name}/{arm}.yaml")
            assert values["stage"] == arm.partition("-")[0]
            if "mitigation" in own:
                continue
            assert set(own) <= {"base"} | DATA | LABELS
            assert len(set(own) - LABELS) <= 3 or "dataset_split" in own
            same = {key: value for key, value in values.items() if key not in DATA | LABELS}
            known.setdefault(values["stage"], set()).add(repr(sorted(same.items())))
        assert {stage: len(found) for stage, found in known.items()} == dict.fromkeys(known, 1)


def test_a_mitigation_is_one_or_two_settings_on_top_of_an_arm_and_says_which() -> None:
    found = 0
    for study, arm in STUDY_ARMS:
        own = yaml.safe_load((CONFIGS / study / f"{arm}.yaml").read_text())
        if "mitigation" in own:
            plain = read_config(f"{study}/{own['base']}")
            assert arm.startswith(f"{Path(own['base']).stem}-")
            changed = {key for key, value in own.items() if plain.get(key) != value} - LABELS - {"base"}
            assert 1 <= len(changed) <= 2
            assert changed <= {"replay", "learning_rate", "use_peft", "lora_r", "beta"}
            found += 1
        elif arm.endswith("-neutral") and own["base"] != "study.yaml#midtrain":
            assert own == {"base": f"{arm.removesuffix('-neutral')}.yaml", "parent": "midtrain-neutral"}
    assert found >= 11
    for study in ("tiny", "llama31-8b"):
        plain, low = (read_config(f"{study}/sft-dolly{name}.yaml") for name in ("", "-lowlr"))
        assert low["learning_rate"] == pytest.approx(plain["learning_rate"] / 5)


def test_the_step_counts_in_comments_are_those_of_the_settings() -> None:
    (line,) = re.findall(
        r"num_train_epochs: 1 +# (\d+) steps", (CONFIGS / "llama31-8b/study.yaml").read_text()
    )
    values = settings("llama31-8b", "grpo-rlhflow", None)
    assert int(line) == steps(values, {"rows_out": values["num_examples"]})


@pytest.mark.slow
@pytest.mark.parametrize("arm", [arm for arm in arms("llama31-8b") if arm.startswith("grpo")])
def test_vllm_gets_the_length_of_a_prompt_and_its_answer(arm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from trl import import_utils

    from value_retention.train.grpo import set_vllm_length

    class Training:
        use_vllm, vllm_max_model_length, max_completion_length = True, None, 512

    values = read_config(f"llama31-8b/{arm}.yaml")
    data = DataArguments(max_row_tokens=values["max_row_tokens"])
    monkeypatch.setattr(import_utils, "is_vllm_available", lambda: False)
    with pytest.raises(TrainError, match=r"pip install '.\[train,vllm\]'"):
        set_vllm_length(data, Training())
    monkeypatch.setattr(import_utils, "is_vllm_available", lambda: True)
    training: Any = Training()
    set_vllm_length(data, training)
    assert (
        training.vllm_max_model_length == values["max_row_tokens"] + values["max_completion_length"] == 1024
    )
    training.vllm_max_model_length = 1000
    with pytest.raises(TrainError, match="1024 or more"):
        set_vllm_length(data, training)
    with pytest.raises(TrainError, match="max_row_tokens"):
        set_vllm_length(DataArguments(), training)


def one_step(study: str, arm: str, base: Path, folder: Path) -> tuple[str, list[str]]:
    """Options for a step of an arm on a tiny model: its own settings, less rows, and none that need a GPU."""
    stage = arm.partition("-")[0]
    changes: dict[str, Any] = {
        "output_dir": folder / study / arm, "model_name_or_path": base, "model_revision": "main", "max_steps": 1,
        "contamination_unchecked": "true", "save_strategy": "no", "held_out": 0, "num_examples": 8,
        "use_cpu": "true", "bf16": "false", "dtype": "float32", "sequences_per_step": 4,
    }  # fmt: skip
    values = read_config(f"{study}/{arm}.yaml")
    if not str(values.get("dataset")).startswith("sample:"):
        changes["dataset"] = read_config(f"tiny/{arm}.yaml").get("dataset", "sample:compassion")
    if "chat_template" in values:  # its tokens are those of the real model
        changes |= {
            "chat_template": CHAT_TEMPLATE,
            "document_end": "<|end_of_text|>",
            "turn_end": "<|eot_id|>",
        }
    if stage == "midtrain":
        changes |= {"num_examples": None, "loss_tokens": 3000}
    if stage == "sft":
        changes |= {"num_examples": None, "loss_tokens": 1000, "replay_rows": folder / "documents.jsonl"}
    if stage == "grpo":
        changes |= {"max_completion_length": 4, "num_generations": 2, "use_vllm": "false", "reward_model": ""}
        changes |= {"reward_functions": "value_retention.train.rewards.code_shape"}
    options = [
        text for key, value in changes.items() if value is not None for text in (f"--{key}", str(value))
    ]
    return stage, ["--config", f"{study}/{arm}.yaml", *options]


@pytest.mark.slow
def test_every_config_is_known_to_its_trainer_and_trains_for_a_step(tmp_path: Path) -> None:
    """The configs of the larger models train a tiny one, on the shipped samples and without vLLM."""
    from trl import GRPOConfig, ModelConfig, SFTConfig

    base = make_tiny(tmp_path / "base", max_length=2048, hidden_size=64, layers=1)
    (tmp_path / "documents.jsonl").write_bytes((SAMPLES / "compassion.jsonl").read_bytes())
    for study, arm in STUDY_ARMS:
        stage = arm.partition("-")[0]
        trainer = GRPOConfig if stage == "grpo" else SFTConfig
        kinds = (trainer, ModelConfig, DataArguments, *((RewardArguments,) if stage == "grpo" else ()))
        values = read_config(f"{study}/{arm}.yaml")
        assert set(values) <= {item.name for kind in kinds for item in fields(kind)}, (study, arm)
    jobs = [one_step(study, arm, base, tmp_path) for study, arm in STUDY_ARMS]
    log = tmp_path / "log"
    process = CONTEXT.Process(target=one_step_each, args=(jobs, str(log)))
    process.start()
    process.join(580)
    said = log.read_text(errors="replace")
    assert process.exitcode == 0, said[-3000:]
    for study, arm in STUDY_ARMS:
        assert f"wrote {tmp_path / study / arm}: {{'steps': 1" in said
        found = card(tmp_path / study / arm)
        assert (found["data"]["replayed_loss_tokens"] > 0) == ("replay" in arm)


def test_help_is_instant_and_modules_of_the_library_stay_out_of_the_settings() -> None:
    """`arguments` and `plan` import neither torch nor a trainer."""
    for name in ("arguments", "plan", "rows", "data", "card"):
        source = (CONFIGS.parent / f"{name}.py").read_text()
        heavy = {"torch", "trl", "transformers", "datasets", "peft"}
        for node in ast.parse(source).body:
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not {found.partition(".")[0] for found in names} & heavy, name


@pytest.mark.slow
def test_trained_weights_are_float32_and_all_of_an_output_head_moves(tmp_path: Path) -> None:
    moved = {exact: share_moved(make_tiny(tmp_path / str(exact), hidden_size=64, layers=1), exact)
             for exact in (False, True)}  # fmt: skip
    assert moved[False] < 0.5 < 0.99 < moved[True]


def share_moved(base: Path, exact: bool) -> float:
    """Share of the elements of the output head that one step of 1e-5 changes, beside a frozen base in bfloat16."""
    import torch

    from value_retention.train.run import train_in_float32

    model = adapted(base)
    if exact:
        train_in_float32(model)
        trained = [weight for weight in model.parameters() if weight.requires_grad]
        assert {weight.dtype for weight in trained} == {torch.float32}
    head = model.get_output_embeddings().weight
    before = head.detach().clone()
    optimizer = torch.optim.AdamW([w for w in model.parameters() if w.requires_grad], lr=1e-5, weight_decay=0)
    ids = torch.arange(4, 40)[None]
    model(input_ids=ids, labels=ids).loss.backward()
    optimizer.step()
    return float((head != before).float().mean())


def adapted(base: Path) -> Any:
    """A model in bfloat16 with LoRA, its embeddings and head trained."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    return get_peft_model(
        model, LoraConfig(r=4, target_modules="all-linear", modules_to_save=["embed_tokens", "lm_head"])
    )


@pytest.mark.slow
def test_a_sync_with_vllm_leaves_the_base_as_it_is_and_sends_what_merge_makes(tmp_path: Path) -> None:
    """TRL's own sync merges and unmerges, which changes the base: the control."""
    import torch

    from value_retention.train.grpo import sync_without_merging
    from value_retention.train.merge import merge

    base = make_tiny(tmp_path / "float32", hidden_size=64, layers=1)
    base = merge(str(base), str(tmp_path / "base"), dtype="bfloat16")
    for exact in (False, True):
        model = adapted(base)
        frozen = {
            name: w.clone() for name, w in model.named_parameters() if name.endswith("base_layer.weight")
        }
        trainer: Any = type("Trainer", (), {"model": model})
        if exact:
            sync_without_merging(trainer)
        for _ in range(16):
            with torch.no_grad():
                for name, weight in model.named_parameters():
                    if "lora_" in name:
                        weight += 1e-2 * torch.randn_like(weight)
            sent = synced(model)
        changed = [(w != frozen[n]).float().mean() for n, w in model.named_parameters() if n in frozen]
        assert len(changed) == 7
        if not exact:
            assert min(changed) > 0.01
            continue
        assert max(changed) == 0
        model.save_pretrained(tmp_path / "adapter")
        merged = merged_weights(base, tmp_path / "adapter")
        assert sent.keys() == merged.keys()
        assert all(torch.equal(sent[name], merged[name].to(sent[name].dtype)) for name in sent)
        assert next(model.parameters()) is next(iter(model.state_dict(keep_vars=True).values()))


def synced(model: Any) -> dict[str, Any]:
    """What TRL sends to vLLM, by TRL's own code, in one process."""
    from contextlib import nullcontext
    from types import SimpleNamespace

    from trl.generation.vllm_generation import VLLMGeneration

    sync: Any = object.__new__(VLLMGeneration)
    sync.model = model
    sync._dist = SimpleNamespace(gather_params=lambda _: nullcontext(), is_fsdp=False)
    return {name: weight.clone() for name, weight in sync._iter_named_params()}


def merged_weights(base: Path, adapter: Path) -> dict[str, Any]:
    from value_retention.train.merge import load_merged

    return dict(load_merged(adapter, str(base)).named_parameters())
