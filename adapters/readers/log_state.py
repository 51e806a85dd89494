"""What an Inspect log tells beside its scores: how its task was asked, and whether an output was cut."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from value_retention.tasks.reasoning import truncated_by_reason
from value_retention.tasks.record import canonical_json

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalSample
    from inspect_ai.model import ModelOutput


def was_truncated(output: ModelOutput) -> bool | None:
    """Whether the token limit cut an output. None if unknown."""
    return truncated_by_reason(output.stop_reason) if output.choices else None


def asked(sample: EvalSample) -> Any:
    """The input without the messages' ids, which are new in every run."""
    if isinstance(sample.input, str):
        return sample.input
    return [[message.role, message.text] for message in sample.input]


def log_aspects(log: EvalLog) -> dict[str, str]:
    """What has to be equal between two runs of a task, as text."""
    spec = log.eval
    config = spec.model_generate_config.model_dump(exclude_none=True)
    config |= log.plan.config.model_dump(exclude_none=True)
    keep = {key: value for key, value in config.items() if key not in NOT_SAMPLING}
    return {
        "task version": str(spec.task_version),
        "task arguments": canonical_json(spec.task_args),
        "solver": canonical_json([[step.solver, step.params] for step in log.plan.steps]),
        "generation settings": canonical_json(keep),
        "epochs": str(spec.config.epochs or 1),
    }


NOT_SAMPLING = {
    "max_retries",
    "timeout",
    "attempt_timeout",
    "max_connections",
    "adaptive_connections",
    "seed",
    "cache",
}
NOT_SAMPLING |= {"stream_idle_timeout", "batch"}
"""Settings of the connection, which do not change how answers are drawn, and the seed."""
