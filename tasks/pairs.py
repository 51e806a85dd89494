"""Pairs of answers for the probe: to one question, one answer that earned its grade and one that did not.

A file has a pair per line. `value-retention probe` writes it; the lm-eval task ``value_pairs`` and
``value_retention.train.probe`` (which imports nothing from here) read it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from value_retention.tasks.errors import InputError
from value_retention.tasks.record import canonical_json, text_hash

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Messages = tuple[dict[str, str], ...]
"""A conversation: role and content of each turn."""


@dataclass(frozen=True)
class Side:
    """Where an answer of a pair comes from."""

    run: str
    model: str
    identity: str
    """Which model answered (see `record.RunInfo`)."""
    epoch: int
    grade: float
    """Score of the whole answer, in [0, 1]."""
    cut: bool
    """Whether the pair has only the beginning of the answer."""


@dataclass(frozen=True)
class Pair:
    """Two answers to one question."""

    id: str
    benchmark: str
    item: str
    cluster: str
    """Unit of resampling, with the benchmark's name: a question and its renderings."""
    language: str
    """BCP-47 tag."""
    messages: Messages
    """The conversation before the answers, from the system prompt on."""
    chosen: str
    """The answer that earned its grade."""
    rejected: str
    """The answer that did not, or its beginning."""
    chosen_from: Side
    rejected_from: Side
    judges: tuple[str, ...]
    data: str
    """Revision of the questions."""
    is_benchmark: bool
    """False for the bundled sample items."""
    hash: str
    """`pair_hash` of the texts."""


def pair_hash(messages: Sequence[dict[str, str]], chosen: str, rejected: str) -> str:
    """SHA-256 over the texts of a pair, by which an edited file is found out."""
    return text_hash(canonical_json([list(messages), chosen, rejected]))


def pairs_text(pairs: Iterable[Pair]) -> str:
    """The file: one line of JSON for each pair."""
    return "".join(f"{canonical_json(asdict(pair))}\n" for pair in pairs)


def read_pairs(path: Path) -> tuple[list[Pair], str]:
    """Read a file of pairs.

    Returns:
        The pairs, and the SHA-256 of the file.

    Raises:
        InputError: the file cannot be read, has no pairs, or a pair is invalid or was changed.
    """
    from pydantic import ValidationError

    try:
        text = path.read_text("utf-8")
    except (OSError, ValueError) as error:
        raise InputError(
            "the pairs cannot be read",
            where=str(path),
            found=str(error),
            expected="a file of `value-retention probe`",
        ) from error
    pairs = []
    for number, line in enumerate(filter(None, text.split("\n")), 1):
        where = f"{path}, pair {number}"
        try:
            pair = _schema().validate_json(line)
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            raise InputError(
                "not a pair",
                where=where,
                found=f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}",
                expected="a file of `value-retention probe`",
            ) from None
        if pair_hash(pair.messages, pair.chosen, pair.rejected) != pair.hash:
            raise InputError(
                "the pair was changed",
                where=where,
                found=f"hash {pair.hash}",
                expected="the texts as `value-retention probe` wrote them",
            )
        pairs.append(pair)
    if not pairs:
        raise InputError("no pairs", where=str(path), expected="a file of `value-retention probe`")
    return pairs, text_hash(text)


@cache
def _schema() -> TypeAdapter[Pair]:
    from pydantic import TypeAdapter

    return TypeAdapter(Pair)
