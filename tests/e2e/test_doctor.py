"""`crewmesh doctor` where the usual mistakes have been made; the clock alone is faked, elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.gateway import second_gateway
from tests.conftest import until
from tests.e2e.conftest import ROOT, Mesh
from tests.e2e.test_cli import crewmesh

# Small disks of the doctor's own, which end with it.
_CROWDED = """
mount -t tmpfs -o size=64m tmpfs "$CREWMESH_DATA_DIR" || exit 77
mount -t tmpfs -o size=64m tmpfs /dev/shm || exit 77
umask 022
echo cm_key > "$CREWMESH_DATA_DIR/api-key"
echo "$ADDRESS" > "$CREWMESH_DATA_DIR/address.json"
exec "$@"
"""


async def examine(mesh: Mesh, **environment: str) -> dict[str, dict[str, Any]]:
    """Return what the doctor found, by check, where `environment` has been set."""
    examined = await crewmesh(mesh, "doctor", "--json", **environment)
    found = {finding["check"]: finding for finding in examined.json}
    faults = [check for check, finding in found.items() if finding["state"] == "fault"]
    assert examined.status == bool(faults), (examined, faults)
    assert all(bool(f["next_step"]) is (f["state"] != "ok") for f in found.values())
    return found


async def test_all_is_well_where_nothing_is_wrong(mesh: Mesh) -> None:
    found = await examine(mesh)
    assert {check for check, finding in found.items() if finding["state"] == "fault"} == set()
    mesh_checks = {"address", "gateway", "store", "agent_worker", "key", "version", "workers"}
    assert mesh_checks | {"crews", "clock"} <= set(found)


async def test_a_key_that_was_revoked_and_a_command_line_of_another_version(
    mesh: Mesh, tmp_path: Path
) -> None:
    async with mesh.http.post("/v1/api-keys", json={"name": "doctor"}) as response:
        key = await response.json()
    async with mesh.http.delete(f"/v1/api-keys/{key['id']}") as response:
        assert response.status == 204
    installed = tmp_path / "crewmesh-9.9.9.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: crewmesh\nVersion: 9.9.9\n")
    found = await examine(
        mesh, CREWMESH_API_KEY=key["secret"], PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}"
    )
    assert found["key"]["state"] == "fault"
    assert found["version"]["state"] == "warning"
    assert "9.9.9" in found["version"]["detail"]


@pytest.mark.long
async def test_a_gateway_that_has_the_wrong_address_of_its_store_and_one_that_is_gone(
    mesh: Mesh, tmp_path: Path
) -> None:
    nobody = "ipv4:127.0.0.1:9"
    async with second_gateway(mesh, tmp_path, CREWMESH_STORE_TARGET=nobody) as gateway:
        found = await examine(mesh, CREWMESH_URL=gateway.url)
        assert (found["gateway"]["state"], found["store"]["state"]) == ("ok", "fault")
        assert found["agent_worker"]["state"] == "ok"
        assert found["key"]["state"] == "fault"
    found = await examine(mesh, CREWMESH_URL=gateway.url)
    assert (found["address"]["state"], found["gateway"]["state"]) == ("ok", "fault")
    assert "store" not in found


async def test_workers_that_are_all_busy(mesh: Mesh) -> None:
    slots = sum(worker["slots"] for worker in (await mesh.get("/v1/workers"))["items"])
    async with endless_runs(mesh, slots + 1):
        found = await examine(mesh)
    assert found["workers"]["state"] == "warning"
    assert "1 runs wait" in found["workers"]["detail"]


@contextlib.asynccontextmanager
async def endless_runs(mesh: Mesh, count: int) -> AsyncIterator[None]:
    """Have so many runs at once, all but one of them running."""
    runs = [await mesh.start_run("paced", words=100_000, pause_ms=50) for _ in range(count)]

    async def all_slots_are_taken() -> bool:
        fleet = await mesh.get("/v1/workers")
        free = sum(worker["free_slots"] for worker in fleet["items"])
        return bool(fleet["queue"]["running"] >= count - 1 and free == 0)

    try:
        await until(all_slots_are_taken, 60)
        yield
    finally:
        for run in runs:
            async with mesh.http.post(f"/v1/runs/{run['id']}/cancel") as response:
                assert response.status == 200


@pytest.mark.skipif(sys.platform != "linux", reason="disks are made for one process on Linux only")
async def test_what_is_wrong_with_a_machine(tmp_path: Path) -> None:
    ended = await asyncio.create_subprocess_exec("true")
    await ended.wait()
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("CREWMESH_", "OPENAI_"))}
    process = await asyncio.create_subprocess_exec(
        *("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", _CROWDED, "sh"),
        *(sys.executable, "-m", "crewmesh.cli", "doctor", "--json"),
        env={
            **kept,
            "ADDRESS": json.dumps({"url": "http://127.0.0.1:9", "grpc": "", "pid": ended.pid}),
            "CREWMESH_DATA_DIR": str(data_dir),
            "CREWMESH_MODEL": "openai/gpt-5-mini",
            "XDG_CONFIG_HOME": str(tmp_path),
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    if process.returncode == 77 or b"unshare" in err:
        pytest.skip(f"no disk can be made here: {err.decode()}")
    found = {finding["check"]: finding for finding in json.loads(out)}
    states = {check: finding["state"] for check, finding in found.items()}
    assert process.returncode == 1
    assert {check for check, state in states.items() if state == "fault"} == {
        *("data directory", "disk", "local mesh", "model", "address"),
    }
    assert states["scratch"] == "warning"
    assert found["data directory"]["next_step"] == f"chmod 600 {data_dir / 'api-key'}"
    assert "OPENAI_API_KEY" in found["model"]["detail"]
    assert "--shm-size" in found["scratch"]["next_step"]
    assert str(ended.pid) in found["local mesh"]["detail"]
