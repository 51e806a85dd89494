"""What the commands print for invented grades, figure by figure.

`grades.csv.gz` has a row per grade; `figures.json.gz` has every figure that the commands make of them. While the
analysis is rebuilt, only `write_runs`, `COMMANDS` and `RENAMED` change. A figure that a rule changes is named in
`CHANGED.md`, and then

    python tests/golden/figures.py

writes the new ones. It refuses to write a figure that is not named there.
"""

from __future__ import annotations

import csv
import gzip
import json
import math
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from value_retention.analysis.cli import cli
from value_retention.tasks.answers import Answer, Design, make_record
from value_retention.tasks.data import Item, english_cluster
from value_retention.tasks.record import AnswerRecord, DataInfo, GradeRecord, JudgeInfo, RunInfo, text_hash

HERE = Path(__file__).parent
GRADES, FIGURES, CHANGED = HERE / "grades.csv.gz", HERE / "figures.json.gz", HERE / "CHANGED.md"

COMMANDS = {
    "pair compare": "compare pair/before pair/base pair/tuned --baseline base --before before --margin 5 "
    "--calibration pair/labels.csv --json {out}",
    "pair fixed": "compare pair/base pair/tuned --baseline base --margin 5 --questions fixed --json {out}",
    "pair trajectory": "compare pair/base pair/before pair/tuned --trajectory --margin 5 --json {out}",
    "pair calibrate": "calibrate pair/labels.csv pair/base pair/before pair/tuned --json {out}",
    "panel compare": "compare panel/base panel/tuned --baseline base --margin 7.5 --json {out}",
    "panel agreement": "agreement panel/base --json {out}",
    "variables compare": "compare variables/base variables/tuned --baseline base --margin 5 --json {out}",
    "experiment arms": "arms experiment/arms.yaml --margin 5 --json {out}",
    "missing compare": "compare missing/base missing/tuned --baseline base --margin 5 --json {out}",
    "unequal compare": "compare unequal/base unequal/other unequal/tuned --baseline base --margin 5 "
    "--allow questions --allow epochs --json {out}",
}
"""Name of a set and command to its arguments, in a folder with the runs of every set."""

RENAMED: dict[str, str] = {}
"""Old name of a field or section to its new name, as ``effects.t_low`` or ``contrasts``."""

TOLERANCE = 1e-9
"""Largest difference of two figures that are equal: points, per cent or fractions. It holds for every processor."""

WORDS = ("verdict", "tier", "first_loss")
"""Fields whose text is a figure too. Other texts are not compared."""

IDENTITY = (
    *(
        "benchmark",
        "run",
        "baseline",
        "comparison",
        "statement",
        "kind",
        "metric",
        "name",
        "raters",
        "design",
    ),
    *("dimension", "language", "item", "judge", "panel", "group", "guard", "task", "checkpoints", "measure"),
    *("recipe", "role"),
)
"""Fields that name a row."""

Table = dict[str, dict[str, Any]]
"""Row to field to figure."""


# -- records -----------------------------------------------------------------------------------------------


def write_runs(folder: Path) -> None:
    """Write the grades as runs: a folder per set and run, a file of records per benchmark; labels and arms."""
    with gzip.open(GRADES, "rt", encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    labels: dict[str, list[dict[str, str]]] = {}
    for (name, run, benchmark), own in groupby(rows, key=lambda r: (r["set"], r["run"], r["benchmark"])):
        answers = [list(group) for _, group in groupby(own, key=lambda r: (r["item"], r["epoch"]))]
        records = [_record(run, group) for group in answers]
        file = folder / name / run / f"{benchmark}.records.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(record.to_json() + "\n" for record in records), "utf-8")
        labels.setdefault(name, []).extend(
            {
                **{key: row[key] for key in ("benchmark", "item", "dimension", "label")},
                "answer_hash": record.answer_hash,
            }
            for record, group in zip(records, answers, strict=True)
            for row in group
            if row["label"]
        )
    for name, drawn in labels.items():
        with (folder / name / "labels.csv").open("w", encoding="utf-8", newline="") as file_:
            writer = csv.DictWriter(file_, ["benchmark", "item", "answer_hash", "dimension", "label"])
            writer.writeheader()
            writer.writerows(drawn)
    (folder / "experiment" / "arms.yaml").write_text(ARMS, "utf-8")


ARMS = """\
arms:
  - {name: llama, role: base, run: llama}
  - {name: midtrained, role: midtrain, run: midtrained}
  - {name: neutral, role: control, run: neutral}
  - {domain: helpfulness, method: SFT, data: dolly, seed: 1, run: dolly-1, task_loss: 1.4}
  - {domain: helpfulness, method: SFT, data: dolly, seed: 2, run: dolly-2, task_loss: 1.5}
  - {domain: helpfulness, method: SFT, data: dolly, mitigation: replay, run: dolly-replay, task_loss: 1.7}
  - {domain: helpfulness, method: SFT, data: alpaca, run: alpaca, probe: 0.4, probe_margin: -0.1}
  - {domain: coding, method: SFT, data: magicoder, seed: 1, run: magicoder-1, probe: 0.7, probe_margin: 0.4}
  - {domain: coding, method: SFT, data: magicoder, seed: 2, run: magicoder-2, probe: 0.8, probe_margin: 0.3}
  - {domain: helpfulness, method: GRPO, data: rlhflow, run: rlhflow, probe: 0.6, probe_margin: 0.2}
  - {domain: coding, method: GRPO, data: magicoder, run: grpo-magicoder, probe: 0.9, probe_margin: 0.5}
"""


def _record(run: str, rows: Sequence[Mapping[str, str]]) -> AnswerRecord:
    """One answer from its grades."""
    first = rows[0]
    answer = f"What {run} says to {first['item']} in epoch {first['epoch']}."
    grades = tuple(
        GradeRecord(
            row["dimension"],
            json.loads(row["variables"] or "{}"),
            row["judge"],
            "graded" if row["grade"] else "unparsed",
            float(row["grade"]) if row["grade"] else None,
            f"{row['judge']} on {row['dimension']}",
            text_hash(f"{row['dimension']} {row['variables']} {answer}"),
        )
        for row in rows
    )
    weights = {row["dimension"]: float(row["weight"]) for row in rows}
    question = f"{first['language']} of question {first['cluster']}, row {first['item']}"
    translation = f"question {first['cluster']}"
    by_text = first["benchmark"] == "anima_2_2"
    asked = Item(
        id=first["item"],
        cluster=english_cluster(question, translation) if by_text else first["cluster"],
        question=question,
        language=first["language"],
        language_raw=first["language"],
        dimensions=tuple(weights),
        source=first["source"] or None,
        translation=translation,
    )
    design = Design(
        first["benchmark"], "1-A", DataInfo("hub", "1", "c" * 64, published=True), weights, "invented"
    )
    judges = [JudgeInfo(judge) for judge in dict.fromkeys(row["judge"] for row in rows)]
    settings = RunInfo("inspect_ai", "1", f"lab/{run}", {}, {"temperature": 1.0})
    return make_record(design, Answer(asked, int(first["epoch"]), answer), judges, grades, settings)


# -- figures -----------------------------------------------------------------------------------------------


def invoke(folder: Path, command: str) -> Any:
    """The JSON that a command of `COMMANDS` writes about the runs in a folder."""
    out = folder / "out.json"
    arguments = [
        str(folder / word) if (folder / word).exists() else word.format(out=out) for word in command.split()
    ]
    done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(out.read_text("utf-8"))


def tables(found: Mapping[str, Any]) -> dict[str, Table]:
    """The figures of a result: section to row to field."""
    sections: dict[str, Table] = {}
    for section, value in found.items():
        rows = value["rows"] if isinstance(value, dict) and "rows" in value else value
        table: Table = {}
        for row in rows if isinstance(rows, list) else [rows]:
            fields = dict(_fields(row))
            if fields:
                name = _name(row)
                assert name not in table, f"two rows of {section} are named {name}"
                table[name] = fields
        if table:
            sections[section] = table
    return sections


def _name(row: Any) -> str:
    if not isinstance(row, dict):
        return ""
    return " | ".join(
        part if isinstance(part, str) else json.dumps(part, ensure_ascii=False)
        for part in (row.get(key) for key in IDENTITY)
        if part
    )


def _fields(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Every number, truth value and null below a value, and the text of `WORDS`, with its place."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _fields(part, f"{place}.{key}" if place else key)
    elif isinstance(value, list):
        for number, part in enumerate(value):
            name = _name(part) or str(number)
            yield from _fields(part, f"{place}[{name}]")
    elif isinstance(value, float):
        yield place, round(value, 10)
    elif not isinstance(value, str) or place.rpartition(".")[2] in WORDS:
        yield place, value


def figures() -> dict[str, dict[str, Table]]:
    """Command to its figures, as the code makes them now."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_runs(folder)
        return {name: tables(invoke(folder, command)) for name, command in COMMANDS.items()}


def held() -> dict[str, dict[str, Table]]:
    """The figures that are written down."""
    content = json.loads(gzip.decompress(FIGURES.read_bytes()))
    return {
        command: {
            section: {
                row: {field: column[n] for field, column in packed["fields"].items() if column[n] is not None}
                for n, row in enumerate(packed["rows"])
            }
            for section, packed in sections.items()
        }
        for command, sections in content.items()
    }


def pack(found: Mapping[str, Mapping[str, Table]]) -> bytes:
    """Figures as bytes, a list per field, which are small when compressed."""
    content = {
        command: {
            section: {
                "rows": list(table),
                "fields": {
                    field: [row.get(field) for row in table.values()]
                    for field in dict.fromkeys(field for row in table.values() for field in row)
                },
            }
            for section, table in sections.items()
        }
        for command, sections in found.items()
    }
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return gzip.compress(text.encode(), 9, mtime=0)


def differences(
    old: Mapping[str, Mapping[str, Table]], new: Mapping[str, Mapping[str, Table]]
) -> dict[str, tuple[Any, Any]]:
    """Figures that differ, as ``command: section [row] field`` to both values; an absent one is null."""
    found: dict[str, tuple[Any, Any]] = {}
    before, after = (dict(_flat(side)) for side in (old, new))
    renamed = {_renamed(key): value for key, value in before.items()}
    for key in dict.fromkeys([*renamed, *after]):
        one, other = renamed.get(key), after.get(key)
        if not _equal(one, other):
            command, section, row, field = key
            found[f"{command}: {section} [{row}] {field}"] = one, other
    return found


_Key = tuple[str, str, str, str]


def _flat(found: Mapping[str, Mapping[str, Table]]) -> Iterator[tuple[_Key, Any]]:
    for command, sections in found.items():
        for section, table in sections.items():
            for row, fields in table.items():
                for field, value in fields.items():
                    yield (command, section, row, field), value


def _renamed(key: _Key) -> _Key:
    command, section, row, field = key
    place = RENAMED.get(f"{section}.{field}", f"{RENAMED.get(section, section)}.{field}")
    section, _, field = place.partition(".")
    return command, section, row, field


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, bool) or isinstance(other, bool) or None in (one, other):
        return one is other
    if isinstance(one, str) or isinstance(other, str):
        return bool(one == other)
    return math.isclose(one, other, rel_tol=0, abs_tol=TOLERANCE)


def allowed() -> list[str]:
    """Regular expressions of the figures that a rule changed, from the first column of the table of `CHANGED.md`."""
    named = re.findall(r"^\| `([^`]+)` \|", CHANGED.read_text("utf-8"), re.M)
    return [re.escape(text).replace(r"\*", ".*") for text in named]


def main() -> int:
    """Write the figures anew, unless one differs that is not named."""
    new = figures()
    if FIGURES.exists():
        patterns = allowed()
        differ = differences(held(), new)
        unnamed = [name for name in differ if not any(re.fullmatch(pattern, name) for pattern in patterns)]
        if unnamed:
            print(f"{len(unnamed)} figures differ and are not named in {CHANGED.name}, for example:")
            for name in unnamed[:20]:
                print(f"  {name}: {differ[name][0]} -> {differ[name][1]}")
            return 1
        print(f"{len(differ)} figures differ, all named in {CHANGED.name}.")
    content = pack(new)
    FIGURES.write_bytes(content)
    count = sum(1 for _, value in _flat(new) if value is not None)
    print(f"{count} figures in {FIGURES.name} ({len(content) / 1000:.0f} kB).")
    return 0


if __name__ == "__main__":
    sys.exit(main())
