"""Comparing runs: hand-computed figures, invariances, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from typing import Any

import numpy as np
import pytest
import scipy.stats
from helpers import ANIMA_2_2, REAL, real_rows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_records import Grades, MadeRun, run_of
from rich.console import Console
from statsmodels.stats.multitest import multipletests
from synthetic import anima_shape, moru_shape, synthetic_records

from value_retention.analysis import compare
from value_retention.analysis.effects.rows import CONSTANT, FEW, NO_SCORE, Effect
from value_retention.analysis.report.console import print_result
from value_retention.analysis.report.export import latex
from value_retention.analysis.runs.scores import reduce_run
from value_retention.tasks.data import load
from value_retention.tasks.errors import InputError
from value_retention.tasks.record import DroppedRow, RunInfo
from value_retention.tasks.scores import benchmark_scores, questions_of


def effect(result: Any, metric: str, benchmark: str = "anima_2_2") -> Effect:
    found = [e for e in result.effects if (e.metric, e.benchmark) == (metric, benchmark)]
    assert len(found) == 1
    return found[0]


def simple(name: str, scores: list[float], **common: Any) -> MadeRun:
    """A run with one epoch and ten dimensions that pass as often as the score says."""
    items = {
        str(k): [{f"d{d}": float(d < round(score * 10)) for d in range(10)}] for k, score in enumerate(scores)
    }
    return run_of(name, items, **common)


def test_a_table_by_hand() -> None:
    """Two questions, two epochs, two dimensions, one grade that could not be read."""
    base = run_of("base", {"1": [{"x": 1, "y": 0}, {"x": 1, "y": None}], "2": [{"x": 0}, {"x": 0}]})
    tuned = run_of("tuned", {"1": [{"x": 1, "y": 1}, {"x": 0, "y": 0}], "2": [{"x": 1}, {"x": 0}]})
    result = compare([base, tuned])
    overall = effect(result, "overall_mean")
    # base: question 1 (0.5 + 1) / 2, question 2 0; tuned: (1 + 0) / 2 and (1 + 0) / 2.
    assert overall.score_baseline == pytest.approx(37.5)
    assert overall.score_run == pytest.approx(50.0)
    assert overall.difference == pytest.approx(12.5)
    assert (overall.clusters, overall.questions, overall.answers_baseline) == (2, 2, 4)
    assert (overall.grades, overall.grades_missing) == (12, 1)
    # Were the missing grade 0, base would have 0.5 and 0.5 on question 1.
    assert (overall.worst_low, overall.worst_high) == (pytest.approx(12.5), pytest.approx(25.0))
    x, y = effect(result, "x"), effect(result, "y")
    assert (x.score_baseline, x.score_run) == (pytest.approx(50.0), pytest.approx(50.0))
    assert (y.score_baseline, y.score_run) == (0.0, pytest.approx(50.0))
    assert (y.worst_low, y.worst_high) == (pytest.approx(0.0), pytest.approx(50.0))
    normalized = effect(result, "dimension_normalized_avg")
    assert normalized.score_run == pytest.approx(50.0)
    assert normalized.difference == pytest.approx(25.0)
    for row in (overall, x, y, normalized):
        assert row.p is None
        assert row.t_low is None
        assert row.reasons["p"] == row.reasons["interval"] == FEW


def test_ten_questions_give_the_paired_t_test() -> None:
    before = [0.1, 0.5, 0.4, 0.9, 0.3, 0.6, 0.2, 0.8, 0.5, 0.7]
    after = [0.3, 0.4, 0.6, 1.0, 0.7, 0.6, 0.5, 0.7, 0.9, 0.8]
    row = effect(compare([simple("a", before), simple("b", after)]), "overall_mean")
    test = scipy.stats.ttest_rel(after, before)
    interval = test.confidence_interval()
    assert (row.t_low, row.t_high) == (pytest.approx(interval.low * 100), pytest.approx(interval.high * 100))
    assert row.p == pytest.approx(test.pvalue)
    assert row.p_adjusted == pytest.approx(row.p)
    assert (row.low, row.high) == (pytest.approx(row.t_low), pytest.approx(row.t_high))


def test_scores_are_those_of_the_benchmark() -> None:
    records = synthetic_records("m", anima_shape(), {"all": 0.4}, epochs=2, missing=0.1, seed=3)
    other = synthetic_records("n", anima_shape(), {"all": 0.4}, epochs=2, seed=4)
    result = compare([MadeRun("a", records), MadeRun("b", other)])
    expected = benchmark_scores(questions_of(records), weighted=True)
    scores = {s.metric: s.score for s in result.scores if s.run == "a"}
    for key, value in expected.items():
        if key not in ("unscored", "missing_grades"):
            assert value is not None
            assert scores[key] == pytest.approx(value * 100), key


def test_moru_translations_are_one_cluster() -> None:
    runs = [MadeRun(n, synthetic_records(n, moru_shape(), {"all": 0.5}, epochs=1)) for n in ("a", "b")]
    result = compare(runs)
    overall = effect(result, "overall_mean", "moru")
    assert (overall.clusters, overall.questions) == (67, 201)
    kinds = {(e.kind, e.metric): e.clusters for e in result.effects}
    assert kinds["language", "ms"] == kinds["language", "hi"] == kinds["group", "english_mean"] == 67
    assert kinds["source", "Europa"] == 34
    assert effect(result, "Human Compassion and Power-Seeking", "moru").reasons["p"] == FEW


scores_list = st.lists(st.sampled_from([0.0, 0.2, 0.5, 0.7, 1.0]), min_size=7, max_size=16)
quick = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@quick
@given(st.data(), scores_list)
def test_swapping_the_runs_turns_the_sign(data: st.DataObject, before: list[float]) -> None:
    after = data.draw(st.lists(st.sampled_from([0.0, 0.3, 1.0]), min_size=len(before), max_size=len(before)))
    there, back = (
        effect(
            compare([simple("a", before), simple("b", after)], baseline=run, resamples=1000), "overall_mean"
        )
        for run in "ab"
    )
    assert there.difference == pytest.approx(-back.difference, abs=1e-9)  # type: ignore[operator]
    assert there.p == pytest.approx(back.p)
    if there.t_low is not None and back.t_high is not None:
        assert there.t_low == pytest.approx(-back.t_high, abs=1e-9)
        assert there.boot_low == pytest.approx(-back.boot_high, abs=1e-9)  # type: ignore[operator]


@quick
@given(scores_list)
def test_adding_the_same_to_every_question_moves_the_difference_and_nothing_else(scores: list[float]) -> None:
    low = [score * 0.5 for score in scores]
    plus = [score + 0.2 for score in low]
    a, b, c = simple("a", low), simple("b", low[::-1]), simple("c", plus[::-1])
    first, second = (effect(compare(pair, resamples=1000), "overall_mean") for pair in ([a, b], [a, c]))
    assert second.difference == pytest.approx(first.difference + 20, abs=1e-9)  # type: ignore[operator]
    if first.se is not None and second.se is not None:
        assert second.se == pytest.approx(first.se, abs=1e-9)
        assert second.t_low == pytest.approx(first.t_low + 20, abs=1e-9)  # type: ignore[operator]
        assert second.boot_low == pytest.approx(first.boot_low + 20, abs=1e-3)  # type: ignore[operator]


@pytest.mark.slow
@settings(quick, max_examples=4)
@given(st.integers(0, 1000), st.integers(2, 4))
def test_copying_every_epoch_narrows_nothing(seed: int, copies: int) -> None:
    def run(name: str, times: int) -> MadeRun:
        records = synthetic_records(name, anima_shape(), {"all": 0.5}, epochs=1, seed=seed)
        return MadeRun(name, [replace(r, epoch=k + 1) for r in records for k in range(times)])

    once, more = (compare([run("a", n), run("b", n)], margin=5, resamples=1000) for n in (1, copies))
    for first, second in zip(once.effects, more.effects, strict=True):
        for name in ("t_low", "t_high", "boot_low", "boot_high", "p", "p_adjusted", "q", "detectable"):
            assert getattr(first, name) == pytest.approx(getattr(second, name), abs=1e-5), name
        assert first.verdict == second.verdict


@pytest.mark.slow
def test_the_seed_fixes_the_figures() -> None:
    runs = [MadeRun(n, synthetic_records(n, anima_shape(), {"all": 0.5}, epochs=1)) for n in ("a", "b")]
    first, same, other = (effect(compare(runs, seed=seed), "overall_mean") for seed in (1, 1, 2))
    assert first == same
    assert first.boot_low != other.boot_low
    assert (first.t_low, first.difference) == (other.t_low, other.difference)


def test_the_primary_family_is_every_overall_mean_and_the_rest_is_explored() -> None:
    runs = [
        simple(name, [0.1 * ((k * 7 + shift) % 10) for k in range(12)]) for shift, name in enumerate("abc")
    ]
    result = compare(runs)
    overall = [e for e in result.effects if e.metric == "overall_mean"]
    assert [(e.baseline, e.run) for e in overall] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert {(e.tier, e.family_size) for e in overall} == {("primary", 3)}
    rest = [e for e in result.effects if e.kind == "dimension"]
    tested = [e for e in rest if e.p is not None]
    assert len(tested) > 20
    assert {(e.tier, e.family_size) for e in rest} == {("exploratory", len(tested))}
    assert all(e.level is e.low is e.verdict is None for e in rest)
    expected = multipletests([e.p for e in tested], method="fdr_bh")[1].tolist()
    assert [e.q for e in tested] == pytest.approx(expected)
    smallest = min(overall, key=lambda e: e.p or 1)
    assert smallest.p_adjusted == pytest.approx(min(1, 3 * (smallest.p or 1)))


def test_a_baseline_is_named_by_name_or_path() -> None:
    runs = [simple(name, [0.1, 0.2, 0.3] * 3) for name in "abc"]
    for baseline in ("b", "./b.eval"):
        pairs = {(e.baseline, e.run) for e in compare(runs, baseline=baseline).effects}
        assert pairs == {("b", "a"), ("b", "c")}
    with pytest.raises(InputError, match="one of a, b, c"):
        compare(runs, baseline="d")


def test_verdicts_need_a_margin_and_clusters() -> None:
    rng = np.random.default_rng(2)
    before = (0.5 + rng.integers(-2, 3, 60) / 10).tolist()
    after = [s + 0.1 * (k % 2) - 0.1 * (k % 3 == 0) for k, s in enumerate(before)]
    lost = [s - 0.3 + 0.1 * (k % 2) for k, s in enumerate(before)]
    runs = [simple("base", before), simple("same", after), simple("lost", lost)]
    assert all(e.verdict is None for e in compare(runs, baseline="base").effects)
    result = compare(runs, baseline="base", margin=8)
    assert {e.run: e.verdict for e in result.effects if e.metric == "overall_mean"} == {
        "same": "retained",
        "lost": "degraded beyond the margin",
    }
    few = compare([simple("a", [0.1, 0.9]), simple("b", [0.2, 0.9])], margin=5)
    assert effect(few, "overall_mean").verdict is None
    assert effect(few, "overall_mean").reasons["verdict"] == FEW


REFUSED = [
    ("version", {"version": "7-A"}, "benchmark version"),
    ("revision", {"revision": "def"}, "data revision"),
    ("dropped", {"dropped": (DroppedRow("58", "an empty tag"),)}, "58 \\(an empty tag\\)"),
    ("judge", {"judge": "lab/judge-2"}, "lab/judge-2 in b \\(b.eval\\)"),
    ("judge-settings", {"settings": {"temperature": 0.5}}, '"temperature":0.5'),
    ("prompt", {"prompt": "another prompt"}, "judged with another prompt"),
    ("parser", {"parser": "2"}, "grade parser"),
]


@pytest.mark.parametrize(("aspect", "change", "message"), REFUSED)
def test_unlike_runs_are_refused_by_name_and_let_through_by_name(
    aspect: str, change: dict[str, Any], message: str
) -> None:
    a, b = simple("a", [0.1, 0.4] * 5), simple("b", [0.2, 0.6] * 5, **change)
    with pytest.raises(InputError, match=message) as refused:
        compare([a, b])
    assert f"--allow {aspect}" in str(refused.value)
    assert "a.eval" in str(refused.value)
    assert "b.eval" in str(refused.value)
    result = compare([a, b], allow=[aspect])
    assert result.headline[0].startswith("Allowed to differ: ")
    assert effect(result, "overall_mean").difference is not None


def test_other_words_to_the_judge_are_refused_where_no_answer_is_shared() -> None:
    first, second = (
        MadeRun(
            name,
            [
                replace(r, rubric_hash=words * 64)
                for r in synthetic_records(name, anima_shape(), {"all": 0.5}, epochs=1)
            ],
        )
        for name, words in (("a", "1"), ("b", "2"))
    )
    with pytest.raises(InputError, match=r"judge prompt .*words 111111111111 in a; words 222222222222 in b"):
        compare([first, second])


def test_every_difference_is_listed_at_once() -> None:
    a, b = simple("a", [0.1] * 8), simple("b", [0.2] * 8, judge="other", parser="2")
    with pytest.raises(InputError, match="--allow judge --allow parser"):
        compare([a, b])
    with pytest.raises(InputError, match="--allow parser"):
        compare([a, b], allow=["judge"])
    with pytest.raises(InputError, match="unknown aspect"):
        compare([a, b], allow=["judges"])


def test_unequal_epochs_are_refused_also_within_a_run() -> None:
    grades: Grades = {"x": 1.0}
    five = run_of("five", {str(k): [grades] * 5 for k in range(8)})
    three = run_of("three", {str(k): [grades] * 3 for k in range(8)})
    ragged = run_of("ragged", {str(k): [grades] * (5 if k else 2) for k in range(8)})
    with pytest.raises(InputError, match=r"5 in five \(five.eval\); 3 in three"):
        compare([five, three])
    with pytest.raises(InputError, match=r"2 on 1 questions, 5 on 7 questions in ragged \(ragged.eval\)"):
        compare([five, ragged])
    with pytest.raises(InputError, match="2 on 1 questions, 5 on 7 questions"):
        compare([ragged, MadeRun("copy", ragged.records, ("copy.eval",))])


def test_other_questions_are_refused_or_left_out() -> None:
    a = run_of("a", {str(k): [{"x": k % 2}] for k in range(10)})
    b = run_of("b", {str(k): [{"x": 1.0}] for k in range(3, 13)})
    with pytest.raises(InputError, match="questions answered"):
        compare([a, b])
    row = effect(compare([a, b], allow=["questions"]), "overall_mean")
    assert (row.clusters, row.questions, row.answers_run) == (7, 7, 7)
    c = run_of("c", {str(k): [{"x": 1.0}] for k in range(20, 30)})
    with pytest.raises(InputError, match="no common questions"):
        compare([a, c], allow=["questions"])


def test_equal_epochs_on_other_questions_differ_in_questions_only() -> None:
    grades: Grades = {"x": 1.0}
    many, few = (
        run_of(name, {str(k): [grades] * 2 for k in range(n)}) for name, n in (("many", 9), ("few", 7))
    )
    with pytest.raises(InputError, match="questions answered") as refused:
        compare([many, few])
    assert "epochs per question" not in str(refused.value)
    assert compare([many, few], allow=["questions"]).headline[0].startswith("Allowed to differ: questions")


def asked(name: str, run: dict[str, Any], harness: str = "inspect_ai", score: float = 0.2) -> MadeRun:
    """A run whose model was asked with these settings."""
    made = simple(name, [score, 0.4] * 4)
    info = RunInfo(harness, "1", "lab/model", {}, run)
    return MadeRun(name, [replace(r, run=info) for r in made.records], made.files)


ASKED = [
    ("sampling", {"temperature": 0.0}, "sampling of the answers .*temperature 1 in a .*; temperature 0 in b"),
    ("sampling", {"temperature": 1.0, "max_tokens": 50}, "max_tokens 50, temperature 1 in b"),
    ("sampling", {"temperature": 1.0, "top_p": 0.5}, "top_p 0.5"),
    ("sampling", {"temperature": 1.0, "thinking": False}, "temperature 1, thinking false in b"),
    (
        "system",
        {"temperature": 1.0, "system_message": "Be kind."},
        'system prompt .*none in a .*; "Be kind." ',
    ),
    ("ceiling", {"temperature": 1.0, "ceiling": True}, "ceiling test .*no in a .*; yes in b"),
]


@pytest.mark.parametrize(("aspect", "settings_of_b", "message"), ASKED)
def test_runs_whose_models_were_asked_otherwise_are_refused_and_let_through_by_name(
    aspect: str, settings_of_b: dict[str, Any], message: str
) -> None:
    a, b = asked("a", {"temperature": 1.0}), asked("b", settings_of_b, score=0.6)
    with pytest.raises(InputError, match=message) as refused:
        compare([a, b], margin=5)
    assert f"--allow {aspect}" in str(refused.value)
    result = compare([a, b], margin=5, allow=[aspect])
    assert "Allowed to differ" in result.headline[0]
    assert result.headline[0] in result.to_dict()["headline"]
    assert result.to_frame()["label"].str.startswith(result.headline[0]).all()
    assert f"% {result.headline[0]}" in latex(result)


def test_a_chat_template_is_asked_for_by_name_where_a_base_model_had_none() -> None:
    bare, chat = (
        asked(name, {"apply_chat_template": applied}, "lm_eval", score)
        for name, applied, score in (("bare", False, 0.2), ("chat", True, 0.3))
    )
    with pytest.raises(InputError, match=r"chat template .*not applied in bare .*; applied in chat"):
        compare([bare, chat])
    assert compare([bare, chat], allow=["chat-template"]).headline


def test_both_harnesses_sample_alike_and_are_noted_at_the_head() -> None:
    """The defaults of both as they write them; a seed is another repeat."""
    ours = asked("ours", {"temperature": 1.0, "max_tokens": 2048, "seed": 7})
    generation = {"until": [], "do_sample": True, "temperature": 1.0, "max_gen_toks": 2048}
    theirs = asked("theirs", generation | {"apply_chat_template": True}, "lm_eval", 0.3)
    result = compare([ours, theirs])
    assert result.headline == (
        "ANIMA 2.2: runs differ in harness: inspect_ai 1 in ours; lm_eval 1 in theirs.",
        "ANIMA 2.2: runs differ in seed: 7 in ours; none in theirs.",
    )


def test_a_stop_sequence_is_shown_on_one_line() -> None:
    first, second = asked("a", {}, score=0.3), asked("b", {"stop_seqs": "\n\n"})
    with pytest.raises(InputError, match=r'left to the provider in a \(a.eval\); stop_seqs "\\n\\n" in b'):
        compare([first, second])


@real_rows
def test_the_whole_of_the_rows_at_hand_is_what_is_said() -> None:
    assert len(load(ANIMA_2_2, str(REAL))) == ANIMA_2_2.size


def both(name: str, score: float, benchmarks: Sequence[str]) -> MadeRun:
    records = [r for b in benchmarks for r in simple(name, [score, 0.4] * 4, benchmark=b).records]
    return MadeRun(name, records, (f"{name}.eval",))


def test_a_benchmark_that_a_run_lacks_is_left_out_aloud() -> None:
    a, c = (both(name, score, ["anima_2_2", "moru"]) for name, score in (("a", 0.1), ("c", 0.3)))
    b = both("b", 0.2, ["anima_2_2"])
    two = compare([a, b])
    assert two.headline == ("MORU is LEFT OUT: only a has answers to it, not b.",)
    three = compare([a, b, c], baseline="a")
    assert three.headline == ("MORU is compared without b, which has no answers to it.",)
    assert {e.run for e in three.effects if e.benchmark == "moru"} == {"c"}
    lacking = compare([a, b, c], baseline="b")
    assert lacking.headline == ("MORU is LEFT OUT: the baseline b has no answers to it (a, c have).",)
    assert not [e for e in lacking.effects if e.benchmark == "moru"]
    with pytest.raises(InputError, match="two runs of one benchmark, one of them b"):
        compare([b, both("d", 0.5, ["moru"]), both("e", 0.6, ["moru"])], baseline="b")


def test_one_run_under_two_names_is_said_first() -> None:
    a = simple("a", [0.1, 0.5] * 4)
    result = compare([a, MadeRun("copy", a.records, ("copy.eval",)), simple("c", [0.2] * 8)])
    assert len(result.headline) == 1
    assert result.headline[0].startswith("ANIMA 2.2: a and copy hold THE SAME ANSWERS")


def test_a_verdict_that_missing_grades_could_overturn_is_marked() -> None:
    """The worst case is filled in and tested again: its bounds lie within the margin, its interval does not."""

    def run(name: str, missing: int, flipped: bool) -> MadeRun:
        items = {
            str(k): [
                {
                    f"d{d}": None
                    if d in (7, 9) and k < missing
                    else float((k + d + (flipped and d == 0)) % 2)
                    for d in range(10)
                }
            ]
            for k in range(40)
        }
        return run_of(name, items)

    few, many = (compare([run("a", 0, False), run("b", n, True)], margin=5) for n in (1, 10))
    for result, holds in ((few, True), (many, False)):
        row = effect(result, "overall_mean")
        assert (row.verdict, row.verdict_holds) == ("retained", holds)
        assert row.worst_low is not None
        assert row.worst_low > -5, "a comparison of the bounds alone would not notice"
    (line,) = many.headline
    assert line.startswith("ANIMA 2.2, b against a: 20 of 800 grades are missing.")
    assert "(overall_mean" in line
    out = StringIO()
    print_result(many, Console(file=out, width=300))
    assert "retained*" in out.getvalue()
    assert "*: with the worst case for the missing grades" in out.getvalue()
    assert many.to_frame().set_index("metric").loc["overall_mean", "verdict_holds"] is False
    assert not any("grades are missing" in line for line in few.headline)


def test_part_of_the_sample_is_called_a_part() -> None:
    data = load(ANIMA_2_2, "sample")
    english = [item for item in data.items if item.language == "en"]
    runs = [
        MadeRun(
            name,
            [
                replace(r, data=data.info)
                for r in run_of(
                    name, {i.id: [{"x": k % n > 0, "y": 1.0}] for k, i in enumerate(english)}
                ).records
            ],
        )
        for name, n in (("a", 2), ("b", 3))
    ]
    result = compare(runs)
    part = f"{len(english)} of {len(data)} questions (en)"
    assert any(
        f"PART OF THE QUESTIONS, their mean is not the benchmark's score: ANIMA 2.2: {part[:-5]} (a, b)"
        in line
        for line in result.headline
    )
    out = StringIO()
    print_result(result, Console(file=out, width=200))
    assert f"ANIMA 2.2: b against a, {part}" in out.getvalue()
    assert f"ANIMA 2.2: b against a, {part}" in latex(result)
    assert result.to_dict()["judged"][0]["questions_in_data"] == len(data)
    unknown = compare([simple("a", [0.1, 0.2] * 5), simple("b", [0.4] * 10)])
    assert not unknown.headline
    assert "ANIMA 2.2: b against a, 10 questions (en)" in latex(unknown)


def test_nothing_to_compare_is_a_clear_message() -> None:
    a = simple("a", [0.1] * 8)
    with pytest.raises(InputError, match="needs two runs"):
        compare([a])
    with pytest.raises(InputError, match="same name"):
        compare([a, simple("a", [0.2] * 8)])
    with pytest.raises(InputError, match="nothing to compare"):
        compare([a, simple("b", [0.2] * 8, benchmark="moru")])
    with pytest.raises(InputError, match="has no answers"):
        compare([a, MadeRun("empty", [], ("empty.eval",))])
    ungraded = run_of("ungraded", {str(k): [dict.fromkeys(f"d{d}" for d in range(10))] for k in range(8)})
    with pytest.raises(InputError, match="no answer of this run has a score") as error:
        compare([a, ungraded])
    assert "80 of 80 grades missing" in str(error.value)


def test_one_cluster_is_described_and_not_tested() -> None:
    result = compare([simple("a", [0.1]), simple("b", [0.4])], margin=5)
    row = effect(result, "overall_mean")
    assert (row.clusters, row.difference) == (1, pytest.approx(30))
    assert (row.se, row.t_low, row.boot_low, row.p, row.verdict) == (None,) * 5
    assert row.reasons["interval"] == row.reasons["p"] == FEW
    assert all(s.low is None and s.reasons["interval"] == FEW for s in result.scores)


def test_an_answer_that_occurs_twice_is_refused() -> None:
    a = simple("a", [0.1] * 8)
    with pytest.raises(InputError, match="item 0, epoch 1"):
        compare([simple("b", [0.2] * 8), MadeRun("a", [*a.records, a.records[0]], ("a.eval",))])


def test_constant_scores_have_a_reason_instead_of_an_interval() -> None:
    row = effect(compare([simple("a", [0.1] * 9), simple("b", [0.3] * 9)], margin=5), "overall_mean")
    assert row.difference == pytest.approx(20)
    assert (row.se, row.t_low, row.boot_low, row.verdict, row.detectable) == (None,) * 5
    for name in ("interval", "bootstrap", "verdict", "detectable"):
        assert row.reasons[name] == CONSTANT
    same = effect(compare([simple("a", [0.1] * 9), simple("b", [0.1] * 9)]), "overall_mean")
    assert same.difference == pytest.approx(0)


def test_a_dimension_that_could_never_be_graded_has_a_reason() -> None:
    items = {str(k): [{"x": k % 2, "y": None}] for k in range(9)}
    row = effect(compare([run_of("a", items), run_of("b", items)]), "y")
    assert (row.difference, row.score_run, row.p) == (None,) * 3
    assert row.reasons["difference"] == row.reasons["score"] == row.reasons["p"] == NO_SCORE
    assert (row.worst_low, row.worst_high) == (pytest.approx(-100), pytest.approx(100))


def test_settings_out_of_range_are_refused() -> None:
    runs = [simple("a", [0.1] * 8), simple("b", [0.2] * 8)]
    bad = (
        {"margin": 0.0},
        {"margin": -5.0},
        {"margin": float("nan")},
        {"level": 95.0},
        {"level": 0.9999},
        {"resamples": 10},
        {"resamples": 10**7},
        {"seed": -1},
    )
    for setting in bad:
        with pytest.raises(InputError, match="out of range"):
            compare(runs, **setting)  # type: ignore[arg-type]


def test_no_verdict_stands_beside_an_interval_that_is_narrower_than_its_test() -> None:
    runs = [simple("a", [0.1, 0.3] * 4), simple("b", [0.2] * 8)]
    with pytest.raises(InputError, match=r"--margin needs --level of at least 0\.8"):
        compare(runs, margin=5, level=0.5)
    assert compare(runs, level=0.5).effects


def test_synthetic_records_follow_their_seed_and_are_no_benchmark_result() -> None:
    first, same, other = (
        synthetic_records("a", anima_shape(), {}, epochs=1, seed=seed) for seed in (1, 1, 2)
    )
    assert [r.grades for r in first] == [r.grades for r in same] != [r.grades for r in other]
    runs = [MadeRun(n, records) for n, records in (("a", first), ("b", other))]
    assert compare(runs).headline[0] == "NOT A BENCHMARK RESULT: sample items in every run."


@pytest.mark.parametrize("targets", [{"all": 0.357}, {"en": 0.44, "other": 0.727}])
def test_synthetic_records_hit_their_scores(targets: dict[str, float]) -> None:
    (run,) = reduce_run("m", (), synthetic_records("m", anima_shape(), targets))
    english = np.array([q.is_english for q in run.questions])
    groups = {"all": np.full(len(english), True), "en": english, "other": ~english}
    for name, target in targets.items():
        assert run.score[groups[name], 0].mean() == pytest.approx(target, abs=0.001)
