"""The Python client against a real mesh whose gateway is killed."""

from __future__ import annotations

import asyncio
from pathlib import Path

from crewmesh.client import AsyncClient, Client
from tests.browser.gateway import second_gateway
from tests.e2e.conftest import Mesh


async def test_streams_resume_after_the_gateway_is_killed_and_restarted(
    mesh: Mesh, tmp_path: Path
) -> None:
    async with second_gateway(mesh, tmp_path) as gateway:
        with Client(gateway.url, mesh.api_key) as sync_client:
            async with AsyncClient(gateway.url, mesh.api_key) as client:
                run = await client.runs.start("approved")
                seen: list[int] = []
                asked = asyncio.Event()

                async def watch() -> None:
                    async for event in client.runs.events(run.id):
                        seen.append(event.seq)
                        if event.type == "input.requested":
                            asked.set()

                def watch_in_thread() -> list[int]:
                    return [event.seq for event in sync_client.runs.events(run.id)]

                watching = asyncio.create_task(watch())
                in_thread = asyncio.create_task(asyncio.to_thread(watch_in_thread))
                await asked.wait()
                await gateway.kill()
                # It goes on while nobody can see it.
                async with AsyncClient(mesh.url, mesh.api_key) as other:
                    await other.runs.answer(run.id, "Fine.", approve=True)
                    ended = await other.runs.wait(run.id)
                await gateway.start()
                await watching
                seen_in_thread = await in_thread
    assert ended.status == "succeeded"
    whole = list(range(1, ended.last_seq + 1))
    assert (seen, seen_in_thread) == (whole, whole)
