"""Stopping and resuming: complete checkpoints only, one on SIGTERM, none with a diverged loss."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from value_retention.train.card import Card
from value_retention.train.errors import TrainError, is_first_process, say

STEP = re.compile(r"checkpoint-(\d+)")


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
    if is_first_process():
        for path in _checkpoints(folder):
            if path not in whole:
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

    Args:
        card: Copied into every checkpoint.
        every: Optimizer steps between points that a run can resume exactly from. GRPO uses a batch of
            generated answers for several steps, and a checkpoint does not contain it.
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
