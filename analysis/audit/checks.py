"""What is known before anything is spent: judge, data, models, tasks, and runs that stand in for models."""

from __future__ import annotations

import os

from value_retention.analysis.audit.spec import TASKS, Audit, Model
from value_retention.analysis.audit.steps import CHAT
from value_retention.analysis.runs.load import load_runs
from value_retention.analysis.runs.scores import RunScores, reduce_run
from value_retention.tasks.data import Dataset, load
from value_retention.tasks.errors import InputError


def check_audit(audit: Audit) -> list[Dataset]:
    """Check everything that a later step would refuse.

    Returns:
        The rows of the benchmarks.

    Raises:
        InputError: a judge without a package or key, data that cannot be read, a model that cannot exist, an unknown
            task, or a finished run that was asked or judged otherwise.
    """
    from value_retention.adapters.judges.client import make_judges
    from value_retention.adapters.settings import read_settings

    audit.settings()
    given = {"judge": list(audit.judge), "judge_args": audit.judge_args}
    settings = read_settings(given, {}, {"judge": "judge", "judge_args": "judge_args"})
    make_judges(list(audit.judge), settings.judge_args)
    for name, model in audit.models.items():
        if model.model:
            _check_model(name, model, audit)
    if audit.capability and audit.inspect is None:
        _check_tasks(audit)
    datasets = [load(TASKS[name], audit.data, audit.languages) for name in audit.tasks]
    content = {data.benchmark.name: data.info.content_hash for data in datasets}
    for name, model in audit.models.items():
        if model.runs:
            check_runs(audit, name, model, content)
    return datasets


def _check_model(name: str, model: Model, audit: Audit) -> None:
    """Refuse a path that does not exist: lm-eval would look for it on the hub once the base has been evaluated."""
    text = str(model.model)
    served = str(audit.lm_eval.get("model", "hf")).endswith(CHAT)
    if os.path.exists(text) or audit.inspect is not None or served:
        return
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(text)
    except HFValidationError as error:
        raise InputError(
            "the model does not exist", where=name, found=text,
            expected="a folder with a checkpoint, or OWNER/NAME on the Hugging Face hub",
        ) from error  # fmt: skip


def _check_tasks(audit: Audit) -> None:
    from value_retention.adapters.lm_eval.command import unknown_tasks

    assert audit.capability
    unknown, near = unknown_tasks(audit.capability.tasks, audit.lm_eval.get("include_path"))
    if unknown:
        raise InputError(
            "unknown task", where="capability", found=", ".join(unknown),
            expected=", ".join(near) or "tasks of lm-eval (`lm_eval ls tasks`)",
        )  # fmt: skip


def check_runs(audit: Audit, name: str, model: Model, content: dict[str, str]) -> None:
    """Refuse finished runs that lack a benchmark, or whose judge, data or epochs are not the audit's.

    Args:
        audit: The audit.
        name: Name of the model that the runs stand for.
        model: Its entry in the audit.
        content: Hash of each benchmark's data.
    """
    found: dict[str, list[RunScores]] = {}
    for path in model.runs:
        for run in load_runs([path], audit.judge_read):
            for scores in reduce_run(run.name, run.files, run.records):
                found.setdefault(scores.benchmark, []).append(scores)
    for task in audit.tasks:
        benchmark = TASKS[task]
        own = found.get(benchmark.name, [])
        if len(own) != 1:
            raise InputError(
                "a finished run lacks a benchmark" if not own else "several finished runs of one benchmark",
                where=f"{name}: {', '.join(model.runs)}", found=f"{len(own)} runs of {benchmark.name}", expected="one",
                hint="name the file of the run",
            )  # fmt: skip
        identity = own[0].identity
        for aspect, had, wanted in (
            ("revision", identity.content, content[benchmark.name]),
            ("epochs", identity.aspects["epochs"], str(audit.epochs or benchmark.epochs)),
        ):
            if had != wanted and aspect not in audit.allow:
                raise InputError(
                    f"a finished run does not fit the audit: {aspect} of {benchmark.name}",
                    where=f"{name}: {', '.join(own[0].files)}", found=had, expected=wanted,
                    hint=f"change the audit to it, or add {aspect} to `allow`",
                )  # fmt: skip
