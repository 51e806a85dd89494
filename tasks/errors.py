"""The exception for a user's mistake, printed as one message without a traceback."""

from __future__ import annotations

import sys
from types import TracebackType

from value_retention.tasks.text import printable, redacted


class InputError(ValueError):
    """Bad input from a user: data, settings or a path. The message says what to do next.

    The message holds no secret and no control character: what was found may come from a file or a server.

    Args:
        what: The problem, in one clause.
        where: The file, row, option or key.
        found: The value found.
        expected: The values accepted.
        hint: The next step.
    """

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        found: object = None,
        expected: str | None = None,
        hint: str | None = None,
    ) -> None:
        lines = [what]
        for label, value in (("where", where), ("found", found), ("expected", expected), ("next", hint)):
            if value is not None:
                lines.append(f"  {label}: {value}")
        super().__init__(printable(redacted("\n".join(lines))))


def show_input_errors_plainly() -> None:
    """Print an uncaught `InputError` as its message alone. Other exceptions are unchanged.

    A harness lets a task's exceptions reach the interpreter, which would print a traceback. The exit status stays
    1. A second call has no effect.
    """
    previous = sys.excepthook
    if getattr(previous, "handles_input_errors", False):
        return

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if isinstance(error, InputError):
            print(f"value-retention: {error}", file=sys.stderr)
        else:
            previous(kind, error, trace)

    hook.handles_input_errors = True  # type: ignore[attr-defined]
    sys.excepthook = hook
