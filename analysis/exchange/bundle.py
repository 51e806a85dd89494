"""An evidence folder: a report, the records that its figures rest on, and a manifest of their hashes.

That of an experiment also holds its arms file, with the paths of the copies.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath

from value_retention.analysis.effects.compare import named_run
from value_retention.analysis.effects.design import ArmsFile, arms_text
from value_retention.analysis.effects.result import Result
from value_retention.analysis.report.evidence import evidence
from value_retention.analysis.report.export import json_text, writing
from value_retention.analysis.report.page import html, markdown
from value_retention.analysis.runs.load import Run
from value_retention.analysis.runs.names import LOOKS
from value_retention.analysis.stats.settings import Settings
from value_retention.tasks.errors import InputError

SCHEMA = "value-retention/evidence/1"
MANIFEST, CHECKSUM = "manifest.json", "manifest.sha256"
ARMS = "arms.yaml"
OTHERS = "capability"
"""Folder in that of a run for the files of other tasks."""

DRAFT = ".part"
"""Folder in which an evidence folder is written; a killed command leaves it."""

PAGES = ("report.html", "report.md", "report.json")
PACKAGES = (
    "value-retention", "numpy", "scipy", "statsmodels", "matplotlib", "jinja2", "lm_eval", "inspect_ai",
    "inspect_evals",
)  # fmt: skip
"""Packages whose versions a manifest records, where they are installed."""


@dataclass(frozen=True)
class Options:
    """Options of a comparison besides its `Settings`; keyword arguments of `commands.inputs.compare_runs`.

    Attributes:
        baseline: Name of the run to compare the others with; None for every pair.
        before: Name of the run before the value was trained in, for the retained share.
        allow: Aspects in which the runs may differ.
        trajectory: Whether the runs are checkpoints in the order of training.
        score: Score that was read of Inspect logs that have several.
    """

    baseline: str | None = None
    before: str | None = None
    allow: tuple[str, ...] = ()
    trajectory: bool = False
    score: str | None = None


@dataclass(frozen=True)
class RunEntry:
    """A run in the manifest: its name, its folder below ``runs/``, and the benchmarks compared."""

    name: str
    folder: str
    benchmarks: tuple[str, ...]


@dataclass(frozen=True)
class FileEntry:
    """A file in the manifest: path below the folder, ``record`` or ``report``, size in bytes, SHA-256."""

    path: str
    kind: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """Content of ``manifest.json``. It names no path outside the folder."""

    __pydantic_config__ = {"strict": True, "extra": "forbid", "allow_inf_nan": False}  # noqa: RUF012

    schema: str
    versions: dict[str, str]
    settings: Settings
    options: Options
    runs: tuple[RunEntry, ...]
    files: tuple[FileEntry, ...]


def write_evidence(result: Result, runs: Sequence[Run], options: Options, folder: Path) -> str:
    """Write an evidence folder: report, copies of the records, manifest.

    Args:
        result: The comparison, from `commands.inputs.compare_runs` or `commands.experiment.compare_file`.
        runs: The runs compared, with their records.
        options: Options of the comparison; a run may be named as on the command line.
        folder: A new or empty folder.

    Returns:
        SHA-256 of the manifest.

    Raises:
        InputError: a folder that is not empty or that cannot be written.
    """
    check_folder(folder)
    # Inside the folder, which may be a mounted one that cannot be replaced.
    draft = folder / DRAFT
    with writing(folder):
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        try:
            digest = _fill(result, runs, options, draft)
            for part in ("runs", *([ARMS] if result.arms else []), *PAGES, MANIFEST, CHECKSUM):
                (draft / part).rename(folder / part)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return digest


def check_folder(folder: Path) -> None:
    """Refuse a place that cannot become an evidence folder.

    Raises:
        InputError: a file, or a folder that is not empty.
    """
    if folder.exists() and (not folder.is_dir() or any(part.name != DRAFT for part in folder.iterdir())):
        raise InputError(
            "the output folder is not empty" if folder.is_dir() else "the output is a file",
            where="-o",
            found=str(folder),
            expected="a new or empty folder",
            hint="name another folder, or a file that ends in .html, .md or .json",
        )


def _fill(result: Result, runs: Sequence[Run], options: Options, folder: Path) -> str:
    entries: list[RunEntry] = []
    copies: dict[tuple[str, str], str] = {}
    for run in runs:
        place = _new_name(run.name, {entry.folder for entry in entries})
        copies |= {(run.name, file): path for file, path in _copy(run, folder, place).items()}
        if run.name not in {entry.name for entry in entries}:
            # Beside the records, where the reader of a run finds other tasks.
            others = Run(run.name, result.capability_files.get(run.name, ()), ())
            _copy(others, folder, f"{place}/{OTHERS}")
        entries.append(RunEntry(run.name, place, tuple(run.benchmarks())))
    resolved = replace(
        options,
        baseline=options.baseline and named_run(options.baseline, result.runs, "--baseline"),
        before=options.before and named_run(options.before, result.runs, "--before"),
    )
    result = with_files(result, copies, entries)
    if result.arms:
        tasks = dict.fromkeys(f"{plane.task}:{plane.metric}".rstrip(":") for plane in result.planes)
        content = ArmsFile(result.arms, result.settings.margin, options.allow, tasks=tuple(tasks))
        (folder / ARMS).write_text(arms_text(content), "utf-8")
    for name, text in pages(result, runs).items():
        (folder / name).write_text(text, "utf-8")
    manifest = Manifest(
        SCHEMA,
        versions(),
        result.settings,
        resolved,
        tuple(entries),
        tuple(
            FileEntry(path, "report" if path in PAGES else "record", *measured(folder / path))
            for path in files_in(folder)
        ),
    )
    (folder / MANIFEST).write_text(json_text(asdict(manifest)), "utf-8")
    digest = measured(folder / MANIFEST)[1]
    (folder / CHECKSUM).write_text(checksum_line(digest), "utf-8")
    return digest


def checksum_line(digest: str) -> str:
    """Content of ``manifest.sha256``, which ``sha256sum -c`` reads."""
    return f"{digest}  {MANIFEST}\n"


def _new_name(run: str, taken: set[str]) -> str:
    """A folder for a run: its name, without what a path may not hold."""
    stem = re.sub(r"[^\w.-]+", "-", run).strip(".-")[:60] or "run"
    return next(
        path
        for path in (f"runs/{stem}{'' if k == 1 else f'-{k}'}" for k in range(1, len(taken) + 2))
        if path.lower() not in {other.lower() for other in taken}
    )


def _copy(run: Run, folder: Path, place: str) -> dict[str, str]:
    """Copy the files of a run, and the marks of ``judge --until-verdict`` beside them, with their names.

    Returns:
        Path below ``folder`` by path of the original.
    """
    files = {Path(file).absolute(): file for file in run.files}
    root = Path(os.path.commonpath([path.parent for path in files])) if files else Path()
    marks = {path.parent / LOOKS.format(benchmark) for path in files for benchmark in run.benchmarks()}
    copied = {}
    for path in [*files, *sorted(mark for mark in marks if mark.is_file())]:
        copy = PurePosixPath(place, *path.relative_to(root).parts)
        (folder / copy).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / copy)
        copied[files.get(path, "")] = str(copy)
    return copied


def with_files(result: Result, names: Mapping[tuple[str, str], str], entries: Sequence[RunEntry]) -> Result:
    """The result with other names for the files of its runs and arms.

    Args:
        result: A comparison.
        names: New name by run and file.
        entries: The runs, whose folders become the runs of the arms.
    """
    arms = [
        replace(arm, runs=tuple(entry.folder for entry in entries if entry.name == arm.name))
        for arm in result.arms
    ]
    runs = [
        replace(run, files=tuple(names.get((run.run, file), file) for file in run.files))
        for run in result.runs
    ]
    return replace(result, runs=tuple(runs), arms=tuple(arms))


def pages(
    result: Result, runs: Sequence[Run], names: Sequence[str] = PAGES, made_by: str | None = None
) -> dict[str, str]:
    """The report in several forms, by file name.

    Args:
        result: A comparison of pairs or arms.
        runs: Its runs, with their records.
        names: Which of `PAGES`.
        made_by: Version of this package for the foot of the page; None for the one that is installed.
    """
    made_by = made_by or version("value-retention")
    forms: dict[str, Callable[[], str]] = {
        "report.html": lambda: html(result, evidence(result, runs), made_by),
        "report.md": lambda: markdown(result, evidence(result, runs), made_by),
        "report.json": lambda: json_text(result.to_dict()),
    }
    return {name: forms[name]() for name in names}


def versions() -> dict[str, str]:
    """Versions of Python, of the platform and of the packages that are installed."""
    found = {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
    }
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def measured(path: Path) -> tuple[int, str]:
    """Size in bytes and SHA-256 of a file."""
    with path.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    return path.stat().st_size, digest


def files_in(folder: Path) -> list[str]:
    """Paths of everything below a folder that is not a folder, links included, in order."""
    found = []
    for place, folders, names in os.walk(folder):
        links = [name for name in folders if (Path(place) / name).is_symlink()]
        found += [(Path(place) / name).relative_to(folder).as_posix() for name in (*names, *links)]
    return sorted(found)
