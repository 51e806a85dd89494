"""Licences of everything that an installation brings: ``python tests/licences.py`` prints them as Markdown.

Reads the metadata of the installed distributions, from this one's requirements on. `--write` puts the list into
docs/releasing.md.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = "value-retention"
EXTRAS = ("", "analysis", "train")
"""What an installation from the index can have; ``vllm`` has its own environment, ``dev`` is not for users."""
PAGE = Path(__file__).resolve().parents[1] / "docs" / "releasing.md"

COPYLEFT = re.compile(r"\b(A?GPL|LGPL|MPL|EPL|EUPL|CDDL|CC-BY-SA|General Public|Mozilla Public)", re.I)
SPDX = (
    (r"apache|^asl", "Apache-2.0"),
    (r"2-clause", "BSD-2-Clause"),
    (r"3-clause|new bsd|modified bsd|\bbsd\b", "BSD-3-Clause"),
    (r"mozilla|mpl", "MPL-2.0"),
    (r"python software foundation|^psf", "PSF-2.0"),
    (r"unlicense", "Unlicense"),
    (r"\bisc\b", "ISC"),
    (r"\bmit\b", "MIT"),
)
"""Words of free-text licence fields and classifiers, and the SPDX name meant. The first match counts."""

EXPRESSION = re.compile(r"(MIT|ISC|[\w.+-]*\d[\w.+-]*)( (AND|OR|WITH) [\w.+-]+)*")
"""An SPDX expression; a bare ``BSD`` or ``Apache`` is none."""


def spdx(text: str) -> str:
    """The SPDX name of a classifier or a free-text field; the text itself where no word is known."""
    return next((name for pattern, name in SPDX if re.search(pattern, text, re.I)), text)


def licence(name: str) -> str:
    """SPDX expression of an installed distribution: stated as one, or read from classifiers, text or licence file."""
    of = distribution(name).metadata
    field = of.get("License-Expression") or (of.get("License") or "").strip()
    if EXPRESSION.fullmatch(field):
        return field
    classified = [c.rpartition(" :: ")[2] for c in of.get_all("Classifier", []) if c.startswith("License ::")]
    if named := sorted({spdx(text) for text in classified if text != "OSI Approved"}):
        return " OR ".join(named)
    if not field:
        files = [
            file for file in distribution(name).files or () if file.name.startswith(("LICENSE", "LICENCE"))
        ]
        field = files[0].read_text().strip() if files else "not stated"
    return spdx(field.partition("\n")[0].strip())


def requirements(name: str, extras: frozenset[str] = frozenset()) -> Iterator[Requirement]:
    """What an installed distribution requires here, with these extras."""
    for line in distribution(name).requires or ():
        required = Requirement(line)
        wanted = required.marker is None or any(
            required.marker.evaluate({"extra": extra}) for extra in ("", *extras)
        )
        if wanted and canonicalize_name(required.name) != PROJECT:
            yield required


def direct() -> dict[str, str]:
    """Name of every direct dependency to the extra that brings it; "" for those of every installation."""
    found: dict[str, str] = {}
    for extra in EXTRAS:
        for required in requirements(PROJECT, frozenset({extra}) - {""}):
            found.setdefault(canonicalize_name(required.name), extra)
    return found


def installed() -> Mapping[str, str]:
    """Name of every distribution that the requirements lead to, with its licence."""
    found: dict[str, str] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    left = [required for extra in EXTRAS for required in requirements(PROJECT, frozenset({extra}) - {""})]
    while left:
        required = left.pop()
        name, extras = canonicalize_name(required.name), frozenset(required.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            found[name] = licence(name)
        except PackageNotFoundError:
            print(f"licences.py: {name} is not installed", file=sys.stderr)
            continue
        left += requirements(name, extras)
    return found


def page() -> str:
    """The list as Markdown: direct dependencies one by one, transitive ones by licence, copyleft by itself."""
    licences, of = direct(), installed()
    lines = ["| direct dependency | licence | comes with |", "|---|---|---|"]
    for name, extra in sorted(licences.items(), key=lambda item: (item[1], item[0])):
        lines.append(f"| {name} | {of[name]} | {f'`[{extra}]`' if extra else 'every installation'} |")
    by_licence = defaultdict(list)
    for name in sorted(of.keys() - licences.keys()):
        by_licence[of[name]].append(name)
    lines += ["", "| licence | transitive dependencies |", "|---|---|"]
    lines += [f"| {text} | {', '.join(names)} |" for text, names in sorted(by_licence.items())]
    copyleft = sorted(name for name, text in of.items() if COPYLEFT.search(text))
    flagged = [f"{name} ({of[name]})" for name in copyleft]
    return "\n".join([*lines, "", f"Copyleft, in whole or in part: {', '.join(flagged) or 'none'}."])


def write(text: str, section: str, file: Path = PAGE) -> None:
    """Replace what stands between the two markers of a section."""
    marks = f"<!-- {section} -->", f"<!-- end of {section} -->"
    before, _, rest = file.read_text("utf-8").partition(marks[0])
    _, found, after = rest.partition(marks[1])
    if not found:
        raise SystemExit(f"{file}: no section between {marks[0]} and {marks[1]}")
    file.write_text(f"{before}{marks[0]}\n{text}\n{marks[1]}{after}", "utf-8")


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        write(page(), "licences")
    else:
        print(page())
