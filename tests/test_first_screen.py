"""The first screen of a comparison: it fits a terminal and leaves out nothing that changes the reading."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from click.testing import CliRunner
from made_records import MadeRun
from rich.console import Console
from synthetic import anima_shape, moru_shape, synthetic_records

from value_retention.analysis import compare
from value_retention.analysis.cli import cli
from value_retention.analysis.effects.result import Result
from value_retention.analysis.report.cells import number
from value_retention.analysis.report.overview import WORST_FIRST
from value_retention.analysis.report.screen import print_first_screen


def made(name: str, level: float, missing: float = 0.0, moru: bool = True) -> MadeRun:
    records = synthetic_records(name, anima_shape(), {"all": level}, epochs=2, missing=missing)
    if moru:
        records += synthetic_records(name, moru_shape(), {"all": level}, epochs=2, missing=missing)
    return MadeRun(name, records)


def screen(result: Result, width: int = 80, colour: bool = False) -> list[str]:
    out = StringIO()
    print_first_screen(result, Console(file=out, width=width, force_terminal=colour))
    return out.getvalue().splitlines()


@pytest.fixture(scope="module")
def five() -> list[MadeRun]:
    """A run before, a baseline and four candidates, one of which lost much."""
    levels = {"before": 0.2, "mid": 0.5, "equal": 0.5, "lost": 0.2, "lower": 0.42, "higher": 0.6}
    return [made(name, level, missing=0.02) for name, level in levels.items()]


@pytest.fixture(scope="module")
def four(five: list[MadeRun]) -> Result:
    return compare(five[1:], baseline="mid", margin=5)


@pytest.fixture(scope="module")
def shares(five: list[MadeRun]) -> Result:
    return compare(five[:4], baseline="mid", before="before", margin=5)


@pytest.fixture(scope="module")
def two(five: list[MadeRun]) -> Result:
    return compare(five[1:3], margin=5)


def with_warnings(result: Result, count: int) -> Result:
    return replace(result, headline=tuple(f"WARNING {k}: " + "of many words " * 9 for k in range(count)))


@pytest.mark.parametrize("name", ["two", "four", "shares"])
@pytest.mark.parametrize("warnings", [0, 2, 30])
def test_the_screen_has_forty_lines_of_eighty_columns_at_most(
    name: str, warnings: int, request: pytest.FixtureRequest
) -> None:
    lines = screen(with_warnings(request.getfixturevalue(name), warnings))
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("WARNING 0" if warnings else "Scores")


def test_every_pair_of_many_runs_fits_too(five: list[MadeRun]) -> None:
    lines = screen(compare(five, margin=5))
    text = "\n".join(lines)
    assert len(lines) <= 40
    shown = len(re.findall(r"^(?:ANIMA 2.2|MORU), \w+ against \w+: (?:overall|[a-z, *]+, )", text, re.M))
    left = sum(map(int, re.findall(r": (\d+) more comparisons, none worse", text)))
    assert shown + left == 2 * 15
    assert left


def test_the_worst_comes_first(four: Result) -> None:
    text = "\n".join(screen(four))
    for benchmark in ("ANIMA 2.2", "MORU"):
        said = re.findall(rf"^{benchmark}, (\w+) against mid: (?:overall|[a-z, *]+, )", text, re.M)
        assert said[0] == "lost"
        order = {e.run: WORST_FIRST.index(e.verdict) for e in four.effects if e.tier == "primary"}
        assert [order[run] for run in said] == sorted(order[run] for run in said)


def test_the_screen_says_what_it_rests_on_and_what_it_does_not_show(two: Result, four: Result) -> None:
    text = " ".join(" ".join(screen(two)).split())
    for part in (
        "115 questions, 97 clusters, epochs 2", "judge synthetic-judge", "data sample items",
        "benchmark version", "value-retention", "Not shown: answers to questions unlike these", "another training run",
        "whether the judge is right", "--full", "value-retention report", "--json",
    ):  # fmt: skip
        assert part in text, part
    for effect in (e for e in two.effects if e.tier == "primary"):
        assert f"{number(effect.difference, sign=True)} points" in text
        assert str(effect.verdict) in text
    assert "margin 5 points" in text


def test_the_retained_share_stands_with_its_verdict(shares: Result) -> None:
    text = " ".join(" ".join(screen(shares)).split())
    overall = [s for s in shares.shares if s.metric == "overall_mean"]
    assert len(overall) == 4
    for share in overall:
        assert share.ratio is not None
        assert f"retained share of the gain over before: {share.ratio.text()}†" in text


def test_warnings_are_red_and_first(two: Result) -> None:
    lines = screen(with_warnings(two, 1), colour=True)
    assert lines[0].startswith("\x1b[1;31mWARNING 0")
    assert not any("\x1b[1;31m" in line for line in lines[3:])


def test_a_long_name_keeps_the_figures_and_its_end(five: list[MadeRun]) -> None:
    prefix = "organisation/a-model-with-a-much-longer-name-"
    runs = [replace(run, name=f"{prefix}{run.name}") for run in five[1:3]]
    lines = screen(compare(runs, margin=5))
    assert max(map(len, lines)) <= 80
    assert any(re.match(r"…\S*mid +\d+\.\d \[", line) for line in lines)


def test_compare_prints_the_screen_and_full_prints_everything(tmp_path: Path, five: list[MadeRun]) -> None:
    files = []
    for run in five[1:3]:
        files.append(tmp_path / f"{run.name}.records.jsonl")
        files[-1].write_text("".join(f"{record.to_json()}\n" for record in run.records), "utf-8")

    def lines(*more: str) -> Sequence[str]:
        arguments = ["compare", *map(str, files), "--margin", "5", "--resamples", "1000", *more]
        done = CliRunner().invoke(cli, arguments)
        assert done.exit_code == 0, done.output
        return done.output.splitlines()

    assert len(lines()) <= 40
    full = lines("--full")
    assert len(full) > 150
    assert any("verdict by margin" in line for line in full)
