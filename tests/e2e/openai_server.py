"""A server that speaks OpenAI's interface, and answers what a test tells it to."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from aiohttp import web


@dataclass
class Answer:
    """What one call gets: an error's status, or words and what they count."""

    words: tuple[str, ...] = ("gRPC ", "is ", "fine.")
    prompt_tokens: int = 20
    completion_tokens: int = 6
    status: int = 200
    message: str = "no"
    headers: dict[str, str] = field(default_factory=dict)
    # Breaks the connection: before anything is sent, or in the middle of the words.
    breaks: bool = False


@dataclass
class ModelServer:
    """Answers by `choose(model, number of the model's call)`; `asked` holds all bodies."""

    choose: Callable[[str, int], Answer]
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    # Tokens that were counted, of all prompts and answers.
    charged_tokens: int = 0
    url: str = ""
    pause_seconds: float = 0.0

    def calls_of(self, model: str) -> int:
        return sum(body["model"] == model for body in self.asked)

    async def complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append(body)
        self.keys.append(request.headers["Authorization"].removeprefix("Bearer "))
        answer = self.choose(body["model"], self.calls_of(body["model"]))
        if self.pause_seconds:
            await asyncio.sleep(self.pause_seconds)
        if answer.status != 200:
            error = {"error": {"message": answer.message, "type": "x", "code": None}}
            return web.json_response(error, status=answer.status, headers=answer.headers)
        if answer.breaks:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        # A longer answer than it was asked for isn't given.
        most = body.get("max_completion_tokens") or body.get("max_tokens") or 10**9
        answer = replace(answer, completion_tokens=min(answer.completion_tokens, most))
        self.charged_tokens += answer.prompt_tokens + answer.completion_tokens
        return await _stream(request, body["model"], answer)


@contextlib.asynccontextmanager
async def model_server(choose: Callable[[str, int], Answer]) -> AsyncIterator[ModelServer]:
    """Serve until the caller leaves."""
    server = ModelServer(choose)
    app = web.Application()
    app.router.add_post("/v1/chat/completions", server.complete)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    server.url = f"http://{host}:{port}/v1"
    try:
        yield server
    finally:
        await runner.cleanup()


async def _stream(request: web.Request, model: str, answer: Answer) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    base = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": model}
    for place, word in enumerate(answer.words):
        last = place == len(answer.words) - 1
        delta = {"role": "assistant", "content": word}
        choice = {"index": 0, "delta": delta, "finish_reason": "stop" if last else None}
        await _send(response, {**base, "choices": [choice]})
    usage = {
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "total_tokens": answer.prompt_tokens + answer.completion_tokens,
    }
    await _send(response, {**base, "choices": [], "usage": usage})
    await response.write(b"data: [DONE]\n\n")
    return response


async def _send(response: web.StreamResponse, chunk: dict[str, Any]) -> None:
    await response.write(f"data: {json.dumps(chunk)}\n\n".encode())
