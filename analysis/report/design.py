"""The arms' table, their comparisons and the paper's claims in the terminal and as LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from value_retention.analysis.effects.arms import LANGUAGE, READINGS, ArmEffect, ArmsResult
from value_retention.analysis.examples.claims import Claim
from value_retention.analysis.report.cells import MARK, SHORT, TITLES, interval, number, or_reason, p_text
from value_retention.analysis.report.console import console, print_table, say
from value_retention.analysis.report.export import tex, tex_row

if TYPE_CHECKING:
    from rich.console import Console


def arm_rows(result: ArmsResult) -> tuple[list[str], list[list[str]]]:
    """The paper's table: headings, and a row per arm with every score and its interval."""
    keys = list(dict.fromkeys((s.benchmark, s.metric) for s in result.scores))
    scores = {(s.run, s.benchmark, s.metric): s for s in result.scores}
    headings = ["Arm"]
    for benchmark, metric in keys:
        size = max(s.clusters for s in result.scores if (s.benchmark, s.metric) == (benchmark, metric))
        title = TITLES.get(benchmark, benchmark)
        headings.append(f"{title}\n{READINGS.get(metric, metric)}\nn = {size}")
    rows = []
    for arm in result.arms:
        cells = [arm.name]
        for benchmark, metric in keys:
            score = scores.get((arm.name, benchmark, metric))
            if score is None:
                cells.append("not run")
                continue
            text = f"{number(score.score)} {interval(score.low, score.high)}".strip()
            cells.append(text or or_reason("", score.reasons, "score"))
        rows.append(cells)
    return headings, rows


def effect_rows(result: ArmsResult, kinds: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Comparisons of some kinds: headings and rows."""
    headings = ["Comparison", "Benchmark", "Figure", "n", "Points", "cluster t", "p\nHolm"]
    shown = [e for e in result.effects if e.kind in kinds]
    margins = [f"{m:g}" for m in result.margins if any(e.metric != LANGUAGE for e in shown)]
    headings += [f"at ±{margin}" for margin in margins]
    several = any(e.seeds for e in shown)
    ratios = any(e.ratio for e in shown)
    headings += ["with new seeds"] * several + ["Ratio (Fieller)"] * ratios
    rows = []
    for e in shown:
        row = [
            e.statement,
            TITLES.get(e.benchmark, e.benchmark),
            READINGS.get(e.metric, e.metric),
            ", ".join(map(str, e.clusters)),
            number(e.difference, sign=True) or or_reason("", e.reasons, "interval"),
            or_reason(interval(e.t_low, e.t_high), e.reasons, "interval"),
            or_reason(p_text(e.p_holm), e.reasons, "p"),
            *(or_reason(_verdict_text(e, margin), e.reasons, "verdict") for margin in margins),
        ]
        if several:
            row.append(interval(e.seeds.low, e.seeds.high) if e.seeds else "one run")
        if ratios:
            row.append(e.ratio.text() if e.ratio else or_reason("", e.reasons, "ratio"))
        rows.append(row)
    return headings, rows


def _verdict_text(effect: ArmEffect, margin: str) -> str:
    """The verdict, marked where the missing grades could overturn it."""
    return effect.verdicts.get(margin, "") + (MARK if effect.verdict_holds.get(margin) is False else "")


PARTS = {
    "Gain over the base": ("gain over base",),
    "Domain effect within each method": ("domain effect",),
    "Replication over data sets": ("domain effect by data", "same domain, other data"),
    "Domain x method": ("domain x method",),
    "Difference between languages: other less English": (
        "gain over base x language",
        "domain effect x language",
        "domain effect by data x language",
        "domain x method x language",
    ),
}
"""Sections of the report and the kinds of comparison in each."""


def print_arms(result: ArmsResult, claims: Sequence[Claim] = (), out: Console | None = None) -> None:
    """Print the table of arms, every comparison, the claims and what cannot be claimed."""
    out = out or console()
    for line in result.headline:
        say(out, line, "bold red")
    level = f"{result.settings.level * 100:g} %"
    print_table(out, f"Scores, % [{level} cluster t interval]", *arm_rows(result))
    for title, kinds in PARTS.items():
        headings, rows = effect_rows(result, kinds)
        if rows:
            print_table(out, title, headings, rows)
    print_claims(claims, out)
    tests = sum(e.p is not None for e in result.effects)
    say(
        out,
        f"Points: percentage points. n: clusters (questions; a MORU question counts once for its languages). "
        f"Holm: over all {tests} tests of this report. Verdicts by two one-sided tests, Holm-corrected. "
        '"all rows" and "without English" are the two readings of "multilingual".',
        "dim",
    )
    if any(holds is False for e in result.effects for holds in e.verdict_holds.values()):
        say(out, f"{MARK}: the worst case for the missing grades would overturn the verdict.", "dim")
    cells = {reason for e in result.effects for reason in e.reasons.values()}
    for reason, short in SHORT.items():
        if reason in cells and reason != short:
            say(out, f"{short}: {reason}.", "dim")
    for note in result.notes:
        say(out, note)


def print_claims(claims: Sequence[Claim], out: Console) -> None:
    """Print the claims one below the other."""
    for claim in claims:
        say(out, f"{claim.holds.upper()}: {claim.claim}", "bold")
        say(out, f"    {claim.why}")


def arms_latex(result: ArmsResult) -> str:
    """The table of arms with booktabs."""
    headings, rows = arm_rows(result)
    level = f"{result.settings.level * 100:g} %"
    how = f"Scores in per cent with {level} intervals over clusters (n)."
    caption = [*result.headline, how, *result.notes]
    lines = [f"% {line}" for line in result.headline]
    lines += [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{tex(' '.join(caption))}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(headings) - 1)}}}",
        r"\toprule",
        tex_row(heading.replace("\n", ", ") for heading in headings),
        r"\midrule",
        *map(tex_row, rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"
