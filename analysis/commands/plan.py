"""``value-retention plan``: cost and statistical power of a comparison, before it starts."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from value_retention.analysis.commands.options import Amount

if TYPE_CHECKING:
    from value_retention.analysis.planning.plan import CountTokens, Plan
    from value_retention.analysis.planning.power import Cheapest, Spreads, Want
    from value_retention.analysis.planning.spending import Price

SHOWN_EPOCHS = (1, 2, 5, 10, 30)
MIN_CLUSTERS = 6
"""As in `stats.cluster`, which needs numpy."""


@click.command("plan")
@click.option(
    "--tasks",
    help="Benchmarks, or paths of a benchmark.yaml, separated by commas. Default: all of this package.",
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
@click.option("--tokenizer", help="Hugging Face name or folder. Default: estimate tokens as bytes / 4.")
@click.option("--price-in", type=Amount(min=0), help="US dollars per million input tokens.")
@click.option("--price-out", type=Amount(min=0), help="US dollars per million output tokens.")
@click.option("--prices", type=click.Path(path_type=Path), help="YAML file with prices and their date.")
@click.option("--judge", "judge", help="Judge whose price to take from --prices.")
@click.option("--pilot", nargs=2, metavar="RUN RUN", help="Two runs to take the spreads from.")
@click.option("--want", help='What to show with 80 % power: "retained at 5", "degraded at 5", "improved at 5" or '
              '"degraded beyond 5 at 12".')  # fmt: skip
@click.option("--level", default=0.95, show_default=True, help="Confidence level of the verdicts together.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(**given: Any) -> None:
    """Estimate the calls, tokens and cost of a run, and what a comparison of such runs can show.

    With --want, find the cheapest design that shows it.
    """
    from value_retention.adapters.settings import names_of
    from value_retention.analysis.planning.plan import caveat_lines, plan
    from value_retention.analysis.planning.power import read_want
    from value_retention.analysis.stats.settings import checked_settings
    from value_retention.tasks.benchmark import find_benchmark, packaged
    from value_retention.tasks.data import load

    benchmarks = [
        find_benchmark(name, "--tasks") for name in names_of(given["tasks"] or ",".join(packaged()))
    ]
    want = None if given["want"] is None else read_want(given["want"])
    checked_settings(level=given["level"])
    # The primary verdicts of a report share the error rate (Holm); the first of them has the smallest part.
    family = len(benchmarks) * max(1, given["checkpoints"] - 1)
    level = 1 - (1 - given["level"]) / family
    price, priced = _price_of(given)
    count, measured = _token_counter(given["tokenizer"])
    languages = names_of(given["languages"]) if given["languages"] else None
    datasets = [load(benchmark, given["data"], languages) for benchmark in benchmarks]
    plans = [
        plan(
            dataset,
            given["epochs"] or dataset.benchmark.epochs,
            given["judges"],
            given["answer_tokens"],
            count,
            given["reply_tokens"],
        )
        for dataset in datasets
    ]
    first = caveat_lines(datasets)
    notes = [f"tokens {measured}, answers of {given['answer_tokens']} tokens", priced]
    spreads = {p.benchmark: _spreads(p, given["pilot"]) for p in plans if len(p.clusters) >= MIN_CLUSTERS}
    notes += _power_notes(plans, spreads, given["level"], family)
    if given["as_json"]:
        runs = given["checkpoints"]
        rows = [
            {
                **asdict(p), "clusters": len(p.clusters), "checkpoints": runs, "usd": _money(p, price, given),
                "spreads": [asdict(s) for s in spreads.get(p.benchmark, ())],
                "detectable": _by_epochs(p, spreads.get(p.benchmark, ()), level),
            }
            for p in plans
        ]  # fmt: skip
        found = [d for p, d in _designs(plans, spreads, level, want)]
        click.echo(
            json.dumps({"plans": rows, "designs": list(map(asdict, found)), "notes": first + notes}, indent=2)
        )
        return
    for line in first:
        click.echo(line)
    _show_sizes(plans, price, given)
    _show_power(plans, spreads, level)
    if want is not None:
        _show_designs(_designs(plans, spreads, level, want), want, price, given)
    for note in notes:
        click.echo(note)


def _price_of(given: dict[str, Any]) -> tuple[Price | None, str]:
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


def _token_counter(name: str | None) -> tuple[CountTokens, str]:
    """A function that counts tokens, and a note on how it does."""
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


def _show_sizes(plans: list[Plan], price: Price | None, given: dict[str, Any]) -> None:
    """Print the table of calls, tokens and cost."""
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
    row("independent questions", [len(p.clusters) for p in plans], "{:,.0f}")
    row("epochs", [p.epochs for p in plans], "{:,.0f}", total=False)
    row("answers", [p.answers * runs for p in plans], "{:,.0f}")
    row("judge calls", [p.calls * runs for p in plans], "{:,.0f}")
    row("tokens the model writes", [p.answer_tokens * runs for p in plans], "{:,.0f}")
    row("judge input tokens", [p.input_tokens * runs for p in plans], "{:,.0f}")
    row("judge output tokens", [p.output_tokens * runs for p in plans], "{:,.0f}")
    if price is not None:
        row("US dollars", [_money(p, price, given) or 0.0 for p in plans], "{:,.2f}")
    Console().print(table)


def _spreads(plan: Plan, pilot: tuple[str, str] | None) -> list[Spreads]:
    """The spreads of the pilot on a benchmark, or both that are assumed."""
    from value_retention.analysis.commands.inputs import load_all
    from value_retention.analysis.planning.power import ASSUMED, assumed_spreads, pilot_spreads

    if not pilot:
        return [assumed_spreads(model, plan.translated) for model in ASSUMED]
    sides = [
        [record for run in load_all([path]) for record in run.records if record.benchmark == plan.benchmark]
        for path in pilot
    ]
    return [pilot_spreads(sides[0], sides[1], f"--pilot {' '.join(pilot)}, {plan.benchmark}")]


def _by_epochs(
    plan: Plan, spreads: Iterable[Spreads], level: float, share: float = 1.0
) -> dict[int, list[float]]:
    """Detectable difference by epochs, one value per spread, with a share of the clusters."""
    from value_retention.analysis.planning.power import detectable, part_of

    sizes = part_of(plan.clusters, round(len(plan.clusters) * share))
    return {epochs: [detectable(s, sizes, epochs, level) for s in spreads] for epochs in SHOWN_EPOCHS}


def _power_notes(
    plans: list[Plan], spreads: dict[str, list[Spreads]], level: float, family: int
) -> list[str]:
    from value_retention.analysis.planning.power import ASSUMED

    notes = [
        "detectable: the loss or gain that is shown with 80 % power, and the smallest margin at which a checkpoint "
        "that lost nothing is shown to be retained; simulated with the interval that decides the verdict"
    ]
    if family > 1:
        notes.append(
            f"{family} primary verdicts share {1 - level:.1%}, so each is planned at {(1 - level) / family:.2%}"
        )
    for plan in plans:
        found = spreads.get(plan.benchmark)
        if found is None:
            notes.append(f"{plan.benchmark}: fewer than {MIN_CLUSTERS} independent questions are not tested")
        elif found[0].clusters is not None:
            notes.append(
                f"{plan.benchmark}: spreads from a pilot of {found[0].clusters} independent questions"
            )
        else:
            notes.append(
                f"{plan.benchmark}: spreads assumed; a checkpoint's own strong and weak questions vary by "
                f"{' (small) or '.join(f'{sd:g}' for sd in ASSUMED.values())} logits (large). A pilot is better: "
                "--pilot RUN RUN"
            )
    return notes


def _show_power(plans: list[Plan], spreads: dict[str, list[Spreads]], level: float) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Detectable difference in points, by epochs and independent questions")
    table.add_column("epochs", justify="right")
    columns = []
    for plan in plans:
        for share in (1.0, 0.5):
            count = round(len(plan.clusters) * share)
            if count >= MIN_CLUSTERS:
                table.add_column(f"{plan.benchmark}\n{count}", justify="right")
                columns.append(_by_epochs(plan, spreads[plan.benchmark], level, share))
    if not columns:
        return
    for epochs in SHOWN_EPOCHS:
        cells = [" to ".join(f"{value:.1f}" for value in column[epochs]) for column in columns]
        table.add_row(f"{epochs}", *cells)
    Console().print(table)


def _designs(
    plans: list[Plan], spreads: dict[str, list[Spreads]], level: float, want: Want | None
) -> list[tuple[Plan, Cheapest]]:
    from value_retention.analysis.planning.power import cheapest

    if want is None:
        return []
    return [(p, cheapest(s, p.clusters, level, want)) for p in plans for s in spreads.get(p.benchmark, ())]


def _show_designs(
    designs: list[tuple[Plan, Cheapest]], want: Want, price: Price | None, given: dict[str, Any]
) -> None:
    from rich.console import Console
    from rich.table import Table

    runs = max(2, given["checkpoints"])
    table = Table(title=f'Cheapest design for "{want.text}" with 80 % power, {runs} checkpoints')
    for column in ("", "spreads", "questions", "epochs", "power", "judge calls", "US dollars"):
        table.add_column(column, justify="right" if column not in ("", "spreads") else "left")
    for plan, design in designs:
        part = design.epochs * design.questions / (plan.epochs * plan.questions)
        usd = _money(plan, price, given)
        money = "" if usd is None else f"{usd / given['checkpoints'] * runs * part:,.2f}"
        power = f"{design.power:.0%}"
        cells = [f"{design.questions}", f"{design.epochs}", power, f"{plan.calls * runs * part:,.0f}", money]
        if not design.reached:
            cells = ["none", f"{design.epochs}", power, "", ""]
        table.add_row(plan.benchmark, design.source, *cells)
    Console().print(table)
    if not all(design.reached for _, design in designs):
        click.echo("none: the whole benchmark, with these epochs, has only this power")
