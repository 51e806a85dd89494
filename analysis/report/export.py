"""A result as files: JSON, CSV, parquet and LaTeX."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from value_retention.analysis.effects.provenance import judged_line
from value_retention.analysis.effects.result import Result
from value_retention.analysis.report.cells import UNADJUSTED, effect_columns, score_rows
from value_retention.analysis.report.tables import effect_tables
from value_retention.tasks.errors import InputError
from value_retention.tasks.text import printable


def write_files(result: Result, files: Mapping[str, Path | None]) -> list[str]:
    """Write the files that were asked for.

    Args:
        result: A comparison of runs or arms.
        files: Path by kind: ``json``, ``csv``, ``parquet``, ``latex``.

    Returns:
        One line per file written.
    """
    writers: dict[str, Callable[[Path], Any]] = {
        "json": lambda path: path.write_text(json_text(result.to_dict()), encoding="utf-8"),
        "csv": lambda path: result.to_frame().to_csv(path, index=False),
        "parquet": lambda path: result.to_frame().to_parquet(path, index=False),
        "latex": lambda path: path.write_text(latex(result), encoding="utf-8"),
    }
    written = []
    for kind, path in files.items():
        if path is not None:
            with writing(path):
                writers[kind](path)
            written.append(f"wrote {path}")
    return written


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Make a file's folder, and turn a failure to write into an `InputError`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise InputError("the file cannot be written", where=str(path), found=str(error)) from error


def json_text(value: object) -> str:
    """A JSON file's text; NaN is an error, never written."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=1) + "\n"


_ESCAPES = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "†": r"\dag{}", "−": "$-$", "±": r"$\pm$", "<": "$<$", ">": "$>$",
}  # fmt: skip


def tex(text: str) -> str:
    """Text with LaTeX's special characters escaped, and control characters spelled out."""
    return "".join(_ESCAPES.get(character, character) for character in printable(text))


def tex_row(cells: Iterable[str]) -> str:
    """A row of a table. LaTeX would take a bracket at its start for an argument of the row before."""
    row = " & ".join(map(tex, cells))
    return ("{}" if row.startswith("[") else "") + row + r" \\"


def latex(result: Result) -> str:
    """Tables of scores and effects with booktabs; needs ``\\usepackage{booktabs}``."""
    parts = [f"% {printable(line)}" for line in result.headline]
    level = f"{result.settings.level * 100:g} %"
    for panel in result.panels:
        judged = judged_line(result.judged, panel.benchmark)
        how = f"Scores in per cent with {level} intervals over clusters (n)."
        parts += _table(result, [judged, how], *score_rows(result, panel.benchmark))
    for title, effects in effect_tables(result):
        columns = [column for column in effect_columns(result, effects) if not column.detail]
        runs = {run for effect in effects for run in effect.weights}
        how = (
            f"Scores in per cent, differences in percentage points, {level} intervals over clusters. Primary and "
            f"secondary figures: adjusted intervals and p. Exploratory figures: intervals that are not adjusted "
            f"({UNADJUSTED}) and Benjamini-Hochberg q."
        )
        rows = [[column.cell(effect) for column in columns] for effect in effects]
        judged = judged_line(result.judged, effects[0].benchmark, runs)
        parts += _table(result, [f"{title}.", judged, how], [column.title for column in columns], rows)
    return "\n".join(parts) + "\n"


def _table(
    result: Result, caption: Sequence[str], headings: Sequence[str], rows: Sequence[Sequence[str]]
) -> list[str]:
    return [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{tex(' '.join([*result.headline, *caption, *result.notes]))}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(headings) - 1)}}}",
        r"\toprule",
        tex_row(heading.replace("\n", " ") for heading in headings),
        r"\midrule",
        *map(tex_row, rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
        "",
    ]
