"""Judge saved answers: with another judge, a panel, or only where grades are missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from value_retention.adapters.judges.client import Judge
from value_retention.adapters.judges.journal import CallKey, Reply, digest
from value_retention.adapters.judges.run import Options, judge_batch
from value_retention.adapters.settings import REPEAT, SCORING_ARGS
from value_retention.tasks.answers import Answer
from value_retention.tasks.benchmark import benchmark_of
from value_retention.tasks.data import Dataset, load_for_run
from value_retention.tasks.errors import InputError
from value_retention.tasks.prompts import words_hash
from value_retention.tasks.record import UNKNOWN, AnswerRecord, canonical_json

Panel = tuple[tuple[str, ...], dict[str, Any]]
"""Judge names, and their settings (`judge_args`)."""


def dataset_of(records: Sequence[AnswerRecord], data: str | None) -> Dataset:
    """Load the benchmark data that the answers belong to.

    Args:
        records: Answers to one benchmark.
        data: Where to read it. None for the source that the records name.

    Raises:
        InputError: answers to different data, a missing folder, or data that do not match the answers.
    """
    infos = {record.data.content_hash: record.data for record in records}
    if len(infos) != 1:
        raise InputError(
            "the answers belong to different versions of the data",
            found=", ".join(f"{info.revision} ({info.source})" for info in infos.values()),
            expected="one version",
            hint="judge the runs one by one",
        )
    info = next(iter(infos.values()))
    benchmark = benchmark_of(records[0])
    if records[0].definition is not None and "questions" not in records[0].definition:
        raise InputError(
            "the answers are from a log of another eval, which cannot be judged again here",
            where=benchmark.name,
            hint="score the log again with its own harness: `inspect score`",
        )
    if data is None:
        if info.source == "folder":
            raise InputError(
                "the data came from a folder, and the records do not name it",
                where="--data",
                expected=f"the folder with {benchmark.questions.folder} (content {info.content_hash[:12]})",
            )
        data = info.source if info.source == "sample" else _hub(records[0])
    dataset = load_for_run(benchmark, data)
    if dataset.info.content_hash != info.content_hash:
        raise InputError(
            "the data do not match the answers",
            where=data,
            found=f"content {dataset.info.content_hash[:12]}",
            expected=f"content {info.content_hash[:12]} ({info.source} {info.revision})",
        )
    return dataset


def _hub(record: AnswerRecord) -> str:
    benchmark = benchmark_of(record)
    revision = record.data.revision.partition("+")[0]
    if revision == benchmark.questions.revision:
        return "hub"
    raise InputError(
        "the answers belong to a data revision other than the pinned one",
        where="--data",
        found=f"revision {revision}",
        expected="hub:OWNER/NAME@COMMIT",
    )


def rejudge(
    records: Sequence[AnswerRecord],
    dataset: Dataset,
    judges: Sequence[Judge],
    options: Options,
    fill: bool = False,
) -> list[AnswerRecord]:
    """Judge the answers of records.

    Args:
        records: Answers to one benchmark, in any state.
        dataset: Their benchmark data.
        judges: The panel. With `fill`, the one that the records name.
        options: Journal, budget, progress.
        fill: Keep every whole reply in the records, and make only the calls that failed or whose reply was cut.

    Returns:
        New records in the order of the old ones, with their `RunInfo` and `DataInfo`.

    Raises:
        InputError: `fill` is set, and the judges or their prompts have changed.
    """
    answers = answers_of(records, dataset)
    if fill:
        _refuse_other_judging(records, dataset, judges)
        options = replace(options, known=_replies_in(records, judges, options.repeat), fill=True)
    new = judge_batch(dataset, answers, judges, records[0].run, options)
    return [replace(made, run=old.run, data=old.data) for made, old in zip(new, records, strict=True)]


def _refuse_other_judging(records: Sequence[AnswerRecord], dataset: Dataset, judges: Sequence[Judge]) -> None:
    """Kept replies and new ones share a record: judges and prompts must be the same."""
    first = records[0]
    now: list[tuple[object, object, str]] = [
        (
            [asdict(judge.info) for judge in judges],
            [asdict(judge) for judge in first.judges],
            "the judges or their settings have changed",
        ),
    ]
    if first.rubric_hash != UNKNOWN:
        words = words_hash(dataset.benchmark, dataset.prompt_revision)
        now.append((words, first.rubric_hash, "the judge prompt has changed"))
    for found, expected, what in now:
        if found != expected:
            raise InputError(
                what,
                where=first.benchmark,
                found=canonical_json(found),
                expected=canonical_json(expected),
                hint="judge the answers again: --judge J without --fill",
            )


def answers_of(records: Sequence[AnswerRecord], dataset: Dataset) -> list[Answer]:
    """The answers in records, already separated from their reasoning."""
    items = {item.id: item for item in dataset.items}
    return [
        Answer(
            items[r.item],
            r.epoch,
            r.answer,
            r.reasoning,
            r.checks.truncated if r.checks else None,
            r.thinking,
            r.turns or (),
        )
        for r in records
    ]


def _replies_in(
    records: Sequence[AnswerRecord], judges: Sequence[Judge], repeat: int
) -> dict[CallKey, list[Reply]]:
    """The whole replies that records hold, by call.

    A record holds the last of several attempts. It stands for all of them, so none is repeated.
    """
    settings = {judge.info.name: judge.settings for judge in judges}
    found: dict[CallKey, list[Reply]] = {}
    for record in records:
        for grade in record.grades:
            if grade.is_gap or grade.rationale is None or grade.judge not in settings:
                continue
            key = CallKey(
                benchmark=record.benchmark,
                item=record.item,
                epoch=record.epoch,
                dimension=grade.dimension,
                variables=tuple(grade.variables.items()),
                judge=grade.judge,
                settings=settings[grade.judge],
                prompt_hash=grade.prompt_hash,
                repeat=repeat,
            )
            at = datetime.fromisoformat(grade.at).timestamp() if grade.at else 0.0
            reply = Reply(grade.rationale, stop_reason=grade.stop_reason, served=grade.served, at=at)
            found[key] = [reply] * grade.attempts
    return found


def judging_id(records: Sequence[AnswerRecord], panel: Panel, fill: bool = False) -> str:
    """Hash of the answers and of the panel that grades them, without the judges' transport settings.

    The same command has the same hash, whatever else is on its command line. With `fill`, the grades that are
    missing count too: records with fewer gaps are other work.
    """
    names, args = panel
    answers = sorted([r.benchmark, r.item, r.epoch, r.answer_hash, r.run.model] for r in records)
    scoring = {key: args[key] for key in (*SCORING_ARGS, REPEAT) if key in args}
    gaps = [
        [r.item, r.epoch, g.dimension, g.variables, g.judge]
        for r in records
        for g in r.grades
        if fill and g.is_gap
    ]
    return digest(answers, names, scoring, gaps)


def panel_of(records: Sequence[AnswerRecord]) -> Panel:
    """The panel that judged the records, to fill missing grades.

    Raises:
        InputError: no judge, or different panels.
    """
    panels = {canonical_json([asdict(judge) for judge in r.judges]): r for r in records}
    if len(panels) != 1:
        raise InputError(
            "--fill needs answers that the same panel judged",
            found="; ".join(", ".join(j.name for j in r.judges) or "none" for r in panels.values()),
            expected="one panel",
        )
    record = next(iter(panels.values()))
    if not record.judges:
        raise InputError(
            "--fill needs judged answers",
            found="no judge",
            expected="a judged run",
            hint="use --judge J without --fill",
        )
    settings = {canonical_json(judge.settings): judge.settings for judge in record.judges if judge.is_llm}
    if len(settings) > 1:
        raise InputError(
            "--fill needs judges with the same settings",
            found=", ".join(settings),
            expected="the same settings for each judge",
        )
    return tuple(j.name for j in record.judges), dict(next(iter(settings.values()), {}))
