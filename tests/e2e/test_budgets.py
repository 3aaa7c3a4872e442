"""A tenant's budget under many runs at once, with processes that are killed meanwhile."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from collections.abc import AsyncIterator
from typing import Any

import psutil
import pytest

from tests.conftest import until
from tests.e2e.conftest import Mesh, running_mesh
from tests.e2e.openai_server import Answer, ModelServer, model_server

pytestmark = pytest.mark.long

# A token costs a thousandth of a dollar, so that a call costs 4.02 at most.
PRICES = json.dumps({"*": {"input_usd_per_million": 1000, "output_usd_per_million": 1000}})
TOKEN_USD = 0.001
ANSWER = Answer(prompt_tokens=20, completion_tokens=4_000)
RUNS = 20
# The most that a call may reserve: 8,192 tokens of an answer, and a prompt of less than 2,000.
RESERVED_USD = 10.2


class Watch:
    """What a budget was seen to have spent and reserved, every few milliseconds."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self.most_tokens = 0
        self.most_usd = 0.0
        self.looks = 0

    async def run(self) -> None:
        while True:
            budget = await tenant_budget(self._mesh)
            self.looks += 1
            self.most_tokens = max(
                self.most_tokens, budget["spent_tokens"] + budget["reserved_tokens"]
            )
            self.most_usd = max(self.most_usd, budget["spent_usd"] + budget["reserved_usd"])
            await asyncio.sleep(0.01)


async def tenant_budget(mesh: Mesh) -> Any:
    (budget,) = (await mesh.get("/v1/budgets"))["items"]
    return budget


async def set_budget(mesh: Mesh, **limits: Any) -> None:
    body = {"items": [{"period": "month", **limits}]}
    async with mesh.http.put("/v1/budgets", json=body) as response:
        assert response.status == 200, await response.text()


async def ended(mesh: Mesh, run_id: str) -> Any:
    async for _ in mesh.watch(run_id):
        pass
    return await mesh.get(f"/v1/runs/{run_id}")


async def runs_of(mesh: Mesh, count: int) -> list[Any]:
    started = await asyncio.gather(
        *(mesh.start_run("hello", topic="budgets") for _ in range(count))
    )
    return await asyncio.gather(*(ended(mesh, run["id"]) for run in started))


@pytest.fixture(scope="module")
async def metered(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[Mesh, ModelServer]]:
    async with (
        model_server(lambda *_: ANSWER) as server,
        running_mesh(
            tmp_path_factory.mktemp("budgets"), "--workers", "2", "--slots", str(RUNS),
            CREWMESH_MODEL="openai/metered",
            CREWMESH_PRICES=PRICES,
            OPENAI_API_KEY="sk-of-the-mesh",
            OPENAI_BASE_URL=server.url,
        ) as mesh,
    ):  # fmt: skip
        yield mesh, server


async def test_twenty_runs_at_once_never_exceed_their_tenants_budget(
    metered: tuple[Mesh, ModelServer], record_property: Any
) -> None:
    mesh, server = metered
    server.pause_seconds = 0.05
    # Room for the reservations of about six calls at once, and for 15 calls in all.
    limit = 60.0
    await set_budget(mesh, max_usd=limit)
    watch = Watch(mesh)
    watching = asyncio.create_task(watch.run())
    finished = []
    while not any(run["status"] == "failed" for run in finished):
        finished += await runs_of(mesh, RUNS)
    watching.cancel()
    budget = await tenant_budget(mesh)
    succeeded = [run for run in finished if run["status"] == "succeeded"]
    refused = [run for run in finished if run["status"] == "failed"]
    assert {run["error"]["code"] for run in refused} == {"budget_exceeded"}
    assert len(succeeded) + len(refused) == len(finished)
    # Never above the limit, not even by one reservation.
    assert watch.looks > 10
    assert watch.most_usd <= limit + 1e-9
    assert budget["reserved_usd"] == 0
    assert budget["spent_tokens"] == server.charged_tokens
    assert budget["spent_usd"] == pytest.approx(server.charged_tokens * TOKEN_USD)
    assert len(server.asked) == len(succeeded)
    # And it was used up: what is left is less than a call needs at least.
    assert limit - budget["spent_usd"] < 2.5
    for name, value in (
        ("runs", len(finished)),
        ("calls", len(server.asked)),
        ("most_usd", watch.most_usd),
        ("looks", watch.looks),
        ("spent_usd", budget["spent_usd"]),
    ):
        record_property(name, value)
        print(name, value)  # noqa: T201


async def test_killed_runners_leak_nothing_of_a_budget_and_lose_nothing(
    metered: tuple[Mesh, ModelServer],
) -> None:
    mesh, server = metered
    server.pause_seconds = 0.3
    limit = 1_000.0
    await set_budget(mesh, max_usd=limit)
    spent_before, charged_before = (await tenant_budget(mesh))["spent_usd"], server.charged_tokens
    watch = Watch(mesh)
    watching = asyncio.create_task(watch.run())
    running = asyncio.create_task(runs_of(mesh, RUNS))
    killed = 0
    chance = random.Random(20)
    while killed < 10 and not running.done():
        before = len(server.asked)

        async def another_call(before: int = before) -> bool:
            return len(server.asked) > before or running.done()

        await until(another_call, 60)
        victims = runners(mesh)
        if victims:
            chance.choice(victims).send_signal(signal.SIGKILL)
            killed += 1
    finished = await running
    watching.cancel()
    assert killed >= 5
    assert {run["status"] for run in finished} <= {"succeeded", "failed"}

    async def nothing_reserved() -> bool:
        return bool((await tenant_budget(mesh))["reserved_usd"] == 0)

    await until(nothing_reserved, 30)
    budget = await tenant_budget(mesh)
    spent = budget["spent_usd"] - spent_before
    charged = (server.charged_tokens - charged_before) * TOKEN_USD
    # Every call that was made is in it: those whose process was killed for all they had reserved,
    # at least what they cost.
    assert spent >= charged - 1e-9
    # And nothing else is.
    assert spent <= charged + killed * RESERVED_USD + 1e-9
    assert watch.most_usd <= limit


def runners(mesh: Mesh) -> list[psutil.Process]:
    """Return the processes that run crews, or wait to."""
    found = []
    for process in psutil.Process(mesh.process.pid).children(recursive=True):
        try:
            parent = process.parent()
            line = " ".join(parent.cmdline()) if parent is not None else ""
            own = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if "runner.zygote" in line and "runner.zygote" in own and os.getpid() != process.pid:
            found.append(process)
    return found
