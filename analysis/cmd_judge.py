"""``value-retention judge``: grade saved answers, again or for the first time."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from value_retention.adapters.journal import Journal
    from value_retention.adapters.judging import Tally
    from value_retention.analysis.read import Run
    from value_retention.analysis.spending import Budget
    from value_retention.tasks.record import AnswerRecord

    Panel = tuple[tuple[str, ...], dict[str, Any], str]
    """Judge names, their settings, the protocol."""


@click.command("judge")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option("--judge", "names", multiple=True, help="Inspect model name; more than one make a panel.")
@click.option(
    "--judge-args", default="{}", help="JSON: temperature, max_tokens, parse_retries, protocol, ..."
)
@click.option("--fill", is_flag=True, help="Ask only for the grades that are missing, of the same judges.")
@click.option("--data", help="Where the benchmark's rows are, if they came from a folder.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder; default: beside the run.")
@click.option(
    "--journal", type=click.Path(path_type=Path), help="Journal file; default: in the journal folder."
)
@click.option("--budget", type=click.FloatRange(min=0), help="US dollars; stop before they are exceeded.")
@click.option("--prices", type=click.Path(path_type=Path), help="YAML file with prices, for --budget.")
@click.option("--price-in", type=click.FloatRange(min=0), help="US dollars per million input tokens.")
@click.option("--price-out", type=click.FloatRange(min=0), help="US dollars per million output tokens.")
def command(runs: tuple[str, ...], **options: Any) -> None:
    """Grade saved answers with a judge, a panel, or where grades are missing.

    RUN is what lm-eval wrote with judge=none or --predict_only, or any judged run of lm-eval, Inspect or this
    command. New records are written beside the old ones, never over them. Interrupted, the same command goes
    on where it stopped; no call is made twice.
    """
    from value_retention.adapters.judges import make_judges
    from value_retention.adapters.rejudge import FINISHED, open_journal
    from value_retention.analysis.read import load_runs

    work = _distinct(load_runs(runs), fill=options["fill"])
    panels = [_panel(records, options) for _, records in work]
    for names, args, protocol in panels:  # before any call is paid for
        make_judges(names, {**args, "protocol": protocol})
    if not work:
        return
    journal = open_journal(
        [(records, panel) for (_, records), panel in zip(work, panels, strict=True)], options["journal"]
    )
    click.echo(f"journal: {journal.path}")
    budget = _budget(options, panels) if options["budget"] is not None else None
    if budget is not None:
        budget.include(journal)
    made = [
        _judge(run, records, panel, options, journal, budget)
        for (run, records), panel in zip(work, panels, strict=True)
    ]
    if any(records is None for records in made):
        sys.exit(1)
    # Written together, and under names that a killed run would have used: nothing is doubled.
    for number, ((run, _), (names, _, protocol), records) in enumerate(zip(work, panels, made, strict=True)):
        _write(records or [], run, options["output"], (names, protocol), journal, number)
    if options["journal"] is None:
        journal.put(FINISHED, "yes")


def _distinct(runs: list[Run], fill: bool) -> list[tuple[Run, list[AnswerRecord]]]:
    """Each set of answers to one benchmark once, however often it was judged; to fill, each that has gaps.

    Raises:
        InputError: nothing to fill.
    """
    from value_retention.tasks.errors import InputError

    work: list[tuple[Run, list[AnswerRecord]]] = []
    seen: set[tuple[object, ...]] = set()
    for run in runs:
        for benchmark in run.benchmarks():
            records = [r for r in run.records if r.benchmark == benchmark]
            answers = tuple(sorted((r.run.model, r.item, r.epoch, r.answer_hash) for r in records))
            if fill and not any(grade.outcome == "judge_error" for r in records for grade in r.grades):
                click.echo(f"{run.name}, {benchmark}: no grade failed, nothing to fill")
            elif fill or (benchmark, answers) not in seen:
                seen.add((benchmark, answers))
                work.append((run, records))
    if not work and not fill:
        raise InputError("no answers to judge", found=", ".join(run.name for run in runs))
    return work


def _judge(
    run: Run,
    records: list[AnswerRecord],
    panel: Panel,
    given: dict[str, Any],
    journal: Journal,
    budget: Budget | None,
) -> list[AnswerRecord] | None:
    """Judge one benchmark of one run; None when grades are still missing."""
    from tqdm import tqdm

    from value_retention.adapters.judges import describe, make_judges
    from value_retention.adapters.judging import Options, request_count
    from value_retention.adapters.rejudge import answers_of, dataset_of, rejudge

    names, args, protocol = panel
    judges = make_judges(names, {**args, "protocol": protocol})
    dataset = dataset_of(records, given["data"])
    who = describe([judge.info for judge in judges])
    click.echo(f"{run.name}, {records[0].benchmark}: {len(records)} answers, judge {who}, {protocol}")
    total = request_count(
        dataset, [answer.item for answer in answers_of(records, dataset)], len(judges), protocol
    )
    with tqdm(total=total, desc="Judging", unit="call", disable=None) as bar:
        options = Options(
            journal=journal,
            protocol=protocol,
            parse_retries=args.get("parse_retries", 0),
            spending=budget,
            advance=bar.update,
        )
        made = rejudge(records, dataset, judges, options, given["fill"])
    _report(options.tally, journal, budget)
    return None if options.tally.stopped or options.tally.errors else made


def _panel(records: Sequence[AnswerRecord], given: dict[str, Any]) -> Panel:
    """Judge names, settings and protocol, from the options or, to fill, from the records."""
    from value_retention.adapters.rejudge import panel_of
    from value_retention.adapters.settings import read_settings
    from value_retention.tasks.errors import InputError

    values: dict[str, Any] = {"judge_args": given["judge_args"]}
    if given["names"]:
        values["judge"] = list(given["names"])
    settings = read_settings(values, {} if given["fill"] else os.environ)
    if given["fill"]:
        if given["names"]:
            raise InputError(
                "--fill asks the judges of the run",
                found="--judge",
                expected="--fill alone, or --judge alone",
            )
        names, scoring, protocol = panel_of(records)
        return names, {**settings.judge_args, **scoring}, protocol
    judges = settings.require_judge().judges
    if not judges:
        raise InputError("judge=none judges nothing", where="--judge", expected="a judge")
    protocol = settings.judge_args.get("protocol", "per_dimension")
    return judges, settings.judge_args, protocol


def _budget(given: dict[str, Any], panels: Sequence[Panel]) -> Budget:
    """The budget of the whole command.

    Raises:
        InputError: a judge without a price.
    """
    from value_retention.adapters.lexical import NAME
    from value_retention.analysis.spending import Budget, Price, read_prices
    from value_retention.tasks.errors import InputError

    names = {name for panel in panels for name in panel[0] if name != NAME}
    prices = read_prices(given["prices"])[0] if given["prices"] else {}
    if given["price_in"] is not None and given["price_out"] is not None:
        prices |= {name: Price(given["price_in"], given["price_out"]) for name in names}
    if unknown := sorted(names - set(prices)):
        raise InputError(
            "a budget without a price",
            where="--budget",
            found=", ".join(unknown),
            expected="--price-in and --price-out, or --prices FILE that names the judge",
        )
    limits = [panel[1].get("max_tokens") for panel in panels]
    return Budget(given["budget"], prices, max((m for m in limits if m), default=None))


def _report(tally: Tally, journal: Journal, budget: Budget | None) -> None:
    click.echo(
        f"{tally.asked} calls made, {tally.reused} from the journal or the run, {tally.retries} retries, "
        f"{tally.unparsed} grades unreadable, {tally.errors} failed"
    )
    if budget is not None:
        click.echo(f"spent {budget.spent:.4f} of {budget.limit:g} US dollars")
    if tally.stopped and budget is not None:
        click.echo(
            f"stopped before the budget of {budget.limit:g} US dollars would be exceeded; everything is in "
            f"{journal.path}: the same command with a larger --budget goes on",
            err=True,
        )
    elif tally.errors:
        click.echo(
            f"{tally.errors} grades are missing ({tally.last_error}); every reply that came is in "
            f"{journal.path}: run the same command again to ask for the missing ones only",
            err=True,
        )


def _write(
    records: Sequence[AnswerRecord],
    run: Run,
    folder: Path | None,
    panel: tuple[Sequence[str], str],
    journal: Journal,
    number: int,
) -> None:
    """Write records beside the run, under a name that is free, whole or not at all."""
    import re

    from value_retention.analysis.read import RECORDS_SUFFIX
    from value_retention.tasks.errors import InputError

    names, protocol = panel
    folder = folder or Path(run.files[0]).parent
    label = re.sub(r"[^A-Za-z0-9.+-]+", "-", f"{records[0].benchmark}-{'+'.join(names)}")[:100]
    label += "-batched" if protocol == "batched" else ""
    note = f"output {number} {folder.resolve()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        chosen = journal.get(note)
        path = Path(chosen) if chosen else folder / f"{label}-1{RECORDS_SUFFIX}"
        count = 1
        while not chosen and path.exists():
            count += 1
            path = folder / f"{label}-{count}{RECORDS_SUFFIX}"
        journal.put(note, str(path))
        draft = path.with_name(path.name + ".part")
        with draft.open("w", encoding="utf-8") as lines:
            lines.writelines(record.to_json() + "\n" for record in records)
        draft.replace(path)
    except OSError as error:
        raise InputError(
            "the records cannot be written; every reply is in the journal",
            where=str(folder),
            found=str(error),
            expected="a writable folder with room",
            hint="name another with -o and run the same command again",
        ) from error
    click.echo(f"{len(records)} records in {path}")
