"""Options that several commands share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import click

F = TypeVar("F", bound=Callable[..., Any])


class Amount(click.FloatRange):
    """A finite number in a range; click's own range accepts NaN and infinity."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number, or the usual message of click."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


SETTINGS = (
    click.option(
        "--margin", type=float, help="Largest loss, in points, that counts as none; gives verdicts."
    ),
    click.option(
        "--questions",
        type=click.Choice(["new", "fixed"]),
        default="new",
        show_default=True,
        help="Verdicts for new questions like these, or for these.",
    ),
    click.option(
        "--level", default=0.95, show_default=True, help="Confidence level; 1 - level is the error rate."
    ),
    click.option("--resamples", default=10_000, show_default=True, help="Bootstrap resamples."),
    click.option("--seed", default=0, show_default=True, help="Seed of the resampling."),
)

FILES = {
    "json": "Everything, including what the plots show.",
    "csv": "A row per figure and comparison.",
    "parquet": "The same as parquet.",
    "latex": "Tables of scores and effects with booktabs.",
}
"""Kinds of output file and their help."""


def settings_options(command: F) -> F:
    """Add the options of `Settings`, which the command gets as one argument, ``settings``."""

    @wraps(command)
    def with_settings(**given: Any) -> Any:
        from value_retention.analysis.stats.settings import checked_settings

        names = ("level", "resamples", "seed", "margin", "questions")
        return command(settings=checked_settings(**{name: given.pop(name) for name in names}), **given)

    found: Any = with_settings
    for option in reversed(SETTINGS):
        found = option(found)
    return cast(F, found)


JUDGE, SCORE = "value_retention.judge", "value_retention.score"
"""Keys of what is chosen in click's context, where the reading of runs finds it."""


def chosen(key: str) -> str | None:
    """The value of --judge or --score, or None."""
    context = click.get_current_context(silent=True)
    return None if context is None else context.meta.get(key)


def _keeps(key: str) -> Callable[[click.Context, click.Parameter, str | None], None]:
    def keep(context: click.Context, _: click.Parameter, value: str | None) -> None:
        context.meta[key] = value

    return keep


score_option = click.option(
    "--score",
    metavar="NAME",
    expose_value=False,
    callback=_keeps(SCORE),
    help="Score to read in Inspect logs that have several or are of other evals, or lm-eval's metric.",
)


def reading_options(command: F) -> F:
    """Add --judge and --score, which choose what is read of a run."""
    judge = click.option(
        "--judge",
        metavar="NAME",
        expose_value=False,
        callback=_keeps(JUDGE),
        help="Read only this judge's grades, where a run was judged by several. A panel is `A + B`.",
    )
    return judge(score_option(command))


capability_option = click.option(
    "--capability",
    multiple=True,
    metavar="RUN=PATH",
    help="Other tasks of a run (IFEval, MMLU, ...): lm-eval's samples or an Inspect log, or a folder. Repeat for each "
    "run.",
)


ceiling_option = click.option(
    "--ceiling",
    "ceilings",
    multiple=True,
    metavar="NAME=PATH",
    help="Ceiling test of the run NAME: places its score between floor and ceiling. Repeat for several.",
)


def output_options(command: F) -> F:
    """Add an option per kind of output file, and --plots."""
    file = click.Path(dir_okay=False, path_type=Path)
    folder = click.Path(file_okay=False, path_type=Path)
    command = click.option("--plots", type=folder, help="Folder for SVG and PNG.")(command)
    for kind, text in reversed(FILES.items()):
        command = click.option(f"--{kind}", type=file, help=text)(command)
    return command


def as_options(files: Mapping[str, Path | None]) -> dict[str, Path | None]:
    """Output files by the option that names them."""
    return {f"--{kind}": path for kind, path in files.items()}
