"""lm_eval stopped, repeated, and pointed at another model: whose answers the records hold, and what is paid again."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import BIN, JUDGE, Server, lm_eval, metadata, one, records, results, run, scripted_server, start

pytestmark = pytest.mark.slow

ANSWERS = 12
"""Answers of one epoch of `moru_en` on the sample items."""


def command(
    server: Server, output: Path | None, *more: str, task: str = "moru_en", **settings: object
) -> list[str | Path]:
    told = {"judge": JUDGE, "data": "sample", "epochs": 1, "judge_args": {"max_retries": 0}} | settings
    place = [] if output is None else ["--log_samples", "--output_path", str(output)]
    return lm_eval(*server.lm_eval_model, "--tasks", task, *place, *more, *metadata(**told))


def environment(server: Server, journals: Path) -> dict[str, str]:
    return server.environment | {"VALUE_RETENTION_JOURNAL_DIR": str(journals)}


def exported_from(folder: Path) -> list[str]:
    return one(folder, "*.records.jsonl").read_text("utf-8").splitlines()


def port(server: Server) -> str:
    return server.url.removesuffix("/v1").rpartition(":")[2]


@pytest.mark.parametrize("says", ["nothing", "root"])
def test_another_checkpoint_under_the_same_name_and_port(tmp_path: Path, says: str) -> None:
    """The first run stops with the judge down; then the server holds other weights."""
    folders = [tmp_path / name for name in ("base", "tuned")]
    for folder in folders:
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(folder.name.encode())
    roots = [["--root", str(folder)] if says == "root" else [] for folder in folders]
    journals, out = tmp_path / "journals", tmp_path / "out"
    with scripted_server("--down", "--weights", "base", *roots[0]) as server:
        done = run(*command(server, tmp_path / "failed"), **environment(server, journals))
        assert done.returncode == 1, done.stderr[-3000:]
    with scripted_server("--port", port(server), "--weights", "tuned", *roots[1]) as server:
        done = run(*command(server, out), **environment(server, journals))
        assert done.returncode == 0, done.stderr[-3000:]
        asked = server.stats()["model"]
        if says == "nothing":
            fresh = run(*command(server, tmp_path / "fresh", resume=False), **environment(server, journals))
            assert fresh.returncode == 0, fresh.stderr[-3000:]
    old, new = (
        [record.answer for record in records(folder, "moru_en")] for folder in (tmp_path / "failed", out)
    )
    resumed = {record.run.resumed for record in records(out, "moru_en")}
    told = results(out)["configs"]["moru_en"]["metadata"]["value_retention"]
    if says == "root":
        assert (asked, resumed) == (ANSWERS, {None})
        assert new != old
        assert "resumed" not in told
    else:
        assert (asked, new) == (0, old)
        (mark,) = resumed
        assert mark is not None
        assert mark.startswith(f"{ANSWERS} of {ANSWERS} answers are from an earlier run")
        assert mark in " ".join(done.stderr.split())
        assert told["resumed"] == mark
        anew = records(tmp_path / "fresh", "moru_en")
        assert [record.answer for record in anew] != old, "resume: false starts anew"
        assert {record.run.resumed for record in anew} == {None}


def test_a_run_without_output_is_got_back_without_a_call(tiny: Path, server: Server, tmp_path: Path) -> None:
    """Batch size and number of connections may change, and another harness or command may ask."""
    journals, where = tmp_path / "journals", environment(server, tmp_path / "journals")
    model = ["--model", "hf", "--device", "cpu", "--gen_kwargs", "max_gen_toks=8"]
    model += ["--model_args", f"pretrained={tiny}", "--tasks", "moru_en"]
    args = {"judge": JUDGE, "data": "sample", "epochs": 1}
    before = server.stats()["judge"]
    done = run(*lm_eval(*model, "--batch_size", "4", *metadata(**args)), **where)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "value-retention journal export" in " ".join(done.stderr.split())
    paid = server.stats()["judge"]
    assert paid > before
    changed = metadata(**args, judge_args={"max_connections": 3})
    place = ["--log_samples", "--output_path", str(tmp_path / "out")]
    done = run(*lm_eval(*model, "--batch_size", "12", *place, *changed), **where)
    assert done.returncode == 0, done.stderr[-3000:]
    done = run(
        BIN / "value-retention",
        "judge",
        tmp_path / "out",
        "--judge",
        JUDGE,
        "-o",
        tmp_path / "again",
        **where,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    done = run(BIN / "value-retention", "journal", "export", "-o", tmp_path / "exported", **where)
    assert done.returncode == 0, done.stderr[-3000:]
    assert server.stats()["judge"] == paid
    ours = [record.to_json() for record in records(tmp_path / "out", "moru_en")]
    assert len(ours) == ANSWERS
    assert exported_from(tmp_path / "again") == exported_from(tmp_path / "exported") == ours
    listed = run(BIN / "value-retention", "journal", "list", "--json", **where)
    runs = json.loads(listed.stdout)["runs"]
    assert [(entry["task"], entry["state"]) for entry in runs] == [
        ("moru_en", "finished"),
        ("moru", "finished"),
    ]
    assert len([*journals.glob("*.sqlite")]) == 1


def until_it_runs(process: subprocess.Popen[str], **where: str) -> None:
    """Wait until a command has entered its run in the journal."""
    while True:
        assert process.poll() is None, process.communicate()[0][-3000:]
        listed = run(BIN / "value-retention", "journal", "list", "--json", **where)
        if listed.returncode == 0 and json.loads(listed.stdout)["runs"]:
            return
        time.sleep(0.2)


def test_a_second_command_on_one_run_is_refused_and_ctrl_c_ends_the_first_in_a_sentence(
    tmp_path: Path,
) -> None:
    with scripted_server("--latency", "20") as server:
        where = environment(server, tmp_path / "journals")
        slowly = [
            str(part).replace("num_concurrent=32", "num_concurrent=1")
            for part in command(server, tmp_path / "out")
        ]
        first = start(*slowly, **where)
        until_it_runs(first, **where)
        second = run(*command(server, tmp_path / "out 2"), **where)
        assert first.poll() is None, "the first command was to be still at work"
        first.send_signal(signal.SIGINT)
        said, _ = first.communicate(timeout=300)
        asked = server.stats()["model"]
    assert second.returncode == 1
    assert f"process {first.pid}, since" in second.stderr
    assert "Traceback" not in second.stderr
    assert asked <= ANSWERS
    assert first.returncode == 130, said[-3000:]
    assert "value-retention: interrupted. Answers and grades so far are in" in said
    assert "Traceback" not in said


def test_missing_grades_end_the_command_with_status_1_and_every_library_cleans_up(tmp_path: Path) -> None:
    code = (
        "import atexit, sys; from lm_eval.__main__ import cli_evaluate\n"
        "atexit.register(print, 'another library cleaned up'); sys.exit(cli_evaluate())"
    )
    with scripted_server("--down") as server:
        _, *arguments = command(server, tmp_path / "out")
        done = run(sys.executable, "-c", code, *arguments, **environment(server, tmp_path / "journals"))
    assert done.returncode == 1
    assert "another library cleaned up" in done.stdout
    assert "grades are missing" in done.stderr
    assert one(tmp_path / "out", "results_*.json").exists()
