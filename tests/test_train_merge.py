"""Merged checkpoints: complete, and with answers that do not depend on the batch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from train_support import Run, card, settings

from value_retention.train.arguments import TrainError
from value_retention.train.merge import merge
from value_retention.train.tiny import make_tiny

ENDS = ("<|end_of_text|>", "<|eot_id|>")
QUESTIONS = [
    "How do I boil rice?",
    "Do hens feel pain, and if so, what should a small farm do about it?",
    "Hi",
    "मुर्गी?",
]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("merge") / "base", max_length=512)


@pytest.fixture(scope="module")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = Run("sft", tmp_path_factory.mktemp("merge") / "sft", settings("sft", base, max_steps=4))
    assert run.wait() == 0, run.output()
    return run.folder


@pytest.fixture(scope="module")
def merged(adapter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return merge(str(adapter), str(tmp_path_factory.mktemp("merge") / "out"), dtype="float32")


def load(folder: Path) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)


def test_a_merged_checkpoint_loads_alone_and_agrees_with_base_and_adapter(
    base: Path, adapter: Path, merged: Path
) -> None:
    from peft import PeftModel

    model, tokenizer = load(merged)
    untrained, _ = load(base)
    ids = tokenizer("Do hens feel pain? Yes, and we can do something about it.", return_tensors="pt")
    with torch.no_grad():
        before = untrained(**ids).logits
        wanted = PeftModel.from_pretrained(load(base)[0], str(adapter)).eval()(**ids).logits
        found = model(**ids).logits
    assert (found - wanted).abs().max() < 5e-5
    assert (found - before).abs().max() > 1e-2  # the adapter has an effect


def test_a_merged_checkpoint_has_what_harnesses_and_servers_need(merged: Path, adapter: Path) -> None:
    assert not (merged / "adapter_config.json").exists()
    model, tokenizer = load(merged)
    ends = tokenizer.convert_tokens_to_ids(list(ENDS))
    for name in ("config.json", "generation_config.json"):
        assert json.loads((merged / name).read_text())["eos_token_id"] == ends
    assert model.generation_config.pad_token_id == tokenizer.pad_token_id not in ends
    assert tokenizer.eos_token == "<|eot_id|>"
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hi"}], tokenize=False, add_generation_prompt=True
    )
    assert chat.endswith("<|start_header_id|>assistant<|end_header_id|>\n\n")
    found = card(merged)
    assert found["status"] == "merged"
    assert found["config_hash"] == card(adapter)["config_hash"]


def test_answers_do_not_change_with_the_batch_size(merged: Path) -> None:
    model, tokenizer = load(merged)
    tokenizer.padding_side = "left"
    chats = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": q}], tokenize=False, add_generation_prompt=True
        )
        for q in QUESTIONS
    ]

    def answers(size: int) -> list[str]:
        texts: list[str] = []
        for start in range(0, len(chats), size):
            ids = tokenizer(
                chats[start : start + size], return_tensors="pt", padding=True, add_special_tokens=False
            )
            out = model.generate(**ids, max_new_tokens=24, do_sample=False)
            texts += tokenizer.batch_decode(out[:, ids["input_ids"].shape[1] :], skip_special_tokens=True)
        return texts

    alone = answers(1)
    assert len(set(alone)) > 1
    assert answers(2) == alone
    assert answers(4) == alone


def test_generation_stops_at_either_end_token(merged: Path) -> None:
    """A model made to want one token emits it once and stops."""
    model, tokenizer = load(merged)
    ids = tokenizer("Hello", return_tensors="pt")
    for end in ENDS:
        wanted = tokenizer.convert_tokens_to_ids(end)

        def force(_: Any, __: Any, output: Any, wanted: int = wanted) -> Any:
            output.logits[:] = 0
            output.logits[..., wanted] = 1
            return output

        hook = model.register_forward_hook(force)
        out = model.generate(**ids, max_new_tokens=10, do_sample=False)
        hook.remove()
        assert out[0, ids["input_ids"].shape[1] :].tolist() == [wanted]


def test_bf16_and_a_full_checkpoint_are_merged_too(base: Path, tmp_path: Path) -> None:
    folder = merge(str(base), str(tmp_path / "half"), dtype="bfloat16")
    model, _ = load(folder)
    assert model.dtype == torch.bfloat16
    full, _ = load(base)
    ids = torch.arange(10, 40)[None]
    with torch.no_grad():
        assert (model(ids).logits.float() - full(ids).logits).abs().max() < 0.05


def test_template_and_end_tokens_of_a_study_stay_with_its_checkpoints(base: Path, tmp_path: Path) -> None:
    """A base takes them from the study; a run and its merged checkpoint have them in their cards."""
    template = tmp_path / "layout.jinja"
    template.write_text("{{ messages[0]['content'] }}<|end_header_id|>", "utf-8")
    study = {"chat_template": str(template), "document_end": "<|eot_id|>", "turn_end": "<|end_header_id|>"}
    first = merge(str(base), str(tmp_path / "base"), dtype="float32", study=study)
    assert {key: card(first)["config"][key] for key in study} == study
    run = Run("midtrain", tmp_path / "run", settings("midtrain", first, max_steps=1, **study))
    assert run.wait() == 0, run.output()
    folder = merge(str(run.folder), str(tmp_path / "merged"), dtype="float32")
    model, tokenizer = load(folder)
    assert model.generation_config.eos_token_id == tokenizer.convert_tokens_to_ids(
        [study["document_end"], study["turn_end"]]
    )
    assert tokenizer.eos_token == study["document_end"]
    assert tokenizer.chat_template == template.read_text("utf-8")
    assert {key: card(folder)["config"][key] for key in study} == study


def test_a_checkpoint_of_a_finished_run_is_merged_with_the_card_of_the_run(
    adapter: Path, merged: Path, tmp_path: Path
) -> None:
    third = merge(str(adapter / "checkpoint-3"), str(tmp_path / "3"), dtype="float32")
    last = merge(str(adapter / "checkpoint-4"), str(tmp_path / "4"), dtype="float32")
    found, whole = card(third), card(merged)
    assert (found["status"], found["result"]["steps"], card(last)["result"]["steps"]) == ("merged", 3, 4)
    assert found["result"]["first loss"] == whole["result"]["first loss"]
    assert found["result"]["last loss"] != whole["result"]["last loss"]
    assert {key: found[key] for key in ("config_hash", "parent", "seed")} == {
        key: whole[key] for key in ("config_hash", "parent", "seed")
    }
    for name in ("tokenizer.json", "chat_template.jinja", "generation_config.json"):
        assert (third / name).read_bytes() == (merged / name).read_bytes()
    weights = [(folder / "model.safetensors").read_bytes() for folder in (third, last, merged)]
    assert weights[0] != weights[1] == weights[2]
    (adapter / "checkpoint-3" / "trainer_state.json").rename(tmp_path / "state")
    with pytest.raises(TrainError, match="incomplete checkpoint"):
        merge(str(adapter / "checkpoint-3"), str(tmp_path / "x"), dtype="float32")
    (tmp_path / "state").rename(adapter / "checkpoint-3" / "trainer_state.json")


def test_an_invalid_merge_is_refused(adapter: Path, base: Path, tmp_path: Path) -> None:
    other = make_tiny(tmp_path / "other", seed=1, max_length=512)
    with pytest.raises(TrainError, match="another base"):
        merge(str(adapter), str(tmp_path / "x"), dtype="float32", base=str(other))
    with pytest.raises(TrainError, match="not a model checkpoint"):
        merge(str(tmp_path), str(tmp_path / "x"), dtype="float32")
    with pytest.raises(TrainError, match="lacks an end token"):
        merge(str(base), str(tmp_path / "x"), dtype="float32", study={"turn_end": "<|im_end|>"})
    model, tokenizer = load(base)
    model.model.norm.weight.data[0] = float("nan")
    model.save_pretrained(tmp_path / "nan")
    tokenizer.save_pretrained(tmp_path / "nan")
    with pytest.raises(TrainError, match=r"model\.norm\.weight"):
        merge(str(tmp_path / "nan"), str(tmp_path / "x"), dtype="float32")


def test_interpolated_weights_lie_between_two_checkpoints_and_the_card_names_both(
    base: Path, adapter: Path, merged: Path, tmp_path: Path
) -> None:
    def at(weight: float) -> tuple[Path, dict[str, Any]]:
        folder = merge(
            str(adapter),
            str(tmp_path / str(weight)),
            dtype="float32",
            interpolate=str(base),
            weight=weight,
        )
        return folder, dict(load(folder)[0].named_parameters())

    ours, theirs = (dict(load(folder)[0].named_parameters()) for folder in (merged, base))
    hashes = {card(adapter)["config_hash"]}
    for weight in (0.0, 0.25, 1.0):
        folder, found = at(weight)
        assert found.keys() == ours.keys()
        for name, value in found.items():
            torch.testing.assert_close(
                value, weight * ours[name] + (1 - weight) * theirs[name], rtol=1e-6, atol=1e-7
            )
        known = card(folder)
        between = known["config"]["interpolated"]
        assert (between["model"], between["with"]["name"], between["weight"]) == (
            str(adapter),
            str(base),
            weight,
        )
        assert between["with"]["weights_sha256"]
        assert known["result"] == {}  # the losses of the run are not those of these weights
        hashes.add(known["config_hash"])
    assert len(hashes) == 4
    with pytest.raises(TrainError, match="expected: 0 to 1"):
        at(1.5)


def test_models_that_do_not_correspond_are_not_interpolated(merged: Path, tmp_path: Path) -> None:
    for said, shape in (
        ("different weights", {"hidden_size": 64}),
        ("different tokenizers", {"vocabulary": 600}),
    ):
        other = make_tiny(tmp_path / said, max_length=512, **shape)
        with pytest.raises(TrainError, match=said):
            merge(str(merged), str(tmp_path / "x"), dtype="float32", interpolate=str(other))


def test_the_loss_of_a_checkpoint_is_the_mean_over_tokens_that_a_run_logs_too(
    merged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from value_retention.train import losses

    turns = {
        role: [{"role": role, "content": text}] for role, text in (("user", "Why?"), ("assistant", "So."))
    }
    dialogue = {"prompt": turns["user"], "completion": turns["assistant"]}
    rows = {"value": [{"text": "Hens feel pain."}, {"text": "A short one."}], "task": [dialogue]}
    named = []
    for name, part in rows.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
        named += ["--eval_rows", f"{name}={tmp_path / name}.jsonl"]
    monkeypatch.setattr("sys.argv", ["losses", *named, "-o", str(tmp_path / "out.json"), str(merged)])
    losses.main()
    found = json.loads((tmp_path / "out.json").read_text())[str(merged)]
    assert f"{found['value']:.2f}" in capsys.readouterr().out
    model, tokenizer = load(merged)

    def wanted(text: str, start: int = 1) -> list[float]:
        ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            logits = model(ids).logits[0, :-1].log_softmax(-1)
        return [-float(logits[i - 1, ids[0, i]]) for i in range(start, ids.shape[1])]

    values = [
        value for row in rows["value"] for value in wanted(f"<|begin_of_text|>{row['text']}<|end_of_text|>")
    ]
    assert found["value"] == pytest.approx(sum(values) / len(values), rel=1e-5)
    prompt = tokenizer.apply_chat_template(turns["user"], tokenize=False, add_generation_prompt=True)
    start = len(tokenizer(prompt, add_special_tokens=False)["input_ids"])
    answer = wanted(f"{prompt}So.<|eot_id|>", start)
    assert found["task"] == pytest.approx(sum(answer) / len(answer), rel=1e-5)


def test_the_tiny_model_is_reproducible_and_reads_any_text(base: Path, tmp_path: Path) -> None:
    again = make_tiny(tmp_path / "again", max_length=512)
    for name in ("model.safetensors", "tokenizer.json"):
        assert (again / name).read_bytes() == (base / name).read_bytes()
    _, tokenizer = load(base)
    for text in ("plain", "दया और पशु", "动物\n\n\n  福利", "\x00\U0001f413 <b>", "a\r\n b"):
        assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text
    with pytest.raises(TrainError, match="multiple of 64"):
        make_tiny(tmp_path / "x", hidden_size=100)
