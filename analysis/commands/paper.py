"""``value-retention paper``: the claims of arXiv 2606.26102, checked on your runs or on synthetic ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from value_retention.analysis.commands.options import (
    as_options,
    output_options,
    reading_options,
    settings_options,
)

if TYPE_CHECKING:
    from value_retention.analysis.effects.result import Result
    from value_retention.analysis.examples.claims import Claim
    from value_retention.analysis.stats.settings import Settings


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("arms_file", type=click.Path(path_type=Path), required=False, metavar="[ARMS.yaml]")
@click.option(
    "--synthetic", is_flag=True, help="Generate records with the published scores. Not a measurement."
)
@click.option("--base-score", type=float, help="Assumed ANIMA score of the synthetic base, per cent.")
@click.option(
    "--draws", type=click.IntRange(min=1), help="Repeat the synthetic draw and count the conclusions [1]."
)
@reading_options
@settings_options
@output_options
def command(
    arms_file: Path | None,
    synthetic: bool,
    base_score: float | None,
    draws: int | None,
    settings: Settings,
    plots: Path | None,
    **files: Path | None,
) -> None:
    """Rebuild the paper's table, and check which of its claims hold at these sizes.

    The arms need the domains helpfulness and coding and the methods SFT and GRPO. With --synthetic the
    figures come from generated records that hit the published scores, once for each reading of
    "multilingual"; each reading has its own output files.
    """
    from value_retention.analysis.commands.experiment import compare_file
    from value_retention.analysis.commands.outputs import check_outputs
    from value_retention.analysis.examples.claims import MARGIN, paper_claims
    from value_retention.tasks.errors import InputError

    settings = replace(settings, margin=settings.margin or MARGIN)
    if synthetic == (arms_file is not None):
        raise InputError("paper needs ARMS.yaml or --synthetic", hint="value-retention paper --help")
    check_outputs(as_options(files), [arms_file] if arms_file else [])
    if arms_file is not None:
        for option, value in (("--base-score", base_score), ("--draws", draws)):
            if value is not None:
                raise InputError(f"{option} needs --synthetic", where=option, found=value)
        result = compare_file(arms_file, settings, {})
        _show(result, paper_claims(result), files, plots)
        return
    from value_retention.analysis.examples.paper import (
        BASE_SCORE,
        READING_FILES,
        count_draws,
        synthetic_result,
    )

    base_score = BASE_SCORE if base_score is None else base_score
    draws = draws or 1
    for reading, ending in READING_FILES.items():
        result = synthetic_result(reading, settings, base_score)
        places = {kind: path and path.with_stem(path.stem + ending) for kind, path in files.items()}
        folder = plots and plots.with_name(plots.name + ending)
        _show(result, paper_claims(result, [reading]), places, folder)
        for claim, tally in count_draws(reading, settings, base_score, draws) if draws > 1 else ():
            counted = ", ".join(f"{conclusion} in {count}" for conclusion, count in tally.items())
            click.echo(f"{draws} draws, {claim}: {counted}")


def _show(result: Result, claims: list[Claim], files: Mapping[str, Path | None], plots: Path | None) -> None:
    from value_retention.analysis.commands.inputs import write_result
    from value_retention.analysis.examples.claims import print_claims
    from value_retention.analysis.report.console import print_result

    print_result(result, extra=lambda out: print_claims(claims, out))
    for line in write_result(result, files, plots, {"claims": [asdict(claim) for claim in claims]}):
        click.echo(line)
