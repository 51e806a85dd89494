"""What the three scripts share: from parsed settings to a saved checkpoint."""

from __future__ import annotations

import sys
from dataclasses import asdict, is_dataclass
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerBase
from trl import get_peft_config, get_quantization_config

from value_retention.train.arguments import DataArguments, RewardArguments
from value_retention.train.card import Card, describe_parent, make_card, refuse_stale
from value_retention.train.data import Rows, build_rows, describe
from value_retention.train.errors import TrainError, say
from value_retention.train.resume import Guard, newest_whole_checkpoint
from value_retention.train.rewards import load_rewards
from value_retention.train.stamp import check_stamp
from value_retention.train.template import load_tokenizer, set_end_tokens

STOPPED = 143
"""Exit status after SIGTERM, as shells report that signal. The run has saved a checkpoint."""


def run_stage(
    stage: str,
    trainer_class: Any,
    data: DataArguments,
    training: Any,
    model: Any,
    rewards: RewardArguments | None = None,
    every: int = 1,
) -> None:
    """Prepare, train and save.

    Args:
        stage: ``midtrain``, ``sft`` or ``grpo``, as the script requires.
        trainer_class: TRL's trainer.
        data: What to train on.
        training: The trainer's config, changed in place.
        model: TRL's ``ModelConfig``.
        rewards: What GRPO rewards; None for the other stages.
        every: See `Guard`.

    Raises:
        TrainError: A setting, file or row is invalid, or the loss is not finite.
    """
    prepared = prepare(stage, data, training, model, rewards)
    if prepared is None:
        return
    rows, tokenizer, card = prepared
    more: dict[str, Any] = {}
    if rewards is not None:
        tokenizer.padding_side = tokenizer.truncation_side = "left"
        more["reward_funcs"] = load_rewards(rewards, training.device)
    guard = Guard(card, every)
    trainer = trainer_class(
        model=model.model_name_or_path,
        args=training,
        train_dataset=Dataset.from_list(rows.rows),
        processing_class=tokenizer,
        quantization_config=get_quantization_config(model),
        peft_config=get_peft_config(model),
        callbacks=[guard],
        **more,
    )
    if rewards is None:
        check_nothing_lost(trainer, rows)
    train_and_save(trainer, guard, data)


def forbid_benchmarks() -> None:
    """Make the benchmark package impossible to import in this process, for rewards and everything else."""
    if any(name.startswith("value_retention.tasks") for name in sys.modules):
        raise TrainError("a training process has imported the benchmarks", where="value_retention.tasks")
    sys.modules["value_retention.tasks"] = None  # type: ignore[assignment]


def prepare(
    stage: str, data: DataArguments, training: Any, model: Any, rewards: RewardArguments | None = None
) -> tuple[Rows, PreTrainedTokenizerBase, Card] | None:
    """Return the rows, tokenizer and card of a run, or None if the output folder holds it, complete.

    Arguments and errors are those of `run_stage`. In ``training``, the filter that would hide a diverged loss
    from the guard is switched off, and the settings of ``model`` for loading are added.
    """
    forbid_benchmarks()
    if data.stage != stage:
        raise TrainError("the config is for another script", where="stage", found=data.stage, expected=stage)
    training.logging_nan_inf_filter = False
    training.model_init_kwargs = {
        "revision": model.model_revision,
        "attn_implementation": model.attn_implementation,
        "dtype": model.dtype,
        **(training.model_init_kwargs or {}),
    }
    parent = describe_parent(model.model_name_or_path, model.model_revision)
    end = data.document_end if stage == "midtrain" else data.turn_end
    tokenizer = load_tokenizer(
        model.model_name_or_path, revision=model.model_revision, chat_template=data.chat_template, end=end
    )
    rows = build_rows(data, tokenizer)
    say(describe(rows.report))
    stamp = check_stamp(data, rows)
    config: dict[str, Any] = {**training.to_dict(), "chat_template_text": tokenizer.chat_template}
    for settings in filter(None, (data, model, rewards)):
        assert is_dataclass(settings)
        config |= asdict(settings)  # type: ignore[arg-type]
    card = make_card(stage, config, parent=parent, report=rows.report, stamp=stamp)
    if refuse_stale(card, training.output_dir):
        say(f"{training.output_dir} already holds this run, complete")
        return None
    card.write(training.output_dir)
    return rows, tokenizer, card


def check_nothing_lost(trainer: Any, rows: Rows) -> None:
    """Check that the trainer kept every row and token.

    Raises:
        TrainError: The trainer dropped, cut or lengthened rows.
    """
    dataset = trainer.train_dataset
    tokens = sum(len(ids) for ids in dataset["input_ids"])
    packed = "seq_lengths" in dataset.column_names
    if tokens != rows.report.tokens or (not packed and len(dataset) != rows.report.rows_out):
        raise TrainError(
            "the trainer changed the rows", where=f"{len(dataset)} sequences in the trainer",
            found=f"{tokens} tokens", expected=f"{rows.report.tokens} tokens in {rows.report.rows_out} rows",
            hint="set max_row_tokens to max_length or below; for documents, packing_strategy bfd_split",
        )  # fmt: skip


def train_and_save(trainer: Any, guard: Guard, data: DataArguments) -> None:
    """Train, from the last complete checkpoint if there is one, and save the result.

    A LoRA run saves its adapter; `merge` adds it to the base.
    """
    folder = trainer.args.output_dir
    checkpoint = trainer.args.resume_from_checkpoint or newest_whole_checkpoint(folder)
    if checkpoint:
        say(f"resuming from {checkpoint}")
    metrics = trainer.train(resume_from_checkpoint=checkpoint).metrics
    if guard.stopping and trainer.state.global_step < trainer.state.max_steps:
        guard.card.status = "stopped"
        guard.card.write(folder)
        say(f"stopped at step {trainer.state.global_step}; run the same command again to resume")
        sys.exit(STOPPED)
    model = trainer.accelerator.unwrap_model(trainer.model)
    model = model.get_base_model() if hasattr(model, "get_base_model") else model
    set_end_tokens(model, trainer.processing_class, (data.document_end, data.turn_end))
    trainer.save_model(folder)
    trainer.save_state()
    guard.card.status = "complete"
    guard.card.result = summary(trainer, metrics)
    guard.card.write(folder)
    say(f"wrote {folder}: {guard.card.result}")


def summary(trainer: Any, metrics: dict[str, float]) -> dict[str, Any]:
    """First and last figures of a run, its speed in tokens per second and its peak memory in bytes."""
    import resource

    history = trainer.state.log_history
    result: dict[str, Any] = {"steps": trainer.state.global_step, "seconds": metrics.get("train_runtime")}
    for key in ("loss", "reward", "completions/clipped_ratio", "completions/mean_length", "num_tokens"):
        values = [entry[key] for entry in history if entry.get(key) is not None]
        if values:
            result[f"first {key}"], result[f"last {key}"] = values[0], values[-1]
    if "last num_tokens" in result:
        result["tokens_per_second"] = round(result["last num_tokens"] / metrics["train_runtime"], 1)
    if result.get("last completions/clipped_ratio") == 1.0:
        say("every answer was cut at max_completion_length: the model never produced its end token")
    if torch.cuda.is_available():
        result["peak_memory_bytes"] = torch.cuda.max_memory_allocated()
    else:
        result["peak_memory_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return result
