"""`value-retention judge` and `plan`: which calls are made, what is written, what is refused. Judges are fakes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from helpers import ANIMA_2_2, MORU, RUN, journal_counts

from value_retention.adapters.judges import client as judges_module
from value_retention.adapters.judges.journal import Reply
from value_retention.adapters.settings import SCORING_ARGS
from value_retention.analysis.cli import cli
from value_retention.analysis.commands import judge as cmd_judge
from value_retention.analysis.planning.spending import Budget, Price, read_prices
from value_retention.analysis.runs.load import gaps, load_runs, read_records
from value_retention.tasks.answers import Answer, Design, make_record
from value_retention.tasks.benchmark import Benchmark
from value_retention.tasks.data import load
from value_retention.tasks.errors import InputError
from value_retention.tasks.record import AnswerRecord, JudgeInfo, canonical_json

JUDGE = "lab/judge"


class Judges:
    """Judges by name: each replies with a pass, unless `fails` says that the call fails."""

    def __init__(self) -> None:
        self.fails: Callable[[int], bool] = lambda number: False
        self.text = "GRADE: C"
        self.cut: Callable[[int], bool] = lambda number: False
        self.refuses: Callable[[int], bool] = lambda number: False
        self.asked = 0

    def make(self, names: list[str], args: dict[str, Any], single_loop: bool = False) -> list[Any]:
        settings = {key: args[key] for key in SCORING_ARGS if key in args}
        return [_Judge(self, JudgeInfo(name, settings)) for name in names]


class _Judge:
    connections = 1

    def __init__(self, judges: Judges, info: JudgeInfo) -> None:
        self.judges, self.info, self.settings = judges, info, canonical_json(info.settings)

    async def ask(self, prompt: str, about: object) -> Reply:
        self.judges.asked += 1
        if self.judges.fails(self.judges.asked):
            return Reply(None, "BadRequestError: 400")
        if self.judges.refuses(self.judges.asked):
            return Reply(None, "prompt too long for the judge: 4096 tokens", refused=True)
        reason = "max_tokens" if self.judges.cut(self.judges.asked) else "stop"
        return Reply(self.judges.text, input_tokens=100, output_tokens=10, stop_reason=reason)

    async def close(self) -> None:
        pass


@pytest.fixture
def judges(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Judges:
    made = Judges()
    monkeypatch.setattr(judges_module, "make_judges", made.make)
    monkeypatch.setenv("VALUE_RETENTION_JOURNAL_DIR", str(tmp_path / "journals"))
    return made


def unjudged(benchmark: Benchmark = ANIMA_2_2, model: str = "m") -> list[AnswerRecord]:
    dataset = load(benchmark, "sample", ["en"])
    answers = [Answer.of(item, 1, f"On {item.id}: it depends.") for item in dataset.items]
    return [
        make_record(Design.of(dataset), a, (), (), dataclasses.replace(RUN, model=model)) for a in answers
    ]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A run whose answers were saved to be judged later."""
    folder = tmp_path / "run"
    folder.mkdir()
    lines = [record.to_json() + "\n" for record in unjudged()]
    (folder / "answers.records.jsonl").write_text("".join(lines), "utf-8")
    return folder


def judge(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["judge", *map(str, arguments)])


def refused(done: Result) -> str:
    """The message of a user's mistake; `main` prints it and exits with 2."""
    if done.exit_code == 2:
        return done.stderr
    assert isinstance(done.exception, InputError), done.output
    return str(done.exception)


def written(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.glob("m-*.records.jsonl"))


def only(folder: Path) -> tuple[AnswerRecord, ...]:
    """The records of the one run in a folder."""
    (run,) = load_runs([folder])
    return run.records


# -- calls that failed ------------------------------------------------------------------------------------


@pytest.fixture
def failed(saved: Path, judges: Judges) -> Path:
    """The run judged while every third call failed, the way lm-eval leaves it: the records are written."""
    judges.fails = lambda number: number % 3 == 0
    done = judge(saved, "--judge", JUDGE, "--allow-missing")
    assert done.exit_code == 0, done.output
    judges.fails = lambda number: False
    judges.asked = 0
    return saved


def test_what_was_filled_stands_for_what_it_fills(failed: Path, judges: Judges) -> None:
    missing = gaps(only(failed))
    kept = {g.rationale for record in only(failed) for g in record.grades if g.rationale}
    judges.text = "GRADE: I"
    done = judge(failed, "--fill")
    assert (done.exit_code, judges.asked) == (0, missing), done.output
    records = only(failed)
    assert gaps(records) == 0
    assert {g.rationale for record in records for g in record.grades} == {*kept, "GRADE: I"}
    assert len(written(failed)) == 2


@pytest.mark.parametrize("place", ["beside", "elsewhere", "of a file"])
def test_a_second_fill_asks_nothing(failed: Path, judges: Judges, tmp_path: Path, place: str) -> None:
    run = failed / written(failed)[0] if place == "of a file" else failed
    options = ["--fill"] + (["-o", str(tmp_path / "out")] if place == "elsewhere" else [])
    assert judge(run, *options).exit_code == 0
    asked, files = judges.asked, sorted(tmp_path.rglob("*.records.jsonl"))
    again = judge(run, *options)
    assert (again.exit_code, judges.asked) == (0, asked), again.output
    assert "no missing grades" in again.output
    assert sorted(tmp_path.rglob("*.records.jsonl")) == files


def test_one_benchmark_of_two_is_filled_in_its_place(saved: Path, judges: Judges) -> None:
    """lm-eval writes both in one run: the filled one goes together with the one that had no gap."""
    judges.fails = lambda number: number == 1
    lines = [record.to_json() + "\n" for record in [*unjudged(), *unjudged(MORU)]]
    (saved / "answers.records.jsonl").write_text("".join(lines), "utf-8")
    assert judge(saved, "--judge", JUDGE, "--allow-missing").exit_code == 0
    files = [file for file in saved.iterdir() if file.name != "answers.records.jsonl"]
    both = "".join(file.read_text("utf-8") for file in sorted(files))
    for file in [*files, saved / "answers.records.jsonl"]:
        file.unlink()
    (saved / "both.records.jsonl").write_text(both, "utf-8")
    assert judge(saved, "--fill").exit_code == 0
    (run,) = load_runs([saved])
    assert sorted(run.benchmarks()) == ["anima_2_2", "moru"]
    assert gaps(run.records) == 0
    assert len(run.records) == both.count("\n")


def test_a_fill_keeps_an_unreadable_reply_whatever_the_retries(saved: Path, judges: Judges) -> None:
    judges.fails = lambda number: number == 1
    judges.text = "I cannot say."
    args = ("--judge-args", '{"parse_retries": 1}')
    assert judge(saved, "--judge", JUDGE, *args, "--allow-missing").exit_code == 1
    before = [grade for record in only(saved) for grade in record.grades]
    judges.asked, judges.text = 1, "GRADE: C"
    assert judge(saved, "--fill").exit_code == 0
    assert judges.asked == 1 + 1
    after = [grade for record in only(saved) for grade in record.grades]
    assert after[1:] == before[1:]
    assert {grade.attempts for grade in after[1:]} == {2}
    assert (before[0].outcome, after[0].outcome) == ("judge_error", "graded")


@pytest.mark.parametrize("options", [(), ("--allow-missing",)])
def test_a_run_without_a_readable_reply_is_written_and_said(
    saved: Path, judges: Judges, options: tuple[str, ...]
) -> None:
    judges.text = "I cannot say."
    for _ in range(2):  # again, from the journal
        done = judge(saved, "--judge", JUDGE, *options)
        assert done.exit_code == 1
        assert len(written(saved)) == 1
        assert 'One of them: "I cannot say.". Why it is not read: it has no `GRADE:`' in done.stderr
        assert {record.status for record in only(saved)} == {"unscored"}


def test_a_cut_reply_is_counted_apart_and_filled(saved: Path, judges: Judges) -> None:
    judges.cut = lambda number: number % 3 == 0
    done = judge(saved, "--judge", JUDGE)
    assert done.exit_code == 0, done.output
    missing = gaps(only(saved))
    assert missing == sum(record.grades_missing for record in only(saved)) == judges.asked // 3
    assert f"grades missing: {missing} cut, 0 unreadable, 0 failed" in done.stdout
    for part in (
        "the token limit cut the judge's reply",
        "cut after 10 tokens",
        "raise max_tokens in judge_args",
    ):
        assert part in done.stderr
    asked = judges.asked
    assert judge(saved, "--judge", JUDGE).exit_code == 0
    assert judges.asked == asked, "the journal knows that they were cut"
    # Each fill asks again, also after one that filled nothing and left the folder as it is.
    files = written(saved)
    judges.cut = lambda number: True
    for _ in range(2):
        judges.asked = 0
        done = judge(saved, "--fill")
        assert (done.exit_code, judges.asked, written(saved)) == (0, missing, files), done.output
        assert "no records written" in done.output
    judges.asked, judges.cut = 0, lambda number: False
    done = judge(saved, "--fill")
    assert (done.exit_code, judges.asked) == (0, missing), done.output
    records = only(saved)
    assert (gaps(records), sum(record.grades_missing for record in records)) == (0, 0)
    assert {grade.attempts for record in records for grade in record.grades} == {1, 4}
    assert "no missing grades" in judge(saved, "--fill").output


def test_a_call_that_is_refused_for_good_need_not_hold_up_the_rest(saved: Path, judges: Judges) -> None:
    judges.fails = lambda number: number == 1
    done = judge(saved, "--judge", JUDGE)
    assert done.exit_code == 1
    assert "1 grades are missing (BadRequestError: 400)" in done.stderr
    assert "--allow-missing" in done.stderr
    assert written(saved) == []
    judges.asked = 0
    done = judge(saved, "--judge", JUDGE, "--allow-missing")
    assert (done.exit_code, judges.asked) == (0, 1), done.output
    assert "judge_error" in done.stderr
    records = only(saved)
    assert (gaps(records), sum(record.grades_missing for record in records)) == (1, 1)
    # To fill it in vain leaves the folder as it is.
    files, judges.asked = written(saved), 0
    assert judge(saved, "--fill").exit_code == 1
    judges.asked = 0
    done = judge(saved, "--fill", "--allow-missing")
    assert (done.exit_code, written(saved)) == (0, files), done.output
    assert "no records written" in done.output
    assert only(saved) == records


def test_a_prompt_that_the_judge_refuses_is_a_gap_in_the_records(saved: Path, judges: Judges) -> None:
    judges.refuses = lambda number: number % 3 == 0
    done = judge(saved, "--judge", JUDGE)
    records = only(saved)
    missing = judges.asked // 3
    assert (done.exit_code, gaps(records)) == (1, missing), done.output
    assert f"grades missing: 0 cut, 0 unreadable, {missing} failed" in done.stdout
    for part in ("prompt too long for the judge: 4096 tokens", "--fill repeats those calls"):
        assert part in done.stderr
    gone = [grade for record in records for grade in record.grades if grade.grade is None]
    assert {(grade.outcome, grade.rationale) for grade in gone} == {("judge_error", None)}
    assert judge(saved, "--judge", JUDGE, "--allow-missing").exit_code == 0
    missing = gaps(only(saved))
    judges.asked, judges.refuses = 0, lambda number: False
    assert judge(saved, "--fill").exit_code == 0
    assert (judges.asked, gaps(only(saved))) == (missing, 0)


def test_a_judge_that_refuses_everything_leaves_no_records(saved: Path, judges: Judges) -> None:
    judges.refuses = lambda number: True
    done = judge(saved, "--judge", JUDGE)
    assert (done.exit_code, written(saved)) == (1, [])
    assert "--allow-missing" in done.stderr


def test_a_fill_keeps_judges_and_settings(failed: Path, judges: Judges, tmp_path: Path) -> None:
    for run in (failed, tmp_path / "nowhere"):
        assert "either --fill or --judge" in refused(judge(run, "--fill", "--judge", JUDGE))
    message = refused(judge(failed, "--fill", "--judge-args", '{"temperature": 0}'))
    assert "found: temperature 0" in message
    assert "expected: no temperature" in message
    assert judges.asked == 0
    assert judge(failed, "--fill").exit_code == 0
    # Refused with nothing to fill, too.
    assert "either --fill or --judge" in refused(judge(failed, "--fill", "--judge", JUDGE))


def test_a_fill_refuses_a_judge_or_a_prompt_that_has_changed(failed: Path, judges: Judges) -> None:
    (name,) = written(failed)
    records = list(read_records(failed / name))
    for change, message in (
        ({"rubric_hash": "0" * 64}, "judge prompt has changed"),
        ({"judges": (JudgeInfo(JUDGE, {"verbosity": "low"}),)}, "settings have changed"),
    ):
        changed = [dataclasses.replace(record, **change) for record in records]  # type: ignore[arg-type]
        (failed / name).write_text("".join(record.to_json() + "\n" for record in changed), "utf-8")
        assert message in refused(judge(failed, "--fill"))
    assert judges.asked == 0


# -- judges -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [["lab/a,lab/b"], ["lab/a", "lab/b"], ["lab/a, lab/b", "lab/c"]])
def test_several_judges_are_a_panel(saved: Path, judges: Judges, names: list[str]) -> None:
    done = judge(saved, *(part for name in names for part in ("--judge", name)))
    assert done.exit_code == 0, done.output
    found = {tuple(info.name for info in record.judges) for record in only(saved)}
    assert found == {tuple(part.strip() for name in names for part in name.split(","))}


@pytest.mark.parametrize(
    ("names", "variable", "expected"),
    [
        ([], None, ["no judge given", "where: --judge", "VALUE_RETENTION_JUDGE"]),
        (["none"], None, ["judge=none", "where: --judge"]),
        (["lab/a,none"], None, ["judge=none"]),
        (["lab/a", "lab/b,lab/a"], None, ["duplicate judge", "found: lab/a\n"]),
        ([], "lab/a,lab/a", ["duplicate judge", "where: environment variable VALUE_RETENTION_JUDGE"]),
        (["gpt-5"], None, ["unknown judge", "where: --judge", "found: gpt-5"]),
    ],
)
def test_invalid_judges_are_refused_with_the_choices(
    saved: Path,
    judges: Judges,
    monkeypatch: pytest.MonkeyPatch,
    names: list[str],
    variable: str | None,
    expected: list[str],
) -> None:
    if variable:
        monkeypatch.setenv("VALUE_RETENTION_JUDGE", variable)
    message = refused(judge(saved, *(part for name in names for part in ("--judge", name))))
    for text in (*expected, "PROVIDER/MODEL", "lexical"):
        assert text in message
    assert "metadata" not in message
    assert "save the answers" not in message


def test_the_judge_of_the_environment_judges(
    saved: Path, judges: Judges, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VALUE_RETENTION_JUDGE", JUDGE)
    monkeypatch.setenv("VALUE_RETENTION_JUDGE_ARGS", '{"seed": 7}')
    assert judge(saved).exit_code == 0
    assert [*only(saved)[0].judges] == [JudgeInfo(JUDGE, {"seed": 7})]
    monkeypatch.setenv("VALUE_RETENTION_JUDGE_ARGS", '{"sead": 7}')
    assert "environment variable VALUE_RETENTION_JUDGE_ARGS" in refused(judge(saved))
    message = refused(judge(saved, "--judge-args", '{"sead": 7}'))
    assert "where: --judge-args" in message


# -- the journal ------------------------------------------------------------------------------------------


def replies(tmp_path: Path) -> int:
    return journal_counts(tmp_path / "journals" / "journal.sqlite")["replies"]


def test_transport_settings_may_change_after_an_interruption(
    saved: Path, judges: Judges, tmp_path: Path
) -> None:
    judges.fails = lambda number: number == 2
    assert judge(saved, "--judge", JUDGE).exit_code == 1
    calls, judges.asked = judges.asked, 2
    args = json.dumps({"max_connections": 4, "max_retries": 9, "attempt_timeout": 300})
    assert judge(saved, "--judge", JUDGE, "--judge-args", args).exit_code == 0
    assert (judges.asked - 2, replies(tmp_path)) == (1, calls)


def test_killed_between_two_files_the_rest_is_written_and_nothing_asked(
    saved: Path, judges: Judges, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file that is there takes one benchmark out of the saved answers: the work is the same all the same."""
    lines = [record.to_json() + "\n" for record in [*unjudged(), *unjudged(MORU)]]
    (saved / "zz.records.jsonl").write_text("".join(lines), "utf-8")
    (saved / "answers.records.jsonl").unlink()
    write, calls = cmd_judge.write_records, 0

    def killed(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return write(*arguments)

    monkeypatch.setattr(cmd_judge, "write_records", killed)
    stopped = judge(saved, "--judge", JUDGE)
    assert stopped.exit_code == 130
    assert "run the same command again" in stopped.stderr
    (first,) = {*saved.iterdir()} - {saved / "zz.records.jsonl"}
    content, asked = first.read_bytes(), judges.asked
    assert judge(saved, "--judge", JUDGE).exit_code == 0
    assert judges.asked == asked
    assert first.read_bytes() == content
    assert len([*saved.iterdir()]) == 3
    assert {record.status for record in only(saved)} == {"scored"}


@pytest.mark.parametrize("args", ['{"temperature": 0.5}', '{"parse_retries": 1}'])
def test_replies_with_other_scoring_settings_are_not_used(saved: Path, judges: Judges, args: str) -> None:
    assert judge(saved, "--judge", JUDGE).exit_code == 0
    calls = judges.asked
    assert judge(saved, "--judge", JUDGE, "--judge-args", args).exit_code == 0
    assert judges.asked == 2 * calls


def test_a_command_that_is_repeated_asks_and_writes_nothing(saved: Path, judges: Judges) -> None:
    assert judge(saved, "--judge", JUDGE).exit_code == 0
    calls, files = judges.asked, written(saved)
    again = judge(saved, "--judge", JUDGE)
    assert (again.exit_code, judges.asked, written(saved)) == (0, calls, files)
    assert f"0 calls made, {calls} from the journal" in again.output
    assert "records were already in" in again.output


def test_one_more_run_on_the_command_line_costs_its_own_calls_only(
    saved: Path, judges: Judges, tmp_path: Path
) -> None:
    assert judge(saved, "--judge", JUDGE).exit_code == 0
    calls = judges.asked
    other = tmp_path / "other"
    other.mkdir()
    lines = [record.to_json() + "\n" for record in unjudged(MORU)]
    (other / "answers.records.jsonl").write_text("".join(lines), "utf-8")
    assert judge(saved, other, "--judge", JUDGE).exit_code == 0
    expected = sum(record.grades_expected for record in only(other))
    assert judges.asked == calls + expected


def test_a_repeat_asks_again_and_is_a_file_of_its_own(saved: Path, judges: Judges) -> None:
    assert judge(saved, "--judge", JUDGE).exit_code == 0
    calls = judges.asked
    for _ in range(2):
        assert judge(saved, "--judge", JUDGE, "--repeat", "2").exit_code == 0
        assert judges.asked == 2 * calls
    assert [("-repeat-2" in name) for name in written(saved)] == [True, False]


def test_one_run_that_fails_does_not_keep_another_from_being_written(saved: Path, judges: Judges) -> None:
    lines = [record.to_json() + "\n" for record in [*unjudged(), *unjudged(MORU)]]
    (saved / "answers.records.jsonl").write_text("".join(lines), "utf-8")
    judges.fails = lambda number: number == 2
    assert judge(saved, "--judge", JUDGE).exit_code == 1
    assert [name.split("-")[1] for name in written(saved)] == ["moru"]


@pytest.mark.parametrize(
    "name", ["m-anima_2_2-openai-gpt.records.jsonl", "m-anima_2_2-openai-gpt.records.jsonl.part"]
)
def test_a_link_that_somebody_planted_is_not_followed(
    saved: Path, judges: Judges, tmp_path: Path, name: str
) -> None:
    output, precious = tmp_path / "out", tmp_path / "precious"
    output.mkdir()
    precious.write_text("precious")
    judge(saved, "--judge", JUDGE, "-o", output)
    (made,) = output.iterdir()
    link = output / name.replace("m-anima_2_2-openai-gpt.records.jsonl", made.name)
    made.unlink()
    link.symlink_to(precious)
    assert judge(saved, "--judge", JUDGE, "-o", output).exit_code == 0
    assert precious.read_text() == "precious"
    assert len([*written(output)]) >= 1


def test_records_that_were_lost_are_exported_without_a_call(
    saved: Path, judges: Judges, tmp_path: Path
) -> None:
    assert judge(saved, "--judge", JUDGE).exit_code == 0
    (name,) = written(saved)
    content, calls = (saved / name).read_bytes(), judges.asked
    (saved / name).unlink()
    done = CliRunner().invoke(cli, ["journal", "export", "-o", str(tmp_path / "again")])
    assert (done.exit_code, judges.asked) == (0, calls), done.output
    (file,) = (tmp_path / "again").iterdir()
    assert file.read_bytes() == content


def test_the_journal_is_listed_and_pruned(saved: Path, judges: Judges, tmp_path: Path) -> None:
    def journal(*arguments: str) -> Result:
        return CliRunner().invoke(cli, ["journal", *arguments])

    assert "no journal" in refused(journal("list"))
    judges.fails = lambda number: number == 2
    assert judge(saved, "--judge", JUDGE).exit_code == 1
    (run,) = json.loads(journal("list", "--json").output)["runs"]
    assert (run["model"], run["task"], run["judges"], run["state"]) == (
        "m",
        "anima_2_2",
        JUDGE,
        "interrupted",
    )
    assert "no records of this run" in refused(journal("export"))
    assert journal("prune", "--older-than", "0", "--yes").exit_code == 0
    assert replies(tmp_path) > 0, "an interrupted run stays"
    assert judge(saved, "--judge", JUDGE).exit_code == 0
    table = journal("list").output
    assert run["run"] in table
    assert "finished" in table
    assert journal("prune", "--older-than", "1", "--yes").exit_code == 0
    assert replies(tmp_path) > 0, "a young run stays"
    assert journal("prune", "--older-than", "0").exit_code == 1, "nobody answered the question"
    assert journal("prune", "--older-than", "0", "--yes").exit_code == 0
    assert replies(tmp_path) == 0
    assert json.loads(journal("list", "--json").output)["runs"] == []


# -- money ------------------------------------------------------------------------------------------------

PRICE = ("--price-in", "1", "--price-out", "2")


@pytest.mark.parametrize("amount", ["nan", "inf", "-inf", "-1"])
@pytest.mark.parametrize("option", ["--budget", "--price-in", "--price-out"])
def test_amounts_are_finite_and_not_negative(saved: Path, judges: Judges, option: str, amount: str) -> None:
    given = {"--budget": "1", "--price-in": "1", "--price-out": "2", option: amount}
    done = judge(saved, "--judge", JUDGE, *(part for pair in given.items() for part in pair))
    assert done.exit_code == 2
    assert f"'{option}'" in refused(done)
    assert judges.asked == 0


@pytest.mark.parametrize("amount", [math.nan, math.inf, -1.0])
def test_a_budget_rejects_other_numbers(amount: float) -> None:
    with pytest.raises(InputError, match="budget out of range"):
        Budget(amount, {})
    with pytest.raises(ValueError, match="finite number"):
        Price(1.0, amount)
    budget = Budget(1.0, {"j": Price(1.0, 1.0)})
    assert budget.allows("j", "prompt")
    budget.spent = math.nan
    assert not budget.allows("j", "prompt")


@pytest.mark.parametrize("amount", [".nan", ".inf", "-1", "nan"])
def test_a_price_file_with_such_an_amount_is_refused(tmp_path: Path, amount: str) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text(f"date: 2026-11-01\nprices: {{lab/j: {{input: {amount}, output: 1}}}}\n")
    with pytest.raises(InputError, match=r"(?s)price file.*prices\.yaml.*finite number"):
        read_prices(file)


@pytest.mark.parametrize("option", ["--price-in", "--price-out"])
def test_one_price_without_the_other_is_refused(saved: Path, judges: Judges, option: str) -> None:
    for budget in ([], ["--budget", "1"]):
        message = refused(judge(saved, "--judge", JUDGE, option, "1", *budget))
        assert "need each other" in message
        assert f"found: {option} alone" in message
    assert "need each other" in refused(plan(option, "1"))
    assert judges.asked == 0


def test_a_budget_is_kept(saved: Path, judges: Judges) -> None:
    done = judge(saved, "--judge", JUDGE, "--budget", "0.003", *PRICE)
    assert done.exit_code == 1
    assert 0 < judges.asked < 25  # 120 millionths of a dollar each
    assert "within the budget" in done.stderr
    # Calls that were not made are no failed calls: they are never written as missing.
    assert judge(saved, "--judge", JUDGE, "--budget", "0.003", *PRICE, "--allow-missing").exit_code == 1
    assert written(saved) == []
    assert judge(saved, "--judge", JUDGE, "--budget", "5", *PRICE).exit_code == 0


# -- until the verdict is clear ---------------------------------------------------------------------------


@pytest.fixture
def two(tmp_path: Path, judges: Judges, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Runs ``a`` and ``b`` of five epochs; the judge passes an answer that says so."""
    monkeypatch.setattr(_Judge, "ask", _by_answer)
    dataset = load(ANIMA_2_2, "sample")
    folders = []
    for model in "ab":
        folders.append(tmp_path / model)
        folders[-1].mkdir()
        answers = [
            Answer.of(
                item, epoch, f"{model} on {item.id} {epoch}: {'good' if _good(model, k, epoch) else 'bad'}."
            )
            for k, item in enumerate(dataset.items)
            for epoch in range(1, 6)
        ]
        records = [
            make_record(Design.of(dataset), a, (), (), dataclasses.replace(RUN, model=model)) for a in answers
        ]
        lines = [record.to_json() + "\n" for record in records]
        (folders[-1] / "answers.records.jsonl").write_text("".join(lines), "utf-8")
    return folders[0], folders[1]


def _good(model: str, question: int, epoch: int) -> bool:
    return (question * 7 + epoch * 3) % 10 < (9 if model == "a" else 2)


async def _by_answer(self: _Judge, prompt: str, about: dict[str, Any]) -> Reply:
    self.judges.asked += 1
    return Reply("GRADE: C" if "good" in about["answer"] else "GRADE: I", input_tokens=100, output_tokens=10)


def test_judging_stops_when_a_large_loss_is_shown(
    two: tuple[Path, Path], judges: Judges, tmp_path: Path
) -> None:
    options = ("--judge", JUDGE, "--until-verdict", "5", "-o", tmp_path / "out")
    done = judge(*two, *options)
    assert done.exit_code == 0, done.output
    looks = [line for line in done.stdout.splitlines() if "of 5 epochs" in line]
    assert looks[-1].startswith("b less a, ")
    assert "shows a loss" in looks[-1]
    assert len(looks) < 5
    runs = load_runs([tmp_path / "out"])
    assert {r.run.model for run in runs for r in run.records} == {"a", "b"}
    assert {r.epoch for run in runs for r in run.records} == set(range(1, len(looks) + 1))
    asked = judges.asked
    assert asked == sum(r.grades_expected for run in runs for r in run.records)
    again = judge(*two, *options)
    assert (again.exit_code, judges.asked) == (0, asked), again.output


def test_a_comparison_of_runs_judged_until_a_verdict_says_so_first(
    two: tuple[Path, Path], judges: Judges, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = judge(*two, "--judge", JUDGE, "--until-verdict", "5", "-o", out)
    assert done.exit_code == 0, done.output
    looks = [line for line in done.stdout.splitlines() if "of 5 epochs" in line]
    files = sorted(out.glob("*.records.jsonl"))
    result = CliRunner().invoke(cli, ["compare", *map(str, files), "--json", str(tmp_path / "c.json")])
    assert result.exit_code == 0, result.output
    first = json.loads((tmp_path / "c.json").read_text("utf-8"))["headline"][0]
    assert f"JUDGED UNTIL A VERDICT, with {len(looks)} of 5 looks" in first
    assert looks[-1].removeprefix("b less a, ") in first
    (mark,) = out.glob("until-verdict-*.json")
    mark.write_text("{}")
    assert "until-verdict" in str(CliRunner().invoke(cli, ["compare", *map(str, files)]).exception)


def test_a_small_difference_is_judged_to_the_end(
    two: tuple[Path, Path], judges: Judges, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Judge, "ask", _by_hash)
    done = judge(*two, "--judge", JUDGE, "--until-verdict", "1", "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    looks = [line for line in done.stdout.splitlines() if "of 5 epochs" in line]
    assert len(looks) == 5
    assert all("nothing yet" in line for line in looks)


async def _by_hash(self: _Judge, prompt: str, about: dict[str, Any]) -> Reply:
    digest = hashlib.sha256(prompt.encode()).digest()[0]
    return Reply("GRADE: C" if digest < 128 else "GRADE: I")


def test_the_baseline_is_the_first_run_named(two: tuple[Path, Path], judges: Judges, tmp_path: Path) -> None:
    done = judge(two[1], two[0], "--judge", JUDGE, "--until-verdict", "5", "-o", tmp_path / "out")
    assert "a less b, " in done.stdout
    assert "shows no loss of 5 points" in done.stdout


def test_judging_until_a_verdict_stops_where_nothing_is_readable(
    two: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def unclear(self: object, prompt: str, about: dict[str, Any]) -> Reply:
        return Reply("I cannot say.")

    monkeypatch.setattr(_Judge, "ask", unclear)
    done = judge(*two, "--judge", JUDGE, "--until-verdict", "5", "-o", tmp_path / "out")
    assert done.exit_code == 1
    assert done.stderr.count("no judge reply has a readable grade") == 2
    assert len(list((tmp_path / "out").glob("*.records.jsonl"))) == 2


def test_judging_until_a_verdict_needs_two_runs_and_a_folder(
    two: tuple[Path, Path], judges: Judges, tmp_path: Path
) -> None:
    options = ("--until-verdict", "5", "-o", tmp_path / "out")
    assert "two runs" in refused(judge(two[0], "--judge", JUDGE, *options))
    assert "--fill" in refused(judge(*two, "--fill", *options))
    assert "-o" in refused(judge(*two, "--judge", JUDGE, "--until-verdict", "5"))
    assert judges.asked == 0


# -- the plan ---------------------------------------------------------------------------------------------


def plan(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["plan", "--data", "sample", *map(str, arguments)])


@pytest.mark.parametrize("amount", ["nan", "inf"])
@pytest.mark.parametrize("option", ["--price-in", "--price-out", "--reply-tokens"])
def test_a_plan_is_made_of_finite_numbers(option: str, amount: str) -> None:
    done = plan(*PRICE, option, amount)
    assert done.exit_code == 2
    assert f"'{option}'" in done.stderr


def test_a_plan_without_a_price_says_so(tmp_path: Path) -> None:
    done = plan("--judge", "lab/j")
    assert done.exit_code == 0, done.output
    (line,) = [line for line in done.stdout.splitlines() if "price unknown" in line]
    assert "lab/j" in line
    assert "--price-in" in line
    assert "US dollars" not in done.stdout
    done = plan("--json")
    assert any("price unknown" in note for note in json.loads(done.stdout)["notes"])


def test_a_plan_with_a_price_has_dollars(tmp_path: Path) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text("date: 2026-11-01\nprices: {lab/j: {input: 1, output: 2}}\n")
    for done in (plan(*PRICE), plan("--prices", file, "--judge", "lab/j")):
        assert done.exit_code == 0, done.output
        assert "US dollars" in done.stdout
        assert "price unknown" not in done.stdout
    assert "prices of lab/j as of 2026-11-01" in done.stdout
