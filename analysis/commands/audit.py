"""``value-retention audit``: from a base model and candidates to a verdict, a report and an exit status."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from value_retention.analysis.commands.options import Amount

if TYPE_CHECKING:
    from value_retention.analysis.audit.spec import Audit
    from value_retention.analysis.effects.result import Result

RETAINED, DEGRADED, INCONCLUSIVE, FAILED, INTERRUPTED = 0, 1, 2, 3, 130
"""Exit statuses."""

KEPT = ("retained", "retained, lower", "improved")
LOST = ("degraded", "degraded beyond the margin")


class Gate(click.Command):
    """A command whose errors of usage exit with `FAILED`: click's own status, 2, means inconclusive here."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """As click's, with another exit status for invalid options."""
        try:
            return super().make_context(*args, **kwargs)
        except click.UsageError as error:
            error.show()
            raise click.exceptions.Exit(FAILED) from None


@click.command("audit", cls=Gate, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument(
    "file", required=False, type=click.Path(dir_okay=False, path_type=Path), metavar="[AUDIT.YAML]"
)
@click.option("--base", help="The model that has the value: a path or a name.")
@click.option(
    "--candidate", "candidates", multiple=True, help="A model to audit; NAME=MODEL names it. Repeatable."
)
@click.option("--before", help="The model before the value was trained in: adds the retained share.")
@click.option("--judge", help="Judge, or several separated by commas.")
@click.option("--margin", type=Amount(min=0.01), help="Largest loss, in points, that counts as none.")
@click.option("--tasks", help="Benchmarks, separated by commas. Default: anima_2_2,moru_multi.")
@click.option("--capability", help="Tasks of lm-eval to compare beside the value, separated by commas.")
@click.option("--data", help="hub, hub:REPO@COMMIT, sample, or a folder. Default: hub.")
@click.option("--epochs", type=click.IntRange(min=1), help="Answers per question. Default: 5.")
@click.option(
    "--model", "engine", help="lm-eval's --model: hf, vllm, local-chat-completions, ... Default: hf."
)
@click.option("-o", "--output", type=click.Path(file_okay=False, path_type=Path),
              help="Folder of the audit. Default: the YAML's name, or `audit`.")  # fmt: skip
@click.option("--budget", type=Amount(min=0), help="Limit of what the judge may cost, in US dollars.")
@click.option(
    "--dry-run", is_flag=True, help="Check everything, print the estimate and the commands, and stop."
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask before spending.")
def command(file: Path | None, output: Path | None, dry_run: bool, yes: bool, **given: Any) -> None:
    """Evaluate a base model and candidates, judge and compare them, and write a report.

    The audit runs lm_eval (or Inspect) for every model with one judge, data, prompt and sampling. Run the same
    command again after an interruption: finished steps are not repeated, and nothing is paid for twice.

    Exit status: 0 every value is retained or improved, 1 one is degraded, 2 one is inconclusive, 3 the audit cannot
    be done.
    """
    from value_retention.analysis.audit.run import StepError
    from value_retention.tasks.errors import InputError

    try:
        audit, folder = _audit(file, output, given)
        status = _run(audit, folder, dry_run, yes)
    except (InputError, StepError) as error:
        click.echo(f"value-retention: {error}", err=True)
        status = FAILED
    except KeyboardInterrupt:
        click.echo("\nInterrupted. What is saved is kept: run the same command again to go on.", err=True)
        status = INTERRUPTED
    sys.exit(status)


def _audit(file: Path | None, output: Path | None, given: dict[str, Any]) -> tuple[Audit, Path]:
    """The audit, and its folder."""
    from value_retention.analysis.audit.spec import checked_audit, located, read_audit
    from value_retention.tasks.errors import InputError

    engine, named = given.pop("engine"), given.pop("candidates")
    changes = {key: value for key, value in given.items() if value is not None}
    if named:
        pairs = [(name, model) for name, _, model in (text.rpartition("=") for text in named)]
        changes["candidates"] = (
            dict(pairs) if all(name for name, _ in pairs) else [model for _, model in pairs]
        )
        if len(changes["candidates"]) < len(pairs) or any(name for name, _ in pairs) != all(
            name for name, _ in pairs
        ):
            raise InputError(
                "candidates need distinct names", where="--candidate", found=", ".join(named),
                expected="a NAME=MODEL for each",
            )  # fmt: skip
    if file is not None:
        if engine:
            raise InputError("--model belongs in the file", where=str(file), expected="lm_eval: {model: ...}")
        return read_audit(file, changes), output or file.with_suffix("")
    if missing := [f"--{name}" for name in ("base", "judge", "margin") if name not in changes]:
        raise InputError(
            "the audit is incomplete", found=f"without {', '.join(missing)}",
            expected="a YAML file, or --base, --candidate, --judge and --margin",
        )  # fmt: skip
    if engine:
        changes["lm_eval"] = {"model": engine}
    audit = checked_audit({"candidates": {}, **changes}, "options")
    return located(audit, Path()), output or Path("audit")


def _run(audit: Audit, folder: Path, dry_run: bool, yes: bool) -> int:
    """Check, ask, run the steps, and give the exit status."""
    from value_retention.analysis.audit.checks import check_audit
    from value_retention.analysis.audit.estimate import estimate, lines
    from value_retention.analysis.audit.run import Progress, locked, run_command
    from value_retention.analysis.audit.steps import answer_steps, free_folder, judge_step, ungraded
    from value_retention.analysis.planning.plan import caveat_lines

    datasets = check_audit(audit)
    folder = folder.resolve()
    free_folder(folder)
    with locked(folder) as held:
        answers = answer_steps(audit, folder)
        judge = judge_step(audit, folder, answers)
        steps = [*answers, *([judge] if judge else [])]
        left = [step for step in steps if not step.done]
        unanswered = [step.folder.name for step in left if step.folder.parent.name == "answers"]
        found = estimate(audit, datasets, unanswered, ungraded(judge))
        if said := lines(audit, found):
            said = caveat_lines(datasets) + said
        if dry_run:
            for line in said or ["nothing is left to ask"]:
                click.echo(line)
            for step in left:
                click.echo(" ".join(step.command))
            return RETAINED
        _agree(audit, said, found.usd, yes)
        with Progress(len(steps) + 1) as progress:
            for step in steps:
                if step not in left:
                    progress.done(step.title)
                    continue
                progress.begin(step.title)
                step.begin()
                log = folder / "steps" / f"{step.title.replace(' ', '-')}.log"
                run_command(step.title, step.command, log, held, progress)
                step.finish()
            progress.begin("comparison and report")
            began = time.monotonic()
            result = _compare(audit, folder)
            progress.done("comparison and report", time.monotonic() - began)
    return _show(audit, folder, result)


def _agree(audit: Audit, said: list[str], usd: float | None, yes: bool) -> None:
    """Ask before anything is spent.

    Raises:
        InputError: the estimate exceeds the budget, nobody can be asked, or the answer was no.
    """
    from value_retention.tasks.errors import InputError

    for line in said:
        click.echo(line)
    if usd is not None and audit.budget is not None and usd > audit.budget:
        raise InputError(
            "the estimate exceeds the budget", found=f"{usd:,.2f} US dollars", expected=f"at most {audit.budget:g}",
            hint="raise the budget, or ask fewer epochs, judges or benchmarks",
        )  # fmt: skip
    if yes or not said:
        return
    if not sys.stdin.isatty():
        raise InputError("nobody can be asked before this is spent", expected="--yes in scripts")
    if not click.confirm("Go on?"):
        raise InputError("stopped before anything was spent")


def _compare(audit: Audit, folder: Path) -> Result:
    """Compare the judged runs, and write the evidence folder in place of an earlier one."""
    from value_retention.analysis.audit.steps import capability_of, runs_of
    from value_retention.analysis.commands.inputs import compare_runs, load_all
    from value_retention.analysis.exchange.bundle import Options, write_evidence
    from value_retention.analysis.runs.load import Run

    paths = [f"{name}={path}" for name, found in runs_of(audit, folder).items() for path in found]
    before, kept = "before" if audit.before else None, list[Run]()
    result = compare_runs(
        paths, audit.settings(), {}, baseline="base", before=before, allow=audit.allow, kept=kept,
        load=lambda places: load_all(places, audit.judge_read), capability=capability_of(audit, folder),
    )  # fmt: skip
    options = Options("base", before, audit.allow)
    report, part = folder / "report", folder / "report.part"
    shutil.rmtree(part, ignore_errors=True)
    write_evidence(result, kept, options, part)
    shutil.rmtree(report, ignore_errors=True)
    part.replace(report)
    return result


def _show(audit: Audit, folder: Path, result: Result) -> int:
    """Print the first screen and the exit status in words."""
    from value_retention.analysis.report.screen import print_first_screen

    print_first_screen(result)
    status = status_of(result, audit)
    words = {RETAINED: "retained or improved", DEGRADED: "degraded", INCONCLUSIVE: "inconclusive"}
    click.echo(f"Exit status {status}: {words[status]}. Report: {folder / 'report' / 'report.html'}")
    return status


def status_of(result: Result, audit: Audit) -> int:
    """The exit status: the worst primary verdict of any candidate.

    A verdict that missing grades could overturn, a baseline near the floor, and a benchmark that could not be tested
    count as inconclusive.
    """
    verdicts = [
        (effect.verdict, effect.verdict_holds)
        for effect in result.effects
        if effect.tier == "primary" and effect.baseline == "base" and effect.run in audit.candidates
    ]
    if any(verdict in LOST and holds is not False for verdict, holds in verdicts):
        return DEGRADED
    complete = len(verdicts) == len(audit.candidates) * len(audit.tasks)
    kept = all(verdict in KEPT and holds is not False for verdict, holds in verdicts)
    return RETAINED if complete and kept else INCONCLUSIVE
