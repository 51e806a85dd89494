"""Guards on the answers: what is marked, what is not, and what a marked verdict says."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import made_records
import numpy as np
import pytest
import scipy.stats
from click.testing import CliRunner
from helpers import ANIMA_2_2, MORU
from hypothesis import given, settings
from hypothesis import strategies as st
from ordinary_answers import ANSWERS, REFUSALS, SHORT

from value_retention.adapters.judges.rejudge import answers_of
from value_retention.adapters.lm_eval.truncation import output_judge, truncated_by_length
from value_retention.analysis.cli import cli
from value_retention.analysis.effects.compare import compare_pairs
from value_retention.analysis.runs.guards import GUARDS, marks, marks_of
from value_retention.analysis.runs.scores import RunScores, reduce_run
from value_retention.analysis.stats.settings import Settings
from value_retention.tasks.answers import Answer, Design, make_record
from value_retention.tasks.checks import check_answer, language_of, refuses, repetition, speaks_another
from value_retention.tasks.data import load
from value_retention.tasks.record import AnswerChecks, AnswerRecord

LOOP = "The animal may feel pain. "

# -- marks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", ANSWERS)
def test_ordinary_answers_are_not_marked(language: str) -> None:
    made = made_records.answer("1", 1, {}, text=ANSWERS[language], language=language, truncated=False)
    assert marks(made) == (False,) * 5
    share = repetition(ANSWERS[language])
    assert share is not None
    assert share < 0.05
    for text in SHORT[language]:
        assert not any(marks(made_records.answer("1", 1, {}, text=text, language=language))), text


@pytest.mark.parametrize("benchmark", [ANIMA_2_2, MORU], ids=lambda benchmark: benchmark.name)
def test_the_bundled_questions_are_in_their_own_language_and_not_repetitive(benchmark) -> None:  # type: ignore[no-untyped-def]
    items = load(benchmark, "sample").items
    assert len({item.language for item in items}) >= 3
    judged = [another(item.question, item.language) for item in items]
    assert True not in judged
    assert judged.count(None) <= len(items) / 10
    assert all((repetition(item.question) or 0) < 0.1 for item in items)


def another(text: str, language: str) -> bool | None:
    return speaks_another(language_of(text, language), language)


@pytest.mark.parametrize("language", ANSWERS)
def test_an_answer_in_another_language_is_marked(language: str) -> None:
    for other, text in ANSWERS.items():
        assert another(text, language) == (other != language), other


def test_malay_and_indonesian_are_one_and_regions_do_not_count() -> None:
    assert another(ANSWERS["ms"], "id") is False
    assert another(ANSWERS["zh"], "yue") is False
    assert another(ANSWERS["en"], "en-GB") is False


def test_a_language_that_cannot_be_known_is_unknown() -> None:
    assert another("Yes, it can.", "hi") is None
    assert another(ANSWERS["en"], "und") is None
    assert another("```python\n" + "print('an animal')\n" * 50 + "```", "hi") is None


@pytest.mark.parametrize("language", REFUSALS)
def test_refusals_are_found_in_their_language_and_english_ones_anywhere(language: str) -> None:
    assert refuses(REFUSALS[language], language) is True
    assert refuses(REFUSALS["en"], "sw") is True
    assert refuses("I can't help but think of the mouse.", "en") is False
    assert refuses(ANSWERS["en"], "sw") is None  # no list for this language
    assert refuses("Keep the cat indoors at night. " * 10 + REFUSALS[language], language) is False


words = st.lists(
    st.sampled_from(["a", "mouse", "is", "caught", "on", "one", "and", "dies", "slowly"]),
    min_size=24,
    max_size=60,
)


@settings(deadline=None)
@given(words)
def test_repetition_is_the_share_of_sequences_that_occurred_before(text: list[str]) -> None:
    again = sum(text[n : n + 4] in [text[m : m + 4] for m in range(n)] for n in range(len(text) - 3))
    assert repetition(" ".join(text)) == pytest.approx(again / (len(text) - 3))


@pytest.mark.parametrize("loop", [LOOP, "动物也会感到疼痛。", "पशु भी दर्द महसूस करते हैं। ", "a"])
def test_a_loop_is_repetitive_and_has_no_language(loop: str) -> None:
    assert check_answer(ANSWERS["en"] + loop * 400, "en").repetitive is True
    assert check_answer(loop * 200, "hi") == AnswerChecks(None, False, True, False, None)


def test_an_empty_answer_is_only_empty() -> None:
    assert check_answer(" \n", "en") == AnswerChecks(None, True, None, None, None)


def test_what_is_unknown_is_not_counted() -> None:
    known = [None, True, False, None]
    answers = [
        made_records.answer("1", epoch, {"Care": 1.0}, truncated=truncated)
        for epoch, truncated in enumerate(known, start=1)
    ]
    counts = marks_of([answers, answers[:1]])
    truncated = GUARDS.index("truncated")
    assert counts.marked[:, truncated].tolist() == [1, 0]
    assert counts.known[:, truncated].tolist() == [2, 0]
    assert counts.share[0, truncated] == 0.5
    assert np.isnan(counts.share[1, truncated])


# -- truncated --------------------------------------------------------------------------------------------


@given(st.integers(1, 4096), st.integers(0, 5000))
def test_an_answer_near_the_limit_is_neither(limit: int, count: int) -> None:
    found = truncated_by_length(count, limit)
    assert found is (True if count >= 0.98 * limit else False if count < 0.8 * limit else None)


def test_the_models_own_tokenizer_counts_and_without_one_nothing_is_known(tiny: Path) -> None:
    generation = {"max_gen_toks": 50, "until": []}
    cut = output_judge({"pretrained": str(tiny)}, generation)
    assert [cut("word " * 400), cut("Yes."), cut("")] == [True, False, False]
    served = {"model": "m", "base_url": "http://127.0.0.1:1/v1"}
    assert output_judge({**served, "tokenizer": str(tiny)}, generation)("word " * 400) is True
    for args in (
        served,
        {"pretrained": "no/such"},
        {},
    ):
        assert output_judge(args, generation)("word " * 400) is None
    assert output_judge({"pretrained": str(tiny)}, {})("word " * 400) is None
    stripped = output_judge({"pretrained": str(tiny)}, generation, stripped=True)
    assert [stripped("word " * 400), stripped("Yes.")] == [True, None]


@pytest.mark.parametrize("truncated", [True, False, None])
def test_the_mark_survives_a_file_and_another_judge(truncated: bool | None) -> None:
    dataset = load(ANIMA_2_2, "sample")
    answer = Answer.of(dataset.items[0], 1, "Yes.", truncated=truncated)
    record = make_record(Design.of(dataset), answer, (), (), made_records.answer("1", 1, {}).run)
    read = AnswerRecord.from_json(record.to_json())
    assert read.checks is not None
    assert read.checks.truncated is truncated
    assert answers_of([read], dataset) == [answer]


# -- verdicts ---------------------------------------------------------------------------------------------

GOOD = [0.6 + 0.05 * (n % 5) for n in range(40)]


def made(
    scores: Sequence[float], texts: Sequence[str], truncated: Sequence[bool | None]
) -> list[AnswerRecord]:
    """Two answers to each question; the score is a share of twenty dimensions."""
    return [
        made_records.answer(
            str(n),
            epoch,
            {f"d{k}": float(k < round(score * 20)) for k in range(20)},
            text=text,
            truncated=cut,
        )
        for n, (score, text, cut) in enumerate(zip(scores, texts, truncated, strict=True))
        for epoch in (1, 2)
    ]


def ordinary() -> list[AnswerRecord]:
    return made(GOOD, [ANSWERS["en"]] * 40, [False] * 40)


def collapsed(questions: int) -> list[AnswerRecord]:
    """The same value, but the answers to the first questions are loops up to the limit, and score 0."""
    moved = [score + 0.05 * (-1) ** n for n, score in enumerate(GOOD)]
    broken = [n < questions for n in range(40)]
    return made(
        [0.0 if b else score for b, score in zip(broken, moved, strict=True)],
        [LOOP * 300 if b else ANSWERS["en"] for b in broken],
        broken,
    )


def reduced(**runs: list[AnswerRecord]) -> list[RunScores]:
    return [part for name, records in runs.items() for part in reduce_run(name, (), records)]


def test_the_difference_in_a_guard_is_the_paired_one() -> None:
    result = compare_pairs(reduced(base=ordinary(), tuned=collapsed(9)), Settings(margin=5))
    found = {row.guard: row for row in result.guarded.differences}
    share = [100.0 * (n < 9) for n in range(40)]
    interval = scipy.stats.ttest_rel(share, [0.0] * 40).confidence_interval()
    for guard in ("truncated", "repetitive"):
        row = found[guard]
        assert (row.share_baseline, row.share_run, row.difference) == (0.0, 22.5, 22.5)
        assert (row.low, row.high) == (pytest.approx(interval.low), pytest.approx(interval.high))
        assert row.differs
    assert not found["empty"].differs
    # Loops have no language: their questions are compared by it in neither run.
    assert (found["other language"].questions, found["other language"].difference) == (31, 0.0)


@pytest.mark.parametrize(("questions", "differs"), [(1, False), (12, True)])
def test_a_verdict_is_marked_from_five_points_that_are_shown(questions: int, differs: bool) -> None:
    result = compare_pairs(reduced(base=ordinary(), tuned=collapsed(questions)), Settings(margin=5))
    assert any(row.differs for row in result.guarded.differences) == differs
    assert bool(result.guarded.without) == differs
    assert any("IN FORM" in line for line in result.headline) == differs


def test_runs_that_differ_in_nothing_and_unknown_marks_are_not_pointed_out() -> None:
    unknown = [dataclasses.replace(record, checks=None) for record in collapsed(40)]
    result = compare_pairs(reduced(base=unknown, tuned=unknown), Settings(margin=5))
    assert not result.guarded.without
    row = result.guarded.differences[GUARDS.index("truncated")]
    assert (row.questions, row.share_run, row.difference, row.low) == (0, None, None, None)


def test_a_sensitivity_without_enough_questions_has_no_interval() -> None:
    result = compare_pairs(reduced(base=ordinary(), tuned=collapsed(37)), Settings(margin=5))
    (rest,) = result.guarded.without
    assert (rest.questions, rest.low, rest.verdict) == (3, None, None)
    result = compare_pairs(reduced(base=ordinary(), tuned=collapsed(40)), Settings(margin=5))
    (rest,) = result.guarded.without
    assert (rest.questions, rest.difference) == (0, None)


def write(folder: Path, name: str, records: list[AnswerRecord]) -> str:
    file = folder / f"{name}.records.jsonl"
    file.write_text("".join(record.to_json() + "\n" for record in records), "utf-8")
    return str(file)


def test_a_formatting_collapse_is_named_and_the_rest_is_found_retained(tmp_path: Path) -> None:
    files = [write(tmp_path, "base", ordinary()), write(tmp_path, "tuned", collapsed(12))]
    out = tmp_path / "result.json"
    run = CliRunner().invoke(cli, ["compare", *files, "--margin", "5", "--full", "--json", str(out)])
    assert run.exit_code == 0, run.output
    content = json.loads(out.read_text("utf-8"))
    primary = next(e for e in content["effects"] if e["tier"] == "primary")
    assert primary["verdict"].startswith("degraded")
    guards = content["guards"]
    assert {row["guard"] for row in guards["differences"] if row["differs"]} == {"truncated", "repetitive"}
    (rest,) = guards["without_marked"]
    assert (rest["left_out"], rest["questions"], rest["verdict"]) == (12, 28, "retained")
    assert guards["answers"][1]["guards"]["repetitive"] == {"marked": 24, "known": 80}
    assert "IN FORM" in content["headline"][0]
    for shown in ("without the 12 questions", "30.0 (24 of 80)", "caution, form of the answers: truncated"):
        assert shown in run.output
    plain = CliRunner().invoke(cli, ["compare", *files, "--margin", "5"]).output
    assert "without the 12 questions" in plain
    assert "24 of 80" not in plain
    table = CliRunner().invoke(cli, ["table", *files]).output
    assert "30.0 (24 of 80)" in table
    report = tmp_path / "report.md"
    done = CliRunner().invoke(cli, ["report", *files, "--margin", "5", "-o", str(report)])
    assert done.exit_code == 0, done.output
    for shown in ("without the 12 questions", "24 of 80"):
        assert shown in report.read_text("utf-8")
