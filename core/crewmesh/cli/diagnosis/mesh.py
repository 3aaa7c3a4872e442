"""Checks of the mesh that commands talk to."""

from __future__ import annotations

import time
from pathlib import Path

from crewmesh.cli.client import open_client
from crewmesh.cli.connection import resolve_connection
from crewmesh.cli.diagnosis.finding import Finding, fault, ok, warning
from crewmesh.cli.errors import CliError
from crewmesh.cli.text import duration
from crewmesh.client import ApiError, AsyncClient, MeshError

_MOST_SKEW_SECONDS = 30.0


async def check_mesh(data_dir: Path | None, own_version: str) -> list[Finding]:
    """Return what there is to say of the mesh; only that it can't be reached, if it can't."""
    try:
        connection = resolve_connection(data_dir)
    except CliError as error:
        return [fault("address", f"{error.what}: {error.why}", error.next_step)]
    findings = [ok("address", f"{connection.url} from {connection.source}")]
    async with open_client(connection) as client:
        reached = await check_reachable(client)
        findings.append(reached)
        if reached.state == "ok":
            findings += await check_readiness(client)
            findings += [
                await check_key(client),
                check_clock(client.clock_offset_seconds),
                await check_version(client, own_version),
                await check_workers(client),
                await check_crews(client),
            ]
    return findings


async def check_reachable(client: AsyncClient) -> Finding:
    """Check that the gateway answers."""
    began = time.monotonic()
    try:
        await client.mesh.health()
    except MeshError as error:
        return fault(
            "gateway", f"{error.what}: {error.why}", "check the address and start the mesh"
        )
    return ok("gateway", f"answers in {(time.monotonic() - began) * 1000:.0f} ms")


async def check_readiness(client: AsyncClient) -> list[Finding]:
    """Check every dependency that the gateway tells of."""
    try:
        dependencies = (await client.mesh.readiness()).dependencies
    except MeshError as error:
        return [fault("ready", f"{error.what}: {error.why}", "look into the gateway's log")]
    return [
        ok(name, "serving")
        if state == "serving"
        else fault(name, state.replace("_", " "), f"look into the log of the {name}")
        for name, state in dependencies.items()
    ]


async def check_key(client: AsyncClient) -> Finding:
    """Check that the key is accepted."""
    try:
        me = await client.account.me()
    except ApiError as error:
        return fault("key", error.what, "set CREWMESH_API_KEY, or run `crewmesh login`")
    except MeshError as error:
        return fault("key", f"{error.what}: {error.why}", error.next_step)
    return ok("key", f"{me.user.email}, {me.role}")


def check_clock(offset_seconds: float) -> Finding:
    """Check that this machine's clock and the mesh's agree."""
    if abs(offset_seconds) <= _MOST_SKEW_SECONDS:
        return ok("clock", "agrees with the mesh's")
    which = "behind" if offset_seconds > 0 else "ahead of"
    return warning(
        "clock",
        f"{duration(abs(offset_seconds))} {which} the mesh's",
        "synchronise both machines' clocks (NTP)",
    )


async def check_version(client: AsyncClient, own_version: str) -> Finding:
    """Check that the mesh and this command line are of one version."""
    try:
        theirs = (await client.mesh.info()).version
    except MeshError as error:
        return warning("version", f"the mesh's is unknown: {error.what}", "upgrade the mesh")
    if theirs == own_version:
        return ok("version", theirs)
    return warning(
        "version",
        f"the mesh has {theirs}, this command line {own_version}",
        f"install crewmesh {theirs} here, or upgrade the mesh",
    )


async def check_workers(client: AsyncClient) -> Finding:
    """Check that there is a worker for what is queued."""
    try:
        fleet = await client.mesh.workers()
    except MeshError as error:
        return warning("workers", f"unknown: {error.what}", error.next_step)
    if not fleet.items:
        step = "start a worker; runs that are accepted wait for it"
        return fault("workers", "none is attached", step)
    free = sum(worker.free_slots for worker in fleet.items)
    if not free and fleet.queue.queued:
        step = "start more workers, or give them more slots (CREWMESH_SLOTS)"
        return warning("workers", f"all are busy, {fleet.queue.queued} runs wait", step)
    return ok("workers", f"{len(fleet.items)}, with {free} free slots")


async def check_crews(client: AsyncClient) -> Finding:
    """Check that every crew can be run."""
    try:
        broken = [crew async for crew in client.crews.iterate() if crew.error]
    except MeshError as error:
        return warning("crews", f"unknown: {error.what}", error.next_step)
    if broken:
        first = broken[0]
        detail = f"{', '.join(crew.name for crew in broken)} can't be run: {first.error}"
        step = f"correct it and push it again; `crewmesh crews show {first.name}` has more"
        return warning("crews", detail, step)
    return ok("crews", "all can be run")
