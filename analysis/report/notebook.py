"""`load_runs` and `compare` as a notebook calls them: runs and results that show themselves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from value_retention.analysis.effects.compare import compare_pairs
from value_retention.analysis.effects.result import Result
from value_retention.analysis.report.cells import MAIN, effect_columns, sentence
from value_retention.analysis.report.console import print_result
from value_retention.analysis.report.grades import HEADINGS, grades_table, score_tables
from value_retention.analysis.report.screen import print_first_screen
from value_retention.analysis.report.tables import by_comparison, effect_tables
from value_retention.analysis.runs import load
from value_retention.analysis.runs.load import Run
from value_retention.analysis.runs.scores import reduce_run
from value_retention.analysis.stats.settings import Questions, checked_settings
from value_retention.tasks.errors import InputError
from value_retention.tasks.text import printable

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


class ShownRun(Run):
    """A `Run` that can be shown."""

    def to_frame(self) -> pd.DataFrame:
        """The grades as a pandas table, a row per grade: columns of `grades.COLUMNS`, as `table -o` writes them."""
        return grades_table([self])

    def _repr_html_(self) -> str:
        """Scores in a notebook, below the warnings."""
        warnings, tables = score_tables([self])
        return _warnings(warnings) + "".join(_table(title, HEADINGS, rows) for title, rows in tables)


def load_runs(paths: Sequence[str | Path]) -> list[ShownRun]:
    """Read runs from files and folders of either harness; see `runs.load.load_runs`.

    Args:
        paths: Folders and files; ``NAME=PATH`` names a run.

    Raises:
        InputError: nothing to read, a file that cannot be read, or two runs of one name.
    """
    return [ShownRun(run.name, run.files, run.records) for run in load.load_runs(paths)]


@dataclass(frozen=True, eq=False)
class Plot:
    """A figure that a notebook shows without pyplot.

    Attributes:
        figure: The matplotlib figure.
    """

    figure: Figure

    def _repr_svg_(self) -> str:
        """The figure in a notebook."""
        content = BytesIO()
        self.figure.savefig(content, format="svg", metadata={"Date": None})
        return content.getvalue().decode()


@dataclass(frozen=True, eq=False)
class Report(Result):
    """A `Result` that can be shown."""

    def __repr__(self) -> str:
        """The verdicts; without a margin, the differences."""
        primary = [e for e in self.effects if e.tier == "primary"]
        return "\n".join([*self.headline, *(sentence(e, self) for e in primary)])

    def print(self, full: bool = False) -> None:
        """Print one screen, as the command does, or with ``full`` every figure and column."""
        if full:
            print_result(self, full=True)
        else:
            print_first_screen(self)

    def plot(self, benchmark: str | None = None, run: str | None = None) -> Plot:
        """The differences of one comparison with their intervals, against 0 and the margin.

        Args:
            benchmark: ``anima_2_2`` or ``moru``; None for the first.
            run: Name of the run that is compared with the baseline; None for the first.

        Raises:
            InputError: no such comparison.
        """
        from matplotlib import rc_context

        from value_retention.analysis.report.plots.comparison import forest

        chosen = [e for e in self.effects if benchmark in (None, e.benchmark) and run in (None, e.run)]
        if not chosen:
            pairs = dict.fromkeys((e.benchmark, e.run) for e in self.effects)
            raise InputError(
                "no such comparison", found=f"benchmark {benchmark}, run {run}",
                expected=" or ".join(f"benchmark {b}, run {r}" for b, r in pairs),
            )  # fmt: skip
        first = [e for e in chosen if e.benchmark == chosen[0].benchmark]
        with rc_context({"text.parse_math": False}):
            return Plot(forest(self, by_comparison(first)[0][1]))

    def _repr_html_(self) -> str:
        """Warnings, verdicts and main figures in a notebook."""
        primary = [e for e in self.effects if e.tier == "primary"]
        parts = [_warnings(self.headline), *(f"<p>{_text(sentence(e, self))}</p>" for e in primary)]
        for title, effects in effect_tables(self):
            main = [e for e in effects if e.kind in MAIN]
            columns = [column for column in effect_columns(self, main) if not column.detail]
            rows = [[column.cell(e) for column in columns] for e in main]
            parts.append(_table(title, [column.title for column in columns], rows))
        return "".join(parts)


def _text(text: str) -> str:
    return escape(printable(text))


def _warnings(lines: Sequence[str]) -> str:
    return "".join(f'<p style="color: #b00020"><strong>{_text(line)}</strong></p>' for line in lines)


def _table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{_text(heading)}</th>" for heading in headings)
    body = "".join("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return (
        f"<table><caption>{_text(title)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def compare(
    runs: Iterable[Run],
    *,
    baseline: str | None = None,
    before: str | None = None,
    margin: float | None = None,
    questions: Questions = "new",
    allow: Sequence[str] = (),
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Report:
    """Compare runs pairwise on every figure of every benchmark they share.

    Args:
        runs: Two or more, from `load_runs`. They are reduced one by one, so an iterator keeps one in memory.
        baseline: Name of the run to compare the others with; without it, every pair.
        before: Name of the run before the value was trained in; with a baseline, gives the retained share.
        margin: Largest loss, in points, that counts as none; without it, no verdicts.
        questions: What the verdicts speak about: ``new`` questions like these, or these (``fixed``).
        allow: Aspects in which the runs may differ, such as ``judge`` (keys of `identity.ASPECTS`).
        level: Confidence level of all intervals.
        resamples: Bootstrap resamples.
        seed: Their seed.

    Raises:
        InputError: runs that are not comparable, nothing to compare, or a setting out of range.
    """
    settings = checked_settings(level, resamples, seed, margin, questions)
    reduced = [
        part
        for run in runs
        for part in reduce_run(
            run.name, [str(file) for file in run.files], run.records, getattr(run, "ceiling", ())
        )
    ]
    return Report(**vars(compare_pairs(reduced, settings, baseline=baseline, before=before, allow=allow)))
