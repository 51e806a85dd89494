"""Other tasks in Inspect logs: the scores per sample, with the mean over epochs that Inspect takes.

Samples that were invalidated do not count, and are named.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from value_retention.adapters.readers.capability import Floats, SampleMetric, TaskSamples, is_figure, mean_of
from value_retention.adapters.readers.inspect import open_log, why_left_out
from value_retention.adapters.readers.log_state import asked, log_aspects
from value_retention.tasks.errors import InputError
from value_retention.tasks.record import canonical_json, text_hash

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalSample

SPREADS = {"stderr", "std", "var", "bootstrap_stderr", "bootstrap_std"}
"""Metrics that are not a score."""

LISTED = 2
"""Samples left out that a line names before it only counts them."""

LETTERS = {"C", "I", "P", "N"}
"""Inspect's grades as text: correct, incorrect, partial, no answer."""


def read_task_log(path: Path) -> TaskSamples:
    """One task of one run, from an Inspect log.

    Raises:
        InputError: an unreadable log, an eval that did not finish, or one whose samples were all invalidated.
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
    valid = [sample for sample in log.samples if sample.invalidation is None]
    invalid = [
        f"{s.id} epoch {s.epoch} ({why_left_out(s)})" for s in log.samples if s.invalidation is not None
    ]
    if not valid:
        raise InputError(
            "all samples of the log are left out",
            where=str(path),
            found=f"{len(invalid)} samples, the first is {invalid[0]}",
            expected="samples that were not invalidated",
        )
    groups = _grouped(valid)
    metrics, left_out = _metrics(log, groups)
    if invalid:
        more = f" and {len(invalid) - LISTED} more" if len(invalid) > LISTED else ""
        left_out.insert(0, f"sample {', '.join(invalid[:LISTED])}{more}")
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


def _grouped(samples: Iterable[EvalSample]) -> dict[str, list[EvalSample]]:
    """The epochs of each sample, by the hash of its id and input."""
    groups: dict[str, list[EvalSample]] = {}
    for sample in samples:
        groups.setdefault(text_hash(canonical_json([str(sample.id), asked(sample)])), []).append(sample)
    return groups


def _metrics(log: EvalLog, groups: Mapping[str, list[EvalSample]]) -> tuple[list[SampleMetric], list[str]]:
    """Usable metrics, the log's headline first, and the others with the reason."""
    found, unreadable = _values(groups)
    # The log's figures are over all samples, unless they were computed again after some were invalidated.
    everything = _grouped(log.samples or ())
    reported, _ = _values(everything)
    metrics, left_out = [], [f"{_name(*place)}: no number per sample" for place in sorted(unreadable)]
    headline = log.results.headline if log.results else None

    def later(place: tuple[str, str]) -> bool:
        return headline is None or place[0] != headline.scorer or place[1] not in ("", headline.score)

    for place in sorted(found, key=later):
        if place in unreadable:
            continue
        sums, whole = _means(found[place], groups), _means(reported[place], everything)
        figures = _reported(log, *place)
        if any(is_figure(mean_of(values, np.ones(len(values))), figures) for values in (whole, sums)):
            metrics.append(SampleMetric(_name(*place), sums, np.ones(len(sums))))
        else:
            left_out.append(f"{_name(*place)}: not a mean over samples that the log reports")
    return metrics, left_out


def _values(
    groups: Mapping[str, list[EvalSample]],
) -> tuple[dict[tuple[str, str], dict[str, list[float]]], set[tuple[str, str]]]:
    """The numbers of each scorer and part, by sample, and the scorers and parts that hold something else."""
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
    return found, unreadable


def _means(values: Mapping[str, list[float]], keys: Iterable[str]) -> Floats:
    """Mean over epochs of each sample; NaN where none has a value."""
    own = [np.array(values.get(key, [np.nan])) for key in keys]
    return np.array([v[np.isfinite(v)].mean() if np.isfinite(v).any() else np.nan for v in own])


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
