"""Value kept against task learned, and the probe against the judged scores: the tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import compress

from value_retention.analysis.effects.plane import TASK_LOSS, Plane, Point
from value_retention.analysis.effects.result import Result
from value_retention.analysis.report.cells import UNADJUSTED, interval, number, p_text, share_cells
from value_retention.analysis.report.tables import Table
from value_retention.analysis.runs.names import title_of

FRONT = "Front: no other arm is at least as good on both axes and better on one. It describes means, without a test."
SAME_QUESTIONS = (
    "All arms answer the same questions, so intervals may overlap where a paired difference is shown."
)
ROLES = {
    "baseline": "start",
    "before": "before mid-training",
    "control": "control, neutral topic",
}
"""Roles of the checkpoints to refer to."""

MEASURES = {"probe": "share of pairs", "probe_margin": "margin, nats per token"}


def task_label(plane: Plane) -> str:
    """The task with its unit and direction."""
    if plane.task == TASK_LOSS:
        return f"held-out task loss ({plane.data}), nats per token, lower is better"
    worse = "" if plane.higher_is_better else ", lower is better"
    return f"{plane.task}, {plane.metric}, {plane.unit}{worse}"


def plane_title(plane: Plane) -> str:
    """What the plane shows."""
    of = f"held-out loss, {plane.data}" if plane.task == TASK_LOSS else plane.task
    return f"{title_of(plane.benchmark)}: value kept against task learned ({of})"


def seeds_line(plane: Plane) -> str:
    """What the number of training seeds leaves open."""
    arms = [point for point in plane.points if point.role == "arm"]
    single = [point.label for point in arms if len(point.seeds) == 1]
    if len(single) == len(arms):
        return "One training seed per arm: another seed may change the order."
    return f"One training seed only: {', '.join(single)}." if single else ""


def plane_tables(result: Result) -> Iterator[Table]:
    """A table per plane: the arms, then the checkpoints to refer to."""
    for plane in result.planes:
        columns = _columns(plane, result)
        rows = [[cell(point) for cell in columns.values()] for point in plane.points]
        known = [k < 2 or {*column} != {"–"} for k, column in enumerate(zip(*rows, strict=True))]
        left = (
            f"Without a figure on the task or a score: {', '.join(plane.left_out)}." if plane.left_out else ""
        )
        yield Table(
            plane_title(plane),
            [*compress(columns, known)],
            [[*compress(row, known)] for row in rows],
            " ".join(filter(None, [FRONT, seeds_line(plane), SAME_QUESTIONS, left])),
        )


def _columns(plane: Plane, result: Result) -> dict[str, Callable[[Point], str]]:
    """Headings and cells; a column that no arm fills is left out."""
    task = "Task loss" if plane.task == TASK_LOSS else plane.task
    unit = plane.unit if plane.higher_is_better else f"{plane.unit},\nlower is better"
    value = f"Value, %\n{result.settings.level * 100:g} % interval{UNADJUSTED}"
    return {
        "Arm": lambda p: p.name if p.role == "arm" else f"{p.name} ({ROLES[p.role]})",
        "Mitigation": lambda p: p.mitigation or ("plain" if p.role == "arm" else "–"),
        "Seeds": lambda p: str(len(p.seeds)),
        value: lambda p: f"{number(p.value)} {interval(p.low, p.high)}".strip(),
        f"Retained share{UNADJUSTED}": lambda p: share_cells(p.share)[-1] if p.share else "–",
        f"{task}\n{unit}": lambda p: number(p.task, 1 if plane.unit == "%" else 3) or "–",
        "Held-out\nvalue loss": lambda p: number(p.value_loss, 3) or "–",
        "Probe\nshare": lambda p: number(p.probe, 2) or "–",
        "On the\nfront": lambda p: {True: "yes", False: "no", None: "–"}[p.front],
    }  # fmt: skip


def probe_tables(result: Result) -> Iterator[Table]:
    """The rank correlation of the probe with the judged scores."""
    if result.probes:
        yield Table(
            "Probe against judged scores: Spearman's rank correlation over checkpoints",
            ["Benchmark, figure of the probe", "Checkpoints", "n", "rho", "p"],
            [
                [
                    f"{title_of(row.benchmark)}, {MEASURES[row.measure]}",
                    row.checkpoints,
                    str(len(row.runs)),
                    number(row.rho, 2, sign=True) or "not defined",
                    p_text(row.p) or "–",
                ]
                for row in result.probes
            ],
            "p: how often a random pairing has a rho as far from 0. It takes the checkpoints as independent, which "
            "seeds and mitigations of one experiment are not. The pairs come from answers of the base and the "
            "mid-trained checkpoint, so the rows without these two say more.",
        )
