from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from value_retention.tasks.errors import InputError
from value_retention.tasks.languages import TAGS, choose_languages, is_english, language_tag


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("English", "en"),
        ("Bengali", "bn"),
        ("Bangla", "bn"),
        ("Punjab", "pa"),
        ("Punjabi", "pa"),
        (" german ", "de"),
        ("SPANISH", "es"),
        ("en", "en"),
        ("MS", "ms"),
        ("zh-Hant", "zh-Hant"),
        ("EN-GB", "en-GB"),
        ("fil", "fil"),
        ("eng", "en"),
        ("ENG", "en"),
        ("eng-US", "en-US"),
        ("msa", "ms"),
        ("may", "ms"),
        ("hin", "hi"),
        ("yue", "yue"),
        ("und", "und"),
    ],
)
def test_names_and_tags_become_tags(name: str, tag: str) -> None:
    assert language_tag(name) == tag


@pytest.mark.parametrize("name", ["", " ", "Klingonese", "e", "en_GB", "en-", "English (UK)", "12"])
def test_what_is_neither_is_none(name: str) -> None:
    assert language_tag(name) is None


def test_every_tag_of_the_table_is_well_formed_and_its_own_tag() -> None:
    for name, tag in TAGS.items():
        assert re.fullmatch(r"[a-z]{2,3}", tag), name
        assert language_tag(tag) == tag


@given(st.text(max_size=12))
def test_any_text_gives_a_stable_tag_or_none(text: str) -> None:
    tag = language_tag(text)
    assert tag is None or language_tag(tag) == tag


@pytest.mark.parametrize(
    ("name", "english"),
    [("en", True), ("en-GB", True), ("eng", True), ("ENG-us", True), ("ms", False), ("enm", False)],
)
def test_english_in_any_region(name: str, english: bool) -> None:
    tag = language_tag(name)
    assert tag
    assert is_english(tag) is english


def test_languages_are_chosen_by_name_or_tag() -> None:
    assert choose_languages(["English", "ms", "Malay"], ["en", "ms", "hi"], "here") == {"en", "ms"}


def test_an_unknown_language_names_those_that_are_there() -> None:
    with pytest.raises(InputError, match=r"(?s)where: here.*'Klingonese'.*en, hi, ms"):
        choose_languages(["en", "Klingonese"], ["ms", "en", "hi"], "here")


def test_a_language_that_the_data_lacks_is_refused_too() -> None:
    with pytest.raises(InputError, match="French"):
        choose_languages(["French"], ["en"], "languages")


def test_an_empty_choice_is_refused() -> None:
    with pytest.raises(InputError, match="empty list"):
        choose_languages([], ["en"], "languages")
