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
# ISO 639: the two-letter code of a language and its three-letter codes. BCP-47 takes the shorter one.
_CODES = """
aa:aar ab:abk ae:ave af:afr ak:aka am:amh an:arg ar:ara as:asm av:ava ay:aym az:aze ba:bak be:bel bg:bul
bi:bis bm:bam bn:ben bo:bod:tib br:bre bs:bos ca:cat ce:che ch:cha co:cos cr:cre cs:ces:cze cu:chu
cv:chv cy:cym:wel da:dan de:deu:ger dv:div dz:dzo ee:ewe el:ell:gre en:eng eo:epo es:spa et:est
eu:eus:baq fa:fas:per ff:ful fi:fin fj:fij fo:fao fr:fra:fre fy:fry ga:gle gd:gla gl:glg gn:grn gu:guj
gv:glv ha:hau he:heb hi:hin ho:hmo hr:hrv ht:hat hu:hun hy:hye:arm hz:her ia:ina id:ind ie:ile ig:ibo
ii:iii ik:ipk io:ido is:isl:ice it:ita iu:iku ja:jpn jv:jav ka:kat:geo kg:kon ki:kik kj:kua kk:kaz
kl:kal km:khm kn:kan ko:kor kr:kau ks:kas ku:kur kv:kom kw:cor ky:kir la:lat lb:ltz lg:lug li:lim ln:lin
lo:lao lt:lit lu:lub lv:lav mg:mlg mh:mah mi:mri:mao mk:mkd:mac ml:mal mn:mon mr:mar ms:msa:may mt:mlt
my:mya:bur na:nau nb:nob nd:nde ne:nep ng:ndo nl:nld:dut nn:nno no:nor nr:nbl nv:nav ny:nya oc:oci
oj:oji om:orm or:ori os:oss pa:pan pi:pli pl:pol ps:pus pt:por qu:que rm:roh rn:run ro:ron:rum ru:rus
rw:kin sa:san sc:srd sd:snd se:sme sg:sag si:sin sk:slk:slo sl:slv sm:smo sn:sna so:som sq:sqi:alb
sr:srp ss:ssw st:sot su:sun sv:swe sw:swa ta:tam te:tel tg:tgk th:tha ti:tir tk:tuk tl:tgl tn:tsn to:ton
tr:tur ts:tso tt:tat tw:twi ty:tah ug:uig uk:ukr ur:urd uz:uzb ve:ven vi:vie vo:vol wa:wln wo:wol xh:xho
yi:yid yo:yor za:zha zh:zho:chi zu:zul
"""
_SHORT = {long: codes[0] for codes in (line.split(":") for line in _CODES.split()) for long in codes[1:]}
_TAG = re.compile(r"[a-zA-Z]{2,3}(-[a-zA-Z0-9]{2,8})*")

ENGLISH = "en"
UNDETERMINED = "und"
"""BCP-47's tag for an unknown language. It counts neither as English nor as non-English."""


def language_tag(name: str) -> str | None:
    """BCP-47 tag of a language name or tag, or None if the text is neither.

    The primary tag becomes lower-case and as short as ISO 639 has it: ``eng-US`` is ``en-US``. The rest stays.
    """
    stripped = name.strip()
    if (tag := _BY_NAME.get(stripped.casefold())) is not None:
        return tag
    if _TAG.fullmatch(stripped):
        primary, _, rest = stripped.partition("-")
        primary = primary.lower()
        return _SHORT.get(primary, primary) + (f"-{rest}" if rest else "")
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
