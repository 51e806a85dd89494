"""Other tasks in Inspect logs: the scores per sample, with the mean over epochs that Inspect takes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from value_retention.adapters.readers.capability import SampleMetric, TaskSamples, is_figure, mean_of
from value_retention.adapters.readers.inspect import open_log
from value_retention.adapters.readers.log_state import asked, log_aspects
from value_retention.tasks.errors import InputError
from value_retention.tasks.record import canonical_json, text_hash

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalSample

SPREADS = {"stderr", "std", "var", "bootstrap_stderr", "bootstrap_std"}
"""Metrics that are not a score."""

LETTERS = {"C", "I", "P", "N"}
"""Inspect's grades as text: correct, incorrect, partial, no answer."""


def read_task_log(path: Path) -> TaskSamples:
    """One task of one run, from an Inspect log.

    Raises:
        InputError: an unreadable log, or an eval that did not finish.
    """
    log = open_log(path)
    if log.status != "success" or log.results is None or not log.samples:
        raise InputError(
            "the eval did not finish",
            where=str(path),
            found=f"eval {log.eval.task}, status {log.status}, {len(log.samples or ())} samples",
            expected="a finished eval, with its samples in the log",
            hint="`inspect eval-retry` finishes it",
        )
    groups: dict[str, list[EvalSample]] = {}
    for sample in log.samples:
        groups.setdefault(text_hash(canonical_json([str(sample.id), asked(sample)])), []).append(sample)
    metrics, left_out = _metrics(log, groups)
    return TaskSamples(
        task=log.eval.task.rpartition("/")[2],
        files=(str(path),),
        keys=tuple(groups),
        questions=tuple(text_hash(canonical_json(asked(own[0]))) for own in groups.values()),
        prompts=tuple(text_hash(canonical_json([own[0].choices, own[0].target])) for own in groups.values()),
        metrics=tuple(metrics),
        left_out=tuple(left_out),
        aspects=log_aspects(log),
    )


def _metrics(log: EvalLog, groups: Mapping[str, list[EvalSample]]) -> tuple[list[SampleMetric], list[str]]:
    """Usable metrics, the log's headline first, and the others with the reason."""
    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    unreadable: set[tuple[str, str]] = set()
    for key, samples in groups.items():
        for sample in samples:
            for scorer, score in (sample.scores or {}).items():
                values = score.value if isinstance(score.value, Mapping) else {"": score.value}
                for part, value in values.items():
                    number = _number(value)
                    if number is None:
                        unreadable.add((scorer, part))
                    else:
                        found.setdefault((scorer, part), {}).setdefault(key, []).append(number)
    metrics, left_out = [], [f"{_name(*place)}: no number per sample" for place in sorted(unreadable)]
    headline = log.results.headline if log.results else None

    def later(place: tuple[str, str]) -> bool:
        return headline is None or place[0] != headline.scorer or place[1] not in ("", headline.score)

    for place in sorted(found, key=later):
        by_key = found[place]
        if place in unreadable:
            continue
        means = [np.array(by_key.get(key, [np.nan])) for key in groups]
        sums = np.array([v[np.isfinite(v)].mean() if np.isfinite(v).any() else np.nan for v in means])
        sizes = np.ones(len(sums))
        if is_figure(mean_of(sums, sizes), _reported(log, *place)):
            metrics.append(SampleMetric(_name(*place), sums, sizes))
        else:
            left_out.append(f"{_name(*place)}: not a mean over samples that the log reports")
    return metrics, left_out


def _name(scorer: str, part: str) -> str:
    return f"{scorer}/{part}" if part else scorer


def _number(value: object) -> float | None:
    """A score as Inspect's accuracy reads it; None for a text or list that is not a grade."""
    from inspect_ai.scorer import value_to_float

    if isinstance(value, bool | int | float) or value in LETTERS:
        return value_to_float()(value)
    return None


def _reported(log: EvalLog, scorer: str, part: str) -> list[float]:
    """The figures of a score over samples whose epochs are averaged."""
    return [
        float(metric.value)
        for score in (log.results.scores if log.results else ())
        if score.reducer in (None, "mean")
        and (score.name == scorer or (score.scorer, score.name) == (scorer, part))
        for metric in score.metrics.values()
        if metric.name not in SPREADS
    ]
