"""The rows that a run trains on, their tokens, and the tokenizer that counts them."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from value_retention.train.arguments import CONFIGS, STAGES, DataArguments, TrainError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Row = dict[str, Any]
CHAT_TEMPLATE = Path(__file__).parent / "chat_template.jinja"
PADS = ("<|finetune_right_pad_id|>", "<|pad|>", "<pad>", "[PAD]")
COLUMNS = {"midtrain": {"text"}, "sft": {"prompt", "completion"}, "grpo": {"prompt"}}
"""What the rows of a stage hold. An SFT arm that replays mid-training holds documents (``text``) as well."""


class UnusableRowError(Exception):
    """A row that cannot be used. Its text is the reason that the row is counted under."""


class Source(NamedTuple):
    """The rows of a data set, unchanged."""

    rows: Sequence[Any]
    name: str
    revision: str
    """Commit on the hub, or ``sha256:...`` over the bytes of local files."""


class Tokens(NamedTuple):
    """A row as the model sees it."""

    ids: list[int]
    """Special tokens included."""
    start: int
    """Index of the first token with a loss. All tokens from there on have one."""

    @property
    def loss_tokens(self) -> int:
        """Number of tokens with a loss."""
        return len(self.ids) - self.start


@dataclass(frozen=True)
class Report:
    """Counts of the rows of a data set: used, dropped and left over."""

    stage: str
    source: str
    revision: str
    """Commit on the hub, or ``sha256:...`` over the bytes of local files."""
    rows_in: int
    rows_out: int
    tokens: int
    """Tokens of all rows as the model sees them, special tokens included."""
    loss_tokens: int
    """Tokens with a loss: all of a document, the answer of a dialogue, none of a prompt."""
    sha256: str
    """Over the bytes of the rows file; the contamination stamp holds the same hash."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Unusable rows by reason."""
    not_taken: int = 0
    """Rows beyond the requested number of examples or tokens."""
    replayed_rows: int = 0
    """Mid-training documents among the rows of an SFT arm."""
    replayed_loss_tokens: int = 0
    """Their tokens with a loss. Those of the arm's own rows are ``loss_tokens`` without them."""


@dataclass(frozen=True)
class Rows:
    """The rows of one arm in training order, and their report."""

    rows: list[Row]
    report: Report
    held_out: list[Row] = field(default_factory=list)
    """Rows of the same data set for evaluation, none of which is among `rows`."""


def rows_bytes(rows: Iterable[Row]) -> bytes:
    """Return the rows file: one line of JSON per row, sorted keys, UTF-8. Equal rows give equal bytes."""
    lines = (json.dumps(row, sort_keys=True, ensure_ascii=False, separators=(",", ":")) for row in rows)
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogatepass")


def describe(report: Report) -> str:
    """Return the report as lines of text."""
    lines = [
        f"{report.source} ({report.revision}): {report.rows_in} rows in, {report.rows_out} out, "
        f"{report.tokens} tokens, {report.loss_tokens} with a loss"
    ]
    if report.replayed_rows:
        lines.append(
            f"  replayed: {report.replayed_rows} documents, {report.replayed_loss_tokens} tokens with a loss"
        )
    lines += [f"  dropped {count}: {reason}" for reason, count in report.dropped.items()]
    return "\n".join([*lines, *([f"  left over: {report.not_taken}"] if report.not_taken else [])])


def file_rows(arguments: DataArguments, tokenizer: PreTrainedTokenizerBase) -> Rows:
    """Return the rows in the file that ``rows`` names, all of them.

    Raises:
        TrainError: The file cannot be read, or its rows are for another stage.
    """
    stage = known_stage(arguments)
    source = read_rows(str(arguments.rows), (stage, "midtrain") if stage == "sft" else (stage,))
    whole = replace(arguments, num_examples=None, loss_tokens=None, held_out=0)
    return choose(source, source.rows, whole, tokenizer, Counter())


def parts_of(named: Iterable[str]) -> dict[str, str]:
    """Return files by name, given as ``NAME=FILE`` or as a file, whose stem is its name."""
    pairs = (("", item) if Path(item).is_file() else item.rpartition("=")[::2] for item in named)
    return {name or Path(file).stem: file for name, file in pairs}


def known_stage(arguments: DataArguments) -> str:
    """Return the stage.

    Raises:
        TrainError: It is unknown.
    """
    if arguments.stage not in STAGES:
        raise TrainError("unknown stage", where="stage", found=arguments.stage, expected=", ".join(STAGES))
    return arguments.stage


def choose(
    source: Source,
    rows: Iterable[Row],
    arguments: DataArguments,
    tokenizer: PreTrainedTokenizerBase,
    dropped: Counter[str],
) -> Rows:
    """Take the first rows, until there are ``num_examples`` of them or until they hold ``loss_tokens``.

    The first ``held_out`` rows are set aside, so that they are the same in every arm of a data set. Arms of equal
    size differ in how many rows they have, and the length of a row never decides whether it is taken.

    Args:
        source: The data set.
        rows: Its rows in shuffled order and in the shape of the stage.
        arguments: How many rows to take. Without a limit, all of them.
        tokenizer: Counts tokens and renders dialogues; its template must keep every answer.
        dropped: Counts unusable rows by reason.

    Raises:
        TrainError: Too few usable rows are left.
    """
    stage, examples, target = str(arguments.stage), arguments.num_examples, arguments.loss_tokens
    taken: list[tuple[Row, Tokens]] = []
    total = 0
    usable = _usable(rows, arguments, tokenizer, dropped)
    held_out = [row for row, _ in islice(usable, arguments.held_out)]
    for row, found in islice(usable, examples):
        if target is not None and total + found.loss_tokens - target > target - total:
            break  # without this row, the sum is closer
        taken.append((row, found))
        total += found.loss_tokens
    else:
        if len(taken) < (examples or 1) or total < (target or 0):
            reasons = "; ".join(f"{count} × {reason}" for reason, count in dropped.most_common())
            raise TrainError(
                "too few usable rows", where=f"{source.name}, stage {stage}",
                found=f"{len(taken)} of {len(source.rows)} rows, {total} tokens with a loss; "
                f"dropped: {reasons or 'none'}" + (f"; held out: {len(held_out)}" if held_out else ""),
                expected=f"{target} tokens with a loss" if target else f"{examples or 1} rows",
                hint="ask for less, or check dataset_format, chat_template and max_row_tokens",
            )  # fmt: skip
    chosen = [row for row, _ in taken]
    replayed = [found.loss_tokens for row, found in taken if stage == "sft" and "text" in row]
    # The stamp hashes the file itself, whose bytes differ from ours if it was edited by hand.
    from_file = arguments.rows is not None and not dropped
    report = Report(
        stage=stage,
        source=source.name,
        revision=source.revision,
        rows_in=len(source.rows),
        rows_out=len(chosen),
        tokens=sum(len(found.ids) for _, found in taken),
        loss_tokens=total,
        replayed_rows=len(replayed),
        replayed_loss_tokens=sum(replayed),
        sha256=source.revision[7:] if from_file else hashlib.sha256(rows_bytes(chosen)).hexdigest(),
        dropped=dict(dropped.most_common()),
        not_taken=len(source.rows) - len(chosen) - len(held_out) - dropped.total(),
    )
    return Rows(chosen, report, held_out)


def read_rows(path: str, stages: Sequence[str]) -> Source:
    """Read a file of `value_retention.train.data`, whose rows are those of one of the stages.

    Raises:
        TrainError: The file cannot be read, or its rows are for another stage.
    """
    source = read_lines(Path(path).expanduser())
    for row in source.rows:
        if not isinstance(row, dict) or set(row) not in [COLUMNS[stage] for stage in stages]:
            raise TrainError(
                "the rows are for another stage", where=f"{path}, stage {stages[0]}", found=", ".join(map(str, row)),
                expected="; or ".join(", ".join(sorted(COLUMNS[stage])) for stage in stages),
                hint="write the rows with `python -m value_retention.train.data` and the config of this arm",
            )  # fmt: skip
    return source


def read_lines(file: Path) -> Source:
    """Read a file of JSON lines.

    Raises:
        TrainError: The file does not exist or has an invalid line.
    """
    rows, number = [], 0
    try:
        content = file.read_bytes()
        # Only a line feed ends a line of JSON; `splitlines` would also cut at U+2028 inside a string.
        for number, line in enumerate(content.decode("utf-8-sig").split("\n"), 1):  # noqa: B007
            if line.strip():
                rows.append(json.loads(line))
    except (OSError, ValueError) as error:
        raise TrainError("cannot read the rows", where=f"{file}, line {number}", found=error) from error
    return Source(rows, str(file), f"sha256:{hashlib.sha256(content).hexdigest()}")


def _usable(
    rows: Iterable[Row], arguments: DataArguments, tokenizer: PreTrainedTokenizerBase, dropped: Counter[str]
) -> Iterator[tuple[Row, Tokens]]:
    """Yield rows with their tokens; count those that would not train as intended."""
    longest = arguments.max_row_tokens if arguments.stage != "midtrain" else None
    for row in rows:
        try:
            found = tokenize(row, arguments, tokenizer)
            if longest is not None and len(found.ids) > longest:
                raise UnusableRowError(f"longer than {longest} tokens")
        except UnusableRowError as error:
            dropped[str(error)] += 1
            continue
        yield row, found


def tokenize(row: Row, arguments: DataArguments, tokenizer: PreTrainedTokenizerBase) -> Tokens:
    """Return the tokens of a row and which of them have a loss, as TRL would for rows of one kind.

    TRL does not mix dialogues with plain texts, and ends every row with the same token. Replay and evaluation need
    both kinds in one run, each with its own end: ``document_end``, or that of the chat template.

    Args:
        row: A document, a prompt and its completion, or a prompt (none of its tokens has a loss).
        arguments: The end tokens.
        tokenizer: Renders dialogues; its template must keep every answer.

    Raises:
        UnusableRowError: The row would not train as intended.
    """
    if "text" in row:
        end = arguments.document_end
        ids = tokenizer(f"{row['text'].removesuffix(end)}{end}")["input_ids"]
        return Tokens(ids, 1)  # the first token follows nothing that could predict it
    messages, end = not isinstance(row["prompt"], str), arguments.turn_end
    prompt = _render(tokenizer, row["prompt"], generation=True) if messages else row["prompt"]
    prompt_ids = tokenizer(prompt, add_special_tokens=not messages)["input_ids"]
    if "completion" not in row:
        return Tokens(prompt_ids, len(prompt_ids))
    if messages:
        whole = _render(tokenizer, row["prompt"] + row["completion"], generation=False)
        answer = row["completion"][-1]["content"].strip()
    else:
        answer, whole = row["completion"], f"{prompt}{row['completion'].removesuffix(end)}{end}"
    if not answer or answer not in whole[len(prompt) :]:
        raise UnusableRowError("the chat template drops the answer")
    ids = tokenizer(whole, add_special_tokens=not messages)["input_ids"]
    if ids[: len(prompt_ids)] != prompt_ids:
        raise UnusableRowError("the prompt's tokens are not a prefix of the dialogue's")
    if tokenizer.convert_tokens_to_ids(end) not in ids[len(prompt_ids) :]:
        raise UnusableRowError("the chat template adds no end token after the answer")
    return Tokens(ids, len(prompt_ids))


def _render(tokenizer: PreTrainedTokenizerBase, messages: list[Any], *, generation: bool) -> str:
    from jinja2 import TemplateError

    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=generation)
    except TemplateError as error:
        raise UnusableRowError(f"the chat template rejects the row: {error}") from error
    return str(text)


def load_tokenizer(
    name: str,
    *,
    revision: str | None = None,
    chat_template: str | None = None,
    end: str,
) -> PreTrainedTokenizerBase:
    """Load a tokenizer and set what the tokenizer of a base model lacks.

    Args:
        name: Folder, name on the hub, or a GGUF file.
        revision: Commit on the hub.
        chat_template: Jinja file, or the name of a shipped one. None keeps the tokenizer's template; a tokenizer
            without one gets the shipped Llama 3 layout (``train/chat_template.jinja``).
        end: End token of the training texts: of a document, or of a turn.

    Raises:
        TrainError: The tokenizer cannot be loaded, the template does not exist, or the vocabulary lacks the
            end token.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            **place_of(name), revision=revision
        )
    except (OSError, ValueError, ImportError) as error:
        raise TrainError(
            "cannot load the tokenizer", where=name, found=str(error).split("\n")[0],
            hint="give a folder or a model on the hub; a gated model needs `hf auth login`",
        ) from error  # fmt: skip
    if chat_template is not None or tokenizer.chat_template is None:
        template = template_file(chat_template).read_text(encoding="utf-8")
        tokenizer.chat_template = template.rstrip("\n")
    tokenizer.eos_token = known_token(tokenizer, end)
    # Padding needs a token that is not the end token: the loss masks padding, and a model that never sees
    # the end token never learns to stop.
    if tokenizer.pad_token is None or tokenizer.pad_token == end:
        vocabulary = tokenizer.get_vocab()
        tokenizer.pad_token = next((pad for pad in PADS if pad in vocabulary), tokenizer.pad_token or end)
    return tokenizer


def place_of(name: str) -> dict[str, str]:
    """Return the arguments with which transformers loads a folder, a name on the hub, or a GGUF file."""
    file = Path(name).expanduser()
    if file.suffix == ".gguf":
        return {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    return {"pretrained_model_name_or_path": name}


def template_file(name: str | None) -> Path:
    """Return the Jinja file, or the shipped file of that name; for None, that of Llama 3.

    Raises:
        TrainError: Neither exists.
    """
    if name is None:
        return CHAT_TEMPLATE
    for candidate in (Path(name).expanduser(), CONFIGS / name):
        if candidate.is_file():
            return candidate
    shipped = ", ".join(str(file.relative_to(CONFIGS)) for file in sorted(CONFIGS.glob("*/*.jinja")))
    raise TrainError(
        "chat template not found", where="chat_template", found=name, expected=f"a file, or one of {shipped}"
    )


def known_token(tokenizer: PreTrainedTokenizerBase, token: str) -> str:
    """Return the token.

    Raises:
        TrainError: The vocabulary does not contain it.
    """
    if token not in tokenizer.get_vocab():
        raise TrainError(
            "the vocabulary lacks an end token", where="document_end, turn_end", found=token,
            hint="give the end tokens of this model: --document_end TOKEN --turn_end TOKEN",
        )  # fmt: skip
    return token
