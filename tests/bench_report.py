"""Time and size of a report on a baseline and six candidates, and its first paint in Chromium.

Run by ``make bench``. Prints the figures with their goals and checks nothing.
"""

from __future__ import annotations

import asyncio
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import cpu_seconds
from bench_analysis import write_runs
from chromium import CHROMIUM, first_paint

CANDIDATES = 6


def main() -> None:
    """Write the runs, the report in a process of its own, and look at it."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        paths = write_runs(folder, CANDIDATES + 1)
        page = folder / "report.html"
        command = [sys.executable, "-m", "value_retention.analysis.cli", "report", *map(str, paths),
                   "--margin", "5", "-o", str(page)]  # fmt: skip
        start, used = time.perf_counter(), cpu_seconds(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        wall, used = time.perf_counter() - start, cpu_seconds(resource.RUSAGE_CHILDREN) - used
        answers = sum(len(path.read_bytes().splitlines()) for path in paths)
        print(
            f"report: a baseline and {CANDIDATES} candidates, {answers} answers in {wall:.1f} s (goal under 10 s; "
            f"{used:.1f} s CPU time), {page.stat().st_size / 1e6:.1f} MB (goal under 25 MB)"
        )
        if CHROMIUM is None:
            print("report: the first paint needs Debian's package chromium")
            return
        seconds = asyncio.run(first_paint(page, folder / "profile"))
        print(f"report: first contentful paint after {seconds:.2f} s (goal under 1 s)")


if __name__ == "__main__":
    main()
