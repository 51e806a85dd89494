"""Arguments of the scripts: YAML files, then the command line; an unknown key is refused."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from value_retention.train.errors import TrainError

CONFIGS = Path(__file__).parent / "configs"
STAGES = ("midtrain", "sft", "grpo")


@dataclass
class DataArguments:
    """What is trained on. Every field is a key of the YAML file and an option of the command line."""

    stage: str | None = field(default=None, metadata={"help": "midtrain, sft or grpo: what the rows are for"})
    dataset: str | None = field(
        default=None,
        metadata={"help": "name on the hub, local .jsonl/.json/.parquet file or folder, or sample:NAME"},
    )
    dataset_format: str | None = field(
        default=None,
        metadata={"help": "text, dolly, alpaca, magicoder, oss_instruct, rlhflow or ultrafeedback"},
    )
    dataset_config: str | None = field(default=None, metadata={"help": "configuration on the hub"})
    dataset_split: str = field(default="train", metadata={"help": "split on the hub"})
    dataset_revision: str | None = field(default=None, metadata={"help": "commit on the hub, 40 hex digits"})
    shuffle_seed: int = field(default=0, metadata={"help": "the rows are shuffled once, with this seed"})
    num_examples: int | None = field(default=None, metadata={"help": "rows to take; default all usable ones"})
    num_tokens: int | None = field(
        default=None,
        metadata={"help": "tokens that the taken rows shall hold together, so that arms see equally many"},
    )
    max_row_tokens: int | None = field(
        default=None,
        metadata={"help": "longer rows (sft: prompt with answer; grpo: prompt) are dropped, never cut"},
    )
    tokenizer: str | None = field(default=None, metadata={"help": "default: that of model_name_or_path"})
    tokenizer_revision: str | None = field(default=None, metadata={"help": "commit of the tokenizer"})
    chat_template: str | None = field(
        default=None, metadata={"help": "Jinja file; default the tokenizer's own, else the Llama 3 layout"}
    )
    document_end: str = field(default="<|end_of_text|>", metadata={"help": "token after a document"})
    turn_end: str = field(default="<|eot_id|>", metadata={"help": "token after a turn"})
    rows: str | None = field(
        default=None, metadata={"help": "train on exactly these rows, written by value_retention.train.data"}
    )
    contamination_stamp: str | None = field(
        default=None,
        metadata={"help": "what `value-retention contamination` wrote; default ROWS.stamp.json"},
    )
    contamination_unchecked: bool = field(
        default=False, metadata={"help": "train without a clean stamp; the run's card says so"}
    )


@dataclass
class RewardArguments:
    """What GRPO rewards. The same in every arm, so that only the prompts differ."""

    reward_model: str | None = field(default=None, metadata={"help": "sequence classifier with one label"})
    reward_model_revision: str | None = field(default=None, metadata={"help": "commit of the reward model"})
    reward_model_dtype: str = field(default="bfloat16", metadata={"help": "bfloat16, float16 or float32"})
    reward_max_length: int = field(
        default=4096,
        metadata={"help": "longest text for the reward model in tokens; the prompt's start is cut"},
    )
    reward_batch_size: int = field(default=8, metadata={"help": "texts per pass of the reward model"})
    reward_functions: list[str] | None = field(
        default=None, metadata={"help": "dotted paths, such as value_retention.train.rewards.code_shape"}
    )


def parse_arguments(
    classes: Sequence[type[Any]],
    *,
    prog: str,
    argv: Sequence[str] | None = None,
    known_elsewhere: frozenset[str] = frozenset(),
) -> tuple[Any, ...]:
    """Read ``--config A.yaml --config B.yaml --key value``: later files win, the command line wins most.

    Args:
        classes: Dataclasses, each filled from the keys of its fields.
        prog: Module name for the usage line.
        argv: Command line; None for that of the process.
        known_elsewhere: Keys of the files that are allowed but not read here.

    Raises:
        TrainError: A file cannot be read, or a key or an option is unknown.
    """
    from trl import TrlParser

    parser = TrlParser(classes, prog=f"python -m value_retention.train.{prog}", allow_abbrev=False)
    names = {item.name for kind in classes for item in fields(kind)} | known_elsewhere
    arguments = list(sys.argv[1:] if argv is None else argv)
    values: dict[str, Any] = {}
    for path in _take_configs(arguments):
        values.update(_read_config(path, names))
    parser.set_defaults_with_config(**values)
    try:
        *parsed, rest = parser.parse_args_into_dataclasses(args=arguments, return_remaining_strings=True)
    except (ValueError, TypeError) as error:  # what the dataclasses themselves refuse
        raise TrainError("a setting is refused", where=f"train.{prog}", found=error) from error
    if rest:
        raise TrainError("unknown option", found=" ".join(rest), hint=f"{parser.prog} --help lists them all")
    return tuple(parsed)


def _take_configs(arguments: list[str]) -> list[str]:
    """Remove every ``--config PATH`` and ``--config=PATH`` from the arguments and return the paths."""
    paths: list[str] = []
    index = 0
    while index < len(arguments):
        option, equals, value = arguments[index].partition("=")
        if option != "--config":
            index += 1
            continue
        if not equals and index + 1 == len(arguments):
            raise TrainError("--config needs a path", hint="--config llama31-8b/sft-dolly.yaml")
        paths.append(value if equals else arguments.pop(index + 1))
        arguments.pop(index)
    return paths


def config_path(path: str) -> Path:
    """A file as given, or of that name among the shipped configs.

    Raises:
        TrainError: It is in neither place.
    """
    for candidate in (Path(path).expanduser(), CONFIGS / path):
        if candidate.is_file():
            return candidate
    shipped = sorted(str(file.relative_to(CONFIGS)) for file in CONFIGS.rglob("*.yaml"))
    raise TrainError("no such config", where="--config", found=path, expected=", ".join(shipped))


def _read_config(path: str, names: set[str]) -> dict[str, Any]:
    import yaml

    try:
        values = yaml.safe_load(config_path(path).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise TrainError("not YAML", where=path, found=error) from error
    if not isinstance(values, dict):
        raise TrainError("not a YAML mapping", where=path, found=type(values).__name__)
    unknown = sorted(str(key) for key in values if key not in names)
    if unknown:
        raise TrainError(
            "unknown key", where=path, found=", ".join(unknown), expected="a field of the script's arguments",
            hint="check the spelling, and that the config is for this script",
        )  # fmt: skip
    return values
