"""A load that goes on: the chaos harness's clients in rounds, and people with files."""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections import Counter

import aiohttp

from tests.chaos.client import TERMINAL_TYPES, Client
from tests.chaos.mesh import Mesh
from tests.fleet import use

_ROUND_SECONDS = 20.0
_RUNS_PER_ROUND = 110
_FILE_BYTES = (10_000, 400_000)
_UPLOAD_PAUSE_SECONDS = 1.0


class SteadyLoad:
    """Clients that start, watch and cancel runs, and upload files, for as long as is wanted."""

    def __init__(self, mesh: Mesh, seed: int) -> None:
        self._mesh = mesh
        self._urls = mesh.urls
        self._seed = seed
        self.done: Counter[str] = Counter()
        # What no client should have seen.
        self.faults: list[str] = []

    async def run(self, seconds: float) -> None:
        """Load the mesh for so long; return when every run has ended."""
        end = time.monotonic() + seconds
        uploading = asyncio.create_task(self._exchange_files(end))
        number = 0
        while time.monotonic() < end:
            number += 1
            seed = self._seed * 1_000_000 + number
            for client in await use(self._mesh, seed, _RUNS_PER_ROUND, _ROUND_SECONDS):
                self._check(client)
        await uploading

    def _check(self, client: Client) -> None:
        """Note what became of a client's run, and forget the client."""
        status = client.final["status"] if client.final else "unknown"
        self.done[f"runs {status}"] += 1
        self.done["event streams"] += len(client.seen) + client.reconnects
        self.done["events seen"] += sum(map(len, client.seen))
        if len(set(client.accepted)) != 1 or client.complaints:
            self.faults.append(f"{client.key}: {client.accepted} {client.complaints}")
        if status != "succeeded" and not (status == "cancelled" and client.cancels):
            error = client.final.get("error") if client.final else None
            self.faults.append(f"{client.key} ({client.run_id}) is {status}: {error}")
        for seen in client.seen:
            whole = [event["seq"] for event in seen] == list(range(1, len(seen) + 1))
            if not (whole and seen and seen[-1]["type"] in TERMINAL_TYPES):
                self.faults.append(f"{client.key}: a watcher missed events")

    async def _exchange_files(self, end: float) -> None:
        rng = random.Random(f"{self._seed}/files")
        headers = {"Authorization": f"Bearer {self._mesh.api_key}"}
        async with aiohttp.ClientSession(headers=headers) as http:
            while time.monotonic() < end:
                try:
                    await self._exchange_file(http, rng)
                except aiohttp.ClientError:
                    # A machine that has too much to do answers late, which is no fault here.
                    self.done["files given up"] += 1
                await asyncio.sleep(_UPLOAD_PAUSE_SECONDS)

    async def _exchange_file(self, http: aiohttp.ClientSession, rng: random.Random) -> None:
        """Upload a file, get it back from whatever gateway, and delete it."""
        content = rng.randbytes(rng.randint(*_FILE_BYTES))
        form = aiohttp.FormData()
        form.add_field("file", content, filename="soak.parquet")
        async with http.post(f"{rng.choice(self._urls)}/v1/datasets", data=form) as response:
            response.raise_for_status()
            dataset = await response.json()
        path = f"/v1/datasets/{dataset['id']}"
        async with http.get(f"{rng.choice(self._urls)}{path}/content") as response:
            response.raise_for_status()
            received = await response.read()
        if hashlib.sha256(received).digest() != hashlib.sha256(content).digest():
            self.faults.append(f"dataset {dataset['id']} came back changed")
        async with http.delete(f"{rng.choice(self._urls)}{path}") as response:
            response.raise_for_status()
        self.done["files uploaded, read and deleted"] += 1
