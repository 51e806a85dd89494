"""vLLM on this machine's processor, for tests: command lines that start it, and a server on loopback."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from helpers import BIN, environment

# Small and quiet, nothing sent anywhere: a cache of 2 GiB, no download, no usage report.
ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "2",
    "VLLM_LOGGING_LEVEL": "INFO",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
NAME = "tiny"
READY_AFTER = 240
"""Seconds that a server may take to start. It takes half a minute; a busy machine gets more."""
PATIENCE = 20
"""Seconds between asking a process to end and ending it."""


@dataclass(frozen=True)
class VllmServer:
    """A running ``vllm serve``."""

    url: str
    """Base URL, ending in ``/v1``."""
    name: str = NAME
    """What the model is called there."""

    def counter(self, metric: str) -> float:
        """A counter of the server's ``/metrics``, over all engines.

        Args:
            metric: Its name without ``vllm:`` and ``_total``.
        """
        with urllib.request.urlopen(self.url.removesuffix("/v1") + "/metrics", timeout=30) as reply:
            text: str = reply.read().decode("utf-8")
        found = re.findall(rf"^vllm:{metric}_total(?:\{{[^}}]*\}})? (\S+)$", text, re.MULTILINE)
        assert found, f"the server reports no counter vllm:{metric}_total"
        return sum(map(float, found))


@contextlib.contextmanager
def vllm_server(model: Path, log: Path, *options: str, **env: str) -> Iterator[VllmServer]:
    """Serve a checkpoint on a free port of the loopback interface, until the block ends, however it ends.

    Args:
        model: The checkpoint.
        log: What the server prints goes here; its end is in the error if it does not start.
        options: More options of ``vllm serve``.
        env: Changes to the environment.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(BIN / "vllm"), "serve", str(model), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--served-model-name", NAME, "--dtype", "bfloat16", "--enforce-eager", *options]
    with _group(command, log, env=env) as process:
        _wait_until_ready(process, f"http://127.0.0.1:{port}/health", log)
        yield VllmServer(f"http://127.0.0.1:{port}/v1")


def run_logged(
    *command: str | Path, log: Path, timeout: float, cwd: Path | None = None, status: int = 0, **env: str
) -> str:
    """Run a command line that may start processes of its own, to its end; none of them survives it.

    Returns:
        What it printed. The end of that is in the error if the status is another one, or after `timeout` seconds.
    """
    with _group([str(part) for part in command], log, cwd=cwd, env=env) as process:
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{command[0]} ran for more than {timeout} s:\n{tail(log)}") from None
    assert code == status, f"{command[0]} ended with {code}:\n{tail(log)}"
    return log.read_text("utf-8", errors="replace")


def tail(log: Path, characters: int = 6000) -> str:
    """The end of a log, without the steps of progress bars."""
    text = log.read_text("utf-8", errors="replace") if log.exists() else ""
    return re.sub(r"[^\n]*\r", "", text)[-characters:]


@contextlib.contextmanager
def _group(
    command: list[str], log: Path, cwd: Path | None = None, env: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own, which takes its engine and workers along when it has to go."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=environment(**ENVIRONMENT, **(env or {})),
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], health: str, log: Path) -> None:
    end = time.monotonic() + READY_AFTER
    while time.monotonic() < end:
        if process.poll() is not None:
            raise AssertionError(f"vllm serve ended with {process.returncode}:\n{tail(log)}")
        with contextlib.suppress(OSError), urllib.request.urlopen(health, timeout=5) as reply:
            if reply.status == 200:
                return
        time.sleep(0.5)
    raise AssertionError(f"vllm serve was not ready after {READY_AFTER} s:\n{tail(log)}")
