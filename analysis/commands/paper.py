"""``value-retention paper``: the claims of arXiv 2606.26102, held against your runs or synthetic ones."""

from __future__ import annotations

from pathlib import Path

import click

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("arms_file", type=click.Path(path_type=Path), required=False, metavar="[ARMS.yaml]")
@click.option("--synthetic", is_flag=True, help="Generate records with the published scores. No measurement.")
@click.option("--base-score", type=float, help="Assumed ANIMA score of the synthetic base, per cent.")
@click.option(
    "--draws", type=click.IntRange(min=1), help="Repeat the synthetic draw and count the conclusions [1]."
)
@click.option("--level", default=0.95, show_default=True, help="Confidence level of the intervals.")
@click.option("--resamples", default=10_000, show_default=True, help="Bootstrap resamples and sign patterns.")
@click.option("--seed", default=0, show_default=True, help="Seed of the resampling and the generator.")
@click.option("--json", "json_file", type=_FILE, help="Everything; two readings give two files.")
@click.option("--latex", "latex_file", type=_FILE, help="The table of arms with booktabs; likewise.")
def command(
    arms_file: Path | None,
    synthetic: bool,
    base_score: float | None,
    draws: int | None,
    level: float,
    resamples: int,
    seed: int,
    json_file: Path | None,
    latex_file: Path | None,
) -> None:
    """Rebuild the paper's table and say which of its claims hold at these sizes and which do not follow.

    The arms need the domains helpfulness and coding and the methods SFT and GRPO. With --synthetic the
    figures come from generated records that hit the published scores, once for each reading of
    "multilingual".
    """
    from value_retention.analysis.commands.inputs import analyse_file, write_arms
    from value_retention.analysis.commands.outputs import check_outputs
    from value_retention.analysis.effects.compare import checked_settings
    from value_retention.analysis.examples.claims import MARGINS, paper_claims
    from value_retention.analysis.report.design import print_arms
    from value_retention.analysis.runs.names import check_names
    from value_retention.tasks.errors import InputError

    settings = checked_settings(level, resamples, seed, None)
    if synthetic == (arms_file is not None):
        raise InputError("one of ARMS.yaml and --synthetic is needed", hint="value-retention paper --help")
    given = [path for path in (arms_file, json_file, latex_file) if path is not None]
    check_names(map(str, given), "ARMS.yaml, --json or --latex")
    check_outputs({"--json": json_file, "--latex": latex_file}, [arms_file] if arms_file else [])
    if arms_file is not None:
        for option, value in (("--base-score", base_score), ("--draws", draws)):
            if value is not None:
                raise InputError("an option of --synthetic without it", found=option)
        result = analyse_file(arms_file, settings, MARGINS)
        claims = paper_claims(result)
        print_arms(result, claims)
        for line in write_arms(result, claims, json_file, latex_file):
            click.echo(line)
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
        claims = paper_claims(result, [reading])
        print_arms(result, claims)
        for claim, tally in count_draws(reading, settings, base_score, draws) if draws > 1 else ():
            counted = ", ".join(f"{conclusion} in {count}" for conclusion, count in tally.items())
            click.echo(f"{draws} draws, {claim}: {counted}")
        files = [f and f.with_stem(f.stem + ending) for f in (json_file, latex_file)]
        for line in write_arms(result, claims, *files):
            click.echo(line)
