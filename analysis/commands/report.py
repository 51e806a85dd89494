"""``value-retention report``: the comparison as one file that can be handed on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from value_retention.analysis.commands.options import settings_options

if TYPE_CHECKING:
    from value_retention.analysis.runs.load import Run
    from value_retention.analysis.stats.settings import Settings

ENDINGS = (".html", ".md", ".json")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("runs", nargs=-1, required=True, metavar="RUN RUN...")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="File: .html, .md or .json.",
)
@click.option("--baseline", help="Run to compare the others with. Default: the first one.")
@click.option("--before", help="Run before the value was trained in: adds the retained share.")
@click.option(
    "--allow", multiple=True, metavar="ASPECT", help="A difference between runs to allow, as in compare."
)
@settings_options
def command(
    runs: tuple[str, ...],
    output: Path,
    baseline: str | None,
    before: str | None,
    allow: tuple[str, ...],
    settings: Settings,
) -> None:
    """Write a report of a comparison: verdicts, what they rest on, plots, figures, and the answers behind them.

    The HTML file holds everything and needs no network. RUN is as in `value-retention compare`; the first one is
    the baseline.
    """
    from importlib.metadata import version

    from value_retention.analysis.commands.inputs import check_written, compare_runs
    from value_retention.analysis.report.evidence import evidence
    from value_retention.analysis.report.export import json_text, writing
    from value_retention.analysis.report.page import html, markdown
    from value_retention.tasks.errors import InputError

    if output.suffix not in ENDINGS:
        raise InputError("unsupported format", where="-o", found=output.name, expected=", ".join(ENDINGS))
    check_written({"-o": output}, runs, ())
    kept: list[Run] = []
    result = compare_runs(
        runs, settings, {"-o": output}, baseline=baseline, first=True, before=before, allow=allow, kept=kept
    )
    if output.suffix == ".json":
        text = json_text(result.to_dict())
    else:
        form = html if output.suffix == ".html" else markdown
        text = form(result, evidence(result, kept), version("value-retention"))
    with writing(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text, "utf-8")
    click.echo(f"report in {output} ({len(text.encode()) / 1e6:.1f} MB)")
