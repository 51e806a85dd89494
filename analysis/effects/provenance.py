"""Who answered, who judged, and on which data. Every output of a result says so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from value_retention.analysis.effects.rows import Effect
from value_retention.analysis.runs.names import title_of
from value_retention.analysis.runs.scores import RunScores
from value_retention.tasks.record import DroppedRow

NAMED = 8
"""Runs that a line names before it only counts them."""
LISTED = 2
"""Answers left out that a line names before it only counts them."""


@dataclass(frozen=True)
class Judged:
    """Provenance of one run's answers to one benchmark.

    Attributes:
        benchmark: Its name.
        run: Name of the run.
        model: The model that answered.
        judges: Name of each judge, and whether it is an LLM.
        data_source: ``hub``, ``folder`` or ``sample``.
        data_revision: Revision of the data.
        is_benchmark: False for sample items.
        published: Whether the rows are known to be the published ones.
        left_out: Answers without a record, and why.
        questions: Questions answered.
        questions_in_data: Questions of the benchmark; None where unknown.
        epochs: Answers per question.
        identity: Which model answered, as the records tell; empty if they do not.
        resumed: How old the answers of an interrupted run are, if the model's identity is uncertain; else empty.
    """

    benchmark: str
    run: str
    model: str
    judges: dict[str, bool]
    data_source: str
    data_revision: str
    is_benchmark: bool
    published: bool
    left_out: tuple[DroppedRow, ...]
    questions: int
    questions_in_data: int | None
    epochs: str
    identity: str
    resumed: str

    @property
    def judge(self) -> str:
        """The judges in words, with what is not an LLM."""
        named = (name + ("" if is_llm else " (not an LLM)") for name, is_llm in self.judges.items())
        return " + ".join(named) or "none"

    @property
    def is_part(self) -> bool:
        """Whether some of the benchmark's questions were not answered."""
        return self.questions_in_data is not None and self.questions < self.questions_in_data

    @property
    def asked(self) -> str:
        """Questions, out of those of the benchmark: ``30 of 115``."""
        return f"{self.questions} of {self.questions_in_data}" if self.is_part else str(self.questions)

    @property
    def data(self) -> str:
        """The data in a word or two."""
        if self.data_source == "sample":
            return "sample items"
        commits = (part.strip()[:19] for part in self.data_revision.split("+"))
        return f"{self.data_source}, revision {'+'.join(commits)}"


def judged_of(runs: Sequence[RunScores]) -> tuple[Judged, ...]:
    """The provenance of each run and benchmark."""
    return tuple(
        Judged(
            benchmark=run.benchmark,
            run=run.run,
            model=run.identity.model,
            judges=dict(run.identity.judges),
            data_source=run.identity.data_source,
            data_revision=run.identity.revision,
            is_benchmark=run.identity.is_benchmark,
            published=run.identity.published,
            left_out=run.identity.left_out,
            questions=len(run.questions),
            questions_in_data=run.identity.total,
            epochs=run.identity.aspects["epochs"],
            identity=run.identity.fingerprint,
            resumed=run.identity.resumed,
        )
        for run in runs
    )


def warnings_of(judged: Sequence[Judged]) -> list[str]:
    """First lines of every output: data that are not the benchmark's, judges that are not LLMs, resumed runs."""
    found = []
    samples = [row.run for row in judged if not row.is_benchmark]
    if samples:
        found.append(f"NOT A BENCHMARK RESULT: sample items in {_runs(samples, judged)}.")
    parts = {row.run: f"{title_of(row.benchmark)}: {row.asked} questions" for row in judged if row.is_part}
    if parts:
        found.append(
            f"PART OF THE QUESTIONS, their mean is not the benchmark's score: {each(parts, list(parts))}."
        )
    unchecked = [row.run for row in judged if row.is_benchmark and not row.published]
    if unchecked:
        found.append(f"ROWS NOT CHECKED against the published ones in {_runs(unchecked, judged)}.")
    left_out = {f"{row.run}, {title_of(row.benchmark)}": row.left_out for row in judged if row.left_out}
    if left_out:
        found.append(
            "ANSWERS LEFT OUT: " + "; ".join(f"{at}: {_first(rows)}" for at, rows in left_out.items()) + "."
        )
    no_llm = [(row.run, name) for row in judged for name, is_llm in row.judges.items() if not is_llm]
    if no_llm:
        names = ", ".join(dict.fromkeys(name for _, name in no_llm))
        runs = _runs([run for run, _ in no_llm], judged)
        found.append(f"NOT JUDGED BY AN LLM: the grades in {runs} come from {names}.")
    resumed = {row.run: row.resumed for row in judged if row.resumed}
    if resumed:
        found.append(
            f"RESUMED: {_runs(list(resumed), judged)} hold answers of an interrupted run, perhaps of another model "
            f"under the same name: {each(resumed)}."
        )
    return found


def judged_line(judged: Sequence[Judged], benchmark: str, runs: Iterable[str] | None = None) -> str:
    """Judge, data, questions, epochs and models of the runs of a benchmark, in one line.

    Args:
        judged: All rows of a result.
        benchmark: The benchmark.
        runs: Names of the runs; None for all.
    """
    wanted = None if runs is None else set(runs)
    rows = [row for row in judged if row.benchmark == benchmark and (wanted is None or row.run in wanted)]

    def per_run(name: str) -> str:
        return each({row.run: str(getattr(row, name)) for row in rows})

    models = {row.run: row.model for row in rows}
    shown = each(models) if len(models) <= NAMED else f"{len(models)} runs"
    return (
        f"{title_of(benchmark)}: judge {per_run('judge')}; data {per_run('data')}; "
        f"questions {per_run('questions')}; epochs {per_run('epochs')}; model {shown}."
    )


def provenance(effect: Effect, judged: Sequence[Judged]) -> dict[str, Any]:
    """Columns of an effect's row: judge, judge_is_llm, model of each side, data, epochs."""
    rows = {row.run: row for row in judged if row.benchmark == effect.benchmark and row.run in effect.weights}

    def joined(name: str, side: Iterable[str] = rows) -> str:
        return " | ".join(dict.fromkeys(filter(None, (str(getattr(rows[run], name)) for run in side))))

    return {
        "judge": joined("judge"),
        "judge_is_llm": all(is_llm for row in rows.values() for is_llm in row.judges.values()),
        "model_baseline": joined("model", (run for run, w in effect.weights.items() if w < 0)),
        "model_run": joined("model", (run for run, w in effect.weights.items() if w > 0)),
        "data": joined("data"),
        "epochs": joined("epochs"),
        "resumed": joined("resumed"),
    }


def _first(rows: Sequence[DroppedRow]) -> str:
    """How many answers, and the first of them with the reason."""
    named = "; ".join(f"sample {row.row} ({row.reason})" for row in rows[:LISTED])
    more = f" and {len(rows) - LISTED} more" if len(rows) > LISTED else ""
    return f"{len(rows)} answer{'s' * (len(rows) > 1)}: {named}{more}"


def each(values: Mapping[str, str], runs: Sequence[str] = ()) -> str:
    """One value if all runs share it, otherwise each value with its runs.

    Args:
        values: Value by run.
        runs: Runs to name even if all share the value.
    """
    groups: dict[str, list[str]] = {}
    for run, value in values.items():
        groups.setdefault(value, []).append(run)
    if len(groups) <= 1 and not runs:
        return "".join(groups)
    return ", ".join(f"{value} ({', '.join(runs)})" for value, runs in groups.items())


def _runs(chosen: Sequence[str], judged: Sequence[Judged]) -> str:
    names = list(dict.fromkeys(chosen))
    if set(names) == {row.run for row in judged}:
        return "every run"
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
