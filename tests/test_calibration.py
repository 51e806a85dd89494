"""Judges against labels by people: rates, corrected scores, label files, templates, the command."""

from __future__ import annotations

import csv
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from helpers import ANIMA_2_2
from hypothesis import given, settings
from hypothesis import strategies as st
from panel_records import judged, label_row, run_of, write_run
from statsmodels.stats.proportion import proportion_confint, proportions_ztest

from value_retention.analysis.cli import cli
from value_retention.analysis.judges.calibrate import Calibration, CorrectedScore, calibrate
from value_retention.analysis.judges.confusion import Confusion, JudgedGrade, confusions_of
from value_retention.analysis.judges.draw import allocate, draw, strata_of
from value_retention.analysis.judges.labels import COLUMNS, read_labels
from value_retention.analysis.judges.matching import Labels, Target, Truth, match_labels
from value_retention.analysis.runs.load import Run, load_runs
from value_retention.analysis.stats.misclassification import (
    Measured,
    Proportion,
    corrected_difference,
    corrected_score,
    difference_of,
    effective_size,
    informedness,
    rogan_gladen,
    wilson,
)
from value_retention.analysis.stats.tipping import Tipping, tipping
from value_retention.tasks.answers import Answer, Design, make_record
from value_retention.tasks.data import load
from value_retention.tasks.errors import InputError
from value_retention.tasks.prompts import judge_calls
from value_retention.tasks.record import AnswerRecord, GradeRecord, JudgeInfo, RunInfo, canonical_json

# -- the correction -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("apparent", "sensitivity", "specificity", "low", "high", "digits"),
    [
        ((4060 / 11284, 11284), (178 / 179, 179), (358 / 359, 359), 0.349, 0.372, 3),
        ((51 / 2971, 2971), (32 / 33, 33), (1.0, 20), 0.0, 0.053, 3),
        ((0.06, 11862), (0.80, 10), (1.0, 12), 0.0, 0.147, 3),
        ((259 / 509, 509), (84 / 127, 127), (96 / 109, 109), 0.58, 0.87, 2),
        ((51 / 509, 509), (23 / 41, 41), (187 / 195, 195), 0.037, 0.195, 3),
    ],
)
def test_examples_of_lang_and_reiczigel(
    apparent: tuple[float, float],
    sensitivity: tuple[float, float],
    specificity: tuple[float, float],
    low: float,
    high: float,
    digits: int,
) -> None:
    # Lang and Reiczigel (2014), examples 1 to 4, as the manual of the R package asht (prevSeSp) lists them.
    found = corrected_score(Proportion(*apparent), Proportion(*sensitivity), Proportion(*specificity))
    assert (round(found.low, digits), round(found.high, digits)) == (low, high)


@given(st.floats(0, 1), st.floats(0.55, 1), st.floats(0.55, 1))
def test_rogan_gladen_undoes_the_judges_errors(true: float, sensitivity: float, specificity: float) -> None:
    apparent = sensitivity * true + (1 - specificity) * (1 - true)
    assert rogan_gladen(apparent, sensitivity, specificity) == pytest.approx(true, abs=1e-9)


@given(st.integers(1, 200), st.data())
def test_wilson_is_that_of_statsmodels(n: int, data: st.DataObject) -> None:
    passes = data.draw(st.integers(0, n))
    expected = proportion_confint(passes, n, alpha=0.1, method="wilson")
    assert wilson(Proportion(passes / n, n), 0.9) == pytest.approx(expected, abs=1e-9)


def test_informedness_has_newcombes_interval() -> None:
    # Newcombe (1998), table II, method 10: 56/70 less 48/80 is 0.2000, from 0.0524.
    value, low = informedness(Proportion(0.8, 70), Proportion(1 - 0.6, 80))
    assert (value, round(low, 4)) == (pytest.approx(0.2), 0.0524)


def test_effective_size() -> None:
    # 400 independent grades, then the same with twice the standard error; few clusters count for less.
    se = (0.8 * 0.2 / 400) ** 0.5
    assert effective_size(0.8, se, 400, 1000) == pytest.approx(400, rel=0.02)
    assert effective_size(0.8, 2 * se, 400, 1000) == pytest.approx(100, rel=0.02)
    assert effective_size(0.8, se, 8, 1000) < 0.8 * effective_size(0.8, se, 400, 1000)
    assert effective_size(0.8, se, 400, 250) == 250
    assert effective_size(1.0, 0.0, 30, 1000) == 30
    assert effective_size(0.8, float("nan"), 1, 1000) == 1


# -- rates --------------------------------------------------------------------------------------------------


def population(
    cells: dict[tuple[int, int], tuple[int, int]], weights: dict[int, float] | None = None
) -> list[JudgedGrade]:
    """(grade, truth) to (number of grades, labels among them), each grade on a cluster of its own."""
    return [
        JudgedGrade(
            f"{grade}{truth}{n}",
            True,
            "Care",
            float(grade),
            float(truth) if n < labels else None,
            (weights or {}).get(grade, 1.0),
        )
        for (grade, truth), (count, labels) in cells.items()
        for n in range(count)
    ]


def overall(graded: Iterable[JudgedGrade]) -> Confusion:
    return next(iter(confusions_of("j", "anima_2_2", list(graded))))


def test_rates_are_those_of_all_grades_however_labels_depend_on_the_grade() -> None:
    # Of 200 judged passes 160 are right, of 100 judged fails 80. All fails were labelled, a quarter of the
    # passes: the plain shares would be 40/60 and 80/90.
    cells = {(1, 1): (160, 40), (1, 0): (40, 10), (0, 1): (20, 20), (0, 0): (80, 80)}
    for weights in (None, {1: 4.0, 0: 1.0}, {1: 9.0, 0: 1.0}):
        row = overall(population(cells, weights))
        assert (row.pass_pass, row.fail_pass, row.pass_fail, row.fail_fail) == (40, 10, 20, 80)
        assert row.sensitivity.value == pytest.approx(160 / 180)
        assert row.specificity.value == pytest.approx(80 / 120)
        assert row.informedness == pytest.approx(160 / 180 + 80 / 120 - 1)
        assert row.refused is None


def test_standard_errors_are_those_of_labels_drawn_within_judged_passes_and_fails() -> None:
    # Delta method by hand: PPV and 1 - NPV vary, the share of judged passes is known.
    cells = {(1, 1): (1600, 80), (1, 0): (400, 20), (0, 1): (200, 5), (0, 0): (800, 20)}
    row = overall(population(cells))
    share, ppv, missed = 2 / 3, 0.8, 0.2
    hit, lost = share * ppv, (1 - share) * missed
    d_ppv, d_missed = share * lost / (hit + lost) ** 2, (1 - share) * hit / (hit + lost) ** 2
    variance = d_ppv**2 * ppv * (1 - ppv) / 100 + d_missed**2 * missed * (1 - missed) / 25
    value = hit / (hit + lost)
    assert row.sensitivity.effective == pytest.approx(value * (1 - value) / variance, rel=0.05)


def test_labels_of_one_cluster_are_not_independent() -> None:
    cells = {(1, 1): (60, 60), (1, 0): (20, 20), (0, 1): (20, 20), (0, 0): (60, 60)}
    single = population(cells)
    # The same labels, ten to a cluster, and the ten alike.
    tens = [replace(g, cluster=f"{g.grade}{g.truth}{n // 10}") for n, g in enumerate(single)]
    a, b = overall(single).sensitivity, overall(tens).sensitivity
    assert a.value == b.value
    assert (a.clusters, b.clusters) == (80, 8)
    assert a.effective is not None
    assert b.effective is not None
    assert b.effective < a.effective / 8
    assert (b.low or 0) < (a.low or 0)


def test_a_judge_that_made_no_error_is_worth_its_clusters() -> None:
    row = overall(population({(1, 1): (40, 40), (0, 0): (40, 40)}))
    assert (row.sensitivity.value, row.sensitivity.high) == (1.0, 1.0)
    assert row.sensitivity.effective == pytest.approx(40)
    assert row.sensitivity.low == pytest.approx(proportion_confint(40, 40, method="wilson")[0])


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({(1, 1): (40, 9), (0, 0): (40, 40)}, "too few labels that are passes: 9"),
        ({(1, 1): (40, 40), (0, 0): (40, 8), (1, 0): (9, 0)}, "too few labels that are fails: 8"),
        ({(1, 1): (40, 40), (1, 0): (20, 20), (0, 0): (60, 0)}, "no labels on answers that the judge fails"),
        ({(1, 1): (20, 20), (0, 1): (40, 40), (1, 0): (40, 40), (0, 0): (20, 20)}, "no better than chance"),
        ({(1, 1): (11, 11), (0, 1): (9, 9), (1, 0): (9, 9), (0, 0): (11, 11)}, "its interval starts at"),
    ],
)
def test_rates_that_are_not_identified_are_refused(
    cells: dict[tuple[int, int], tuple[int, int]], reason: str
) -> None:
    refused = overall(population(cells)).refused
    assert refused is not None
    assert reason in refused


def test_ten_labels_on_one_question_are_too_few() -> None:
    graded = population({(1, 1): (40, 40), (0, 0): (40, 40)})
    few = [replace(g, cluster="same") if g.truth else g for g in graded]
    assert "40 on 1 clusters" in (overall(few).refused or "")


# -- corrected scores ---------------------------------------------------------------------------------------


def noisy_run(
    name: str, *, questions: int = 60, passing: float = 0.5, seed: int = 0, false_pass: float = 0.15
) -> Run:
    """Questions with two dimensions and a judge that errs; people's verdict is in the reply."""
    rng = np.random.default_rng(seed)
    records = []
    for n in range(questions):
        true = {d: rng.random() < passing for d in ("Care", "Scope")}
        said = {d: [float(rng.random() < (0.95 if t else false_pass))] for d, t in true.items()}
        record = judged(
            str(n), said, ["j"], language="en" if n < questions // 3 else "hi", text=f"{name} {n}"
        )
        grades = tuple(replace(g, rationale=str(int(true[g.dimension]))) for g in record.grades)
        records.append(replace(record, grades=grades))
    return run_of(name, records)


def people(runs: Sequence[Run], wanted: str | None = None) -> Labels:
    """A label on every grade (of one language)."""
    truth = {
        Target(r.benchmark, r.item, r.answer_hash, g.dimension, "{}"): Truth(float(g.rationale or 0), 1.0)
        for run in runs
        for r in run.records
        if wanted in (None, r.language)
        for g in r.grades
    }
    return Labels(truth, {}, len(truth), 0, 0)


def score_of(result: Calibration, name: str, run: str | None = None) -> CorrectedScore:
    return next(s for s in result.scores if s.name == name and run in (None, s.run))


def test_with_a_label_on_every_grade_the_corrected_score_is_that_of_the_people() -> None:
    run = noisy_run("r")
    result = calibrate(people([run]), [run])
    for name, languages in [("overall", ("en", "hi")), ("English", ("en",)), ("non-English", ("hi",))]:
        truth = [float(g.rationale or 0) for r in run.records if r.language in languages for g in r.grades]
        score = score_of(result, name)
        assert score.corrected is not None
        assert score.corrected.unclipped == pytest.approx(np.mean(truth))
        assert score.corrected.low < score.corrected.value < score.corrected.high
        assert score.score.value != pytest.approx(np.mean(truth), abs=0.01)


def test_each_language_group_is_corrected_with_its_rates_only() -> None:
    run = noisy_run("r")
    result = calibrate(people([run], "en"), [run])
    assert {c.name for c in result.confusions} == {"overall", "English", "Care", "Scope"}
    assert score_of(result, "English").corrected is not None
    assert score_of(result, "non-English").refused == "no labels on these answers"
    assert "non-English" in (score_of(result, "overall").refused or "")


def test_labels_on_one_run_correct_another_run_of_the_same_judge() -> None:
    labelled, other = noisy_run("labelled"), noisy_run("other", passing=0.8, seed=5)
    result = calibrate(people([labelled]), [labelled, other])
    alone = calibrate(people([labelled]), [labelled])
    # The share of passes of the other run must not weight the labels.
    assert result.confusions == alone.confusions
    right, wrong = result.confusions[0].sensitivity.value, result.confusions[0].specificity.value
    score = score_of(result, "overall", "other")
    assert score.corrected is not None
    assert score.score.value is not None
    assert right is not None
    assert wrong is not None
    assert score.corrected.unclipped == pytest.approx(rogan_gladen(score.score.value, right, wrong))


def test_an_estimate_outside_the_scale_is_clipped_and_marked() -> None:
    labelled = noisy_run("labelled")
    none = run_of("none", [judged(str(n), {"Care": [0.0]}, ["j"], text="x") for n in range(30)])
    result = calibrate(
        people([labelled]),
        [labelled, run_of("none", [*none.records[:-1], judged("29", {"Care": [1.0]}, ["j"])])],
    )
    score = score_of(result, "overall", "none")
    assert score.corrected is not None
    assert score.clipped
    assert (score.corrected.value, score.corrected.low) == (0.0, 0.0)
    assert score.corrected.unclipped < 0


def test_runs_on_which_the_judge_errs_differently_are_corrected_each_with_its_own_rates() -> None:
    """False passes 10 % of one run, 25 % of the other: pooled rates would enlarge the difference."""
    runs = [noisy_run(name, questions=200, false_pass=rate) for name, rate in (("a", 0.1), ("b", 0.25))]
    result = calibrate(people(runs), runs)
    found = next(d for d in result.differences if d.name == "overall")
    assert (found.baseline, found.run) == ("a", "b")
    assert found.corrected is not None
    assert found.corrected.value == pytest.approx(0, abs=1e-9)  # the same answers are good in both runs
    assert found.corrected.low < 0 < found.corrected.high
    assert found.shown.value is not None
    assert found.shown.value > 0.04
    assert found.specificity is not None
    assert found.specificity.high < 0
    assert found.errors_p is not None
    assert found.errors_p < 0.01
    scores = [score_of(result, "overall", run.name) for run in runs]
    assert all(score.own_rates for score in scores)
    truth = np.mean([float(g.rationale or 0) for r in runs[0].records for g in r.grades])
    for score in scores:
        assert score.corrected is not None
        assert score.corrected.unclipped == pytest.approx(truth)


def test_a_run_without_enough_labels_has_no_corrected_difference() -> None:
    runs = [noisy_run("a"), noisy_run("b", seed=1)]
    few = people([runs[0]]).truth | dict(list(people([runs[1]]).truth.items())[:12])
    result = calibrate(Labels(few, {}, len(few), 0, 0), runs)
    found = next(d for d in result.differences if d.name == "overall")
    assert found.corrected is None
    assert "too few labels" in (found.refused or "")
    assert score_of(result, "overall", "a").own_rates
    assert not score_of(result, "overall", "b").own_rates


def test_a_corrected_difference_without_judge_errors_is_newcombes() -> None:
    sure = Proportion(1.0, 1e9)
    sides = [Measured(Proportion(0.6, 80), sure, sure), Measured(Proportion(0.8, 70), sure, sure)]
    found = corrected_difference(sides[0], sides[1])
    # Newcombe (1998), table II, method 10, on the interval of Lang and Reiczigel: close to Wilson's.
    assert found.value == pytest.approx(0.2)
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=0.01)
    closer = corrected_difference(sides[0], sides[1], covariance=0.001)
    assert found.low < closer.low < closer.high < found.high
    plain = difference_of(Proportion(0.6, 80), Proportion(0.8, 70))
    assert (plain.low, plain.high) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert plain.p == pytest.approx(proportions_ztest([56, 48], [70, 80])[1])


def test_the_errors_that_would_overturn_a_verdict() -> None:
    """A loss of 2 [-4, 0] at a margin of 5: both rates together above 20 % stretch it to the margin."""
    found = tipping(0.62, 0.60, -0.04, 0.0, lambda value, low, high: low > -0.05)
    assert found.both == pytest.approx(0.2, abs=0.002)
    assert found.false_pass is not None
    # Passed by mistake in the run only: (0.6 - e) / (1 - e) falls by about 0.4 e.
    assert found.false_pass == pytest.approx(0.0226, abs=0.003)
    sure = tipping(0.7, 0.2, -0.55, -0.45, lambda value, low, high: high < 0)
    assert sure == Tipping(None, None, None)
    # A loss of 10 [-14, -6]: false fails of 12 % of what is good in the run reach 0.
    small = tipping(0.5, 0.4, -0.14, -0.06, lambda value, low, high: high < 0)
    assert small.both is None
    assert small.false_fail == pytest.approx(0.12, abs=0.002)


@pytest.mark.slow
def test_intervals_cover_and_the_bias_goes_when_labels_are_drawn_by_grade() -> None:
    # Sensitivity 0.95, specificity 0.85: the judge's own score is 5 points too high at a true score of 0.4.
    truth, raw, corrected, inside = 0.4, [], [], []
    for seed in range(40):
        run = noisy_run("r", questions=120, passing=truth, seed=seed)
        drawn = draw([run], 100, seed=seed).drawn
        told = people([run]).truth
        labels = Labels({d.target: Truth(told[d.target].label, d.weight) for d in drawn}, {}, 100, 0, 0)
        score = score_of(calibrate(labels, [run]), "overall")
        assert score.corrected is not None
        assert score.score.value is not None
        raw.append(score.score.value - truth)
        corrected.append(score.corrected.unclipped - truth)
        inside.append(score.corrected.low <= truth <= score.corrected.high)
    assert np.mean(raw) == pytest.approx(0.07, abs=0.02)
    assert abs(np.mean(corrected)) < 0.02
    assert np.mean(inside) >= 0.93


# -- label files --------------------------------------------------------------------------------------------


def write_labels(path: Path, rows: Sequence[dict[str, object]], columns: Sequence[str] = ()) -> Path:
    with path.open("w", encoding="utf-8-sig", newline="") as lines:
        writer = csv.DictWriter(lines, list(columns) or list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def matched(path: Path, *runs: Run) -> Labels:
    rows, blank = read_labels(path)
    return match_labels(rows, blank, runs, path)


BASE = {"item": "1", "epoch": "1", "dimension": "Care", "label": "1"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"lable": "1"}, "unknown: 'lable'"),
        ({"label": "2"}, "row 2"),
        ({"label": "yes"}, "1 or C"),
        ({"epoch": "0"}, "whole number"),
        ({"epoch": "1.5"}, "whole number"),
        ({"epoch": "first"}, "whole number"),
        ({"epoch": ""}, "an epoch, or an answer_hash"),
        ({"item": " "}, "'item'"),
        ({"variables": "animal"}, "JSON object"),
        ({"variables": '{"animal": 1}'}, "JSON object"),
        ({"weight": "0"}, "above 0"),
        ({"weight": "many"}, "above 0"),
        ({"weight": "inf"}, "above 0"),
    ],
)
def test_bad_cells_are_named(tmp_path: Path, change: dict[str, str], expected: str) -> None:
    with pytest.raises(InputError) as error:
        read_labels(write_labels(tmp_path / "l.csv", [BASE | change]))
    assert expected in str(error.value)


def test_bad_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "l.csv"
    with pytest.raises(InputError, match="cannot read"):
        read_labels(path)
    path.write_bytes(b"item,epoch,dimension,label\n\xff\xfe")
    with pytest.raises(InputError, match="UTF-8"):
        read_labels(path)
    path.write_text("item,dimension\n1,Care\n")
    with pytest.raises(InputError, match="missing: 'label', 'epoch or answer_hash'"):
        read_labels(path)
    path.write_text("item,epoch,dimension,label\n1,1,Care\n")
    with pytest.raises(InputError, match="row 2"):
        read_labels(path)
    path.write_text("")
    with pytest.raises(InputError, match="missing: 'item'"):
        read_labels(path)


def test_labels_are_found_by_epoch_or_hash_and_in_a_spreadsheets_numbers(tmp_path: Path) -> None:
    run = run_of("r", [judged(str(n), {"Care": [1.0]}, ["j"], epoch=e) for n in range(3) for e in (1, 2)])
    rows: list[dict[str, object]] = [
        {"item": "0", "epoch": "1.0", "dimension": "Care", "label": "1.0"},
        {"item": "1", "epoch": "2", "dimension": "Care", "label": "i"},
        {
            "item": "2",
            "epoch": "",
            "dimension": "Care",
            "label": "C",
            "answer_hash": run.records[4].answer_hash,
        },
        {"item": "2", "epoch": "2", "dimension": "Care", "label": ""},
    ]
    labels = matched(write_labels(tmp_path / "l.csv", rows, [*BASE, "answer_hash"]), run)
    found = {(t.item, t.answer_hash): v.label for t, v in labels.truth.items()}
    wanted = [(run.records[0], 1.0), (run.records[3], 0.0), (run.records[4], 1.0)]
    assert found == {(r.item, r.answer_hash): label for r, label in wanted}
    assert (labels.rows, labels.blank) == (3, 1)


def test_rows_that_match_nothing_are_named(tmp_path: Path) -> None:
    run = run_of("r", [judged("1", {"Care": [1.0]}, ["j"])])
    rows = [BASE, BASE | {"item": "7"}, BASE | {"dimension": "Scope"}, BASE | {"epoch": "3"}]
    with pytest.raises(InputError, match="3 labels match no graded answer") as error:
        matched(write_labels(tmp_path / "l.csv", rows), run)
    assert "row 3 (item 7, epoch 1, dimension Care)" in str(error.value)
    assert "row 5" in str(error.value)


def test_a_label_that_fits_several_answers_is_refused(tmp_path: Path) -> None:
    path = write_labels(tmp_path / "l.csv", [BASE])
    one, other = (judged("1", {"Care": [1.0]}, ["j"], text=text) for text in ("x", "y"))
    with pytest.raises(InputError, match="matches 2 answers") as error:
        matched(path, run_of("a", [one]), run_of("b", [other]))
    assert "answer_hash" in str(error.value)
    hen, cat = (judged("1", {"Care": [1.0]}, ["j"], variables={"animal": v}) for v in ("hen", "cat"))
    both = replace(hen, grades=(*hen.grades, *cat.grades))
    with pytest.raises(InputError, match="variables"):
        matched(path, run_of("a", [both]))
    path = write_labels(tmp_path / "m.csv", [BASE | {"variables": '{"animal":  "cat"}'}])
    assert [t.variables for t in matched(path, run_of("a", [both])).truth] == ['{"animal":"cat"}']


def test_contradictions_of_one_person_are_refused_and_repetitions_count_once(tmp_path: Path) -> None:
    run = run_of("r", [judged("1", {"Care": [1.0]}, ["j"])])
    with pytest.raises(InputError, match="contradictory labels") as error:
        matched(write_labels(tmp_path / "l.csv", [BASE, BASE | {"label": "0"}]), run)
    assert "row 2" in str(error.value)
    assert "row 3" in str(error.value)
    labels = matched(write_labels(tmp_path / "m.csv", [BASE, BASE]), run)
    assert [truth.label for truth in labels.truth.values()] == [1.0]
    with pytest.raises(InputError, match="contradictory weights"):
        matched(write_labels(tmp_path / "n.csv", [BASE | {"weight": "1"}, BASE | {"weight": "2"}]), run)


def test_the_majority_of_annotators_counts_and_ties_do_not(tmp_path: Path) -> None:
    run = run_of("r", [judged(n, {"Care": [1.0]}, ["j"]) for n in "123"])
    said = {"1": "110", "2": "100", "3": "10"}
    rows = [
        BASE | {"item": item, "annotator": "xyz"[k], "label": label}
        for item, labels in said.items()
        for k, label in enumerate(labels)
    ]
    labels = matched(write_labels(tmp_path / "l.csv", rows), run)
    assert {t.item: v.label for t, v in labels.truth.items()} == {"1": 1.0, "2": 0.0}
    assert labels.tied == 1
    result = calibrate(labels, [run])
    assert result.people["annotators"] == 3
    assert result.people["raw"] == pytest.approx((1 / 3 + 1 / 3 + 0) / 3)
    assert any("evenly split" in note for note in result.notes)


def test_a_file_without_a_single_label_is_refused(tmp_path: Path) -> None:
    run = run_of("r", [judged("1", {"Care": [1.0]}, ["j"])])
    with pytest.raises(InputError, match="no labels"):
        matched(write_labels(tmp_path / "l.csv", [BASE | {"label": ""}]), run)


# -- the template -------------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 50), min_size=1, max_size=20), st.data())
@settings(max_examples=60, deadline=None)
def test_allocation(sizes: list[int], data: st.DataObject) -> None:
    count = data.draw(st.integers(len(sizes), sum(sizes)))
    taken = allocate(sizes, count)
    assert sum(taken) == count
    assert all(1 <= share <= size for share, size in zip(taken, sizes, strict=True))
    for small in range(len(sizes)):
        for large in range(len(sizes)):
            if sizes[small] < sizes[large] and taken[large] < sizes[large]:
                assert taken[small] <= taken[large]


def test_allocation_goes_with_the_root_of_the_size() -> None:
    assert allocate([900, 400, 100], 60) == [30, 20, 10]


def test_every_stratum_is_drawn_and_weights_add_up_to_all_grades() -> None:
    run = noisy_run("r")
    strata, ungraded = strata_of([run])
    assert (len(strata), ungraded) == (8, 0)
    drawn = draw([run], 40, seed=1)
    assert (len(drawn.drawn), drawn.population, drawn.strata) == (40, 120, 8)
    assert sum(d.weight for d in drawn.drawn) == pytest.approx(120)
    member = {target: stratum for stratum, members in strata.items() for target, _ in members}
    weight: Counter[object] = Counter()
    for d in drawn.drawn:
        weight[member[d.target]] += d.weight  # type: ignore[assignment]
    assert weight == pytest.approx({stratum: len(members) for stratum, members in strata.items()})
    assert len({d.target for d in drawn.drawn}) == 40


def test_a_draw_depends_on_the_seed_and_not_on_the_order_of_the_answers() -> None:
    run = noisy_run("r")
    other = replace(run, records=run.records[::-1])
    first, again, new = (draw([r], 40, seed=s).drawn for r, s in [(run, 1), (other, 1), (run, 2)])
    assert [d.target for d in first] == [d.target for d in again]
    assert [d.target for d in first] != [d.target for d in new]


def test_rows_do_not_come_stratum_by_stratum() -> None:
    run = noisy_run("r")
    given_ = {(r.item, g.dimension): g.grade for r in run.records for g in r.grades}
    grades = [given_[d.target.item, d.target.dimension] for d in draw([run], 60).drawn]
    changes = sum(a != b for a, b in itertools.pairwise(grades))
    assert changes > 15


def test_an_impossible_draw_is_refused() -> None:
    run = noisy_run("r")
    with pytest.raises(InputError, match="fewer labels than strata") as error:
        draw([run], 7)
    assert "at least 8" in str(error.value)
    assert len(draw([run], 10_000).drawn) == 120
    lost = run_of("lost", [judged("1", {"Care": [None], "Scope": [1.0]}, ["j"])])
    assert draw([lost], 5).ungraded == 1
    with pytest.raises(InputError, match="no grades"):
        draw([run_of("none", [judged("1", {"Care": [None]}, ["j"])])], 5)


def test_a_panel_is_drawn_by_its_majority() -> None:
    records = [judged("1", {"Care": (1.0, 1.0, 0.0), "Scope": (None, 1.0, 0.0)}, "abc")]
    assert {s.grade for s in strata_of([run_of("r", records)])[0]} == {"pass", "split"}


# -- the command --------------------------------------------------------------------------------------------


def call(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["calibrate", *map(str, arguments)])


def sample_records() -> list[AnswerRecord]:
    """Answers to the bundled sample items, graded by a rule."""
    dataset = load(ANIMA_2_2, "sample")
    judge = JudgeInfo("lab/secret-judge", {"temperature": 0})
    records = []
    for item in dataset.items:
        for epoch in (1, 2, 3):
            answer = Answer.of(item, epoch, f'Answer {epoch},\nwith a line and a "quote".')
            grades = [
                GradeRecord(
                    c.dimension,
                    dict(c.variables),
                    judge.name,
                    "graded",
                    float((n + epoch) % 2),
                    f"GRADE: {'IC'[(n + epoch) % 2]}",
                    c.prompt_hash,
                )
                for n, c in enumerate(judge_calls(dataset, item, answer.text))
            ]
            records.append(
                make_record(Design.of(dataset), answer, [judge], grades, RunInfo("lm_eval", "0", "m"))
            )
    return records


def test_template_is_blind_and_complete(tmp_path: Path) -> None:
    run = run_of("r", sample_records())
    path, out = write_run(tmp_path, run), tmp_path / "labels.csv"
    done = call("--draw", 60, path, "-o", out)
    assert done.exit_code == 0, done.output
    rows = list(csv.DictReader(out.open(encoding="utf-8", newline="")))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == 60
    text = out.read_text("utf-8")
    assert "secret-judge" not in text
    assert "GRADE" not in text
    assert {row["label"] for row in rows} == {""}
    dataset = load(ANIMA_2_2, "sample")
    questions = {item.id: item.question for item in dataset.items}
    for row in rows:
        assert row["question"] == questions[row["item"]]
        assert row["answer"].startswith("Answer ")
        assert row["guiding_question"]
        assert "{{" not in row["guiding_question"]
        assert row["indicators"] == dataset.dimensions[row["dimension"]].indicators
    filled = [row for row in rows if row["variables"] != "{}"]
    assert any(
        value in row["guiding_question"] for row in filled for value in json.loads(row["variables"]).values()
    )
    before = out.read_bytes()
    again = call("--draw", 60, path, "-o", out)
    assert isinstance(again.exception, InputError)
    assert "exists" in str(again.exception)
    assert out.read_bytes() == before
    same = tmp_path / "same.csv"
    assert call("--draw", 60, path, "-o", same).exit_code == 0
    assert same.read_bytes() == before


def test_from_the_template_to_corrected_scores(tmp_path: Path) -> None:
    run = noisy_run("r", questions=120)
    path, template = write_run(tmp_path, run), tmp_path / "labels.csv"
    done = call("--draw", 100, path, "-o", template, "--seed", 4)
    assert "100 of 240 grades" in done.output
    assert "--data" in done.output
    told = {(r.item, g.dimension): g.rationale for r in run.records for g in r.grades}
    rows = list(csv.DictReader(template.open(encoding="utf-8", newline="")))
    for row in rows[:-2]:
        row["label"] = told[row["item"], row["dimension"]] or ""
    labels = write_labels(tmp_path / "filled.csv", [dict(row) for row in rows])
    result = call(labels, path, "--json", tmp_path / "c.json")
    assert result.exit_code == 0, result.output
    assert "2 rows have no label" in result.output
    assert "j against people" in result.output
    assert "nan" not in result.output.lower()
    value = json.loads((tmp_path / "c.json").read_text("utf-8"))
    expected = calibrate(matched(labels, *load_runs([path])), load_runs([path]))
    assert value["scores"][0]["corrected"]["value"] == expected.scores[0].corrected.value  # type: ignore[union-attr]
    assert value["confusions"][0]["sensitivity"]["labels"] == expected.confusions[0].sensitivity.labels


def test_two_labelled_runs_show_their_difference_on_the_terminal(tmp_path: Path) -> None:
    runs = [noisy_run(name, questions=150, false_pass=rate) for name, rate in (("a", 0.05), ("b", 0.45))]
    rows = [label_row(r, "Care", r.grades[0].rationale) for run in runs for r in run.records[:120]]
    labels = write_labels(tmp_path / "l.csv", rows)
    done = call(labels, *(write_run(tmp_path, run) for run in runs), "--json", tmp_path / "c.json")
    assert done.exit_code == 0, done.output
    assert "b less a" in done.output
    assert "errs differently" in done.output
    (found,) = [
        d for d in json.loads((tmp_path / "c.json").read_text())["differences"] if d["name"] == "overall"
    ]
    assert found["corrected"]["low"] < found["corrected"]["value"] < found["corrected"]["high"]


def graded_run(name: str, false_pass: float, good: float = 0.15, questions: int = 400) -> Run:
    """A run by a judge that passes 95 % of the good answers and this share of the bad ones.

    The same answers are good in every run, but for the share ``good`` of them; the truth is in the judge's reply.
    """
    shared, own = np.random.default_rng(5), np.random.default_rng([6, len(name)])
    records = []
    for n in range(questions):
        true = {d: bool(shared.random() < good) for d in ("Care", "Scope")}
        said = {d: [float(own.random() < (0.95 if t else false_pass))] for d, t in true.items()}
        record = judged(str(n), said, ["j"], language="en" if n % 3 == 0 else "hi", text=f"{name} {n}")
        grades = tuple(replace(g, rationale=str(int(true[g.dimension]))) for g in record.grades)
        records.append(replace(record, grades=grades))
    return run_of(name, records)


def compared(tmp_path: Path, runs: Sequence[Run], rows: list[dict[str, object]], *more: object) -> Result:
    """`compare --calibration` on these runs and labels; the JSON is written to ``c.json``."""
    labels = write_labels(tmp_path / "labels.csv", rows)
    paths = [write_run(tmp_path, run) for run in runs]
    arguments = [
        *paths,
        "--calibration",
        labels,
        "--margin",
        5,
        "--resamples",
        1000,
        "--json",
        tmp_path / "c.json",
    ]
    return CliRunner().invoke(cli, ["compare", *map(str, [*arguments, *more])])


def test_a_comparison_with_labels_corrects_each_run_with_the_judges_errors_on_it(tmp_path: Path) -> None:
    """False passes of 10 % and 25 % make a gain of 0.9 points look like 13; one rate for both runs enlarges it."""
    runs = [graded_run("base", 0.10), graded_run("tuned", 0.25, good=0.159)]
    rows = [label_row(r, g.dimension, g.rationale) for run in runs for r in run.records for g in r.grades]
    done = compared(tmp_path, runs, rows)
    assert done.exit_code == 0, done.output
    value = json.loads((tmp_path / "c.json").read_text("utf-8"))
    (found,) = [row for row in value["calibration"] if row["name"] == "overall"]
    (effect,) = [e for e in value["effects"] if e["tier"] == "primary"]
    first, second = (
        np.mean([float(g.rationale or 0) for r in run.records for g in r.grades]) for run in runs
    )
    assert 0 < second - first < 0.015
    assert effect["verdict"] == "improved"
    assert effect["difference"] > 10
    assert found["corrected"]["value"] == pytest.approx(second - first, abs=1e-9)
    assert found["corrected"]["low"] < 0 < found["corrected"]["high"] < 0.1
    assert [1 - rate["value"] for rate in found["specificities"]] == pytest.approx([0.10, 0.25], abs=0.03)
    assert found["errors_p"] < 0.001
    one_rate = calibrate(people(runs), runs).confusions[0]
    assert one_rate.informedness is not None
    assert effect["difference"] / one_rate.informedness > effect["difference"] + 2
    assert "ERRS DIFFERENTLY" in value["headline"][-1]
    printed = " ".join(done.output.split())
    assert "errors of j by labels: false passes" in printed
    assert "corrected for them, run by run" in printed
    assert "judge errors that would overturn it" not in printed


def test_a_comparison_never_corrects_a_run_with_labels_on_another(tmp_path: Path) -> None:
    runs = [graded_run("base", 0.10), graded_run("tuned", 0.25)]
    rows = [label_row(r, "Care", r.grades[0].rationale) for r in runs[0].records]
    done = compared(tmp_path, runs, rows)
    assert done.exit_code == 0, done.output
    value = json.loads((tmp_path / "c.json").read_text("utf-8"))
    assert value["calibration"] == []
    assert any("not both runs have labels" in note for note in value["notes"])
    printed = " ".join(done.output.split())
    assert "corrected for them" not in printed
    assert "judge errors that would overturn it" in printed


def test_every_pair_of_a_comparison_has_its_own_correction(tmp_path: Path) -> None:
    runs = [graded_run("a", 0.1), graded_run("bb", 0.1), graded_run("ccc", 0.25)]
    rows = [label_row(r, g.dimension, g.rationale) for run in runs for r in run.records for g in r.grades]

    def pairs(*more: str) -> set[tuple[str, str]]:
        done = compared(tmp_path, runs, rows, *more)
        assert done.exit_code == 0, done.output
        value = json.loads((tmp_path / "c.json").read_text("utf-8"))
        return {(row["baseline"], row["run"]) for row in value["calibration"]}

    assert pairs() == {
        ("a", "bb"),
        ("a", "ccc"),
        ("bb", "ccc"),
    }
    assert pairs("--baseline", "bb") == {("bb", "a"), ("bb", "ccc")}


def test_outputs_of_a_comparison_do_not_overwrite_its_labels(tmp_path: Path) -> None:
    runs = [graded_run("base", 0.1, questions=20), graded_run("tuned", 0.1, questions=20)]
    rows = [label_row(r, "Care", r.grades[0].rationale) for run in runs for r in run.records]
    done = compared(tmp_path, runs, rows, "--csv", tmp_path / "labels.csv")
    assert isinstance(done.exception, InputError)
    assert "overwrite" in str(done.exception)


def test_refused_corrections_say_why_on_the_terminal(tmp_path: Path) -> None:
    run = noisy_run("r")
    rows = [label_row(r, "Care", 1) for r in run.records[:12]]
    done = call(write_labels(tmp_path / "l.csv", rows), write_run(tmp_path, run))
    assert done.exit_code == 0, done.output
    assert "refused" in done.output
    assert "too few labels that are fails: 0" in " ".join(done.output.split())


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["RUN"], "needs labels and a run"),
        (["--draw", "50", "RUN"], "expected: -o"),
        (["RUN", "RUN", "-o", "x.csv"], "needs --draw"),
        (["--draw", "3", "RUN", "-o", "x.csv"], "fewer labels than strata"),
        (["LABELS", "RUN", "--level", "3"], "--level"),
        (["LABELS", "RUN", "--level", "nan"], "--level"),
        (["LABELS", "RUN", "--seed", "1"], "needs --draw"),
        (["--draw", "50", "RUN", "-o", "x.csv", "--seed", "-1"], "--seed"),
        (["--draw", "50", "RUN", "-o", "x.csv", "--json", "x.json"], "not an option of --draw"),
        (["--draw", "50", "RUN", "-o", "x.csv", "--level", "0.9"], "not an option of --draw"),
        (["--draw", "50", "RUN", "-o", "RUN"], "where: -o"),
        (["--draw", "50", "t=RUN", "-o", "RUN"], "where: -o"),
        (["LABELS", "RUN", "--json", "RUN"], "where: --json"),
        (["LABELS", "RUN", "--json", "LABELS"], "where: --json"),
        (["LABELS", "t\udcff=RUN"], "where: RUN"),
        (["--draw", "50", "RUN", "-o", "x\udcff.csv"], "where: input or output"),
    ],
)
def test_command_refuses_invalid_options(tmp_path: Path, arguments: list[str], expected: str) -> None:
    run = noisy_run("r")
    labels = write_labels(tmp_path / "l.csv", [label_row(run.records[0], "Care", 1)])
    path = write_run(tmp_path, run)
    paths = {"RUN": path, "LABELS": labels, "t=RUN": f"t={path}", "t\udcff=RUN": f"t\udcff={path}"}
    before = path.read_bytes(), labels.read_bytes()
    done = call(*[paths.get(a, a) for a in arguments])
    assert isinstance(done.exception, InputError)
    assert expected in str(done.exception)
    assert (path.read_bytes(), labels.read_bytes()) == before


def test_every_interval_has_its_number_of_clusters(tmp_path: Path) -> None:
    run = noisy_run("r", questions=44)
    rows = [label_row(r, "Care", r.grades[0].rationale) for r in run.records[:34]]
    labels = write_labels(tmp_path / "l.csv", rows)
    done = call(labels, write_run(tmp_path, run), "--json", tmp_path / "c.json")
    assert done.exit_code == 0, done.output
    value = json.loads((tmp_path / "c.json").read_text("utf-8"))
    tables = done.output.split("Scores, corrected")
    for found in value["confusions"]:
        cells = next(line for line in tables[0].splitlines() if line.split()[:1] == [found["name"]]).split()
        for rate in ("sensitivity", "specificity"):
            assert found[rate]["clusters"] > 0
            assert str(found[rate]["clusters"]) in cells
    overall = next(score for score in value["scores"] if score["name"] == "overall")
    assert overall["corrected"] is not None
    confusion = next(c for c in value["confusions"] if c["name"] == "overall")
    assert overall["label_clusters"] == [confusion[r]["clusters"] for r in ("sensitivity", "specificity")]
    line = next(line for line in tables[1].splitlines() if " overall " in line)
    assert f" overall {overall['score']['clusters']} " in " ".join(line.split())
    assert line.rstrip().endswith(", ".join(map(str, overall["label_clusters"])))


def test_names_that_look_like_markup_are_printed_as_they_are(tmp_path: Path) -> None:
    run = noisy_run("r")
    judge = JudgeInfo("j[v1]:dog:[/v1]", {"temperature": 0})
    records = [
        replace(r, judges=(judge,), grades=tuple(replace(g, judge=judge.name) for g in r.grades))
        for r in run.records
    ]
    path = write_run(tmp_path, replace(run, records=tuple(records)))
    labels = write_labels(tmp_path / "l.csv", [label_row(r, "Care", 1) for r in records[:12]])
    for name in ("t[v1]", "t[/v1]"):
        done = call(labels, f"{name}={path}")
        assert done.exit_code == 0, done.output
        assert done.output.count(name) == 6  # a row and a refusal for each group
        assert f"{judge.name} against people" in done.output


def test_guiding_questions_of_other_data_are_refused(tmp_path: Path) -> None:
    path = write_run(tmp_path, noisy_run("r"))
    done = call("--draw", 40, path, "-o", tmp_path / "l.csv", "--data", "sample")
    assert isinstance(done.exception, InputError)
    assert "differ from those of" in str(done.exception)
    assert not (tmp_path / "l.csv").exists()


def test_variables_of_the_sample_are_canonical() -> None:
    # Targets compare variables as text: both sides have to write them alike.
    found = {canonical_json(g.variables) for r in sample_records() for g in r.grades}
    assert any(len(text) > 2 for text in found)
