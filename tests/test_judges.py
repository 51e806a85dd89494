"""One judge: replies, faults, bounded retries, rate limits, and invalid names."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import anyio
import pytest
from helpers import JUDGE, scripted_server
from inspect_ai.log import Transcript, transcript
from inspect_ai.log._transcript import init_transcript
from inspect_ai.model import (
    ChatMessageAssistant,
    ContentReasoning,
    ContentText,
    GenerateConfig,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    RetryDecision,
    get_model,
    modelapi,
)
from inspect_ai.model._model import init_model_usage, model_usage

from value_retention.adapters.judges.client import Judge, describe, make_judges
from value_retention.adapters.judges.journal import Reply
from value_retention.tasks.errors import InputError


class ServiceError(Exception):
    """What a provider's client raises."""

    def __init__(self, status_code: int, retry_after: float | None = None) -> None:
        super().__init__(f"status {status_code}\nand a second line")
        self.status_code, self.retry_after = status_code, retry_after


@dataclass
class Returned:
    """An exception that a provider returns instead of raising it, as Inspect's do with a 400."""

    error: Exception


class Script(ModelAPI):
    """A provider that plays a list: exceptions are raised, texts answered, callables called."""

    turns: Sequence[Any] = ()
    configs: list[GenerateConfig]

    async def generate(self, input: Any, tools: Any, tool_choice: Any, config: GenerateConfig) -> ModelOutput:  # noqa: A002
        self.configs.append(config)
        turn = self.turns[min(len(self.configs), len(self.turns)) - 1]
        if callable(turn):
            turn = await turn()
        if isinstance(turn, Returned):
            return turn.error  # type: ignore[return-value]
        if isinstance(turn, Exception):
            raise turn
        return turn if isinstance(turn, ModelOutput) else ModelOutput.from_content("script", turn)

    def should_retry(self, ex: Exception) -> bool | RetryDecision:
        return RetryDecision(True, "rate_limit", getattr(ex, "retry_after", None))


@modelapi(name="script")
def script() -> type[ModelAPI]:
    return Script


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that a judge would have waited; nothing waits."""
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(anyio, "sleep", sleep)
    return waited


def judge(*turns: Any, in_eval: bool = False, **args: Any) -> Judge:
    model = get_model("script/x", memoize=False, config=GenerateConfig(**args.pop("config", {})))
    assert isinstance(model.api, Script)
    model.api.turns, model.api.configs = turns, []
    return Judge(model.api, model.config, args, "script/x", model if in_eval else None)


def ask(of: Judge) -> Reply:
    return asyncio.run(of.ask("prompt"))


def calls(of: Judge) -> int:
    return len(of.api.configs)


def test_a_reply_comes_with_what_it_cost() -> None:
    output = ModelOutput.from_content("script", "GRADE: C")
    output.usage = ModelUsage(input_tokens=5, output_tokens=3, total_tokens=15, input_tokens_cache_read=7)
    output.response_id = "r1"
    reply = ask(judge(output))
    assert (reply.text, reply.error, reply.retries) == ("GRADE: C", None, 0)
    assert (reply.input_tokens, reply.output_tokens, reply.request_id) == (12, 3, "r1")


@pytest.mark.parametrize("in_eval", [False, True])
@pytest.mark.parametrize("reason", ["stop", "max_tokens", "model_length", "unknown"])
def test_a_reply_says_why_the_judge_stopped(reason: Any, in_eval: bool) -> None:
    output = ModelOutput.from_content("script", "GRADE: C", stop_reason=reason)
    output.usage = ModelUsage(input_tokens=5, output_tokens=3, total_tokens=8)
    reply = ask(judge(output, in_eval=in_eval))
    assert (reply.text, reply.stop_reason) == ("GRADE: C", None if reason == "unknown" else reason)


def test_a_judges_own_thoughts_are_not_its_reply() -> None:
    content: list[Any] = [ContentReasoning(reasoning="GRADE: I"), ContentText(text="GRADE: C")]
    assert ask(judge(ModelOutput.from_content("script", content))).text == "GRADE: C"


def test_half_characters_in_a_reply_are_replaced() -> None:
    assert ask(judge("GRADE: C \ud83d")).text == "GRADE: C \ufffd"


def test_faults_are_tried_again_with_growing_waits_and_counted(waits: list[float]) -> None:
    reply = ask(judge(ServiceError(500), ConnectionError("closed"), ServiceError(429), "GRADE: I"))
    assert (reply.text, reply.retries) == ("GRADE: I", 3)
    assert [0.25 * 2**n <= wait <= 0.5 * 2**n for n, wait in enumerate(waits)] == [True] * 3


def test_retries_are_bounded_and_the_fault_is_in_the_reply(waits: list[float]) -> None:
    failing = judge(ServiceError(503), max_retries=2)
    reply = ask(failing)
    assert (reply.text, reply.retries, calls(failing)) == (None, 2, 3)
    assert reply.error == "ServiceError: status 503 and a second line"


def test_retry_after_is_obeyed(waits: list[float]) -> None:
    assert ask(judge(ServiceError(429, retry_after=7.0), "GRADE: C")).text == "GRADE: C"
    assert waits == [7.0]


def test_an_endless_retry_after_is_not_waited_for(waits: list[float]) -> None:
    failing = judge(ServiceError(429, retry_after=86_400.0))
    assert ask(failing).text is None
    assert (calls(failing), waits) == (1, [])


def test_a_rate_limit_uses_up_no_retry_while_other_calls_have_replies(waits: list[float]) -> None:
    async def busy() -> ServiceError:
        limited.replies += 1  # another call had its reply meanwhile
        return ServiceError(429)

    limited = judge(*[busy] * 20, "GRADE: C", max_retries=1)
    reply = ask(limited)
    assert (reply.text, reply.retries) == ("GRADE: C", 20)


def test_a_judge_that_answers_429_to_everything_is_given_up(waits: list[float]) -> None:
    limited = judge(ServiceError(429), max_retries=3)
    assert ask(limited).error is not None
    assert calls(limited) == 4


def test_at_most_the_users_number_of_calls_is_in_flight() -> None:
    open_calls: list[int] = [0, 0]

    async def slow() -> str:
        open_calls[0] += 1
        open_calls[1] = max(open_calls)
        await asyncio.sleep(0.001)
        open_calls[0] -= 1
        return "GRADE: C"

    async def many(of: Judge) -> None:
        await asyncio.gather(*(of.ask("prompt") for _ in range(100)))

    asyncio.run(many(judge(slow, max_connections=3)))
    assert open_calls[1] == 3
    open_calls[1] = 0
    asyncio.run(many(judge(slow)))
    assert open_calls[1] > 32, "without a limit of the user's it grows"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_permanent_failures_are_not_repeated(status: int, waits: list[float]) -> None:
    failing = judge(ServiceError(status))
    assert ask(failing).error is not None
    assert calls(failing) == 1


def test_a_judge_that_is_down_gets_no_more_calls(waits: list[float]) -> None:
    wrong_key = judge(ServiceError(401))
    assert [ask(wrong_key).text for _ in range(10)] == [None] * 10
    assert calls(wrong_key) == 3
    down = judge(ServiceError(503), max_retries=0)
    for _ in range(20):
        reply = ask(down)
    assert calls(down) == 12
    assert (reply.error or "").startswith("judge is down: ServiceError: status 503")


@pytest.mark.parametrize("status", [400, 413, 422])
def test_refused_prompts_do_not_count_as_down(status: int, waits: list[float]) -> None:
    choosy = judge("GRADE: C", *[ServiceError(status)] * 60, "GRADE: C")
    texts = [ask(choosy).text for _ in range(62)]
    assert texts == ["GRADE: C", *[None] * 60, "GRADE: C"]
    nothing_pleases = judge(ServiceError(status))
    for _ in range(99):
        ask(nothing_pleases)
    assert calls(nothing_pleases) == 50


def test_a_reply_between_failures_shows_that_the_judge_is_up(waits: list[float]) -> None:
    shaky = judge(*[ServiceError(401), ServiceError(401), "GRADE: C"] * 4, max_retries=0)
    assert [ask(shaky).text for _ in range(12)].count("GRADE: C") == 4


def test_an_empty_reply_is_requested_again_and_kept_if_it_stays_empty(waits: list[float]) -> None:
    assert ask(judge("", " \n", "GRADE: C")).text == "GRADE: C"
    empty = judge("", max_retries=1)
    reply = ask(empty)
    assert (reply.text, reply.error, calls(empty)) == ("", None, 2)


@pytest.mark.parametrize("in_eval", [False, True])
@pytest.mark.parametrize(
    ("output", "error"),
    [
        (
            # What Inspect makes of a 400.
            ModelOutput.from_content("script", "maximum context length\x1b[2J is 4096", "model_length"),
            "prompt too long for the judge: maximum context length\\x1b[2J is 4096",
        ),
        (
            ModelOutput.from_content(
                "script", "Sorry.", "content_filter", error="bearer abcdefghijkl is blocked"
            ),
            "stopped by the content filter: [redacted] is blocked",
        ),
        (
            ModelOutput.from_content("script", "GRADE: C", "content_filter"),
            "stopped by the content filter: GRADE: C",
        ),
        (
            ModelOutput.from_content("script", "", "content_filter"),
            "stopped by the content filter: no reason given",
        ),
        (
            ModelOutput.from_message(
                ChatMessageAssistant(content=[ContentText(text="GRADE: C, I refuse", refusal=True)])
            ),
            "the judge refused: GRADE: C, I refuse",
        ),
    ],
)
def test_a_refusal_is_a_failure_and_no_reply(
    output: ModelOutput, error: str, in_eval: bool, waits: list[float]
) -> None:
    refusing = judge("GRADE: C", output, in_eval=in_eval)
    ask(refusing)
    reply = ask(refusing)
    assert (reply.text, reply.error, reply.refused, calls(refusing)) == (None, error, True, 2)


def test_a_reply_that_was_paid_for_costs_what_it_did_although_a_filter_stopped_it() -> None:
    output = ModelOutput.from_content("script", "GRADE", "content_filter")
    output.usage = ModelUsage(input_tokens=5, output_tokens=3, total_tokens=8)
    reply = ask(judge(output))
    assert (reply.text, reply.input_tokens, reply.output_tokens) == (None, 5, 3)


def test_an_empty_reply_that_the_token_limit_cut_is_not_requested_again(waits: list[float]) -> None:
    cut = judge(ModelOutput.from_content("script", "", "max_tokens"))
    reply = ask(cut)
    assert (reply.text, reply.stop_reason, calls(cut)) == ("", "max_tokens", 1)


@pytest.mark.parametrize(
    ("output_tokens", "reasoning_tokens", "reason"),
    [(64, None, "max_tokens"), (9, 64, "max_tokens"), (9, 9, "stop")],
)
def test_a_judge_that_spent_all_tokens_on_reasoning_was_cut_whatever_its_service_says(
    output_tokens: int, reasoning_tokens: int | None, reason: str, waits: list[float]
) -> None:
    silent = ModelOutput.from_content("script", "")
    silent.usage = ModelUsage(
        input_tokens=5, output_tokens=output_tokens, total_tokens=99, reasoning_tokens=reasoning_tokens
    )
    thinking = judge(silent, max_tokens=64, max_retries=2)
    reply = ask(thinking)
    assert (reply.text, reply.stop_reason, calls(thinking)) == (
        "",
        reason,
        1 if reason == "max_tokens" else 3,
    )


def test_a_reply_without_choices_is_requested_again(waits: list[float]) -> None:
    assert ask(judge(ModelOutput(model="script"), "GRADE: C")).text == "GRADE: C"
    assert ask(judge(ModelOutput(model="script"), max_retries=1)).error == "reply without choices"


def test_inside_an_eval_the_providers_words_are_shown_and_not_the_request(waits: list[float]) -> None:
    async def returned() -> Any:
        return Returned(ServiceError(400))

    for in_eval in (False, True):
        reply = ask(judge(returned, in_eval=in_eval))
        assert (reply.error, reply.refused) == ("ServiceError: status 400 and a second line", True)


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (None, ""),
        ({"detail": "text too long"}, " - {'detail': 'text too long'}"),
        ("<h1>too large</h1>", " - <h1>too large</h1>"),
        ({"message": "in the error's own text"}, ""),
        ("a second line", ""),
    ],
)
def test_what_a_service_sent_is_shown_where_its_client_leaves_it_out(body: object, shown: str) -> None:
    error = ServiceError(422)
    error.body = body  # type: ignore[attr-defined]
    assert ask(judge(error)).error == f"ServiceError: status 422 and a second line{shown}"


def test_a_page_in_place_of_a_reply_is_shown(waits: list[float]) -> None:
    error = ask(
        judge(json.JSONDecodeError("Expecting value", "<h1>Please log in</h1>", 0), max_retries=0)
    ).error
    assert error == "JSONDecodeError: Expecting value: line 1 column 1 (char 0) - <h1>Please log in</h1>"


@pytest.mark.parametrize("in_eval", [False, True])
@pytest.mark.parametrize("name", [JUDGE, "openai/judge"])
def test_what_a_server_says_in_place_of_a_reply_is_shown(
    name: str, in_eval: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(replies: str) -> list[Reply]:
        with scripted_server("--replies", replies) as server:
            for variable, value in (server.environment | {"OPENAI_BASE_URL": server.url}).items():
                monkeypatch.setenv(variable, value)
            model = get_model(name, memoize=False)
            args = {"max_retries": 0}
            own = Judge(model.api, model.config, args, name, model if in_eval else None)

            async def many() -> list[Reply]:
                return [await own.ask(f"[BEGIN DATA] {n} [END DATA]") for n in range(6)]

            return asyncio.run(many())

    errors = {reply.error for reply in asked("refused")}
    assert errors == {
        None,
        "prompt too long for the judge: This model's maximum context length is 4096 tokens.",
    }
    (error,) = {reply.error for reply in asked("error")}
    assert error is not None
    assert error.endswith("upstream overloaded\\x1b[2J")
    cut = {(reply.stop_reason, bool(reply.text)) for reply in asked("cut")}
    assert cut == {("stop", True), ("max_tokens", True)} | {
        pair for pair in cut if pair == ("max_tokens", False)
    }


def test_a_stalled_connection_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def stall() -> str:
        await asyncio.sleep(30)
        return "too late"

    monkeypatch.setattr("value_retention.adapters.judges.client._backoff", lambda retries: 0.0)
    reply = ask(judge(stall, "GRADE: C", attempt_timeout=1))
    assert (reply.text, reply.retries) == ("GRADE: C", 1)
    assert 1 <= reply.latency < 10


def test_scoring_settings_are_recorded_and_sent_and_others_are_not() -> None:
    one = judge(
        "GRADE: C", temperature=0.5, max_tokens=77, max_connections=3, parse_retries=2, config={"seed": 9}
    )
    assert one.info.settings == {"seed": 9, "temperature": 0.5, "max_tokens": 77, "parse_retries": 2}
    assert one.connections == 3
    ask(one)
    sent = one.api.configs[0]
    assert (sent.temperature, sent.max_tokens, sent.seed) == (0.5, 77, 9)
    assert judge("x").info.settings == {}


def test_a_judges_settings_do_not_depend_on_transport() -> None:
    assert judge("x", max_connections=1, max_retries=9).settings == judge("x").settings == "{}"


# -- names ------------------------------------------------------------------------------------------------


def test_calls_inside_an_eval_count_as_usage_and_leave_no_event_in_the_samples_transcript() -> None:
    usage = ModelUsage(input_tokens=7, output_tokens=1, total_tokens=8)
    reply = ModelOutput.from_content("script", "GRADE: C")
    reply.usage = usage
    inside = judge(reply, in_eval=True)
    heard: list[Any] = []
    sample = Transcript()
    sample._subscribe(heard.append)

    async def eval_() -> None:
        init_transcript(sample)
        init_model_usage()
        async with anyio.create_task_group() as group:
            group.start_soon(inside.ask, "prompt")
        # A scorer's own calls, say, are logged as ever.
        assert transcript() is sample
        assert model_usage()["script/x"].total_tokens == 8

    asyncio.run(eval_())
    assert calls(inside) == 1
    assert not heard
    assert not sample.events


def test_lexical_is_marked_as_not_an_llm() -> None:
    (lexical,) = make_judges(["lexical"], {})
    assert (lexical.info.name, lexical.info.is_llm) == ("lexical", False)
    assert describe([lexical.info]) == "lexical (not an LLM)"
    assert describe([]).startswith("none")
    assert describe([judge("x", temperature=0.0).info]) == 'script/x {"temperature": 0.0}'


@pytest.mark.parametrize(
    "name", ["gpt-5-mini", "LEXICAL", "", "nosuchprovider/x", "openai/x", "openai-api/nowhere/x"]
)
def test_an_unknown_judge_or_one_without_a_key_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("OPENAI_API_KEY", "NOWHERE_API_KEY", "NOWHERE_BASE_URL"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(InputError, match=r"(?s)judge.*PROVIDER/MODEL.*lexical.*judge=none") as caught:
        make_judges([name], {})
    assert repr(name).strip("'") in str(caught.value)
    assert "Traceback" not in str(caught.value)
