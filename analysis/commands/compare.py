"""``value-retention compare``: is the value retained, by how much, in English and elsewhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("runs", nargs=-1, required=True, metavar="RUN RUN...")
@click.option("--baseline", help="Run to compare the others with: its name or path. Without it, every pair.")
@click.option("--margin", type=float, help="Points within which a difference counts as none. Gives verdicts.")
@click.option(
    "--allow",
    multiple=True,
    metavar="ASPECT",
    help="A difference between runs to let through: judge, judge-settings, prompt, parser, epochs, "
    "questions, version, revision, dropped, protocol, ceiling, system, chat-template or sampling. Repeat for "
    "several.",
)
@click.option("--level", default=0.95, show_default=True, help="Confidence level of the intervals.")
@click.option("--resamples", default=10_000, show_default=True, help="Bootstrap resamples and sign patterns.")
@click.option("--seed", default=0, show_default=True, help="Seed of the resampling.")
@click.option("--json", "json_file", type=_FILE, help="Everything, also what the plots show.")
@click.option("--csv", "csv_file", type=_FILE, help="A row per figure and pair.")
@click.option("--parquet", "parquet_file", type=_FILE, help="The same as parquet.")
@click.option("--latex", "latex_file", type=_FILE, help="One booktabs table per benchmark and pair.")
@click.option("--plots", type=click.Path(file_okay=False, path_type=Path), help="Folder for SVG and PNG.")
def command(
    runs: tuple[str, ...],
    baseline: str | None,
    margin: float | None,
    allow: tuple[str, ...],
    level: float,
    resamples: int,
    seed: int,
    json_file: Path | None,
    csv_file: Path | None,
    parquet_file: Path | None,
    latex_file: Path | None,
    plots: Path | None,
) -> None:
    """Compare two or more runs: paired differences with cluster intervals, per dimension and language.

    RUN is an lm-eval output, an Inspect log or a folder of either; NAME=RUN gives it a name. Runs that were
    not asked and judged alike are refused.
    """
    from value_retention.analysis.commands.inputs import check_written, read_all
    from value_retention.analysis.effects.compare import checked_settings, compare_reduced, unique_names

    settings = checked_settings(level, resamples, seed, margin)
    outputs = {"--json": json_file, "--csv": csv_file, "--parquet": parquet_file, "--latex": latex_file}
    check_written(outputs, runs, ())
    scores, agreements = read_all(runs, settings if plots or json_file else None)
    check_written(outputs, runs, scores)
    result = compare_reduced(unique_names(scores), settings, baseline=baseline, allow=allow)
    result = replace(result, agreements=tuple(agreements))
    result.print()
    from value_retention.analysis.report.export import write_files

    for line in write_files(result, json_file, csv_file, parquet_file, latex_file):
        click.echo(line)
    if plots is not None:
        from value_retention.analysis.report.plots import save_plots

        click.echo(f"wrote {len(save_plots(result, plots))} figures to {plots}")
