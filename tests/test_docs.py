"""Every command in the README and in docs/ is run, on sample items; what is replaced for that stands in one table.

Commands run in forks of one process that has imported the programs (`forked.py`), each in a folder that looks like a
clone with two runs in it. A command that matches no known program fails.
"""

from __future__ import annotations

import csv
import json
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import forked
import pytest
from helpers import ROOT, Server, environment, run, scripted_server
from test_capability import write_tasks

PAGES = ["README.md", "CONTRIBUTING.md", *sorted(f"docs/{file.name}" for file in ROOT.glob("docs/*.md"))]

# -- the table: what is replaced, and what is not run ----------------------------------------------------


@dataclass(frozen=True)
class Replaced:
    """Part of a command that cannot be had here; `by` may name ``{url}``, the scripted server's address."""

    pattern: str
    by: str
    why: str


REPLACED = (
    Replaced(
        r"--model vllm --model_args pretrained=CHECKPOINT(,tensor_parallel_size=1)?",
        "--model hf --device cpu --batch_size 33 --gen_kwargs max_gen_toks=8 --limit 6 "
        "--model_args pretrained=checkpoint",
        "no GPU: a tiny checkpoint on the CPU, with short answers to six questions of each task",
    ),
    Replaced(r"vllm/CHECKPOINT", "openai/checkpoint", "no GPU: the scripted server answers"),
    Replaced(r"http://127.0.0.1:8000/v1", "{url}", "the scripted server stands for a model that is served"),
    Replaced(r"google/gemini-2.5-flash-lite", "openai/gemini", "only OpenAI's client is installed"),
    Replaced(
        r"(value-retention (plan|contamination)\b(?!.*( --data|benchmark\.yaml)).*)",
        r"\1 --data sample",
        "no hub",
    ),
    Replaced(
        r"--from rows.csv",
        "--from docs/examples/kindness-under-pressure/questions.csv",
        "a table of the reader's",
    ),
    Replaced(
        r"(lm_eval --include_path .*){\"judge\"",
        r'\1{"data": "hub", "judge"',
        "the environment names the sample items; this benchmark has its tables beside it",
    ),
    Replaced(r"(inspect eval value_retention/benchmark .*)", r"\1 -T data=hub", "the same, in Inspect"),
    Replaced(r"(inspect eval .*)", r"\1 --limit 6", "time"),
    Replaced(
        r"(value-retention audit .*)",
        r"\1 --data sample --dry-run",
        "no GPU and no hub: tests/test_audit.py runs audits",
    ),
    Replaced(
        r"(value-retention probe .*)",
        r"\1 --keep truncated --keep 'other language' --ratio 10",
        "time: answers of eight tokens",
    ),
    Replaced(r"dolly=out/sft-dolly", "dolly=checkpoint", "training takes time"),
    Replaced(r"(python tests/simulation.py)", r"\1 20", "time: 20 simulated runs, not 4,000"),
    Replaced(r"meta-llama/Llama-3.1-8B", "checkpoint", "no hub: the tokenizer of the tiny checkpoint"),
    Replaced(
        r"(train.data --config )llama31-8b/",
        r"\1tiny/",
        "no hub: the same arm's configuration for the samples",
    ),
    Replaced(
        r"(train.sft --config )llama31-8b/(\S+ --model_name_or_path.*)",
        r"\1tiny/\2 --max_steps 2",
        "no hub and no GPU: the same arm in the miniature, two steps; the line as written is parsed too",
    ),
    Replaced(r"sft-dolly/checkpoint-24", "sft-dolly/checkpoint-2", "that run has two steps"),
    Replaced(
        r"ours=runs/base",
        "ours=runs/no-braces",
        "the upstream eval stops at braces, which the sample items have on purpose",
    ),
    Replaced(r"runs/(base|tuned)-ifeval", r"runs/\1", "no hub: a task of the tests, evaluated with the runs"),
    Replaced(
        r"value-retention (calibrate|compare .* --calibration) labels.csv",
        r"people label.csv && \g<0>",
        "people fill in the labels",
    ),
)
ENVIRONMENT = {
    "VALUE_RETENTION_DATA": "sample",  # no hub
    "VALUE_RETENTION_EPOCHS": "1",  # time
    "OPENAI_API_KEY": "x",  # the scripted server is every OpenAI model
    "INSPECT_DISPLAY": "plain",
}


@dataclass(frozen=True)
class NotRun:
    """A command whose line is checked and that is not run here."""

    pattern: str
    check: str
    """Name of the check."""
    why: str


NOT_RUN = (
    NotRun(r"cd value-retention", "nothing", "the tests start there"),
    NotRun(r"(\.venv/bin/)?pip install", "extra", "needs a package index, and would change this environment"),
    NotRun(r"make ", "goal", ".ci/run runs the goals in a fresh clone; here make reads them (-n)"),
    NotRun(r"\.venv/bin/pre-commit", "hooks", "would change the clone"),
    NotRun(r"vllm serve", "nothing", "vLLM is not in this environment; tests/test_vllm.py serves a judge"),
    NotRun(r"accelerate launch", "parse", "needs eight GPUs; options and configurations are read"),
)
ALSO_PARSED = r"python -m value_retention\.train\.sft "
"""Commands of which the line as written is parsed by the program, since it is run with replacements."""

# -- reading the pages -----------------------------------------------------------------------------------


def blocks(page: str, language: str) -> Iterator[tuple[int, str]]:
    """Line number and text of every fenced block of a language."""
    text = (ROOT / page).read_text("utf-8")
    for found in re.finditer(rf"^```{language}\n(.*?)^```$", text, re.S | re.M):
        yield text.count("\n", 0, found.start(1)) + 1, found[1]


def commands(page: str) -> Iterator[tuple[str, str]]:
    """Place and text of every command: a line with what continues it, without comments."""
    for first, block in blocks(page, "bash"):
        line = first
        for text in re.split(r"(?<!\\)\n", block):
            words = re.sub(r"\\\n\s*", "", text)
            words = re.sub(r"\s+# .*$|^#.*$", "", words).strip()
            if words:
                yield f"{page}:{line}", words
            line += text.count("\n") + 1


def replaced(command: str, url: str = "http://server/v1") -> str:
    for rule in REPLACED:
        command = re.sub(rule.pattern, rule.by, command)
    return command.replace("{url}", url)


def not_run(command: str) -> NotRun | None:
    return next((rule for rule in NOT_RUN if re.match(rule.pattern, command)), None)


PROGRAMS = ("lm_eval", "inspect", "value-retention", "python", "export")


@pytest.mark.parametrize("page", PAGES)
def test_every_command_is_of_a_known_program(page: str) -> None:
    for place, command in commands(page):
        known = not_run(command) or command.split()[0] in PROGRAMS
        assert known, f"{place}: no rule for {command!r}"


@pytest.mark.parametrize("rule", [*REPLACED, *NOT_RUN], ids=lambda rule: rule.pattern)
def test_every_rule_is_needed(rule: Replaced | NotRun) -> None:
    everything = [command for page in PAGES for _, command in commands(page)]
    assert any(re.search(rule.pattern, command) for command in everything)


# -- running ---------------------------------------------------------------------------------------------

FOLDERS = ("adapters", "analysis", "docs", "tasks", "tests", "train", "value_retention")
FILES = ("Makefile", "pyproject.toml", "setup.py")


class Clone:
    """A folder that looks like a clone, in which commands run."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.environment = {**environment(**ENVIRONMENT), "OPENAI_BASE_URL": url}
        self.environment["VALUE_RETENTION_JOURNAL_DIR"] = str(folder / "journals")
        folder.mkdir()
        for name in (*FOLDERS, *FILES):
            (folder / name).symlink_to(ROOT / name)

    def run(self, command: str, place: str = "", parse: bool = False, **more: str) -> str:
        """Run a command line that has to succeed, and return what it printed."""
        execute = read_only if parse else None
        done = forked.run(shlex.split(command), self.environment | more, self.folder, execute=execute)
        output = done.stdout + done.stderr
        assert done.returncode == 0, f"{place}: {command}\nexit status {done.returncode}\n{output[-3000:]}"
        return output


def read_only(command: list[str]) -> None:
    """Read a training command's whole line with the real parsers, and stop where it would read data."""
    if command[0] == "accelerate":
        from accelerate.commands.config.config_args import load_config_from_file
        from accelerate.commands.launch import launch_command_parser

        options = launch_command_parser().parse_args(command[2:])
        assert options.module
        assert load_config_from_file(options.config_file).num_processes == 8
        module, arguments = options.training_script, options.training_script_args
    else:
        module, arguments = command[2], command[3:]
    script: Any = import_module(module)
    reached = []
    script.run_stage = lambda *parsed: reached.append(parsed)
    # transformers refuses bf16 where there is no GPU.
    sys.argv = [module, *arguments, "--use_cpu", "true", "--bf16", "false"]
    script.main()
    assert reached, "the script did not get as far as its data"


@pytest.fixture(scope="session")
def served() -> Iterator[Server]:
    with scripted_server() as running:
        yield running


LM_EVAL = (
    "lm_eval --tasks anima_2_2,moru_multi,cap_words --include_path other --model hf --device cpu --batch_size 33 "
    "--gen_kwargs max_gen_toks=8 "
    '--limit 6 --log_samples --metadata \'{"judge": "openai/gpt-5-mini"}\' '
)


def without_braces(rows: str) -> str:
    """Rows that the upstream eval can read: it takes a brace in a text for a field, and stops."""
    records = [json.loads(line) for line in rows.splitlines()]
    for record in records:
        for name in ("question", "guiding_question", "observable_indicators"):
            if name in record:
                record[name] = re.sub(r"(?<!{){(?!{)|(?<!})}(?!})", "", record[name])
    return "".join(json.dumps(record) + "\n" for record in records)


ANIMA_CARD = """---
configs:
- {config_name: questions, data_files: questions/*}
- {config_name: dimensions, data_files: dimensions/*}
---
"""


@pytest.fixture(scope="session")
def runs(served: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three checkpoints and their runs by lm-eval, and a log of the upstream eval."""
    made = Clone(tmp_path_factory.mktemp("docs") / "made", served.url)
    (made.folder / "other").mkdir()
    write_tasks(made.folder / "other")
    for seed, name in enumerate(("base", "tuned", "sft-magicoder")):
        made.run(f"python -m value_retention.train.tiny --output {name} --seed {seed}")
        made.run(f"{LM_EVAL} --model_args pretrained={name} --output_path runs/{name}")
    for name, copy in (("tuned", "sft-dolly"), ("sft-magicoder", "midtrain"), ("base", "sft-dolly-replay10")):
        shutil.copytree(made.folder / "runs" / name, made.folder / "runs" / copy)
    rows = made.folder / "rows" / "anima"
    for name in ("questions", "dimensions"):
        (rows / name).mkdir(parents=True)
        text = (ROOT / "tasks" / "sample" / "anima" / f"{name}.jsonl").read_text("utf-8")
        (rows / name / "rows.jsonl").write_text(without_braces(text), "utf-8")
    (rows / "README.md").write_text(ANIMA_CARD)
    eval_ = "inspect eval {} --model openai/model --model-role grader=openai/gpt-5-mini --limit 6 --epochs 1 "
    eval_ += "--log-dir {} "
    made.run(eval_.format("value_retention/anima_2_2", "runs/no-braces") + "-T data=rows")
    made.run(eval_.format("inspect_evals/anima", "log") + "-T dataset_repo_id=rows/anima")
    (log,) = (made.folder / "log").glob("*.eval")
    log.rename(made.folder / "anima.eval")
    return made.folder


@pytest.fixture
def clone(runs: Path, served: Server, tmp_path: Path) -> Clone:
    """A clone with the runs that the pages speak of."""
    made = Clone(tmp_path / "clone", served.url)
    shutil.copytree(runs / "runs", made.folder / "runs")
    shutil.copytree(runs / "tuned", made.folder / "checkpoint")
    shutil.copytree(runs / "base", made.folder / "out" / "midtrain-merged")
    shutil.copy(runs / "anima.eval", made.folder)
    return made


def label(file: Path) -> None:
    """What people do between the two steps of a calibration."""
    with file.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) > 50
    for number, row in enumerate(rows):
        row["label"] = str(int(number % 3 > 0))
    with file.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.DictWriter(lines, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


WRITES = {
    *("-o", "--output", "--output_path", "--output_dir", "--drop"),
    *("--json", "--csv", "--parquet", "--latex", "--plots"),
}


def check(rule: NotRun, clone: Clone, place: str, command: str) -> None:
    """The check of a command that is not run."""
    if rule.check == "extra":
        extra = re.search(r"\[(\w+)\]", command)
        assert extra is None or f"\n{extra[1]} = [" in (ROOT / "pyproject.toml").read_text(), place
    elif rule.check == "goal":
        done = run("make", "-n", *shlex.split(command)[1:], cwd=clone.folder, MAKEFLAGS=None, MFLAGS=None)
        assert done.returncode == 0, f"{place}: {done.stderr}"
    elif rule.check == "hooks":
        assert (ROOT / ".pre-commit-config.yaml").is_file(), place
    elif rule.check == "parse":
        clone.run(command, place, parse=True)


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if any(commands(page))])
def test_commands_run(page: str, clone: Clone, served: Server) -> None:
    for _, text in blocks(page, "yaml"):
        if name := re.match(r"# (\S+\.yaml)\n", text):
            (clone.folder / name[1]).write_text(text)
    exported: dict[str, str] = {}
    for place, command in commands(page):
        if rule := not_run(command):
            check(rule, clone, place, command)
            continue
        if re.match(ALSO_PARSED, command):
            clone.run(command, place, parse=True)
        people, _, command = replaced(command, served.url).rpartition(" && ")
        if people:
            label(clone.folder / "labels.csv")
        words = shlex.split(command)
        if words[0] == "export":
            exported |= dict(word.split("=", 1) for word in words[1:])
            continue
        clone.run(command, place, **exported)
        for option, value in pairwise(words):
            assert option not in WRITES or (clone.folder / value).exists(), f"{place}: no {value}"


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if any(blocks(page, "python"))])
def test_python_runs(page: str, clone: Clone) -> None:
    for line, text in blocks(page, "python"):
        clone.run(f"python -c {shlex.quote(text)}", f"{page}:{line}")


# -- names in the text -----------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """Of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md", "train/samples/README.md"])
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", (ROOT / page).read_text("utf-8")):
        if target.startswith("https://"):
            continue
        file, _, anchor = target.partition("#")
        there = (ROOT / page).parent / file if file else ROOT / page
        assert there.exists(), f"{page}: {target}"
        assert not anchor or anchor in anchors(there), f"{page}: {target}"


def spans(page: str) -> list[str]:
    """Inline code, outside of fenced blocks."""
    text = re.sub(r"^```.*?^```$", "", (ROOT / page).read_text("utf-8"), flags=re.S | re.M)
    return re.findall(r"`([^`\n]+)`", text)


@pytest.mark.parametrize("page", PAGES)
def test_names_in_the_text_exist(page: str) -> None:
    """Commands with their options, make goals, files of the project, and our variables."""
    from value_retention.analysis.cli import cli

    makefile = (ROOT / "Makefile").read_text("utf-8")
    code = "".join(
        file.read_text("utf-8")
        for folder in ("adapters", "tasks", "tests")
        for file in (ROOT / folder).rglob("*.py")
    )
    for span in spans(page):
        words = span.split()
        if words[0] == "value-retention" and len(words) > 1 and not words[1].startswith("-"):
            command = cli.get_command(None, words[1])  # type: ignore[arg-type]
            assert command is not None, span
            options = {option for parameter in command.params for option in parameter.opts}
            assert {word for word in words if word.startswith("--")} <= options, span
        elif words[0] == "make" and len(words) > 1:
            assert re.search(rf"^{words[1]}:", makefile, re.M), span
        elif re.match(r"(tests|tasks|adapters|analysis|train)/[a-z0-9_/.]*$", span):
            assert (ROOT / span).exists(), span
    for variable in re.findall(r"\bVALUE_RETENTION_[A-Z_]+\b", (ROOT / page).read_text("utf-8")):
        name = variable.removeprefix("VALUE_RETENTION_").lower()
        assert variable in code or f'"{name}"' in code, variable
