"""Text from outside: secrets are removed before it is written, control characters before it is printed; its order."""

from __future__ import annotations

import logging
import os
import re
from functools import cache, lru_cache

REDACTED = "[redacted]"
LEAST = 8
"""Characters of a secret. Shorter values are placeholders (``x``, ``EMPTY``) and occur in ordinary text."""

_SECRET_NAME = re.compile(
    r"(^|[_-])((api)?key|token|secret|password|passwd|passphrase|credential)s?[_-]?\d*$", re.I
)
"""Names of environment variables that hold a secret. ``HF_TOKEN_PATH`` and ``TOKENIZERS_PARALLELISM`` do not."""

SECRET_SHAPE = re.compile(
    r"\b(sk-[\w-]{12,}|hf_[A-Za-z0-9]{16,}|AIza[\w-]{20,}|gsk_[A-Za-z0-9]{16,}|xai-[A-Za-z0-9]{16,})"
    r"|\bBearer\s+[^\s\"',;}\]]{8,}"
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"
    r"|[?&](\w*[_-])?(key|token|secret|sig|signature)=[^&\s\"']+",
    re.I,
)
"""Keys of known providers, and places where secrets stand: a header, the login and the query of a URL."""

_HEADER = re.compile(
    r"\b(authorization|(x-)?api[-_]?key)(\\?[\"'])?\s*[:=]\s*(\\?[\"'])?(\w+\s+)?[^\s\"',;}\]\\]+", re.I
)


@cache
def _names_secret(variable: str) -> bool:
    """Whether an environment variable holds a secret by its name. Each reply of a judge asks for all variables."""
    return _SECRET_NAME.search(variable) is not None


def without_keys(text: str) -> str:
    """The text without the secrets in the environment: values of variables named like a key, token or password."""
    values = {os.environ[name] for name in os.environ if _names_secret(name)}
    for value in sorted(values, key=len, reverse=True):
        if len(value) >= LEAST:
            text = text.replace(value, REDACTED)
    return text


def redacted(text: str) -> str:
    """`without_keys`, and without anything that looks like a secret. For error messages, which may echo a header."""
    text = _HEADER.sub(lambda match: f"{match[1]}: {REDACTED}", without_keys(text))
    return SECRET_SHAPE.sub(REDACTED, text)


_ESCAPED = {
    code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
    for codes in (
        range(0x20),  # C0, with ESC
        range(0x7F, 0xA0),  # DEL and C1, with the one-byte CSI and OSC
        range(0x2028, 0x202F),  # line separators; bidirectional embeddings and overrides
        range(0x2066, 0x206A),  # bidirectional isolates
        range(0xD800, 0xE000),  # half characters, which a terminal's encoding lacks
    )
    for code in codes
    if chr(code) not in "\n\t"
}


def printable(text: str) -> str:
    r"""The text with control characters spelled out (ESC as ``\x1b``), so that it cannot steer a terminal.

    Line breaks and tabs are kept.
    """
    return text if text.isprintable() else text.translate(_ESCAPED)


@lru_cache(maxsize=4096)  # records and grades repeat the names of items and judges
def by_name(name: str) -> tuple[tuple[object, ...], str]:
    """Sort key of a name in which digits are numbers: ``item 2`` comes before ``item 10``."""
    # Every second part is digits. Their count, then the digits, order them as int() would, whatever their length.
    parts = enumerate(re.split("([0-9]+)", name))
    return tuple((len(part.lstrip("0")), part.lstrip("0")) if k % 2 else part for k, part in parts), name


class _Clean(logging.Filter):
    """Redacts each message and makes it printable."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = printable(redacted(record.getMessage())), None
        return True


def clean_logger(name: str) -> logging.Logger:
    """A logger whose messages are redacted and printable, whichever module logs to it by this name."""
    logger = logging.getLogger(name)
    if not any(isinstance(kept, _Clean) for kept in logger.filters):
        logger.addFilter(_Clean())
    return logger
