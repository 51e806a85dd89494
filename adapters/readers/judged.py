"""Records from logs of judged evals that are not ours, each read as a benchmark with one dimension.

Two kinds are known: Inspect logs scored by ``model_graded_qa`` or ``model_graded_fact``, and lm-eval's samples of tasks
named ``..._llm_judged``. With ``--score NAME``, any score or metric that is 0, 0.5 or 1 is read.

The grades are those that the harness counted: nothing is parsed again, and graders whose votes the eval combined count
as one judge. What the log does not tell is ``unknown``. The definition in the records holds the task, the grades and
what they are worth; the judge prompt stays in the log, and such answers cannot be judged again.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from value_retention.adapters.readers.log_state import asked, log_aspects, was_truncated
from value_retention.adapters.readers.own import edit_of
from value_retention.adapters.readers.upstream import scoring_settings
from value_retention.adapters.readers.upstream_grades import SELF
from value_retention.adapters.settings import SAMPLING_ARGS
from value_retention.tasks import upstream
from value_retention.tasks.answers import Answer, Design, make_record
from value_retention.tasks.benchmark import packaged
from value_retention.tasks.check import checked
from value_retention.tasks.data import Item
from value_retention.tasks.errors import InputError
from value_retention.tasks.languages import UNDETERMINED, language_tag
from value_retention.tasks.record import (
    UNKNOWN,
    AnswerRecord,
    DataInfo,
    GradeRecord,
    JudgeInfo,
    Outcome,
    RunInfo,
    canonical_json,
    text_hash,
    well_formed,
)
from value_retention.tasks.scale import Scale

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalSample
    from inspect_ai.scorer import Score

GRADED = ("model_graded_qa", "model_graded_fact")
"""Inspect's scorers that ask a judge."""
WORTH = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}
"""Inspect's grades as text: correct, partial, incorrect, no answer. Worth what its accuracy counts."""
COMBINED = " (combined)"
"""Suffix of the judge's name if it stands for several graders."""
PROMPT = "The judge prompt is in the log.\n\n{question}\n\n{answer}\n\n{instructions}"


@dataclass(frozen=True)
class JudgedEval:
    """Values that all answers of one log share."""

    design: Design
    dimension: str
    scale: Scale
    judge: JudgeInfo
    run: RunInfo


@dataclass(frozen=True)
class JudgedAnswer:
    """One answer and its grade."""

    item: str
    epoch: int
    question: str
    text: str
    facts: Mapping[str, Any]
    """What the log says about the question; its language is read."""
    grade: float | None
    reply: str | None = None
    prompt_hash: str = UNKNOWN
    error: str | None = None
    truncated: bool | None = None


def record_of(made: JudgedEval, answer: JudgedAnswer, where: str) -> AnswerRecord:
    """The checked record of an answer."""
    raw = answer.facts.get("language")
    language = language_tag(raw) if isinstance(raw, str) else None
    item = Item(
        id=answer.item,
        cluster=answer.item,
        question=well_formed(answer.question),
        language=language or UNDETERMINED,
        language_raw=raw if language else None,
        dimensions=(made.dimension,),
    )
    missing: Outcome = "judge_error" if answer.error else "unparsed"
    grade = GradeRecord(
        made.dimension,
        {},
        made.judge.name,
        missing if answer.grade is None else "graded",
        answer.grade,
        answer.reply,
        answer.prompt_hash,
        answer.error,
        raw=made.scale.grade_of(answer.grade),
        scale=made.scale.name,
    )
    asked = Answer(item, answer.epoch, well_formed(answer.text), truncated=answer.truncated)
    return checked(make_record(made.design, asked, [made.judge], [grade], made.run), where)


def definition_of(task: str, kind: str, grades: object, epochs: int, size: int | None) -> dict[str, Any]:
    """The definition that records carry (see `benchmark.Benchmark`), as far as a log tells."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", task.rpartition("/")[2]).lstrip("-_.")[:80]
    values = {
        "name": f"other-{name}"[:80] if not name or name in packaged() else name,
        "title": f"{task} ({kind})",
        "judge": {"prompt": {"text": PROMPT}, "grades": grades},
        "epochs": epochs,
    }
    return values | ({"size": size} if size else {})


def design_of(
    definition: Mapping[str, Any],
    version: str,
    rows: Sequence[object],
    on_hub: bool,
    parser: str,
    rubric: str,
) -> Design:
    """What the answers in a log have in common.

    Args:
        definition: See `definition_of`.
        version: Version of the task.
        rows: What identifies the questions, sorted. Its hash stands for the content of the data.
        on_hub: Whether the log names a dataset on the hub.
        parser: Name of the grade parser.
        rubric: Hash of the judge prompt.
    """
    size = definition.get("size")
    content = f"log:{text_hash(canonical_json(rows))}"
    data = DataInfo(
        "hub" if on_hub else "folder", UNKNOWN, content, size=size, rows=size, published=True
    )  # the task is the benchmark: whatever it asked is its own
    return Design(str(definition["name"]), version, data, {}, parser, rubric, definition)


def worth(value: object, place: str) -> float | None:
    """What a grade counts, or None if it is missing.

    Raises:
        InputError: neither 0, 0.5, 1 nor one of Inspect's letters.
    """
    if isinstance(value, float) and math.isnan(value):
        return None
    number: object = value
    if isinstance(value, str):
        number = WORTH.get(value.strip().upper(), {"1": 1.0, "0": 0.0, "True": 1.0, "False": 0.0}.get(value))
    if isinstance(number, bool | int | float) and number in (0, 0.5, 1):
        return float(number)
    raise InputError(
        "unsupported grade",
        where=place,
        found=repr(value)[:80],
        expected="C, P or I, or 0, 0.5 or 1",
        hint="`compare --capability RUN=PATH` reads other scores",
    )


# -- Inspect --------------------------------------------------------------------------------------------------


def judged_score(log: EvalLog, chosen: str | None, where: str) -> str | None:
    """Name of the judged score in a log of another eval. None: it has none.

    Args:
        log: The log.
        chosen: The score that the user named.
        where: File, for error messages.

    Raises:
        InputError: several judged scores, and none named.
    """
    names = list(dict.fromkeys(name for sample in log.samples or () for name in sample.scores or {}))
    if chosen is not None:
        return next((name for name in names if chosen in (name, name.rpartition("/")[2])), None)
    judged = [name for name in names if _scorer(name) in GRADED]
    if len(judged) > 1:
        raise InputError(
            "an answer has several scores",
            where=where,
            found=", ".join(judged),
            expected="one score",
            hint="choose one: --score NAME",
        )
    return judged[0] if judged else None


def _scorer(score: str) -> str:
    """Scorer of a score: Inspect numbers the second one of a name."""
    return score.rpartition("/")[2].rstrip("0123456789")


def judged_records(log: EvalLog, score: str, where: str) -> Iterator[AnswerRecord]:
    """Records of the answers in a log of another eval.

    An answer without a score, as in an eval that failed, has a missing grade. A sample without an answer is left out.

    Args:
        log: The log.
        score: Name of the score, from `judged_score`.
        where: File, for error messages.

    Raises:
        InputError: a grade that is not 0, 0.5 or 1, or not one of Inspect's letters.
    """
    samples = [s for s in log.samples or () if s.output.choices or score in (s.scores or {})]
    made = _inspect_eval(log, score, samples)
    for sample in samples:
        place = f"{where}, sample {sample.id} epoch {sample.epoch}"
        yield record_of(made, _inspect_answer(sample, (sample.scores or {}).get(score), place), place)


def _inspect_eval(log: EvalLog, score: str, samples: Sequence[EvalSample]) -> JudgedEval:
    spec = log.eval
    scorer, version = _scorer(score), spec.packages.get("inspect_ai", UNKNOWN)
    same = [s for s in spec.scorers or () if _scorer(s.name) == scorer]
    options = dict(same[0].options or {}) if len(same) == 1 else {}
    rows = sorted({canonical_json([str(s.id), asked(s), s.target]) for s in samples})
    location = spec.dataset.location or ""
    on_hub = location.count("/") == 1 and not Path(location).is_absolute()
    config = spec.model_generate_config.model_dump(include=set(SAMPLING_ARGS), exclude_none=True)
    config |= log.plan.config.model_dump(include=set(SAMPLING_ARGS), exclude_none=True)
    aspects = log_aspects(log)
    words = {key: value for key, value in options.items() if key not in ("model", "model_role", "reducer")}
    labels = _grades(options, samples, score)
    return JudgedEval(
        design=design_of(
            definition_of(
                spec.task,
                f"Inspect, {scorer}",
                {"labels": labels},
                spec.config.epochs or 1,
                spec.dataset.samples,
            ),
            str(spec.task_version),
            rows,
            on_hub,
            upstream.parser_of(version),
            text_hash(canonical_json([scorer, _plain(words)])),
        ),
        dimension=score,
        scale=Scale("labels", tuple(labels.items())),
        judge=_inspect_judge(log, scorer, options),
        run=RunInfo(
            "inspect_ai",
            version,
            str(spec.model),
            sampling=config | {name: aspects[name] for name in ("solver", "task arguments")},
        ),
    )


def _grades(options: Mapping[str, Any], samples: Sequence[EvalSample], score: str) -> dict[str, float]:
    """The grades on offer. P is one if the scorer's options allow it, or an answer has it."""
    partial = any(options.get(name) for name in ("partial_credit", "instructions", "grade_pattern"))
    values = [
        sample.scores[score].value for sample in samples if score in (sample.scores or {}) and sample.scores
    ]
    if partial or any(value in ("P", 0.5) for value in values):
        return {"C": 1.0, "P": 0.5, "I": 0.0}
    return {"C": 1.0, "I": 0.0}


def _inspect_judge(log: EvalLog, scorer: str, options: Mapping[str, Any]) -> JudgeInfo:
    """The grader: the scorer's own, the one bound to its role, or the evaluated model, as Inspect chooses it."""
    role = _plain(options.get("model_role", "grader"))
    bound: Any = (log.eval.model_roles or {}).get(str(role["name"] if isinstance(role, dict) else role))
    settings: dict[str, Any] = {}
    if options.get("model"):
        named = options["model"] if isinstance(options["model"], list) else [options["model"]]
        names = [str(m.get("model") or m.get("name") if isinstance(m, Mapping) else m) for m in named]
    elif bound:
        graders = bound if isinstance(bound, list) else [bound]
        names = [str(grader.model) for grader in graders]
        own = [scoring_settings(grader.config) for grader in graders]
        settings = own[0] if len(own) == 1 else {n: s for n, s in zip(names, own, strict=True) if s}
    elif scorer in GRADED:
        names, settings = [f"{log.eval.model}{SELF}"], scoring_settings(log.eval.model_generate_config)
    else:
        names = [UNKNOWN]
    if len(names) == 1:
        return JudgeInfo(names[0], settings)
    return JudgeInfo(
        " + ".join(names) + COMBINED, settings | {"reducer": str(options.get("reducer", "default"))}
    )


def _plain(value: Any) -> Any:
    """JSON values of a scorer's options, which may hold functions and models."""
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value if value is None or isinstance(value, str | bool | int | float) else type(value).__name__


def _inspect_answer(sample: EvalSample, score: Score | None, place: str) -> JudgedAnswer:
    text = score.answer if score is not None and score.answer is not None else sample.output.completion
    grading = (score.metadata or {}).get("grading") if score is not None else None
    panel = (score.metadata or {}).get("panel") if score is not None else None
    prompt = grading[0].get("content") if isinstance(grading, list) and isinstance(grading[0], dict) else None
    error = None if score is None else edit_of(score)
    if score is None:
        error = sample.error.message.strip().splitlines()[-1] if sample.error else "the log has no score"
    messages = asked(sample)
    return JudgedAnswer(
        item=str(sample.id),
        epoch=sample.epoch,
        question=messages if isinstance(messages, str) else "\n\n".join(text for _, text in messages),
        text=text,
        facts=sample.metadata or {},
        grade=None if score is None else worth(score.value, place),
        reply=f"votes: {', '.join(map(str, panel.get('votes', ())))}"
        if isinstance(panel, Mapping)
        else None
        if score is None
        else score.explanation or "",
        prompt_hash=text_hash(prompt) if isinstance(prompt, str) else UNKNOWN,
        error=error,
        truncated=was_truncated(sample.output),
    )
