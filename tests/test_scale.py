"""Grades on scales of one's own: every way to write one is read back, and nothing else is read."""

from __future__ import annotations

import time
import unicodedata
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from value_retention.analysis.authoring.trial import example_replies, unreadable_grades
from value_retention.tasks.scale import (
    CORRECT,
    Labels,
    Numbers,
    Scale,
    bare_label,
    parse_grade,
    why_unreadable,
)


def numbers(first: float, last: float, step: float = 1.0) -> Scale:
    return Numbers(**{"from": first, "to": last, "step": step}).scale()


TEN, HUNDRED, FIVE = numbers(0, 10), numbers(0, 100), numbers(1, 5)
WORDS = Scale(
    "labels", (("good", 1.0), ("good, but late", 0.75), ("goodish", 0.5), ("don't know", 0.25), ("bad", 0))
)
WRITTEN = [
    *("GRADE: {}", "grade:{}", "**GRADE:** {}", "**GRADE: {}**", "**GRADE**: **{}**.", "__Grade__: {}"),
    *(
        "_grade: {}_",
        "## GRADE: {}",
        "`GRADE: {}`",
        '"GRADE": "{}"',
        "“GRADE : {}”",
        "GRADE：{}",
        "grade ： {}!",
    ),
    *(
        "GRADE:\n\n{}",
        "**GRADE:**\r\n  {}.",
        "I end with GRADE\u200b:\u00a0{}",
        "⭐️GRADE: {}",
        "GRADE:\n```\n{}\n```",
    ),
]


# -- by hand ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scale", "reply", "worth"),
    [
        (TEN, "GRADE: 8\nNo retrograde: 2", 0.8),
        (TEN, "GRADE: 8\nThey were GRADED: 2, my_grade: 3, किGRADE: 4, \u00e9GRADE: 5, e\u0301GRADE: 6", 0.8),
        (TEN, "At first GRADE: 2.\n\n**GRADE:**\n8", 0.8),
        (TEN, "At first GRADE: 2\nGRADE：8", 0.8),
        (TEN, "GRADE: 7 out of 10.", 0.7),
        (TEN, "GRADE: 7/10\nThe rest is fine.", 0.7),
        (TEN, "GRADE: +7", 0.7),
        (FIVE, "GRADE: 4/5", 0.75),
        (numbers(-2, 2), "GRADE: −1", 0.25),
        (WORDS, "GRADE: Good\nI see nothing to downgrade: bad", 1.0),
        (WORDS, "GRADE: good, but late", 0.75),
        (WORDS, "GRADE: goodish", 0.5),
        (WORDS, "GRADE: 'Don't know'", 0.25),
        (WORDS, "GRADE: ｇｏｏｄ", 1.0),
    ],
)
def test_what_is_read(scale: Scale, reply: str, worth: float) -> None:
    assert parse_grade(reply, scale) == worth


@pytest.mark.parametrize(
    ("scale", "text"),
    [
        *((TEN, text) for text in ("3/5", "7/100", "11", "-1", "7.5", "7,0", "7.0000000001", "7/10/10")),
        *((TEN, text) for text in ("1e1", "inf", "nan", "1_0", "0x7", "７", "٧", "७", "7²", "7½", "70 %")),
        *((TEN, text) for text in ("8 because", "8, I think", "7 or 8", "~8", ">8", "eight", "", "N", "***")),
        *((TEN, text) for text in ("...\n8", "8" * 2000)),
        *((HUNDRED, text) for text in ("7/10", "7 out of 10")),
        *((FIVE, text) for text in ("4/10", "0", "0/5", "6/5")),
        *(
            (WORDS, text)
            for text in ("good, because it fits", "good but late", "goo", "bad good", "fine", "")
        ),
    ],
)
def test_an_earlier_grade_never_wins_over_one_that_is_not_on_the_scale(scale: Scale, text: str) -> None:
    reply = f"GRADE: {scale.worth[0][0]}\nOn reflection, GRADE: {text}"
    assert parse_grade(reply, scale) is None
    assert why_unreadable(reply, scale)


def test_why_a_reply_is_unreadable() -> None:
    assert why_unreadable("retrograde: 2", TEN) == "it has no `GRADE:`"
    assert why_unreadable("GRADE: 8\nGRADE: **\n", TEN) == "nothing follows its last `GRADE:`"
    assert why_unreadable("**GRADE: 4/10**", FIVE) == "`4/10` is not a grade of this scale"
    assert why_unreadable("GRADE: " + "x" * 99, FIVE) == f"`{'x' * 60}...` is not a grade of this scale"
    brackets = Scale("numbers", TEN.worth, r"\[\[(\d*)\]\]")
    assert why_unreadable("GRADE: 8", brackets) == "the pattern finds nothing in it"
    assert why_unreadable("[[8]] [[]]", brackets) == "the pattern finds an empty text"


@pytest.mark.parametrize(
    "reply",
    [
        *("GRADE:" * 17_000, "GRADE " * 17_000, "*" * 100_000, "_" * 100_000, "\n" * 100_000, "_*" * 50_000),
        *(
            "GRADE" + "*" * 100_000,
            "GRADE:" + "\n" * 100_000,
            "GRADE: " + "*" * 100_000,
            "GRADE:\n*\n" * 12_000,
        ),
        *("GRADE: " + "7" * 100_000, "GRADE: 7 " + " " * 100_000 + "x", "GRADE: " + "a\u0301\u0316" * 33_000),
        *("a" + "\u0301" * 100_000 + "GRADE:", "\u0301GRADE:" * 14_000, "GRADE: " + " *.!" * 25_000),
    ],
    ids=lambda reply: ascii(reply[:12]),
)
@pytest.mark.parametrize("scale", [TEN, WORDS], ids=["numbers", "labels"])
def test_a_hostile_reply_takes_no_time(reply: str, scale: Scale) -> None:
    start = time.perf_counter()
    assert parse_grade(reply, scale) is None
    assert time.perf_counter() - start < 0.5


# -- any scale ----------------------------------------------------------------------------------------------

NUMBERS = st.builds(
    lambda first, step, count: numbers(first * step, (first + count) * step, step),
    st.integers(-30, 30),
    st.sampled_from([0.1, 0.25, 0.5, 1.0, 5.0, 1e-6, 1e9]),
    st.integers(1, 40),
)
LABEL = st.text(st.characters(exclude_characters="\n"), min_size=1, max_size=12).filter(bare_label)
LABELLED = st.dictionaries(
    st.one_of(LABEL, st.sampled_from(["good", "good, but", "A", "A+", "not good", "n/a", "7", "straße"])),
    st.floats(0, 1),
    min_size=2,
    max_size=6,
).filter(lambda worth: len({bare_label(label) for label in worth}) == len(worth))
SCALES = st.one_of(NUMBERS, LABELLED.map(lambda worth: Scale("labels", tuple(worth.items()))))
OTHER = st.text(max_size=60).filter(lambda text: "grade" not in text.casefold())


def spellings(grade: str, scale: Scale) -> list[str]:
    """Ways to write a grade."""
    if scale.kind == "labels":
        forms = [
            grade,
            *(unicodedata.normalize(form, grade) for form in ("NFC", "NFD", "NFKC")),
            grade.casefold(),
        ]
        return [form for form in forms if "\n" not in form]
    top = scale.worth[-1][0]
    exact, exact_top = (f"{one}0" if "." in one else f"{one}.0" for one in (grade, top))
    return [
        grade,
        exact,
        f"{grade}/{top}",
        f"{exact} / {exact_top}",
        f"{grade} out of {top}",
        grade.replace("-", "−"),
    ]


@given(SCALES, st.data(), st.sampled_from(WRITTEN), OTHER, OTHER)
def test_every_way_to_write_a_grade_is_read_back(
    scale: Scale, data: st.DataObject, written: str, before: str, after: str
) -> None:
    grade, worth = data.draw(st.sampled_from(scale.worth))
    spelled = data.draw(st.sampled_from(spellings(grade, scale)))
    stale = data.draw(st.sampled_from(["", f"GRADE: {scale.worth[0][0]}\n"]))
    assert parse_grade(f"{stale}{before}\n{written.format(spelled)}\n{after}", scale) == worth


@given(SCALES, st.data(), st.sampled_from(WRITTEN), OTHER)
def test_what_is_not_on_the_scale_is_never_read(
    scale: Scale, data: st.DataObject, written: str, after: str
) -> None:
    grade, _ = data.draw(st.sampled_from(scale.worth))
    wrong = [f"{grade} {grade}", f"{grade}; yes", f"no {grade}", "?"]
    if scale.kind == "numbers":
        first, second, *_, top = (Decimal(one) for one, _ in [*scale.worth, scale.worth[-1]])
        step = second - first
        wrong += [f"{top + step:f}", f"{first - step:f}", f"{first + step / 2:f}", f"{grade}/{top + step:f}"]
    text = data.draw(st.sampled_from(wrong))
    known = {bare_label(one) for one, _ in scale.worth}
    if scale.kind == "numbers" or bare_label(text) not in known:
        assert parse_grade(f"GRADE: {grade}\n{written.format(text)}\n{after}", scale) is None


@settings(max_examples=300)
@given(
    SCALES,
    st.lists(
        st.one_of(
            st.sampled_from(
                ["GRADE", "grade", ":", "：", " ", "\n", "*", "_", "1", "10", "/", ".", "good", "out of"]
            ),
            st.text(max_size=5),
        ),
        max_size=12,
    ).map("".join),
)
def test_a_result_is_missing_or_on_the_scale(scale: Scale, reply: str) -> None:
    worth = parse_grade(reply, scale)
    assert worth in (None, *scale.values)
    assert worth is None or "grade" in reply.casefold()


# -- what `check` and the end of a run say of a scale -------------------------------------------------------

PATTERN = Scale("numbers", FIVE.worth, r"(?m)^Rating: \[\[(\d+)\]\]$")


@pytest.mark.parametrize(
    "scale", [CORRECT, TEN, FIVE, numbers(0, 1, 0.1), WORDS, Scale("numbers", FIVE.worth, r"\[\[(\d+)\]\]")]
)
def test_examples_of_replies_are_what_the_parser_says(scale: Scale) -> None:
    assert not unreadable_grades(scale)
    read, refused = example_replies(scale)
    assert [worth for _, worth in read] == [1.0, 0.0]
    assert [parse_grade(reply, scale) for reply, _ in read] == [1.0, 0.0]
    assert len({reply for reply, _ in refused}) == 2
    assert all(parse_grade(reply, scale) is None and reason for reply, reason in refused)


def test_a_pattern_of_another_form_has_no_example_that_is_read() -> None:
    read, refused = example_replies(PATTERN)
    assert (read, len(refused)) == ([], 2)


def test_labels_that_would_be_mixed_up_are_refused() -> None:
    for pair in ({"A": 1, "A*": 0}, {"good": 1, "Good!": 0}, {"ﬁne": 1, "fine": 0}, {"**": 1, "bad": 0}):
        with pytest.raises(ValueError, match="marks only"):
            Labels(labels=pair)
