"""Judge prompts and grade parser are known by their hashes. Another hash fails here, and stops a run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers import ANIMA_2_2, MORU, real_rows

from value_retention.adapters.inspect.tasks import anima_2_2
from value_retention.tasks import upstream
from value_retention.tasks.benchmark import imported_prompts, packaged
from value_retention.tasks.data import load, load_for_run
from value_retention.tasks.errors import InputError

sys.path.insert(0, str(Path(__file__).parent / "golden"))
import update

HELD: dict[str, dict[str, str]] = json.loads(update.FILE.read_text("utf-8"))
WHAT_TO_DO = """
{changed} of {count} judge prompts of {name} have changed, for example
  {first}
Scores with them are NOT comparable with earlier scores. Find the package whose words changed (pip list). If the
change is unwanted, install a version in `TRIED` (tasks/upstream.py). Otherwise raise the version in the benchmark's
benchmark.yaml, name the change in CHANGELOG.md, update the hashes there and in `KNOWN` (tasks/upstream.py), and run
  python tests/golden/update.py
"""


def check(name: str) -> None:
    now, held = update.hashes(dict(update.sets())[name]), HELD[name]
    changed = sorted(key for key in now.keys() | held.keys() if now.get(key) != held.get(key))
    if changed:
        pytest.fail(
            WHAT_TO_DO.format(changed=len(changed), count=len(held), name=name, first=changed[0]),
            pytrace=False,
        )


@pytest.mark.parametrize("name", ["sample anima_2_2", "sample moru"])
def test_prompts_of_the_sample_rows_are_unchanged(name: str) -> None:
    check(name)


@real_rows
def test_prompts_of_the_real_rows_are_unchanged() -> None:
    check("anima_2_2")


def test_every_call_is_held() -> None:
    assert {name: len(held) for name, held in HELD.items()} == {
        "anima_2_2": 507,
        "sample anima_2_2": 114,
        "sample moru": 141,
    }


def test_a_changed_word_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    words = upstream.instructions()
    monkeypatch.setattr(upstream, "instructions", lambda: words.replace("reply", "answer"))
    with pytest.raises(pytest.fail.Exception, match="114 of 114"):
        check("sample anima_2_2")


def test_only_hashes_are_stored() -> None:
    for held in HELD.values():
        assert {len(value) for value in held.values()} == {64}
        assert max(map(len, held)) < 70


# -- known words ------------------------------------------------------------------------------------------


def change(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let one part be another than in the installed packages."""
    if part.startswith("inspect_evals"):
        template = upstream.imported
        monkeypatch.setattr(upstream, "imported", lambda name: template(name) + "!" * (name == part))
        return
    name, other = {
        "grading instructions": ("instructions", lambda: "Grade it."),
        "grade pattern": ("grade_pattern", lambda: upstream.re.compile("GRADE: (.)")),
        "grade words": ("grade_words", lambda: {"yes": "C"}),
        "data markers": ("neutralize", lambda text: text),
        "thinking blocks": ("take_thought", lambda text: (text, None)),
    }[part]
    monkeypatch.setattr(upstream, name, other)


def test_the_installed_words_are_known() -> None:
    assert upstream.changed(imported_prompts(*packaged().values())) == []
    assert upstream.parser_version() == upstream.KNOWN_PARSER


@pytest.mark.parametrize("part", [*upstream.KNOWN, *imported_prompts(ANIMA_2_2, MORU)])
def test_an_unknown_part_stops_the_benchmarks_that_use_it(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    change(part, monkeypatch)
    for benchmark in (ANIMA_2_2, MORU):
        if part.startswith("inspect_evals") and part not in imported_prompts(benchmark):
            load_for_run(benchmark, "sample")
            continue
        with pytest.raises(InputError, match=part) as caught:
            load_for_run(benchmark, "sample")
        assert "inspect_ai==" in str(caught.value)
    load(ANIMA_2_2, "sample")  # reading results needs no judge


def test_an_unknown_part_is_accepted_by_its_hash_only(monkeypatch: pytest.MonkeyPatch) -> None:
    change("grading instructions", monkeypatch)
    with pytest.raises(InputError) as caught:
        load_for_run(ANIMA_2_2, "sample")
    joint = str(caught.value).partition(f"{upstream.ACCEPT}=")[2].split()[0]
    monkeypatch.setenv(upstream.ACCEPT, joint)
    load_for_run(ANIMA_2_2, "sample")
    load_for_run(MORU, "sample")
    change("grade words", monkeypatch)
    with pytest.raises(InputError, match=upstream.ACCEPT):
        load_for_run(ANIMA_2_2, "sample")


def test_a_name_that_is_gone_cannot_be_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone() -> Any:
        raise AttributeError("_GRADE_WORD_VALUES")

    monkeypatch.setattr(upstream, "grade_words", gone)
    with pytest.raises(InputError, match="missing: grade words") as caught:
        load_for_run(ANIMA_2_2, "sample")
    assert upstream.ACCEPT not in str(caught.value)


def test_another_reading_has_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {upstream.KNOWN_PARSER}
    for part in upstream.READING:
        with monkeypatch.context() as patch:
            change(part, patch)
            names.add(upstream.parser_version.__wrapped__())
    assert len(names) == 1 + len(upstream.READING)


def test_a_task_stops_before_any_model_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    change("grade pattern", monkeypatch)
    with pytest.raises(InputError, match="grade pattern"):
        anima_2_2(data="sample", judge="lexical")
