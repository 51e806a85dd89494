"""From answers to records: independent of timing, each call once, and faults are never grades."""

from __future__ import annotations

import asyncio
import gc
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from helpers import ANIMA_2_2, RUN, journal_counts, undated

from value_retention.adapters.judges.client import make_judges
from value_retention.adapters.judges.journal import Journal, Reply
from value_retention.adapters.judges.run import Options, judge_answers, nothing_readable, run_async
from value_retention.tasks.answers import Answer
from value_retention.tasks.data import Dataset, load
from value_retention.tasks.errors import InputError
from value_retention.tasks.prompts import item_calls
from value_retention.tasks.record import AnswerRecord, JudgeInfo

Turn = Callable[[str, int], str | Reply | None]
"""Prompt and number of the call for it (from 0) to a reply; None is a fault."""


class Judge:
    """A judge that replies by a function, after a delay that depends on the prompt."""

    def __init__(self, name: str, turn: Turn, connections: int = 1, delay: float = 0.0) -> None:
        self.info, self.settings, self.connections = JudgeInfo(name), "{}", connections
        self.turn, self.delay = turn, delay
        self.asked: list[str] = []
        self.open = self.most_open = 0

    async def ask(self, prompt: str, about: object) -> Reply:
        times = self.asked.count(prompt)
        self.asked.append(prompt)
        self.open += 1
        self.most_open = max(self.open, self.most_open)
        await asyncio.sleep(self.delay * number(prompt) % 0.01)
        self.open -= 1
        text = self.turn(prompt, times)
        if isinstance(text, Reply):
            return text
        return Reply(text, None if text is not None else "ServiceError: down", retries=1, latency=0.5)


def number(text: str) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16)


def fair(prompt: str, times: int) -> str:
    return f"GRADE: {'C' if number(prompt) % 2 else 'I'}"


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return load(ANIMA_2_2, "sample", ["en"])


@pytest.fixture(scope="module")
def answers(dataset: Dataset) -> list[Answer]:
    return [Answer.of(item, epoch, f"{item.id}, {epoch}.") for item in dataset.items for epoch in (1, 2)]


def run(
    dataset: Dataset, answers: Sequence[Answer], judges: Sequence[object], **options: object
) -> tuple[list[AnswerRecord], Options]:
    chosen = Options(**options)  # type: ignore[arg-type]
    records = run_async(lambda: judge_answers(dataset, answers, judges, RUN, chosen))  # type: ignore[arg-type]
    return records, chosen


def test_timing_does_not_show_in_the_records(dataset: Dataset, answers: list[Answer]) -> None:
    def panel(connections: int, delay: float) -> list[Judge]:
        return [Judge(name, fair, connections, delay) for name in ("a", "b")]

    slow, fast = panel(1, 0.0), panel(16, 1e-6)
    records, _ = run(dataset, answers, slow)
    again, _ = run(dataset, answers, fast)
    assert undated(records) == undated(again)
    assert (slow[0].most_open, fast[0].most_open) == (1, 16)


def test_grades_stand_in_the_order_of_the_calls_judges_within_a_call(
    dataset: Dataset, answers: list[Answer]
) -> None:
    records, options = run(dataset, answers, [Judge("a", fair), Judge("b", fair)])
    for record in records:
        assert [grade.judge for grade in record.grades] == ["a", "b"] * (len(record.grades) // 2)
        assert list(dict.fromkeys(grade.dimension for grade in record.grades)) == list(record.dimensions)
        assert (len(record.grades), record.grades_missing) == (record.grades_expected, 0)
    total = sum(len(record.grades) for record in records)
    assert options.tally.asked == total == sum(item_calls(dataset, answer.item) for answer in answers) * 2
    assert options.tally.retries == total


def test_prompts_of_one_answer_follow_each_other(dataset: Dataset, answers: list[Answer]) -> None:
    judge = Judge("a", fair)
    run(dataset, answers, [judge])
    order = [next(n for n, a in enumerate(answers) if f"[Submission]: {a.text}\n" in p) for p in judge.asked]
    assert order == sorted(order)


def test_without_a_judge_the_answers_are_saved(dataset: Dataset, answers: list[Answer]) -> None:
    records, options = run(dataset, answers, [])
    assert {record.status for record in records} == {"not_judged"}
    assert [record.answer for record in records] == [answer.text for answer in answers]
    assert options.tally.asked == 0


def test_faults_are_counted_and_never_grades(dataset: Dataset, answers: list[Answer]) -> None:
    def turn(prompt: str, times: int) -> str | None:
        return (None, "cannot say", "GRADE: C")[number(prompt) % 3]

    records, options = run(dataset, answers, [Judge("a", turn)])
    grades = [grade for record in records for grade in record.grades]
    kinds = {kind: [g for g in grades if g.outcome == kind] for kind in ("graded", "unparsed", "judge_error")}
    assert all(kinds.values())
    assert {g.grade for g in kinds["graded"]} == {1.0}
    assert {(g.grade, g.rationale, g.error) for g in kinds["unparsed"]} == {(None, "cannot say", None)}
    assert {(g.grade, g.rationale, g.error) for g in kinds["judge_error"]} == {
        (None, None, "ServiceError: down")
    }
    assert (options.tally.unparsed, options.tally.errors) == (
        len(kinds["unparsed"]),
        len(kinds["judge_error"]),
    )
    assert options.tally.last_error == "ServiceError: down"
    missing = len(grades) - len(kinds["graded"])
    assert sum(record.grades_missing for record in records) == missing


def test_a_run_with_nothing_readable_is_unscored(dataset: Dataset, answers: list[Answer]) -> None:
    records, _ = run(dataset, answers, [Judge("a", lambda prompt, times: "no")])
    assert {(record.status, record.overall) for record in records} == {("unscored", None)}


def test_what_is_said_of_a_run_with_nothing_readable(dataset: Dataset, answers: list[Answer]) -> None:
    long = "word " * 100 + "\x1b[1m GRADE: high"
    records, _ = run(dataset, answers, [Judge("a", lambda prompt, times: long)])
    said = nothing_readable(records)
    assert said is not None
    total = sum(len(record.grades) for record in records)
    assert said.startswith(f'no judge reply has a readable grade (0 of {total}). One of them: "... ')
    assert '\\x1b[1m GRADE: high"' in said
    assert "`high` is not a grade of this scale" in said
    assert len(said) < 700

    one_is_read = [Judge("a", lambda prompt, times: long), Judge("b", fair)]
    assert nothing_readable(run(dataset, answers, one_is_read)[0]) is None
    assert nothing_readable(run(dataset, answers, [])[0]) is nothing_readable([]) is None
    unanswered = [
        replace(record, grades=tuple(replace(g, outcome="judge_error") for g in record.grades))
        for record in records
    ]
    assert nothing_readable(unanswered) is None


@pytest.mark.parametrize(
    ("retries", "attempts", "outcome"), [(0, 1, "unparsed"), (1, 2, "unparsed"), (2, 3, "graded")]
)
def test_an_unreadable_reply_is_requested_again_as_often_as_set(
    dataset: Dataset, answers: list[Answer], tmp_path: Path, retries: int, attempts: int, outcome: str
) -> None:
    def turn(prompt: str, times: int) -> str:
        return "GRADE: C" if times == 2 else f"no, {times}"

    journal = Journal(tmp_path / "j.sqlite")
    records, options = run(dataset, answers[:1], [Judge("a", turn)], journal=journal, parse_retries=retries)
    assert {(grade.attempts, grade.outcome) for grade in records[0].grades} == {(attempts, outcome)}
    made = attempts * len(records[0].grades)
    assert (options.tally.asked, journal_counts(tmp_path / "j.sqlite")["replies"]) == (made, made)


def cut(text: str, reason: str = "max_tokens") -> Reply:
    return Reply(text, output_tokens=512, stop_reason=reason)


@pytest.mark.parametrize("reason", ["max_tokens", "model_length"])
def test_a_reply_that_the_token_limit_cut_is_no_grade_whatever_it_says(
    dataset: Dataset, answers: list[Answer], reason: str
) -> None:
    texts = ["GRADE: C", "I end with 'GRADE: C' or 'GRADE: I'. The submission", "", "cannot say"]
    judge = Judge("a", lambda prompt, times: cut(texts[number(prompt) % 4], reason))
    records, options = run(dataset, answers, [judge])
    grades = [grade for record in records for grade in record.grades]
    assert {(g.outcome, g.grade, g.stop_reason) for g in grades} == {("cut", None, reason)}
    assert {(g.rationale, g.error) for g in grades} == {
        (
            text,
            f"{'cut after 512 tokens' if text else 'no words: 512 tokens went into reasoning'}; "
            "raise max_tokens in judge_args",
        )
        for text in texts
    }
    assert (options.tally.cut, options.tally.unparsed, options.tally.errors) == (len(grades), 0, 0)
    assert str(options.tally) == f"grades missing: {len(grades)} cut, 0 unreadable, 0 failed"
    assert {(record.status, record.overall) for record in records} == {("unscored", None)}
    assert [AnswerRecord.from_json(record.to_json()) for record in records] == records


def test_a_whole_reply_is_graded_and_says_so(dataset: Dataset, answers: list[Answer]) -> None:
    for reason in ("stop", "unknown", None):
        judge = Judge("a", lambda prompt, times, reason=reason: Reply("GRADE: C", stop_reason=reason))
        records, _ = run(dataset, answers[:1], [judge])
        assert {(g.outcome, g.stop_reason) for g in records[0].grades} == {("graded", reason)}
        assert ("stop_reason" in records[0].to_json()) == (reason is not None)


@pytest.mark.parametrize(("retries", "attempts", "outcome"), [(0, 1, "cut"), (1, 2, "graded")])
def test_a_cut_reply_is_requested_again_as_often_as_set(
    dataset: Dataset, answers: list[Answer], retries: int, attempts: int, outcome: str
) -> None:
    judge = Judge("a", lambda prompt, times: "GRADE: C" if times else cut("GRADE: C"))
    records, _ = run(dataset, answers[:1], [judge], parse_retries=retries)
    assert {(grade.attempts, grade.outcome) for grade in records[0].grades} == {(attempts, outcome)}


# -- the journal ------------------------------------------------------------------------------------------


def test_a_second_run_asks_nothing_and_gives_the_same_records(
    dataset: Dataset, answers: list[Answer], tmp_path: Path
) -> None:
    first, _ = run(dataset, answers, [Judge("a", fair)], journal=Journal(tmp_path / "j.sqlite"))
    judge = Judge("a", lambda prompt, times: "GRADE: I")
    again, options = run(dataset, answers, [judge], journal=Journal(tmp_path / "j.sqlite"))
    assert judge.asked == []
    assert options.tally.reused == sum(len(record.grades) for record in first)
    assert [record.to_json() for record in first] == [record.to_json() for record in again]


def test_a_cut_reply_is_remembered_and_a_fill_asks_once_more(
    dataset: Dataset, answers: list[Answer], tmp_path: Path
) -> None:
    def judged(name: str, fill: bool, turn: Turn) -> tuple[list[AnswerRecord], int, Options]:
        judge = Judge("a", turn)
        journal = Journal(tmp_path / "j.sqlite")
        records, options = run(dataset, answers[:1], [judge], journal=journal, run=name, fill=fill)
        return records, len(judge.asked), options

    first, calls, _ = judged("one", False, lambda prompt, times: cut("GRADE: C"))
    again, asked, options = judged("two", False, fair)
    assert ([record.to_json() for record in again], asked, options.tally.reused) == (
        [record.to_json() for record in first],
        0,
        calls,
    )
    filled, asked, options = judged("fill", True, lambda prompt, times: cut("no"))
    assert (asked, options.tally.reused, options.tally.cut) == (calls, 0, calls)
    assert {grade.attempts for grade in filled[0].grades} == {2}
    resumed, asked, _ = judged("fill", True, fair)
    assert ([record.to_json() for record in resumed], asked) == ([record.to_json() for record in filled], 0)
    last, asked, _ = judged("another fill", True, fair)
    assert (asked, {grade.outcome for grade in last[0].grades}) == (calls, {"graded"})
    assert judged("three", False, fair)[1] == 0


def test_another_repeat_asks_everything_again_once(
    dataset: Dataset, answers: list[Answer], tmp_path: Path
) -> None:
    journal = Journal(tmp_path / "j.sqlite")
    asked = []
    for repeat in (1, 2, 2, 1):
        judge = Judge("a", fair)
        run(dataset, answers, [judge], journal=journal, repeat=repeat)
        asked.append(len(judge.asked))
    assert asked == [asked[0], asked[0], 0, 0]
    assert asked[0] > 0


def test_a_judge_that_is_down_counts_no_calls_that_were_not_made(
    dataset: Dataset, answers: list[Answer]
) -> None:
    class Down(Judge):
        async def ask(self, prompt: str, *others: object) -> Reply:
            self.asked.append(prompt)
            return Reply(None, "judge is down: refused", requested=len(self.asked) <= 3)

    records, options = run(dataset, answers, [Down("a", fair)])
    assert options.tally.asked == 3
    assert options.tally.errors == sum(len(record.grades) for record in records) > 3


def test_a_judge_that_dies_halfway_loses_nothing(
    dataset: Dataset, answers: list[Answer], tmp_path: Path
) -> None:
    whole, _ = run(dataset, answers, [Judge("a", fair)])
    count = sum(len(record.grades) for record in whole)

    class KilledError(Exception):
        pass

    for point in (0, 1, 7, count // 2, count - 1):
        path = tmp_path / f"{point}.sqlite"
        left = point

        def dying(prompt: str, times: int) -> str:
            nonlocal left
            if left == 0:
                raise KilledError
            left -= 1
            return fair(prompt, times)

        with pytest.raises(BaseExceptionGroup):
            run(dataset, answers, [Judge("a", dying, 4)], journal=Journal(path))
        saved = journal_counts(path)["replies"]
        rest = Judge("a", fair, 4)
        records, _ = run(dataset, answers, [rest], journal=Journal(path))
        assert saved == point
        assert len(rest.asked) == count - saved
        assert undated(records) == undated(whole)


def test_a_failed_call_is_repeated_next_time(dataset: Dataset, answers: list[Answer], tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    run(
        dataset,
        answers,
        [Judge("a", lambda p, t: None if number(p) % 3 else fair(p, t))],
        journal=Journal(path),
    )
    judge = Judge("a", fair)
    records, _ = run(dataset, answers, [judge], journal=Journal(path))
    assert all(number(prompt) % 3 for prompt in judge.asked)
    assert judge.asked
    assert sum(record.grades_missing for record in records) == 0


def test_another_answer_epoch_judge_or_benchmark_is_another_call(
    dataset: Dataset, answers: list[Answer], tmp_path: Path
) -> None:
    journal = Journal(tmp_path / "j.sqlite")
    first = answers[0]
    run(dataset, [first], [Judge("a", fair)], journal=journal)
    other = replace(dataset, benchmark=dataset.benchmark.model_copy(update={"name": "other"}))
    for name, of, answer in [
        ("b", dataset, first),
        ("a", other, first),
        ("a", dataset, Answer.of(first.item, 2, first.text)),
        ("a", dataset, Answer.of(first.item, 1, "other")),
    ]:
        judge = Judge(name, fair)
        run(of, [answer], [judge], journal=journal)
        assert judge.asked, (name, answer)


def test_the_lexical_judge_runs_through_the_same_path(dataset: Dataset, answers: list[Answer]) -> None:
    records, _ = run(dataset, answers, [*make_judges(["lexical"], {"temperature": 0.5}), Judge("a", fair)])
    assert [(judge.name, judge.is_llm) for judge in records[0].judges] == [("lexical", False), ("a", True)]
    assert records[0].judges[0].settings == {"version": "1"}
    assert {record.status for record in records} == {"scored"}


@pytest.mark.slow
def test_the_heap_is_frozen_while_calls_are_made_and_unfrozen_after_the_last_batch(
    dataset: Dataset, answers: list[Answer]
) -> None:
    frozen: list[int] = []

    def turn(prompt: str, times: int) -> str:
        frozen.append(gc.get_freeze_count())
        return fair(prompt, times)

    async def two_batches() -> None:
        async with anyio.create_task_group() as group:
            for half, delay in ((answers[:1], 0.0), (answers[1:], 1.0)):
                group.start_soon(judge_answers, dataset, half, [Judge("j", turn, delay=delay)], RUN)

    gc.unfreeze()
    asyncio.run(two_batches())
    assert all(frozen)
    assert gc.get_freeze_count() == 0


def test_a_journal_that_cannot_be_written_is_one_plain_message(
    dataset: Dataset, answers: list[Answer], tmp_path: Path
) -> None:
    journal = Journal(tmp_path / "journal")
    journal.close()
    with pytest.raises(InputError, match="cannot write the journal"):
        run(dataset, answers, [Judge("j", fair, connections=5, delay=1.0)], journal=journal)


def test_judging_inside_a_running_loop(dataset: Dataset, answers: list[Answer]) -> None:
    async def notebook() -> list[AnswerRecord]:
        return run(dataset, answers[:1], [Judge("a", fair)])[0]

    assert asyncio.run(notebook())[0].status == "scored"


def test_a_failure_inside_a_running_loop_is_raised() -> None:
    async def work() -> None:
        raise LookupError("here")

    async def notebook() -> None:
        run_async(work)

    with pytest.raises(LookupError, match="here"):
        asyncio.run(notebook())
