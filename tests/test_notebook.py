"""What a notebook shows of runs and results."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from made_records import run_of
from test_table import write_records

from value_retention.analysis import compare, load_runs
from value_retention.analysis.report.grades import COLUMNS, write_table
from value_retention.analysis.report.notebook import Report, ShownRun
from value_retention.analysis.runs.scores import reduce_run
from value_retention.tasks.errors import InputError

HOSTILE = "<script>alert(1)</script>\x1b[31m"


def items(passed: int) -> dict[str, list[dict[str, float | None]]]:
    return {str(n): [{"Care": float(n < passed), "Scope": float(n % 2)}] * 2 for n in range(12)}


@pytest.fixture
def runs(tmp_path: Path) -> list[ShownRun]:
    paths = [
        write_records(tmp_path / f"{name}.records.jsonl", list(run_of(name, items(passed)).records))
        for name, passed in (("base", 11), ("tuned", 3))
    ]
    return load_runs([f"{HOSTILE[:25]}={paths[0]}", f"tuned={paths[1]}"])


@pytest.fixture
def report(runs: list[ShownRun]) -> Report:
    return compare(runs, baseline=runs[0].name, margin=5, resamples=1000)


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_run_says_what_it_holds_in_a_line(runs: list[ShownRun]) -> None:
    assert repr(runs[1]) == "Run('tuned': 24 answers to ANIMA 2.2; model lab/model)"
    (scores,) = reduce_run("tuned", (), runs[1].records)
    assert "12 questions, 24 answers, overall mean 37.5 %; judge lab/judge-1; model lab/model" in repr(scores)
    assert "<code>" in scores._repr_html_()


def test_a_run_is_a_table_of_its_grades(runs: list[ShownRun], tmp_path: Path) -> None:
    frame = runs[1].to_frame()
    assert list(frame.columns) == list(COLUMNS)
    assert len(frame) == 12 * 2 * 2
    assert frame["grade"].mean() == 0.375
    write_table(frame, tmp_path / "grades.parquet")


def test_nothing_from_a_file_becomes_markup(runs: list[ShownRun], report: Report) -> None:
    (scores,) = reduce_run(HOSTILE, (), runs[0].records)
    for text in (runs[0]._repr_html_(), report._repr_html_(), scores._repr_html_()):
        tags = Tags(text)
        assert not tags.open
        assert tags.seen <= {"p", "strong", "table", "caption", "thead", "tbody", "tr", "th", "td", "code"}
        assert "\x1b" not in text


def test_a_result_shows_its_verdict(report: Report) -> None:
    (effect,) = [e for e in report.effects if e.tier == "primary"]
    assert effect.verdict == "degraded beyond the margin"
    assert effect.verdict in repr(report)
    assert len(repr(report)) < 1000
    assert effect.verdict in report._repr_html_()
    assert "english_mean" not in report._repr_html_()


def test_warnings_come_first(report: Report) -> None:
    warned = replace(report, headline=("SAMPLE",))
    assert repr(warned).startswith("SAMPLE")
    assert "SAMPLE" in warned._repr_html_().split("</p>")[0]


def test_a_plot_shows_itself(report: Report) -> None:
    assert ElementTree.fromstring(report.plot()._repr_svg_()).tag.endswith("svg")
    assert report.plot("anima_2_2", "tuned").figure.get_axes()
    with pytest.raises(InputError, match="benchmark anima_2_2, run tuned"):
        report.plot(run="nobody")
