"""A clone serves the Register of Inspect Evals: its task file runs by path, and the entries fit the register."""

from __future__ import annotations

import inspect
import json
import shutil
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from helpers import JUDGE, MODEL, PYTHON, ROOT, Server, one, run
from inspect_ai.log import read_eval_log
from test_docs import blocks

from value_retention.adapters.readers.inspect import read_log

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("git") is None or not (ROOT / ".git").exists(),
        reason="needs git and the repository: a source distribution has no commits to clone",
    ),
]
TASKS = {"anima_2_2": "anima_2_2", "moru_multi": "moru"}
"""Task to the benchmark that its records name."""


@dataclass(frozen=True)
class Clone:
    """A clone at HEAD, and a Python into which it was installed."""

    folder: Path
    python: Path
    commit: str


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """Cloned and installed as the register's users do it, with the dependencies of this environment."""
    home = tmp_path_factory.mktemp("register")
    folder, environment = home / "value-retention", home / "environment"
    assert run("git", "clone", "--quiet", ROOT, folder).returncode == 0
    assert run(PYTHON, "-m", "venv", "--without-pip", environment).returncode == 0
    (site,) = (environment / "lib").glob("python*/site-packages")
    # A folder named in a .pth file joins sys.path. Its own .pth files do not count: neither does our installation.
    (site / "dependencies.pth").write_text("\n".join(p for p in sys.path if p.endswith("site-packages")))
    python = environment / "bin" / "python"
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--quiet")
    done = run(PYTHON, "-m", "pip", "--python", python, "install", *options, "-e", folder, PYTHONPATH=None)
    assert done.returncode == 0, done.stderr[-2000:]
    commit = run("git", "rev-parse", "HEAD", cwd=folder).stdout.strip()
    assert commit == run("git", "rev-parse", "HEAD", cwd=ROOT).stdout.strip()
    return Clone(folder, python, commit)


def test_every_module_of_ours_comes_from_the_clone(clone: Clone, tmp_path: Path) -> None:
    code = (
        "import json, sys, value_retention.adapters.inspect.tasks\n"
        "ours = [m for name, m in sys.modules.items() if name.partition('.')[0] == 'value_retention']\n"
        "print(json.dumps([m.__file__ for m in ours]))"
    )
    done = run(clone.python, "-c", code, cwd=tmp_path, PYTHONPATH=None)
    files = [Path(file).resolve() for file in json.loads(done.stdout)]
    assert len(files) > 20
    assert [file for file in files if not file.is_relative_to(clone.folder.resolve())] == []


@pytest.mark.parametrize("task", TASKS)
def test_the_task_file_of_a_clone_runs_by_its_path_and_its_log_can_be_scored_again(
    clone: Clone, server: Server, tmp_path: Path, task: str
) -> None:
    # No mockllm: on a command line it fetches a tokenizer to count tokens.
    inspect_ = (clone.python, "-m", "inspect_ai")
    done = run(
        *(*inspect_, "eval", f"adapters/inspect/tasks.py@{task}", "--model", MODEL, "--display", "plain"),
        *("--model-role", f"grader={JUDGE}", "-T", "data=sample", "--limit", "4", "--epochs", "1"),
        *("--log-dir", tmp_path / "logs"),
        cwd=clone.folder,
        PYTHONPATH=None,
        **server.environment,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    file = one(tmp_path / "logs", "*.eval")
    log, records = read_eval_log(file), list(read_log(file))
    assert log.status == "success"
    assert log.eval.task_file == "adapters/inspect/tasks.py"
    assert [record.benchmark for record in records] == [TASKS[task]] * 4
    assert log.results is not None
    (score,) = log.results.scores
    mean = statistics.mean(record.overall or 0.0 for record in records)
    assert score.metrics["overall_mean"].value == pytest.approx(mean)
    assert score.metrics["missing_grades"].value == 0
    assert 0 < mean < 1

    done = run(
        *(*inspect_, "score", file, "--action", "overwrite", "--output-file", tmp_path / "again.eval"),
        *("--model-role", f"grader={JUDGE}", "--display", "plain"),
        cwd=clone.folder,
        PYTHONPATH=None,
        **server.environment,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    again = list(read_log(tmp_path / "again.eval"))
    assert [record.grades for record in again] == [record.grades for record in records]


def test_the_documented_command_fills_entries_that_fit_the_registers_schema(clone: Clone) -> None:
    from inspect_evals.metadata import ExternalEvalMetadata

    from value_retention.adapters.inspect import tasks as inspect_tasks

    ((_, script),) = blocks("docs/upstream.md", "sh")
    done = run("bash", "-c", script, cwd=clone.folder)
    assert done.returncode == 0, done.stderr
    for task, url in zip(TASKS, done.stdout.splitlines(), strict=True):
        text = (clone.folder / f"{task}.yaml").read_text("utf-8")
        assert "OWNER" not in text
        entry = ExternalEvalMetadata(**yaml.safe_load(text), id=task)
        assert entry.source.repository_commit == clone.commit
        assert [one_task.name for one_task in entry.tasks] == [task]
        (path,) = (one_task.task_path for one_task in entry.tasks)
        lines = (clone.folder / str(path)).read_text("utf-8").splitlines()
        address, _, line = url.partition("#L")
        assert address == f"{str(entry.source.repository_url).rstrip('/')}/blob/{clone.commit}/{path}"
        assert lines[int(line) - 2] == "@task"
        assert lines[int(line) - 1].startswith(f"def {task}(")
        assert "data" in inspect.signature(getattr(inspect_tasks, task)).parameters
