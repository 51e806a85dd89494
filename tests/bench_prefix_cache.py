"""Measure how much a judge's prefix cache gains from the order of the calls, on a real vLLM server.

    .venv-vllm/bin/python tests/bench_prefix_cache.py

A judge's prompt starts with question and answer, and ends with a criterion. The calls of one answer follow
each other (`value_retention.tasks.prompts.judge_calls`), so a server can take their common prefix from its
cache. This script sends the judge prompts of the bundled items, with answers of 1,200 tokens, to a fresh server
in that order, and then shuffled to another fresh server. The cache holds a few dozen prompts, as a real judge's
cache holds a part of a run. The model is tiny and untrained: the share of tokens from the cache holds for any
model with these lengths, the times only for this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers import ANIMA_2_2
from vllm_server import VllmServer, vllm_server

from value_retention.tasks.data import Dataset, load
from value_retention.tasks.prompts import judge_calls
from value_retention.train.tiny import make_tiny, sample_texts

CONTEXT = 8192
BLOCK = 128
"""Tokens in a block of the cache, vLLM's own choice on a processor: a prefix counts in whole blocks."""


@dataclass(frozen=True)
class Measured:
    """One pass over all prompts."""

    order: str
    seconds: float
    prompt_tokens: int
    cached_tokens: int

    @property
    def hit_rate(self) -> float:
        """Share of prompt tokens that the server took from its cache, in [0, 1]."""
        return self.cached_tokens / self.prompt_tokens


def answer_text(tokenizer: Any, tokens: int, seed: str) -> str:
    """A text of about `tokens` tokens, different for each seed."""
    words = [word for text in sample_texts() for word in text.split()]
    chance = random.Random(seed)
    ids = tokenizer.encode(" ".join(chance.choices(words, k=tokens)), add_special_tokens=False)
    text: str = tokenizer.decode(ids[:tokens])
    return text


def judge_prompts(dataset: Dataset, tokenizer: Any, epochs: int, tokens: int) -> list[list[str]]:
    """The prompts of every answer, in our order."""
    return [
        [
            call.prompt
            for call in judge_calls(dataset, item, answer_text(tokenizer, tokens, f"{item.id} {epoch}"))
        ]
        for item in dataset.items
        for epoch in range(epochs)
    ]


def most_from_cache(tokenizer: Any, answers: Sequence[Sequence[str]]) -> float:
    """The hit rate if each call took all whole blocks that it shares with the first call of its answer.

    Calls of different answers to one question share the question too, where it fills a block. This adds to it.
    """
    shared = total = 0
    for prompts in answers:
        first: list[int] = []
        for prompt in prompts:
            ids = tokenizer.apply_chat_template(
                [{"role": "user", "content": prompt}], add_generation_prompt=True, return_dict=False
            )
            same = next((n for n, (a, b) in enumerate(zip(first, ids, strict=False)) if a != b), len(first))
            shared += same // BLOCK * BLOCK
            total += len(ids)
            first = first or ids
    return shared / total


async def send(server: VllmServer, prompts: Iterator[str], connections: int, reply_tokens: int) -> None:
    """Send prompts as judging does: workers that share one iterator."""
    from openai import AsyncOpenAI

    client = AsyncOpenAI(base_url=server.url, api_key="none", max_retries=0, timeout=600)

    async def work() -> None:
        for prompt in prompts:
            await client.chat.completions.create(
                model=server.name,
                messages=[{"role": "user", "content": prompt}],
                max_tokens=reply_tokens,
                temperature=0,
                # Every reply of the same length, so that both orders generate the same number of tokens.
                extra_body={"ignore_eos": True},
            )

    async with client:
        await asyncio.gather(*(work() for _ in range(connections)))


def measure(
    order: str, prompts: Sequence[str], model: Path, logs: Path, args: argparse.Namespace
) -> Measured:
    """Send the prompts to a server that has seen none of them."""
    options = ["--enable-prefix-caching", "--max-model-len", str(CONTEXT), "--block-size", str(BLOCK)]
    options += ["--max-num-seqs", str(args.connections)]
    options += ["--num-gpu-blocks-override", str(args.cache_tokens // BLOCK)]
    with vllm_server(model, logs / f"{order}.log", *options) as server:
        # The first request compiles and loads. It shares nothing with the others.
        asyncio.run(send(server, iter(["warm"]), 1, args.reply_tokens))
        before = [server.counter(f"prefix_cache_{name}") for name in ("queries", "hits")]
        start = time.perf_counter()
        asyncio.run(send(server, iter(prompts), args.connections, args.reply_tokens))
        seconds = time.perf_counter() - start
        queries, hits = (
            int(server.counter(f"prefix_cache_{name}") - old)
            for name, old in zip(("queries", "hits"), before, strict=True)
        )
    return Measured(order, seconds, queries, hits)


def main() -> None:
    """Read the options, measure both orders, print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=5, help="answers per item (default 5, as in a run)")
    parser.add_argument("--answer-tokens", type=int, default=1200, help="length of an answer (default 1200)")
    parser.add_argument("--reply-tokens", type=int, default=32, help="length of a judge's reply (default 32)")
    parser.add_argument("--connections", type=int, default=8, help="requests at a time (default 8)")
    parser.add_argument("--cache-tokens", type=int, default=65536, help="size of the cache (default 65536)")
    parser.add_argument("--hidden-size", type=int, default=512, help="width of the model (default 512)")
    parser.add_argument("--layers", type=int, default=4, help="layers of the model (default 4)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the shuffle (default 0)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        from transformers import AutoTokenizer

        model = make_tiny(
            Path(folder, "judge"), max_length=CONTEXT, hidden_size=args.hidden_size, layers=args.layers
        )
        tokenizer = AutoTokenizer.from_pretrained(model)
        answers = judge_prompts(load(ANIMA_2_2, "sample"), tokenizer, args.epochs, args.answer_tokens)
        prompts = [prompt for calls in answers for prompt in calls]
        shuffled = random.Random(args.seed).sample(prompts, len(prompts))
        print(
            f"{len(answers)} answers of {args.answer_tokens} tokens, {len(prompts)} judge calls, "
            f"{args.connections} at a time, replies of {args.reply_tokens} tokens; a cache of "
            f"{args.cache_tokens} tokens; model of {args.layers} layers, {args.hidden_size} wide",
            flush=True,
        )
        ours = measure("adjacent", prompts, model, Path(folder), args)
        mixed = measure("shuffled", shuffled, model, Path(folder), args)
        best = most_from_cache(tokenizer, answers)
    report(ours, mixed, best)


def report(ours: Measured, mixed: Measured, best: float) -> None:
    """Print the table. Exit with an error if the two passes differ in their number of tokens."""
    print(
        f"{'order':<10}{'seconds':>9}{'prompt tokens':>15}{'computed':>12}{'tokens/s':>10}{'from cache':>12}"
    )
    for row in (ours, mixed):
        computed = row.prompt_tokens - row.cached_tokens
        rate = row.prompt_tokens / row.seconds
        print(
            f"{row.order:<10}{row.seconds:>9.1f}{row.prompt_tokens:>15,}{computed:>12,}{rate:>10,.0f}"
            f"{row.hit_rate:>12.1%}"
        )
    print(f"Calls of the same answer share {best:.1%} of their tokens, in whole blocks of {BLOCK}")
    print(f"Adjacent over shuffled: {ours.seconds / mixed.seconds:.2f} of the time")
    if ours.prompt_tokens != mixed.prompt_tokens:
        sys.exit("the two orders sent different numbers of tokens: a request was repeated or lost")


if __name__ == "__main__":
    main()
