"""lm-eval finds the tasks with no flag, in editable installs and wheels, at no cost to others."""

from __future__ import annotations

import ast
import json
import shutil
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from helpers import PYTHON, ROOT, run

Options = dict[str, dict[str, object]]
LEFT_BEHIND = (".git", ".venv*", "build", "dist", "*-out", "__pycache__", ".*_cache", "*.egg-info")
ORDINARY = ("anima_2_2", "moru_multi", "moru_en", "moru_ms", "moru_hi")
OURS = {*ORDINARY, *(f"{task}_ceiling" for task in ORDINARY)}

FIND = """
import json, sys
from lm_eval.tasks import TaskManager
import value_retention.tasks
managers = {name: TaskManager(**options) for name, options in json.loads(sys.argv[1]).items()}
def ours(manager):
    return [task for task in manager.all_tasks if task.startswith(("anima_", "moru_"))]
names = {name: ours(manager) for name, manager in managers.items()}
print(json.dumps([names, hasattr(TaskManager.__init__, "__wrapped__"), list(value_retention.tasks.__path__)]))
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
    found, hooked, (path,) = json.loads(done.stdout.splitlines()[-1])
    return {name: set(tasks) for name, tasks in found.items()}, hooked, path


def test_an_interpreter_that_never_sees_lm_eval_pays_for_three_small_modules_only() -> None:
    armed, off = modules(PYTHON), modules(PYTHON, VALUE_RETENTION_NO_DISCOVERY="1")
    assert armed - off == {
        "value_retention",
        "value_retention.adapters",
        "value_retention.adapters.discovery",
    }
    assert not armed & {"lm_eval", "pandas", "numpy", "datasets", "torch", "value_retention.tasks"}


def test_the_hook_and_its_package_import_nothing_at_the_top() -> None:
    for name in ("discovery.py", "__init__.py"):
        tree = ast.parse((ROOT / "adapters" / name).read_text("utf-8"))
        imported = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        assert [ast.unparse(node) for node in imported] in ([], ["import sys"])


def test_arming_twice_is_harmless_and_other_modules_are_not_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    from value_retention.adapters import discovery

    monkeypatch.setattr(sys, "meta_path", [])
    monkeypatch.delitem(sys.modules, "lm_eval.tasks.manager", raising=False)
    discovery.install()
    discovery.install()
    (finder,) = sys.meta_path
    assert finder.find_spec("lm_eval", None, None) is None
    assert sys.meta_path == [finder]


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
        "from value_retention.tasks.load import load; from value_retention.tasks.benchmark import *;"
        "print(len(load(ANIMA_2_2, 'sample')), len(load(MORU, 'sample')))"
    )
    assert run(python, "-c", loads, cwd=tmp_path).stdout == "30 36\n"
    removed = run(*pip, "uninstall", "--yes", "--quiet", "value-retention")
    assert removed.returncode == 0
    assert not (site / "value_retention_lm_eval.pth").exists()
