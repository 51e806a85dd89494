"""Speed and memory of `midtrain` and `sft` beside TRL's own `trl sft`, on the same config, in one run.

    python tests/bench_train.py [--rounds 3] [--steps 20] [--only sft]

Tokens are counted per second of CPU time with one thread, so that other work on the machine matters little;
runs alternate, and the fastest step of all rounds counts, because disturbance only ever adds time. Both
must reach the same loss, or nothing is printed. Peak memory is that of the process, the least of the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml
from train_support import settings

from value_retention.train.arguments import DataArguments
from value_retention.train.data import build_rows
from value_retention.train.rows import load_tokenizer, rows_bytes
from value_retention.train.tiny import make_tiny

SIZES: dict[str, dict[str, Any]] = {
    "midtrain": {"num_examples": None, "max_length": 512, "gradient_accumulation_steps": 1},
    "sft": {"use_peft": None, "lora_r": None, "lora_dropout": None, "lora_target_modules": None,
            "lora_modules_to_save": None, "num_examples": 160, "per_device_train_batch_size": 8},
}  # fmt: skip
OURS = {"stage", "dataset_format", "num_examples", "contamination_unchecked", "dataset"}
# One thread, and memory that is kept once it was got: how glibc gives pages back depends on what a process
# allocated long before, which is worth several per cent of a step this small, in either direction.
STEADY = {
    "OMP_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": "1073741824",
    "MALLOC_TRIM_THRESHOLD_": "1073741824",
    "MALLOC_TOP_PAD_": "268435456",
}
TIMED = """
import json, resource, runpy, sys, time
from transformers import Trainer
train, step, times = Trainer.train, Trainer.training_step, []
def timed_step(self, *args, **kwargs):
    times.append(time.process_time())
    return step(self, *args, **kwargs)
def timed(self, *args, **kwargs):
    result = train(self, *args, **kwargs)
    tokens = [e["num_tokens"] for e in self.state.log_history if "num_tokens" in e]
    seen = [after - before for before, after in zip(tokens, tokens[1:])]
    took = [after - before for before, after in zip(times, times[1:])]
    print("BENCH", json.dumps({"speeds": [n / t for n, t in zip(seen, took[1:])],
        "loss": result.metrics["train_loss"],
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}), flush=True)
    return result
Trainer.train, Trainer.training_step = timed, timed_step
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def measure(module: str, config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """One run of a module in a process of its own."""
    folder.mkdir()
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    command = [
        sys.executable,
        "-c",
        TIMED,
        module,
        "--config",
        str(path),
        "--output_dir",
        str(folder / "out"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **STEADY})
    found = re.search(r"^BENCH (.*)$", done.stdout, re.MULTILINE)
    if done.returncode or found is None:
        raise SystemExit(f"{module} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    values: dict[str, Any] = json.loads(found[1])
    return {**values, "speed": max(values["speeds"])}


def theirs(script: str, config: dict[str, Any], base: Path, folder: Path) -> dict[str, Any]:
    """The config for ``trl sft``: the same rows, already formatted, and the same settings."""
    end = "<|end_of_text|>" if script == "midtrain" else "<|eot_id|>"
    tokenizer = load_tokenizer(str(base), end=end)
    arguments = DataArguments(**{key: config.get(key) for key in ("stage", "dataset", "dataset_format")})
    arguments.num_examples = config.get("num_examples")
    folder.mkdir()
    (folder / "train.jsonl").write_bytes(rows_bytes(build_rows(arguments, tokenizer).rows))
    return {key: value for key, value in config.items() if key not in OURS} | {"dataset_name": str(folder)}


def main() -> None:
    """Measure both, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--only", choices=SIZES, help="one of the scripts")
    options = parser.parse_args()
    head = [f"{what:>9} {'trl sft':>9} {'ratio':>6}" for what in ("tokens/s", "peak MiB")]
    print(f"{'script':10} " + "   ".join(head))
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        base = make_tiny(work / "base", max_length=1024)
        for script, size in SIZES.items():
            if options.only not in (None, script):
                continue
            config = settings(script, base, **size, max_steps=options.steps, save_strategy="no")
            other = theirs(script, config, base, work / f"rows-{script}")
            runs: dict[str, list[dict[str, Any]]] = {"ours": [], "theirs": []}
            for turn in range(options.rounds):
                pairs = [
                    ("ours", f"value_retention.train.{script}", config),
                    ("theirs", "trl.scripts.sft", other),
                ]
                for kind, module, settings_ in pairs if turn % 2 == 0 else reversed(pairs):
                    runs[kind].append(measure(module, settings_, work / f"{script}-{kind}-{turn}"))
            losses = {round(run["loss"], 6) for kind in runs.values() for run in kind}
            if len(losses) != 1:
                raise SystemExit(f"{script}: not the same training, losses {sorted(losses)}")
            speeds = [max(run["speed"] for run in runs[kind]) for kind in ("ours", "theirs")]
            memory = [min(run["memory"] for run in runs[kind]) for kind in ("ours", "theirs")]
            cells = [(*speeds, speeds[0] / speeds[1]), (*memory, memory[0] / memory[1])]
            print(f"{script:10} " + "   ".join(f"{a:9.0f} {b:9.0f} {ratio:6.2f}" for a, b, ratio in cells))


if __name__ == "__main__":
    main()
