"""The first screen of a comparison, the same in the terminal and on the page: scores, verdicts, what they rest on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import version

from value_retention.analysis.effects.provenance import each
from value_retention.analysis.effects.result import Result
from value_retention.analysis.effects.rows import Effect
from value_retention.analysis.effects.verdicts import CEILING, FLOOR
from value_retention.analysis.report.capability import capability_lines
from value_retention.analysis.report.cells import (
    UNADJUSTED,
    estimands,
    interval,
    interval_text,
    number,
    or_reason,
    sentence,
    share_cells,
    verdict_text,
)
from value_retention.analysis.report.guards import guard_lines
from value_retention.analysis.report.sensitivity import caution, judge_errors
from value_retention.analysis.report.tables import Table
from value_retention.analysis.report.trajectory import first_losses
from value_retention.analysis.runs.align import OVERALL
from value_retention.analysis.runs.names import title_of

SENTENCES: tuple[Callable[[Result], Iterable[str]], ...] = (first_losses, capability_lines)
"""Further sentences below the verdicts, each from the module that computes it."""

DAGGER = f"{UNADJUSTED}: not adjusted for the other tests."

WORST_FIRST = (
    "degraded beyond the margin", "degraded", FLOOR, "inconclusive", None, "not tested", "retained, lower", CEILING,
    "retained", "improved",
)  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """What a primary comparison shows.

    Attributes:
        benchmark: Title of the benchmark.
        word: Benchmark, comparison and verdict.
        sentence: Figure, interval, clusters and verdict in words.
        short: Comparison, verdict, difference, interval and retained share.
        share: The retained share; empty where the checkpoint before is not known.
        more: Both estimands and judge errors.
        caution: A warning about the interval; empty if there is none.
    """

    benchmark: str
    word: str
    sentence: str
    short: str
    share: str
    more: list[str]
    caution: str


def verdicts(result: Result) -> list[Verdict]:
    """The primary comparisons of each benchmark, the worst first."""
    return [_verdict(effect, result) for effect in worst_first(result)]


def worst_first(result: Result) -> list[Effect]:
    """The primary effects of each benchmark, the worst first."""
    order = [panel.benchmark for panel in result.panels]
    primary = [effect for effect in result.effects if effect.tier == "primary"]
    return sorted(
        primary, key=lambda e: (order.index(e.benchmark), WORST_FIRST.index(e.verdict), e.difference or 0.0)
    )


def _verdict(effect: Effect, result: Result) -> Verdict:
    comparison = f"{title_of(effect.benchmark)}, {effect.statement}"
    brief = verdict_text(effect, long=False) or "no verdict"
    before, share = _share(effect, result)
    figures = f"{number(effect.difference, sign=True)} {interval_text(effect)}".strip() or "no score"
    return Verdict(
        title_of(effect.benchmark),
        f"{comparison}: {brief}",
        sentence(effect, result),
        f"{comparison}: {brief}, {figures}" + (f"; retained share {share}" if share else ""),
        f"retained share of the gain over {before}: {share}" if share else "",
        [line.strip() for line in (estimands(effect), *judge_errors(effect, result)) if line],
        "; ".join(line.strip() for line in (caution(effect), *guard_lines(effect, result)) if line),
    )


def _share(effect: Effect, result: Result) -> tuple[str, str]:
    """The run before, and the retained share of a comparison's overall mean; empty where it is not known."""
    key = effect.benchmark, effect.baseline, effect.run, effect.metric
    for share in result.shares:
        if (share.benchmark, share.baseline, share.run, share.metric) == key:
            text = share_cells(share)[-1]
            return share.before, text + (UNADJUSTED if text.endswith("]") else "")
    return "", ""


def scores(result: Result) -> Table:
    """Runs x benchmarks: the overall mean of each run."""
    found = {(s.run, s.benchmark): s for s in result.scores if s.metric == OVERALL}
    benchmarks = [panel.benchmark for panel in result.panels]
    rows = []
    for run in dict.fromkeys(run for run, _ in found):
        cells = []
        for benchmark in benchmarks:
            s = found.get((run, benchmark))
            text = f"{number(s.score)} {interval(s.low, s.high)}".strip() if s else "not run"
            cells.append(or_reason(text, s.reasons, "score") if s else text)
        rows.append([run, *cells])
    level = f"{result.settings.level * 100:g} %"
    return Table(f"Scores, % [{level} interval]", ["Run", *map(title_of, benchmarks)], rows)


def rests_on(result: Result) -> list[str]:
    """One line per benchmark: questions, clusters, epochs, judge, data, versions."""
    found = []
    for panel in result.panels:
        rows = [row for row in result.judged if row.benchmark == panel.benchmark]
        runs = [run for run in result.runs if run.benchmark == panel.benchmark]
        benchmark = each({run.run: run.identity.aspects["version"] for run in runs})
        harness = each({run.run: run.identity.noted.get("harness", "unknown") for run in runs})
        found.append(
            f"{title_of(panel.benchmark)}: {each({row.run: row.asked for row in rows})} questions, "
            f"{len(panel.clusters)} clusters, epochs {each({row.run: row.epochs for row in rows})}; "
            f"judge {each({row.run: row.judge for row in rows})}; data {each({row.run: row.data for row in rows})}; "
            f"benchmark version {benchmark}, {harness}, value-retention {version('value-retention')}."
        )
    return found


def not_shown(result: Result) -> list[str]:
    """What the verdicts do not say, in a few words each."""
    fixed = result.settings.questions == "fixed"
    several = any(effect.seeds is not None for effect in result.effects)
    found = [
        "answers to other questions" if fixed else "answers to questions unlike these",
        "" if several else "what another training run with the same data would give",
        "" if result.calibrated else "whether the judge is right (no labels by people were given)",
        "verdicts on single dimensions, languages or sources",
        "" if result.settings.margin is not None else "which losses matter (no margin was given)",
    ]
    return [text for text in found if text]
