"""The rows of one arm: read, format, shuffle, choose and count them; and the command that writes them.

    python -m value_retention.train.data --config llama31-8b/sft-dolly.yaml -o rows.jsonl

writes exactly the rows that the script would train on, so that ``value-retention contamination rows.jsonl`` can
check them. It prints the number of rows and tokens and what was dropped and why, and writes them to
``rows.jsonl.report.json``.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from value_retention.train.arguments import STAGES, DataArguments, RewardArguments, parse_arguments
from value_retention.train.errors import TrainError, exits_plainly
from value_retention.train.formats import FORMATS, UnusableRowError, check_columns, stage_row
from value_retention.train.source import read_source

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Row = dict[str, Any]


@dataclass(frozen=True)
class Report:
    """Counts of the rows of a data set: used, dropped and left over."""

    stage: str
    source: str
    revision: str
    rows_in: int
    rows_out: int
    tokens: int
    """Tokens of all rows as the model sees them, special tokens included."""
    trained_tokens: int
    """Tokens with a loss: all of a document, the answer of a dialogue, none of a prompt."""
    sha256: str
    """Over the bytes of the rows file; the contamination stamp holds the same hash."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Unusable rows by reason."""
    not_taken: int = 0
    """Rows beyond the requested number of examples and tokens."""


@dataclass(frozen=True)
class Rows:
    """The rows of one arm in training order, and their report."""

    rows: list[Row]
    report: Report


def rows_bytes(rows: Iterable[Row]) -> bytes:
    """Return the rows file: one line of JSON per row, sorted keys, UTF-8. Equal rows give equal bytes."""
    lines = (json.dumps(row, sort_keys=True, ensure_ascii=False, separators=(",", ":")) for row in rows)
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogatepass")


def build_rows(arguments: DataArguments, tokenizer: PreTrainedTokenizerBase) -> Rows:
    """Make the rows of an arm, or read them if ``rows`` names a file.

    Args:
        arguments: What to read and how much of it to take.
        tokenizer: Counts tokens and renders dialogues; its template must keep every answer.

    Raises:
        TrainError: Settings are invalid, data cannot be read, or no usable row is left.
    """
    stage, longest = arguments.stage, arguments.max_row_tokens
    if stage not in STAGES:
        raise TrainError("unknown stage", where="stage", found=stage, expected=", ".join(STAGES))
    dropped: Counter[str] = Counter()
    if arguments.rows is not None:
        source = read_source(arguments.rows)
        taken = list(_measured(source.rows, stage, tokenizer, dropped, longest))
    else:
        if arguments.dataset is None or arguments.dataset_format not in FORMATS:
            raise TrainError(
                "dataset or dataset_format is missing or unknown", where="dataset, dataset_format",
                found=f"{arguments.dataset}, {arguments.dataset_format}",
                expected=f"a data set, and one of {', '.join(FORMATS)}",
            )  # fmt: skip
        source = read_source(
            arguments.dataset,
            config=arguments.dataset_config,
            split=arguments.dataset_split,
            revision=arguments.dataset_revision,
        )
        check_columns(source.rows, arguments.dataset_format, source.name)
        order = list(range(len(source.rows)))
        random.Random(arguments.shuffle_seed).shuffle(order)
        formatted = _formatted((source.rows[i] for i in order), arguments.dataset_format, stage, dropped)
        measured = _measured(formatted, stage, tokenizer, dropped, longest)
        taken = _take(measured, arguments.num_examples, arguments.num_tokens, dropped)
    if not taken:
        reasons = "; ".join(f"{count} × {reason}" for reason, count in dropped.most_common())
        raise TrainError(
            "no usable row is left", where=f"{source.name}, stage {stage}",
            found=f"{len(source.rows)} rows in; dropped: {reasons or 'none'}",
            hint="check dataset_format, chat_template and max_row_tokens",
        )  # fmt: skip
    rows = [row for row, _, _ in taken]
    sha256 = hashlib.sha256(rows_bytes(rows)).hexdigest()
    if arguments.rows is not None and not dropped:
        # The stamp hashes the file itself, whose bytes differ from ours if it was edited by hand.
        sha256 = source.revision.removeprefix("sha256:")
    report = Report(
        stage=stage,
        source=source.name,
        revision=source.revision,
        rows_in=len(source.rows),
        rows_out=len(rows),
        tokens=sum(tokens for _, tokens, _ in taken),
        trained_tokens=sum(trained for _, _, trained in taken),
        sha256=sha256,
        dropped=dict(dropped.most_common()),
        not_taken=len(source.rows) - len(rows) - dropped.total(),
    )
    return Rows(rows, report)


def _formatted(rows: Iterable[Any], dataset_format: str, stage: str, dropped: Counter[str]) -> Iterator[Row]:
    read, _ = FORMATS[dataset_format]
    seen: set[bytes] = set()
    for raw in rows:
        try:
            row = stage_row(read(raw), stage)
        except UnusableRowError as error:
            dropped[str(error)] += 1
            continue
        key = hashlib.sha256(rows_bytes([row])).digest()
        if key in seen:
            dropped["duplicate of an earlier row"] += 1
            continue
        seen.add(key)
        yield row


def _measured(
    rows: Iterable[Row],
    stage: str,
    tokenizer: PreTrainedTokenizerBase,
    dropped: Counter[str],
    longest: int | None,
) -> Iterator[tuple[Row, int, int]]:
    """Yield rows with their tokens and tokens with a loss; drop rows that would not train as intended."""
    wanted = {"midtrain": {"text"}, "sft": {"prompt", "completion"}, "grpo": {"prompt"}}[stage]
    for row in rows:
        if set(row) != wanted:
            raise TrainError(
                "the rows are for another stage", where=f"rows, stage {stage}",
                found=", ".join(sorted(row)), expected=", ".join(sorted(wanted)),
                hint="write the rows with `python -m value_retention.train.data` and the config of this arm",
            )  # fmt: skip
        try:
            tokens, trained = _count(row, stage, tokenizer)
        except UnusableRowError as error:
            dropped[str(error)] += 1
            continue
        if longest is not None and tokens > longest and stage != "midtrain":
            dropped[f"longer than {longest} tokens"] += 1
            continue
        yield row, tokens, trained


def _count(row: Row, stage: str, tokenizer: PreTrainedTokenizerBase) -> tuple[int, int]:
    if stage == "midtrain":  # begin and end tokens around every document
        length = len(tokenizer(row["text"], add_special_tokens=False)["input_ids"]) + 2
        return length, length - 1
    prompt = _render(tokenizer, row["prompt"], generation=True)
    prompt_ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    if stage == "grpo":
        return len(prompt_ids), 0
    whole = _render(tokenizer, row["prompt"] + row["completion"], generation=False)
    answer = row["completion"][-1]["content"].strip()
    if not answer or answer not in whole[len(prompt) :]:
        raise UnusableRowError("the chat template drops the answer")
    whole_ids = tokenizer(whole, add_special_tokens=False)["input_ids"]
    if whole_ids[: len(prompt_ids)] != prompt_ids:
        raise UnusableRowError("the prompt's tokens are not a prefix of the dialogue's")
    end = tokenizer.convert_tokens_to_ids(str(tokenizer.eos_token))
    if end not in whole_ids[len(prompt_ids) :]:
        raise UnusableRowError("the chat template adds no end token after the answer")
    return len(whole_ids), len(whole_ids) - len(prompt_ids)


def _render(tokenizer: PreTrainedTokenizerBase, messages: list[Any], *, generation: bool) -> str:
    from jinja2 import TemplateError

    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=generation)
    except TemplateError as error:
        raise UnusableRowError(f"the chat template rejects the row: {error}") from error
    return str(text)


def _take(
    rows: Iterator[tuple[Row, int, int]], examples: int | None, tokens: int | None, dropped: Counter[str]
) -> list[tuple[Row, int, int]]:
    """Take the first rows in shuffled order, and exchange some so that they add up to ``tokens``.

    Row lengths differ between domains. Arms with more text or more rows would differ in more than their
    domain. The sum ends within 1 % of ``tokens``, and mostly within 0.1 %.

    Raises:
        TrainError: Too few rows, or no choice of rows comes that close.
    """
    if examples is None:
        if tokens is not None:
            raise TrainError("num_tokens needs num_examples", where="num_tokens", found=tokens)
        return list(rows)
    if examples < 1 or (tokens is not None and tokens < examples):
        raise TrainError(
            "too few examples or tokens", where="num_examples, num_tokens", found=f"{examples}, {tokens}"
        )
    taken = list(islice(rows, examples))
    if not taken:
        return []  # the caller reports why
    if len(taken) < examples:
        raise TrainError(
            "too few usable rows in the data set", where="num_examples", found=len(taken),
            expected=str(examples), hint=f"lower num_examples; dropped: {dict(dropped.most_common()) or 'none'}",
        )  # fmt: skip
    return taken if tokens is None else _exchange(taken, rows, tokens)


def _exchange(
    taken: list[tuple[Row, int, int]], rest: Iterator[tuple[Row, int, int]], tokens: int
) -> list[tuple[Row, int, int]]:
    """Exchange rows with the rest while that brings the sum of tokens closer to the target."""
    excess = sum(row[1] for row in taken) - tokens
    spare: list[tuple[Row, int, int]] = []
    for turn, row in enumerate(rest):
        if abs(excess) <= tokens / 1000:
            return taken
        place = turn % len(taken)
        change = row[1] - taken[place][1]
        if abs(excess + change) < abs(excess):
            taken[place], row = row, taken[place]
            excess += change
        spare.append(row)
    # All rows are read: pair the rows whose exchange changes the sum most, and take what helps.
    sign = 1 if excess > 0 else -1
    places = sorted(range(len(taken)), key=lambda place: -sign * taken[place][1])
    spare.sort(key=lambda row: sign * row[1])
    for place, row in zip(places, spare, strict=False):
        change = row[1] - taken[place][1]
        if abs(excess + change) < abs(excess):
            taken[place], excess = row, excess + change
    if abs(excess) > tokens / 100:
        raise TrainError(
            "no choice of rows has that many tokens", where="num_examples, num_tokens",
            found=f"{tokens + excess} tokens in {len(taken)} rows, the closest that was found",
            expected=f"{tokens} tokens", hint="change num_tokens in every arm of the comparison",
        )  # fmt: skip
    return taken


@dataclass
class _Output:
    """Where to write, and the model whose tokenizer to use."""

    output: str = field(metadata={"help": "rows file to write (.jsonl)", "aliases": ["-o"]})
    model_name_or_path: str | None = field(default=None, metadata={"help": "model whose tokenizer to use"})
    model_revision: str | None = field(default=None, metadata={"help": "commit of the model"})


def describe(report: Report) -> str:
    """Return the report as lines of text."""
    lines = [
        f"{report.source} ({report.revision}): {report.rows_in} rows in, {report.rows_out} out, "
        f"{report.tokens} tokens, {report.trained_tokens} with a loss"
    ]
    lines += [f"  dropped {count}: {reason}" for reason, count in report.dropped.items()]
    if report.not_taken:
        lines.append(f"  left over: {report.not_taken}")
    return "\n".join(lines)


@exits_plainly
def main() -> None:
    """Write the rows of an arm and their report."""
    from trl import GRPOConfig, ModelConfig, SFTConfig

    from value_retention.train.template import load_tokenizer

    kinds = (SFTConfig, GRPOConfig, ModelConfig, RewardArguments)
    known = frozenset(item.name for kind in kinds for item in fields(kind))
    about = "Write the rows that a training script would train on."
    arguments, output = parse_arguments(
        (DataArguments, _Output), prog="data", about=about, known_elsewhere=known
    )
    name = arguments.tokenizer or output.model_name_or_path
    if name is None:
        raise TrainError("no tokenizer", where="tokenizer, model_name_or_path", hint="--tokenizer NAME")
    revision = arguments.tokenizer_revision if arguments.tokenizer else output.model_revision
    end = arguments.document_end if arguments.stage == "midtrain" else arguments.turn_end
    tokenizer = load_tokenizer(name, revision=revision, chat_template=arguments.chat_template, end=end)
    built = build_rows(arguments, tokenizer)
    path = Path(output.output)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_name(f"{path.name}.report.json").write_text(
        json.dumps(asdict(built.report), indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    path.write_bytes(rows_bytes(built.rows))
    print(describe(built.report))
    print(f"wrote {path} (sha256 {built.report.sha256})")


if __name__ == "__main__":
    main()
