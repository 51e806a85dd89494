"""The record of a run, ``value_retention_run.json``, and what a run must show: its parent and a clean stamp."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from value_retention.train.arguments import COMMIT, DataArguments, TrainError, is_first_process, say
from value_retention.train.rows import Rows, read_lines, rows_bytes

CARD = "value_retention_run.json"
PACKAGES = ("value-retention", "torch", "transformers", "trl", "peft", "accelerate", "datasets", "tokenizers")
STAMP_SCHEMA = 2
"""Of the stamps that `value-retention contamination` writes. A stamp says what was compared, so no other counts."""
BENCHMARKS = ("anima_2_2", "moru")
"""What a stamp must cover, by name. This folder imports nothing of the benchmarks."""

# Settings that may change when a run resumes because no weight depends on them: paths, logging, how often to
# save. Hashes identify the rows and the parent, so their paths may change too.
# fmt: off
FREE_KEYS = frozenset((
    "output_dir", "run_name", "logging_dir", "logging_strategy", "logging_first_step", "logging_steps",
    "log_level", "log_level_replica", "log_on_each_node", "report_to", "project", "trackio_space_id",
    "disable_tqdm", "save_strategy", "save_steps", "save_total_limit", "save_on_each_node",
    "resume_from_checkpoint", "push_to_hub", "hub_model_id", "hub_strategy", "hub_token", "hub_private_repo",
    "hub_always_push", "hub_revision", "dataloader_num_workers", "dataloader_prefetch_factor",
    "dataloader_persistent_workers", "dataloader_pin_memory", "dataset_num_proc", "log_completions",
    "num_completions_to_print", "ddp_timeout", "include_num_input_tokens_seen", "model_name_or_path",
    "model_revision", "dataset", "dataset_format", "dataset_config", "dataset_split", "dataset_revision",
    "datasets", "streaming", "shuffle_seed", "num_examples", "loss_tokens", "max_row_tokens", "tokenizer",
    "tokenizer_revision", "chat_template", "rows", "contamination_stamp", "contamination_unchecked", "held_out",
    "replay", "replay_rows", "parent", "domain", "mitigation", "eval_rows", "eval_strategy", "eval_steps",
    "eval_on_start", "per_device_eval_batch_size",
))
HOW = (
    "python -m value_retention.train.data --config ARM.yaml -o rows.jsonl && "
    "value-retention contamination rows.jsonl, then add --rows rows.jsonl to this command. "
    "--contamination_unchecked true skips the check, and the run's card records that"
)
# fmt: on


@dataclass
class Card:
    """The record of one run. Written when it starts and again when it ends."""

    stage: str
    config_hash: str
    """SHA-256 over what the weights depend on: settings, rows, parent and number of processes."""
    config: dict[str, Any]
    parent: dict[str, Any]
    data: dict[str, Any]
    contamination: dict[str, Any]
    seed: int
    world_size: int
    versions: dict[str, str]
    status: str = "running"
    """``running``, ``stopped`` (by SIGTERM, at a checkpoint), ``complete`` or ``merged``."""
    result: dict[str, Any] = field(default_factory=dict)
    started: str = field(default_factory=lambda: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))

    def write(self, folder: str | Path) -> None:
        """Write the card into a folder, atomically and once, not once per process."""
        if not is_first_process():
            return
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / f".{CARD}.{os.getpid()}"
        draft.write_text(json.dumps(asdict(self), indent=2, sort_keys=True, default=str) + "\n", "utf-8")
        draft.replace(folder / CARD)


def read_card(folder: str | Path) -> dict[str, Any]:
    """Return the card of a folder, empty if it has none.

    Raises:
        TrainError: The card is not a JSON object.
    """
    path = Path(folder) / CARD
    if not path.is_file():
        return {}
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise TrainError("invalid JSON in the card of the run", where=path, found=error) from error
    if not isinstance(card, dict):
        raise TrainError("the card of the run is not a JSON object", where=path)
    return card


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that results depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def make_card(
    stage: str, config: dict[str, Any], *, parent: dict[str, Any], rows: Rows, stamp: dict[str, Any]
) -> Card:
    """Make the card of a run that is about to start.

    Args:
        stage: ``midtrain``, ``sft`` or ``grpo``.
        config: Every setting of the script, resolved.
        parent: What `describe_parent` returned.
        rows: What to train on.
        stamp: What `check_stamp` returned.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    settings = json.loads(json.dumps(config, sort_keys=True, default=str))
    decisive = {
        "stage": stage,
        "settings": {key: value for key, value in settings.items() if key not in FREE_KEYS},
        "rows": rows.report.sha256,
        "parent": parent.get("weights_sha256") or [parent["name"], parent["revision"]],
        "world_size": world_size,
    }
    digest = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()
    return Card(
        stage=stage,
        config_hash=digest,
        config=settings,
        parent=parent,
        data=asdict(rows.report),
        contamination=stamp,
        seed=int(config.get("seed", 0)),
        world_size=world_size,
        versions=versions(),
    )


def describe_parent(name: str | None, revision: str) -> dict[str, Any]:
    """Identify the checkpoint that a run starts from.

    Args:
        name: Folder, name on the hub, or a GGUF file.
        revision: Commit on the hub; ignored for a folder or a file.

    Raises:
        TrainError: The model is missing, is an unmerged adapter, or is on the hub and has no commit.
    """
    folder = Path(name or "").expanduser()
    if name and folder.suffix == ".gguf" and folder.is_file():
        with folder.open("rb") as stream:
            return {"name": name, "revision": f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"}
    if name and folder.is_dir():
        if not (folder / "config.json").is_file():
            raise TrainError(
                "not a model checkpoint", where=folder, found="no config.json",
                hint="merge an adapter first: python -m value_retention.train.merge --model DIR --output DIR",
            )  # fmt: skip
        digest = hashlib.sha256()
        for file in sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")]):
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
        card = read_card(folder)
        known = {"config_hash": card.get("config_hash"), "stage": card.get("stage")}
        return {"name": name, "revision": None, "weights_sha256": digest.hexdigest(), **known}
    if not name or name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise TrainError(
            "checkpoint folder not found", where="model_name_or_path", found=name,
            expected="a folder, or OWNER/NAME on the hub",
        )  # fmt: skip
    if not COMMIT.fullmatch(revision):
        raise TrainError(
            "a model from the hub needs a pinned commit, because branches and tags move",
            where=f"model_revision of {name}", found=revision, expected="40 hex digits",
        )  # fmt: skip
    return {"name": name, "revision": revision}


def refuse_stale(card: Card, folder: str | Path) -> bool:
    """Return whether the folder already holds this run, complete.

    Args:
        card: The run that is about to start.
        folder: Its output folder.

    Raises:
        TrainError: The folder holds another run, or a checkpoint of unknown origin.
    """
    folder, old = Path(folder), read_card(folder)
    names = ("checkpoint-*", "config.json", "adapter_config.json")
    holds = [path.name for name in names for path in sorted(folder.glob(name))]
    if not holds:
        return False  # new, or the run ended before its first checkpoint
    if old.get("config_hash") != card.config_hash:
        raise TrainError(
            "the output folder holds another run" if old else "the output folder holds an unknown checkpoint",
            where=folder, found=_differences(old, card) if old else ", ".join(holds),
            hint="choose another --output_dir, or move the old folder away",
        )  # fmt: skip
    changed = [name for name, known in card.versions.items() if old.get("versions", {}).get(name) != known]
    if changed and old.get("status") != "complete":
        say(f"resuming with another version of {', '.join(changed)}")
    return old.get("status") == "complete"


def _differences(old: dict[str, Any], card: Card) -> str:
    def decisive(known: dict[str, Any]) -> dict[str, Any]:
        settings = {key: value for key, value in known["config"].items() if key not in FREE_KEYS}
        parent, rows = known["parent"].get("weights_sha256"), known["data"]["sha256"]
        more = {"stage": known["stage"], "world_size": known["world_size"], "parent": parent, "rows": rows}
        return settings | more

    before, now = decisive(old), decisive(asdict(card))
    return "; ".join(
        f"{key}: {before.get(key)!r} there, {now.get(key)!r} here"
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key)
    )


def check_stamp(arguments: DataArguments, rows: Rows) -> dict[str, Any]:
    """Check the contamination stamp of the rows before training.

    Args:
        arguments: Where the stamp is, or that the check is off.
        rows: What to train on. Rows of a shipped sample (the miniature) need a comparison with the sample items
            only.

    Returns:
        The stamp for the run's card, or ``{"status": "unchecked"}``. Its status is ``clean``, or ``clean of
        the sample items`` if the rows were not compared with the benchmarks themselves.

    Raises:
        TrainError: The stamp is missing or of another format, has hits, is for other rows, or does not cover the
            benchmarks.
    """
    if arguments.contamination_unchecked:
        say("the rows were not compared with the benchmarks")
        return {"status": "unchecked"}
    path = arguments.contamination_stamp or f"{arguments.rows}.stamp.json"
    if not Path(path).is_file():
        raise TrainError("the rows have no contamination stamp", where=path, hint=HOW)
    try:
        stamp = json.loads(Path(path).read_text(encoding="utf-8"))
        schema = stamp.get("schema")
        sha256, hits, questions = stamp["rows_sha256"], stamp["hits"], stamp["questions"]
        compared = {s["benchmark"]: s["is_benchmark"] is True for s in stamp["sources"] if s["questions"]}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise TrainError("invalid contamination stamp", where=path, found=repr(error), hint=HOW) from error
    if schema != STAMP_SCHEMA:
        raise TrainError(
            "the contamination stamp comes from another version of the check", where=path,
            found=f"schema {schema}", expected=f"schema {STAMP_SCHEMA}",
            hint=f"run `value-retention contamination {arguments.rows or 'rows.jsonl'}` again",
        )  # fmt: skip
    if sha256 != rows.report.sha256:
        raise TrainError(
            "the contamination stamp is for other rows", where=path, found=f"rows {sha256}",
            expected=f"rows {rows.report.sha256}", hint=HOW,
        )  # fmt: skip
    if hits != 0 or not questions:
        raise TrainError(
            "the contamination stamp is not clean", where=path,
            found=f"{hits} rows share text with a benchmark, {questions} questions were compared",
            hint="value-retention contamination rows.jsonl --drop clean.jsonl, then --rows clean.jsonl",
        )  # fmt: skip
    samples = [name for name in BENCHMARKS if compared.get(name) is False]
    miniature = _are_shipped(arguments, rows)
    lacking = [f"{name} (not compared)" for name in BENCHMARKS if name not in compared]
    if not miniature:
        lacking += [f"{name} (only its sample items)" for name in samples]
    if lacking:
        output = f" -o {arguments.contamination_stamp}" if arguments.contamination_stamp else ""
        data = f"{'sample' if miniature else 'hub'}{output}"
        raise TrainError(
            "the contamination stamp does not cover the benchmarks", where=path,
            found=f"missing: {', '.join(lacking)}", expected=f"{' and '.join(BENCHMARKS)}",
            hint=f"value-retention contamination {arguments.rows or 'rows.jsonl'} --data {data}"
            + ("" if miniature else ", or --data FOLDER without network access"),
        )  # fmt: skip
    return {"status": "clean of the sample items" if samples else "clean", **stamp}


def _are_shipped(arguments: DataArguments, rows: Rows) -> bool:
    """Whether the data set is a shipped sample and contains every row."""
    from value_retention.train import data

    if not (arguments.dataset or "").startswith("sample:"):
        return False
    whole = DataArguments(stage=rows.report.stage, dataset=arguments.dataset)
    shipped = {rows_bytes([row]) for row in data.shaped(data.read_source(whole), whole, Counter())}
    lines = (row for file in data.SAMPLES.glob("*.jsonl") for row in read_lines(file).rows)
    shipped |= {rows_bytes([{"text": row["text"].strip()}]) for row in lines if "text" in row}  # replayed
    return all(rows_bytes([row]) in shipped for row in rows.rows)
