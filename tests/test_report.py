"""The commands and what they write: terminal, JSON, CSV, parquet, LaTeX and figures."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from helpers import ANIMA_2_2
from made_records import MadeRun, run_of
from rich.console import Console
from synthetic import anima_shape, moru_shape, synthetic_records

from value_retention.analysis import compare
from value_retention.analysis.cli import cli
from value_retention.analysis.effects.result import Result as Found
from value_retention.analysis.report.cells import number
from value_retention.analysis.report.console import print_result
from value_retention.analysis.report.export import tex
from value_retention.analysis.report.plots.comparison import file_name, file_names, save_plots
from value_retention.analysis.report.plots.groups import judges
from value_retention.analysis.report.sections import judge_tables
from value_retention.tasks.data import load
from value_retention.tasks.errors import InputError
from value_retention.tasks.record import AnswerRecord, JudgeInfo
from value_retention.tasks.scores import derived

FIGURE = re.compile(r"[+−]?\d+\.\d")


def made(name: str, level: float, missing: float = 0.0) -> MadeRun:
    records = synthetic_records(name, anima_shape(), {"all": level}, epochs=2, missing=missing)
    records += synthetic_records(name, moru_shape(), {"all": 1 - level}, epochs=2, missing=missing)
    return MadeRun(name, records, (f"{name}.records.jsonl",))


@pytest.fixture(scope="module")
def comparison() -> Found:
    return compare([made("base", 0.4), made("tuned", 0.5, missing=0.05)], margin=5)


def write(folder: Path, run: MadeRun) -> str:
    path = folder / f"{run.name}.records.jsonl"
    path.write_text("\n".join(record.to_json() for record in run.records) + "\n", encoding="utf-8")
    return str(path)


def command(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


def printed(comparison: Found, width: int) -> str:
    out = StringIO()
    print_result(comparison, Console(file=out, width=width), full=True)
    return out.getvalue()


def test_no_figure_is_lost_in_a_narrow_terminal(comparison: Found) -> None:
    wide, narrow = (Counter(FIGURE.findall(printed(comparison, width))) for width in (300, 70))
    assert sum(wide.values()) > 400
    assert not wide - narrow
    assert "…" not in printed(comparison, 70)


def test_the_report_says_what_it_may_not_be_taken_for(comparison: Found) -> None:
    text = " ".join(printed(comparison, 140).split())
    for part in (
        "not over other training runs with the same data",
        "< 6 clusters: fewer than 6 clusters: described, not tested",
        "Languages with fewer than 6 clusters, described and not tested",
        '"Multilingual" can mean all rows (overall_mean) or the rows without English',
        "Verdicts are read off the interval for new questions, at a margin of 5 points",
        "New questions: the interval for other questions like these",
        "These questions: the interval if these questions were asked again",
    ):
        assert part in text
    plain = compare([made("a", 0.4), made("b", 0.5)])
    assert "No verdicts: they need a margin" in printed(plain, 140)
    assert "Verdict" not in printed(plain, 140)


def without_numbers(value: object) -> list[object]:
    """Every float of a JSON value."""
    if isinstance(value, dict):
        return [n for part in value.values() for n in without_numbers(part)]
    if isinstance(value, list):
        return [n for part in value for n in without_numbers(part)]
    return [value] if isinstance(value, float) else []


def test_json_holds_every_figure_and_no_nan(comparison: Found) -> None:
    content = json.loads(json.dumps(comparison.to_dict(), allow_nan=False))
    assert all(np.isfinite(n) for n in without_numbers(content))  # type: ignore[arg-type]
    assert {c["design"] for c in content["contrasts"]} == {"independent groups (Welch)", "paired by question"}
    assert len(content["questions"]) == 115 + 201
    judged = [j for j in content["judges"] if (j["run"], j["benchmark"]) == ("tuned", "moru")]
    graded, unparsed = (sum(j[key] for j in judged) for key in ("graded", "unparsed"))
    assert unparsed / (graded + unparsed) == pytest.approx(0.05, abs=0.02)
    scores = {(s["run"], s["metric"]): s for s in content["scores"] if s["benchmark"] == "moru"}
    assert scores["base", "english_mean"]["low"] < scores["base", "english_mean"]["score"]
    judged = next(r for r in content["judged"] if r["run"] == "tuned")
    assert (judged["is_benchmark"], judged["data_source"]) == (False, "sample")
    assert judged["judges"] == {"synthetic-judge": True}


def test_cut_replies_are_counted_apart_wherever_replies_are() -> None:
    def with_cut(run: MadeRun) -> MadeRun:
        first, *others = run.records
        cut = replace(first.grades[0], outcome="cut", grade=None, stop_reason="max_tokens")
        grades = (cut, *first.grades[1:])
        scores = derived(first.dimensions, first.weights, grades, judged=True)
        return replace(run, records=[replace(first, grades=grades, **scores), *others])

    found = compare([made("base", 0.4), with_cut(made("tuned", 0.5))], margin=5)
    counts = found.to_dict()["judges"]
    assert sum(row.get("cut", 0) for row in counts) == 1
    assert [row["run"] for row in counts if "cut" in row] == ["tuned"]
    table = next(table for table in judge_tables(found) if "Cut" in table.headings)
    at = table.headings.index("Cut")
    assert Counter(row[at] for row in table.rows)["1"] == 1
    lines = judges(found, "anima_2_2").axes[1].lines
    assert max(np.max(line.get_xdata()) for line in lines) > 0


def test_a_missing_value_always_has_its_reason_in_the_row(comparison: Found) -> None:
    needs = {
        "t_low": "interval", "boot_low": "bootstrap", "p": "p", "difference": "difference",
        "detectable": "detectable", "score_run": "score",
    }  # fmt: skip
    seen = 0
    for effect in comparison.effects:
        for name, reason in needs.items():
            if getattr(effect, name) is None:
                seen += 1
                assert effect.reasons[reason], (effect.metric, name)
        assert effect.verdict or effect.tier == "exploratory" or effect.reasons["verdict"]
    assert seen
    frame = comparison.to_frame()
    assert (frame["t_low"].isna() == frame["reasons"].str.contains("interval: ")).all()
    for row in printed(comparison, 300).splitlines():
        assert "nan" not in row.lower().split()


def test_tables_come_back_as_they_were(comparison: Found, tmp_path: Path) -> None:
    a, b = write(tmp_path, made("base", 0.4)), write(tmp_path, made("tuned", 0.5, missing=0.05))
    files = {kind: tmp_path / "out" / f"r.{kind}" for kind in ("json", "csv", "parquet", "latex")}
    options = [part for kind, path in files.items() for part in (f"--{kind}", str(path))]
    done = command("compare", f"base={a}", f"tuned={b}", "--margin", "5", *options)
    assert done.exit_code == 0, done.output
    expected = comparison.to_frame()
    pd.testing.assert_frame_equal(pd.read_parquet(files["parquet"]), expected, check_dtype=False)
    csv = pd.read_csv(files["csv"], keep_default_na=False, na_values=[""])
    np.testing.assert_allclose(csv["t_high"], expected["t_high"])
    content = json.loads(files["json"].read_text(encoding="utf-8"))
    assert len(content["effects"]) == len(expected)
    text = files["latex"].read_text(encoding="utf-8")
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 4
    for table in text.split(r"\begin{tabular}")[1:]:
        rows = [line for line in table.splitlines() if line.endswith(r" \\")]
        assert len({line.count(" & ") for line in rows}) == 1


@pytest.mark.slow
def test_figures_are_written_twice_and_the_same_each_time(comparison: Found, tmp_path: Path) -> None:
    names = {path.name for path in save_plots(comparison, tmp_path / "a")}
    kinds = {
        "forest_anima_2_2_tuned_vs_base",
        "questions_moru_tuned_vs_base",
        "languages_moru",
        "judges_moru",
    }
    assert {f"{kind}{ending}" for kind in kinds for ending in (".svg", ".png")} <= names
    save_plots(comparison, tmp_path / "b")
    for name in names:
        first, second = ((tmp_path / folder / name).read_bytes() for folder in "ab")
        assert first == second, name
    forest = (tmp_path / "a" / "forest_anima_2_2_tuned_vs_base.svg").read_text(encoding="utf-8")
    overall = next(e for e in comparison.effects if e.metric == "overall_mean")
    assert number(overall.difference, sign=True) in forest
    assert file_name("logs/run 1: a") == "logs-run-1-a"
    assert list(file_names(["a/b", "a-b", "c", "a/b"]).values()) == ["a-b", "a-b-2", "c"]


@pytest.mark.slow
def test_figures_of_poor_data_are_drawn_too(tmp_path: Path) -> None:
    few = {str(k): [{"x": float(k % 2), "y": None}] for k in range(3)}
    assert save_plots(compare([run_of("a", few), run_of("b", few)]), tmp_path)


def test_unlike_runs_are_refused_by_the_command_with_both_files(tmp_path: Path) -> None:
    items = {str(k): [{"x": float(k % 2)}] for k in range(8)}
    a, b = write(tmp_path, run_of("a", items)), write(tmp_path, run_of("b", items, judge="other"))
    refused = command("compare", a, b)
    assert isinstance(refused.exception, InputError)
    for part in ("lab/judge-1 in", "other in", a, b, "--allow judge"):
        assert part in str(refused.exception)
    allowed = command("compare", a, b, "--allow", "judge")
    assert allowed.exit_code == 0, allowed.output
    head = "Allowed to differ: judges (anima_2_2): lab/judge-1 in a; other in b"
    assert allowed.output.splitlines()[0] == head, "a report names the runs, not where they lie"


@pytest.mark.slow
def test_the_judges_of_a_panel_are_compared_beside_the_runs(tmp_path: Path) -> None:
    def panel(name: str, level: float) -> str:
        records = synthetic_records(name, anima_shape(), {"all": level}, judges=("lab/a", "lab/b"), epochs=1)
        return write(tmp_path, MadeRun(name, records))

    out, plots = tmp_path / "out.json", tmp_path / "plots"
    runs = [f"{name}={panel(name, level)}" for name, level in (("one", 0.4), ("two", 0.6))]
    done = command("compare", *runs, "--json", str(out), "--plots", str(plots), "--resamples", "1000")
    assert done.exit_code == 0, done.output
    rows = json.loads(out.read_text(encoding="utf-8"))["agreement"]
    overall = next(row for row in rows if (row["run"], row["name"]) == ("one", "overall"))
    figure = (plots / "agreement_anima_2_2_one_lab-a_lab-b.svg").read_text(encoding="utf-8")
    assert f"overall (n = {overall['compared']}" in figure
    assert "AC1" in figure


def damaged(kind: str, good: Path) -> tuple[Path, str]:
    """A file that is no complete run, and a part of the message it must get."""
    lines = good.read_text(encoding="utf-8").splitlines(keepends=True)
    bad = good.with_name(f"bad-{kind}.records.jsonl")
    if kind == "cut":
        bad.write_text("".join(lines[:-1]) + lines[-1][:200], encoding="utf-8")
        return bad, "line 8"
    if kind == "short":
        bad.write_text("".join(lines[:-2]), encoding="utf-8")
        return bad, "6 (hash"
    if kind == "other":
        bad = good.with_name("other.json")
        bad.write_text('{"version": 2, "status": "success", "eval": {"task": "gsm8k"}}', encoding="utf-8")
        return bad, "other.json"
    bad = good.with_name("bad.eval")
    bad.write_bytes(b"PK no archive")
    return bad, "bad.eval"


@pytest.mark.parametrize("kind", ["cut", "short", "other", "archive"])
def test_a_damaged_log_and_one_of_another_eval_are_clear_messages(tmp_path: Path, kind: str) -> None:
    items = {str(k): [{"x": float(k % 2)}] for k in range(8)}
    good = write(tmp_path, run_of("good", items))
    bad, message = damaged(kind, Path(good))
    done = command("compare", good, str(bad))
    assert isinstance(done.exception, InputError), done.exception
    assert message in str(done.exception)


def test_a_place_that_cannot_be_written_is_a_clear_message(tmp_path: Path) -> None:
    items = {str(k): [{"x": float(k % 2)}] for k in range(8)}
    runs = [write(tmp_path, run_of(name, items)) for name in ("a", "b")]
    (tmp_path / "file").write_text("in the way")
    for option in ("--json", "--csv", "--plots"):
        done = command("compare", *runs, option, str(tmp_path / "file" / "below"))
        assert isinstance(done.exception, InputError), done.exception
        assert "cannot be written" in str(done.exception)


def pair(folder: Path) -> list[str]:
    """Two small runs as files, one in every two and one in every three questions passed."""
    return [
        write(folder, run_of(name, {str(k): [{"x": float(k % n > 0)}] for k in range(8)}))
        for name, n in (("a", 2), ("b", 3))
    ]


def test_nothing_is_written_over_what_was_read_nor_twice_into_one_file(tmp_path: Path) -> None:
    a, b = pair(tmp_path)
    before = Path(a).read_text("utf-8")
    linked = tmp_path / "link.json"
    linked.symlink_to(a)
    for option, place in (
        ("--json", a),
        ("--csv", a),
        ("--parquet", b),
        ("--latex", a),
        ("--json", str(linked)),
    ):
        done = command("compare", f"a={a}", f"b={b}", option, place)
        assert isinstance(done.exception, InputError), done.exception
        assert "the output would overwrite an input" in str(done.exception)
    (tmp_path / "runs").mkdir()
    inside = Path(a).rename(tmp_path / "runs" / "a.records.jsonl")
    done = command("compare", f"a={tmp_path / 'runs'}", f"b={b}", "--json", str(inside))
    assert "the output would overwrite an input" in str(done.exception)
    assert inside.read_text("utf-8") == before
    out = str(tmp_path / "out")
    done = command("compare", f"a={inside}", f"b={b}", "--json", out, "--csv", out)
    assert "two outputs go to the same file" in str(done.exception)
    for _ in range(2):  # an older report may be written over
        assert command("compare", f"a={inside}", f"b={b}", "--json", out).exit_code == 0
    done = command("table", f"a={inside}", "-o", str(inside))
    assert "the output would overwrite an input" in str(done.exception)


def test_arms_are_not_written_over_either(tmp_path: Path) -> None:
    a, b = pair(tmp_path)
    arms = tmp_path / "arms.yaml"
    arms.write_text(f"arms:\n  - {{role: base, run: {a}}}\n  - {{domain: d, method: m, run: {b}}}\n")
    for place in (arms, Path(a)):
        done = command("arms", str(arms), "--json", str(place))
        assert "the output would overwrite an input" in str(done.exception), done.exception
    both = command("arms", str(arms), "--json", str(tmp_path / "o"), "--latex", str(tmp_path / "o"))
    assert "two outputs go to the same file" in str(both.exception)
    assert "arms:" in arms.read_text("utf-8")


def test_the_arms_command_lets_a_difference_through_by_name(tmp_path: Path) -> None:
    a, _ = pair(tmp_path)
    items = {str(k): [{"x": float(k % 3 > 0)}] for k in range(8)}
    b = write(tmp_path, run_of("b", items, temperature=0.5))
    arms = tmp_path / "arms.yaml"
    arms.write_text(f"arms:\n  - {{role: base, run: {a}}}\n  - {{domain: d, method: m, run: {b}}}\n")
    assert "--allow sampling" in str(command("arms", str(arms)).exception)
    allowed = command("arms", str(arms), "--allow", "sampling", "--latex", str(tmp_path / "t.tex"))
    assert allowed.output.startswith("Allowed to differ: sampling of the answers")
    assert "Allowed to differ: sampling" in (tmp_path / "t.tex").read_text("utf-8")


@pytest.mark.parametrize("names", [("t[v1]", "t[/v1]"), ("[bold]", ":cat:"), ("$x_$", "\\[v1")])
def test_a_name_is_printed_as_it_is(tmp_path: Path, names: tuple[str, str]) -> None:
    a, b = pair(tmp_path)
    runs = [f"{name}={path}" for name, path in zip(names, (a, b), strict=True)]
    plots = ["--plots", str(tmp_path / "plots"), "--latex", str(tmp_path / "t.tex")]
    done = command("compare", *runs, "--baseline", names[0], "--margin", "5", "--full", *plots)
    assert done.exit_code == 0, done.exception
    assert f"{names[1]} against {names[0]}" in done.output
    headings = [line for line in done.output.splitlines() if "Difference" in line]
    assert all(name in headings[0] for name in names)
    shown = command("table", *runs)
    assert all(f"{name}: anima_2_2" in shown.output for name in names), shown.output


def test_arms_with_markup_in_their_names_are_printed_and_set_as_they_are(tmp_path: Path) -> None:
    a, b = pair(tmp_path)
    arms, out = tmp_path / "arms.yaml", tmp_path / "t.tex"
    arms.write_text(
        f"arms:\n  - {{name: '[/base]', role: base, run: {a}}}\n"
        f"  - {{name: '[red]', domain: d, method: '[m]', run: {b}}}\n"
    )
    done = command("arms", str(arms), "--latex", str(out))
    assert done.exit_code == 0, done.exception
    assert "[/base]" in done.output
    assert "[red]" in done.output
    assert "{}[red] & " in out.read_text("utf-8"), "a bracket would be an argument of the line before"


def test_names_that_no_file_can_hold_are_refused_plainly(tmp_path: Path) -> None:
    a, b = pair(tmp_path)
    for bad in ("t\udcff", "two\nlines"):
        for arguments in (("compare", f"{bad}={a}", f"b={b}"), ("table", f"{bad}={a}")):
            done = command(*arguments)
            assert isinstance(done.exception, InputError), done.exception
            assert ascii(bad)[1:-1] in str(done.exception)
        arms = tmp_path / "arms.yaml"
        content = [{"name": bad, "role": "base", "run": a}, {"domain": "d", "method": "m", "run": b}]
        arms.write_text(json.dumps({"arms": content}))
        assert isinstance(command("arms", str(arms)).exception, InputError)


def test_every_row_says_how_it_was_computed(tmp_path: Path) -> None:
    a, b = pair(tmp_path)
    out = tmp_path / "r.csv"
    done = command("compare", a, b, "--level", "0.9", "--seed", "3", "--resamples", "2000", "--csv", str(out))
    assert done.exit_code == 0, done.exception
    row = pd.read_csv(out).iloc[0]
    assert (row["level"], row["seed"], row["resamples"]) == (0.9, 3, 2000)


@pytest.mark.slow
def test_one_name_for_two_files_of_one_model(tmp_path: Path) -> None:
    def part(name: str, benchmark: str, level: float) -> str:
        run = made(name, level)
        records: Sequence[AnswerRecord] = [r for r in run.records if r.benchmark == benchmark]
        return write(tmp_path, MadeRun(f"{name}-{benchmark}", records))

    files = [
        f"{name}={part(name, benchmark, level)}"
        for name, level in (("base", 0.4), ("tuned", 0.5))
        for benchmark in ("anima_2_2", "moru")
    ]
    done = command("compare", *files, "--baseline", "base", "--resamples", "1000")
    assert done.exit_code == 0, done.output
    assert "ANIMA 2.2, tuned against base" in done.output
    assert "MORU, tuned against base" in done.output


@pytest.mark.slow
def test_the_arms_command_reads_its_file(tmp_path: Path) -> None:
    for name, level in (("base", 0.4), ("help", 0.3), ("code", 0.6)):
        write(tmp_path, made(name, level))
    arms = tmp_path / "arms.yaml"
    arms.write_text(
        "margin: 5\narms:\n"
        "  - {name: base, role: base, run: base.records.jsonl}\n"
        "  - {domain: helpfulness, method: SFT, run: help.records.jsonl}\n"
        "  - {domain: coding, method: SFT, run: code.records.jsonl}\n"
    )
    out = tmp_path / "arms.json"
    done = command("arms", str(arms), "--json", str(out), "--latex", str(tmp_path / "arms.tex"))
    assert done.exit_code == 0, done.output
    assert done.output.startswith("NOT A BENCHMARK RESULT: sample items in every run.")
    assert "One training run per arm" in " ".join(done.output.split())
    content = json.loads(out.read_text(encoding="utf-8"))
    (overall,) = [
        e
        for e in content["effects"]
        if (e["comparison"], e["benchmark"], e["metric"]) == ("domain effect", "anima_2_2", "overall_mean")
    ]
    assert overall["difference"] == pytest.approx(30, abs=0.2)


def experiment(folder: Path, **runs: MadeRun) -> Path:
    """An arms file of a base and one SFT arm per further run, in a folder with their records."""
    entries = []
    for name, run in runs.items():
        path = write(folder, MadeRun(name, run.records))
        role = {"role": "base"} if name == "base" else {"domain": name, "method": "SFT"}
        entries.append({"name": name, "run": Path(path).name, **role})
    arms = folder / "arms.yaml"
    arms.write_text(json.dumps({"arms": entries}))
    return arms


@pytest.mark.slow
def test_compare_and_arms_give_the_same_figures_on_the_same_files(tmp_path: Path) -> None:
    """Estimates, intervals, p, families and verdicts, for every figure and language contrast."""
    arms = experiment(tmp_path, base=made("base", 0.4), tuned=made("tuned", 0.5, missing=0.02))
    files = [str(tmp_path / f"{name}.records.jsonl") for name in ("base", "tuned")]
    found = []
    for name, inputs in (("compare", files), ("arms", [str(arms)])):
        out = tmp_path / f"{name}.json"
        done = command(name, *inputs, "--margin", "5", "--json", str(out))
        assert done.exit_code == 0, done.output
        content = json.loads(out.read_text("utf-8"))
        for row in (*content["effects"], *content["contrasts"]):
            for words in ("comparison", "statement", "baseline", "run", "note"):
                row.pop(words, None)
            if "reasons" in row:
                row["reasons"].pop("seeds", None)
        found.append({key: content[key] for key in ("scores", "effects", "contrasts", "questions", "judged")})
    assert len(found[0]["effects"]) > 70
    assert any(str(e["verdict"]).startswith("degraded") for e in found[0]["effects"])
    assert found[0] == found[1]


@pytest.mark.slow
def test_compare_and_arms_give_the_same_verdicts_and_shares_for_several_candidates(tmp_path: Path) -> None:
    """The effects between two candidates, which only `arms` has, make no verdict harder."""
    levels = {"base": 0.2, "mid": 0.5, "kept": 0.49, "lost": 0.35}
    files = {name: write(tmp_path, made(name, level, missing=0.01)) for name, level in levels.items()}
    roles = {"base": {"role": "base"}, "mid": {"role": "midtrain"}}
    entries = [
        {"name": name, "run": Path(file).name, **roles.get(name, {"domain": name, "method": "SFT"})}
        for name, file in files.items()
    ]
    arms = tmp_path / "arms.yaml"
    arms.write_text(json.dumps({"arms": entries}))
    pairs = [f"{name}={file}" for name, file in files.items()]
    found = []
    for inputs in (["compare", *pairs, "--baseline", "mid", "--before", "base"], ["arms", str(arms)]):
        out = tmp_path / "out.json"
        done = command(*inputs, "--margin", "5", "--json", str(out), "--resamples", "1000")
        assert done.exit_code == 0, done.output
        content = json.loads(out.read_text("utf-8"))
        names = (
            "benchmark",
            "metric",
            "verdict",
            "verdict_holds",
            "low",
            "high",
            "level",
            "p_adjusted",
            "family_size",
        )
        judged = [e for e in content["effects"] if e["tier"] != "exploratory"]
        shares = [{**share, "run": share["run"].removeprefix("SFT ")} for share in content["retained_shares"]]
        found.append(([[e[name] for name in names] for e in judged], shares))
        assert "etained share" in done.output
    assert found[0] == found[1]
    assert len(found[0][0]) == 2 * 2 * 3
    anima = {
        s["run"]: s for s in found[0][1] if (s["benchmark"], s["metric"]) == ("anima_2_2", "overall_mean")
    }
    assert anima["lost"]["ratio"]["estimate"] == pytest.approx(0.5, abs=0.02)
    assert (anima["lost"]["shown"], anima["lost"]["ratio"]["kind"]) == (True, "bounded")


def svg_text(path: Path) -> str:
    return " ".join("".join(ElementTree.parse(path).getroot().itertext()).split())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["compare", "arms"])
def test_every_output_names_the_judge_and_warns_first(tmp_path: Path, name: str) -> None:
    """A judge that is not an LLM and sample items: in the terminal, JSON, CSV, parquet, LaTeX and each figure."""
    sample = load(ANIMA_2_2, "sample")
    panel = (JudgeInfo("lexical", {}, is_llm=False),)
    data = replace(sample.info, content_hash="0" * 64)

    def lexical(name: str, every: int) -> MadeRun:
        items = {item.id: [{"x": float(k % every > 0), "y": 1.0}] for k, item in enumerate(sample.items)}
        records = [
            replace(r, data=data, judges=panel, run=replace(r.run, model=f"lab/{name}"),
                    language=item.language)
            for r, item in zip(run_of(name, items, judge="lexical").records, sample.items, strict=True)
        ]  # fmt: skip
        return MadeRun(name, records)

    arms = experiment(
        tmp_path, base=lexical("base", 2), tuned=lexical("tuned", 3), coding=lexical("coding", 4)
    )
    inputs = (
        [*(str(tmp_path / f"{n}.records.jsonl") for n in ("base", "tuned")), "--full"]
        if name == "compare"
        else [str(arms)]
    )
    files = {kind: tmp_path / f"out.{kind}" for kind in ("json", "csv", "parquet", "latex")}
    options = [part for kind, path in files.items() for part in (f"--{kind}", str(path))]
    done = command(name, *inputs, "--plots", str(tmp_path / "plots"), "--resamples", "1000", *options)
    assert done.exit_code == 0, done.output
    head = done.output.splitlines()[:2]
    assert head[0].startswith("NOT A BENCHMARK RESULT: sample items")
    assert head[1].startswith("NOT JUDGED BY AN LLM: the grades in every run come from lexical")
    shown = " ".join(done.output.split())
    for part in ("judge lexical (not an LLM)", "data sample items", "epochs 1", "lab/base (base)"):
        assert part in shown
    content = json.loads(files["json"].read_text("utf-8"))
    assert content["headline"][:2] == head
    assert all(
        row["judges"] == {"lexical": False} and row["data_source"] == "sample" for row in content["judged"]
    )
    for table in (pd.read_csv(files["csv"]), pd.read_parquet(files["parquet"])):
        assert set(table["judge"]) == {"lexical (not an LLM)"}
        assert not table["judge_is_llm"].any()
        assert set(table["data"]) == {"sample items"}
        assert set(table["epochs"].astype(str)) == {"1"}
        assert "lab/base" in set(table["model_baseline"])
        assert table["label"].str.startswith(head[0]).all()
    lines = files["latex"].read_text("utf-8").splitlines()
    assert lines[0] == f"% {head[0]}"
    captions = [line for line in lines if line.startswith(r"\caption")]
    assert captions
    assert all(tex(head[0]) in line and "judge lexical (not an LLM)" in line for line in captions)
    figures = list((tmp_path / "plots").glob("*.svg"))
    assert len(figures) >= 4
    for figure in figures:
        text = svg_text(figure)
        assert "NOT A BENCHMARK RESULT" in text, figure
        assert "NOT JUDGED BY AN LLM" in text, figure
        assert "judge lexical (not an LLM); data sample items" in text, figure


def test_numbers_are_rounded_half_away_from_zero_everywhere() -> None:
    cases = {13.75: "13.8", -13.75: "−13.8", 13.749999999: "13.8", 13.74: "13.7", 0.25: "0.3", -0.04: "0.0"}
    assert {value: number(value) for value in cases} == cases
    assert (number(-0.04, sign=True), number(2.5, sign=True), number(None)) == ("0.0", "+2.5", "")
    assert number(0.0005, 3) == "0.001"


def test_help_of_the_commands_is_there() -> None:
    for name in ("compare", "arms"):
        done = command(name, "--help")
        assert done.exit_code == 0
        assert "--resamples" in done.output
