"""What people write today: FastAPI around `kickoff_async`. Nothing is stored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from tests.benchmarks.crew import build_crew

app = FastAPI()


@app.post("/run")
async def run(inputs: dict[str, str]) -> dict[str, str]:
    """Run the crew and answer with its output."""
    output = await build_crew().kickoff_async(inputs=inputs)
    return {"output": output.raw}


@app.post("/stream")
async def stream(inputs: dict[str, str]) -> StreamingResponse:
    """Run the crew and send each chunk as it comes."""
    from crewai.events.stream_context import add_stream_sink

    loop = asyncio.get_running_loop()
    chunks: asyncio.Queue[str | None] = asyncio.Queue()

    def sink(_source: object, event: Any) -> None:
        if event.type == "llm_stream_chunk":
            loop.call_soon_threadsafe(chunks.put_nowait, event.chunk)

    async def execute() -> None:
        add_stream_sink(sink)
        try:
            await build_crew().kickoff_async(inputs=inputs)
        finally:
            loop.call_soon_threadsafe(chunks.put_nowait, None)

    async def frames() -> AsyncIterator[str]:
        task = asyncio.create_task(execute())
        while (chunk := await chunks.get()) is not None:
            yield f"data: {chunk}\n\n"
        await task

    return StreamingResponse(frames(), media_type="text/event-stream")
