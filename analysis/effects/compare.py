"""Compare reduced runs, in pairs or as the arms of an experiment: `RunScores` in, a `Result` out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from value_retention.analysis.effects.caveats import (
    asked_by,
    fragile_verdicts,
    left_out,
    same_answers,
)
from value_retention.analysis.effects.ceilings import ceilings_of
from value_retention.analysis.effects.comparisons import Comparison, comparisons_of, pairs
from value_retention.analysis.effects.design import Arm
from value_retention.analysis.effects.estimate import effects_of, run_scores
from value_retention.analysis.effects.families import explored, judged
from value_retention.analysis.effects.guards import guarded
from value_retention.analysis.effects.language import language_contrasts, with_notes
from value_retention.analysis.effects.provenance import judged_of, warnings_of
from value_retention.analysis.effects.result import Result
from value_retention.analysis.effects.rows import Contrast, Effect, Score, Share
from value_retention.analysis.effects.shares import retained_shares
from value_retention.analysis.runs.align import Panel, align, metrics_of
from value_retention.analysis.runs.identity import check_comparable, differences
from value_retention.analysis.runs.scores import RunScores
from value_retention.analysis.stats.seeds import ONE_SEED
from value_retention.analysis.stats.settings import Settings
from value_retention.tasks.errors import InputError
from value_retention.tasks.text import by_name

ONE_RUN_EACH = (
    "Each checkpoint is one training run. The intervals show how the difference would vary over other "
    "questions like these, not over other training runs with the same data."
)


BY_NAME = "No baseline is named: of two runs, the first by name is subtracted. --baseline NAME chooses it."


def compare_pairs(
    runs: Sequence[RunScores],
    settings: Settings,
    *,
    baseline: str | None = None,
    before: str | None = None,
    allow: Sequence[str] = (),
) -> Result:
    """Compare runs with a baseline, or every pair, on every figure of every benchmark they share.

    Args:
        runs: Reduced runs, two or more, in any order: the result has them by name, after ``before`` and ``baseline``.
        settings: Level, resamples, seed, margin, estimand.
        baseline: Name or path of the run to compare the others with; None for every pair.
        before: Name or path of the run before the value was trained in, for the retained share. Needs a baseline.
        allow: Aspects in which the runs may differ (keys of `identity.ASPECTS`).

    Raises:
        InputError: runs that are not comparable, or nothing to compare.
    """
    unique_names(runs)
    names = list(dict.fromkeys(run.run for run in runs))
    if len(names) < 2:
        raise InputError(
            "a comparison needs two runs", found=", ".join(names) or "no run", expected="two runs or more"
        )
    chosen = named_run(baseline, runs, "--baseline") if baseline is not None else None
    first = named_run(before, runs, "--before") if before is not None else None
    if first is not None and (chosen is None or chosen == first or len(names) < 3):
        raise InputError(
            "--before needs --baseline and a third run", where="--before", found=first,
            expected="three runs: before the value was trained in, with the value (--baseline), and after",
        )  # fmt: skip
    roles = [first, chosen]
    names.sort(key=lambda name: (roles.index(name) - 2 if name in roles else 0, by_name(name)))
    return _compare(
        runs, settings, allow, names, chosen, lambda panel: pairs(panel.runs, chosen, first),
        (ONE_RUN_EACH,) if chosen else (ONE_RUN_EACH, BY_NAME), before=first,
    )  # fmt: skip


def compare_arms(
    arms: Sequence[Arm], runs: Sequence[RunScores], settings: Settings, allow: Sequence[str] = ()
) -> Result:
    """Compare the arms of an experiment: every comparison of `comparisons_of`.

    Args:
        arms: The arms.
        runs: Their reduced runs; ``run.run`` is the arm's name. An arm may lack a benchmark.
        settings: Level, resamples, seed, margin, estimand.
        allow: Aspects in which the runs may differ.

    Raises:
        InputError: runs that are not comparable, one run given as two seeds, or nothing to compare.
    """
    known = {arm.name: arm for arm in arms}
    members = [run for run in runs if run.run in known]
    unique_names(members)
    _check_seeds(known, members)
    return _compare(
        members, settings, allow, list(known), None,
        lambda panel: comparisons_of([known[name] for name in panel.runs]), _seed_notes(arms), tuple(arms),
        next((arm.name for arm in arms if arm.before), None),
    )  # fmt: skip


def _compare(
    runs: Sequence[RunScores],
    settings: Settings,
    allow: Sequence[str],
    names: Sequence[str],
    baseline: str | None,
    plan: Callable[[Panel], list[Comparison]],
    notes: tuple[str, ...],
    arms: tuple[Arm, ...] = (),
    before: str | None = None,
) -> Result:
    """Align the runs of each benchmark, and estimate the comparisons that the plan makes of them.

    The result has the runs in the order of ``names``.
    """
    runs = sorted(runs, key=lambda run: (run.benchmark, names.index(run.run)))
    panels: list[Panel] = []
    planned: list[tuple[Comparison, ...]] = []
    said: list[str] = []
    missed: list[str] = []
    scores: list[Score] = []
    effects: list[Effect] = []
    contrasts: list[Contrast] = []
    shares: list[Share] = []
    for benchmark in dict.fromkeys(run.benchmark for run in runs):
        members = [run for run in runs if run.benchmark == benchmark]
        present = [run.run for run in members]
        missed += left_out(benchmark, present, names, baseline)
        if len(members) < 2 or (baseline and baseline not in present):
            continue
        said += _checked_alike(benchmark, members, allow)
        panel = align(members)
        comparisons = plan(panel)
        if not comparisons:
            continue
        panels.append(panel)
        planned.append(tuple(comparisons))
        metrics = metrics_of(panel)
        scores += run_scores(panel, metrics, settings)
        effects += effects_of(panel, metrics, comparisons, settings)
        contrasts += language_contrasts(panel, comparisons, settings)
        if before in panel.runs:
            shares += retained_shares(panel, metrics, comparisons, before, settings)
    if not effects:
        listed = "; ".join(f"{run.run}: {run.benchmark}" for run in runs)
        expected = "two runs of one benchmark" + (f", one of them {baseline}" if baseline else "")
        raise InputError("nothing to compare", found=listed or "no run", expected=expected)
    effects = judged(effects, settings)
    forms = guarded(panels, runs, planned, effects, settings)
    provenance = judged_of(runs)
    return Result(
        headline=(*warnings_of(provenance), *said, *missed, *fragile_verdicts(effects), *forms.headline()),
        notes=notes,
        judged=provenance,
        scores=tuple(scores),
        effects=tuple(effects),
        contrasts=tuple(with_notes(explored(contrasts), effects)),
        shares=tuple(shares),
        panels=tuple(panels),
        comparisons=tuple(planned),
        runs=tuple(runs),
        settings=settings,
        arms=arms,
        guarded=forms,
        ceilings=tuple(ceilings_of(runs, settings, allow)),
    )


def unique_names(runs: Iterable[RunScores]) -> None:
    """Refuse two runs of one name and benchmark, which a table could not tell apart."""
    seen: dict[tuple[str, str], RunScores] = {}
    for run in runs:
        other = seen.setdefault((run.run, run.benchmark), run)
        if other is not run:
            raise InputError(
                "two runs have the same name",
                where=", ".join((*other.files, *run.files)) or None,
                found=run.run,
                expected="a different name for each run",
                hint="name them on the command line: NAME=PATH",
            )


def _checked_alike(benchmark: str, members: Sequence[RunScores], allow: Sequence[str]) -> list[str]:
    """Refuse runs of a benchmark that were not asked and judged alike.

    Returns:
        Lines for the headline: allowed differences, harnesses, runs that are the same.

    Raises:
        InputError: a difference that is not allowed, or no common question.
    """
    found = differences(benchmark, [(run.run, run.files, run.identity) for run in members])
    allowed = check_comparable(found, allow)
    first = {question.item for question in members[0].questions}
    for run in members[1:]:
        own = {question.item for question in run.questions}
        if not own & first:
            raise InputError(
                "the runs have no common questions",
                where=" and ".join(f"{r.run} ({', '.join(r.files)})" for r in (members[0], run)),
                found=f"{len(first)} and {len(own)} questions of {run.benchmark}, none in both",
                expected="answers to the same questions",
            )
    return [*allowed, *asked_by(benchmark, members), *same_answers(benchmark, members)]


def named_run(baseline: str, runs: Sequence[RunScores], option: str) -> str:
    """Name of the run that the user means by a name or a path.

    Args:
        baseline: What the user gave.
        runs: The runs.
        option: Where, for the message.

    Raises:
        InputError: no run of that name or path, or several.
    """
    wanted = {baseline, baseline.rstrip("/"), Path(baseline).name}
    exact = [run.run for run in runs if run.run == baseline]
    loose = [run.run for run in runs if run.run in wanted or _holds(baseline, run.files)]
    names = list(dict.fromkeys(exact or loose))
    if len(names) != 1:
        raise InputError(
            "unknown run" if not names else "the name matches several runs",
            where=option,
            found=baseline,
            expected="one of " + ", ".join(dict.fromkeys(run.run for run in runs)),
        )
    return names[0]


def _holds(path: str, files: Sequence[str]) -> bool:
    """Whether a run's files are the path or lie below it."""
    root = Path(path).absolute()
    return any(root == Path(file).absolute() or root in Path(file).absolute().parents for file in files)


def _check_seeds(arms: dict[str, Arm], runs: Sequence[RunScores]) -> None:
    """Refuse one run given as two seeds: the spread between them would be exactly 0."""
    seen: dict[tuple[object, ...], RunScores] = {}
    for run in runs:
        arm = arms[run.run]
        other = run if not arm.trained else seen.setdefault((run.benchmark, arm.recipe, run.fingerprint), run)
        if other is not run:
            places = [f"{r.run} ({', '.join(r.files)})" if r.files else r.run for r in (other, run)]
            raise InputError(
                "one run is given as two training seeds",
                where="; ".join(places),
                found=f"the same answers to {run.benchmark} with the same grades, item by item",
                expected="a separate training run for every seed",
                hint="point each arm at the evaluation of its own checkpoint",
            )


def _seed_notes(arms: Sequence[Arm]) -> tuple[str, ...]:
    """What the training seeds of the arms do and do not support."""
    recipes = [arm.recipe for arm in arms if arm.trained]
    single = sorted({" ".join(r) for r in recipes if recipes.count(r) == 1})
    if len(single) == len(set(recipes)):
        return (ONE_SEED,)
    notes = [
        "Where a recipe has several training seeds, its intervals, p values and verdicts are those of new seeds. "
        "A base checkpoint is taken as given."
    ]
    if single:
        notes.append(f"One training run only, so no claim beyond that checkpoint: {', '.join(single)}.")
    return tuple(notes)
