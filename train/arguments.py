"""Settings of the scripts: YAML files, then the command line. Unknown keys are errors."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from value_retention.train.errors import TrainError

CONFIGS = Path(__file__).parent / "configs"
STAGES = ("midtrain", "sft", "grpo")


def _option(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass
class DataArguments:
    """What to train on. Every field is a key of the YAML files and an option of the command line."""

    stage: str | None = _option(None, "stage the rows are for: midtrain, sft or grpo")
    dataset: str | None = _option(
        None, "name on the hub, local .jsonl, .json or .parquet, folder or sample:NAME"
    )
    dataset_format: str | None = _option(
        None, "its columns: text, dolly, alpaca, magicoder, oss_instruct, rlhflow or ultrafeedback"
    )
    dataset_config: str | None = _option(None, "configuration on the hub")
    dataset_split: str = _option("train", "split on the hub")
    dataset_revision: str | None = _option(None, "commit on the hub, 40 hex digits")
    shuffle_seed: int = _option(0, "seed of the one shuffle of the rows")
    num_examples: int | None = _option(None, "number of rows to take; all usable rows if not given")
    num_tokens: int | None = _option(None, "total tokens of the rows, the same in arms that are compared")
    max_row_tokens: int | None = _option(
        None, "drop longer rows, never cut them (sft: prompt and answer; grpo: prompt)"
    )
    tokenizer: str | None = _option(None, "tokenizer, if not that of the model")
    tokenizer_revision: str | None = _option(None, "commit of the tokenizer")
    chat_template: str | None = _option(
        None, "Jinja file; if not given, the tokenizer's template, or the Llama 3 layout if it has none"
    )
    document_end: str = _option("<|end_of_text|>", "token after a document")
    turn_end: str = _option("<|eot_id|>", "token after a turn")
    rows: str | None = _option(None, "file from value_retention.train.data; train on exactly its rows")
    contamination_stamp: str | None = _option(
        None, "stamp from `value-retention contamination`; ROWS.stamp.json if not given"
    )
    contamination_unchecked: bool = _option(False, "train without a clean stamp; the run's card records this")


@dataclass
class RewardArguments:
    """What GRPO rewards. The same in every arm, so that arms differ only in their prompts."""

    reward_model: str | None = _option(None, "sequence classifier with one label")
    reward_model_revision: str | None = _option(None, "commit of the reward model")
    reward_model_dtype: str = _option("bfloat16", "bfloat16, float16 or float32")
    reward_max_length: int = _option(
        4096, "longest text for the reward model in tokens; longer texts lose the start of the prompt"
    )
    reward_batch_size: int = _option(8, "texts per pass of the reward model")
    reward_functions: list[str] | None = field(
        default=None, metadata={"help": "dotted paths, such as value_retention.train.rewards.code_shape"}
    )


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
    files = argparse.ArgumentParser(prog=prog, add_help=False, allow_abbrev=False)
    files.add_argument("--config", action="append", default=[], metavar="FILE")
    given, arguments = files.parse_known_args(argv)
    names = {item.name for kind in classes for item in fields(kind)} | known_elsewhere
    values: dict[str, Any] = {}
    for path in given.config:
        values.update(_read_config(path, names))
    parser.set_defaults_with_config(**values)
    try:
        *parsed, rest = parser.parse_args_into_dataclasses(args=arguments, return_remaining_strings=True)
    except (ValueError, TypeError) as error:  # raised by the dataclasses themselves
        raise TrainError("invalid setting", where=prog, found=error) from error
    if rest:
        raise TrainError("unknown option", found=" ".join(rest), hint=f"see {prog} --help")
    return tuple(parsed)


def config_path(path: str) -> Path:
    """Return the file, or the shipped config of that name.

    Raises:
        TrainError: Neither exists.
    """
    for candidate in (Path(path).expanduser(), CONFIGS / path):
        if candidate.is_file():
            return candidate
    files = (file.relative_to(CONFIGS) for file in CONFIGS.rglob("*.yaml"))
    shipped = sorted(str(file) for file in files if file.parts[0] != "accelerate")
    raise TrainError(
        "config not found", where="--config", found=path, expected=f"a file, or one of {', '.join(shipped)}"
    )


def _read_config(path: str, names: set[str]) -> dict[str, Any]:
    import yaml

    try:
        values = yaml.safe_load(config_path(path).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise TrainError("invalid YAML", where=path, found=error) from error
    if not isinstance(values, dict):
        raise TrainError("the config is not a YAML mapping", where=path, found=type(values).__name__)
    unknown = sorted(str(key) for key in values if key not in names)
    if unknown:
        raise TrainError(
            "unknown key", where=path, found=", ".join(unknown), expected="an option of the script",
            hint="check the spelling, and that the config is for this script",
        )  # fmt: skip
    return values
