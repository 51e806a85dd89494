"""Mid-training: language modelling on documents.

    python -m value_retention.train.midtrain --config llama31-8b/midtrain.yaml \
        --rows rows.jsonl --output_dir out/midtrain

Documents are packed into sequences of ``max_length`` tokens, and attention does not cross from one document to
the next. A longer document is split, nothing is cut off, and each document ends with the end token. Use
``accelerate launch -m value_retention.train.midtrain`` for several GPUs. After an interruption, the same command
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
        (DataArguments, SFTConfig, ModelConfig), prog="midtrain", about="Train a language model on documents."
    )
    if not training.packing or training.packing_strategy != "bfd_split":
        raise TrainError(
            "documents would be cut or padded", where="packing, packing_strategy",
            found=f"{training.packing}, {training.packing_strategy}", expected="true, bfd_split",
        )  # fmt: skip
    run_stage("midtrain", SFTTrainer, data, training, model)


if __name__ == "__main__":
    main()
