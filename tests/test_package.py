"""What a release promises: no network on import, one version, tried ranges, known licences, pinned actions."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version

import pytest
from compatibility import ROWS, ranges
from helpers import PYTHON, ROOT, run
from licences import COPYLEFT, direct, installed

import value_retention
from value_retention.analysis.cli import COMMANDS

RELEASING = (ROOT / "docs" / "releasing.md").read_text("utf-8")

WATCH = """
import os, socket, sys
NETWORK = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto")
def watch(event, arguments):
    # Libraries swallow exceptions, so the process ends.
    if event in NETWORK and getattr(arguments[0], "family", None) != socket.AF_UNIX:
        os.write(2, f"network: {event} {arguments[1:]}\\n".encode())
        os._exit(3)
sys.addaudithook(watch)
"""
IMPORTS = """
import importlib, pkgutil, value_retention
found = [m.name for m in pkgutil.walk_packages(value_retention.__path__, "value_retention.")]
for name in found:
    if not name.endswith("__main__"):
        importlib.import_module(name)
print(len(found))
"""
HELP = """
from click.testing import CliRunner
from value_retention.analysis.cli import cli
for command in ([], *([name] for name in sys.argv[1:])):
    assert CliRunner().invoke(cli, [*command, "--help"]).exit_code == 0, command
"""
ONLINE = {"HF_HUB_OFFLINE": None, "TRANSFORMERS_OFFLINE": None, "HF_DATASETS_OFFLINE": None}
"""The settings of a user: the offline switches of the tests would hide a connection."""


@pytest.mark.slow
def test_no_module_goes_to_the_network_when_it_is_imported() -> None:
    done = run(PYTHON, "-c", WATCH + IMPORTS, **ONLINE)
    assert done.returncode == 0, done.stderr[-2000:]
    modules = [
        file
        for folder in ("tasks", "adapters", "analysis", "train")
        for file in (ROOT / folder).rglob("*.py")
        if file.name not in ("__init__.py", "__main__.py")
    ]
    assert int(done.stdout.splitlines()[-1]) >= len(modules)


def test_no_help_goes_to_the_network() -> None:
    done = run(PYTHON, "-c", WATCH + HELP, *COMMANDS, **ONLINE)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize(
    "code", ["socket.create_connection(('127.0.0.1', 9))", "socket.gethostbyname('a.invalid')"]
)
def test_the_watch_sees_a_connection(code: str) -> None:
    assert run(PYTHON, "-c", f"{WATCH}\ntry: {code}\nexcept OSError: pass").returncode == 3


def test_the_version_stands_in_one_place() -> None:
    assert version("value-retention") == value_retention.__version__
    for name in ("pyproject.toml", "setup.py", "CITATION.cff", "README.md"):
        assert not re.search(
            rf"\b{re.escape(value_retention.__version__)}\b", (ROOT / name).read_text("utf-8")
        ), name


def test_the_changelog_begins_with_what_is_not_released_or_with_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    releases = re.findall(r"^## (.*)$", text, re.M)
    dated = [re.fullmatch(r"\[(\d+\.\d+\.\d+)\] - \d{4}-\d\d-\d\d", name) for name in releases]
    assert releases[0] == "[Unreleased]"
    assert all(dated[1:])
    assert not dated[1:] or dated[1][1] == value_retention.__version__
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.*)$", text, re.M)) <= kinds


# -- ranges ----------------------------------------------------------------------------------------------


def table_of(section: str) -> list[list[str]]:
    """Cells of the rows of a section's first table."""
    text = RELEASING.partition(f"<!-- {section} -->")[2].partition(f"<!-- end of {section} -->")[0]
    rows = [line for line in text.strip().partition("\n\n")[0].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def test_the_ranges_in_pyproject_are_those_that_were_tried() -> None:
    tried = {row[0]: (row[1], row[3]) for row in table_of("compatibility")}
    asked = {row.title: ranges()[row.package] for row in ROWS}
    lowest, highest = tried.pop("Python")
    assert asked.pop("Python")[0] == ".".join(lowest.split(".")[:2])
    assert f'"Programming Language :: Python :: {".".join(highest.split(".")[:2])}"' in (
        ROOT / "pyproject.toml"
    ).read_text("utf-8")
    assert tried == asked
    assert not [row for row in table_of("compatibility") if "failed" in " ".join(row)]


# -- licences --------------------------------------------------------------------------------------------


def test_every_direct_dependency_is_listed_with_its_licence() -> None:
    listed = {row[0] for row in table_of("licences")}
    assert direct().keys() == listed


def test_every_copyleft_licence_is_named() -> None:
    flagged = {name for name, text in installed().items() if COPYLEFT.search(text)}
    named = RELEASING.partition("Copyleft, in whole or in part: ")[2].partition("\n")[0]
    assert flagged <= set(re.findall(r"([\w.-]+) \(", named))


# -- workflows -------------------------------------------------------------------------------------------


def test_every_action_is_pinned_to_a_commit() -> None:
    files = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    used = [line for file in files for line in re.findall(r"uses: (.*)", file.read_text("utf-8"))]
    assert used
    for action in used:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action


def test_the_workflows_try_the_pythons_that_are_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    declared = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    for name in ("ci.yml", "release.yml"):
        text = (ROOT / ".github" / "workflows" / name).read_text("utf-8")
        assert f"python: {declared}".replace("'", '"') in text, name
