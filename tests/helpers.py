"""What several test files share: folders of rows, records by hand, processes, the scripted server."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import forked
import pytest

from value_retention.tasks.benchmark import Benchmark, packaged
from value_retention.tasks.data import Dataset, Dimension, Item
from value_retention.tasks.record import AnswerRecord, DataInfo, GradeRecord, RunInfo

ROOT = Path(__file__).resolve().parents[1]
PYTHON = sys.executable
BIN = Path(PYTHON).parent
REAL = Path(os.environ.get("VALUE_RETENTION_TEST_ROWS") or ROOT.parent / "shared" / "data" / "hub").resolve()
"""The gated rows, where they are at hand; the project ships none of them."""

COUNTS: dict[str, Any] = json.loads((ROOT / "tests" / "golden" / "counts.json").read_text("utf-8"))
"""Figures that equal upstream's, and what kills and faults may cost, as they were when they were written down."""

ANIMA_2_2, MORU = (packaged()[name] for name in ("anima_2_2", "moru"))

RUN = RunInfo("lm_eval", "0", "model")

Row = dict[str, Any]


def real_rows(test: Any) -> Any:
    """Skip a test that reads the gated rows where they are not at hand."""
    reason = f"needs the gated ANIMA rows in {REAL / 'anima'}, or VALUE_RETENTION_TEST_ROWS=DIR"
    return pytest.mark.skipif(not (REAL / "anima").is_dir(), reason=reason)(test)


# -- rows -----------------------------------------------------------------------------------------------


def write_rows(place: Path, rows: Sequence[Row], kind: str = "jsonl") -> Path:
    """Rows to one file in the folder `place`, as jsonl, parquet or csv (lists written out as pandas does)."""
    place.mkdir(parents=True, exist_ok=True)
    file = place / f"train.{kind}"
    if kind == "jsonl":
        file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    elif kind == "parquet":
        import pyarrow as pa
        import pyarrow.parquet

        pyarrow.parquet.write_table(pa.Table.from_pylist(list(rows)), file)
    else:
        with file.open("w", encoding="utf-8", newline="") as lines:
            writer = csv.DictWriter(lines, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return file


def anima_rows() -> tuple[list[Row], list[Row]]:
    """Two questions and three dimensions in ANIMA's columns."""
    questions = [
        {"id": 0, "question": "May I?", "tags": ["Care", "Scope"], "variables": "animal:hen, cat"},
        {"id": 1, "question": "Darf ich?", "tags": ["Care"], "variables": None},
    ]
    for row, language in zip(questions, (None, "German"), strict=True):
        row |= {"language": language, "translation": None}
    dimensions = [
        {
            "dimension": name,
            "guiding_question": guiding,
            "scoring": "0 or 1",
            "observable_indicators": '"kind"',
        }
        | {"default_weighting": weight}
        for name, guiding, weight in [
            ("Care", "Is the {{animal}} cared for?", 1.0),
            ("Scope", "Do numbers count?", 3.0),
            ("Other", "Anything else?", 1.0),
        ]
    ]
    return questions, dimensions


def moru_rows() -> tuple[list[Row], list[Row]]:
    """Two questions in two languages and three dimensions in MORU's columns."""
    questions = [
        {"id": n, "question": f"{language} {n}?", "source": "Europa", "question_type": "open"}
        | {"dimension_tags": "Care, Doubt" if n == 1 else "Doubt", "language": language}
        for n in (1, 2)
        for language in ("en", "ms")
    ]
    dimensions = [
        {"dimension": name, "guiding_question": f"{name}?", "observable_indicators": '"kind"'}
        for name in ("Care", "Doubt", "Power-Seeking Detection")
    ]
    return questions, dimensions


def write_anima(root: Path, questions: Sequence[Row], dimensions: Sequence[Row], kind: str = "jsonl") -> Path:
    write_rows(root / "anima" / "questions", questions, kind)
    write_rows(root / "anima" / "dimensions", dimensions, kind)
    return root


def write_moru(root: Path, questions: Sequence[Row], dimensions: Sequence[Row], kind: str = "jsonl") -> Path:
    write_rows(root / "moru-benchmark", questions, kind)
    write_rows(root / "moru-benchmark-dimensions", dimensions, kind)
    return root


def dataset_of(benchmark: Benchmark, dimension: Dimension, question: str = "Q?", **item: Any) -> Dataset:
    """A dataset of one item with one dimension, as the loader would make it."""
    one = Item("1", "1", question, "en", None, (dimension.name,), **item)
    info = DataInfo("folder", "r", "h")
    return Dataset(benchmark, (one,), {dimension.name: dimension}, info, benchmark.questions.revision)


def grade(
    value: float | None,
    dimension: str = "Care",
    judge: str = "j",
    outcome: str | None = None,
    **variables: str,
) -> GradeRecord:
    """A grade by hand; None is an unparsed reply unless `outcome` says otherwise."""
    kind: Any = outcome or ("unparsed" if value is None else "graded")
    reply = {1.0: "GRADE: C", 0.0: "GRADE: I", None: "reply"}.get(value)
    return GradeRecord(
        dimension, variables, judge, kind, value, None if kind == "judge_error" else reply, "0" * 64
    )


# -- processes ------------------------------------------------------------------------------------------


def environment(**changes: str | None) -> dict[str, str]:
    """This process's environment without settings of ours, with changes; None removes a variable."""
    env = {
        k: v
        for k, v in os.environ.items()
        if k == "VALUE_RETENTION_JOURNAL_DIR" or "VALUE_RETENTION" not in k
    }
    env["OMP_NUM_THREADS"] = "1"
    if "VALUE_RETENTION_JOURNAL_DIR" not in env and "XDG_CACHE_HOME" in env:
        # In a fixture that several tests share: no reply comes from another one's journal.
        env["VALUE_RETENTION_JOURNAL_DIR"] = tempfile.mkdtemp(dir=env["XDG_CACHE_HOME"])
    if cache := env.get("HF_DATASETS_CACHE"):
        # `datasets` takes two local folders with one name and one layout for the same dataset.
        env["HF_DATASETS_CACHE"] = tempfile.mkdtemp(dir=cache)
    for key, value in changes.items():
        env.pop(key, None)
        if value is not None:
            env[key] = value
    return env


def run(
    *command: str | Path, cwd: Any = None, timeout: Any = 300, fresh: bool = False, **changes: str | None
) -> subprocess.CompletedProcess[str]:
    """Run a command line to its end; keyword arguments change the environment.

    A command of ours, lm-eval's or Inspect's is forked from a process that has its imports (`forked.py`), unless
    `fresh` asks for a process as a user starts it.
    """
    line = [str(part) for part in command]
    if not fresh and forked.can(line):
        return forked.run(line, environment(**changes), cwd, timeout)
    return subprocess.run(
        line,
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=cwd,
        env=environment(**changes),
        timeout=timeout,
        check=False,
    )


OUR_TASKS = {"PYTHONPATH": str(ROOT / "tests" / "startup")}
"""Environment in which lm-eval starts ten seconds sooner: it reads our tasks alone."""


def start(*command: str | Path, cwd: Any = None, **changes: str | None) -> subprocess.Popen[str]:
    """Start a command line in `OUR_TASKS`; both outputs together come from `communicate`."""
    return subprocess.Popen(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        cwd=cwd,
        env=environment(**(OUR_TASKS | changes)),
    )


def finish(process: subprocess.Popen[str], timeout: float = 300) -> str:
    """Output of a process that has to succeed."""
    output, _ = process.communicate(timeout=timeout)
    assert process.returncode == 0, output[-4000:]
    return output


def lm_eval(*arguments: str | Path) -> list[str | Path]:
    """Command line of lm-eval: the installed script, as a user calls it."""
    return [BIN / "lm_eval", *arguments]


def metadata(**values: Any) -> list[str]:
    return ["--metadata", json.dumps(values)]


def with_cuts(checkpoint: Path, folder: Path) -> Path:
    """A copy of a checkpoint whose ``generation_config.json`` confines samples to few tokens."""
    shutil.copytree(checkpoint, folder)
    file = folder / "generation_config.json"
    cuts = {"do_sample": True, "top_k": 3, "top_p": 0.5, "repetition_penalty": 1.3}
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | cuts), "utf-8")
    return folder


FIRST_TOKENS = 40


def first_tokens(out: Path, **values: Any) -> list[str | Path]:
    """lm-eval's arguments for the first token of `FIRST_TOKENS` answers to one question."""
    return [
        *("--tasks", "anima_2_2", "--limit", "1", "--log_samples", "--output_path", out),
        *("--gen_kwargs", json.dumps({"max_gen_toks": 1} | values)),
        *metadata(judge="none", data="sample", epochs=FIRST_TOKENS),
    ]


# -- the scripted server --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Server:
    """A running scripted server."""

    url: str
    """Base URL, ending in ``/v1``."""

    def stats(self) -> dict[str, Any]:
        with urllib.request.urlopen(self.url.removesuffix("/v1") + "/stats") as reply:
            counts: dict[str, Any] = json.load(reply)
            return counts

    def asked(self) -> list[list[list[str]]]:
        """Role and text of every message of each call to the model, in order."""
        with urllib.request.urlopen(self.url.removesuffix("/v1") + "/asked") as reply:
            calls: list[list[list[str]]] = json.load(reply)
            return calls

    @property
    def environment(self) -> dict[str, str]:
        """Variables that let Inspect and lm-eval reach it."""
        return {"SCRIPTED_API_KEY": "x", "SCRIPTED_BASE_URL": self.url, "OPENAI_API_KEY": "x"}

    @property
    def lm_eval_model(self) -> list[str | Path]:
        """Arguments that make it lm-eval's model."""
        arguments = (
            f"model=scripted,base_url={self.url}/chat/completions,num_concurrent=32,tokenized_requests=False"
        )
        return ["--model", "local-chat-completions", "--apply_chat_template", "--model_args", arguments]


MODEL = "openai-api/scripted/model"
JUDGE = "openai-api/scripted/judge"


@contextlib.contextmanager
def scripted_server(*arguments: str, patch: str = "") -> Iterator[Server]:
    """Run `scripted_server.py`; `patch` is Python that changes the script before it serves."""
    script = ROOT / "tests" / "scripted_server.py"
    source = (
        f"import sys; sys.path.insert(0, {str(script.parent)!r}); import scripted_server\n"
        f"{patch}\nscripted_server.main()"
    )
    process = subprocess.Popen(
        [PYTHON, "-c", source, *arguments], stdout=subprocess.PIPE, text=True, env=environment()
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http"), "the scripted server did not start"
        yield Server(url)
    finally:
        process.terminate()
        process.wait(10)


# -- results --------------------------------------------------------------------------------------------


def one(folder: Path, pattern: str) -> Path:
    """The only file below a folder that matches."""
    found = sorted(folder.rglob(pattern))
    assert len(found) == 1, f"{pattern}: {found}"
    return found[0]


def results(folder: Path) -> Mapping[str, Any]:
    """lm-eval's results file."""
    value: dict[str, Any] = json.loads(one(folder, "results_*.json").read_text("utf-8"))
    return value


def records(folder: Path, task: str) -> list[Any]:
    """Records in lm-eval's samples file of a task."""
    from value_retention.adapters.readers.own import read_samples

    return list(read_samples(one(folder, f"samples_{task}_*.jsonl")))


def figures(of: Mapping[str, Any], task: str) -> dict[str, float]:
    """Metric name to value of one task in lm-eval's results."""
    return {
        name.partition(",")[0]: value
        for name, value in of["results"][task].items()
        if isinstance(value, int | float) and "_stderr" not in name
    }


def table_rows(path: Path) -> list[Row]:
    """Rows of a parquet file."""
    import pyarrow.parquet

    rows: list[Row] = pyarrow.parquet.read_table(path).to_pylist()
    return rows


def assert_plain_refusal(done: subprocess.CompletedProcess[str], *expected: str) -> None:
    """A user's mistake: non-zero exit, one message with these texts, no traceback."""
    said = done.stdout + done.stderr
    assert done.returncode != 0, said[-2000:]
    assert "Traceback" not in said, said[-4000:]
    for text in expected:
        assert text in said, f"{text!r} not in:\n{said[-3000:]}"


def undated(records: Iterable[AnswerRecord]) -> list[str]:
    """Records as JSON, without what differs between two times at which a judge was asked the same."""
    return [
        replace(r, criteria=None, grades=tuple(replace(g, at=None, served=None) for g in r.grades)).to_json()
        for r in records
    ]


def but_run(records: list[AnswerRecord]) -> dict[tuple[str, int], str]:
    """Item and epoch to the record's bytes without what only the harness, the server or the clock tells."""
    same = [
        replace(record, run=records[0].run, checks=replace(record.checks, truncated=None))
        for record in records
        if record.checks
    ]
    texts = [json.dumps(json.loads(text) | {"run": None}) for text in undated(same)]
    return {(r.item, r.epoch): text for r, text in zip(same, texts, strict=True)}


def journal_counts(path: Path) -> dict[str, int]:
    """Number of answers and of replies in a journal."""
    connection = sqlite3.connect(path)
    tables = ("answers", "replies")
    counts = {table: connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0] for table in tables}
    connection.close()
    return counts
