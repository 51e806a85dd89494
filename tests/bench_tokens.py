"""Calls and tokens of a judge, counted with a real tokenizer.

    python tests/bench_tokens.py --data FOLDER --tokenizer TOKENIZER

TOKENIZER is a Hugging Face name or folder, or a ``tekken*.json`` where mistral-common is installed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from helpers import ANIMA_2_2, MORU

from value_retention.analysis.planning.plan import CountTokens, plan
from value_retention.tasks.data import load


def counter(name: str) -> CountTokens:
    if Path(name).name.startswith("tekken"):
        from mistral_common.tokens.tokenizers.tekken import Tekkenizer

        tekken = Tekkenizer.from_file(name)
        return lambda text: float(len(tekken.encode(text, False, False)))
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(name)
    return lambda text: float(len(tokenizer(text)["input_ids"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="sample")
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--benchmark", choices=["anima_2_2", "moru"], default="anima_2_2")
    args = parser.parse_args()
    count = counter(args.tokenizer)
    dataset = load(MORU if args.benchmark == "moru" else ANIMA_2_2, args.data)
    print(f"{args.benchmark}, {len(dataset)} questions, one epoch, one judge")
    print("answer tokens | calls | input tokens | output tokens (assumed)")
    for length in (300, 600, 1200):
        p = plan(dataset, 1, 1, length, count)
        print(f"{length:13d} | {p.calls:5d} | {p.input_tokens:12,.0f} | {p.output_tokens:23,.0f}")


if __name__ == "__main__":
    main()
