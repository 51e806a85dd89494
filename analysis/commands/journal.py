"""``value-retention journal``: what is saved of past runs, lost records written again, space freed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from value_retention.analysis.commands.options import Amount
from value_retention.analysis.commands.records import model_of, stem_of, write_records

if TYPE_CHECKING:
    from value_retention.adapters.judges.journal import Journal, JournalRun

DAY = 86_400
HEADINGS = ("run", "model", "task", "judges", "state", "answers", "replies", "MB", "last change")


@click.group("journal")
def command() -> None:
    """See and keep in order what is saved of lm-eval and judge runs.

    Every answer, judge reply and record is saved in one file as it arrives, so that no call is paid for twice.
    VALUE_RETENTION_JOURNAL names the file. Without it, the file is in the folder
    VALUE_RETENTION_JOURNAL_DIR, or else in the user's cache folder.
    """


def _open() -> Journal:
    """Open the journal if it exists.

    Raises:
        InputError: the file does not exist.
    """
    from value_retention.adapters.judges.journal import journal_file, open_journal
    from value_retention.tasks.errors import InputError

    file = journal_file()
    if not file.exists():
        raise InputError("no journal", where=str(file), expected="a file that lm_eval or judge has made")
    return open_journal()


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_command(as_json: bool) -> None:
    """List the runs in the journal, with state, size and age."""
    import json

    from value_retention.adapters.judges.journal import age_of

    journal = _open()
    sizes = journal.sizes()
    rows = [_row(run, sizes.get(run.id, (0, 0, 0))) for run in journal.runs()]
    if "" in sizes:  # scored inside Inspect, which keeps its own log of the run
        answers, replies, size = sizes[""]
        rows.append({"run": "-", "task": "inspect", "answers": answers, "replies": replies, "bytes": size})
    if as_json:
        click.echo(json.dumps({"journal": journal.path, "runs": rows}, indent=2, ensure_ascii=False))
        return
    from value_retention.analysis.report.console import console, print_table

    cells = [
        [
            *(
                str(row.get(key, ""))
                for key in ("run", "model", "task", "judges", "state", "answers", "replies")
            ),
            f"{row['bytes'] / 1e6:.1f}",
            f"{age_of(row['updated'])} ago" if "updated" in row else "",
        ]
        for row in rows
    ]
    print_table(console(), journal.path, HEADINGS, cells)


def _row(run: JournalRun, size: tuple[int, int, int]) -> dict[str, Any]:
    return {
        "run": run.id[:8],
        "model": model_of(run.about),
        "task": run.about.get("task", ""),
        "judges": ", ".join(run.about.get("judges", ())) or "none",
        "state": "finished" if run.finished else "judged" if run.has_records else "interrupted",
        "answers": size[0],
        "replies": size[1],
        "bytes": size[2],
        "updated": run.updated,
    }


@command.command("export")
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=Path(), help="Folder. Default: here."
)
def export_command(runs: tuple[str, ...], output: Path) -> None:
    """Write the records of runs whose files are lost. No call is made.

    RUN is the start of a run's name in `value-retention journal list`. Default: the last run.
    """
    from value_retention.tasks.errors import InputError

    journal = _open()
    kept = [run for run in journal.runs() if run.has_records]
    chosen = [run for run in kept if run.id.startswith(runs)] if runs else kept[-1:]
    unknown = [name for name in runs if not any(run.id.startswith(name) for run in kept)]
    if unknown or not chosen:
        raise InputError(
            "no records of this run in the journal",
            where=journal.path,
            found=", ".join(unknown) or "no run with records",
            expected=", ".join(run.id[:8] for run in kept) or "a run that was judged to its end",
            hint="run an interrupted command again: it goes on where it stopped",
        )
    for run in chosen:
        file, written = write_records(output, stem_of(run.about), journal.records(run.id).splitlines())
        click.echo(f"{file}{'' if written else ' (was there already)'}")


@command.command("prune")
@click.option("--older-than", type=Amount(min=0), default=30.0, show_default=True, help="Age in days.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def prune_command(older_than: float, yes: bool) -> None:
    """Remove finished runs, with their answers, replies and records.

    Interrupted runs stay, and so do finished ones that share answers with them.
    """
    journal = _open()
    before = time.time() - older_than * DAY
    runs = journal.runs()
    needed = {run.answers_of for run in runs if not run.finished}
    old = [run for run in runs if run.finished and run.updated < before and run.answers_of not in needed]
    size = Path(journal.path).stat().st_size
    click.echo(f"{len(old)} of {len(runs)} runs are finished and older than {older_than:g} days")
    if not yes:
        click.confirm("Remove them for good?", abort=True)
    journal.prune([run.id for run in old], before)
    journal.close()
    click.echo(f"{size / 1e6:.1f} MB before, {Path(journal.path).stat().st_size / 1e6:.1f} MB now")
