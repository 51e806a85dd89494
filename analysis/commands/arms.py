"""``value-retention arms``: an experiment of several trained checkpoints, from a YAML that names them."""

from __future__ import annotations

from pathlib import Path

import click

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("arms_file", type=click.Path(path_type=Path), metavar="ARMS.yaml")
@click.option("--margin", "margins", type=float, multiple=True, help="Points; instead of the file's margins.")
@click.option("--allow", multiple=True, metavar="ASPECT", help="As in `compare`; adds to the file's `allow`.")
@click.option("--level", default=0.95, show_default=True, help="Confidence level of the intervals.")
@click.option("--resamples", default=10_000, show_default=True, help="Bootstrap resamples and sign patterns.")
@click.option("--seed", default=0, show_default=True, help="Seed of the resampling.")
@click.option("--json", "json_file", type=_FILE, help="Everything.")
@click.option("--latex", "latex_file", type=_FILE, help="The table of arms with booktabs.")
def command(
    arms_file: Path,
    margins: tuple[float, ...],
    allow: tuple[str, ...],
    level: float,
    resamples: int,
    seed: int,
    json_file: Path | None,
    latex_file: Path | None,
) -> None:
    """Table of all arms, domain effects within each method, replication, interactions.

    \b
    ARMS.yaml:
      margins: [3, 5]
      arms:
        - {name: base, base: true, run: logs/base}
        - {domain: helpfulness, method: SFT, data: dolly-15k, seed: 1, run: logs/sft-dolly}
        - {domain: coding, method: SFT, data: magicoder, seed: 1, run: [logs/a.eval, logs/b.eval]}
    """
    from value_retention.analysis.commands.inputs import analyse_file, write_arms
    from value_retention.analysis.commands.outputs import check_outputs
    from value_retention.analysis.effects.compare import checked_settings
    from value_retention.analysis.report.design import print_arms
    from value_retention.analysis.runs.names import check_names

    settings = checked_settings(level, resamples, seed, None)
    check_names([str(arms_file)], "ARMS.yaml")
    check_outputs({"--json": json_file, "--latex": latex_file}, [arms_file])
    result = analyse_file(arms_file, settings, margins, allow)
    print_arms(result)
    for line in write_arms(result, (), json_file, latex_file):
        click.echo(line)
