"""Several arms of an experiment: which run comes from which training.

An arms file is a YAML::

    margins: [3, 5]            # points, chosen beforehand; for the verdicts
    arms:
      - {name: base, base: true, run: logs/base}
      - {domain: helpfulness, method: SFT, data: dolly-15k, seed: 1, run: logs/sft-dolly-1}
      - {domain: coding, method: SFT, data: magicoder, seed: 1, run: [logs/a.eval, logs/b.eval]}
      - {domain: helpfulness, method: GRPO, data: rlhflow, seed: 1, run: logs/grpo-rlhflow-1}

Paths are relative to the file. An arm may name several runs, one per benchmark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from value_retention.analysis.runs.names import check_names
from value_retention.tasks.errors import InputError

KEYS = {"name", "run", "domain", "method", "data", "seed", "base"}


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
    """The checkpoint that all others were trained from."""

    @property
    def recipe(self) -> tuple[str, str, str]:
        """Method, domain and data: arms of one recipe differ by seed only."""
        return self.method, self.domain, self.data


@dataclass(frozen=True)
class ArmsFile:
    """The content of an arms file."""

    arms: tuple[Arm, ...]
    margins: tuple[float, ...]
    allow: tuple[str, ...]


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
    _check_keys(content, {"arms", "margins", "allow"}, str(path))
    arms = [_arm(entry, index, path) for index, entry in enumerate(content["arms"])]
    _check_distinct(arms, str(path))
    margins = content.get("margins") or []
    if not isinstance(margins, list) or not all(isinstance(m, int | float) and m > 0 for m in margins):
        raise InputError("invalid margins", where=f"{path}, margins", found=margins,
                         expected="a list of numbers above 0, such as [3, 5]")  # fmt: skip
    allow = content.get("allow") or []
    if not isinstance(allow, list):
        raise InputError(
            "`allow` must be a list", where=f"{path}, allow", found=allow, expected="such as [judge]"
        )
    return ArmsFile(tuple(arms), tuple(float(m) for m in margins), tuple(map(str, allow)))


def _check_keys(entry: Mapping[str, Any], known: set[str], where: str) -> None:
    unknown = [str(key) for key in entry if key not in known]
    if unknown:
        raise InputError(
            "unknown key", where=where, found=", ".join(unknown), expected=", ".join(sorted(known))
        )


def _arm(entry: object, index: int, path: Path) -> Arm:
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
    base = bool(entry.get("base", False))
    domain, method, data = (str(entry.get(key) or "") for key in ("domain", "method", "data"))
    if not base and not (domain and method):
        raise InputError(
            "an arm needs domain and method", where=where, found=dict(entry),
            expected="domain and method, or base: true",
        )  # fmt: skip
    words = [method, domain, data, f"seed {seed}" if seed is not None else ""]
    name = str(entry.get("name") or " ".join(word for word in words if word) or "base")
    check_names([name, *runs], where)
    return Arm(name, tuple(str(path.parent / run) for run in runs), domain, method, data, seed, base)


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
    recipes = [(arm.recipe, arm.seed) for arm in arms if not arm.base]
    if len(set(recipes)) < len(recipes):
        raise InputError("two arms have the same domain, method, data and seed", where=where,
                         hint="set `data` or `seed` to tell them apart")  # fmt: skip
    bases = [arm.name for arm in arms if arm.base]
    if len(bases) > 1:
        raise InputError(
            "an experiment has at most one base", where=where, found=", ".join(bases), expected="one"
        )
