"""Synthetic arms with the scores that arXiv 2606.26102 publishes, to see what its figures can support.

The paper leaves some inputs open, which are assumed here and named in every report: the base's score, how the
ANIMA scores split over languages, and whether "multilingual" MORU means all rows or the rows without English.
"""

from __future__ import annotations

from dataclasses import replace

from value_retention.analysis.effects.compare import compare_arms
from value_retention.analysis.effects.design import Arm
from value_retention.analysis.effects.result import Result
from value_retention.analysis.examples.claims import PUBLISHED, RATIO, READINGS, paper_claims
from value_retention.analysis.examples.synthetic import anima_shape, moru_shape, synthetic_records
from value_retention.analysis.runs.align import OTHER, OVERALL
from value_retention.analysis.runs.scores import RunScores, reduce_run
from value_retention.analysis.stats.settings import Settings
from value_retention.tasks.errors import InputError
from value_retention.tasks.record import AnswerRecord

BASE_SCORE = 35.8
"""Assumed ANIMA score of the base, per cent: the authors' log of a mid-trained Llama 3.1 8B."""

ENGLISH_ROWS, OTHER_ROWS = 30, 85
"""ANIMA questions."""

ASSUMED = (
    "Assumed, because the paper does not say: the base scores {base:g} % on ANIMA in every language, the SFT "
    "coding arm's ANIMA gain is 4.5 times larger outside English, the other arms' is equal in all languages, "
    "and questions, models and repeats vary as in public runs. The draws are calibrated to the published means, so "
    "they cannot confirm them; they show which effects of that size can be seen with this many questions."
)


def synthetic_arms() -> list[Arm]:
    """The base and the paper's four arms."""
    arms = [Arm("base", (), base=True)]
    return arms + [Arm(f"{method} {domain}", (), domain, method, "", 1) for method, domain in PUBLISHED]


def synthetic_runs(reading: str, seed: int = 0, base_score: float = BASE_SCORE) -> list[RunScores]:
    """Reduced synthetic runs of every arm.

    Args:
        reading: Key of `READINGS`: multilingual is the mean of all 201 MORU rows, or of the 134 rows without
            English.
        seed: Seed of the grades.
        base_score: ANIMA score of the base, per cent.
    """
    runs = reduce_run("base", (), _anima("base", {"en": base_score, "other": base_score}, seed))
    for (method, domain), scores in PUBLISHED.items():
        name = f"{method} {domain}"
        split = {"all": scores["anima_2_2"]}
        if (method, domain) == ("SFT", "coding"):
            split = _split_by_language(scores["anima_2_2"], base_score)
        records = _anima(name, split, seed)
        if "moru English" in scores:
            english, multilingual = scores["moru English"], scores["moru multilingual"]
            other = (3 * multilingual - english) / 2 if reading == OVERALL else multilingual
            targets = {"en": english / 100, "other": other / 100}
            records += synthetic_records(name, moru_shape(), targets, seed=seed)
        runs += reduce_run(name, (), records)
    return runs


def _anima(name: str, per_cent: dict[str, float], seed: int) -> list[AnswerRecord]:
    targets = {group: score / 100 for group, score in per_cent.items()}
    return synthetic_records(name, anima_shape(), targets, seed=seed)


def _split_by_language(score: float, base: float) -> dict[str, float]:
    """English and other scores with the published mean and a gain ratio of 4.5."""
    english_gain = (score - base) * (ENGLISH_ROWS + OTHER_ROWS) / (ENGLISH_ROWS + RATIO * OTHER_ROWS)
    return {"en": base + english_gain, "other": base + RATIO * english_gain}


def count_draws(
    reading: str, settings: Settings, base_score: float, draws: int
) -> list[tuple[str, dict[str, int]]]:
    """How often each claim comes to each conclusion when the same published scores are drawn anew.

    The scores are hit in every draw; which questions pass is not, and a figure near its threshold depends
    on it.

    Args:
        reading: See `synthetic_runs`.
        settings: Its seed is the first draw's.
        base_score: See `synthetic_runs`.
        draws: Number of draws.

    Returns:
        Per claim its text and a count of every conclusion that occurred.
    """
    counts: dict[str, dict[str, int]] = {}
    for seed in range(settings.seed, settings.seed + draws):
        runs = synthetic_runs(reading, seed, base_score)
        result = compare_arms(synthetic_arms(), runs, settings)
        for claim in paper_claims(result, [reading]):
            tally = counts.setdefault(claim.claim, {})
            tally[claim.conclusion] = tally.get(claim.conclusion, 0) + 1
    return list(counts.items())


READING_FILES = {OVERALL: "_all_rows", OTHER: "_without_english"}
"""Reading of "multilingual", and what it adds to a file's name."""


def synthetic_result(reading: str, settings: Settings, base_score: float = BASE_SCORE) -> Result:
    """The analysis of `synthetic_runs`, with the assumptions in its headline.

    Args:
        reading: See `synthetic_runs`.
        settings: Its seed is also that of the grades; it has a margin.
        base_score: See `synthetic_runs`.

    Raises:
        InputError: a base score at or above the coding arm's.
    """
    published = PUBLISHED["SFT", "coding"]["anima_2_2"]
    if not 0 < base_score < published:
        raise InputError(
            "the base score leaves no gain", where="--base-score", found=base_score,
            expected=f"between 0 and {published:g}",
        )  # fmt: skip
    runs = synthetic_runs(reading, settings.seed, base_score)
    result = compare_arms(synthetic_arms(), runs, settings)
    meaning = f'"Multilingual" MORU is read as: {READINGS[reading]}.'
    first, *rest = result.headline
    return replace(result, headline=(first, ASSUMED.format(base=base_score), meaning, *rest))
