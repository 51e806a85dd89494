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
the report has the retained share of what mid-training gave.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from value_retention.analysis.runs.names import check_names
from value_retention.tasks.errors import InputError

KEYS = {"name", "run", "domain", "method", "data", "seed", "base", "role"}
ROLES = ("base", "midtrain", "post")


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

    @property
    def trained(self) -> bool:
        """Whether the arm is a post-trained checkpoint."""
        return not (self.base or self.before)

    @property
    def recipe(self) -> tuple[str, str, str]:
        """Method, domain and data: arms of one recipe differ by seed only."""
        return self.method, self.domain, self.data


@dataclass(frozen=True)
class ArmsFile:
    """The content of an arms file."""

    arms: tuple[Arm, ...]
    margin: float | None
    allow: tuple[str, ...]
    judge: str | None = None


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
    _check_keys(content, {"arms", "margin", "allow", "judge"}, str(path))
    arms = _with_roles([_arm(entry, index, path) for index, entry in enumerate(content["arms"])], str(path))
    margin = content.get("margin")
    if margin is not None and (
        isinstance(margin, bool) or not isinstance(margin, int | float) or margin <= 0
    ):
        raise InputError(
            "invalid margin", where=f"{path}, margin", found=margin, expected="points above 0, such as 5"
        )
    allow = content.get("allow") or []
    if not isinstance(allow, list):
        raise InputError(
            "`allow` must be a list", where=f"{path}, allow", found=allow, expected="such as [judge]"
        )
    judge = content.get("judge")
    if judge is not None and not isinstance(judge, str):
        raise InputError(
            "`judge` must be a name", where=f"{path}, judge", found=judge, expected="such as lab/judge"
        )
    return ArmsFile(tuple(arms), None if margin is None else float(margin), tuple(map(str, allow)), judge)


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
        replace(arm, base=role == reference, before=role == "base" and reference != "base")
        for arm, role in arms
    ]
    _check_distinct(found, where)
    return found


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
    role = str(entry.get("role") or ("base" if entry.get("base") else "post"))
    if role not in ROLES:
        raise InputError("unknown role", where=where, found=role, expected=", ".join(ROLES))
    domain, method, data = (str(entry.get(key) or "") for key in ("domain", "method", "data"))
    if role == "post" and not (domain and method):
        raise InputError(
            "an arm needs domain and method", where=where, found=dict(entry),
            expected="domain and method, or role: base or midtrain",
        )  # fmt: skip
    words = [method, domain, data, f"seed {seed}" if seed is not None else ""]
    name = str(entry.get("name") or " ".join(word for word in words if word) or role)
    check_names([name, *runs], where)
    return Arm(name, tuple(str(path.parent / run) for run in runs), domain, method, data, seed), role


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
        raise InputError("two arms have the same domain, method, data and seed", where=where,
                         hint="set `data` or `seed` to tell them apart")  # fmt: skip
