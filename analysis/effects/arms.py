"""Estimates for an experiment with several arms: every arm, and every comparison of `arms.comparisons_of`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from value_retention.analysis.effects.caveats import left_out, part_only
from value_retention.analysis.effects.compare import check_margins, checked_alike, labels, unique_names
from value_retention.analysis.effects.design import Arm, Comparison, comparisons_of
from value_retention.analysis.effects.language import Contrast, contrasts_of
from value_retention.analysis.effects.paired import bootstrap_intervals, run_scores
from value_retention.analysis.effects.result import CONSTANT, FEW, NO_SCORE, Score, Settings
from value_retention.analysis.report.cells import MARK, TITLES
from value_retention.analysis.runs.align import Metric, Panel, align, cluster_tables, metrics_of
from value_retention.analysis.runs.scores import RunScores
from value_retention.analysis.stats import cluster, resample
from value_retention.analysis.stats.cluster import ALPHA, Floats
from value_retention.analysis.stats.equivalence import Verdict, holds_at_worst, tost_p, verdict
from value_retention.analysis.stats.fieller import Ratio
from value_retention.analysis.stats.seeds import ONE_SEED, SeedInterval, seed_interval
from value_retention.tasks.errors import InputError

LANGUAGE = "non-English − English"
"""Name of the figure that compares an effect between languages."""

READINGS = {"overall": "all rows", "non-English": "without English"}
"""What "multilingual" can mean, by the figure that it then is."""


@dataclass(frozen=True)
class ArmEffect:
    """One comparison of arms on one figure; points.

    Attributes:
        kind: Kind of the comparison; ``... x language`` for the difference between languages.
        benchmark: Its name.
        metric: ``overall``, ``English``, ``non-English`` or `LANGUAGE`.
        statement: The comparison in words.
        clusters: Independent units; for `LANGUAGE` those behind the English and behind the other effect.
        difference: Estimate.
        t_low: Lower end of the t interval over clusters.
        t_high: Upper end.
        boot_low: Lower end of the percentile cluster bootstrap.
        boot_high: Upper end.
        p: Raw p (sign-flip; t for `LANGUAGE`).
        p_holm: Holm-corrected over every test of this report.
        seeds: Interval with new seeds in view; None with one seed per arm.
        tost_p: Margin in points to the raw p of the equivalence test.
        verdicts: Margin in points to the verdict, by p values that are Holm-corrected over the report.
        worst_low: Least the difference could be, whatever the missing grades were.
        worst_high: Most it could be.
        verdict_holds: Margin to False where the missing grades could overturn its verdict.
        ratio: Only for `LANGUAGE`: non-English over English effect.
        design: Only for `LANGUAGE`: how the groups were compared.
        reasons: Column to the reason that it is None.
    """

    kind: str
    benchmark: str
    metric: str
    statement: str
    clusters: tuple[int, ...]
    difference: float | None
    t_low: float | None = None
    t_high: float | None = None
    boot_low: float | None = None
    boot_high: float | None = None
    p: float | None = None
    p_holm: float | None = None
    seeds: SeedInterval | None = None
    tost_p: dict[str, float] = field(default_factory=dict)
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    worst_low: float | None = None
    worst_high: float | None = None
    verdict_holds: dict[str, bool | None] = field(default_factory=dict)
    ratio: Ratio | None = None
    design: str = ""
    reasons: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class ArmsResult:
    """An experiment's table and comparisons.

    Attributes:
        headline: What must be read first.
        notes: What cannot be claimed.
        arms: The arms.
        scores: Every arm's scores.
        effects: Every comparison.
        settings: How they were computed.
        margins: Margins of the verdicts, points.
        files: What it was read from, the arms file first; nothing may be written over these.
    """

    headline: tuple[str, ...]
    notes: tuple[str, ...]
    arms: tuple[Arm, ...]
    scores: tuple[Score, ...]
    effects: tuple[ArmEffect, ...]
    settings: Settings
    margins: tuple[float, ...]
    files: tuple[str, ...] = ()

    def find(self, kind: str, benchmark: str, metric: str, statement: str = "") -> list[ArmEffect]:
        """Effects of a kind on a figure whose statement holds a text."""
        return [
            e
            for e in self.effects
            if (e.kind, e.benchmark, e.metric) == (kind, benchmark, metric) and statement in e.statement
        ]

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "schema": "value-retention/arms/1",
            "units": {"scores": "per cent", "differences": "percentage points"},
            "headline": list(self.headline),
            "notes": list(self.notes),
            "settings": asdict(self.settings),
            "margins": list(self.margins),
            "arms": [asdict(arm) for arm in self.arms],
            "scores": [asdict(score) for score in self.scores],
            "effects": [asdict(effect) for effect in self.effects],
        }


def analyse_arms(
    arms: Sequence[Arm],
    runs: Sequence[RunScores],
    settings: Settings,
    margins: Sequence[float] = (),
    allow: Sequence[str] = (),
) -> ArmsResult:
    """Analyse an experiment.

    Args:
        arms: The arms.
        runs: Their reduced runs; ``run.run`` is the arm's name. An arm may lack a benchmark.
        settings: Level, resamples, seed.
        margins: Points, for the verdicts.
        allow: Differences between runs to let through.

    Raises:
        InputError: arms that were not asked and judged alike, two seeds that are one run, or no benchmark that
            two arms share.
    """
    check_margins(margins, settings.level)
    unique_names(runs)
    headline, scores, effects = labels(runs), [], []
    missed: list[str] = []
    for benchmark in dict.fromkeys(run.benchmark for run in runs):
        members = [run for run in runs if run.benchmark == benchmark]
        lines = left_out(benchmark, [run.run for run in members], [arm.name for arm in arms])
        if len(members) < 2:
            headline += lines
            continue
        missed += lines
        _check_seeds(arms, members)
        headline += checked_alike(benchmark, members, allow)
        panel = align(members)
        headline += part_only(panel)
        metrics = [m for m in metrics_of(panel) if m.kind in ("overall", "group")]
        present = [arm for arm in arms if arm.name in panel.runs]
        scores += run_scores(panel, metrics, settings)
        for comparison in comparisons_of(present):
            effects += _estimate(panel, metrics, present, comparison, settings, margins)
    if not effects:
        names = ", ".join(arm.name for arm in arms)
        raise InputError("nothing to compare: no two arms share a benchmark", found=names)
    effects = _corrected(effects, margins)
    return ArmsResult(
        headline=(*headline, *_fragile(effects, runs)),
        notes=(*_notes(arms), *missed),
        arms=tuple(arms),
        scores=tuple(scores),
        effects=tuple(effects),
        settings=settings,
        margins=tuple(margins),
    )


def _check_seeds(arms: Sequence[Arm], members: Sequence[RunScores]) -> None:
    """Refuse one run given as two seeds: their spread would be exactly 0, and the interval a promise."""
    recipes = {arm.name: arm.recipe for arm in arms if not arm.base}
    seen: dict[tuple[object, str], RunScores] = {}
    for run in members:
        if run.run not in recipes:
            continue
        other = seen.setdefault((recipes[run.run], run.fingerprint), run)
        if other is not run:
            places = [f"{r.run} ({', '.join(r.files)})" if r.files else r.run for r in (other, run)]
            raise InputError(
                "one run given as two training seeds",
                where="; ".join(places),
                found=f"the same answers to {run.benchmark} with the same grades, item by item",
                expected="a training run of its own for every seed",
                hint="point each arm at the evaluation of its own checkpoint",
            )


def _fragile(effects: Sequence[ArmEffect], runs: Sequence[RunScores]) -> list[str]:
    """A line per benchmark where the missing grades could overturn verdicts."""
    found = []
    for benchmark in dict.fromkeys(effect.benchmark for effect in effects):
        held = [h for e in effects if e.benchmark == benchmark for h in e.verdict_holds.values()]
        if False in held:
            members = [run for run in runs if run.benchmark == benchmark]
            missing, expected = (
                sum(int(getattr(run, name)[:, 0].sum()) for run in members)
                for name in ("missing", "expected")
            )
            found.append(
                f"{TITLES.get(benchmark, benchmark)}: {missing} of {expected} grades are missing; with the worst "
                f"case the {held.count(False)} verdicts marked {MARK} would not hold."
            )
    return found


def _notes(arms: Sequence[Arm]) -> list[str]:
    recipes = [arm.recipe for arm in arms if not arm.base]
    single = sorted({" ".join(r) for r in recipes if recipes.count(r) == 1})
    if len(single) == len(set(recipes)):
        return [ONE_SEED]
    notes = ["Seed intervals let training seeds and questions vary; a base checkpoint is taken as given."]
    if single:
        notes.append(f"One training run only, so no claim beyond that checkpoint: {', '.join(single)}.")
    return notes


def _estimate(
    panel: Panel,
    metrics: Sequence[Metric],
    arms: Sequence[Arm],
    comparison: Comparison,
    settings: Settings,
    margins: Sequence[float],
) -> list[ArmEffect]:
    order = [panel.runs.index(arm.name) for arm in arms]
    used = [(w, r) for w, r in zip(comparison.weights.tolist(), order, strict=True) if w]
    values: Floats = np.sum([w * panel.score[r] for w, r in used], axis=0)
    low: Floats = np.sum([w * (panel.low if w > 0 else panel.high)[r] for w, r in used], axis=0)
    high: Floats = np.sum([w * (panel.high if w > 0 else panel.low)[r] for w, r in used], axis=0)
    worst = [cluster_tables(panel, metrics, bound[None]).estimate * 100 for bound in (low, high)]
    table = cluster_tables(panel, metrics, values[None])
    interval = cluster.t_interval(table, settings.level)
    boot_low, boot_high = bootstrap_intervals(panel, metrics, table, settings)
    p_values = resample.sign_flip_p(table, settings.resamples, settings.seed)
    found = []
    for k, metric in enumerate(metrics):
        effect = ArmEffect(
            comparison.kind,
            panel.benchmark,
            metric.name,
            comparison.statement,
            (int(table.clusters[k]),),
            None if np.isnan(table.estimate[k]) else float(table.estimate[k]) * 100,
        )
        reason = _untestable(effect, float(interval.se[k]))
        if reason:
            found.append(replace(effect, reasons=dict.fromkeys(("interval", "p", "verdict"), reason)))
            continue
        tost = {
            f"{m:g}": float(tost_p(table.estimate, interval.se, interval.df, m / 100)[k]) for m in margins
        }
        seeds = seed_interval(
            float(table.estimate[k]) * 100,
            float(interval.se[k]) * 100,
            effect.clusters[0],
            _seed_scores(panel, metric, arms, comparison),
            settings.level,
        )
        found.append(
            replace(
                effect,
                t_low=float(interval.low[k]) * 100,
                t_high=float(interval.high[k]) * 100,
                boot_low=float(boot_low[k]) * 100,
                boot_high=float(boot_high[k]) * 100,
                p=float(p_values[k]),
                seeds=seeds,
                tost_p=tost,
                worst_low=float(worst[0][k]),
                worst_high=float(worst[1][k]),
                reasons={} if seeds else {"seeds": "one training run in an arm"},
            )
        )
    names = (comparison.second, comparison.first)
    found += [_language_effect(comparison, c) for c in contrasts_of(panel, values[:, 0], names, settings)]
    return found


def _untestable(effect: ArmEffect, se: float) -> str:
    if not effect.clusters[0]:
        return NO_SCORE
    if effect.clusters[0] < cluster.MIN_CLUSTERS:
        return FEW
    return CONSTANT if se == 0 else ""


def _seed_scores(
    panel: Panel, metric: Metric, arms: Sequence[Arm], comparison: Comparison
) -> list[tuple[float, Floats]]:
    """Per recipe of a comparison its weight and the score of each seed, percent; the base is left out."""
    grouped: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
    for arm, weight in zip(arms, comparison.weights.tolist(), strict=True):
        if weight and not arm.base:
            score = panel.score[panel.runs.index(arm.name), metric.rows, 0]
            grouped.setdefault(arm.recipe, []).append((weight, float(np.nanmean(score)) * 100))
    return [(sum(w for w, _ in seeds), np.array([s for _, s in seeds])) for seeds in grouped.values()]


def _language_effect(comparison: Comparison, c: Contrast) -> ArmEffect:
    return ArmEffect(
        kind=f"{comparison.kind} x language",
        benchmark=c.benchmark,
        metric=LANGUAGE,
        statement=comparison.statement,
        clusters=(c.clusters_english, c.clusters_other),
        difference=c.difference,
        t_low=c.low,
        t_high=c.high,
        boot_low=c.boot_low,
        boot_high=c.boot_high,
        p=c.p,
        ratio=c.ratio,
        design=c.design,
        reasons=c.reasons,
    )


def _corrected(effects: Sequence[ArmEffect], margins: Sequence[float]) -> list[ArmEffect]:
    """Holm over every test of the report, equivalence tests per margin; then the verdicts."""
    holm = cluster.adjust([e.p for e in effects], "holm")
    corrected = [replace(e, p_holm=p) for e, p in zip(effects, holm, strict=True)]
    for margin in (f"{m:g}" for m in margins):
        tests = cluster.adjust([e.tost_p.get(margin) for e in corrected], "holm")
        for i, p in enumerate(tests):
            e = corrected[i]
            if p is None or e.t_low is None or e.t_high is None or e.p_holm is None:
                continue
            judged = verdict(p, e.t_low, e.t_high, e.p_holm)
            holds = holds_at_worst(judged, e.worst_low, e.worst_high, float(margin))
            corrected[i] = replace(
                e, verdicts={**e.verdicts, margin: judged}, verdict_holds={**e.verdict_holds, margin: holds}
            )
    return corrected


def significant(effect: ArmEffect) -> bool:
    """Whether an effect stands after the correction for every test of the report."""
    return effect.p_holm is not None and effect.p_holm < ALPHA
