"""``value-retention arms``: an experiment of several trained checkpoints, from a YAML that names them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from value_retention.analysis.commands.options import (
    as_options,
    capability_option,
    output_options,
    reading_options,
    settings_options,
)

if TYPE_CHECKING:
    from value_retention.analysis.stats.settings import Settings


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("arms_file", type=click.Path(path_type=Path), metavar="ARMS.yaml")
@click.option("--allow", multiple=True, metavar="ASPECT", help="As in `compare`; adds to the file's `allow`.")
@click.option("--full", is_flag=True, help="Print every figure: dimensions, languages, sources, all columns.")
@reading_options
@capability_option
@settings_options
@output_options
def command(
    arms_file: Path,
    allow: tuple[str, ...],
    capability: tuple[str, ...],
    full: bool,
    settings: Settings,
    plots: Path | None,
    **files: Path | None,
) -> None:
    """Compare all arms: gains over the base or the mid-trained arm, domain effects, replication, interactions.

    With the roles base and midtrain the report has the retained share. --margin replaces the file's margin. Where the
    arms have a figure on a task, value kept is set against task learned.

    \b
    ARMS.yaml:
      margin: 5
      arms:
        - {name: llama, role: base, run: logs/llama}
        - {name: midtrained, role: midtrain, run: logs/midtrained}
        - {domain: helpfulness, method: SFT, data: dolly-15k, seed: 1, run: logs/sft-dolly}
        - {domain: coding, method: SFT, data: magicoder, seed: 1, run: [logs/a.eval, logs/b.eval]}

    \b
    Optional keys of an arm:
      role: control           mid-trained on a neutral topic: shown, without a gain
      mitigation: replay 10 % compared with the plain arm of the same data
      task_loss, value_loss   held-out losses, nats per token
      probe, probe_margin     share of pairs, and nats per token
    """
    from value_retention.analysis.commands.experiment import compare_file
    from value_retention.analysis.commands.inputs import write_result
    from value_retention.analysis.commands.outputs import check_outputs
    from value_retention.analysis.report.console import print_result

    outputs = as_options(files)
    check_outputs(outputs, [arms_file])
    result = compare_file(arms_file, settings, outputs, allow=allow, capability=capability)
    print_result(result, full=full)
    for line in write_result(result, files, plots):
        click.echo(line)
