"""The tasks written into lm-evaluation-harness: what is written where, the same figures, and that project's own checks.

The export goes into a copy of the installed lm-eval. That project's tests need a clone of it, which
``VALUE_RETENTION_LM_EVAL_CHECKOUT`` names.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
from helpers import (
    BIN,
    JUDGE,
    PYTHON,
    ROOT,
    figures,
    lm_eval,
    metadata,
    results,
    run,
    scripted_server,
    start,
    write_rows,
)

from value_retention.adapters.readers.own import read_samples
from value_retention.analysis.exchange.upstream.export import TABLE, export, exported, main
from value_retention.tasks.benchmark import Table, imported_prompts
from value_retention.tasks.data import SAMPLE
from value_retention.tasks.errors import InputError
from value_retention.tasks.record import AnswerRecord
from value_retention.tasks.scores import benchmark_scores, questions_of
from value_retention.tasks.tables import folder_rows

CHECKOUT = os.environ.get("VALUE_RETENTION_LM_EVAL_CHECKOUT")
NO_CHECKOUT = "needs a clone of lm-evaluation-harness: VALUE_RETENTION_LM_EVAL_CHECKOUT=DIR"
TASKS = ["anima_2_2", "moru_en", "moru_hi", "moru_ms", "moru_multi"]
OTHER_TASKS = {"arc", "fda", "swde", "squad_completion"}
"""Those that lm-eval's tests/test_tasks.py names. The others would only take time to copy and to index."""


def copy_of(source: Path, target: Path) -> Path:
    """The package and the tests of an lm-eval, without most of its tasks."""

    def left_out(folder: str, names: list[str]) -> set[str]:
        if Path(folder).name != "tasks":
            return {"__pycache__"}
        return {name for name in names if Path(folder, name).is_dir()} - OTHER_TASKS

    for part in ("lm_eval", "tests"):
        if (source / part).is_dir():
            shutil.copytree(source / part, target / part, ignore=left_out)
    return target


@pytest.fixture(scope="module")
def package() -> Path:
    """Folder that holds the installed `lm_eval`."""
    spec = find_spec("lm_eval")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parents[1]


@pytest.fixture
def checkout(package: Path, tmp_path: Path) -> Path:
    """What the export needs of a clone."""
    for name in (TABLE, "lm_eval/api/task.py"):
        (tmp_path / name).parent.mkdir(parents=True)
        shutil.copy(package / name, tmp_path / name)
    (tmp_path / "pyproject.toml").write_text('[project.optional-dependencies]\nhf = ["torch"]\n', "utf-8")
    return tmp_path


# -- writing ----------------------------------------------------------------------------------------------


def test_an_export_adds_tasks_and_a_row_each_and_a_second_one_changes_nothing(checkout: Path) -> None:
    before = (checkout / TABLE).read_text("utf-8").splitlines()
    first = export(checkout)
    texts = {file.path: (checkout / file.path).read_text("utf-8") for file in first}
    added = [line for line in texts[Path(TABLE)].splitlines() if line not in before]
    assert [line.split("]")[0] for line in added] == ["| [anima_2_2", "| [moru_multi"]
    assert len({line.count("|") for line in added}) == 1
    neighbours = [line.split("]")[0] for line in texts[Path(TABLE)].splitlines() if line.startswith("| [")]
    assert neighbours[neighbours.index("| [moru_multi") - 1] == "| [moral_stories"
    assert [line for line in texts[Path(TABLE)].splitlines() if line not in added] == before
    assert "inspect_evals" in texts[Path("pyproject.toml")]
    assert not any("value_retention" in text or "$" in text for name, text in texts.items() if name.suffix)
    second = export(checkout)
    assert {file.path: (checkout / file.path).read_text("utf-8") for file in second} == texts


def test_the_values_are_those_of_the_benchmarks(checkout: Path) -> None:
    export(checkout)
    for benchmark in exported():
        folder = checkout / "lm_eval/tasks" / benchmark.task_name
        texts = "".join(file.read_text("utf-8") for file in folder.iterdir())
        prompts = [source.partition(":")[0] for source in imported_prompts(benchmark)]
        for value in (*benchmark.pinned.split("+"), benchmark.version, *prompts):
            assert value in texts
        assert f"k: {benchmark.epochs}" in texts


def test_a_task_that_is_there_already_is_not_overwritten_without_force(checkout: Path) -> None:
    export(checkout)
    file = checkout / "lm_eval/tasks/anima_2_2/utils.py"
    file.write_text("mine", "utf-8")
    kept = file.with_name("kept.txt")
    with pytest.raises(InputError, match="already"):
        export(checkout)
    assert file.read_text("utf-8") == "mine"
    kept.write_text("kept", "utf-8")
    export(checkout, force=True)
    assert file.read_text("utf-8") != "mine"
    assert kept.read_text("utf-8") == "kept"


@pytest.mark.parametrize("missing", [TABLE, "lm_eval/api/task.py", "pyproject.toml"])
def test_another_folder_is_refused(checkout: Path, missing: str) -> None:
    (checkout / missing).unlink()
    with pytest.raises(InputError, match="not a checkout"):
        export(checkout)
    assert not (checkout / "lm_eval/tasks/anima_2_2").exists()


def test_the_command_prints_the_lines_that_it_wrote_or_one_message(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([str(checkout)])
    *lines, last = capsys.readouterr().out.splitlines()
    written = {Path(name): int(count) for count, name in map(str.split, lines)}
    assert written[Path("lm_eval/tasks/anima_2_2/utils.py")] > 100
    assert (written[Path(TABLE)], written[Path("pyproject.toml")]) == (2, 1)
    assert last.split() == [str(sum(written.values())), "lines", "in", "all"]
    file = checkout / "lm_eval/tasks/anima_2_2/utils.py"
    file.write_text("mine", "utf-8")
    with pytest.raises(SystemExit) as stopped:
        main([str(checkout)])
    assert stopped.value.code == 2
    said = capsys.readouterr()
    assert said.err.startswith("value-retention: the checkout already has this task")
    assert said.out == ""
    main([str(checkout), "--force"])
    assert file.read_text("utf-8") != "mine"


def test_make_names_the_command_and_asks_for_the_clone() -> None:
    clean = dict.fromkeys(("MAKEFLAGS", "MFLAGS", "CHECKOUT", "FORCE"))
    done = run(
        "make",
        "-n",
        "--no-print-directory",
        "export-upstream",
        "CHECKOUT=a clone",
        "FORCE=--force",
        cwd=ROOT,
        **clean,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(
        r' -m value_retention\.analysis\.exchange\.upstream\.export \\\s+"a clone" --force$', done.stdout
    )
    done = run("make", "-n", "--no-print-directory", "export-upstream", cwd=ROOT, **clean)
    assert done.returncode == 2
    assert "name a clone of lm-evaluation-harness: make export-upstream CHECKOUT=PATH" in done.stderr
    assert done.stdout == ""


# -- the same figures -------------------------------------------------------------------------------------

SERVER = r"""
import collections, re
from aiohttp import web
answer, reply, chat = scripted_server.model_answer, scripted_server.judge_reply, scripted_server.Server.chat
seen = collections.Counter()
def model_answer(question):
    # Another answer in each epoch.
    seen[question] += 1
    return answer(f"{question} {seen[question]}")
def judge_reply(prompt, kind):
    # One dimension never has a readable grade, and some other replies have none.
    blind = "[Criterion]: Epistemic Humility" in prompt
    # The token limit cuts some replies.
    kind = "cut" if scripted_server.number(prompt, "cut") % 3 == 0 else "unreadable"
    return "GRADE: CI" if blind else reply(prompt, kind)
async def chat_with_errors(self, request):
    text = scripted_server.last_text(await request.json())
    # Some answers have no grade at all, and some calls fail.
    submitted = "".join(re.findall(r"\[Submission\]: (.*?)\*\*\*", text, re.S))
    fails = scripted_server.number(submitted) % 17 == 0 or scripted_server.number(text, "fails") % 11 == 0
    if scripted_server.is_judge_prompt(text) and fails:
        return web.json_response({"error": {"message": "no"}}, status=400)
    return await chat(self, request)
scripted_server.model_answer, scripted_server.judge_reply = model_answer, judge_reply
scripted_server.Server.chat = chat_with_errors
"""

CARD = """---
configs:
- config_name: questions
  data_files: questions/train.jsonl
- config_name: dimensions
  data_files: dimensions/train.jsonl
---
"""


def rows_as_on_the_hub(folder: Path) -> Path:
    """The sample rows below the hub's names: in this working directory, `datasets` takes them for the hub's."""
    root = folder / "CompassioninMachineLearning"
    for benchmark in exported():
        for table in (benchmark.questions, benchmark.dimensions):
            assert isinstance(table, Table)
            write_rows(root / table.folder, [row for _, row in folder_rows(table, SAMPLE)])
    (root / "anima" / "README.md").write_text(CARD, "utf-8")
    return root


def environment_of(place: Path, url: str, rows: Path) -> dict[str, str | None]:
    """Environment of the exported tasks: that lm-eval, their judge, and none of our tasks."""
    return {
        "PYTHONPATH": str(place),
        "VALUE_RETENTION_NO_DISCOVERY": "1",
        "HF_DATASETS_CACHE": str(rows.with_name("datasets")),
        "JUDGE_MODEL": "scripted",
        "JUDGE_BASE_URL": url,
        "JUDGE_API_KEY": "x",
        "OPENAI_API_KEY": "x",
    }


@dataclass(frozen=True)
class Runs:
    """One run of our tasks, two of the exported ones."""

    ours: Path
    theirs: Path

    def records(self, benchmark: str, language: str | None = None) -> list[AnswerRecord]:
        found = [r for file in sorted(self.ours.rglob("samples_*.jsonl")) for r in read_samples(file)]
        return [r for r in found if r.benchmark == benchmark and language in (None, r.language)]

    def exported(self, task: str) -> dict[str, float | None]:
        """Figures of an exported task; null for what could not be scored."""
        (file,) = [
            f for f in self.theirs.rglob("results_*.json") if task in json.loads(f.read_text())["results"]
        ]
        found = json.loads(file.read_text("utf-8"))["results"][task]
        return {
            name.removesuffix(",none"): value
            for name, value in found.items()
            if name.endswith(",none") and "_stderr" not in name
        }


@pytest.fixture(scope="module", params=["installed", "checkout"])
def runs(
    request: pytest.FixtureRequest, package: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Runs]:
    if request.param == "checkout" and not CHECKOUT:
        pytest.skip(NO_CHECKOUT)
    out = tmp_path_factory.mktemp("runs")
    place = clone(package if request.param == "installed" else Path(str(CHECKOUT)), out / "clone")
    rows = place / "CompassioninMachineLearning"
    with ExitStack() as stack:
        servers = [stack.enter_context(scripted_server(patch=SERVER)) for _ in range(3)]
        started = [
            start(
                *lm_eval(
                    *server.lm_eval_model, "--log_samples", "--tasks", tasks, "--output_path", out / folder
                ),
                *(metadata(judge=JUDGE, data=str(rows), epochs=5) if folder == "ours" else []),
                cwd=place,
                **(server.environment if folder == "ours" else environment_of(place, server.url, rows)),
            )
            for server, folder, tasks in zip(
                servers,
                ("ours", "theirs", "theirs"),
                ("anima_2_2,moru_multi", "anima_2_2,moru_multi", "moru"),
                strict=True,
            )
        ]
        said = [process.communicate(timeout=900)[0] for process in started]
    assert [process.returncode for process in started] == [1, 0, 0], "\n".join(said)[-6000:]
    assert "grades are missing" in said[0]  # why our command ends with 1
    yield Runs(out / "ours", out / "theirs")
    shutil.rmtree(out, ignore_errors=True)


def known(scores: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in scores.items() if value is not None}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "benchmark", "language"),
    [
        ("anima_2_2", "anima_2_2", None),
        ("moru_multi", "moru", None),
        ("moru_en", "moru", "en"),
        ("moru_ms", "moru", "ms"),
        ("moru_hi", "moru", "hi"),
    ],
)
def test_every_figure_is_ours(runs: Runs, task: str, benchmark: str, language: str | None) -> None:
    answers = runs.records(benchmark, language)
    ours = benchmark_scores(questions_of(answers), weighted=benchmark == "anima_2_2")
    exported = runs.exported(task)
    if language is not None:  # one language has no means by language
        ours = {
            name: value for name, value in ours.items() if name not in ("english_mean", "non_english_mean")
        }
    assert known(exported) == pytest.approx(known(ours), abs=1e-9)
    assert set(ours) <= set(exported)
    assert len({answer.answer for answer in answers}) > len({answer.item for answer in answers})
    if benchmark == "anima_2_2":
        shown = figures(results(runs.ours), task)
        assert {name: shown[name] for name in known(exported)} == pytest.approx(known(exported), abs=1e-9)


@pytest.mark.slow
def test_the_runs_hold_every_way_in_which_a_grade_can_be_missing(runs: Runs) -> None:
    answers = runs.records("anima_2_2") + runs.records("moru")
    assert {grade.outcome for answer in answers for grade in answer.grades} == {
        "graded",
        "unparsed",
        "cut",
        "judge_error",
    }
    assert {answer.status for answer in answers} == {"scored", "unscored"}
    exported = runs.exported("anima_2_2")
    assert exported["Epistemic Humility"] is None
    assert 0 < (exported["unscored"] or 0) < 1
    assert 0 < (exported["missing_grades"] or 0) < 1


@pytest.mark.slow
def test_every_grade_is_in_the_samples_as_ours(runs: Runs) -> None:
    (file,) = runs.theirs.rglob("samples_anima_2_2_*.jsonl")
    samples = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    theirs = Counter(
        (grade["reply"], grade["grade"]) for sample in samples for grade in sample["doc"]["judge"]
    )
    ours = Counter((grade.rationale, grade.grade) for r in runs.records("anima_2_2") for grade in r.grades)
    assert theirs == ours


# -- building, and that project's own checks --------------------------------------------------------------

BUILD = """
import json, os
from lm_eval.tasks import TaskManager
manager = TaskManager()
tasks = manager.load(TASKS + ["moru"])["tasks"]
print("built", json.dumps(sorted(tasks)))
doc = next(iter(tasks["anima_2_2"].test_docs()))
print("scored", json.dumps(tasks["anima_2_2"].process_results(doc, [["an answer"] * 5])))
os.environ["JUDGE_MODEL"] = "some-judge"
try:
    manager.load("anima_2_2")
except ModuleNotFoundError as error:
    print("refused", json.dumps(str(error)))
"""


def clone(source: Path, target: Path) -> Path:
    """A copy of an lm-eval with the exported tasks, and with rows for them."""
    place = copy_of(source, target)
    project = source / "pyproject.toml"
    text = project.read_text("utf-8") if project.is_file() else "[project.optional-dependencies]\n"
    (place / "pyproject.toml").write_text(text, "utf-8")
    export(place)
    rows_as_on_the_hub(place)
    return place


@pytest.mark.slow
def test_tasks_build_together_without_a_judge_or_its_packages(package: Path, tmp_path: Path) -> None:
    place = clone(package, tmp_path / "clone")
    (place / "inspect_ai.py").write_text("raise ModuleNotFoundError('inspect_ai')", "utf-8")
    changes = environment_of(place, "http://127.0.0.1:9/v1", place) | {"JUDGE_MODEL": None}
    done = run(PYTHON, "-c", BUILD.replace("TASKS", repr(TASKS)), cwd=place, **changes)
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines() if line.split(" ")[0] in SAID)
    assert said.keys() == SAID, done.stderr[-3000:]
    assert json.loads(said["built"]) == TASKS
    assert "JUDGE_MODEL is not set" in done.stderr
    assert "rows [30]" in done.stderr  # the sample's row with an empty tag
    scored = json.loads(said["scored"])
    assert (scored["overall_mean"], scored["unscored"]) == (None, 1.0)
    assert scored["missing_grades"][0] == scored["missing_grades"][1] > 0
    assert "pip install lm-eval[inspect_evals]" in said["refused"]


SAID = {"built", "scored", "refused"}


@pytest.fixture(scope="module")
def checkout_clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not CHECKOUT:
        pytest.skip(NO_CHECKOUT)
    return clone(Path(CHECKOUT), tmp_path_factory.mktemp("checkout") / "clone")


@pytest.mark.slow
def test_their_tests_of_changed_tasks_pass(checkout_clone: Path) -> None:
    place = checkout_clone
    changed = [
        str(file.relative_to(place))
        for benchmark in exported()
        for file in sorted((place / "lm_eval" / "tasks" / benchmark.task_name).glob("*.yaml"))
    ]
    listed = place / ".github" / "outputs" / "tasks_all_changed_and_modified_files.txt"
    listed.parent.mkdir(parents=True)
    listed.write_text(" ".join(changed), "utf-8")
    changes = environment_of(place, "http://127.0.0.1:9/v1", place) | {"JUDGE_MODEL": None}
    # The class of tests for changed tasks. The file's other tests load three tasks from the hub.
    only = "tests/test_tasks.py::TestNewTasksElseDefault"
    done = run(PYTHON, "-m", "pytest", "-v", "-p", "no:cacheprovider", only, cwd=place, **changes)
    assert done.returncode == 0, done.stdout[-4000:]
    for task in TASKS:
        assert f"test_build_all_requests[{task}] PASSED" in done.stdout


@pytest.mark.slow
def test_their_linter_and_formatter_pass(checkout_clone: Path) -> None:
    files = sorted(checkout_clone.glob("lm_eval/tasks/*/utils.py"))
    ours = [file for file in files if file.parent.name in ("anima_2_2", "moru_multi")]
    for command in (["check"], ["format", "--check"]):
        done = run(BIN / "ruff", *command, *ours, cwd=checkout_clone)
        assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_their_validation_passes(checkout_clone: Path) -> None:
    changes = environment_of(checkout_clone, "http://127.0.0.1:9/v1", checkout_clone) | {"JUDGE_MODEL": None}
    done = run(*lm_eval("validate", "--tasks", ",".join([*TASKS, "moru"])), cwd=checkout_clone, **changes)
    assert "All tasks found and valid" in done.stdout, done.stderr[-3000:]
