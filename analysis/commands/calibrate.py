"""``value-retention calibrate``: draw answers for people to label, and compare judges with the labels."""

from __future__ import annotations

from itertools import groupby, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import click

from value_retention.analysis.commands.options import reading_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from value_retention.analysis.judges.calibrate import Calibration, CorrectedScore
    from value_retention.analysis.judges.confusion import Confusion, Rate
    from value_retention.analysis.judges.differences import RunDifference
    from value_retention.analysis.runs.load import Run
    from value_retention.analysis.stats.misclassification import Difference
    from value_retention.tasks.data import Dataset

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("paths", nargs=-1, required=True, metavar="[LABELS.csv] RUN...")
@click.option("--draw", "count", type=int, help="Draw this number of grades and write a template for labels.")
@click.option("-o", "--output", type=_FILE, help="With --draw: template to write.")
@click.option("--seed", default=0, show_default=True, help="With --draw: seed of the draw.")
@click.option(
    "--data",
    help="With --draw: source of the guiding questions: hub, hub:REPO@COMMIT, sample or a folder. Without it they "
    "are empty, except for the bundled sample items.",
)
@click.option("--level", default=0.95, show_default=True, help="Confidence level of the intervals.")
@click.option("--json", "json_file", type=_FILE, help="Write all results to this JSON file.")
@reading_options
def command(
    paths: tuple[str, ...],
    count: int | None,
    output: Path | None,
    seed: int,
    data: str | None,
    level: float,
    json_file: Path | None,
) -> None:
    """Compare judges with labels by people, and correct scores for the errors of the judges.

    \b
    value-retention calibrate --draw 200 RUN... -o labels.csv   draw answers to label
    value-retention calibrate labels.csv RUN...                 use the labels

    LABELS.csv needs the columns item, dimension, label (1 or C for pass, 0 or I for fail), and epoch or
    answer_hash. Optional columns are benchmark, variables (JSON), annotator and weight.
    """
    from value_retention.analysis.commands.inputs import load_all
    from value_retention.analysis.commands.outputs import check_outputs, run_inputs
    from value_retention.analysis.stats.settings import checked_settings
    from value_retention.tasks.errors import InputError

    checked_settings(level=level, seed=seed)
    if count is not None:
        if output is None:
            raise InputError("--draw needs a file to write", expected="-o labels.csv")
        _refuse_given("not an option of --draw", ("json_file", "--json"), ("level", "--level"))
        runs = load_all(paths)
        check_outputs({"-o": output}, run_inputs(paths, runs))
        _draw(runs, count, seed, data, output)
        return
    _refuse_given("the option needs --draw", ("output", "-o"), ("data", "--data"), ("seed", "--seed"))
    if len(paths) < 2:
        raise InputError(
            "calibration needs labels and a run",
            found=paths[0],
            expected="LABELS.csv RUN..., or --draw 200 RUN... -o labels.csv",
        )
    runs = load_all(paths[1:])
    check_outputs({"--json": json_file}, [paths[0], *run_inputs(paths[1:], runs)])
    _calibrate(Path(paths[0]), runs, level, json_file)


def _refuse_given(what: str, *options: tuple[str, str]) -> None:
    """Refuse options that would be ignored, given as (parameter, option)."""
    from click.core import ParameterSource

    from value_retention.tasks.errors import InputError

    context = click.get_current_context()
    given = [o for name, o in options if context.get_parameter_source(name) is not ParameterSource.DEFAULT]
    if given:
        raise InputError(what, found=", ".join(given))


def _draw(runs: Sequence[Run], count: int, seed: int, data: str | None, output: Path) -> None:
    from value_retention.analysis.judges.draw import check_content, draw, write_template

    datasets = _datasets(runs, data)
    check_content(runs, datasets, "--data")
    found = draw(runs, count, seed)
    write_template(output, found.drawn, datasets)
    click.echo(
        f"Drew {len(found.drawn)} of {found.population} grades from {found.strata} strata (dimension, English or "
        f"not, pass or fail) with seed {seed}; wrote {output}."
    )
    if found.ungraded:
        click.echo(f"Not drawn because they have no grade: {found.ungraded}.")
    if lacking := {benchmark for run in runs for benchmark in run.benchmarks()} - set(datasets):
        click.echo(
            f"The guiding questions of {', '.join(sorted(lacking))} are missing; add them with --data."
        )
    click.echo(
        "Fill the column label with 1 (pass) or 0 (fail). The column weight comes from the draw and can give the "
        "judge's grade away: hide it from the people who label, but keep it in the file."
    )


def _datasets(runs: Sequence[Run], data: str | None) -> dict[str, Dataset]:
    from value_retention.tasks.benchmark import benchmark_of
    from value_retention.tasks.data import load

    sources = {record.benchmark: record for run in runs for record in run.records}
    found = {}
    for name, record in sources.items():
        source = record.data
        place = data or ("sample" if (source.source, source.revision) == ("sample", "sample") else None)
        if place is not None:
            found[name] = load(benchmark_of(record), place)
    return found


def _calibrate(path: Path, runs: Sequence[Run], level: float, json_file: Path | None) -> None:
    from value_retention.analysis.judges.calibrate import calibrate
    from value_retention.analysis.judges.labels import read_labels
    from value_retention.analysis.judges.matching import match_labels
    from value_retention.analysis.report.export import json_text, writing

    rows, blank = read_labels(path)
    result = calibrate(match_labels(rows, blank, runs, path), runs, level)
    if json_file is not None:
        with writing(json_file):
            json_file.write_text(json_text(result.to_dict() | {"level": level}), encoding="utf-8")
    _show(result, level)
    if json_file is not None:
        click.echo(f"wrote {json_file}")


def _show(result: Calibration, level: float) -> None:
    from value_retention.analysis.report.console import console, say
    from value_retention.analysis.runs.names import title_of

    out = console()
    for (judge, benchmark), rows in groupby(result.confusions, key=lambda c: (c.judge, c.benchmark)):
        _show_confusions(out, f"{title_of(benchmark)}: {judge} against people", list(rows))
    _show_scores(out, result.scores)
    _show_differences(out, result.differences)
    if result.people:
        listed = [f"{name} {value:.2f}" for name, value in result.people.items() if value is not None][2:]
        say(
            out,
            f"People: {result.people['annotators']:.0f} annotators, {result.people['compared']:.0f} grades "
            f"labelled by several: {', '.join(listed)}.",
        )
    say(
        out,
        f"{level * 100:g} % intervals over clusters: Wilson on the effective number of labels for rates; Rogan and "
        "Gladen with the interval of Lang and Reiczigel for corrected scores. A score is corrected with the rates "
        "of its group, on the assumption that the judge errs equally on all its dimensions.",
        "dim",
    )
    for note in result.notes:
        say(out, note)


def _show_confusions(out: Console, title: str, rows: list[Confusion]) -> None:
    from value_retention.analysis.report.cells import interval, number
    from value_retention.analysis.report.console import print_table

    headings = ["Labels on", "pass,\njudged pass", "pass,\njudged fail", "fail,\njudged pass"]
    headings += ["fail,\njudged fail", "Sensitivity\n%", "Clusters\npass", "Specificity\n%", "Clusters\nfail"]
    headings += ["No\ngrade"]

    def rate(found: Rate) -> str:
        if found.value is None or found.low is None or found.high is None:
            return "no label"
        return f"{number(found.value * 100)} {interval(found.low * 100, found.high * 100)}"

    cells = [
        [
            row.name,
            *(str(n) for n in (row.pass_pass, row.pass_fail, row.fail_pass, row.fail_fail)),
            rate(row.sensitivity),
            str(row.sensitivity.clusters),
            rate(row.specificity),
            str(row.specificity.clusters),
            str(row.missing),
        ]
        for row in rows
    ]
    sections = [a.kind != b.kind for a, b in pairwise(rows)]
    print_table(out, title, headings, cells, sections)


def _show_scores(out: Console, scores: Sequence[CorrectedScore]) -> None:
    from value_retention.analysis.commands.agreement import cell
    from value_retention.analysis.judges.leave_one_out import short_reason
    from value_retention.analysis.report.cells import interval, number
    from value_retention.analysis.report.console import print_table, say
    from value_retention.analysis.runs.names import title_of

    cells = []
    reasons: set[str] = set()
    for row in scores:
        corrected = "refused"
        if row.corrected is not None:
            ends = interval(row.corrected.low * 100, row.corrected.high * 100)
            marks = ("*" if row.clipped else "") + ("" if row.own_rates else "+")
            corrected = f"{number(row.corrected.value * 100)}{marks} {ends}"
        labelled = ", ".join(map(str, row.label_clusters or ())) or "none"
        title = title_of(row.benchmark)
        clusters = str(row.score.clusters)
        score = cell(row.score, reasons, 100, 1)
        cells.append([row.run, title, row.judge, row.name, clusters, score, corrected, labelled])
    headings = ["Run", "Benchmark", "Judge", "Questions", "Clusters", "Score by judge\n%", "Corrected\n%"]
    headings += ["Clusters of labels\npass, fail"]
    print_table(out, "Scores, corrected for the judge's errors", headings, cells)
    for reason in sorted(reasons):
        say(out, f"{short_reason(reason)}: {reason}.", "dim")
    if any(row.corrected is not None and not row.own_rates for row in scores):
        say(
            out,
            "+ too few labels on this run: corrected with the judge's error rates on all runs. Do not subtract "
            "such scores: the judge may err differently on each run.",
        )
    for row in scores:
        where = f"{row.run}, {title_of(row.benchmark)}, {row.judge}, {row.name}"
        if row.refused is not None:
            say(out, f"{where}: {row.refused}.")
        elif row.clipped and row.corrected is not None:
            say(
                out,
                f"* {where}: the estimate is {number(row.corrected.unclipped * 100)} %, outside 0 to 100. "
                "The labels do not fit this score: there are too few, or the judge errs differently here.",
            )


def _show_differences(out: Console, rows: Sequence[RunDifference]) -> None:
    from value_retention.analysis.commands.agreement import cell
    from value_retention.analysis.report.cells import interval, number, p_text
    from value_retention.analysis.report.console import print_table, say
    from value_retention.analysis.runs.names import title_of

    if not rows:
        return

    def points(found: Difference | None, missing: str) -> str:
        if found is None:
            return missing
        return f"{number(found.value * 100, sign=True)} {interval(found.low * 100, found.high * 100)}"

    cells = [
        [
            f"{row.run} less {row.baseline}",
            title_of(row.benchmark),
            row.judge,
            row.name,
            points(row.sensitivity, "no label"),
            points(row.specificity, "no label"),
            "" if row.errors_p is None else p_text(row.errors_p),
            cell(row.shown, set(), 100, 1),
            points(row.corrected, "refused"),
        ]
        for row in rows
    ]
    headings = ["Runs", "Benchmark", "Judge", "Questions", "Sensitivity\npoints", "Specificity\npoints"]
    headings += ["p, equal\nerrors", "Score by judge\npoints", "Corrected\npoints"]
    print_table(out, "Differences, each run corrected with the judge's errors on it", headings, cells)
    for row in rows:
        where = f"{row.run} less {row.baseline}, {title_of(row.benchmark)}, {row.judge}, {row.name}"
        if row.refused is not None:
            say(out, f"{where}: {row.refused}.")
        if row.errors_p is not None and row.errors_p < 0.05:
            say(out, f"{where}: the judge errs differently on the two runs. Report the corrected difference.")
