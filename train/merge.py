"""Write a complete checkpoint: an adapter merged into its base, or a full checkpoint in its final form.

    python -m value_retention.train.merge --model out/sft-dolly --output out/sft-dolly-merged

A model on the hub gets the same form, with chat template and both end tokens, so that the base of a study is
evaluated like its checkpoints: ``--model meta-llama/Llama-3.1-8B --revision COMMIT``.

Always merge before evaluating: answers of an unmerged adapter have changed with the batch size, and vLLM does
not load adapters that train the embeddings. Merging is done in float32; the weights are cast once, at the end.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from value_retention.train.arguments import TrainError, exits_plainly
from value_retention.train.card import CARD, Card, describe_parent, read_card, versions
from value_retention.train.rows import load_tokenizer
from value_retention.train.run import set_end_tokens

ADAPTER = "adapter_config.json"


def load_full(name: str, revision: str | None) -> PreTrainedModel:
    """Load a full model in float32.

    Raises:
        TrainError: The model cannot be loaded.
    """
    try:
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            name, revision=revision, dtype=torch.float32
        )
    except (OSError, ValueError) as error:
        raise TrainError("cannot load the model", where=name, found=error) from error
    return model


def load_merged(folder: Path, base: str | None = None) -> PreTrainedModel:
    """Load the base of an adapter in float32 and add the adapter to it.

    Args:
        folder: The adapter.
        base: Its base; None for the base named in the adapter.

    Raises:
        TrainError: The base cannot be loaded, or the adapter was trained on another base.
    """
    from peft import PeftModel

    parent = read_card(folder).get("parent", {})
    settings = json.loads((folder / ADAPTER).read_text(encoding="utf-8"))
    name = base or settings["base_model_name_or_path"]
    expected = parent.get("weights_sha256")
    if expected and describe_parent(name, "").get("weights_sha256") != expected:
        raise TrainError(
            "the adapter was trained on another base", where=name, expected=f"weights with SHA-256 {expected}"
        )
    wrapped = PeftModel.from_pretrained(load_full(name, parent.get("revision")), str(folder))
    model: PreTrainedModel = wrapped.merge_and_unload()
    head: Any = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    embedding: Any = model.get_input_embeddings()
    if head.weight.data_ptr() != embedding.weight.data_ptr():
        model.config.tie_word_embeddings = False  # trained separately, so saved separately
    return model


def merge(
    model: str,
    output: str,
    *,
    dtype: str,
    ends: tuple[str, str],
    base: str | None = None,
    revision: str | None = None,
) -> Path:
    """Write a checkpoint that any harness or server can load, and return its folder.

    Args:
        model: Output folder of `midtrain`, `sft` or `grpo`, or a model on the hub.
        output: Folder to write.
        dtype: ``bfloat16``, ``float16`` or ``float32`` of the saved weights.
        ends: End tokens of a document and of a turn; generation stops at both.
        base: Base of an adapter, if it has moved.
        revision: Commit of a model on the hub.

    Raises:
        TrainError: A model cannot be loaded, or a weight is not finite.
    """
    folder, target = Path(model).expanduser(), Path(output)
    known: dict[str, Any] = read_card(folder)
    if known and known.get("status") not in ("complete", "merged"):
        raise TrainError(
            "the run is not complete", where=folder / CARD, found=known.get("status"),
            expected="complete or merged", hint="run the training command again; it resumes",
        )  # fmt: skip
    adapter = (folder / ADAPTER).is_file()
    origin = known.get("parent") or (
        {"name": model, "revision": None} if adapter else describe_parent(model, revision or "")
    )
    end = ends[1] if known.get("stage") in ("sft", "grpo") else ends[0]
    tokenizer = load_tokenizer(model, revision=revision, end=end)
    merged = load_merged(folder, base) if adapter else load_full(model, revision)
    bad = [name for name, weight in merged.named_parameters() if not torch.isfinite(weight).all()]
    if bad:
        raise TrainError("weights are not finite", where=folder, found=", ".join(bad[:3]))
    set_end_tokens(merged, tokenizer, ends)
    merged.to(getattr(torch, dtype))
    merged.save_pretrained(target)
    tokenizer.save_pretrained(target)
    Card(
        stage=known.get("stage", "base"),
        config_hash=known.get("config_hash", ""),
        config={**known.get("config", {}), "merged_from": model, "merged_dtype": dtype},
        parent=origin,
        data=known.get("data", {}),
        contamination=known.get("contamination", {"status": "not trained here"}),
        seed=known.get("seed", 0),
        world_size=known.get("world_size", 1),
        versions=versions(),
        status="merged",
        result=known.get("result", {}),
    ).write(target)
    return target


@exits_plainly
def main() -> None:
    """Read the command line and merge."""
    parser = argparse.ArgumentParser(
        prog="python -m value_retention.train.merge",
        description="Write a complete checkpoint: merged, with tokenizer, chat template and end tokens.",
    )
    add = parser.add_argument
    add(
        "--model", required=True, metavar="DIR", help="folder of a checkpoint or adapter, or model on the hub"
    )
    add("--revision", metavar="COMMIT", help="commit of a model on the hub")
    add("--output", required=True, metavar="DIR", help="folder to write")
    dtypes = ["bfloat16", "float16", "float32"]
    add("--dtype", default="bfloat16", choices=dtypes, help="dtype of the saved weights (default: bfloat16)")
    add("--base", metavar="DIR", help="base of the adapter, if it has moved")
    for unit, token in (("document", "<|end_of_text|>"), ("turn", "<|eot_id|>")):
        text = f"end token of a {unit} (default: {token})"
        add(f"--{unit}_end", default=token, metavar="TOKEN", help=text)
    options = vars(parser.parse_args())
    ends = (options.pop("document_end"), options.pop("turn_end"))
    print(f"wrote {merge(**options, ends=ends)}")


if __name__ == "__main__":
    main()
