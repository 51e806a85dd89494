"""``value-retention export-upstream``: the benchmarks as tasks of lm-evaluation-harness itself."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("checkout", type=click.Path(file_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Overwrite files of the task folders that differ.")
def command(checkout: Path, force: bool) -> None:
    """Write ANIMA 2.2 and MORU into CHECKOUT, a clone of lm-evaluation-harness, ready for a pull request.

    The tasks do not import this package. They give the same scores for the same answers and judge replies. See
    docs/upstream.md for the checks that lm-evaluation-harness asks for.
    """
    from value_retention.analysis.exchange.upstream.export import export

    written = export(checkout, force)
    for file in written:
        click.echo(f"{file.lines:5} {file.path}")
    click.echo(f"{sum(file.lines for file in written):5} lines in all")
