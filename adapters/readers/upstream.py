"""Records from logs of the upstream evals: ``inspect_evals/anima``, ``ahb`` (its older name) and ``moru``.

A value that the log lacks is ``unknown``, so that a comparison with other runs stops at it by name and the user
decides. This concerns the dropped rows, the content of the data, and the judge prompt if the log comes from versions
whose prompt is not known. ANIMA's logs name the language of a row from 4-B on. In older ones it is ``und``, and no
language groups are formed. The model's reasoning stays in the log.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from value_retention.adapters.readers.log_state import was_truncated
from value_retention.adapters.readers.own import refuse_edited
from value_retention.adapters.readers.upstream_grades import (
    SELF,
    is_refused,
    logged_grades,
    logged_values,
    needs_replies,
    same_score,
    with_criterion,
)
from value_retention.adapters.settings import SAMPLING_ARGS, SCORING_ARGS
from value_retention.tasks import upstream
from value_retention.tasks.answers import Answer, Design, make_record
from value_retention.tasks.benchmark import Benchmark, Table, imported_prompts, packaged
from value_retention.tasks.data import Dataset, Dimension, Item, english_cluster
from value_retention.tasks.errors import InputError
from value_retention.tasks.languages import UNDETERMINED, language_tag
from value_retention.tasks.prompts import words_hash
from value_retention.tasks.record import (
    UNKNOWN,
    AnswerRecord,
    DataInfo,
    DroppedRow,
    JudgeInfo,
    RunInfo,
    canonical_json,
    text_hash,
    well_formed,
)

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalSample


@dataclass(frozen=True)
class _Run:
    """Values that all answers of one log share."""

    dataset: Dataset
    """Without items, with the dimensions that the log defines."""
    design: Design
    judges: tuple[JudgeInfo, ...]
    info: RunInfo
    known_prompt: bool
    """Whether the installed packages render the prompt that the judge received."""


def upstream_benchmark(task: str) -> Benchmark | None:
    """The benchmark of an upstream task, or None for any other task."""
    package, _, name = task.rpartition("/")
    known = (b for b in packaged().values() if name in b.inspect_evals)
    return next(known, None) if package in ("", "inspect_evals") else None


def upstream_records(
    log: EvalLog, where: str, with_events: Callable[[], EvalLog] | None = None
) -> Iterator[AnswerRecord]:
    """Records of the scored samples of one upstream log.

    Args:
        log: The log of a task that `upstream_benchmark` knows.
        where: File, for error messages.
        with_events: Reads the log again, with events and attachments. Called only if single grades cannot be derived
            from the scores. None if the log has its events.

    Raises:
        InputError: overall scores only, a score that was edited, or scores that do not follow from the grades.
    """
    benchmark = upstream_benchmark(log.eval.task)
    assert benchmark is not None
    samples = [sample for sample in log.samples or () if sample.scores]
    run = _run(log, benchmark)
    full: dict[tuple[str | int, int], EvalSample] = {}
    if with_events is not None and any(_is_open(sample, run, where) for sample in samples):
        full = {(sample.id, sample.epoch): sample for sample in with_events().samples or ()}
    for sample in samples:
        yield _record(full.get((sample.id, sample.epoch), sample), run, where)


def _run(log: EvalLog, benchmark: Benchmark) -> _Run:
    spec = log.eval
    options = _options(log)
    dimensions = _dimensions(options.get("dimensions"))
    number = str((spec.metadata or {}).get("full_task_version") or spec.task_version or UNKNOWN)
    made_with = spec.packages.get("inspect_ai", UNKNOWN)
    info, revision = _data(log, benchmark, options, number, dimensions)
    config = spec.model_generate_config.model_dump(include=set(SAMPLING_ARGS), exclude_none=True)
    known_prompt = bool(dimensions) and upstream.same_words(
        spec.packages, imported_prompts(*packaged().values())
    )
    return _Run(
        dataset=Dataset(benchmark, (), dimensions, info, revision),
        design=Design(
            benchmark.name,
            number,
            info,
            {name: dimension.weight for name, dimension in dimensions.items()},
            upstream.parser_of(made_with),
            words_hash(benchmark, revision) if known_prompt else UNKNOWN,
        ),
        judges=_judges(log, options),
        info=RunInfo("inspect_ai", made_with, str(spec.model), sampling=config),
        known_prompt=known_prompt,
    )


def _options(log: EvalLog) -> dict[str, Any]:
    """The scorer's arguments, from the results, or from the plan if the log has no results."""
    for score in log.results.scores if log.results else ():
        if score.params:
            return dict(score.params)
    for scorer in log.eval.scorers or ():
        if scorer.options:
            return dict(scorer.options)
    return {}


def _dimensions(defined: object) -> dict[str, Dimension]:
    return {
        str(name): Dimension(
            str(name),
            str(value.get("guiding_question") or ""),
            str(value.get("indicators") or ""),
            float(value.get("weight") or 1.0),
        )
        for name, value in (defined.items() if isinstance(defined, Mapping) else ())
        if isinstance(value, Mapping)
    }


def _data(
    log: EvalLog,
    benchmark: Benchmark,
    options: Mapping[str, Any],
    number: str,
    dimensions: Mapping[str, Dimension],
) -> tuple[DataInfo, str]:
    """Origin of the questions, and the revision in ANIMA's judge prompt.

    Upstream logs the pinned commit even for rows from a folder. It is ignored there, and the content in the log is
    hashed instead.
    """
    args = log.eval.task_args
    same_number = number.partition("-")[0] == benchmark.version.partition("-")[0]
    # Older logs do not hold arguments that were left at their defaults.
    pinned = benchmark.questions.revision if same_number else UNKNOWN
    questions = str(args.get("dataset_revision") or options.get("revision") or pinned)
    revision = questions
    dimensions_table = benchmark.dimensions
    if isinstance(dimensions_table, Table) and dimensions_table.repo != benchmark.questions.repo:
        pinned = dimensions_table.revision if same_number else UNKNOWN
        revision = f"{questions}+{args.get('dimensions_revision') or pinned}"
    repo = str(args.get("dataset_repo_id") or benchmark.questions.repo)
    dropped = (DroppedRow(UNKNOWN, "the log does not say"),)
    if repo.count("/") == 1 and not repo.startswith(("/", ".", "~")) and not Path(repo).is_absolute():
        data = DataInfo("hub", revision, UNKNOWN, dropped, size=benchmark.size)
        return replace(data, published=revision == benchmark.pinned), questions
    rows = {canonical_json([str(s.id), str(s.input), str(s.target)]) for s in log.samples or ()}
    shown = text_hash(canonical_json([sorted(rows), [asdict(d) for d in dimensions.values()]]))
    return DataInfo("folder", UNKNOWN, f"log:{shown}", dropped, size=benchmark.size), questions


def _judges(log: EvalLog, options: Mapping[str, Any]) -> tuple[JudgeInfo, ...]:
    """The panel. Without one, upstream lets the evaluated model judge itself, and the name says so."""
    args = log.eval.task_args
    settings = {
        key: args[f"grader_{key}"]
        for key in ("temperature", "max_tokens")
        if args.get(f"grader_{key}") is not None
    }
    named = args.get("grader_models") or options.get("grader_models")
    if named:
        return tuple(JudgeInfo(str(name), settings) for name in named)
    role: Any = (log.eval.model_roles or {}).get("grader")
    bound = role if isinstance(role, list) else [role] if role else []
    if bound:
        return tuple(JudgeInfo(str(m.model), scoring_settings(m.config) | settings) for m in bound)
    own = scoring_settings(log.eval.model_generate_config)
    return (JudgeInfo(f"{log.eval.model}{SELF}", settings | own),)


def scoring_settings(config: Any) -> dict[str, Any]:
    """A judge's generation settings that can move its grades."""
    settings: dict[str, Any] = config.model_dump(include=set(SCORING_ARGS), exclude_none=True)
    return settings


def _is_open(sample: EvalSample, run: _Run, where: str) -> bool:
    place = _place(sample, where)
    item = _item(sample, run.dataset.benchmark, place)
    score, values = logged_values(sample, item, place)
    return needs_replies(score, values, item, run.dataset, run.judges)


def _place(sample: EvalSample, where: str) -> str:
    return f"{where}, sample {sample.id} epoch {sample.epoch}"


def _item(sample: EvalSample, benchmark: Benchmark, place: str) -> Item:
    """The question, from the sample and the scorer's target, which holds tags and variables."""
    target = sample.target if isinstance(sample.target, str) else "".join(sample.target)
    try:
        wanted = json.loads(target)
        tags = tuple(str(tag) for tag in wanted["tags"])
        variables = tuple((str(k), tuple(map(str, v))) for k, v in (wanted.get("variables") or {}).items())
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(
            "invalid sample target: no dimensions",
            where=place,
            found=repr(target[:80]),
            expected='{"tags": [...]}',
        ) from error
    raw = (sample.metadata or {}).get("language")
    identifier = str(sample.id)
    question = sample.input if isinstance(sample.input, str) else sample.input[-1].text
    cluster = identifier.rpartition("_")[0] or identifier  # MORU's translations share the first part
    return Item(
        id=identifier,
        cluster=english_cluster(question, None) if benchmark.cluster == "english_text" else cluster,
        question=question,
        language=(language_tag(str(raw)) if raw else None) or UNDETERMINED,
        language_raw=str(raw) if raw else None,
        dimensions=tuple(dict.fromkeys(tags)),
        variables=variables,
    )


def _record(sample: EvalSample, run: _Run, where: str) -> AnswerRecord:
    place = _place(sample, where)
    benchmark = run.dataset.benchmark
    item = _item(sample, benchmark, place)
    score, values = logged_values(sample, item, place)
    if score.answer is None:
        raise InputError("a score lacks its answer", where=place)
    answer = well_formed(score.answer)
    refuse_edited(score, place)
    grades = [
        with_criterion(grade, item, answer, run.dataset, run.known_prompt)
        for grade in logged_grades(sample, score, values, item, run.dataset, run.judges)
    ]
    truncated = was_truncated(sample.output)
    asked = Answer(item, sample.epoch, answer, truncated=truncated)
    record = make_record(run.design, asked, run.judges, grades, run.info)
    whole = not any(map(is_refused, grades))
    if whole and "overall" in values and not same_score(record.overall, values["overall"]):
        raise InputError(
            "the overall score does not follow from the dimensions",
            where=place,
            found=f"overall {values['overall']}, from the dimensions {record.overall}",
            expected="the weighted mean of the dimensions",
        )
    return record
