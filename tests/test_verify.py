"""The evidence folder: it holds what a report rests on, and `verify` finds every kind of edit."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from synthetic import Shape, synthetic_records
from test_table import write_log, write_records, write_samples

from value_retention.analysis.cli import cli
from value_retention.analysis.commands.verify import verify
from value_retention.analysis.exchange.bundle import CHECKSUM, MANIFEST, checksum_line
from value_retention.analysis.exchange.bundle_check import check_files, differences, read_manifest
from value_retention.analysis.report.plots import comparison as plots
from value_retention.tasks.errors import InputError
from value_retention.tasks.record import AnswerRecord
from value_retention.tasks.scores import derived

SHAPE = Shape(
    "anima_2_2",
    "6-D",
    tuple((str(n), f"q{n}", "en", None, ("Care", "Scope")) for n in range(12)),
)


def answers(name: str, level: float, benchmark: str = "anima_2_2") -> list[AnswerRecord]:
    return synthetic_records(name, replace(SHAPE, benchmark=benchmark), {"all": level}, epochs=2)


def command(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def report(folder: Path, *runs: str, options: Sequence[str] = ("--margin", "5")) -> Result:
    return command("report", *runs, *options, "--resamples", "1000", "-o", folder)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evidence folder of a samples file of lm-eval and a log of Inspect."""
    place = tmp_path_factory.mktemp("home-of-alice")
    first = write_samples(place / "logs" / "model", answers("base", 0.7))
    (place / "inspect").mkdir()
    second = write_log(place / "inspect" / "tuned.eval", answers("tuned", 0.4))
    done = report(place / "evidence", f"base={first.parent.parent}", f"tuned model={second}")
    assert done.exit_code == 0, done.output
    return place / "evidence"


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Path:
    """A copy elsewhere."""
    return Path(shutil.copytree(good, tmp_path / "moved = else where"))


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports without plots, which take most of the time."""
    monkeypatch.setattr(plots, "save_plots", lambda *_, **__: [])


@pytest.fixture(scope="module")
def without_plots(good: Path) -> Path:
    """The same folder without plots."""
    place = good.parent / "without-plots"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "save_plots", lambda *_, **__: [])
        runs = (f"base={good.parent / 'logs'}", f"tuned model={good.parent / 'inspect' / 'tuned.eval'}")
        assert report(place, *runs).exit_code == 0
    return place


def test_a_good_folder_passes_wherever_it_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    done = command("verify", "moved = else where")
    assert done.exit_code == 0, done.output
    digest = hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
    assert f"SHA-256 of the manifest: {digest}" in done.output
    assert "2 runs, 48 answers, 96 grades" in done.output
    assert (folder / CHECKSUM).read_text() == f"{digest}  manifest.json\n"


def test_it_holds_the_files_that_were_read_and_names_no_place(good: Path) -> None:
    text = (good / MANIFEST).read_text("utf-8")
    manifest = json.loads(text)
    assert [(run["name"], run["folder"]) for run in manifest["runs"]] == [
        ("base", "runs/base"),
        ("tuned model", "runs/tuned-model"),
    ]
    assert "home-of-alice" not in text + (good / "report.json").read_text("utf-8")
    for entry in manifest["files"]:
        content = (good / entry["path"]).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (entry["bytes"], entry["sha256"])
    records = [entry["path"] for entry in manifest["files"] if entry["kind"] == "record"]
    assert [Path(path).suffix for path in records] == [".jsonl", ".eval"]
    assert manifest["settings"]["margin"] == 5
    assert (manifest["options"]["baseline"], manifest["options"]["allow"]) == ("base", [])
    assert {"value-retention", "python", "numpy", "scipy", "matplotlib"} <= set(manifest["versions"])


def test_the_same_runs_give_the_same_folder(good: Path, tmp_path: Path) -> None:
    first, second = (good.parent / "logs", good.parent / "inspect" / "tuned.eval")
    assert report(tmp_path / "again", f"base={first}", f"tuned model={second}").exit_code == 0
    for file in good.rglob("*"):
        if file.is_file():
            assert (tmp_path / "again" / file.relative_to(good)).read_bytes() == file.read_bytes(), file


# -- edits --------------------------------------------------------------------------------------------------


def flip(file: Path, at: int = -40) -> None:
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)


def cover(folder: Path, change: Callable[[dict[str, Any]], None] = lambda manifest: None) -> None:
    """What a careful editor does next: new hashes in the manifest, and a new checksum of it."""
    manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    for entry in manifest["files"]:
        content = (folder / entry["path"]).read_bytes()
        entry["bytes"], entry["sha256"] = len(content), hashlib.sha256(content).hexdigest()
    change(manifest)
    text = json.dumps(manifest, ensure_ascii=False, indent=1) + "\n"
    (folder / MANIFEST).write_text(text, "utf-8")
    (folder / CHECKSUM).write_text(checksum_line(hashlib.sha256(text.encode()).hexdigest()))


def rewrite(folder: Path, name: str, old: str, new: str) -> None:
    text = (folder / name).read_text("utf-8")
    assert old in text
    (folder / name).write_text(text.replace(old, new, 1), "utf-8")


def better_grade(folder: Path) -> None:
    """One grade of an answer changed, with the scores that follow from it."""
    (file,) = (folder / "runs" / "base").rglob("*.jsonl")
    lines = file.read_text("utf-8").splitlines()
    line = json.loads(lines[0])
    record = AnswerRecord.from_json(line["filtered_resps"][0][0])
    grades = (replace(record.grades[0], grade=1.0 - (record.grades[0].grade or 0.0)), *record.grades[1:])
    scores = derived(record.dimensions, record.weights, grades, judged=True)
    line["filtered_resps"] = [[replace(record, grades=grades, **scores).to_json()]]
    file.write_text("\n".join([json.dumps(line), *lines[1:]]) + "\n", "utf-8")


def add_setting(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda manifest: manifest["settings"].update({name: value})


def add_file(manifest: dict[str, Any]) -> None:
    entry = {"path": "runs/base/notes.txt", "kind": "record", "bytes": 1, "sha256": hashlib.sha256(b"x")}
    manifest["files"].append(entry | {"sha256": hashlib.sha256(b"x").hexdigest()})


SEEN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a byte of a log": (lambda f: flip(f / "runs/tuned-model/tuned.eval"), "runs/tuned-model/tuned.eval"),
    "a byte of the page": (lambda f: flip(f / "report.html"), "report.html"),
    "a byte of the Markdown": (lambda f: flip(f / "report.md"), "report.md"),
    "a byte of the JSON": (lambda f: flip(f / "report.json"), "report.json"),
    "a byte of the manifest": (lambda f: flip(f / MANIFEST), MANIFEST),
    "a byte of the checksum": (lambda f: flip(f / CHECKSUM, 3), MANIFEST),
    "a file removed": (lambda f: (f / "report.md").unlink(), "report.md: expected"),
    "a record removed": (lambda f: (f / "runs/tuned-model/tuned.eval").unlink(), "tuned.eval"),
    "the manifest removed": (lambda f: (f / MANIFEST).unlink(), f"{MANIFEST}: expected a file"),
    "the checksum removed": (lambda f: (f / CHECKSUM).unlink(), f"{CHECKSUM}: expected a file"),
    "a file added": (lambda f: (f / "runs" / "x.txt").write_text("x"), "runs/x.txt"),
    "a link": (
        lambda f: (f / "report.md").rename(f.parent / "r.md") and (f / "report.md").symlink_to(f.parent / "r.md"),
        "report.md: expected a regular file",
    ),
    "a version": (lambda f: rewrite(f, MANIFEST, '"numpy": "', '"numpy": "9'), MANIFEST),
    "a setting": (lambda f: rewrite(f, MANIFEST, '"margin": 5.0', '"margin": 9.0'), MANIFEST),
}  # fmt: skip
"""Edits that leave the hashes as they were, and what a fault names."""


COVERED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a grade and its hashes": (lambda f: (better_grade(f), cover(f)), "report.json: scores"),
    "a figure and its hashes": (
        lambda f: (rewrite(f, "report.json", '"difference": -', '"difference": '), cover(f)),
        "report.json: effects[0].difference",
    ),
    "the JSON twice over": (
        lambda f: (rewrite(f, "report.json", '"headline": [', '"headline": [], "headline": ['), cover(f)),
        "report.json",
    ),
    "the page and its hashes": (lambda f: (rewrite(f, "report.html", "degraded", "retained"), cover(f)), "report.html"),
    "the Markdown and its hashes": (lambda f: (rewrite(f, "report.md", "degraded", "retained"), cover(f)), "report.md"),
    "the margin everywhere in the manifest": (lambda f: cover(f, add_setting("margin", 90.0)), "report.json: "),
    "the seed everywhere in the manifest": (lambda f: cover(f, add_setting("seed", 1)), "report.json: "),
    "a level out of range": (lambda f: cover(f, add_setting("level", 5.0)), "out of range"),
    "an unknown setting": (lambda f: cover(f, add_setting("x", 5.0)), MANIFEST),
    "the baseline": (lambda f: cover(f, lambda m: m["options"].update(baseline="tuned model")), "report.json"),
    "a benchmark left out": (lambda f: cover(f, lambda m: m["runs"][0].update(benchmarks=["moru"])), "computed again"),
    "a run elsewhere": (lambda f: cover(f, lambda m: m["runs"][0].update(folder="../..")), "../.."),
    "a run of another name": (lambda f: cover(f, lambda m: m["runs"][1].update(name="other")), "report.json"),
    "a page left out of the manifest": (lambda f: cover(f, lambda m: m["files"].pop(0)), "report.html"),
    "a file that nothing reads": (
        lambda f: ((f / "runs/base/notes.txt").write_text("x"), cover(f, add_file)),
        "notes.txt",
    ),
}  # fmt: skip
"""Edits of somebody who also writes a new manifest."""


@pytest.mark.parametrize("name", SEEN)
def test_an_edit_is_found_by_its_hash(folder: Path, name: str) -> None:
    edit, named = SEEN[name]
    edit(folder)
    manifest, faults = read_manifest(folder)
    faults += check_files(folder, manifest) if manifest else []
    assert any(named in line for line in faults), faults


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("name", COVERED)
def test_an_edit_with_new_hashes_is_found_by_computing_again(
    without_plots: Path, tmp_path: Path, name: str
) -> None:
    folder = Path(shutil.copytree(without_plots, tmp_path / "moved"))
    assert name != "a grade and its hashes" or not verify(folder).faults
    edit, named = COVERED[name]
    edit(folder)
    found = verify(folder)
    assert any(named in line for line in found.faults), found.faults
    assert not any("\n" in line or str(tmp_path) in line for line in found.faults)


def test_another_plot_with_new_hashes_is_found(folder: Path) -> None:
    rewrite(folder, "report.html", "base64,PD94", "base64,PD95")
    cover(folder)
    assert any("report.html" in line for line in verify(folder).faults)


def test_faults_give_exit_status_1(folder: Path) -> None:
    flip(folder / "report.md")
    done = command("verify", folder)
    assert done.exit_code == 1
    assert "FAULT: report.md: expected" in done.output
    assert "all checks passed" not in done.output


def test_where_the_plotting_library_differs_the_pictures_are_not_compared(folder: Path) -> None:
    def older(manifest: dict[str, Any]) -> None:
        manifest["versions"]["matplotlib"] = "3.10.0"

    rewrite(folder, "report.html", "base64,PD94", "base64,PD95")
    cover(folder, older)
    found = verify(folder)
    assert not found.faults
    assert any("PICTURES NOT COMPARED" in line for line in found.checked)
    assert any("matplotlib 3.10.0" in line for line in found.checked)
    rewrite(folder, "report.html", "degraded", "retained")
    cover(folder)
    assert verify(folder).faults


def test_figures_may_differ_by_rounding_only() -> None:
    assert not list(differences({"a": [1.0, None]}, {"a": [1.0 + 1e-12, None]}))
    assert list(differences({"a": [1.0]}, {"a": [1.000001]}))
    assert list(differences({"a": True}, {"a": 1}))
    assert list(differences({"a": 1}, {"b": 1})) == ["b: not in the report", "a: not from the records"]
    assert list(differences([1, 2], [1]))


# -- runs of every kind -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("undrawn")
def test_several_runs_of_a_folder_and_two_paths_of_one_name(tmp_path: Path) -> None:
    """Names that a folder cannot have, a run in two files, and a folder that holds several runs."""
    for name, level in (("m1", 0.7), ("m2", 0.4)):
        for benchmark in ("anima_2_2", "moru"):
            write_records(
                tmp_path / "all" / f"{name}-{benchmark}.records.jsonl", answers(name, level, benchmark)
            )
    a, b = (tmp_path / "all" / f"m1-{name}.records.jsonl" for name in ("anima_2_2", "moru"))
    write_samples(tmp_path / "nested" / "a", answers("m3", 0.5))
    write_samples(tmp_path / "nested" / "b", answers("m3", 0.5, "moru"), task="moru_multi")
    done = report(
        tmp_path / "e", f"../..={a}", f"../..={b}", f"more={tmp_path / 'all'}", str(tmp_path / "nested")
    )
    assert done.exit_code == 0, done.output
    runs = json.loads((tmp_path / "e" / MANIFEST).read_text("utf-8"))["runs"]
    assert [run["folder"] for run in runs][:2] == ["runs/run", "runs/run-2"]
    assert runs[-1]["folder"] == "runs/nested"
    assert sorted(path.name for path in (tmp_path / "e" / "runs" / "nested").iterdir()) == ["a", "b"]
    assert [run["name"] for run in runs][2:-1] == ["more/synthetic:m1", "more/synthetic:m2"]
    assert not verify(tmp_path / "e").faults


@pytest.mark.usefixtures("undrawn")
def test_answers_judged_later_and_the_marks_of_looks_come_along(tmp_path: Path) -> None:
    for name, level in (("base", 0.7), ("tuned", 0.4)):
        records = answers(name, level)
        saved = [
            replace(
                r,
                grades=(),
                judges=(),
                grades_expected=0,
                **derived(r.dimensions, r.weights, (), judged=False),
            )
            for r in records
        ]
        write_samples(tmp_path / name, saved)
        write_records(tmp_path / name / "judged.records.jsonl", records)
        mark = {
            "models": [records[0].run.model],
            "margin": 5,
            "looks": 1,
            "planned": 2,
            "last_look": "as it was",
        }
        (tmp_path / name / "until-verdict-anima_2_2.json").write_text(json.dumps(mark))
    runs = [f"{name}={tmp_path / name}" for name in ("base", "tuned")]
    assert report(tmp_path / "e", *runs, options=["--baseline", runs[1][6:]]).exit_code == 0
    kept = sorted(file.name for file in (tmp_path / "e" / "runs" / "base").iterdir())
    assert kept == ["judged.records.jsonl", "until-verdict-anima_2_2.json"]
    assert "JUDGED UNTIL A VERDICT" in (tmp_path / "e" / "report.md").read_text("utf-8")
    assert json.loads((tmp_path / "e" / MANIFEST).read_text("utf-8"))["options"]["baseline"] == "tuned"
    assert not verify(tmp_path / "e").faults
    (tmp_path / "e" / "runs" / "base" / "until-verdict-anima_2_2.json").unlink()
    (tmp_path / "e" / "runs" / "tuned" / "until-verdict-anima_2_2.json").unlink()
    assert any("headline" in line for line in verify(tmp_path / "e").faults)


@pytest.mark.usefixtures("undrawn")
def test_a_folder_that_is_not_empty_or_inside_a_run_is_refused(good: Path, tmp_path: Path) -> None:
    run = write_records(tmp_path / "base" / "a.records.jsonl", answers("base", 0.7))
    other = write_records(tmp_path / "tuned.records.jsonl", answers("tuned", 0.4))
    for place in (good, tmp_path / "base" / "evidence"):
        assert isinstance(report(place, str(run.parent), str(other)).exception, InputError)
    assert isinstance(report(tmp_path / "x.pdf", str(run), str(other)).exception, InputError)
    assert not (tmp_path / "base" / "evidence").exists()


@pytest.mark.usefixtures("undrawn")
def test_what_a_killed_command_left_is_written_anew(tmp_path: Path) -> None:
    runs = [str(write_records(tmp_path / f"{n}.records.jsonl", answers(n, 0.5))) for n in ("base", "tuned")]
    (tmp_path / "e" / ".part" / "runs" / "old").mkdir(parents=True)
    assert report(tmp_path / "e", *runs).exit_code == 0
    assert not (tmp_path / "e" / ".part").exists()
    assert not verify(tmp_path / "e").faults


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    assert isinstance(command("verify", tmp_path / "none").exception, InputError)
