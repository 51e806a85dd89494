"""Experiments of several arms: the file, the comparisons, the seeds, and the published claims."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_records import run_of

from value_retention.analysis import compare
from value_retention.analysis.effects.compare import compare_arms
from value_retention.analysis.effects.comparisons import comparisons_of
from value_retention.analysis.effects.design import Arm, read_arms
from value_retention.analysis.effects.provenance import LABEL
from value_retention.analysis.effects.result import Result
from value_retention.analysis.examples.claims import PUBLISHED, paper_claims
from value_retention.analysis.examples.paper import synthetic_arms, synthetic_result, synthetic_runs
from value_retention.analysis.runs.scores import RunScores, reduce_run
from value_retention.analysis.stats.seeds import ONE_SEED
from value_retention.analysis.stats.settings import Settings, checked_settings
from value_retention.tasks.errors import InputError

RNG = np.random.default_rng(3)


def arm(method: str, domain: str, data: str = "", seed: int = 1) -> Arm:
    return Arm(f"{method} {domain} {data} {seed}", (), domain, method, data, seed)


def made(names: list[str], scores: np.ndarray) -> list[RunScores]:
    """Runs of one epoch; scores in tenths, shape (runs, questions)."""
    runs = []
    for name, row in zip(names, scores, strict=True):
        items = {str(k): [{f"d{d}": float(d < round(s * 10)) for d in range(10)}] for k, s in enumerate(row)}
        runs += reduce_run(name, (f"{name}.eval",), run_of(name, items).records)
    return runs


def tenths(*shape: int) -> np.ndarray:
    return RNG.integers(1, 10, shape) / 10


def test_two_arms_give_what_compare_gives() -> None:
    arms = [arm("SFT", "helpfulness"), arm("SFT", "coding")]
    scores = tenths(2, 40)
    runs = made([a.name for a in arms], scores)
    (found,) = compare_arms(arms, runs, Settings(margin=5.0)).find(
        "domain effect", "anima_2_2", "overall_mean"
    )
    items = [
        {str(k): [{f"d{d}": float(d < round(s * 10)) for d in range(10)}] for k, s in enumerate(row)}
        for row in scores
    ]
    pair = compare([run_of("a", items[0]), run_of("b", items[1])], margin=5)
    expected = next(e for e in pair.effects if e.metric == "overall_mean")
    for name in ("difference", "t_low", "t_high", "boot_low", "boot_high", "p"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name)), name
    assert (found.verdict, found.low, found.high) == (expected.verdict, expected.low, expected.high)


def test_domain_method_and_replication_by_hand() -> None:
    arms = [
        arm("SFT", "helpfulness", "dolly"),
        arm("SFT", "helpfulness", "other"),
        arm("SFT", "coding", "magicoder"),
        arm("GRPO", "helpfulness"),
        arm("GRPO", "coding"),
    ]
    scores = tenths(5, 30)
    result = compare_arms(arms, made([a.name for a in arms], scores), Settings())
    means = scores.mean(axis=1) * 100

    def difference(kind: str, text: str) -> float:
        (found,) = result.find(kind, "anima_2_2", "overall_mean", text)
        assert found.difference is not None
        return found.difference

    sft = means[2] - (means[0] + means[1]) / 2
    grpo = means[4] - means[3]
    assert difference("domain effect", "within SFT") == pytest.approx(sft)
    assert difference("domain effect", "within GRPO") == pytest.approx(grpo)
    assert difference("domain x method", "in GRPO less that in SFT") == pytest.approx(grpo - sft)
    assert difference("domain effect by data", "helpfulness (other)") == pytest.approx(means[2] - means[1])
    assert difference("same domain, other data", "dolly − other") == pytest.approx(means[0] - means[1])
    primary = [e for e in result.effects if e.tier == "primary"]
    assert {e.comparison for e in primary} == {"domain effect"}, "there is no base to have lost anything"
    smallest = min(primary, key=lambda e: e.p or 1)
    assert smallest.family_size == len(primary) == 2
    assert smallest.p_adjusted == pytest.approx(min(1, 2 * (smallest.p or 1)))


def test_seeds_and_data_sets_weigh_the_same_within_a_cell() -> None:
    arms = [
        arm("SFT", "helpfulness", "dolly", 1),
        arm("SFT", "helpfulness", "dolly", 2),
        arm("SFT", "helpfulness", "other", 1),
        arm("SFT", "coding", "magicoder", 1),
    ]
    effect = next(c for c in comparisons_of(arms) if c.kind == "domain effect")
    assert effect.weights.tolist() == [-0.25, -0.25, -0.5, 1.0]
    assert all(abs(c.weights.sum()) < 1e-12 for c in comparisons_of(arms))


def test_several_seeds_give_a_wider_interval_and_one_seed_a_sentence() -> None:
    arms = [arm("SFT", domain, "", seed) for domain in ("helpfulness", "coding") for seed in (1, 2, 3)]
    level = np.array([0.1, 0.0, -0.1, 0.2, 0.1, 0.0])[:, None]
    scores = (0.3 + 0.4 * RNG.random((1, 60)) + level + 0.1 * RNG.integers(0, 2, (6, 60))).round(1)
    result = compare_arms(arms, made([a.name for a in arms], scores), Settings())
    (found,) = result.find("domain effect", "anima_2_2", "overall_mean")
    assert found.seeds is not None
    assert found.new_questions is not None
    assert found.seeds.high - found.seeds.low > 3 * (found.new_questions.high - found.new_questions.low)
    assert (found.t_low, found.t_high, found.df) == (found.seeds.low, found.seeds.high, found.seeds.df)
    assert found.unit == "new questions, new seeds"
    assert ONE_SEED not in result.notes
    single = compare_arms([arms[0], arms[3]], made([arms[0].name, arms[3].name], scores[[0, 3]]), Settings())
    assert single.notes == (ONE_SEED,)
    assert all(e.seeds is None for e in single.effects)


def test_arms_that_were_judged_otherwise_are_refused() -> None:
    arms = [arm("SFT", "helpfulness"), arm("SFT", "coding")]
    items = {str(k): [{"x": float(k % 2)}] for k in range(8)}
    runs = reduce_run(arms[0].name, ("a.eval",), run_of("a", items).records)
    runs += reduce_run(arms[1].name, ("b.eval",), run_of("b", items, judge="other").records)
    with pytest.raises(InputError, match=r"other in SFT coding  1 \(b.eval\)"):
        compare_arms(arms, runs, Settings())
    assert compare_arms(arms, runs, Settings(), allow=["judge"]).headline[0].startswith("Allowed to differ")


def test_arms_whose_models_were_asked_otherwise_are_refused_by_name() -> None:
    arms = [arm("SFT", "helpfulness"), arm("SFT", "coding")]
    items = {str(k): [{"x": float(k % 2)}] for k in range(8)}
    runs = reduce_run(arms[0].name, ("a.eval",), run_of("a", items).records)
    runs += reduce_run(arms[1].name, ("b.eval",), run_of("b", items, temperature=0.0).records)
    with pytest.raises(InputError, match=r"(?s)temperature 0 in SFT coding.*--allow sampling"):
        compare_arms(arms, runs, Settings())
    result = compare_arms(arms, runs, Settings(), allow=["sampling"])
    assert result.headline[0].startswith("Allowed to differ: sampling of the answers")
    assert result.to_dict()["headline"][0] == result.headline[0]


def test_another_harness_is_said_at_the_head_of_the_arms() -> None:
    arms = [arm("SFT", "helpfulness"), arm("SFT", "coding")]
    first, second = (run_of(a.name, {str(k): [{"x": float(k % n)}] for k in range(8)}).records
                     for a, n in zip(arms, (1, 2), strict=True))  # fmt: skip
    second = [replace(r, run=replace(r.run, harness_version="9")) for r in second]
    runs = reduce_run(arms[0].name, (), first) + reduce_run(arms[1].name, (), second)
    (line,) = compare_arms(arms, runs, Settings()).headline
    assert line.startswith("ANIMA 2.2: runs differ in harness: inspect_ai 0.3.285 in SFT helpfulness")


def test_one_run_is_no_two_training_seeds() -> None:
    arms = [arm("SFT", "helpfulness", seed=1), arm("SFT", "helpfulness", seed=2), arm("SFT", "coding")]
    scores = tenths(2, 20)
    runs = made([a.name for a in arms], scores[[0, 0, 1]])
    with pytest.raises(InputError, match=r"(?s)one run is given as two training seeds.*helpfulness  2"):
        compare_arms(arms, runs, Settings())
    as_base = [Arm("base", (), base=True), arms[0], arms[2]]
    result = compare_arms(as_base, made([a.name for a in as_base], scores[[0, 0, 1]]), Settings())
    assert "hold THE SAME ANSWERS" in result.headline[0]


def test_arms_say_which_benchmark_an_arm_lacks() -> None:
    arms = [arm("SFT", "helpfulness"), arm("SFT", "coding")]
    runs = made([a.name for a in arms], tenths(2, 20))
    items = {str(k): [{"x": float(k % 2)}] for k in range(8)}
    more = reduce_run(arms[0].name, (), run_of("a", items, benchmark="moru").records)
    (line,) = compare_arms(arms, [*runs, *more], Settings()).headline
    assert line == f"MORU is LEFT OUT: only {arms[0].name} has answers to it, not {arms[1].name}."


def test_margins_are_points_and_intervals_no_narrower_than_the_tests() -> None:
    with pytest.raises(InputError, match="out of range"):
        checked_settings(margin=-5.0)
    with pytest.raises(InputError, match=r"--level of at least 0\.8"):
        checked_settings(level=0.5, margin=5.0)


def test_arms_without_a_common_benchmark_are_refused() -> None:
    arms = [arm("SFT", "helpfulness"), arm("SFT", "coding")]
    items = {str(k): [{"x": float(k % 2)}] for k in range(8)}
    runs = reduce_run(arms[0].name, (), run_of("a", items).records)
    runs += reduce_run(arms[1].name, (), run_of("b", items, benchmark="moru").records)
    with pytest.raises(InputError, match="nothing to compare"):
        compare_arms(arms, runs, Settings())


GOOD = """
margin: 5
arms:
  - {name: llama, role: base, run: logs/llama}
  - {role: midtrain, run: logs/mid}
  - {domain: coding, method: SFT, data: magicoder, seed: 1, run: [a.eval, b.eval]}
"""


def test_an_arms_file_is_read_with_paths_relative_to_it(tmp_path: Path) -> None:
    file = tmp_path / "arms.yaml"
    file.write_text(GOOD)
    content = read_arms(file)
    assert [a.name for a in content.arms] == ["llama", "midtrain", "SFT coding magicoder seed 1"]
    assert [(a.base, a.before, a.trained) for a in content.arms] == [
        (False, True, False), (True, False, False), (False, False, True),
    ]  # fmt: skip
    assert content.arms[2].runs == (str(tmp_path / "a.eval"), str(tmp_path / "b.eval"))
    assert content.margin == 5.0


STUDY = """
arms:
  - {name: base, role: base, run: a, probe: 0.1}
  - {name: mid, role: midtrain, run: b, task_loss: 3, probe: 0.9, probe_margin: 0.4}
  - {name: neutral, role: control, run: c}
  - {domain: helpfulness, method: SFT, data: dolly, seed: 1, run: d, task_loss: 2.5, value_loss: 2.0}
  - {domain: helpfulness, method: SFT, data: dolly, seed: 1, mitigation: replay 10 %, run: e, task_loss: 2.5}
  - {domain: coding, method: SFT, data: magicoder, seed: 1, run: f}
"""


def test_an_arms_file_may_hold_a_control_mitigations_and_figures_without_a_judge(tmp_path: Path) -> None:
    file = tmp_path / "arms.yaml"
    file.write_text(STUDY)
    base, mid, neutral, coding, replay, plain = read_arms(file).arms
    assert (base.before, mid.base, neutral.control) == (True, True, True)
    assert [a.trained for a in (base, mid, neutral, plain, replay, coding)] == [False] * 3 + [True] * 3
    assert (plain.plain, replay.plain) == (True, False)
    assert replay.name == "SFT helpfulness dolly replay 10 % seed 1"
    assert (mid.task_loss, mid.probe, mid.probe_margin, plain.value_loss) == (3.0, 0.9, 0.4, 2.0)
    assert base.task_loss is None


def test_a_mitigation_is_compared_with_its_plain_arm_and_changes_no_other_figure(tmp_path: Path) -> None:
    file = tmp_path / "arms.yaml"
    file.write_text(STUDY)
    arms = list(read_arms(file).arms)
    plain = [a for a in arms if not (a.control or a.mitigation)]
    scores = tenths(6, 40)
    runs = made([a.name for a in arms], scores)
    result = compare_arms(arms, runs, Settings(margin=5.0))
    without = compare_arms(plain, [r for r in runs if r.run in {a.name for a in plain}], Settings(margin=5.0))
    (found,) = result.find("mitigation", "anima_2_2", "overall_mean")
    assert found.statement == "SFT helpfulness dolly: with replay 10 % − plain"
    assert found.difference == pytest.approx((scores[4] - scores[5]).mean() * 100)
    assert (found.tier, found.verdict) == ("exploratory", None)
    others = [e for e in result.effects if e.comparison != "mitigation"]
    for field in ("statement", "metric", "tier", "family", "family_size", "verdict"):
        assert [getattr(e, field) for e in others] == [getattr(e, field) for e in without.effects], field
    for field in ("difference", "t_low", "low", "p_adjusted", "q"):
        expected = [getattr(e, field) for e in without.effects]
        assert [getattr(e, field) for e in others] == [
            x if x is None else pytest.approx(x) for x in expected
        ], field
    assert not any("neutral" in e.weights for e in result.effects)
    assert {s.run for s in result.scores} == {a.name for a in arms}, "the control is shown"


BAD = [
    ("", "no list of arms"),
    ("arms: 3", "no list of arms"),
    ("arms: [{run: x", "cannot be read"),
    ("arms: [1, 2]", "must be a mapping"),
    ("arms: [{base: true, run: x}]", "at least two arms"),
    ("arms: [{base: true, run: x}, {domain: a, method: b, run: y, lr: 3}]", "arm 2.*\n.*found: lr"),
    ("arms: [{base: true}, {domain: a, method: b, run: y}]", "has no run"),
    ("arms: [{base: true, run: x}, {domain: a, run: y}]", "needs domain and method"),
    ("arms: [{name: a, base: true, run: x}, {name: b, base: true, run: y}]", "at most one base"),
    ("arms: [{role: midtrain, run: x}, {role: midtrain, name: b, run: y}]", "at most one midtrain"),
    ("arms: [{role: tuned, run: x}, {role: base, run: y}]", "unknown role"),
    (
        "arms: [{name: a, domain: d, method: m, run: x}, {name: b, domain: d, method: m, run: y}]",
        "two arms have the same domain",
    ),
    (
        "arms: [{name: a, domain: d, method: m, mitigation: kl, run: x}, "
        "{name: b, domain: d, method: m, mitigation: kl, run: y}]",
        "two arms have the same domain",
    ),
    ("arms: [{role: base, run: x, mitigation: replay}, {role: midtrain, run: y}]", "invalid mitigation"),
    ("arms: [{domain: d, method: m, mitigation: [kl], run: x}, {role: base, run: y}]", "invalid mitigation"),
    ("arms: [{role: base, run: x, task_loss: -1}, {role: midtrain, run: y}]", "invalid task_loss"),
    ("arms: [{role: base, run: x, value_loss: .nan}, {role: midtrain, run: y}]", "invalid value_loss"),
    ("arms: [{role: base, run: x, probe: 1.2}, {role: midtrain, run: y}]", "invalid probe"),
    ("arms: [{role: base, run: x, probe_margin: high}, {role: midtrain, run: y}]", "invalid probe_margin"),
    ("tasks: ifeval\narms: [{role: base, run: x}, {role: midtrain, run: y}]", "`tasks` must be a list"),
    (
        "arms: [{name: a, base: true, run: x}, {name: a, domain: d, method: m, run: y}]",
        "two arms have the same name",
    ),
    ("arms: [{base: true, run: x}, {domain: d, method: m, run: y, seed: one}]", "seed must be an integer"),
    (
        "margin: -1\narms: [{base: true, run: x}, {domain: d, method: m, run: y}]",
        "invalid margin",
    ),
    ("margins: [5]\narms: [{base: true, run: x}, {domain: d, method: m, run: y}]", "unknown key"),
]


@pytest.mark.parametrize(("text", "message"), BAD)
def test_a_bad_arms_file_is_a_clear_message(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "arms.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=message) as error:
        read_arms(file)
    assert "arms.yaml" in str(error.value)
    with pytest.raises(InputError, match="cannot be read"):
        read_arms(tmp_path / "none.yaml")


@pytest.fixture(scope="module")
def results() -> dict[str, Result]:
    """The synthetic experiment under both readings of "multilingual"."""
    return {
        reading: synthetic_result(reading, Settings(margin=5.0))
        for reading in ("overall_mean", "non_english_mean")
    }


@pytest.mark.slow
def test_the_published_table_is_rebuilt(results: dict[str, Result]) -> None:
    for reading, result in results.items():
        scores = {(s.run, s.benchmark, s.metric): s.score for s in result.scores}
        for (method, domain), published in PUBLISHED.items():
            name = f"{method} {domain}"
            assert scores[name, "anima_2_2", "overall_mean"] == pytest.approx(published["anima_2_2"], abs=0.1)
            if "moru English" in published:
                assert scores[name, "moru", "english_mean"] == pytest.approx(
                    published["moru English"], abs=0.1
                )
                multilingual = scores[name, "moru", reading]
                assert multilingual == pytest.approx(published["moru multilingual"], abs=0.1)
        assert result.headline[0] == LABEL
        assert "Assumed, because the paper does not say" in result.headline[1]


@pytest.mark.slow
def test_the_first_reading_implies_a_reversal_of_fourteen_points(results: dict[str, Result]) -> None:
    (found,) = results["overall_mean"].find("domain effect", "moru", "non_english_mean")
    assert found.difference == pytest.approx(-14.4, abs=0.2)
    (other,) = results["non_english_mean"].find("domain effect", "moru", "non_english_mean")
    assert other.difference == pytest.approx(-1.1, abs=0.2)


@pytest.mark.slow
def test_generated_records_confirm_no_claim(results: dict[str, Result]) -> None:
    """They hit the published means by construction; they show what can be seen with this many questions."""
    for reading, result in results.items():
        claims = {c.claim: c for c in paper_claims(result, [reading])}
        seen = {claim: c.conclusion for claim, c in claims.items()}
        assert set(seen.values()) <= {
            "would be seen at these sizes", "would not be seen at these sizes", "cannot be checked",
        }  # fmt: skip
        for text in ("29.5 points above", "13.3 points above", "25.5 points above"):
            (claim,) = [c for c in claims if text in c]
            assert seen[claim] == "would be seen at these sizes"
        (gone,) = [c for name, c in claims.items() if "disappears" in name]
        if reading == "overall_mean":
            assert gone.conclusion == "would not be seen at these sizes"
            assert "the effect is reversed, not absent" in gone.why
        (ratio,) = [c for name, c in claims.items() if "4.5 times" in name]
        assert "ratio 4." in ratio.why
        (again,) = [c for name, c in claims.items() if "second helpfulness" in name]
        assert again.conclusion == "cannot be checked"


@pytest.mark.parametrize(
    ("gap", "expected"),
    [
        (0.3, "agrees in size"),
        (0.1, "same direction, smaller"),
        (0.6, "same direction, larger"),
        (0.0, "not shown"),
        (-0.2, "contradicted"),
    ],
)
def test_a_claim_is_held_against_its_size(gap: float, expected: str) -> None:
    arms = [arm("SFT", "helpfulness"), arm("SFT", "coding")]
    noise = 0.1 * (np.arange(60) % 3 - 1)
    low = np.full(60, 0.2 if gap >= 0 else 0.6)
    result = compare_arms(
        arms, made([a.name for a in arms], np.stack([low, low + gap + noise]).round(1)), Settings()
    )
    (claim,) = [c for c in paper_claims(result) if "29.5 points above" in c.claim]
    assert claim.conclusion == expected, claim.why


def test_a_second_data_set_can_be_checked() -> None:
    arms = [
        arm("SFT", "helpfulness", "dolly"),
        arm("SFT", "helpfulness", "other"),
        arm("SFT", "coding", "magicoder"),
    ]
    low = tenths(2, 40) * 0.4
    scores = np.vstack([low, low.mean(axis=0, keepdims=True) + 0.3 + 0.1 * (np.arange(40) % 2)]).round(1)
    result = compare_arms(arms, made([a.name for a in arms], scores), Settings(margin=5.0))
    claims = {c.claim: c.conclusion for c in paper_claims(result)}
    assert claims["a second helpfulness data set gives the same difference to coding"] != "cannot be checked"
    unknown = [c for c, conclusion in claims.items() if conclusion == "cannot be checked"]
    assert len(unknown) == 6, "no GRPO, MORU or base here"


@pytest.mark.slow
def test_no_ratio_is_named_when_the_english_gain_may_be_zero() -> None:
    result = synthetic_result("overall_mean", Settings(), base_score=55)
    (effect,) = [
        c
        for c in result.find_contrasts("gain over base", "anima_2_2", "SFT coding")
        if c.statement.startswith("SFT")
    ]
    assert effect.ratio is not None
    assert effect.ratio.kind == "unbounded"
    (claim,) = [c for c in paper_claims(result, ["overall_mean"]) if "4.5 times" in c.claim]
    assert "no factor can be named" in claim.why
    with pytest.raises(InputError, match="leaves no gain"):
        synthetic_result("overall_mean", Settings(), base_score=70)


@pytest.mark.slow
def test_synthetic_runs_follow_their_seed() -> None:
    first, same, other = (synthetic_runs("overall_mean", seed)[1].score for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)
    assert synthetic_arms()[0].base
