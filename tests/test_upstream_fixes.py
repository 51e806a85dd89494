"""Faults of `anima` and `moru` in Inspect Evals 0.26, on replies that our tasks survive.

Each test runs the upstream task as it is installed and shows its failure, then ours on the same replies.
docs/upstream.md describes every fault, its cause and a fix. A failure here that says "mended" means that upstream no
longer has the fault: the section there goes, and so does the test.
"""

from __future__ import annotations

import math
import shutil
from collections import Counter
from collections.abc import Callable
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from helpers import ROOT, Row, anima_rows, moru_rows, write_anima, write_moru
from inspect_ai import eval as inspect_eval
from inspect_ai.log import EvalLog
from inspect_ai.model import Model, ModelOutput, ModelUsage, get_model

from value_retention.adapters.readers.inspect import read_log
from value_retention.tasks.errors import InputError
from value_retention.tasks.record import AnswerRecord

pytestmark = pytest.mark.slow

CARD = """---
configs:
- {config_name: questions, data_files: questions/*}
- {config_name: dimensions, data_files: dimensions/*}
---
"""
NUMBERS = count()
JUDGED = "[BEGIN DATA]"
"""Part of every judge prompt and of no question."""
NO_GRADE = "I cannot decide."


def mended(fault: str) -> str:
    return f"Inspect Evals {version('inspect_evals')} has mended this: {fault}. Update docs/upstream.md."


class Mock:
    """A mock model with the calls that it has got."""

    def __init__(self, reply: Callable[[str], str]) -> None:
        self.prompts: list[str] = []
        self.model: Model = get_model("mockllm/model", custom_outputs=self._output, memoize=False)
        self._reply = reply

    def _output(self, messages: list[Any], *_: Any) -> ModelOutput:
        self.prompts.append(messages[-1].text)
        output = ModelOutput.from_content("mockllm", self._reply(messages[-1].text))
        output.usage = ModelUsage()  # without one the mock fetches a tokenizer
        return output

    @property
    def judged(self) -> int:
        """Number of judge prompts among the calls."""
        return sum(JUDGED in prompt for prompt in self.prompts)


def grader(unreadable: Callable[[str], bool]) -> Mock:
    """A judge that grades everything C, but gives no grade where `unreadable` holds for its prompt."""
    return Mock(lambda prompt: NO_GRADE if unreadable(prompt) else "GRADE: C")


class Both:
    """Upstream's task and ours on the same rows."""

    def __init__(self, root: Path, benchmark: str, questions: list[Row], dimensions: list[Row]) -> None:
        self.benchmark, self.root = benchmark, root
        (write_anima if benchmark == "anima" else write_moru)(root, questions, dimensions)
        # `datasets` caches a folder by its last name: upstream gets one that no other test has.
        names = ["anima"] if benchmark == "anima" else ["moru-benchmark", "moru-benchmark-dimensions"]
        self.folders = [root / f"{name}-{next(NUMBERS)}" for name in names]
        for name, folder in zip(names, self.folders, strict=True):
            shutil.copytree(root / name, folder)
        if benchmark == "anima":
            (self.folders[0] / "README.md").write_text(CARD)

    def theirs(self, judge: Mock | None, model: Mock | None = None, epochs: int = 1) -> EvalLog:
        keys = ["dataset_repo_id", "dimensions_repo_id"]
        args = {key: str(folder) for key, folder in zip(keys, self.folders, strict=False)}
        return self._eval(f"inspect_evals/{self.benchmark}", args, judge, model, epochs)

    def ours(self, judge: Mock | None, model: Mock | None = None, epochs: int = 1) -> EvalLog:
        task = {"anima": "anima_2_2", "moru": "moru_multi"}[self.benchmark]
        # By its file: in a clone, the metadata beside the sources can hide the entry point from Inspect.
        file = ROOT / "adapters" / "inspect" / "tasks.py"
        return self._eval(f"{file}@{task}", {"data": str(self.root)}, judge, model, epochs)

    def _eval(
        self, task: str, args: dict[str, str], judge: Mock | None, model: Mock | None, epochs: int
    ) -> EvalLog:
        (log,) = inspect_eval(
            task,
            task_args=args,
            model=(model or Mock(lambda prompt: "An answer.")).model,
            model_roles={"grader": judge.model} if judge else None,
            epochs=epochs,
            max_samples=1,
            log_dir=str(self.root / "logs"),
            display="none",
            score_display=False,  # scores of an unfinished run: upstream would fail at a moment that depends on time
        )
        return log


def records(log: EvalLog) -> list[AnswerRecord]:
    assert log.status == "success", log.error
    return list(read_log(Path(log.location)))


def failure(log: EvalLog, fault: str) -> str:
    """The message with which an upstream run ended."""
    assert log.status == "error", mended(fault)
    assert log.results is None
    assert log.error is not None
    return log.error.traceback


@pytest.fixture
def anima(tmp_path: Path) -> Both:
    return Both(tmp_path, "anima", *anima_rows())


def test_anima_stops_at_a_dimension_without_a_readable_grade(anima: Both) -> None:
    def scope(prompt: str) -> bool:
        return "[Criterion]: Scope" in prompt

    said = failure(anima.theirs(grader(scope)), "a sample with an ungraded dimension is scored")
    assert "_generate_explanation" in said
    assert "KeyError: 'Scope'" in said

    first, second = records(anima.ours(grader(scope)))
    assert first.dimension_scores == {"Care": 1.0, "Scope": None}
    assert (first.overall, first.grades_missing) == (1.0, 1)
    assert (second.overall, second.grades_missing) == (1.0, 0)


def test_moru_loses_a_paid_run_to_one_reply_without_a_grade(tmp_path: Path) -> None:
    moru = Both(tmp_path, "moru", *moru_rows())

    def once() -> Callable[[str], bool]:
        """Unreadable in the first of two epochs, for one dimension of one question."""
        seen: Counter[str] = Counter()

        def unreadable(prompt: str) -> bool:
            seen[prompt] += 1
            return "[Task]: en 1?" in prompt and "[Criterion]: care" in prompt and seen[prompt] == 1

        return unreadable

    judge = grader(once())
    log = moru.theirs(judge, epochs=2)
    said = failure(log, "epochs whose graded dimensions differ are reduced")
    assert "Cannot reduce dictionary scores with mismatched keys" in said
    assert judge.judged == 2 * (2 + 1) * 2, "every judge call was made, and paid, before the run failed"
    assert len(log.samples or ()) == 8

    judge = grader(once())
    mine = records(moru.ours(judge, epochs=2))
    assert judge.judged == 12
    assert sum(record.grades_missing for record in mine) == 1
    assert [record.overall for record in mine] == [1.0] * 8


@pytest.mark.parametrize("benchmark", ["anima", "moru"])
def test_a_brace_in_a_dimensions_text_stops_the_run(tmp_path: Path, benchmark: str) -> None:
    questions, dimensions = anima_rows() if benchmark == "anima" else moru_rows()
    dimensions[0]["observable_indicators"] = 'weighs {benefit} against "{harm}"'
    both = Both(tmp_path, benchmark, questions, dimensions)
    judge = grader(lambda prompt: False)
    said = failure(both.theirs(judge), "braces in a dimension's text are text")
    assert "KeyError: 'benefit'" in said

    judge = grader(lambda prompt: False)
    assert {record.overall for record in records(both.ours(judge))} == {1.0}
    assert any('weighs {benefit} against "{harm}"' in prompt for prompt in judge.prompts)


@pytest.mark.parametrize("benchmark", ["anima", "moru"])
def test_without_a_grader_a_model_judges_itself(tmp_path: Path, benchmark: str) -> None:
    both = Both(tmp_path, benchmark, *(anima_rows() if benchmark == "anima" else moru_rows()))
    model = Mock(lambda prompt: "GRADE: C" if JUDGED in prompt else "An answer.")
    try:
        log = both.theirs(None, model)
    except Exception as error:
        pytest.fail(f"{mended('a run without a grader is refused')} It said: {error}")
    assert log.status == "success"
    assert model.judged > 0, mended("the evaluated model gets no judge prompt")
    assert not log.eval.model_roles, "nothing in the log names the judge"

    model = Mock(lambda prompt: "An answer.")
    with pytest.raises(InputError, match="no judge is configured"):
        both.ours(None, model)
    assert model.prompts == [], "nothing was asked"


@pytest.fixture
def unscored(anima: Both) -> tuple[EvalLog, EvalLog]:
    """Both runs where the judge never gives a grade."""
    return anima.theirs(grader(lambda prompt: True)), anima.ours(grader(lambda prompt: True))


def test_a_run_without_a_single_grade_has_no_score_of_zero(unscored: tuple[EvalLog, EvalLog]) -> None:
    """Mended in 0.26: before, the mean was 0.0."""
    theirs, mine = unscored
    assert theirs.status == "success", theirs.error
    assert theirs.results is not None
    means = [m.value for score in theirs.results.scores for m in score.metrics.values()]
    assert means
    assert all(math.isnan(mean) for mean in means)
    assert {record.overall for record in records(mine)} == {None}
