"""The benchmarks as lm-evaluation-harness tasks: load, generate, judge, metrics.

lm-eval generates all answers of a task before it filters them, and one `apply_filters` call sees them all,
so judging is one concurrent batch there. What moves a score is in `value_retention.tasks`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import datasets
from lm_eval.api.task import ConfigurableTask

from value_retention.adapters.judges.judge_processes import Job, Text, judge_processes
from value_retention.adapters.judges.judging import Options, Tally, judge_answers, request_count, run_async
from value_retention.adapters.judges.models import describe, make_judges
from value_retention.adapters.lm_eval_answers import AnswerStore
from value_retention.adapters.settings import public_args, read_settings
from value_retention.tasks.answers import Answer
from value_retention.tasks.benchmark import BENCHMARKS, Benchmark
from value_retention.tasks.errors import InputError, show_input_errors_plainly
from value_retention.tasks.grading import aggregate_metric, metric_values, question_scores
from value_retention.tasks.languages import is_english, language_tag
from value_retention.tasks.load import Dataset, load_for_run
from value_retention.tasks.record import AnswerRecord, JudgeInfo, RunInfo, caveats

logger = logging.getLogger("lm_eval.value_retention")

FILTER = "none"
"""lm-eval's name for an unnamed filter; the tables print it."""

show_input_errors_plainly()


class JudgedTask(ConfigurableTask):  # type: ignore[misc]
    """An open-ended task whose answers are graded by judges.

    Args:
        config: The YAML with lm-eval's metadata. ``dataset_path`` chooses the benchmark, and
            ``dataset_kwargs: {language: ms}`` makes a task of one language.

    Raises:
        InputError: no judge chosen, or data or settings that cannot be used: before anything is generated.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        config = {key: value for key, value in config.items() if key != "class"}
        self._metadata: dict[str, Any] = dict(config.get("metadata") or {})
        self.settings = read_settings(self._metadata, os.environ).require_judge()
        self.language: str | None = (config.get("dataset_kwargs") or {}).get("language")
        config["repeats"] = self.settings.epochs or config.get("repeats", 1)
        judges = self._check_judges()
        super().__init__(config=config)
        self.items = {item.id: item for item in self.loaded.items}
        self._label(judges)
        self._report_start(describe(judges))
        self._request_settings: dict[str, Any] = {}
        self._world = (0, 1)
        self._filtered = False
        self.store: AnswerStore | None = None

    def _check_judges(self) -> list[JudgeInfo]:
        """The judges, found fit for use; made anew for judging, since a client belongs to its event loop."""
        self._processes = judge_processes(self.settings)
        infos = self._processes.infos() if self._processes else None
        if infos is None:
            self._processes = None
            infos = [
                judge.info for judge in make_judges(self.settings.judges or (), self.settings.judge_args)
            ]
        return infos

    def _label(self, judges: Sequence[JudgeInfo]) -> None:
        """Say in the results what was asked and who judged; in the table, what is no benchmark figure."""
        notes = caveats(self.loaded.info, judges)
        if notes:
            self.config.task_alias = f"{self.task_name} ({'; '.join(notes)})"
        self.config.metadata = {
            **self._metadata,
            "value_retention": {
                "benchmark": self.loaded.benchmark.title,
                "data": asdict(self.loaded.info),
                "judges": [asdict(judge) for judge in judges],
                "protocol": self.settings.judge_args.get("protocol", "per_dimension"),
                "notes": notes,
            },
        }

    def _report_start(self, judges: str) -> None:
        info = self.loaded.info
        logger.info(
            "%s: %d questions from %s %s", self.task_name, len(self.loaded), info.source, info.revision
        )
        if not info.is_benchmark:
            logger.warning("%s: bundled sample items; scores are NO benchmark result", self.task_name)
        for row in info.dropped:
            logger.warning("%s: row %s is not scored: %s", self.task_name, row.row, row.reason)
        logger.info("%s: judge: %s", self.task_name, judges)

    # -- data -------------------------------------------------------------------------------------------

    def download(self, dataset_kwargs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Load the items (never through the cache of `datasets` when they are in a folder)."""
        self.loaded = self._load(_benchmark(self.config.dataset_path))
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
                "the chosen languages leave this task without a question",
                where=f"task {self.config.task}, key 'languages'",
                found=", ".join(languages),
                expected=self.language,
                hint="name the tasks of those languages instead (moru_en, moru_ms, moru_hi)",
            )
        return load_for_run(benchmark, self.settings.data, (self.language,))

    def fewshot_docs(self) -> None:
        """No examples: the questions are open."""

    # -- generation -------------------------------------------------------------------------------------

    def build_all_requests(self, **kwargs: Any) -> None:
        """Build the requests; answers that an interrupted run left behind are not asked for again."""
        if kwargs.get("cache_requests"):
            # lm-eval's cache knows the task's name, but neither its data nor its languages and epochs.
            logger.warning("%s: --cache_requests is not used, it would bring back other data", self.task_name)
            kwargs |= {"cache_requests": False, "rewrite_requests_cache": False}
        super().build_all_requests(**kwargs)
        self._world = (int(kwargs.get("rank", 0)), int(kwargs.get("world_size", 1)))
        system = kwargs.get("system_instruction")
        self._request_settings = {
            "apply_chat_template": bool(kwargs.get("apply_chat_template")),
            **({"system_instruction": system} if system else {}),
        }
        self._filtered = False
        self.store = AnswerStore.open(
            task=self.task_name,
            model=public_args(self._metadata),
            sampling=self.sampling(),
            content=self.loaded.info.content_hash,
            shard=self._world,
        )
        self.store.resume(self._instances or [])

    @property
    def instances(self) -> list[Any]:
        """The requests still to be made; all of them once the answers are there."""
        pending = self._instances or []
        return pending if self._filtered else [i for i in pending if i.repeats]

    def sampling(self) -> dict[str, Any]:
        """How answers are sampled, as the record names it."""
        return {**(self.config.generation_kwargs or {}), **self._request_settings}

    # -- judging ----------------------------------------------------------------------------------------

    @property
    def _judging(self) -> bool:
        if not self.settings.judges or "bypass" in self._metric_fn_list:
            return False
        # Under tensor parallelism every process says rank 0: only the first may call the judge.
        return self._world[1] > 1 or os.environ.get("LOCAL_RANK", "0") == "0"

    def apply_filters(self) -> None:
        """Judge every answer of this process, in one batch; the records become the filtered responses."""
        assert self.store is not None
        self._filtered = True
        self.store.collect(self._instances)
        texts = [
            (self.items[instance.doc["id"]], epoch, text)
            for instance in self._instances
            for epoch, text in enumerate(instance.resps, start=1)
        ]
        records = iter(self._judge(texts))
        for instance in self._instances:
            instance.filtered_resps[FILTER] = [next(records).to_json() for _ in instance.resps]

    def _judge(self, texts: Sequence[Text]) -> list[AnswerRecord]:
        from tqdm import tqdm

        assert self.store is not None
        args = self.settings.judge_args
        names = (self.settings.judges or ()) if self._judging else ()
        run = RunInfo(
            harness="lm_eval",
            harness_version=version("lm_eval"),
            model=str(self._metadata.get("pretrained") or self._metadata.get("model") or "unknown"),
            model_args=public_args(self._metadata),
            sampling=self.sampling(),
        )
        journal = self.store.journal
        protocol = args.get("protocol", "per_dimension")
        total = request_count(self.loaded, [item for item, *_ in texts], len(names), protocol)
        with tqdm(total=total, desc=f"Judging {self.task_name}", unit="call", disable=not total) as bar:
            done = None
            if self._processes and total:
                job = Job(self.loaded, texts, names, args, run, journal.path, self.store.round)
                done = self._processes.judge(job, bar.update)
            if done is None:
                bar.reset()
                options = Options.of(args, journal=journal, round=self.store.round, advance=bar.update)
                answers = [Answer.of(*text) for text in texts]
                judges = make_judges(names, args)
                done = (
                    run_async(lambda: judge_answers(self.loaded, answers, judges, run, options)),
                    options.tally,
                )
        records, tally = done
        self._report_end(tally, total)
        return records

    def _report_end(self, tally: Tally, total: int) -> None:
        assert self.store is not None
        where = self.store.journal.path
        if tally.errors:
            self.store.fail(
                f"{self.task_name}: {tally.errors} of {total} judge calls failed ({tally.last_error}). Every "
                f"answer and grade is in {where}; run the same command again to ask for the missing only, or "
                "`value-retention judge` on the samples."
            )
        else:
            self.store.complete()
        if total:
            logger.info(
                "%s: %d judge calls, %d from the journal, %d retries, %d unreadable, %d failed; journal %s",
                self.task_name,
                tally.asked,
                tally.reused,
                tally.retries,
                tally.unparsed,
                tally.errors,
                where,
            )

    # -- metrics ----------------------------------------------------------------------------------------

    def process_results(self, doc: dict[str, Any], results: list[list[str]]) -> dict[str, Any]:
        """One question's part in every metric."""
        if "bypass" in self._metric_fn_list:
            return {"bypass": None}
        if not self.settings.judges:
            return {"not_judged": 1.0}
        question = question_scores([AnswerRecord.from_json(text) for text in results[0]])
        values = metric_values(question, self.loaded.benchmark.weighted)
        # Every document has every metric, None where it has no part: ranks must agree on the keys.
        return {name: values.get(name) for name in self._metric_names()}

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

    def aggregation(self) -> dict[str, Callable[[list[Any]], float]]:
        """Metric name to the function over all questions. NaN only where nothing could be scored."""
        if "bypass" in self._metric_fn_list:
            return {"bypass": lambda _: 999.0}
        return {name: self._aggregate(name) for name in self._metric_names()}

    def _aggregate(self, name: str) -> Callable[[list[Any]], float]:
        weights = {dimension.name: dimension.weight for dimension in self.loaded.dimensions.values()}

        def aggregate(values: list[Any]) -> float:
            value = aggregate_metric(name, values, weights)
            return float("nan") if value is None else value

        return aggregate

    def higher_is_better(self) -> dict[str, bool]:
        """Everything but what is missing."""
        return {name: name not in ("unscored", "missing_grades", "not_judged") for name in self.aggregation()}


def _benchmark(dataset_path: str | None) -> Benchmark:
    for benchmark in BENCHMARKS.values():
        if benchmark.questions.repo == dataset_path:
            return benchmark
    raise InputError("a task of no known benchmark", where="dataset_path", found=repr(dataset_path))
