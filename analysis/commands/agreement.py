"""``value-retention agreement``: agreement between judges, and scores without each of them."""

from __future__ import annotations

from itertools import groupby, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import click

from value_retention.analysis.commands.options import reading_options

if TYPE_CHECKING:
    from rich.console import Console

    from value_retention.analysis.judges.agreement import Agreement, AgreementReport
    from value_retention.analysis.judges.leave_one_out import JudgeScore, Score
    from value_retention.analysis.stats.inter_rater import Coefficient


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@reading_options
@click.option("--level", default=0.95, show_default=True, help="Confidence level of the intervals.")
@click.option("--resamples", default=10_000, show_default=True, help="Bootstrap resamples of clusters.")
@click.option("--seed", default=0, show_default=True, help="Seed of the resampling.")
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write all results to this JSON file.",
)
def command(runs: tuple[str, ...], level: float, resamples: int, seed: int, json_file: Path | None) -> None:
    """Measure how well judges agree: raw agreement, kappa, AC1 and alpha, with cluster intervals.

    RUN is a run judged by a panel. Several runs must hold the same answers, graded by different judges, or by
    the same judge again (re-judge noise). NAME=RUN names a run.
    """
    from value_retention.analysis.commands.inputs import load_all
    from value_retention.analysis.commands.outputs import check_outputs, run_inputs
    from value_retention.analysis.judges.agreement import judge_agreement
    from value_retention.analysis.report.export import json_text, writing
    from value_retention.analysis.stats.settings import checked_settings

    checked_settings(level, resamples, seed)
    loaded = load_all(runs)
    check_outputs({"--json": json_file}, run_inputs(runs, loaded))
    report = judge_agreement(loaded, resamples=resamples, seed=seed, level=level)
    if json_file is not None:
        with writing(json_file):
            json_file.write_text(json_text(report.to_dict()), encoding="utf-8")
    _show(report)
    if json_file is not None:
        click.echo(f"wrote {json_file}")


def _show(report: AgreementReport) -> None:
    from value_retention.analysis.judges.leave_one_out import short_reason
    from value_retention.analysis.report.console import console, say

    out = console()
    reasons: set[str] = set()
    for (benchmark, raters), rows in groupby(report.agreements, key=lambda r: (r.benchmark, r.raters)):
        _show_agreement(out, benchmark, raters, list(rows), reasons)
    for benchmark, scores in groupby(report.scores, key=lambda s: s.benchmark):
        _show_scores(out, benchmark, list(scores), reasons)
    say(
        out,
        f"{report.settings['level'] * 100:g} % intervals: percentile bootstrap over clusters for agreement "
        f"({report.settings['resamples']} resamples, seed {report.settings['seed']}), "
        "Wilson for scores, cluster t for changes. "
        "Missing: fewer than two of the judges gave a grade. Kappa and alpha fall when nearly all answers pass "
        "or fail, even if the judges err as rarely as before: read them with the pass rate and AC1.",
        "dim",
    )
    for reason in sorted(reasons):
        say(out, f"{short_reason(reason)}: {reason}.", "dim")
    for note in report.notes:
        say(out, note)


def _show_agreement(
    out: Console, benchmark: str, raters: tuple[str, ...], rows: list[Agreement], reasons: set[str]
) -> None:
    from value_retention.analysis.report.cells import number
    from value_retention.analysis.report.console import print_table
    from value_retention.analysis.runs.names import title_of

    pair = len(raters) == 2
    headings = ["Figure", "Clusters", "Grades", "Pass\n%", "Raw agreement\n%"]
    headings += ["Cohen's kappa"] if pair else []
    headings += ["Gwet's AC1", "Krippendorff's\nalpha"]
    headings += ["Pass rate, second\nminus first, points"] if pair else []
    headings += ["Missing"]

    cells = []
    for row in rows:
        rates = ", ".join("n/a" if rate is None else number(rate * 100) for rate in row.pass_rates)
        line = [row.name, str(row.clusters), str(row.compared), rates, cell(row.raw, reasons, 100, 1)]
        line += [cell(row.kappa, reasons)] if pair else []
        line += [cell(row.ac1, reasons), cell(row.alpha, reasons)]
        line += [cell(row.shift, reasons, 100, 1)] if pair else []
        cells.append([*line, str(row.missing)])
    sections = [a.kind != b.kind for a, b in pairwise(rows)]
    title = f"{title_of(benchmark)}: {' and '.join(raters)}"
    print_table(out, title, headings, cells, sections)


def _show_scores(out: Console, benchmark: str, scores: list[JudgeScore], reasons: set[str]) -> None:
    from value_retention.analysis.report.console import print_table
    from value_retention.analysis.runs.names import title_of

    panel = any(score.change is not None for score in scores)
    headings = ["Judges", "Questions of", "Clusters", "Score\n%"]
    headings += ["minus all judges\npoints"] if panel else []
    headings += ["Answers\nunscored"]

    rows = []
    for row in scores:
        line = [row.panel, row.group, str(row.score.clusters), cell(row.score, reasons, 100, 1)]
        line += [cell(row.change, reasons, 100, 1) if row.change else ""] if panel else []
        rows.append([*line, str(row.unscored)])
    sections = [a.panel != b.panel for a, b in pairwise(scores)]
    print_table(out, f"{title_of(benchmark)}: score by judge", headings, rows, sections)


def cell(found: Coefficient | Score, reasons: set[str], scale: float = 1, digits: int = 2) -> str:
    """Return value and interval, or the short form of the reason that one is missing."""
    from value_retention.analysis.judges.leave_one_out import short_reason
    from value_retention.analysis.report.cells import number

    if found.reason is not None:
        reasons.add(found.reason)
    if found.value is None:
        return short_reason(found.reason or "")
    text = number(found.value * scale, digits)
    if found.low is None or found.high is None:
        return f"{text} ({short_reason(found.reason or '')})"
    return f"{text} [{number(found.low * scale, digits)}, {number(found.high * scale, digits)}]"
