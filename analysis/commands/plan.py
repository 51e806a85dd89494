"""``value-retention plan``: cost and statistical power of a run, before it starts."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from value_retention.analysis.commands.options import Amount

if TYPE_CHECKING:
    from value_retention.analysis.planning.plan import CountTokens, Plan
    from value_retention.analysis.planning.spending import Price


@click.command("plan")
@click.option(
    "--tasks", default="anima_2_2,moru_multi", show_default=True, help="Benchmarks, separated by commas."
)
@click.option("--data", default="hub", show_default=True, help="hub, hub:REPO@COMMIT, sample, or a folder.")
@click.option("--languages", help="BCP-47 tags or English names, separated by commas.")
@click.option("--epochs", type=click.IntRange(min=1), help="Answers per question; default 5.")
@click.option("--judges", type=click.IntRange(min=1), default=1, show_default=True, help="Number of judges.")
@click.option(
    "--checkpoints", type=click.IntRange(min=1), default=1, show_default=True, help="Number of runs."
)
@click.option(
    "--answer-tokens",
    type=click.IntRange(min=1),
    default=600,
    show_default=True,
    help="Tokens of an answer.",
)
@click.option("--reply-tokens", type=Amount(min=0), help="Tokens of a judge's reply.")
@click.option(
    "--protocol",
    type=click.Choice(["per_dimension", "batched"]),
    default="per_dimension",
    show_default=True,
    help="One judge call per dimension, or per answer.",
)
@click.option("--tokenizer", help="Hugging Face name or folder. Default: estimate tokens as bytes / 4.")
@click.option("--rate", type=Amount(min=0.01), help="Judge calls per second, to estimate the time.")
@click.option("--price-in", type=Amount(min=0), help="US dollars per million input tokens.")
@click.option("--price-out", type=Amount(min=0), help="US dollars per million output tokens.")
@click.option("--prices", type=click.Path(path_type=Path), help="YAML file with prices and their date.")
@click.option("--judge", "judge", help="Judge whose price to take from --prices.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(**given: Any) -> None:
    """Estimate the calls, tokens, time and cost of a run, and the smallest difference it can detect."""
    from value_retention.adapters.settings import names_of
    from value_retention.analysis.planning.plan import plan
    from value_retention.tasks.benchmark import ANIMA_2_2, MORU
    from value_retention.tasks.errors import InputError
    from value_retention.tasks.load import load

    known = {"anima_2_2": ANIMA_2_2, "moru_multi": MORU, "moru": MORU}
    names = names_of(given["tasks"])
    if not names or any(name not in known for name in names):
        raise InputError(
            "unknown benchmark", where="--tasks", found=given["tasks"], expected="anima_2_2, moru_multi"
        )
    price, priced = _price(given)
    count, measured = _tokenizer(given["tokenizer"])
    languages = names_of(given["languages"]) if given["languages"] else None
    plans = [
        plan(
            load(known[name], given["data"], languages),
            given["epochs"] or known[name].epochs,
            given["judges"],
            given["answer_tokens"],
            count,
            given["protocol"],
            given["reply_tokens"],
        )
        for name in names
    ]
    notes = [f"tokens {measured}, answers of {given['answer_tokens']} tokens, protocol {given['protocol']}"]
    notes.append(priced)
    if as_json := given["as_json"]:
        runs = given["checkpoints"]
        rows = [{**asdict(p), "checkpoints": runs, "usd": _money(p, price, given)} for p in plans]
        click.echo(json.dumps({"plans": rows, "notes": notes}, indent=2))
    if not as_json:
        _show(plans, price, given, notes)


def _price(given: dict[str, Any]) -> tuple[Price | None, str]:
    """The price (None if unknown), and a note on its source."""
    from value_retention.analysis.planning.spending import price_given, read_prices
    from value_retention.tasks.errors import InputError

    if (price := price_given(given["price_in"], given["price_out"])) is not None:
        return price, "prices from the command line"
    if not given["prices"]:
        judge = f" for {given['judge']}" if given["judge"] else ""
        return None, f"price unknown{judge}: give --price-in and --price-out, or --prices FILE --judge NAME"
    prices, date = read_prices(given["prices"])
    if given["judge"] not in prices:
        raise InputError(
            "the price file does not list this judge",
            where=str(given["prices"]),
            found=repr(given["judge"]),
            expected=f"--judge, one of {', '.join(prices)}",
        )
    return prices[given["judge"]], f"prices of {given['judge']} as of {date}"


def _tokenizer(name: str | None) -> tuple[CountTokens, str]:
    from value_retention.analysis.planning.plan import estimate_tokens
    from value_retention.tasks.errors import InputError

    if name is None:
        return estimate_tokens, "estimated as bytes / 4 (give the judge's --tokenizer to count them)"
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise InputError(
            "cannot load the tokenizer",
            where="--tokenizer",
            found=f"{name}: {str(error).splitlines()[0]}",
            expected="a Hugging Face model name, or a folder with a tokenizer",
        ) from error
    return lambda text: float(len(tokenizer(text)["input_ids"])), f"counted with {name}"


def _money(plan: Plan, price: Price | None, given: dict[str, Any]) -> float | None:
    if price is None:
        return None
    return price.cost(plan.input_tokens, plan.output_tokens) * int(given["checkpoints"])


def _show(plans: list[Plan], price: Price | None, given: dict[str, Any], notes: list[str]) -> None:
    from rich.console import Console
    from rich.table import Table

    runs = given["checkpoints"]
    table = Table(title=f"Plan for {runs} checkpoint{'s' if runs > 1 else ''}")
    for column in ("", *(p.benchmark for p in plans), "all"):
        table.add_column(column, justify="left" if not column else "right")

    def row(label: str, values: list[float], form: str, total: bool = True) -> None:
        cells = [form.format(value) for value in values]
        table.add_row(label, *cells, form.format(sum(values)) if total else "")

    row("questions", [p.questions for p in plans], "{:,.0f}")
    row("epochs", [p.epochs for p in plans], "{:,.0f}", total=False)
    row("answers", [p.answers * runs for p in plans], "{:,.0f}")
    row("judge calls", [p.calls * runs for p in plans], "{:,.0f}")
    row("tokens the model writes", [p.answer_tokens * runs for p in plans], "{:,.0f}")
    row("judge input tokens", [p.input_tokens * runs for p in plans], "{:,.0f}")
    row("judge output tokens", [p.output_tokens * runs for p in plans], "{:,.0f}")
    if given["rate"]:
        row("judging, minutes", [p.calls * runs / given["rate"] / 60 for p in plans], "{:,.1f}")
    if price is not None:
        row("US dollars", [_money(p, price, given) or 0.0 for p in plans], "{:,.2f}")
    row("detectable difference, points", [p.detectable for p in plans], "{:.1f}", total=False)
    for epochs in plans[0].more_epochs:
        row(f"  with {epochs} epochs", [p.more_epochs[epochs] for p in plans], "{:.1f}", total=False)
    console = Console()
    console.print(table)
    for note in notes:
        console.print(note, highlight=False, soft_wrap=True)
    console.print(
        "detectable: smallest difference between two checkpoints with 80 % power at the 5 % level, "
        "scaled from simulations of the full design",
        highlight=False,
    )
