"""Write the rows that a training script would train on.

    python -m value_retention.train.data --config llama31-8b/sft-dolly.yaml -o rows.jsonl

``value-retention contamination rows.jsonl`` checks them. The command prints the number of rows and tokens and what
was dropped and why, and writes them to ``rows.jsonl.report.json``. ``--held_out 24`` sets 24 rows of the same data set
aside for evaluation and writes them to ``rows.held-out.jsonl``.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from value_retention.train.arguments import (
    COMMIT,
    DataArguments,
    TrainError,
    exits_plainly,
    parse_arguments,
)
from value_retention.train.rows import (
    COLUMNS,
    Row,
    Rows,
    Source,
    UnusableRowError,
    choose,
    describe,
    file_rows,
    known_stage,
    load_tokenizer,
    read_lines,
    read_rows,
    rows_bytes,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SAMPLES = Path(__file__).parent / "samples"


def build_rows(arguments: DataArguments, tokenizer: PreTrainedTokenizerBase) -> Rows:
    """Make the rows of an arm, or read them if ``rows`` names a file.

    Raises:
        TrainError: Settings are invalid, data cannot be read, or too few usable rows are left.
    """
    if arguments.rows is not None:
        return file_rows(arguments, tokenizer)
    stage = known_stage(arguments)
    if arguments.loss_tokens is not None and (arguments.num_examples is not None or stage == "grpo"):
        raise TrainError(
            "loss_tokens decides how many rows are taken", where=f"num_examples, stage {stage}",
            expected="num_examples or loss_tokens; for grpo, whose prompts have no loss, num_examples",
        )  # fmt: skip
    dropped: Counter[str] = Counter()
    source = read_source(arguments)
    built = choose(source, shaped(source, arguments, dropped), arguments, tokenizer, dropped)
    return with_replay(built, arguments, tokenizer) if arguments.replay else built


def with_replay(built: Rows, arguments: DataArguments, tokenizer: PreTrainedTokenizerBase) -> Rows:
    """Mix mid-training documents into the rows of an SFT arm, which keeps all rows of its own.

    Args:
        built: The rows of the arm.
        arguments: ``replay`` is the share of the documents in all tokens with a loss; ``replay_rows`` is the rows file
            of mid-training, from which held-out documents are already missing.
        tokenizer: Counts tokens.

    Raises:
        TrainError: A setting is invalid, or there are too few documents.
    """
    share = arguments.replay or 0
    if arguments.stage != "sft" or arguments.replay_rows is None or not 0 < share < 1:
        raise TrainError(
            "no documents to replay", where=f"replay, replay_rows, stage {arguments.stage}",
            found=f"{share}, {arguments.replay_rows}", expected="stage sft, a share between 0 and 1, and a file",
            hint="--replay_rows FILE, the rows file of mid-training",
        )  # fmt: skip
    source = read_rows(arguments.replay_rows, ("midtrain",))
    wanted = round(built.report.loss_tokens * share / (1 - share))
    settings = replace(arguments, loss_tokens=wanted, num_examples=None, held_out=0)
    dropped: Counter[str] = Counter()
    documents = choose(
        source, shaped(source, replace(settings, stage="midtrain"), dropped), settings, tokenizer, dropped
    )
    if not documents.rows:
        raise TrainError(
            "the share is less than half of a document", where="replay", found=f"{share}: {wanted} tokens",
            hint="raise replay or loss_tokens",
        )  # fmt: skip
    rows = built.rows + documents.rows
    random.Random(arguments.shuffle_seed).shuffle(rows)
    ours, theirs = built.report, documents.report
    report = replace(
        ours,
        source=f"{ours.source}, and of {theirs.source}",
        rows_in=ours.rows_in + theirs.rows_in,
        rows_out=len(rows),
        tokens=ours.tokens + theirs.tokens,
        loss_tokens=ours.loss_tokens + theirs.loss_tokens,
        replayed_rows=theirs.rows_out,
        replayed_loss_tokens=theirs.loss_tokens,
        sha256=hashlib.sha256(rows_bytes(rows)).hexdigest(),
        dropped=dict(Counter(ours.dropped) + Counter(theirs.dropped)),
        not_taken=ours.not_taken + theirs.not_taken,
    )
    return Rows(rows, report, built.held_out)


# -- sources ---------------------------------------------------------------------------------------------------


def read_source(arguments: DataArguments) -> Source:
    """Read every row of a data set, or of TRL's mixture of several.

    Raises:
        TrainError: The data set does not exist, cannot be read or, on the hub, is not pinned to a commit.
    """
    name = arguments.dataset
    if arguments.datasets:
        return _mixture(arguments)
    if name is None:
        raise TrainError("no data", where="dataset, datasets", expected="one of them")
    path = Path(name).expanduser()
    if name.startswith("sample:"):
        path = SAMPLES / f"{name.removeprefix('sample:')}.jsonl"
        if not path.is_file():
            known = ", ".join(f"sample:{file.stem}" for file in sorted(SAMPLES.glob("*.jsonl")))
            raise TrainError("unknown sample", where="dataset", found=name, expected=known)
    suffixes = (".jsonl", ".json", ".parquet")
    files = [path] if path.is_file() else sorted(f for f in path.glob("*") if f.suffix in suffixes)
    if files:
        content = b"".join(file.read_bytes() for file in files)
        rows = [row for file in files for row in _file_rows(file)]
        return Source(rows, name, f"sha256:{hashlib.sha256(content).hexdigest()}")
    if path.is_dir() or path.suffix in suffixes or name.count("/") != 1:
        raise TrainError(
            "no .jsonl, .json or .parquet file found", where="dataset", found=name,
            expected="a file, a folder of such files, sample:NAME, or OWNER/NAME on the hub",
        )  # fmt: skip
    _pinned(arguments.dataset_revision, f"dataset_revision of {name}")
    options = {"split": arguments.dataset_split, "revision": arguments.dataset_revision}
    rows = _from_hub(name, arguments.dataset_config, **options)
    return Source(rows, name, str(arguments.dataset_revision))


def _pinned(revision: str | None, where: str) -> None:
    if revision is None or not COMMIT.fullmatch(revision):
        raise TrainError(
            "a data set from the hub needs a pinned commit, because branches and tags move", where=where,
            found=revision, expected="40 hex digits", hint="the page of the data set lists them: Files, History",
        )  # fmt: skip


def _from_hub(name: str, config: str | None, **options: Any) -> Any:
    from datasets import load_dataset

    try:
        return load_dataset(name, config, **options)
    except Exception as error:  # the hub's client raises a dozen kinds
        raise TrainError(
            "cannot read the data set", where=name, found=f"{type(error).__name__}: {error}",
            hint="download it on a machine with network access and give its file or folder as --dataset",
        ) from error  # fmt: skip


def _mixture(arguments: DataArguments) -> Source:
    """Read TRL's ``datasets``: several, with their shares."""
    from trl import DatasetMixtureConfig, get_dataset

    digest = hashlib.sha256()
    for part in arguments.datasets or []:
        given = part.get("data_files") or []
        for file in [given] if isinstance(given, str) else given:
            if Path(file).is_file():
                digest.update(Path(file).read_bytes())
            else:  # hf://datasets/OWNER/NAME@COMMIT/FILE
                found = re.search(r"@([^/]*)/", file)
                _pinned(found and found[1], f"data_files: {file}")
        if not given:
            _pinned(None, f"data_files of {part.get('path')}: hf://datasets/OWNER/NAME@COMMIT/FILE")
    digest.update(json.dumps(arguments.datasets, sort_keys=True).encode())
    try:
        mixed = get_dataset(
            DatasetMixtureConfig(datasets=list(arguments.datasets or []), streaming=arguments.streaming)
        )
    except Exception as error:
        raise TrainError("cannot read the mixture", where="datasets", found=error) from error
    return Source(list(mixed["train"]), "a mixture", f"sha256:{digest.hexdigest()}")


def _file_rows(file: Path) -> list[Any]:
    if file.suffix == ".jsonl":
        return list(read_lines(file).rows)
    import pyarrow.parquet

    try:
        if file.suffix == ".parquet":
            return list(pyarrow.parquet.read_table(file).to_pylist())
        return list(json.loads(file.read_text("utf-8-sig")))
    except (OSError, ValueError, TypeError) as error:
        raise TrainError(f"invalid {file.suffix[1:]} file", where=file, found=error) from error


# -- shapes ----------------------------------------------------------------------------------------------------


def shaped(source: Source, arguments: DataArguments, dropped: Counter[str]) -> Iterator[Row]:
    """Yield the rows of a data set in shuffled order and in the shape of the stage, each once.

    Args:
        source: What `read_source` returned.
        arguments: The stage, the format and the seed.
        dropped: Counts unusable rows by reason.

    Raises:
        TrainError: The columns are not those of the format.
    """
    order = list(range(len(source.rows)))
    random.Random(arguments.shuffle_seed).shuffle(order)
    read = format_of(source, arguments.dataset_format)
    seen: set[bytes] = set()
    for index in order:
        try:
            row = stage_row(read(source.rows[index]), str(arguments.stage))
            key = hashlib.sha256(rows_bytes([row])).digest()
            if key in seen:
                raise UnusableRowError("duplicate of an earlier row")
        except UnusableRowError as error:
            dropped[str(error)] += 1
            continue
        seen.add(key)
        yield row


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise UnusableRowError(f"empty {what}")
    return value.strip()


def _messages(value: Any) -> list[dict[str, str]]:
    if not isinstance(value, list) or not value:
        raise UnusableRowError("empty conversation")
    roles = ("system", "user", "assistant")
    if not all(isinstance(message, Mapping) and message.get("role") in roles for message in value):
        raise UnusableRowError("message with an unknown role")
    return [{"role": m["role"], "content": _text(m.get("content"), "message")} for m in value]


def _turns(question: str, answer: str, context: str | None = None) -> Callable[[Any], Row]:
    """Reader of a data set with one question and one answer per row, and a context, which may be empty."""

    def read(row: Any) -> Row:
        asked, extra = _text(row[question], question), row[context] if context else None
        asked += f"\n\n{extra.strip()}" if isinstance(extra, str) and extra.strip() else ""
        said = _text(row[answer], answer)
        return {
            "prompt": [{"role": "user", "content": asked}],
            "completion": [{"role": "assistant", "content": said}],
        }

    return read


def _conversation(column: str) -> Callable[[Any], Row]:
    """Reader of conversations: the last turn is the completion if it is the assistant's."""

    def read(row: Any) -> Row:
        turns = _messages(row[column])
        last = turns.pop() if turns[-1]["role"] == "assistant" else None
        if not turns or turns[-1]["role"] != "user":
            raise UnusableRowError("the conversation does not end with a user turn")
        return {"prompt": turns} | ({"completion": [last]} if last else {})

    return read


def _standard(row: Any) -> Row:
    """Prompt and completion, if there is one, each as a text or as messages: TRL's own shape."""
    found = {key: row[key] for key in ("prompt", "completion") if row.get(key) is not None}
    return {
        key: _text(value, key) if isinstance(value, str) else _messages(value) for key, value in found.items()
    }


FORMATS: dict[str, tuple[tuple[str, ...], Callable[[Any], Row]]] = {
    "rows": (("prompt", "completion"), _standard),  # TRL's standard shapes
    "ultrafeedback": (("prompt", "chosen"), _conversation("chosen")),  # HuggingFaceH4/ultrafeedback_binarized
    "messages": (("messages",), _conversation("messages")),
    "rlhflow": (("context_messages",), _conversation("context_messages")),  # RLHFlow/prompt-collection-v0.1
    "dolly": (("instruction", "context", "response"), _turns("instruction", "response", "context")),
    "alpaca": (("instruction", "input", "output"), _turns("instruction", "output", "input")),
    "magicoder": (("instruction", "response"), _turns("instruction", "response")),  # Evol-Instruct-110K
    "oss_instruct": (("problem", "solution"), _turns("problem", "solution")),  # ise-uiuc/...-OSS-Instruct-75K
    "prompt": (("prompt",), _standard),
    "text": (("text",), lambda row: {"text": _text(row["text"], "text")}),
}
"""Columns that a format needs, and the function that reads a row. The first that fits is taken."""


def format_of(source: Source, name: str | None) -> Callable[[Any], Row]:
    """Return the reader for a data set.

    Args:
        source: The data set.
        name: Name of the format; None to tell it from the columns.

    Raises:
        TrainError: The first row does not have the columns of the format, or of any.
    """
    first = source.rows[0] if len(source.rows) else {}
    columns = set(first) if isinstance(first, Mapping) else set()
    wanted = {known: needed for known, (needed, _) in FORMATS.items() if name in (None, known)}
    for known, needed in wanted.items():
        if set(needed) <= columns:
            return FORMATS[known][1]
    raise TrainError(
        "the data set has other columns" if len(source.rows) else "the data set is empty", where=source.name,
        found=", ".join(sorted(columns)) or None, hint="rename the columns, or choose another dataset_format",
        expected="; ".join(f"{known}: {', '.join(needed)}" for known, needed in wanted.items())
        or f"dataset_format to be one of {', '.join(FORMATS)}",
    )  # fmt: skip


def stage_row(row: Row, stage: str) -> Row:
    """Return the columns that a stage trains on: ``text``; ``prompt`` and ``completion``; or ``prompt``.

    Raises:
        UnusableRowError: The row lacks one.
    """
    for column, name in (("text", "not a document"), ("prompt", "no prompt"), ("completion", "no answer")):
        if column in COLUMNS[stage] and column not in row:
            raise UnusableRowError(name)
    return {column: row[column] for column in COLUMNS[stage]}


@dataclass
class _Output:
    """Where to write, and the model whose tokenizer to use."""

    output: str = field(metadata={"help": "rows file to write (.jsonl)", "aliases": ["-o"]})
    model_name_or_path: str | None = field(default=None, metadata={"help": "model whose tokenizer to use"})
    model_revision: str | None = field(default=None, metadata={"help": "commit of the model"})


@exits_plainly
def main() -> None:
    """Write the rows of an arm and their report."""
    from trl import GRPOConfig, ModelConfig, SFTConfig

    from value_retention.train.rewards import RewardArguments

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
    report = json.dumps(asdict(built.report), indent=2, ensure_ascii=False)
    path.with_name(f"{path.name}.report.json").write_text(f"{report}\n", encoding="utf-8")
    path.write_bytes(rows_bytes(built.rows))
    print(describe(built.report))
    print(f"wrote {path} (sha256 {built.report.sha256})")
    if built.held_out:
        held_out = path.with_suffix(".held-out.jsonl")
        held_out.write_bytes(rows_bytes(built.held_out))
        print(f"wrote {held_out}: {len(built.held_out)} rows for --eval_rows")


if __name__ == "__main__":
    main()
