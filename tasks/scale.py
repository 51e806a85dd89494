"""The grades that a judge may give, what each is worth, and how they are read from a reply."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Hashable
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from value_retention.tasks import upstream
from value_retention.tasks.record import canonical_json, text_hash
from value_retention.tasks.yaml_file import Strict

LONGEST = 1000
"""Characters of the longest text that is read as a grade."""
STEPS = 1000
"""Largest number of grades on a scale of numbers."""

_SPACE = (
    "".join(filter(str.isspace, map(chr, range(0x3001)))) + "\u200b\u200c\u200d\u200e\u200f\u2060\u2063\ufeff"
)
_AROUND = _SPACE + "*_`\"'“”„‘’‚«»‹›「」『』"
"""What may stand around the word GRADE and around a grade: space, Markdown's marks, quotes."""
_END = _AROUND + ".!。！"
"""What may stand after a grade."""

# Possessive (`*+`): a long run of marks is read once. A `_` is part of a word for `\w`, and a mark of Markdown here.
_MARK = re.compile(rf"(?<!\w)_*+GRADE[{re.escape(_AROUND.replace(chr(10), ''))}]*+[:：]", re.I)
_DIGITS = r"[+\-−]?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
_NUMBER = re.compile(rf"({_DIGITS})(?:(?:\s*/\s*|\s+out\s+of\s+)({_DIGITS}))?", re.I)


@dataclass(frozen=True)
class Scale:
    """The grades on offer.

    Attributes:
        kind: ``correct`` (C and I, in the words and with the parser of Inspect's ``model_graded_qa``), ``numbers`` or
            ``labels``.
        worth: Each grade, as the judge writes it, and its worth in [0, 1]. From the worst to the best for numbers.
        pattern: Regular expression whose one group is the grade. The last match in a reply counts. Empty for the
            default, the last ``GRADE: ...``.
    """

    kind: Literal["correct", "numbers", "labels"]
    worth: tuple[tuple[str, float], ...]
    pattern: str = ""

    @property
    def name(self) -> str:
        """The grades in words: ``C or I``, ``1 to 5``, ``0 to 1 in steps of 0.1``, ``good = 1, poor = 0``."""
        if self.kind == "correct":
            return "C or I"
        if self.kind == "labels":
            return ", ".join(f"{grade} = {worth:g}" for grade, worth in self.worth)
        first, second, last = (Decimal(self.worth[n][0]) for n in (0, 1, -1))
        steps = "" if second - first == 1 else f" in steps of {(second - first).normalize():f}"
        return f"{first} to {last}{steps}"

    @property
    def values(self) -> tuple[float, ...]:
        """What the grades are worth, smallest first."""
        return tuple(sorted({worth for _, worth in self.worth}))

    def grade_of(self, worth: float | None) -> str | None:
        """The first grade on offer that is worth so much. None if none is."""
        return next((grade for grade, value in self.worth if value == worth), None)

    @property
    def binary(self) -> bool:
        """Whether a grade is 0 or 1 and nothing between."""
        return self.values == (0.0, 1.0)


CORRECT = Scale("correct", (("C", 1.0), ("I", 0.0)))
"""The grades of ``model_graded_qa``. (The upstream README reverses the polarity; its code does not.)"""


class Numbers(Strict):
    """Grades from the worst to the best number."""

    from_: float = Field(alias="from", allow_inf_nan=False, description="The worst grade, worth 0.")
    to: float = Field(allow_inf_nan=False, description="The best grade, worth 1.")
    step: float = Field(default=1.0, gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _whole_steps(self) -> Numbers:
        steps = (self.to - self.from_) / self.step
        if not 1 <= round(steps) <= STEPS or not math.isclose(steps, round(steps), abs_tol=1e-6):
            raise ValueError(f"`from` must be below `to`, and a whole number of at most {STEPS} steps apart")
        return self

    def scale(self, pattern: str = "") -> Scale:
        """Grades in digits without an exponent. The worst is worth 0, the best 1."""
        count = round((self.to - self.from_) / self.step)
        # Sums of steps such as 0.1 are not exact. Adding 0 makes 0 of -0.
        grades = (round(self.from_ + n * self.step, 9) + 0 for n in range(count + 1))
        worth = tuple((f"{Decimal(f'{grade:.15g}'):f}", n / count) for n, grade in enumerate(grades))
        return Scale("numbers", worth, pattern)


class Labels(Strict):
    """Labels and what each is worth."""

    labels: dict[Annotated[str, Field(min_length=1)], Annotated[float, Field(ge=0, le=1)]] = Field(
        min_length=2
    )

    @field_validator("labels")
    @classmethod
    def _apart(cls, labels: dict[str, float]) -> dict[str, float]:
        bare = {bare_label(label) for label in labels}
        if len(bare) < len(labels) or "" in bare:
            raise ValueError("two labels differ in case, space or marks only, or one has marks only")
        if len(set(labels.values())) < 2:
            raise ValueError("all labels are worth the same")
        return labels

    def scale(self, pattern: str = "") -> Scale:
        """The labels as they are written."""
        return Scale("labels", tuple(self.labels.items()), pattern)


def parse_grade(reply: str, scale: Scale = CORRECT) -> float | None:
    """Worth of the grade in a judge's reply, in [0, 1], or None (see `read_grade`)."""
    found = read_grade(reply, scale)
    return None if found is None else found[1]


def read_grade(reply: str, scale: Scale = CORRECT) -> tuple[str, float] | None:
    """The grade in a judge's reply, as the scale offers it, and its worth. None if the reply has no readable grade.

    The last ``GRADE:`` decides. If what follows it is not a grade of the scale, the grade is None: an earlier
    ``GRADE:`` does not count. For C and I, the pattern and the words are those of Inspect's ``model_graded_qa``.
    Otherwise the grade stands alone on the line of the last ``GRADE:``, or on the next line with a text. Space, quotes
    and Markdown's marks may stand around both. Labels are read in any case, numbers in ASCII digits: ``7``, ``7.0``,
    ``7/10`` and ``7 out of 10`` if 10 is the top of the scale.
    """
    text = _announced(reply, scale)
    return None if text is None else _grades(scale).get(_key(text, scale))


def why_unreadable(reply: str, scale: Scale) -> str:
    """Why `read_grade` reads no grade in a reply, in words."""
    text = _announced(reply, scale)
    if text is None:
        return "the pattern finds nothing in it" if scale.pattern else "it has no `GRADE:`"
    shown = text.strip(_AROUND)
    if not shown:
        return "the pattern finds an empty text" if scale.pattern else "nothing follows its last `GRADE:`"
    return f"`{shown[:60]}{'...' if len(shown) > 60 else ''}` is not a grade of this scale"


def _announced(reply: str, scale: Scale) -> str | None:
    """The text that should be the grade: what follows the last ``GRADE:``. None if there is none."""
    if scale.kind == "correct":
        # The pattern begins with ".*" over line breaks, so `match` and `search` find the same. On a long reply
        # without a grade, `search` would start again at every character (minutes for 100 kB).
        match = upstream.grade_pattern().match(reply)
        return None if match is None else match[1]
    if scale.pattern:
        matches = list(re.finditer(scale.pattern, reply))
        return (matches[-1][1] or "") if matches else None
    ends = [mark.end() for mark in _MARK.finditer(reply) if _alone(reply, mark.start())]
    if not ends:
        return None
    return next((line for line in reply[ends[-1] :].split("\n") if line.strip(_AROUND)), "")


def _alone(reply: str, start: int) -> bool:
    """Whether no word ends here. Combining marks, such as vowels of Hindi, belong to the letter before them."""
    while start and unicodedata.category(reply[start - 1]).startswith("M"):
        start -= 1
    return not reply[max(start - 1, 0) : start].isalnum()


@cache
def _grades(scale: Scale) -> dict[Hashable, tuple[str, float]]:
    return {_key(grade, scale): (grade, worth) for grade, worth in scale.worth}


def _key(text: str, scale: Scale) -> Hashable:
    """A grade without the freedoms that its writing has: two texts have one key if they are one grade."""
    if scale.kind == "correct":
        verdict = text.strip()
        return upstream.grade_words().get(verdict.lower(), verdict.upper() if len(verdict) == 1 else "")
    if len(text) > LONGEST:
        return None
    return _number(text, Decimal(scale.worth[-1][0])) if scale.kind == "numbers" else bare_label(text)


def _number(text: str, top: Decimal) -> Decimal | None:
    found = _NUMBER.fullmatch(text.strip(_AROUND).rstrip(_END))
    if found is None or (found[2] and _decimal(found[2]) != top):
        return None
    return _decimal(found[1])


def _decimal(digits: str) -> Decimal:
    return Decimal(digits.replace("−", "-"))


def bare_label(text: str) -> str:
    """A label in NFKC form, case-folded, without the space and the marks around it."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return folded.strip(_AROUND).rstrip(_END)


def instructions(scale: Scale) -> str:
    """What the judge is told about the form of its reply: the field ``{instructions}`` of a prompt."""
    if scale.kind == "correct":
        return upstream.instructions()
    grades = [grade for grade, _ in scale.worth]
    if scale.kind == "labels":
        offer = "LABEL is one of: " + ", ".join(grades)
        return f'Explain your reasons first. Then end with one line "GRADE: LABEL", where {offer}.'
    counted = grades == [str(n) for n in range(1, len(grades) + 1)]
    steps = "" if counted else f", in steps of {(Decimal(grades[1]) - Decimal(grades[0])).normalize():f}"
    offer = f"N is a number from {grades[0]} (worst) to {grades[-1]} (best){steps}"
    return f'Explain your reasons first. Then end with one line "GRADE: N", where {offer}.'


def parser_name(scale: Scale) -> str:
    """Name of the parser of a scale, as records hold it. It names the scale too: two scales have two names.

    Its number is raised whenever a reply can be read in another way.
    """
    if scale.kind == "correct":
        return upstream.parser_version()
    return f"2+{scale.kind}-{text_hash(canonical_json([scale.worth, scale.pattern]))[:12]}"
