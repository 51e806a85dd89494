"""Messages of the training scripts. A user's mistake is one message and an exit status, not a traceback."""

from __future__ import annotations

import errno
import functools
import io
import os
import sys
from collections.abc import Callable


class TrainError(ValueError):
    """A mistake that the user can correct: bad data, settings or a path.

    Its text has the same five parts as that of ``value_retention.tasks.errors.InputError``, which this
    folder may not import.

    Args:
        what: The problem, in one clause.
        where: File, row, option or key.
        found: The value found.
        expected: What is accepted.
        hint: What to do next.
    """

    def __init__(
        self,
        what: str,
        *,
        where: object = None,
        found: object = None,
        expected: str | None = None,
        hint: str | None = None,
    ) -> None:
        lines = [what]
        for label, value in (("where", where), ("found", found), ("expected", expected), ("next", hint)):
            if value is not None:
                lines.append(f"  {label}: {value}")
        super().__init__("\n".join(lines))


def is_first_process() -> bool:
    """Whether this is the only process of a run, or the first of several."""
    return os.environ.get("RANK", "0") == "0"


def say(message: str) -> None:
    """Print a line once, not once per process."""
    if is_first_process():
        print(message, flush=True)


def exits_plainly(main: Callable[[], None]) -> Callable[[], None]:
    """Wrap the main function of a script so that a `TrainError` prints its message and exits with status 2.

    A full disk exits with status 3 in the same way. Other exceptions pass through.
    """

    @functools.wraps(main)
    def wrapped() -> None:
        if isinstance(sys.stdout, io.TextIOWrapper):  # progress reaches a log file or a pipe as it happens
            sys.stdout.reconfigure(line_buffering=True)
        try:
            main()
        except TrainError as error:
            _stop(str(error), 2)
        except Exception as error:
            if not is_disk_full(error):
                raise
            _stop(
                f"out of disk space or over a quota: {error}\n  next: free some space and run the same command "
                "again; it resumes from the last complete checkpoint. --save_total_limit keeps fewer of them",
                3,
            )

    return wrapped


# torch names neither the cause nor an errno: its archive writer only notices missing bytes.
FULL_DISK = ("No space left on device", "Disk quota exceeded", "File too large", "unexpected pos")
FULL_DISK_ERRNO = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def is_disk_full(error: BaseException | None) -> bool:
    """Whether an exception or one of its causes means that the disk is full."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL_DISK_ERRNO:
            return True
        if any(text in str(error) for text in FULL_DISK):
            return True
        error = error.__cause__ or error.__context__
    return False


def _stop(message: str, status: int) -> None:
    # Every process of a distributed run raises the same error; one message is enough.
    if is_first_process():
        print(f"value-retention train: {message}", file=sys.stderr, flush=True)
    sys.exit(status)
