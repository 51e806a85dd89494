"""Run the steps of an audit one after the other, with one progress display."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from value_retention.tasks.errors import InputError
from value_retention.tasks.text import printable

TAIL = 4096
SHOWN_LINES = 15


class StepError(Exception):
    """A step's command did not succeed. The message says what it printed, and how to go on."""


@contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Hold a folder. Commands started with the file open hold it too, until they end.

    So a second audit is refused while a step runs whose audit was killed.

    Yields:
        The file's descriptor.

    Raises:
        InputError: another audit, or a step of it, is at work in the folder.
    """
    with (folder / ".lock").open("a") as file:
        try:
            import fcntl
        except ImportError:  # Windows: not held
            yield file.fileno()
            return
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(
                "an audit, or a step of a killed one, is already at work in this folder",
                where=str(folder),
                hint="wait until it ends, or stop it, and run the same command again",
            ) from error
        yield file.fileno()


def run_command(title: str, command: Sequence[str], log: Path, held: int, say: Progress) -> None:
    """Run one command. Its output goes to a log file, and its last line to the display.

    Raises:
        StepError: its exit status is not 0.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with log.open("ab") as output:
        output.write(f"$ {' '.join(command)}\n".encode("utf-8", "replace"))
        output.flush()
        start = output.tell()
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            pass_fds=(held,) if os.name == "posix" else (),
        )  # fmt: skip
        try:
            while True:
                try:
                    status = process.wait(0.25)
                    break
                except subprocess.TimeoutExpired:
                    say.line(last_line(log, start))
        except BaseException:
            # Ctrl-C on a terminal reaches the command too, and it saves what it has.
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.wait()
            raise
    if status:
        raise StepError(
            f"the step failed: {title} (exit status {status})\n{_end_of(log, start)}\n"
            f"All of its output is in {log}. To go on, run the same command again: what is saved is not asked again."
        )
    say.done(title, time.monotonic() - began)


def _lines(log: Path, start: int, size: int) -> list[str]:
    """Lines at the end of a log, without colours, empty lines and control characters."""
    from rich.text import Text

    with log.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(start, end - size))
        text = file.read().decode("utf-8", "replace").replace("\r", "\n")
    plain = (Text.from_ansi(line).plain.rstrip() for line in text.split("\n"))
    return [printable(line) for line in plain if line.strip()]


def last_line(log: Path, start: int) -> str:
    """The last line of a log, or what a progress bar shows on it."""
    return next(reversed(_lines(log, start, TAIL)), "")


def _end_of(log: Path, start: int) -> str:
    return "\n".join(f"  {line}" for line in _lines(log, start, 4 * TAIL)[-SHOWN_LINES:])


class Progress:
    """The display: a line per finished step, and on a terminal the present step with its last line of output."""

    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bar

        self._console = Console(stderr=True, highlight=False)
        self._bar = Bar(
            MofNCompleteColumn(), BarColumn(bar_width=12), TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False), console=self._console, transient=True,
            disable=not self._console.is_terminal,
        )  # fmt: skip
        self._total, self._title = total, ""
        self._task = self._bar.add_task("", total=total)
        self._count = 0

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def begin(self, title: str) -> None:
        """Name the step that starts."""
        self._title = title
        self._bar.update(self._task, description=title)

    def line(self, text: str) -> None:
        """Show what the step printed last."""
        room = max(20, self._console.width - 45 - len(self._title))
        self._bar.update(self._task, description=f"{self._title}: {text[:room]}" if text else self._title)

    def done(self, title: str, seconds: float | None = None) -> None:
        """Count a step."""
        self._count += 1
        self._bar.update(self._task, completed=self._count)
        how = "finished before" if seconds is None else f"{seconds:.0f} s"
        self._console.print(f"{self._count}/{self._total}  {title}: {how}", markup=False)
