"""Language names of the data to BCP-47 tags, and the user's choice of languages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from value_retention.tasks.errors import InputError

# The names that occur in the data (with its own spellings: "Bangla" beside "Bengali", "Punjab"), and the
# languages a later revision is likely to hold. Macro-languages get the tag that is in common use.
TAGS = {
    "Afrikaans": "af",
    "Amharic": "am",
    "Arabic": "ar",
    "Bangla": "bn",
    "Bengali": "bn",
    "Bulgarian": "bg",
    "Burmese": "my",
    "Cantonese": "yue",
    "Chinese": "zh",
    "Czech": "cs",
    "Danish": "da",
    "Dutch": "nl",
    "English": "en",
    "Estonian": "et",
    "Faroese": "fo",
    "Farsi": "fa",
    "Filipino": "fil",
    "Finnish": "fi",
    "French": "fr",
    "German": "de",
    "Greek": "el",
    "Gujarati": "gu",
    "Hausa": "ha",
    "Hebrew": "he",
    "Hindi": "hi",
    "Hungarian": "hu",
    "Icelandic": "is",
    "Igbo": "ig",
    "Indonesian": "id",
    "Italian": "it",
    "Japanese": "ja",
    "Kannada": "kn",
    "Khmer": "km",
    "Korean": "ko",
    "Lao": "lo",
    "Malay": "ms",
    "Malayalam": "ml",
    "Mandarin": "zh",
    "Marathi": "mr",
    "Mongolian": "mn",
    "Nepali": "ne",
    "Norwegian": "no",
    "Odia": "or",
    "Persian": "fa",
    "Polish": "pl",
    "Portuguese": "pt",
    "Punjab": "pa",
    "Punjabi": "pa",
    "Romanian": "ro",
    "Russian": "ru",
    "Serbian": "sr",
    "Sinhala": "si",
    "Slovak": "sk",
    "Somali": "so",
    "Spanish": "es",
    "Swahili": "sw",
    "Swedish": "sv",
    "Tagalog": "tl",
    "Tamil": "ta",
    "Telugu": "te",
    "Thai": "th",
    "Tibetan": "bo",
    "Turkish": "tr",
    "Ukrainian": "uk",
    "Urdu": "ur",
    "Vietnamese": "vi",
    "Yoruba": "yo",
    "Zulu": "zu",
}
_BY_NAME = {name.casefold(): tag for name, tag in TAGS.items()}
_TAG = re.compile(r"[a-zA-Z]{2,3}(-[a-zA-Z0-9]{2,8})*")

ENGLISH = "en"
UNDETERMINED = "und"
"""BCP-47's tag for a language that is not known: neither English nor another one."""


def language_tag(name: str) -> str | None:
    """BCP-47 tag of a language name or tag; None when it is neither.

    Only the primary tag's letter case is normalised: the data's own distinctions are kept.
    """
    stripped = name.strip()
    if (tag := _BY_NAME.get(stripped.casefold())) is not None:
        return tag
    if _TAG.fullmatch(stripped):
        primary, _, rest = stripped.partition("-")
        return primary.lower() + (f"-{rest}" if rest else "")
    return None


def is_english(tag: str) -> bool:
    """Whether a tag is English, in any region."""
    return tag.partition("-")[0] == ENGLISH


def choose_languages(wanted: Sequence[str], available: Iterable[str], where: str) -> frozenset[str]:
    """The tags a user asked for, by name or tag.

    Args:
        wanted: Names or tags (``["English", "ms"]``).
        available: Tags in the data.
        where: The option's name, for the message.

    Raises:
        InputError: a language that the data does not hold, or none at all.
    """
    have = sorted(set(available))
    if not wanted:
        raise InputError("no language named", where=where, found="an empty list", expected=", ".join(have))
    chosen = set()
    for name in wanted:
        tag = language_tag(name)
        if tag not in have:
            raise InputError(
                "a language that the data does not hold",
                where=where,
                found=repr(name),
                expected=f"one of {', '.join(have)}, or its English name",
            )
        chosen.add(tag)
    return frozenset(chosen)
