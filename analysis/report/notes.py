"""Notes below the figures: how they were computed, and cautions about reading them."""

from __future__ import annotations

from collections.abc import Sequence

from value_retention.analysis.effects.caveats import MARK
from value_retention.analysis.effects.result import Result
from value_retention.analysis.report.cells import UNADJUSTED, legend, margin_text
from value_retention.analysis.runs.align import OTHER, OVERALL
from value_retention.analysis.runs.names import title_of


def language_notes(result: Result) -> list[str]:
    """Cautions about the contrasts; the same one may hold for all questions and for the matched ones."""
    if not result.contrasts:
        return []
    notes = (f"{title_of(c.benchmark)}, {c.statement}: {c.note}" for c in result.contrasts if c.note)
    readings = f'"Multilingual" can mean all rows ({OVERALL}) or the rows without English ({OTHER}).'
    return [*dict.fromkeys(notes), readings]


def explained(result: Result, cells: Sequence[str], full: bool) -> list[str]:
    """How the figures were computed, and the short forms among the cells."""
    settings = result.settings
    level, alpha = f"{settings.level * 100:g} %", f"{(1 - settings.level) * 100:.3g} %"
    found = [
        "Scores: Wilson intervals. Differences: over the questions scored in every run, one value per cluster; t "
        "intervals. Primary: overall means, adjusted by Holm's rule over benchmarks and candidates. Secondary: English "
        "and non-English means, tested for what is shown overall. Exploratory: everything else, with "
        f"Benjamini-Hochberg's q and no verdict. {UNADJUSTED}: not adjusted for other tests.",
        "New questions: the interval for other questions like these. These questions: the interval if these questions "
        "were asked again.",
    ]
    if full:
        found.append(
            f"Bootstrap: percentile, {settings.resamples} resamples of clusters, seed {settings.seed}. "
            "Detectable: true difference found with 80 % power. Worst case: bounds over all possible missing grades."
        )
    else:
        found.append("Dimensions, languages, sources, bootstrap, missing grades: --full, --json or --csv.")
    if settings.margin is None:
        found.append("No verdicts: they need a margin (--margin 5).")
    else:
        found.append(
            f"Verdicts are read off the interval for {'these' if settings.questions == 'fixed' else 'new'} questions, "
            f"at a margin of {margin_text(result)}. Retained: any loss is smaller. Retained, lower: the same, and "
            "there is a loss. Degraded: there is a loss, and one above the margin is not excluded. Degraded beyond the "
            "margin: the loss is larger. Improved: there is a gain. "
            f"About {alpha} of reports on unchanged checkpoints hold a wrong verdict (level {level})."
        )
    if any(effect.verdict_holds is False for effect in result.effects):
        found.append(f"{MARK}: with the worst case for the missing grades, the verdict would not be shown.")
    return found + legend(cells)
