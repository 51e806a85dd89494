"""Speed of the analysis. Run by ``make bench``; prints ratios and checks nothing but equal results.

Three parts: resampling against `scipy.stats.bootstrap`; six full runs from files to table, time and memory;
growth with 10 and 100 times the runs.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from ordinary_answers import ANSWERS
from synthetic import anima_shape, moru_shape, synthetic_records

from value_retention.analysis.effects.compare import compare_pairs
from value_retention.analysis.runs.scores import RunScores, reduce_run
from value_retention.analysis.stats import resample
from value_retention.analysis.stats.settings import Settings
from value_retention.tasks.cluster import cluster_table
from value_retention.tasks.record import text_hash

RUNS, METRICS, CLUSTERS, RESAMPLES = 6, 14, 115, 10_000
RATIONALE = "The answer weighs what the animal may feel and names what remains unknown about it. " * 6


def best_of(times: int, call: Callable[[], Any]) -> float:
    """Shortest of several wall times, seconds."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return min(found)


def bench_resampling() -> None:
    """210 intervals: our product against scipy at its best batch size, same resamples."""
    from scipy.stats import bootstrap

    scores = np.random.default_rng(1).random((RUNS, METRICS, CLUSTERS))
    pairs = list(combinations(range(RUNS), 2))
    differences = np.concatenate([scores[b] - scores[a] for a, b in pairs])
    table = cluster_table(np.ascontiguousarray(differences.T), np.ones(differences.T.shape))

    def ours() -> tuple[Any, Any]:
        counts = resample.cluster_counts(CLUSTERS, RESAMPLES, 0)
        return resample.percentile_interval(resample.bootstrap(table, counts))

    def cold() -> None:
        resample.cluster_counts.cache_clear()
        ours()

    def theirs(batch: int) -> Any:
        return bootstrap(
            (differences,), np.mean, axis=-1, n_resamples=RESAMPLES, batch=batch, method="percentile",
            rng=np.random.default_rng(0),
        )  # fmt: skip

    mine, first = best_of(60, ours), best_of(20, cold)
    batches = {batch: best_of(4, lambda batch=batch: theirs(batch)) for batch in (1, 5, 20, 100, 400)}
    batch, best = min(batches.items(), key=lambda item: item[1])
    reference = theirs(batch).confidence_interval
    worst = max(float(np.abs(e - r).max()) for e, r in zip(ours(), reference, strict=True))
    print(f"{len(differences)} intervals ({RESAMPLES} resamples x {CLUSTERS} clusters x {METRICS} metrics x "
          f"{RUNS} runs, all pairs), one thread")  # fmt: skip
    print(
        f"  ours                        {mine * 1e3:8.1f} ms  ({first * 1e3:.1f} ms when weights are drawn)"
    )
    print(f"  scipy.stats.bootstrap       {best * 1e3:8.1f} ms  (best of batches {list(batches)}: {batch})")
    print(
        f"  ratio                       {best / mine:8.1f} x   ({best / first:.1f} x when weights are drawn)"
    )
    print(f"  largest difference          {worst:8.1e}")
    assert worst < 1e-12, worst


def write_runs(folder: Path, count: int) -> list[Path]:
    """Full runs as record files: 575 ANIMA and 1,005 MORU answers each."""
    paths = []
    for k in range(count):
        records = synthetic_records(f"run {k}", anima_shape(), {"all": 0.4 + 0.03 * k}, seed=k)
        records += synthetic_records(f"run {k}", moru_shape(), {"all": 0.5 + 0.02 * k}, seed=k)
        paths.append(folder / f"run{k}.records.jsonl")
        with paths[-1].open("w", encoding="utf-8") as file:
            for record in records:
                grades = tuple(replace(grade, rationale=RATIONALE) for grade in record.grades)
                answer = f"{record.answer}. {ANSWERS.get(record.language, ANSWERS['en'])}"
                made = replace(record, grades=grades, answer=answer, answer_hash=text_hash(answer))
                file.write(made.to_json() + "\n")
    return paths


def bench_command(folder: Path) -> None:
    """The whole command on six full runs, in a process of its own."""
    paths = write_runs(folder, RUNS)
    size = sum(path.stat().st_size for path in paths) / 1e6
    command = [
        sys.executable, "-m", "value_retention.analysis.cli", "compare", *map(str, paths), "--margin", "5",
        "--json", str(folder / "out.json"),
    ]  # fmt: skip
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    answers = sum(len(path.read_bytes().splitlines()) for path in paths)
    effects = len(json.loads((folder / "out.json").read_text(encoding="utf-8"))["effects"])
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"compare, six full runs from files to table: {answers} answers, {size:.0f} MB, {effects} rows")
    print(f"  wall {wall:.2f} s, processor {cpu:.2f} s, peak memory {after.ru_maxrss / 1024:.0f} MB")


def bench_reading(folder: Path) -> None:
    """Reading and reducing files, one run in memory at a time."""
    from value_retention.analysis.commands.inputs import read_all

    paths = [str(path) for path in sorted(folder.glob("*.records.jsonl"))]
    for factor in (1, 10):
        start = time.perf_counter()
        scores, _ = read_all(paths * factor)
        wall = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"  {len(paths) * factor:4d} runs read and reduced       {wall:7.2f} s  peak memory {peak:.0f} MB"
        )
        assert len(scores) == 2 * len(paths) * factor


def bench_growth() -> None:
    """Comparison of reduced runs: every run against a baseline, and every pair."""
    one = [
        scores
        for k in range(RUNS)
        for scores in reduce_run(
            f"run {k}", (), synthetic_records(f"run {k}", anima_shape(), {"all": 0.5}, seed=k)
        )
    ]
    print("growth, comparing reduced ANIMA runs (weights drawn, records read and reduced)")
    for factor in (1, 10, 100):
        runs = _copies(one, factor)
        start = time.perf_counter()
        result = compare_pairs(runs, Settings(), baseline=runs[0].run)
        wall = time.perf_counter() - start
        print(f"  {len(runs):4d} runs against a baseline  {wall:7.2f} s  {len(result.effects):7d} rows")
    for factor in (1, 10):
        runs = _copies(one, factor)
        start = time.perf_counter()
        result = compare_pairs(runs, Settings())
        wall = time.perf_counter() - start
        print(f"  {len(runs):4d} runs, every pair         {wall:7.2f} s  {len(result.effects):7d} rows")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"  peak memory of all of it {peak:.0f} MB")


def _copies(runs: list[RunScores], factor: int) -> list[RunScores]:
    return [replace(run, run=f"{run.run}, copy {k}") for k in range(factor) for run in runs]


def main() -> None:
    """Run all parts; resampling in a process with one thread, since scipy's bootstrap uses no more."""
    if sys.argv[1:] == ["resampling"]:
        bench_resampling()
        return
    with tempfile.TemporaryDirectory() as folder:
        bench_command(Path(folder))  # First: the peak memory is that of all processes started so far.
        bench_reading(Path(folder))
    one_thread = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, __file__, "resampling"], check=True, env=one_thread)
    bench_growth()


if __name__ == "__main__":
    main()
