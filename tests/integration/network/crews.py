"""Crews run by real runners, with the offline model, and with servers of the tests' own."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from crewmesh.v1.runner_pb2 import Execute, FromRunner
from crewmesh_worker.crews.catalogue import Catalogue
from crewmesh_worker.crews.definition import to_json
from crewmesh_worker.crews.inputs import validate_inputs
from crewmesh_worker.runner.pool import RunnerPool


@dataclass
class Done:
    """What a run has told."""

    messages: list[FromRunner] = field(default_factory=list)

    @property
    def answer(self) -> str:
        assert self.messages[-1].HasField("finished"), self.messages[-1]
        return self.messages[-1].finished.output

    @property
    def model_calls(self) -> int:
        return self.messages[-1].finished.usage.model_calls

    @property
    def events(self) -> list[tuple[str, dict[str, Any]]]:
        told = [m.event for m in self.messages if m.HasField("event")]
        return [(event.type, json.loads(event.payload_json)) for event in told]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [payload for type_, payload in self.events if type_ == kind]

    @property
    def tools(self) -> list[str]:
        return [payload["tool"] for payload in self.of("tool.started")]

    @property
    def files(self) -> list[str]:
        return [m.artifact.name for m in self.messages if m.HasField("artifact")]


RunCrew = Callable[..., Awaitable[Done]]


def runs_crews(pool: RunnerPool, environment: dict[str, str]) -> RunCrew:
    """Return what runs a crew of the catalogue to its end."""

    async def run(crew: str, **inputs: Any) -> Done:
        definition = Catalogue.load().get(crew)
        runner = await pool.acquire(f"tests/{crew}")
        try:
            request = Execute(
                run_id="run-1",
                definition_json=to_json(definition),
                inputs_json=json.dumps(validate_inputs(definition, inputs)),
                work_dir=str(runner.work_dir),
                model="offline",
                environment=environment,
            )
            return Done([message async for message in runner.execute(request)])
        finally:
            await runner.release()

    return run
