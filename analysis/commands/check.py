"""``value-retention check``: a benchmark before its first run."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from value_retention.tasks.data import Dataset
    from value_retention.tasks.scale import Scale


@click.command("check")
@click.argument("benchmark", required=False)
@click.option(
    "--data", default="hub", help="Folder with the tables. Default: those that the definition names."
)
@click.option("--schema", "as_schema", is_flag=True, help="Print the JSON schema of benchmark.yaml.")
def command(benchmark: str | None, data: str, as_schema: bool) -> None:
    """Check BENCHMARK: a benchmark.yaml, its folder, or the name of a benchmark of this package.

    Reads the definition and the tables, shows the judge prompt of one question and how replies are read, counts
    questions and judge calls, and grades three invented answers with the judge `lexical`. Errors name the line of
    the file.
    """
    from value_retention.tasks.benchmark import find_benchmark, schema
    from value_retention.tasks.data import load_for_run

    if as_schema:
        click.echo(json.dumps(schema(), indent=2, ensure_ascii=False))
        return
    if benchmark is None:
        raise click.UsageError("Missing argument 'BENCHMARK'.")
    dataset = load_for_run(find_benchmark(benchmark, "BENCHMARK"), data)
    _show_content(dataset)
    _show_prompt(dataset)
    _show_replies(dataset.benchmark.judge.scale)
    _show_calls(dataset, benchmark, data)
    _show_trial(dataset)
    click.echo("\nno problem found")


def _show_content(dataset: Dataset) -> None:
    from value_retention.analysis.commands.plan import MIN_CLUSTERS
    from value_retention.tasks.text import printable

    benchmark, items = dataset.benchmark, dataset.items
    clusters = len({item.cluster for item in items})
    languages = list(dict.fromkeys(item.language for item in items))
    criteria = "a rubric for each" if items[0].rubric else f"{len(dataset.dimensions)} dimensions"
    turns = sorted({len(item.turns) for item in items})
    parts = [f"{len(items)} questions ({clusters} independent)", criteria]
    parts.append(f"{len(languages)} language{'s' if len(languages) > 1 else ''}: {', '.join(languages[:8])}")
    if turns != [0]:
        parts.append(f"{' to '.join(map(str, dict.fromkeys((turns[0], turns[-1]))))} replies of the user")
    click.echo(printable(f"{benchmark.title}, {benchmark.name} {benchmark.version}: {'; '.join(parts)}"))
    worth = benchmark.judge.scale.worth
    shown = worth if len(worth) <= 4 else (*worth[:2], ("...", None), worth[-1])
    click.echo("grades: " + ", ".join(g if w is None else f"{g} (worth {w:.3g})" for g, w in shown))
    for row in dataset.info.dropped:
        click.echo(printable(f"row {row.row} is not scored: {row.reason}"))
    if benchmark.size not in (None, dataset.info.rows):
        click.echo(
            f"the tables have {dataset.info.rows} questions and the file says `size: {benchmark.size}`: runs are "
            "marked until one of the two is changed"
        )
    if clusters < MIN_CLUSTERS:
        click.echo(f"fewer than {MIN_CLUSTERS} independent questions: `compare` gives no verdict")


def _show_prompt(dataset: Dataset) -> None:
    from value_retention.analysis.authoring.trial import example_prompt
    from value_retention.tasks.text import printable

    of, prompt = example_prompt(dataset)
    click.echo(f"\nJudge prompt for {of}, with an invented answer:\n")
    click.echo("\n".join(f"    {printable(line)}".rstrip() for line in prompt.splitlines()))
    click.echo()


def _show_replies(scale: Scale) -> None:
    from value_retention.analysis.authoring.trial import example_replies, unreadable_grades
    from value_retention.tasks.errors import InputError
    from value_retention.tasks.text import printable

    if unreadable := unreadable_grades(scale):
        raise InputError(
            "grades that cannot be read from a judge's reply",
            where="judge.grades",
            found=", ".join(map(repr, unreadable)),
            expected="labels of one line without `GRADE:`, or a `pattern` that reads them",
        )
    read, refused = example_replies(scale)
    lines = [f"{json.dumps(reply, ensure_ascii=False)} is worth {worth:.3g}" for reply, worth in read]
    lines += [f"{json.dumps(reply, ensure_ascii=False)} is not read: {reason}" for reply, reason in refused]
    if not read:
        lines.append("No reply is shown that is read: the pattern wants a form that `check` does not know.")
    click.echo("How replies of the judge are read:\n")
    click.echo(printable("".join(f"    {line}\n" for line in lines)))


def _show_calls(dataset: Dataset, benchmark: str, data: str) -> None:
    from value_retention.tasks.prompts import item_calls
    from value_retention.tasks.text import printable

    calls = sum(item_calls(dataset, item) for item in dataset.items)
    click.echo(f"Per epoch: {len(dataset.items):,} questions, {calls:,} judge calls")
    told = ["value-retention", "plan", "--tasks", benchmark]
    told += ["--data", data] if data != "hub" else []
    click.echo(printable(f"Tokens and cost: {shlex.join(told)}"))


def _show_trial(dataset: Dataset) -> None:
    from value_retention.analysis.authoring.trial import trial
    from value_retention.tasks.text import printable

    click.echo("\nTrial: invented answers, graded by `lexical` (it looks for phrases in quotes; not an LLM)")
    for record, answer in zip(trial(dataset), ("fitting", "plain", "empty"), strict=True):
        read = sum(grade.outcome == "graded" for grade in record.grades)
        score = "no score" if record.overall is None else f"score {record.overall:.2f}"
        line = (
            f"  question {record.item}, {answer} answer: {read} of {len(record.grades)} grades read, {score}"
        )
        click.echo(printable(line))
