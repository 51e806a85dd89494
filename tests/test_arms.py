"""Experiments of several arms: the file, the comparisons and the seeds."""

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
from value_retention.analysis.effects.result import Result
from value_retention.analysis.effects.rows import Effect
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


def overall(result: Result, comparison: str, statement: str = "") -> Effect:
    """The only effect of a kind of comparison on the mean of ANIMA whose statement contains a text."""
    (found,) = (
        e
        for e in result.effects
        if (e.comparison, e.benchmark, e.metric) == (comparison, "anima_2_2", "overall_mean")
        and statement in e.statement
    )
    return found


def test_two_arms_give_what_compare_gives() -> None:
    arms = [arm("SFT", "helpfulness"), arm("SFT", "coding")]
    scores = tenths(2, 40)
    runs = made([a.name for a in arms], scores)
    found = overall(compare_arms(arms, runs, Settings(margin=5.0)), "domain effect")
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
        found = overall(result, kind, text).difference
        assert found is not None
        return found

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
    found = overall(result, "domain effect")
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
    found = overall(result, "mitigation")
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
    ("arms: [{role: base, run: x}]", "at least two arms"),
    ("arms: [{role: base, run: x}, {domain: a, method: b, run: y, lr: 3}]", "arm 2.*\n.*found: lr"),
    ("arms: [{role: base}, {domain: a, method: b, run: y}]", "has no run"),
    ("arms: [{role: base, run: x}, {domain: a, run: y}]", "needs domain and method"),
    ("arms: [{name: a, role: base, run: x}, {name: b, role: base, run: y}]", "at most one base"),
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
        "arms: [{name: a, role: base, run: x}, {name: a, domain: d, method: m, run: y}]",
        "two arms have the same name",
    ),
    ("arms: [{role: base, run: x}, {domain: d, method: m, run: y, seed: one}]", "seed must be an integer"),
    (
        "margin: -1\narms: [{role: base, run: x}, {domain: d, method: m, run: y}]",
        "invalid margin",
    ),
    ("margins: [5]\narms: [{role: base, run: x}, {domain: d, method: m, run: y}]", "unknown key"),
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
