"""The ``value-retention`` command. A subcommand is imported when it is used."""

from __future__ import annotations

import gc
import importlib
import sys

import click

# name -> short help. The module of that name in `commands` holds a click command called `command`.
COMMANDS = {
    "new": "A benchmark of your own from a table of questions.",
    "check": "Try a benchmark before its first run: judge prompt, calls, a trial.",
    "plan": "Calls, tokens and money of a run, and what it can detect.",
    "judge": "Grade saved answers: another judge, a panel, or missing grades only.",
    "journal": "List what is saved of your runs, write lost records again, free the space.",
    "table": "Scores of runs, or all their grades as one table.",
    "compare": "Is the value retained: paired differences between runs, with intervals.",
    "audit": "One command from models to a verdict, a report and an exit status.",
    "report": "A comparison as one HTML file, or as a folder with its records.",
    "verify": "Check an evidence folder: hashes, records, every figure and page.",
    "export": "A run in the formats of Every Eval Ever and the Hugging Face Hub.",
    "arms": "Several trained checkpoints: every arm, domain effects, interactions.",
    "agreement": "Agreement of judges on the same answers, per dimension and language.",
    "calibrate": "Judges compared with human labels; scores corrected for their errors.",
    "probe": "Pairs of judged answers, for a probe of checkpoints without a judge.",
    "contamination": "List training rows that share text with a benchmark.",
}


class LazyGroup(click.Group):
    """A click group whose subcommands are imported when called, so that ``--help`` stays instant."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names, in the order of use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of one subcommand."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"value_retention.analysis.commands.{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the subcommands from the table above, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="value-retention")
def cli() -> None:
    """Was the value retained? Judge saved answers, read runs and compare checkpoints."""


def main() -> None:
    """Run the command. A user's mistake gives one message and exit status 2."""
    from value_retention.tasks.errors import InputError

    # Records are many objects without circles: looking for those was an eighth of the time of a report.
    gc.set_threshold(100_000, 20, 20)
    try:
        cli()
    except InputError as error:
        click.echo(f"value-retention: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
