"""The versions that work: tests at the lowest and the newest version of every range in pyproject.toml.

    python tests/compatibility.py FOLDER --pythons python3.11 python3.13 [--only NAME...] [--write]

Makes two environments in FOLDER with `uv`. "lowest" has the first Python and every direct dependency at its lower
bound, all at once. "newest" has the last Python and the newest versions that the index has, also beyond the upper
bounds, so that a release that nobody has tried is tried. vLLM has environments of its own, by `setup_vllm.sh`.
Prints the table, and `--write` puts it into docs/releasing.md. The bounds in pyproject.toml then follow the table;
tests/test_package.py compares the two. Environments that are there are used again.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ET
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from licences import write
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
TORCH = os.environ.get("TORCH", "torch==2.13.0")
ENDS = ("lowest", "newest")

Cells = tuple[str, str]
"""Version and outcome."""


@dataclass(frozen=True)
class Row:
    """One range: the distribution, its name in the table, and the tests that exercise it."""

    package: str
    title: str
    tests: tuple[str, ...]

    @property
    def what(self) -> str:
        """The tests as the table names them."""
        return ", ".join(f"`{name}`" for name in self.tests)


ROWS = (
    Row("lm_eval", "lm-eval", ("test_lm_eval_python",)),
    Row("inspect_ai", "Inspect", ("test_judges",)),
    Row("inspect_evals", "Inspect Evals", ("test_golden_prompts", "test_parser_against_upstream")),
    Row("trl", "TRL", ("test_train_data",)),
    Row("transformers", "transformers", ("test_train_rewards",)),
    Row("python", "Python", ("test_cli", "test_load", "test_record", "test_stats")),
    Row("vllm", "vLLM", ("test_vllm",)),
)


# -- what pyproject.toml asks for ------------------------------------------------------------------------


def project() -> dict[str, list[Requirement]]:
    """Requirements in pyproject.toml by extra; "" for those of every installation."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    groups = {"": table["dependencies"], **table["optional-dependencies"]}
    return {extra: [Requirement(line) for line in lines] for extra, lines in groups.items()}


def bound(requirement: Requirement, *operators: str) -> str | None:
    """Version of the specifier that has one of these operators."""
    return next((s.version for s in requirement.specifier if s.operator in operators), None)


def ranges() -> dict[str, tuple[str, str]]:
    """Lower and upper bound of every package in `ROWS`; a row of the table must say the same."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    found = {r.name: r for group in project().values() for r in group}
    found["python"] = Requirement(f"python{table['requires-python']}")
    return {
        row.package: (
            bound(found[row.package], ">=", "==") or "",
            bound(found[row.package], "<=", "<", "==") or "",
        )
        for row in ROWS
    }


# -- environments ----------------------------------------------------------------------------------------


def uv_environment() -> dict[str, str]:
    """This process's environment, with pip's folder of wheels for uv, which does not read pip's settings."""
    return {"UV_FIND_LINKS": os.environ.get("PIP_FIND_LINKS", "")} | os.environ


def uv(*arguments: str | Path) -> None:
    """Run uv."""
    command = [sys.executable, "-m", "uv", *map(str, arguments)]
    subprocess.run(command, check=True, env=uv_environment(), cwd=ROOT)


def make(folder: Path, end: str, python: str) -> Path:
    """An environment with everything at one end of its range; the interpreter in it."""
    interpreter, complete = folder / end / "bin" / "python", folder / end / "complete"
    if complete.exists():
        return interpreter
    wanted = [r for extra in ("", "train", "analysis") for r in project()[extra]]
    lines = []
    for requirement in wanted:
        lowest, extras = bound(requirement, ">=", "=="), f"[{','.join(sorted(requirement.extras))}]"
        name = requirement.name + (extras if requirement.extras else "")
        if end == "lowest":
            lines.append(f"{requirement.name}=={lowest}")
        elif requirement.name in {row.package for row in ROWS}:
            lines.append(f"{name}>={lowest}")
    lines = [line for line in lines if not line.startswith("torch")] + [TORCH]
    file = folder / f"{end}.txt"
    file.write_text("\n".join(lines) + "\n")
    uv("venv", "--quiet", "--seed", "--clear", "--python", python, folder / end)
    option = "--constraints" if end == "lowest" else "--overrides"
    install = ("pip", "install", "--quiet", "--python", interpreter)
    uv(*install, option, file, "--editable", ".[train,analysis,dev]")
    complete.touch()
    return interpreter


def make_vllm(folder: Path, version: str, python: str) -> Path:
    """The environment of `make test-vllm` with one version of vLLM."""
    place = folder / f"vllm-{version}"
    environment = uv_environment() | {"VLLM": version, "UV": str(Path(sys.executable).with_name("uv"))}
    script = ("bash", "tests/setup_vllm.sh", python, str(place), TORCH)
    subprocess.run(script, check=True, cwd=ROOT, env=environment)
    return place / "bin" / "python"


# -- tests -----------------------------------------------------------------------------------------------


def installed(interpreter: Path, package: str) -> str:
    """Version of a package in an environment."""
    code = "import platform; print(platform.python_version())"
    if package != "python":
        code = f"from importlib.metadata import version; print(version({package!r}))"
    done = subprocess.run([interpreter, "-c", code], check=True, capture_output=True, text=True)
    return done.stdout.strip().partition("+")[0]


def outcomes(interpreter: Path, rows: Sequence[Row]) -> dict[str, str]:
    """Counts of each row's tests in an environment, by package. All tests run in one process."""
    report = interpreter.parents[1] / "tests.xml"
    report.unlink(missing_ok=True)
    files = sorted({f"tests/{name}.py" for row in rows for name in row.tests})
    options = ("-q", "-p", "no:cacheprovider", "-m", "not slow", f"--junitxml={report}", *files)
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": "1",
    }
    with report.with_suffix(".log").open("w") as log:
        subprocess.run(
            [interpreter, "-m", "pytest", *options], cwd=ROOT, env=environment, stdout=log, stderr=log
        )
    if not report.exists():
        return {row.package: "failed: the tests did not start" for row in rows}
    found = defaultdict(Counter[str])
    for case in ET.parse(report).iter("testcase"):
        ends = {child.tag for child in case} & {"failure", "error", "skipped"}
        found[case.attrib["classname"].rpartition(".")[2]][ends.pop() if ends else "passed"] += 1
    texts = {}
    for row in rows:
        count = sum((found[name] for name in row.tests), Counter[str]())
        failed = count["failure"] + count["error"]
        texts[row.package] = f"{count['passed']} passed" + (f", {failed} failed" if failed else "")
    return texts


def table(rows: Sequence[Row], found: Mapping[tuple[str, str], Cells]) -> str:
    """The Markdown table: version and outcome of each row at each end."""
    lines = ["| | lowest | | newest | | tests |", "|---|---|---|---|---|---|"]
    for row in rows:
        cells = [cell for end in ENDS for cell in found[row.package, end]]
        lines.append(f"| {row.title} | {' | '.join(cells)} | {row.what} |")
    return "\n".join(lines)


def at_end(
    folder: Path, rows: Sequence[Row], pythons: Sequence[str], end: str
) -> dict[tuple[str, str], Cells]:
    """Version and outcome of each row at one end."""
    index = ENDS.index(end)
    # vLLM is tried with the lowest Python, for which its CPU build and that of torch are at hand.
    served = [row for row in rows if row.package == "vllm"]
    environments = [([row for row in rows if row not in served], lambda: make(folder, end, pythons[index]))]
    environments += [(served, lambda: make_vllm(folder, ranges()["vllm"][index], pythons[0]))]
    found = {}
    for some, made in environments:
        if some:
            interpreter = made()
            texts = outcomes(interpreter, some)
            found |= {
                (row.package, end): (installed(interpreter, row.package), texts[row.package]) for row in some
            }
    return found


def main() -> None:
    """Run the tests and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where the environments are made or found")
    parser.add_argument(
        "--pythons", nargs=2, required=True, metavar="PYTHON", help="the lowest and the newest"
    )
    parser.add_argument("--only", nargs="+", choices=[row.package for row in ROWS], help="rows to run")
    parser.add_argument("--write", action="store_true", help="put the table into docs/releasing.md")
    options = parser.parse_args()
    if options.write and options.only:
        parser.error("--write needs all rows: leave out --only")
    options.folder.mkdir(parents=True, exist_ok=True)
    rows = [row for row in ROWS if not options.only or row.package in options.only]
    tried = partial(at_end, options.folder, rows, options.pythons)
    with ThreadPoolExecutor() as pool:
        found = {place: cells for part in pool.map(tried, ENDS) for place, cells in part.items()}
    text = table(rows, found)
    if options.write:
        write(text, "compatibility")
    print(text)
    sys.exit("failed" in text)


if __name__ == "__main__":
    main()
