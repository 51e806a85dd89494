"""Print what a study trains on: sequences and learning rate per step on each machine, and the rows of each arm.

    python -m value_retention.train.plan llama31-8b --rows out/llama31-8b/rows

The first table shows that a step is the same on one GPU and on eight. The second needs the reports that
``python -m value_retention.train.data`` writes beside the rows of an arm.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from value_retention.train.arguments import CONFIGS, STAGES, STUDIES, batch_of, exits_plainly, read_config


def arms(study: str) -> dict[str, str]:
    """Return the configs of a study by the name of the arm, in the order of the stages."""
    names = sorted(path.stem for path in (CONFIGS / study).glob("*.yaml"))
    named = ((stage, name) for stage in STAGES for name in names if name.partition("-")[0] == stage)
    return {name: f"{study}/{name}.yaml" for _, name in named}


def machines() -> dict[str, int]:
    """Return the number of processes of each file for ``accelerate launch``."""
    import yaml

    files = sorted((CONFIGS / "accelerate").glob("*.yaml"))
    return {file.name: yaml.safe_load(file.read_text("utf-8"))["num_processes"] for file in files}


def settings(study: str, arm: str, machine: str | None) -> dict[str, Any]:
    """Return the settings of an arm on a machine.

    Args:
        study: Folder of the configs.
        arm: Name of the arm.
        machine: File for ``accelerate launch``; None for one process. One that shards the model trains all
            weights, if the study has a config for that.
    """
    values = read_config(f"{study}/{arm}.yaml")
    full = f"{study}/full-8gpu.yaml"
    if machine is not None and not machine.startswith("ddp") and (CONFIGS / full).is_file():
        values |= read_config(full, values["stage"])
    return values | batch_of(values, 1 if machine is None else machines()[machine])


def steps(values: dict[str, Any], report: dict[str, Any]) -> int:
    """Return the optimizer steps of an arm; for packed documents, if no sequence has a gap.

    Args:
        values: Its settings.
        report: Counts of its rows, as in a `Report`.
    """
    if "max_steps" in values:
        return int(values["max_steps"])
    sequences, per_step = report["rows_out"], values["sequences_per_step"]
    if values["stage"] == "grpo":  # an incomplete batch is left out
        return int(values["num_train_epochs"] * (sequences * values["num_generations"] // per_step))
    if values["stage"] == "midtrain":
        sequences = math.ceil(report["tokens"] / values["max_length"])
    return int(values["num_train_epochs"] * math.ceil(sequences / per_step))


def table(rows: list[tuple[Any, ...]]) -> Iterator[str]:
    """Yield the lines of a table; the first row is the head."""
    cells = [[f"{value:,}" if isinstance(value, int) else str(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


@exits_plainly
def main() -> None:
    """Read the command line and print both tables."""
    parser = argparse.ArgumentParser(prog="python -m value_retention.train.plan", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("study", choices=[folder.name for folder in STUDIES])
    parser.add_argument("--rows", type=Path, metavar="DIR", help="folder with the rows of the arms")
    options = parser.parse_args()
    batch: list[tuple[Any, ...]] = [
        ("stage", "accelerate file", "GPUs", "per GPU", "accumulated", "per step", "learning rate")
    ]
    stages = {arm.partition("-")[0]: arm for arm in arms(options.study)}
    everywhere: list[tuple[str | None, int]] = [(None, 1), *machines().items()]
    for stage, arm in stages.items():
        for machine, processes in everywhere:
            try:
                found = settings(options.study, arm, machine)
            except ValueError:
                continue  # too few sequences for so many GPUs
            size, times = found["per_device_train_batch_size"], found["gradient_accumulation_steps"]
            rate = f"{found['learning_rate']:.0e}"
            batch.append((stage, machine or "-", processes, size, times, processes * size * times, rate))
    print(*table(batch), sep="\n")
    if options.rows is None:
        return
    head = ("arm", "rows", "tokens", "tokens with a loss", "and of replayed documents", "steps")
    counts: list[tuple[Any, ...]] = [head]
    for arm in arms(options.study):
        for file in sorted(options.rows.glob(f"{arm}.*report.json"))[:1]:
            report = json.loads(file.read_text("utf-8"))
            replayed = report["replayed_loss_tokens"]
            sizes = (report["rows_out"], report["tokens"], report["loss_tokens"] - replayed, replayed)
            counts.append((arm, *sizes, steps(settings(options.study, arm, None), report)))
    print("", *table(counts), sep="\n")


if __name__ == "__main__":
    main()
