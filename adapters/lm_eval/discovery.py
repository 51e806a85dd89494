"""Let lm-evaluation-harness 0.4.13 find our tasks without ``--include_path``, and end its command well.

That version scans only its own ``tasks`` folder and the user's include paths. The ``.pth`` file that is installed
with this package (see ``setup.py``) calls `install` when ``lm_eval`` is imported. `install` adds a finder to
``sys.meta_path`` that patches the modules in `PATCHES` when they are imported. ``VALUE_RETENTION_NO_DISCOVERY``
switches all of it off.
"""

import sys
from functools import wraps
from importlib.util import find_spec
from pathlib import Path


def _add_tasks_folder(manager):  # type: ignore[no-untyped-def]
    """Make ``TaskManager`` scan our folder after lm-eval's and before the user's include paths.

    A version of lm-eval that reads the entry points ``lm_eval.tasks`` finds the folder by ours. A second scan would
    only make it warn that every task overrides itself.
    """
    if hasattr(manager, "discover_plugin_task_paths"):
        return
    original = manager.TaskManager.__init__

    @wraps(original)
    def init(self, verbosity=None, include_path=None, include_defaults=True, *args, **kwargs):  # type: ignore[no-untyped-def]
        paths = [] if include_path is None else include_path
        paths = list(paths) if isinstance(paths, list | tuple) else [paths]
        if include_defaults:
            import value_retention.tasks

            paths = [Path(next(iter(value_retention.tasks.__path__))), *paths]
        original(self, verbosity, paths or None, include_defaults, *args, **kwargs)

    manager.TaskManager.__init__ = init


def _check_first(config):  # type: ignore[no-untyped-def]
    """Make the command check judge, data and output folder before it loads the model."""
    original = config.EvaluatorConfig.process_tasks

    def process_tasks(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        manager = original(self, *args, **kwargs)
        from value_retention.adapters.lm_eval.command import check

        check(self, manager)
        return manager

    config.EvaluatorConfig.process_tasks = process_tasks


def _end_well(harness):  # type: ignore[no-untyped-def]
    """Make the command end with status 1 if grades are missing or unreadable, and with one sentence after Ctrl-C."""
    original = harness.HarnessCLI.execute

    def execute(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        try:
            original(self, *args, **kwargs)
        except KeyboardInterrupt:
            answers = sys.modules.get("value_retention.adapters.lm_eval.answers")
            if answers is None:
                raise
            raise answers.interrupted() from None
        if answers := sys.modules.get("value_retention.adapters.lm_eval.answers"):
            answers.exit_status()

    harness.HarnessCLI.execute = execute


PATCHES = {
    "lm_eval.tasks.manager": _add_tasks_folder,
    "lm_eval.config.evaluate_config": _check_first,
    "lm_eval._cli.harness": _end_well,
}
"""The patch of each module, applied when the module is imported."""


class _Finder:
    """Wraps the loaders of the modules in `PATCHES`. Finds nothing itself."""

    asking = False

    def find_spec(self, name, path=None, target=None):  # type: ignore[no-untyped-def]
        """Return the usual spec of a module in `PATCHES`, with a loader that also patches the module."""
        if name not in PATCHES or self.asking:
            return None
        self.asking = True
        try:
            spec = find_spec(name)
        finally:
            self.asking = False
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def exec_module(module):  # type: ignore[no-untyped-def]
            execute(module)
            PATCHES[name](module)  # type: ignore[no-untyped-call]

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def install() -> None:
    """Add the finder, unless it is there or lm-eval's manager is already imported."""
    if "lm_eval.tasks.manager" not in sys.modules and not any(isinstance(f, _Finder) for f in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
