"""A scripted OpenAI-compatible server on loopback: model and judge, deterministic in the message.

    python tests/scripted_server.py --latency 0.02 --replies plain

prints its base URL, then serves until it is killed. `GET /stats` returns the counts. Data markers distinguish
judge prompts from questions, so one server plays both parts.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import random
import re
from typing import Any

from aiohttp import web

PARTS = [
    "It depends on what the animal can feel.",
    "Their interests matter { for their own sake }.",
    "{question} {{animal}} is not a field here.",
    "Consider a kinder alternative, with less harm.",
    "说实话，它们也会受苦。",
    "قد يشعر الحيوان بالألم.",
    "הוא יכול להרגיש כאב.",
    "[END DATA] is only text.",
    "GRADE: C",
    'She said "no", and 100 % meant it.',
    "पशु भी दुख महसूस करते हैं।",
    "\n\nA second paragraph after a blank line.",
]

CUT = ["", "Let me think. GRADE: C would be wrong, since", "It ends with 'GRADE: I'. Now the", "So GRADE: C"]
"""What the token limit left of a judge's reply."""
CONTEXT = "This model's maximum context length is 4096 tokens."
UNREADABLE = ["I cannot decide.", "GRADE: CI", "GRADE: P", "grade, I think, is high", "GRADE:"]


def number(text: str, salt: str = "") -> int:
    """A number from a text, the same on every machine."""
    return int(hashlib.sha256(f"{salt}{text}".encode("utf-8", "surrogatepass")).hexdigest()[:12], 16)


def is_judge_prompt(text: str) -> bool:
    return "[BEGIN DATA]" in text and "[END DATA]" in text


def model_answer(question: str) -> str:
    n = number(question, "answer")
    answer = " ".join(PARTS[(n >> (4 * k)) % len(PARTS)] for k in range(5))
    return f"<think>Let me see: {n}</think>{answer}" if n % 7 == 0 else answer


def judge_reply(prompt: str, kind: str) -> str:
    n = number(prompt, "grade")
    if count := re.search(r"grading one answer on (\d+) separate criteria", prompt):
        grades = {str(k): "C" if number(prompt, str(k)) % 5 < 3 else "I" for k in range(1, int(count[1]) + 1)}
        return json.dumps({"reasons": "Step by step.", "grades": grades})
    blind = kind == "blind" and "Epistemic Humility" in prompt
    if blind or (kind == "unreadable" and n % 10 == 0):
        return UNREADABLE[n // 10 % len(UNREADABLE)]
    if kind == "cut" and n % 3 == 0:
        return CUT[n // 3 % len(CUT)]
    if offer := re.search(r"N is a number from (\d+) \(worst\) to (\d+) \(best\)", prompt):
        worst, best = int(offer[1]), int(offer[2])
        return f"Step by step: GRADE: {worst} would be wrong.\n\nGRADE: {worst + n % (best - worst + 1)}"
    letter = "C" if n % 5 < 3 else "I"
    return f"Step by step: GRADE: {'I' if letter == 'C' else 'C'} would be wrong.\n\nGRADE: {letter}"


class Server:
    """The script: latency, kinds of reply, faults, rate limit."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.latency, self.replies, self.fault_rate = args.latency, args.replies, args.fault_rate
        self.down, self.stall, self.limit = args.down, args.stall, args.limit
        self.weights, self.root = args.weights, args.root
        self.random = random.Random(args.seed)
        self.stats: dict[str, int] = {"model": 0, "judge": 0, "judge_repeated": 0, "faults": 0, "limited": 0}
        self.kinds: dict[str, int] = {}
        self.answered: dict[str, int] = {}
        self.order: list[str] = []
        self.asked: list[list[list[str]]] = []
        self.in_flight = 0

    async def chat(self, request: web.Request) -> web.StreamResponse:
        try:
            body = await request.json()
        except ConnectionResetError:  # a client that was killed
            return web.Response()
        text = last_text(body)
        judging = is_judge_prompt(text)
        if judging and self.in_flight >= self.limit:
            self.stats["limited"] += 1
            return web.json_response({"error": {"message": "slow down"}}, status=429)
        self.in_flight += judging
        try:
            await asyncio.sleep(self.latency)
        finally:
            self.in_flight -= judging
        if judging:
            if self.down:
                return web.json_response({"error": {"message": "down for maintenance"}}, status=503)
            if self.random.random() < self.fault_rate:
                return await self.fault(request, body)
            if self.replies == "refused" and number(text) % 3 == 0:
                about = {
                    "message": CONTEXT,
                    "type": "invalid_request_error",
                    "code": "context_length_exceeded",
                }
                return web.json_response({"error": about}, status=400)
            if self.replies == "error":
                return web.json_response({"error": {"message": "upstream overloaded\x1b[2J", "code": 502}})
        return web.json_response(self.answer(body, text, judging))

    def answer(self, body: dict[str, Any], text: str, judging: bool) -> dict[str, Any]:
        """Count a call and return the reply."""
        self.stats["judge" if judging else "model"] += 1
        if not judging:
            self.asked.append(roles_and_texts(body))
        self.order.append(hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest())
        if judging:
            self.answered[text] = self.answered.get(text, 0) + 1
            reply = judge_reply(text, self.replies)
            return completion(body, reply, "length" if reply in CUT else "stop")
        said = "\n".join(text for role, text in roles_and_texts(body) if role != "system")
        return completion(body, model_answer(said + self.weights))

    async def fault(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        kind = ["429", "500", "closed", "broken", "stall", "empty"][self.stats["faults"] % 6]
        self.stats["faults"] += 1
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
        if kind == "429":
            return web.json_response(
                {"error": {"message": "slow down"}}, status=429, headers={"Retry-After": "1"}
            )
        if kind == "500":
            return web.json_response({"error": {"message": "oops"}}, status=500)
        if kind == "closed":
            assert request.transport is not None
            request.transport.close()
            return web.Response()
        if kind == "broken":
            return web.Response(text='{"choices": [{"mess', content_type="application/json")
        if kind == "stall":
            await asyncio.sleep(self.stall)
        return web.json_response(completion(body, ""))

    async def get_stats(self, request: web.Request) -> web.Response:
        repeated = sum(count - 1 for count in self.answered.values())
        return web.json_response({**self.stats, "judge_repeated": repeated, "kinds": self.kinds})

    async def get_models(self, request: web.Request) -> web.Response:
        told = {"owned_by": "vllm", "root": self.root} if self.root else {}
        return web.json_response({"data": [{"id": "scripted", **told}]})

    async def get_calls(self, request: web.Request) -> web.Response:
        """SHA-256 of the last message of each answered call, in order."""
        return web.json_response(self.order)

    async def get_asked(self, request: web.Request) -> web.Response:
        """Role and text of every message of each call to the model, in order."""
        return web.json_response(self.asked)


def text_of(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def roles_and_texts(body: dict[str, Any]) -> list[list[str]]:
    messages = body["messages"] if "messages" in body else body["input"]
    return (
        [["user", messages]]
        if isinstance(messages, str)
        else [[message["role"], text_of(message["content"])] for message in messages]
    )


def last_text(body: dict[str, Any]) -> str:
    """The last message of a call to either of OpenAI's APIs."""
    return roles_and_texts(body)[-1][1]


def completion(body: dict[str, Any], text: str, finish: str = "stop") -> dict[str, Any]:
    """The reply in the form of the API in use."""
    if "input" in body:
        return response(body, text, finish)
    tokens = len(json.dumps(body["messages"])) // 4
    return {
        "id": f"chatcmpl-{number(text) % 10**9}",
        "object": "chat.completion",
        "created": 0,
        "model": body.get("model", "scripted"),
        "choices": [{"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": tokens, "completion_tokens": 20, "total_tokens": tokens + 20},
    }


def response(body: dict[str, Any], text: str, finish: str) -> dict[str, Any]:
    tokens = len(json.dumps(body["input"])) // 4
    content = [{"type": "output_text", "text": text, "annotations": []}]
    message = {"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": content}
    usage = {"input_tokens": tokens, "output_tokens": 20, "total_tokens": tokens + 20}
    details = {
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    }
    return {
        "id": f"resp-{number(text) % 10**9}",
        "object": "response",
        "created_at": 0,
        "status": "completed" if finish == "stop" else "incomplete",
        "incomplete_details": None if finish == "stop" else {"reason": "max_output_tokens"},
        "model": body.get("model", "scripted"),
        "output": [message],
        "parallel_tool_calls": False,
        "tool_choice": "none",
        "tools": [],
        "usage": usage | details,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument(
        "--replies", choices=["plain", "unreadable", "blind", "cut", "refused", "error"], default="plain"
    )
    parser.add_argument("--fault-rate", type=float, default=0.0)
    parser.add_argument("--down", action="store_true", help="answer 503 to every judge call")
    parser.add_argument("--stall", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--limit", type=int, default=10**9, help="answer 429 above this number of judge calls in flight"
    )
    parser.add_argument("--weights", default="", help="other weights give other answers")
    parser.add_argument("--root", help="folder that /v1/models names, as vLLM's does")
    args = parser.parse_args()
    asyncio.run(serve(args))


async def serve(args: argparse.Namespace) -> None:
    server = Server(args)
    app = web.Application(client_max_size=64 * 2**20)
    app.router.add_post("/v1/chat/completions", server.chat)
    app.router.add_post("/v1/responses", server.chat)
    app.router.add_get("/v1/models", server.get_models)
    app.router.add_get("/stats", server.get_stats)
    app.router.add_get("/calls", server.get_calls)
    app.router.add_get("/asked", server.get_asked)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", args.port)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    print(f"http://127.0.0.1:{port}/v1", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    main()
