"""Mid-training: a language model reads documents.

    python -m value_retention.train.midtrain --config llama31-8b/midtrain.yaml \
        --rows rows.jsonl --output_dir out/midtrain

Documents are packed to ``max_length`` with their borders respected; a longer one is split, none is cut
off, and every one ends with the end token. ``accelerate launch -m value_retention.train.midtrain`` for
several GPUs. Stopped or killed, the same command goes on.
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
    data, training, model = parse_arguments((DataArguments, SFTConfig, ModelConfig), prog="midtrain")
    if not training.packing or training.packing_strategy != "bfd_split":
        raise TrainError(
            "documents would be cut or padded", where="packing, packing_strategy",
            found=f"{training.packing}, {training.packing_strategy}", expected="true, bfd_split",
        )  # fmt: skip
    prepared = prepare("midtrain", data, training, model)
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
