"""The report that is handed on: the comparison's own figures, whatever the answers hold, in a real browser too."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
import socket
import subprocess
import threading
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from chromium import CHROMIUM, opened
from click.testing import CliRunner, Result
from helpers import ROOT
from synthetic import anima_shape, synthetic_records

from value_retention.analysis.cli import cli
from value_retention.tasks.errors import InputError
from value_retention.tasks.record import AnswerRecord, text_hash
from value_retention.tasks.text import printable

RIGHT_TO_LEFT = "\u0645\u0631\u062d\u0628\u0627"
HOSTILE = [
    '<script>document.title = "owned"</script>',
    "<img src=x onerror=\"document.title = 'owned'\">",
    "</p></article></script><svg onload=\"document.title = 'owned'\">",
    '"><iframe src="http://127.0.0.1:9/"></iframe><link rel=stylesheet href="http://127.0.0.1:9/">',
    '<meta http-equiv=refresh content="0;url=http://127.0.0.1:9/"><style>* { display: none }</style>',
    "<details open ontoggle=\"document.title = 'owned'\"><a href=javascript:alert(1)>x</a></details>",
    "<!-- <textarea> <plaintext> <template> <![CDATA[",
    "\x00\x08\x9b2J\x85\u2028\u2029\ufeff\x7f",
    "<base href='http://127.0.0.1:9/'><form action='http://127.0.0.1:9/'><input name=x>",
    "\x1b[31mred\x1b]0;owned\x07 \u202eevil\u2066",
    "{{ 7 * 7 }}{% for x in y %}",
    "[x](javascript:alert(1)) | `a` **b**\n# heading\n---",
    "x" * 1_000_000,
    f"{RIGHT_TO_LEFT} \u65e5\u672c\u8a9e \u0939\u093f\u0928\u094d\u0926\u0940",
]


def written(folder: Path, name: str, level: float, answers: list[str]) -> Path:
    """A run whose every answer begins with one of the answers and holds the others too."""
    records = synthetic_records(name, anima_shape(), {"all": level}, epochs=2)
    short = [text for text in answers if len(text) < 1000]
    changed: list[AnswerRecord] = []
    for number, record in enumerate(records):
        # An equal answer would need an equal prompt: the name tells the runs apart.
        text = "\n".join([answers[number % len(answers)], *short, name])
        grades = tuple(replace(grade, rationale=f"{RIGHT_TO_LEFT} {text[:3000]}") for grade in record.grades)
        changed.append(
            replace(record, answer=text, answer_hash=text_hash(text), reasoning=text[:3000], grades=grades)
        )
    path = folder / f"{name}.records.jsonl"
    path.write_text("".join(f"{record.to_json()}\n" for record in changed), "utf-8")
    return path


def report(folder: Path, ending: str, *more: str) -> Result:
    runs = [f"{name}={folder / name}.records.jsonl" for name in ("base", "tuned")]
    arguments = ["report", *runs, "--margin", "5", "-o", str(folder / f"r.{ending}"), *more]
    return CliRunner().invoke(cli, arguments, catch_exceptions=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reports of two runs whose answers are hostile."""
    made = tmp_path_factory.mktemp("page")
    written(made, "base", 0.6, HOSTILE)
    written(made, "tuned", 0.4, HOSTILE)
    for ending in ("html", "md", "json"):
        done = report(made, ending)
        assert done.exit_code == 0, done.output
    return made


class Page(HTMLParser):
    """Elements of a page with their attributes, and the text of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inside: dict[str, str] = {}
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.elements and self.elements[-1][0] in ("script", "style"):
            self.inside.setdefault(self.elements[-1][0], data)


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    return Page((folder / "r.html").read_text("utf-8"))


def test_no_answer_becomes_an_element_and_nothing_is_loaded(page: Page) -> None:
    tags = [tag for tag, _ in page.elements]
    assert tags.count("script") == tags.count("style") == tags.count("form") == 1
    assert not {"iframe", "link", "base", "input", "svg", "object"} & set(tags)
    inside = "data:image/svg+xml;base64,"
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name == "style"], (
            tag,
            attributes,
        )
        for name in ("src", "href", "action"):
            assert str(attributes.get(name, inside)).startswith((inside, "#")), (tag, name)


def test_every_hostile_answer_is_shown_as_text(page: Page) -> None:
    for text in HOSTILE:
        assert printable(text[:10_000]) in page.text, ascii(text[:60])


def test_the_policy_allows_the_pages_own_script_and_style_only(page: Page) -> None:
    (policy,) = [
        attributes["content"] or ""
        for tag, attributes in page.elements
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    for kind in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256(page.inside[kind].encode()).digest()).decode()
        assert rules[f"{kind}-src"] == f"'sha256-{digest}'"


def test_no_control_character_and_no_endless_line_is_left(folder: Path) -> None:
    for ending in ("html", "md"):
        text = (folder / f"r.{ending}").read_text("utf-8")
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
        assert "more characters in the records]" in text
        assert len(text) < 5_000_000


def test_the_page_says_what_compare_says(folder: Path) -> None:
    runs = [f"{name}={folder / name}.records.jsonl" for name in ("base", "tuned")]
    told = folder / "compare.json"
    done = CliRunner().invoke(
        cli, ["compare", *runs, "--baseline", "base", "--margin", "5", "--json", str(told)]
    )
    assert done.exit_code == 0, done.output
    assert json.loads(told.read_text("utf-8")) == json.loads((folder / "r.json").read_text("utf-8"))
    (said,) = [line for line in done.output.replace("\n", " ").split("  ") if "new questions." in line][-1:]
    figure = re.search(r"overall_mean ([−+\d.]+ points \[[^]]+\])", said)
    assert figure
    assert figure[1] in (folder / "r.html").read_text("utf-8")
    assert re.sub(r"([\[\]])", r"\\\1", figure[1]) in (folder / "r.md").read_text("utf-8")


def test_the_largest_losses_come_first_with_both_answers_and_every_grade(page: Page, folder: Path) -> None:
    cases = [attributes for tag, attributes in page.elements if tag == "article"]
    assert len(cases) == 15
    text = (folder / "r.html").read_text("utf-8")
    points = [float(n.replace("−", "-")) for n in re.findall(r"<h4>([+-][\d.]+) points", text)]
    assert points[:10] == sorted(points[:10])
    assert points[0] < 0 < points[-1]
    assert points[10] == max(points)
    assert text.count("grades, 0 missing</summary>") == 2 * len(cases)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's package chromium")
def test_in_a_browser_the_pages_script_runs_and_no_answer_does(folder: Path, tmp_path: Path) -> None:
    assert CHROMIUM is not None
    done = subprocess.run(
        [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            *(f"--user-data-dir={tmp_path}", "--enable-logging=stderr", "--dump-dom"),
            f"file://{folder / 'r.html'}",
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = Page(done.stdout)
    assert "15 of 15 questions" in done.stdout
    assert [attributes for tag, attributes in found.elements if tag == "form"] == [{"class": "filters"}]
    assert "<title>Value retention: tuned against base</title>" in done.stdout
    assert not {"iframe", "link", "base"} & {tag for tag, _ in found.elements}
    assert "Refused to" not in done.stderr, "the page breaks its own policy"


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's package chromium")
def test_in_a_browser_nothing_is_asked_of_the_network_and_the_filters_work(
    folder: Path, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        reached: list[object] = []
        threading.Thread(target=lambda: reached.append(server.accept()), daemon=True).start()
        port = server.getsockname()[1]
        page = tmp_path / "r.html"
        page.write_text(
            (folder / "r.html").read_text("utf-8").replace("127.0.0.1:9", f"127.0.0.1:{port}"), "utf-8"
        )

        async def drive() -> dict[str, object]:
            async with opened(page, tmp_path / "profile", width=390) as evaluate:
                choose = "const s = document.getElementById('language'); s.value = {}; " + (
                    "s.dispatchEvent(new Event('change', {{bubbles: true}})); "
                    "document.getElementById('count').textContent"
                )
                return {
                    "title": await evaluate("document.title"),
                    "owned": await evaluate(
                        "document.querySelectorAll('.case script, .case style, .case a').length"
                    ),
                    "wide": await evaluate("document.documentElement.scrollWidth"),
                    "rtl": await evaluate(
                        "[...document.querySelectorAll('.answer')].filter(p => p.textContent.startsWith('\u0645'))"
                        ".map(p => getComputedStyle(p).direction)[0]"
                    ),
                    "one": await evaluate(f"{{ {choose.format('s.options[1].value')} }}"),
                    "all": await evaluate(f"{{ {choose.format(repr(''))} }}"),
                }

        found = asyncio.run(drive())
    assert found["title"] == "Value retention: tuned against base"
    assert (found["owned"], reached) == (0, [])
    assert found["wide"] == 390, "the page scrolls sideways on a phone"
    assert found["rtl"] == "rtl"
    assert found["all"] == "15 of 15 questions"
    assert re.fullmatch(r"\d+ of 15 questions", str(found["one"]))
    assert found["one"] != found["all"]


def test_mistakes_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    run = written(tmp_path, "base", 0.5, ["yes"])
    written(tmp_path, "tuned", 0.5, ["no"])
    assert isinstance(report(tmp_path, "pdf").exception, InputError)
    done = report(tmp_path, "html", "-o", str(run))
    assert isinstance(done.exception, InputError)
    assert run.stat().st_size > 0


def test_the_template_is_part_of_the_package() -> None:
    assert {f"page.{ending}" for ending in ("html", "md", "css", "js")} <= {
        file.name for file in (ROOT / "analysis" / "report").iterdir()
    }
