"""Invented grades give the figures that are written down, in whatever order their files are read."""

from __future__ import annotations

import json
import random
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from value_retention.analysis.cli import cli
from value_retention.tasks.text import by_name

sys.path.insert(0, str(Path(__file__).parent / "golden"))
import figures


def test_every_figure_is_the_one_that_is_written_down() -> None:
    found = figures.differences(figures.held(), figures.figures())
    shown = [f"{name}: {old} -> {new}" for name, (old, new) in list(found.items())[:20]]
    assert not found, f"{len(found)} figures differ:\n" + "\n".join(shown)


def test_a_figure_that_moves_disappears_or_appears_is_noticed() -> None:
    held = figures.held()
    (row,) = (
        row for row in held["pair compare"]["effects"] if row.startswith("moru") and "overall_mean" in row
    )
    for change in ({"difference": 1.0}, {"difference": None}, {"new": 0.0}, {"verdict": "improved"}):
        moved = json.loads(json.dumps(held))
        moved["pair compare"]["effects"][row] |= change
        assert len(figures.differences(held, moved)) == 1


# -- order -----------------------------------------------------------------------------------------------

IN_ANY_ORDER = {
    "every pair": ("compare", ["pair/before", "pair/base", "pair/tuned"], ["--margin", "5", "--full"]),
    "a baseline": (
        "compare",
        ["unequal/base", "unequal/other", "unequal/tuned"],
        ["--baseline", "base", "--margin", "5", "--allow", "questions", "--allow", "epochs"],
    ),
    "labels": (
        "compare",
        ["pair/before", "pair/base", "pair/tuned"],
        ["--baseline", "base", "--before", "before", "--calibration", "pair/labels.csv"],
    ),
    "a panel": ("compare", ["panel/base", "panel/tuned"], ["--baseline", "base"]),
    "missing grades": ("compare", ["missing/base", "missing/tuned"], ["--margin", "5"]),
    "arms": ("arms", ["experiment/arms.yaml"], ["--margin", "5", "--full"]),
    "calibrate": ("calibrate", ["pair/before", "pair/base", "pair/tuned"], []),
    "variables": ("compare", ["variables/base", "variables/tuned"], ["--margin", "5", "--full"]),
    "one panel of several": ("compare", ["panel/base", "panel/tuned"], ["--judge", "lab/c + lab/a + lab/b"]),
    "agreement": ("agreement", ["panel/base"], []),
    "table": ("table", ["pair/before", "pair/base", "variables/base=variables/base"], []),
}
"""Command, runs, and options that name no run by its place."""

FILES_IN_ANY_ORDER = {
    "report.html": "report variables/base variables/tuned --baseline base --margin 5 -o {out}",
    "panel.md": "report panel/base panel/tuned --baseline base --margin 5 -o {out}",
    "study.md": "report experiment/arms.yaml --margin 5 -o {out}",
    "trajectory.md": "report pair/base pair/before pair/tuned --trajectory --margin 5 -o {out}",
    "panel.csv": "table panel/base -o {out}",
    "variables.csv": "table variables/base -o {out}",
    "effects.tex": "compare variables/base variables/tuned --margin 5 --latex {out}",
    "labels.csv": "calibrate --draw 40 variables/base variables/tuned -o {out}",
    "pairs.jsonl": "probe panel/tuned panel/base -o {out}",
    "exported": "export panel/base --format every-eval-ever --texts -o {out}",
}
"""File or folder, and the command that writes it."""


@pytest.fixture(scope="module")
def ordered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ordered")
    figures.write_runs(folder)
    return folder


@pytest.fixture(scope="module")
def shuffled(ordered: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same runs with lines, file names, labels and arms in another order, and the parts of every record too."""
    folder = tmp_path_factory.mktemp("shuffled") / "runs"
    shutil.copytree(ordered, folder)
    rng = random.Random(0)
    for file in sorted(folder.rglob("*.jsonl")) + sorted(folder.rglob("labels.csv")):
        first, *lines = file.read_text("utf-8").splitlines(keepends=True)
        head = [first] if file.suffix == ".csv" else []
        lines = lines if head else [_shuffled(line, rng) for line in (first, *lines)]
        rng.shuffle(lines)
        file.write_text("".join(head + lines), "utf-8")
        if not head:  # the first file of a folder becomes its last
            file.rename(file.with_name(f"{'za'[file.name > 'm']}.records.jsonl"))
    arms = folder / "experiment" / "arms.yaml"
    content = yaml.safe_load(arms.read_text("utf-8"))
    rng.shuffle(content["arms"])
    arms.write_text(yaml.safe_dump(content), "utf-8")
    return folder


def _shuffled(line: str, rng: random.Random) -> str:
    """A record with its keys, grades and judges in another order. That of its dimensions belongs to the question."""

    def keys(value: dict[str, Any]) -> dict[str, Any]:
        return dict(rng.sample([*value.items()], len(value)))

    record = json.loads(line, object_hook=keys)
    rng.shuffle(record["grades"])
    rng.shuffle(record["judges"])
    return json.dumps(record, ensure_ascii=False) + "\n"


def outputs(folder: Path, command: str, runs: list[str], options: list[str]) -> tuple[str, Any]:
    """What a command prints, and its JSON but for the names of files."""
    out = folder / "out.json"

    def place(word: str) -> str:
        name, _, path = word.rpartition("=")
        found = folder / (path or name)
        return f"{name}={found}" if name else str(found) if found.exists() else word

    words = [command, *map(place, [*runs, *options])]
    words += [] if command == "table" else ["--json", str(out)]
    if command == "calibrate":
        words.insert(1, str(folder / "pair" / "labels.csv"))
    done = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    text = out.read_text("utf-8") if command != "table" else "null"
    return done.output.replace(str(folder), ""), json.loads(text, object_hook=_without_files)


def _without_files(value: dict[str, Any]) -> dict[str, Any]:
    return {key: part for key, part in value.items() if key not in ("files", "arms")}


@pytest.mark.parametrize("what", IN_ANY_ORDER)
def test_no_output_depends_on_the_order_of_lines_files_runs_or_arms(
    what: str, ordered: Path, shuffled: Path
) -> None:
    command, runs, options = IN_ANY_ORDER[what]
    first, *others = runs
    # `calibrate` subtracts the first run from the others.
    other_order = [first, *reversed(others)] if command == "calibrate" else runs[::-1]
    assert outputs(shuffled, command, other_order, options) == outputs(ordered, command, runs, options)


@pytest.mark.parametrize("name", FILES_IN_ANY_ORDER)
def test_no_file_depends_on_the_order_of_lines_files_or_parts_of_records(
    name: str, ordered: Path, shuffled: Path
) -> None:
    first, second = (written(folder, name) for folder in (ordered, shuffled))
    assert first
    assert first == second


def written(folder: Path, name: str) -> dict[str, str]:
    """What a command of `FILES_IN_ANY_ORDER` writes, but for the names of records' files and the time."""
    out = folder / "written" / name
    out.parent.mkdir(exist_ok=True)
    words = FILES_IN_ANY_ORDER[name].format(out=out).split()
    words = [str(folder / word) if (folder / word).exists() else word for word in words]
    done = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    files = [out] if out.is_file() else [file for file in sorted(out.rglob("*")) if file.is_file()]
    changing = re.escape(str(folder)) + r"/[\w/]+\.records\.jsonl|(?<=\"retrieved_timestamp\": \")[0-9]+"
    return {str(file.relative_to(out)): re.sub(changing, "", file.read_text("utf-8")) for file in files}


@given(
    st.lists(st.one_of(st.text("ab01٣²", max_size=6), st.integers(0, 10**40).map(str)), min_size=2),
    st.randoms(),
)
def test_names_have_one_order_in_which_digits_are_numbers(names: list[str], rng: random.Random) -> None:
    ordered = sorted(names, key=by_name)
    rng.shuffle(names)
    assert sorted(names, key=by_name) == ordered
    numbers = [name for name in names if re.fullmatch("[0-9]+", name)]
    assert [int(n) for n in sorted(numbers, key=by_name)] == sorted(map(int, numbers))
    assert sorted(["step100", "step20", "base", "step3b"], key=by_name) == [
        "base",
        "step3b",
        "step20",
        "step100",
    ]
