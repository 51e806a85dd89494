"""Weights between two checkpoints: `merge` with ``--interpolate``.

Averaging a fine-tuned model with the one that it started from keeps much of both (Wortsman et al. 2022, Robust
fine-tuning of zero-shot models, arXiv 2109.01903). Nothing is trained.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from value_retention.train.arguments import TrainError
from value_retention.train.card import describe_parent

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def mix(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    other: PreTrainedModel,
    other_tokenizer: PreTrainedTokenizerBase,
    weight: float,
) -> None:
    """Replace every weight of a model by ``weight`` of its own and ``1 - weight`` of the other's.

    Args:
        model: In float32; changed in place.
        tokenizer: Its tokenizer.
        other: In float32, usually the checkpoint that the model was trained from.
        other_tokenizer: Its tokenizer.
        weight: Share of the model, in [0, 1].

    Raises:
        TrainError: The weight is out of range, or weights or vocabularies do not correspond.
    """
    import torch

    if not 0 <= weight <= 1:
        raise TrainError("the weight is out of range", where="--weight", found=weight, expected="0 to 1")
    if tokenizer.get_vocab() != other_tokenizer.get_vocab():
        raise TrainError(
            "the models have different tokenizers", where="--interpolate", found=other.name_or_path,
            expected=f"the vocabulary of {model.name_or_path}",
        )  # fmt: skip
    ours, theirs = dict(model.named_parameters()), other.state_dict()
    # A model with tied embeddings has one tensor under two names: the state names both, the parameters one.
    unknown = {name for name, _ in other.named_parameters()} - set(ours)
    differing = [name for name in ours if name not in theirs or ours[name].shape != theirs[name].shape]
    if differing or unknown:
        raise TrainError(
            "the models have different weights", where="--interpolate",
            found=", ".join([*differing, *sorted(unknown)][:3]), expected=f"those of {model.name_or_path}",
        )  # fmt: skip
    with torch.no_grad():
        for name, value in ours.items():
            value.mul_(weight).add_(theirs[name], alpha=1 - weight)


def between(card: dict[str, Any], model: str, other: str, weight: float) -> dict[str, Any]:
    """Return what the card of the new checkpoint says: both parents, the weight and a hash that depends on them.

    Args:
        card: Card of the model.
        model: Its folder.
        other: Folder of the other checkpoint.
        weight: Share of the model.
    """
    found = {"interpolated": {"model": model, "with": describe_parent(other, ""), "weight": weight}}
    decisive = json.dumps([card.get("config_hash"), found], sort_keys=True)
    digest = hashlib.sha256(decisive.encode()).hexdigest()
    # The losses of the run are not those of the new weights.
    return {**card, "config_hash": digest, "config": {**card.get("config", {}), **found}, "result": {}}
