"""BCP-47 tags for the data's language names, and the user's choice of languages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from value_retention.tasks.errors import InputError

# The names in the data (with its spellings: "Bangla" and "Bengali", "Punjab"), and languages that a later revision
# is likely to add. A macro-language gets its usual tag.
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
"""BCP-47's tag for an unknown language. It counts neither as English nor as non-English."""


def language_tag(name: str) -> str | None:
    """BCP-47 tag of a language name or tag, or None if the text is neither.

    Only the letter case of the primary tag is normalised.
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
    """The tags of the languages that a user chose.

    Args:
        wanted: Names or tags (``["English", "ms"]``).
        available: Tags in the data.
        where: The option's name, for the error message.

    Raises:
        InputError: an empty list, or a language that is not in the data.
    """
    have = sorted(set(available))
    if not wanted:
        raise InputError("empty list of languages", where=where, expected=", ".join(have))
    chosen = set()
    for name in wanted:
        tag = language_tag(name)
        if tag not in have:
            raise InputError(
                "unknown language",
                where=where,
                found=repr(name),
                expected=f"one of the data's languages ({', '.join(have)}), by tag or English name",
            )
        chosen.add(tag)
    return frozenset(chosen)
