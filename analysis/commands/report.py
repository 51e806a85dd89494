"""``value-retention report``: the comparison as one file, or as a folder with the records it rests on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from value_retention.analysis.commands.options import (
    SCORE,
    capability_option,
    ceiling_option,
    chosen,
    reading_options,
    settings_options,
)

if TYPE_CHECKING:
    from value_retention.analysis.effects.design import ArmsFile
    from value_retention.analysis.effects.result import Result
    from value_retention.analysis.exchange.bundle import Options
    from value_retention.analysis.runs.load import Run
    from value_retention.analysis.stats.settings import Settings

ENDINGS = (".html", ".md", ".json")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("runs", nargs=-1, required=True, metavar="RUN RUN... | ARMS.yaml")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="File (.html, .md or .json), or a new folder for all three with the records and a manifest.",
)
@click.option("--baseline", help="Run to compare the others with. Default: the first one.")
@click.option("--before", help="Run before the value was trained in: adds the retained share.")
@click.option(
    "--allow", multiple=True, metavar="ASPECT", help="A difference between runs to allow, as in compare."
)
@ceiling_option
@click.option(
    "--trajectory",
    is_flag=True,
    help="The runs are checkpoints in the order of training: name the first shown loss.",
)
@reading_options
@capability_option
@settings_options
def command(
    runs: tuple[str, ...],
    output: Path,
    baseline: str | None,
    before: str | None,
    allow: tuple[str, ...],
    capability: tuple[str, ...],
    ceilings: tuple[str, ...],
    settings: Settings,
    trajectory: bool,
) -> None:
    """Write a report of a comparison: verdicts, what they rest on, plots, figures, and the answers behind them.

    The HTML file holds everything and needs no network. A folder also holds copies of the records, which
    `value-retention verify` checks. RUN is as in `value-retention compare`; the first one is the baseline. ARMS.yaml is
    the file of `value-retention arms`; it names runs, baseline and margin.
    """
    from value_retention.analysis.commands.experiment import compare_file
    from value_retention.analysis.commands.inputs import check_written, compare_runs
    from value_retention.analysis.exchange.bundle import Options, check_folder
    from value_retention.tasks.errors import InputError

    if output.suffix not in (*ENDINGS, ""):
        expected = f"{', '.join(ENDINGS)}, or a folder (no ending)"
        raise InputError("unsupported format", where="-o", found=output.name, expected=expected)
    named = {"--baseline": baseline, "--before": before, "--ceiling": ceilings, "--trajectory": trajectory}
    arms = _arms(runs, [option for option, value in named.items() if value])
    places = [place for arm in arms.arms for place in arm.runs] if arms else runs
    check_written({"-o": output}, [*runs, *places], ())
    if not output.suffix:
        check_folder(output)
        _check_apart(output, places)
    kept: list[Run] = []
    if arms:
        result = compare_file(
            Path(runs[0]), settings, {"-o": output}, allow=allow, capability=capability, kept=kept
        )
        options = Options(allow=(*arms.allow, *allow), score=chosen(SCORE))
    else:
        result = compare_runs(
            runs, settings, {"-o": output}, baseline=baseline, first=True, before=before, allow=allow, kept=kept,
            trajectory=trajectory, capability=capability, ceilings=ceilings,
        )  # fmt: skip
        first = result.runs[0].run if baseline is None else baseline
        options = Options(first, before, allow, trajectory, chosen(SCORE))
    for line in write_report(result, kept, options, output):
        click.echo(line)


def _arms(runs: Sequence[str], options: Sequence[str]) -> ArmsFile | None:
    """The content of an arms file in place of runs; None where runs are given.

    Raises:
        InputError: a file that cannot be read, or options that name what the file names.
    """
    from value_retention.analysis.effects.design import read_arms
    from value_retention.tasks.errors import InputError

    if len(runs) > 1 or Path(runs[0]).suffix not in (".yaml", ".yml"):
        return None
    if options:
        raise InputError(
            "an option that an arms file replaces", where=runs[0], found=", ".join(options),
            expected="the roles base and midtrain in the file",
        )  # fmt: skip
    return read_arms(Path(runs[0]))


def write_report(result: Result, runs: Sequence[Run], options: Options, output: Path) -> list[str]:
    """Write a report as a file or as an evidence folder.

    Args:
        result: The comparison.
        runs: The runs compared, with their records.
        options: Options of the comparison.
        output: A path that ends in one of `ENDINGS`, or a new folder.

    Returns:
        Lines that say what was written.
    """
    from value_retention.analysis.exchange.bundle import pages, write_evidence
    from value_retention.analysis.report.export import writing

    if not output.suffix:
        digest = write_evidence(result, runs, options, output)
        size = sum(file.stat().st_size for file in output.rglob("*") if file.is_file())
        return [f"evidence in {output} ({size / 1e6:.1f} MB)", f"SHA-256 of the manifest: {digest}"]
    (text,) = pages(result, runs, [f"report{output.suffix}"]).values()
    with writing(output):
        output.write_text(text, "utf-8")
    return [f"report in {output} ({len(text.encode()) / 1e6:.1f} MB)"]


def _check_apart(folder: Path, runs: Sequence[str]) -> None:
    """Refuse an evidence folder inside the folder of a run, where the next command would read the copies."""
    from value_retention.tasks.errors import InputError

    for text in runs:
        for place in {Path(text), Path(text.partition("=")[2] or text)}:
            if folder.resolve().is_relative_to(place.expanduser().resolve()):
                raise InputError(
                    "the output folder is inside a run",
                    where="-o",
                    found=str(folder),
                    expected=f"a folder outside {place}",
                )
