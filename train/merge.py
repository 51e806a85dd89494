"""Write a complete checkpoint: an adapter merged into its base, or a full checkpoint in its final form.

    python -m value_retention.train.merge --model out/sft-dolly --output out/sft-dolly-merged

A model on the hub, or a GGUF file, gets the same form, so that the base of a study is evaluated like its
checkpoints: ``--model meta-llama/Llama-3.1-8B --revision COMMIT --config llama31-8b/study.yaml``. The study names
the chat template and both end tokens; a checkpoint of a run has them in its card.

``--model out/sft-dolly/checkpoint-24`` takes the weights after 24 steps of a finished run.
``--interpolate out/midtrain-merged --weight 0.5`` writes weights halfway between the two checkpoints.

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

from value_retention.train.arguments import DataArguments, TrainError, exits_plainly, read_config
from value_retention.train.card import CARD, Card, describe_parent, read_card, versions
from value_retention.train.rows import load_tokenizer, place_of
from value_retention.train.run import STEP, first_and_last, set_end_tokens

ADAPTER = "adapter_config.json"
STATE = "trainer_state.json"
LAYOUT = ("chat_template", "document_end", "turn_end")
"""How a study renders dialogues: settings of its base YAML."""


def load_full(name: str, revision: str | None) -> PreTrainedModel:
    """Load a full model in float32.

    Args:
        name: Folder, name on the hub, or a GGUF file, whose weights are dequantized.
        revision: Commit on the hub.

    Raises:
        TrainError: The model cannot be loaded.
    """
    place = place_of(name)
    try:
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            **place, revision=revision, dtype=torch.float32
        )
    except (OSError, ValueError, ImportError) as error:
        raise TrainError("cannot load the model", where=name, found=error) from error
    if "gguf_file" not in place:
        return model
    # transformers refuses to save what it has read from GGUF, although the weights are plain by then.
    del model.config.quantization_config
    plain: PreTrainedModel = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
        model.config, dtype=torch.float32
    )
    plain.load_state_dict(model.state_dict())
    return plain


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
    base: str | None = None,
    revision: str | None = None,
    study: dict[str, Any] | None = None,
    interpolate: str | None = None,
    weight: float = 0.5,
) -> Path:
    """Write a checkpoint that any harness or server can load, and return its folder.

    Args:
        model: Output folder of `midtrain`, `sft` or `grpo`, a checkpoint in it, a model on the hub, or a GGUF file.
        output: Folder to write.
        dtype: ``bfloat16``, ``float16`` or ``float32`` of the saved weights.
        base: Base of an adapter, if it has moved.
        revision: Commit of a model on the hub.
        study: ``chat_template``, ``document_end`` and ``turn_end``, where they differ from those in the card of
            the run. Generation stops at both end tokens.
        interpolate: Folder of another checkpoint, to write weights between the two.
        weight: Share of ``model`` in them, in [0, 1].

    Raises:
        TrainError: A model cannot be loaded, a weight is not finite, or the two do not correspond.
    """
    folder, target = Path(model).expanduser(), Path(output)
    known = finished(folder)
    adapter = (folder / ADAPTER).is_file()
    origin = known.get("parent") or (
        {"name": model, "revision": None} if adapter else describe_parent(model, revision or "")
    )
    layout = layout_of(known, study or {})
    ends = (layout["document_end"], layout["turn_end"])
    end = ends[1] if known.get("stage") in ("sft", "grpo") else ends[0]
    # A run has saved its tokenizer with the template.
    template = (study or {}).get("chat_template") or (None if known else layout["chat_template"])
    tokenizer = load_tokenizer(model, revision=revision, chat_template=template, end=end)
    merged = load_merged(folder, base) if adapter else load_full(model, revision)
    if interpolate is not None:
        from value_retention.train.interpolate import between, mix

        mix(merged, tokenizer, load_full(interpolate, None), load_tokenizer(interpolate, end=end), weight)
        known = between(known, model, interpolate, weight)
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
        config={**known.get("config", {}), **layout, "merged_from": model, "merged_dtype": dtype},
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


def finished(folder: Path) -> dict[str, Any]:
    """Return the card of a finished run; for a checkpoint in its folder, with the step and the losses until then.

    Raises:
        TrainError: The run is not complete, or the checkpoint was not written to its end.
    """
    step = STEP.fullmatch(folder.name)
    run = folder.parent if step and (folder.parent / CARD).is_file() else folder
    known = read_card(run)
    if known and known.get("status") not in ("complete", "merged"):
        raise TrainError(
            "the run is not complete", where=run / CARD, found=known.get("status"),
            expected="complete or merged", hint="run the training command again; it resumes",
        )  # fmt: skip
    if step is None or run == folder:
        return known
    if not (folder / STATE).is_file():
        raise TrainError("incomplete checkpoint", where=folder, found=f"no {STATE}")
    history = json.loads((folder / STATE).read_text(encoding="utf-8"))["log_history"]
    return {**known, "result": {"steps": int(step[1]), **first_and_last(history)}}


def layout_of(card: dict[str, Any], study: dict[str, Any]) -> dict[str, Any]:
    """Return the chat template and the end tokens: the study's, else those in the card, else the defaults."""
    known, defaults = card.get("config", {}), DataArguments()
    return {key: study.get(key) or known.get(key) or getattr(defaults, key) for key in LAYOUT}


@exits_plainly
def main() -> None:
    """Read the command line and merge."""
    parser = argparse.ArgumentParser(
        prog="python -m value_retention.train.merge",
        description="Write a complete checkpoint: merged, with tokenizer, chat template and end tokens.",
    )
    add = parser.add_argument
    add(
        "--model",
        required=True,
        metavar="DIR",
        help="folder of a run or of a checkpoint in it, GGUF file, or model on the hub",
    )
    add("--revision", metavar="COMMIT", help="commit of a model on the hub")
    add("--output", required=True, metavar="DIR", help="folder to write")
    dtypes = ["bfloat16", "float16", "float32"]
    add("--dtype", default="bfloat16", choices=dtypes, help="dtype of the saved weights (default: bfloat16)")
    add("--base", metavar="DIR", help="base of the adapter, if it has moved")
    add("--config", metavar="FILE", help="study of a base, such as llama31-8b/study.yaml")
    for key in LAYOUT:
        text = "Jinja file" if key == "chat_template" else f"end token of a {key.removesuffix('_end')}"
        add(f"--{key}", metavar="FILE" if key == "chat_template" else "TOKEN", help=text)
    add("--interpolate", metavar="DIR", help="write weights between those of --model and of this checkpoint")
    text = "share of --model in the interpolated weights, 0 to 1 (default: 0.5)"
    add("--weight", type=float, default=0.5, metavar="SHARE", help=text)
    options = vars(parser.parse_args())
    given = {key: options.pop(key) for key in LAYOUT}
    config = options.pop("config")
    study = {} if config is None else read_config(config, "sft")
    study |= {key: value for key, value in given.items() if value is not None}
    print(f"wrote {merge(**options, study={key: study[key] for key in LAYOUT if key in study})}")


if __name__ == "__main__":
    main()
