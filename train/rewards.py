"""Rewards for GRPO: one reward model for every domain by default, or functions by dotted path.

A reward sees a prompt and an answer, nothing else. Nothing that a model wrote is ever run: code is
parsed, no more. In a training process the benchmarks cannot be imported (`run.forbid_benchmarks`).
"""

from __future__ import annotations

import ast
import importlib
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from value_retention.train.arguments import RewardArguments
from value_retention.train.errors import TrainError
from value_retention.train.source import COMMIT

if TYPE_CHECKING:
    import torch

Messages = Sequence[dict[str, str]]
Reward = Callable[..., list[float]]
FENCE = re.compile(r"```([A-Za-z+#]*)\n(.*?)```", re.DOTALL)
LONGEST_CODE = 20_000
PAIRS = {")": "(", "]": "[", "}": "{"}


def answer_shape(prompts: Sequence[Messages], completions: Sequence[Messages], **_: Any) -> list[float]:
    """How far an answer looks like one, in [0, 1]: for tests and the miniature, not for a study.

    The mean of four shares: it ends as a sentence does, it has 8 to 80 words, it does not repeat itself,
    and it takes up words of the prompt.
    """
    return [
        _answer_shape(p[-1]["content"], c[-1]["content"]) for p, c in zip(prompts, completions, strict=True)
    ]


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
    """How far an answer looks like an answer to a coding task, in [0, 1], without running it.

    The alternative to a reward model in coding arms; in a comparison of domains it differs from what the
    other arm gets, so the domains then differ in more than their prompts. The mean of three shares: there
    is a fenced block, its code is well formed (Python is parsed, other languages have balanced brackets),
    and names that the prompt puts in backquotes occur in it.
    """
    return [
        _code_shape(p[-1]["content"], c[-1]["content"]) for p, c in zip(prompts, completions, strict=True)
    ]


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
    """Whether code has the form of its language: parsed for Python, brackets for all others.

    Args:
        language: The word after the fence; empty is taken for Python.
        code: At most 20,000 characters are accepted, so that no answer can exhaust the parser.
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
    """The rewards that a config names, the reward model first.

    Args:
        arguments: The config.
        device: Where the reward model is put, one copy per process.

    Raises:
        TrainError: None is named, or one cannot be loaded.
    """
    rewards: list[Reward] = []
    if arguments.reward_model is not None:
        rewards.append(reward_model(arguments, device))
    rewards += [_function(path) for path in arguments.reward_functions or []]
    if not rewards:
        raise TrainError("nothing to reward with", where="reward_model, reward_functions")
    return rewards


def _function(path: str) -> Reward:
    module, _, name = path.rpartition(".")
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise TrainError(
            "no such reward function", where="reward_functions", found=f"{path}: {error}"
        ) from error
    if not callable(function):
        raise TrainError("a reward function must be callable", where="reward_functions", found=path)
    reward: Reward = function
    return reward


def reward_model(arguments: RewardArguments, device: torch.device | str) -> Reward:
    """A sequence classifier with one label as a reward function.

    Loaded here and not by the trainer, which would ask for the policy's revision and cut nothing: a text
    longer than the reward model's context would crash it or lose the answer's end, where the score sits.

    Raises:
        TrainError: It cannot be loaded, has several labels, or comes from the hub without a commit.
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
        raise TrainError("the reward model could not be loaded", where=name, found=error) from error
    if model.config.num_labels != 1:
        raise TrainError(
            "a reward model has one label", where=name, found=f"{model.config.num_labels} labels"
        )
    model.to(device).eval().requires_grad_(False)
    longest = min(arguments.reward_max_length, model.config.get_text_config().max_position_embeddings)

    def reward(prompts: Sequence[Messages], completions: Sequence[Messages], **_: Any) -> list[float]:
        texts = [reward_ids(tokenizer, p, c, longest) for p, c in zip(prompts, completions, strict=True)]
        scores: list[float] = []
        for start in range(0, len(texts), arguments.reward_batch_size):
            scores += _scores(model, texts[start : start + arguments.reward_batch_size], tokenizer)
        if not all(math.isfinite(score) for score in scores):
            raise TrainError("the reward model gave a score that is no number", where=name)
        return scores

    reward.__name__ = "reward_model"
    return reward


def reward_ids(tokenizer: Any, prompt: Messages, completion: Messages, longest: int) -> list[int]:
    """Tokens of a dialogue for the reward model, at most ``longest``.

    The score is read at the last token, so the end must stay: the start of the prompt is cut, after its
    first token, and the answer only where it alone is too long.
    """
    text = tokenizer.apply_chat_template([*prompt, *completion], tokenize=False)
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids if len(ids) <= longest else ids[:1] + ids[len(ids) - longest + 1 :]


def _scores(model: Any, texts: list[list[int]], tokenizer: Any) -> list[float]:
    """Scores of a batch. The classifier finds the last token as the last that is not padding, so the
    padding must be a token that no text ends with; where there is none, texts go one by one."""
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
