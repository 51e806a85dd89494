"""What this project uses of other packages beyond their interface: where, why, and the versions it was tried in.

Private modules, names and attributes; objects of another package whose attributes are set or changed in place; frames.
Each line is one file. A test finds every use in the source, and fails if one is missing here or no longer there.

inspect_ai 0.3.278, 0.3.281 and 0.3.285:

- `tasks/upstream.py` ``inspect_ai.scorer._model``, ``default_instructions``, ``neutralize_structural_delimiters``,
  ``_PERMISSIVE_GRADE_PATTERN``, ``_GRADE_SPACING``, ``_GRADE_WORD_VALUES``: the benchmarks use the words and the parser
  of `model_graded_qa`, which have no public name. Their hashes are checked before a run starts.
- `tasks/upstream.py` ``inspect_ai.model._reasoning``, ``parse_content_with_reasoning``: lm-eval returns text with
  thinking tags. Inspect's providers split it with this function.
- `adapters/private.py` ``inspect_ai.model._model.active_model``: inside an eval a task needs a judge when it is made.
  Outside, the judge may come later. `get_model()` does not tell the two apart: outside an eval it makes a model.
- `adapters/private.py` ``inspect_ai.model._generate_config.active_generate_config``: a record names the sampling
  settings. Those of the eval have no public name.
- `adapters/private.py` ``inspect_ai.log._transcript.init_transcript``: keeps judge calls out of a sample's transcript.
  Only `transcript()`, which reads it, is public.
- `adapters/judges/client.py` ``model.api``, ``api.generate``, ``api.should_retry``, ``api.max_tokens``,
  ``api.max_tokens_for_config``, ``api.aclose``: providers implement them for `Model` to call. Outside an eval a judge
  calls them itself, in a fifth of the time, with retries that are counted and obey Retry-After.
- `adapters/judges/client.py` ``api.judge_info``: ours, on an API of ours that is not an LLM.
- `adapters/judges/client.py` ``config.attempt_timeout``, ``config.max_connections``, ``config.max_tokens``: set in a
  `GenerateConfig` that the judge made.
- `adapters/judges/client.py` ``output.metadata``: public; the server's fingerprint, where Groq's provider puts it.
- `adapters/inspect/tasks.py` ``m.api``: as in `adapters/judges/client.py`.
- `adapters/inspect/tasks.py` ``state.messages``, ``state.messages[-1].content``: a solver may change its state; further
  turns are added, and reasoning is taken out of the model's own messages.
- `adapters/readers/own.py` ``score.answer``, ``score.explanation``, ``score.metadata``: what the scorer gave, before
  somebody edited it, in a log that is not written back.
- `adapters/readers/inspect.py` ``log.results.scores``, ``log.samples``, ``sample.scores``: one score of several, and
  the samples that count, are kept in the log that was read, which is not written back.

lm_eval 0.4.13:

- `adapters/lm_eval/answers.py` ``CacheHook.add_partial``: replaced. lm-eval passes answers on only when all of them are
  complete. Its models report each answer to this hook, so a killed run loses none.
- `adapters/lm_eval/answers.py` ``instance.repeats``, ``instance.resps``: a request asks only for the answers that the
  journal lacks, and has all of them afterwards.
- `adapters/lm_eval/answers.py` ``lm_eval.models.api_models.LMEVAL_MODEL_NONE_ANSWER_PLACEHOLDER``: what stands for the
  answer of a failed request.
- `adapters/lm_eval/discovery.py` ``manager.TaskManager.__init__``: replaced. lm-eval has no entry point for tasks;
  where it gets one (`discover_plugin_task_paths`), nothing is.
- `adapters/lm_eval/discovery.py` ``config.EvaluatorConfig.process_tasks``: replaced. lm-eval makes its tasks after it
  has loaded the model: a wrong judge or folder would cost that time.
- `adapters/lm_eval/discovery.py` ``lm_eval._cli.harness``, ``harness.HarnessCLI.execute``: replaced. A task cannot set
  the command's exit status.
- `adapters/lm_eval/errors.py` ``evaluator_utils.stderr_for_metric``, ``metrics.pooled_sample_stderr``,
  ``aggregate.standard_error``: replaced. lm-eval has no place for the standard error of a metric's own.
- `adapters/lm_eval/pairs.py` ``config.metadata``: replaced by a copy. lm-eval merges the model's arguments and
  --metadata into the metadata of every task, one mapping for all, and writes it to the results.
- `adapters/lm_eval/task.py` ``config.metadata``, ``config.task_alias``: the same, and the caveats beside the task's
  name. The results have no other place for them.
- `adapters/lm_eval/task.py` ``instance.arguments``, ``instance.filtered_resps``: sampling values for the engine, and
  the records in place of a filter's result. One filter call for the whole task is what makes judging one batch.
- `adapters/lm_eval/turns.py` ``chat_template.__self__``: the model, which lm-eval does not pass to a task. Its chat
  template, a method, is passed.
- `adapters/lm_eval/turns.py` ``instance.resps``: lm-eval's evaluator fills it; further turns are asked without one.
- `adapters/lm_eval/sampling.py` ``lm_eval.models.MODEL_MAPPING``: which modules are engines. A task is not told its
  model.

python 3.11:

- `tasks/errors.py` ``sys.excepthook``: replaced, so that a harness prints a user's mistake without a traceback.
- `tasks/text.py` ``record.msg``, ``record.args``: a logging filter may change its record.
- `adapters/identity.py` ``context.check_hostname``, ``context.verify_mode``: the documented way to switch a check off.
- `adapters/judges/client.py` ``trace.tb_frame``, ``trace.tb_frame.f_locals``, ``trace.tb_next``: what a service sent in
  place of a reply is in the failing function's variables and nowhere else.
- `adapters/lm_eval/discovery.py` ``sys.meta_path``, ``spec.loader.exec_module``: patches a module when it is imported.
- `train/run.py` ``sys.modules``: makes the benchmarks impossible to import.
- `train/losses.py` ``parser.formatter_class``: keeps the lines of a description.
- `train/plan.py` ``parser.formatter_class``: the same.
- `train/study.py` ``parser.formatter_class``: the same.

anyio 4.16.0:

- `adapters/judges/connections.py` ``slots.total_tokens``: documented as settable.

click 8.5.1:

- `analysis/commands/options.py` ``context.meta``: documented for data of one command.

jinja2 3.1.6:

- `analysis/report/page.py` ``environment.filters``: documented for filters of one's own.

py3langid 0.4.0:

- `tasks/checks.py` ``py3langid.langid.MODEL_FILE``: the model that comes with the package, for a recognizer
  with probabilities.

transformers 5.23.0:

- `train/merge.py` ``model.config.quantization_config``, ``model.config.tie_word_embeddings``: what is true of the
  merged weights, for the file that is saved beside them.
- `train/rewards.py` ``model.config.get_text_config().pad_token_id``: a reward model needs one to read batches.
- `train/rows.py` ``tokenizer.chat_template``, ``tokenizer.eos_token``, ``tokenizer.pad_token``: settable in public; the
  study's template and end.
- `train/run.py` ``tokenizer.padding_side``, ``tokenizer.truncation_side``, ``config.bos_token_id``,
  ``config.eos_token_id``, ``config.pad_token_id``: the same for prompts and for the saved checkpoint.
- `train/run.py` ``control.should_evaluate``, ``control.should_log``, ``control.should_save``,
  ``control.should_training_stop``: a callback steers the trainer by them.
- `train/run.py` ``training.eval_on_start``, ``training.eval_strategy``, ``training.logging_nan_inf_filter``: set after
  the arguments were checked. With the filter a diverged loss would not be seen.
- `train/run.py` ``trainer.evaluate``: replaced, so that an evaluation draws no random number of the training.
- `train/tiny.py` ``model.generation_config``: settable in public.

tokenizers 0.23.3:

- `train/tiny.py` ``tokenizer.decoder``, ``tokenizer.post_processor``, ``tokenizer.pre_tokenizer``: settable in public.

torch 2.13.0:

- `train/run.py` ``weight.data``: a weight becomes float32 and stays the same parameter.

trl 1.16.0:

- `train/grpo.py` ``training.vllm_max_model_length``: set where the user left it open.
- `train/run.py` ``training.model_init_kwargs``: TRL loads the model with them.

peft 0.21.2:

- `train/grpo.py` ``model.merge_adapter``, ``model.unmerge_adapter``, ``model.named_parameters``: replaced, so that vLLM
  gets the weights that are saved, to the bit (issue 6688 of TRL).
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
