"""lm-eval finds the tasks with no flag, in editable installs and wheels, at no cost to others."""

from __future__ import annotations

import ast
import json
import os
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Callable
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
from bench import hook_seconds
from helpers import PYTHON, ROOT, run

Options = dict[str, dict[str, object]]
LEFT_BEHIND = (".git", ".venv*", "build", "dist", "*-out", "__pycache__", ".*_cache", "*.egg-info")
ORDINARY = ("anima_2_2", "moru_multi", "moru_en", "moru_ms", "moru_hi")
OURS = {*ORDINARY, *(f"{task}_ceiling" for task in ORDINARY)}

WITH_ENTRY_POINTS = os.environ.get("VALUE_RETENTION_TEST_LM_EVAL_4015")
"""A checkout of lm-eval's pull request 4015, which docs/upstream.md says how to get."""

FIND = """
import json, sys
from lm_eval.tasks import TaskManager, manager
import value_retention.tasks
managers = {name: TaskManager(**options) for name, options in json.loads(sys.argv[1]).items()}
def ours(manager):
    return [task for task in manager.all_tasks if task.startswith(("anima_", "moru_"))]
names = {name: ours(manager) for name, manager in managers.items()}
hooked = hasattr(TaskManager.__init__, "__wrapped__")
print(json.dumps([names, hooked, list(value_retention.tasks.__path__), manager.__file__]))
"""


def modules(python: str | Path, **environment: str | None) -> set[str]:
    done = run(python, "-c", "import sys; print(sorted(sys.modules))", **environment)
    return set(ast.literal_eval(done.stdout))


def find(
    python: str | Path, options: Options, **environment: str | None
) -> tuple[dict[str, set[str]], bool, str]:
    """Our tasks by each set of `TaskManager` options, whether it is hooked, and the folder of our tasks."""
    done = run(python, "-c", FIND, json.dumps(options), cwd=Path("/"), **environment)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "overrides" not in done.stdout + done.stderr
    found, hooked, (path,), manager = json.loads(done.stdout.splitlines()[-1])
    assert Path(manager).is_relative_to(str(environment.get("PYTHONPATH", "/")).split(os.pathsep)[0])
    return {name: set(tasks) for name, tasks in found.items()}, hooked, path


def test_an_interpreter_that_never_sees_lm_eval_imports_nothing_for_the_hook() -> None:
    assert modules(PYTHON) == modules(PYTHON, VALUE_RETENTION_NO_DISCOVERY="1")


def test_the_hook_costs_a_start_of_python_less_than_a_millisecond() -> None:
    assert 0 < hook_seconds() < 0.001


def test_arming_twice_is_harmless_and_other_modules_are_not_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    from value_retention.adapters.lm_eval import discovery

    monkeypatch.setattr(sys, "meta_path", [])
    monkeypatch.delitem(sys.modules, "lm_eval.tasks.manager", raising=False)
    discovery.install()
    discovery.install()
    (finder,) = sys.meta_path
    assert finder.find_spec("lm_eval", None, None) is None
    assert sys.meta_path == [finder]


@pytest.mark.parametrize("entry_points", [True, False])
def test_the_hook_stands_down_where_lm_eval_reads_entry_points(entry_points: bool) -> None:
    from value_retention.adapters.lm_eval.discovery import PATCHES

    class TaskManager:
        def __init__(self) -> None: ...

    before: Callable[..., None] = TaskManager.__init__
    manager = SimpleNamespace(TaskManager=TaskManager)
    if entry_points:
        manager.discover_plugin_task_paths = list
    PATCHES["lm_eval.tasks.manager"](manager)  # type: ignore[no-untyped-call]
    assert (TaskManager.__init__ is before) == entry_points


def test_the_entry_point_names_the_folder_that_holds_every_task() -> None:
    (point,) = entry_points(group="lm_eval.tasks", name="value_retention")
    spec = find_spec(point.value)
    assert spec is not None
    (folder,) = spec.submodule_search_locations or ()
    files = {file.stem for file in Path(folder).rglob("*.yaml")}
    assert files >= OURS


@pytest.mark.slow
@pytest.mark.skipif(not WITH_ENTRY_POINTS, reason="needs VALUE_RETENTION_TEST_LM_EVAL_4015=CHECKOUT")
@pytest.mark.parametrize("off", [None, "1"], ids=["hook", "no hook"])
def test_found_once_by_the_entry_points_of_lm_evals_pull_request(off: str | None) -> None:
    mine: dict[str, object] = {"include_path": [str(ROOT / "tests")]}
    places = os.pathsep.join([str(WITH_ENTRY_POINTS), os.environ.get("PYTHONPATH", "")])
    found, hooked, _ = find(
        PYTHON, {"plain": {}, "mine": mine}, PYTHONPATH=places, VALUE_RETENTION_NO_DISCOVERY=off
    )
    assert found == {"plain": OURS, "mine": OURS}
    assert not hooked


@pytest.mark.slow
def test_found_with_no_flag_beside_the_users_own_paths_and_not_without_defaults() -> None:
    mine: dict[str, object] = {"include_path": [str(ROOT / "tests")]}
    found, hooked, _ = find(PYTHON, {"mine": mine, "without": {"include_defaults": False}})
    assert found == {"mine": OURS, "without": set()}
    assert hooked


@pytest.mark.slow
def test_switched_off_they_are_found_by_include_path() -> None:
    options: Options = {"path": {"include_path": str(ROOT / "tasks"), "include_defaults": False}}
    found, hooked, _ = find(PYTHON, options, VALUE_RETENTION_NO_DISCOVERY="1")
    assert found == {"path": OURS}
    assert not hooked


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked source distribution, built from a copy."""
    folder = tmp_path_factory.mktemp("sdist")
    shutil.copytree(ROOT, folder / "source", symlinks=True, ignore=shutil.ignore_patterns(*LEFT_BEHIND))
    code = "import sys; from setuptools.build_meta import build_sdist; build_sdist(sys.argv[1])"
    built = run(PYTHON, "-c", code, folder, cwd=folder / "source")
    assert built.returncode == 0, built.stderr[-2000:]
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


@pytest.mark.slow
def test_the_sdist_holds_the_repository_and_its_tests_run_in_it(sdist: Path) -> None:
    listed = run("git", "ls-files", "--cached", cwd=ROOT)
    if listed.returncode == 0 and (ROOT / ".git").exists():
        assert {name for name in listed.stdout.splitlines() if (ROOT / name).exists()} <= {
            str(path.relative_to(sdist)) for path in sdist.rglob("*")
        }
    done = run(PYTHON, "-m", "pytest", "-q", "tests/test_record.py", "tests/test_lexical.py", cwd=sdist)
    assert done.returncode == 0, done.stdout[-2000:]


@pytest.mark.slow
def test_a_wheel_carries_the_hook_the_tasks_and_the_sample_rows(sdist: Path, tmp_path: Path) -> None:
    """Built from the sdist, installed into an environment of its own beside this one's other packages."""
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--quiet")
    built = run(PYTHON, "-m", "pip", "wheel", *options, "-w", tmp_path, sdist)
    assert built.returncode == 0, built.stderr[-2000:]
    (wheel,) = tmp_path.glob("value_retention-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    data = [f for f in (ROOT / "tasks").rglob("*") if f.suffix in (".yaml", ".jsonl", ".md")]
    assert data
    assert {f"value_retention/{file.relative_to(ROOT)}" for file in data} <= names
    assert {"value_retention_lm_eval.pth", "value_retention/py.typed"} <= names
    (points,) = (name for name in names if name.endswith("entry_points.txt"))
    declared = zipfile.ZipFile(wheel).read(points).decode()
    assert "[lm_eval.tasks]\nvalue_retention = value_retention.tasks" in declared

    home = tmp_path / "home"
    assert run(PYTHON, "-m", "venv", "--without-pip", home).returncode == 0
    (site,) = (home / "lib").glob("python*/site-packages")
    # A folder named in a .pth file joins sys.path; .pth files inside it (our editable install) do not count.
    (parent,) = {path for path in sys.path if path.endswith("site-packages")}
    (site / "parent.pth").write_text(parent + "\n")
    python = home / "bin" / "python"
    pip = (PYTHON, "-m", "pip", "--python", python)
    installed = run(*pip, "install", "--no-deps", "--no-index", "--quiet", wheel)
    assert installed.returncode == 0, installed.stderr[-2000:]
    found, _, path = find(python, {"plain": {}})
    assert found == {"plain": OURS}
    assert path == str(site / "value_retention" / "tasks")
    loads = (
        "from value_retention.tasks.benchmark import packaged; from value_retention.tasks.data import load;"
        "print(*(len(load(benchmark, 'sample')) for benchmark in packaged().values()))"
    )
    assert run(python, "-c", loads, cwd=tmp_path).stdout == "30 36\n"
    removed = run(*pip, "uninstall", "--yes", "--quiet", "value-retention")
    assert removed.returncode == 0
    assert not (site / "value_retention_lm_eval.pth").exists()
