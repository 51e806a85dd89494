"""Several arms of an experiment: which run is which training, and the comparisons that follow from it.

An arms file is a YAML::

    margins: [3, 5]            # points, named beforehand; for the verdicts
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
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np

from value_retention.analysis.runs.names import check_names
from value_retention.analysis.stats.cluster import Floats
from value_retention.tasks.errors import InputError

Kind = Literal[
    "gain over base", "domain effect", "domain effect by data", "same domain, other data", "domain x method"
]

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
        """What arms that differ only by seed share."""
        return self.method, self.domain, self.data


@dataclass(frozen=True, eq=False)
class Comparison:
    """A weighted sum of arms that answers one question.

    Attributes:
        kind: What sort of question.
        statement: In words, ``coding − helpfulness within SFT``.
        weights: One per arm; they add up to 0.
        first: What has positive weight, in a word or two.
        second: What has negative weight.
    """

    kind: Kind
    statement: str
    weights: Floats
    first: str
    second: str


@dataclass(frozen=True)
class ArmsFile:
    """What an arms file says."""

    arms: tuple[Arm, ...]
    margins: tuple[float, ...]
    allow: tuple[str, ...]


def read_arms(path: Path) -> ArmsFile:
    """Read an arms file.

    Raises:
        InputError: no such file, no YAML, an unknown key, or arms that cannot be told apart.
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        text = " ".join(str(error).split())
        raise InputError("an arms file that cannot be read", where=str(path), found=text) from error
    if not isinstance(content, dict) or not isinstance(content.get("arms"), list):
        raise InputError(
            "an arms file without arms", where=str(path), expected="a mapping with a list `arms`",
            hint="see `value-retention arms --help`",
        )  # fmt: skip
    _check_keys(content, {"arms", "margins", "allow"}, str(path))
    arms = [_arm(entry, index, path) for index, entry in enumerate(content["arms"])]
    _check_distinct(arms, str(path))
    margins = content.get("margins") or []
    if not isinstance(margins, list) or not all(isinstance(m, int | float) and m > 0 for m in margins):
        raise InputError("margins that are no points", where=f"{path}, margins", found=margins,
                         expected="a list of numbers above 0, such as [3, 5]")  # fmt: skip
    allow = content.get("allow") or []
    if not isinstance(allow, list):
        raise InputError("allow is no list", where=f"{path}, allow", found=allow, expected="such as [judge]")
    return ArmsFile(tuple(arms), tuple(float(m) for m in margins), tuple(map(str, allow)))


def _check_keys(entry: Mapping[str, Any], known: set[str], where: str) -> None:
    unknown = [str(key) for key in entry if key not in known]
    if unknown:
        raise InputError(
            "an unknown key", where=where, found=", ".join(unknown), expected=", ".join(sorted(known))
        )


def _arm(entry: object, index: int, path: Path) -> Arm:
    where = f"{path}, arm {index + 1}"
    if not isinstance(entry, dict):
        raise InputError("an arm that is no mapping", where=where, found=entry, expected="run, domain, ...")
    _check_keys(entry, KEYS, where)
    runs = entry.get("run")
    runs = [runs] if isinstance(runs, str) else runs
    if not isinstance(runs, list) or not runs or not all(isinstance(run, str) for run in runs):
        raise InputError("an arm without a run", where=where, found=entry.get("run"), expected="path or list")
    seed = entry.get("seed")
    if seed is not None and not isinstance(seed, int):
        raise InputError("a seed that is no integer", where=where, found=seed)
    base = bool(entry.get("base", False))
    domain, method, data = (str(entry.get(key) or "") for key in ("domain", "method", "data"))
    if not base and not (domain and method):
        raise InputError(
            "an arm without domain or method", where=where, found=dict(entry),
            expected="domain and method, or base: true",
        )  # fmt: skip
    words = [method, domain, data, f"seed {seed}" if seed is not None else ""]
    name = str(entry.get("name") or " ".join(word for word in words if word) or "base")
    check_names([name, *runs], where)
    return Arm(name, tuple(str(path.parent / run) for run in runs), domain, method, data, seed, base)


def _check_distinct(arms: Sequence[Arm], where: str) -> None:
    if len(arms) < 2:
        raise InputError("fewer than two arms", where=where, found=len(arms), expected="two or more")
    names = [arm.name for arm in arms]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError("arms of the same name", where=where, found=", ".join(twice),
                         hint="give them names, data or seeds that differ")  # fmt: skip
    recipes = [(arm.recipe, arm.seed) for arm in arms if not arm.base]
    if len(set(recipes)) < len(recipes):
        raise InputError("two arms of one domain, method, data and seed", where=where,
                         hint="say how they differ: data or seed")  # fmt: skip
    bases = [arm.name for arm in arms if arm.base]
    if len(bases) > 1:
        raise InputError("more than one base", where=where, found=", ".join(bases), expected="one")


def comparisons_of(arms: Sequence[Arm]) -> list[Comparison]:
    """Every comparison that the arms allow.

    Within a cell (method and domain) data sets weigh the same, and so do the seeds of a data set.
    """
    cells: dict[tuple[str, str], Floats] = {}
    for arm in arms:
        if not arm.base:
            cells.setdefault((arm.method, arm.domain), _cell_weights(arms, arm.method, arm.domain))
    found = _gains(arms)
    for (m1, d1), (m2, d2) in combinations(cells, 2):
        if m1 == m2:
            weights = cells[m2, d2] - cells[m1, d1]
            found.append(Comparison("domain effect", f"{d2} − {d1} within {m1}", weights, d2, d1))
    found += _data_sets(arms)
    effects = {c.statement: c for c in found if c.kind == "domain effect"}
    methods = list(dict.fromkeys(method for method, _ in cells))
    domains = list(dict.fromkeys(domain for _, domain in cells))
    for (m1, m2), (d1, d2) in ((m, d) for m in combinations(methods, 2) for d in combinations(domains, 2)):
        names = [f"{d2} − {d1} within {m}" for m in (m1, m2)]
        if all(name in effects for name in names):
            weights = effects[names[1]].weights - effects[names[0]].weights
            statement = f"({d2} − {d1}) in {m2} less that in {m1}"
            found.append(Comparison("domain x method", statement, weights, m2, m1))
    return found


def _cell_weights(arms: Sequence[Arm], method: str, domain: str) -> Floats:
    members = [arm for arm in arms if not arm.base and (arm.method, arm.domain) == (method, domain)]
    data = list(dict.fromkeys(arm.data for arm in members))
    seeds = {d: sum(arm.data == d for arm in members) for d in data}
    shares = [1 / (len(data) * seeds[arm.data]) if arm in members else 0.0 for arm in arms]
    return np.array(shares, dtype=np.float64)


def _recipe_weights(arms: Sequence[Arm], recipe: tuple[str, str, str]) -> Floats:
    same = np.array([float(not arm.base and arm.recipe == recipe) for arm in arms])
    return np.asarray(same / same.sum(), dtype=np.float64)


def _gains(arms: Sequence[Arm]) -> list[Comparison]:
    base = [index for index, arm in enumerate(arms) if arm.base]
    if not base:
        return []
    start = np.zeros(len(arms))
    start[base[0]] = 1.0
    name = arms[base[0]].name
    found = []
    for recipe in dict.fromkeys(arm.recipe for arm in arms if not arm.base):
        text = " ".join(part for part in recipe if part)
        weights = _recipe_weights(arms, recipe) - start
        found.append(Comparison("gain over base", f"{text} − {name}", weights, text, name))
    return found


def _data_sets(arms: Sequence[Arm]) -> list[Comparison]:
    """Replication: the domain effect with each data set, and each pair of data sets against each other."""
    recipes = list(dict.fromkeys(arm.recipe for arm in arms if not arm.base))
    found: list[Comparison] = []
    for first, second in combinations(recipes, 2):
        several = any(sum(r[:2] == recipe[:2] for r in recipes) > 1 for recipe in (first, second))
        if first[0] == second[0] and first[1] != second[1] and several:
            weights = _recipe_weights(arms, second) - _recipe_weights(arms, first)
            names = [f"{domain} ({data})" for _, domain, data in (first, second)]
            statement = f"{names[1]} − {names[0]} within {first[0]}"
            found.append(Comparison("domain effect by data", statement, weights, names[1], names[0]))
    for first, second in combinations(recipes, 2):
        if first[:2] == second[:2]:
            weights = _recipe_weights(arms, second) - _recipe_weights(arms, first)
            statement = f"{second[2]} − {first[2]} ({first[1]} within {first[0]})"
            found.append(Comparison("same domain, other data", statement, weights, second[2], first[2]))
    return found
