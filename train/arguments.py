"""Settings of the scripts: YAML files, then the command line. And what every script says and how it stops."""

from __future__ import annotations

import argparse
import errno
import functools
import io
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CONFIGS = Path(__file__).parent / "configs"
STUDIES = tuple(sorted(file.parent for file in CONFIGS.glob("*/study.yaml")))
COMMIT = re.compile(r"[0-9a-f]{40}")
STAGES = ("midtrain", "sft", "grpo")
BATCH = ("sequences_per_step", "per_device_train_batch_size")
"""Settings that `batch_of` turns into those of the trainer."""


# torch names neither the cause nor an errno: its archive writer only notices missing bytes.
FULL_DISK = ("No space left on device", "Disk quota exceeded", "File too large", "unexpected pos")
FULL_DISK_ERRNO = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class TrainError(ValueError):
    """A mistake that the user can correct: bad data, settings or a path.

    Its text has the same five parts as that of ``value_retention.tasks.errors.InputError``, which this
    folder may not import.

    Args:
        what: The problem, in one clause.
        where: File, row, option or key.
        found: The value found.
        expected: What is accepted.
        hint: What to do next.
    """

    def __init__(
        self,
        what: str,
        *,
        where: object = None,
        found: object = None,
        expected: str | None = None,
        hint: str | None = None,
    ) -> None:
        lines = [what]
        for label, value in (("where", where), ("found", found), ("expected", expected), ("next", hint)):
            if value is not None:
                lines.append(f"  {label}: {value}")
        super().__init__("\n".join(lines))


def is_first_process() -> bool:
    """Whether this is the only process of a run, or the first of several."""
    return os.environ.get("RANK", "0") == "0"


def say(message: str) -> None:
    """Print a line once, not once per process."""
    if is_first_process():
        print(message, flush=True)


def exits_plainly(main: Callable[[], None]) -> Callable[[], None]:
    """Wrap the main function of a script so that a `TrainError` prints its message and exits with status 2.

    A full disk exits with status 3 in the same way. Other exceptions pass through.
    """

    @functools.wraps(main)
    def wrapped() -> None:
        if isinstance(sys.stdout, io.TextIOWrapper):  # progress reaches a log file or a pipe as it happens
            sys.stdout.reconfigure(line_buffering=True)
        try:
            main()
        except TrainError as error:
            _stop(str(error), 2)
        except Exception as error:
            if not is_disk_full(error):
                raise
            _stop(
                f"out of disk space or over a quota: {error}\n  next: free some space and run the same command "
                "again; it resumes from the last complete checkpoint. --save_total_limit keeps fewer of them",
                3,
            )

    return wrapped


def is_disk_full(error: BaseException | None) -> bool:
    """Whether an exception or one of its causes means that the disk is full."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL_DISK_ERRNO:
            return True
        if any(text in str(error) for text in FULL_DISK):
            return True
        error = error.__cause__ or error.__context__
    return False


def _stop(message: str, status: int) -> None:
    # Every process of a distributed run raises the same error; one message is enough.
    if is_first_process():
        print(f"value-retention train: {message}", file=sys.stderr, flush=True)
    sys.exit(status)


def option(default: Any, text: str) -> Any:
    """Return the field of a setting with its help."""
    return field(default=default, metadata={"help": text})


@dataclass
class DataArguments:
    """What to train on. Every field is a key of the YAML files and an option of the command line."""

    stage: str | None = option(None, "stage the rows are for: midtrain, sft or grpo")
    dataset: str | None = option(
        None, "name on the hub, local .jsonl, .json or .parquet, folder or sample:NAME"
    )
    dataset_format: str | None = option(None, "its format, if the columns do not tell (a name in FORMATS)")
    datasets: list[dict] | None = field(  # type: ignore[type-arg]
        default=None, metadata={"help": "TRL's mixture of data sets, in place of dataset"}
    )
    streaming: bool = option(False, "read the mixture as a stream")
    dataset_config: str | None = option(None, "configuration on the hub")
    dataset_split: str = option("train", "split on the hub")
    dataset_revision: str | None = option(None, "commit on the hub, 40 hex digits")
    shuffle_seed: int = option(0, "seed of the one shuffle of the rows")
    held_out: int = option(0, "number of rows to set aside for evaluation, before any row is taken")
    num_examples: int | None = option(None, "number of rows to take; all usable rows if not given")
    loss_tokens: int | None = option(
        None, "take rows until they hold this many tokens with a loss, the same in arms that are compared"
    )
    max_row_tokens: int | None = option(
        None, "drop longer rows, never cut them (sft: prompt and answer; grpo: prompt)"
    )
    replay: float | None = option(
        None, "sft: share of mid-training documents in the tokens with a loss, beside the arm's own rows"
    )
    replay_rows: str | None = option(None, "rows file of mid-training, whose documents are replayed")
    tokenizer: str | None = option(None, "tokenizer, if not that of the model")
    tokenizer_revision: str | None = option(None, "commit of the tokenizer")
    chat_template: str | None = option(
        None,
        "Jinja file, or the name of a shipped one; if not given, the tokenizer's template, or the Llama 3 "
        "layout if it has none",
    )
    document_end: str = option("<|end_of_text|>", "token after a document")
    turn_end: str = option("<|eot_id|>", "token after a turn")
    sequences_per_step: int | None = option(
        None, "sequences per optimizer step (grpo: answers) on any number of devices; sets "
        "gradient_accumulation_steps, and per_device_train_batch_size is the most that a device takes",
    )  # fmt: skip
    plain_loss: bool = option(
        False, "midtrain, sft: the loss from all logits at once, not in TRL's chunks; faster on a CPU"
    )
    rows: str | None = option(None, "file from value_retention.train.data; train on exactly its rows")
    eval_rows: list[str] | None = field(
        default=None,
        metadata={
            "help": "rows for TRL's evaluation as NAME=FILE, any number; the loss is logged as eval_NAME_loss. "
            "Documents and dialogues may be mixed. Without them, eval_strategy is off"
        },
    )
    value_pairs: str | None = option(
        None,
        "pairs from `value-retention probe`; logs how far the model prefers "
        "the chosen answers, at every evaluation",
    )
    contamination_stamp: str | None = option(
        None, "stamp from `value-retention contamination`; ROWS.stamp.json if not given"
    )
    contamination_unchecked: bool = option(False, "train without a clean stamp; the run's card records this")
    parent: str = option("midtrain", "run of the study that an arm starts from; for the graph of the study")
    domain: str | None = option(None, "what an arm trains, such as coding; for the report")
    mitigation: str | None = option(None, "what an arm does to keep a value; for the report")


def parse_arguments(
    classes: Sequence[type[Any]],
    *,
    prog: str,
    about: str = "",
    argv: Sequence[str] | None = None,
    known_elsewhere: frozenset[str] = frozenset(),
) -> tuple[Any, ...]:
    """Read ``--config A.yaml --config B.yaml --key value``. Later files win; the command line wins over all.

    Args:
        classes: Dataclasses to fill; each takes the keys of its fields.
        prog: Module name for the usage line.
        about: What the script does, for ``--help``.
        argv: Command line; None for that of the process.
        known_elsewhere: Keys of the files that are allowed but not read here.

    Raises:
        TrainError: A file cannot be read, a key or an option is unknown, or a value is invalid.
    """
    from trl import TrlParser

    prog = f"python -m value_retention.train.{prog}"
    parser = TrlParser(
        classes,
        prog=prog,
        allow_abbrev=False,
        description=f"{about} --config FILE, any number of times, reads options from YAML: later files win, and the "
        "command line wins over all. FILE may be a shipped config, such as llama31-8b/sft-dolly.yaml.",
    )
    first = argparse.ArgumentParser(prog=prog, add_help=False, allow_abbrev=False)
    first.add_argument("--config", action="append", default=[], metavar="FILE")
    for key in BATCH:
        first.add_argument(f"--{key}", type=int)
    given, arguments = first.parse_known_args(argv)
    values: dict[str, Any] = {}
    for path in given.config:
        values |= read_config(path, values.get("stage"))
    values |= {key: value for key in BATCH if (value := getattr(given, key)) is not None}
    if values.get("sequences_per_step") is not None:
        values |= batch_of(values, int(os.environ.get("WORLD_SIZE", "1")))
    unknown = {word[2:] for word in parser.set_defaults_with_config(**values)[::2]} - known_elsewhere
    if unknown:
        raise TrainError(
            "unknown key", where=", ".join(given.config), found=", ".join(sorted(unknown)),
            expected="an option of the script", hint="check the spelling, and that the config is for this script",
        )  # fmt: skip
    try:
        *parsed, rest = parser.parse_args_into_dataclasses(args=arguments, return_remaining_strings=True)
    except (ValueError, TypeError) as error:  # raised by the dataclasses themselves
        raise TrainError("invalid setting", where=prog, found=error) from error
    if rest:
        raise TrainError("unknown option", found=" ".join(rest), hint=f"see {prog} --help")
    return tuple(parsed)


def batch_of(values: dict[str, Any], processes: int) -> dict[str, int]:
    """Return the two settings of the trainer that put ``sequences_per_step`` into every optimizer step.

    Args:
        values: ``sequences_per_step``, and ``per_device_train_batch_size`` as the most that one device takes.
        processes: Number of processes, one per device.

    Raises:
        TrainError: The sequences cannot be shared out evenly.
    """
    wanted, most = values["sequences_per_step"], values.get("per_device_train_batch_size", 8)
    share = wanted // processes
    if share * processes != wanted or share < 1 or most < 1:
        raise TrainError(
            "the sequences of a step cannot be shared out evenly", where="sequences_per_step",
            found=f"{wanted} sequences on {processes} processes", expected=f"a multiple of {processes}",
        )  # fmt: skip
    device = max(size for size in range(1, min(most, share) + 1) if share % size == 0)
    return {"per_device_train_batch_size": device, "gradient_accumulation_steps": share // device}


def check_batch(data: DataArguments, training: Any) -> None:
    """Check that the trainer takes ``sequences_per_step`` sequences per optimizer step.

    Raises:
        TrainError: It takes another number, because of other settings or of several GPUs in one process.
    """
    found = training.train_batch_size * training.gradient_accumulation_steps * training.world_size
    if data.sequences_per_step not in (None, found):
        raise TrainError(
            "an optimizer step would have another number of sequences", where="sequences_per_step",
            found=f"{found}: {training.train_batch_size} per process, {training.gradient_accumulation_steps} "
            f"accumulated, {training.world_size} processes", expected=str(data.sequences_per_step),
            hint="leave gradient_accumulation_steps out; use accelerate launch for several GPUs",
        )  # fmt: skip


def config_path(path: str | Path) -> Path:
    """Return the file, or the shipped config of that name.

    Raises:
        TrainError: Neither exists.
    """
    for candidate in (Path(path).expanduser(), CONFIGS / path):
        if candidate.is_file():
            return candidate
    shipped = (str(file.relative_to(CONFIGS)) for study in STUDIES for file in sorted(study.glob("*.yaml")))
    raise TrainError(
        "config not found", where="--config", found=path, expected=f"a file, or one of {', '.join(shipped)}"
    )


def read_config(path: str | Path, stage: str | None = None) -> dict[str, Any]:
    """Return the settings in a YAML file.

    ``base: study.yaml#sft`` takes the settings of that file first, for that stage. Settings under the name of a
    stage (``sft:``) count for that stage only, and win over the others in the file.

    Args:
        path: File, or name of a shipped config.
        stage: Stage to read the settings for; None for that of the file.

    Raises:
        TrainError: The file does not exist or is not a YAML mapping.
    """
    import yaml

    file = config_path(path)
    try:
        own = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise TrainError("invalid YAML", where=path, found=error) from error
    if not isinstance(own, dict):
        raise TrainError("the config is not a YAML mapping", where=path, found=type(own).__name__)
    values: dict[str, Any] = {}
    if base := own.pop("base", None):
        name, _, part = str(base).partition("#")
        values = read_config(file.parent / name, part or stage)
        stage = part or stage
    stages = {name: own.pop(name, None) or {} for name in STAGES}
    stage = stage or own.get("stage")
    if stage is None and any(stages.values()):
        raise TrainError(
            "settings by stage without a stage", where=path, hint="give the config of an arm first"
        )
    return values | own | stages.get(stage or "", {})
