"""The parent of the commands of `test_docs.py`: it imports the programs once, and forks for every command.

Reads a job a line from standard input, JSON with ``argv``, ``environment``, ``folder``, ``log`` and ``parse``,
and answers with its exit status.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import sys
import traceback
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

LIMIT = 300
"""Seconds for a command."""
IMPORTED = [
    *(
        "lm_eval.__main__",
        "lm_eval.evaluator",
        "lm_eval.models.huggingface",
        "lm_eval.models.openai_completions",
    ),
    *("inspect_ai._cli.main", "inspect_evals._registry", "openai.resources.responses", "pytablewriter"),
    *("acp", "fastapi", "opentelemetry", "uvicorn"),
    *("value_retention.adapters.lm_eval_task", "value_retention.adapters.inspect_tasks"),
    *(
        "value_retention.analysis.cli",
        "scipy.stats",
        "statsmodels.stats.multitest",
        "pandas",
        "matplotlib.figure",
    ),
    *(f"value_retention.train.{name}" for name in ("data", "sft", "merge", "tiny")),
    "trl.trainer.sft_trainer",
]


def main() -> None:
    """Serve until standard input ends."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for name in IMPORTED:
        import_module(name)
    # Inspect reads its list of models once in a process, which takes a second.
    import_module("inspect_ai.model").get_model("openai/gpt-5-mini", api_key="x")
    for line in iter(sys.stdin.readline, ""):
        job = json.loads(line)
        if (child := os.fork()) == 0:
            signal.alarm(LIMIT)
            os._exit(status_of(job))  # taking the parent's modules apart would take seconds
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), file=replies, flush=True)


def status_of(job: dict[str, Any]) -> int:
    """Run a command to its end. Returns its exit status."""
    status = 1
    try:
        become(job)
        sys.exit(parse(job["argv"]) if job["parse"] else execute(job["argv"]))
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    return status


def become(job: dict[str, Any]) -> None:
    """Take on a command's folder, environment and output, and be as fresh as it needs to be."""
    output = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for number, descriptor in enumerate((os.open(os.devnull, os.O_RDONLY), output, output)):
        os.dup2(descriptor, number)
    os.chdir(job["folder"])
    os.environ.clear()
    os.environ.update(job["environment"])
    if any(word.startswith("value_retention.train.") for word in job["argv"]):
        forget_ours()
    elif "audit" not in job["argv"]:  # an audit checks the names of lm-eval's tasks
        read_our_tasks_only()


def forget_ours() -> None:
    """A training process refuses to start with the benchmarks imported, which the parent has done."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "value_retention"]:
        del sys.modules[name]


def read_our_tasks_only() -> None:
    """lm-eval reads the 13,000 files of its own tasks at every start, which takes ten seconds."""
    import lm_eval.tasks
    from lm_eval.tasks._index import TaskIndex

    theirs = Path(lm_eval.tasks.__file__).parent
    every = TaskIndex._iter_yaml_files
    TaskIndex._iter_yaml_files = staticmethod(lambda root: () if Path(root) == theirs else every(root))


def execute(argv: list[str]) -> Any:
    """What the shell would run: a console script, a module, a script or a piece of Python."""
    if argv[0] != "python":
        (script,) = entry_points(group="console_scripts", name=argv[0])
        sys.argv = argv
        return script.load()()
    if argv[1] == "-c":
        return exec(compile(argv[2], "block", "exec"), {"__name__": "__main__"})
    if argv[1] == "-m":
        sys.argv = argv[2:]
        runpy.run_module(argv[2], run_name="__main__", alter_sys=True)
    else:
        sys.argv = argv[1:]
        runpy.run_path(argv[1], run_name="__main__")
    return 0


def parse(argv: list[str]) -> None:
    """Read a training command's whole line with the real parsers, and stop where it would read data."""
    if argv[0] == "accelerate":
        from accelerate.commands.config.config_args import load_config_from_file
        from accelerate.commands.launch import launch_command_parser

        options = launch_command_parser().parse_args(argv[2:])
        assert options.module
        assert load_config_from_file(options.config_file).num_processes == 8
        module, arguments = options.training_script, options.training_script_args
    else:
        module, arguments = argv[2], argv[3:]
    script: Any = import_module(module)
    reached = []
    script.run_stage = lambda *parsed: reached.append(parsed)
    # transformers refuses bf16 where there is no GPU.
    sys.argv = [module, *arguments, "--use_cpu", "true", "--bf16", "false"]
    script.main()
    assert reached, "the script did not get as far as its data"


if __name__ == "__main__":
    main()
