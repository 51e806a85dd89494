"""Private and patched names of other packages: why each is used, and the versions it was tried in.

Private names are used only here and in `tasks/upstream.py`, where hashes of the judge's words are checked before a
run starts. Patches are where their code is. A test checks that this list is complete.

inspect_ai 0.3.278, 0.3.281 and 0.3.285:

- ``scorer._model`` (`tasks/upstream.py`): ``default_instructions``, ``neutralize_structural_delimiters``,
  ``_PERMISSIVE_GRADE_PATTERN``, ``_GRADE_SPACING``, ``_GRADE_WORD_VALUES``. The benchmarks use the words and the
  parser of ``model_graded_qa``, which have no public name.
- ``model._reasoning`` (`tasks/upstream.py`): ``parse_content_with_reasoning``. lm-eval returns text with thinking
  tags. Inspect's providers split it with this function.
- ``model._model``: ``active_model``. Inside an eval a task needs a judge when it is made. Outside, the judge may
  come later. ``get_model()`` does not tell the two apart: outside an eval it makes a model.
- ``model._generate_config``: ``active_generate_config``. A record names the sampling settings. Those of the eval
  have no public name.
- ``log._transcript``: ``init_transcript``. Keeps judge calls out of a sample's transcript. Only ``transcript()``,
  which reads it, is public.

lm_eval 0.4.13:

- ``api.model.CacheHook.add_partial`` (patched in `adapters/lm_eval/answers.py`). lm-eval passes answers on only when
  all of them are complete. Its models report each answer to this hook, so a killed run loses none.
- ``tasks.manager.TaskManager.__init__`` (patched in `adapters/lm_eval/discovery.py`). lm-eval has no entry point for
  tasks; where it gets one (``discover_plugin_task_paths``), nothing is patched.
- ``config.evaluate_config.EvaluatorConfig.process_tasks`` (patched there). lm-eval makes its tasks after it has loaded
  the model: a wrong judge or folder would cost that time.
- ``evaluator_utils.stderr_for_metric`` and ``api.metrics.pooled_sample_stderr`` (replaced in
  `adapters/lm_eval/errors.py`). lm-eval has no place for the standard error of a metric's own.
- ``_cli.harness.HarnessCLI.execute`` (patched in `adapters/lm_eval/discovery.py`). A task cannot set the command's
  exit status.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inspect_ai.model import GenerateConfig


def in_inspect_eval() -> bool:
    """Whether Inspect is running an eval, or making its tasks."""
    from inspect_ai.model._model import active_model

    return active_model() is not None


def inspect_sampling() -> GenerateConfig:
    """Settings of the evaluated model, inside an eval or while its log is scored.

    The eval's settings override the model's, as in ``Model.generate``. While a log is scored, the model has both.
    """
    from inspect_ai.model import get_model
    from inspect_ai.model._generate_config import active_generate_config

    return get_model().config.merge(active_generate_config())


def leave_inspect_transcript() -> None:
    """Send the model calls of the current task to a transcript that is not logged."""
    from inspect_ai.log import Transcript
    from inspect_ai.log._transcript import init_transcript

    init_transcript(Transcript())
