"""``value-retention judge``: grade saved answers, again or for the first time."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from value_retention.analysis.commands.options import Amount

if TYPE_CHECKING:
    from value_retention.adapters.judges.journal import Journal
    from value_retention.adapters.judges.judging import Tally
    from value_retention.adapters.judges.rejudge import Panel
    from value_retention.adapters.settings import Settings
    from value_retention.analysis.planning.spending import Budget
    from value_retention.analysis.runs.load import Run
    from value_retention.tasks.record import AnswerRecord

JUDGES = (
    "PROVIDER/MODEL (any Inspect model name, such as openai/gpt-5-mini; several between commas, or several "
    "--judge, are a panel), or lexical (offline, not an LLM, for trying things out)"
)


OPTIONS = {"judge": "--judge", "judge_args": "--judge-args"}
"""How the user of this command writes settings."""


@click.command("judge")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option(
    "--judge",
    "names",
    multiple=True,
    help="Inspect model name, or lexical; several, between commas or repeated, are a panel.",
)
@click.option("--judge-args", help="JSON: temperature, max_tokens, parse_retries, protocol, ...")
@click.option(
    "--fill",
    is_flag=True,
    help="Ask the same judges again for the grades whose call failed (judge_error), and for no others: a reply "
    "that could not be read stays.",
)
@click.option(
    "--allow-missing",
    is_flag=True,
    help="Write the records although calls failed; their grades are missing (judge_error), and counted.",
)
@click.option("--data", help="Where the benchmark's rows are, if they came from a folder.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder; default: beside the run.")
@click.option(
    "--journal", type=click.Path(path_type=Path), help="Journal file; default: in the journal folder."
)
@click.option("--budget", type=Amount(min=0), help="US dollars; stop before they are exceeded.")
@click.option("--prices", type=click.Path(path_type=Path), help="YAML file with prices, for --budget.")
@click.option("--price-in", type=Amount(min=0), help="US dollars per million input tokens.")
@click.option("--price-out", type=Amount(min=0), help="US dollars per million output tokens.")
def command(runs: tuple[str, ...], **options: Any) -> None:
    """Grade saved answers with a judge or a panel, or where calls failed.

    RUN is what lm-eval wrote with judge=none or --predict_only, or any judged run of lm-eval, Inspect or this
    command. New records are written beside the old ones, never over them. Interrupted, the same command goes
    on where it stopped; no call is made twice.
    """
    from value_retention.adapters.judges.models import make_judges
    from value_retention.adapters.judges.rejudge import FINISHED, open_journal
    from value_retention.analysis.planning.spending import price_given
    from value_retention.analysis.runs.load import failed_grades, load_runs

    settings, fill = _settings(options), options["fill"]
    price_given(options["price_in"], options["price_out"])  # half a price is refused, budget or not
    found = load_runs(runs)
    work = _distinct(_unfilled(found, options["output"]) if fill else found, fill)
    panels = [_panel(records, settings, fill) for _, records in work]
    for names, args, protocol in panels:  # before any call is paid for
        make_judges(names, {**args, "protocol": protocol})
    if not work:
        return
    journal = open_journal(
        [(records, panel) for (_, records), panel in zip(work, panels, strict=True)], options["journal"], fill
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
    for number, ((run, old), (names, _, protocol), new) in enumerate(zip(work, panels, made, strict=True)):
        if fill and failed_grades(new or []) >= failed_grades(old):
            # Records that fill nothing would stand beside the old ones as a second run.
            click.echo(f"{run.name}, {old[0].benchmark}: every call failed again, no records written")
            continue
        _write(new or [], run, options["output"], (names, protocol), journal, number)
    if options["journal"] is None:
        journal.put(FINISHED, "yes")


def _settings(given: dict[str, Any]) -> Settings:
    """Judges and their settings, from the options, else from the environment; to fill, settings only.

    Raises:
        InputError: no judge, one that judges nothing, one that is named twice or that is not known.
    """
    from value_retention.adapters.judges.lexical import NAME
    from value_retention.adapters.settings import ENVIRONMENT, names_of, read_settings
    from value_retention.tasks.errors import InputError

    if given["fill"]:
        if given["names"]:
            raise InputError(
                "--fill asks the judges of the run",
                found="--judge",
                expected="--fill alone, or --judge alone",
            )
        return read_settings({"judge_args": given["judge_args"]}, {}, OPTIONS)
    names, where = [name for value in given["names"] for name in names_of(value)], "--judge"
    if not given["names"]:
        names = names_of(os.environ.get(ENVIRONMENT["judge"], ""))
        where = (
            f"environment variable {ENVIRONMENT['judge']}" if names else f"--judge, or {ENVIRONMENT['judge']}"
        )
    what: str | None = None
    found: str | None = ", ".join(names)
    if not names:
        what, found = "no judge is named, and there is no default", None
    elif "none" in names:
        what = "judge=none judges nothing"
    elif twice := sorted({name for name in names if names.count(name) > 1}):
        what, found = "a judge that is named twice", ", ".join(twice)
    elif unknown := [name for name in names if name != NAME and "/" not in name]:
        what, found = "an unknown judge", ", ".join(unknown)
    if what is not None:
        raise InputError(what, where=where, found=found, expected=JUDGES)
    return read_settings({"judge": names, "judge_args": given["judge_args"]}, os.environ, OPTIONS)


def _unfilled(runs: list[Run], output: Path | None) -> list[Run]:
    """The runs without what an earlier fill has filled, where this one would write its records."""
    from value_retention.analysis.runs.load import RECORDS_SUFFIX, Run, drop_superseded, read_records

    folders = {output or Path(run.files[0]).parent for run in runs}
    files = sorted({file for folder in folders for file in folder.glob(f"*{RECORDS_SUFFIX}")})
    beside = [Run(file.name, (str(file),), tuple(read_records(file))) for file in files]
    return drop_superseded(runs, beside)


def _distinct(runs: list[Run], fill: bool) -> list[tuple[Run, list[AnswerRecord]]]:
    """Each set of answers to one benchmark once, however often it was judged; to fill, each that has gaps.

    Raises:
        InputError: nothing to judge.
    """
    from value_retention.analysis.runs.load import failed_grades
    from value_retention.tasks.errors import InputError

    work: dict[tuple[Any, ...], tuple[Run, list[AnswerRecord]]] = {}
    for run in runs:
        for benchmark in run.benchmarks():
            records = [r for r in run.records if r.benchmark == benchmark]
            answers = tuple(sorted((r.run.model, r.item, r.epoch, r.answer_hash) for r in records))
            if not fill:
                work.setdefault((benchmark, answers), (run, records))
            elif failed_grades(records):
                work[benchmark, answers, run.name] = run, records
            else:
                click.echo(f"{run.name}, {benchmark}: no call failed")
    if not work and not fill:
        raise InputError("no answers to judge", found=", ".join(run.name for run in runs))
    if not work:
        click.echo("nothing is left to fill")
    # The order is the answers', not the files': what a killed command wrote already does not change it.
    return [work[key] for key in sorted(work)]


def _judge(
    run: Run,
    records: list[AnswerRecord],
    panel: Panel,
    given: dict[str, Any],
    journal: Journal,
    budget: Budget | None,
) -> list[AnswerRecord] | None:
    """Judge one benchmark of one run; None when grades are missing that the user did not allow to be."""
    from tqdm import tqdm

    from value_retention.adapters.judges.judging import Options, request_count
    from value_retention.adapters.judges.models import describe, make_judges
    from value_retention.adapters.judges.rejudge import answers_of, dataset_of, rejudge

    names, args, protocol = panel
    args = {**args, "protocol": protocol}
    judges = make_judges(names, args)
    dataset = dataset_of(records, given["data"])
    who = describe([judge.info for judge in judges])
    click.echo(f"{run.name}, {records[0].benchmark}: {len(records)} answers, judge {who}, {protocol}")
    total = request_count(
        dataset, [answer.item for answer in answers_of(records, dataset)], len(judges), protocol
    )
    with tqdm(total=total, desc="Judging", unit="call", disable=None) as bar:
        options = Options.of(args, journal=journal, spending=budget, advance=bar.update)
        made = rejudge(records, dataset, judges, options, given["fill"])
    missing = given["allow_missing"]
    _report(options.tally, journal, budget, missing)
    return None if options.tally.stopped or (options.tally.errors and not missing) else made


def _panel(records: Sequence[AnswerRecord], settings: Settings, fill: bool) -> Panel:
    """Judge names, settings and protocol, from the options or, to fill, from the records.

    Raises:
        InputError: to fill, other settings than the records'.
    """
    from value_retention.adapters.judges.rejudge import panel_of
    from value_retention.adapters.settings import SCORING_ARGS
    from value_retention.tasks.errors import InputError

    args = settings.judge_args
    if not fill:
        return settings.judges or (), args, args.get("protocol", "per_dimension")
    names, scoring, protocol = panel_of(records)
    used = {**scoring, "protocol": protocol}
    if changed := [key for key in SCORING_ARGS if key in args and args[key] != used.get(key)]:
        raise InputError(
            "--fill keeps the judge's settings",
            where="--judge-args",
            found=", ".join(f"{key} {args[key]!r}" for key in changed),
            expected=", ".join(f"{key} {used[key]!r}" if key in used else f"no {key}" for key in changed),
        )
    return names, {**args, **scoring}, protocol


def _budget(given: dict[str, Any], panels: Sequence[Panel]) -> Budget:
    """The budget of the whole command.

    Raises:
        InputError: a judge without a price.
    """
    from value_retention.adapters.judges.lexical import NAME
    from value_retention.analysis.planning.spending import Budget, price_given, read_prices
    from value_retention.tasks.errors import InputError

    names = {name for panel in panels for name in panel[0] if name != NAME}
    prices = read_prices(given["prices"])[0] if given["prices"] else {}
    if (price := price_given(given["price_in"], given["price_out"])) is not None:
        prices |= dict.fromkeys(names, price)
    if unknown := sorted(names - set(prices)):
        raise InputError(
            "a budget without a price",
            where="--budget",
            found=", ".join(unknown),
            expected="--price-in and --price-out, or --prices FILE that names the judge",
        )
    limits = [panel[1].get("max_tokens") for panel in panels]
    return Budget(given["budget"], prices, max((m for m in limits if m), default=None))


def _report(tally: Tally, journal: Journal, budget: Budget | None, allow_missing: bool) -> None:
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
        next_step = (
            "they are written as missing (judge_error): --fill asks for them again"
            if allow_missing
            else f"every reply that came is in {journal.path}: run the same command again to ask for the "
            "missing ones only, or with --allow-missing to write the records without them"
        )
        click.echo(f"{tally.errors} grades are missing ({tally.last_error}); {next_step}", err=True)


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

    from value_retention.analysis.runs.load import RECORDS_SUFFIX
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
