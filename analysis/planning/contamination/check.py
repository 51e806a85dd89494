"""The comparison of a rows file with the passages of the benchmarks, in one pass, and its stamp."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from value_retention.analysis.planning.contamination.index import NEAR, Index, Match, Stream, stream
from value_retention.analysis.planning.contamination.passages import KINDS, N, Passage, Source, passages_hash
from value_retention.analysis.planning.contamination.rows import streams
from value_retention.analysis.planning.contamination.words import NORMALISATION, tokens
from value_retention.tasks.errors import InputError

STAMP_SCHEMA = 2
BATCH = 20_000
"""Tokens that are searched at once, of no more than a tenth as many rows."""


@dataclass(frozen=True)
class Finding:
    """A row that shares text with a passage: a hit, or a near match."""

    row: int
    """Line of the rows file, counted from 1."""
    passage: Passage
    similarity: float
    text: str
    """What the row says, normalised to be read."""
    theirs: str
    """What the passage says in its place."""


@dataclass
class Check:
    """The result for one rows file. Counts are of rows; a row with a hit is not counted as a near match."""

    passages_sha256: str
    sources: tuple[Source, ...]
    rows: int = 0
    hits: int = 0
    near: int = 0
    dropped: int = 0
    rows_sha256: str = ""
    listed_hits: list[Finding] = field(default_factory=list)
    listed_near: list[Finding] = field(default_factory=list)


def read_lines(path: str | Path, advance: Callable[[int], Any] = lambda size: None) -> Iterator[bytes]:
    """Yield the lines of a rows file, unchanged.

    Args:
        path: The rows file.
        advance: Told how many bytes were read.

    Raises:
        InputError: The file does not exist or is empty.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(
            "rows file not found",
            where=str(path),
            hint="write it with `python -m value_retention.train.data --config ARM.yaml -o rows.jsonl`",
        )
    some = False
    with path.open("rb") as file:
        for line in file:
            some = some or bool(line.strip())
            yield line
            advance(len(line))
    if not some:
        raise InputError("the rows file is empty", where=str(path))


def check_rows(
    lines: Iterable[bytes],
    passages: Sequence[Passage],
    sources: Sequence[Source],
    where: str = "rows",
    *,
    clean: BinaryIO | None = None,
    strict: bool = False,
    listed: int = 20,
) -> Check:
    """Compare every row with every passage. Rows are read once and not kept.

    Args:
        lines: JSON, one row each.
        passages: What must not be trained on.
        sources: Source of the passages.
        where: Name of the rows file, for messages.
        clean: Rows without a hit are written here; the check is then of these.
        strict: Whether near matches are hits.
        listed: Number of hits, and of near matches, to return.

    Raises:
        InputError: A line is invalid JSON, or a row has no text to compare.
    """
    index, digest = Index(passages), hashlib.sha256()
    check = Check(passages_hash(passages), tuple(sources))
    empty: list[tuple[int, bytes]] = []
    without = 0
    for batch in batches(lines, where):
        found = matches(index, batch)
        for at, row in enumerate(batch):
            match = found.get(at)
            hit = match is not None and (match[1].exact or strict)
            if clean is None:
                digest.update(row.line)
            if not row.line.strip():
                continue
            if not row.streams:
                without += 1
                empty = empty or [(row.number, row.line)]
            if hit and clean is not None:
                check.dropped += 1
            else:
                check.rows += 1
                if clean is not None:
                    line = row.line.rstrip(b"\n") + b"\n"
                    digest.update(line)
                    clean.write(line)
                check.hits += hit
            check.near += match is not None and not hit
            kept = check.listed_hits if hit else check.listed_near
            if match is not None and len(kept) < listed:
                kept.append(finding(row, *match))
    if empty:
        number, line = empty[0]
        raise InputError(
            "rows without text: they cannot be compared with a question",
            where=f"{where}, line {number}",
            found=f"{without} of {check.rows} rows, the first {line[:80].decode(errors='replace').strip()}",
            expected="text in every row, as `python -m value_retention.train.data` writes it",
            hint="remove these rows, or check that this is the right file",
        )
    check.rows_sha256 = digest.hexdigest()
    return check


@dataclass
class Row:
    """A line of the rows file."""

    number: int
    line: bytes
    texts: list[list[str]]
    """Texts of each stream; none for an empty line."""
    streams: list[Stream]


def batches(lines: Iterable[bytes], where: str) -> Iterator[list[Row]]:
    """Yield rows, about `BATCH` tokens of them at once.

    Raises:
        InputError: A line is invalid JSON.
    """
    batch: list[Row] = []
    size = 0
    for number, line in enumerate(lines, 1):
        texts: list[list[str]] = []
        if line.strip():
            try:
                texts = streams(json.loads(line))
            except ValueError as error:
                raise InputError("invalid JSON", where=f"{where}, line {number}", found=error) from error
        batch.append(Row(number, line, texts, [stream(each) for each in texts]))
        size += sum(len(each.tokens) for each in batch[-1].streams)
        if size >= BATCH or len(batch) >= BATCH // 10:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def matches(index: Index, batch: Sequence[Row]) -> dict[int, tuple[int, Match]]:
    """Return the best match of each row of a batch that has one, and its stream."""
    places = [(at, number) for at, row in enumerate(batch) for number in range(len(row.streams))]
    best: dict[int, tuple[int, Match]] = {}
    for place, match in index.search([batch[at].streams[number] for at, number in places]):
        at, number = places[place]
        if at not in best or match.similarity > best[at][1].similarity:
            best[at] = number, match
    return best


def finding(row: Row, number: int, match: Match) -> Finding:
    """Return a match with its texts to be read."""
    split = row.streams[number].tokens
    read = [token for text in row.texts[number] for token in tokens(text, lookalikes=False)]
    shown = read if len(read) == len(split) else split
    theirs = match.passage.text.split(" ")[slice(*match.theirs)]
    return Finding(
        row.number, match.passage, match.similarity, " ".join(shown[slice(*match.span)]), " ".join(theirs)
    )


def stamp(check: Check) -> dict[str, Any]:
    """Return the stamp for training: which rows were compared with what, and the numbers of hits and near matches."""
    compared = {kind: sum(getattr(source, f"{kind}s") for source in check.sources) for kind in KINDS}
    return {
        "schema": STAMP_SCHEMA,
        "rows_sha256": check.rows_sha256,
        "rows": check.rows,
        "dropped": check.dropped,
        "hits": check.hits,
        "near": check.near,
        "near_similarity": NEAR,
        "passages_sha256": check.passages_sha256,
        **{f"{kind}s": number for kind, number in compared.items()},
        "sources": [asdict(source) for source in check.sources],
        "n": N,
        "normalisation": NORMALISATION,
    }
