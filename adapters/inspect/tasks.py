"""The benchmarks as Inspect tasks: ``inspect eval value_retention/anima_2_2 --model-role grader=...``.

In a clone, ``inspect eval adapters/inspect/tasks.py@anima_2_2`` runs the same task. Everything that can move a score
is in `value_retention.tasks`. This module passes answers on and shows the scores.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from inspect_ai import Epochs, Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import (
    ChatMessageUser,
    ContentReasoning,
    GenerateConfig,
    ModelOutput,
    get_model,
    model_roles,
)
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, metric, scorer
from inspect_ai.solver import Generate, Solver, TaskState, generate, solver, system_message

from value_retention.adapters.identity import model_identity
from value_retention.adapters.judges.client import Judge, make_judges
from value_retention.adapters.judges.journal import Journal, open_journal
from value_retention.adapters.judges.run import Options, Tally, judge_answers, nothing_readable
from value_retention.adapters.private import in_inspect_eval, inspect_sampling
from value_retention.adapters.readers.log_state import was_truncated
from value_retention.adapters.readers.own import CRITERIA, RECORD
from value_retention.adapters.settings import CHOICES, SAMPLING_ARGS, public_args, read_settings
from value_retention.adapters.thinking import read_thinking
from value_retention.tasks.answers import Answer
from value_retention.tasks.benchmark import benchmark_of, find_benchmark
from value_retention.tasks.data import Dataset, Item, load_for_run
from value_retention.tasks.errors import InputError, show_input_errors_plainly
from value_retention.tasks.prompts import CEILING_NOTE, ceiling_system_prompt, criterion_texts, literal
from value_retention.tasks.reasoning import Pairs, split
from value_retention.tasks.record import AnswerRecord, RunInfo, caveats
from value_retention.tasks.scores import benchmark_scores, metric_error, questions_of
from value_retention.tasks.text import clean_logger, printable

logger = clean_logger(__name__)

INSPECT_VERSION = version("inspect_ai")


@task
def anima_2_2(
    data: str | None = None,
    languages: str | list[str] | None = None,
    judge: str | list[str] | None = None,
    judge_args: dict[str, Any] | str | None = None,
    reasoning_markers: list[list[str]] | str | None = None,
    ceiling: bool = False,
) -> Task:
    """ANIMA 2.2: moral reasoning about animals, graded on 13 dimensions.

    Args:
        data: ``hub`` (default), ``hub:REPO@COMMIT``, ``sample`` (not a benchmark) or a folder in the hub's
            layout.
        languages: BCP-47 tags or English names. Default: all.
        judge: Instead of ``--model-role grader=``: Inspect model names, ``lexical`` (not an LLM), or
            ``none``.
        judge_args: Settings of the judge (temperature, max_tokens, parse_retries, ...).
        reasoning_markers: Pairs of texts that start and end reasoning, beside those that are known.
        ceiling: Show the model the criteria in a system prompt, for the highest score it can reach. Not a
            benchmark score.
    """
    return _task("anima_2_2", data, languages, judge, judge_args, reasoning_markers, ceiling)


@task
def moru_multi(
    data: str | None = None,
    languages: str | list[str] | None = None,
    judge: str | list[str] | None = None,
    judge_args: dict[str, Any] | str | None = None,
    reasoning_markers: list[list[str]] | str | None = None,
    ceiling: bool = False,
) -> Task:
    """Multilingual MORU: moral reasoning under uncertainty in English, Malay and Hindi, on 16 dimensions.

    Args:
        data: ``hub`` (default), ``hub:REPO@COMMIT``, ``sample`` (not a benchmark) or a folder in the hub's
            layout.
        languages: BCP-47 tags or English names. Default: all.
        judge: Instead of ``--model-role grader=``: Inspect model names, ``lexical`` (not an LLM), or
            ``none``.
        judge_args: Settings of the judge (temperature, max_tokens, parse_retries, ...).
        reasoning_markers: Pairs of texts that start and end reasoning, beside those that are known.
        ceiling: Show the model the criteria in a system prompt, for the highest score it can reach. Not a
            benchmark score.
    """
    return _task("moru_multi", data, languages, judge, judge_args, reasoning_markers, ceiling)


@task
def benchmark(
    path: str,
    data: str | None = None,
    languages: str | list[str] | None = None,
    judge: str | list[str] | None = None,
    judge_args: dict[str, Any] | str | None = None,
    reasoning_markers: list[list[str]] | str | None = None,
    ceiling: bool = False,
) -> Task:
    """A benchmark of your own, from its ``benchmark.yaml``.

    Args:
        path: The file, or its folder.
        data: Default: the tables that the file names.
        languages: As for `anima_2_2`.
        judge: As for `anima_2_2`.
        judge_args: As for `anima_2_2`.
        reasoning_markers: As for `anima_2_2`.
        ceiling: As for `anima_2_2`.
    """
    return _task(
        str(Path(path).expanduser().resolve()), data, languages, judge, judge_args, reasoning_markers, ceiling
    )


def _task(
    name: str,
    data: str | None,
    languages: str | list[str] | None,
    judge: str | list[str] | None,
    judge_args: dict[str, Any] | str | None,
    reasoning_markers: list[list[str]] | str | None,
    ceiling: bool,
) -> Task:
    show_input_errors_plainly()
    values = {"data": data, "languages": languages, "judge": judge, "judge_args": judge_args}
    settings = read_settings(values | {"reasoning_markers": reasoning_markers}, os.environ)
    benchmark = find_benchmark(name, "-T path")
    dataset = load_for_run(benchmark, settings.data, settings.languages)
    # Inside an eval the roles are bound by now. A task made in Python may still get them from `eval()`.
    role = model_roles().get("grader")
    if role and judge is None:
        # The role is of this run, the environment variable of all runs.
        settings = settings.model_copy(update={"judges": None})
    elif role:
        raise two_judges()
    if settings.judges is None and not role and in_inspect_eval():
        raise no_judge()
    _read[name, settings.data, settings.languages] = dataset
    samples = [
        Sample(
            id=item.id,
            input=item.question,
            target=list(item.dimensions),
            metadata={"language": item.language, "cluster": item.cluster, "source": item.source}
            | ({"turns": list(item.turns)} if item.turns else {}),
        )
        for item in dataset.items
    ]
    markers = [list(pair) for pair in settings.reasoning_markers]
    setup = [require_judge(settings.judges is not None)]
    if ceiling:
        # `system_message` formats its text.
        setup.append(system_message(literal(ceiling_system_prompt(dataset))))
    judges = make_judges(settings.judges or (), settings.judge_args)
    notes = caveats(dataset.info, [judge.info for judge in judges], len(dataset))
    notes += [CEILING_NOTE] if ceiling else []
    return Task(
        name=benchmark.task_name if benchmark.definition else None,
        # Inspect prints the name above the scores.
        dataset=MemoryDataset(
            samples, name=f"{benchmark.name} ({'; '.join(notes)})" if notes else benchmark.name
        ),
        setup=setup,
        solver=conversation(markers) if any(item.turns for item in dataset.items) else generate(),
        # Plain values. The log keeps them, and `inspect score` makes the scorer from them.
        scorer=judged(
            name,
            settings.data,
            None if settings.languages is None else list(settings.languages),
            None if settings.judges is None else list(settings.judges) or ["none"],
            settings.judge_args,
            ceiling,
            markers,
        ),
        config=GenerateConfig(
            temperature=benchmark.sampling.temperature, max_tokens=benchmark.sampling.max_tokens
        ),
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
        CRITERIA: criterion_texts(dataset, dataset.items),
    }


def no_judge() -> InputError:
    """The error when no judge was chosen."""
    return InputError(
        "no judge is configured, and a model must not judge itself unnoticed",
        where="model role 'grader' (or -T judge=..., or VALUE_RETENTION_JUDGE)",
        expected=f"--model-role grader=PROVIDER/MODEL, or -T {CHOICES}",
    )


def two_judges() -> InputError:
    """The error when the judge was chosen in two ways."""
    return InputError(
        "the judge is set twice",
        where="-T judge and --model-role grader",
        expected="one of them: -T judge=... (kept in the log), or --model-role grader=...",
    )


@solver
def require_judge(named: bool) -> Solver:
    """Stop before the first answer if no judge was chosen, or two were. No model judges itself unnoticed."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        if named == bool(model_roles().get("grader")):
            raise two_judges() if named else no_judge()
        return state

    return solve


@solver
def conversation(reasoning_markers: list[list[str]] | None = None) -> Solver:
    """Ask the question, then say the user's further turns, each after the model's answer."""
    markers = read_settings({"reasoning_markers": reasoning_markers}, {}).reasoning_markers

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        state = await generate(state)
        for text in state.metadata.get("turns", ()):
            if state.completed:
                break
            # The model does not get its reasoning back, as in lm-eval and as the judge sees the conversation.
            thoughts, written = _written(state.output)
            thinking, truncated = _sampling().get("thinking"), was_truncated(state.output)
            state.messages[-1].content = split(written, thoughts, thinking, truncated, markers)[0]
            state.messages.append(ChatMessageUser(content=text))
            state = await generate(state)
        return state

    return solve


@metric(scores="unreduced")
def scores_by_name() -> Metric:
    """Every figure of the benchmark, from the records of all epochs. Missing grades are left out and counted."""

    def compute(scores: list[SampleScore]) -> dict[str, float]:
        records = [AnswerRecord.from_dict((s.score.metadata or {})[RECORD]) for s in scores]
        if not records:
            return {}
        if records[0].status == "not_judged":
            return {"not_judged": 1.0}
        ceiling = " (ceiling test)" if records[0].run.sampling.get("ceiling") else ""
        said = nothing_readable(records) or _all_failed(records)
        _unread[records[0].benchmark + ceiling, records[0].run.model] = said
        weighted = benchmark_of(records[0]).weighted
        questions = questions_of(records)
        overall, clusters = [q.overall for q in questions], [q.cluster for q in questions]
        figures = {
            "overall_mean": None,  # first, with its error
            "stderr": metric_error("overall_mean", overall, clusters, {}),
            **benchmark_scores(questions, weighted),
        }
        return {name: value for name, value in figures.items() if value is not None}

    return compute


_unread: dict[tuple[str, str], str | None] = {}
"""Why no grade of each task and model was readable. Metrics are computed more than once: the last counts."""


def _all_failed(records: Sequence[AnswerRecord]) -> str | None:
    """What to say of an eval in which every judge call failed. None for any other."""
    grades = [grade for record in records for grade in record.grades]
    if not grades or any(grade.outcome != "judge_error" for grade in grades):
        return None
    why = f"all {len(grades)} judge calls failed ({grades[-1].error})"
    return f"no grade: {why}. To repeat them: `value-retention judge LOG --fill`"


@atexit.register
def _say_unread() -> None:
    """Say at the end of the command where no grade was readable.

    A scorer cannot set the exit status. A metric that raised would not either, and the log would lose its figures.
    """
    for (benchmark, model), message in _unread.items():
        if message:
            print(printable(f"value-retention: {benchmark}, {model}: {message}."), file=sys.stderr)


_read: dict[tuple[str, str, tuple[str, ...] | None], Dataset] = {}
"""From a task to its scorer, so that rows are read once. The scorer removes its entry, so that none gets stale."""


@scorer(metrics=[scores_by_name()])
def judged(
    benchmark: str,
    data: str = "hub",
    languages: list[str] | None = None,
    judge: list[str] | None = None,
    judge_args: dict[str, Any] | None = None,
    ceiling: bool = False,
    reasoning_markers: list[list[str]] | None = None,
) -> Scorer:
    """Judge an answer on every dimension of its item.

    The score's value has the same keys for every sample and epoch: ``overall`` and each dimension. It is None if
    the item lacks the dimension or no grade could be read. The metadata holds the record.

    Args:
        benchmark: Name of a benchmark or task of this package, or the path of a definition.
        data: As for the tasks.
        languages: As for the tasks.
        judge: Names. By default, the models with the role ``grader``.
        judge_args: As for the tasks.
        ceiling: Whether the model was shown the criteria.
        reasoning_markers: As for the tasks.
    """
    show_input_errors_plainly()
    values = {"data": data, "languages": languages, "judge": judge, "judge_args": judge_args}
    settings = read_settings(values | {"reasoning_markers": reasoning_markers}, {})
    dataset = _read.pop((benchmark, settings.data, settings.languages), None) or load_for_run(
        find_benchmark(benchmark, "scorer"), settings.data, settings.languages
    )
    panel = _Panel(settings.judges, settings.judge_args)
    items = {item.id: item for item in dataset.items}

    async def score(state: TaskState, target: Target) -> Score:
        thoughts, written = _written(state.output)
        item = items.get(str(state.sample_id))
        if item is None or item.question != state.input_text:
            raise _other_data(state)
        turns, truncated = _turns(state, item), was_truncated(state.output)
        run = _run_info(state, ceiling, settings.reasoning_markers)
        thinking = True if _reasoned(state.output) else run.sampling.get("thinking")
        markers = settings.reasoning_markers
        answer = Answer.of(item, state.epoch, written, thoughts, truncated, turns, thinking, markers)
        options = Options.of(settings.judge_args, journal=panel.journal)
        (record,) = await judge_answers(dataset, [answer], panel.judges(), run, options)
        panel.warn(options.tally)
        value: dict[str, float | None] = {"overall": record.overall}
        value |= {name: record.dimension_scores.get(name) for name in dataset.dimensions}
        return Score(
            value=value,
            answer=record.answer,
            explanation=printable(_explanation(record)),
            metadata={RECORD: replace(record, criteria=None).to_dict()},
        )

    return score


# Inspect registers a package's function as `value_retention/judged` but logs it as `judged`, a name that `inspect
# score` then cannot find. For a partial it knows no package, so this registers the name that logs hold.
scorer(metrics=[scores_by_name()], name="judged")(partial(judged))


def _other_data(state: TaskState) -> InputError:
    return InputError(
        "the data has changed since the log was made",
        where=f"sample {state.sample_id}",
        found="a different question, or none, with this id",
        expected="the data that the model was asked",
    )


class _Panel:
    """The judges of one scorer: those that were named, or those with the role ``grader``.

    They live as long as the scorer, so that an outage is detected once and not for each answer.

    Raises:
        InputError: invalid judge.
    """

    def __init__(self, named: Sequence[str] | None, args: Mapping[str, Any]) -> None:
        self._named, self._args = named, args
        self._bound: list[Any] = []
        self._judges: list[Judge] = [] if named is None else make_judges(named, args)
        self._warned: set[str] = set()

    @cached_property
    def journal(self) -> Journal:
        """Where replies are kept, and found by the next run that makes the same call."""
        return open_journal()

    def judges(self) -> list[Judge]:
        """The current panel. The models' settings and Inspect's limits apply."""
        if self._named is not None:
            if model_roles().get("grader"):
                raise two_judges()
            return self._judges
        role = model_roles()["grader"]
        bound = role if isinstance(role, list) else [role]
        if [id(model) for model in bound] != [id(model) for model in self._bound]:
            self._bound = bound
            self._judges = [Judge(m.api, m.config, self._args, str(m), m) for m in bound]
        return self._judges

    def warn(self, tally: Tally) -> None:
        """Warn once for each reason that grades are missing. The eval goes on."""
        for what, reason in (
            ("judge calls fail", tally.last_error),
            ("the token limit cuts judge replies", tally.last_cut),
        ):
            if reason is not None and what not in self._warned:
                self._warned.add(what)
                logger.warning(
                    "%s (%s). The log keeps the answers and counts the missing grades in missing_grades. "
                    "To ask for the missing grades only: `value-retention judge LOG --fill`.",
                    what,
                    reason,
                )


def _written(output: ModelOutput) -> tuple[list[str], str]:
    """The reasoning that Inspect has split off, and the answer. Reasoning that a service keeps to itself is empty."""
    content = output.message.content if output.choices else ""
    parts = [] if isinstance(content, str) else content
    thoughts = [part.reasoning for part in parts if isinstance(part, ContentReasoning)]
    return thoughts or ([""] if _reasoned(output) else []), output.completion


def _reasoned(output: ModelOutput) -> bool:
    """Whether the service counted tokens of reasoning, shown or not."""
    return bool(output.usage and output.usage.reasoning_tokens)


def _turns(state: TaskState, item: Item) -> list[str]:
    """The conversation before the last answer. Empty for a question alone."""
    if not item.turns:
        return []
    said = [message for message in state.messages if message.role in ("user", "assistant")]
    if [message.text for message in said[::2]] != [item.question, *item.turns]:
        raise InputError(
            "the conversation ended early",
            where=f"sample {state.sample_id}",
            found=f"{len(said) // 2} answers",
            expected=f"{1 + len(item.turns)} answers",
        )
    return [message.text for message in said[:-1]]


def _run_info(state: TaskState, ceiling: bool, markers: Pairs) -> RunInfo:
    return RunInfo(
        harness="inspect_ai",
        harness_version=INSPECT_VERSION,
        model=str(state.model),
        model_args={},
        sampling=_sampling()
        | ({"ceiling": True} if ceiling else {})
        | ({"reasoning_markers": [list(pair) for pair in markers]} if markers else {}),
        identity=_identity(str(state.model)),
    )


def _sampling() -> dict[str, Any]:
    """How the evaluated model is asked. What Inspect passes on to its service as it is counts too."""
    config = inspect_sampling().model_dump(include={*SAMPLING_ARGS, "extra_body"}, exclude_none=True)
    thinking, others = read_thinking(config | public_args(config.pop("extra_body", {})))
    return others | read_thinking(get_model().model_args)[0] | thinking


def _identity(model: str) -> str:
    """Which files answered, for ``hf/FOLDER`` and the like. Empty if the name tells no more than itself."""
    engine, _, name = model.partition("/")
    known = engine in ("hf", "vllm", "sglang") and Path(name).is_dir()
    return model_identity({"pretrained": name}).text if known else ""


def _explanation(record: AnswerRecord) -> str:
    """The grades as Markdown, for ``inspect view``."""
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


__all__ = ["anima_2_2", "benchmark", "moru_multi"]
