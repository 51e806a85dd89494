"""Records as one table with a row per grade, and tables of scores: `value-retention table`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from value_retention.analysis.effects.caveats import extent_of
from value_retention.analysis.effects.estimate import run_scores
from value_retention.analysis.effects.provenance import judged_of, warnings_of
from value_retention.analysis.report.cells import interval, number, or_reason
from value_retention.analysis.runs.align import ENGLISH, OTHER, OVERALL, align, metrics_of
from value_retention.analysis.runs.load import Run
from value_retention.analysis.runs.scores import RunScores, reduce_run
from value_retention.analysis.stats.settings import Settings
from value_retention.tasks.benchmark import benchmark_of
from value_retention.tasks.errors import InputError
from value_retention.tasks.record import AnswerRecord, canonical_json
from value_retention.tasks.scores import benchmark_scores, questions_of

if TYPE_CHECKING:
    import pandas as pd

    from value_retention.analysis.effects.rows import Score

HEADINGS = ["metric", "score, %", "questions", "clusters", "95 % interval"]
"""Headings of the tables of scores."""

COLUMNS = {
    "run": "str",
    "file": "str",
    "benchmark": "str",
    "benchmark_version": "str",
    "is_benchmark": "bool",
    "data_source": "str",
    "data_revision": "str",
    "content_hash": "str",
    "dropped": "str",
    "item": "str",
    "cluster": "str",
    "language": "str",
    "language_raw": "str",
    "source": "str",
    "translation": "str",
    "epoch": "int64",
    "answer_hash": "str",
    "status": "str",
    "parser": "str",
    "dimension": "str",
    "weight": "float64",
    "variables": "str",
    "judge": "str",
    "judge_settings": "str",
    "outcome": "str",
    "grade": "float64",
    "attempts": "int64",
    "prompt_hash": "str",
    "harness": "str",
    "harness_version": "str",
    "model": "str",
    "model_args": "str",
    "sampling": "str",
    "identity": "str",
    "resumed": "str",
}
"""Columns and their pandas types. ``grade`` is 1, 0 or missing; ``outcome`` says why it is missing:
``unparsed``, ``cut``, ``judge_error`` or ``not_judged``. JSON columns (dropped, variables, settings, arguments) have
sorted keys."""


def grades_table(runs: Sequence[Run]) -> pd.DataFrame:
    """Return one row per grade; an unjudged answer has one row per dimension."""
    import pandas as pd

    rows: dict[str, list[Any]] = {column: [] for column in COLUMNS}
    for run in runs:
        files = ", ".join(run.files)
        for record in (*run.records, *run.ceiling):
            for row in _rows(record):
                for column, value in row.items():
                    rows[column].append(value)
                rows["run"].append(run.name)
                rows["file"].append(files)
    return pd.DataFrame(rows).astype(COLUMNS)


def _rows(record: AnswerRecord) -> Iterator[dict[str, Any]]:
    settings = {judge.name: canonical_json(judge.settings) for judge in record.judges}
    answer = {
        "benchmark": record.benchmark,
        "benchmark_version": record.benchmark_version,
        "is_benchmark": record.data.is_benchmark,
        "data_source": record.data.source,
        "data_revision": record.data.revision,
        "content_hash": record.data.content_hash,
        "dropped": canonical_json({row.row: row.reason for row in record.data.dropped}),
        "item": record.item,
        "cluster": record.cluster,
        "language": record.language,
        "language_raw": record.language_raw,
        "source": record.source,
        "translation": record.translation,
        "epoch": record.epoch,
        "answer_hash": record.answer_hash,
        "status": record.status,
        "parser": record.parser,
        "harness": record.run.harness,
        "harness_version": record.run.harness_version,
        "model": record.run.model,
        "model_args": canonical_json(record.run.model_args),
        "sampling": canonical_json(record.run.sampling),
        "identity": record.run.identity,
        "resumed": record.run.resumed or "",
    }
    for grade in record.grades:
        yield answer | {
            "dimension": grade.dimension,
            "weight": record.weights[grade.dimension],
            "variables": canonical_json(grade.variables),
            "judge": grade.judge,
            "judge_settings": settings.get(grade.judge),
            "outcome": grade.outcome,
            "grade": grade.grade,
            "attempts": grade.attempts,
            "prompt_hash": grade.prompt_hash,
        }
    if not record.grades:
        for name in record.dimensions:
            yield answer | {
                "dimension": name,
                "weight": record.weights[name],
                "variables": "{}",
                "judge": None,
                "judge_settings": None,
                "outcome": "not_judged",
                "grade": None,
                "attempts": 0,
                "prompt_hash": None,
            }


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write parquet or CSV, by the file's ending.

    Raises:
        InputError: an unsupported ending, or a file that cannot be written.
    """
    writers = {
        ".parquet": lambda: table.to_parquet(path, index=False),
        ".csv": lambda: table.to_csv(path, index=False),
    }
    if path.suffix not in writers:
        raise InputError(
            "unsupported table format",
            where=str(path),
            found=path.suffix or "no ending",
            expected=".parquet or .csv",
        )
    try:
        writers[path.suffix]()
    except OSError as error:
        raise InputError("the file cannot be written", where=str(path), found=str(error)) from error


def score_tables(
    runs: Sequence[Run], kept: list[RunScores] | None = None
) -> tuple[list[str], list[tuple[str, list[list[str]]]]]:
    """Warnings for the head, and a title and rows (see `HEADINGS`) for each run and benchmark.

    Args:
        runs: The runs.
        kept: Receives the reduced runs.

    Raises:
        InputError: an answer that occurs twice.
    """
    reduced = [
        (run, part)
        for whole in runs
        for run in whole.parts()
        for part in reduce_run(run.name, run.files, run.records)
    ]
    judged = judged_of([part for _, part in reduced])
    tables = []
    for (run, part), who in zip(reduced, judged, strict=True):
        records = [record for record in run.records if record.benchmark == part.benchmark]
        scores: dict[str, Score] = {}
        if any(record.overall is not None for record in records):
            panel = align([part])
            scores = {s.metric: s for s in run_scores(panel, metrics_of(panel), Settings())}
        asked = extent_of([q.language for q in part.questions], part.identity.total)
        title = (
            f"{run.name}: {part.benchmark}, {asked}, {len(records)} answers, judge {who.judge}, data {who.data}, "
            f"model {who.model}"
        )
        metrics = benchmark_scores(questions_of(records), benchmark_of(records[0]).weighted)
        tables.append((title, [_score_row(name, value, scores, records) for name, value in metrics.items()]))
    if kept is not None:
        kept += [part for _, part in reduced]
    return warnings_of(judged), tables


def _score_row(
    metric: str, value: float | None, scores: dict[str, Score], records: Sequence[AnswerRecord]
) -> list[str]:
    shown = "nothing to score" if value is None else number(value * 100)
    if metric == "unscored":
        return [metric, shown, "", "", f"share of {len(records)} answers"]
    if metric == "missing_grades":
        return [metric, shown, "", "", f"share of {sum(r.grades_expected for r in records)} grades"]
    # Where all questions are English, or none is, that group is the whole.
    score = scores.get(metric) or (scores.get(OVERALL) if metric in (ENGLISH, OTHER) else None)
    if score is None or value is None:
        return [metric, shown, "", "", ""]
    cell = or_reason(interval(score.low, score.high), score.reasons, "interval")
    return [metric, shown, str(score.questions), str(score.clusters), cell]
