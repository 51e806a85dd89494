"""What an audit is asked to do: the YAML file, or the options of the command line, checked before anything runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from value_retention.adapters.settings import LEXICAL
from value_retention.tasks.benchmark import packaged
from value_retention.tasks.errors import InputError
from value_retention.tasks.yaml_file import Strict, problem_text

if TYPE_CHECKING:
    from value_retention.analysis.planning.spending import Price
    from value_retention.analysis.stats.settings import Settings

TASKS = {benchmark.task_name: benchmark for benchmark in packaged().values()}
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}"
"""A model's name in the audit: it is also the name of a folder."""
RESERVED = ("base", "before")

LM_EVAL = frozenset({
    "model", "model_args", "batch_size", "max_batch_size", "device", "apply_chat_template", "system_instruction",
    "gen_kwargs", "seed", "cache_requests", "trust_remote_code", "include_path", "num_fewshot",
    "fewshot_as_multiturn", "confirm_run_unsafe_code",
})  # fmt: skip
"""Keys of lm-eval's own configuration file that an audit passes on. The audit sets the others."""


class Model(Strict):
    """A model to evaluate, or its finished runs.

    Attributes:
        model: Path, name on the hub, or name at the provider.
        args: Model arguments of this model alone, such as ``{peft: adapter}`` or ``{revision: step100}``.
        runs: Finished runs of the benchmarks, in place of a model: files or folders.
        capability: Finished capability runs, where ``runs`` are given.
    """

    model: str | None = None
    args: dict[str, Any] = Field(default_factory=dict)
    runs: tuple[str, ...] = ()
    capability: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return {"model": value} if isinstance(value, str) else value

    @field_validator("runs", "capability", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_of_two(self) -> Model:
        if bool(self.model) == bool(self.runs):
            raise ValueError("give either `model` or `runs`")
        if self.capability and not self.runs:
            raise ValueError(
                "`capability` stands beside `runs` only; the audit runs the tasks of a model itself"
            )
        return self


class Prices(Strict):
    """The judge's price, US dollars per million tokens."""

    input: float = Field(ge=0, allow_inf_nan=False)
    output: float = Field(ge=0, allow_inf_nan=False)


class Capability(Strict):
    """Tasks of the harness that measure helpful performance.

    Attributes:
        tasks: Names in lm-eval or, with ``inspect``, in Inspect.
        lm_eval: Keys of lm-eval's configuration for these tasks alone, such as ``{num_fewshot: 5}``.
        limit: Samples per task.
    """

    tasks: tuple[str, ...] = Field(min_length=1)
    lm_eval: dict[str, Any] = Field(default_factory=dict)
    limit: int | None = Field(default=None, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _from_list(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = [name.strip() for name in value.split(",")]
        return {"tasks": value} if isinstance(value, list) else value


class Audit(Strict):
    """An audit.

    Attributes:
        base: The model that has the value.
        candidates: Name and model of each candidate.
        before: The model before the value was trained in, for the retained share.
        judge: Judges' names; several are a panel.
        judge_args: Settings of the judge, as in ``--judge-args``.
        margin: Largest loss, in points, that counts as none.
        tasks: Benchmarks.
        data: ``hub``, ``hub:REPO@COMMIT``, ``sample`` or a folder.
        languages: BCP-47 tags or English names; None: all.
        epochs: Answers per question; None: the benchmark's 5.
        level: Confidence level of the verdicts together.
        questions: Whether verdicts are for new questions or for these.
        allow: Aspects in which the runs may differ.
        capability: Further tasks, to be compared beside the value.
        lm_eval: lm-eval's own configuration: ``model``, ``model_args``, ``batch_size``, ...
        command: How lm-eval is started, such as ``accelerate launch --num_processes 4 -m lm_eval``.
        inspect: Inspect's own run configuration; evaluates with Inspect instead.
        price: The judge's price.
        budget: Limit of what the judge may cost, US dollars.
        calls_per_second: For the estimate of the judge's time.
        tokens_per_second: For the estimate of the models' time.
    """

    base: Model
    candidates: dict[str, Model] = Field(min_length=1)
    before: Model | None = None
    judge: tuple[str, ...] = Field(min_length=1)
    judge_args: dict[str, Any] = Field(default_factory=dict)
    margin: float = Field(gt=0, lt=100)
    tasks: tuple[str, ...] = Field(default=tuple(TASKS), min_length=1)
    data: str = "hub"
    languages: tuple[str, ...] | None = None
    epochs: int | None = Field(default=None, ge=1)
    level: float = 0.95
    questions: Literal["new", "fixed"] = "new"
    allow: tuple[str, ...] = ()
    capability: Capability | None = None
    lm_eval: dict[str, Any] = Field(default_factory=dict)
    command: str = ""
    inspect: dict[str, Any] | None = None
    price: Prices | None = None
    budget: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    calls_per_second: float = Field(default=5.0, gt=0)
    tokens_per_second: float = Field(default=1000.0, gt=0)

    @field_validator("judge", "tasks", "languages", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        return [name.strip() for name in value.split(",")] if isinstance(value, str) else value

    @field_validator("tasks")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [name for name in value if name not in TASKS]:
            raise ValueError(f"unknown benchmark {', '.join(unknown)}, expected {' or '.join(TASKS)}")
        return value

    @field_validator("candidates", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        """A list of models is named by the last part of each."""
        models = [value] if isinstance(value, str) else value
        if not isinstance(models, list):
            return models
        named: dict[str, Any] = {}
        for model in models:
            if not isinstance(model, str):
                raise ValueError("candidates in a list are paths or names; others need a name: `NAME: {...}`")
            name = model.rstrip("/").rpartition("/")[2]
            if name in named:
                raise ValueError(f"two candidates are named {name}; name them: `NAME: MODEL`")
            named[name] = model
        return named

    @field_validator("candidates")
    @classmethod
    def _folder_names(cls, value: dict[str, Model]) -> dict[str, Model]:
        for name in value:
            if name in RESERVED or not re.fullmatch(NAME, name):
                raise ValueError(
                    f"{name!r} cannot name a candidate: letters, digits, `.`, `_`, `-`; not `base`"
                )
        return value

    @field_validator("lm_eval")
    @classmethod
    def _known_keys(cls, value: dict[str, Any]) -> dict[str, Any]:
        if unknown := sorted(value.keys() - LM_EVAL):
            raise ValueError(
                f"cannot be set here: {', '.join(unknown)}; possible: {', '.join(sorted(LM_EVAL))}"
            )
        return value

    @model_validator(mode="after")
    def _agree(self) -> Audit:
        if self.inspect is not None and self.lm_eval:
            raise ValueError("give either `lm_eval` or `inspect`: all models are asked by one harness")
        if "none" in self.judge:
            raise ValueError("`judge: none` does not judge")
        if self.budget is not None and self.price is None and self.paid:
            raise ValueError("`budget` needs `price: {input: ..., output: ...}`")
        return self

    @property
    def models(self) -> dict[str, Model]:
        """Every model by its name, the base first."""
        first = {"base": self.base} | ({"before": self.before} if self.before else {})
        return first | self.candidates

    @property
    def judge_read(self) -> str | None:
        """The judge whose grades are read where a folder holds several; None: any, since they may differ."""
        return None if "judge" in self.allow else " + ".join(self.judge)

    @property
    def paid(self) -> bool:
        """Whether the judge is asked over a network or on a GPU, and not the phrase matcher."""
        return any(name != LEXICAL for name in self.judge)

    @property
    def usd(self) -> Price | None:
        """The judge's price."""
        from value_retention.analysis.planning.spending import Price

        return None if self.price is None else Price(self.price.input, self.price.output)

    def settings(self) -> Settings:
        """How the runs are compared.

        Raises:
            InputError: a level out of range.
        """
        from value_retention.analysis.stats.settings import checked_settings

        return checked_settings(level=self.level, margin=self.margin, questions=self.questions)


def read_audit(path: Path, changes: Mapping[str, Any]) -> Audit:
    """Read an audit's file.

    Args:
        path: The YAML. Relative paths in it start at its folder.
        changes: Values from the command line, which take precedence.

    Raises:
        InputError: no file, invalid YAML, or an invalid value; all of these are named.
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(
            "the audit file cannot be read", where=str(path), found=" ".join(str(error).split())
        ) from error
    if not isinstance(content, dict):
        raise InputError("the audit file is not a mapping", where=str(path), expected="base, candidates, ...")
    return located(checked_audit({**content, **changes}, str(path)), path.parent)


def checked_audit(content: Mapping[str, Any], where: str) -> Audit:
    """The audit of a mapping.

    Raises:
        InputError: an invalid value. The message names every one.
    """
    try:
        return Audit.model_validate(dict(content))
    except ValidationError as error:
        problems = [
            ": ".join(filter(None, (".".join(map(str, problem["loc"])), problem_text(problem))))
            for problem in error.errors(include_url=False)
        ]
        raise InputError(
            "invalid audit",
            where=where,
            found="; ".join(problems),
            expected=f"keys {', '.join(Audit.model_fields)}",
            hint="docs/auditing.md explains each of them",
        ) from None


def located(audit: Audit, folder: Path) -> Audit:
    """The audit with paths that hold from any folder: models and data that exist below `folder`, and runs."""

    def place(text: str) -> str:
        path = Path(text).expanduser()
        found = path if path.is_absolute() else folder / path
        return str(found.resolve()) if found.exists() else text

    def model(one: Model) -> Model:
        changes: dict[str, Any] = {
            "runs": tuple(map(place, one.runs)),
            "capability": tuple(map(place, one.capability)),
        }
        return one.model_copy(update=changes | ({"model": place(one.model)} if one.model else {}))

    return audit.model_copy(
        update={
            "base": model(audit.base),
            "before": model(audit.before) if audit.before else None,
            "candidates": {name: model(one) for name, one in audit.candidates.items()},
            "data": audit.data if audit.data in ("hub", "sample") else place(audit.data),
            **({"lm_eval": audit.lm_eval | {"include_path": place(str(audit.lm_eval["include_path"]))}}
               if "include_path" in audit.lm_eval else {}),
        }
    )  # fmt: skip
