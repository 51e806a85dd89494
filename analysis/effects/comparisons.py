"""Comparisons: weighted sums of runs, whose weights add to 0.

A pair of runs has the weights -1 and +1. An experiment of several arms has gains over the base, domain effects,
replications and interactions, each a weighted sum of arms. An arm with a mitigation is compared with the plain arm of
the same method, domain and data, and enters nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from value_retention.analysis.effects.design import Arm
from value_retention.analysis.effects.rows import ComparisonKind
from value_retention.tasks.cluster import Floats


@dataclass(frozen=True, eq=False)
class Comparison:
    """A weighted sum of runs that answers one question.

    Attributes:
        kind: The question.
        statement: In words, ``coding − helpfulness within SFT``.
        weights: One per run; they add to 0.
        run: What has positive weight: a run's name, or a word or two.
        baseline: What has negative weight.
        recipes: One per run: runs of one recipe differ by their training seed only. An empty one is taken as
            given. None: not known.
        primary: Whether its overall mean is a primary figure: a candidate against its baseline.
    """

    kind: ComparisonKind
    statement: str
    weights: Floats
    run: str
    baseline: str
    recipes: tuple[tuple[str, ...], ...] | None = None
    primary: bool = False


def pairs(names: Sequence[str], baseline: str | None, before: str | None = None) -> list[Comparison]:
    """Every run against the baseline; without a baseline, every pair in order.

    Args:
        names: All runs.
        baseline: The run that the others are compared with.
        before: A run that only the retained share needs.
    """
    if baseline is None:
        chosen = list(combinations(range(len(names)), 2))
    else:
        first = list(names).index(baseline)
        chosen = [(first, k) for k, name in enumerate(names) if name not in (baseline, before)]
    found = []
    for a, b in chosen:
        weights = np.zeros(len(names))
        weights[a], weights[b] = -1.0, 1.0
        statement = f"{names[b]} against {names[a]}"
        found.append(Comparison("pair", statement, weights, names[b], names[a], primary=True))
    return found


def comparisons_of(arms: Sequence[Arm]) -> list[Comparison]:
    """Every comparison that the arms allow; weights are in the order of the arms.

    Of two domains, data sets or methods, the later by name is subtracted: coding − helpfulness. Within a cell (method
    and domain) data sets weigh the same, and so do the seeds of a data set. The gains over the base are primary: they
    ask whether post-training kept the value. Without a base, the domain effects are.
    """
    cells: dict[tuple[str, str], Floats] = {}
    for arm in arms:
        if arm.plain:
            cells.setdefault((arm.method, arm.domain), _cell_weights(arms, arm.method, arm.domain))
    recipes = tuple(arm.recipe if arm.trained else () for arm in arms)
    primary = "gain over base" if any(arm.base for arm in arms) else "domain effect"

    def comparison(kind: ComparisonKind, statement: str, weights: Floats, run: str, less: str) -> Comparison:
        return Comparison(kind, statement, weights, run, less, recipes, kind == primary)

    found = [comparison("gain over base", *gain) for gain in _gains(arms)]
    effects: dict[tuple[str, str, str], Floats] = {}
    for (m1, d1), (m2, d2) in combinations(sorted(cells), 2):
        if m1 == m2:
            effects[m1, d1, d2] = cells[m1, d1] - cells[m2, d2]
            statement = f"{d1} − {d2} within {m1}"
            found.append(comparison("domain effect", statement, effects[m1, d1, d2], d1, d2))
    found += _data_sets(arms, recipes)
    found += _mitigations(arms, recipes)
    methods, domains = (sorted({cell[k] for cell in cells}) for k in (0, 1))
    for m1, m2 in combinations(methods, 2):
        for d1, d2 in combinations(domains, 2):
            if (m1, d1, d2) in effects and (m2, d1, d2) in effects:
                weights = effects[m1, d1, d2] - effects[m2, d1, d2]
                statement = f"({d1} − {d2}) in {m1} less that in {m2}"
                found.append(comparison("domain x method", statement, weights, m1, m2))
    return found


def _cell_weights(arms: Sequence[Arm], method: str, domain: str) -> Floats:
    members = [arm for arm in arms if arm.plain and (arm.method, arm.domain) == (method, domain)]
    data = list(dict.fromkeys(arm.data for arm in members))
    seeds = {d: sum(arm.data == d for arm in members) for d in data}
    shares = [1 / (len(data) * seeds[arm.data]) if arm in members else 0.0 for arm in arms]
    return np.array(shares, dtype=np.float64)


def recipe_weights(arms: Sequence[Arm], recipe: tuple[str, ...]) -> Floats:
    """The mean over the seeds of a recipe, as weights of the arms."""
    same = np.array([float(arm.trained and arm.recipe == recipe) for arm in arms])
    return np.asarray(same / same.sum(), dtype=np.float64)


def _gains(arms: Sequence[Arm]) -> list[tuple[str, Floats, str, str]]:
    """Statement, weights and sides of each recipe's gain over the base."""
    found = []
    for base in (arm for arm in arms if arm.base):
        start = np.array([float(arm is base) for arm in arms])
        for recipe in sorted({arm.recipe for arm in arms if arm.plain}):
            text = " ".join(part for part in recipe if part)
            weights = recipe_weights(arms, recipe) - start
            found.append((f"{text} − {base.name}", weights, text, base.name))
    return found


def _data_sets(arms: Sequence[Arm], recipes: tuple[tuple[str, ...], ...]) -> list[Comparison]:
    """Replication: the domain effect with each data set, and data sets of one domain against each other."""
    distinct = sorted({arm.recipe for arm in arms if arm.plain})
    effects: list[Comparison] = []
    others: list[Comparison] = []
    for second, first in combinations(distinct, 2):
        (method, domain, data), (_, other, more) = first, second
        weights = recipe_weights(arms, second) - recipe_weights(arms, first)
        several = any(sum(r[:2] == recipe[:2] for r in distinct) > 1 for recipe in (first, second))
        if method == second[0] and domain != other and several:
            sides = f"{other} ({more})", f"{domain} ({data})"
            statement = f"{sides[0]} − {sides[1]} within {method}"
            effects.append(Comparison("domain effect by data", statement, weights, *sides, recipes))
        if first[:2] == second[:2]:
            statement = f"{more} − {data} ({domain} within {method})"
            others.append(Comparison("same domain, other data", statement, weights, more, data, recipes))
    return effects + others


def _mitigations(arms: Sequence[Arm], recipes: tuple[tuple[str, ...], ...]) -> list[Comparison]:
    """Each mitigation less the plain arm of the same method, domain and data.

    They are explored, without verdicts: the primary figures ask whether post-training kept the value, and a mitigation
    is chosen from several by its result.
    """
    found = []
    plain = {arm.recipe for arm in arms if arm.plain}
    for recipe in sorted({arm.recipe for arm in arms if arm.trained and not arm.plain}):
        *rest, mitigation = recipe
        if tuple(rest) in plain:
            name = " ".join(filter(None, rest))
            weights = recipe_weights(arms, recipe) - recipe_weights(arms, tuple(rest))
            statement = f"{name}: with {mitigation} − plain"
            found.append(Comparison("mitigation", statement, weights, f"{name}, {mitigation}", name, recipes))
    return found
