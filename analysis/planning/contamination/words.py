"""Normalised tokens of a text: words, or characters where a script has no spaces."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cache

NORMALISATION = (
    "NFKC, case folded, format characters and Latin accents dropped, letters that look Latin replaced; words, or "
    "characters where unspaced"
)
_LOOKALIKES = (
    # Cyrillic, with the small forms of the capitals that look Latin
    "аa вb сc ԁd еe ԍg нh һh іi јj кk ӏl мm оo рp ԛq ѕs тt ѵv ԝw хx уy үy "
    # Greek
    "αa βb εe ϝf ηn ιi ϳj κk μm νv οo ρp σo τt υu χx γy ζz "
    # Armenian
    "ցg հh ոn օo գq զq սu տs քf "
    # Latin letters beyond ASCII that have no accent
    "ɑa ƅb ᴄc đd ðd ɡg ħh ıi ɩi ɪi łl øo ᴏo ʀr ꜱs ŧt ᴜu ʋv ᴠv ᴡw ɣy ʏy ᴢz"
)
"""Pairs of a letter and the Latin letter that it looks like, after case folding: Unicode's confusables (UTS 39) of one
letter each, with one target each. Words of these scripts change in the same way in rows and benchmarks."""
_TYPOGRAPHIC = "‘’“”«»‹›–—…•·°£€©®™×÷\u00a0"
_ASCII = str.maketrans({chr(code): chr(code).lower() if chr(code).isalnum() else " " for code in range(128)})


def tokens(text: str, *, lookalikes: bool = True) -> list[str]:
    """Split a normalised text into words, or into characters for scripts without spaces.

    Args:
        text: Any text.
        lookalikes: Whether accents and letters that look Latin are replaced; without, tokens are to be read.
    """
    if not text.isascii():
        for character in _TYPOGRAPHIC:
            text = text.replace(character, " ")
    if text.isascii():
        return text.translate(_ASCII).split()
    token, formats = _patterns()
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    if lookalikes:
        folded = folded.translate(_replaced())
    return token.findall(formats.sub("", folded))


@cache
def _replaced() -> dict[int, str | None]:
    """What each letter beyond ASCII becomes: its Latin lookalike, its letter without an accent, or nothing."""
    accented = {
        code: base
        for code in (*range(0xC0, 0x250), *range(0x1E00, 0x1F00))
        if (base := unicodedata.normalize("NFD", chr(code))[0]).isascii()
    }
    # Marks of Latin, Greek and Cyrillic that NFKC joins with no letter.
    marks = dict.fromkeys(range(0x300, 0x370))
    return accented | marks | {ord(pair[0]): pair[1] for pair in _LOOKALIKES.split()}


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Patterns of a token and of format characters, from Unicode categories.

    The standard library's `\\w` would cut words of Indic scripts at their vowel signs, which are marks. Unicode has
    no character between U+40000 and U+E0000, and only private ones from U+F0000.
    """
    categories = {
        code: unicodedata.category(chr(code)) for code in (*range(0x40000), *range(0xE0000, 0xE1000))
    }
    marks = [code for code, category in categories.items() if category[0] == "M"]
    formats = [code for code, category in categories.items() if category == "Cf"]
    # Scripts without spaces, one token per character: Thai, Lao, Myanmar, Khmer, kana, ideographs.
    unspaced = (
        "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
        "\U00020000-\U0003ffff"
    )
    mark = _ranges(marks)
    token = f"[{unspaced}][{mark}]*|(?:(?![{unspaced}])[^\\W_]|[{mark}])+"
    return re.compile(token), re.compile(f"[{_ranges(formats)}]+")


def _ranges(codes: Sequence[int]) -> str:
    """Return the code points as the inside of a character class."""
    spans: list[tuple[int, int]] = []
    for code in codes:
        if spans and spans[-1][1] == code - 1:
            spans[-1] = (spans[-1][0], code)
        else:
            spans.append((code, code))
    return "".join(f"\\U{low:08x}-\\U{high:08x}" for low, high in spans)
