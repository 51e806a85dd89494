"""Pairs of judged answers of two runs: what the first said that earned its grade, and what the second said instead.

The two answers of a pair must differ in what was graded and in little else. So a marked answer (see `guards`) is left
out, and lengths agree: a longer answer of the second run is cut, at a word, to the length of the first run's. The first
run's is never cut, since the part that earned the grade could be lost.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from value_retention.analysis.runs.guards import GUARDS, marks
from value_retention.analysis.runs.identity import check_comparable, differences, identity_of
from value_retention.analysis.runs.load import Run, is_ceiling
from value_retention.tasks.checks import WORD
from value_retention.tasks.errors import InputError
from value_retention.tasks.pairs import Messages, Pair, Side, pair_hash
from value_retention.tasks.record import AnswerRecord, well_formed

PER_CLUSTER = 3
"""Most pairs of a cluster: a question and its renderings."""


@dataclass(frozen=True)
class Options:
    """Which answers make a pair.

    Attributes:
        ratio: Largest ratio of the two lengths, in characters.
        keep: Marks (of `GUARDS`) that do not exclude an answer.
        allow: Aspects in which the runs may differ.
    """

    ratio: float = 1.25
    keep: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()


@dataclass(frozen=True)
class Made:
    """The pairs of two runs.

    Attributes:
        pairs: The pairs.
        questions: Questions that both runs answered.
        without: Questions that gave no pair, by reason.
        dropped: Further pairs that were dropped, by reason.
        notes: Allowed differences, and benchmarks that only one run has.
    """

    pairs: tuple[Pair, ...]
    questions: int
    without: dict[str, int]
    dropped: dict[str, int]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Candidate:
    first: AnswerRecord
    second: AnswerRecord
    chosen: str
    rejected: str

    @property
    def gap(self) -> float:
        """Score of the chosen answer less that of the rejected one, in points."""
        return 100 * ((self.first.overall or 0.0) - (self.second.overall or 0.0))

    @property
    def cut(self) -> bool:
        return len(self.rejected) < len(self.second.answer.strip())

    @property
    def ratio(self) -> float:
        lengths = len(self.chosen), len(self.rejected)
        return max(lengths) / max(min(lengths), 1)


def make_pairs(first: Run, second: Run, options: Options) -> Made:
    """Make pairs of two runs.

    Args:
        first: Run of the checkpoint with the value.
        second: Run of the checkpoint without it.
        options: Which answers make a pair.

    Raises:
        InputError: the runs are of one model, have no benchmark in common, or cannot be compared.
    """
    notes: list[str] = []
    shared = [name for name in first.benchmarks() if name in second.benchmarks()]
    if not shared:
        raise InputError(
            "the runs have no benchmark in common",
            found=f"{', '.join(first.benchmarks())} in {first.name}; {', '.join(second.benchmarks())} in {second.name}",
        )
    found: list[Pair] = []
    questions, without = 0, Counter[str]()
    for name in shared:
        answers = [_by_item(run, name) for run in (first, second)]
        notes += _check(name, (first, second), options.allow)
        for item in answers[0]:
            if item not in answers[1]:
                continue
            questions += 1
            made = _of_question(answers[0][item], answers[1][item], options)
            if isinstance(made, str):
                without[made] += 1
            else:
                found.append(_pair(made, (first.name, second.name)))
    lacking = {*first.benchmarks(), *second.benchmarks()} - {*shared}
    notes += [f"{name}: only one of the runs has it" for name in sorted(lacking)]
    pairs, dropped = _balanced(found)
    return Made(tuple(pairs), questions, dict(without.most_common()), dropped, tuple(notes))


def _check(benchmark: str, runs: Sequence[Run], allow: Sequence[str]) -> list[str]:
    """Refuse runs that cannot be compared; the differences that were allowed."""
    own = [[r for r in run.records if r.benchmark == benchmark] for run in runs]
    if any(is_ceiling(record) for records in own for record in records):
        raise InputError(
            "pairs need ordinary answers",
            where=benchmark,
            found="a ceiling test: the model was shown the criteria",
        )
    identities = [identity_of(records) for records in own]
    models = {(i.model, i.fingerprint) for i in identities}
    if len(models) == 1:
        raise InputError(
            "both runs are of one model",
            where=", ".join(run.name for run in runs),
            found=identities[0].model,
            expected="a run with the value, and a run without it",
        )
    members = [(run.name, run.files, identity) for run, identity in zip(runs, identities, strict=True)]
    return check_comparable(differences(benchmark, members), allow)


def _by_item(run: Run, benchmark: str) -> dict[str, list[AnswerRecord]]:
    found: dict[str, list[AnswerRecord]] = {}
    for record in run.records:
        if record.benchmark == benchmark:
            found.setdefault(record.item, []).append(record)
    return found


def _of_question(
    first: Sequence[AnswerRecord], second: Sequence[AnswerRecord], options: Options
) -> _Candidate | str:
    """The best pair of one question, or why it has none."""
    left = [_candidate(a, b) for a in first for b in second]
    stages: tuple[tuple[str, Callable[[_Candidate], object]], ...] = (
        ("a grade is missing", lambda c: _graded(c.first) and _graded(c.second)),
        ("no higher grade in the first run", lambda c: c.gap > 0),
        ("the first run's answer", lambda c: not _mark(c.first, False, options)),
        ("the second run's answer", lambda c: not _mark(c.second, c.cut, options)),
        ("other turns before the answers", lambda c: c.first.turns == c.second.turns),
        ("lengths too different", lambda c: c.ratio <= options.ratio),
    )
    for reason, keeps in stages:
        kept = [candidate for candidate in left if keeps(candidate)]
        if not kept:
            marked = {"the first run's answer": left[0].first, "the second run's answer": left[0].second}
            record = marked.get(reason)
            cut = record is left[0].second and left[0].cut
            return f"{reason}: {_mark(record, cut, options)}" if record is not None else reason
        left = kept
    return min(left, key=lambda c: (-c.gap, c.ratio, c.first.epoch, c.second.epoch))


def _candidate(first: AnswerRecord, second: AnswerRecord) -> _Candidate:
    chosen, rejected = (well_formed(record.answer).strip() for record in (first, second))
    return _Candidate(first, second, chosen, cut(rejected, len(chosen)))


def cut(text: str, length: int) -> str:
    """The beginning of a text: at most ``length`` characters, up to a space if there is one near."""
    if len(text) <= length:
        return text
    space = max(text.rfind(character, 0, length + 1) for character in " \n")
    if space > 0 and space >= length - WORD:
        return text[:space].rstrip()
    while length and unicodedata.category(text[length]).startswith(
        "M"
    ):  # a mark belongs to the letter before it
        length -= 1
    return text[:length]


def _graded(record: AnswerRecord) -> bool:
    return record.overall is not None and not record.grades_missing


def _mark(record: AnswerRecord, cut: bool, options: Options) -> str | None:
    """The first mark that excludes an answer. Of an answer that is cut here, the token limit took nothing."""
    kept = (*options.keep, "truncated") if cut else options.keep
    return next(
        (name for name, mark in zip(GUARDS, marks(record), strict=True) if mark and name not in kept), None
    )


def _pair(candidate: _Candidate, runs: tuple[str, str]) -> Pair:
    record = candidate.first
    messages, chosen, rejected = _messages(record), candidate.chosen, candidate.rejected
    return Pair(
        id=f"{record.benchmark}/{record.item}",
        benchmark=record.benchmark,
        item=record.item,
        cluster=f"{record.benchmark}/{record.cluster}",
        language=record.language,
        messages=messages,
        chosen=chosen,
        rejected=rejected,
        chosen_from=_side(candidate.first, runs[0], cut=False),
        rejected_from=_side(candidate.second, runs[1], cut=candidate.cut),
        judges=tuple(judge.name for judge in record.judges),
        data=record.data.revision,
        is_benchmark=record.data.is_benchmark,
        hash=pair_hash(messages, chosen, rejected),
    )


def _messages(record: AnswerRecord) -> Messages:
    system = record.run.sampling.get("system_instruction") or record.run.sampling.get("system_message")
    turns = [well_formed(text) for text in record.turns or (record.question,)]
    said = [{"role": "assistant" if n % 2 else "user", "content": text} for n, text in enumerate(turns)]
    return (*([{"role": "system", "content": well_formed(str(system))}] if system else []), *said)


def _side(record: AnswerRecord, run: str, cut: bool) -> Side:
    return Side(run, record.run.model, record.run.identity, record.epoch, record.overall or 0.0, cut)


def _balanced(found: Sequence[Pair]) -> tuple[list[Pair], dict[str, int]]:
    """Pairs of distinct answers, the same number at most of each cluster."""
    kept: list[Pair] = []
    dropped = Counter[str]()
    clusters, seen = Counter[str](), set[tuple[str, str]]()
    for pair in found:
        if (pair.chosen, pair.rejected) in seen:
            dropped["the same two answers as in another pair"] += 1
        elif clusters[pair.cluster] == PER_CLUSTER:
            dropped[f"more than {PER_CLUSTER} of a cluster"] += 1
        else:
            seen.add((pair.chosen, pair.rejected))
            clusters[pair.cluster] += 1
            kept.append(pair)
    return kept, dict(dropped.most_common())
