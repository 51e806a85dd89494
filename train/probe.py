"""Whether checkpoints still prefer what one model used to say: a probe over pairs of answers, without a judge.

    python -m value_retention.train.probe --pairs pairs.jsonl -o probe.json out/midtrain-merged out/sft-dolly-merged

`value-retention probe` makes the pairs from judged answers of two models. Never train on them: a model trained on
pairs passes the probe, whatever it values. docs/probe.md says what the figures mean.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from value_retention.train.arguments import DataArguments, TrainError, exits_plainly
from value_retention.train.pairs import COLUMNS, LEVEL, Pairs, difference, figures, read_pairs, scores

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerBase

SCHEMA = "value-retention/probe/1"


def watched_pairs(data: DataArguments, training: Any) -> Pairs | None:
    """The pairs that ``value_pairs`` names; None without it.

    Raises:
        TrainError: The file is invalid, or the run is never evaluated.
    """
    if data.value_pairs is None:
        return None
    if training.eval_strategy == "no":
        raise TrainError(
            "value_pairs needs evaluation", where="value_pairs, eval_strategy", found="eval_strategy no",
            hint="add --eval_strategy steps --eval_steps N and --eval_rows FILE",
        )  # fmt: skip
    return read_pairs(data.value_pairs)


class ValuePairs(TrainerCallback):
    """Logs, at every evaluation, the share of pairs whose chosen answer is preferred, and the mean margin.

    Args:
        trainer: Logs the figures.
        pairs: The pairs. Every process computes all of them.
    """

    def __init__(self, trainer: Any, pairs: Pairs) -> None:
        self.trainer = trainer
        self.pairs = pairs
        self.step = -1

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Compute and log the figures, once for all sets of rows of one evaluation."""
        if state.global_step == self.step:
            return
        self.step = state.global_step
        tokenizer = self.trainer.processing_class
        values = scores(kwargs["model"], tokenizer, self.pairs.rows, args.per_device_eval_batch_size)
        found = figures(self.pairs.rows, values)
        self.trainer.log(
            {f"value_pairs_{name}": found[name] for name in ("share", "margin", "pmi_share", "pmi_margin")}
        )


def summarise(
    pairs: Pairs, found: Mapping[str, NDArray[np.float64]], paths: Mapping[str, str]
) -> dict[str, Any]:
    """What the command writes: figures of every checkpoint, by language, differences, and the values of each pair.

    Args:
        pairs: The pairs.
        found: Checkpoint to its `scores`.
        paths: Checkpoint to its folder.
    """
    languages = sorted({pair.language for pair in pairs.rows})
    rows = {tag: [n for n, pair in enumerate(pairs.rows) if pair.language == tag] for tag in languages}
    checkpoints = {
        name: {
            "path": paths[name],
            **figures(pairs.rows, values),
            "languages": {
                tag: figures([pairs.rows[n] for n in own], values[own]) for tag, own in rows.items()
            },
        }
        for name, values in found.items()
    }
    return {
        "schema": SCHEMA,
        "pairs": {
            "file": pairs.file,
            "sha256": pairs.sha256,
            "count": len(pairs.rows),
            "sources": pairs.sources,
        },
        "level": LEVEL,
        "checkpoints": checkpoints,
        "differences": [
            {"baseline": first, "checkpoint": second, **difference(pairs.rows, found[first], found[second])}
            for first, second in itertools.combinations(found, 2)
        ],
        "values": {
            name: {
                pair.id: [None if np.isnan(value) else round(float(value), 6) for value in row]
                for pair, row in zip(pairs.rows, values, strict=True)
            }
            for name, values in found.items()
        },
        "columns": COLUMNS,
    }


# -- command ---------------------------------------------------------------------------------------------------


def load(path: str, dtype: str, device: str) -> tuple[Any, PreTrainedTokenizerBase]:
    """Load a checkpoint and its tokenizer.

    Raises:
        TrainError: It cannot be loaded, or its tokenizer has no chat template.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(path)
        model: Any = AutoModelForCausalLM.from_pretrained(path, dtype=dtype)
    except (OSError, ValueError) as error:
        raise TrainError("cannot load the checkpoint", where=path, found=str(error).split("\n")[0]) from error
    if tokenizer.chat_template is None:
        raise TrainError(
            "the tokenizer has no chat template", where=path,
            hint="write the checkpoint with `python -m value_retention.train.merge`, which saves one",
        )  # fmt: skip
    return model.to(device), tokenizer


def table(
    checkpoints: Mapping[str, Mapping[str, Any]], differences: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """The figures of checkpoints as lines of text, and the margins by language where there are several.

    Args:
        checkpoints: Checkpoint to its figures.
        differences: Checkpoint to the difference of its margin from the baseline's, if one was named.
    """
    heads = [
        "checkpoint",
        "pairs",
        "clusters",
        "share preferred",
        "margin, nats per token",
        "PMI share",
        "PMI margin",
    ]
    rows = [heads + ["less the baseline's margin"] * bool(differences)]
    for name, own in checkpoints.items():
        cells = [cell(own, key) for key in ("share", "margin", "pmi_share", "pmi_margin")]
        cells += [cell(differences[name], "margin")] if name in differences else [""] * bool(differences)
        rows.append([name, str(own["pairs"]), str(own["clusters"]), *cells])
    lines = columns(rows)
    languages = list(next(iter(checkpoints.values()))["languages"])
    if len(languages) > 1:
        rows = [["margin by language (pairs)", *languages]]
        rows += [
            [name, *(f"{cell(part, 'margin')} ({part['pairs']})" for part in own["languages"].values())]
            for name, own in checkpoints.items()
        ]
        lines += ["", *columns(rows)]
    return lines


def cell(own: Mapping[str, Any], name: str) -> str:
    """A figure with its interval."""
    if own[name] is None:
        return "-"
    low, high = own[f"{name}_low"], own[f"{name}_high"]
    return f"{own[name]:.2f}" + (f" [{low:.2f}, {high:.2f}]" if low is not None else "")


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines, each column as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def named(paths: Sequence[str]) -> dict[str, str]:
    """Name to path of each checkpoint: ``NAME=PATH``, or the folder's name without ``-merged``.

    Raises:
        TrainError: Two checkpoints have the same name.
    """
    found: dict[str, str] = {}
    for text in paths:
        name, equals, path = text.partition("=")
        if not equals or Path(text).exists():
            name, path = Path(text).name.removesuffix("-merged"), text
        if name in found:
            raise TrainError("two checkpoints have the same name", where=name, found=f"{found[name]}, {path}",
                             hint="name them: first=PATH second=PATH")  # fmt: skip
        found[name] = path
    return found


@exits_plainly
def main() -> None:
    """Read the command line, score every checkpoint and write the figures."""
    parser = argparse.ArgumentParser(
        prog="python -m value_retention.train.probe",
        description="How far checkpoints prefer, of two answers to a question, the one that a judge preferred. A "
        "probe, not the benchmark, and not for training: a model trained on pairs would pass it.",
    )
    add = parser.add_argument
    add(
        "checkpoints", nargs="+", metavar="CHECKPOINT", help="folder of a complete checkpoint, or NAME=FOLDER"
    )
    add("--pairs", required=True, metavar="FILE", help="pairs from `value-retention probe`")
    add("-o", "--output", required=True, metavar="FILE", help="JSON to write")
    add(
        "--baseline",
        metavar="NAME",
        help="also print each margin less that of this checkpoint, on the same pairs",
    )
    add("--batch_size", type=int, default=8, help="answers per forward pass (default: 8)")
    dtypes = ["auto", "bfloat16", "float16", "float32"]
    add("--dtype", default="auto", choices=dtypes, help="dtype of the weights (default: as saved)")
    add("--device", metavar="NAME", help="device (default: cuda if there is one, or else cpu)")
    options = parser.parse_args()
    if options.batch_size < 1:
        raise TrainError("the batch is empty", where="--batch_size", found=options.batch_size)
    pairs, paths = read_pairs(options.pairs), named(options.checkpoints)
    if options.baseline is not None and options.baseline not in paths:
        raise TrainError(
            "unknown baseline", where="--baseline", found=options.baseline, expected=", ".join(paths)
        )
    import torch
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    found = {}
    for name, path in paths.items():
        model, tokenizer = load(path, options.dtype, device)
        found[name] = scores(model, tokenizer, pairs.rows, options.batch_size, name)
        del model
    result = summarise(pairs, found, paths)
    output = Path(options.output)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    less = {
        name: difference(pairs.rows, found[options.baseline], values)
        for name, values in found.items()
        if options.baseline not in (None, name)
    }
    print("\n".join(table(result["checkpoints"], less)))
    if own := [name for name in found if name in pairs.sources]:
        print(f"the pairs are answers of {' and '.join(own)}, so the figures there are circular")
    print(f"wrote {output}")


if __name__ == "__main__":
    main()
