"""GRPO: answers are sampled, rewarded, and the better ones of a group made likelier.

    python -m value_retention.train.grpo --config llama31-8b/grpo-rlhflow.yaml \
        --model_name_or_path out/midtrain --rows rows.jsonl --output_dir out/grpo-rlhflow

The reward model is the same in every arm, so that only the prompts differ. ``use_vllm`` generates on
GPUs; ``accelerate launch -m value_retention.train.grpo`` for several. Stopped or killed, the same
command goes on.
"""

from __future__ import annotations

from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer, ModelConfig, get_peft_config, get_quantization_config

from value_retention.train.arguments import DataArguments, RewardArguments, parse_arguments
from value_retention.train.errors import TrainError, exits_plainly
from value_retention.train.resume import Guard
from value_retention.train.rewards import load_rewards
from value_retention.train.run import prepare, train_and_save


def steps_per_batch(training: GRPOConfig) -> int:
    """Optimizer steps that one batch of generated answers serves; saves must fall between batches.

    Raises:
        TrainError: ``save_steps`` would save in the middle of a batch, which no continuation could repeat.
    """
    uses = training.steps_per_generation * training.num_iterations
    every = max(1, uses // training.gradient_accumulation_steps)
    if training.save_strategy == "steps" and training.save_steps % every:
        raise TrainError(
            "a checkpoint would fall into a batch of answers", where="save_steps",
            found=training.save_steps, expected=f"a multiple of {every}",
        )  # fmt: skip
    return int(every)


@exits_plainly
def main() -> None:
    """Parse, load, train, save."""
    data, rewards, training, model = parse_arguments(
        (DataArguments, RewardArguments, GRPOConfig, ModelConfig), prog="grpo"
    )
    if training.shuffle_dataset:
        raise TrainError(
            "the rows are shuffled once already, and a second shuffle could not be continued exactly",
            where="shuffle_dataset", found=True, expected="false",
        )  # fmt: skip
    every = steps_per_batch(training)
    prepared = prepare("grpo", data, training, model, rewards)
    if prepared is None:
        return
    rows, tokenizer, card = prepared
    tokenizer.padding_side = tokenizer.truncation_side = "left"
    guard = Guard(card, every)
    trainer = GRPOTrainer(
        model=model.model_name_or_path,
        reward_funcs=load_rewards(rewards, training.device),
        args=training,
        train_dataset=Dataset.from_list(rows.rows),
        processing_class=tokenizer,
        quantization_config=get_quantization_config(model),
        peft_config=get_peft_config(model),
        callbacks=[guard],
    )
    train_and_save(trainer, guard, data)


if __name__ == "__main__":
    main()
