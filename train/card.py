"""The card of a run, ``value_retention_run.json``: the data, parent, settings and versions of a checkpoint."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from value_retention.train.data import Report
from value_retention.train.errors import TrainError, is_first_process, say
from value_retention.train.source import COMMIT

CARD = "value_retention_run.json"
PACKAGES = ("value-retention", "torch", "transformers", "trl", "peft", "accelerate", "datasets", "tokenizers")

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
    "shuffle_seed", "num_examples", "num_tokens", "max_row_tokens", "tokenizer", "tokenizer_revision",
    "chat_template", "rows", "contamination_stamp", "contamination_unchecked",
))
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
    schema: int = 1

    def write(self, folder: str | Path) -> None:
        """Write the card into a folder, atomically and once, not once per process."""
        if not is_first_process():
            return
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / f".{CARD}.{os.getpid()}"
        draft.write_text(json.dumps(asdict(self), indent=2, sort_keys=True, default=str) + "\n", "utf-8")
        draft.replace(folder / CARD)


def read_card(folder: str | Path) -> dict[str, Any] | None:
    """Return the card of a folder, or None if it has none.

    Raises:
        TrainError: The card is not a JSON object.
    """
    path = Path(folder) / CARD
    if not path.is_file():
        return None
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
    stage: str, config: dict[str, Any], *, parent: dict[str, Any], report: Report, stamp: dict[str, Any]
) -> Card:
    """Make the card of a run that is about to start.

    Args:
        stage: ``midtrain``, ``sft`` or ``grpo``.
        config: Every setting of the script, resolved.
        parent: What `describe_parent` returned.
        report: Report on the rows.
        stamp: What `check_stamp` returned.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    settings = json.loads(json.dumps(config, sort_keys=True, default=str))
    decisive = {
        "stage": stage,
        "settings": {key: value for key, value in settings.items() if key not in FREE_KEYS},
        "rows": report.sha256,
        "parent": parent.get("weights_sha256") or [parent["name"], parent["revision"]],
        "world_size": world_size,
    }
    digest = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()
    return Card(
        stage=stage,
        config_hash=digest,
        config=settings,
        parent=parent,
        data=asdict(report),
        contamination=stamp,
        seed=int(config.get("seed", 0)),
        world_size=world_size,
        versions=versions(),
    )


def describe_parent(name: str | None, revision: str) -> dict[str, Any]:
    """Identify the checkpoint that a run starts from.

    Args:
        name: Folder, or name on the hub.
        revision: Commit on the hub; ignored for a folder.

    Raises:
        TrainError: The model is missing, is an unmerged adapter, or is on the hub and has no commit.
    """
    if name is None:
        raise TrainError(
            "no model to start from", where="model_name_or_path", expected="a folder or a hub name"
        )
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise TrainError(
                "not a model checkpoint", where=folder, found="no config.json",
                hint="merge an adapter first: python -m value_retention.train.merge --model DIR --output DIR",
            )  # fmt: skip
        digest = hashlib.sha256()
        for file in sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")]):
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
        card = read_card(folder) or {}
        return {
            "name": name,
            "revision": None,
            "weights_sha256": digest.hexdigest(),
            "config_hash": card.get("config_hash"),
            "stage": card.get("stage"),
        }
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise TrainError("checkpoint folder not found", where="model_name_or_path", found=name)
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
    folder = Path(folder)
    old = read_card(folder)
    holds = sorted(path.name for path in folder.glob("checkpoint-*")) if folder.is_dir() else []
    holds += [name for name in ("config.json", "adapter_config.json") if (folder / name).exists()]
    if old is None:
        if holds:
            raise TrainError(
                "the output folder holds a checkpoint of unknown origin", where=folder,
                found=", ".join(holds), hint="choose another --output_dir, or move the old folder away",
            )  # fmt: skip
        return False
    if not holds:
        return False  # the run ended before its first checkpoint
    if old.get("config_hash") != card.config_hash:
        raise TrainError(
            "the output folder holds a run with another config", where=folder,
            found=_differences(old, card), hint="choose another --output_dir, or move the old folder away",
        )  # fmt: skip
    changed = [name for name, known in card.versions.items() if old.get("versions", {}).get(name) != known]
    if changed and old.get("status") != "complete":
        say(f"resuming with another version of {', '.join(changed)}")
    return old.get("status") == "complete"


def _differences(old: dict[str, Any], card: Card) -> str:
    before, now = old.get("config", {}), card.config
    parts = [
        f"{key}: {before.get(key)!r} there, {now.get(key)!r} here"
        for key in sorted({*before, *now} - FREE_KEYS)
        if before.get(key) != now.get(key)
    ]
    for key in ("stage", "world_size"):
        if old.get(key) != getattr(card, key):
            parts.append(f"{key}: {old.get(key)!r} there, {getattr(card, key)!r} here")
    if old.get("data", {}).get("sha256") != card.data["sha256"]:
        parts.append("other rows")
    if old.get("parent", {}).get("weights_sha256") != card.parent.get("weights_sha256"):
        parts.append("another parent checkpoint")
    return "; ".join(parts) or "another config hash"
