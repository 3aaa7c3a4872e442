"""Runs that are posted when they have ended, to a real receiver."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import psutil
import pytest

from tests.conftest import until
from tests.e2e.conftest import WEBHOOK_SECRET, Mesh, put
from tests.e2e.receiver import Receiver, receiving
from tests.e2e.test_cli import crewmesh


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as running:
        yield running


async def start(mesh: Mesh, webhook: Any, crew: str = "hello", **inputs: Any) -> str:
    body = {"crew": crew, "inputs": inputs, "webhook": webhook}
    async with mesh.http.post("/v1/runs", json=body) as response:
        assert response.status == 202, await response.text()
        run: dict[str, Any] = await response.json()
        return str(run["id"])


async def state_of(mesh: Mesh, run_id: str, status: str, seconds: float = 30) -> dict[str, Any]:
    answer: dict[str, Any] = {}

    async def has_it() -> bool:
        async with mesh.http.get(f"/v1/runs/{run_id}") as response:
            # A mesh whose worker was killed has none to ask for a while.
            answer.update(await response.json())
            return response.status == 200 and bool(answer["webhook"]["status"] == status)

    try:
        await until(has_it, seconds)
    except TimeoutError:
        log = mesh.directory / "logs" / "worker-1.log"
        raise AssertionError(f"{answer}\n{log.read_text(encoding='utf-8')[-5000:]}") from None
    state: dict[str, Any] = answer["webhook"]
    return state


async def test_a_finished_run_is_posted_signed_as_it_is_shown(
    private_mesh: Mesh, receiver: Receiver
) -> None:
    hook = {"url": receiver.url, "secret": WEBHOOK_SECRET}
    run_id = await start(private_mesh, hook, topic="webhooks")
    state = await state_of(private_mesh, run_id, "delivered")
    assert (state["tries"], state["last_status"], state["last_error"]) == (1, 200, None)
    (posted,) = receiver.received
    assert posted.is_signed_with(WEBHOOK_SECRET)
    assert posted.json["type"] == "run.succeeded"
    shown = await private_mesh.get(f"/v1/runs/{run_id}")
    del shown["webhook"]
    assert posted.json["data"] == shown
    assert WEBHOOK_SECRET not in str(shown) + str(state)


async def test_a_receiver_that_fails_gets_it_again_with_the_same_id(
    private_mesh: Mesh, receiver: Receiver
) -> None:
    receiver.statuses = [500, 302, 429]
    run_id = await start(private_mesh, receiver.url)
    state = await state_of(private_mesh, run_id, "delivered")
    assert state["tries"] == 4
    assert {hook.id for hook in receiver.received} == {f"run_{run_id}"}
    assert len({hook.body for hook in receiver.received}) == 1
    assert "webhook-signature" not in receiver.received[0].headers


async def test_a_run_that_was_cancelled_is_posted_too(
    private_mesh: Mesh, receiver: Receiver
) -> None:
    run_id = await start(private_mesh, receiver.url, "approved")
    async with private_mesh.http.post(f"/v1/runs/{run_id}/cancel") as response:
        assert response.status in (200, 202)
    await state_of(private_mesh, run_id, "delivered")
    assert receiver.received[0].json["type"] == "run.cancelled"


@pytest.mark.long
async def test_a_worker_that_is_killed_while_it_delivers_loses_nothing(
    private_mesh: Mesh, receiver: Receiver
) -> None:
    receiver.open.clear()
    run_id = await start(private_mesh, receiver.url, topic="kill")
    await until(lambda: receiver.has(1))
    parts = psutil.Process(private_mesh.process.pid).children()
    (worker,) = [part for part in parts if "crewmesh_worker" in str(part.cmdline())]
    os.kill(worker.pid, signal.SIGKILL)
    receiver.open.set()
    state = await state_of(private_mesh, run_id, "delivered", seconds=90)
    assert state["tries"] == 2
    assert {hook.id for hook in receiver.received} == {f"run_{run_id}"}


async def test_private_addresses_get_nothing_unless_the_operator_allows_it(
    mesh: Mesh, receiver: Receiver
) -> None:
    run_id = await start(mesh, receiver.url)
    state = await state_of(mesh, run_id, "failed")
    assert "public addresses" in state["last_error"]
    assert receiver.received == []
    # The run has succeeded, and says so; what became of its webhook is found all the same.
    listed = await crewmesh(mesh, "runs", "ls", "--webhook", "failed", "--json")
    assert run_id in [run["id"] for run in listed.json["items"]]
    assert "failed, tried 1 time" in (await crewmesh(mesh, "runs", "show", run_id)).out


# As if the tenant had no policy.
PRIVATE = {"hosts": {"private": True}}


def hosts(*allowed: str) -> dict[str, Any]:
    return {"hosts": {"allowed": allowed, "private": True}}


async def test_a_host_that_the_tenants_policy_leaves_out_is_refused_before_the_run_starts(
    private_mesh: Mesh, receiver: Receiver
) -> None:
    body = {"crew": "hello", "inputs": {"topic": "hosts"}, "webhook": receiver.url}
    async with (
        put(private_mesh, "/v1/policy", hosts("*.example.com"), after=PRIVATE),
        private_mesh.http.post("/v1/runs", json=body) as response,
    ):
        assert response.status == 403
        problem = await response.json()
    assert problem["code"] == "policy_denied"
    (fault,) = problem["errors"]
    assert fault["loc"] == ["body", "webhook", "url"]
    assert "*.example.com" in fault["msg"]
    assert "an owner can add it to the policy" in fault["msg"]
    async with put(private_mesh, "/v1/policy", hosts("127.0.0.1"), after=PRIVATE):
        await state_of(private_mesh, await start(private_mesh, receiver.url), "delivered")


async def test_a_policy_that_changed_while_the_run_went_on_holds_for_its_webhook(
    private_mesh: Mesh, receiver: Receiver
) -> None:
    run_id = await start(private_mesh, receiver.url, "approved")
    async with put(private_mesh, "/v1/policy", hosts("example.com"), after=PRIVATE):
        async with private_mesh.http.post(f"/v1/runs/{run_id}/cancel") as response:
            assert response.status in (200, 202)
        state = await state_of(private_mesh, run_id, "failed")
    assert "not among the hosts that the organisation allows" in state["last_error"]
    assert receiver.received == []


@pytest.mark.parametrize(
    "webhook", ["example.com/hook", "ftp://example.com", "http://user:pw@example.com", {"url": ""}]
)
async def test_what_is_no_webhook_is_refused_before_the_run_starts(
    mesh: Mesh, webhook: Any
) -> None:
    body = {"crew": "hello", "webhook": webhook}
    async with mesh.http.post("/v1/runs", json=body) as response:
        assert response.status in (400, 422)
        faults = (await response.json())["errors"]
        assert any("webhook" in fault["loc"] for fault in faults), faults


async def test_the_command_line_names_a_webhook(private_mesh: Mesh, receiver: Receiver) -> None:
    ran = await crewmesh(
        private_mesh, "run", "hello", "-i", "topic=CLI", "--webhook", receiver.url,
        CREWMESH_WEBHOOK_SECRET=WEBHOOK_SECRET,
    )  # fmt: skip
    assert ran.status == 0, ran.err
    await until(lambda: receiver.has(1))
    assert receiver.received[0].is_signed_with(WEBHOOK_SECRET)
