"""Verdicts: what an interval shows, families, floors, and cases planted so that a careless analysis misjudges them."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from made_records import MadeRun, answer, run_of
from rich.console import Console

from value_retention.analysis import compare
from value_retention.analysis.effects.compare import compare_arms
from value_retention.analysis.effects.design import Arm
from value_retention.analysis.effects.rows import Effect
from value_retention.analysis.effects.verdicts import claims, limited, needed, settling_se, verdict_of
from value_retention.analysis.report.cells import number
from value_retention.analysis.report.console import print_result
from value_retention.analysis.runs.scores import RunScores, reduce_run
from value_retention.analysis.stats.settings import Settings


def run(name: str, scores: Any, benchmark: str = "anima_2_2") -> MadeRun:
    """A run from scores in tenths, shape (questions, epochs)."""
    grid = np.round(np.atleast_2d(np.asarray(scores, dtype=float)) * 10).astype(int)
    items = {
        str(k): [{f"d{d}": float(d < passed) for d in range(10)} for passed in row]
        for k, row in enumerate(grid)
    }
    return run_of(name, items, benchmark=benchmark)


def column(*scores: float, repeat: int = 1) -> np.ndarray:
    return np.tile(scores, repeat)[:, None]


def overall(result: Any, benchmark: str = "anima_2_2") -> Effect:
    (found,) = [e for e in result.effects if (e.metric, e.benchmark) == ("overall_mean", benchmark)]
    assert isinstance(found, Effect)
    return found


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-4.9, 9.0, "retained"),
        (-4.9, -0.1, "retained, lower"),
        (-8.0, -0.1, "degraded"),
        (-8.0, -5.1, "degraded beyond the margin"),
        (0.1, 4.0, "improved"),
        (-5.1, 0.1, "inconclusive"),
        (-5.0, 1.0, "inconclusive"),
    ],
)
def test_an_interval_has_one_verdict(low: float, high: float, expected: str) -> None:
    assert verdict_of(claims(low, high, 5.0)) == expected


@pytest.mark.parametrize("margin", [2.0, 4.0, 5.0, 6.0, 9.0])
def test_claims_are_one_sided_t_tests_at_half_of_one_minus_level(margin: float) -> None:
    """The oracle is scipy's one-sided test against the margin."""
    scores = np.clip(0.5 + np.random.default_rng(21).normal(0, 0.2, (2, 30, 1)), 0.1, 1).round(1)
    difference = ((scores[1] - scores[0]) * 100).round(6).ravel()
    for level in (0.9, 0.95):
        half = (1 - level) / 2
        result = compare([run("a", scores[0]), run("b", scores[1])], margin=margin, level=level)
        e = overall(result)
        assert e.low is not None
        assert e.high is not None
        shown = claims(e.low, e.high, margin)
        above = scipy.stats.ttest_1samp(difference, -margin, alternative="greater").pvalue
        assert ("kept" in shown) == (above < half)
        below = scipy.stats.ttest_1samp(difference, -margin, alternative="less").pvalue
        assert ("beyond" in shown) == (below < half)


@pytest.mark.parametrize(
    ("verdict", "low", "high", "score", "expected"),
    [
        ("retained", 1.8, 9.0, 4.1, "cannot be judged: baseline near the floor"),
        ("degraded", 3.0, 9.9, 6.0, "cannot be judged: baseline near the floor"),
        ("retained", 0.0, 30.0, 4.0, "cannot be judged: baseline near the floor"),
        ("improved", 1.8, 9.0, 4.1, "improved"),
        ("retained", 4.0, 10.1, 6.0, "retained"),
        ("improved", 91.0, 99.0, 97.0, "cannot be judged: baseline near the ceiling"),
        ("retained", 91.0, 99.0, 97.0, "retained"),
        ("degraded", 91.0, 99.0, 97.0, "degraded"),
        ("improved", 80.0, 95.0, 90.0, "improved"),
    ],
)
def test_a_baseline_without_room_cannot_be_judged(
    verdict: Any, low: float, high: float, score: float, expected: str
) -> None:
    assert limited(verdict, low, high, score, 5.0) == expected


tenths = st.lists(st.integers(0, 10), min_size=8, max_size=14)


@settings(max_examples=40, deadline=None)
@given(
    tenths, st.integers(0, 2**31), st.sampled_from([2.0, 5.0, 20.0]), st.sampled_from(["new", "fixed"]),
    st.sampled_from([0.8, 0.9, 0.95, 0.99]),
)  # fmt: skip
def test_a_verdict_and_the_interval_beside_it_agree(
    scores: list[int], seed: int, margin: float, questions: Any, level: float
) -> None:
    """For every verdict of a report with two benchmarks and two candidates, whatever the settings."""
    rng = np.random.default_rng(seed)
    base = np.array(scores)[:, None] / 10
    runs = []
    for name, shift in (("base", 0.0), ("b", rng.normal(0, 0.1)), ("c", rng.normal(0, 0.3))):
        records = []
        for benchmark in ("anima_2_2", "moru"):
            grid = np.clip(base + shift + rng.normal(0, 0.1, (len(scores), 2)), 0, 1)
            records += [
                answer(
                    str(k), epoch, {f"d{d}": float(d < round(value * 10)) for d in range(10)}, benchmark=benchmark,
                    language="en" if k % 2 else "de",
                )
                for k, row in enumerate(grid)
                for epoch, value in enumerate(row, start=1)
            ]  # fmt: skip
        runs.append(MadeRun(name, records))
    result = compare(runs, baseline="base", margin=margin, questions=questions, level=level, resamples=1000)
    for e in result.effects:
        if e.low is None or e.high is None or e.p_adjusted is None or e.t_low is None:
            assert e.verdict in (None, "not tested", "cannot be judged: baseline near the floor")
            assert e.low is None
            continue
        assert e.tier != "exploratory"
        assert e.low <= e.t_low + 1e-9, "an adjusted interval is never the narrower one"
        shown = claims(e.low, e.high, margin)
        assert (e.p_adjusted < 1 - level) == bool(shown & {"lower", "higher"})
        if e.tier == "primary" and not str(e.verdict).startswith("cannot"):
            assert e.verdict == verdict_of(shown)
        said = {
            "retained": {"kept"}, "retained, lower": {"kept", "lower"}, "degraded": {"lower"}, "improved": {"higher"},
            "degraded beyond the margin": {"lower", "beyond"},
        }.get(str(e.verdict), set())  # fmt: skip
        assert said <= shown
    json_verdicts = {row["verdict"] for row in result.to_dict()["effects"] if row["tier"] == "exploratory"}
    assert json_verdicts <= {None}


def test_a_secondary_verdict_claims_nothing_that_the_overall_mean_does_not_show() -> None:
    """English falls by 30 points, the others rise as far: overall nothing is shown, so nothing is tested."""
    noise = 0.1 * np.random.default_rng(22).integers(-1, 2, (2, 40))
    records: dict[str, list[Any]] = {"a": [], "b": []}
    for k in range(40):
        sign = -0.3 if k % 2 else 0.3
        for name, score in (("a", 0.5 + noise[0, k]), ("b", 0.5 + sign + noise[1, k])):
            grades = {f"d{d}": float(d < round(score * 10)) for d in range(10)}
            records[name].append(answer(str(k), 1, grades, language="en" if k % 2 else "de"))
    result = compare([MadeRun(name, made) for name, made in records.items()], margin=5)
    rows = {e.metric: e for e in result.effects}
    assert rows["overall_mean"].verdict == "inconclusive"
    for name in ("english_mean", "non_english_mean"):
        assert rows[name].verdict == "not tested"
        assert rows[name].low is None
        assert rows[name].t_low is not None
    out = StringIO()
    print_result(result, Console(file=out, width=250))
    (line,) = [line for line in out.getvalue().splitlines() if line.strip().startswith("english_mean")]
    assert "]†" in line, "an unadjusted interval is marked"


def test_holm_frees_alpha_only_where_nothing_is_left_to_claim() -> None:
    """A loss beyond the margin on one benchmark leaves the whole error rate to the other."""
    before = column(0.5, 0.7, 0.9, 0.6, repeat=10)
    small = before + 0.1 * (np.arange(40) % 2)[:, None] - 0.1 * (np.arange(40) % 3 == 0)[:, None]
    for lost, level in ((0.4, 0.95), (0.0, 0.975)):
        after = before - lost + 0.1 * (np.arange(40) % 2)[:, None] - 0.05
        runs = [
            MadeRun(name, [*run(name, anima).records, *run(name, moru, "moru").records])
            for name, anima, moru in (("a", before, before), ("b", after, small))
        ]
        result = compare(runs, margin=5)
        assert overall(result, "moru").level == pytest.approx(level)
        assert overall(result, "anima_2_2").level == pytest.approx(0.975)


def test_a_verdict_says_which_judge_errors_would_overturn_it() -> None:
    before = column(0.2, 0.5, 0.9, 0.6, repeat=10)
    result = compare(
        [run("a", before), run("b", before - 0.1 + 0.1 * (np.arange(40) % 2)[:, None])], margin=8
    )
    assert overall(result).verdict == "retained, lower"
    out = StringIO()
    print_result(result, Console(file=out, width=300))
    assert "judge errors that would overturn it: " in out.getvalue()
    assert "false fails in one run only" in out.getvalue()


def test_the_full_report_and_the_json_hold_judge_errors_and_cautions() -> None:
    before = column(0.2, 0.5, 0.9, 0.6, repeat=10)
    result = compare(
        [run("a", before), run("b", before - 0.1 + 0.1 * (np.arange(40) % 2)[:, None])], margin=8
    )
    (value,) = [e for e in result.to_dict()["effects"] if e["tier"] == "primary"]
    assert value["caution"] is None
    rates = value["overturning_judge_errors"]
    assert 0 < rates["false_fail"] < 50
    out = StringIO()
    print_result(result, Console(file=out, width=300))
    assert f"{number(rates['false_fail'])} % false fails in one run only" in out.getvalue()
    exploratory = [e for e in result.to_dict()["effects"] if e["tier"] == "exploratory"]
    assert all(e["overturning_judge_errors"] is None for e in exploratory)


def test_rare_grades_carry_a_caution_in_the_full_report_and_the_json() -> None:
    after = np.zeros((12, 10))
    after[0, 0] = 1.0
    rare = compare([run("a", np.zeros((12, 10))), run("b", after)], margin=5)
    cautioned = [e for e in rare.to_dict()["effects"] if e["caution"]]
    assert {e["tier"] for e in cautioned} >= {"primary", "exploratory"}
    out = StringIO()
    print_result(rare, Console(file=out, width=400), full=True)
    (line,) = [
        text for text in out.getvalue().splitlines() if text.startswith("Caution, ANIMA 2.2, b against a")
    ]
    assert all(e["metric"] in line for e in cautioned if e["tier"] == "exploratory")


def test_every_verdict_names_margin_level_and_unit() -> None:
    before = column(0.2, 0.5, 0.9, repeat=10)
    after = before - 0.1 * (np.arange(30) % 2)[:, None]
    result = compare([run("a", before), run("b", after)], margin=4, level=0.9)
    out = StringIO()
    print_result(result, Console(file=out, width=300))
    (line,) = [text for text in out.getvalue().splitlines() if text.startswith("ANIMA 2.2, b against a")]
    assert "margin 4 points, new questions" in line
    assert "90 % interval" in line
    assert str(overall(result).verdict) in line


# -- planted cases -----------------------------------------------------------------------------------------


def test_a_value_that_was_never_there_is_not_retained() -> None:
    """From 4 % to 0 % at a margin of 5 points."""
    before = np.zeros((60, 2))
    before[::8] = 0.3
    result = compare([run("a", before), run("b", np.zeros((60, 2)))], margin=5)
    assert overall(result).score_baseline == pytest.approx(4.0, abs=0.1)
    assert overall(result).verdict == "cannot be judged: baseline near the floor"
    both = compare([run("a", np.zeros((60, 2))), run("b", np.zeros((60, 2)))], margin=5)
    assert overall(both).verdict == "cannot be judged: baseline near the floor"
    tall = compare([run("a", 1 - before), run("b", np.ones((60, 2)))], margin=5)
    assert overall(tall).verdict == "cannot be judged: baseline near the ceiling"


def test_one_candidate_of_ten_that_fails_everything_is_found_and_the_others_are_not_blamed() -> None:
    rng = np.random.default_rng(11)
    base = rng.integers(3, 9, (60, 1)) / 10
    runs = [run("base", base)]
    runs += [run(f"same {k}", np.clip(base + 0.1 * rng.integers(-1, 2, (60, 1)), 0, 1)) for k in range(9)]
    runs.append(run("broken", np.zeros((60, 1))))
    result = compare(runs, baseline="base", margin=5)
    verdicts = {e.run: e.verdict for e in result.effects if e.metric == "overall_mean"}
    assert verdicts.pop("broken") == "degraded beyond the margin"
    assert set(verdicts.values()) == {"retained"}


def recipes(rng: np.random.Generator, spread: float, shift: float = 0.0) -> tuple[list[Arm], list[RunScores]]:
    """A base and two recipes with three seeds each, whose seeds differ by ``spread``."""
    base = rng.normal(0.5, 0.15, 80)
    arms, runs = [Arm("base", (), base=True)], []
    grids = [base]
    for recipe in ("one", "two"):
        for seed in (1, 2, 3):
            arms.append(Arm(f"{recipe} {seed}", (), recipe, "SFT", "", seed))
            grids.append(base + rng.normal(shift, spread) + rng.normal(0, 0.1, 80))
    for arm, grid in zip(arms, grids, strict=True):
        made = run(arm.name, np.clip(grid, 0, 1)[:, None])
        runs += reduce_run(arm.name, (), made.records)
    return arms, runs


def test_recipes_that_differ_by_seed_only_are_not_called_degraded() -> None:
    """Interval, p and verdict are those of new seeds; one that ignores the seeds flags a third of these."""
    flagged = blind = 0
    for seed in range(12):
        arms, runs = recipes(np.random.default_rng(seed), spread=0.04)
        for e in compare_arms(arms, runs, Settings(margin=5.0, resamples=1000)).effects:
            if e.tier != "primary":
                continue
            assert e.seeds is not None
            assert e.new_questions is not None
            assert (e.t_low, e.t_high) == (e.seeds.low, e.seeds.high)
            assert e.unit.endswith("new seeds")
            flagged += str(e.verdict) in ("improved", "degraded", "degraded beyond the margin")
            blind += not e.new_questions.low <= 0 <= e.new_questions.high
    assert blind >= 6
    assert flagged <= 1


def test_renderings_of_one_text_count_as_one_question() -> None:
    """Ten rows of one text in ten languages fail together: as ten questions they would look like a loss."""

    def made(name: str, lost: float) -> MadeRun:
        score = [*(0.5 + 0.1 * (np.arange(30) % 3 - 1)), *([0.5 - lost] * 10)]
        records = [
            answer(
                str(k), 1, {f"d{d}": float(d < round(s * 10)) for d in range(10)}, language="en" if k < 30 else f"l{k}",
                cluster=str(k) if k < 30 else "one text",
            )
            for k, s in enumerate(score)
        ]  # fmt: skip
        return MadeRun(name, records)

    found = overall(compare([made("a", 0.0), made("b", 0.4)], margin=5))
    assert (found.clusters, found.questions) == (31, 40)
    assert found.difference == pytest.approx(-10)
    assert found.verdict == "inconclusive"


# -- two estimands -----------------------------------------------------------------------------------------


def test_these_questions_vary_by_their_answers_only() -> None:
    """By hand: the variance of each question's mean over its epochs, summed."""
    scores = np.random.default_rng(23).integers(0, 11, (2, 12, 5)) / 10
    for questions in ("new", "fixed"):
        e = overall(compare([run("a", scores[0]), run("b", scores[1])], margin=5, questions=questions))
        assert e.these_questions is not None
        assert e.new_questions is not None
        parts = scores.var(axis=2, ddof=1) / 5
        se = np.sqrt(parts.sum()) / 12
        df = parts.sum() ** 2 / (parts**2 / 4).sum()
        assert e.these_questions.se == pytest.approx(se * 100)
        assert e.these_questions.df == pytest.approx(df)
        difference = scores[1].mean(axis=1) - scores[0].mean(axis=1)
        test = scipy.stats.ttest_1samp(difference, 0).confidence_interval()
        assert (e.new_questions.low, e.new_questions.high) == (
            pytest.approx(test.low * 100), pytest.approx(test.high * 100),
        )  # fmt: skip
        chosen = e.new_questions if questions == "new" else e.these_questions
        assert (e.low, e.high, e.p) == pytest.approx((chosen.low, chosen.high, chosen.p))
        assert e.unit == ("new questions" if questions == "new" else "these questions")


def test_one_answer_per_question_says_nothing_about_these_questions() -> None:
    scores = np.random.default_rng(24).integers(0, 11, (2, 12, 1)) / 10
    e = overall(compare([run("a", scores[0]), run("b", scores[1])], margin=5, questions="fixed"))
    assert (e.these_questions, e.verdict, e.low) == (None, None, None)
    assert "one answer per question" in e.reasons["verdict"]
    assert e.new_questions is not None


def test_an_inconclusive_verdict_says_how_much_more_would_settle_it() -> None:
    scores = np.clip(0.5 + np.random.default_rng(25).normal(0, 0.25, (2, 20, 4)), 0, 1).round(1)
    e = overall(compare([run("a", scores[0]), run("b", scores[1])], margin=5))
    assert e.verdict == "inconclusive"
    assert e.needed_questions is not None
    assert e.needed_questions > 20
    # With that many questions, the half-width plus 0.84 standard errors reaches the nearest claim.
    assert e.difference is not None
    assert e.se is not None
    target = settling_se(e.difference, 0.95, 5.0)
    assert e.se * (20 / e.needed_questions) ** 0.5 <= target
    assert needed(4.0, 2.0, 3.9, 50, 5) == (200, 24)
    assert needed(4.0, 2.0, 1.0, 50, 5) == (200, None), "the questions differ too much for answers to help"


# -- the retained share ------------------------------------------------------------------------------------


def shares(base: Any, mid: Any, post: Any) -> Any:
    made = [run(name, scores) for name, scores in (("base", base), ("mid", mid), ("post", post))]
    result = compare(made, baseline="mid", before="base", margin=5)
    (share,) = result.shares
    assert {(e.baseline, e.run) for e in result.effects} == {("mid", "post")}
    return result, share


def test_the_retained_share_is_a_ratio_with_fiellers_interval() -> None:
    base = column(0.1, 0.3, 0.2, 0.2, repeat=10)
    mid = base + column(0.5, 0.4, 0.6, repeat=14)[:40]
    post = base + column(0.3, 0.2, 0.2, 0.1, 0.2, repeat=8)
    result, share = shares(base, mid, post)
    gain, kept = mid - base, post - base
    assert share.gain == pytest.approx(gain.mean() * 100)
    assert share.ratio.estimate == pytest.approx(kept.mean() / gain.mean())
    for ratio in (share.ratio.low, share.ratio.high):
        test = scipy.stats.ttest_1samp((kept - ratio * gain).ravel(), 0)
        assert test.pvalue == pytest.approx(0.05, abs=1e-6)
    out = StringIO()
    print_result(result, Console(file=out, width=200))
    assert "Retained share: what is left of the gain over base" in out.getvalue()


def test_a_share_of_a_gain_that_is_not_shown_is_unbounded_and_said_so() -> None:
    base = column(0.4, 0.6, 0.5, 0.3, repeat=5)
    mid = base + column(0.1, -0.1, 0.1, 0.0, repeat=5)
    result, share = shares(base, mid, base + column(0.1, 0.0, repeat=10))
    assert (share.ratio.kind, share.shown) == ("unbounded", False)
    out = StringIO()
    print_result(result, Console(file=out, width=200))
    assert "the gain is not shown" in out.getvalue()


@pytest.mark.parametrize("names", [("base", None), ("mid", "mid")])
def test_a_share_needs_three_runs_and_a_baseline(names: Sequence[Any]) -> None:
    from value_retention.tasks.errors import InputError

    before, baseline = names
    made = [run(name, column(0.1, 0.2, repeat=5)) for name in ("base", "mid", "post")]
    with pytest.raises(InputError, match="--before needs --baseline"):
        compare(made, before=before, baseline=baseline)
