"""The benchmarks as lm-evaluation-harness tasks: load, generate, judge, metrics.

lm-eval generates all answers of a task before it filters them, and one `apply_filters` call sees them all, so
judging is one concurrent batch. Everything that affects a score is in `value_retention.tasks`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import datasets
from lm_eval.api.task import ConfigurableTask

from value_retention.adapters.identity import Identity, model_identity
from value_retention.adapters.judges.client import describe, make_judges
from value_retention.adapters.judges.run import Options, Tally, judge_batch, nothing_readable
from value_retention.adapters.lm_eval.answers import AnswerStore
from value_retention.adapters.lm_eval.errors import with_cluster, with_error
from value_retention.adapters.lm_eval.sampling import engine_of, recorded_values, request_values
from value_retention.adapters.lm_eval.truncation import output_judge
from value_retention.adapters.lm_eval.turns import Talk, converse, require_template
from value_retention.adapters.settings import TRANSPORT_ARGS, public_args, read_settings
from value_retention.adapters.thinking import read_thinking
from value_retention.tasks.answers import Answer
from value_retention.tasks.benchmark import Benchmark, packaged, read_benchmark
from value_retention.tasks.data import Dataset, load_for_run
from value_retention.tasks.errors import InputError, show_input_errors_plainly
from value_retention.tasks.languages import is_english, language_tag
from value_retention.tasks.prompts import CEILING_NOTE, ceiling_system_prompt, item_calls
from value_retention.tasks.reasoning import split
from value_retention.tasks.record import AnswerRecord, RunInfo, caveats, texts_once
from value_retention.tasks.scores import aggregate_metric, metric_values, question_scores
from value_retention.tasks.text import clean_logger

logger = clean_logger("lm_eval.value_retention")

FILTER = "none"
"""lm-eval's name for an unnamed filter, as its tables print it."""

show_input_errors_plainly()


class JudgedTask(ConfigurableTask):  # type: ignore[misc]
    """A task with open-ended questions, graded by judges.

    Args:
        config: The YAML with lm-eval's metadata. ``dataset_path`` names a benchmark of this package (see
            `benchmark_task` for others), and ``dataset_kwargs: {language: ms}`` selects one language.
            ``dataset_kwargs: {ceiling: true}`` shows the model the criteria in a system prompt. What the YAML leaves
            out comes from the benchmark's definition.

    Attributes:
        definition: The ``benchmark.yaml`` of a benchmark that is not of this package.

    Raises:
        InputError: no judge, or invalid data or settings. Raised before anything is generated.
    """

    definition: ClassVar[Path | None] = None

    def __init__(self, config: dict[str, Any]) -> None:
        self.benchmark = (
            read_benchmark(self.definition) if self.definition else _packaged(config.get("dataset_path"))
        )
        config = _defaults(self.benchmark) | {key: value for key, value in config.items() if key != "class"}
        self._metadata: dict[str, Any] = dict(config.get("metadata") or {})
        self.settings = read_settings(self._metadata, os.environ).require_judge()
        self.language: str | None = (config.get("dataset_kwargs") or {}).get("language")
        self.ceiling = bool((config.get("dataset_kwargs") or {}).get("ceiling"))
        config["repeats"] = self.settings.epochs or config.get("repeats", 1)
        # Check the judges before anything is generated. Judging makes new ones: a client belongs to its loop.
        judges = [judge.info for judge in make_judges(self.settings.judges or (), self.settings.judge_args)]
        super().__init__(config=config)
        self.items = {item.id: item for item in self.loaded.items}
        self._panel = judges
        self._asked = len(self.items)
        self._label()
        self._judges = describe(judges)
        self._sampling: dict[str, Any] = {}
        self.identity: Identity | None = None
        self._world = (0, 1)
        self._filtered = False
        self._chat: tuple[Any, str | None] = (None, None)
        self.store: AnswerStore | None = None

    def _label(self) -> None:
        """Write benchmark, data and judges to the results, and the caveats to the table."""
        info = self.loaded.info
        # The task of one language is whole with the questions of that language.
        whole = replace(info, size=len(self.items), rows=len(self.items)) if self.language else info
        notes = caveats(whole, self._panel, self._asked) + ([CEILING_NOTE] if self.ceiling else [])
        if notes:
            self.config.task_alias = f"{self.task_name} ({'; '.join(notes)})"
        self.config.metadata = {
            **self._metadata,
            "value_retention": {
                "benchmark": self.loaded.benchmark.title,
                "data": asdict(info),
                "asked": self._asked,
                "judges": [asdict(judge) for judge in self._panel],
                "notes": notes,
            },
        }

    def _report_start(self) -> None:
        info = self.loaded.info
        logger.info(
            "%s: %d questions from %s %s", self.task_name, len(self.loaded), info.source, info.revision
        )
        if not info.is_benchmark:
            logger.warning("%s: bundled sample items; scores are NOT benchmark results", self.task_name)
        for row in info.dropped:
            logger.warning("%s: row %s is not scored: %s", self.task_name, row.row, row.reason)
        logger.info("%s: judge: %s", self.task_name, self._judges)

    # -- data -------------------------------------------------------------------------------------------

    def download(self, dataset_kwargs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Load the items. Items in a folder never go through the cache of `datasets`."""
        self.loaded = self._load(self.benchmark)
        rows = [
            {"id": item.id, "question": item.question, "language": item.language, "cluster": item.cluster}
            for item in self.loaded.items
        ]
        self.dataset = datasets.DatasetDict({"test": datasets.Dataset.from_list(rows)})

    def _load(self, benchmark: Benchmark) -> Dataset:
        languages = self.settings.languages
        if self.language is None:
            return load_for_run(benchmark, self.settings.data, languages)
        if languages is not None and self.language not in [language_tag(name) for name in languages]:
            raise InputError(
                "no questions in the chosen languages",
                where=f"task {self.config.task}, key 'languages'",
                found=", ".join(languages),
                expected=self.language,
                hint="choose the tasks of those languages",
            )
        return load_for_run(benchmark, self.settings.data, (self.language,))

    def fewshot_docs(self) -> None:
        """Return no examples: the questions are open-ended."""

    # -- generation -------------------------------------------------------------------------------------

    def build_all_requests(self, **kwargs: Any) -> None:
        """Build the requests, without those that an interrupted run has answered already."""
        if kwargs.get("cache_requests"):
            # lm-eval's cache is keyed by the task's name, not by data, languages and epochs.
            logger.warning("%s: ignoring --cache_requests: it may return other data", self.task_name)
            kwargs |= {"cache_requests": False, "rewrite_requests_cache": False}
        require_template(self.loaded.items, kwargs.get("chat_template"))
        shown = kwargs | self._shown_criteria(kwargs)
        self._chat = (shown.get("chat_template"), shown.get("system_instruction"))
        super().build_all_requests(**shown)
        chosen = {name: kwargs.get(name) for name in ("limit", "samples")}
        self._asked = len(list(self.doc_iterator(rank=0, world_size=1, **chosen)))
        self._label()
        self._report_start()
        self._world = (int(kwargs.get("rank", 0)), int(kwargs.get("world_size", 1)))
        identity = self._identify(kwargs)
        self._filtered = False
        self.store = AnswerStore.open(
            identity, self._sampling, self._about(identity), self._world, self.settings.resume
        )
        self.store.resume(self._requests)
        if self.store.resumed:
            self.config.metadata["value_retention"]["resumed"] = self.store.resumed

    def _shown_criteria(self, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """In the ceiling test, the system prompt that shows the criteria, after the user's own."""
        if not self.ceiling:
            return {}
        criteria = ceiling_system_prompt(self.loaded)
        # Without a chat template, lm-eval puts the question straight after the system prompt.
        end = "" if kwargs.get("apply_chat_template") else "\n\n"
        own = kwargs.get("system_instruction")
        return {"system_instruction": "\n\n".join([own, criteria] if own else [criteria]) + end}

    def _about(self, identity: Identity) -> dict[str, Any]:
        """What tells this run from others in the journal."""
        return {
            "command": "lm_eval",
            "task": self.task_name,
            "model": self._model,
            "identity": identity.text,
            "data": self.loaded.info.content_hash,
            "judges": list(self.settings.judges or ()),
            "judge_args": {
                key: value for key, value in self.settings.judge_args.items() if key not in TRANSPORT_ARGS
            },
            "epochs": self.config.repeats,
        }

    @property
    def _model(self) -> str:
        return str(self._metadata.get("pretrained") or self._metadata.get("model") or "unknown")

    @property
    def instances(self) -> list[Any]:
        """The requests still to be made. After generation, all requests."""
        return self._requests if self._filtered else [i for i in self._requests if i.repeats]

    @property
    def _requests(self) -> list[Any]:
        return super().instances or []

    def _identify(self, kwargs: Mapping[str, Any]) -> Identity:
        """Find out which model answers, and set the sampling values that its engine leaves open."""
        model = public_args(self._metadata)
        self.identity = identity = model_identity(model)
        logger.info("%s: model: %s (%s)", self.task_name, self._model, identity.text)
        engine = engine_of(model, identity.served_by)
        given = self.config.generation_kwargs or {}
        for instance in self._requests:
            context, *others = instance.args
            instance.arguments = (context, request_values(given, engine, model), *others[1:])
        system = kwargs.get("system_instruction")
        thinking, other = read_thinking(given)
        self._sampling = {
            **recorded_values(other, engine),
            **read_thinking(model)[0],
            **thinking,
            "apply_chat_template": bool(kwargs.get("apply_chat_template")),
            **({"system_instruction": system} if system else {}),
            **({"ceiling": True} if self.ceiling else {}),
        }
        self.config.metadata["value_retention"] |= {"model": identity.text, "sampling": self._sampling}
        return identity

    @property
    def _predict_only(self) -> bool:
        """Whether the command has --predict_only, for which lm-eval replaces the metrics."""
        return any(metric["metric"] == "bypass" for metric in self.config.metric_list or [])

    # -- judging ----------------------------------------------------------------------------------------

    @property
    def _judging(self) -> bool:
        if not self.settings.judges or self._predict_only:
            return False
        # With tensor parallelism every process reports rank 0: only the first one calls the judge.
        return self._world[1] > 1 or os.environ.get("LOCAL_RANK", "0") == "0"

    def apply_filters(self) -> None:
        """Judge all answers of this process in one batch. The records become the filtered responses."""
        assert self.store is not None
        self._filtered = True
        self.store.collect(self._requests)
        model = public_args(self._metadata)
        # Who tells lm-eval how reasoning ends expects some.
        thinking = self._sampling.get("thinking", True if model.get("think_end_token") else None)
        stripped = bool(thinking and model.get("think_end_token"))
        truncated = output_judge(model, self.config.generation_kwargs or {}, stripped)
        markers = self.settings.reasoning_markers
        asked = [(i, epoch, text) for i in self._requests for epoch, text in enumerate(i.resps, start=1)]
        talks = [Talk(self.items[instance.doc["id"]], text) for instance, _, text in asked]
        if any(talk.item.turns for talk in talks):

            def answer_of(text: str) -> str:
                return split(text, (), thinking, truncated(text), markers)[0]

            converse(talks, *self._chat, self._requests[0].args[1], self.store, answer_of)
        answers = [
            Answer.of(talk.item, epoch, talk.text, (), truncated(talk.text), talk.turns, thinking, markers)
            for talk, (_, epoch, _) in zip(talks, asked, strict=True)
        ]
        records, tally = self._judge(answers)
        remaining = iter(self._report_end(records, tally))
        for instance in self._requests:
            instance.filtered_resps[FILTER] = [next(remaining) for _ in instance.resps]

    def _judge(self, answers: Sequence[Answer]) -> tuple[list[AnswerRecord], Tally]:
        from tqdm import tqdm

        assert self.store is not None
        assert self.identity is not None
        args = self.settings.judge_args
        names = (self.settings.judges or ()) if self._judging else ()
        markers = [list(pair) for pair in self.settings.reasoning_markers]
        run = RunInfo(
            harness="lm_eval",
            harness_version=version("lm_eval"),
            model=self._model,
            model_args=public_args(self._metadata),
            sampling=self._sampling | ({"reasoning_markers": markers} if markers else {}),
            identity=self.identity.text,
            resumed=self.store.resumed,
            asked=self._asked,
        )
        total = sum(item_calls(self.loaded, answer.item) for answer in answers) * len(names)
        with tqdm(total=total, desc=f"Judging {self.task_name}", unit="call", disable=not total) as bar:
            options = Options.of(args, journal=self.store.journal, run=self.store.run.id, advance=bar.update)
            judges = make_judges(names, args, single_loop=True)
            return judge_batch(self.loaded, answers, judges, run, options), options.tally

    def _report_end(self, records: Sequence[AnswerRecord], tally: Tally) -> list[str]:
        """Save the records and return their texts. What failed is said now, and again at the command's end."""
        assert self.store is not None
        where = self.store.journal.path
        texts = [record.to_json() for record in texts_once(records)]
        faults = []
        if tally.errors:
            faults.append(
                f"{tally.errors} grades are missing ({tally.last_error}). All answers and grades are in {where}. Run "
                "the same command again to repeat the failed calls only, or run `value-retention judge` on the samples"
            )
        if unread := nothing_readable(records):
            faults.append(unread)
        if faults:
            self.store.fail(f"{self.task_name}: {'. '.join(faults)}.", texts)
        else:
            self.store.complete(texts)
        if tally.asked or tally.reused:
            logger.info(
                "%s: %d judge calls, %d from the journal, %d retries; %s; journal %s",
                self.task_name,
                tally.asked,
                tally.reused,
                tally.retries,
                tally,
                where,
            )
        if tally.cut:
            logger.warning(
                "%s: %d grades are missing because the token limit cut the judge's reply (%s). To ask again with the "
                "same limit: `value-retention judge RUN --fill`.",
                self.task_name,
                tally.cut,
                tally.last_cut,
            )
        return texts

    # -- metrics ----------------------------------------------------------------------------------------

    def process_results(self, doc: dict[str, Any], results: list[list[str]]) -> dict[str, Any]:
        """One question's contribution to each metric."""
        if self._predict_only:
            return {"bypass": None}
        if not self.settings.judges:
            return {"not_judged": 1.0}
        question = question_scores([AnswerRecord.from_json(text) for text in results[0]])
        values = metric_values(question, self.loaded.benchmark.weighted)
        cluster = f"{self.benchmark.name}/{question.cluster}"
        # Each document has each metric, None if it does not contribute: ranks must agree on the keys.
        return {name: with_cluster(values.get(name), cluster) for name in self._metric_names()}

    def _metric_names(self) -> list[str]:
        if not self.settings.judges:
            return ["not_judged"]
        english = {is_english(item.language) for item in self.loaded.items}
        names = ["overall_mean"]
        names += ["dimension_normalized_avg"] if self.loaded.benchmark.weighted else []
        names += [
            name for is_en, name in ((True, "english_mean"), (False, "non_english_mean")) if is_en in english
        ]
        carried = {name for item in self.loaded.items for name in item.dimensions}
        names += [name for name in self.loaded.dimensions if name in carried]
        return [*names, "unscored", "missing_grades"]

    def aggregation(self) -> dict[str, Callable[[list[Any]], float | None]]:
        """Aggregation functions by metric, with standard errors. They return None if nothing could be scored."""
        if self._predict_only:
            return {"bypass": lambda _: 999.0}
        return {name: self._aggregate(name) for name in self._metric_names()}

    def _aggregate(self, name: str) -> Callable[[list[Any]], float | None]:
        weights = {dimension.name: dimension.weight for dimension in self.loaded.dimensions.values()}
        # A group multiplies the means of its tasks by their sizes.
        grouped = self.language is not None and name.endswith("_mean")

        def aggregate(values: list[Any]) -> float | None:
            value = aggregate_metric(name, values, weights)
            return math.nan if value is None and grouped else value

        return with_error(aggregate, name, weights)

    def higher_is_better(self) -> dict[str, bool]:
        """True for each metric except the counts of missing scores."""
        return {name: name not in ("unscored", "missing_grades", "not_judged") for name in self.aggregation()}


def benchmark_task(definition: Path) -> type[JudgedTask]:
    """The task of a ``benchmark.yaml``, for the ``class`` of a task's YAML.

    lm-eval does not tell a task where its YAML lies. A module beside it (``task.py``) knows its own folder.
    """
    return type("Task", (JudgedTask,), {"definition": definition})


def _defaults(benchmark: Benchmark) -> dict[str, Any]:
    """lm-eval's settings of a benchmark's task."""
    return {
        "dataset_path": benchmark.questions.repo or benchmark.name,
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": "{{question}}",
        "doc_to_target": "",
        "num_fewshot": 0,
        "repeats": benchmark.epochs,
        "generation_kwargs": {
            # No stop sequence. Without this key lm-eval stops at the first blank line.
            "until": [],
            "do_sample": benchmark.sampling.temperature > 0,
            # top_k, top_p, min_p and penalties are switched off for each engine (see `sampling`). Set here, a value
            # would reach APIs that refuse it.
            "temperature": benchmark.sampling.temperature,
            "max_gen_toks": benchmark.sampling.max_tokens,
        },
        "metadata": {"version": benchmark.version},
    }


def _packaged(name: str | None) -> Benchmark:
    """The benchmark that a task's ``dataset_path`` names: its name, or the dataset of its questions."""
    for benchmark in packaged().values():
        if name in (benchmark.name, benchmark.questions.repo):
            return benchmark
    raise InputError(
        "unknown benchmark", where="dataset_path", found=repr(name), expected=", ".join(packaged())
    )
