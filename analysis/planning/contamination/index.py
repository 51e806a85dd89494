"""Search for passages in the tokens of many rows at once: exact n-grams, and near matches.

Tables of hashes say where a gram may start. What they let through is compared token by token, so a hash never decides.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np
from rapidfuzz.fuzz import ratio

from value_retention.analysis.planning.contamination.grams import Gram, Hashes, Table, grams
from value_retention.analysis.planning.contamination.passages import ALONE, SHORTEST, N, Passage
from value_retention.analysis.planning.contamination.words import tokens

NEAR = 0.85
"""Similarity from which a stretch of a row is a near match: 1 less the share of characters to insert or delete."""
HOPELESS = 0.7
"""Similarity below which no word more can make a stretch similar enough."""
SEED = 4
"""Tokens in a row that a near match of a longer passage must share in several places."""
SEEDS = 3
"""Number of such places for a passage of `N` tokens or more; a shorter one needs a single place."""
GAP = 12
"""Tokens between two shared places of one near match."""


@dataclass(frozen=True)
class Match:
    """Text that a row and a passage share."""

    passage: Passage
    exact: bool
    similarity: float
    """In (0, 1]; 1 for an exact match."""
    span: tuple[int, int]
    """Place in the tokens of the row."""
    theirs: tuple[int, int]
    """Place in the tokens of the passage."""


@dataclass(frozen=True)
class Stream:
    """Tokens that are searched as one text.

    Args:
        tokens: Of all its texts.
        borders: Where a text ends and the next begins.
    """

    tokens: list[str]
    borders: list[int]


def stream(texts: Iterable[str]) -> Stream:
    """Join texts."""
    joined: list[str] = []
    borders: list[int] = []
    for text in texts:
        joined += tokens(text)
        borders.append(len(joined))
    return Stream(joined, borders)


class Index:
    """Index of passages.

    Args:
        passages: What to search for. One of `N` tokens or more is found by any `N` of them in a row, a shorter one as a
            whole (below `ALONE` only within one text), and one with fewer than `SHORTEST` only if it is the whole text.
    """

    def __init__(self, passages: Iterable[Passage]) -> None:
        self.passages = list({p.tokens: p for p in reversed(list(passages)) if p.tokens}.values())[::-1]
        self.whole = {p.tokens: p for p in self.passages if len(p.tokens) < SHORTEST}
        vocabulary = sorted({token for p in self.passages for token in p.tokens})
        self.ids = {token: number for number, token in enumerate(vocabulary, 1)}
        self.codes = np.random.default_rng(0).integers(0, 2**64, len(vocabulary) + 1, dtype=np.uint64)
        exact: dict[int, dict[Gram, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
        starts: dict[Gram, list[tuple[int, int]]] = defaultdict(list)
        near: dict[tuple[int, int], dict[Gram, list[tuple[int, int]]]] = defaultdict(
            lambda: defaultdict(list)
        )
        for number, known in enumerate(self.passages):
            length = len(known.tokens)
            if length < SHORTEST:
                continue
            for gram, at in grams(known.tokens, min(N, length)):
                exact[len(gram)][gram].append((number, at))
                starts[gram[:SHORTEST]].append((number, at))
            # One changed token leaves such a run, wherever it is.
            size, need = (SEED, SEEDS) if length >= N else (min(SEED, length // 2), 1)
            for gram, at in grams(known.tokens, size):
                near[size, need][gram].append((number, at))
        self.starts = Table(SHORTEST, starts, self.codes, self.ids)
        self.exact = [self._table(size, exact[size]) for size in sorted(exact, reverse=True)]
        self.near = [(need, self._table(size, places)) for (size, need), places in sorted(near.items())]

    def _table(self, size: int, places: dict[Gram, list[tuple[int, int]]]) -> Table:
        return Table(size, dict(places), self.codes, self.ids)

    def find(self, text: str) -> Match | None:
        """Return the first exact match of a text; None without one."""
        found = next(iter(self.search([stream([text])])), None)
        return found[1] if found and found[1].exact else None

    def search(self, streams: Sequence[Stream]) -> Iterator[tuple[int, Match]]:
        """Yield the exact match of each stream that has one, else its best near match.

        Args:
            streams: Of any number of rows.

        Yields:
            Place of the stream in `streams`, and the match.
        """
        flat: list[str] = []
        begins: list[int] = []
        for each in streams:
            begins.append(len(flat))
            flat += each.tokens
            flat.append("")  # in no passage: no gram goes over it
        numbers = np.fromiter(map(self.ids.get, flat, repeat(0)), dtype=np.intp, count=len(flat))
        hashes = Hashes(self.codes[numbers])
        hits = self._hits(streams, flat, begins, hashes)
        best = dict(hits)
        for at, match in self._near(flat, begins, hashes, hits):
            if at not in best or match.similarity > best[at].similarity:
                best[at] = match
        yield from sorted(best.items(), key=lambda item: item[0])

    def _hits(
        self, streams: Sequence[Stream], flat: list[str], begins: list[int], hashes: Hashes
    ) -> dict[int, Match]:
        """Exact matches, by stream."""
        found: dict[int, Match] = {}
        candidates = self.starts.among(hashes)
        for table in self.exact:
            for start in table.among(hashes, candidates).tolist():
                end = start + table.size
                places = table.places.get(tuple(flat[start:end]))
                at = bisect_right(begins, start) - 1
                if places is None or at in found:
                    continue
                begin, borders = begins[at], streams[at].borders
                # Chance may write a few words where one text ends and the next begins.
                if table.size < ALONE and bisect_right(borders, start - begin) != bisect_left(
                    borders, end - begin
                ):
                    continue
                number, offset = places[0]
                span, theirs = (start - begin, end - begin), (offset, offset + table.size)
                found[at] = Match(self.passages[number], True, 1.0, span, theirs)
        if self.whole:
            for at, each in enumerate(streams):
                for start, end in zip([0, *each.borders], each.borders, strict=False):
                    if 0 < end - start < SHORTEST and (
                        known := self.whole.get(tuple(each.tokens[start:end]))
                    ):
                        found.setdefault(at, Match(known, True, 1.0, (start, end), (0, end - start)))
        return found

    def _near(
        self, flat: list[str], begins: list[int], hashes: Hashes, hits: dict[int, Match]
    ) -> Iterator[tuple[int, Match]]:
        """Near matches of streams without an exact one."""
        for need, table in self.near:
            seeds = table.among(hashes)
            if not len(seeds):
                continue
            of = np.searchsorted(begins, seeds, side="right") - 1
            breaks = np.flatnonzero((np.diff(seeds) > GAP) | (np.diff(of) > 0)) + 1
            bounds = np.concatenate(([0], breaks, [len(seeds)]))
            for cluster in np.flatnonzero(np.diff(bounds) >= need).tolist():
                low, high = bounds[cluster], bounds[cluster + 1]
                at = int(of[low])
                if at not in hits:
                    begin = begins[at]
                    end = begins[at + 1] - 1 if at + 1 < len(begins) else len(flat) - 1
                    for match in self._compared(
                        flat[begin:end], (seeds[low:high] - begin).tolist(), table, need
                    ):
                        yield at, match

    def _compared(self, words: list[str], cluster: list[int], table: Table, need: int) -> Iterator[Match]:
        """Passages that share the seeds of a cluster, and are similar enough."""
        shared: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for start in cluster:
            for number, offset in table.places.get(tuple(words[start : start + table.size]), ()):
                shared[number].append((start, offset))
        for number, places in shared.items():
            if len(places) < need:
                continue
            known = self.passages[number]
            # Places that are shifted by about as much belong together.
            shift = sorted(start - offset for start, offset in places)[len(places) // 2]
            slack = 2 + len(known.tokens) // 8
            kept = [place for place in places if abs(place[0] - place[1] - shift) <= slack]
            if len(kept) < need:
                continue
            theirs, (low, high) = stretch(kept, table.size, len(known.tokens), len(words))
            one = " ".join(known.tokens[slice(*theirs)])
            # A word that was put in pushes the end of a short passage out of the stretch.
            for span in ((low, high), (low, min(high + 1, len(words))), (max(low - 1, 0), high)):
                similarity = ratio(one, " ".join(words[slice(*span)])) / 100
                if similarity >= NEAR:
                    yield Match(known, False, similarity, span, theirs)
                if similarity < HOPELESS:
                    break


def stretch(
    places: list[tuple[int, int]], size: int, length: int, words: int
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the stretches of a passage and of a row around shared places, of `N` tokens or more where there are.

    Args:
        places: Starts of shared grams, in the row and in the passage.
        size: Tokens of a gram.
        length: Tokens of the passage.
        words: Tokens of the row.

    Returns:
        Start and end in the passage, and in the row.
    """
    (first, low), (last, high) = min(places, key=lambda p: p[1]), max(places, key=lambda p: p[1])
    high, last = high + size, last + size
    more = max(0, min(N, length) - (high - low))
    before = min(low, more // 2)
    after = min(length - high, more - before)
    before = min(low, more - after)
    return (low - before, high + after), (max(0, first - before), min(words, last + after))
