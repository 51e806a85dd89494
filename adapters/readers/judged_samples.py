"""Records from lm-eval's samples of judged tasks that are not ours: tasks named ``..._llm_judged``, such as PISA.

With ``--score METRIC``, the samples of any task are read whose metric is 0, 0.5 or 1 per document.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from value_retention.adapters.readers.judged import (
    JudgedAnswer,
    JudgedEval,
    definition_of,
    design_of,
    record_of,
    worth,
)
from value_retention.adapters.readers.lm_eval_capability import (
    results_beside,
    row_hash,
    sample_rows,
    task_aspects,
)
from value_retention.adapters.settings import public_args
from value_retention.tasks.errors import InputError
from value_retention.tasks.record import UNKNOWN, AnswerRecord, JudgeInfo, RunInfo
from value_retention.tasks.scale import Scale

JUDGED_TASK = "_llm_judged"
"""Ending of the names of lm-eval's tasks that ask a judge."""


def judged_samples(path: Path, chosen: str | None) -> Iterator[AnswerRecord]:
    """Records of a samples file of another task: one that asks a judge, or whose metric the user named.

    Args:
        path: The samples file, beside its results file.
        chosen: The metric, with its filter where there are several: ``acc`` or ``acc,strict-match``.

    Raises:
        InputError: no results file, several filters or metrics and none named, or a value other than 0 and 1.
    """
    task = path.name.removeprefix("samples_").rpartition("_")[0]
    if chosen is None and not task.endswith(JUDGED_TASK):
        return
    metric, _, filter_name = (chosen or "").partition(",")
    rows = [row for row in sample_rows(path) if not filter_name or row.get("filter") == filter_name]
    metric = metric or _only(
        "metrics", [name for row in rows[:1] for name in row.get("metrics", ["acc"])], path
    )
    rows = [row for row in rows if metric in row]
    if not rows:
        return
    _only("filters", list(dict.fromkeys(str(row.get("filter", "none")) for row in rows)), path, f"{metric},")
    made = _lm_eval_eval(path, task, metric, rows)
    for row in rows:
        place = f"{path}, document {row['doc_id']}"
        document = row["doc"] if isinstance(row["doc"], dict) else {}
        question = document.get("question")
        answer = JudgedAnswer(
            item=str(row["doc_id"]),
            epoch=1,
            question=question if isinstance(question, str) else _prompt(row),
            text=_first(row.get("filtered_resps") or row.get("resps")),
            facts=document,
            grade=worth(row[metric], place),
        )
        yield record_of(made, answer, place)


def _only(what: str, found: Sequence[str], path: Path, prefix: str = "") -> str:
    if len(found) != 1:
        raise InputError(
            f"the samples file has several {what}" if found else f"the samples file has no {what}",
            where=str(path),
            found=", ".join(found) or None,
            expected="one",
            hint=f"choose one: --score {prefix}{found[0] if found else 'METRIC'}",
        )
    return found[0]


def _first(value: Any) -> str:
    """The first text in a list of answers, or of lists of them."""
    while isinstance(value, list) and value:
        value = value[0]
    return value if isinstance(value, str) else ""


def _prompt(row: Mapping[str, Any]) -> str:
    arguments = row.get("arguments")
    if isinstance(arguments, Mapping):
        arguments = next(iter(arguments.values()), "")
        return str(arguments.get("arg_0", "")) if isinstance(arguments, Mapping) else str(arguments)
    return _first(arguments)


def _lm_eval_eval(path: Path, task: str, metric: str, rows: Sequence[Mapping[str, Any]]) -> JudgedEval:
    _, results = results_beside(path)
    aspects = task_aspects(task, results)
    config = results.get("configs", {}).get(task, {})
    version = str(results.get("lm_eval_version") or UNKNOWN)
    hashes = sorted([str(row["doc_id"]), row_hash(row, "doc"), row_hash(row, "target")] for row in rows)
    args = results.get("config", {}).get("model_args") or {}
    if isinstance(args, str):
        args = dict(part.split("=", 1) for part in args.split(",") if "=" in part)
    sampling = dict(config.get("generation_kwargs") or {})
    sampling |= {
        "apply_chat_template": bool(results.get("chat_template")),
        "system_instruction": results.get("system_instruction"),
    }
    sampling |= {
        name: aspects[name]
        for name in ("examples in the prompt (n-shot)", "task configuration", "few-shot as turns")
    }
    size = results.get("n-samples", {}).get(task, {}).get("original")
    half = any(row[metric] == 0.5 for row in rows)
    grades = {"from": 0.0, "to": 1.0, "step": 0.5 if half else 1.0}
    return JudgedEval(
        design=design_of(
            definition_of(task, f"lm-eval, {metric}", grades, 1, size),
            aspects["task version"],
            hashes,
            str(config.get("dataset_path")).count("/") == 1,
            f"lm_eval-{version}",
            UNKNOWN,
        ),
        dimension=metric,
        scale=Scale("numbers", (("0", 0.0), ("0.5", 0.5), ("1", 1.0)) if half else (("0", 0.0), ("1", 1.0))),
        judge=JudgeInfo(UNKNOWN),
        run=RunInfo(
            "lm_eval",
            version,
            str(args.get("pretrained") or args.get("model") or results.get("model_name") or UNKNOWN),
            model_args=public_args(args),
            sampling=sampling,
        ),
    )
