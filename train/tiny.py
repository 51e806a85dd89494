"""A tiny, untrained Llama for tests and for the miniature of the study on a CPU.

    python -m value_retention.train.tiny --output out/tiny-base

Nothing is downloaded: the weights are random, and the byte-level BPE tokenizer is trained on the shipped sample
texts. Special tokens, end tokens, chat template and split pattern are those of Llama 3.1, so that code for this
checkpoint works for the real one. Heads are 64 wide, the smallest size that vLLM serves.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from value_retention.train.arguments import TrainError, exits_plainly
from value_retention.train.data import SAMPLES
from value_retention.train.rows import CHAT_TEMPLATE

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

BOS, EOT, EOS, PAD = "<|begin_of_text|>", "<|eot_id|>", "<|end_of_text|>", "<|finetune_right_pad_id|>"
SPECIAL_TOKENS = (BOS, EOS, "<|start_header_id|>", "<|end_header_id|>", EOT, PAD)

# The split pattern of Llama 3, from its published tokenizer file. It keeps a blank line in one piece, so that
# the tokens of a prompt are a prefix of the tokens of prompt and answer.
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


# Sorted. A file more would give another tokenizer, and the miniature other figures.
TEXTS = ("alpaca", "compassion", "dolly", "magicoder_evol", "oss_instruct", "rlhflow", "ultrafeedback")


def sample_texts() -> list[str]:
    """Return every string of the sample files in `TEXTS`, in the order of files and rows."""

    def strings(value: Any) -> list[str]:
        if isinstance(value, str):
            return [value]
        if isinstance(value, dict):
            return [text for inner in value.values() for text in strings(inner)]
        return [text for inner in value for text in strings(inner)] if isinstance(value, list) else []

    lines = (line for name in TEXTS for line in (SAMPLES / f"{name}.jsonl").open(encoding="utf-8"))
    return [text for line in lines for text in strings(json.loads(line))]


def tiny_tokenizer(max_length: int = 4096, vocabulary: int = 2048) -> PreTrainedTokenizerFast:
    """Train the tokenizer. Its alphabet has all 256 bytes, so that any UTF-8 text survives a round trip."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sample_texts(), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
    )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        additional_special_tokens=["<|start_header_id|>", "<|end_header_id|>", EOT],
        model_max_length=max_length,
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE.read_text(encoding="utf-8").rstrip("\n"),
    )


def make_tiny(
    output: str | Path,
    *,
    seed: int = 0,
    max_length: int = 4096,
    hidden_size: int = 128,
    layers: int = 2,
    vocabulary: int = 2048,
) -> Path:
    """Write the checkpoint (model, tokenizer, chat template, generation config) and return its folder.

    Args:
        output: Folder to write; created if missing.
        seed: Seed of the random weights.
        max_length: Context length in tokens.
        hidden_size: Width of the model, a multiple of 64 (heads are 64 wide).
        layers: Number of layers.
        vocabulary: Size of the vocabulary in tokens; at least the 256 bytes and the special tokens.

    Raises:
        TrainError: The hidden size is not a multiple of 64.
    """
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, set_seed

    if hidden_size % 64 or hidden_size <= 0:
        raise TrainError("the hidden size is not a multiple of 64", where="--hidden-size", found=hidden_size)
    output = Path(output)
    tokenizer = tiny_tokenizer(max_length, vocabulary)
    ends = [tokenizer.convert_tokens_to_ids(token) for token in (EOS, EOT)]
    ids: dict[str, Any] = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": ends,
        "pad_token_id": tokenizer.pad_token_id,
    }
    set_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=hidden_size,
            intermediate_size=2 * hidden_size,
            num_hidden_layers=layers,
            num_attention_heads=hidden_size // 64,
            num_key_value_heads=hidden_size // 64,
            head_dim=64,
            max_position_embeddings=max_length,
            rms_norm_eps=1e-5,
            rope_parameters={"rope_type": "default", "rope_theta": 500000.0},
            tie_word_embeddings=False,
            **ids,
        )
    )
    model.generation_config = GenerationConfig(do_sample=False, **ids)  # type: ignore[no-untyped-call]
    model.save_pretrained(output)
    tokenizer.save_pretrained(output)
    return output


@exits_plainly
def main() -> None:
    """Read the command line and write the checkpoint."""
    parser = argparse.ArgumentParser(
        prog="python -m value_retention.train.tiny",
        description="Write a tiny, untrained Llama with the tokens of Llama 3. Takes a second and downloads nothing.",
    )
    parser.add_argument("--output", required=True, metavar="DIR", help="folder to write")
    parser.add_argument("--seed", type=int, default=0, help="seed of the weights (default: 0)")
    parser.add_argument(
        "--max-length", type=int, default=4096, help="context length in tokens (default: 4096)"
    )
    parser.add_argument(
        "--hidden-size", type=int, default=128, help="width of the model, a multiple of 64 (default: 128)"
    )
    parser.add_argument("--layers", type=int, default=2, help="number of layers (default: 2)")
    print(f"wrote {make_tiny(**vars(parser.parse_args()))}")


if __name__ == "__main__":
    main()
