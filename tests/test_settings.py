"""User settings: where they are read from, and which values are refused."""

from __future__ import annotations

from typing import Any

import pytest

from value_retention.adapters.settings import KEYS, Settings, public_args, read_settings, refuse_secrets
from value_retention.tasks.errors import InputError

KEY = "sk-" + "a1B2" * 6


def read(**values: Any) -> Settings:
    return read_settings(values, {})


def shown(settings: Settings) -> tuple[Any, ...]:
    return settings.judges, settings.judge_args, settings.data, settings.epochs, settings.languages


def test_nothing_set_is_the_packaged_default() -> None:
    nothing = read_settings({}, {})
    assert nothing == Settings()
    assert (nothing.judges, nothing.judge_args, nothing.data, nothing.resume) == (None, {}, "hub", True)


def test_metadata_wins_over_environment_wins_over_default() -> None:
    environ = {
        "VALUE_RETENTION_JUDGE": "lexical",
        "VALUE_RETENTION_JUDGE_ARGS": '{"max_tokens": 9}',
        "VALUE_RETENTION_DATA": "sample",
        "VALUE_RETENTION_EPOCHS": "2",
        "VALUE_RETENTION_LANGUAGES": "en, German",
    }
    assert shown(read_settings({}, environ)) == (
        ("lexical",),
        {"max_tokens": 9},
        "sample",
        2,
        ("en", "German"),
    )
    values = {"judge": "none", "judge_args": {"seed": 1}, "data": "/d", "epochs": 3, "languages": ["ms"]}
    assert shown(read_settings(values, environ)) == ((), {"seed": 1}, "/d", 3, ("ms",))
    assert read_settings({"judge": None, "data": None}, environ).judges == ("lexical",)
    assert read_settings({}, {"VALUE_RETENTION_JUDGE": ""}).judges is None


def test_other_keys_are_ignored() -> None:
    read(
        pretrained="x",
        model="y",
        base_url="http://h/v1",
        num_concurrent=4,
        revision="main",
        dtype="auto",
        date="",
        reasoning_parser="qwen3",
    )


@pytest.mark.parametrize(
    ("judge", "names"),
    [
        ("openai/x", ("openai/x",)),
        ("openai/x, google/y", ("openai/x", "google/y")),
        ("[openai/x,google/y]", ("openai/x", "google/y")),
        ("['openai/x', \"google/y\"]", ("openai/x", "google/y")),
        (["openai/x", "lexical"], ("openai/x", "lexical")),
        ("none", ()),
        (["none"], ()),
    ],
)
def test_one_judge_or_a_panel(judge: object, names: tuple[str, ...]) -> None:
    assert read(judge=judge).judges == names


@pytest.mark.parametrize("judge", [[], " , ", "none,lexical", "lexical,lexical"])
def test_an_invalid_panel_is_refused(judge: object) -> None:
    with pytest.raises(InputError, match=r"(?s)invalid judge.*'judge'.*PROVIDER/MODEL"):
        read(judge=judge)


def test_no_judge_names_the_three_choices() -> None:
    with pytest.raises(InputError, match=r"(?s)must not judge itself.*PROVIDER/MODEL.*lexical.*judge=none"):
        read().require_judge()
    assert read(judge="none").require_judge().judges == ()


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("judges", "judge"),
        ("Judge", "judge"),
        ("juge", "judge"),
        ("judge_arg", "judge_args"),
        ("judge_temperature", "judge_args"),
        ("epoch", "epochs"),
        ("language", "languages"),
        ("langauges", "languages"),
        ("datas", "data"),
    ],
)
def test_a_misspelt_key_is_refused_with_the_right_one(key: str, meant: str) -> None:
    with pytest.raises(InputError, match=f"(?s)misspelt.*'{key}'.*'{meant}'.*{', '.join(KEYS)}"):
        read(**{key: "x"})


@pytest.mark.parametrize("epochs", [0, -1, "0", 1.5, "two", True, [5]])
def test_epochs_out_of_range(epochs: object) -> None:
    with pytest.raises(InputError, match=r"(?s)invalid epochs.*metadata key 'epochs'.*(integer|greater)"):
        read(epochs=epochs)


def test_the_message_names_the_variable_that_was_wrong() -> None:
    with pytest.raises(InputError, match="where: environment variable VALUE_RETENTION_EPOCHS"):
        read_settings({}, {"VALUE_RETENTION_EPOCHS": "0"})


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"temprature": 0}, r"unknown setting(?s:.*)'temprature'(?s:.*)temperature"),
        ("{temperature: 0}", "invalid JSON"),
        ("[1]", r"judge_args(?s:.*)\[1\](?s:.*)a valid dictionary"),
        ({"max_connections": 0}, r"max_connections(?s:.*)greater than or equal to 1"),
        ({"temperature": float("inf")}, r"temperature(?s:.*)inf(?s:.*)a finite number"),
        ({"max_retries": -1}, r"max_retries(?s:.*)greater than or equal to 0"),
        ({"batch": True}, r"unknown setting(?s:.*)judge_args(?s:.*)batch"),
        ({"parse_retries": -1}, r"parse_retries(?s:.*)greater than or equal to 0"),
        ({"max_tokens": "many"}, r"max_tokens(?s:.*)'many'"),
        ({"max_tokens": True}, "max_tokens"),
        ({"temperature": "hot"}, r"temperature(?s:.*)'hot'(?s:.*)a valid number"),
        ({"temperature": -0.1}, "temperature"),
        ({"base_url": 5}, r"base_url(?s:.*)a valid string"),
        ({"temperature": float("nan")}, "temperature"),
        ({"seed": 1.5}, r"seed(?s:.*)a valid integer"),
        ({"reasoning_effort": "extreme"}, r"reasoning_effort(?s:.*)minimal"),
    ],
)
def test_invalid_judge_args_are_refused(args: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(judge_args=args)


def test_reasoning_markers_are_pairs_of_texts() -> None:
    pairs = (("<a>", "</a>"), ("«", "»"))
    assert read(reasoning_markers=[list(pair) for pair in pairs]).reasoning_markers == pairs
    environ = {"VALUE_RETENTION_REASONING_MARKERS": '[["<a>", "</a>"], ["«", "»"]]'}
    assert read_settings({}, environ).reasoning_markers == pairs
    for wrong in (
        ["<a>"],
        [["<a>"]],
        [["", "</a>"]],
        [["<a>", "</a>", "b"]],
        [[1, 2]],
        '"<a>"',
        {"<a>": "</a>"},
    ):
        with pytest.raises(InputError, match="metadata key 'reasoning_markers'") as caught:
            read(reasoning_markers=wrong)
        assert 'expected: pairs of texts that start and end reasoning: [["<plan>", "</plan>"]]' in str(
            caught.value
        )
    with pytest.raises(InputError, match="invalid JSON"):
        read(reasoning_markers="<a>")


def test_null_means_not_set() -> None:
    assert read(judge_args={"parse_retries": None, "seed": 1}).judge_args == {"seed": 1}


def test_judge_args_may_be_json_text() -> None:
    assert read(judge_args='{"temperature": 0}').judge_args == {"temperature": 0}


# -- secrets ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        {"api_key": "abcdef123"},
        {"OPENAI_API_KEY": "abcdef123"},
        {"apikey": "abcdef123"},
        {"x-api-key": "abcdef123"},
        {"token": "abcdef123"},
        {"hf_token": "abcdef123"},
        {"aws_secret_access_key": "abcdef123"},
        {"azure_key": "abcdef123"},
        {"base_url": "https://host/v1?api_key=abcdef123456"},
        {"judge_args": {"base_url": "https://host/v1?version=2&sig=AAAA"}},
        {"auth_token": "abcdef123"},
        {"password": "abcdef123"},
        {"header": {"Authorization": "abcdef123"}},
        {"judge_args": {"api_key": "abcdef123"}},
        {"judge_args": '{"api_key": "abcdef123"}'},
        {"anything": KEY},
        {"anything": ["x", {"y": KEY}]},
        {"judge": f"openai/x?key={KEY}"},
        {"header": "Bearer abcdef123"},
        {"base_url": "https://me:abcdef123@host/v1"},
    ],
)
def test_a_secret_is_refused_and_never_shown(values: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"(?s)secret.*results file.*environment only") as caught:
        read_settings(values, {})
    assert KEY not in str(caught.value)
    assert "abcdef123" not in str(caught.value)


def test_a_secret_in_broken_json_is_not_shown_either() -> None:
    with pytest.raises(InputError) as caught:
        read_settings({}, {"VALUE_RETENTION_JUDGE_ARGS": '{"api_key": abcdef123}'})
    assert "abcdef123" not in str(caught.value)


@pytest.mark.parametrize(
    "values",
    [
        {"api_key": "EMPTY"},
        {"api_key": None},
        {"token": ""},
        {"tokenizer": "x", "tokenized_requests": False, "add_bos_token": True, "max_tokens": 5},
        {"base_url": "http://127.0.0.1:8000/v1", "pretrained": "org/sk-model"},
        {"secretary": "x"},
        {"base_url": "https://host/v1?version=2&monkey=abcdef"},
    ],
)
def test_other_values_pass(values: dict[str, Any]) -> None:
    refuse_secrets(values, "here")


def test_public_args_leave_out_ours_and_secrets() -> None:
    values = {
        "pretrained": "x",
        "judge": "y",
        "token": "",
        "api_key": "EMPTY",
        "version": "6-D",
        "dtype": "auto",
    }
    assert public_args(values) == {"dtype": "auto", "pretrained": "x"}
