"""``value-retention judge``: grade saved answers, again or for the first time."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from value_retention.analysis.commands.options import SCORE, Amount, chosen, score_option
from value_retention.analysis.commands.records import stem_of, write_records

if TYPE_CHECKING:
    from value_retention.adapters.judges.journal import Journal
    from value_retention.adapters.judges.rejudge import Panel
    from value_retention.adapters.judges.run import Tally
    from value_retention.adapters.settings import Settings
    from value_retention.analysis.planning.spending import Budget
    from value_retention.analysis.runs.load import Run
    from value_retention.tasks.record import AnswerRecord

JUDGES = (
    "PROVIDER/MODEL (any Inspect model name, such as openai/gpt-5-mini; for a panel, separate names by commas "
    "or repeat --judge), or lexical (offline, not an LLM, for trying things out)"
)


INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""

OPTIONS = {"judge": "--judge", "judge_args": "--judge-args"}
"""Option of each setting, for error messages."""


@click.command("judge")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option(
    "--judge",
    "names",
    multiple=True,
    help="Inspect model name, or lexical. For a panel, separate names by commas or repeat the option.",
)
@click.option("--judge-args", help="JSON: temperature, max_tokens, parse_retries, ...")
@click.option(
    "--fill",
    is_flag=True,
    help="Ask again, with the same judges, only where a call failed (judge_error) or the token limit cut the reply "
    "(cut). Unreadable replies are kept.",
)
@click.option(
    "--repeat",
    type=click.IntRange(min=1),
    help="Ask everything again under this number, to measure the judge's noise. Default: 1. "
    "Calls with the same number are made once.",
)
@click.option(
    "--allow-missing",
    is_flag=True,
    help="Write the records even if calls failed, and exit with status 0. Their grades count as missing "
    "(judge_error).",
)
@click.option(
    "--until-verdict",
    type=Amount(min=0.01),
    metavar="MARGIN",
    help="Judge two runs epoch by epoch, the baseline first. Stop when a loss is shown, or a loss of MARGIN points "
    "is excluded. Needs -o.",
)
@score_option
@click.option("--data", help="Folder with the benchmark's rows, if they came from a folder.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Output folder. Default: the run's folder."
)
@click.option(
    "--budget", type=Amount(min=0), help="Limit in US dollars. The command stops before it exceeds the limit."
)
@click.option("--prices", type=click.Path(path_type=Path), help="YAML file with prices, for --budget.")
@click.option("--price-in", type=Amount(min=0), help="US dollars per million input tokens.")
@click.option("--price-out", type=Amount(min=0), help="US dollars per million output tokens.")
def command(runs: tuple[str, ...], **options: Any) -> None:
    """Grade saved answers with a judge or a panel, or repeat failed calls.

    RUN is the output of lm-eval with judge=none or --predict_only, or any judged run of lm-eval, Inspect or
    this command. New records never overwrite old ones. After an interruption, run the same command again: it
    continues where it stopped, and makes no call twice. A command that is finished makes none at all; --repeat
    asks the judge again.
    """
    from value_retention.adapters.judges.client import make_judges
    from value_retention.adapters.judges.journal import open_journal
    from value_retention.analysis.planning.spending import price_given
    from value_retention.analysis.runs.load import load_runs
    from value_retention.tasks.errors import InputError

    settings, fill = _settings(options), options["fill"]
    if options["until_verdict"] is not None and (fill or options["output"] is None):
        # Beside the answers, the epochs that were not judged would look like another run.
        raise InputError(
            "--until-verdict needs a folder for the records, and no --fill",
            found="--fill" if fill else "no -o",
            expected="-o FOLDER",
        )
    price_given(options["price_in"], options["price_out"])  # checked with and without a budget
    found = [part for run in load_runs(runs, score=chosen(SCORE)) for part in run.parts()]
    work = _distinct(_unfilled(found, options["output"]) if fill else found, fill)
    panels = [_panel(records, settings, fill) for _, records in work]
    for names, args in panels:  # before any call is paid for
        make_judges(names, args)
    if not work:
        return
    journal = open_journal()
    click.echo(f"journal: {journal.path}")
    budget = _budget(options, panels) if options["budget"] is not None else None
    try:
        if options["until_verdict"] is not None:
            done = _until_verdict(work, panels, [run.name for run in found], options, journal, budget)
        else:
            done = [
                _is_done(_judge_and_write(run, records, panel, options, journal, budget), options)
                for (run, records), panel in zip(work, panels, strict=True)
            ]
    except KeyboardInterrupt:
        click.echo(
            f"interrupted. All replies so far are in {journal.path}. To continue, run the same command again: it "
            "makes no call twice",
            err=True,
        )
        sys.exit(INTERRUPTED)
    if not all(done):
        sys.exit(1)


def _is_done(records: list[AnswerRecord] | None, options: dict[str, Any]) -> bool:
    """Whether there are records, and no failed call in them that the user has not accepted."""
    if records is None or options["allow_missing"]:
        return records is not None
    return not any(grade.outcome == "judge_error" for record in records for grade in record.grades)


def _until_verdict(
    work: list[tuple[Run, list[AnswerRecord]]],
    panels: list[Panel],
    order: list[str],
    options: dict[str, Any],
    journal: Journal,
    budget: Budget | None,
) -> list[bool]:
    """Judge the two runs of each benchmark until a look shows something. False if grades are missing."""
    from value_retention.analysis.commands.until import judged_until, pairs_of
    from value_retention.analysis.stats.cluster import ALPHA

    pairs = pairs_of(work, order)
    done = []
    for one, other in pairs:
        panel = panels[one]

        def judge(
            part: tuple[Run, list[AnswerRecord]], write: bool, panel: Panel = panel
        ) -> list[AnswerRecord] | None:
            records = _judge_and_write(part[0], part[1], panel, options, journal, budget, write)
            return records if _is_done(records, options) else None

        alpha = ALPHA / len(pairs)
        margin, folder = options["until_verdict"], options["output"]
        done.append(judged_until(work[one], work[other], margin, alpha, judge, click.echo, folder))
    return done


def _judge_and_write(
    run: Run,
    old: list[AnswerRecord],
    panel: Panel,
    options: dict[str, Any],
    journal: Journal,
    budget: Budget | None,
    write: bool = True,
) -> list[AnswerRecord] | None:
    """Judge one benchmark of one run and write its records.

    Returns:
        The records. None if calls failed that may succeed next time, or if no grade could be read (the records are
        written all the same).
    """
    from value_retention.adapters.judges.rejudge import judging_id
    from value_retention.adapters.judges.run import nothing_readable
    from value_retention.analysis.runs.load import gaps
    from value_retention.tasks.record import texts_once

    fill, (names, args) = options["fill"], panel
    id_ = judging_id(old, panel, fill)
    lock = journal.lock(id_, id_)
    about = {
        "command": "judge",
        "task": old[0].benchmark,
        "model": old[0].run.model,
        "identity": old[0].run.identity,
        "judges": list(names),
        "judge_args": {"repeat": args.get("repeat", 1)},
    }
    entry = journal.start(id_, about, certain=not fill)  # a fill after a finished one asks again
    try:
        new = _judge(run, old, panel, options, journal, entry.id, budget)
        if new is None:
            return None
        if fill and gaps(new) >= gaps(old):
            # Records that fill nothing would look like a second run.
            click.echo(f"{run.name}, {old[0].benchmark}: no grade could be filled, no records written")
            journal.finish(entry)
            return new
        unread = nothing_readable(new)
        if not write and unread is None:
            return new
        texts = [record.to_json() for record in texts_once(new)]
        journal.keep(entry, texts)
        path, written = write_records(options["output"] or Path(run.files[0]).parent, stem_of(about), texts)
        click.echo(f"{len(new)} records {'in' if written else 'were already in'} {path}")
        journal.finish(entry)
    finally:
        lock.release()
    if unread is not None:
        click.echo(f"{run.name}, {old[0].benchmark}: {unread}", err=True)
        return None
    return new


def _settings(given: dict[str, Any]) -> Settings:
    """Judges and their settings from the options or the environment. With --fill, settings only.

    Raises:
        InputError: no judge, judge=none, or a duplicate or unknown judge.
    """
    from value_retention.adapters.settings import ENVIRONMENT, LEXICAL, names_of, read_settings
    from value_retention.tasks.errors import InputError

    if given["fill"]:
        if given["names"]:
            raise InputError(
                "--fill uses the judges of the run",
                found="--judge",
                expected="either --fill or --judge",
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
        what, found = "no judge given, and there is no default", None
    elif "none" in names:
        what = "judge=none does not judge"
    elif twice := sorted({name for name in names if names.count(name) > 1}):
        what, found = "duplicate judge", ", ".join(twice)
    elif unknown := [name for name in names if name != LEXICAL and "/" not in name]:
        what, found = "unknown judge", ", ".join(unknown)
    if what is not None:
        raise InputError(what, where=where, found=found, expected=JUDGES)
    settings = read_settings({"judge": names, "judge_args": given["judge_args"]}, os.environ, OPTIONS)
    if given["repeat"] is None:
        return settings
    return settings.model_copy(update={"judge_args": {**settings.judge_args, "repeat": given["repeat"]}})


def _unfilled(runs: list[Run], output: Path | None) -> list[Run]:
    """The runs without the records that an earlier fill in the output folder replaces."""
    from value_retention.adapters.readers.own import read_records
    from value_retention.analysis.runs.load import RECORDS_SUFFIX, Run, drop_superseded

    folders = {output or Path(run.files[0]).parent for run in runs}
    files = sorted({file for folder in folders for file in folder.glob(f"*{RECORDS_SUFFIX}")})
    beside = [Run(file.name, (str(file),), tuple(read_records(file))) for file in files]
    return drop_superseded(runs, beside)


def _distinct(runs: list[Run], fill: bool) -> list[tuple[Run, list[AnswerRecord]]]:
    """Each path's answers to one benchmark once, however often they were judged. With --fill, each with gaps.

    Raises:
        InputError: no answers.
    """
    from value_retention.analysis.runs.load import gaps
    from value_retention.tasks.errors import InputError

    work: dict[tuple[Any, ...], tuple[Run, list[AnswerRecord]]] = {}
    for run in runs:
        for benchmark in run.benchmarks():
            records = [r for r in run.records if r.benchmark == benchmark]
            answers = tuple(sorted((r.run.model, r.item, r.epoch, r.answer_hash) for r in records))
            if not fill:
                # Two checkpoints may give the same answers: each path gets its records.
                path = run.name.partition("/")[0]
                work.setdefault((benchmark, answers, path), (run, records))
            elif gaps(records):
                work[benchmark, answers, run.name] = run, records
            else:
                click.echo(f"{run.name}, {benchmark}: no call failed, no reply was cut")
    if not work and not fill:
        raise InputError("no answers to judge", found=", ".join(run.name for run in runs))
    if not work:
        click.echo("no missing grades to fill")
    # Sorted by answers, not by files: files that a killed command wrote do not change the order.
    return [work[key] for key in sorted(work)]


def _judge(
    run: Run,
    records: list[AnswerRecord],
    panel: Panel,
    given: dict[str, Any],
    journal: Journal,
    journal_run: str,
    budget: Budget | None,
) -> list[AnswerRecord] | None:
    """Judge one benchmark of one run. None if grades are missing without --allow-missing.

    Prompts that the judge refuses do not hold up the rest, since it would refuse them again.
    """
    from tqdm import tqdm

    from value_retention.adapters.judges.client import describe, make_judges
    from value_retention.adapters.judges.rejudge import answers_of, dataset_of, rejudge
    from value_retention.adapters.judges.run import Options
    from value_retention.tasks.prompts import item_calls

    names, args = panel
    judges = make_judges(names, args, single_loop=True)
    dataset = dataset_of(records, given["data"])
    who = describe([judge.info for judge in judges])
    click.echo(f"{run.name}, {records[0].benchmark}: {len(records)} answers, judge {who}")
    total = sum(item_calls(dataset, answer.item) for answer in answers_of(records, dataset)) * len(judges)
    every = 0.1 if sys.stderr.isatty() else 30.0  # seconds; a log file needs fewer lines
    with tqdm(total=total, desc="Judging", unit="call", mininterval=every) as bar:
        options = Options.of(args, journal=journal, run=journal_run, spending=budget, advance=bar.update)
        made = rejudge(records, dataset, judges, options, given["fill"])
    tally = options.tally
    replied = any(grade.outcome != "judge_error" for record in made for grade in record.grades)
    written = given["allow_missing"] or not tally.errors or (tally.errors == tally.refused and replied)
    _report(tally, journal, budget, written)
    return made if written and not tally.stopped else None


def _panel(records: Sequence[AnswerRecord], settings: Settings, fill: bool) -> Panel:
    """Judge names and settings from the options or, with --fill, from the records.

    Raises:
        InputError: with --fill, settings that differ from those in the records.
    """
    from value_retention.adapters.judges.rejudge import panel_of
    from value_retention.adapters.settings import SCORING_ARGS
    from value_retention.tasks.errors import InputError

    args = settings.judge_args
    if not fill:
        return settings.judges or (), args
    names, scoring = panel_of(records)
    if changed := [key for key in SCORING_ARGS if key in args and args[key] != scoring.get(key)]:
        raise InputError(
            "--fill cannot change the judge's settings",
            where="--judge-args",
            found=", ".join(f"{key} {args[key]!r}" for key in changed),
            expected=", ".join(
                f"{key} {scoring[key]!r}" if key in scoring else f"no {key}" for key in changed
            ),
        )
    return names, {**args, **scoring}


def _budget(given: dict[str, Any], panels: Sequence[Panel]) -> Budget:
    """The budget of the command.

    Raises:
        InputError: a judge without a price.
    """
    from value_retention.adapters.settings import LEXICAL
    from value_retention.analysis.planning.spending import Budget, price_given, read_prices
    from value_retention.tasks.errors import InputError

    names = {name for panel in panels for name in panel[0] if name != LEXICAL}
    prices = read_prices(given["prices"])[0] if given["prices"] else {}
    if (price := price_given(given["price_in"], given["price_out"])) is not None:
        prices |= dict.fromkeys(names, price)
    if unknown := sorted(names - set(prices)):
        raise InputError(
            "--budget needs the price of each judge",
            where="--budget",
            found=", ".join(unknown),
            expected="--price-in and --price-out, or --prices FILE with that judge",
        )
    limits = [panel[1].get("max_tokens") for panel in panels]
    return Budget(given["budget"], prices, max((m for m in limits if m), default=None))


def _report(tally: Tally, journal: Journal, budget: Budget | None, written: bool) -> None:
    click.echo(
        f"{tally.asked} calls made, {tally.reused} from {_source(tally)}, {tally.retries} retries; {tally}"
    )
    if tally.cut:
        click.echo(
            f"{tally.cut} grades are missing because the token limit cut the judge's reply ({tally.last_cut}); "
            "--fill asks again with the same limit",
            err=True,
        )
    if budget is not None:
        click.echo(f"spent {budget.spent:.4f} of {budget.limit:g} US dollars")
    if tally.stopped and budget is not None:
        click.echo(
            f"stopped to stay within the budget of {budget.limit:g} US dollars; all replies are in {journal.path}. "
            "To continue, run the same command with a larger --budget",
            err=True,
        )
    elif tally.errors:
        next_step = (
            "the records mark them as missing (judge_error); --fill repeats those calls"
            if written
            else f"all replies so far are in {journal.path}. Run the same command again to repeat the failed "
            "calls only, or add --allow-missing to write the records without them"
        )
        click.echo(f"{tally.errors} grades are missing ({tally.last_error}); {next_step}", err=True)


def _source(tally: Tally) -> str:
    """Where replies came from that were not asked for."""
    import math

    from value_retention.adapters.judges.journal import age_of

    return (
        "the journal or the run"
        if math.isinf(tally.oldest)
        else f"the journal (up to {age_of(tally.oldest)} old)"
    )
