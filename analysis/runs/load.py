"""Runs of either harness, from files and folders in any mix."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from value_retention.adapters.readers.inspect import NoRecordsError, current_logs, read_log
from value_retention.adapters.readers.judged_samples import judged_samples
from value_retention.adapters.readers.own import is_samples_file, read_records, read_samples, run_key
from value_retention.analysis.runs.items import check_run
from value_retention.analysis.runs.names import title_of
from value_retention.tasks.errors import InputError
from value_retention.tasks.record import AnswerRecord, GradeRecord, canonical_json
from value_retention.tasks.text import by_name

logger = logging.getLogger("value_retention")

RECORDS_SUFFIX = ".records.jsonl"
"""Ending of the files that `value-retention judge` writes, one record per line."""

PROBE = "samples_value_pairs_"
"""Start of the names of lm-eval's files of the probe, which is neither a benchmark nor a capability."""


@dataclass(frozen=True)
class Run:
    """The answers of one model under one design; may hold several benchmarks."""

    name: str
    files: tuple[str, ...]
    records: tuple[AnswerRecord, ...]
    others: tuple[str, ...] = ()
    """Files of other tasks from the same evaluation, such as IFEval."""
    ceiling: tuple[AnswerRecord, ...] = ()
    """Answers of the ceiling test, where the run holds ordinary answers to the same benchmark too."""

    def parts(self) -> list[Run]:
        """The ordinary answers, and those of the ceiling test, as runs."""
        ordinary = replace(self, ceiling=())
        apart = Run(f"{self.name} (ceiling test)", self.files, self.ceiling)
        return [ordinary, apart] if self.ceiling else [ordinary]

    def __repr__(self) -> str:
        """One line: what it holds, not the answers themselves."""
        held = ", ".join(
            f"{sum(record.benchmark == benchmark for record in self.records)} answers to {title_of(benchmark)}"
            for benchmark in self.benchmarks()
        )
        models = ", ".join(dict.fromkeys(record.run.model for record in self.records))
        return f"Run({self.name!r}: {held or 'no answers'}; model {models or 'unknown'})"

    def benchmarks(self) -> list[str]:
        """Names of the benchmarks it holds, in the order they were read."""
        return list(dict.fromkeys(record.benchmark for record in self.records))

    def designs(self) -> list[tuple[str, bool]]:
        """Benchmarks, each with whether the model was shown the criteria."""
        return list(dict.fromkeys((record.benchmark, is_ceiling(record)) for record in self.records))


def load_runs(paths: Sequence[str | Path], judge: str | None = None, score: str | None = None) -> list[Run]:
    """Read runs.

    Args:
        paths: Folders (lm-eval's output, Inspect's logs, written by `value-retention judge`, or a mix) and
            files (``samples_*.jsonl``, ``results_*.json``, ``.eval``, ``.json``, ``.records.jsonl``). A path
            may be given a name: ``base=runs/base``.
        judge: Read only answers judged by this judge, or by this panel (``a + b``). None: all.
        score: Score to read in Inspect logs that have several, and in logs of other evals; or lm-eval's metric.

    Returns:
        One run per path where the path holds one model's answers to each benchmark once; otherwise one per model,
        or one per harness run, named by model or by path and time. Answers that were judged later replace their
        unjudged copies, and filled grades those that they fill.

    Raises:
        InputError: nothing to read, a file that cannot be read, no answers of the judge, or two runs of one name.
    """
    runs: list[Run] = []
    for path in paths:
        text, _, rest = str(path).partition("=")
        named = bool(rest) and not _exists(Path(str(path)))
        runs.extend(_runs_at(Path(rest if named else str(path)), text if named else None, judge, score))
    seen: dict[str, Run] = {}
    for run in runs:
        if run.name in seen:
            raise InputError(
                "two runs have the same name",
                found=f"{run.name}: {seen[run.name].files[0]} and {run.files[0]}",
                expected="different names",
                hint="name them: first=PATH second=PATH",
            )
        seen[run.name] = run
    return [_ceiling_apart(replace(run, records=in_order(run.records))) for run in runs]


def in_order(records: Iterable[AnswerRecord]) -> tuple[AnswerRecord, ...]:
    """Records by benchmark, item and epoch, so that no figure depends on the order of lines or files."""
    return tuple(sorted(records, key=lambda r: (r.benchmark, by_name(r.item), r.epoch, r.answer_hash)))


def runs_in_order(runs: Iterable[Run]) -> list[Run]:
    """Runs by name."""
    return sorted(runs, key=lambda run: by_name(run.name))


def _exists(place: Path) -> bool:
    """Whether a file or folder exists; False for a name that no file can have, such as one that is too long."""
    try:
        return place.exists()
    except OSError:
        return False


def _runs_at(place: Path, name: str | None, judge: str | None = None, score: str | None = None) -> list[Run]:
    with contextlib.suppress(RuntimeError):  # unknown user: keep the name
        place = place.expanduser()
    if not _exists(place):
        raise InputError("the run does not exist", where=str(place), expected="a file or a folder")
    read, failed = _units(place, score)
    units = drop_superseded(read)
    others = tuple(file for unit in read for file in unit.others)
    if not units and failed:
        raise failed[0]
    for error in failed:
        logger.warning("value-retention: passed over %s: %s", error.path, error.about)
    if not units:
        raise InputError(
            "no answers found",
            where=str(place),
            expected="samples_*.jsonl of lm_eval --log_samples, Inspect logs of value_retention tasks, or "
            f"*{RECORDS_SUFFIX}",
            hint="run lm_eval with --log_samples and --output_path",
        )
    if judge is not None:
        units = _judged_by(judge, units, place)
    label = name or (place.name if place.is_dir() else _stem(place)) or str(place)
    models: dict[str, list[Run]] = {}
    for unit in units:
        models.setdefault(unit.records[0].run.model, []).append(unit)
    if len(models) == 1 and (run := _joined(label, units)):
        return [replace(run, others=others)]
    short = [Path(model).name for model in models]
    names = short if len(set(short)) == len(short) else list(models)
    found: list[Run] = []
    for model, own in zip(names, models.values(), strict=True):
        title = f"{name}/{model}" if name else model
        run = _joined(title, own)
        several = title if len(models) > 1 else label
        found += [run] if run else [replace(unit, name=f"{several}/{unit.name}") for unit in own]
    return found


def _joined(name: str, units: Sequence[Run]) -> Run | None:
    """The units as one run; None if one of them, or two together, answer a benchmark twice."""
    designs = [design for unit in units for design in unit.designs()]
    if len(units) > 1 and len(set(designs)) < len(designs):
        return None
    return Run(
        name,
        tuple(file for unit in units for file in unit.files),
        tuple(record for unit in units for record in unit.records),
        tuple(file for unit in units for file in unit.others),
    )


def parts_in_order(record: AnswerRecord) -> AnswerRecord:
    """The record with judges by name, and grades by dimension (as the item lists them), variables and judge.

    Grades by two judges of one name keep their order: the first is by the first of them.
    """
    place = {name: number for number, name in enumerate(record.dimensions)}

    def key(grade: GradeRecord) -> tuple[object, ...]:
        variables = [(name, by_name(value)) for name, value in grade.variables.items()]
        return place[grade.dimension], variables, by_name(grade.judge)

    grades = [
        replace(grade, variables=dict(sorted(grade.variables.items()))) if len(grade.variables) > 1 else grade
        for grade in record.grades
    ]
    judges = sorted(record.judges, key=lambda judge: by_name(judge.name))
    return replace(record, judges=tuple(judges), grades=tuple(sorted(grades, key=key)))


def panel_name(record: AnswerRecord) -> str:
    """The judges of a record: ``a``, or ``a + b`` for a panel."""
    return " + ".join(judge.name for judge in record.judges) or "none"


def _judged_by(judge: str, units: Sequence[Run], place: Path) -> list[Run]:
    """The units with the answers that a judge or panel judged.

    Raises:
        InputError: there are none.
    """
    parts = (part.strip() for part in judge.replace(",", " + ").split(" + "))
    wanted = " + ".join(sorted(parts, key=by_name))
    kept = [
        replace(unit, records=tuple(r for r in unit.records if panel_name(r) == wanted)) for unit in units
    ]
    if not any(unit.records for unit in kept):
        raise InputError(
            "no answers by this judge",
            where=f"--judge, {place}",
            found=wanted,
            expected="one of " + ", ".join(sorted({panel_name(r) for unit in units for r in unit.records})),
        )
    return [unit for unit in kept if unit.records]


def _units(place: Path, score: str | None) -> tuple[list[Run], list[NoRecordsError]]:
    """What each run of a harness left at a path, and the Inspect logs of evals that failed."""
    units: list[Run] = []
    failed: list[NoRecordsError] = []
    for files in _groups(place):
        try:
            units.append(_unit(files, score))
        except NoRecordsError as error:
            if place.is_file():
                raise
            if error.ours or error.status != "success":
                failed.append(error)
            else:
                units.append(Run(_stem(files[0]), (), (), (str(files[0]),)))
    return units, failed


def is_ceiling(record: AnswerRecord) -> bool:
    """Whether the model was shown the criteria."""
    return bool(record.run.sampling.get("ceiling"))


def _ceiling_apart(run: Run) -> Run:
    """The run with its ceiling tests apart, of the benchmarks to which it has ordinary answers too."""
    both = {r.benchmark for r in run.records if not is_ceiling(r)}
    apart = tuple(r for r in run.records if is_ceiling(r) and r.benchmark in both)
    ordinary = tuple(r for r in run.records if not (is_ceiling(r) and r.benchmark in both))
    return replace(run, records=ordinary, ceiling=apart) if apart else run


def _groups(place: Path) -> list[list[Path]]:
    """Files that belong to one run of a harness, in the order of their names."""
    files = [place] if place.is_file() else sorted(f for f in place.rglob("*") if f.is_file())
    if place.is_file() and place.name.startswith("results_") and place.suffix == ".json":
        files = sorted(place.parent.glob(f"samples_*_{run_key(place)}.jsonl"))
    logs = [file for file in files if file.suffix == ".eval" or is_json_log(file, place)]
    current = {*current_logs(logs)} if len(logs) > 1 else {*logs}
    groups: dict[tuple[Path, str], list[Path]] = {}
    for file in files:
        if file.name.startswith(PROBE) or (file in logs and file not in current):
            continue
        if is_samples_file(file):
            groups.setdefault((file.parent, run_key(file)), []).append(file)
        elif file.name.endswith(RECORDS_SUFFIX) or file in current:
            groups[file, ""] = [file]
        elif file == place:
            raise InputError(
                "unknown kind of file",
                where=str(file),
                expected=f"samples_*.jsonl, results_*.json, .eval, .json (Inspect), *{RECORDS_SUFFIX}",
            )
    return list(groups.values())


def is_json_log(file: Path, place: Path) -> bool:
    """Whether a JSON file is an Inspect log: the user named the file, or its first bytes look like a log.

    Args:
        file: Any file.
        place: What the user named.
    """
    if file.suffix != ".json" or file.name.startswith("results_"):
        return False
    if file == place:
        return True
    with file.open("rb") as content:
        head = content.read(400)
    # `inspect eval-set` leaves an index of its logs beside them, in which a file's name comes first.
    return head.lstrip(b"{ \r\n\t").startswith(b'"version"') and b'"status"' in head


def _stem(file: Path) -> str:
    """A file's name without the endings that name its kind."""
    short = file.name.removesuffix(RECORDS_SUFFIX)
    return file.stem if short == file.name else short


def _unit(files: Iterable[Path], score: str | None = None) -> Run:
    files = list(files)
    records: list[AnswerRecord] = []
    others: list[str] = []
    for file in files:
        try:
            if is_samples_file(file):
                found = list(read_samples(file)) or list(judged_samples(file, score))
                records.extend(found)
                if not found:
                    others.append(str(file))
            elif file.name.endswith(RECORDS_SUFFIX):
                records.extend(read_records(file))
            else:
                records.extend(read_log(file, score))
        except OSError as error:
            raise InputError("the file cannot be read", where=str(file), found=str(error)) from error
    check_run(records, ", ".join(map(str, files)))
    return Run(
        run_key(files[0]) if is_samples_file(files[0]) else _stem(files[0]),
        tuple(str(file) for file in files if str(file) not in others),
        tuple(map(parts_in_order, records)),
        tuple(others),
    )


_Key = tuple[str, str, str, int, str]
"""Benchmark, model, item, epoch, answer."""


def _key(record: AnswerRecord) -> _Key:
    return record.benchmark, record.run.model, record.item, record.epoch, record.answer_hash


def drop_superseded(units: Sequence[Run], others: Sequence[Run] = ()) -> list[Run]:
    """Drop answers of which a later state was read too, and units that are then empty.

    A unit's answers to a benchmark are dropped in two cases: each of them is unjudged and was read judged from
    another unit; or another unit has all of them from the same panel, with the same replies and fewer gaps
    (they were filled). A second pass of the same panel has different replies and is kept.

    Args:
        units: The units that were read.
        others: Units that can supersede those, and are not returned.
    """
    everything = [*units, *others]
    judged = {_key(r) for unit in everything for r in unit.records if r.status != "not_judged"}
    parts = [_parts(unit) for unit in everything]

    def superseded(part: list[AnswerRecord]) -> bool:
        if all(record.status == "not_judged" for record in part):
            return all(_key(record) in judged for record in part)
        if not gaps(part):
            return False
        benchmark = part[0].benchmark
        return any(_fills(later[benchmark], part) for later in parts if benchmark in later)

    kept = []
    for unit, mine in zip(units, parts, strict=False):
        gone = {benchmark for benchmark, part in mine.items() if superseded(part)}
        if gone:
            unit = replace(unit, records=tuple(r for r in unit.records if r.benchmark not in gone))
        if unit.records:
            kept.append(unit)
    return kept


def _parts(unit: Run) -> dict[str, list[AnswerRecord]]:
    parts: dict[str, list[AnswerRecord]] = {}
    for record in unit.records:
        parts.setdefault(record.benchmark, []).append(record)
    return parts


def gaps(records: Iterable[AnswerRecord]) -> int:
    """Number of grades that `value-retention judge --fill` asks for: the call failed, or its reply was cut."""
    return sum(grade.is_gap for record in records for grade in record.grades)


def _fills(later: Sequence[AnswerRecord], earlier: Sequence[AnswerRecord]) -> bool:
    """Whether the later records are the earlier ones with fewer gaps."""
    found = {_key(record): record for record in later}
    new = [found[_key(record)] for record in earlier if _key(record) in found]
    return (
        len(new) == len(earlier)
        and gaps(new) < gaps(earlier)
        and all(
            n.judges == o.judges and _replies(o) <= _replies(n) for n, o in zip(new, earlier, strict=True)
        )
    )


def _replies(record: AnswerRecord) -> set[tuple[str, str, str, str | None]]:
    """The judges' whole replies on an answer, with what each was asked."""
    return {
        (grade.dimension, canonical_json(grade.variables), grade.judge, grade.rationale)
        for grade in record.grades
        if not grade.is_gap
    }
