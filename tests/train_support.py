"""Run the training scripts in real processes that can be killed, without importing torch for each."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from forked import CONTEXT, forget_ours

os.environ["OMP_NUM_THREADS"] = "1"  # more threads are many times slower on matrices this small
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

SCRIPTS = ("midtrain", "sft", "grpo")
LIMIT = 120.0

BASE = {
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
    "report_to": "none",
    "disable_tqdm": True,
    "logging_steps": 1,
    "contamination_unchecked": True,
    "max_steps": 9,
    "save_steps": 3,
}
SETTINGS: dict[str, dict[str, Any]] = {
    "midtrain": {
        "stage": "midtrain",
        "dataset": "sample:compassion",
        "dataset_format": "text",
        "num_examples": 60,
        "packing": True,
        "packing_strategy": "bfd_split",
        "max_length": 128,
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "learning_rate": 3e-3,
    },
    "sft": {
        "stage": "sft",
        "dataset": "sample:dolly",
        "dataset_format": "dolly",
        "num_examples": 24,
        "max_length": 256,
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-3,
        "use_peft": True,
        "lora_r": 4,
        "lora_dropout": 0.1,
        "lora_target_modules": "all-linear",
        "lora_modules_to_save": ["embed_tokens", "lm_head"],
    },
    "grpo": {
        "stage": "grpo",
        "dataset": "sample:rlhflow",
        "dataset_format": "rlhflow",
        "num_examples": 24,
        "max_row_tokens": 64,
        "reward_functions": ["value_retention.train.rewards.answer_shape"],
        "num_generations": 4,
        "max_completion_length": 12,
        "per_device_train_batch_size": 8,
        "learning_rate": 1e-3,
        "shuffle_dataset": False,
    },
}


def settings(script: str, model: Path, **changes: Any) -> dict[str, Any]:
    """Settings of a short run of a script on the shipped samples; None removes a key."""
    merged = BASE | SETTINGS[script] | {"model_name_or_path": str(model)} | changes
    return {key: value for key, value in merged.items() if value is not None}


def _redirect(log: str, how: int = os.O_TRUNC) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | how)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)


def _child(script: str, arguments: list[str], log: str) -> None:
    _redirect(log)
    forget_ours()
    sys.argv = [script, *arguments]
    importlib.import_module(f"value_retention.train.{script}").main()


class Run:
    """A script in its own process."""

    def __init__(self, script: str, folder: Path, config: dict[str, Any], *options: str) -> None:
        import yaml

        folder.parent.mkdir(parents=True, exist_ok=True)
        path = folder.with_suffix(".yaml")
        path.write_text(yaml.safe_dump(config))
        self.folder = folder
        self.log = folder.with_suffix(".log")
        arguments = ["--config", str(path), "--output_dir", str(folder), *options]
        self.process = CONTEXT.Process(target=_child, args=(script, arguments, str(self.log)))
        self.process.start()

    def wait(self) -> int:
        """Return the exit status, negative for a signal."""
        self.process.join(LIMIT)
        assert self.process.exitcode is not None, f"still running: {self.output()}"
        return self.process.exitcode

    def output(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def send(self, number: int, when: Callable[[], bool]) -> bool:
        """Send a signal as soon as a condition holds; return False if the run ended before."""
        end = time.monotonic() + LIMIT
        while not when():
            if not self.process.is_alive() or time.monotonic() > end:
                return False
            time.sleep(0.001)
        assert self.process.pid is not None
        os.kill(self.process.pid, number)
        return True


def completed(script: str, folder: Path, config: dict[str, Any], *options: str) -> Run:
    """Run a script that must succeed."""
    run = Run(script, folder, config, *options)
    assert run.wait() == 0, run.output()
    return run


def refused(script: str, folder: Path, config: dict[str, Any], *options: str) -> str:
    """Run a script that must stop with one message and no traceback, and return its output."""
    run = Run(script, folder, config, *options)
    status, output = run.wait(), run.output()
    assert status in (2, 3), f"exit status {status}: {output}"
    assert "Traceback" not in output, output
    return output


def weights(folder: Path) -> str:
    """Return the SHA-256 of the weights."""
    files = sorted(folder.glob("*.safetensors"))
    assert files, list(folder.iterdir())
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def card(folder: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((folder / "value_retention_run.json").read_text())
    return value


def one_step_each(jobs: list[tuple[str, list[str]]], log: str) -> None:
    """Run scripts one after the other in this process, whose libraries are imported already."""
    for script, arguments in jobs:
        _redirect(log, os.O_APPEND)
        sys.argv = [script, *arguments]
        forget_ours()
        importlib.import_module(f"value_retention.train.{script}").main()
