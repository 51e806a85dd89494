"""Judges: any model that Inspect can reach, or the offline lexical one. A judge replies, or says why not."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from value_retention.adapters.judges import batch_mode, lexical
from value_retention.adapters.judges.journal import Reply
from value_retention.adapters.settings import CHOICES, MAX_CONNECTIONS, SCORING_ARGS
from value_retention.tasks.errors import InputError
from value_retention.tasks.record import JudgeInfo, canonical_json, well_formed

MAX_RETRIES = 6
ATTEMPT_TIMEOUT = 120
"""Seconds for one request; a stalled connection is given up after them and tried again."""
LONGEST_WAIT = 120.0
"""Seconds. A longer Retry-After is not waited for: the call fails and can be filled in later."""
DOWN_AFTER = 12
"""Failed calls in a row after which a judge counts as down and is not asked again in this run."""
WRONG_AFTER = 3
"""The same for calls that fail for good, such as with a wrong key: every other one would too."""
REFUSED_AFTER = 50
"""The same for prompts that are refused (too long, say) before any was answered; after that they never count:
the calls of one answer follow each other, and the next answer may be to the judge's liking."""
REFUSED = (400, 413, 422)
"""Status of a refusal that is about the prompt."""


Schema = dict[str, Any] | None


CANNOT_SCORE = {
    *("max_retries", "timeout", "attempt_timeout", "stream_idle_timeout", "max_connections"),
    *("adaptive_connections", "batch", "cache", "extra_headers"),
}
"""What may be set on a judge model without moving a grade (headers, besides, hold secrets). All else is recorded."""


class Judge(Protocol):
    """Something that grades one rendered prompt."""

    info: JudgeInfo
    settings: str
    """Canonical JSON of the settings that can move a grade."""
    connections: int

    async def ask(self, prompt: str, answer: str, indicators: str, schema: Schema = None) -> Reply:
        """One reply, in the form of the JSON schema if there is one.

        Never raises for a fault of the judge: the fault is in the reply.
        """
        ...


class LexicalJudge:
    """The offline judge (see `lexical`)."""

    def __init__(self) -> None:
        self.info = JudgeInfo(lexical.NAME, {"version": lexical.VERSION}, is_llm=False)
        self.settings = canonical_json(self.info.settings)
        self.connections = 1

    async def ask(self, prompt: str, answer: str, indicators: str, schema: Schema = None) -> Reply:
        """Match the indicators in the answer."""
        return Reply(lexical.lexical_reply(answer, indicators))


class ModelJudge:
    """A model reached through Inspect. Retries are bounded, back off, obey Retry-After and are counted.

    Args:
        model: An Inspect ``Model``.
        args: Judge settings (see `settings.SCORING_ARGS`, `settings.TRANSPORT_ARGS`).
        name: The name in records; the model's own by default.
        in_eval: Inside an Inspect eval calls go through ``Model``, which puts them into the eval's log and
            limits. Elsewhere there is no log to write, and they go to the provider's ``ModelAPI`` at once,
            which takes a fifth of the time.
    """

    def __init__(
        self, model: Any, args: Mapping[str, Any], name: str | None = None, in_eval: bool = False
    ) -> None:
        from inspect_ai.model import GenerateConfig

        own = model.config.model_dump(mode="json", exclude_none=True)
        scoring = {key: value for key, value in own.items() if key not in CANNOT_SCORE}
        scoring |= {key: args[key] for key in SCORING_ARGS if key in args and key != "protocol"}
        self.model = model
        self.info = JudgeInfo(name or str(model), scoring)
        self.settings = canonical_json(scoring)
        batch = args.get("batch") or own.get("batch")
        most = batch_mode.CONNECTIONS if batch else MAX_CONNECTIONS
        self.connections = int(args.get("max_connections") or own.get("max_connections") or most)
        retries = args.get("max_retries", own.get("max_retries"))
        self.retries = (batch_mode.RETRIES if batch else MAX_RETRIES) if retries is None else int(retries)
        generation = {key: value for key, value in scoring.items() if key != "parse_retries"}
        # Retries are ours: Inspect's own back off without end by default and do not wait for Retry-After.
        self.timeout = int(args.get("attempt_timeout") or own.get("attempt_timeout") or ATTEMPT_TIMEOUT)
        if batch:
            self.timeout = batch_mode.LONGEST
        self.config = GenerateConfig(
            **generation,
            # Outside an eval a provider reads this for submitting and fetching batches only.
            max_retries=MAX_RETRIES if batch and not in_eval and retries is None else 0,
            max_connections=self.connections,
            attempt_timeout=None if batch else self.timeout,
            batch=batch or None,
        )
        self.in_eval = in_eval
        if batch and not in_eval:
            batch_mode.prepare(self.info.name)
        if not in_eval:
            # What `Model` would do before it calls its provider.
            self.config = model.config.merge(self.config)
            if self.config.max_tokens is None:
                self.config.max_tokens = (
                    model.api.max_tokens_for_config(self.config) or model.api.max_tokens()
                )
        self.failed_in_a_row = 0
        self.down: str | None = None
        self.replied = False

    async def ask(self, prompt: str, answer: str, indicators: str, schema: Schema = None) -> Reply:
        """Send the prompt until there is a reply or the retries are spent."""
        import anyio

        if self.down:
            return Reply(None, f"judge is down: {self.down}")
        start = time.monotonic()
        retries = 0
        while True:
            output, failure = await self._once(prompt, schema, retries)
            if failure is None or failure.wait is None or retries >= self.retries:
                break
            await anyio.sleep(failure.wait)
            retries += 1
        latency = time.monotonic() - start
        if output is None:
            assert failure is not None
            self._failed(failure)
            return Reply(None, failure.error, retries, latency)
        self.failed_in_a_row = 0
        self.replied = True
        usage = output.usage
        return Reply(
            text=well_formed(output.completion),
            retries=retries,
            latency=latency,
            input_tokens=_input_tokens(usage),
            output_tokens=usage.output_tokens if usage else None,
            request_id=output.response_id,
        )

    async def _once(self, prompt: str, schema: Schema, retries: int) -> tuple[Any, _Failure | None]:
        """One request: what came, or what went wrong, or both.

        An empty reply is a fault of the service, unless its filter emptied it: tried again, and kept as it
        is when it stays empty.
        """
        try:
            output = await self._generate(prompt, schema)
        except Exception as caught:
            error = _root(caught)
            text = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            refused = getattr(error, "status_code", None) in REFUSED
            return None, _Failure(text, self._wait(error, retries), refused)
        if not output.completion.strip() and output.stop_reason != "content_filter":
            return output, _Failure("empty reply", _backoff(retries))
        return output, None

    async def _generate(self, prompt: str, schema: Schema) -> Any:
        config = self.config
        if schema is not None:
            from inspect_ai.model import ResponseSchema
            from inspect_ai.util import JSONSchema

            # Providers without structured output pass over it; the prompt asks for the same form in words.
            form = ResponseSchema(name="grades", json_schema=JSONSchema.model_validate(schema))
            config = config.model_copy(update={"response_schema": form})
        if self.in_eval:
            from inspect_ai.log._transcript import Transcript, init_transcript
            from inspect_ai.model._model import use_model_event_sink

            # A sink alone does not keep them out: a call in flight is still reported as changed.
            init_transcript(Transcript())
            with use_model_event_sink(_NoEvents()):
                return await self.model.generate(prompt, config=config)
        import anyio
        from inspect_ai.model import ChatMessageUser

        message = ChatMessageUser(content=prompt)
        with anyio.fail_after(self.timeout):
            result = await self.model.api.generate([message], [], "none", config)
        output = result[0] if isinstance(result, tuple) else result
        if isinstance(output, Exception):
            raise output
        return output

    def _wait(self, error: BaseException, retries: int) -> float | None:
        """Seconds before another try; None for an error that another try cannot mend."""
        status = getattr(error, "status_code", None)
        if isinstance(status, int) and 400 <= status < 500 and status not in (408, 409, 425, 429):
            return None
        # A batch whose results cannot be read, or never come, was paid for: not again unasked.
        lost = self.config.batch and type(error).__name__ in ("ValidationError", "TimeoutError")
        if lost or type(error).__name__ == "PrerequisiteError":
            return None
        decision = self.model.api.should_retry(error) if isinstance(error, Exception) else False
        asked = getattr(decision, "retry_after", None)
        if asked is None:
            return _backoff(retries)
        return None if asked > LONGEST_WAIT else float(asked)

    def _failed(self, failure: _Failure) -> None:
        if failure.refused and self.replied:
            return
        self.failed_in_a_row += 1
        most = REFUSED_AFTER if failure.refused else WRONG_AFTER if failure.wait is None else DOWN_AFTER
        if self.failed_in_a_row >= most:
            self.down = failure.error


@dataclass(frozen=True)
class _Failure:
    """Why a request brought nothing of use."""

    error: str
    wait: float | None
    """Seconds before another try; None where another try cannot mend it."""
    refused: bool = False
    """Whether it is this prompt that the service did not take."""


class _NoEvents:
    """Keeps judge calls out of a sample's transcript: the record holds each reply, and writing thousands of
    prompts into the log twice takes a third of an eval's time. Usage and limits are Inspect's as ever."""

    def on_pending(self, event: Any) -> None:
        """A call began."""

    def on_complete(self, event: Any) -> None:
        """A call ended."""


def _backoff(retries: int) -> float:
    """Exponential from half a second to half a minute, with jitter so that calls do not return together."""
    longest = min(30.0, 0.5 * 2.0**retries)
    return longest * random.uniform(0.5, 1.0)


def _root(error: BaseException) -> BaseException:
    """The provider's error inside tenacity's wrapper."""
    attempt = getattr(error, "last_attempt", None)
    inner = attempt.exception() if attempt is not None else None
    return inner if inner is not None else error


def _input_tokens(usage: Any) -> int | None:
    if usage is None:
        return None
    cached = (usage.input_tokens_cache_read or 0) + (usage.input_tokens_cache_write or 0)
    return int(usage.input_tokens + cached)


def make_judges(names: Sequence[str], args: Mapping[str, Any]) -> list[Judge]:
    """Judges by name. Models are new objects: their connections belong to the event loop that uses them.

    Raises:
        InputError: a name that is no judge, a provider's package or key that is missing.
    """
    if lexical.NAME in names and args.get("protocol") == "batched":
        raise InputError(
            "the lexical judge grades one dimension at a time",
            where="judge_args, protocol",
            found="batched",
            expected="per_dimension, or a judge that is a model",
        )
    if args.get("batch"):
        for name in names:
            if name != lexical.NAME:
                batch_mode.check_provider(name)
    return [
        LexicalJudge() if name == lexical.NAME else ModelJudge(_model(name, args), args, name)
        for name in names
    ]


# Providers whose SDK would retry by itself, uncounted, unless it is told not to.
_SDK_RETRIES = ("openai", "openai-api", "anthropic")


def _model(name: str, args: Mapping[str, Any]) -> Any:
    from inspect_ai.model import get_model

    if "/" not in name:
        raise InputError("an unknown judge", where="judge", found=repr(name), expected=CHOICES)
    try:
        own: dict[str, Any] = {"max_retries": 0} if name.partition("/")[0] in _SDK_RETRIES else {}
        return get_model(name, base_url=args.get("base_url"), memoize=False, **own)
    # Inspect raises ValueError, PrerequisiteError, ImportError or a provider's own type here, all meaning the
    # same to the user: this judge cannot be used as things are.
    except Exception as error:
        message = str(getattr(error, "message", None) or error) or type(error).__name__
        raise InputError(
            "a judge that cannot be used",
            where="judge",
            found=f"{name!r}: {' '.join(message.split())}",
            expected=CHOICES,
            hint="check the provider's name, its Python package, and its key in the environment",
        ) from error


def describe(judges: Sequence[JudgeInfo]) -> str:
    """The panel in one line, for logs."""
    if not judges:
        return "none (answers are saved to be judged later)"
    return ", ".join(
        f"{judge.name}{'' if judge.is_llm else ' (not an LLM)'}"
        + (f" {json.dumps(judge.settings)}" if judge.is_llm and judge.settings else "")
        for judge in judges
    )
