"""GRPO: sample several answers to each prompt, score them, and make the better ones more likely.

    python -m value_retention.train.grpo --config llama31-8b/grpo-rlhflow.yaml \
        --model_name_or_path out/midtrain --rows rows.jsonl --output_dir out/grpo-rlhflow

The reward model is the same in every arm, so that arms differ only in their prompts. ``use_vllm`` generates
on GPUs. Use ``accelerate launch -m value_retention.train.grpo`` for several GPUs. After an interruption, the same
command resumes.
"""

from __future__ import annotations

from trl import GRPOConfig, GRPOTrainer, ModelConfig

from value_retention.train.arguments import DataArguments, RewardArguments, parse_arguments
from value_retention.train.errors import TrainError, exits_plainly
from value_retention.train.run import run_stage


def steps_per_batch(training: GRPOConfig) -> int:
    """Return the number of optimizer steps that use one batch of generated answers.

    Raises:
        TrainError: ``save_steps`` would save in the middle of a batch; such a run could not resume exactly.
    """
    uses = training.steps_per_generation * training.num_iterations
    every = max(1, uses // training.gradient_accumulation_steps)
    if training.save_strategy == "steps" and training.save_steps % every:
        raise TrainError(
            "checkpoints would fall inside a batch of answers", where="save_steps",
            found=training.save_steps, expected=f"a multiple of {every}",
        )  # fmt: skip
    return int(every)


@exits_plainly
def main() -> None:
    """Parse, load, train, save."""
    data, rewards, training, model = parse_arguments(
        (DataArguments, RewardArguments, GRPOConfig, ModelConfig),
        prog="grpo",
        about="Train a model with GRPO on a reward.",
    )
    if training.shuffle_dataset:
        raise TrainError(
            "the rows are already shuffled; with a second shuffle a run could not resume exactly",
            where="shuffle_dataset", found=True, expected="false",
        )  # fmt: skip
    run_stage("grpo", GRPOTrainer, data, training, model, rewards, steps_per_batch(training))


if __name__ == "__main__":
    main()
