"""Command lines without the time of their imports: each is forked from a process that has them.

A command of lm-eval or Inspect spends up to 25 seconds of processor time before its first line: imports, and lm-eval
reads the 14,000 YAML files of its own tasks. The standard library's fork server pays for the imports once per test
process, and a forked command reads our tasks only. It has arguments, environment, folder, outputs and exit status of
its own. `helpers.run` forks; with ``fresh=True`` it starts a process as a user does.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any
from unittest import mock

from startup.sitecustomize import read_our_tasks_only

SCRIPTS = ("lm_eval", "inspect", "value-retention")
TRAIN = "value_retention.train."
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["forked_imports"])
"""One server per test process. The tests of `train` fork their scripts from it too."""


def can(command: Sequence[str]) -> bool:
    """Whether a command is a console script of this environment, or a script of ours in `train`."""
    program = Path(command[0])
    if program.parent != Path(sys.executable).parent:
        return False
    return program.name in SCRIPTS or (command[1:2] == ["-m"] and command[2].startswith(TRAIN))


def run(
    command: Sequence[str],
    environment: Mapping[str, str],
    cwd: str | Path | None = None,
    timeout: float | None = 300,
    execute: Callable[[list[str]], Any] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command line to its end, as `subprocess.run` does.

    Args:
        command: Program and arguments: a console script of this environment, or ``python`` with ``-m``, ``-c`` or a
            script.
        environment: All its variables.
        cwd: Its folder; this process's by default.
        timeout: Seconds.
        execute: Called with the command in place of the program.
    """
    with tempfile.TemporaryDirectory() as place:
        outputs = [Path(place) / name for name in ("out", "err")]
        job = (list(command), dict(environment), str(cwd or os.getcwd()), outputs, execute or _execute)
        child = CONTEXT.Process(target=_become, args=job)
        paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
        with mock.patch.dict(os.environ, {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths}):
            child.start()
        child.join(timeout)
        if child.exitcode is None:
            child.kill()
            raise subprocess.TimeoutExpired(command, timeout or 0)
        out, err = (file.read_text("utf-8", errors="replace") for file in outputs)
        return subprocess.CompletedProcess(command, child.exitcode, out, err)


def _become(
    command: list[str],
    environment: Mapping[str, str],
    cwd: str,
    outputs: Sequence[Path],
    execute: Callable[[list[str]], Any],
) -> None:
    """Take on a command's folder, environment and outputs, and run it to its end, in the forked child."""
    for number, file in enumerate(outputs, start=1):
        os.dup2(os.open(file, os.O_CREAT | os.O_WRONLY), number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    if any(word.startswith(TRAIN) for word in command):
        forget_ours()
    elif "audit" not in command:  # an audit checks the names of lm-eval's tasks
        read_our_tasks_only()
    import datasets

    datasets.config.HF_DATASETS_CACHE = Path(environment["HF_DATASETS_CACHE"])
    try:
        sys.exit(execute(command))
    except Exception:
        sys.excepthook(*sys.exc_info())
        sys.exit(1)
    finally:
        atexit._run_exitfuncs()


def forget_ours() -> None:
    """A training process refuses to start with the benchmarks imported, as they are here."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "value_retention"]:
        del sys.modules[name]


def _execute(command: list[str]) -> Any:
    """What the shell would run: a console script, a module, a script or a piece of Python."""
    program, *arguments = command
    if not Path(program).name.startswith("python"):
        sys.argv = command
        (script,) = entry_points(group="console_scripts", name=Path(program).name)
        return script.load()()
    if arguments[0] == "-c":
        return exec(compile(arguments[1], "block", "exec"), {"__name__": "__main__"})
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")
    return 0
