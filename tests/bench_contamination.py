"""Time and memory of `value-retention contamination` on many rows.

    python tests/bench_contamination.py [--rows 1000000] [--data sample]

Rows are as long as those of dolly-15k (150 words on average), joined from sentences of the shipped sample rows; every
thousandth has a question in it. The command runs in a process of its own, with its real output. CPU seconds are
printed, because other work on the machine matters less to them.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from planted import datasets

from value_retention.analysis.planning.contamination.rows import texts_of
from value_retention.train.data import SAMPLES

WORDS = 75
"""Mean length of a prompt, and of an answer."""
PLANTED = 1000


def sentences() -> list[str]:
    """Every sentence of the shipped rows."""
    rows = (json.loads(line) for path in sorted(SAMPLES.glob("*.jsonl")) for line in path.open("rb"))
    texts = (text for row in rows for _, text in texts_of(row))
    return sorted({s for text in texts for s in re.split(r"(?<=[.!?])\s+", text) if len(s.split()) > 3})


def write(path: Path, count: int, asked: Sequence[str], draw: random.Random) -> None:
    """Write rows, and plant questions."""
    known = sentences()

    def text() -> str:
        left, parts = draw.expovariate(1 / WORDS), []
        while left > 0 or not parts:
            parts.append(draw.choice(known))
            left -= parts[-1].count(" ") + 1
        return " ".join(parts)

    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            prompt = text() if number % PLANTED else f"{draw.choice(asked)} {text()}"
            row = {
                "prompt": [{"role": "user", "content": prompt}],
                "completion": [{"role": "assistant", "content": text()}],
            }
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--data", default="sample")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows, clean = Path(folder) / "rows.jsonl", Path(folder) / "clean.jsonl"
        sets = datasets(options.data)
        asked = [item.question for dataset in sets for item in dataset.items]
        write(rows, options.rows, asked, random.Random(0))
        names = [part for dataset in sets for part in ("--benchmark", dataset.benchmark.name)]
        command = [
            *(sys.executable, "-m", "value_retention.analysis.cli", "contamination", rows),
            *("--data", options.data, "--drop", clean, "--show", "0", *names),
        ]
        start = time.monotonic()
        done = subprocess.run(list(map(str, command)), check=True, stdout=subprocess.PIPE, text=True)
        wall, used = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        stamp = json.loads(Path(f"{clean}.stamp.json").read_text("utf-8"))
        assert stamp["dropped"] == -(-options.rows // PLANTED), done.stdout
        cpu = used.ru_utime + used.ru_stime
        print(
            f"contamination: {options.rows:,} rows, {rows.stat().st_size / 1e6:.0f} MB, read, compared and written: "
            f"{cpu:.0f} s CPU time, {wall:.0f} s wall time, {cpu / options.rows * 1e6:.0f} s CPU time per million "
            f"rows, peak memory {used.ru_maxrss / 1024:.0f} MB, {stamp['dropped']} hits dropped, {stamp['near']} "
            f"near matches"
        )


if __name__ == "__main__":
    main()
