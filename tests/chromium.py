"""Headless Chromium with a page open, driven by its DevTools protocol."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

CHROMIUM = shutil.which("chromium")
Evaluate = Callable[[str], Awaitable[Any]]


@asynccontextmanager
async def opened(page: Path, profile: Path, width: int = 1280, height: int = 900) -> AsyncIterator[Evaluate]:
    """Open a page and yield a function that evaluates JavaScript in it, past the page's policy.

    Args:
        page: File to open.
        profile: Folder for Chromium's own files.
        width: Of the window, CSS pixels.
        height: The same.
    """
    process = await asyncio.create_subprocess_exec(
        *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        *(f"--user-data-dir={profile}", "--remote-debugging-port=0", "about:blank"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        port = await _port(profile / "DevToolsActivePort")
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json") as listed:
                tab = next(tab for tab in await listed.json() if tab["type"] == "page")
            async with session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0) as socket:

                async def evaluate(script: str) -> Any:
                    found = await _call(
                        socket, "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
                    )
                    assert "exceptionDetails" not in found, found
                    return found["result"].get("value")

                await _call(
                    socket, "Emulation.setDeviceMetricsOverride",
                    width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
                )  # fmt: skip
                await _call(socket, "Page.navigate", url=page.as_uri())
                await _until(evaluate, "location.href != 'about:blank' && document.readyState == 'complete'")
                yield evaluate
    finally:
        process.terminate()
        await process.wait()


async def first_paint(page: Path, profile: Path) -> float:
    """Seconds from the start of the navigation to the first contentful paint, by Chromium's own clock."""
    entry = "performance.getEntriesByName('first-contentful-paint')[0]"
    async with opened(page, profile) as evaluate:
        await _until(evaluate, f"{entry} !== undefined")
        return float(await evaluate(f"{entry}.startTime")) / 1000


async def _until(evaluate: Evaluate, condition: str) -> None:
    for _ in range(300):
        if await evaluate(condition):
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"not in 30 s: {condition}")


async def _port(place: Path) -> str:
    for _ in range(300):
        if place.exists() and len(words := place.read_text().split()) > 1:
            return words[0]
        await asyncio.sleep(0.1)
    raise AssertionError("chromium did not start in 30 s")


async def _call(socket: aiohttp.ClientWebSocketResponse, method: str, **parameters: object) -> dict[str, Any]:
    await socket.send_json({"id": 1, "method": method, "params": parameters})
    while True:
        message = await socket.receive_json()
        if message.get("id") == 1:
            return dict(message["result"])
