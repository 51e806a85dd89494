"""``value-retention export``: a run in the formats of other projects."""

from __future__ import annotations

from pathlib import Path

import click

FORMATS = ("every-eval-ever", "hub")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option(
    "--format", "form", required=True, type=click.Choice(FORMATS), help="Schema of the files to write."
)
@click.option(
    "-o", "--output", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder."
)
@click.option(
    "--model-id", metavar="NAME", help="Public name of the model, DEVELOPER/MODEL. [every-eval-ever]"
)
@click.option(
    "--organization",
    default="unknown",
    show_default=True,
    help="Organization that ran the evaluation. [every-eval-ever]",
)
@click.option(
    "--relationship",
    type=click.Choice(["first_party", "third_party", "collaborative", "other"]),
    default="other",
    show_default=True,
    help="Its relation to the model's developer. [every-eval-ever]",
)
@click.option(
    "--texts",
    is_flag=True,
    help="Include questions and answers. The benchmarks are gated: do not publish them. [every-eval-ever]",
)
def command(
    runs: tuple[str, ...],
    form: str,
    output: Path,
    model_id: str | None,
    organization: str,
    relationship: str,
    texts: bool,
) -> None:
    """Write runs in the schema of Every Eval Ever (0.3.0), or as .eval_results for a model page on the Hub.

    RUN is as in `value-retention table`. The Hub's format takes one run, and refuses scores that are not results of
    the benchmark.
    """
    from value_retention.analysis.commands.inputs import load_all
    from value_retention.analysis.exchange.parts import parts_of

    parts = parts_of(load_all(runs))
    if form == "hub":
        from value_retention.analysis.exchange.hub import write_hub

        written = write_hub(parts, output)
    else:
        from value_retention.analysis.exchange.every_eval_ever import write_every_eval_ever

        written = write_every_eval_ever(
            parts,
            output,
            model_id=model_id,
            organization=organization,
            relationship=relationship,
            texts=texts,
        )
    for path in written:
        click.echo(f"wrote {path}")
