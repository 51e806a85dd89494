"""What lm-eval's command checks before it loads the model: judge, data, and a place for the grades."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from value_retention.adapters.lm_eval.answers import stop
from value_retention.adapters.lm_eval.turns import require_template
from value_retention.tasks.benchmark import FILE
from value_retention.tasks.errors import InputError

logger = logging.getLogger("lm_eval.value_retention")


def check(config: Any, manager: Any) -> None:
    """Check a command line of lm-eval that has tasks of ours.

    Args:
        config: lm-eval's ``EvaluatorConfig``, with resolved tasks.
        manager: Its ``TaskManager``.

    Raises:
        SystemExit: no usable judge, no data, or no folder for the output. The message is on standard error.
    """
    ours = [name for name in config.tasks if isinstance(name, str) and _is_ours(name, manager)]
    if not ours:
        return
    from value_retention.adapters.lm_eval.pairs import PairsTask

    try:
        tasks = manager.load(ours)["tasks"]  # reads settings and data, and makes the judges
        judged = [task for task in tasks.values() if not isinstance(task, PairsTask)]
        for task in judged:
            require_template(task.loaded.items, config.apply_chat_template)
        if config.output_path:
            _check_folder(Path(str(config.output_path)))
    except InputError as error:
        raise stop(f"value-retention: {error}") from error
    if judged and not (config.output_path and config.log_samples):
        logger.warning(
            "value_retention: without --output_path and --log_samples the answers and grades go to the journal "
            "only. To get them from there: value-retention journal export"
        )


def unknown_tasks(names: Sequence[str], include_path: str | None = None) -> tuple[list[str], list[str]]:
    """Names that are not tasks, groups or tags of lm-eval, and the nearest ones that are."""
    import difflib

    from lm_eval.tasks import TaskManager

    known = set(TaskManager(include_path=include_path).all_tasks)
    unknown = [name for name in names if name not in known]
    return unknown, [match for name in unknown for match in difflib.get_close_matches(name, known, n=2)]


def _is_ours(name: str, manager: Any) -> bool:
    import value_retention.tasks

    path = getattr(manager.task_index.get(name), "yaml_path", None)
    if path is None:
        return False
    folder = Path(next(iter(value_retention.tasks.__path__))).resolve()
    own = Path(path).with_name(FILE).is_file() and Path(path).with_name("task.py").is_file()
    return own or Path(path).resolve().is_relative_to(folder)


def _check_folder(path: Path) -> None:
    """Check that lm-eval can write its results. It only warns if it cannot, once everything is paid for."""
    folder = path.parent if path.suffix == ".json" else path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(
            "cannot write the results",
            where=f"--output_path {path}",
            found=f"{type(error).__name__}: {error}",
            expected="a writable folder",
            hint="choose another folder",
        ) from error
