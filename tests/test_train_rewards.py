"""Rewards: their scores; no code is run and no benchmark can be imported."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from value_retention.train import rewards
from value_retention.train.arguments import TrainError
from value_retention.train.rewards import (
    RewardArguments,
    answer_shape,
    code_shape,
    load_rewards,
    reward_ids,
    well_formed,
)
from value_retention.train.tiny import tiny_tokenizer

TRAIN = Path(rewards.__file__).parent


def one(function: Any, prompt: str, answer: str) -> float:
    (score,) = function([[{"role": "user", "content": prompt}]], [[{"role": "assistant", "content": answer}]])
    assert isinstance(score, float)
    return score


def test_an_answer_beats_babble_and_silence() -> None:
    prompt = "How do I boil an egg without cracking it?"
    good = one(
        answer_shape, prompt, "Put the egg in cold water, bring it to the boil, and wait eight minutes."
    )
    assert good > one(answer_shape, prompt, "egg egg egg egg egg egg egg egg") > one(answer_shape, prompt, "")
    assert one(answer_shape, prompt, "") == 0


@given(st.text(), st.text())
def test_scores_stay_between_0_and_1(prompt: str, answer: str) -> None:
    for function in (answer_shape, code_shape):
        assert 0 <= one(function, prompt, answer) <= 1


def test_code_is_parsed_and_never_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    answer = f"```python\ndef add(a, b):\n    return a + b\nopen({str(mark)!r}, 'w')\n```"
    assert one(code_shape, "Write `add(a, b)`.", answer) == 1
    assert not mark.exists()
    assert one(code_shape, "Write `sub(a, b)`.", answer) == pytest.approx(2 / 3)
    assert one(code_shape, "Write `add(a, b)`.", "```python\ndef add(a, b) return\n```") == pytest.approx(
        2 / 3
    )
    assert one(code_shape, "Write `add(a, b)`.", "def add(a, b): return a + b") == 0


def test_code_that_would_exhaust_the_parser_is_only_ill_formed() -> None:
    assert not well_formed("python", "(" * 19_000)
    assert not well_formed("python", "x = 1\n" * 10_000)
    assert not well_formed("python", "\0")
    assert well_formed("javascript", "f(x) { return [1, (2)]; }")
    assert not well_formed("javascript", "f(x) { return [1, (2]); }")


@given(st.text(alphabet="()[]{} a", max_size=30))
def test_brackets_agree_with_deletion_of_pairs(code: str) -> None:
    left = "".join(letter for letter in code if letter in "()[]{}")
    while True:
        shorter = left.replace("()", "").replace("[]", "").replace("{}", "")
        if shorter == left:
            break
        left = shorter
    assert well_formed("c", code) == (bool(code.strip()) and not left)


def test_no_module_of_train_imports_another_folder_or_runs_anything() -> None:
    """Read from the source: neither at the top nor inside a function."""
    forbidden_calls = {"eval", "exec", "compile", "__import__", "system", "popen", "Popen", "check_output"}
    seen = 0
    for path in sorted(TRAIN.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level <= 1, f"{path.name} reaches above its folder"
                names = [node.module or ""]
            for name in names:
                seen += 1
                assert not name.startswith("value_retention") or name.startswith("value_retention.train"), (
                    path
                )
                assert name.partition(".")[0] not in {"subprocess", "pty", "runpy", "code"}, path
                assert name.partition(".")[0] not in {"lm_eval", "inspect_ai", "inspect_evals"}, path
            if isinstance(node, ast.Call):
                called = (
                    node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                )
                # re.compile and model.eval are other things of the same names
                owner = node.func.value if isinstance(node.func, ast.Attribute) else None
                if called in forbidden_calls and not (called in {"compile", "eval"} and owner is not None):
                    raise AssertionError(f"{path.name} calls {called}")
    assert seen > 50


@pytest.mark.slow
def test_a_reward_cannot_import_the_benchmarks(tmp_path: Path) -> None:
    (tmp_path / "sly.py").write_text(
        "def reward(prompts, completions, **_):\n"
        "    from value_retention.tasks.data import load\n"
        "    return [1.0 for _ in prompts]\n"
    )
    code = (
        "from value_retention.train.run import forbid_benchmarks\n"
        "from value_retention.train.rewards import RewardArguments, load_rewards\n"
        "forbid_benchmarks()\n"
        "(reward,) = load_rewards(RewardArguments(reward_functions=['sly.reward']), 'cpu')\n"
        "reward([[]], [[]])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "ModuleNotFoundError: No module named 'value_retention.tasks" in done.stderr


@pytest.mark.parametrize("path", ["nothing", "no.such.module", "value_retention.train.rewards.nothing", ".x"])
def test_an_unknown_reward_function_is_refused(path: str) -> None:
    with pytest.raises(TrainError, match="reward function not found"):
        load_rewards(RewardArguments(reward_functions=[path]), "cpu")


def test_a_reward_model_from_the_hub_needs_a_commit() -> None:
    for revision in (None, "main"):
        with pytest.raises(TrainError, match="pinned commit"):
            load_rewards(RewardArguments(reward_model="a/b", reward_model_revision=revision), "cpu")


@pytest.fixture(scope="module")
def reward_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_classifier(tmp_path_factory.mktemp("reward"), labels=1)


def make_classifier(folder: Path, labels: int, pad_token: str | None = None) -> Path:
    from transformers import LlamaConfig, LlamaForSequenceClassification, set_seed

    set_seed(0)
    tokenizer = tiny_tokenizer(64)
    if pad_token:
        tokenizer.pad_token = pad_token
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=1, num_key_value_heads=1, max_position_embeddings=64, num_labels=labels,
    )  # fmt: skip
    LlamaForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def model_reward(folder: Path, batch: int) -> Any:
    arguments = RewardArguments(
        reward_model=str(folder),
        reward_model_dtype="float32",
        reward_batch_size=batch,
        reward_max_length=4096,
    )
    (reward,) = load_rewards(arguments, "cpu")
    return reward


TEXTS = [
    ("Hello?", "Yes."),
    ("What is the time of day where you are?", "It is noon."),
    ("a " * 90, "End."),
    ("b", "c " * 90),
]


@pytest.mark.parametrize("pad_token", [None, "<|eot_id|>"])
def test_the_reward_model_gives_each_answer_its_own_score_in_any_batch(
    pad_token: str | None, tmp_path: Path
) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification

    folder = make_classifier(tmp_path, 1, pad_token)
    prompts = [[{"role": "user", "content": asked}] for asked, _ in TEXTS]
    answers = [[{"role": "assistant", "content": said}] for _, said in TEXTS]
    alone = model_reward(folder, 1)(prompts, answers)
    together = model_reward(folder, 4)(prompts, answers)
    assert together == pytest.approx(alone, abs=1e-5)
    assert len({round(score, 6) for score in alone}) == len(TEXTS)
    # Against the model itself, one text at a time and without any padding.
    tokenizer, model = tiny_tokenizer(64), AutoModelForSequenceClassification.from_pretrained(folder)
    model.config.pad_token_id = None
    for prompt, answer, score in zip(prompts, answers, alone, strict=True):
        ids = torch.tensor([reward_ids(tokenizer, prompt, answer, 64)])
        assert float(model(input_ids=ids).logits[0, 0].detach()) == pytest.approx(score, abs=1e-5)


def test_a_long_text_keeps_its_first_token_and_its_end() -> None:
    tokenizer = tiny_tokenizer(64)
    prompt, answer = (
        [{"role": "user", "content": "long " * 200}],
        [{"role": "assistant", "content": "The end."}],
    )
    ids = reward_ids(tokenizer, prompt, answer, 32)
    assert len(ids) == 32
    assert ids[0] == tokenizer.bos_token_id
    assert tokenizer.decode(ids).endswith("The end.<|eot_id|>")


def test_a_classifier_with_several_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainError, match="found: 3 labels"):
        model_reward(make_classifier(tmp_path, 3), 1)
