"""The figures of a report, section by section. A further section is one function in `TABLES`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby

from value_retention.analysis.effects.margins import margin_p, smallest_margin
from value_retention.analysis.effects.result import Result
from value_retention.analysis.effects.rows import Effect
from value_retention.analysis.judges.leave_one_out import Score
from value_retention.analysis.report.capability import capability_tables
from value_retention.analysis.report.ceilings import ceiling_tables
from value_retention.analysis.report.cells import (
    CONTRAST_TITLES,
    SHARE_TITLES,
    UNADJUSTED,
    contrast_cells,
    effect_columns,
    interval,
    interval_text,
    number,
    p_text,
    score_rows,
    share_cells,
    worst_text,
)
from value_retention.analysis.report.guards import guard_tables
from value_retention.analysis.report.plane import plane_tables, probe_tables
from value_retention.analysis.report.tables import Table, effect_tables
from value_retention.analysis.report.trajectory import trajectory_tables
from value_retention.analysis.runs.names import title_of
from value_retention.analysis.stats.inter_rater import Coefficient

MARGINS = (1, 2, 3, 5, 7.5, 10)
"""Margins of the table, points."""


def tables(result: Result) -> Iterator[tuple[str, Table]]:
    """Every table with the key of its section."""
    for key, section in TABLES.items():
        for table in section(result):
            yield key, table


def score_tables(result: Result) -> Iterator[Table]:
    """Scores of each run, per benchmark."""
    for panel in result.panels:
        yield Table(f"{title_of(panel.benchmark)}: scores, %", *score_rows(result, panel.benchmark))


def share_tables(result: Result) -> Iterator[Table]:
    """Retained shares, where the run before is known."""
    if result.shares:
        title = f"Retained share of the gain over {result.shares[0].before}"
        yield Table(title, list(SHARE_TITLES), [share_cells(share) for share in result.shares])


def comparison_tables(result: Result) -> Iterator[Table]:
    """Every figure of every comparison."""
    for title, effects in effect_tables(result):
        columns = effect_columns(result, effects)
        rows = [[column.cell(effect) for column in columns] for effect in effects]
        yield Table(title, [column.title for column in columns], rows)


def contrast_tables(result: Result) -> Iterator[Table]:
    """English against the other languages."""
    if result.contrasts:
        title = "Exploratory: effect on non-English questions less effect on English ones"
        yield Table(title, CONTRAST_TITLES, [contrast_cells(contrast) for contrast in result.contrasts])


def margin_tables(result: Result) -> Iterator[Table]:
    """Per benchmark and comparison, the smallest margin at which it is retained, and what can be detected."""
    settings = result.settings
    for benchmark, effects in primary(result):
        rows = [
            [
                effect.statement,
                f"{number(effect.difference, sign=True)} {interval_text(effect)}",
                number(smallest_margin(effect)) or "–",
                *(p_text(margin_p(effect, margin, settings)) or "–" for margin in MARGINS),
                number(effect.detectable) or "–",
            ]
            for effect in effects
        ]
        headings = ["Comparison", "Difference\npoints", "Retained from\na margin of",
                    *(f"p at\n{margin:g}" for margin in MARGINS), "Detectable\n80 % power"]  # fmt: skip
        yield Table(
            f"{title_of(benchmark)}: verdict by margin",
            headings,
            rows,
            f"One-sided p of a loss of the margin or more, adjusted like the interval beside it; retained where it is "
            f"below {number((1 - settings.level) / 2, 3)}. Choose the margin before you look. Detectable: true "
            "difference, points, that these questions show with a power of 80 % at 5 %, unadjusted.",
        )


def missing_tables(result: Result) -> Iterator[Table]:
    """Per benchmark with missing grades, the bounds of each difference over all that the grades could be."""
    for benchmark, effects in primary(result):
        if any(effect.grades_missing for effect in effects):
            yield Table(
                f"{title_of(benchmark)}: missing grades",
                ["Comparison", "Missing", "Difference\npoints", "Worst-case bounds\nof the difference"],
                [
                    [
                        effect.statement,
                        f"{effect.grades_missing} of {effect.grades}",
                        f"{number(effect.difference, sign=True)} {interval_text(effect)}",
                        worst_text(effect),
                    ]
                    for effect in effects
                ],
                "Bounds: the difference if every missing grade were the worst, or the best, for the candidate.",
            )


def language_tables(result: Result) -> Iterator[Table]:
    """Each comparison with each language left out."""
    rows = result.without_language()
    for (benchmark, statement), members in groupby(rows, lambda row: (row.benchmark, row.statement)):
        yield Table(
            f"{title_of(benchmark)}, {statement}: leave one language out",
            ["Left out", "Questions", "Clusters", f"Difference{UNADJUSTED}\npoints"],
            [
                [
                    row.language,
                    str(row.questions),
                    str(row.clusters),
                    f"{number(row.difference, sign=True)} {interval(row.t_low, row.t_high)}".strip(),
                ]
                for row in members
            ],
            folded=True,
        )


def judge_tables(result: Result) -> Iterator[Table]:
    """Replies of each judge on each dimension, and scores by part of a panel."""
    for panel in result.panels:
        totals: dict[tuple[str, str, str], list[float]] = {}
        for run in result.runs:
            for count in run.judges if run.benchmark == panel.benchmark else ():
                entry = totals.setdefault((run.run, count.judge, count.dimension), [0.0] * 5)
                values = (count.graded, count.passed, count.unparsed, count.cut, count.judge_error)
                for k, value in enumerate(values):
                    entry[k] += value
        yield Table(
            f"{title_of(panel.benchmark)}: replies of the judges",
            ["Run", "Judge", "Dimension", "Grades", "Pass\n%", "Not readable", "Cut", "No reply"],
            [
                [*key, f"{graded:g}", number(100 * passed / graded) if graded else "–", *(f"{n:g}" for n in missing)]
                for key, (graded, passed, *missing) in totals.items()
            ],
            folded=True,
        )  # fmt: skip
        parts = [(run, row) for run, row in result.judge_scores if row.benchmark == panel.benchmark]
        if parts:
            yield Table(
                f"{title_of(panel.benchmark)}: scores by part of the panel, %",
                ["Run", "Judges", "Questions of", "Clusters", f"Score{UNADJUSTED}"],
                [
                    [run, row.panel, row.group, str(row.score.clusters), _percent(row.score)]
                    for run, row in parts
                ],
                "A score that changes when one judge is left out depends on that judge.",
            )


def agreement_tables(result: Result) -> Iterator[Table]:
    """Agreement of the judges of a panel."""
    for (run, benchmark, raters), members in groupby(
        result.agreements, lambda pair: (pair[0], pair[1].benchmark, pair[1].raters)
    ):
        yield Table(
            f"{title_of(benchmark)}, {run}: agreement of {' and '.join(raters)}",
            ["Figure", "Grades", "Pass\n%", "Raw\n%", "Cohen's kappa", "Gwet's AC1", "Krippendorff's\nalpha"],
            [
                [
                    row.name,
                    str(row.compared),
                    number(None if row.prevalence is None else row.prevalence * 100) or "–",
                    _percent(row.raw),
                    *(_percent(found, 1, 2) for found in (row.kappa, row.ac1, row.alpha)),
                ]
                for _, row in members
            ],
            folded=True,
        )


def primary(result: Result) -> Iterator[tuple[str, list[Effect]]]:
    """The primary effects of each benchmark."""
    for panel in result.panels:
        found = [e for e in result.effects if e.benchmark == panel.benchmark and e.tier == "primary"]
        if found:
            yield panel.benchmark, found


def _percent(found: Coefficient | Score, scale: float = 100, digits: int = 1) -> str:
    """A share or coefficient with its interval."""
    if found.value is None:
        return "–"
    text = number(found.value * scale, digits)
    if found.low is None or found.high is None:
        return text
    return f"{text} [{number(found.low * scale, digits)}, {number(found.high * scale, digits)}]"


TABLES: dict[str, Callable[[Result], Iterable[Table]]] = {
    "trajectory": trajectory_tables,
    "scores": score_tables,
    "shares": share_tables,
    "plane": plane_tables,
    "probe": probe_tables,
    "comparisons": comparison_tables,
    "capability": capability_tables,
    "contrasts": contrast_tables,
    "margins": margin_tables,
    "ceilings": ceiling_tables,
    "guards": guard_tables,
    "missing": missing_tables,
    "without-language": language_tables,
    "judges": judge_tables,
    "agreement": agreement_tables,
}
"""Key to the tables of a section. The keys are anchors of the page; a plot names the section with its figures."""

STUDY = ("plane", "probe")
"""Sections of an experiment of several arms that the terminal always prints."""

ADDED = ("trajectory", "capability", "margins", "ceilings", "guards")
"""Sections that the terminal prints in full below the figures that it lays out itself."""
