"""From a judge's reply to its grade."""

from __future__ import annotations

from typing import NamedTuple

from value_retention.tasks.reasoning import split
from value_retention.tasks.record import CUT, Outcome
from value_retention.tasks.scale import Scale, read_grade


class Reading(NamedTuple):
    """What a judge's reply counts as."""

    outcome: Outcome
    raw: str | None = None
    """The grade, as the scale offers it."""
    worth: float | None = None
    """In [0, 1]."""


def read_reply(reply: str | None, stop_reason: str | None, scale: Scale) -> Reading:
    """Read a judge's reply.

    A reply that the token limit cut does not count as a grade, whatever it says: its last words may be a thought. Nor
    does a grade that the judge names in its reasoning only.

    Args:
        reply: The judge's words. None if there are none.
        stop_reason: Why the judge stopped (see `record.GradeRecord.stop_reason`).
        scale: The grades on offer.
    """
    if reply is None:
        return Reading("judge_error")
    if stop_reason in CUT:
        return Reading("cut")
    found = read_grade(split(reply)[0], scale)
    return Reading("unparsed") if found is None else Reading("graded", *found)
