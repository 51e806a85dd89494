"""Let lm-evaluation-harness find the tasks of this package without ``--include_path``.

lm-eval scans only its own ``tasks`` folder and the user's include paths. The ``.pth`` file that is installed
with this package calls `install` at interpreter start. That adds a finder to ``sys.meta_path``, which does
nothing until ``lm_eval.tasks.manager`` is imported. ``VALUE_RETENTION_NO_DISCOVERY`` switches it off.

This module is imported at every interpreter start: it imports only what is loaded anyway.
"""

import sys

TARGET = "lm_eval.tasks.manager"


class _ManagerFinder:
    """Wraps the loader of one module. Finds nothing itself."""

    asking = False

    def find_spec(self, name, path=None, target=None):  # type: ignore[no-untyped-def]
        """Return the usual spec of `TARGET`, with a loader that also patches ``TaskManager``."""
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
    """Make ``TaskManager`` scan our folder after lm-eval's and before the user's include paths."""
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
        original(self, verbosity, paths or None, include_defaults, *args, **kwargs)

    manager.TaskManager.__init__ = init


def install() -> None:
    """Add the finder. Does nothing if it is there already, or if lm-eval's manager is imported already."""
    if TARGET not in sys.modules and not any(isinstance(f, _ManagerFinder) for f in sys.meta_path):
        sys.meta_path.insert(0, _ManagerFinder())
