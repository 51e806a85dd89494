"""Private names of other packages are used in few places, and listed with the versions they were tried in."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator

import pytest
from helpers import ROOT

LIST = "adapters/private.py"
USERS = {LIST, "tasks/upstream.py"}
OURS = {"value_retention", *sys.stdlib_module_names}
SOURCES = {
    str(file.relative_to(ROOT)): file.read_text("utf-8")
    for folder in ("tasks", "adapters", "analysis", "train")
    for file in sorted((ROOT / folder).rglob("*.py"))
}


def private(name: str) -> bool:
    return any(part.startswith("_") and not part.endswith("__") for part in name.split("."))


def private_names(source: str) -> Iterator[str]:
    """Private modules, names and attributes of other packages that a file uses."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = getattr(node, "module", None)
            names = [f"{module}.{alias.name}" if module else alias.name for alias in node.names]
            yield from (name for name in names if private(name) and name.split(".")[0] not in OURS)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            names = [str(arg.value) for arg in node.args if isinstance(arg, ast.Constant)]
            yield from filter(private, names)
        elif isinstance(node, ast.Attribute) and private(node.attr):
            root = re.split(r"\W", ast.unparse(node.value))[0]
            if root not in {"self", "cls", *sys.stdlib_module_names}:
                yield f"{ast.unparse(node.value)}.{node.attr}"


def patched_names(source: str) -> Iterator[str]:
    """Attributes of classes and of other packages' modules that a file replaces."""
    nodes = list(ast.walk(ast.parse(source)))
    modules = {
        alias.asname or alias.name
        for node in nodes
        if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] not in OURS
        for alias in node.names
    }
    for node in nodes:
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            owner = ast.unparse(node.value).split(".")[-1]
            if owner[:1].isupper() or owner in modules:
                yield f"{owner}.{node.attr}"


@pytest.mark.parametrize(
    "line",
    [
        "from inspect_ai.model._model import active_model",
        "def f():\n import inspect_ai._util.error",
        "from inspect_ai.scorer import _model",
        "m = import_module('inspect_ai.scorer._model')",
        "thing._hidden()",
    ],
)
def test_each_form_of_use_is_seen(line: str) -> None:
    assert list(private_names(line))
    assert list(patched_names("manager.TaskManager.__init__ = CacheHook.add_partial = None"))
    assert list(patched_names("from lm_eval.api import metrics\nmetrics.mean = None"))


def test_public_names_and_our_own_are_not_counted() -> None:
    source = (
        "import os\nfrom inspect_ai.model import Model\nos._exit(1)\nself._x = 1\nModel.__name__\ncls._of()"
    )
    assert list(private_names(source)) == list(patched_names(source)) == []


def test_private_names_are_used_in_two_files_only() -> None:
    used = {name: found for name, source in SOURCES.items() if (found := list(private_names(source)))}
    assert used.keys() == USERS, used


def test_every_private_or_patched_name_is_listed_with_versions() -> None:
    listed = ast.get_docstring(ast.parse(SOURCES[LIST])) or ""
    for package in ("inspect_ai", "lm_eval"):
        assert re.search(rf"^{package} \d+\.\d+\.\d+", listed, re.M)
    for file, source in SOURCES.items():
        for name in [*private_names(source), *patched_names(source)]:
            assert name.split(".")[-1] in listed, f"{name} in {file}"
