"""The tokenizer of a checkpoint: chat template, padding token and both end tokens."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from value_retention.train.errors import TrainError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CHAT_TEMPLATE = Path(__file__).parent / "chat_template.jinja"
PADS = ("<|finetune_right_pad_id|>", "<|pad|>", "<pad>", "[PAD]")


def load_tokenizer(
    name: str,
    *,
    revision: str | None = None,
    chat_template: str | None = None,
    end: str,
) -> PreTrainedTokenizerBase:
    """Load a tokenizer and set what the tokenizer of a base model lacks.

    Args:
        name: Folder, or name on the hub.
        revision: Commit on the hub.
        chat_template: Jinja file. None keeps the tokenizer's template; a tokenizer without one gets the shipped
            Llama 3 layout (``train/chat_template.jinja``).
        end: End token of the training texts: of a document, or of a turn.

    Raises:
        TrainError: The tokenizer cannot be loaded, the template does not exist, or the vocabulary lacks the
            end token.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(name, revision=revision)
    except (OSError, ValueError) as error:
        raise TrainError(
            "cannot load the tokenizer", where=name, found=str(error).split("\n")[0],
            hint="give a folder or a model on the hub; a gated model needs `hf auth login`",
        ) from error  # fmt: skip
    if chat_template is not None:
        if not Path(chat_template).is_file():
            raise TrainError("chat template not found", where="chat_template", found=chat_template)
        tokenizer.chat_template = Path(chat_template).read_text(encoding="utf-8").rstrip("\n")
    elif tokenizer.chat_template is None:
        tokenizer.chat_template = CHAT_TEMPLATE.read_text(encoding="utf-8").rstrip("\n")
    tokenizer.eos_token = known_token(tokenizer, end)
    # Padding needs a token that is not the end token: the loss masks padding, and a model that never sees
    # the end token never learns to stop.
    if tokenizer.pad_token is None or tokenizer.pad_token == end:
        vocabulary = tokenizer.get_vocab()
        tokenizer.pad_token = next((pad for pad in PADS if pad in vocabulary), tokenizer.pad_token or end)
    return tokenizer


def known_token(tokenizer: PreTrainedTokenizerBase, token: str) -> str:
    """Return the token.

    Raises:
        TrainError: The vocabulary does not contain it.
    """
    if token not in tokenizer.get_vocab():
        raise TrainError(
            "the vocabulary lacks an end token", where="document_end, turn_end", found=token,
            hint="give the end tokens of this model: --document_end TOKEN --turn_end TOKEN",
        )  # fmt: skip
    return token


def set_end_tokens(model: Any, tokenizer: PreTrainedTokenizerBase, ends: tuple[str, ...]) -> None:
    """Set the end tokens in the config and the generation config, so that generation stops at each.

    Args:
        model: Model, wrapped or not; changed in place.
        tokenizer: Its tokenizer.
        ends: End tokens of a document and of a turn.
    """
    ids = list(dict.fromkeys(tokenizer.convert_tokens_to_ids(known_token(tokenizer, end)) for end in ends))
    for config in (model.config, model.generation_config):
        config.eos_token_id = ids
        config.bos_token_id = tokenizer.bos_token_id
        config.pad_token_id = tokenizer.pad_token_id
