"""``value-retention probe``: pairs of judged answers of two runs, for a probe that needs no judge."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from value_retention.analysis.commands.options import Amount, reading_options


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("runs", nargs=2, metavar="RUN RUN")
@click.option(
    "-o", "--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="Pairs to write."
)
@click.option(
    "--ratio", type=Amount(1, 10), default=1.25, show_default=True, help="Largest ratio of the two lengths."
)
@click.option(
    "--keep",
    multiple=True,
    type=click.Choice(["truncated", "repetitive", "refusing", "other language"]),
    help="Use answers with this mark too. Repeat for several.",
)
@click.option(
    "--allow",
    multiple=True,
    metavar="ASPECT",
    help="A difference between the runs to allow, as in `compare`.",
)
@reading_options
def command(
    runs: tuple[str, str], output: Path, ratio: float, keep: tuple[str, ...], allow: tuple[str, ...]
) -> None:
    """Make pairs of answers for a probe: how far does a checkpoint prefer what the first RUN used to say?

    The first RUN is of the model with the value (mid-trained, say), the second of the model without it (its base),
    both judged. A pair holds two answers to one question: one of the first run with a higher grade, and one of the
    second. Lengths agree: a longer answer of the second run is cut.

    \b
    value-retention probe midtrain=runs/midtrain base=runs/base -o pairs.jsonl
    python -m value_retention.train.probe --pairs pairs.jsonl -o probe.json CHECKPOINT...
    lm_eval --tasks value_pairs --metadata '{"pairs": "pairs.jsonl"}' --apply_chat_template ...

    The probe is not the benchmark: it measures the likelihood of given answers, not what a model answers. Never train
    on the pairs: a model trained on them would pass. They hold the benchmark's questions: do not publish them.
    """
    from value_retention.analysis.commands.inputs import check_written, load_all
    from value_retention.analysis.report.export import writing
    from value_retention.analysis.runs.pairs import Options, make_pairs
    from value_retention.tasks.errors import InputError
    from value_retention.tasks.pairs import pairs_text
    from value_retention.tasks.text import printable

    check_written({"-o": output}, runs, ())
    read = load_all(runs)
    if len(read) != 2:
        raise InputError(
            "probe needs two runs", found=", ".join(run.name for run in read),
            expected="the run with the value, then the run without it",
            hint="choose a judge with --judge NAME, or name the files one by one",
        )  # fmt: skip
    check_written({"-o": output}, runs, read)
    first, second = read
    made = make_pairs(first, second, Options(ratio, keep, allow))
    reasons = [f"{count} questions: {reason}" for reason, count in made.without.items()]
    reasons += [f"{count} pairs: {reason}" for reason, count in made.dropped.items()]
    if not made.pairs:
        raise InputError(
            "no pairs", where=f"{first.name}, {second.name}", found="; ".join(reasons),
            hint="change --ratio or --keep, or answer each question in more epochs",
        )  # fmt: skip
    with writing(output):
        output.write_text(pairs_text(made.pairs), encoding="utf-8")
    languages = Counter(pair.language for pair in made.pairs).most_common()
    clusters = len({pair.cluster for pair in made.pairs})
    lines = [
        *made.notes,
        f"chosen: {first.name}; rejected: {second.name}; judge {', '.join(made.pairs[0].judges)}",
        f"{len(made.pairs)} pairs of {made.questions} questions, in {clusters} clusters: "
        + ", ".join(f"{tag} {count}" for tag, count in languages),
        *(f"  dropped {reason}" for reason in reasons),
        *([] if made.pairs[0].is_benchmark else ["sample items, not a benchmark"]),
        f"wrote {output}: for the probe alone, never for training",
    ]
    for line in lines:
        click.echo(printable(line))
