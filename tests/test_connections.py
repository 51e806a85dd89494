"""Calls in flight: the limit follows the provider, no grade is lost to a 429, and clients are closed."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path
from typing import Any

import pytest
from helpers import ANIMA_2_2, JUDGE, RUN, scripted_server

from value_retention.adapters.judges.client import make_judges
from value_retention.adapters.judges.connections import MOST, START, Connections
from value_retention.adapters.judges.journal import Journal
from value_retention.adapters.judges.run import Options, judge_batch
from value_retention.tasks.answers import Answer
from value_retention.tasks.data import Dataset, load


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return load(ANIMA_2_2, "sample")


@pytest.fixture(scope="module")
def answers(dataset: Dataset) -> list[Answer]:
    return [Answer.of(item, epoch, f"On {item.id}, {epoch}.") for item in dataset.items for epoch in (1, 2)]


def after(pool: Connections, replies: int, seconds: float = 1.0) -> float:
    """The limit after so many replies while every slot is taken."""

    async def work() -> float:
        for _ in range(replies):
            while pool.slots.available_tokens >= 1:
                pool.slots.acquire_on_behalf_of_nowait(object())
            pool.grow(seconds)
        return pool.slots.total_tokens

    return asyncio.run(work())


def test_the_limit_doubles_per_round_until_the_first_rate_limit_and_then_grows_by_one() -> None:
    pool = Connections()
    assert after(pool, START) == 2 * START
    pool.shrink(pool.decreases)
    shrunk = pool.slots.total_tokens
    assert START < shrunk < 2 * START
    assert after(pool, int(shrunk) + 1) == shrunk + 1
    assert after(Connections(), 10 * MOST) == MOST


def test_a_round_of_rate_limits_shrinks_it_once_and_never_below_one() -> None:
    pool = Connections()
    for _ in range(START):
        pool.shrink(0)
    assert START / 2 < pool.slots.total_tokens < START
    for _ in range(100):
        pool.shrink(pool.decreases)
    assert pool.slots.total_tokens == 1


def test_free_slots_are_no_reason_to_grow() -> None:
    pool = Connections()
    for _ in range(100):
        pool.grow(1.0)
    assert pool.slots.total_tokens == START


def test_slow_replies_stop_the_growth() -> None:
    pool = Connections()
    reached = after(pool, START, seconds=1.0)
    assert after(pool, 300, seconds=3.0) < 2 * reached
    slow = pool.slots.total_tokens
    assert after(pool, 300, seconds=3.0) == slow
    assert after(pool, 300, seconds=1.0) > slow


def test_the_users_limit_stays() -> None:
    pool = Connections(5)
    pool.shrink(0)
    assert (after(pool, 100), pool.most) == (5, 5)


@pytest.mark.slow
def test_no_grade_is_lost_to_a_server_with_a_rate_limit(
    dataset: Dataset,
    answers: list[Answer],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    with scripted_server("--latency", "0.05", "--limit", "8") as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        judges: list[Any] = make_judges([JUDGE], {}, single_loop=True)
        options = Options(journal=Journal(tmp_path / "journal"))
        records = judge_batch(dataset, answers, judges, RUN, options)
        stats = server.stats()
    grades = sum(len(record.grades) for record in records)
    assert sum(record.grades_missing for record in records) == 0
    assert (options.tally.asked, stats["judge"], stats["judge_repeated"]) == (grades, grades, 0)
    assert options.tally.retries == stats["limited"] > 0
    # The client uses aiohttp, which complains about a session that nobody closed.
    assert "Aio" in type(judges[0].api.http_client).__name__
    assert judges[0].api.client.is_closed()
    del judges
    gc.collect()
    assert "Unclosed" not in caplog.text
