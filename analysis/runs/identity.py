"""Which runs may be compared: everything but the tested model must be equal.

A base and a candidate that were judged by different judges differ even if their answers do not; two judges
with false-pass rates of 5 and 10 % make a third of all null comparisons significant. So a difference in any
of `ASPECTS` stops the comparison, unless the user allows that one by name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from value_retention.analysis.runs.items import check_runs
from value_retention.tasks.check import item_facts
from value_retention.tasks.errors import InputError
from value_retention.tasks.record import AnswerRecord, DroppedRow, RunInfo, canonical_json, text_hash

ASPECTS: dict[str, str] = {
    "version": "benchmark version",
    "revision": "data revision and content",
    "dropped": "dropped rows",
    "judge": "judges",
    "judge-settings": "judge settings",
    "prompt": "judge prompt",
    "parser": "grade parser",
    "epochs": "epochs per question",
    "questions": "questions answered",
    "ceiling": "ceiling test (the model was shown the criteria)",
    "system": "system prompt",
    "chat-template": "chat template",
    "sampling": "sampling of the answers",
}
"""Values of ``--allow`` and their meaning. A difference in one of these stops a comparison."""

CAPABILITY = "capability"
"""Value of ``--allow`` for other tasks, such as IFEval: lets them differ in how they were asked."""

SAMPLING_NAMES = {"max_gen_toks": "max_tokens", "until": "stop_seqs"}
"""lm-eval's names of settings, and Inspect's names of the same."""

SAMPLING_APART = {"seed", "ceiling", "system_instruction", "system_message", "apply_chat_template"}
"""Left out of ``sampling``: a seed only makes another repeat, and the others are separate aspects."""


@dataclass(frozen=True)
class Identity:
    """What makes one run's answers to one benchmark comparable with another's.

    Attributes:
        aspects: Value of every key of `ASPECTS` but ``prompt``, as text that can be printed.
        prompts: Hash of an answer's judge prompts by the hash of item and answer. A prompt holds the
            answer, so the prompts of two runs are compared where both gave the same answer.
        data_source: ``hub``, ``folder`` or ``sample``.
        is_benchmark: False for the bundled sample items.
        noted: Harness and seed of the answers: a difference is shown and never refused. Both harnesses give the
            same figures, and another seed is another repeat.
        total: Questions of the benchmark; None where that is not known.
        published: Whether the rows are known to be the published ones.
        left_out: Answers without a record.
        judges: Name of each judge, and whether it is an LLM.
        model: The model that answered.
        revision: Revision of the data, without the hash of their content.
        fingerprint: Which model answered, as its records tell (`RunInfo.identity`); empty if they do not.
        resumed: How old the answers of an interrupted run are, if the model's identity is uncertain; else empty.
        content: Hash of the data.
        items: Facts of each item (see `check.item_facts`).
    """

    aspects: Mapping[str, str]
    prompts: Mapping[int, int]
    rubric: str
    """Hash of the judge's words; ``unknown`` where a record does not know it."""
    data_source: str
    is_benchmark: bool
    noted: Mapping[str, str]
    total: int | None
    published: bool
    left_out: tuple[DroppedRow, ...]
    judges: Mapping[str, bool]
    model: str
    revision: str
    fingerprint: str
    resumed: str
    content: str
    items: Mapping[str, Mapping[str, Any]]


def identity_of(records: Sequence[AnswerRecord]) -> Identity:
    """Identity of one run's records of one benchmark.

    Records that disagree with each other (a log that was continued with another judge, say) give an aspect
    that names both values, which no other run's will equal.
    """
    data = {id(r.data): r.data for r in records}.values()
    judges = {id(r.judges): r.judges for r in records}.values()
    asked = {canonical_json([r.run.harness, r.run.sampling]): r.run for r in records}.values()
    epochs = Counter(Counter(r.item for r in records).values())
    items = sorted({r.item for r in records})
    aspects = {
        "version": _one(r.benchmark_version for r in records),
        "revision": _one(f"{d.revision} (content {d.content_hash[:12]})" for d in data),
        "dropped": _one(", ".join(f"{row.row} ({row.reason})" for row in d.dropped) or "none" for d in data),
        "judge": _one(" + ".join(judge.name for judge in panel) or "none" for panel in judges),
        "judge-settings": _one(_settings(panel) for panel in judges),
        "parser": _one(r.parser for r in records),
        "epochs": _epochs(epochs),
        "questions": f"{len(items)} (hash {text_hash(canonical_json(items))[:12]})",
        "ceiling": _one("yes" if run.sampling.get("ceiling") else "no" for run in asked),
        "system": _one(map(_system_prompt, asked)),
        "chat-template": _one(map(_chat_template, asked)),
        "sampling": _one(map(_sampling, asked)),
    }
    prompts = dict(_prompts(record) for record in records if record.grades)
    noted = {
        "harness": _one({f"{r.run.harness} {r.run.harness_version}" for r in records}),
        "seed": _one(str(run.sampling.get("seed", "none")) for run in asked),
    }
    return Identity(
        aspects=aspects,
        prompts=prompts,
        rubric=_one(r.rubric_hash for r in records),
        data_source=_one(d.source for d in data),
        is_benchmark=all(d.is_benchmark for d in data),
        noted=noted,
        total=next((d.size or d.rows for d in data), None),
        published=all(d.published for d in data),
        left_out=tuple(dict.fromkeys(row for r in _unique(records) for row in r.left_out)),
        judges={judge.name: judge.is_llm for panel in judges for judge in panel},
        model=_one(r.run.model for r in records),
        revision=_one(d.revision for d in data),
        fingerprint=_one(r.run.identity for r in records),
        resumed="; ".join(sorted({r.run.resumed for r in records if r.run.resumed})),
        content=_one(d.content_hash for d in data),
        items={item: item_facts(r) for item, r in {r.item: r for r in records}.items()},
    )


def _epochs(counts: Mapping[int, int]) -> str:
    """Answers per question; where the number differs, the count of questions for each number."""
    if len(counts) == 1:
        return str(*counts)
    return ", ".join(f"{count} on {n} questions" for count, n in sorted(counts.items()))


def _system_prompt(run: RunInfo) -> str:
    """The start of the system prompt with its hash, so that different prompts give different text."""
    text = run.sampling.get("system_instruction") or run.sampling.get("system_message")
    if not text:
        return "none"
    plain = " ".join(str(text).split())
    shown = plain if len(plain) <= 60 else plain[:60] + "..."
    return f'"{shown}" (hash {text_hash(str(text))[:12]})'


def _chat_template(run: RunInfo) -> str:
    """Inspect always sends a chat; lm-eval does with ``--apply_chat_template``."""
    return (
        "not applied"
        if run.harness == "lm_eval" and not run.sampling.get("apply_chat_template")
        else "applied"
    )


def _sampling(run: RunInfo) -> str:
    """How answers are drawn: the same names for both harnesses, without settings that have no effect."""
    found = {}
    for name, value in run.sampling.items():
        if name in SAMPLING_APART or value in (None, [], "") or (name == "do_sample" and value):
            continue
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        plain = isinstance(value, str) and value.isprintable()
        found[SAMPLING_NAMES.get(name, name)] = value if plain else canonical_json(value)
    return ", ".join(f"{name} {value}" for name, value in sorted(found.items())) or "left to the provider"


def _unique(records: Sequence[AnswerRecord]) -> list[RunInfo]:
    """The different `RunInfo` of the records."""
    found: list[RunInfo] = []
    for run in {id(r.run): r.run for r in records}.values():
        if run not in found:
            found.append(run)
    return found


def _prompts(record: AnswerRecord) -> tuple[int, int]:
    """Item and answer, and all prompts they were judged with, as two 64-bit numbers."""
    prompts = {(g.dimension, canonical_json(g.variables), g.prompt_hash) for g in record.grades}
    texts = f"{record.item}|{record.answer_hash}", canonical_json(sorted(prompts))
    key, value = (int(text_hash(text)[:16], 16) for text in texts)
    return key, value


def _one(values: Iterable[str]) -> str:
    """The value if there is one, otherwise all of them."""
    return " and ".join(sorted(set(values)))


def _settings(panel: Sequence[Any]) -> str:
    return " + ".join(canonical_json(judge.settings) for judge in panel) or "none"


@dataclass(frozen=True)
class Difference:
    """One aspect in which two runs differ."""

    aspect: str
    benchmark: str
    values: tuple[tuple[str, str], ...]
    """Run, and the value it has."""
    files: Mapping[str, Sequence[str]]
    """Files of each run."""

    def sentence(self, with_files: bool = True) -> str:
        """The difference in words: with the files in a refusal, without them in a report."""
        parts = []
        for run, value in self.values:
            files = ", ".join(self.files.get(run, ())) if with_files else ""
            parts.append(f"{value} in {run}" + (f" ({files})" if files else ""))
        return f"{ASPECTS[self.aspect]} ({self.benchmark}): {'; '.join(parts)}"


def differences(benchmark: str, runs: Sequence[tuple[str, Sequence[str], Identity]]) -> list[Difference]:
    """Every aspect in which runs of one benchmark differ.

    Args:
        benchmark: Its name.
        runs: Name, files and identity of each run.

    Raises:
        InputError: two runs on the same data that disagree about an item: a record was edited.
    """
    check_runs([(name, own, identity.content, identity.items) for name, own, identity in runs])
    found = []
    names = [name for name, _, _ in runs]
    files = {name: tuple(own) for name, own, _ in runs}
    for aspect in ASPECTS:
        if aspect == "prompt":
            values = _prompt_values([identity for _, _, identity in runs])
        else:
            values = [identity.aspects[aspect] for _, _, identity in runs]
        if len(set(values)) > 1:
            found.append(Difference(aspect, benchmark, tuple(zip(names, values, strict=True)), files))
    uneven = [
        (name, identity.aspects["epochs"]) for name, _, identity in runs if "," in identity.aspects["epochs"]
    ]
    if uneven and not any(d.aspect == "epochs" for d in found):
        found.append(Difference("epochs", benchmark, tuple(uneven), files))
    return found


def _prompt_values(identities: Sequence[Identity]) -> list[str]:
    """Per run: ``same``, or a count of the prompts that differ from the first run's for the same answer."""
    rubrics = [identity.rubric for identity in identities]
    if len(set(rubrics)) > 1:
        return [f"words {rubric[:12]}" for rubric in rubrics]
    reference = identities[0].prompts
    values = ["the first run's prompts"]
    for identity in identities[1:]:
        shared = identity.prompts.keys() & reference.keys()
        other = sum(identity.prompts[key] != reference[key] for key in shared)
        text = f"{other} of {len(shared)} answers that both runs gave were judged with another prompt"
        values.append(text if other else values[0])
    return values


def check_comparable(found: Sequence[Difference], allow: Sequence[str] = ()) -> list[str]:
    """Refuse runs that differ in an aspect that the user did not allow.

    Args:
        found: Result of `differences`.
        allow: Keys of `ASPECTS` that may differ.

    Returns:
        One sentence per allowed difference, for the head of the report.

    Raises:
        InputError: an unknown key in ``allow``, or a difference that is not allowed.
    """
    unknown = [aspect for aspect in allow if aspect not in (*ASPECTS, CAPABILITY)]
    if unknown:
        raise InputError(
            "unknown aspect",
            where="--allow",
            found=", ".join(unknown),
            expected=", ".join((*ASPECTS, CAPABILITY)),
        )
    refused = [difference for difference in found if difference.aspect not in allow]
    if refused:
        raise InputError(
            "the runs are not comparable: these differences could change the scores",
            found="".join(f"\n    - {difference.sentence()}" for difference in refused),
            expected="equal values in all runs",
            hint=("choose one judge with --judge NAME, " if any(d.aspect == "judge" for d in refused) else "")
            + "repeat the runs with the same setup, or allow a difference by name: "
            + " ".join(f"--allow {aspect}" for aspect in dict.fromkeys(d.aspect for d in refused))
            + " (in an arms file: the list `allow`)",
        )
    return [f"Allowed to differ: {difference.sentence(with_files=False)}" for difference in found]
