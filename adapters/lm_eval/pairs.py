"""The probe as an lm-evaluation-harness task: log-likelihoods of pairs of answers, without a judge.

    lm_eval --model hf --model_args pretrained=out/sft-dolly-merged --tasks value_pairs --apply_chat_template \
        --metadata '{"pairs": "pairs.jsonl"}'

The figures are those of ``value_retention.train.probe``; docs/probe.md says what they mean. Standard errors are
those of clusters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import datasets
from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask

from value_retention.adapters.lm_eval.errors import with_cluster, with_error
from value_retention.adapters.lm_eval.truncation import tokenizer_of
from value_retention.adapters.settings import public_args
from value_retention.tasks.errors import InputError, show_input_errors_plainly
from value_retention.tasks.pairs import read_pairs
from value_retention.tasks.scores import aggregate_metric

METRICS = ("share", "margin", "pmi_share", "pmi_margin")
NEUTRAL = ({"role": "user", "content": ""},)
"""The conversation without a question, whose log-likelihoods pointwise mutual information subtracts."""

show_input_errors_plainly()


class PairsTask(ConfigurableTask):  # type: ignore[misc]
    """A probe over pairs of answers.

    Args:
        config: The YAML with lm-eval's metadata, whose key ``pairs`` names the file.

    Raises:
        InputError: no file of pairs, or an invalid one. Raised before a model is loaded.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self._metadata: dict[str, Any] = dict(config.get("metadata") or {})
        path = self._metadata.get("pairs")
        if not isinstance(path, str):
            raise InputError(
                "value_pairs needs pairs",
                where="--metadata, key 'pairs'",
                found=repr(path),
                expected='a file of `value-retention probe`: --metadata \'{"pairs": "pairs.jsonl"}\'',
            )
        self._pairs, sha256 = read_pairs(Path(path).expanduser())
        self._tokens: dict[str, list[int]] = {}
        defaults = {
            "test_split": "test",
            "output_type": "loglikelihood",
            "doc_to_text": "{{messages[-1].content}}",
            "doc_to_target": "{{chosen}}",
            "num_fewshot": 0,
        }
        super().__init__(config=defaults | {key: value for key, value in config.items() if key != "class"})
        self.config.metadata = {
            **self._metadata,
            "value_retention": {
                "pairs": sha256,
                "chosen_from": sorted({pair.chosen_from.run for pair in self._pairs}),
                "rejected_from": sorted({pair.rejected_from.run for pair in self._pairs}),
            },
        }

    def download(self, dataset_kwargs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Make the documents."""
        rows = [
            {
                "id": pair.id,
                "cluster": pair.cluster,
                "language": pair.language,
                "messages": list(pair.messages),
                "chosen": pair.chosen,
                "rejected": pair.rejected,
            }
            for pair in self._pairs
        ]
        self.dataset = datasets.DatasetDict({"test": datasets.Dataset.from_list(rows)})

    def fewshot_docs(self) -> None:
        """Return no examples."""

    def build_all_requests(self, **kwargs: Any) -> None:
        """Build the requests, never from lm-eval's cache: its key does not know the pairs.

        Raises:
            InputError: a system prompt, or an unknown tokenizer.
        """
        if kwargs.get("system_instruction"):
            raise InputError(
                "the pairs bring their own system prompt", where="--system_instruction",
                hint="leave it out; the runs of the pairs had the one that counts",
            )  # fmt: skip
        self._tokenizer = tokenizer_of(public_args(self._metadata))
        if self._tokenizer is None:
            raise InputError(
                "the tokenizer of the model is unknown",
                where="--model_args",
                expected="pretrained=MODEL, or tokenizer=MODEL, that transformers can load",
            )
        super().build_all_requests(**kwargs | {"cache_requests": False, "rewrite_requests_cache": False})

    def fewshot_context(
        self,
        doc: dict[str, Any],
        num_fewshot: int,
        system_instruction: str | None = None,
        apply_chat_template: bool = False,
        fewshot_as_multiturn: bool = False,
        chat_template: Callable[..., str] | None = None,
        gen_prefix: str | None = None,
    ) -> list[str]:
        """The text before an answer: with the question, and without it."""
        if apply_chat_template and chat_template:
            return [chat_template(list(messages)) for messages in (doc["messages"], NEUTRAL)]
        return ["".join(f"{message['content']}\n\n" for message in doc["messages"]), ""]

    def construct_requests(self, doc: dict[str, Any], ctx: Sequence[str], **kwargs: Any) -> list[Any]:
        """Four log-likelihoods: both answers after the question, then both without it."""
        kwargs = {key: value for key, value in kwargs.items() if key == "metadata"}
        asked = [(context, answer) for context in ctx for answer in (doc["chosen"], doc["rejected"])]
        self._tokens[doc["id"]] = [self._count(*arguments) for arguments in asked]
        return [
            Instance(request_type="loglikelihood", doc=doc, arguments=arguments, idx=index, **kwargs)
            for index, arguments in enumerate(asked)
        ]

    def _count(self, context: str, answer: str) -> int:
        """Tokens that lm-eval's log-likelihood covers: the answer's, and white space at the end of the context."""
        encode = self._tokenizer.encode
        if not context:
            return len(encode(answer, add_special_tokens=False))
        return len(encode(context + answer)) - len(encode(context.rstrip()))

    def process_results(self, doc: dict[str, Any], results: Sequence[tuple[float, bool]]) -> dict[str, float]:
        """The figures of one pair; margins in nats per token."""
        found = [total / count for (total, _), count in zip(results, self._tokens[doc["id"]], strict=True)]
        margin = found[0] - found[1]
        pmi = margin - (found[2] - found[3])
        values = zip(METRICS, (float(margin > 0), margin, float(pmi > 0), pmi), strict=True)
        return {name: with_cluster(value, doc["cluster"]) for name, value in values}

    def aggregation(self) -> dict[str, Callable[[list[Any]], float | None]]:
        """The mean, for each metric, with its standard error."""
        return {name: with_error(partial(aggregate_metric, name, weights={}), name, {}) for name in METRICS}

    def higher_is_better(self) -> dict[str, bool]:
        """Higher is closer to the run that the chosen answers are from."""
        return dict.fromkeys(METRICS, True)
