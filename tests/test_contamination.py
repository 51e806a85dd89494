"""The comparison of training rows with benchmark questions."""

from __future__ import annotations

import hashlib
import json
import random
import re
import shutil
import unicodedata
from pathlib import Path

import pytest
from click.testing import CliRunner
from helpers import REAL, real_rows
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import FORMS, RUBRIC, planted

from value_retention.analysis.commands.contamination import command
from value_retention.analysis.planning.contamination.check import check_rows
from value_retention.analysis.planning.contamination.index import NEAR, Index, Match, stream
from value_retention.analysis.planning.contamination.passages import (
    SHORTEST,
    N,
    Passage,
    passage,
    passages_hash,
    read_passages,
    unlabelled,
)
from value_retention.analysis.planning.contamination.rows import streams, texts_of
from value_retention.analysis.planning.contamination.words import tokens
from value_retention.tasks.benchmark import packaged
from value_retention.tasks.data import load
from value_retention.tasks.errors import InputError
from value_retention.train.data import SAMPLES
from value_retention.train.rows import Report, Rows

WORDS = [f"word{i}" for i in range(30)]
HINDI = "क्या मुर्गियाँ दर्द महसूस करती हैं और हमें उनके लिए क्या करना चाहिए जब वे बीमार हों"


def question(text: str) -> Passage:
    return passage("question", "b", "1", "en", text)


def hit(asked: str, text: str) -> bool:
    return Index([question(asked)]).find(text) is not None


def best(asked: str, *texts: str) -> Match | None:
    """The match of a row of texts: a hit, a near match, or None."""
    return next((match for _, match in Index([question(asked)]).search([stream(texts)])), None)


def test_normalisation_keeps_words_whole_in_every_script() -> None:
    assert tokens("Do HENS, feel-pain?") == ["do", "hens", "feel", "pain"]
    assert tokens("क्या मुर्गियाँ") == [unicodedata.normalize("NFKC", word) for word in ("क्या", "मुर्गियाँ")]
    assert tokens("动物福利 ok") == ["动", "物", "福", "利", "ok"]
    assert tokens("สัตว์") == ["สั", "ต", "ว์"]
    assert tokens("ﬁsh") == tokens("fish") == tokens("FISH")
    assert tokens("Straße") == tokens("STRASSE")
    assert tokens("un\u00adbro\u200bken") == ["unbroken"]
    assert tokens("e\u0301tait") == tokens("\u00e9tait")
    assert tokens("...!? \n") == []


def test_thirteen_shared_words_are_a_hit_and_twelve_are_not() -> None:
    asked = " ".join(WORDS)
    for size, expected in ((N - 1, False), (N, True), (N + 5, True)):
        shared = " ".join(WORDS[4 : 4 + size])
        assert hit(asked, f"some other text, {shared.upper()}! and more") is expected
    assert not hit(asked, " x ".join(WORDS))


def test_a_short_question_is_a_hit_only_as_a_whole() -> None:
    assert hit("Do hens feel pain?", "He asked: do HENS feel pain, and left.")
    assert not hit("Do hens feel pain?", "Do hens feel cold?")
    assert not hit("Do hens feel pain?", "hens feel pain")


def test_a_hindi_question_is_found_in_any_unicode_composition() -> None:
    assert hit(HINDI, "x " + unicodedata.normalize("NFD", HINDI) + " y")
    assert not hit(HINDI, " ".join(reversed(HINDI.split())))


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from("abc"), max_size=40), st.lists(st.sampled_from("abc"), min_size=1, max_size=20)
)
def test_the_index_agrees_with_a_search_of_every_window(text: list[str], asked: list[str]) -> None:
    if len(asked) < SHORTEST:  # counts only as the whole of a text
        assert hit(" ".join(asked), " ".join(text)) is (text == asked)
        return
    size = min(N, len(asked))
    windows = {tuple(asked[i : i + size]) for i in range(len(asked) - size + 1)}
    expected = any(tuple(text[i : i + size]) in windows for i in range(len(text) - size + 1))
    assert hit(" ".join(asked), " ".join(text)) is expected


def test_every_text_of_a_row_is_read_except_roles() -> None:
    row = {
        "prompt": [{"role": "user", "content": "a"}],
        "completion": [{"role": "assistant", "content": "b"}],
    }
    assert texts_of(row) == [("user", "a"), ("assistant", "b")]
    assert texts_of({"text": "c", "n": 3}) == [("", "c")]


def test_texts_are_joined_in_order_and_by_role_where_others_interrupt() -> None:
    def said(*turns: str) -> list[dict[str, str]]:
        return [{"role": role, "content": text} for role, _, text in (turn.partition(" ") for turn in turns)]

    assert streams({"prompt": said("user a"), "completion": said("assistant b")}) == [["a", "b"]]
    row = {"messages": said("system s", "user a", "assistant b", "user c", "assistant d")}
    assert streams(row) == [["s", "a", "b", "c", "d"], ["a", "c"], ["b", "d"]]
    assert streams({"messages": said("user a", "user b", "assistant c")}) == [["a", "b", "c"]]
    assert streams({"text": " "}) == []


def test_a_question_split_over_two_turns_is_a_hit_and_a_short_one_a_near_match() -> None:
    words = " ".join(WORDS[:20])
    found = best(words, "Listen. " + " ".join(WORDS[:10]), " ".join(WORDS[10:20]))
    assert found is not None
    assert found.exact
    # A few words at the end of one text and the start of the next may be chance.
    found = best("Do hens feel pain?", "I ask: do hens", "feel pain, then?")
    assert found is not None
    assert (found.exact, found.similarity) == (False, 1)
    assert best("Do hens feel pain?", "do hens feel pain", "and more") == Index(
        [question("Do hens feel pain?")]
    ).find("do hens feel pain")


@pytest.mark.parametrize(
    "text",
    [
        "Do fish feel pain? Answer:",
        "Question: Do fish feel pain?\nAnswer:\n\n",
        "**Question 1:** Do fish feel pain?\n\n**Your answer:**",
        "Q: Do fish feel pain A:",
        "Frage: Do fish feel pain? Deine Antwort :",
        "问题：Do fish feel pain？答案：",
        "प्रश्न: Do fish feel pain? उत्तर:",
        "سؤال: Do fish feel pain؟ الإجابة:",
    ],
)
def test_a_label_before_or_after_a_question_is_left_out(text: str) -> None:
    assert tokens(unlabelled(text)) == ["do", "fish", "feel", "pain"]


def test_a_question_that_is_hardly_more_than_a_label_stays_whole() -> None:
    for text in ("My cat: is she happy?", "What is 3:1? A:", "It is late. Do hens feel pain?"):
        assert unlabelled(text) == text


def test_letters_that_look_latin_and_accents_are_the_same_as_the_letter() -> None:
    assert tokens("dо fіsh fееl pаіn") == tokens("do fish feel pain")
    assert tokens("ΤΑΡΕ") == tokens("tape") == tokens("ta\u0301pë")
    assert tokens("ВАРАН В МЕТРО") == tokens("варан в метро")
    assert tokens("кот", lookalikes=False) == ["кот"]


def test_a_near_match_names_both_texts_and_is_not_a_hit() -> None:
    words = " ".join(WORDS)
    changed = (
        words.replace("word7 ", "w0rd7 ").replace("word15 ", "word15 really ").replace("word23 ", "wrod23 ")
    )
    found = best(words, f"Before. {changed} After.")
    assert found is not None
    assert not found.exact
    assert 1 > found.similarity >= NEAR
    assert found.theirs[1] - found.theirs[0] >= N
    for near in ("Do hesn feel pain?", "Do hens feel any pain?"):
        found = best("Do hens feel pain?", f"I asked him this: {near} And he left.")
        assert found is not None, near
        assert not found.exact
    assert best("Do hens feel pain?", "Does a hen have a plan for the rain? It may feel fine.") is None
    assert best(words, " ".join(reversed(WORDS))) is None


def sample_rows(tmp_path: Path) -> Path:
    asked = load_sample()[3]
    rows = [
        {"text": "Nothing to see here."},
        {"prompt": [{"role": "user", "content": "Help: " + asked.upper()}]},
        {"text": "Still nothing."},
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def load_sample() -> list[str]:

    return [item.question for benchmark in packaged().values() for item in load(benchmark, "sample").items]


def test_every_question_in_every_language_is_found_in_a_training_row() -> None:
    passages, sources = read_passages("sample", packaged())
    asked = load_sample()
    assert sum(source.questions for source in sources) == len(asked) > 40
    lines = [json.dumps({"text": f"Before. {text} After."}).encode() for text in asked]
    check = check_rows(lines, passages, sources, listed=len(asked))
    assert [found.row for found in check.listed_hits] == list(range(1, len(asked) + 1))
    assert {found.passage.kind for found in check.listed_hits} <= {"question", "translation"}


def test_the_command_lists_hits_drops_them_and_stamps_the_rest(tmp_path: Path) -> None:
    path, clean = sample_rows(tmp_path), tmp_path / "out" / "clean.jsonl"
    done = CliRunner().invoke(command, [str(path), "--data", "sample"])
    assert done.exit_code == 1, done.output
    assert "row 2: anima_2_2" in done.output
    assert json.loads((tmp_path / "rows.jsonl.stamp.json").read_text())["hits"] == 1
    done = CliRunner().invoke(command, [str(path), "--data", "sample", "--drop", str(clean)])
    assert done.exit_code == 0, done.output
    assert "clean of these texts" in done.output
    assert [json.loads(line)["text"] for line in clean.read_text().splitlines()] == [
        "Nothing to see here.",
        "Still nothing.",
    ]
    stamp = json.loads((tmp_path / "out" / "clean.jsonl.stamp.json").read_text())
    assert stamp["rows_sha256"] == hashlib.sha256(clean.read_bytes()).hexdigest()
    assert (stamp["hits"], stamp["dropped"], stamp["rows"]) == (0, 1, 2)
    assert (stamp["near"], stamp["near_similarity"]) == (0, NEAR)
    assert (stamp["questions"], stamp["translations"], stamp["rubrics"]) == (66, 21, 29)
    assert {source["benchmark"] for source in stamp["sources"]} == {"anima_2_2", "moru"}
    assert not any(source["is_benchmark"] for source in stamp["sources"])


def test_near_matches_are_listed_with_both_texts_and_count_as_hits_if_strict(tmp_path: Path) -> None:
    asked = load_sample()[3].split()
    asked[4], asked[13] = asked[4][::-1], asked[13][::-1]
    path, clean = tmp_path / "rows.jsonl", tmp_path / "clean.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in ("Nothing.", " ".join(asked))))
    done = CliRunner().invoke(command, [str(path), "--data", "sample"])
    assert done.exit_code == 0, done.output
    listed = r"row 2 is close to (.*), \d\d% alike\n    row:       (.*)\n    benchmark: (.*)\n"
    ((near, row, theirs),) = re.findall(listed, done.output)
    assert near == "anima_2_2 item 3, question (en)"
    assert row != theirs
    assert row.split()[:4] == theirs.split()[:4] == tokens(" ".join(asked))[:4]
    assert "at least 85% like a text of a benchmark: 1. Read" in done.output
    stamp = json.loads((tmp_path / "rows.jsonl.stamp.json").read_text())
    assert (stamp["hits"], stamp["near"]) == (0, 1)
    done = CliRunner().invoke(command, [str(path), "--data", "sample", "--strict"])
    assert done.exit_code == 1
    assert (
        CliRunner()
        .invoke(command, [str(path), "--data", "sample", "--strict", "--drop", str(clean)])
        .exit_code
        == 0
    )
    assert clean.read_text() == '{"text": "Nothing."}\n'


class Line(bytes):
    """A line that counts how many of its kind exist."""

    alive = most = 0

    def __new__(cls, text: bytes) -> Line:
        Line.alive += 1
        Line.most = max(Line.most, Line.alive)
        return super().__new__(cls, text)

    def __del__(self) -> None:
        Line.alive -= 1


def test_rows_are_not_kept_while_a_file_is_read() -> None:
    passages, sources = read_passages("sample", ["moru"])
    text = json.dumps({"text": "Water boils at a hundred degrees. " * 40}).encode()
    assert check_rows((Line(text) for _ in range(2000)), passages, sources).rows == 2000
    assert 0 < Line.most < 500


def test_the_stamp_is_the_one_that_training_accepts(tmp_path: Path) -> None:
    """The two sides share no code, so a test must connect them."""
    from value_retention.train.arguments import DataArguments, TrainError
    from value_retention.train.card import check_stamp

    path, clean = sample_rows(tmp_path), tmp_path / "clean.jsonl"
    data = folder_of_samples(tmp_path / "data")
    CliRunner().invoke(command, [str(path), "--data", str(data), "--drop", str(clean)])
    accepted = check_stamp(DataArguments(dataset="a/b", rows=str(clean)), trained(clean))
    assert accepted["status"] == "clean"
    CliRunner().invoke(command, [str(path), "--data", str(data)])
    with pytest.raises(TrainError, match="not clean"):
        check_stamp(DataArguments(dataset="a/b", rows=str(path)), trained(path))


def test_a_stamp_that_does_not_cover_the_benchmarks_is_refused_except_for_shipped_rows(
    tmp_path: Path,
) -> None:
    from value_retention.train.arguments import DataArguments, TrainError
    from value_retention.train.card import check_stamp

    rows = tmp_path / "rows.jsonl"
    shipped = b"".join((SAMPLES / "compassion.jsonl").read_bytes().splitlines(keepends=True)[:3])
    rows.write_bytes(shipped)
    data = str(folder_of_samples(tmp_path / "data"))

    def settings_of(dataset: str) -> DataArguments:
        return DataArguments(dataset=dataset, dataset_format="text", rows=str(rows))

    def checked(dataset: str, *arguments: str) -> str:
        """Status of the run's card, or the error about the stamp."""
        assert CliRunner().invoke(command, [str(rows), *arguments]).exit_code == 0
        try:
            return str(check_stamp(settings_of(dataset), trained(rows))["status"])
        except TrainError as error:
            return str(error)

    full = f"value-retention contamination {rows} --data hub"
    said = checked("a/b", "--data", data, "--benchmark", "moru")
    assert "missing: anima_2_2 (not compared)\n" in said
    assert full in said
    said = checked("a/b", "--data", "sample")
    assert "missing: anima_2_2 (only its sample items), moru (only" in said
    assert full in said
    said = checked("a/b", "--data", "sample", "--benchmark", "anima_2_2")
    assert "moru (not compared), anima_2_2 (only its sample items" in said
    assert checked("a/b", "--data", data) == "clean"
    # Shipped rows need a comparison with both samples, but not with the benchmarks.
    assert checked("sample:compassion", "--data", "sample") == "clean of the sample items"
    assert checked("sample:compassion", "--data", data) == "clean"
    said = checked("sample:compassion", "--data", "sample", "--benchmark", "moru")
    assert "missing: anima_2_2 (not compared)\n" in said
    assert f"value-retention contamination {rows} --data sample" in said
    # A stamp without questions, and one without sources.
    stamp = tmp_path / "rows.jsonl.stamp.json"
    made = json.loads(stamp.read_text())
    for sources, said in (
        ([source | {"questions": 0} for source in made["sources"]], "anima_2_2 (not compared)"),
        (["moru"], "invalid contamination stamp"),
    ):
        stamp.write_text(json.dumps(made | {"sources": sources}))
        with pytest.raises(TrainError) as error:
            check_stamp(settings_of("sample:compassion"), trained(rows))
        assert said in str(error.value)
    # The settings of a sample do not make other rows shipped rows.
    rows.write_bytes(shipped + b'{"text": "Nothing to see here."}\n')
    assert "only its sample items" in checked("sample:compassion", "--data", "sample")


def trained(file: Path) -> Rows:
    """A rows file as training reads it."""
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    read = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return Rows(read, Report("midtrain", str(file), "", 3, 3, 0, 0, digest))


def test_a_stamp_of_another_format_is_refused_with_the_next_step(tmp_path: Path) -> None:
    from value_retention.train.arguments import DataArguments, TrainError
    from value_retention.train.card import check_stamp

    path, clean = sample_rows(tmp_path), tmp_path / "clean.jsonl"
    data = folder_of_samples(tmp_path / "data")
    CliRunner().invoke(command, [str(path), "--data", str(data), "--drop", str(clean)])
    stamp = tmp_path / "clean.jsonl.stamp.json"
    stamp.write_text(json.dumps(json.loads(stamp.read_text()) | {"schema": 1}))
    with pytest.raises(TrainError, match="another version of the check") as error:
        check_stamp(DataArguments(dataset="a/b", rows=str(clean)), trained(clean))
    assert f"value-retention contamination {clean}" in str(error.value)


def test_the_hash_depends_on_the_passages_and_not_on_their_order() -> None:
    passages, _ = read_passages("sample", packaged())
    shuffled = random.Random(0).sample(passages, len(passages))
    assert passages_hash(passages) == passages_hash(shuffled)
    assert passages_hash(passages[1:]) != passages_hash(passages)


def test_the_shipped_training_rows_share_nothing_with_the_sample_items() -> None:
    passages, sources = read_passages("sample", packaged())
    for path in sorted(SAMPLES.rglob("*.jsonl")):
        check = check_rows(path.read_bytes().splitlines(keepends=True), passages, sources, path.name)
        assert check.rows >= 16
        assert (check.hits, check.near) == (0, 0)


def check_planted(data: str) -> None:
    found = planted(data)
    assert {language for language, _ in found} == {"English", "other languages"}
    for (language, form), rows in found.items():
        hits, near = rows.hits / rows.rows, rows.near / rows.rows
        if form in ("a word inserted every ten", "a typo every eighth word"):
            assert hits + near > 0.98, (language, form)
        elif form == "split over two turns":
            assert hits + near == 1, (language, form)
        elif form == RUBRIC:
            assert hits > 0.95
            assert hits + near == 1
        else:
            assert hits == 1, (language, form)
    assert len(found) == 2 * len(FORMS) + 1


def test_planted_sample_questions_and_rubrics_are_found() -> None:
    check_planted("sample")


@real_rows
def test_planted_questions_and_rubrics_of_the_benchmark_are_found() -> None:
    check_planted(str(REAL))


def folder_of_samples(place: Path) -> Path:
    """Copy the sample items into a data folder, which counts as the benchmark."""
    from value_retention.tasks.data import SAMPLE

    shutil.copytree(SAMPLE, place)
    return place


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-o", "ROWS"], "where: -o"),
        (["-o", "LINK"], "where: -o"),
        (["--drop", "ROWS"], "where: --drop"),
        (["--drop", "CLEAN", "-o", "CLEAN"], "where: --drop and -o"),
        (["-o", "QUESTIONS"], "where: -o"),
        (["--drop", "clean\udcff.jsonl"], "where: input or output"),
        (["--drop", "PLAIN"], "the stamp"),
    ],
)
def test_neither_the_rows_nor_the_questions_are_written_over(
    arguments: list[str], said: str, tmp_path: Path
) -> None:
    rows, data = sample_rows(tmp_path), folder_of_samples(tmp_path / "DATA")
    questions = data / "anima" / "questions.jsonl"
    if "PLAIN" in arguments:  # rows whose name is that of the other file's stamp
        rows = rows.rename(tmp_path / "plain.stamp.json")
    (tmp_path / "link.jsonl").hardlink_to(rows)
    names = {"ROWS": rows, "LINK": tmp_path / "link.jsonl", "CLEAN": tmp_path / "clean.jsonl"}
    names |= {"PLAIN": tmp_path / "plain", "QUESTIONS": questions}
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    done = CliRunner().invoke(
        command, [str(rows), "--data", str(data), *(str(names.get(a, a)) for a in arguments)]
    )
    assert isinstance(done.exception, InputError)
    assert said in str(done.exception)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    "row",
    ["5", "null", '{"text": null}', '{"text": " "}', "[]", '{"prompt": [{"role": "user", "content": ""}]}'],
)
def test_rows_without_text_are_named_and_get_no_stamp(row: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{{"text": "Some text."}}\n{row}\n{row}\n')
    done = CliRunner().invoke(command, [str(path), "--data", "sample"])
    assert isinstance(done.exception, InputError)
    assert "line 2" in str(done.exception)
    assert "2 of 3 rows" in str(done.exception)
    assert not (tmp_path / "rows.jsonl.stamp.json").exists()


def test_invalid_options_and_outputs_are_refused(tmp_path: Path) -> None:
    path = sample_rows(tmp_path)
    done = CliRunner().invoke(command, [str(path), "--data", "sample", "--show", "-1"])
    assert done.exit_code == 2
    assert "--show" in done.output
    done = CliRunner().invoke(command, [str(path), "--data", "sample", "-o", "/dev/null/stamp.json"])
    assert isinstance(done.exception, InputError)
    assert "/dev/null/stamp.json" in str(done.exception)
    _, sources = read_passages("sample", ["moru", "moru"])
    assert [source.benchmark for source in sources] == ["moru"]


@pytest.mark.parametrize(
    ("content", "said"), [(None, "rows file not found"), ("", "is empty"), ("{", "line 1")]
)
def test_an_invalid_rows_file_is_refused(content: str | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    if content is not None:
        path.write_text(content)
    done = CliRunner().invoke(command, [str(path), "--data", "sample"])
    assert isinstance(done.exception, InputError)
    assert said in str(done.exception)
    with pytest.raises(InputError, match="unknown benchmark"):
        read_passages("sample", ["nothing"])
