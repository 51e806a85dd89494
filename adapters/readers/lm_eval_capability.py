"""Other tasks in lm-eval's output: ``samples_<task>_<time>.jsonl`` with the results file of the same time."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from value_retention.adapters.readers.capability import (
    SampleMetric,
    TaskGroup,
    TaskSamples,
    is_figure,
    mean_of,
    sum_and_size,
)
from value_retention.adapters.readers.own import run_key
from value_retention.tasks.errors import InputError
from value_retention.tasks.record import canonical_json, text_hash

NOT_CONFIGURED = {"task", "task_alias", "tag", "metadata", "num_fewshot", "filter_list"}
NOT_CONFIGURED |= {
    "generation_kwargs",
    "dataset_path",
    "dataset_name",
    "dataset_kwargs",
    "should_decontaminate",
}
"""Keys of a task's configuration that are compared elsewhere, name a place, or cannot move a score."""

MEANS = ("mean", "nanmean")


def results_beside(path: Path) -> tuple[Path, dict[str, Any]]:
    """The results file of the run that wrote a samples file, and its content.

    Raises:
        InputError: no results file of the same time, or invalid JSON.
    """
    found = sorted(path.parent.glob(f"*_{run_key(path)}.json"))
    if len(found) != 1:
        raise InputError(
            "the samples file has no results file",
            where=str(path),
            found=", ".join(map(str, found)) or None,
            expected=f"results_{run_key(path)}.json in the same folder",
            hint="copy the whole output folder of lm_eval",
        )
    try:
        value = json.loads(found[0].read_text("utf-8"))
        if isinstance(value, dict) and isinstance(value.get("results"), dict):
            return found[0], value
        raise ValueError("no results in it")
    except ValueError as error:
        raise InputError(
            "cannot read the results file",
            where=str(found[0]),
            found=str(error),
            expected="a results file of lm_eval",
        ) from error


def read_task(path: Path, beside: Path, results: Mapping[str, Any]) -> TaskSamples:
    """One task of one run.

    Args:
        path: The samples file.
        beside: The results file.
        results: Its content.

    Raises:
        InputError: an unreadable or incomplete file, or samples whose mean is not the reported one.
    """
    task = path.name.removeprefix("samples_").rpartition("_")[0]
    if task not in results["results"]:
        raise InputError(
            "the results file does not hold the task",
            where=str(path),
            found=", ".join(results["results"]),
            expected=task,
        )
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in sample_rows(path):
        rows.setdefault(str(row.get("filter", "none")), []).append(row)
    for filter_name, own in rows.items():
        own.sort(key=lambda row: row["doc_id"])
        expected = results.get("n-samples", {}).get(task, {}).get("effective", len(own))
        if len(own) != expected:
            raise InputError(
                "the samples file is incomplete",
                where=f"{path}, filter {filter_name}",
                found=f"{len(own)} samples",
                expected=f"{expected} samples",
                hint="copy the file again",
            )
    first = next(iter(rows.values()), [])
    metrics, left_out = _metrics(path, task, rows, results)
    documents = [row_hash(row, "doc") for row in first]
    return TaskSamples(
        task=task,
        files=(str(path), str(beside)),
        keys=tuple(_numbered(documents)),
        questions=tuple(documents),
        prompts=tuple(row_hash(row, "prompt") + row_hash(row, "target") for row in first),
        metrics=tuple(metrics),
        left_out=tuple(left_out),
        aspects=task_aspects(task, results),
    )


def groups_of(results: Mapping[str, Any], tasks: Mapping[str, TaskSamples]) -> Iterator[TaskGroup | str]:
    """The groups of a run that report a figure; a text says why a group is left out.

    The results file does not say how a group weighs its tasks. The weighting is the one that gives its figure.
    """
    for name, figures in (results.get("groups") or {}).items():
        leaves = list(dict.fromkeys(_leaves(name, results.get("group_subtasks") or {})))
        for key, reported in _figures(figures):
            own = [leaf for leaf in leaves if key in results["results"].get(leaf, {})]
            values = np.array([results["results"][leaf][key] for leaf in own], dtype=np.float64)
            sizes = np.array(
                [results["results"][leaf].get("sample_len", 0) for leaf in own], dtype=np.float64
            )
            metric = key.removesuffix(",none")
            if not any(leaf in tasks for leaf in own):
                continue
            if any(leaf not in tasks or metric not in [m.name for m in tasks[leaf].metrics] for leaf in own):
                yield f"{name}, {metric}: the samples of a task are missing"
                continue
            means = {"size": mean_of(values * sizes, sizes), "equal": float(values.mean())}
            weightings = tuple(kind for kind, mean in means.items() if is_figure(mean, [reported]))
            yield (
                TaskGroup(name, metric, tuple(own), weightings)
                if weightings
                else f"{name}, {metric}: not a mean over its tasks"
            )


def sample_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a samples file.

    Raises:
        InputError: invalid JSON, as in a truncated file, or a row without its document.
    """
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line.decode("utf-8"))
                if missing := {"doc_id", "doc", "target"} - row.keys():
                    raise KeyError(*sorted(missing))
            except (ValueError, KeyError, AttributeError, RecursionError) as error:
                raise InputError(
                    "cannot read the samples file",
                    where=f"{path}, line {number}",
                    found=f"{type(error).__name__}: {error}",
                    expected="a complete file from lm_eval --log_samples",
                    hint="if the file was truncated, copy it again; otherwise run lm_eval again",
                ) from error
            yield row


def _figures(of: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Metric and filter, and the figure, in the order of the task: ``("exact_match,strict-match", 0.5)``."""
    return [
        (key, float(value))
        for key, value in of.items()
        if "," in key and not key.partition(",")[0].endswith("_stderr") and isinstance(value, int | float)
    ]


def _metrics(
    path: Path, task: str, rows: Mapping[str, Sequence[Mapping[str, Any]]], results: Mapping[str, Any]
) -> tuple[list[SampleMetric], list[str]]:
    """Usable metrics, and the others with the reason."""
    listed = results.get("configs", {}).get(task, {}).get("metric_list") or []
    declared = {str(entry.get("metric")): entry.get("aggregation") for entry in listed}
    better = results.get("higher_is_better", {}).get(task, {})
    metrics, left_out = [], []
    for key, reported in _figures(results["results"][task]):
        name, _, filter_name = key.partition(",")
        values = [
            sum_and_size(row[name]) if name in row else (np.nan, 1) for row in rows.get(filter_name, ())
        ]
        shown = key.removesuffix(",none")
        if not values or any(value is None for value in values):
            left_out.append(f"{shown}: no number per sample")
            continue
        sums, sizes = np.array(values, dtype=np.float64).T
        mean = mean_of(sums, sizes)
        if is_figure(mean, [reported]):
            metrics.append(SampleMetric(shown, sums, sizes, better.get(name)))
        elif declared.get(name) in MEANS and np.isfinite(reported):
            raise InputError(
                "the samples do not give the reported score",
                where=f"{path}, {shown}",
                found=f"mean {mean!r}",
                expected=f"{reported!r}, as in the results file",
                hint="the samples and the results are not from one run, or a file was changed",
            )
        else:
            left_out.append(f"{shown}: not a mean over samples")
    return metrics, left_out


def row_hash(row: Mapping[str, Any], what: str) -> str:
    """lm-eval's hash of a part of a sample; older versions log none."""
    logged = row.get(f"{what}_hash")
    part = row.get("arguments") if what == "prompt" else row[what]
    return str(logged) if logged else text_hash(canonical_json(part))


def _numbered(hashes: Sequence[str]) -> Iterator[str]:
    """Each hash; one that occurs again with its number, so that equal documents stay apart."""
    seen: Counter[str] = Counter()
    for value in hashes:
        yield value if not seen[value] else f"{value}#{seen[value]}"
        seen[value] += 1


def task_aspects(task: str, results: Mapping[str, Any]) -> dict[str, str]:
    """What has to be equal between two runs of a task, as text."""
    config = results.get("configs", {}).get(task, {})
    rest = {key: value for key, value in config.items() if key not in NOT_CONFIGURED}
    # A function without source is logged with its address.
    plain = re.sub(r" at 0x[0-9a-f]+", "", canonical_json(rest))
    return {
        "task version": str(results.get("versions", {}).get(task)),
        "examples in the prompt (n-shot)": str(results.get("n-shot", {}).get(task)),
        "filters": canonical_json(config.get("filter_list") or "none"),
        "generation settings": canonical_json(config.get("generation_kwargs") or "none"),
        "task configuration": f"hash {text_hash(plain)[:12]}",
        "chat template": _short(results.get("chat_template_sha")),
        "system prompt": _short(results.get("system_instruction_sha")),
        "few-shot as turns": str(bool(results.get("fewshot_as_multiturn"))),
    }


def _short(digest: object) -> str:
    return f"hash {str(digest)[:12]}" if digest else "none"


def _leaves(name: str, children: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Tasks below a group."""
    for child in children.get(name, ()):
        if child in children and child != name:
            yield from _leaves(child, children)
        else:
            yield child
