"""No key in a file or on the terminal, and no control character from outside: text, records, whole runs."""

from __future__ import annotations

import dataclasses
import gzip
import logging
import re
import sqlite3
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import made_records
import pytest
import zipfile_zstd  # noqa: F401  lets zipfile read Inspect's logs
from click.testing import CliRunner
from helpers import (
    ANIMA_2_2,
    BIN,
    JUDGE,
    MODEL,
    anima_rows,
    lm_eval,
    metadata,
    run,
    scripted_server,
    write_anima,
)
from hypothesis import given
from hypothesis import strategies as st

from value_retention.analysis.cli import cli
from value_retention.tasks.data import load
from value_retention.tasks.errors import InputError
from value_retention.tasks.record import AnswerRecord, JudgeInfo
from value_retention.tasks.text import REDACTED, clean_logger, printable, redacted, without_keys

KEY = "vr-test-4f9c2e7ab81d"
HARM = "\x1b]0;owned\x07\x1b[31m\x9b31m\u202egnihton\u2066"
"""A window's title and a colour (OSC, CSI, C1), and text that runs backwards."""
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


# -- one text -------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", KEY)
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "sometimes")
    monkeypatch.setenv("SHORT_TOKEN", "EMPTY")


@pytest.mark.parametrize(
    "text",
    [
        f"401: invalid key {KEY}.",
        f"{{'Authorization': 'Bearer {KEY}'}}",
        "{'Authorization': 'Bearer of-another-key-9999'}",
        '{\\"authorization\\": \\"Basic of-another-key-9999\\"}',
        "sent Bearer of-another-key-9999",
        "x-api-key: of-another-key-9999",
        "sk-of-another-key-9999",
        "https://me:of-another-key-9999@host/v1",
        "https://host/v1?version=2&api_key=of-another-key-9999",
    ],
)
def test_secrets_are_redacted(text: str) -> None:
    assert REDACTED in redacted(text)
    assert KEY not in redacted(text)
    assert "of-another-key-9999" not in redacted(text)


@pytest.mark.parametrize(
    "text",
    ["it happens sometimes", "EMPTY", "authorization failed", "a bearer of news", "GRADE: C", "org/sk-model"],
)
def test_other_text_is_not_redacted(text: str) -> None:
    assert redacted(text) == without_keys(text) == text


def test_only_real_keys_are_taken_out_of_a_reply() -> None:
    """A reply is evidence: a judge may write `Authorization: ...` about an answer."""
    assert without_keys(f"Authorization: none. Key {KEY}. GRADE: C") == (
        f"Authorization: none. Key {REDACTED}. GRADE: C"
    )


@given(st.text(st.characters(categories=["Cc", "Cf", "Cs", "Lu", "Zl", "Zp"])))
def test_printable_text_has_no_control_character(text: str) -> None:
    shown = printable(text)
    assert not CONTROL.search(shown)
    assert printable(shown) == shown
    shown.encode("utf-8")


def test_printable_text_stays_as_it_is() -> None:
    for text in ("two\nlines\tand a tab", "قد يشعر", "पशु", "a\u200bb\ufeff"):
        assert printable(text) == text
    assert printable("\x1b[31m\r\u202e") == r"\x1b[31m\x0d\u202e"


def test_messages_of_errors_and_loggers_are_clean(caplog: pytest.LogCaptureFixture) -> None:
    shown = str(InputError("a problem", where=f"x{HARM}", found=f"Bearer {KEY}"))
    logger = clean_logger("value_retention.test")
    assert clean_logger("value_retention.test") is logger
    with caplog.at_level(logging.WARNING):
        logger.warning("judge said %s", f"{HARM}{KEY}")
    for text in (shown, caplog.messages[0]):
        assert not CONTROL.search(text)
        assert KEY not in text


def test_names_in_the_data_that_no_terminal_can_show_are_refused(tmp_path: Path) -> None:
    questions, dimensions = anima_rows()
    dimensions[2]["dimension"] = f"Other{HARM}"
    with pytest.raises(InputError, match="dimension"):
        load(ANIMA_2_2, str(write_anima(tmp_path, questions, dimensions)))


# -- records of others ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["table", "compare", "compare --full", "agreement"])
def test_names_in_records_reach_no_terminal_as_they_are(tmp_path: Path, command: str) -> None:
    judges = (JudgeInfo(f"lab/{HARM}judge"), JudgeInfo(f"lab/{HARM}other"))
    for name, passed in (("base", 1.0), ("tuned", 0.0)):
        records = [
            made_records.answer(str(n), 1, {f"Care{HARM}": passed, "Scope": 1.0}, judge=judges[0].name)
            for n in range(12)
        ]
        both = [_judged_by_both(record, judges) for record in records]
        (tmp_path / f"{name}.records.jsonl").write_text("".join(r.to_json() + "\n" for r in both), "utf-8")
    files = [str(tmp_path / f"{name}.records.jsonl") for name in ("base", "tuned")]
    files = files[:1] if command == "agreement" else files
    done = CliRunner().invoke(cli, [*command.split(), *files])
    assert done.exit_code == 0, done.output
    assert r"\x1b" in done.output
    assert not CONTROL.search(done.output)


def _judged_by_both(record: AnswerRecord, judges: Sequence[JudgeInfo]) -> AnswerRecord:
    grades = [dataclasses.replace(g, judge=judge.name) for g in record.grades for judge in judges]
    run_ = dataclasses.replace(record.run, model=f"lab/{HARM}model")
    return dataclasses.replace(
        record, judges=tuple(judges), grades=tuple(grades), grades_expected=len(grades), run=run_
    )


# -- whole runs -----------------------------------------------------------------------------------------------

ECHO = """
from aiohttp import web
plain = scripted_server.Server.chat
HARM = "\\x1b]0;owned\\x07\\x1b[31m\\x9b31m\\u202egnihton\\u2066"
calls = []
async def chat(self, request):
    body = await request.json()
    if body["model"] != "judge":
        return await plain(self, request)
    calls.append(1)
    said = f"{HARM} you sent {dict(request.headers)}"
    if len(calls) % 3 == 0:
        return web.json_response(scripted_server.completion(body, said + " GRADE: C"))
    if len(calls) % 3 == 1:
        return web.Response(status=401, text=said)
    return web.json_response({"error": {"message": said}}, status=400)
scripted_server.Server.chat = chat
"""
"""The judge answers with 401 in plain text, 400 in JSON, and 200, and each repeats the request's headers."""


def contents(root: Path) -> Iterator[tuple[str, bytes]]:
    """Every file below a folder, unpacked: logs of Inspect are zip files, its traces are compressed."""
    for file in root.rglob("*"):
        if not file.is_file():
            continue
        yield str(file), file.read_bytes()
        if file.suffix == ".eval":
            with zipfile.ZipFile(file) as log:
                yield from ((f"{file}/{name}", log.read(name)) for name in log.namelist())
        elif file.suffix == ".gz":
            yield f"{file} unpacked", gzip.decompress(file.read_bytes())
        elif file.suffix == ".sqlite":
            connection = sqlite3.connect(file)
            yield f"{file}: text", "\n".join(connection.iterdump()).encode("utf-8", "replace")
            connection.close()


@pytest.mark.slow
@pytest.mark.parametrize("harness", ["lm_eval", "judge", "inspect"])
def test_no_run_leaves_a_key_or_shows_what_a_server_said(tmp_path: Path, harness: str) -> None:
    out = tmp_path / "out"
    commands: dict[str, list[list[str | Path]]] = {}
    with scripted_server("--replies", "plain", patch=ECHO) as server:
        of_lm_eval = lm_eval(
            *server.lm_eval_model,
            "--tasks",
            "anima_2_2",
            "--limit",
            "3",
            "--log_samples",
            "--output_path",
            out,
        )
        judged = [*of_lm_eval, *metadata(judge=JUDGE, data="sample", epochs=1)]
        saved = [*of_lm_eval, *metadata(judge="none", data="sample", epochs=1)]
        judge = [BIN / "value-retention", "judge", out, "--judge", JUDGE, "-o", out, "--allow-missing"]
        inspect: list[str | Path] = [
            *(BIN / "inspect", "eval", "value_retention/anima_2_2", "--model", MODEL, "--model-role"),
            *(f"grader={JUDGE}", "-T", "data=sample", "--limit", "3", "--epochs", "1", "--log-dir", out),
            *("--display", "plain"),
        ]
        commands = {"lm_eval": [judged], "judge": [saved, judge], "inspect": [inspect]}
        environment = {
            **server.environment,
            "SCRIPTED_API_KEY": KEY,
            "OPENAI_API_KEY": KEY,
            "HOME": str(tmp_path / "home"),
            "XDG_DATA_HOME": str(tmp_path / "home" / "data"),
            "VALUE_RETENTION_JOURNAL_DIR": str(tmp_path / "journals"),
        }
        shown = ""
        for command in commands[harness]:
            done = run(*command, cwd=tmp_path, **environment)
            shown += done.stdout + done.stderr
    assert KEY not in shown
    assert not re.search("[\x1b\x07\x9b\u202e\u2066]", shown), shown[-3000:]
    files = dict(contents(tmp_path))
    for name, content in files.items():
        assert KEY.encode() not in content, name
        if Path(name).suffix in (".json", ".jsonl", ".log", ".csv", ".txt"):
            assert b"\x1b" not in content, name
    assert any("sqlite" in name for name in files) or harness == "inspect"
    assert any(REDACTED.encode() in content for content in files.values())
