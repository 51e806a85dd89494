"""Several arms of an experiment: which run comes from which training.

An arms file is a YAML::

    margin: 5                  # points, chosen beforehand; for the verdicts
    arms:
      - {name: llama, role: base, run: logs/llama}
      - {name: midtrained, role: midtrain, run: logs/midtrained}
      - {domain: helpfulness, method: SFT, data: dolly-15k, seed: 1, run: logs/sft-dolly-1}
      - {domain: coding, method: SFT, data: magicoder, seed: 1, run: [logs/a.eval, logs/b.eval]}
      - {domain: helpfulness, method: GRPO, data: rlhflow, seed: 1, run: logs/grpo-rlhflow-1}

Paths are relative to the file. An arm may name several runs, one per benchmark. All trained arms (role ``post``, the
default) are compared with the ``midtrain`` arm, and with the ``base`` arm without mid-training. With both,
the report has the retained share of what mid-training gave. An arm of the role ``control`` was mid-trained on a neutral
topic: it has a score and no gain.

Further keys of an arm: ``mitigation`` (what was done to keep the value, such as ``replay 10 %``; the arm is compared
with the plain arm of the same method, domain and data), ``task_loss`` and ``value_loss`` (held-out loss, nats per
token), ``probe`` (share of pairs) and ``probe_margin`` (nats per token). ``tasks`` beside ``arms`` names the tasks
against which the value is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from value_retention.analysis.runs.names import check_names
from value_retention.tasks.errors import InputError
from value_retention.tasks.text import by_name

MEASURES = {
    "task_loss": (0.0, math.inf),
    "value_loss": (0.0, math.inf),
    "probe": (0.0, 1.0),
    "probe_margin": (-math.inf, math.inf),
}
"""Figures of an arm that need no judge, with the range of each."""

KEYS = {"name", "run", "domain", "method", "data", "seed", "role", "mitigation", *MEASURES}
ROLES = ("base", "midtrain", "post", "control")


@dataclass(frozen=True)
class Arm:
    """One trained checkpoint."""

    name: str
    runs: tuple[str, ...]
    """Paths of its runs."""
    domain: str = ""
    """Training domain, such as ``helpfulness``."""
    method: str = ""
    """Training method, such as ``SFT``."""
    data: str = ""
    """Data set."""
    seed: int | None = None
    base: bool = False
    """The checkpoint that the others are compared with: the one they were trained from."""
    before: bool = False
    """The checkpoint before mid-training, where ``base`` is the mid-trained one."""
    control: bool = False
    """A checkpoint mid-trained on a neutral topic."""
    mitigation: str = ""
    """What was done to keep the value, such as ``replay 10 %``; empty for a plain arm."""
    task_loss: float | None = None
    """Loss on held-out rows of the task, nats per token."""
    value_loss: float | None = None
    """Loss on held-out texts of the value, nats per token."""
    probe: float | None = None
    """Share of the probe's pairs in which the checkpoint prefers the answer with the value."""
    probe_margin: float | None = None
    """Mean margin of that preference, nats per token."""

    @property
    def trained(self) -> bool:
        """Whether the arm is a post-trained checkpoint."""
        return not (self.base or self.before or self.control)

    @property
    def plain(self) -> bool:
        """Whether it is post-trained without a mitigation."""
        return self.trained and not self.mitigation

    @property
    def recipe(self) -> tuple[str, ...]:
        """Method, domain, data, and the mitigation if there is one: arms of one recipe differ by seed only."""
        return (self.method, self.domain, self.data, *filter(None, [self.mitigation]))


@dataclass(frozen=True)
class ArmsFile:
    """The content of an arms file."""

    arms: tuple[Arm, ...]
    margin: float | None
    allow: tuple[str, ...]
    judge: str | None = None
    tasks: tuple[str, ...] = ()
    """Other tasks, or ``task_loss``, against which the value is drawn; empty for the first that the runs have."""


def read_arms(path: Path) -> ArmsFile:
    """Read an arms file.

    Raises:
        InputError: a missing file, invalid YAML, an unknown key, or two arms that are the same.
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        text = " ".join(str(error).split())
        raise InputError("the arms file cannot be read", where=str(path), found=text) from error
    if not isinstance(content, dict) or not isinstance(content.get("arms"), list):
        raise InputError(
            "the arms file has no list of arms", where=str(path), expected="a mapping with a list `arms`",
            hint="see `value-retention arms --help`",
        )  # fmt: skip
    _check_keys(content, {"arms", "margin", "allow", "judge", "tasks"}, str(path))
    arms = _with_roles([_arm(entry, index, path) for index, entry in enumerate(content["arms"])], str(path))
    margin = content.get("margin")
    if margin is not None and (
        isinstance(margin, bool) or not isinstance(margin, int | float) or margin <= 0
    ):
        raise InputError(
            "invalid margin", where=f"{path}, margin", found=margin, expected="points above 0, such as 5"
        )
    allow, tasks = (
        _listed(content, key, example, path) for key, example in (("allow", "[judge]"), ("tasks", "[ifeval]"))
    )
    judge = content.get("judge")
    if judge is not None and not isinstance(judge, str):
        raise InputError(
            "`judge` must be a name", where=f"{path}, judge", found=judge, expected="such as lab/judge"
        )
    return ArmsFile(tuple(arms), None if margin is None else float(margin), allow, judge, tasks)


def arms_text(content: ArmsFile) -> str:
    """An arms file with this content, from which `read_arms` reads it again; runs as they are in the arms."""
    import yaml

    entries = []
    for arm in content.arms:
        role = "control" if arm.control else "base" if arm.before else "midtrain" if arm.base else None
        plain = {"name": arm.name, "role": role, "run": list(arm.runs)}
        entry = plain | {key: getattr(arm, key) for key in sorted(KEYS - {"run", "name", "role"})}
        entries.append({key: value for key, value in entry.items() if value not in (None, "")})
    whole = {"margin": content.margin, "allow": list(content.allow), "judge": content.judge,
             "tasks": list(content.tasks), "arms": entries}  # fmt: skip
    kept = {key: value for key, value in whole.items() if value}
    return yaml.safe_dump(kept, sort_keys=False, allow_unicode=True)


def _listed(content: Mapping[str, Any], key: str, example: str, path: Path) -> tuple[str, ...]:
    """A key of the file that holds a list of names."""
    found = content.get(key) or []
    if not isinstance(found, list):
        raise InputError(
            f"`{key}` must be a list", where=f"{path}, {key}", found=found, expected=f"such as {example}"
        )
    return tuple(map(str, found))


def _with_roles(arms: Sequence[tuple[Arm, str]], where: str) -> list[Arm]:
    """Arms with the one that the others are compared with, and the one before mid-training.

    Raises:
        InputError: two arms that are the same, or two of a role that only one can have.
    """
    for role in ROLES[:2]:
        named = [arm.name for arm, own in arms if own == role]
        if len(named) > 1:
            raise InputError(
                f"an experiment has at most one {role} arm",
                where=where,
                found=", ".join(named),
                expected="one",
            )
    reference = "midtrain" if any(role == "midtrain" for _, role in arms) else "base"
    found = [
        replace(
            arm,
            base=role == reference,
            before=role == "base" and reference != "base",
            control=role == "control",
        )
        for arm, role in arms
    ]
    _check_distinct(found, where)
    # Roles first, then by name: nothing depends on the order of the file.
    return sorted(found, key=lambda arm: (not arm.before, not arm.base, not arm.control, by_name(arm.name)))


def _check_keys(entry: Mapping[str, Any], known: set[str], where: str) -> None:
    unknown = [str(key) for key in entry if key not in known]
    if unknown:
        raise InputError(
            "unknown key", where=where, found=", ".join(unknown), expected=", ".join(sorted(known))
        )


def _arm(entry: object, index: int, path: Path) -> tuple[Arm, str]:
    """An arm and its role."""
    where = f"{path}, arm {index + 1}"
    if not isinstance(entry, dict):
        raise InputError("an arm must be a mapping", where=where, found=entry, expected="run, domain, ...")
    _check_keys(entry, KEYS, where)
    runs = entry.get("run")
    runs = [runs] if isinstance(runs, str) else runs
    if not isinstance(runs, list) or not runs or not all(isinstance(run, str) for run in runs):
        raise InputError("an arm has no run", where=where, found=entry.get("run"), expected="path or list")
    seed = entry.get("seed")
    if seed is not None and not isinstance(seed, int):
        raise InputError("the seed must be an integer", where=where, found=seed)
    role = str(entry.get("role") or "post")
    if role not in ROLES:
        raise InputError("unknown role", where=where, found=role, expected=", ".join(ROLES))
    domain, method, data = (str(entry.get(key) or "") for key in ("domain", "method", "data"))
    if role == "post" and not (domain and method):
        raise InputError(
            "an arm needs domain and method", where=where, found=dict(entry),
            expected="domain and method, or role: base, midtrain or control",
        )  # fmt: skip
    mitigation = entry.get("mitigation") or ""
    if not isinstance(mitigation, str) or (mitigation and role != "post"):
        raise InputError(
            "invalid mitigation", where=where, found=f"{mitigation} (role {role})",
            expected="a text such as `replay 10 %`, for a post-trained arm",
        )  # fmt: skip
    words = [method, domain, data, mitigation, f"seed {seed}" if seed is not None else ""]
    name = str(entry.get("name") or " ".join(word for word in words if word) or role)
    check_names([name, *runs], where)
    arm = Arm(name, tuple(str(path.parent / run) for run in runs), domain, method, data, seed)
    measures: dict[str, Any] = {key: _measure(entry.get(key), key, where) for key in MEASURES}
    return replace(arm, mitigation=mitigation, **measures), role


def _measure(value: Any, key: str, where: str) -> float | None:
    """One of `MEASURES`; None where the arm does not give it."""
    low, high = MEASURES[key]
    known = isinstance(value, int | float) and not isinstance(value, bool)
    if value is None or (known and math.isfinite(value) and low <= value <= high):
        return None if value is None else float(value)
    limits = (
        "" if low == -math.inf else " of at least 0" if high == math.inf else f" from {low:g} to {high:g}"
    )
    raise InputError(f"invalid {key}", where=where, found=value, expected=f"a finite number{limits}")


def _check_distinct(arms: Sequence[Arm], where: str) -> None:
    if len(arms) < 2:
        raise InputError(
            "an experiment needs at least two arms", where=where, found=len(arms), expected="two or more"
        )
    names = [arm.name for arm in arms]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError("two arms have the same name", where=where, found=", ".join(twice),
                         hint="give them different names, data or seeds")  # fmt: skip
    recipes = [(arm.recipe, arm.seed) for arm in arms if arm.trained]
    if len(set(recipes)) < len(recipes):
        raise InputError("two arms have the same domain, method, data, mitigation and seed", where=where,
                         hint="set `data`, `mitigation` or `seed` to tell them apart")  # fmt: skip
