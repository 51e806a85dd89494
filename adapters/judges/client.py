"""Judges: any model that Inspect can reach, or the offline one of `lexical`. Failures are replies, not errors."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import anyio

from value_retention.adapters.judges.connections import Connections
from value_retention.adapters.judges.journal import Reply
from value_retention.adapters.private import leave_inspect_transcript
from value_retention.adapters.settings import CHOICES, LEXICAL, SCORING_ARGS
from value_retention.tasks.errors import InputError
from value_retention.tasks.record import CUT, JudgeInfo, canonical_json, well_formed
from value_retention.tasks.text import printable, redacted, without_keys

MAX_RETRIES = 6
ATTEMPT_TIMEOUT = 120
"""Seconds for one request. A stalled connection is dropped after that time, and the request is repeated."""
LONGEST_WAIT = 120.0
"""Seconds. With a longer Retry-After the call fails; `--fill` can repeat it later."""
DOWN_AFTER = 12
"""Consecutive failed calls after which a judge counts as down and gets no more calls in this run."""
WRONG_AFTER = 3
"""The same for permanent failures, such as a wrong key."""
REFUSED_AFTER = 50
"""The same for refused prompts (for example, too long) before the first reply. After that they do not count:
the calls of one answer follow each other, and the judge may accept the next answer."""
REFUSED = (400, 413, 422)
"""HTTP status of a refusal that concerns the prompt."""

CANNOT_SCORE = {
    *("max_retries", "timeout", "attempt_timeout", "stream_idle_timeout", "max_connections"),
    *("adaptive_connections", "batch", "cache", "extra_headers"),
}
"""Settings of a judge model that cannot change a grade. All others are recorded (headers may hold secrets)."""


class Judge:
    """A model that grades one rendered prompt per call. Retries are bounded, back off, obey Retry-After, are counted.

    Args:
        api: An Inspect ``ModelAPI``. One that is not an LLM has a `JudgeInfo` of its own (``judge_info``).
        config: The model's own settings, a ``GenerateConfig``.
        args: Judge settings (see `settings.SCORING_ARGS`, `settings.TRANSPORT_ARGS`).
        name: The name in records.
        model: Inside an Inspect eval, its ``Model``: calls go through it, which counts them as the eval's usage and
            limits how many are in flight. Elsewhere they go to the API directly, which takes a fifth of the time,
            and the limit is ours.

    Attributes:
        info: Name and settings, as records have them.
        settings: Canonical JSON of the settings that can change a grade.
        connections: Calls in flight at most.
    """

    def __init__(self, api: Any, config: Any, args: Mapping[str, Any], name: str, model: Any = None) -> None:
        from inspect_ai.model import GenerateConfig

        own = config.model_dump(mode="json", exclude_none=True)
        scoring = {key: value for key, value in own.items() if key not in CANNOT_SCORE}
        scoring |= {key: args[key] for key in SCORING_ARGS if key in args}
        self.api, self.model = api, model
        self.info: JudgeInfo = getattr(api, "judge_info", JudgeInfo(name, scoring))
        self.settings = canonical_json(self.info.settings)
        fixed = args.get("max_connections") or own.get("max_connections")
        self._pool = Connections(None if fixed is None else int(fixed))
        self.connections = self._pool.most
        self.retries = int(args.get("max_retries", own.get("max_retries", MAX_RETRIES)))
        self.timeout = int(args.get("attempt_timeout") or own.get("attempt_timeout") or ATTEMPT_TIMEOUT)
        generation = {key: value for key, value in scoring.items() if key != "parse_retries"}
        # Retries are ours: Inspect's own back off without end by default and do not wait for Retry-After.
        self.config = GenerateConfig(**generation, max_retries=0)
        if model:
            # Without a limit of the judge's own, the eval's --max-connections applies.
            self.config.max_connections = fixed
            # A call in Inspect's batch mode may wait for a day.
            self.config.attempt_timeout = None if own.get("batch") else self.timeout
        else:
            # What `Model` would do before it calls its provider.
            self.config = config.merge(self.config)
            if self.config.max_tokens is None:
                self.config.max_tokens = api.max_tokens_for_config(self.config) or api.max_tokens()
        self.failed_in_a_row = 0
        self.down: str | None = None
        self.replies = 0

    async def ask(self, prompt: str, about: Mapping[str, Any] | None = None) -> Reply:
        """Send the prompt until a reply comes or the retries are spent.

        A failure of the judge does not raise: `Reply.error` holds it.

        A rate limit uses up a retry only if no other call had a reply since the last attempt: a provider that
        is merely busy loses no grade, and one that answers 429 to everything is given up.

        Args:
            prompt: The judge prompt.
            about: What it asks about (answer, indicators, scale): the message's metadata, which are not sent.
        """
        from inspect_ai.model import ChatMessageUser

        message = ChatMessageUser(content=prompt, metadata=dict(about or {}))
        start = 0.0
        retries = spent = 0
        replies = self.replies
        while True:
            async with self._slot():
                if self.down:
                    return Reply(None, f"judge is down: {self.down}", requested=False)
                start = start or time.monotonic()
                output, failure = await self._once(message, retries)
            if failure is None or failure.wait is None:
                break
            busy = failure.rate_limited and self.replies > replies
            if not busy and spent >= self.retries:
                break
            spent += not busy
            retries += 1
            replies = self.replies
            await anyio.sleep(failure.wait)
        latency = time.monotonic() - start
        cost = _cost(output.usage) if output is not None else {}
        if failure is not None and (output is None or failure.refused):
            self._failed(failure)
            return Reply(None, failure.error, retries, latency, refused=failure.refused, **cost)
        self.failed_in_a_row = 0
        self.replies += 1
        return Reply(
            text=without_keys(well_formed(output.completion)),
            retries=retries,
            latency=latency,
            request_id=without_keys(output.response_id) if output.response_id else None,
            stop_reason=self._stop_reason(output),
            served=_served(output),
            **cost,
        )

    async def close(self) -> None:
        """Close the connections, in the event loop that used them."""
        await self.api.aclose()

    def _slot(self) -> AbstractAsyncContextManager[Any]:
        return nullcontext() if self.model else self._pool.slots

    async def _once(self, message: Any, retries: int) -> tuple[Any, _Failure | None]:
        """Make one request. Returns the output, the failure, or both.

        An empty reply is a fault of the service unless the token limit caused it: it is requested again, and kept
        if it stays empty.
        """
        decreases, start = self._pool.decreases, time.monotonic()
        try:
            output = await self._generate(message)
        except Exception as caught:
            failure = self._failure(_root(caught), retries)
            if failure.rate_limited or isinstance(caught, TimeoutError):
                self._pool.shrink(decreases)
            return None, failure
        self._pool.grow(time.monotonic() - start)
        if not output.choices:
            return None, _Failure("reply without choices", _backoff(retries))
        if refusal := _refusal(output):
            return output, _Failure(refusal, None, refused=True)
        if not output.completion.strip() and self._stop_reason(output) not in CUT:
            return output, _Failure("empty reply", _backoff(retries))
        return output, None

    def _stop_reason(self, output: Any) -> str | None:
        """Why the judge stopped. One that said nothing and used up its tokens was cut, whatever its service says."""
        usage, limit = output.usage, self.config.max_tokens
        spent = max(usage.output_tokens, usage.reasoning_tokens or 0) if usage else 0
        used_up = limit is not None and spent >= limit and not output.completion.strip()
        reason = "max_tokens" if used_up else output.stop_reason
        return None if reason == "unknown" else reason

    async def _generate(self, message: Any) -> Any:
        if self.model:
            # The record holds each reply. Writing thousands of prompts into the log twice takes a third of an
            # eval's time.
            leave_inspect_transcript()
            return await self.model.generate([message], config=self.config)
        with anyio.fail_after(self.timeout):
            result = await self.api.generate([message], [], "none", self.config)
        output, call = result if isinstance(result, tuple) else (result, None)
        if isinstance(output, Exception):
            raise output
        if call is not None and call.response and (fingerprint := call.response.get(FINGERPRINT)):
            output.metadata = (output.metadata or {}) | {FINGERPRINT: fingerprint}
        return output

    def _failure(self, error: BaseException, retries: int) -> _Failure:
        text = f"{type(error).__name__}: {_shown(_with_words(error))}"
        status = getattr(error, "status_code", None)
        if status is None and (sent := _error_sent(error)):
            status, said = sent
            text = f"error in place of a reply: {_shown(said)}"
        decision = self.api.should_retry(error) if isinstance(error, Exception) else False
        limited = status == 429 or getattr(decision, "kind", None) == "rate_limit"
        wait: float | None = _backoff(retries)
        if (asked := getattr(decision, "retry_after", None)) is not None:
            wait = None if asked > LONGEST_WAIT else float(asked)
        rejected = isinstance(status, int) and 400 <= status < 500 and status not in (408, 409, 425, 429)
        if rejected or type(error).__name__ == "PrerequisiteError":
            wait = None
        return _Failure(text, wait, refused=status in REFUSED, rate_limited=limited)

    def _failed(self, failure: _Failure) -> None:
        if failure.refused and self.replies:
            return
        self.failed_in_a_row += 1
        most = REFUSED_AFTER if failure.refused else WRONG_AFTER if failure.wait is None else DOWN_AFTER
        if self.failed_in_a_row >= most:
            self.down = failure.error


@dataclass(frozen=True)
class _Failure:
    """Why a request failed."""

    error: str
    wait: float | None
    """Seconds before the next attempt. None if another attempt cannot succeed."""
    refused: bool = False
    """Whether the service refused this prompt."""
    rate_limited: bool = False
    """Whether the provider asks for fewer calls."""


def _backoff(retries: int) -> float:
    """Seconds: exponential, 0.5 to 30, with jitter so that calls do not return together."""
    longest = min(30.0, 0.5 * 2.0**retries)
    return longest * random.uniform(0.5, 1.0)


def _root(error: BaseException) -> BaseException:
    """The provider's error inside tenacity's ``RetryError``, or inside Inspect's, which begins with the request."""
    attempt = getattr(error, "last_attempt", None)
    inner = attempt.exception() if attempt is not None else None
    error = inner if inner is not None else error
    return error.__cause__ if hasattr(error, "provider_message") and error.__cause__ else error


def _with_words(error: BaseException) -> str:
    """An error's message, and what the service sent where that is not in it: a page, say, or ``{"detail": ...}``."""
    said = str(error)
    sent = getattr(error, "body", None) or getattr(
        error, "doc", None
    )  # of an SDK's error, of a JSONDecodeError
    known = not sent or str(sent) in said or (isinstance(sent, dict) and "message" in sent)
    return said if known else f"{said} - {sent}"


def _shown(said: object) -> str:
    """A service's text in one short line. It may echo the request's headers: it is redacted before a key can be cut."""
    return printable(redacted(" ".join(str(said).split())))[:300]


def _refusal(output: Any) -> str | None:
    """What the service says in place of a reply, or of its end. None if it refused nothing.

    Inspect makes an output of an error that is a refusal: with the error's text, and without id and usage.
    """
    content = output.choices[0].message.content
    if output.stop_reason == "content_filter":
        what = "stopped by the content filter"
    elif not isinstance(content, str) and any(getattr(part, "refusal", None) for part in content):
        what = "the judge refused"
    elif output.stop_reason == "model_length" and output.usage is None and output.response_id is None:
        what = "prompt too long for the judge"
    else:
        return None
    details = getattr(output.choices[0], "stop_details", None)
    said = output.error or (details and details.explanation) or output.completion or "no reason given"
    return f"{what}: {_shown(said)}"


def _error_sent(error: BaseException) -> tuple[int | None, object] | None:
    """Status and text of an error that a service sent with status 200, in the form of a reply without choices.

    Inspect fails on such a reply. What the service sent is in the failing function's variables and nowhere else.
    """
    trace = error.__traceback__
    while trace is not None:
        for value in trace.tb_frame.f_locals.values():
            extra = getattr(value, "model_extra", None)
            if isinstance(extra, dict) and (sent := extra.get("error")):
                about = sent if isinstance(sent, dict) else {}
                code = str(about.get("code"))
                return int(code) if code.isdecimal() else None, about.get("message") or sent
        trace = trace.tb_next
    return None


FINGERPRINT = "system_fingerprint"
"""Name of the field of OpenAI's API, and of Inspect's metadata, that tells one state of a server from another."""


def _served(output: Any) -> dict[str, str]:
    """What the server says of itself, printable and without keys."""
    said = {"model": output.model, FINGERPRINT: (output.metadata or {}).get(FINGERPRINT)}
    return {name: _shown(value) for name, value in said.items() if value}


def _cost(usage: Any) -> dict[str, Any]:
    """Tokens as `Reply` has them. Empty if the service does not count."""
    if usage is None:
        return {}
    cached = (usage.input_tokens_cache_read or 0) + (usage.input_tokens_cache_write or 0)
    return {"input_tokens": int(usage.input_tokens + cached), "output_tokens": int(usage.output_tokens)}


def make_judges(names: Sequence[str], args: Mapping[str, Any], single_loop: bool = False) -> list[Judge]:
    """Make judges by name. Each call makes new clients, since a client belongs to its event loop.

    Args:
        names: Inspect model names, or ``lexical``.
        args: Judge settings.
        single_loop: The judges serve one event loop, and the caller closes them in it (`judging.judge_batch`
            does both). This allows a faster HTTP client.

    Raises:
        InputError: unknown judge, or a provider whose package or key is missing.
    """
    return [Judge(*_model(name, args, single_loop), args, name) for name in names]


_OPENAI = ("openai", "openai-api")
_SDK_RETRIES = (*_OPENAI, "anthropic")
"""Providers whose SDK retries by itself, uncounted, by default."""


def _model(name: str, args: Mapping[str, Any], single_loop: bool) -> tuple[Any, Any]:
    """The model's ``ModelAPI`` and ``GenerateConfig``."""
    if name == LEXICAL:
        from inspect_ai.model import GenerateConfig

        from value_retention.adapters.judges.lexical import Lexical

        # Without a `Model`, which would import every package that extends Inspect.
        return Lexical(LEXICAL), GenerateConfig()
    if "/" not in name:
        raise InputError("unknown judge", where="judge", found=repr(name), expected=CHOICES)
    from inspect_ai.model import get_model

    provider = name.partition("/")[0]
    own: dict[str, Any] = {}
    try:
        if provider in _SDK_RETRIES:
            own["max_retries"] = 0
        if provider in _OPENAI and single_loop:
            from openai import DefaultAioHttpClient

            # A quarter less CPU per call than the default client. `attempt_timeout` is the only time limit.
            own["http_client"] = DefaultAioHttpClient(timeout=None)
        model = get_model(name, base_url=args.get("base_url"), memoize=False, **own)
    # Inspect raises ValueError, PrerequisiteError, ImportError, or a provider's own type.
    except Exception as error:
        message = str(getattr(error, "message", None) or error) or type(error).__name__
        raise InputError(
            "cannot use this judge",
            where="judge",
            found=f"{name!r}: {' '.join(message.split())}",
            expected=CHOICES,
            hint="check the provider's name, its Python package, and its key in the environment",
        ) from error
    return model.api, model.config


def describe(judges: Sequence[JudgeInfo]) -> str:
    """The panel in one line, for log messages."""
    if not judges:
        return "none (answers are saved to be judged later)"
    return printable(
        ", ".join(
            f"{judge.name}{'' if judge.is_llm else ' (not an LLM)'}"
            + (f" {json.dumps(judge.settings)}" if judge.is_llm and judge.settings else "")
            for judge in judges
        )
    )
