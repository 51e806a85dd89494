"""Whether an Inspect log is complete. Its records alone do not show what is missing."""

from __future__ import annotations

from pathlib import Path


def unfinished(path: Path) -> str | None:
    """What is missing from a log, in one clause, or None if every expected answer has a score."""
    from inspect_ai.log import read_eval_log, read_eval_log_sample_summaries

    log = read_eval_log(path, header_only=True)
    ids = log.eval.dataset.sample_ids
    scored = sum(bool(sample.scores) for sample in read_eval_log_sample_summaries(path))
    wanted = len(ids) * (log.eval.config.epochs or 1) if ids else None
    if log.status == "success" and (wanted is None or scored >= wanted):
        return None
    counts = f"{scored} answers have" if wanted is None else f"{scored} of {wanted} answers have"
    return f"the eval's status is {log.status!r}, and {counts} a score"
