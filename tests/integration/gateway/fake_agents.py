"""An AgentService in memory, whose runs only tests move forward."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from uuid6 import uuid7

from crewmesh.common.errors import ConflictError, NotFoundError, StateError, UnavailableError
from crewmesh.common.grpc_server import caller
from crewmesh.common.identity import Identity
from crewmesh.v1 import agent_pb2, agent_pb2_grpc, crew_pb2, run_pb2
from tests.integration.gateway.fake_store import OWNER

CREW = crew_pb2.Crew(
    name="data-analyst",
    description="Answers questions about data.",
    version="1.0.0",
    inputs_schema_json='{"type":"object","properties":{"question":{"type":"string"}}}',
    agents=[crew_pb2.CrewAgent(role="Analyst", goal="To find out", tools=["query_data"])],
    tasks=[
        crew_pb2.CrewTask(
            name="analyse", description="Analyse", expected_output="An answer", agent="Analyst"
        )
    ],
    source=crew_pb2.CREW_SOURCE_UPLOADED,
    current_version="2",
    definition_json='{"name":"data-analyst"}',
)

_ENDED = (run_pb2.RUN_STATUS_SUCCEEDED, run_pb2.RUN_STATUS_CANCELLED)


@dataclass
class FakeRun:
    """A run and its log, to which tests append."""

    run: run_pb2.Run
    spec: agent_pb2.RunSpec
    events: list[run_pb2.RunEvent] = field(default_factory=list)
    questions_answered: list[int] = field(default_factory=list)
    # How many more workers fall when they get an answer.
    falls: int = 0
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def append(self, event_type: str, payload: Any = None, *, payload_json: str = "") -> None:
        event = run_pb2.RunEvent(
            seq=len(self.events) + 1,
            run_id=self.run.id,
            attempt=1,
            type=event_type,
            payload_json=payload_json or json.dumps(payload or {}),
        )
        event.at.GetCurrentTime()
        async with self.changed:
            self.events.append(event)
            self.run.last_seq = event.seq
            self.changed.notify_all()

    async def end(self, output: str = "42") -> None:
        self.run.status = run_pb2.RUN_STATUS_SUCCEEDED
        self.run.output = output
        self.run.finished_at.GetCurrentTime()
        await self.append("run.succeeded", {"output": output})

    async def wait_for_news(self, seq: int) -> None:
        async with self.changed:
            await self.changed.wait_for(lambda: len(self.events) > seq or self.run.status in _ENDED)

    async def wait(self, seconds: float) -> None:
        async def ended() -> None:
            async with self.changed:
                await self.changed.wait_for(lambda: self.run.status in _ENDED)

        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ended(), seconds)


class FakeAgents(agent_pb2_grpc.AgentServiceServicer):
    """Runs that only tests move forward."""

    def __init__(self) -> None:
        self.runs: dict[str, FakeRun] = {}
        self.started: list[agent_pb2.StartRunRequest] = []
        # What was asked about crews.
        self.crew_calls: list[Any] = []
        self.created = True
        self.crews = [CREW]
        self.waits: list[float] = []
        self.watches: list[agent_pb2.WatchRunRequest] = []
        self.open_watches = 0
        # Number of the last event that a watch has handed to gRPC.
        self.sent_seq = 0
        self.callers: list[Identity] = []
        self.request_ids: list[str] = []
        self.cancelled_calls = 0
        # Raised by the next calls, one each.
        self.failures: list[Exception] = []
        self.on_start: Callable[[FakeRun], Any] = lambda _: None

    def make_run(self, spec: agent_pb2.RunSpec | None = None) -> FakeRun:
        spec = spec or agent_pb2.RunSpec(crew="data-analyst", inputs_json="{}")
        run = run_pb2.Run(
            id=str(uuid7()),
            org_id=OWNER.org_id,
            crew=spec.crew,
            crew_version="1.0.0",
            status=run_pb2.RUN_STATUS_RUNNING,
            inputs_json=spec.inputs_json,
            attempt=1,
            max_attempts=spec.max_attempts or 3,
            priority=spec.priority,
            timeout_seconds=spec.timeout_seconds or 600,
            session_id=spec.session_id,
            created_by=OWNER.user_id,
            worker_id="worker-1",
        )
        run.created_at.GetCurrentTime()
        run.started_at.GetCurrentTime()
        made = self.runs[run.id] = FakeRun(run, spec)
        return made

    def _enter(self, context: Any) -> None:
        self.callers.append(caller())
        self.request_ids.append(dict(context.invocation_metadata()).get("x-request-id", ""))
        if self.failures:
            raise self.failures.pop(0)

    def _find(self, run_id: str) -> FakeRun:
        if run_id not in self.runs:
            raise NotFoundError(f"there is no run {run_id}", reason="RUN_NOT_FOUND")
        return self.runs[run_id]

    async def ListCrews(self, request: Any, context: Any) -> Any:
        self._enter(context)
        self.crew_calls.append(request)
        more = CREW.name if request.page_size == 1 else ""
        return agent_pb2.ListCrewsResponse(crews=self.crews, next_page_token=more)

    async def GetCrew(self, request: Any, context: Any) -> Any:
        self._enter(context)
        if request.name != CREW.name:
            raise NotFoundError(f"there is no crew {request.name}", reason="CREW_NOT_FOUND")
        self.crew_calls.append(request)
        return agent_pb2.GetCrewResponse(crew=CREW)

    async def PutCrew(self, request: Any, context: Any) -> Any:
        self._enter(context)
        self.crew_calls.append(request)
        return agent_pb2.PutCrewResponse(crew=CREW, created=self.created, changed=True)

    async def DeleteCrew(self, request: Any, context: Any) -> Any:
        self._enter(context)
        self.crew_calls.append(request)
        return agent_pb2.DeleteCrewResponse()

    async def ListCrewVersions(self, request: Any, context: Any) -> Any:
        self._enter(context)
        self.crew_calls.append(request)
        version = agent_pb2.CrewVersion(version="2", created_by="u", current=True)
        version.created_at.GetCurrentTime()
        return agent_pb2.ListCrewVersionsResponse(versions=[version], next_page_token="2")

    async def DiffCrew(self, request: Any, context: Any) -> Any:
        self._enter(context)
        self.crew_calls.append(request)
        return agent_pb2.DiffCrewResponse(from_version="1", to_version="2", diff="--- a\n+++ b\n")

    async def RollbackCrew(self, request: Any, context: Any) -> Any:
        self._enter(context)
        self.crew_calls.append(request)
        return agent_pb2.RollbackCrewResponse(crew=CREW)

    async def ListTools(self, request: Any, context: Any) -> Any:
        self._enter(context)
        tool = agent_pb2.Tool(
            name="query_sql", description="Runs SQL.", arguments_schema_json='{"type":"object"}'
        )
        return agent_pb2.ListToolsResponse(tools=[tool])

    async def StartRun(self, request: Any, context: Any) -> Any:
        self.started.append(request)
        self._enter(context)
        key = request.spec.idempotency_key
        same = [fake for fake in self.runs.values() if key and fake.spec.idempotency_key == key]
        if same and same[0].spec != request.spec:
            raise ConflictError("this key started another run", reason="IDEMPOTENCY_KEY_REUSED")
        fake = same[0] if same else self.make_run(request.spec)
        if not same:
            await fake.append("run.queued")
            self.on_start(fake)
        await self._wait(fake, request.wait.ToTimedelta().total_seconds())
        return agent_pb2.StartRunResponse(run=fake.run, replayed=bool(same))

    async def RetryRun(self, request: Any, context: Any) -> Any:
        self._enter(context)
        old = self._find(request.run_id)
        if old.run.status not in _ENDED:
            raise StateError("the run hasn't ended", reason="RUN_NOT_ENDED")
        key = request.idempotency_key
        same = [fake for fake in self.runs.values() if key and fake.spec.idempotency_key == key]
        if same:
            return agent_pb2.RetryRunResponse(run=same[0].run, replayed=True)
        spec = agent_pb2.RunSpec(crew=old.run.crew, inputs_json="{}", idempotency_key=key)
        again = self.make_run(spec)
        again.run.retry_of = old.run.id
        return agent_pb2.RetryRunResponse(run=again.run)

    async def GetRun(self, request: Any, context: Any) -> Any:
        self._enter(context)
        fake = self._find(request.run_id)
        await self._wait(fake, request.wait.ToTimedelta().total_seconds())
        return agent_pb2.GetRunResponse(run=fake.run)

    async def _wait(self, fake: FakeRun, seconds: float) -> None:
        self.waits.append(seconds)
        try:
            if seconds:
                await fake.wait(seconds)
        except asyncio.CancelledError:
            self.cancelled_calls += 1
            raise

    async def ListRuns(self, request: Any, context: Any) -> Any:
        self._enter(context)
        runs = [fake.run for fake in reversed(self.runs.values())]
        chosen = [
            run
            for run in runs
            if request.status in (0, run.status)
            and request.crew in ("", run.crew)
            and request.created_by in ("", "me", run.created_by)
            and request.text in run.inputs_json
        ]
        start = int(request.page_token or 0)
        end = start + request.page_size
        return agent_pb2.ListRunsResponse(
            runs=chosen[start:end], next_page_token=str(end) if end < len(chosen) else ""
        )

    async def ListRunEvents(self, request: Any, context: Any) -> Any:
        self._enter(context)
        rest = self._find(request.run_id).events[request.after_seq :]
        return agent_pb2.ListRunEventsResponse(
            events=rest[: request.page_size], more=len(rest) > request.page_size
        )

    async def WatchRun(self, request: Any, context: Any) -> AsyncIterator[Any]:
        self.watches.append(request)
        self._enter(context)
        fake = self._find(request.run_id)
        seq = request.after_seq
        self.open_watches += 1
        try:
            while True:
                await fake.wait_for_news(seq)
                if events := fake.events[seq : seq + 100]:
                    seq = events[-1].seq
                    yield agent_pb2.WatchRunResponse(events=events)
                    self.sent_seq = seq
                if fake.run.status in _ENDED and seq >= len(fake.events):
                    return
        finally:
            self.open_watches -= 1

    async def CancelRun(self, request: Any, context: Any) -> Any:
        self._enter(context)
        fake = self._find(request.run_id)
        fake.run.status = run_pb2.RUN_STATUS_CANCELLED
        fake.run.error.code = "cancelled"
        fake.run.error.message = request.reason
        fake.run.cancel_requested_at.GetCurrentTime()
        return agent_pb2.CancelRunResponse(run=fake.run)

    async def RespondToRun(self, request: Any, context: Any) -> Any:
        self._enter(context)
        fake = self._find(request.run_id)
        if fake.run.status != run_pb2.RUN_STATUS_WAITING:
            raise StateError("the run doesn't wait for input", reason="RUN_NOT_WAITING")
        if fake.falls:
            fake.falls -= 1
            raise UnavailableError("the worker stops")
        await fake.append("input.received", {"text": request.text, "approve": request.approve})
        fake.questions_answered.append(request.question_seq)
        return agent_pb2.RespondToRunResponse(run=fake.run)
