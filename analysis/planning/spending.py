"""Cost of judging: prices from the user, token counts from the provider, and a budget."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from value_retention.adapters.judges.journal import Reply
from value_retention.tasks.errors import InputError

BYTES_PER_TOKEN = 2.5
"""For reservations before the first reply. Common tokenizers use more bytes per token on average."""
REPLY_TOKENS = 800
"""Reserved for a reply without a token limit: twice the 300 words that the prompt allows."""


@dataclass(frozen=True)
class Price:
    """US dollars per million tokens.

    Raises:
        ValueError: a negative or infinite price, or NaN (with which every call would fit the budget).
    """

    input: float
    output: float

    def __post_init__(self) -> None:
        for price in (self.input, self.output):
            if not 0 <= price < math.inf:
                raise ValueError(f"price {price} is not a finite number of at least 0")

    def cost(self, input_tokens: float, output_tokens: float) -> float:
        """US dollars."""
        return (self.input * input_tokens + self.output * output_tokens) / 1e6


def price_given(price_in: float | None, price_out: float | None) -> Price | None:
    """The price from the options ``--price-in`` and ``--price-out``. None without them.

    Raises:
        InputError: only one of them is given.
    """
    if price_in is None and price_out is None:
        return None
    if price_in is None or price_out is None:
        raise InputError(
            "--price-in and --price-out need each other",
            found="--price-in alone" if price_out is None else "--price-out alone",
            expected="--price-in and --price-out",
        )
    return Price(price_in, price_out)


def read_prices(path: Path) -> tuple[dict[str, Price], str]:
    """Prices by judge name, and their date, from a YAML file.

    ``date: 2026-11-01`` and ``prices: {openai/gpt-5-mini: {input: 0.25, output: 2.0}}``, in US dollars per
    million tokens.

    Raises:
        InputError: file missing, invalid, or without a date.
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
            "invalid price file",
            where=str(path),
            found=f"{type(error).__name__}: {str(error).splitlines()[0]}",
            expected=form,
        ) from error


class Budget:
    """Allows calls as long as the money spent and reserved stays within a limit.

    Args:
        limit: US dollars for the command. Includes what an interrupted run spent.
        prices: Price by judge name.
        max_tokens: Token limit of a reply, if the judge has one.

    Raises:
        InputError: the limit is negative, infinite or NaN.
    """

    def __init__(self, limit: float, prices: Mapping[str, Price], max_tokens: int | None = None) -> None:
        if not 0 <= limit < math.inf:
            raise InputError(
                "budget out of range", found=limit, expected="a finite number of US dollars of at least 0"
            )
        self.limit = limit
        self.prices = prices
        self.reply_tokens = max_tokens or REPLY_TOKENS
        self.reserved = 0.0
        self._held: dict[str, list[float]] = {}
        self._tokens = 0
        self._bytes = 0
        self.spent = 0.0

    def include(self, judge: str, reply: Reply) -> None:
        """Add the cost of a reply that an interrupted command paid for."""
        if judge in self.prices:
            self.spent += self.prices[judge].cost(reply.input_tokens or 0, reply.output_tokens or 0)

    def _most(self, judge: str, prompt: str) -> float:
        """The maximum cost of a call, in US dollars."""
        size = len(prompt.encode("utf-8", "surrogatepass"))
        seen = self._tokens / self._bytes if self._bytes else 0.0
        # The rate so far with a margin for other languages, or a conservative guess before the first reply.
        tokens = size * (1.25 * seen if seen else 1 / BYTES_PER_TOKEN)
        return self.prices[judge].cost(tokens, self.reply_tokens)

    def allows(self, judge: str, prompt: str) -> bool:
        """Reserve the maximum cost of a call. False if it could exceed the limit."""
        if judge not in self.prices:
            return True
        most = self._most(judge, prompt)
        # Written as a negation so that NaN forbids the call.
        if not self.spent + self.reserved + most <= self.limit:
            return False
        self.reserved += most
        self._held.setdefault(prompt, []).append(most)
        return True

    def settle(self, judge: str, prompt: str, reply: Reply) -> None:
        """Replace a reservation by the cost of the tokens that the provider counted."""
        if judge not in self.prices:
            return
        most = self._held[prompt].pop()
        self.reserved -= most
        if reply.input_tokens is None or reply.output_tokens is None:
            # Without a token count, a reply counts at its maximum cost, and a failure at none.
            self.spent += most if reply.text is not None else 0.0
            return
        self.spent += self.prices[judge].cost(reply.input_tokens, reply.output_tokens)
        self._tokens += reply.input_tokens
        self._bytes += len(prompt.encode("utf-8", "surrogatepass"))
