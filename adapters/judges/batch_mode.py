"""A provider's batch mode, about half the price: many calls in one file, answered within a day.

Inspect gathers calls into batches, submits them and looks for their results; what is here makes that fit for
thousands of paid judge calls. All calls are in flight at once, so that batches fill, and none has a timeout
but one past the day that providers promise.

A batch belongs to the process that submitted it. Killed while batches are under way, the command submits their
calls again when it is run again, and they are paid for twice; every reply of a batch that had come is in the
journal. Smaller batches (``max_size``) lose less.
"""

from __future__ import annotations

import sys
from typing import Any

from value_retention.tasks.errors import InputError

CONNECTIONS = 10_000
"""Calls in flight: more than a checkpoint has, so a whole run can go into one batch."""
LONGEST = 26 * 3600
"""Seconds after which a call counts as lost. Providers answer a batch within 24 hours or let it expire."""
RETRIES = 2
"""Tries more for a call that failed inside its batch: each waits for another batch."""
PROVIDERS = ("anthropic", "google", "grok", "openai", "together")
"""Providers for which Inspect has a batch mode; it passes over the setting for any other."""


def check_provider(name: str) -> None:
    """Refuse a judge whose provider would answer call by call, at full price, ten thousand at a time.

    Raises:
        InputError: naming the providers that have a batch mode.
    """
    if name.partition("/")[0] not in PROVIDERS:
        raise InputError(
            "a judge without a batch mode",
            where="judge_args, batch",
            found=name,
            expected=" or ".join(f"{provider}/..." for provider in PROVIDERS),
            hint="leave batch out",
        )


def prepare(name: str) -> None:
    """What has to be done before the first call of a judge outside an eval."""
    _report_changes()
    _keep_looking()
    if name.startswith("openai/"):
        _keep_replies_beside_refusals()


def _report_changes() -> None:
    """Say on standard error what changes in the batches; Inspect would print a line at every look."""
    from inspect_ai.model._providers.util import batch_log
    from tqdm import tqdm

    last: list[tuple[int, ...]] = [(0, 0, 0, 0)]

    def say(message: str) -> None:
        tqdm.write(message, file=sys.stderr)

    def status(now: Any) -> None:
        counts = (now.batch_count, now.pending_requests, now.completed_requests, now.failed_requests)
        if counts != last[0]:
            last[0] = counts
            say("Batches: {}, calls pending {}, answered {}, failed {}".format(*counts))

    batch_log.set_batch_status_callback(status)
    batch_log.set_batch_log_callback(say)


def _keep_looking() -> None:
    """Let one batch that cannot be submitted fail alone.

    Its calls have their error by then. But in Inspect 0.3.285 the error also ends the worker that looks after
    all batches: those under way, paid for, would never be fetched, and later calls would wait for ever.
    """
    import anyio
    from inspect_ai.model._providers.util.batch import Batcher

    work: Any = Batcher._batch_worker
    if work.__module__ == __name__:
        return

    async def working(self: Any) -> None:
        while True:
            try:
                return await work(self)  # type: ignore[no-any-return]
            except Exception:
                await anyio.sleep(self._tick)

    Batcher._batch_worker = working  # type: ignore[method-assign]


class CallRefusedError(Exception):
    """One call of a batch that has no reply. ``status_code`` is the HTTP status, None for any other reason."""

    def __init__(self, status_code: int | None, reason: str) -> None:
        super().__init__(reason if status_code is None else f"status {status_code}: {reason}")
        self.status_code = status_code


def _keep_replies_beside_refusals() -> None:
    """Let one refused call fail alone.

    OpenAI writes it into the batch's error file with its HTTP status. Inspect 0.3.285 takes that for a reply
    it cannot read, and fails every call of the batch, answered and paid for, with it.
    """
    from inspect_ai.model._providers._openai_batch import OpenAIBatcher

    parse: Any = OpenAIBatcher._parse_jsonl_line
    if parse.__module__ == __name__:
        return

    def parse_line(self: Any, line_data: dict[str, Any]) -> Any:
        response, error = line_data.get("response") or {}, line_data.get("error") or {}
        status = response.get("status_code", error.get("code"))
        if status == 200:
            return parse(self, line_data)
        reason = (response.get("body") or {}).get("error") or error
        known = status if isinstance(status, int) else None
        return str(line_data["custom_id"]), CallRefusedError(known, str(reason.get("message") or reason))

    OpenAIBatcher._parse_jsonl_line = parse_line  # type: ignore[method-assign]
