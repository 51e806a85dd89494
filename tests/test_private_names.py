"""`adapters/private.py` lists what this project uses of other packages beyond their interface, and nothing else."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Collection, Iterator, Mapping, Set
from functools import cache

import pytest
from helpers import ROOT

LIST = "adapters/private.py"
SOURCES = {
    str(file.relative_to(ROOT)): file.read_text("utf-8")
    for folder in ("tasks", "adapters", "analysis", "train")
    for file in sorted((ROOT / folder).rglob("*.py"))
}
CHANGES = {"append", "clear", "extend", "insert", "pop", "remove", "reverse", "setdefault", "sort", "update"}
"""Methods that change a list, a dict or a set."""
DATA_MODEL = {
    *(
        "__annotations__",
        "__cause__",
        "__class__",
        "__context__",
        "__doc__",
        "__file__",
        "__getitem__",
        "__init__",
    ),
    *("__main__", "__module__", "__name__", "__path__", "__setattr__", "__traceback__", "__version__"),
}
"""Names with two underscores that Python documents for everybody's use."""
FRAME = re.compile(r"(tb|f|gi|cr|co)_[a-z]+")
"""Attributes of tracebacks, frames and code."""
MODEL_API = re.compile(r"(^|\.)api\.\w+$|\.api$")
"""Inspect's ``ModelAPI``, which providers implement and ``Model`` calls."""
HEADING = re.compile(r"^([\w.]+) \d[\w.]*(, \d[\w.]*)*(( and| to) \d[\w.]*)?:$")
BULLET = re.compile(r"^- `([\w/.]+)` (``[^`]+``(?:, ``[^`]+``)*): \S", re.S)


parsed = cache(ast.parse)


def private(name: str) -> bool:
    return any(part.startswith("_") and not part.endswith("__") for part in name.split("."))


def root(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def stored(node: ast.Attribute | ast.Subscript) -> bool:
    return isinstance(node.ctx, ast.Store | ast.Del)


def of_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


@cache
def declared(source: str) -> set[tuple[str, str]]:
    """Class and name of each attribute and method of a file's classes."""
    found = set()
    for owner in ast.walk(parsed(source)):
        if not isinstance(owner, ast.ClassDef):
            continue
        targets = [target for node in owner.body if isinstance(node, ast.Assign) for target in node.targets]
        targets += [node.target for node in owner.body if isinstance(node, ast.AnnAssign)]
        names = {
            *(n.name for n in owner.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)),
            *(target.id for target in targets if isinstance(target, ast.Name)),
            *(
                n.attr
                for n in ast.walk(owner)
                if isinstance(n, ast.Attribute) and stored(n) and of_self(n.value)
            ),
        }
        found |= {(owner.name.strip("_").lower(), name) for name in names}
    return found


def visible(source: str, sources: Mapping[str, str]) -> set[tuple[str, str]]:
    """What a file declares, and the files of ours that it imports from."""
    found = declared(source)
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("value_retention."):
            path = str(node.module).removeprefix("value_retention.").replace(".", "/")
            for file in (f"{path}.py", *(f"{path}/{alias.name}.py" for alias in node.names)):
                found |= declared(sources.get(file, ""))
    return found


def is_ours(node: ast.Attribute, ours: set[tuple[str, str]]) -> bool:
    """Whether an attribute is of ``self``, or of a variable that is named after a class of ours that declares it."""
    owner = node.value
    if of_self(owner):
        return not private(node.attr) or any(name == node.attr for _, name in ours)
    word = owner.attr if isinstance(owner, ast.Attribute) else owner.id if isinstance(owner, ast.Name) else ""
    return bool(word) and any(kind.startswith(word.lower()) and name == node.attr for kind, name in ours)


def uses(source: str, sources: Mapping[str, str] = SOURCES) -> Iterator[str]:
    """Uses of other packages' insides in a file, each in the words of the source, without ``self.``:

    private modules, names and attributes, also as text; constants in capitals; frames and special attributes;
    Inspect's ``ModelAPI``; attributes of objects of other packages that are set, deleted, filled or changed in place.
    """
    ours = visible(source, sources)
    functions = {n.name: n for n in ast.walk(parsed(source)) if isinstance(n, ast.FunctionDef)}
    opened = {"import_module"} | {
        name for name, n in functions.items() if "return import_module(" in ast.unparse(n)
    }
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = getattr(node, "module", None)
            for alias in node.names:
                name = f"{module}.{alias.name}" if module else alias.name
                constant = module and re.fullmatch(r"[A-Z][A-Z0-9_]+", alias.name)
                own = name.split(".")[0] in {"value_retention", "__future__"}
                if not own and (
                    private(name) or (constant and name.split(".")[0] not in sys.stdlib_module_names)
                ):
                    yield name
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if re.fullmatch(r"[a-z]\w*(\.\w+)*\._\w+(\.\w+)*|_[A-Z][A-Z_]+", node.value):
                yield node.value
        elif isinstance(node, ast.Attribute):
            yield from attribute(node, stored(node), ours, functions)
            if isinstance(node.value, ast.Call) and ast.unparse(node.value.func) in opened:
                yield node.attr
        elif isinstance(node, ast.Subscript) and stored(node):
            yield from changed(node.value, ours)
        elif (
            isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGES
        ):
            yield from changed(node.func.value, ours)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in (
            "setattr",
            "delattr",
            "getattr",
            "hasattr",
        ):
            owner, name = node.args[:2]
            write = ast.unparse(node.func) in ("setattr", "delattr")
            if isinstance(name, ast.Constant):
                whole = ast.Attribute(owner, str(name.value), ast.Load())
                yield from attribute(whole, write, ours, functions)
            elif write:
                yield ast.unparse(node)


def attribute(
    node: ast.Attribute, written: bool, ours: set[tuple[str, str]], functions: Collection[str]
) -> Iterator[str]:
    name = node.attr
    inside = name not in DATA_MODEL and (name.startswith("__") or FRAME.fullmatch(name))
    hidden = name.startswith("_") and not name.startswith("__") and root(node) not in sys.stdlib_module_names
    hidden = hidden and not (of_self(node.value) and is_ours(node, ours))
    whole = ast.unparse(node).removeprefix("self.")
    foreign = written and root(node.value) not in functions and not is_ours(node, ours)
    if inside or hidden or foreign or MODEL_API.search(whole):
        yield whole


def changed(node: ast.expr, ours: set[tuple[str, str]]) -> Iterator[str]:
    """The attribute of an object of another package whose content is changed."""
    while isinstance(node, ast.Subscript):
        node = node.value
    if isinstance(node, ast.Attribute) and not is_ours(node, ours):
        yield ast.unparse(node).removeprefix("self.")


def listed(text: str) -> tuple[set[tuple[str, str]], list[str]]:
    """File and name of each use in the list, and the lines that are neither a heading with versions nor a use."""
    found, wrong, versions = set(), [], False
    for block in (ast.get_docstring(ast.parse(text)) or "").split("\n\n")[2:]:
        for line in re.split(r"\n(?=- )", block):
            if bullet := BULLET.match(line.replace("\n ", "")):
                found |= {(bullet[1], name) for name in re.findall(r"``([^`]+)``", bullet[2])}
                wrong += [] if versions else [line]
            elif HEADING.match(line):
                versions = True
            else:
                wrong.append(line)
    return found, wrong


@cache
def used() -> set[tuple[str, str]]:
    return {(file, name) for file, source in SOURCES.items() for name in uses(source)}


def problems(found: Set[tuple[str, str]], text: str) -> list[str]:
    """Uses that the list lacks, uses in the list that no file has, and malformed lines."""
    there, wrong = listed(text)
    return [
        *(f"{file}: {name} is missing from {LIST}" for file, name in sorted(found - there)),
        *(f"{LIST}: {file} no longer uses {name}" for file, name in sorted(there - found)),
        *(f"{LIST}: malformed: {line}" for line in wrong),
    ]


def test_the_list_is_complete_and_holds_nothing_else() -> None:
    assert problems(used(), SOURCES[LIST]) == []


@pytest.mark.parametrize(
    ("code", "use"),
    [
        ("from inspect_ai.model._model import active_model", "inspect_ai.model._model.active_model"),
        ("def f():\n import inspect_ai._util.error", "inspect_ai._util.error"),
        ("from inspect_ai.scorer import _model", "inspect_ai.scorer._model"),
        ("from lm_eval.models import MODEL_MAPPING", "lm_eval.models.MODEL_MAPPING"),
        ("m = import_module('inspect_ai.scorer._model')", "inspect_ai.scorer._model"),
        ("def f():\n return import_module('a._b')\nf().name", "name"),
        ("P = {'lm_eval._cli.harness': 1}", "lm_eval._cli.harness"),
        ("thing._hidden()", "thing._hidden"),
        ("getattr(thing, '_hidden')", "thing._hidden"),
        ("class A(Base):\n def f(self):\n  return self._of_base", "_of_base"),
        ("template.__self__", "template.__self__"),
        ("trace.tb_frame.f_locals", "trace.tb_frame.f_locals"),
        ("manager.TaskManager.__init__ = CacheHook.add_partial = None", "CacheHook.add_partial"),
        ("manager.TaskManager.__init__ = None", "manager.TaskManager.__init__"),
        ("for i in items:\n i.repeats, i.resps = 1, []", "i.repeats"),
        ("i.resps.append(1)", "i.resps"),
        ("class T(Base):\n def f(self):\n  self.config.metadata['a']['b'] |= {}", "config.metadata"),
        ("del i.resps", "i.resps"),
        ("setattr(i, 'resps', [])", "i.resps"),
        ("setattr(i, name, [])", "setattr(i, name, [])"),
        ("sys.excepthook = None", "sys.excepthook"),
        ("sys.meta_path.insert(0, f)", "sys.meta_path"),
        ("sys.modules['a'] = None", "sys.modules"),
        ("await self.model.api.generate([], [], 'none', c)", "model.api.generate"),
        ("api.should_retry(error)", "api.should_retry"),
    ],
)
def test_each_form_of_use_is_seen_and_a_new_one_fails(code: str, use: str) -> None:
    found = {("analysis/new.py", name) for name in uses(code)}
    assert f"analysis/new.py: {use} is missing from {LIST}" in problems(used() | found, SOURCES[LIST])


def test_public_names_and_our_own_are_not_counted() -> None:
    source = """
import os
from inspect_ai.model import Model
from value_retention.adapters.judges.run import Tally
class A:
    def __init__(self, tally):
        self._x = self.items = tally
        self._x.append(1)
        tally.asked += 1
def f(): Model.__name__
f.mark = 1
"""
    assert list(uses(source)) == []


def test_each_line_of_the_list_is_needed() -> None:
    text = SOURCES[LIST]
    bullets = re.findall(r"^- .*\n(?:  .*\n)*", text, re.M)
    assert len(bullets) > 30
    for bullet in bullets:
        missing = problems(used(), text.replace(bullet, "", 1))
        assert any("is missing from" in problem for problem in missing), bullet
    stale = text.replace("- `", "- `tasks/data.py` ``gone``: stale.\n- `", 1)
    assert problems(used(), stale) == [f"{LIST}: tasks/data.py no longer uses gone"]
    for wrong in (re.sub(r" \d[\d., and]*:$", ":", text, flags=re.M), text.replace("``: ", "``. ", 1)):
        assert any("malformed" in problem for problem in problems(used(), wrong))
