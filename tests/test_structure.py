"""The direction of imports, read from the source: tasks <- adapters <- analysis, train alone."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest
from helpers import PYTHON, ROOT, run

FOLDERS = ("tasks", "adapters", "analysis", "train")
MAY_IMPORT = {
    "tasks": {"tasks"},
    "adapters": {"tasks", "adapters"},
    "analysis": {"tasks", "adapters", "analysis"},
    "train": {"train"},
}
ROOMS = (
    "stats", "runs", "judges", "effects", "report", "exchange", "planning", "authoring", "audit", "commands",
)  # fmt: skip
"""Of `analysis`, along the way that data flows: a room imports rooms that stand before it."""
HARNESSES = {"lm_eval", "inspect_ai", "inspect_evals"}


def imports(source: str, package: list[str]) -> Iterator[str]:
    """Dotted names that a module of `package` imports anywhere in it, relative ones resolved."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{name.name}" for name in node.names)


def imports_of(file: Path) -> Iterator[str]:
    folders = file.relative_to(ROOT).parts[:-1]
    return imports(file.read_text("utf-8"), ["value_retention", *folders])


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("folder", FOLDERS)
def test_imports_point_one_way(folder: str) -> None:
    assert sources(folder)
    for file in sources(folder):
        for name in imports_of(file):
            parts = name.split(".")
            assert parts[0] not in FOLDERS, f"{file} imports {name}: use value_retention.{parts[0]}"
            if parts[0] == "value_retention" and len(parts) > 1:
                assert parts[1] in MAY_IMPORT[folder], f"{file} imports {name}"


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_the_rooms_before_it(room: str) -> None:
    """Imports inside functions too: what is imported late can still go round in a circle."""
    files = sources(f"analysis/{room}")
    assert files
    known = ROOMS[: ROOMS.index(room) + 1]
    for file in files:
        for name in imports_of(file):
            parts = name.split(".")
            if parts[:2] == ["value_retention", "analysis"] and len(parts) > 2:
                assert parts[2] in known, f"{file} imports {name}"


def circles(graph: Mapping[str, Iterable[str]]) -> set[str]:
    """Modules that import themselves over any way: what is left when modules without open imports are taken away."""
    left = {module: set(names) & set(graph) for module, names in graph.items()}
    while done := [module for module, names in left.items() if not names & set(left)]:
        for module in done:
            del left[module]
    return set(left)


def test_no_module_imports_itself_in_a_circle() -> None:
    """Over all four folders, with imports inside functions and those for the type checker."""
    graph: dict[str, set[str]] = {}
    for file in (file for folder in FOLDERS for file in sources(folder)):
        parts = file.relative_to(ROOT).with_suffix("").parts
        name = ".".join(["value_retention", *parts]).removesuffix(".__init__")
        graph[name] = set(imports_of(file)) - {name}
    assert len(graph) > 100
    # `from package import module` also names the package; that it is imported first is no way back.
    packages = {name for name in graph if any(other.startswith(f"{name}.") for other in graph)}
    for name, found in graph.items():
        graph[name] = {other for other in found if other not in packages or not name.startswith(other)}
    assert not circles(graph)


def test_circles_are_found_and_trees_are_not() -> None:
    assert circles({"a": ["b"], "b": ["c"], "c": []}) == set()
    assert circles({"a": ["b"], "b": ["c"], "c": ["b"], "d": []}) == {"a", "b", "c"}


def test_every_room_has_its_place_in_the_order() -> None:
    found = {file.relative_to(ROOT).parts[1] for file in sources("analysis")}
    assert found == {"__init__.py", "cli.py", *ROOMS}


@pytest.mark.parametrize("folder", ["tasks", "analysis", "train"])
def test_only_adapters_import_a_harness(folder: str) -> None:
    for file in sources(folder):
        for name in imports_of(file):
            assert name.split(".")[0] not in HARNESSES, f"{file} imports {name}"


def test_the_core_names_a_harness_in_one_file_only() -> None:
    """`tasks/upstream.py` fetches the judge's words by `import_module`; nothing else in the core does."""
    fetching = {
        file.name
        for file in sources("tasks")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("import_module", "importlib.import_module")
    }
    assert fetching == {"upstream.py"}


def test_this_reader_sees_every_form_of_import() -> None:
    lines = ["import a.b", "from . import c", "from ..tasks import d", "from value_retention import tasks"]
    source = "\n".join([*lines, "def f():", " import e"])
    found = set(imports(source, ["value_retention", "train"]))
    expected = {"a.b", "value_retention.train.c", "value_retention.tasks.d", "value_retention.tasks", "e"}
    assert expected <= found


def test_the_core_loads_without_harness_or_model() -> None:
    script = (
        "import sys, value_retention.tasks.data as l, value_retention.tasks.benchmark as d\n"
        "[l.load(benchmark, 'sample') for benchmark in d.packaged().values()]\n"
        "heavy = ('lm_eval', 'inspect_ai', 'torch', 'pandas', 'datasets', 'requests')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = run(PYTHON, "-c", script)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
