"""The rows of one arm: read, format, shuffle, choose, count; and the command that writes them down.

    python -m value_retention.train.data --config llama31-8b/sft-dolly.yaml -o rows.jsonl

writes exactly what the script would train on, for ``value-retention contamination rows.jsonl`` to check.
Rows in, rows out, what was dropped and why, and the tokens are printed and written beside the rows.
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
from value_retention.train.formats import FORMATS, UnusableRowError, stage_row
from value_retention.train.source import check_columns, read_source

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Row = dict[str, Any]


@dataclass(frozen=True)
class Report:
    """What became of the rows of a data set."""

    stage: str
    source: str
    revision: str
    rows_in: int
    rows_out: int
    tokens: int
    """Of all rows as the model sees them, special tokens included."""
    trained_tokens: int
    """Of these, how many carry a loss: all of a document, the answer of a dialogue, none of a prompt."""
    sha256: str
    """Over the bytes of the rows file; the contamination stamp names the same."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Rows that cannot be used, by reason."""
    not_taken: int = 0
    """Usable or unread rows beyond the wanted number of examples and tokens."""


@dataclass(frozen=True)
class Rows:
    """The rows of one arm in the order of training, and their report."""

    rows: list[Row]
    report: Report


def rows_bytes(rows: Iterable[Row]) -> bytes:
    """The rows file: a line of JSON per row, sorted keys, UTF-8. Equal rows give equal bytes."""
    lines = (json.dumps(row, sort_keys=True, ensure_ascii=False, separators=(",", ":")) for row in rows)
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogatepass")


def build_rows(arguments: DataArguments, tokenizer: PreTrainedTokenizerBase) -> Rows:
    """Make the rows of an arm, or read them where ``rows`` names a file.

    Args:
        arguments: What to read and how much of it to take.
        tokenizer: Counts tokens and renders dialogues; its template must keep every answer.

    Raises:
        TrainError: Settings that do not fit together, data that cannot be read, or nothing left of it.
    """
    stage = arguments.stage
    if stage not in STAGES:
        raise TrainError("unknown stage", where="stage", found=stage, expected=", ".join(STAGES))
    if arguments.rows is not None:
        source = read_source(arguments.rows)
        usable: Iterable[Row] = iter(source.rows)
    else:
        if arguments.dataset is None or arguments.dataset_format not in FORMATS:
            raise TrainError(
                "no data set, or no known format", where="dataset, dataset_format",
                found=f"{arguments.dataset}, {arguments.dataset_format}", expected=", ".join(FORMATS),
            )  # fmt: skip
        source = read_source(
            arguments.dataset,
            config=arguments.dataset_config,
            split=arguments.dataset_split,
            revision=arguments.dataset_revision,
        )
        check_columns(source.rows, FORMATS[arguments.dataset_format][1], source.name)
        usable = source.rows
    dropped: Counter[str] = Counter()
    if arguments.rows is not None:
        measured = _measured(usable, stage, tokenizer, dropped, arguments.max_row_tokens)
        taken = list(measured)
    else:
        order = list(range(len(source.rows)))
        random.Random(arguments.shuffle_seed).shuffle(order)
        formatted = _formatted((source.rows[i] for i in order), arguments, stage, dropped)
        measured = _measured(formatted, stage, tokenizer, dropped, arguments.max_row_tokens)
        taken = _take(measured, arguments.num_examples, arguments.num_tokens, dropped)
    if not taken:
        reasons = "; ".join(f"{count} × {reason}" for reason, count in dropped.most_common())
        raise TrainError(
            "no row is left to train on", where=f"{source.name}, stage {stage}",
            found=f"{len(source.rows)} rows in; dropped: {reasons or 'none'}",
            hint="check dataset_format, chat_template and max_row_tokens against the reasons",
        )  # fmt: skip
    rows = [row for row, _, _ in taken]
    # A rows file is known by its own bytes, as its stamp is; they are ours unless it was edited by hand.
    whole_file = arguments.rows is not None and not dropped
    made = hashlib.sha256(rows_bytes(rows)).hexdigest()
    report = Report(
        stage=stage,
        source=source.name,
        revision=source.revision,
        rows_in=len(source.rows),
        rows_out=len(rows),
        tokens=sum(tokens for _, tokens, _ in taken),
        trained_tokens=sum(trained for _, _, trained in taken),
        sha256=source.revision.removeprefix("sha256:") if whole_file else made,
        dropped=dict(dropped.most_common()),
        not_taken=len(source.rows) - len(rows) - dropped.total(),
    )
    return Rows(rows, report)


def _formatted(
    rows: Iterable[Any], arguments: DataArguments, stage: str, dropped: Counter[str]
) -> Iterator[Row]:
    assert arguments.dataset_format is not None
    read, _ = FORMATS[arguments.dataset_format]
    seen: set[bytes] = set()
    for raw in rows:
        try:
            row = stage_row(read(raw), stage)
        except UnusableRowError as error:
            dropped[str(error)] += 1
            continue
        key = hashlib.sha256(rows_bytes([row])).digest()
        if key in seen:
            dropped["the same as an earlier row"] += 1
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
    """Rows with their tokens and those that carry a loss; a row that would not train as meant is dropped."""
    wanted = {"midtrain": {"text"}, "sft": {"prompt", "completion"}, "grpo": {"prompt"}}[stage]
    for row in rows:
        if set(row) != wanted:
            raise TrainError(
                "a row is for another stage", where=f"rows, stage {stage}",
                found=", ".join(sorted(row)), expected=", ".join(sorted(wanted)),
                hint="write the rows with `python -m value_retention.train.data` and the arm's own config",
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
        raise UnusableRowError("the prompt's tokens are no prefix of the dialogue's")
    end = tokenizer.convert_tokens_to_ids(str(tokenizer.eos_token))
    if end not in whole_ids[len(prompt_ids) :]:
        raise UnusableRowError("the chat template puts no end token after the answer")
    return len(whole_ids), len(whole_ids) - len(prompt_ids)


def _render(tokenizer: PreTrainedTokenizerBase, messages: list[Any], *, generation: bool) -> str:
    from jinja2 import TemplateError

    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=generation)
    except TemplateError as error:
        raise UnusableRowError(f"the chat template refuses it: {error}") from error
    return str(text)


def _take(
    rows: Iterator[tuple[Row, int, int]], examples: int | None, tokens: int | None, dropped: Counter[str]
) -> list[tuple[Row, int, int]]:
    """The first rows in shuffled order, some of them exchanged so that together they hold ``tokens``.

    Domains differ in how long their rows are; arms that saw more text, or more rows, would differ in more
    than their domain. The sum ends within a hundredth of ``tokens``, mostly a thousandth, or the settings
    are refused.
    """
    if examples is None:
        if tokens is not None:
            raise TrainError("num_tokens needs num_examples beside it", where="num_tokens", found=tokens)
        return list(rows)
    if examples < 1 or (tokens is not None and tokens < examples):
        raise TrainError("too few", where="num_examples, num_tokens", found=f"{examples}, {tokens}")
    taken = list(islice(rows, examples))
    if not taken:
        return []  # the caller names the reasons
    if len(taken) < examples:
        raise TrainError(
            "the data set does not hold enough rows", where="num_examples", found=len(taken),
            expected=str(examples), hint=f"dropped were {dict(dropped.most_common()) or 'none'}",
        )  # fmt: skip
    return taken if tokens is None else _exchange(taken, rows, tokens)


def _exchange(
    taken: list[tuple[Row, int, int]], rest: Iterator[tuple[Row, int, int]], tokens: int
) -> list[tuple[Row, int, int]]:
    """Exchange taken rows for rows of the rest, each time towards the wanted sum of tokens."""
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
    # The rest is used up: now the greatest changes first, until none helps.
    sign = 1 if excess > 0 else -1
    places = sorted(range(len(taken)), key=lambda place: -sign * taken[place][1])
    spare.sort(key=lambda row: sign * row[1])
    for place, row in zip(places, spare, strict=False):
        change = row[1] - taken[place][1]
        if abs(excess + change) < abs(excess):
            taken[place], excess = row, excess + change
    if abs(excess) > tokens / 100:
        raise TrainError(
            "no choice of rows holds that many tokens", where="num_examples, num_tokens",
            found=f"{len(taken)} rows of the data set reach {tokens + excess} tokens",
            expected=f"{tokens}", hint="move num_tokens in every arm that is compared",
        )  # fmt: skip
    return taken


@dataclass
class _Output:
    """Where to write, and whose tokenizer to use."""

    output: str = field(metadata={"help": "rows file to write (.jsonl)", "aliases": ["-o"]})
    model_name_or_path: str | None = field(default=None, metadata={"help": "as in the training scripts"})
    model_revision: str | None = field(default=None, metadata={"help": "commit of the model"})


def describe(report: Report) -> str:
    """The report in a few lines for people."""
    lines = [
        f"{report.source} ({report.revision}): {report.rows_in} rows in, {report.rows_out} out, "
        f"{report.tokens} tokens, {report.trained_tokens} with a loss"
    ]
    lines += [f"  dropped {count}: {reason}" for reason, count in report.dropped.items()]
    if report.not_taken:
        lines.append(f"  not needed: {report.not_taken}")
    return "\n".join(lines)


@exits_plainly
def main() -> None:
    """Write the rows of an arm and their report."""
    from trl import GRPOConfig, ModelConfig, SFTConfig

    from value_retention.train.template import load_tokenizer

    kinds = (SFTConfig, GRPOConfig, ModelConfig, RewardArguments)
    known = frozenset(item.name for kind in kinds for item in fields(kind))
    arguments, output = parse_arguments((DataArguments, _Output), prog="data", known_elsewhere=known)
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
