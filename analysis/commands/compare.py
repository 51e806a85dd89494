"""``value-retention compare``: is the value retained, by how much, in English and elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from value_retention.analysis.commands.options import (
    as_options,
    capability_option,
    ceiling_option,
    output_options,
    reading_options,
    settings_options,
)

if TYPE_CHECKING:
    from value_retention.analysis.runs.load import Run
    from value_retention.analysis.stats.settings import Settings


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("runs", nargs=-1, required=True, metavar="RUN RUN...")
@click.option(
    "--baseline", help="Run to compare the others with: its name or path. Without it, every pair, by name."
)
@click.option(
    "--before", help="Run before the value was trained in: adds the retained share. Needs --baseline."
)
@click.option(
    "--calibration",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="LABELS",
    help="Labels by people, as in `calibrate`: adds the judge's errors on each run, and the difference corrected for "
    "them.",
)
@click.option(
    "--allow",
    multiple=True,
    metavar="ASPECT",
    help="A difference between runs to allow: judge, judge-settings, prompt, parser, epochs, questions, version, "
    "revision, dropped, ceiling, system, chat-template, sampling or capability. Repeat for several.",
)
@ceiling_option
@click.option("--full", is_flag=True, help="Print every figure: dimensions, languages, sources, all columns.")
@click.option(
    "--trajectory",
    is_flag=True,
    help="The runs are checkpoints in the order of training, the baseline first: name the first shown loss.",
)
@reading_options
@capability_option
@settings_options
@output_options
def command(
    runs: tuple[str, ...],
    baseline: str | None,
    before: str | None,
    calibration: Path | None,
    allow: tuple[str, ...],
    capability: tuple[str, ...],
    ceilings: tuple[str, ...],
    full: bool,
    settings: Settings,
    plots: Path | None,
    trajectory: bool,
    **files: Path | None,
) -> None:
    """Compare two or more runs: paired differences with cluster intervals, and a verdict per benchmark.

    The terminal shows one screen; `--full` prints every dimension, language and source.

    RUN is an lm-eval output, an Inspect log or a folder of either; NAME=RUN names it. Runs that were asked or
    judged differently are refused.
    """
    from value_retention.analysis.commands.inputs import (
        check_written,
        compare_runs,
        with_labels,
        write_result,
    )
    from value_retention.analysis.report.console import print_result
    from value_retention.analysis.report.screen import print_first_screen

    outputs = as_options(files)
    check_written(outputs, [*runs, *([str(calibration)] if calibration else [])], ())
    kept: list[Run] | None = None if calibration is None else []
    result = compare_runs(
        runs, settings, outputs, baseline=baseline, before=before, allow=allow,
        agreement=bool(plots or files["json"]), kept=kept, trajectory=trajectory,
        capability=capability, ceilings=ceilings,
    )  # fmt: skip
    if calibration is not None and kept is not None:
        result = with_labels(result, calibration, kept)
    if full:
        print_result(result, full=True)
    else:
        print_first_screen(result)
    for line in write_result(result, files, plots):
        click.echo(line)
