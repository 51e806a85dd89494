"""The benchmarks as Inspect tasks: ``inspect eval value_retention/anima_2_2 --model-role grader=...``.

What moves a score is in `value_retention.tasks`; this module hands answers over and shows the scores.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any

from inspect_ai import Epochs, Task, task
from inspect_ai._util.error import PrerequisiteError
from inspect_ai._util.registry import REGISTRY_INFO, RegistryInfo, registry_add, registry_info
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ContentReasoning, GenerateConfig, ModelOutput, model_roles
from inspect_ai.model._generate_config import active_generate_config
from inspect_ai.model._model import active_model
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, metric, scorer
from inspect_ai.solver import Generate, Solver, TaskState, generate, solver, system_message

from value_retention.adapters.judges import lexical
from value_retention.adapters.judges.judging import Options, Tally, judge_answers
from value_retention.adapters.judges.models import Judge, LexicalJudge, ModelJudge, make_judges
from value_retention.adapters.logs.inspect_logs import RECORD
from value_retention.adapters.settings import CHOICES, SAMPLING_ARGS, read_settings
from value_retention.tasks.answers import Answer
from value_retention.tasks.benchmark import ANIMA_2_2, BENCHMARKS, MORU, Benchmark
from value_retention.tasks.errors import InputError
from value_retention.tasks.grading import benchmark_scores, questions_of
from value_retention.tasks.load import Dataset, load
from value_retention.tasks.record import AnswerRecord, RunInfo, caveats
from value_retention.tasks.rubric import ceiling_system_prompt

logger = logging.getLogger(__name__)

INSPECT_VERSION = version("inspect_ai")


@task
def anima_2_2(
    data: str | None = None,
    languages: str | list[str] | None = None,
    judge: str | list[str] | None = None,
    judge_args: dict[str, Any] | str | None = None,
    ceiling: bool = False,
) -> Task:
    """ANIMA 2.2: moral reasoning about animals, graded on 13 dimensions.

    Args:
        data: ``hub`` (default), ``hub:REPO@COMMIT``, ``sample`` (no benchmark) or a folder in the hub's
            layout.
        languages: BCP-47 tags or English names; all by default.
        judge: Instead of ``--model-role grader=``: Inspect model names, ``lexical`` (not an LLM), or
            ``none``.
        judge_args: Settings of the judge (temperature, max_tokens, parse_retries, ...).
        ceiling: Show the model the criteria in a system prompt: the highest score it can reach. No benchmark
            score.
    """
    return _task(ANIMA_2_2, data, languages, judge, judge_args, ceiling)


@task
def moru_multi(
    data: str | None = None,
    languages: str | list[str] | None = None,
    judge: str | list[str] | None = None,
    judge_args: dict[str, Any] | str | None = None,
    ceiling: bool = False,
) -> Task:
    """Multilingual MORU: moral reasoning under uncertainty in English, Malay and Hindi, on 16 dimensions.

    Args:
        data: ``hub`` (default), ``hub:REPO@COMMIT``, ``sample`` (no benchmark) or a folder in the hub's
            layout.
        languages: BCP-47 tags or English names; all by default.
        judge: Instead of ``--model-role grader=``: Inspect model names, ``lexical`` (not an LLM), or
            ``none``.
        judge_args: Settings of the judge (temperature, max_tokens, parse_retries, ...).
        ceiling: Show the model the criteria in a system prompt: the highest score it can reach. No benchmark
            score.
    """
    return _task(MORU, data, languages, judge, judge_args, ceiling)


def _task(
    benchmark: Benchmark,
    data: str | None,
    languages: str | list[str] | None,
    judge: str | list[str] | None,
    judge_args: dict[str, Any] | str | None,
    ceiling: bool,
) -> Task:
    values = {"data": data, "languages": languages, "judge": judge, "judge_args": judge_args}
    try:
        settings = read_settings(values, os.environ)
        dataset = load(benchmark, settings.data, settings.languages)
        # Within an eval the roles are bound by now; a task made in Python may still get them from `eval()`.
        role = model_roles().get("grader")
        if role and judge is None:
            settings = replace(settings, judges=None)  # said for this run; the environment is for all
        elif role:
            raise two_judges()
        if settings.judges is None and active_model() is not None and not role:
            raise no_judge()
    except InputError as error:
        # Inspect shows this type as its message alone.
        raise PrerequisiteError(f"value-retention: {error}") from error
    _read[benchmark.name, settings.data, settings.languages] = dataset
    samples = [
        Sample(
            id=item.id,
            input=item.question,
            target=list(item.dimensions),
            metadata={"language": item.language, "cluster": item.cluster, "source": item.source},
        )
        for item in dataset.items
    ]
    setup = [require_judge(settings.judges is not None)]
    if ceiling:
        setup.append(system_message(_literal(ceiling_system_prompt(dataset))))
    notes = caveats(dataset.info, [LexicalJudge().info] if lexical.NAME in (settings.judges or ()) else [])
    notes += ["ceiling test, no benchmark score"] if ceiling else []
    return Task(
        # Inspect prints the name above the scores.
        dataset=MemoryDataset(
            samples, name=f"{benchmark.name} ({'; '.join(notes)})" if notes else benchmark.name
        ),
        setup=setup,
        solver=generate(),
        # Plain values, which the log keeps: `inspect score` makes the scorer anew from them.
        scorer=judged(
            benchmark.name,
            settings.data,
            None if settings.languages is None else list(settings.languages),
            None if settings.judges is None else list(settings.judges) or ["none"],
            settings.judge_args,
            ceiling,
        ),
        config=GenerateConfig(temperature=benchmark.temperature, max_tokens=benchmark.max_tokens),
        epochs=Epochs(settings.epochs or benchmark.epochs),
        version=int(benchmark.version.split("-")[0]),
        metadata=_task_metadata(dataset, notes),
    )


def _task_metadata(dataset: Dataset, notes: list[str]) -> dict[str, Any]:
    info = dataset.info
    return {
        "benchmark": dataset.benchmark.title,
        "benchmark_version": dataset.benchmark.version,
        "data_source": info.source,
        "data_revision": info.revision,
        "content_hash": info.content_hash,
        "dropped_rows": [f"{row.row}: {row.reason}" for row in info.dropped],
        "notes": notes,
    }


def _literal(text: str) -> str:
    """For `system_message`, which formats its text."""
    return text.replace("{", "{{").replace("}", "}}")


def no_judge() -> InputError:
    """The message when nobody chose a judge."""
    return InputError(
        "no judge is configured, and a model must not judge itself unnoticed",
        where="model role 'grader' (or -T judge=..., or VALUE_RETENTION_JUDGE)",
        expected=f"--model-role grader=PROVIDER/MODEL, or -T {CHOICES}",
    )


def two_judges() -> InputError:
    """The message when a judge was named in two ways."""
    return InputError(
        "a judge is named, and a model has the role 'grader' as well",
        where="judge= and model role 'grader'",
        expected="one of them: -T judge=... (kept in the log), or --model-role grader=...",
    )


@solver
def require_judge(named: bool) -> Solver:
    """Stop before anything is generated when no judge was chosen, or two were: no model judges unnoticed."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        if named == bool(model_roles().get("grader")):
            raise PrerequisiteError(f"value-retention: {two_judges() if named else no_judge()}")
        return state

    return solve


@metric(scores="unreduced")
def scores_by_name() -> Metric:
    """Every figure of the benchmark from the records of all epochs, missing grades left out and counted."""

    def compute(scores: list[SampleScore]) -> dict[str, float]:
        records = [AnswerRecord.from_dict((s.score.metadata or {})[RECORD]) for s in scores]
        if not records:
            return {}
        if records[0].status == "not_judged":
            return {"not_judged": 1.0}
        weighted = records[0].benchmark == ANIMA_2_2.name
        figures = benchmark_scores(questions_of(records), weighted)
        return {name: value for name, value in figures.items() if value is not None}

    return compute


SCORER = "value_retention/judged"
"""The scorer's name in logs. Its package is part of it: by that `inspect score` finds it without a flag."""

_read: dict[tuple[str, str, tuple[str, ...] | None], Dataset] = {}
"""From a task to its scorer, so that rows are read once; taken out there, so that none grow stale."""


@scorer(metrics=[scores_by_name()], name=SCORER)
def judged(
    benchmark: str,
    data: str = "hub",
    languages: list[str] | None = None,
    judge: list[str] | None = None,
    judge_args: dict[str, Any] | None = None,
    ceiling: bool = False,
) -> Scorer:
    """Judge an answer on every dimension of its item.

    The score's value has the same keys for every sample and epoch: ``overall`` and each dimension, None where
    the item does not carry it or no grade could be read. The record is in its metadata.

    Args:
        benchmark: ``anima_2_2`` or ``moru``.
        data: As for the tasks.
        languages: As for the tasks.
        judge: Names; by default the models bound to the role ``grader``.
        judge_args: As for the tasks.
        ceiling: Whether the model was shown the criteria.
    """
    try:
        values = {"data": data, "languages": languages, "judge": judge, "judge_args": judge_args}
        settings = read_settings(values, {})
        dataset = _read.pop((benchmark, settings.data, settings.languages), None) or load(
            BENCHMARKS[benchmark], settings.data, settings.languages
        )
        panel = _Panel(settings.judges, settings.judge_args)
    except InputError as error:
        raise PrerequisiteError(f"value-retention: {error}") from error
    items = {item.id: item for item in dataset.items}

    async def score(state: TaskState, target: Target) -> Score:
        thoughts, written = _written(state.output)
        item = items.get(str(state.sample_id))
        if item is None or item.question != state.input_text:
            raise PrerequisiteError(f"value-retention: {_other_data(state)}")
        answer = Answer.of(item, state.epoch, written, thoughts)
        run = _run_info(state, ceiling)
        options = Options.of(settings.judge_args)
        (record,) = await judge_answers(dataset, [answer], panel.judges(), run, options)
        panel.warn(options.tally)
        value: dict[str, float | None] = {"overall": record.overall}
        value |= {name: record.dimension_scores.get(name) for name in dataset.dimensions}
        return Score(
            value=value,
            answer=record.answer,
            explanation=_explanation(record),
            metadata={RECORD: record.to_dict()},
        )

    return score


# The decorator puts the package before the name once more; logs leave out the first, and look it up as it is above.
_registered = registry_info(judged)
registry_add(judged, RegistryInfo(type="scorer", name=SCORER))
setattr(judged, REGISTRY_INFO, _registered)


def _other_data(state: TaskState) -> InputError:
    return InputError(
        "the log was made with other data than is there now",
        where=f"sample {state.sample_id}",
        found="another question, or none, of that id",
        expected="the data as it was when the model was asked",
    )


class _Panel:
    """The judges of one scorer: those that were named, or those bound to the role ``grader``.

    They last as long as the scorer, so that one that is down is found out once and not again for each answer.

    Raises:
        InputError: a named judge that cannot be used.
    """

    def __init__(self, named: Sequence[str] | None, args: Mapping[str, Any]) -> None:
        self._named, self._args = named, args
        self._bound: list[Any] = []
        self._judges: list[Judge] = [] if named is None else make_judges(named, args)
        self._warned = False

    def judges(self) -> list[Judge]:
        """The panel as it is bound now; the models' own settings and Inspect's limits apply."""
        if self._named is not None:
            if model_roles().get("grader"):
                raise PrerequisiteError(f"value-retention: {two_judges()}")
            return self._judges
        role = model_roles()["grader"]
        bound = role if isinstance(role, list) else [role]
        if [id(model) for model in bound] != [id(model) for model in self._bound]:
            self._bound = bound
            self._judges = [ModelJudge(model, self._args, in_eval=True) for model in bound]
        return self._judges

    def warn(self, tally: Tally) -> None:
        """Say once that grades are missing, and what to do: the eval itself goes on."""
        if tally.errors and not self._warned:
            self._warned = True
            logger.warning(
                "judge calls fail (%s). Answers are kept in the log, missing grades are counted in "
                "missing_grades; ask for those alone with `value-retention judge LOG --fill`.",
                tally.last_error,
            )


def _written(output: ModelOutput) -> tuple[list[str], str]:
    """What Inspect took for thinking, and what the model answered."""
    content = output.message.content if output.choices else ""
    if isinstance(content, str):
        return [], output.completion
    return [c.reasoning for c in content if isinstance(c, ContentReasoning)], output.completion


def _run_info(state: TaskState, ceiling: bool) -> RunInfo:
    model = active_model()
    config = active_generate_config()
    if model is not None:
        config = config.merge(model.config)
    sampling = config.model_dump(include=set(SAMPLING_ARGS), exclude_none=True)
    return RunInfo(
        harness="inspect_ai",
        harness_version=INSPECT_VERSION,
        model=str(state.model),
        model_args={},
        sampling=sampling | ({"ceiling": True} if ceiling else {}),
    )


def _explanation(record: AnswerRecord) -> str:
    """The grades for people, in Markdown."""
    notes = caveats(record.data, record.judges)
    overall = "not scored" if record.overall is None else f"{record.overall:.3f}"
    lines = [f"**Overall: {overall}**" + (f" ({'; '.join(notes)})" if notes else ""), ""]
    for name in record.dimensions:
        score = record.dimension_scores[name]
        lines.append(f"- **{name}**: {'no grade' if score is None else f'{score:.3f}'}")
        for grade in (grade for grade in record.grades if grade.dimension == name):
            variables = ", ".join(f"{k} = {v}" for k, v in grade.variables.items())
            result = f"{grade.grade:g}" if grade.grade is not None else grade.outcome
            lines.append(f"  - {grade.judge}{f' ({variables})' if variables else ''}: {result}")
    if record.grades_missing:
        lines += ["", f"{record.grades_missing} of {record.grades_expected} grades are missing."]
    return "\n".join(lines)


__all__ = ["anima_2_2", "moru_multi"]
