"""The probe: which answers make a pair, and whether its figures are what transformers and scipy give by hand."""

from __future__ import annotations

import itertools
import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import helpers
import made_records
import numpy as np
import pytest
import scipy.stats
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from train_support import Run as Script
from train_support import settings as script_settings
from transformers import AutoModelForCausalLM, AutoTokenizer

from value_retention.analysis.cli import cli
from value_retention.analysis.runs.load import Run, load_runs
from value_retention.analysis.runs.pairs import Made, Options, cut, make_pairs
from value_retention.analysis.stats.cluster import t_interval
from value_retention.analysis.stats.rank import rank_correlation
from value_retention.tasks.cluster import cluster_table
from value_retention.tasks.errors import InputError
from value_retention.tasks.pairs import Pair, Side, pair_hash, pairs_text, read_pairs
from value_retention.tasks.record import AnswerRecord
from value_retention.train import pairs as train_pairs
from value_retention.train.arguments import TrainError
from value_retention.train.probe import named

KIND = "Every hen can feel pain, and her interests count beside the price of an egg."
COLD = "The price of an egg is what counts here. Ask the farmer for a larger discount, and buy in bulk every month."
REFUSAL = "I'm sorry, but I can't help with that. Ask the farmer for a larger discount, and buy in bulk."


def said(item: str, text: str, grade: float | None, epoch: int = 1, **more: Any) -> AnswerRecord:
    truncated = more.pop("truncated", None)
    return made_records.answer(item, epoch, {"Care": grade}, text=text, truncated=truncated, **more)


def run_of(name: str, *records: AnswerRecord) -> Run:
    return Run(name, (), tuple(replace(r, run=replace(r.run, model=f"lab/{name}")) for r in records))


def made(first: list[AnswerRecord], second: list[AnswerRecord], **options: Any) -> Made:
    return make_pairs(run_of("mid", *first), run_of("base", *second), Options(**options))


# -- which answers make a pair ------------------------------------------------------------------------------


def test_the_higher_grade_of_the_first_run_is_chosen_and_a_longer_answer_of_the_second_is_cut() -> None:
    found = made([said("1", KIND, 1.0)], [said("1", COLD, 0.0)])
    (pair,) = found.pairs
    assert (pair.chosen, pair.messages) == (KIND, ({"role": "user", "content": "question 1"},))
    assert COLD.startswith(pair.rejected + " ")
    assert len(KIND) - 10 < len(pair.rejected) <= len(KIND)
    assert (pair.chosen_from.run, pair.chosen_from.grade, pair.chosen_from.cut) == ("mid", 1.0, False)
    assert (pair.rejected_from.model, pair.rejected_from.grade, pair.rejected_from.cut) == (
        "lab/base",
        0.0,
        True,
    )
    assert pair.cluster == "anima_2_2/1"


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        (said("1", KIND, 0.0), said("1", COLD, 0.0), "no higher grade in the first run"),
        (said("1", KIND, 0.0), said("1", COLD, 1.0), "no higher grade in the first run"),
        (said("1", KIND, None), said("1", COLD, 0.0), "a grade is missing"),
        (said("1", REFUSAL, 1.0), said("1", COLD, 0.0), "the first run's answer: refusing"),
        (said("1", KIND, 1.0, truncated=True), said("1", COLD, 0.0), "the first run's answer: truncated"),
        (said("1", KIND, 1.0), said("1", " ", 0.0), "the second run's answer: empty"),
        (said("1", KIND, 1.0), said("1", REFUSAL, 0.0), "the second run's answer: refusing"),
        (said("1", COLD, 1.0), said("1", KIND, 0.0, truncated=True), "the second run's answer: truncated"),
        (said("1", KIND, 1.0), said("1", "Buy eggs.", 0.0), "lengths too different"),
    ],
)
def test_a_question_without_a_pair_is_counted_with_its_reason(
    first: AnswerRecord, second: AnswerRecord, reason: str
) -> None:
    found = made([first], [second])
    assert (found.pairs, found.questions, found.without) == ((), 1, {reason: 1})


def test_where_the_pair_has_the_beginning_of_an_answer_it_does_not_matter_that_the_limit_cut_its_end() -> (
    None
):
    assert len(made([said("1", KIND, 1.0)], [said("1", COLD, 0.0, truncated=True)]).pairs) == 1


def test_a_mark_that_is_kept_excludes_nothing() -> None:
    records = [said("1", KIND, 1.0, truncated=True)], [said("1", COLD, 0.0)]
    assert len(made(*records, keep=("truncated",)).pairs) == 1


def test_other_epochs_are_tried_and_a_question_has_one_pair() -> None:
    first = [said("1", REFUSAL, 1.0), said("1", KIND, 1.0, 2), said("1", KIND[:-1] + "!", 1.0, 3)]
    second = [said("1", COLD, 0.0), said("1", COLD, 0.0, 2), said("1", "Buy " + COLD, 0.0, 3)]
    (pair,) = made(first, second).pairs
    assert pair.chosen_from.epoch in (2, 3)


def test_renderings_of_one_question_and_repeated_answers_do_not_dominate() -> None:
    texts = [f"{KIND} And the {n}th hen too." for n in range(6)]
    first = [said(str(n), text, 1.0, cluster="text") for n, text in enumerate(texts)]
    second = [said(str(n), COLD, 0.0, cluster="text") for n in range(6)]
    found = made(first, second)
    assert (len(found.pairs), found.dropped) == (3, {"more than 3 of a cluster": 3})
    same = made([said(n, KIND, 1.0) for n in "ab"], [said(n, COLD, 0.0) for n in "ab"])
    assert (len(same.pairs), same.dropped) == (1, {"the same two answers as in another pair": 1})


def test_runs_that_cannot_be_compared_and_runs_of_one_model_are_refused() -> None:
    with pytest.raises(InputError, match="not comparable"):
        made([said("1", KIND, 1.0)], [said("1", COLD, 0.0, judge="lab/other")])
    assert made([said("1", KIND, 1.0)], [said("1", COLD, 0.0, judge="lab/other")], allow=("judge",)).pairs
    run = run_of("mid", said("1", KIND, 1.0))
    with pytest.raises(InputError, match="of one model"):
        make_pairs(run, replace(run, name="again"), Options())
    with pytest.raises(InputError, match="no benchmark in common"):
        made([said("1", KIND, 1.0)], [said("1", COLD, 0.0, benchmark="moru")])


ANSWERS = st.lists(
    st.tuples(
        st.integers(0, 7), st.integers(1, 3), st.text("abc é的 \n", max_size=60),
        st.sampled_from([0.0, 0.5, 1.0, None]), st.sampled_from([True, False, None]),
    ),
    min_size=1, max_size=16, unique_by=lambda row: row[:2],
)  # fmt: skip


@given(ANSWERS, ANSWERS, st.floats(1, 3))
@settings(max_examples=60)
def test_every_pair_keeps_its_promises(first: Any, second: Any, ratio: float) -> None:
    allow = ("epochs", "questions")
    records = [
        [
            said(str(i), text, grade, epoch, truncated=cut_, cluster=str(i % 2))
            for i, epoch, text, grade, cut_ in rows
        ]
        for rows in (first, second)
    ]
    found = made(*records, ratio=ratio, allow=allow)
    for pair in found.pairs:
        assert pair.chosen_from.grade > pair.rejected_from.grade
        assert len(pair.rejected) <= len(pair.chosen) <= ratio * len(pair.rejected)
        (source,) = (r for r in records[1] if (r.item, r.epoch) == (pair.item, pair.rejected_from.epoch))
        assert source.answer.strip().startswith(pair.rejected)
    assert max(Counter(pair.item for pair in found.pairs).values(), default=0) <= 1
    assert max(Counter(pair.cluster for pair in found.pairs).values(), default=0) <= 3
    assert len({(pair.item, pair.rejected_from.epoch) for pair in found.pairs}) == len(found.pairs)
    answered = {r.item for r in records[0]} & {r.item for r in records[1]}
    assert found.questions == len(answered)
    assert sum(found.without.values()) + len({p.item for p in found.pairs}) + sum(
        found.dropped.values()
    ) >= len(answered)


@given(st.text(), st.integers(1, 50))
def test_a_cut_text_is_a_beginning_no_longer_than_asked(text: str, length: int) -> None:
    found = cut(text, length)
    assert text.startswith(found)
    assert len(found) <= length or found == text
    assert cut(text, len(text)) == text


# -- the file -----------------------------------------------------------------------------------------------


def pair(number: int, chosen: str, rejected: str, **more: Any) -> Pair:
    messages = ({"role": "user", "content": f"May a hen suffer? {number}"},)
    side = Side("mid", "lab/mid", "", 1, 1.0, False)
    values = {"benchmark": "anima_2_2", "item": str(number), "cluster": str(number), "language": "en"} | more
    return Pair(
        id=str(number), messages=messages, chosen=chosen, rejected=rejected, chosen_from=side,
        rejected_from=replace(side, run="base", grade=0.0), judges=("lab/judge",), data="abc", is_benchmark=False,
        hash=pair_hash(messages, chosen, rejected), **values,
    )  # fmt: skip


@given(st.text(max_size=20), st.text(max_size=20))
def test_both_readers_know_a_pair_by_the_same_hash(chosen: str, rejected: str) -> None:
    own = pair(1, chosen, rejected)
    assert train_pairs.pair_hash(list(own.messages), chosen, rejected) == own.hash


def test_both_readers_read_what_was_written_and_refuse_what_was_changed(tmp_path: Path) -> None:
    rows = [pair(1, KIND, COLD), pair(2, "Ja\u2028nein.", "是的。", language="zh")]
    file = tmp_path / "pairs.jsonl"
    file.write_text(pairs_text(rows), "utf-8")
    read, sha256 = read_pairs(file)
    found = train_pairs.read_pairs(file)
    assert (read, found.sha256, found.sources) == (rows, sha256, ("mid", "base"))
    assert [(p.id, p.chosen, p.rejected, p.language, tuple(p.messages)) for p in found.rows] == [
        (p.id, p.chosen, p.rejected, p.language, p.messages) for p in rows
    ]
    for text in (
        file.read_text("utf-8").replace("price of an egg is", "price of a hen is"),
        '{"id": "1"}\n',
        "",
    ):
        file.write_text(text, "utf-8")
        with pytest.raises(InputError, match="pair"):
            read_pairs(file)
        with pytest.raises(TrainError, match="pair"):
            train_pairs.read_pairs(file)


# -- figures ------------------------------------------------------------------------------------------------

PAIRS = [
    pair(1, KIND, COLD[:70]),
    pair(2, "Yes: hens feel pain.", "No, and who asks?", cluster="1", language="ms"),
]


def by_hand(model: Any, tokenizer: Any, question: str, answer: str) -> float:
    """Mean log-likelihood per token, one token at a time, from the blank line after the header on."""
    header = "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n{}<|eot_id|>"
    header = header.format(question) + "<|start_header_id|>assistant<|end_header_id|>"
    before = tokenizer(header, add_special_tokens=False)["input_ids"]
    told = tokenizer("\n\n" + answer, add_special_tokens=False)["input_ids"]
    total = 0.0
    for place, token in enumerate(told):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([before + told[:place]])).logits[0, -1]
        total += float(torch.log_softmax(logits.double(), -1)[token])
    return total / len(told)


@pytest.fixture(scope="module")
def loaded(tiny: Path) -> tuple[Any, Any]:
    return AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32), AutoTokenizer.from_pretrained(
        tiny
    )


def test_scores_are_log_likelihoods_by_hand_in_batches_of_any_size(loaded: tuple[Any, Any]) -> None:
    model, tokenizer = loaded
    rows = [
        train_pairs.Pair(p.id, p.cluster, p.language, list(p.messages), p.chosen, p.rejected) for p in PAIRS
    ]
    expected = [
        [
            by_hand(model, tokenizer, question, answer)
            for question in (row.messages[0]["content"], "")
            for answer in (row.chosen, row.rejected)
        ]
        for row in rows
    ]
    model.train()
    for size in (1, 3, 8):
        assert train_pairs.scores(model, tokenizer, rows, size) == pytest.approx(np.array(expected), abs=1e-5)
    assert model.training


def test_a_pair_that_the_context_does_not_hold_is_left_out_and_counted(loaded: tuple[Any, Any]) -> None:
    model, tokenizer = loaded
    rows = [
        train_pairs.Pair(p.id, p.cluster, p.language, list(p.messages), p.chosen, p.rejected)
        for p in (PAIRS[0], pair(3, KIND * 400, COLD))
    ]
    found = train_pairs.figures(rows, train_pairs.scores(model, tokenizer, rows))
    assert (found["pairs"], found["too_long"]) == (1, 1)
    assert (found["share_low"], found["margin_low"]) == (None, None)


def test_intervals_of_single_pairs_are_those_of_scipy_and_clusters_those_of_the_analysis() -> None:
    values = np.random.default_rng(0).normal(0.2, 1.0, 30)
    alone = train_pairs.interval("m", values, np.arange(30))
    expected = scipy.stats.ttest_1samp(values, 0).confidence_interval()
    assert [*alone.values()] == pytest.approx([values.mean(), expected.low, expected.high])
    places = np.repeat(np.arange(10), 3)
    found = train_pairs.interval("m", values, places)
    sums = np.bincount(places, values)[:, None]
    table = t_interval(cluster_table(sums, np.full((10, 1), 3.0)))
    assert [*found.values()] == pytest.approx([values.mean(), table.low[0], table.high[0]])


def test_repeating_every_pair_in_its_cluster_makes_nothing_surer() -> None:
    values, clusters = np.array([1.0, 0.0, 1.0, 1.0, 0.0, 1.0]), np.arange(6)
    for share in (True, False):
        once = train_pairs.interval("m", values, clusters, share)
        twice = train_pairs.interval("m", np.repeat(values, 2), np.repeat(clusters, 2), share)
        assert [*once.values()] == pytest.approx([*twice.values()])
    every = train_pairs.interval("m", np.ones(6), clusters, share=True)
    assert every["m_high"] == 1.0
    assert 0.4 < every["m_low"] < 0.7


def test_checkpoints_are_named_by_folder_or_by_hand() -> None:
    assert named(["out/sft-dolly-merged", "code=out/b"]) == {
        "sft-dolly": "out/sft-dolly-merged",
        "code": "out/b",
    }
    with pytest.raises(TrainError, match="same name"):
        named(["a/base", "b/base"])


def test_rank_correlation_is_spearmans_and_its_p_counts_every_pairing() -> None:
    first, second = [1, 2, 2, 4, 5, 0], [3, 1, 4, 1, 5, 9]
    found = rank_correlation(first, second)
    rho = scipy.stats.spearmanr(first, second).statistic
    every = [scipy.stats.spearmanr(first, other).statistic for other in itertools.permutations(second)]
    assert (found.rho, found.n) == (pytest.approx(rho), 6)
    assert found.p == pytest.approx(np.mean(np.abs(every) >= abs(rho) - 1e-9))
    assert rank_correlation([1, 2, 3, 4], [2, 4, 6, 8]).p == pytest.approx(2 / 24)
    assert rank_correlation([1, 1, 1], [1, 2, 3]).rho is None
    assert rank_correlation(range(12), range(12)).p == pytest.approx(1 / 50_001, abs=1e-4)


# -- commands -----------------------------------------------------------------------------------------------


def write(folder: Path, run: Run) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(f"{record.to_json()}\n" for record in run.records)
    (folder / f"{run.name}.records.jsonl").write_text(text, "utf-8")
    return f"{run.name}={folder}/{run.name}.records.jsonl"


def test_the_command_says_what_it_made_and_why_the_rest_was_dropped(tmp_path: Path) -> None:
    first = run_of("mid", said("1", KIND, 1.0), said("2", KIND, 0.0))
    second = run_of("base", said("1", COLD, 0.0), said("2", COLD, 0.0))
    paths = [write(tmp_path, run) for run in (first, second)]
    done = CliRunner().invoke(cli, ["probe", *paths, "-o", str(tmp_path / "pairs.jsonl")])
    assert done.exit_code == 0, done.output
    assert "1 pairs of 2 questions, in 1 clusters: en 1" in done.output
    assert "dropped 1 questions: no higher grade in the first run" in done.output
    assert read_pairs(tmp_path / "pairs.jsonl")[0][0].chosen == KIND
    again = CliRunner().invoke(cli, ["probe", *reversed(paths), "-o", str(tmp_path / "none.jsonl")])
    assert isinstance(again.exception, InputError)
    assert "no higher grade in the first run" in str(again.exception)
    assert not (tmp_path / "none.jsonl").exists()


FIGURES = ("share", "margin", "pmi_share", "pmi_margin")


@pytest.mark.slow
def test_lm_eval_and_the_training_side_give_the_same_figures(tiny: Path, tmp_path: Path) -> None:
    texts = [(f"{KIND} {n}", f"{COLD[: 60 + n]}") for n in range(12)]
    rows = [pair(n, *(pick[:: 1 if n % 2 else -1]), cluster=str(n // 2)) for n, pick in enumerate(texts)]
    rows.append(pair(12, "Oui, elle souffre: écoutez-la.", "Non. 是的。", language="fr"))
    file = tmp_path / "pairs.jsonl"
    file.write_text(pairs_text(rows), "utf-8")
    done = helpers.run(
        *(
            helpers.PYTHON,
            "-m",
            "value_retention.train.probe",
            "--pairs",
            file,
            "-o",
            tmp_path / "probe.json",
        ),
        *("--batch_size", "5", f"tiny={tiny}"),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    own = json.loads((tmp_path / "probe.json").read_text())["checkpoints"]["tiny"]
    assert 0 < own["share"] < 1
    assert own["languages"]["fr"]["pairs"] == 1
    for options in ([], ["--apply_chat_template"]):
        out = tmp_path / f"out{len(options)}"
        done = helpers.run(
            *helpers.lm_eval("--model", "hf", "--model_args", f"pretrained={tiny}", "--device", "cpu"),
            *("--tasks", "value_pairs", "--batch_size", "4", *options, "--log_samples", "--output_path", out),
            *helpers.metadata(pairs=str(file)),
        )
        assert done.returncode == 0, done.stderr[-3000:]
        found = helpers.figures(helpers.results(out), "value_pairs")
        assert all(np.isfinite(found[name]) for name in FIGURES)
    assert {name: found[name] for name in FIGURES} == pytest.approx(
        {name: own[name] for name in FIGURES}, abs=1e-4
    )
    assert helpers.results(out)["results"]["value_pairs"]["margin_stderr,none"] > 0
    with pytest.raises(InputError, match="no answers found"):
        load_runs([out])


@pytest.mark.slow
def test_lm_eval_refuses_missing_pairs_before_it_loads_a_model(tmp_path: Path) -> None:
    command = helpers.lm_eval("--model", "hf", "--model_args", "pretrained=nowhere", "--tasks", "value_pairs")
    done = helpers.run(*command, "--device", "cpu")
    helpers.assert_plain_refusal(done, "value_pairs needs pairs")
    done = helpers.run(*command, "--device", "cpu", *helpers.metadata(pairs=str(tmp_path / "none.jsonl")))
    helpers.assert_plain_refusal(done, "the pairs cannot be read")


@pytest.mark.slow
def test_training_logs_the_figures_of_the_probe_at_every_evaluation(tiny: Path, tmp_path: Path) -> None:
    file, held_out = tmp_path / "pairs.jsonl", tmp_path / "value.jsonl"
    file.write_text(pairs_text(PAIRS), "utf-8")
    row = {
        "prompt": [{"role": "user", "content": "A hen?"}],
        "completion": [{"role": "assistant", "content": "Yes."}],
    }
    held_out.write_text(json.dumps(row) + "\n", "utf-8")
    shutil.copy(held_out, tmp_path / "task.jsonl")
    rows = [str(held_out), str(tmp_path / "task.jsonl")]
    changes: dict[str, Any] = {"max_steps": 4, "eval_strategy": "steps", "eval_steps": 2, "eval_rows": rows}
    run = Script("sft", tmp_path / "out", script_settings("sft", tiny, value_pairs=str(file), **changes))
    assert run.wait() == 0, run.output()
    history = json.loads((tmp_path / "out" / "trainer_state.json").read_text())["log_history"]
    logged = {entry["step"]: entry for entry in history if "value_pairs_margin" in entry}
    assert list(logged) == [2, 4]
    assert sum("value_pairs_margin" in entry for entry in history) == 2
    merged = helpers.run(
        *(helpers.PYTHON, "-m", "value_retention.train.merge", "--model", tmp_path / "out"),
        *("--output", tmp_path / "merged", "--dtype", "float32"),
    )
    assert merged.returncode == 0, merged.stderr
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "merged")
    found = train_pairs.read_pairs(file).rows
    figures = train_pairs.figures(found, train_pairs.scores(model, tokenizer, found))
    assert logged[4]["value_pairs_margin"] == pytest.approx(figures["margin"], abs=1e-4)
    never = Script("sft", tmp_path / "never", script_settings("sft", tiny, value_pairs=str(file)))
    assert never.wait() == 2
    assert "value_pairs needs evaluation" in never.output()
