"""English against other languages: both designs, the ratio, matched translations, both readings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.stats
from made_records import MadeRun, answer

from value_retention.analysis import compare
from value_retention.analysis.effects.rows import CONSTANT, FEW, ZERO, Contrast
from value_retention.tasks.cluster import cluster_table, degrees_of_freedom, standard_error

RNG = np.random.default_rng(8)


def anima(name: str, english: list[float], other: list[float], **common: Any) -> MadeRun:
    """English questions, then German ones; ten dimensions, so that scores are tenths."""
    records = [
        answer(str(k), 1, {f"d{d}": float(d < round(s * 10)) for d in range(10)}, language=language, **common)
        for k, (s, language) in enumerate([(s, "en") for s in english] + [(s, "de") for s in other])
    ]
    return MadeRun(name, records)


def moru(name: str, scores: np.ndarray, languages: tuple[str, ...] = ("en", "ms", "hi")) -> MadeRun:
    """Scores of shape (questions, languages)."""
    records = [
        answer(
            f"{k}_{language}",
            1,
            {f"d{d}": float(d < round(score * 10)) for d in range(10)},
            language=language,
            cluster=str(k),
            benchmark="moru",
            version="3-B",
        )
        for k, row in enumerate(scores)
        for language, score in zip(languages, row, strict=True)
    ]
    return MadeRun(name, records)


def tenths(shape: tuple[int, ...]) -> np.ndarray:
    return RNG.integers(2, 9, shape) / 10


def only(result: Any, design: str) -> Contrast:
    (found,) = [c for c in result.contrasts if c.design == design]
    return found


def test_anima_compares_two_independent_groups_as_welch_does() -> None:
    before, after = tenths((31,)), tenths((31,))
    after[12:] = np.minimum(1, after[12:] + 0.2)
    a, b = (anima(n, s[:12].tolist(), s[12:].tolist()) for n, s in (("a", before), ("b", after)))
    found = only(compare([a, b]), "independent groups (Welch)")
    difference = (after - before).round(6)
    test = scipy.stats.ttest_ind(difference[12:], difference[:12], equal_var=False)
    interval = test.confidence_interval()
    assert (found.t_low, found.t_high) == (
        pytest.approx(interval.low * 100),
        pytest.approx(interval.high * 100),
    )
    assert (found.p, found.df) == (pytest.approx(test.pvalue), pytest.approx(test.df))
    assert (found.clusters_english, found.clusters_other) == (12, 19)


def test_moru_pairs_by_question() -> None:
    before, after = tenths((20, 3)), tenths((20, 3))
    found = only(compare([moru("a", before), moru("b", after)]), "paired by question")
    difference = after - before
    test = scipy.stats.ttest_rel(difference[:, 1:].mean(axis=1), difference[:, 0])
    interval = test.confidence_interval()
    assert (found.t_low, found.t_high) == (
        pytest.approx(interval.low * 100),
        pytest.approx(interval.high * 100),
    )
    assert found.p == pytest.approx(test.pvalue)
    assert found.boot_low == pytest.approx(found.t_low, abs=6)
    assert (found.clusters_english, found.clusters_other) == (20, 20)


def test_a_question_scored_on_one_side_only_is_left_out_of_the_pairs() -> None:
    before, after = tenths((10, 3)), tenths((10, 3))
    a, b = moru("a", before), moru("b", after)
    lost = [
        replace(r, overall=None, status="unscored", dimension_scores=dict.fromkeys(r.dimensions))
        if r.item == "4_en"
        else r
        for r in b.records
    ]
    found = only(compare([a, MadeRun("b", lost)]), "paired by question")
    keep = np.arange(10) != 4
    difference = (after - before)[keep]
    assert found.clusters_english == 9
    assert found.english == pytest.approx(difference[:, 0].mean() * 100)
    assert found.other == pytest.approx(difference[:, 1:].mean() * 100)


def test_matched_translations_are_described_beside_and_tested_from_six() -> None:
    def records(shift: float, groups: int) -> list[Any]:
        made = []
        for k in range(8):
            gain = shift if k < 4 else 0.0
            level = {f"d{d}": float(d < round((0.3 + gain + 0.1 * (k % 3)) * 10)) for d in range(10)}
            made.append(answer(f"e{k}", 1, level, cluster=f"text {k}"))
            text = f"text {k}" if k < groups else f"unmatched {k}"
            made.append(answer(f"g{k}", 1, level, language="de", cluster=text))
        return made

    few = compare([MadeRun("a", records(0, 3)), MadeRun("b", records(0.2, 3))])
    found = only(few, "matched translations")
    assert (found.clusters_english, found.clusters_other) == (3, 3)
    assert (found.english, found.other) == (pytest.approx(20), pytest.approx(20))
    assert found.reasons["p"] == found.reasons["interval"] == FEW
    # Where most questions have both languages, the main design pairs them.
    many = only(compare([MadeRun("a", records(0, 8)), MadeRun("b", records(0.2, 8))]), "paired by question")
    assert many.clusters_english == 8
    assert many.reasons["p"] == CONSTANT
    none = compare([MadeRun("a", records(0, 0)), MadeRun("b", records(0.2, 0))])
    assert {c.design for c in none.contrasts} == {"independent groups (Welch)"}


def test_both_readings_of_multilingual_are_figures_of_their_own() -> None:
    before, after = tenths((20, 3)), tenths((20, 3))
    result = compare([moru("a", before), moru("b", after)])
    rows = {e.metric: e.difference for e in result.effects if e.kind in ("overall", "group")}
    difference = (after - before) * 100
    assert rows["overall_mean"] == pytest.approx(difference.mean())
    assert rows["non_english_mean"] == pytest.approx(difference[:, 1:].mean())
    assert rows["overall_mean"] == pytest.approx((rows["english_mean"] + 2 * rows["non_english_mean"]) / 3)


def test_an_unbounded_ratio_is_said_and_the_difference_leads() -> None:
    noise = np.array([0.3, -0.3, 0.2, -0.2, 0.1, -0.1, 0.3, -0.2])
    before = np.full((8, 3), 0.4)
    after = before + np.stack([noise, noise[::-1] + 0.3, np.full(8, 0.3)], axis=1)
    found = only(compare([moru("a", before), moru("b", after)]), "paired by question")
    assert found.ratio is not None
    assert found.ratio.kind == "unbounded"
    assert "the ratio of the effects is unbounded; report the difference" in found.note


def test_significance_in_one_group_only_is_not_called_a_difference() -> None:
    noise = np.tile([0.3, -0.3, 0.2, -0.1], 3)
    before = np.full((12, 3), 0.4)
    after = before + np.stack([np.tile([0.1, 0.2], 6), noise + 0.05, noise], axis=1)
    found = only(compare([moru("a", before), moru("b", after)]), "paired by question")
    assert "English tests significant and non-English does not. That alone does not show" in found.note


def test_no_change_at_all_has_reasons() -> None:
    scores = tenths((9, 3))
    found = only(compare([moru("a", scores), moru("b", scores)]), "paired by question")
    assert found.difference == pytest.approx(0)
    assert (found.t_low, found.p, found.ratio) == (None, None, None)
    assert set(found.reasons.values()) == {CONSTANT}


def test_an_english_effect_of_zero_has_no_ratio() -> None:
    before = np.full((8, 3), 0.4)
    after = before.copy()
    after[:, 0] += np.tile([0.1, -0.1], 4)
    after[:, 1] += np.tile([0.1, 0.3], 4)
    found = only(compare([moru("a", before), moru("b", after)]), "paired by question")
    # Rounding may leave some 1e-17, which is 0 by its own error.
    assert found.ratio is None
    assert found.reasons["ratio"] == ZERO


def test_one_language_has_no_contrast() -> None:
    a, b = (moru(n, tenths((9, 1)), ("en",)) for n in "ab")
    result = compare([a, b])
    assert result.contrasts == ()
    assert {e.metric for e in result.effects if e.kind == "group"} == set()


def test_unequal_clusters_have_fewer_degrees_of_freedom_than_their_number() -> None:
    """Eight renderings of one German text beside single questions; equal clusters are Welch's case above."""
    scores = tenths((2, 40))
    runs = []
    for name, row in zip("ab", scores, strict=True):
        made = anima(name, row[:12].tolist(), row[12:].tolist())
        records = [
            replace(record, cluster="text" if 12 <= k < 20 else record.cluster)
            for k, record in enumerate(made.records)
        ]
        runs.append(MadeRun(name, records))
    found = only(compare(runs), "independent groups (Welch)")
    assert found.clusters_other == 21
    difference = (scores[1] - scores[0]).round(6)
    sizes = np.array([[8.0] + [1.0] * 20]).T
    sums = np.array([[difference[12:20].sum(), *difference[20:]]]).T
    table = cluster_table(sums, sizes)
    variances = difference[:12].var(ddof=1) / 12, float(standard_error(table)[0]) ** 2
    freedom = 11, float(degrees_of_freedom(table)[0])
    assert freedom[1] < 10
    assert found.df == pytest.approx(
        sum(variances) ** 2 / sum(v**2 / n for v, n in zip(variances, freedom, strict=True))
    )
