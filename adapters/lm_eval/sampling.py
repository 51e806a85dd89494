"""Sampling of answers from the model's whole distribution, whichever engine draws them.

lm-eval leaves unset sampling values to the engine, and engines differ. transformers cuts at ``top_k`` 50 unless
the checkpoint's ``generation_config.json`` says otherwise; vLLM in lm-eval has no cut; ``vllm serve`` takes the
checkpoint's values; llama.cpp has values of its own. So each engine gets explicit values that switch every cut
and penalty off, unless the user sets them with ``--gen_kwargs``.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from value_retention.adapters.identity import is_private

OFF: dict[str, Any] = {"top_k": 0, "top_p": 1.0, "min_p": 0.0, "repetition_penalty": 1.0}
"""No cut and no penalty, as records name it for every engine."""

_TRANSFORMERS: dict[str, Any] = {
    **OFF,
    "min_p": None,  # 0.0 does the same, but sorts the vocabulary for every token
    "typical_p": 1.0,
    "top_h": None,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "no_repeat_ngram_size": 0,
    "encoder_repetition_penalty": 1.0,
    "exponential_decay_length_penalty": None,
    "guidance_scale": None,
    "penalty_alpha": None,
    "num_beams": 1,
    "min_length": 0,
    "min_new_tokens": None,
    "sequence_bias": None,
    "bad_words_ids": None,
    "suppress_tokens": None,
    "begin_suppress_tokens": None,
}
"""What a checkpoint's ``generation_config.json`` can set, that vLLM ignores or knows by another value."""

_REQUESTED: dict[str, dict[str, Any]] = {
    "transformers": _TRANSFORMERS,
    # Every version of vLLM and SGLang takes -1 for no cut; 0 is an error in SGLang and in older vLLM.
    "vllm": {**OFF, "top_k": -1, "presence_penalty": 0.0, "frequency_penalty": 0.0},
    "sglang": {**OFF, "top_k": -1},
    "llamacpp": {"top_k": 0, "top_p": 1.0, "min_p": 0.0, "repeat_penalty": 1.0},
    "local": {"top_k": 0, "top_p": 1.0, "repetition_penalty": 1.0},
    # All that OpenAI's API has. It is not for providers: theirs is 1 anyway, and some refuse it beside a
    # temperature.
    "server": {"top_p": 1.0},
    "provider": {},
}
_RECORDED: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("transformers", "vllm", "sglang", "llamacpp"), OFF),
    **{engine: _REQUESTED[engine] for engine in ("local", "server", "provider")},
}

_MODULES = {
    **dict.fromkeys(("huggingface", "hf_vlms", "hf_audiolm", "hf_steered", "mistral3"), "transformers"),
    **dict.fromkeys(("vllm_causallms", "vllm_vlms"), "vllm"),
    "sglang_causallms": "sglang",
}
"""Engine by lm-eval's module."""


def engine_of(model_args: Mapping[str, Any], served_by: str = "") -> str:
    """The engine that draws the answers: a key of the tables above.

    A task is not told which model it is run with. Arguments tell servers (``base_url``) from local models
    (``pretrained``), and lm-eval imports the module of a model only when it is asked for. If a process has used
    several local engines (a notebook), the answer is ``local``: values that all of them take.

    Args:
        model_args: lm-eval's model arguments.
        served_by: What a server calls itself (`Identity.served_by`).
    """
    address = str(model_args.get("base_url") or "")
    if address:
        return served_by or ("server" if is_private(address) else "provider")
    from lm_eval.models import MODEL_MAPPING

    modules = {path.partition(":")[0] for path in MODEL_MAPPING.values()} & sys.modules.keys()
    engines = {
        _MODULES.get(module.rpartition(".")[2], "other") for module in modules - {"lm_eval.models.dummy"}
    }
    if len(engines) == 1 and "other" not in engines:
        return engines.pop()
    return "local" if "pretrained" in model_args and "sglang" not in engines else "provider"


def request_values(given: Mapping[str, Any], engine: str, model_args: Mapping[str, Any]) -> dict[str, Any]:
    """Sampling values for the requests. A null from the user leaves a value to the engine."""
    values = dict(_REQUESTED[engine])
    if engine == "transformers":
        from transformers import GenerationConfig

        known = vars(GenerationConfig())  # type: ignore[no-untyped-call]
        values = {name: value for name, value in values.items() if name in known}
    if engine != "provider" and urlsplit(str(model_args.get("base_url") or "")).path.endswith("/completions"):
        # lm-eval sends one seed with every request, and a server that honours it gives each epoch the same answer.
        values["seed"] = None
    left = {name for name, value in given.items() if value is None and name in OFF}
    return {name: value for name, value in (values | dict(given)).items() if name not in left}


def recorded_values(given: Mapping[str, Any], engine: str) -> dict[str, Any]:
    """Sampling values in force, for the record. The names are the same for all engines."""
    values = _RECORDED[engine] | dict(given)
    return {name: value for name, value in values.items() if value is not None or name not in OFF}
