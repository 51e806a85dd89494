"""GRPO: sample several answers to each prompt, score them, and make the better ones more likely.

    python -m value_retention.train.grpo --config llama31-8b/grpo-rlhflow.yaml \
        --model_name_or_path out/midtrain --rows rows.jsonl --output_dir out/grpo-rlhflow

The reward model is the same in every arm, so that arms differ only in their prompts. ``use_vllm`` generates
on GPUs. Use ``accelerate launch -m value_retention.train.grpo`` for several GPUs. After an interruption, the same
command resumes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from trl import GRPOConfig, GRPOTrainer, ModelConfig

from value_retention.train.arguments import (
    DataArguments,
    TrainError,
    exits_plainly,
    parse_arguments,
)
from value_retention.train.rewards import RewardArguments
from value_retention.train.run import run_stage


def steps_per_batch(training: GRPOConfig) -> int:
    """Return the number of optimizer steps that use one batch of answers, which no checkpoint contains.

    Raises:
        TrainError: ``save_steps`` would save in the middle of a batch.
    """
    uses = training.steps_per_generation * training.num_iterations
    every = max(1, uses // training.gradient_accumulation_steps)
    if training.save_strategy == "steps" and training.save_steps % every:
        raise TrainError(
            "checkpoints would fall inside a batch of answers", where="save_steps",
            found=training.save_steps, expected=f"a multiple of {every}",
        )  # fmt: skip
    return int(every)


def set_vllm_length(data: DataArguments, training: GRPOConfig) -> None:
    """Set the context of vLLM to what the config asks for: a prompt and its answer.

    Without it, vLLM makes room for the whole context of the model, which does not fit beside the policy.

    Raises:
        TrainError: vLLM is not installed, the prompts have no limit, or the context is too short for them.
    """
    from trl.import_utils import is_vllm_available

    if not training.use_vllm:
        return
    if not is_vllm_available():
        raise TrainError(
            "vLLM is not installed", where="use_vllm", found=True, expected="vllm, as pyproject.toml pins it",
            hint="pip install '.[train,vllm]', or --use_vllm false, which generates many times slower",
        )  # fmt: skip
    if data.max_row_tokens is None:
        raise TrainError("vLLM needs a limit on the prompts", where="max_row_tokens", expected="tokens")
    needed = data.max_row_tokens + training.max_completion_length
    if training.vllm_max_model_length is None:
        training.vllm_max_model_length = needed
    if training.vllm_max_model_length < needed:
        raise TrainError(
            "vLLM would cut answers", where="vllm_max_model_length", found=training.vllm_max_model_length,
            expected=f"{needed} or more: max_row_tokens and max_completion_length",
        )  # fmt: skip


def sync_without_merging(trainer: GRPOTrainer) -> None:
    """Let vLLM get base plus adapter without a change to the base.

    TRL merges the adapter into the base before it copies the weights, and subtracts it afterwards. In bfloat16
    the base does not come back the same (huggingface/trl issue 6688), and the checkpoint that `merge` makes is
    not the one that was trained. Here the sum is formed beside the base, in float32 as in `merge`, one matrix at
    a time, while TRL reads the weights.
    """
    model = trainer.model
    if not hasattr(model, "merge_adapter"):
        return
    layers = {
        f"{name}.base_layer.weight": layer
        for name, layer in model.named_modules()
        if hasattr(layer, "get_delta_weight")
    }
    plain = model.named_parameters

    def merged(*args: Any, **kwargs: Any) -> Iterator[tuple[str, Any]]:
        for name, weight in plain(*args, **kwargs):
            if layer := layers.get(name):
                delta = sum(layer.get_delta_weight(adapter).float() for adapter in layer.active_adapters)
                weight = (weight.data.float() + delta).to(weight.dtype)
            yield name, weight

    model.merge_adapter = lambda *_, **__: setattr(model, "named_parameters", merged)
    model.unmerge_adapter = lambda *_, **__: delattr(model, "named_parameters")


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
    set_vllm_length(data, training)
    every = steps_per_batch(training)
    run_stage("grpo", GRPOTrainer, data, training, model, rewards, sync_without_merging, every)


if __name__ == "__main__":
    main()
