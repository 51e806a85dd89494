"""What the process imports from which `forked.py` forks every command line."""

import sys
from importlib import import_module
from pathlib import Path

# `python -m pytest` puts the clone on the path, where the metadata of an editable install hides the entry points from
# Inspect. A console script does not see it.
sys.path[:] = [path for path in sys.path if path and Path(path) != Path(__file__).resolve().parents[1]]

for name in (
    *(
        "lm_eval.__main__",
        "lm_eval.evaluator",
        "lm_eval.models.huggingface",
        "lm_eval.models.openai_completions",
    ),
    *("inspect_ai._cli.main", "inspect_evals._registry", "openai.resources.responses", "pytablewriter"),
    *("acp", "fastapi", "opentelemetry", "uvicorn"),
    *("value_retention.adapters.lm_eval.task", "value_retention.adapters.inspect.tasks"),
    *(
        "value_retention.analysis.cli",
        "scipy.stats",
        "statsmodels.stats.multitest",
        "pandas",
        "matplotlib.figure",
    ),
    *(f"value_retention.train.{name}" for name in ("data", "midtrain", "sft", "grpo", "merge", "tiny")),
    *("trl.trainer.sft_trainer", "trl.trainer.grpo_trainer"),
):
    import_module(name)
# Inspect reads its list of models once in a process, which takes a second.
import_module("inspect_ai.model").get_model("openai/gpt-5-mini", api_key="x")
