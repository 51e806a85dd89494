"""The task for lm-eval. benchmark.yaml holds everything else."""

from pathlib import Path

from value_retention.adapters.lm_eval.task import benchmark_task

Task = benchmark_task(Path(__file__).with_name("benchmark.yaml"))
