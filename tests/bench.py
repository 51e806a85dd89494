"""Every measurement of performance: ``make bench``, or ``python tests/bench.py NAME...`` for some.

Names: hook (what the lm-eval hook costs every start of Python), harness (judging on a scripted server: ours against
upstream, latency, rate limits, CPU), journal, faults, analysis, report, contamination, train. Without a name all run,
in that order. The ratios need a quiet machine.
"""

from __future__ import annotations

import itertools
import os
import resource
import sqlite3
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import helpers
from helpers import ANIMA_2_2

from value_retention.adapters.judges.client import make_judges
from value_retention.adapters.judges.journal import CallKey, Journal, Reply, digest
from value_retention.adapters.judges.run import Options, judge_answers, judge_batch, run_async
from value_retention.tasks.answers import Answer
from value_retention.tasks.data import Dataset, load
from value_retention.tasks.prompts import item_calls
from value_retention.tasks.record import RunInfo

TESTS = Path(__file__).parent


def cpu_seconds(who: int) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def timed(command: Sequence[str | Path], work: Path, **env: str) -> tuple[float, float]:
    """Wall and CPU seconds of a process, which must succeed."""
    start, used = time.monotonic(), cpu_seconds(resource.RUSAGE_CHILDREN)
    done = helpers.run(*command, cwd=work, timeout=900, **env)
    seconds = time.monotonic() - start
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return seconds, cpu_seconds(resource.RUSAGE_CHILDREN) - used


def hook_seconds(runs: int = 500) -> float:
    """CPU time of the installed ``.pth`` file, which every start of Python runs: the least of 5 means."""
    line = Path(sysconfig.get_path("purelib"), "value_retention_lm_eval.pth").read_text()
    path, means = sys.meta_path, []
    for _ in range(5):
        sys.meta_path = list(path)
        start = time.process_time()
        for _ in range(runs):
            exec(line)
        means.append((time.process_time() - start) / runs)
    sys.meta_path = path
    return min(means)


def hook() -> None:
    print(f"hook: {hook_seconds() * 1000:.2f} ms CPU time")


def harness() -> None:
    """Whole evals against upstream's, then judging alone at a judge's usual latency and under a rate limit."""
    against_upstream()
    dataset, answers = many_answers()
    judged(dataset, answers[:1])  # imports
    seconds, cpu, _ = judged(dataset, answers, "--latency", "0.02", max_connections=64)
    calls = sum(item_calls(dataset, answer.item) for answer in answers)
    print(f"harness: {cpu * 1000 / calls:.2f} ms CPU per grade, {calls} grades in {seconds:.1f} s at 20 ms")
    seconds, _, lost = judged(dataset, answers, "--latency", "1", "--limit", str(ALLOWED))
    print(
        f"harness: {calls} calls of 1 s in {seconds:.1f} s, {seconds / (calls / ALLOWED):.2f} of the time with "
        f"{ALLOWED} always in flight (goal at most 1.5), {lost} grades lost"
    )
    limited = ("--latency", "0.5", "--limit", "32")
    fixed, _, _ = judged(dataset, answers, *limited, max_connections=32)
    seconds, _, lost = judged(dataset, answers, *limited)
    print(
        f"harness: 429 above 32 calls in flight: {seconds:.1f} s, {seconds / fixed:.2f} of a fixed limit of 32 "
        f"(goal at most 1.2), {lost} grades lost (goal 0)"
    )


ALLOWED = 256
"""Calls at once that the scripted judge takes in the bench of latency."""
CALLS = 2535
"""Judge calls of a checkpoint on ANIMA 2.2."""


def many_answers() -> tuple[Dataset, list[Answer]]:
    """Answers to the bundled items that take as many judge calls as a checkpoint does."""
    dataset = load(ANIMA_2_2, "sample")
    answers: list[Answer] = []
    calls = 0
    for epoch in itertools.count(1):
        for item in dataset.items:
            if calls >= CALLS:
                return dataset, answers
            answers.append(Answer.of(item, epoch, f"Answer {epoch}. " * 200))
            calls += item_calls(dataset, item)
    raise AssertionError


def judged(dataset: Dataset, answers: list[Answer], *server: str, **args: object) -> tuple[float, float, int]:
    """Judge answers on a scripted server: wall seconds, CPU seconds, grades lost.

    Args:
        dataset: Their items.
        answers: To be judged.
        server: Options of the scripted server.
        args: Judge settings.
    """
    with helpers.scripted_server(*server) as running, tempfile.TemporaryDirectory() as folder:
        os.environ |= running.environment
        book = Journal(Path(folder) / "journal.sqlite")
        judges = make_judges([helpers.JUDGE], args, single_loop=True)
        began, used = time.monotonic(), cpu_seconds(resource.RUSAGE_SELF)
        records = judge_batch(dataset, answers, judges, RunInfo("bench", "0", "model"), Options(journal=book))
        seconds, used = time.monotonic() - began, cpu_seconds(resource.RUSAGE_SELF) - used
        return seconds, used, sum(record.grades_missing for record in records)


def against_upstream(rounds: int = 3) -> None:
    """Ours over upstream: 570 answers and 2,535 grades each, the three in turn, medians of the ratios.

    At 20 ms all are bound by CPU time, so its ratios hold on a busy machine too.
    """
    if not (helpers.REAL / "anima").is_dir():
        print("harness: the comparison with upstream needs the gated ANIMA rows in ../shared/data/hub/anima")
        return
    connections = ("--max-connections", "64", "--display", "none")
    roles = ("--model", helpers.MODEL, "--model-role", f"grader={helpers.JUDGE}")
    inspect = [helpers.BIN / "inspect", "eval"]
    upstream = ("-T", f"dataset_repo_id={helpers.REAL / 'anima'}")
    settings = {"judge": helpers.JUDGE, "data": str(helpers.REAL), "judge_args": {"max_connections": 64}}
    found: dict[str, list[tuple[float, float]]] = {"lm_eval": [], "our inspect eval": [], "upstream's": []}
    with helpers.scripted_server("--latency", "0.02") as server, tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        model = [str(a).replace("num_concurrent=32", "num_concurrent=64") for a in server.lm_eval_model]
        output = ("--log_samples", "--output_path", "lm")
        commands = {
            "lm_eval": helpers.lm_eval(
                *model, "--tasks", "anima_2_2", *output, *helpers.metadata(**settings)
            ),
            "our inspect eval": [
                *(*inspect, "value_retention/anima_2_2", *roles, *connections, "-T", f"data={helpers.REAL}")
            ],
            "upstream's": [*inspect, "inspect_evals/anima", *roles, *connections, *upstream],
        }
        for number in range(rounds):
            env = server.environment | {
                "VALUE_RETENTION_JOURNAL_DIR": str(work / f"journal-{number}"),
                "HF_DATASETS_CACHE": str(work / "datasets"),
                "XDG_CACHE_HOME": str(work / "cache"),
                "HF_HUB_OFFLINE": "1",
            }
            for name, command in commands.items():
                wall, cpu = timed(command, work, **env)
                found[name].append((wall, cpu))
                print(f"  {name}: {wall:.1f} s, {cpu:.1f} s CPU", flush=True)
    for name, goal in (("lm_eval", 0.55), ("our inspect eval", 0.75)):
        for what, index in (("wall", 0), ("CPU", 1)):
            ratios = [
                ours[index] / theirs[index]
                for ours, theirs in zip(found[name], found["upstream's"], strict=True)
            ]
            print(
                f"harness: {name} / upstream, {what} time: {statistics.median(ratios):.2f} "
                f"({min(ratios):.2f} to {max(ratios):.2f}, goal at most {goal})"
            )


def journal() -> None:
    """Time of the journal per grade, and time to resume a finished run."""
    dataset = load(ANIMA_2_2, str(helpers.REAL) if (helpers.REAL / "anima").is_dir() else "sample")
    answers = [
        Answer.of(item, epoch, f"An answer to {item.id}.") for item in dataset.items for epoch in range(1, 6)
    ]
    judges = make_judges(["lexical"], {})
    run = RunInfo("bench", "0", "model")
    with tempfile.TemporaryDirectory() as folder:
        book = Journal(Path(folder) / "journal.sqlite")
        _judging(dataset, answers[:1], judges, run, Options())  # imports
        without = _judging(dataset, answers, judges, run, Options())
        first = _judging(dataset, answers, judges, run, Options(journal=book))
        again = Options(journal=book)
        resumed = _judging(dataset, answers, judges, run, again)
        grades = again.tally.reused
        assert again.tally.asked == 0
    print(f"journal: {grades} grades judged in {first:.2f} s with it, {without:.2f} s without")
    print(f"journal: a finished run of {grades} grades resumed in {resumed:.2f} s (goal under 3 s)")
    journal_growth()


def journal_growth(most: int = 1_000_000, sample: int = 2_535) -> None:
    """Time to save and to find the grades of one run, in a journal that grows to a million grades."""
    reply = Reply("Step by step. " * 20 + "GRADE: C", None, 0, 1.0, 900, 300, "id")
    call = CallKey("moru", "1", 1, "Care", (), "judge", "{}", "")
    with tempfile.TemporaryDirectory() as folder:
        book = Journal(Path(folder) / "journal.sqlite")
        connection = sqlite3.connect(book.path)
        there = 0
        for target in (0, most // 100, most // 10, most):
            # Rows like those of `add_reply`, many in a transaction: a million commits take minutes.
            rows = (
                (digest(n), 1, f"run {n // sample}", "judge", digest(n), reply.text)
                for n in range(there, target)
            )
            sql = "INSERT INTO replies (key, attempt, run, judge, prompt_hash, text, at) VALUES (?, ?, ?, ?, ?, ?, 0)"
            with connection:
                connection.executemany(sql, rows)
            there = target
            calls = [replace(call, prompt_hash=f"{target} {n}") for n in range(sample)]
            start = time.monotonic()
            for each in calls:
                book.add_reply(each, 1, reply, "run")
            saved, start = time.monotonic() - start, time.monotonic()
            found = sum(len(book.replies(each.digest)) for each in calls)
            looked_up = time.monotonic() - start
            assert found == sample
            print(
                f"journal: with {target:,} grades in it, {sample:,} more saved in {saved / sample * 1000:.3f} ms "
                f"each (goal under 0.3), found in {looked_up / sample * 1000:.3f} ms each, "
                f"{Path(book.path).stat().st_size / 1e6:.0f} MB"
            )
        start = time.monotonic()
        book.sizes()
        print(f"journal: the sizes for `journal list` in {time.monotonic() - start:.1f} s")


def _judging(
    dataset: Dataset, answers: list[Answer], judges: list[object], run: RunInfo, options: Options
) -> float:
    start = time.monotonic()
    run_async(lambda: judge_answers(dataset, answers, judges, run, options))  # type: ignore[arg-type]
    return time.monotonic() - start


def script(name: str, *arguments: str) -> Callable[[], None]:
    def work() -> None:
        subprocess.run([sys.executable, str(TESTS / name), *arguments], check=True)

    return work


BENCHES: dict[str, Callable[[], None]] = {
    "hook": hook,
    "harness": harness,
    "journal": journal,
    "faults": script("faults.py", "--kills", "20"),
    "analysis": script("bench_analysis.py"),
    "report": script("bench_report.py"),
    "contamination": script("bench_contamination.py"),
    "train": script("bench_train.py"),
}


def main() -> None:
    names = sys.argv[1:] or list(BENCHES)
    unknown = [name for name in names if name not in BENCHES]
    if unknown:
        sys.exit(f"unknown: {', '.join(unknown)}; there are {', '.join(BENCHES)}")
    for name in names:
        print(f"== {name}", flush=True)
        BENCHES[name]()


if __name__ == "__main__":
    main()
