"""A run in the schema of the Every Eval Ever project, version 0.3.0.

https://github.com/evaleval/every_eval_ever: one JSON file per run and benchmark with every figure, and beside it one
line per answer.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from value_retention.analysis.effects.provenance import warnings_of
from value_retention.analysis.effects.rows import Score
from value_retention.analysis.exchange.parts import Part
from value_retention.analysis.report.export import json_text, writing
from value_retention.analysis.runs.align import NORMALIZED, OVERALL
from value_retention.analysis.runs.identity import SAMPLING_NAMES
from value_retention.tasks.benchmark import benchmark_of
from value_retention.tasks.prompts import template_of, words_hash
from value_retention.tasks.record import AnswerRecord, JudgeInfo, canonical_json

SCHEMA_VERSION = "0.3.0"
WITHHELD = "[withheld: the benchmark's data are gated]"
ARGUMENTS = ("temperature", "top_p", "top_k", "max_tokens")
"""Sampling settings with a field of their own."""


def write_every_eval_ever(
    parts: Sequence[Part],
    folder: Path,
    *,
    model_id: str | None = None,
    organization: str = "unknown",
    relationship: str = "other",
    texts: bool = False,
) -> list[Path]:
    """Write the files of every run and benchmark below ``data/BENCHMARK/DEVELOPER/MODEL``.

    The same run gets the same file names and the same ``evaluation_id``.

    Args:
        parts: Runs.
        folder: Where to.
        model_id: Public name of the model; None for the name in the records.
        organization: Who ran the evaluation.
        relationship: Of that organization to the model's developer.
        texts: Whether to include questions and answers, which are gated.

    Raises:
        InputError: a model without a public name.
    """
    models = [part.model_id(model_id) for part in parts]
    written = []
    for part, model in zip(parts, models, strict=True):
        name = f"{part.scores.benchmark}/{model}/{part.scores.fingerprint[:16]}"
        file = str(uuid.UUID(bytes=hashlib.sha256(name.encode()).digest()[:16], version=4))
        developer, _, rest = model.partition("/")
        place = Path("data") / part.scores.benchmark / developer / rest.replace("/", "_")
        samples = folder / place / f"{file}_samples.jsonl"
        lines = [canonical_json(line) for line in _samples(part, name, model, texts)]
        content = "".join(f"{line}\n" for line in lines)
        with writing(samples):
            samples.write_text(content, "utf-8")
        log = _log(part, name, model) | {
            "source_metadata": {
                "source_name": "value-retention",
                "source_type": "evaluation_run",
                "source_organization_name": organization,
                "evaluator_relationship": relationship,
            },
            "detailed_evaluation_results": {
                "format": "jsonl",
                "file_path": (place / samples.name).as_posix(),
                "hash_algorithm": "sha256",
                "checksum": hashlib.sha256(content.encode()).hexdigest(),
                "total_rows": len(lines),
            },
        }
        path = folder / place / f"{file}.json"
        with writing(path):
            path.write_text(json_text(log), "utf-8")
        written += [path, samples]
    return written


def _log(part: Part, name: str, model: str) -> dict[str, Any]:
    """The aggregate file without its source and its samples."""
    run = part.records[0].run
    kind = "self_deployed" if "pretrained" in run.model_args else "unknown"
    about = {
        "run": part.scores.run,
        "questions": str(part.judged.questions),
        "questions_in_data": str(part.judged.questions_in_data or "unknown"),
        "answers_per_question": part.judged.epochs,
        "answers_without_score": str(sum(record.overall is None for record in part.records)),
        "warnings": " ".join(warnings_of([part.judged])) or "none",
    }
    return {
        "schema_version": SCHEMA_VERSION,
        "evaluation_id": name,
        "retrieved_timestamp": str(int(time.time())),
        **({"evaluation_timestamp": part.date} if part.date else {}),
        "eval_library": {
            "name": run.harness,
            "version": run.harness_version,
            "additional_details": {"value_retention": version("value-retention"), **about},
        },
        "model_info": _model(model, kind),
        "evaluation_results": [_result(part, figure, name) for figure in part.figures if figure.score is not None],
    }  # fmt: skip


def _model(name: str, deployment: str = "unknown") -> dict[str, Any]:
    details = {"deployment_type": deployment, "model_availability": "unknown"}
    return {"name": name, "id": name, "additional_details": details}


def _result_id(name: str, metric: str) -> str:
    return f"{name}#{metric}"


def _result(part: Part, figure: Score, name: str) -> dict[str, Any]:
    """One figure, in [0, 1], with its interval."""
    interval = {
        "lower": (figure.low or 0.0) / 100,
        "upper": (figure.high or 0.0) / 100,
        "confidence_level": 0.95,
        "method": "Wilson score interval with the effective number of clusters",
    }
    counts = {
        key: str(getattr(figure, key))
        for key in ("clusters", "questions", "answers", "grades", "grades_missing")
    }
    return {
        "evaluation_result_id": _result_id(name, figure.metric),
        "evaluation_name": f"{part.scores.benchmark}.{figure.metric}",
        "source_data": _data(part),
        "metric_config": _metric(part, figure),
        "score_details": {
            "score": min(max(figure.score or 0.0, 0.0), 100.0) / 100,
            "details": counts | {"kind": figure.kind} | figure.reasons,
            "uncertainty": {"num_samples": figure.clusters}
            | ({} if figure.low is None or figure.high is None else {"confidence_interval": interval}),
        },
        "generation_config": _generation(part.records[0]),
    }


def _data(part: Part) -> dict[str, Any]:
    """Where the questions come from: the Hub, or not."""
    benchmark, data = benchmark_of(part.records[0]), part.records[0].data
    details = {
        "revision": data.revision,
        "content_hash": data.content_hash,
        "benchmark_version": part.records[0].benchmark_version,
        "dropped_rows": ", ".join(f"{row.row} ({row.reason})" for row in data.dropped) or "none",
        "is_benchmark": str(data.is_benchmark).lower(),
    }
    if data.source == "hub":
        found: dict[str, Any] = {
            "dataset_name": benchmark.name,
            "source_type": "hf_dataset",
            "hf_repo": benchmark.questions.repo,
            "samples_number": part.judged.questions,
        }
    else:
        what = "a copy of its data in a folder" if data.is_benchmark else "not the benchmark's data"
        found = {"dataset_name": f"{benchmark.name} ({what})", "source_type": "other"}
    return found | {"additional_details": details}


def _metric(part: Part, figure: Score) -> dict[str, Any]:
    """What is measured, and by which judges."""
    first, benchmark = part.records[0], benchmark_of(part.records[0])
    what = {
        OVERALL: "mean over questions of the weighted mean of the grades per dimension",
        NORMALIZED: "weighted mean of the means per dimension",
    }
    config: dict[str, Any] = {
        "evaluation_description": what.get(figure.metric, f"the same for {figure.kind} {figure.metric}"),
        "metric_id": f"{benchmark.name}.{figure.metric}",
        "metric_name": figure.metric,
        "metric_kind": "pass_rate",
        "metric_unit": "proportion",
        "lower_is_better": False,
        "score_type": "continuous",
        "min_score": 0.0,
        "max_score": 1.0,
        "additional_details": {"judge": part.judged.judge, "parser": first.parser},
    }
    judges = [judge for judge in first.judges if judge.is_llm]
    if judges:
        config["llm_scoring"] = {
            "judges": [_judge(judge) for judge in judges],
            "input_prompt": _prompt(first),
            **({"aggregation_method": "average"} if len(judges) > 1 else {}),
            "additional_details": {"rubric_hash": first.rubric_hash},
        }
    return config


def _prompt(record: AnswerRecord) -> str:
    """The judge's prompt before question, answer and criterion are filled in, if it is the one installed here."""
    benchmark, revision = benchmark_of(record), record.data.revision.partition("+")[0]
    if record.rubric_hash != words_hash(benchmark, revision):
        return f"a prompt that is not installed here; SHA-256 of its words: {record.rubric_hash}"
    return template_of(benchmark)


def _judge(judge: JudgeInfo) -> dict[str, Any]:
    temperature = judge.settings.get("temperature")
    known = {"temperature": float(temperature)} if isinstance(temperature, int | float) else {}
    details = {"settings": canonical_json(judge.settings)}
    return {"model_info": _model(judge.name), **known, "additional_details": details}


def _generation(record: AnswerRecord) -> dict[str, Any]:
    """How the answers were sampled."""
    given = {SAMPLING_NAMES.get(name, name): value for name, value in record.run.sampling.items()}
    known = {name: given[name] for name in ARGUMENTS if isinstance(given.get(name), int | float)}
    rest = {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in given.items()
        if name not in known
    }
    return {"generation_args": known, "additional_details": rest}


def _samples(part: Part, name: str, model: str, texts: bool) -> Iterator[dict[str, Any]]:
    """A line per answer with a score, linked to the overall mean. A missing grade is never a 0."""
    for record in part.records:
        if record.overall is None:
            continue
        hashed = json.dumps({"raw": record.question, "reference": []}, sort_keys=True, separators=(",", ":"))
        thoughts = {"reasoning_trace": [record.reasoning]} if texts and record.reasoning else {}
        yield {
            "schema_version": SCHEMA_VERSION,
            "evaluation_id": name,
            "model_id": model,
            "evaluation_name": f"{part.scores.benchmark}.{OVERALL}",
            "evaluation_result_id": _result_id(name, OVERALL),
            "sample_id": record.item,
            "sample_hash": hashlib.sha256(hashed.encode()).hexdigest(),
            "interaction_type": "single_turn",
            "input": {"raw": record.question if texts else WITHHELD, "reference": []},
            "output": {"raw": [record.answer if texts else WITHHELD], **thoughts},
            "answer_attribution": [],
            "evaluation": {"score": record.overall, "is_correct": record.overall == 1.0},
            "metadata": {
                "epoch": str(record.epoch),
                "language": record.language,
                "cluster": record.cluster,
                "answer_sha256": record.answer_hash,
                "dimension_scores": canonical_json(record.dimension_scores),
                "grades_missing": str(record.grades_missing),
                "grades": canonical_json(
                    [[g.dimension, g.variables, g.judge, g.outcome, g.grade] for g in record.grades]
                ),
            },
        }
