"""The steps of an audit as commands of lm-eval, Inspect and `value-retention judge`, and which of them are done.

A step writes to a folder that gets its name when the step has succeeded. The folder holds ``step.json``, which says
what was asked, so that the step is neither repeated nor taken for another one. What a killed step has paid for is in
the journal, in lm-eval's own cache or in Inspect's log.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from value_retention.adapters.identity import model_identity, without_speed
from value_retention.analysis.audit.spec import Audit, Model
from value_retention.tasks.errors import InputError

STEP = "step.json"
PYTHON = (sys.executable, "-P", "-m")
"""Runs a module. Without the working folder, in which a clone's metadata would hide those that are installed."""
CHAT = ("completions", "anthropic-chat", "textsynth", "watsonx_llm")
"""Endings of lm-eval's names of engines that call a server; these name the model ``model``, not ``pretrained``."""

SPEED = frozenset({"batch_size", "max_batch_size", "device", "cache_requests"})
"""Keys of lm-eval's configuration that change no answer."""


@dataclass(frozen=True)
class Step:
    """One command.

    Attributes:
        title: For people, such as ``answers of tuned``.
        folder: Its folder when it has succeeded.
        key: What was asked. A finished step with another key is not this one.
        config: Configuration that the command reads from `config_file`.
        command: The command.
        part: Folder that the command writes to.
        keep: Whether the command resumes from what it left in `part`.
        again: Whether a finished step with another key is done again instead of refused. What it asked is in the
            journal, so nothing is lost.
        copies: Folders that are copied into `part` before the command runs, by name.
    """

    title: str
    folder: Path
    key: Mapping[str, Any]
    config: Mapping[str, Any]
    command: tuple[str, ...]
    part: Path
    keep: bool = False
    again: bool = False
    copies: Mapping[str, Path] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Whether the step has succeeded.

        Raises:
            InputError: something else was asked when it was done.
        """
        key = self.finished_key
        if key is None:
            return False
        changed = [name for name in self.key.keys() | key.keys() if key.get(name) != self.key.get(name)]
        if changed and self.again:
            return False
        if changed:
            raise InputError(
                f"the {self.title} were made with other settings",
                where=str(self.folder),
                found="; ".join(f"{name} {_short(key.get(name))}" for name in sorted(changed)),
                expected="; ".join(f"{name} {_short(self.key.get(name))}" for name in sorted(changed)),
                hint="choose another folder (-o), or move this one away",
            )
        return True

    @property
    def finished_key(self) -> dict[str, Any] | None:
        """What was asked by the step that made the folder; None without a folder."""
        if not self.folder.exists():
            return None
        try:
            key: dict[str, Any] = json.loads((self.folder / STEP).read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(
                "this folder is not a step of an audit", where=str(self.folder), found=str(error),
                hint="choose another folder (-o), or move this one away",
            ) from error  # fmt: skip
        return key

    def begin(self) -> None:
        """Make the folder that the command writes to, and its configuration."""
        if self.part.exists() and not self.keep:
            shutil.rmtree(self.part)
        self.part.parent.mkdir(parents=True, exist_ok=True)
        for name, place in self.copies.items():
            shutil.copytree(place, self.part / name)
        if self.config:
            write_json(config_file(self.part), self.config)

    def finish(self) -> None:
        """Give the folder its name."""
        self.part.mkdir(parents=True, exist_ok=True)
        write_json(self.part / STEP, self.key)
        config_file(self.part).unlink(missing_ok=True)
        if self.folder.exists():
            shutil.rmtree(self.folder)
        self.part.replace(self.folder)


def config_file(part: Path) -> Path:
    """Configuration of a harness. JSON is YAML."""
    return part.with_name(f"{part.name}.yaml")


def write_json(path: Path, value: object) -> None:
    """Write a file completely or not at all."""
    draft = path.with_name(f"{path.name}.draft")
    draft.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", "utf-8")
    draft.replace(path)


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


def answer_steps(audit: Audit, folder: Path) -> list[Step]:
    """A step per model for the benchmarks and, where there are capability tasks, one for those."""
    found = []
    for name, model in audit.models.items():
        if model.model is None:
            continue
        made = _inspect if audit.inspect is not None else _lm_eval
        found.append(made(audit, name, model, folder / "answers" / name, f"answers of {name}", False))
        if audit.capability:
            title = f"capability answers of {name}"
            found.append(made(audit, name, model, folder / "capability" / name, title, True))
    return found


def judge_step(audit: Audit, folder: Path, answers: Sequence[Step]) -> Step | None:
    """The step that judges the answers of all models, under one budget. None if finished runs stand for all of them.

    It works on copies of the answers, because `value-retention judge` writes beside them.
    """
    own = {step.folder.name: step for step in answers if step.folder.parent.name == "answers"}
    if not own:
        return None
    part = folder / "grades.part"
    command = [*PYTHON, "value_retention.analysis.cli", "judge", "--judge", ",".join(audit.judge)]
    command += [f"{name}={part / name}" for name in own]
    if audit.judge_args:
        command += ["--judge-args", json.dumps(audit.judge_args)]
    if audit.data not in ("hub", "sample") and not audit.data.startswith("hub:"):
        command += ["--data", audit.data]
    if audit.budget is not None and audit.price is not None:
        price = audit.price
        command += ["--budget", str(audit.budget)]
        command += ["--price-in", str(price.input), "--price-out", str(price.output)]
    key = {
        "judge": list(audit.judge),
        "judge_args": audit.judge_args,
        "answers": {name: step.key for name, step in own.items()},
    }
    copies = {name: step.folder for name, step in own.items()}
    return Step("grades", folder / "grades", key, {}, tuple(command), part, again=True, copies=copies)


def ungraded(step: Step | None) -> list[str]:
    """Models whose answers a judge step has yet to judge."""
    if step is None or step.done:
        return []
    old = step.finished_key or {}
    if any(old.get(name) != step.key[name] for name in ("judge", "judge_args")):
        old = {}
    return [name for name, key in step.key["answers"].items() if old.get("answers", {}).get(name) != key]


def _lm_eval(audit: Audit, name: str, model: Model, folder: Path, title: str, capability: bool) -> Step:
    own = audit.lm_eval | (audit.capability.lm_eval if capability and audit.capability else {})
    engine = str(own.get("model", "hf"))
    slot = "model" if engine.endswith(CHAT) else "pretrained"
    args = {**own.get("model_args", {}), **model.args, slot: model.model}
    part = folder.with_name(f"{name}.part")
    config: dict[str, Any] = {**own, "model": engine, "model_args": args, "tasks": _tasks(audit, capability)}
    if capability:
        assert audit.capability
        config |= {"limit": audit.capability.limit} if audit.capability.limit else {}
    else:
        config["metadata"] = _metadata(audit)
    key = {
        "harness": "lm_eval",
        **{name: value for name, value in config.items() if name not in SPEED},
        "model_args": {k: v for k, v in without_speed(args).items() if k != "base_url"},
        "content": _content(model),
    }
    config |= {"log_samples": True, "output_path": str(part)}
    if capability:
        config["use_cache"] = str(folder.with_name(f"{name}.cache"))
    start = shlex.split(audit.command) if audit.command else [*PYTHON, "lm_eval"]
    command = (*start, "run", "--config", str(config_file(part)))
    return Step(title, folder, key, config, command, part)


def _inspect(audit: Audit, name: str, model: Model, folder: Path, title: str, capability: bool) -> Step:
    part = folder.with_name(f"{name}.part")
    own = dict(audit.inspect or {})
    tasks = _tasks(audit, capability)
    names = tasks if capability else [f"value_retention/{task}" for task in tasks]
    given = (
        []
        if capability
        else [f"-T{key}={_plain(value)}" for key, value in _metadata(audit).items() if key != "epochs"]
    )
    given += [f"-M{key}={_plain(value)}" for key, value in model.args.items()]
    if not capability and audit.epochs:
        given.append(f"--epochs={audit.epochs}")
    if capability and audit.capability and audit.capability.limit:
        given.append(f"--limit={audit.capability.limit}")
    key = {
        "harness": "inspect", "tasks": names, "model": model.model, "options": given, "config": own,
        "content": _content(model),
    }  # fmt: skip
    command = [*PYTHON, "inspect_ai", "eval-set", *names, "--model", str(model.model), *given]
    command += ["--log-dir", str(part), "--display", "plain", "--log-dir-allow-dirty"]
    command += ["--run-config", str(config_file(part))] if own else []
    return Step(title, folder, key, own, tuple(command), part, keep=True)


def _tasks(audit: Audit, capability: bool) -> list[str]:
    if capability:
        assert audit.capability
        return list(audit.capability.tasks)
    return list(audit.tasks)


def _metadata(audit: Audit) -> dict[str, Any]:
    """Settings of the benchmarks. The answers are judged in a step of their own."""
    found: dict[str, Any] = {"judge": "none", "data": audit.data}
    if audit.epochs:
        found["epochs"] = audit.epochs
    if audit.languages:
        found["languages"] = list(audit.languages)
    return found


def _plain(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _content(model: Model) -> str | None:
    """Hash of a local checkpoint's files. A checkpoint that was trained on since is another model."""
    if not os.path.exists(str(model.model)):
        return None
    return model_identity({"pretrained": model.model, **model.args}).digest


def free_folder(folder: Path) -> None:
    """Check that a folder can be the audit's, and make it.

    Raises:
        InputError: it is a file, cannot be written, or holds something other than an audit.
    """
    known = {"answers", "capability", "grades", "grades.part", "report", "report.part", "steps", ".lock"}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        others = sorted(entry.name for entry in folder.iterdir() if entry.name not in known)
        (folder / "steps").mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(
            "the audit's folder cannot be written", where=f"-o {folder}", found=str(error),
            expected="a new folder, or the one of this audit",
        ) from error  # fmt: skip
    if others:
        raise InputError(
            "the folder holds something other than an audit", where=f"-o {folder}", found=", ".join(others[:5]),
            expected="a new folder, or the one of this audit",
        )  # fmt: skip


def runs_of(audit: Audit, folder: Path) -> dict[str, list[str]]:
    """Paths of each model's judged answers."""
    return {
        name: list(model.runs) if model.runs else [str(folder / "grades" / name)]
        for name, model in audit.models.items()
    }


def capability_of(audit: Audit, folder: Path) -> list[str]:
    """``NAME=PATH`` of each model's capability runs."""
    found: list[str] = []
    for name, model in audit.models.items():
        paths: Iterable[str] = model.capability
        if model.model and audit.capability:
            paths = [str(folder / "capability" / name)]
        found += [f"{name}={path}" for path in paths]
    return found
