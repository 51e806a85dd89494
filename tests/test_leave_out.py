"""What a verdict depends on: the margin, a single language, a single judge."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from made_records import MadeRun
from scipy.stats import t
from synthetic import anima_shape, moru_shape, synthetic_records

from value_retention.analysis import compare
from value_retention.analysis.cli import cli
from value_retention.analysis.effects.margins import margin_p, smallest_margin
from value_retention.analysis.effects.result import Result
from value_retention.analysis.report.plots.comparison import save_plots

LEVELS = {"base": 0.6, "tuned": 0.5}


def runs(left_out: str = "") -> list[MadeRun]:
    found = []
    for name, level in LEVELS.items():
        records = [
            record
            for shape in (anima_shape(), moru_shape())
            for record in synthetic_records(name, shape, {"all": level}, epochs=2, missing=0.02)
        ]
        found.append(MadeRun(name, [record for record in records if record.language != left_out]))
    return found


@pytest.fixture(scope="module")
def whole() -> Result:
    return compare(runs(), margin=5, resamples=1000)


@pytest.mark.parametrize("language", ["en", "ms", "zh"])
def test_a_language_left_out_is_a_comparison_of_the_other_records(whole: Result, language: str) -> None:
    part = compare(runs(language), margin=5, resamples=1000)
    rows = [row for row in whole.without_language() if row.language == language]
    assert rows
    for row in rows:
        (effect,) = (e for e in part.effects if e.benchmark == row.benchmark and e.tier == "primary")
        assert (row.difference, row.t_low, row.t_high) == pytest.approx(
            (effect.difference, effect.t_low, effect.t_high)
        )
        assert (row.clusters, row.questions) == (effect.clusters, effect.questions)


def test_the_smallest_margin_is_where_the_p_crosses_and_the_verdict_changes(whole: Result) -> None:
    for effect in (e for e in whole.effects if e.tier == "primary"):
        edge = smallest_margin(effect)
        assert edge is not None
        assert edge == pytest.approx(-(effect.low or 0.0))
        assert margin_p(effect, edge, whole.settings) == pytest.approx(0.025)
        assert effect.difference is not None
        assert effect.se is not None
        assert effect.level is not None
        factor = 0.05 / (1 - effect.level)
        expected = t.sf((effect.difference + 5) / effect.se, effect.df) * factor
        assert margin_p(effect, 5, whole.settings) == pytest.approx(min(1.0, expected))
        for margin, kept in ((edge + 0.1, True), (edge - 0.1, False)):
            settings = replace(whole.settings, margin=margin)
            p = margin_p(effect, margin, settings)
            assert p is not None
            assert (p < 0.025) == kept


@pytest.mark.slow
def test_the_figures_of_what_a_verdict_depends_on_are_drawn(whole: Result, tmp_path: Path) -> None:
    names = {path.stem for path in save_plots(whole, tmp_path, png=False)}
    for benchmark in ("anima_2_2", "moru"):
        assert {f"margins_{benchmark}", f"missing_{benchmark}"} <= names
        assert f"without-language_{benchmark}_tuned_vs_base" in names
    text = (tmp_path / "margins_moru.svg").read_text("utf-8")
    edge = next(e for e in whole.effects if e.benchmark == "moru" and e.tier == "primary").low
    assert edge is not None
    assert f"from {np.round(-edge, 1):.1f}" in text


@pytest.mark.slow
def test_a_report_of_a_panel_shows_the_scores_without_each_judge(tmp_path: Path) -> None:
    files = []
    for name, level in LEVELS.items():
        judges = ("lab/a", "lab/b", "lab/c")
        records = synthetic_records(name, anima_shape(), {"all": level}, judges=judges, epochs=1)
        files.append(tmp_path / f"{name}.records.jsonl")
        files[-1].write_text("".join(f"{record.to_json()}\n" for record in records), "utf-8")
    for ending in ("md", "html"):
        page = tmp_path / f"r.{ending}"
        done = CliRunner().invoke(
            cli, ["report", *map(str, files), "--margin", "5", "--resamples", "1000", "-o", str(page)]
        )
        assert done.exit_code == 0, done.output
        text = page.read_text("utf-8")
        assert "scores by part of the panel" in text
        assert text.count("without lab/") >= 2 * 3 * 3  # runs, judges, groups
    assert "Score by part of the panel of judges" in text
