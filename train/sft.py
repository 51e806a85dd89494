"""Supervised fine-tuning on dialogues, with the loss on the answers only.

    python -m value_retention.train.sft --config llama31-8b/sft-dolly.yaml \
        --model_name_or_path out/midtrain --rows rows.jsonl --output_dir out/sft-dolly

Use ``accelerate launch -m value_retention.train.sft`` for several GPUs. After an interruption, the same command
resumes.
"""

from __future__ import annotations

from trl import ModelConfig, SFTConfig, SFTTrainer

from value_retention.train.arguments import DataArguments, TrainError, exits_plainly, parse_arguments
from value_retention.train.run import run_stage


@exits_plainly
def main() -> None:
    """Parse, load, train, save."""
    data, training, model = parse_arguments(
        (DataArguments, SFTConfig, ModelConfig),
        prog="sft",
        about="Fine-tune a model on dialogues, with the loss on the answers only.",
    )
    if data.max_row_tokens is None:
        data.max_row_tokens = training.max_length
    if training.max_length is not None and training.max_length < (data.max_row_tokens or 0):
        raise TrainError(
            "answers would be cut", where="max_length, max_row_tokens",
            found=f"{training.max_length}, {data.max_row_tokens}",
            expected="max_length no smaller than max_row_tokens",
        )  # fmt: skip
    run_stage("sft", SFTTrainer, data, training, model)


if __name__ == "__main__":
    main()
