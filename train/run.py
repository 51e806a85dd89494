"""What the three scripts share: from parsed settings to a saved checkpoint, and a run that can be stopped."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import (
    IntervalStrategy,
    PreTrainedTokenizerBase,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from trl import get_peft_config, get_quantization_config

from value_retention.train.arguments import DataArguments, TrainError, check_batch, is_first_process, say
from value_retention.train.card import Card, check_stamp, describe_parent, make_card, refuse_stale
from value_retention.train.loss import with_plain_loss
from value_retention.train.probe import ValuePairs, watched_pairs
from value_retention.train.rows import (
    Row,
    Rows,
    describe,
    file_rows,
    known_token,
    load_tokenizer,
    parts_of,
    rows_bytes,
    tokenize,
)

STOPPED = 143
"""Exit status after SIGTERM, as shells report that signal. The run has saved a checkpoint."""
FIGURES = (
    "loss", "reward", "completions/clipped_ratio", "completions/mean_length", "num_tokens",
    "value_pairs_share", "value_pairs_margin",
)  # fmt: skip
STEP = re.compile(r"checkpoint-(\d+)")


def run_stage(
    stage: str,
    trainer_class: Any,
    data: DataArguments,
    training: Any,
    model: Any,
    rewards: Any = None,
    finish: Callable[[Any], None] | None = None,
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
        finish: Changes the trainer before it trains.
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
        from value_retention.train.rewards import load_rewards

        tokenizer.padding_side = tokenizer.truncation_side = "left"
        more["reward_funcs"] = load_rewards(rewards, training.device)
    pairs = watched_pairs(data, training)
    guard = Guard(card, every)
    if data.plain_loss:
        trainer_class = with_plain_loss(trainer_class)
    trainer = trainer_class(
        model=model.model_name_or_path,
        args=training,
        train_dataset=as_dataset(rows.rows, data, tokenizer),
        eval_dataset=evaluation(data, rows, tokenizer),
        processing_class=tokenizer,
        quantization_config=get_quantization_config(model),
        peft_config=get_peft_config(model),
        callbacks=[guard],
        **more,
    )
    if rewards is None:
        check_nothing_lost(trainer, rows)
    if pairs is not None:
        trainer.add_callback(ValuePairs(trainer, pairs))
    train_in_float32(trainer.model)
    measure_only(trainer)
    if finish is not None:
        finish(trainer)
    train_and_save(trainer, guard, data)


def as_dataset(rows: list[Row], data: DataArguments, tokenizer: PreTrainedTokenizerBase) -> Dataset:
    """Return rows as TRL takes them: prompts for GRPO, otherwise tokens, with a label for each that has a loss."""
    if data.stage == "grpo":
        return Dataset.from_list(rows)
    found = [tokenize(row, data, tokenizer) for row in rows]
    return Dataset.from_list(
        [{"input_ids": ids, "labels": [-100] * start + ids[start:]} for ids, start in found]
    )


def evaluation(
    data: DataArguments, rows: Rows, tokenizer: PreTrainedTokenizerBase
) -> dict[str, Dataset] | None:
    """Return the rows of ``eval_rows`` by name, or None without any.

    Raises:
        TrainError: A file cannot be read, or one of its rows is trained on.
    """
    trained, parts = {rows_bytes([row]) for row in rows.rows}, {}
    stage = "grpo" if data.stage == "grpo" else "sft"  # whose rows may be documents too
    for name, file in parts_of(data.eval_rows or []).items():
        held_out = file_rows(replace(data, stage=stage, rows=file), tokenizer).rows
        if shared := sum(rows_bytes([row]) in trained for row in held_out):
            raise TrainError(
                "rows for evaluation are trained on", where=f"eval_rows: {file}", found=f"{shared} rows",
                hint="write both with one command: python -m value_retention.train.data --held_out N",
            )  # fmt: skip
        parts[name] = as_dataset(held_out, data, tokenizer)
    return parts or None


def forbid_benchmarks() -> None:
    """Make the benchmark package impossible to import in this process, for rewards and everything else."""
    if any(name.startswith("value_retention.tasks") for name in sys.modules):
        raise TrainError("a training process has imported the benchmarks", where="value_retention.tasks")
    sys.modules["value_retention.tasks"] = None  # type: ignore[assignment]


def prepare(
    stage: str, data: DataArguments, training: Any, model: Any, rewards: Any = None
) -> tuple[Rows, PreTrainedTokenizerBase, Card] | None:
    """Return the rows, tokenizer and card of a run, or None if the output folder holds it, complete.

    Arguments and errors are those of `run_stage`. In ``training``, the filter that would hide a diverged loss
    from the guard is switched off, and the settings of ``model`` for loading are added.
    """
    forbid_benchmarks()
    if data.stage != stage:
        raise TrainError("the config is for another script", where="stage", found=data.stage, expected=stage)
    check_batch(data, training)
    training.logging_nan_inf_filter = False
    if not data.eval_rows:
        training.eval_strategy, training.eval_on_start = IntervalStrategy.NO, False
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
    if data.rows is None:
        from value_retention.train.data import build_rows

        rows = build_rows(data, tokenizer)
    else:
        rows = file_rows(data, tokenizer)
    say(describe(rows.report))
    config = {**training.to_dict(), "chat_template_text": tokenizer.chat_template}
    for settings in filter(None, (data, model, rewards)):
        config |= asdict(settings)
    card = make_card(stage, config, parent=parent, rows=rows, stamp=check_stamp(data, rows))
    if refuse_stale(card, training.output_dir):
        say(f"{training.output_dir} already holds this run, complete")
        return None
    card.write(training.output_dir)
    return rows, tokenizer, card


def check_nothing_lost(trainer: Any, rows: Rows) -> None:
    """Check that the trainer kept every token.

    Raises:
        TrainError: It cut rows.
    """
    tokens = sum(map(len, trainer.train_dataset["input_ids"]))
    if tokens != rows.report.tokens:
        raise TrainError(
            "the trainer cut rows", where="max_length, packing_strategy", found=f"{tokens} tokens",
            expected=f"{rows.report.tokens} tokens in {rows.report.rows_out} rows",
            hint="set max_row_tokens to max_length or below; for documents, packing_strategy bfd_split",
        )  # fmt: skip


def measure_only(trainer: Any) -> None:
    """Let an evaluation leave the run as it is. It draws random numbers, which dropout would take."""
    evaluate = trainer.evaluate

    def measured(*args: Any, **kwargs: Any) -> Any:
        with torch.random.fork_rng():
            return evaluate(*args, **kwargs)

    trainer.evaluate = measured


def train_in_float32(model: Any) -> None:
    """Keep every trained weight in float32, whatever the type of the frozen ones.

    peft does so for LoRA matrices, but not for the modules that it trains in full (``modules_to_save``). In
    bfloat16, a step of 1e-5 is too small to change most elements of an output head.
    """
    for module in model.modules():
        trained = [weight for weight in module.parameters(recurse=False) if weight.requires_grad]
        narrow = {weight.dtype for weight in trained} - {torch.float32}
        for weight in trained:
            weight.data = weight.data.float()
        if narrow and isinstance(module, torch.nn.Linear):  # outside of autocast, as in generation
            module.register_forward_pre_hook(lambda _, inputs: (inputs[0].float(), *inputs[1:]))
        elif narrow and isinstance(module, torch.nn.Embedding):
            (dtype,) = narrow
            module.register_forward_hook(lambda _, __, output, dtype=dtype: output.to(dtype))


def train_and_save(trainer: Any, guard: Guard, data: DataArguments) -> None:
    """Train, from the last complete checkpoint if there is one, and save the result.

    A LoRA run saves its adapter; `merge` adds it to the base.
    """
    folder = trainer.args.output_dir
    checkpoint = trainer.args.resume_from_checkpoint or newest_whole_checkpoint(folder)
    if checkpoint:
        say(f"resuming from {checkpoint}")
    metrics = trainer.train(resume_from_checkpoint=checkpoint).metrics
    if trainer.state.global_step < trainer.state.max_steps:
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
    trainer.end()


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


def summary(trainer: Any, metrics: dict[str, float]) -> dict[str, Any]:
    """First and last figures of a run, its speed in tokens per second and its peak memory in bytes."""
    import resource

    history = trainer.state.log_history
    result: dict[str, Any] = {"steps": trainer.state.global_step, "seconds": metrics.get("train_runtime")}
    result |= first_and_last(history)
    if "last num_tokens" in result:
        result["tokens_per_second"] = round(result["last num_tokens"] / metrics["train_runtime"], 1)
    lengths = [entry["completions/mean_length"] for entry in history if "completions/mean_length" in entry]
    if lengths:  # each answer of a step is trained once per use of its batch
        args = trainer.args
        answers = args.train_batch_size * args.gradient_accumulation_steps * args.world_size * result["steps"]
        result["loss_tokens"] = round(sum(lengths) / len(lengths) * answers)
    if result.get("last completions/clipped_ratio") == 1.0:
        say("every answer was cut at max_completion_length: the model never produced its end token")
    if torch.cuda.is_available():
        result["peak_memory_bytes"] = torch.cuda.max_memory_allocated()
    else:
        result["peak_memory_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return result


def first_and_last(history: list[dict[str, float]]) -> dict[str, float]:
    """First and last value of each figure in a trainer's history, held-out losses among them."""
    logged = dict.fromkeys(
        key for entry in history for key in entry if re.fullmatch("eval_.*_(loss|reward)", key)
    )
    result = {}
    for key in (*FIGURES, *logged):
        values = [entry[key] for entry in history if entry.get(key) is not None]
        if values:
            result[f"first {key}"], result[f"last {key}"] = values[0], values[-1]
    return result


# -- stopping and resuming -------------------------------------------------------------------------------------


def whole_checkpoints(folder: str | Path) -> list[Path]:
    """Return the complete checkpoints of a run, oldest first.

    The trainer writes its state last, and every process writes a random state. A kill can leave a newer
    folder without them.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    states = ["rng_state.pth"] if world_size == 1 else [f"rng_state_{i}.pth" for i in range(world_size)]
    whole = [path for path in _checkpoints(folder) if all((path / state).is_file() for state in states)]
    return [path for path in whole if _reads_as_json(path / "trainer_state.json")]


def newest_whole_checkpoint(folder: str | Path) -> str | None:
    """Return the checkpoint to resume from. The first process removes incomplete ones."""
    whole = whole_checkpoints(folder)
    for path in _checkpoints(folder):
        if path not in whole and is_first_process():
            say(f"removing the incomplete checkpoint {path}")
            shutil.rmtree(path)
    return str(whole[-1]) if whole else None


def _checkpoints(folder: str | Path) -> list[Path]:
    found = [path for path in Path(folder).glob("checkpoint-*") if STEP.fullmatch(path.name)]
    return sorted(found, key=lambda path: int(path.name.removeprefix("checkpoint-")))


def _reads_as_json(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


class Guard(TrainerCallback):
    """Stops a run: after a checkpoint on SIGTERM, before one if the loss is not finite.

    The trainer's own `enable_jit_checkpoint` saves between a gradient and its step. A run with dropout does not
    resume exactly from there, and neither does GRPO.

    Args:
        card: Copied into every checkpoint.
        every: Optimizer steps between points that a run can resume exactly from.
    """

    def __init__(self, card: Card, every: int = 1) -> None:
        self.card = card
        self.every = every
        self.stopping = False
        self._previous: Any = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Handle SIGTERM during training."""
        self._previous = signal.signal(signal.SIGTERM, self._on_signal)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Restore the previous handler."""
        signal.signal(signal.SIGTERM, self._previous)

    def _on_signal(self, number: int, frame: object) -> None:
        self.stopping = True

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """On SIGTERM, save and stop in the same step on every process. Log before every save."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            flag = torch.tensor(int(self.stopping), device=args.device)
            torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MAX)
            self.stopping = bool(flag.item())
        if self.stopping and state.global_step % self.every == 0:
            control.should_save = True
            control.should_training_stop = True
        if state.global_step >= state.max_steps and args.eval_strategy != IntervalStrategy.NO:
            control.should_evaluate = True  # also if the last step is not a multiple of eval_steps
        if control.should_save:
            control.should_log = True  # check the loss before a checkpoint is written

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Stop if the loss or the reward is not finite."""
        for key in ("loss", "reward", "train_loss"):
            value = (logs or {}).get(key)
            if isinstance(value, float) and not math.isfinite(value):
                raise TrainError(
                    f"the {key} is not finite", where=f"{args.output_dir}, step {state.global_step}",
                    found=value, hint="lower learning_rate or add warmup_steps, and use a new output_dir; "
                    "the earlier checkpoints are unchanged",
                )  # fmt: skip

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Write the card into the checkpoint."""
        self.card.write(Path(str(args.output_dir)) / f"checkpoint-{state.global_step}")
