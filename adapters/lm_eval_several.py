"""Evaluate several small checkpoints in one process: a loop over ``lm_eval.simple_evaluate``.

    python -m value_retention.adapters.lm_eval_several out/logs tuned=out/tuned-merged other=out/other-merged \
        --tasks anima_2_2,moru_multi --apply_chat_template --metadata '{"judge": "lexical", "data": "sample"}'

A start of `lm_eval` takes 25 seconds of processor time, for imports and for the index of its own 14,000 task files. A
tiny checkpoint answers in a few seconds. Options are those of `lm_eval`, and so are the files written.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from value_retention.adapters.lm_eval_answers import stop
from value_retention.tasks.errors import InputError


def evaluate(checkpoints: dict[str, str], logs: Path, metadata: dict[str, Any], **options: Any) -> None:
    """Evaluate checkpoints one after the other, each as `lm_eval` does with ``--log_samples``.

    Args:
        checkpoints: Folder by name.
        logs: Folder for the results, in a folder for each name.
        metadata: lm-eval's ``--metadata``: judge, data and epochs.
        options: Further arguments of ``lm_eval.simple_evaluate``.
    """
    from lm_eval import simple_evaluate
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.tasks import TaskManager

    known: dict[str, Any] = {"pretrained": "", **metadata}
    # The manager keeps this very mapping, and reads it for every task that it makes.
    manager = TaskManager(metadata=known)
    for name, folder in checkpoints.items():
        tracker = EvaluationTracker(output_path=str(logs / name))
        known["pretrained"] = folder  # as the command does: a record names its model
        results = simple_evaluate(
            model_args={"pretrained": folder},
            task_manager=manager,
            evaluation_tracker=tracker,
            metadata=dict(known),
            log_samples=True,
            **options,
        )
        samples = results.pop("samples")
        tracker.save_results_aggregated(results=results, samples=samples)
        for task in results["configs"]:
            tracker.save_results_samples(task_name=task, samples=samples[task])
        print(f"evaluated {name}", flush=True)


def main() -> None:
    """Read the command line and evaluate."""
    parser = argparse.ArgumentParser(
        prog="python -m value_retention.adapters.lm_eval_several", description=__doc__
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("logs", type=Path, metavar="LOGS", help="folder for the results, with a folder for each name")
    add("checkpoints", nargs="+", metavar="NAME=FOLDER", help="checkpoints")
    add("--tasks", required=True, help="tasks, with commas between them")
    add("--model", default="hf", help="lm-eval's name of the engine (default: hf)")
    add("--device", help="cpu or cuda")
    add("--batch_size", default=1, help="questions answered at once")
    add("--apply_chat_template", action="store_true", help="ask as in a chat")
    add("--gen_kwargs", metavar="KEY=VALUE,...", help="settings of generation")
    add("--metadata", type=json.loads, default={}, metavar="JSON", help="judge, data and epochs")
    options = vars(parser.parse_args())
    named = dict(text.partition("=")[::2] for text in options.pop("checkpoints"))
    missing = [text for text in named.values() if not Path(text).is_dir()]
    if missing:
        parser.error(f"checkpoint folder not found: {', '.join(missing)}; expected NAME=FOLDER")
    settings = (options.pop("logs"), options.pop("metadata"))
    try:
        evaluate(named, *settings, tasks=options.pop("tasks").split(","), **options)
    except InputError as error:
        raise stop(f"value-retention: {error}") from error


if __name__ == "__main__":
    main()
