"""What judging costs: prices from the user, tokens from the providers' own counts, a budget that is kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from value_retention.adapters.judges.journal import Journal, Reply
from value_retention.tasks.errors import InputError

BYTES_PER_TOKEN = 2.5
"""For a reservation before any call told better: fewer bytes than any common tokenizer needs on average."""
REPLY_TOKENS = 800
"""Reserved for a reply when no limit is set: twice the 300 words that the judge is asked to stay under."""


@dataclass(frozen=True)
class Price:
    """US dollars per million tokens.

    Raises:
        ValueError: a price that is no sum of money. NaN would let every call through any budget.
    """

    input: float
    output: float

    def __post_init__(self) -> None:
        for price in (self.input, self.output):
            if not 0 <= price < math.inf:
                raise ValueError(f"a price of {price}")

    def cost(self, input_tokens: float, output_tokens: float) -> float:
        """US dollars."""
        return (self.input * input_tokens + self.output * output_tokens) / 1e6


def price_given(price_in: float | None, price_out: float | None) -> Price | None:
    """The price of the options ``--price-in`` and ``--price-out``; None without them.

    Raises:
        InputError: one of them alone, which would count half of the costs.
    """
    if price_in is None and price_out is None:
        return None
    if price_in is None or price_out is None:
        raise InputError(
            "half a price",
            found="--price-in alone" if price_out is None else "--price-out alone",
            expected="--price-in and --price-out",
        )
    return Price(price_in, price_out)


def read_prices(path: Path) -> tuple[dict[str, Price], str]:
    """Prices by judge name, and their date, from a YAML file of the user's.

    ``date: 2026-11-01`` and ``prices: {openai/gpt-5-mini: {input: 0.25, output: 2.0}}``, in US dollars per
    million tokens.

    Raises:
        InputError: not there, not of that form, or without a date.
    """
    import yaml

    form = "date: YYYY-MM-DD and prices: {PROVIDER/MODEL: {input: USD, output: USD}} per million tokens"
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
        prices = {
            str(name): Price(float(p["input"]), float(p["output"])) for name, p in value["prices"].items()
        }
        return prices, str(value["date"])
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            "a price file that cannot be read",
            where=str(path),
            found=f"{type(error).__name__}: {str(error).splitlines()[0]}",
            expected=form,
        ) from error


class Budget:
    """Allows calls while what was spent and what is under way stay within a sum of money.

    Args:
        limit: US dollars, for all journals of a command: what an interrupted run spent counts.
        prices: By judge name.
        max_tokens: The limit of a reply, when the judge has one.

    Raises:
        InputError: a limit that is no sum of money.
    """

    def __init__(self, limit: float, prices: Mapping[str, Price], max_tokens: int | None = None) -> None:
        if not 0 <= limit < math.inf:
            raise InputError("a budget that is no sum of money", found=limit, expected="US dollars, from 0")
        self.limit = limit
        self.prices = prices
        self.reply_tokens = max_tokens or REPLY_TOKENS
        self.reserved = 0.0
        self._held: dict[str, list[float]] = {}
        self._tokens = 0
        self._bytes = 0
        self.spent = 0.0

    def include(self, journal: Journal) -> None:
        """Count what a journal's calls have cost already."""
        for judge, usage in journal.usage().items():
            if judge in self.prices:
                self.spent += self.prices[judge].cost(usage["input_tokens"], usage["output_tokens"])

    def _most(self, judge: str, prompt: str) -> float:
        """The most that a call can cost, in US dollars."""
        size = len(prompt.encode("utf-8", "surrogatepass"))
        seen = self._tokens / self._bytes if self._bytes else 0.0
        # What was seen, with a margin for other languages; before that, a careful guess.
        tokens = size * (1.25 * seen if seen else 1 / BYTES_PER_TOKEN)
        return self.prices[judge].cost(tokens, self.reply_tokens)

    def allows(self, judge: str, prompt: str) -> bool:
        """Reserve a call; False when it could pass the limit."""
        if judge not in self.prices:
            return True
        most = self._most(judge, prompt)
        # Asked this way round, a sum that is no number forbids the call.
        if not self.spent + self.reserved + most <= self.limit:
            return False
        self.reserved += most
        self._held.setdefault(prompt, []).append(most)
        return True

    def settle(self, judge: str, prompt: str, reply: Reply) -> None:
        """Replace a reservation by the tokens that the provider counted."""
        if judge not in self.prices:
            return
        most = self._held[prompt].pop()
        self.reserved -= most
        if reply.input_tokens is None or reply.output_tokens is None:
            # No count came back: the call is taken to have cost the most it could, unless it failed.
            self.spent += most if reply.text is not None else 0.0
            return
        self.spent += self.prices[judge].cost(reply.input_tokens, reply.output_tokens)
        self._tokens += reply.input_tokens
        self._bytes += len(prompt.encode("utf-8", "surrogatepass"))
