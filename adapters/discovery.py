"""Let lm-evaluation-harness find the tasks of this package without ``--include_path``.

lm-eval scans its own ``tasks`` folder and the user's include paths, nothing else. The ``.pth`` file that is
installed with this package calls `install` at interpreter start; it only appends a finder to
``sys.meta_path`` and does nothing more until ``lm_eval.tasks.manager`` is imported. Setting
``VALUE_RETENTION_NO_DISCOVERY`` switches it off.

This module is imported at every interpreter start: it must not import anything that is not loaded anyway.
"""

import sys

TARGET = "lm_eval.tasks.manager"
OURS = {"anima_2_2", "moru_multi", "moru_en", "moru_ms", "moru_hi"}


class _ManagerFinder:
    """Finds nothing itself: wraps the loader of one module."""

    asking = False

    def find_spec(self, name, path=None, target=None):  # type: ignore[no-untyped-def]
        """Return the ordinary spec of `TARGET` with a loader that also patches ``TaskManager``."""
        if name != TARGET or self.asking:
            return None
        from importlib.util import find_spec

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
            _add_tasks_folder(module)  # type: ignore[no-untyped-call]

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _add_tasks_folder(manager):  # type: ignore[no-untyped-def]
    """Make ``TaskManager`` scan our folder after lm-eval's own and before the user's include paths."""
    from functools import wraps
    from pathlib import Path

    original = manager.TaskManager.__init__

    @wraps(original)
    def init(self, verbosity=None, include_path=None, include_defaults=True, *args, **kwargs):  # type: ignore[no-untyped-def]
        paths = [] if include_path is None else include_path
        paths = list(paths) if isinstance(paths, list | tuple) else [paths]
        if include_defaults:
            import value_retention.tasks

            paths = [Path(next(iter(value_retention.tasks.__path__))), *paths]
            if OURS.intersection(",".join(sys.argv).replace("=", ",").split(",")):
                from value_retention.adapters.judges.judge_processes import start_early

                # Judges take seconds to import: as long as lm-eval now takes to read its thousands of files.
                start_early(kwargs.get("metadata"))
        original(self, verbosity, paths or None, include_defaults, *args, **kwargs)

    manager.TaskManager.__init__ = init


def install() -> None:
    """Arm the finder; harmless when called twice or when lm-eval's manager is already imported."""
    if TARGET not in sys.modules and not any(isinstance(f, _ManagerFinder) for f in sys.meta_path):
        sys.meta_path.insert(0, _ManagerFinder())
