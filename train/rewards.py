"""Rewards for GRPO: by default one reward model for every domain; also functions by dotted path.

A reward sees a prompt and an answer only. Code in an answer is parsed and never run. A training process cannot
import the benchmarks (`run.forbid_benchmarks`).
"""

from __future__ import annotations

import ast
import importlib
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from value_retention.train.arguments import COMMIT, TrainError, option

if TYPE_CHECKING:
    import torch

Messages = Sequence[dict[str, str]]
Reward = Callable[..., list[float]]
FENCE = re.compile(r"```([A-Za-z+#]*)\n(.*?)```", re.DOTALL)
LONGEST_CODE = 20_000
PAIRS = {")": "(", "]": "[", "}": "{"}


@dataclass
class RewardArguments:
    """What GRPO rewards. The same in every arm, so that arms differ only in their prompts."""

    reward_model: str | None = option(None, "sequence classifier with one label")
    reward_model_revision: str | None = option(None, "commit of the reward model")
    reward_model_dtype: str = option("bfloat16", "bfloat16, float16 or float32")
    reward_max_length: int = option(
        4096, "longest text for the reward model in tokens; longer texts lose the start of the prompt"
    )
    reward_batch_size: int = option(8, "texts per pass of the reward model")
    reward_functions: list[str] | None = field(
        default=None, metadata={"help": "dotted paths, such as value_retention.train.rewards.code_shape"}
    )


def _of_texts(
    score: Callable[[str, str], float], prompts: Sequence[Messages], completions: Sequence[Messages]
) -> list[float]:
    return [score(p[-1]["content"], c[-1]["content"]) for p, c in zip(prompts, completions, strict=True)]


def answer_shape(prompts: Sequence[Messages], completions: Sequence[Messages], **_: Any) -> list[float]:
    """Score the form of an answer in [0, 1]. For tests and the miniature, not for a study.

    The mean of four shares: the answer ends like a sentence, has 8 to 80 words, does not repeat itself, and
    uses words of the prompt.
    """
    return _of_texts(_answer_shape, prompts, completions)


def _answer_shape(prompt: str, answer: str) -> float:
    words = re.findall(r"\w+", answer.lower())
    if not words:
        return 0.0
    asked = {word for word in re.findall(r"\w+", prompt.lower()) if len(word) > 3}
    ended = float(answer.rstrip().endswith((".", "!", "?", "```")))
    length = min(1.0, len(words) / 8, 80 / len(words))
    variety = len(set(words)) / len(words)
    overlap = len(asked & set(words)) / len(asked) if asked else 1.0
    return (ended + length + variety + overlap) / 4


def code_shape(prompts: Sequence[Messages], completions: Sequence[Messages], **_: Any) -> list[float]:
    """Score the form of an answer to a coding task in [0, 1], without running it.

    The alternative to a reward model in coding arms. In a comparison of domains, the arms then differ in
    their reward as well as in their prompts. The mean of three shares: the answer has a fenced block, its code
    is well formed (see `well_formed`), and the names that the prompt puts in backquotes occur in it.
    """
    return _of_texts(_code_shape, prompts, completions)


def _code_shape(prompt: str, answer: str) -> float:
    blocks = FENCE.findall(answer)
    if not blocks:
        return 0.0
    formed = sum(well_formed(language, code) for language, code in blocks) / len(blocks)
    names = {name for quoted in re.findall(r"`([^`\n]+)`", prompt) for name in re.findall(r"\w+", quoted)[:1]}
    code = "\n".join(code for _, code in blocks)
    named = sum(name in code for name in names) / len(names) if names else 1.0
    return (1.0 + formed + named) / 3


def well_formed(language: str, code: str) -> bool:
    """Whether Python code parses, or the brackets of code in another language balance.

    Args:
        language: The word after the fence; empty means Python.
        code: Code. Above 20,000 characters it is not well formed, so that no answer can exhaust the parser.
    """
    if not code.strip() or len(code) > LONGEST_CODE:
        return False
    if language.lower() in ("", "python", "py", "python3"):
        try:
            ast.parse(code)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return False
        return True
    open_brackets: list[str] = []
    for letter in code:
        if letter in PAIRS.values():
            open_brackets.append(letter)
        elif letter in PAIRS and (not open_brackets or open_brackets.pop() != PAIRS[letter]):
            return False
    return not open_brackets


def load_rewards(arguments: RewardArguments, device: torch.device | str) -> list[Reward]:
    """Load the rewards of a config, the reward model first.

    Args:
        arguments: The config.
        device: Device of the reward model, one copy per process.

    Raises:
        TrainError: The config has no reward, or one cannot be loaded.
    """
    rewards: list[Reward] = []
    if arguments.reward_model:
        rewards.append(reward_model(arguments, device))
    rewards += [_function(path) for path in arguments.reward_functions or []]
    if not rewards:
        raise TrainError("no reward", where="reward_model, reward_functions", expected="at least one of them")
    return rewards


def _function(path: str) -> Reward:
    module, _, name = path.rpartition(".")
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise TrainError(
            "reward function not found", where="reward_functions", found=f"{path}: {error}"
        ) from error
    if not callable(function):
        raise TrainError("the reward function is not callable", where="reward_functions", found=path)
    reward: Reward = function
    return reward


def reward_model(arguments: RewardArguments, device: torch.device | str) -> Reward:
    """Load a sequence classifier with one label as a reward function.

    The trainer could load it from its name, but would ask for the policy's revision and would not cut long
    texts. A text beyond the reward model's context crashes it or loses the end of the answer, where the score is
    read.

    Raises:
        TrainError: The model cannot be loaded, has several labels, or comes from the hub without a commit.
    """
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    name, revision = str(arguments.reward_model), arguments.reward_model_revision
    if not Path(name).is_dir() and not (revision and COMMIT.fullmatch(revision)):
        raise TrainError(
            "a reward model from the hub needs a pinned commit", where=f"reward_model_revision of {name}",
            found=revision, expected="40 hex digits",
        )  # fmt: skip
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, revision=revision)
        model = AutoModelForSequenceClassification.from_pretrained(
            name, revision=revision, dtype=getattr(torch, arguments.reward_model_dtype)
        )
    except (OSError, ValueError) as error:
        raise TrainError("cannot load the reward model", where=name, found=error) from error
    if model.config.num_labels != 1:
        raise TrainError(
            "the reward model has several labels",
            where=name,
            found=f"{model.config.num_labels} labels",
            expected="1 label",
        )
    model.to(device).eval().requires_grad_(False)
    longest = min(arguments.reward_max_length, model.config.get_text_config().max_position_embeddings)

    def reward(prompts: Sequence[Messages], completions: Sequence[Messages], **_: Any) -> list[float]:
        texts = [reward_ids(tokenizer, p, c, longest) for p, c in zip(prompts, completions, strict=True)]
        scores: list[float] = []
        for start in range(0, len(texts), arguments.reward_batch_size):
            scores += _scores(model, texts[start : start + arguments.reward_batch_size], tokenizer)
        if not all(math.isfinite(score) for score in scores):
            raise TrainError("the reward model returned a score that is not finite", where=name)
        return scores

    reward.__name__ = "reward_model"
    return reward


def reward_ids(tokenizer: Any, prompt: Messages, completion: Messages, longest: int) -> list[int]:
    """Return the tokens of a dialogue for the reward model, at most ``longest``.

    The score is read at the last token, so the end must stay. The cut starts after the first token of the
    prompt, and reaches the answer only if the answer alone is too long.
    """
    text = tokenizer.apply_chat_template([*prompt, *completion], tokenize=False)
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids if len(ids) <= longest else ids[:1] + ids[len(ids) - longest + 1 :]


def _scores(model: Any, texts: list[list[int]], tokenizer: Any) -> list[float]:
    """Score a batch. The classifier takes the last token that is not padding for the end of a text, so padding
    must be a token that no text ends with. If there is none, score the texts one by one."""
    import torch

    used = {ids[-1] for ids in texts}
    size = model.config.get_text_config().vocab_size
    pad = next(
        (i for i in (tokenizer.pad_token_id, 0, 1, 2) if i is not None and i < size and i not in used), None
    )
    if pad is None:
        return [score for ids in texts for score in _scores(model, [ids], tokenizer)]
    model.config.get_text_config().pad_token_id = pad
    width = max(len(ids) for ids in texts)
    device = next(model.parameters()).device
    ids = torch.tensor([text + [pad] * (width - len(text)) for text in texts], device=device)
    mask = torch.tensor([[1] * len(text) + [0] * (width - len(text)) for text in texts], device=device)
    with torch.inference_mode():
        logits = model(input_ids=ids, attention_mask=mask).logits
    return [float(score) for score in logits[:, 0].float().cpu()]
