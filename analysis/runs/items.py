"""Whether answers agree about the items they answer, within a run and between runs. If not, a record was edited."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from value_retention.tasks.check import ORIGINAL, check_item, item_facts
from value_retention.tasks.errors import InputError
from value_retention.tasks.record import UNKNOWN, AnswerRecord


def check_run(records: Iterable[AnswerRecord], where: str) -> None:
    """Refuse a run in which an item has two questions, languages or weights, or a dimension two weights."""
    items: dict[tuple[str, str], dict[str, Any]] = {}
    weights: dict[tuple[str, str], float] = {}
    for record in records:
        facts = item_facts(record)
        first = items.setdefault((record.benchmark, record.item), facts)
        place = f"{where}, item {record.item} epoch {record.epoch}"
        check_item(facts, first, "two answers to one item disagree about it", place)
        if first["criteria"] is None:
            first["criteria"] = facts["criteria"]
        for name, weight in record.weights.items() if first is facts else ():
            if weights.setdefault((record.benchmark, name), weight) != weight:
                raise InputError(
                    "a dimension has two weights in one run",
                    where=f"{place}, dimension {name}",
                    found=weight,
                    expected=f"{weights[record.benchmark, name]}, as in other answers of the run",
                    hint=ORIGINAL,
                )


Facts = Mapping[str, Mapping[str, Any]]
"""Item to its `item_facts`."""


def check_runs(runs: Sequence[tuple[str, Sequence[str], str, Facts]]) -> None:
    """Refuse runs on the same data whose items differ in question, language, dimensions, weights or criteria.

    Args:
        runs: Name, files, hash of the data, and items of each run.
    """
    seen: dict[tuple[str, str], Mapping[str, Any]] = {}
    for name, files, content, items in runs:
        for item, facts in items.items() if content != UNKNOWN else ():
            first = seen.setdefault((content, item), facts)
            where = f"{name} ({', '.join(files)}), item {item}" if files else f"{name}, item {item}"
            check_item(facts, first, "two runs on the same data disagree about an item", where)
