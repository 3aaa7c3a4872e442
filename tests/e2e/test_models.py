"""A mesh on a model that speaks OpenAI's interface, played by a server of the test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.e2e.conftest import running_mesh

WORDS = ["gRPC ", "lets ", "services ", "call ", "each ", "other."]


async def test_crews_run_on_the_model_that_the_setting_names(tmp_path: Path) -> None:
    asked: list[dict[str, Any]] = []

    async def complete(request: web.Request) -> web.StreamResponse:
        asked.append({"body": await request.json(), "key": request.headers["Authorization"]})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for place, word in enumerate(WORDS):
            last = place == len(WORDS) - 1
            chunk = {
                "id": "c",
                "object": "chat.completion.chunk",
                "created": 1,
                "model": "test-model",
                "choices": [
                    {
                        "index": 0,
                        "delta": {"role": "assistant", "content": word},
                        "finish_reason": "stop" if last else None,
                    }
                ],
            }
            await response.write(f"data: {json.dumps(chunk)}\n\n".encode())
        usage = {"prompt_tokens": 20, "completion_tokens": 6, "total_tokens": 26}
        end = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "test-model"}
        await response.write(
            f"data: {json.dumps({**end, 'choices': [], 'usage': usage})}\n\n".encode()
        )
        await response.write(b"data: [DONE]\n\n")
        return response

    app = web.Application()
    app.router.add_post("/v1/chat/completions", complete)
    server = web.AppRunner(app)
    await server.setup()
    site = web.TCPSite(server, "127.0.0.1", 0)
    await site.start()
    host, port = server.addresses[0][:2]
    try:
        async with running_mesh(
            tmp_path,
            CREWMESH_MODEL="openai/gpt-5-mini",
            OPENAI_API_KEY="sk-of-the-test",
            OPENAI_BASE_URL=f"http://{host}:{port}/v1",
        ) as mesh:
            run = await mesh.start_run("hello", topic="gRPC")
            events = [event async for event in mesh.watch(run["id"])]
    finally:
        await server.cleanup()
    assert events[-1]["type"] == "run.succeeded", events[-1]["payload"]
    assert events[-1]["payload"]["output"] == "".join(WORDS)
    assert events[-1]["payload"]["usage"]["total_tokens"] == 26
    streamed = "".join(e["payload"]["text"] for e in events if e["type"] == "llm.chunk")
    assert streamed == "".join(WORDS)
    (call,) = asked
    assert call["body"]["model"] == "gpt-5-mini"
    assert call["key"] == "Bearer sk-of-the-test"
