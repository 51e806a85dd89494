"""Print the loss of checkpoints on held-out rows, in nats per token.

    python -m value_retention.train.losses --eval_rows value=rows/midtrain.held-out.jsonl \
        --eval_rows dolly=rows/sft-dolly.held-out.jsonl out/midtrain-merged out/sft-dolly-merged

The mean is over all tokens with a loss: of documents all, of dialogues those of the answers. A run logs the same
losses while it trains (``--eval_rows``), as means over batches. This command takes any checkpoints, also those of
GRPO, which logs no loss, and weights between two checkpoints.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from value_retention.train.arguments import DataArguments, TrainError, exits_plainly
from value_retention.train.card import read_card
from value_retention.train.plan import table
from value_retention.train.rows import Row, UnusableRowError, load_tokenizer, parts_of, read_rows, tokenize


def loss(model: Any, tokenizer: Any, rows: Sequence[Row], ends: DataArguments) -> float:
    """Return the mean loss of a model over the tokens of rows, in nats per token.

    Args:
        model: On any device.
        tokenizer: Its tokenizer.
        rows: Documents and dialogues.
        ends: Their end tokens.

    Raises:
        TrainError: A row is longer than the model's context, or its chat template drops the answer.
    """
    import torch

    longest = model.config.get_text_config().max_position_embeddings
    total, tokens = 0.0, 0
    for number, row in enumerate(rows, 1):
        try:
            ids, start = tokenize(row, ends, tokenizer)
            if len(ids) > longest:
                raise UnusableRowError(f"{len(ids)} tokens, more than the context of the model")
        except UnusableRowError as error:
            raise TrainError("unusable row", where=f"row {number} for evaluation", found=error) from error
        given = torch.tensor([ids], device=model.device)
        with torch.no_grad():
            logits = model(given).logits[0, start - 1 : -1].float()
        total += float(torch.nn.functional.cross_entropy(logits, given[0, start:], reduction="sum"))
        tokens += len(ids) - start
    return total / tokens


@exits_plainly
def main() -> None:
    """Read the command line and print a row per checkpoint."""
    parser = argparse.ArgumentParser(prog="python -m value_retention.train.losses", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("checkpoints", nargs="+", metavar="DIR", help="merged checkpoint")
    parser.add_argument(
        "--eval_rows", action="append", required=True, metavar="NAME=FILE",
        help="rows that `python -m value_retention.train.data --held_out N` has set aside; any number of times",
    )  # fmt: skip
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="JSON file to write")
    options = parser.parse_args()
    import torch

    from value_retention.train.merge import layout_of, load_full

    files = parts_of(options.eval_rows)
    parts = {name: read_rows(file, ("sft", "midtrain")).rows for name, file in files.items()}
    found: dict[str, dict[str, float]] = {}
    for folder in options.checkpoints:
        ends = DataArguments(**layout_of(read_card(folder), {}))
        tokenizer = load_tokenizer(folder, end=ends.turn_end)
        model: Any = load_full(folder, None)
        model.eval().to("cuda" if torch.cuda.is_available() else "cpu")
        found[folder] = {name: loss(model, tokenizer, rows, ends) for name, rows in parts.items()}
    lines = [
        (Path(folder).name, *(f"{value:.2f}" for value in row.values())) for folder, row in found.items()
    ]
    print(*table([("checkpoint", *parts), *lines]), sep="\n")
    if options.output:
        options.output.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
