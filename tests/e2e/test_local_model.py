"""Every crew that comes with Crewmesh, on the small model that runs on this machine.

So small a model says little of use: what is tested is that crews succeed with it, stream, and
call tools with arguments that fit. `make test-long` runs it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from crewmesh_worker.crews.catalogue import BUILT_IN
from crewmesh_worker.crews.definition import CrewDefinition, load_definitions
from crewmesh_worker.local_model.files import find_weights
from crewmesh_worker.tools.registry import load_tool, tool_names
from tests.e2e.conftest import ROOT, Mesh, running_mesh

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(find_weights(None) is None, reason="`make local-model` installs it"),
    pytest.mark.timeout(400),
]

CREWS = load_definitions(BUILT_IN)
DOCS = ROOT / "docs" / "crews" / "samples"
SAMPLES: dict[str, Path | str] = {
    "data-analyst": "city,month,rain\nLisbon,1,110\nLisbon,7,4\nOslo,1,60\nOslo,7,81\n",
    "recommender": DOCS / "books.csv",
    "process-automation": DOCS / "tickets.jsonl",
}


@contextlib.asynccontextmanager
async def local_model(
    directory: Path, context: int, answer: int, tool_calls: int
) -> AsyncIterator[Mesh]:
    """A mesh with the local model; contexts and answers in tokens, tool calls for each task."""
    async with running_mesh(
        directory,
        CREWMESH_MODEL="local",
        CREWMESH_LOCAL_CONTEXT_TOKENS=str(context),
        CREWMESH_LOCAL_MAX_TOKENS=str(answer),
        CREWMESH_LOCAL_MAX_TOOL_CALLS=str(tool_calls),
        # Nobody may be asked anything on the internet.
        CREWMESH_RUNNER_BUILDER="crewmesh_worker.crews.build:build_crew",
    ) as mesh:
        yield mesh


@pytest.fixture(scope="module")
async def local_mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mesh]:
    """One that is soon done: it reads and writes little."""
    async with local_model(tmp_path_factory.mktemp("local"), 512, 12, 1) as mesh:
        yield mesh


@pytest.fixture(scope="module")
async def roomy_mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mesh]:
    """One that reads the crews' prompts whole."""
    async with local_model(tmp_path_factory.mktemp("roomy"), 2048, 64, 2) as mesh:
        yield mesh


async def events_of(mesh: Mesh, run_id: str) -> list[dict[str, Any]]:
    events = []
    async for event in mesh.watch(run_id):
        events.append(event)
        if event["type"] == "input.requested":
            answer = {"text": "", "approve": True}
            async with mesh.http.post(f"/v1/runs/{run_id}/input", json=answer) as response:
                assert response.status == 200, await response.text()
    return events


def streamed(events: list[dict[str, Any]]) -> str:
    return "".join(e["payload"]["text"] for e in events if e["type"] == "llm.chunk")


async def test_hello_streams_what_the_model_writes(local_mesh: Mesh) -> None:
    run = await local_mesh.start_run("hello", topic="gRPC")
    events = await events_of(local_mesh, run["id"])
    assert events[-1]["type"] == "run.succeeded", events[-1]["payload"]
    assert sum(e["payload"]["chunks"] for e in events if e["type"] == "llm.chunk") > 3
    assert streamed(events).strip() == events[-1]["payload"]["output"].strip()
    usage = events[-1]["payload"]["usage"]
    assert usage["prompt_tokens"] > 20
    assert 0 < usage["completion_tokens"] <= 12
    assert usage["model_calls"] == 1


async def test_a_prompt_that_is_cut_is_told_in_the_runs_log(local_mesh: Mesh) -> None:
    run = await local_mesh.start_run("hello", topic="gRPC " * 2_000)
    events = await events_of(local_mesh, run["id"])
    assert events[-1]["type"] == "run.succeeded", events[-1]["payload"]
    told = [e["payload"]["message"] for e in events if e["type"] == "log"]
    assert any("longer than the local model reads" in message for message in told)


async def test_a_crew_with_a_tool_succeeds(local_mesh: Mesh) -> None:
    await succeed(local_mesh, "recommender")


@pytest.mark.timeout(1_000)
@pytest.mark.parametrize("name", sorted(CREWS))
async def test_every_built_in_crew_succeeds_with_its_sample(roomy_mesh: Mesh, name: str) -> None:
    await succeed(roomy_mesh, name)


async def succeed(mesh: Mesh, name: str) -> None:
    """Run a crew with real input; a person approves whatever is asked."""
    inputs = await inputs_for(mesh, CREWS[name])
    body = {"crew": name, "inputs": inputs, "timeout_seconds": 900, "max_attempts": 1}
    async with mesh.http.post("/v1/runs", json=body) as response:
        assert response.status == 202, await response.text()
        run = await response.json()
    events = await events_of(mesh, run["id"])
    assert events[-1]["type"] == "run.succeeded", events[-1]["payload"]
    assert events[-1]["payload"]["output"]
    assert streamed(events)
    tools = {tool for agent in CREWS[name].crew.agents.values() for tool in agent.tools}
    called = [e["payload"] for e in events if e["type"] == "tool.started"]
    assert {call["tool"] for call in called} <= tools | {"delegate_work_to_coworker"}
    for call in called:
        if call["tool"] in tool_names():
            check_arguments(call)


def check_arguments(call: dict[str, Any]) -> None:
    """The model wrote JSON of the tool's shape; whether it makes sense is another question."""
    schema = load_tool(call["tool"]).arguments.model_json_schema()
    arguments = call["arguments"]
    arguments = json.loads(arguments) if isinstance(arguments, str) else arguments
    assert set(schema.get("required", ())) <= set(arguments), call
    assert set(arguments) <= set(schema["properties"]), call


async def inputs_for(mesh: Mesh, definition: CrewDefinition) -> dict[str, Any]:
    """Return what the crew's page of the docs gives it, or something of the kind."""
    inputs = {}
    required = definition.inputs.get("required", ())
    for name in (*definition.dataset_inputs, *required):
        if name in definition.dataset_inputs:
            inputs[name] = await upload(mesh, SAMPLES[definition.name])
        elif definition.inputs["properties"][name]["type"] == "array":
            # Nothing answers there, which the crew is told.
            inputs[name] = ["http://127.0.0.1:1/"]
        else:
            inputs[name] = "What is there to know?"
    return inputs


async def upload(mesh: Mesh, sample: Path | str) -> str:
    content = sample.encode() if isinstance(sample, str) else sample.read_bytes()
    name = "rows.csv" if isinstance(sample, str) else sample.name
    form = aiohttp.FormData()
    form.add_field("name", name.replace(".", "-"))
    form.add_field("file", content, filename=name)
    async with mesh.http.post("/v1/datasets", data=form) as response:
        assert response.status == 201, await response.text()
        dataset: str = (await response.json())["id"]
        return dataset


async def test_the_model_ends_with_its_worker(local_mesh: Mesh) -> None:
    """The last test of this mesh: it kills the worker."""
    run = await local_mesh.start_run("hello", topic="gRPC")
    assert (await events_of(local_mesh, run["id"]))[-1]["type"] == "run.succeeded"
    family = psutil.Process(local_mesh.process.pid).children(recursive=True)
    servers = [p for p in family if "crewmesh_worker.local_model.server" in p.cmdline()]
    (server,) = servers
    worker = server.parent()
    assert worker is not None
    # The worker is killed outright: nobody stops its model in order.
    worker.kill()
    psutil.wait_procs([server], timeout=10)
    assert not server.is_running()
