"""SHA-256 of files. A file is read once: a cache beside the journal knows it until it is touched."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from value_retention.adapters.judges.journal import journal_file

logger = logging.getLogger("lm_eval.value_retention")

FILE = "hashes.txt"
"""One line per file: key, hash, and a check of both. Processes append to it; a damaged line counts for nothing."""
SAID = 2e9
"""Bytes. Reading more than that is announced."""
SETTLED = 2.0
"""Seconds. A file that changed within them may change again under the same time of change: it is not remembered."""

_seen: dict[str, str] = {}
"""Hash by key, as `FILE` has them, for a process that cannot write it."""


def sha256_of(files: Sequence[Path]) -> list[str]:
    """SHA-256 of the content of each file, as 64 hex digits. Symlinks are followed.

    Raises:
        OSError: a file cannot be read.
    """
    start = time.time()
    keys = [_key(file) for file in files]
    if any(key not in _seen for key in keys):
        _seen.update(_saved())
    missing = {key: file for key, file in zip(keys, files, strict=True) if key not in _seen}
    size = sum(file.stat().st_size for file in missing.values())
    if size > SAID:
        logger.info("value_retention: reading %.1f GB to know the model by its files", size / 1e9)
    with ThreadPoolExecutor(4) as pool:
        found = dict(zip(missing, pool.map(_read, missing.values()), strict=True))
    same = {key: file for key, file in missing.items() if _key(file) == key}
    _save({key: found[key] for key, file in same.items() if start - file.stat().st_ctime > SETTLED})
    return [found.get(key) or _seen[key] for key in keys]


def _key(file: Path) -> str:
    """What is different after a change of the content, even one that restores size and modification time.

    The path is part of it: some network file systems give an inode's number to another file later.
    """
    stat = file.stat()
    parts = (
        stat.st_dev,
        stat.st_ino,
        stat.st_size,
        stat.st_mtime_ns,
        stat.st_ctime_ns,
        os.path.realpath(file),
    )
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).hexdigest()


def _read(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _check(key: str, sha256: str) -> str:
    return hashlib.sha256(f"{key} {sha256}".encode()).hexdigest()[:16]


def _saved() -> dict[str, str]:
    try:
        lines = journal_file().with_name(FILE).read_text("ascii", "replace").splitlines()
    except OSError:
        return {}
    rows = [row for line in lines if len(row := line.split()) == 3]
    return {key: sha256 for key, sha256, check in rows if check == _check(key, sha256)}


def _save(found: dict[str, str]) -> None:
    """Append in one write, so that lines of several processes do not mix. Without a place for the file, do nothing."""
    _seen.update(found)
    text = "".join(f"{key} {sha256} {_check(key, sha256)}\n" for key, sha256 in found.items())
    try:
        place = journal_file().with_name(FILE)
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("a", encoding="ascii") as file:
            file.write(text)
    except OSError:
        pass
