"""The GRPO configs of the 8B model pass vLLM's own check of memory. In the environment of `make test-vllm`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from value_retention.train.arguments import read_config
from value_retention.train.plan import arms

pytestmark = pytest.mark.vllm
LLAMA = {  # from the published config of meta-llama/Llama-3.1-8B
    "vocab_size": 128256,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 131072,
    "architectures": ["LlamaForCausalLM"],
    "dtype": "bfloat16",
}
DEVICE, WEIGHTS, ACTIVATIONS = 79.6, 15.0, 2.0
"""GiB of an 80 GB H100, of 8.03 billion weights in bfloat16, and more than vLLM keeps for 4,096 tokens at a time."""


def check_memory(folder: Path, length: int | None, share: float) -> None:
    """vLLM's own check, as TRL starts it: raise if a sequence of the full length does not fit."""
    import torch
    from transformers import LlamaConfig
    from vllm.engine.arg_utils import EngineArgs
    from vllm.v1.core.kv_cache_utils import check_enough_kv_cache_memory
    from vllm.v1.kv_cache_interface import FullAttentionSpec

    LlamaConfig(**LLAMA).save_pretrained(folder)
    config = EngineArgs(
        model=str(folder), max_model_len=length, max_num_batched_tokens=4096, skip_tokenizer_init=True
    ).create_engine_config()
    layer: Any = FullAttentionSpec(block_size=16, num_kv_heads=8, head_size=128, dtype=torch.bfloat16)
    available = int((share * DEVICE - WEIGHTS - ACTIVATIONS) * 2**30)
    check_enough_kv_cache_memory(config, {f"layer{i}": layer for i in range(32)}, available)


@pytest.mark.parametrize("arm", [arm for arm in arms("llama31-8b") if arm.startswith("grpo")])
def test_vllm_finds_memory_for_the_lengths_of_a_config(arm: str, tmp_path: Path) -> None:
    values = read_config(f"llama31-8b/{arm}.yaml")
    length = values["max_row_tokens"] + values["max_completion_length"]
    check_memory(tmp_path, length, values["vllm_gpu_memory_utilization"])


def test_vllm_does_not_find_memory_for_the_whole_context(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"max seq len \(131072\), \(16.0 GiB KV cache"):
        check_memory(tmp_path, None, 0.3)
