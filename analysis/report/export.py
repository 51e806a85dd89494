"""A comparison as JSON values, as a pandas table and as LaTeX."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from value_retention.analysis.effects.caveats import extent
from value_retention.analysis.effects.compare import Comparison
from value_retention.analysis.effects.result import Effect
from value_retention.analysis.report.cells import TITLES, effect_columns
from value_retention.analysis.runs.align import Panel
from value_retention.tasks.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = "value-retention/compare/1"


def comparison_dict(comparison: Comparison) -> dict[str, Any]:
    """The comparison as JSON values; see `Effect`, `Score` and `Contrast` for the fields.

    Scores are in percent and differences in points, per question too. A missing value is null, and its
    row's ``reasons`` says why.
    """
    return {
        "schema": SCHEMA,
        "units": {"scores": "per cent", "differences": "percentage points"},
        "headline": list(comparison.headline),
        "notes": list(comparison.notes),
        "settings": asdict(comparison.settings),
        "runs": [
            {
                "run": run.run,
                "benchmark": run.benchmark,
                "files": list(run.files),
                "data_source": run.identity.data_source,
                "is_benchmark": run.identity.is_benchmark,
                "questions_answered": len(run.questions),
                "questions_in_data": run.identity.total,
                **dict(run.identity.aspects),
                "also": dict(run.identity.noted),
            }
            for run in comparison.runs
        ],
        "scores": [asdict(score) for score in comparison.scores],
        "effects": [asdict(effect) for effect in comparison.effects],
        "contrasts": [asdict(contrast) for contrast in comparison.contrasts],
        "questions": [row for panel in comparison.panels for row in question_rows(panel)],
        "judges": [
            {"run": run.run, "benchmark": run.benchmark, **asdict(count)}
            for run in comparison.runs
            for count in run.judges
        ],
        "agreement": [{"run": run, **asdict(row)} for run, row in comparison.agreements],
    }


def write_files(
    comparison: Comparison,
    json_file: Path | None = None,
    csv: Path | None = None,
    parquet: Path | None = None,
    tex_file: Path | None = None,
) -> list[str]:
    """Write what was asked for; one line per file written."""
    files = [path for path in (json_file, csv, parquet, tex_file) if path is not None]
    for path in files:
        with writing(path):
            if path == json_file:
                path.write_text(json_text(comparison_dict(comparison)), encoding="utf-8")
            elif path == csv:
                effects_frame(comparison).to_csv(path, index=False)
            elif path == parquet:
                effects_frame(comparison).to_parquet(path, index=False)
            else:
                path.write_text(latex(comparison), encoding="utf-8")
    return [f"wrote {path}" for path in files]


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Make a file's folder; a place that cannot be written is the user's to hear of, not a traceback."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise InputError("a file that cannot be written", where=str(path), found=str(error)) from error


def json_text(value: object) -> str:
    """A JSON file's text; NaN is an error, never written."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def question_rows(panel: Panel) -> list[dict[str, Any]]:
    """Each question with its overall score per run, percent; None where the run has no score for it."""
    return [
        {
            "benchmark": panel.benchmark,
            "item": question.item,
            "cluster": question.cluster,
            "language": question.language,
            "source": question.source,
            "scores": {
                run: None if np.isnan(panel.score[r, n, 0]) else float(panel.score[r, n, 0]) * 100
                for r, run in enumerate(panel.runs)
            },
            "answers": {run: int(panel.answers[r, n]) for r, run in enumerate(panel.runs)},
        }
        for n, question in enumerate(panel.questions)
    ]


def effects_frame(comparison: Comparison) -> pd.DataFrame:
    """A row per figure and pair, with the margin, level, resamples and seed that it was computed with.

    ``reasons`` says in words why a value of the row is missing; ``label`` repeats what must be read first, so
    that no row is quoted without it.
    """
    import pandas as pd

    rows = [
        {
            **asdict(effect),
            "reasons": "; ".join(f"{key}: {reason}" for key, reason in effect.reasons.items()),
            **asdict(comparison.settings),
            "label": " ".join(comparison.headline),
        }
        for effect in comparison.effects
    ]
    return pd.DataFrame(rows)


def pairs_of(effects: Iterable[Effect]) -> list[tuple[tuple[str, str, str], list[Effect]]]:
    """Effects grouped by (benchmark, baseline, run), in their order."""
    grouped = groupby(effects, key=lambda e: (e.benchmark, e.baseline, e.run))
    return [(key, list(members)) for key, members in grouped]


_ESCAPES = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "−": "$-$", "±": r"$\pm$", "<": "$<$", ">": "$>$",
}  # fmt: skip


def tex(text: str) -> str:
    """Text with LaTeX's special characters escaped."""
    return "".join(_ESCAPES.get(character, character) for character in text)


def tex_row(cells: Iterable[str]) -> str:
    """A row of a table. LaTeX would take a bracket at its start for an argument of the row before."""
    row = " & ".join(map(tex, cells))
    return ("{}" if row.startswith("[") else "") + row + r" \\"


def latex(comparison: Comparison) -> str:
    """One booktabs table per benchmark and pair; needs ``\\usepackage{booktabs}``."""
    parts = [f"% {line}" for line in comparison.headline]
    panels = {panel.benchmark: panel for panel in comparison.panels}
    for (benchmark, baseline, run), effects in pairs_of(comparison.effects):
        columns = [
            column for column in effect_columns(baseline, run, comparison.settings) if not column.detail
        ]
        caption = [
            *comparison.headline,
            f"{TITLES.get(benchmark, benchmark)}: {run} against {baseline}, "
            f"{extent(panels[benchmark], (baseline, run))}. Scores in per cent, differences in percentage points, "
            f"{comparison.settings.level * 100:g} % intervals over clusters; "
            "Holm: corrected p of the sign-flip test.",
            comparison.notes[0],
        ]
        parts += [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{tex(' '.join(caption))}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(columns) - 1)}}}",
            r"\toprule",
            tex_row(column.title.replace("\n", " ") for column in columns),
            r"\midrule",
            *(tex_row(column.cell(effect) for column in columns) for effect in effects),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    return "\n".join(parts) + "\n"
