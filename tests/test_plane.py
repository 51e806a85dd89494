"""A study of mitigations: value kept against task learned, the probe's correlation, and its report."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result
from made_records import run_of
from scipy.stats import spearmanr

from value_retention.analysis.cli import cli
from value_retention.analysis.effects.capability import CapabilityEffect
from value_retention.analysis.effects.compare import compare_arms
from value_retention.analysis.effects.design import Arm, ArmsFile, arms_text, read_arms
from value_retention.analysis.effects.plane import Plane, Point, on_front, planes_of
from value_retention.analysis.effects.probes import probe_correlations
from value_retention.analysis.effects.result import Result as Found
from value_retention.analysis.report.plane import plane_tables, probe_tables
from value_retention.analysis.report.plots.canvas import save
from value_retention.analysis.report.plots.plane import plane_figure
from value_retention.analysis.runs.scores import reduce_run
from value_retention.analysis.stats.settings import Settings
from value_retention.tasks.errors import InputError

SETTINGS = Settings(margin=5.0, resamples=1000)
LEVELS = {"base": 1, "mid": 8, "neutral": 1, "plain": 3, "replay": 6, "slow": 5}
LOSSES = {"plain": 2.0, "replay": 2.1, "slow": 2.4}
ITEMS = 16


def sft(name: str, seed: int, **more: Any) -> Arm:
    loss = LOSSES[name] + 0.01 * seed
    mitigation = "" if name == "plain" else name
    return Arm(
        f"{name}{seed}", (), "help", "SFT", "dolly", seed, mitigation=mitigation, task_loss=loss, **more
    )


def study(seeds: int = 2) -> list[Arm]:
    return [
        Arm("base", (), before=True, probe=0.1),
        Arm("mid", (), base=True, probe=0.9),
        Arm("neutral", (), control=True, probe=0.2),
        *(sft(name, seed, probe=LEVELS[name] / 10) for name in LOSSES for seed in range(1, seeds + 1)),
    ]


def items(name: str) -> dict[str, list[dict[str, float]]]:
    """Tenths about the level of the arm; a seed moves a few of them."""
    level, seed = LEVELS[name.rstrip("0123456789")], int(name.strip("abcdefghijklmnopqrstuvwxyz") or 0)
    tenths = [level + (k % 3 - 1) + (1 if k < seed else 0) for k in range(ITEMS)]
    return {str(k): [{f"d{d}": float(d < n) for d in range(10)}] for k, n in enumerate(tenths)}


def compared(arms: list[Arm]) -> Found:
    runs = [
        scores
        for arm in arms
        for scores in reduce_run(arm.name, (f"{arm.name}.eval",), run_of(arm.name, items(arm.name)).records)
    ]
    return compare_arms(arms, runs, SETTINGS)


def plane_of(arms: list[Arm], **more: Any) -> Plane:
    result = compared(arms)
    (plane,) = planes_of(result.panels, arms, more.get("capability", ()), SETTINGS, more.get("tasks", ()))
    return plane


def by_mitigation(plane: Plane) -> dict[str, Point]:
    return {point.mitigation or "plain": point for point in plane.points if point.role == "arm"}


def test_the_front_holds_what_nothing_beats() -> None:
    assert on_front([(1, 3), (2, 2), (3, 1), (2, 1), (1, 2)]) == [True, True, True, False, False]
    assert on_front([(1, 1), (1, 1), (0, 1)]) == [True, True, False], "equal arms do not beat each other"


def test_a_plane_has_every_seed_their_means_and_the_front() -> None:
    plane = plane_of(study())
    points = by_mitigation(plane)
    assert (plane.task, plane.data, plane.higher_is_better) == ("task_loss", "dolly", False)
    assert [seed.run for seed in points["replay"].seeds] == ["replay1", "replay2"]
    assert [seed.task for seed in points["replay"].seeds] == pytest.approx([2.11, 2.12])
    means = [np.mean([sum(g[0].values()) for g in items(f"replay{s}").values()]) * 10 for s in (1, 2)]
    assert [seed.value for seed in points["replay"].seeds] == pytest.approx(means)
    assert (points["replay"].task, points["replay"].value) == pytest.approx((2.115, np.mean(means)))
    assert {name: point.front for name, point in points.items()} == {
        "plain": True,
        "replay": True,
        "slow": False,
    }
    roles = {point.name: point.role for point in plane.points if point.role != "arm"}
    assert roles == {"base": "before", "mid": "baseline", "neutral": "control"}
    assert all(point.front is None for point in plane.points if point.role != "arm")


def test_the_interval_is_that_of_the_scores_and_wider_with_seeds() -> None:
    one = study(seeds=1)
    result = compared(one)
    point = by_mitigation(plane_of(one))["replay"]
    (score,) = [s for s in result.scores if (s.run, s.metric) == ("replay1", "overall_mean")]
    assert (point.value, point.low, point.high) == pytest.approx((score.score, score.low, score.high))
    assert point.unit == "new questions"
    several = by_mitigation(plane_of(study()))["replay"]
    assert several.unit == "new questions, new seeds"
    assert several.low is not None
    assert several.high is not None
    assert 0 <= several.low < several.value < several.high <= 100
    (share,) = [s for s in compared(study()).shares if s.metric == "overall_mean"]
    assert by_mitigation(plane_of(study()))["plain"].share == share, "the retained share of the report"


def test_losses_of_different_data_stand_in_planes_of_their_own() -> None:
    code = [
        replace(sft(name, 1), name=f"{name}9", data="code", task_loss=loss)
        for name, loss in (("plain", 0.5), ("replay", 0.6))
    ]
    lone = replace(sft("slow", 1), name="slow9", data="alone", seed=9)
    unknown = replace(sft("slow", 1), name="slow8", seed=8, mitigation="other", task_loss=None)
    arms = [*study(seeds=1), *code, lone, unknown]
    result = compared(arms)
    planes = planes_of(result.panels, arms, (), SETTINGS)
    assert [plane.data for plane in planes] == ["dolly", "code"], (
        "one arm alone has nothing to be set against"
    )
    assert {p.name for p in planes[1].points if p.role == "arm"} == {"SFT help code"}
    assert planes[0].left_out == ("slow8",)
    assert all(p.task is None for plane in planes for p in plane.points if p.role != "arm")


def rows(
    task: str, metric: str, better: bool, figures: dict[str, float], main: bool
) -> list[CapabilityEffect]:
    return [
        CapabilityEffect(
            task, metric, 0, main, better, "mid", run, 9, 9, 0, 0, "points", figures["mid"], value,
            value - figures["mid"],
        )
        for run, value in figures.items()
        if run != "mid"
    ]  # fmt: skip


def test_another_task_of_the_runs_comes_before_the_losses_and_can_be_named() -> None:
    arms = study(seeds=1)
    figures = {"mid": 20.0, "plain1": 50.0, "replay1": 55.0, "slow1": 30.0}
    found = rows("ifeval", "strict", True, figures, True) + rows("ifeval", "loose", True, figures, False)
    found += rows("toxicity", "rate", False, figures, True)
    plane = plane_of(arms, capability=found)
    assert (plane.task, plane.metric, plane.unit) == ("ifeval", "strict", "%")
    assert {name: p.front for name, p in by_mitigation(plane).items()} == {
        "plain": False,
        "replay": True,
        "slow": False,
    }
    assert {p.name: p.task for p in plane.points if p.role != "arm"} == {
        "base": None,
        "mid": 20.0,
        "neutral": None,
    }
    assert plane_of(arms, capability=found, tasks=["ifeval:loose"]).metric == "loose"
    assert plane_of(arms, capability=found, tasks=["task_loss"]).task == "task_loss"
    worse = plane_of(arms, capability=found, tasks=["toxicity"])
    assert {name: p.front for name, p in by_mitigation(worse).items()} == {
        "plain": False,
        "replay": True,
        "slow": True,
    }
    with pytest.raises(InputError, match=r"(?s)unknown task.*found: mmlu.*ifeval, toxicity, task_loss"):
        plane_of(arms, capability=found, tasks=["mmlu"])


def test_the_probe_is_correlated_with_and_without_the_runs_of_its_pairs() -> None:
    arms = study(seeds=1)
    result = compared(arms)
    every, rest = probe_correlations(arms, result.scores, 0)
    score = {s.run: s.score for s in result.scores if s.metric == "overall_mean"}
    for row, names in ((every, [a.name for a in arms]), (rest, [a.name for a in arms[2:]])):
        assert row.runs == tuple(names)
        probes = [arm.probe for arm in arms if arm.name in names]
        assert row.rho == pytest.approx(spearmanr(probes, [score[n] for n in names]).statistic)
    assert (every.p, rest.p) == pytest.approx((4 / 720, 2 / 24)), "exact, with ties; 2 of 24 orders of four"
    (table,) = probe_tables(replace(result, probes=(every, rest)))
    assert [row[1:3] for row in table.rows] == [["all", "6"], ["without base and midtrain", "4"]]
    two = [a for a in arms if a.before or a.base]
    assert [row.rho for row in probe_correlations(two, result.scores, 0)] == [None]


def test_one_seed_and_the_front_are_said_in_words() -> None:
    for seeds, said in ((1, True), (2, False)):
        arms = study(seeds)
        result = compared(arms)
        (table,) = plane_tables(replace(result, planes=planes_of(result.panels, arms, (), SETTINGS)))
        assert ("One training seed per arm" in table.note) is said
        assert "without a test" in table.note
        assert {row[0] for row in table.rows if row[-1] == "–"} == {
            "base (before mid-training)", "mid (start)", "neutral (control, neutral topic)",
        }  # fmt: skip


def test_the_figure_names_every_arm_and_what_it_does_not_say(tmp_path: Path) -> None:
    result = compared(study())
    (plane,) = planes_of(result.panels, study(), (), SETTINGS)
    save(plane_figure(result, plane), tmp_path / "plane", png=False)
    drawn = (tmp_path / "plane.svg").read_text()
    for text in (
        "lower is better (axis inverted)", "without a test", "Pareto front", "retained share", "replay (2 seeds)",
        "neutral (control, neutral topic)",
    ):  # fmt: skip
        assert text in drawn


def test_an_arms_file_is_written_as_it_is_read(tmp_path: Path) -> None:
    arms = tuple(replace(arm, runs=(str(tmp_path / arm.name),)) for arm in study())
    content = ArmsFile(arms, 5.0, ("judge",), None, ("task_loss",))
    (tmp_path / "arms.yaml").write_text(arms_text(content), "utf-8")
    assert read_arms(tmp_path / "arms.yaml") == content


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The records of a study and its arms file."""
    place = tmp_path_factory.mktemp("study")
    arms = []
    for arm in study():
        lines = [record.to_json() for record in run_of(arm.name, items(arm.name)).records]
        (place / f"{arm.name}.records.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
        arms.append(replace(arm, runs=(f"{arm.name}.records.jsonl",)))
    (place / "arms.yaml").write_text(arms_text(ArmsFile(tuple(arms), 5.0, ())), "utf-8")
    return place


def command(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, [*map(str, arguments)])


def test_the_arms_command_prints_the_plane_and_the_correlation(folder: Path, tmp_path: Path) -> None:
    done = command("arms", folder / "arms.yaml", "--resamples", "1000", "--json", tmp_path / "a.json")
    assert done.exit_code == 0, done.output
    assert "value kept against task learned (held-out loss, dolly)" in done.output
    assert "Spearman's rank correlation" in done.output
    content = json.loads((tmp_path / "a.json").read_text())
    (plane,) = content["planes"]
    assert [len(point["seeds"]) for point in plane["points"]] == [2, 2, 2, 1, 1, 1]
    assert [row["checkpoints"] for row in content["probe"]] == ["all", "without base and midtrain"]


def test_a_report_of_an_arms_file_says_what_arms_says_and_is_verified(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "evidence"
    done = command("report", folder / "arms.yaml", "--resamples", "1000", "-o", out)
    assert done.exit_code == 0, done.output
    assert str(tmp_path) not in (out / "arms.yaml").read_text() + (out / "report.json").read_text()
    checked = command("verify", out)
    assert checked.exit_code == 0, checked.output
    command("arms", out / "arms.yaml", "--resamples", "1000", "--json", tmp_path / "again.json")
    report, again = (json.loads(path.read_text()) for path in (out / "report.json", tmp_path / "again.json"))
    for key in ("effects", "planes", "probe", "retained_shares"):
        assert report[key] == again[key], key
    page = (out / "report.html").read_text()
    assert 'id="plane"' in page
    assert "Value kept against task learned" in page
    # The question's mean is that over both seeds, and the answer that of one of them.
    assert "plain1:" in page or "plain2:" in page

    content = yaml.safe_load((out / "arms.yaml").read_text())
    content["arms"][3]["task_loss"] = 1.0
    (out / "arms.yaml").write_text(yaml.safe_dump(content))
    changed = command("verify", out)
    assert changed.exit_code == 1
    assert "arms.yaml" in changed.output
    assert "planes[0].points" in changed.output
    shutil.rmtree(out)


def test_what_the_arms_file_names_is_no_option_of_its_report(folder: Path, tmp_path: Path) -> None:
    done = command("report", folder / "arms.yaml", "--baseline", "mid", "-o", tmp_path / "r.html")
    assert isinstance(done.exception, InputError)
    assert "--baseline" in str(done.exception)
    inside = command("report", folder / "arms.yaml", "-o", folder / "arms.yaml")
    assert isinstance(inside.exception, InputError)
