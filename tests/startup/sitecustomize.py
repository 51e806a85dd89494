"""lm-eval reads our tasks alone: its own are 14,000 YAML files, which take ten seconds at every start.

Python imports this module when it starts with this folder on its path (`helpers.environment`).
"""

from __future__ import annotations

import sys
from pathlib import Path


def read_our_tasks_only() -> None:
    """Let lm-eval's index pass over its own folder."""
    from lm_eval.tasks import _index

    theirs, every = Path(_index.__file__).parent, _index.TaskIndex._iter_yaml_files
    _index.TaskIndex._iter_yaml_files = staticmethod(lambda root: () if Path(root) == theirs else every(root))


class _Hook:
    """Calls `read_our_tasks_only` before lm-eval makes an index."""

    def find_spec(self, name: str, *_: object) -> None:
        if name == "lm_eval.tasks.manager":
            sys.meta_path.remove(self)
            read_our_tasks_only()


if __name__ == "sitecustomize":
    sys.meta_path.insert(0, _Hook())
