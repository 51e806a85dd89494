"""Supervised fine-tuning on dialogues; the loss is on the answers alone.

    python -m value_retention.train.sft --config llama31-8b/sft-dolly.yaml \
        --model_name_or_path out/midtrain --rows rows.jsonl --output_dir out/sft-dolly

``accelerate launch -m value_retention.train.sft`` for several GPUs. Stopped or killed, the same command
goes on.
"""

from __future__ import annotations

from datasets import Dataset
from trl import ModelConfig, SFTConfig, SFTTrainer, get_peft_config, get_quantization_config

from value_retention.train.arguments import DataArguments, parse_arguments
from value_retention.train.errors import TrainError, exits_plainly
from value_retention.train.resume import Guard
from value_retention.train.run import check_nothing_lost, prepare, train_and_save


@exits_plainly
def main() -> None:
    """Parse, load, train, save."""
    data, training, model = parse_arguments((DataArguments, SFTConfig, ModelConfig), prog="sft")
    if data.max_row_tokens is None:
        data.max_row_tokens = training.max_length
    if training.max_length is not None and training.max_length < (data.max_row_tokens or 0):
        raise TrainError(
            "answers would be cut", where="max_length, max_row_tokens",
            found=f"{training.max_length}, {data.max_row_tokens}", expected="max_length at least as long",
        )  # fmt: skip
    prepared = prepare("sft", data, training, model)
    if prepared is None:
        return
    rows, tokenizer, card = prepared
    guard = Guard(card)
    trainer = SFTTrainer(
        model=model.model_name_or_path,
        args=training,
        train_dataset=Dataset.from_list(rows.rows),
        processing_class=tokenizer,
        quantization_config=get_quantization_config(model),
        peft_config=get_peft_config(model),
        callbacks=[guard],
    )
    check_nothing_lost(trainer, rows)
    train_and_save(trainer, guard, data)


if __name__ == "__main__":
    main()
