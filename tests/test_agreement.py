"""Agreement between judges: coefficients against published tables and libraries, intervals, errors."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import krippendorff
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from panel_records import judged, run_of, table_run, write_run
from statsmodels.stats.inter_rater import aggregate_raters, cohens_kappa, fleiss_kappa
from statsmodels.stats.proportion import proportion_confint

from value_retention.analysis.cli import cli
from value_retention.analysis.judges.agreement import Agreement, AgreementReport, judge_agreement
from value_retention.analysis.judges.raters import Rater, rater_labels, shared_grades
from value_retention.analysis.runs.load import Run
from value_retention.analysis.stats import resample
from value_retention.analysis.stats.inter_rater import (
    ALL_FAIL,
    ALL_PASS,
    FEW,
    NAMES,
    NO_SPREAD,
    NOT_SHARED,
    PAIR_ONLY,
    coefficients,
    unit_sums,
    with_intervals,
)
from value_retention.tasks.errors import InputError
from value_retention.tasks.record import AnswerRecord, JudgeInfo
from value_retention.tasks.scores import benchmark_scores, questions_of

NAN = float("nan")


def of(grades: np.ndarray | list[list[float]]) -> dict[str, float]:
    """Every coefficient of a (units, raters) table."""
    table = np.array(grades, dtype=float)
    values = coefficients(unit_sums(table).sum(axis=0)[:, None], table.shape[1] == 2)[:, 0]
    return dict(zip(NAMES, values.tolist(), strict=True))


def two_by_two(both: int, first: int, second: int, neither: int) -> dict[str, float]:
    return of([[1, 1]] * both + [[1, 0]] * first + [[0, 1]] * second + [[0, 0]] * neither)


def found(report: AgreementReport, name: str = "overall", raters: int = 2) -> Agreement:
    rows = [row for row in report.agreements if row.name == name and len(row.raters) == raters]
    assert len(rows) >= 1
    return rows[0]


# -- published worked examples ----------------------------------------------------------------------------


def test_cohens_kappa_of_a_textbook_table() -> None:
    # 50 grant applications read by two people, in many textbooks: 20 yes/yes, 5, 10, 15 no/no.
    assert two_by_two(20, 5, 10, 15)["kappa"] == pytest.approx(0.40)
    assert two_by_two(20, 5, 10, 15)["raw"] == pytest.approx(0.70)


def test_gwets_table_of_125_subjects() -> None:
    # Gwet (2008), the paradox of kappa: 94 % agreement and a negative kappa.
    values = two_by_two(118, 5, 2, 0)
    assert values["raw"] == pytest.approx(0.944)
    assert values["kappa"] == pytest.approx(-0.0234, abs=5e-5)
    assert values["ac1"] == pytest.approx(0.9408, abs=5e-5)


def test_krippendorffs_two_observers_on_binary_data() -> None:
    # Krippendorff (2011), section A: Meg and Owen, ten units, alpha = 0.095.
    meg = [0, 1, 0, 0, 0, 0, 0, 0, 1, 0]
    owen = [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]
    assert of(np.array([meg, owen]).T)["alpha"] == pytest.approx(0.095, abs=5e-4)


@pytest.mark.parametrize(("prevalence", "kappa"), [(0.5, 0.81), (0.95, 0.45)])
def test_kappa_of_two_judges_that_are_right_in_95_percent_falls_with_prevalence(
    prevalence: float, kappa: float
) -> None:
    shares = [
        prevalence * right * right_too + (1 - prevalence) * (1 - right) * (1 - right_too)
        for right in (0.95, 0.05)
        for right_too in (0.95, 0.05)
    ]
    values = two_by_two(*(round(share * 10_000) for share in shares))
    assert values["raw"] == pytest.approx(0.905, abs=1e-9)
    assert values["kappa"] == pytest.approx(kappa, abs=0.005)
    assert values["ac1"] > 0.80


# -- libraries as oracles -----------------------------------------------------------------------------------

grade = st.sampled_from([0.0, 1.0, NAN])
tables = st.integers(2, 4).flatmap(
    lambda raters: st.lists(st.lists(grade, min_size=raters, max_size=raters), min_size=3, max_size=20)
)


@settings(max_examples=100, deadline=None)
@given(tables)
def test_alpha_is_that_of_the_krippendorff_package_with_missing_grades(rows: list[list[float]]) -> None:
    table = np.array(rows)
    paired = table[np.isfinite(table).sum(axis=1) >= 2]
    values = of(table)
    if len(paired) and np.unique(paired[np.isfinite(paired)]).size == 2:
        expected = krippendorff.alpha(reliability_data=paired.T, level_of_measurement="nominal")
        assert values["alpha"] == pytest.approx(expected, abs=1e-9)
    else:
        assert np.isnan(values["alpha"])


@pytest.mark.filterwarnings("ignore:invalid value")
@settings(max_examples=100, deadline=None)
@given(st.tuples(*[st.integers(0, 30)] * 4))
def test_kappa_is_that_of_statsmodels(counts: tuple[int, int, int, int]) -> None:
    both, first, second, neither = counts
    values = two_by_two(*counts) if sum(counts) else dict.fromkeys(NAMES, NAN)
    if sum(counts) in (0, both, neither):
        assert np.isnan(values["kappa"])
    else:
        expected = cohens_kappa(np.array([[both, first], [second, neither]])).kappa
        assert values["kappa"] == pytest.approx(expected, abs=1e-12)


def test_three_raters_by_definition_and_by_fleiss() -> None:
    table = np.random.default_rng(3).integers(0, 2, (40, 3)).astype(float)
    values = of(table)
    pairs = [(0, 1), (0, 2), (1, 2)]
    raw = np.mean([(table[:, i] == table[:, j]).mean() for i, j in pairs])
    passes = table.mean()
    chance = 2 * passes * (1 - passes)  # Gwet (2008) for two categories.
    assert values["raw"] == pytest.approx(raw)
    assert values["ac1"] == pytest.approx((raw - chance) / (1 - chance))
    # Fleiss' kappa is alpha without its correction for small samples.
    fleiss = fleiss_kappa(aggregate_raters(table.astype(int))[0])
    assert values["alpha"] == pytest.approx(1 - (1 - fleiss) * (table.size - 1) / table.size)
    assert np.isnan(values["kappa"])


def test_a_unit_graded_by_one_judge_changes_nothing() -> None:
    rows = [[1, 1], [1, 0], [0, 0], [0, 1], [1, 1]]
    assert of([*rows, [1, NAN], [NAN, 0], [NAN, NAN]]) == of(rows)


# -- intervals ----------------------------------------------------------------------------------------------


def test_intervals_are_the_percentiles_of_a_bootstrap_over_clusters() -> None:
    rng = np.random.default_rng(1)
    cluster = rng.integers(0, 12, 90)
    table = np.where(rng.random((90, 2)) < 0.8, 1.0, 0.0)
    sums = np.stack([unit_sums(table)[cluster == c].sum(axis=0) for c in range(12)])
    counts = resample.cluster_counts(12, 500, seed=4)
    drawn = []
    for column in counts.T:
        units = np.concatenate(
            [np.flatnonzero(cluster == c) for c in range(12) for _ in range(int(column[c]))]
        )
        drawn.append(list(of(table[units]).values()))
    for got, values in zip(with_intervals(sums, True, 500, 4, 0.9), np.array(drawn).T, strict=True):
        assert got.low == pytest.approx(np.percentile(values, 5), abs=1e-6)
        assert got.high == pytest.approx(np.percentile(values, 95), abs=1e-6)


def test_clusters_not_answers_are_resampled() -> None:
    # 8 questions of 20 epochs that all agree or all do not: 8 independent facts, not 160.
    grades = [(1.0, 1.0)] * 3 + [(0.0, 0.0)] * 3 + [(1.0, 0.0)] * 2
    many = run_of(
        "r", [judged(str(q), {"Care": g}, epoch=e) for q, g in enumerate(grades) for e in range(1, 21)]
    )
    once = run_of("r", [judged(str(q), {"Care": g}) for q, g in enumerate(grades)])
    a, b = (found(judge_agreement([run], resamples=2000)) for run in (many, once))
    assert (a.compared, a.clusters, b.compared) == (160, 8, 8)
    assert a.raw == b.raw
    assert a.raw.low is not None
    assert a.raw.low < 0.51


@pytest.mark.parametrize(
    ("table", "reason"),
    [((9, 0, 0, 0), ALL_PASS), ((0, 0, 0, 9), ALL_FAIL)],
)
def test_constant_grades_have_a_reason_and_no_nan(table: tuple[int, int, int, int], reason: str) -> None:
    row = found(judge_agreement([table_run(*table)], resamples=1000))
    assert (row.kappa.value, row.kappa.reason) == (None, reason)
    assert (row.alpha.value, row.alpha.reason) == (None, reason)
    assert (row.raw.value, row.raw.low, row.raw.reason) == (1.0, None, NO_SPREAD)
    assert row.ac1.value == 1.0


def test_a_judge_that_never_passes_has_no_interval_of_zero_width(tmp_path: Path) -> None:
    # Kappa is 0 in every resample; what the rounding leaves of it differs between resamples and dimensions.
    rng = np.random.default_rng(0)
    records = [
        judged(str(n), {d: [float(rng.random() < 0.37), 0.0] for d in "ABCD"}, epoch=e)
        for n in range(23)
        for e in (1, 2, 3)
    ]
    report = judge_agreement([run_of("r", records)], resamples=1000)
    for row in report.agreements:
        assert row.kappa.value == pytest.approx(0, abs=1e-12)
        assert (row.kappa.low, row.kappa.high, row.kappa.reason) == (None, None, NO_SPREAD), row.name
        assert row.raw.low is not None
    never = next(score for score in report.scores if score.panel == "b alone").score
    most = proportion_confint(0, 23, method="wilson")[1]
    assert (never.value, never.low, never.high) == (0.0, 0.0, pytest.approx(most)), "Wilson, 0 of 23 clusters"
    path = write_run(tmp_path, run_of("r", records))
    done = CliRunner().invoke(cli, ["agreement", str(path), "--resamples", "1000"], catch_exceptions=False)
    assert "0.00 (no spread)" in done.output
    assert not re.search(r"\[(\S+), \1\]", done.output)
    assert f"no spread: {NO_SPREAD}" in done.output


def test_a_coefficient_that_many_resamples_cannot_have_gets_no_interval() -> None:
    # One disagreement in 12: alpha and kappa do not exist in a third of the resamples.
    row = found(judge_agreement([table_run(11, 1, 0, 0)], resamples=2000))
    assert row.alpha.value is not None
    assert row.alpha.low is None
    assert row.alpha.reason is not None
    assert "of the resamples" in row.alpha.reason
    assert row.raw.low is not None


def test_few_clusters_are_described_without_an_interval() -> None:
    row = found(judge_agreement([table_run(2, 1, 1, 1)], resamples=1000))
    assert (row.raw.value, row.raw.low, row.raw.reason) == (pytest.approx(0.6), None, FEW)


# -- what is compared ---------------------------------------------------------------------------------------


def languages_run() -> Run:
    records = []
    for n in range(24):
        language = "en" if n < 8 else "fr" if n < 16 else "de" if n < 20 else "sw"
        agree = (1.0, 1.0) if n % 2 else (0.0, 0.0)
        records.append(
            judged(str(n), {"Care": agree, "Scope": (1.0, None if n == 3 else 0.0)}, language=language)
        )
    return run_of("r", records)


def test_figures_per_dimension_and_language_group() -> None:
    report = judge_agreement([languages_run()], resamples=1000)
    by_name = {row.name: row for row in report.agreements}
    assert list(by_name) == ["overall", "Care", "Scope", "English", "non-English", "en", "fr"]
    assert [row.kind for row in report.agreements].count("language") == 2
    assert any("de, sw" in note for note in report.notes)
    assert (by_name["overall"].compared, by_name["overall"].missing) == (47, 1)
    assert (by_name["Scope"].compared, by_name["Scope"].missing) == (23, 1)
    assert by_name["Care"].raw.value == 1.0
    assert by_name["Scope"].raw.value == 0.0
    assert by_name["Scope"].pass_rates == (1.0, 0.0)
    assert by_name["Scope"].shift.value == -1.0
    assert by_name["Scope"].prevalence == 0.5
    assert by_name["English"].clusters == 8
    assert by_name["non-English"].clusters == 16
    only = judge_agreement([languages_run()], by="dimension", resamples=1000)
    assert [row.name for row in only.agreements] == ["overall", "Care", "Scope"]


def test_a_pair_that_shares_no_grade_says_so() -> None:
    records = [judged(str(n), {"Care": (1.0, None) if n % 2 else (None, 1.0)}) for n in range(12)]
    row = found(judge_agreement([run_of("r", records)], resamples=1000))
    assert (row.compared, row.missing) == (0, 12)
    assert (row.raw.value, row.raw.reason) == (None, NOT_SHARED)
    assert row.prevalence is None


def test_benchmarks_in_separate_runs_are_grouped_and_one_without_agreement_is_named(
    tmp_path: Path,
) -> None:
    """`value-retention judge RUN --judge J`, twice on a run of both benchmarks, writes these files."""

    def graded(benchmark: str, judge: str) -> list[AnswerRecord]:
        values = [float(n % 2 if judge == "a" else n % 3 == 0) for n in range(9)]
        return [judged(str(n), {"Care": [v]}, [judge], benchmark=benchmark) for n, v in enumerate(values)]

    runs = {f"{b}-{judge}": graded(b, judge) for b in ("anima_2_2", "moru") for judge in "ab"}
    report = judge_agreement([run_of(name, records) for name, records in runs.items()], resamples=1000)
    rows = {row.benchmark: row for row in report.agreements if row.kind == "overall"}
    assert {name: row.raters for name, row in rows.items()} == {"anima_2_2": ("a", "b"), "moru": ("a", "b")}
    assert {row.compared for row in rows.values()} == {9}
    # One benchmark has a single judge and a run without grades: it is left out and named.
    del runs["moru-b"]
    runs["saved"] = [judged(str(n), {"Care": []}, [], benchmark="moru", text="other") for n in range(9)]
    for name, records in runs.items():
        write_run(tmp_path, run_of(name, records))
    done = CliRunner().invoke(
        cli, ["agreement", str(tmp_path), "--resamples", "1000"], catch_exceptions=False
    )
    assert done.exit_code == 0
    assert "ANIMA 2.2: a and b" in done.output
    assert "MORU: " not in done.output
    said = " ".join(done.output.split())
    assert "moru: no agreement, because a is the only judge" in said
    assert "has 9 answers and no grades" in said


def test_runs_are_matched_by_item_and_epoch() -> None:
    first = [judged(str(n), {"Care": [float(n % 2)]}, ["a"], epoch=e) for n in range(9) for e in (1, 2)]
    second = [judged(str(n), {"Care": [float(n % 3 == 0)]}, ["b"], epoch=e) for e in (2, 1) for n in range(9)]
    row = found(judge_agreement([run_of("x", first), run_of("y", second[:-1])], resamples=1000))
    assert row.raters == ("a", "b")
    assert row.compared == 17
    expected = [float(n % 2 == float(n % 3 == 0)) for n in range(9) for e in (1, 2) if (n, e) != (8, 1)]
    assert row.raw.value == pytest.approx(np.mean(expected))


def test_the_same_judge_twice_measures_its_noise_and_a_copy_is_noted() -> None:
    first = run_of("one", [judged(str(n), {"Care": [float(n % 2)]}, ["a"]) for n in range(12)])
    again = run_of(
        "two", [judged(str(n), {"Care": [float(n % 4 == 1)]}, ["a"], reply="other") for n in range(12)]
    )
    report = judge_agreement([first, again], resamples=1000)
    assert found(report).raters == ("a (one)", "a (two)")
    assert found(report).raw.value == pytest.approx(0.75)
    assert not any("same text" in note for note in report.notes)
    copy = judge_agreement([first, replace(first, name="two")], resamples=1000)
    assert any("same text" in note for note in copy.notes)


def test_the_same_judge_twice_in_one_panel() -> None:
    records = [judged(str(n), {"Care": [1.0, float(n % 2)]}, ["a", "a"]) for n in range(12)]
    report = judge_agreement([run_of("r", records)], resamples=1000)
    assert found(report).raters == ("a (pass 1)", "a (pass 2)")
    assert found(report).pass_rates == (1.0, 0.5)


def test_labels_show_only_what_differs() -> None:
    raters = [
        Rater("a", '{"max_tokens":9,"temperature":0}', "x"),
        Rater("a", '{"max_tokens":9,"temperature":1}', "x"),
        Rater("b", "{}", "x"),
    ]
    assert rater_labels(raters) == ("a (temperature=0)", "a (temperature=1)", "b")


def test_settings_of_a_panel_stay_with_their_judge() -> None:
    panel = [JudgeInfo("a", {"seed": 1}), JudgeInfo("a", {"seed": 2})]
    records = [judged(str(n), {"Care": [1.0, 0.0]}, panel) for n in range(3)]
    (shared,), _ = shared_grades([run_of("r", records)])
    assert shared.labels == ("a (seed=1)", "a (seed=2)")
    assert shared.grades.tolist() == [[1, 0]] * 3


# -- scores by part of the panel ----------------------------------------------------------------------------


def test_leave_one_judge_out_scores_are_those_of_the_remaining_grades() -> None:
    rng = np.random.default_rng(0)
    records = []
    for n in range(14):
        for epoch in (1, 2):
            grades = {
                d: [None if rng.random() < 0.1 else float(g) for g in rng.integers(0, 2, 3)]
                for d in ("Care", "Scope")
            }
            records.append(judged(str(n), grades, "abc", epoch=epoch, language="en" if n < 7 else "hi"))
    report = judge_agreement([run_of("r", records)], resamples=1000)
    scores = {(s.panel, s.group): s for s in report.scores}
    assert len(scores) == 7 * 3
    for panel, keep in [("all judges", "abc"), ("b alone", "b"), ("without b", "ac")]:
        kept = [
            judged(
                record.item,
                {
                    d: [g.grade for g in record.grades if g.dimension == d and g.judge in keep]
                    for d in record.dimensions
                },
                keep,
                epoch=record.epoch,
                language=record.language,
            )
            for record in records
        ]
        expected = benchmark_scores(questions_of(kept), weighted=False)
        assert scores[panel, "overall"].score.value == pytest.approx(expected["overall_mean"])
        assert scores[panel, "English"].score.value == pytest.approx(expected["english_mean"])
        assert scores[panel, "non-English"].score.value == pytest.approx(expected["non_english_mean"])
    whole = scores["all judges", "overall"]
    assert whole.change is None
    out = scores["without a", "overall"]
    assert out.change is not None
    assert out.score.value is not None
    assert out.change.value == pytest.approx(out.score.value - (whole.score.value or 0))
    assert out.change.low is not None


def test_two_judges_have_their_own_scores_and_no_leave_one_out() -> None:
    report = judge_agreement([table_run(5, 2, 1, 4)], resamples=1000)
    values = {s.panel: s.score.value for s in report.scores}
    assert values == {"a alone": pytest.approx(7 / 12), "b alone": pytest.approx(6 / 12)}


# -- refusals -----------------------------------------------------------------------------------------------


def test_runs_of_other_answers_are_refused_by_name() -> None:
    first = run_of("base", [judged(str(n), {"Care": [1.0]}, ["a"]) for n in range(5)])
    other = run_of("tuned", [judged(str(n), {"Care": [1.0]}, ["b"], text="else") for n in range(5)])
    with pytest.raises(InputError, match="base and tuned") as error:
        judge_agreement([first, other])
    assert "4 more of 5" in str(error.value)


def test_runs_without_a_common_answer_are_refused_by_name() -> None:
    first = run_of("x", [judged("1", {"Care": [1.0]}, ["a"])])
    other = run_of("y", [judged("2", {"Care": [1.0]}, ["b"])])
    moru = run_of("z", [judged("1", {"Care": [1.0]}, ["b"], benchmark="moru")])
    with pytest.raises(InputError, match="share no answer") as error:
        judge_agreement([first, other])
    assert "x: 1 answers" in str(error.value)
    with pytest.raises(InputError, match="two judges") as error:
        judge_agreement([first, moru])
    for said in ("a is the only judge (x: 1", "b is the only judge (z: 1"):
        assert said in str(error.value)
    assert "share no answer" not in str(error.value)


def test_one_judge_alone_and_unjudged_runs_are_refused() -> None:
    alone = run_of("x", [judged("1", {"Care": [1.0]}, ["a"])])
    with pytest.raises(InputError, match="two judges"):
        judge_agreement([alone])
    with pytest.raises(InputError, match="y has 1 answers and no grades"):
        judge_agreement([alone, run_of("y", [judged("1", {"Care": []}, [])])])
    with pytest.raises(InputError, match="duplicate answer"):
        judge_agreement([run_of("z", [judged("1", {"Care": [1.0, 1.0]})] * 2)])


def test_answers_that_one_run_lacks_are_counted() -> None:
    first = run_of("x", [judged(str(n), {"Care": [1.0]}, ["a"]) for n in range(8)])
    other = run_of("y", [judged(str(n), {"Care": [0.0]}, ["b"]) for n in range(6)])
    report = judge_agreement([first, other], resamples=1000)
    assert found(report).compared == 6
    assert any("2 of the 8 answers of x" in note for note in report.notes)


# -- the command --------------------------------------------------------------------------------------------


def test_command_prints_and_writes_the_same_figures(tmp_path: Path) -> None:
    path = write_run(tmp_path, languages_run())
    file = tmp_path / "new" / "a.json"
    arguments = ["agreement", str(path), "--resamples", "1000", "--seed", "3", "--json", str(file)]
    done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    assert "a and b" in done.output
    assert "all pass" not in done.output
    assert "nan" not in done.output.lower()
    value = json.loads(file.read_text("utf-8"))
    assert value["settings"] == {"level": 0.95, "resamples": 1000, "seed": 3}
    assert f"{value['agreement'][0]['ac1']['value']:.2f} [" in done.output
    again = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert again.output == done.output


def test_command_explains_undefined_values(tmp_path: Path) -> None:
    path = write_run(tmp_path, table_run(9, 0, 0, 0))
    done = CliRunner().invoke(cli, ["agreement", str(path), "--resamples", "1000"], catch_exceptions=False)
    assert f"all pass: {ALL_PASS}" in done.output
    assert f"no spread: {NO_SPREAD}" in done.output
    three = [judged(str(n), {"Care": [1.0, 0.0, float(n % 2)]}, "abc") for n in range(8)]
    path = write_run(tmp_path, run_of("three", three))
    done = CliRunner().invoke(cli, ["agreement", str(path), "--resamples", "1000"], catch_exceptions=False)
    assert "without b" in done.output
    value = judge_agreement([run_of("three", three)], resamples=1000)
    assert found(value, raters=3).kappa.reason == PAIR_ONLY


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--resamples", "5"], "--resamples"),
        (["--resamples", "1000000000"], "--resamples"),
        (["--seed", "-1"], "--seed"),
        (["--level", "2"], "--level"),
        (["--level", "nan"], "--level"),
        (["--level", "inf"], "--level"),
        (["--json", "RUN"], "where: --json"),
        (["--json", "LOG"], "where: --json"),
        (["--json", "new\udcff"], "where: input or output"),
        (["t\udcff=RUN"], "where: RUN"),
    ],
)
def test_command_refuses_bad_settings(
    tmp_path: Path, arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_run(tmp_path, table_run(3, 1, 1, 3))
    log = tmp_path / "log.json"  # the log of a harness beside the run
    log.write_text('{"eval": {}}')
    before = path.read_bytes(), log.read_bytes()
    named = {"RUN": str(path), "LOG": str(log), "t\udcff=RUN": f"t\udcff={path}"}
    done = CliRunner().invoke(cli, ["agreement", str(tmp_path), *(named.get(a, a) for a in arguments)])
    assert isinstance(done.exception, InputError)
    assert message in str(done.exception)
    assert (path.read_bytes(), log.read_bytes()) == before


def test_a_report_in_the_runs_folder_may_be_written_again(tmp_path: Path) -> None:
    write_run(tmp_path, table_run(3, 1, 1, 3))
    arguments = ["agreement", str(tmp_path), "--resamples", "1000", "--json", str(tmp_path / "a.json")]
    for _ in range(2):
        assert CliRunner().invoke(cli, arguments, catch_exceptions=False).exit_code == 0


def test_names_that_look_like_markup_are_printed_as_they_are(tmp_path: Path) -> None:
    judges = ("a[v1]", "b[/v1]:dog:")
    records = [judged(str(n), {"Care": [float(n % 2)] * 2}, judges) for n in range(9)]
    path = write_run(tmp_path, run_of("r", records))
    again = write_run(tmp_path, run_of("s", records))
    arguments = ["agreement", f"t[v1]={path}", f"t[/v1]={again}", "--resamples", "1000"]
    done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    said = " ".join(done.output.split())
    for name in (*judges, "(t[v1])", "(t[/v1])"):
        assert f"{name}" in said
    assert "b[/v1]:dog: (t[/v1]) and b[/v1]:dog: (t[v1]): all replies have the same text" in said


def test_command_names_a_file_that_it_cannot_write(tmp_path: Path) -> None:
    path = write_run(tmp_path, table_run(3, 1, 1, 3))
    done = CliRunner().invoke(cli, ["agreement", str(path), "--resamples", "1000", "--json", "/dev/null/x"])
    assert isinstance(done.exception, InputError)
    assert "/dev/null/x" in str(done.exception)
