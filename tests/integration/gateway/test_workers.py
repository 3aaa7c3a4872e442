from __future__ import annotations

import httpx2

from crewmesh.v1 import run_store_pb2
from crewmesh_gateway.schemas_of_fleet import Fleet
from tests.integration.gateway.fake_mesh import FakeMesh


async def test_the_fleet_is_shown_with_its_queue(
    mesh: FakeMesh, client: httpx2.AsyncClient
) -> None:
    busy = run_store_pb2.Worker(id="w1", address="a:1", slots=4, free_slots=3, running=1)
    busy.lease_age.FromMilliseconds(2500)
    busy.started_at.GetCurrentTime()
    busy.last_seen_at.GetCurrentTime()
    idle = run_store_pb2.Worker(id="w2", slots=4, free_slots=4)
    mesh.fleet.answer.workers.extend([busy, idle])
    mesh.fleet.answer.queue.queued = 7
    mesh.fleet.answer.lease_ttl.FromSeconds(15)

    fleet = Fleet.model_validate((await client.get("/v1/workers")).json())

    assert [(w.id, w.slots, w.free_slots, w.running) for w in fleet.items] == [
        ("w1", 4, 3, 1),
        ("w2", 4, 4, 0),
    ]
    assert [w.lease_age_seconds for w in fleet.items] == [2.5, None]
    assert (fleet.queue.queued, fleet.queue.oldest_queued_at) == (7, None)
    assert fleet.lease_seconds == 15
