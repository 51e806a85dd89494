"""Kill and disturb judging, and count lost grades and repeated calls.

    python tests/faults.py --kills 20

prints the fault table; `test_faults.py` runs a small version. "Repeated" counts calls that were made again
although their reply was in the journal when the process was killed: it must be 0. Calls in flight at a kill
have no reply yet and are made again; "in flight" counts them.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import signal
import sqlite3
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import helpers

CALLS = 255
"""Judge calls for one epoch of the sample items: 114 and 141."""


@dataclass(frozen=True)
class Row:
    """One line of the fault table."""

    what: str
    kills: int
    injected: int
    retries: int
    calls: int
    """Judge calls that the server answered."""
    under_way: int
    """Calls made twice because a kill came before their reply."""
    repeated: int
    """Finished calls made again."""
    lost: int
    """Grades missing at the end."""
    equal: bool
    """Whether the records equal those of an uninterrupted run."""

    def __str__(self) -> str:
        return (
            f"{self.what:66s} | {self.kills:5d} | {self.injected:8d} | {self.retries:7d} | {self.calls:5d} | "
            f"{self.under_way:9d} | {self.repeated:8d} | {self.lost:4d} | {'yes' if self.equal else 'NO'}"
        )


HEADER = f"{'run':66s} | kills | injected | retries | calls | in flight | repeated | lost | records equal"


def answered(server: helpers.Server) -> list[str]:
    """Hashes of the messages that the server answered, in order."""
    with urllib.request.urlopen(server.url.removesuffix("/v1") + "/calls") as reply:
        calls: list[str] = json.load(reply)
        return calls


def journalled(folder: Path) -> set[str]:
    """Prompt hashes of the replies, and keys of the answers, that are in the journals below a folder."""
    found: set[str] = set()
    for file in folder.rglob("*.sqlite"):
        connection = sqlite3.connect(file)
        found |= {row[0] for row in connection.execute("SELECT prompt_hash FROM replies")}
        connection.close()
    return found


def kill_at(
    command: Sequence[str | Path], server: helpers.Server, calls: int, how: signal.Signals, **env: str
) -> bool:
    """Start a command and send it a signal after that many calls. False if it ended before."""
    process = subprocess.Popen(
        [str(part) for part in command],
        env=helpers.environment(**helpers.OUR_TASKS, **env),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None:
        stats = server.stats()
        if stats["judge"] + stats["model"] >= calls:
            os.kill(process.pid, how)
            process.wait()
            return True
        time.sleep(0.01)
    return False


Records = dict[tuple[str, str, int], Any]


def killed_again_and_again(
    command: Callable[[str], Sequence[str | Path]],
    output: Path,
    expected: Records,
    kills: Sequence[int],
    what: str,
    model_calls: int = 0,
    how: Sequence[signal.Signals] = (signal.SIGKILL,),
) -> Row:
    """Kill a command at each of the numbers of calls, let it finish, and compare with an undisturbed run.

    Args:
        command: From the server's URL.
        output: Where the command writes.
        expected: What it must end with.
        kills: Calls (of model and judge) after which it is killed.
        what: Name of the row.
        model_calls: Answers that the command generates.
        how: Signals, in turn.
    """
    journals = output.with_name(output.name + "-journal")
    with helpers.scripted_server("--latency", "0.02") as server:
        env = server.environment | {"VALUE_RETENTION_JOURNAL_DIR": str(journals)}
        repeated, made = 0, 0
        for calls, with_signal in zip([*kills, None], itertools.cycle(how), strict=False):
            before, seen = journalled(journals), len(answered(server))
            if calls is not None:
                made += kill_at(command(server.url), server, calls, with_signal, **env)
            else:
                done = helpers.run(*command(server.url), **env)
                assert done.returncode == 0, done.stderr[-3000:]
            repeated += sum(call in before for call in answered(server)[seen:])
        stats = server.stats()
    found = records_at(output)
    return Row(
        what,
        kills=made,
        injected=0,
        retries=0,
        calls=stats["judge"],
        under_way=stats["judge_repeated"] + stats["model"] - model_calls,
        repeated=repeated,
        lost=missing(found),
        equal=found == expected,
    )


def missing(found: Records) -> int:
    return sum(record["grades_missing"] for record in found.values())


def records_at(folder: Path) -> Records:
    """Records below a folder without their `run` block."""
    from value_retention.analysis.runs.load import load_runs

    records = [record for run in load_runs([folder]) for record in run.records]
    texts = zip(records, helpers.undated(records), strict=True)
    found = {(r.benchmark, r.item, r.epoch): json.loads(text) | {"run": None} for r, text in texts}
    assert len(found) == len(records), "records are doubled"
    return found


# -- the two commands -----------------------------------------------------------------------------------

ARGS = {"max_connections": 4}


def lm_eval_command(url: str, output: Path, judge: str) -> list[str | Path]:
    server = helpers.Server(url)
    return helpers.lm_eval(
        *server.lm_eval_model,
        *("--tasks", "anima_2_2,moru_multi", "--log_samples", "--output_path", output),
        *helpers.metadata(judge=judge, data="sample", epochs=1, judge_args=ARGS),
    )


def judge_command(saved: Path, output: Path, **args: object) -> list[str | Path]:
    return [
        *(helpers.BIN / "value-retention", "judge", saved, "--judge", helpers.JUDGE, "-o", output),
        *("--judge-args", json.dumps({**ARGS, **args})),
    ]


def save_answers(work: Path) -> Path:
    """Answers of the scripted model to the sample items, unjudged."""
    with helpers.scripted_server() as server:
        done = helpers.run(*lm_eval_command(server.url, work / "saved", "none"), **server.environment)
        assert done.returncode == 0, done.stderr[-3000:]
    return work / "saved"


def undisturbed(saved: Path, work: Path) -> Records:
    """The records of judging the saved answers without a fault."""
    with helpers.scripted_server() as server:
        env = server.environment | {"VALUE_RETENTION_JOURNAL_DIR": str(work / "calm-journal")}
        done = helpers.run(*judge_command(saved, work / "calm"), **env)
        assert done.returncode == 0, done.stderr[-3000:]
    return records_at(work / "calm")


def judge_killed(saved: Path, expected: Records, output: Path, kills: int) -> Row:
    """`value-retention judge` killed at evenly spread calls."""
    points = [1 + CALLS * k // kills for k in range(kills)]
    what = f"value-retention judge, killed {kills} times"
    return killed_again_and_again(lambda _: judge_command(saved, output), output, expected, points, what)


def lm_eval_killed(expected: Records, output: Path, kills: Sequence[int]) -> Row:
    """lm_eval killed while it generates (66 calls), and stopped with Ctrl-C while it judges, in turn."""
    what = f"lm_eval, killed or interrupted at calls {', '.join(map(str, kills))}"
    return killed_again_and_again(
        lambda url: lm_eval_command(url, output, helpers.JUDGE),
        output,
        expected,
        kills,
        what,
        model_calls=66,
        how=(signal.SIGKILL, signal.SIGINT),
    )


def judge_with_faults(saved: Path, expected: Records, output: Path, rate: float) -> Row:
    """Every kind of fault on a share of the calls; the stall outlasts the attempt's time-out."""
    with helpers.scripted_server("--fault-rate", str(rate), "--stall", "60") as server:
        env = server.environment | {"VALUE_RETENTION_JOURNAL_DIR": str(output.with_name("fault-journal"))}
        done = helpers.run(*judge_command(saved, output, attempt_timeout=10), **env)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        stats = server.stats()
    found = records_at(output)
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(stats["kinds"].items()))
    return Row(
        f"{rate:.0%} fail: {kinds}",
        kills=0,
        injected=stats["faults"],
        retries=sum(int(n) for n in re.findall(r"(\d+) retries", done.stdout)),
        calls=stats["judge"],
        under_way=0,
        repeated=stats["judge_repeated"],
        lost=missing(found),
        equal=found == expected,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        saved = save_answers(work)
        expected = undisturbed(saved, work)
        print(HEADER)
        print(judge_with_faults(saved, expected, work / "faults", rate=0.05), flush=True)
        print(judge_killed(saved, expected, work / "killed", args.kills), flush=True)
        print(lm_eval_killed(expected, work / "lm", [20, 50, 100, 200]), flush=True)


if __name__ == "__main__":
    main()
