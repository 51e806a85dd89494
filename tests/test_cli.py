"""The command: instant help, lazy subcommands, one message for a mistake."""

from __future__ import annotations

import ast
import resource
from pathlib import Path

import pytest
from click.testing import CliRunner
from helpers import BIN, PYTHON, ROOT, assert_plain_refusal, run

import value_retention
from value_retention.analysis.cli import COMMANDS, cli

COMMAND = BIN / "value-retention"


def test_help_names_every_command_and_takes_less_than_half_a_second() -> None:
    """Counted in CPU time, so that a busy machine does not matter; the best of three, for a cold cache."""
    times = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = run(COMMAND, "--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert done.returncode == 0, done.stderr
        for name, text in COMMANDS.items():
            assert f"  {name}" in done.stdout
            assert text.split()[0] in done.stdout
    assert min(times) < 0.5


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys, value_retention.analysis.cli as c\n"
        "try: c.cli(['--help'])\n"
        "except SystemExit: print(sorted(sys.modules))\n"
    )
    loaded = set(ast.literal_eval(run(PYTHON, "-c", script).stdout.splitlines()[-1]))
    heavy = {"pandas", "numpy", "scipy", "torch", "pyarrow", "matplotlib", "inspect_ai", "lm_eval", "rich"}
    assert not loaded & heavy


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_module_and_help(name: str) -> None:
    done = CliRunner().invoke(cli, [name, "--help"])
    assert done.exit_code == 0, done.output
    assert done.output.startswith(f"Usage: cli {name} ")
    assert (ROOT / "analysis" / "commands" / f"{name}.py").exists()


def test_the_version_is_the_packages() -> None:
    assert value_retention.__version__ in run(COMMAND, "--version").stdout


def test_an_unknown_command_is_refused() -> None:
    done = CliRunner().invoke(cli, ["tabel"])
    assert done.exit_code == 2
    assert "tabel" in done.output


def test_a_users_mistake_is_one_message_and_status_2(tmp_path: Path) -> None:
    done = run(COMMAND, "table", tmp_path / "nowhere")
    assert_plain_refusal(done, "value-retention: the run does not exist", str(tmp_path / "nowhere"))
    assert done.returncode == 2
    assert done.stdout == ""


@pytest.mark.parametrize("name", ["table", "compare", "agreement", "judge", "arms"])
def test_a_name_too_long_for_any_file_is_a_run_that_is_not_there(name: str, tmp_path: Path) -> None:
    long = "x" * 300
    done = run(COMMAND, name, long, *([long] if name in ("compare", "agreement") else []), cwd=tmp_path)
    assert_plain_refusal(done, "value-retention: ")
    assert done.returncode == 2
