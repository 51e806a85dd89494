"""Training rows: formats, dropped rows, matched arms and invalid settings; and the shipped configs."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from value_retention.train.arguments import DataArguments, TrainError, is_disk_full, parse_arguments
from value_retention.train.data import FORMATS, SAMPLES, build_rows, read_source, stage_row
from value_retention.train.rows import Rows, UnusableRowError, rows_bytes
from value_retention.train.tiny import tiny_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    made = tiny_tokenizer(512)
    made.eos_token = "<|eot_id|>"
    return made


def rows_of(path: Path, tokenizer: Any, stage: str, dataset_format: str | None, **more: Any) -> Rows:
    arguments = DataArguments(stage=stage, dataset=str(path), dataset_format=dataset_format, **more)
    return build_rows(arguments, tokenizer)


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


RAW: dict[str, tuple[dict[str, Any], list[str], str | None]] = {
    # format -> (row, the turns of the prompt, the answer)
    "dolly": (
        {"instruction": " Do it. ", "context": "With this.", "response": "Done.\n", "category": "x"},
        ["Do it.\n\nWith this."],
        "Done.",
    ),
    "alpaca": ({"instruction": "Do it.", "input": "", "output": "Done."}, ["Do it."], "Done."),
    "magicoder": ({"instruction": "Code it.", "response": "pass"}, ["Code it."], "pass"),
    "oss_instruct": ({"lang": "c", "problem": "Code it.", "solution": "x"}, ["Code it."], "x"),
    "rlhflow": (
        {"context_messages": [{"role": "user", "content": "A"}, {"role": "assistant", "content": "B"},
                              {"role": "user", "content": "C"}]},
        ["A", "B", "C"],
        None,
    ),
    "ultrafeedback": (
        {"prompt": "A", "chosen": [{"role": "user", "content": "A"}, {"role": "assistant", "content": "B"}]},
        ["A"],
        "B",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RAW)
def test_a_format_reads_the_columns_of_its_data_set(name: str) -> None:
    raw, turns, answer = RAW[name]
    columns, read = FORMATS[name]
    assert set(columns) <= set(raw)
    fitting = [known for known, (needed, _) in FORMATS.items() if set(needed) <= set(raw)]
    assert fitting[0] == name, "the columns alone tell the format"
    example = read(raw)
    assert [message["content"] for message in example["prompt"]] == turns
    assert [message["content"] for message in example.get("completion", [])] == ([answer] if answer else [])
    assert set(stage_row(example, "grpo")) == {"prompt"}  # an answer never reaches GRPO
    if answer is None:
        with pytest.raises(UnusableRowError, match="no answer"):
            stage_row(example, "sft")
    else:
        assert stage_row(example, "sft")["completion"] == [{"role": "assistant", "content": answer}]
    with pytest.raises(UnusableRowError, match="not a document"):
        stage_row(example, "midtrain")


@pytest.mark.parametrize("column", ["instruction", "response"])
@pytest.mark.parametrize("value", [None, "", "  \n", 3])
def test_an_empty_cell_makes_a_row_unusable(column: str, value: Any) -> None:
    raw = {"instruction": "Do it.", "context": "", "response": "Done.", column: value}
    with pytest.raises(UnusableRowError, match=f"empty {column}"):
        FORMATS["dolly"][1](raw)


@pytest.mark.parametrize(
    "messages",
    [[], None, [{"role": "assistant", "content": "B"}], [{"role": "robot", "content": "A"}],
     [{"role": "user", "content": ""}], ["A"]],
)  # fmt: skip
def test_an_invalid_conversation_makes_a_row_unusable(messages: Any) -> None:
    with pytest.raises(UnusableRowError):
        FORMATS["rlhflow"][1]({"context_messages": messages})


def test_every_row_is_accounted_for_by_reason(tokenizer: Any, tmp_path: Path) -> None:
    good = [{"instruction": f"Task {i}.", "response": "Done."} for i in range(10)]
    bad = [{"instruction": "x", "response": ""}, {"instruction": "long " * 60, "response": "x"}, good[0]]
    path = write(tmp_path / "rows.jsonl", good + bad)
    built = rows_of(path, tokenizer, "sft", "magicoder", max_row_tokens=60)
    report = built.report
    assert (report.rows_in, report.rows_out, report.not_taken) == (13, 10, 0)
    assert report.dropped == {
        "empty response": 1,
        "longer than 60 tokens": 1,
        "duplicate of an earlier row": 1,
    }
    some = rows_of(path, tokenizer, "sft", "magicoder", max_row_tokens=60, num_examples=4).report
    assert some.rows_in == some.rows_out + some.not_taken + sum(some.dropped.values())


def test_tokens_are_those_that_trl_trains_on(tokenizer: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [{"instruction": "Ask", "response": "Answer me."}])
    report = rows_of(path, tokenizer, "sft", "magicoder").report
    whole = "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nAsk<|eot_id|>"
    whole += "<|start_header_id|>assistant<|end_header_id|>\n\n"
    answer = "Answer me.<|eot_id|>"
    count = [len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in (whole, answer)]
    assert (report.tokens, report.loss_tokens) == (sum(count), count[1])


def test_tokens_and_labels_are_those_that_trl_makes(tokenizer: Any, tmp_path: Path) -> None:
    """The oracle is TRL's own preparation of rows of one kind; ours also takes both kinds at once."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    from value_retention.train.run import as_dataset

    made: Any = object.__new__(SFTTrainer)
    made.completion_only_loss, made.chat_template = True, None
    args = SFTConfig(output_dir=str(tmp_path), max_length=512, use_cpu=True, bf16=False, report_to="none")

    def theirs(rows: list[Any], end: str) -> list[Any]:
        made._tokenizer = copy.deepcopy(tokenizer)
        made._tokenizer.eos_token = end
        found = made._prepare_dataset(Dataset.from_list(rows), made._tokenizer, args, False, None, "train")
        return list(zip(found["input_ids"], found["labels"], strict=True))

    dialogues = build_rows(
        DataArguments(stage="sft", dataset="sample:alpaca", num_examples=20), tokenizer
    ).rows
    plain = [{"prompt": "1 + 1 =", "completion": " 2"}, {"prompt": "Say", "completion": " it<|eot_id|>"}]
    documents = build_rows(
        DataArguments(stage="midtrain", dataset="sample:compassion", num_examples=20), tokenizer
    ).rows
    whole = theirs(documents, "<|end_of_text|>")
    # No token comes before the first, so no loss is computed for its label.
    wanted = [*theirs(dialogues, "<|eot_id|>"), *theirs(plain, "<|eot_id|>")]
    wanted += [(ids, [-100, *labels[1:]]) for ids, labels in whole]
    mixed = as_dataset([*dialogues, *plain, *documents], DataArguments(stage="sft"), tokenizer)
    assert list(zip(mixed["input_ids"], mixed["labels"], strict=True)) == wanted
    begin, end = tokenizer.convert_tokens_to_ids(["<|begin_of_text|>", "<|end_of_text|>"])
    assert all((ids[0], ids.count(begin), ids[-1]) == (begin, 1, end) for ids, _ in whole)


def test_held_out_rows_are_the_same_in_every_arm_of_a_data_set_and_never_trained_on(tokenizer: Any) -> None:
    every = first(tokenizer, "dolly")
    arms = [first(tokenizer, "dolly", held_out=24, loss_tokens=size) for size in (600, 2600)]
    for arm in arms:
        assert arm.held_out == every.rows[:24]
        assert arm.rows == every.rows[24 : 24 + len(arm.rows)]
        assert arm.report.rows_in == arm.report.rows_out + arm.report.not_taken + 24
    with pytest.raises(TrainError, match="held out: 150"):
        first(tokenizer, "dolly", held_out=150, num_examples=20)


@pytest.mark.parametrize("share", [0.1, 0.33])
def test_replay_adds_documents_up_to_its_share_and_leaves_the_rows_of_the_arm_as_they_are(
    share: float, tokenizer: Any, tmp_path: Path
) -> None:
    read = build_rows(DataArguments(stage="midtrain", dataset="sample:compassion", held_out=24), tokenizer)
    file = tmp_path / "midtrain.jsonl"
    file.write_bytes(rows_bytes(read.rows))
    plain = first(tokenizer, "dolly", loss_tokens=2600)
    mixed = first(tokenizer, "dolly", loss_tokens=2600, replay=share, replay_rows=str(file))
    assert sorted(map(repr, (row for row in mixed.rows if "text" not in row))) == sorted(
        map(repr, plain.rows)
    )
    documents = [row for row in mixed.rows if "text" in row]
    assert all(row in read.rows and row not in read.held_out for row in documents)
    report = mixed.report
    assert report.replayed_loss_tokens == report.loss_tokens - plain.report.loss_tokens
    assert report.replayed_loss_tokens / report.loss_tokens == pytest.approx(share, abs=0.02)
    assert (report.replayed_rows, report.rows_out) == (len(documents), len(mixed.rows))
    # Read back from its file, the arm counts the same.
    rows = tmp_path / "arm.jsonl"
    rows.write_bytes(rows_bytes(mixed.rows))
    again = build_rows(DataArguments(stage="sft", rows=str(rows), replay=share), tokenizer)
    assert again.rows == mixed.rows
    assert (again.report.replayed_loss_tokens, again.report.sha256) == (
        report.replayed_loss_tokens,
        report.sha256,
    )
    for wrong in ({"replay_rows": None}, {"replay": 1.0}, {"replay": 0.999}, {"replay": 0.001}):
        with pytest.raises(TrainError, match=r"no documents to replay|too few usable rows|less than half"):
            first(tokenizer, "dolly", loss_tokens=2600, **({"replay": 0.1, "replay_rows": str(file)} | wrong))


def test_the_seed_determines_the_order(tokenizer: Any) -> None:
    def content(seed: int) -> bytes:
        arguments = DataArguments(
            stage="grpo", dataset="sample:rlhflow", dataset_format="rlhflow", shuffle_seed=seed
        )
        return rows_bytes(build_rows(arguments, tokenizer).rows)

    assert content(1) == content(1)
    assert content(1) != content(2)
    assert sorted(content(1).splitlines()) == sorted(content(2).splitlines())


def test_rows_written_down_are_read_back_as_the_same_rows(tokenizer: Any, tmp_path: Path) -> None:
    built = build_rows(
        DataArguments(stage="sft", dataset="sample:alpaca", dataset_format="alpaca", num_examples=20),
        tokenizer,
    )
    path = tmp_path / "rows.jsonl"
    path.write_bytes(rows_bytes(built.rows))
    again = build_rows(DataArguments(stage="sft", rows=str(path), num_examples=3), tokenizer)
    assert again.rows == built.rows
    assert again.report.sha256 == built.report.sha256
    assert again.report.tokens == built.report.tokens
    with pytest.raises(TrainError, match="for another stage"):
        build_rows(DataArguments(stage="grpo", rows=str(path)), tokenizer)


def first(tokenizer: Any, dataset: str, **more: Any) -> Rows:
    return build_rows(DataArguments(stage="sft", dataset=f"sample:{dataset}", **more), tokenizer)


@pytest.mark.parametrize("dataset", ["dolly", "magicoder_evol", "alpaca"])
def test_arms_of_equal_loss_tokens_differ_in_how_many_rows_they_take_and_never_in_which(
    dataset: str, tokenizer: Any
) -> None:
    every = first(tokenizer, dataset)
    matched = first(tokenizer, dataset, loss_tokens=2000)
    count = matched.report.rows_out
    assert matched.rows == every.rows[:count], (
        "the first rows of the shuffled data set, whatever their length"
    )
    (shorter, longer) = (first(tokenizer, dataset, num_examples=count + by).report for by in (-1, 1))
    found = matched.report.loss_tokens
    assert abs(found - 2000) <= min(abs(shorter.loss_tokens - 2000), abs(longer.loss_tokens - 2000))
    assert found == pytest.approx(2000, rel=0.03)
    assert (matched.report.tokens > found, matched.report.not_taken) == (True, 160 - count)


def test_too_few_rows_and_two_sizes_at_once_are_refused(tokenizer: Any) -> None:
    with pytest.raises(TrainError, match=r"160 of 160 rows, \d+ tokens with a loss"):
        first(tokenizer, "dolly", loss_tokens=6000)
    with pytest.raises(TrainError, match="expected: 200 rows"):
        first(tokenizer, "dolly", num_examples=200)
    with pytest.raises(TrainError, match="num_examples or loss_tokens"):
        first(tokenizer, "dolly", num_examples=20, loss_tokens=600)


USER, SAID = {"role": "user", "content": "Ask"}, {"role": "assistant", "content": "Answer me."}


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        ({"messages": [USER, SAID, USER, SAID]}, {"prompt": [USER, SAID, USER], "completion": [SAID]}),
        ({"prompt": [USER], "completion": [SAID]}, {"prompt": [USER], "completion": [SAID]}),
        ({"prompt": "1 + 1 =", "completion": "2"}, {"prompt": "1 + 1 =", "completion": "2"}),
    ],
)
def test_the_standard_shapes_of_trl_are_taken_as_they_are(
    row: Any, wanted: Any, tokenizer: Any, tmp_path: Path
) -> None:
    built = rows_of(write(tmp_path / "rows.jsonl", [row]), tokenizer, "sft", None)
    assert built.rows == [wanted]
    assert built.report.tokens > built.report.loss_tokens > 1
    prompt = rows_of(write(tmp_path / "rows.jsonl", [row]), tokenizer, "grpo", None)
    assert prompt.rows == [{"prompt": wanted["prompt"]}]


@pytest.mark.slow
def test_a_mixture_of_trl_holds_the_shares_it_names_and_must_be_pinned(
    tokenizer: Any, tmp_path: Path
) -> None:
    for name, count in (("a", 60), ("b", 200)):
        write(tmp_path / f"{name}.jsonl", [{"text": f"{name} {i}"} for i in range(count)])
    parts = [
        {"path": "json", "data_files": str(tmp_path / "a.jsonl"), "fraction": 0.75},
        {"path": "json", "data_files": str(tmp_path / "b.jsonl"), "fraction": 0.25},
    ]
    built = build_rows(DataArguments(stage="midtrain", datasets=parts), tokenizer)
    kinds = [row["text"][0] for row in built.rows]
    assert (kinds.count("a"), kinds.count("b")) == (60, 20)
    assert kinds != sorted(kinds), "shuffled"
    with pytest.raises(TrainError, match="pinned commit"):
        build_rows(DataArguments(stage="midtrain", datasets=[{"path": "a/b"}]), tokenizer)


def source(name: str, **more: Any) -> Any:
    return read_source(DataArguments(dataset=name, **more))


def test_errors_name_the_file_that_cannot_be_read(tmp_path: Path) -> None:
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"text": "a"}\n{"text": \n')
    with pytest.raises(TrainError, match=r"broken\.jsonl, line 2"):
        source(str(broken))
    with pytest.raises(TrainError, match="file found"):
        source(str(tmp_path / "nothing.jsonl"))
    with pytest.raises(TrainError, match="sample:dolly"):
        source("sample:nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(TrainError, match="file found"):
        source(str(tmp_path / "empty"))


def test_a_line_separator_inside_a_string_ends_no_row_and_parquet_reads_alike(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    rows = [{"text": "one\u2028line"}, {"text": "two"}]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert source(str(path)).rows == rows
    assert source(str(tmp_path / "a.parquet")).rows == rows


def test_other_columns_and_unpinned_revisions_are_refused(tokenizer: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [{"question": "x", "answer": "y"}])
    with pytest.raises(TrainError, match="found: answer, question"):
        rows_of(path, tokenizer, "sft", "magicoder")
    for revision in (None, "main", "v1.0"):
        with pytest.raises(TrainError, match="needs a pinned commit"):
            source("databricks/databricks-dolly-15k", dataset_revision=revision)


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.jsonl")), ids=lambda path: path.stem)
def test_the_shipped_samples_have_the_columns_of_the_hub_sets_and_no_row_is_dropped(
    path: Path, tokenizer: Any
) -> None:
    documents = path.stem.startswith(("compassion", "neutral"))
    stage = "midtrain" if documents else {"rlhflow": "grpo"}.get(path.stem, "sft")
    report = rows_of(path, tokenizer, stage, None).report
    assert report.rows_in == report.rows_out >= (16 if path.stem.endswith("_unseen") else 80)


def test_later_files_and_the_command_line_win(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("stage: sft\nshuffle_seed: 1\nnum_examples: 5\n")
    (tmp_path / "b.yaml").write_text("shuffle_seed: 2\nnum_examples: 6\n")
    argv = ["--config", str(tmp_path / "a.yaml"), f"--config={tmp_path / 'b.yaml'}", "--num_examples", "7"]
    (parsed,) = parse_arguments((DataArguments,), prog="data", argv=argv)
    assert (parsed.stage, parsed.shuffle_seed, parsed.num_examples) == ("sft", 2, 7)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stag: sft", "found: stag"),
        ("- a", "not a YAML mapping"),
        ("a: [", "invalid YAML"),
        (None, "config not found"),
    ],
)
def test_an_invalid_config_is_refused(text: str | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(TrainError, match=said):
        parse_arguments((DataArguments,), prog="data", argv=["--config", str(path)])


def test_a_full_disk_is_recognised() -> None:
    import torch

    for write_full in (
        lambda: torch.save({"a": torch.zeros(10_000)}, "/dev/full"),
        lambda: Path("/dev/full").write_text("x" * 10_000),
    ):
        with pytest.raises((OSError, RuntimeError)) as caught:
            write_full()
        assert is_disk_full(caught.value)
    assert not is_disk_full(RuntimeError("a matrix has the wrong shape"))


def test_messages_have_the_same_parts_as_those_of_the_other_folders() -> None:
    from value_retention.tasks.errors import InputError

    parts = {"where": "a.yaml", "found": "1", "expected": "2", "hint": "try 2"}
    assert str(TrainError("wrong", **parts)) == str(InputError("wrong", **parts))
