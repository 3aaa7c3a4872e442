"""A small HTTP server that speaks the mesh's REST interface, with runs that follow a script."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

KEY = "cm_a-key-for-tests-0123456789abcdefghijkl"
BEGAN = datetime(2026, 11, 23, 6, 0, tzinfo=UTC)
RUN_ID = "0199aa3c-5f0e-7c41-9d0b-2f6f3f1f7a10"

CREW = {
    "name": "data-analyst",
    "description": "Answers a question about a data set.",
    "version": "1.0.0",
    "source": "built_in",
    "current_version": "1.0.0",
    "created_at": "2026-11-23T06:00:00.000000Z",
    "definition": {"name": "data-analyst", "description": "one\ntwo\n"},
    "inputs": {
        "type": "object",
        "properties": {
            "dataset": {"type": "string", "format": "dataset", "description": "What to look at."},
            "question": {"type": "string", "description": "What to find out."},
            "charts": {"type": "integer", "default": 2},
        },
        "required": ["dataset", "question"],
        "additionalProperties": False,
    },
    "agents": [{"role": "Analyst", "goal": "Find out.", "tools": ["query_sql"]}],
    "tasks": [
        {"name": "profile", "description": "Look.", "expected_output": "", "agent": "Analyst"},
        {"name": "answer", "description": "Tell.", "expected_output": "", "agent": "Writer"},
    ],
}

WORKER = {
    "id": "worker-1",
    "address": "127.0.0.1:1",
    "version": "0.1.0",
    "slots": 8,
    "free_slots": 6,
    "running": 2,
    "lease_age_seconds": 0.5,
    "started_at": "2026-11-23T06:00:00.000000Z",
    "last_seen_at": "2026-11-23T06:00:00.000000Z",
}


def event(
    seq: int,
    kind: str,
    payload: dict[str, Any] | None = None,
    *,
    at: float = 0.0,
    task: str | None = None,
    agent: str | None = None,
    attempt: int = 1,
) -> dict[str, Any]:
    """An event `at` seconds after the run's acceptance."""
    moment = (BEGAN + timedelta(seconds=at)).isoformat().replace("+00:00", "Z")
    return {
        "seq": seq,
        "run_id": RUN_ID,
        "at": moment,
        "attempt": attempt,
        "type": kind,
        "task": task,
        "agent": agent,
        "payload": payload or {},
    }


def a_whole_run() -> list[dict[str, Any]]:
    """What a run that goes well tells."""
    usage = {"prompt_tokens": 90, "completion_tokens": 30, "total_tokens": 120}
    first, second = {"task": "profile", "agent": "Analyst"}, {"task": "answer", "agent": "Writer"}
    steps: list[tuple[float, str, dict[str, Any], dict[str, str]]] = [
        (0.0, "run.queued", {"crew": "data-analyst", "crew_version": "1.0.0", "priority": 0}, {}),
        (0.1, "run.started", {"worker_id": "worker-1", "attempt": 1}, {}),
        (0.1, "task.started", {"index": 0, "total": 2, "description": "Look."}, first),
        (0.1, "agent.started", {}, first),
        (0.2, "llm.started", {"call_id": "l1", "model": "offline"}, first),
        (0.3, "llm.chunk", {"call_id": "l1", "text": "I shall look at ", "chunks": 4}, first),
        (0.4, "llm.chunk", {"call_id": "l1", "text": "the data.", "chunks": 2}, first),
        (
            0.5,
            "llm.completed",
            {"call_id": "l1", "model": "offline", "usage": usage, "duration_ms": 300},
            first,
        ),
        (
            0.6,
            "tool.started",
            {"call_id": "t1", "tool": "query_sql", "arguments": {"sql": "SELECT\n 1"}},
            first,
        ),
        (
            0.9,
            "tool.completed",
            {"call_id": "t1", "tool": "query_sql", "output": "1", "duration_ms": 300},
            first,
        ),
        (1.0, "agent.completed", {"output": "A row."}, first),
        (1.0, "task.completed", {"index": 0, "output": "A row.", "duration_ms": 900}, first),
        (1.0, "task.started", {"index": 1, "total": 2, "description": "Tell."}, second),
        (
            1.5,
            "artifact.created",
            {"id": "a1", "name": "chart.png", "media_type": "image/png", "size_bytes": 4200},
            second,
        ),
        (2.0, "task.completed", {"index": 1, "output": "# One", "duration_ms": 1000}, second),
        (
            2.1,
            "run.succeeded",
            {"output": "# One", "usage": {**usage, "model_calls": 1}, "duration_ms": 2000},
            {},
        ),
    ]
    return [
        event(seq, kind, payload, at=at, **whose)
        for seq, (at, kind, payload, whose) in enumerate(steps, start=1)
    ]


@dataclass
class ScriptedRun:
    """A run that tells `events`; then, unless it has ended, waits to be cancelled.

    A connection is cut after each number of events in `cuts`, in the middle of the next.
    """

    events: list[dict[str, Any]] = field(default_factory=a_whole_run)
    cuts: list[int] = field(default_factory=list)
    output: str = "# One"
    pause_seconds: float = 0.0
    cancelled: threading.Event = field(default_factory=threading.Event)
    connections: list[str | None] = field(default_factory=list)
    # Told the number of each connection, from 0.
    on_connection: Callable[[int], object] = lambda number: None

    @property
    def status(self) -> str:
        kind = str(self.events[-1]["type"])
        ended = kind in ("run.succeeded", "run.failed", "run.cancelled", "run.timed_out")
        return kind.removeprefix("run.") if ended else "running"


class FakeServer:
    """Listens for one mesh after another, since to start and stop takes longer than most tests."""

    def __init__(self) -> None:
        self.mesh: FakeMesh | None = None
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self._socket.listen()
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        config = uvicorn.Config(
            self._answer, interface="asgi3", lifespan="off", log_config=None, date_header=False
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True
        )
        self._thread.start()

    @contextlib.contextmanager
    def serving(self, mesh: FakeMesh) -> Iterator[FakeMesh]:
        """Be this mesh for a while."""
        mesh.url, self.mesh = self.url, mesh
        try:
            yield mesh
        finally:
            mesh.run.cancelled.set()
            self.mesh = None

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        self._socket.close()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            assert self.mesh is not None
            await self.mesh.app(scope, receive, send)


class FakeMesh:
    """A mesh; what it was asked is in `requests`, and its data in plain attributes."""

    def __init__(self) -> None:
        self.run = ScriptedRun()
        self.crew: dict[str, Any] = CREW
        self.requests: list[tuple[str, str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.queries: list[dict[str, str]] = []
        self.workers: list[dict[str, Any]] = [WORKER]
        self.pushed: list[bytes] = []
        self.datasets: list[dict[str, Any]] = []
        self.contents: dict[str, bytes] = {}
        self.limits: dict[str, Any] = {
            "max_running": None,
            "max_queued": 10_000,
            "crews": {},
            "max_requests_per_minute": None,
        }
        self.audit: list[dict[str, Any]] = []
        self.audit_head: dict[str, Any] | None = None
        self.budgets: list[dict[str, Any]] = []
        self.policy: dict[str, Any] = {"models": {"allowed": None}}
        self.problems: dict[str, list[Response]] = {}
        self.dependencies = {"store": "serving", "agent_worker": "serving"}
        self.version = "0.1.0"
        self.clock_ahead = timedelta()
        self.url = ""
        self.app = self._app()

    def asked(self, method: str, path: str) -> list[Any]:
        """The bodies of all requests of this kind."""
        return [body for m, p, body in self.requests if (m, p) == (method, path)]

    def _app(self) -> Starlette:
        routes = {
            ("GET", "/healthz"): self._health,
            ("GET", "/readyz"): self._ready,
            ("GET", "/openapi.json"): self._openapi,
            ("GET", "/v1/me"): self._me,
            ("PUT", "/v1/me/password"): self._nothing,
            ("GET", "/v1/users"): self._users,
            ("GET", "/v1/crews"): self._crews,
            ("GET", "/v1/crews/{name}"): self._get_crew,
            ("PUT", "/v1/crews/{name}"): self._put_crew,
            ("DELETE", "/v1/crews/{name}"): self._nothing,
            ("GET", "/v1/crews/{name}/versions"): self._versions,
            ("GET", "/v1/crews/{name}/diff"): self._diff,
            ("POST", "/v1/crews/{name}/rollback"): self._get_crew,
            ("GET", "/v1/tools"): self._tools,
            ("GET", "/v1/runs"): self._runs,
            ("POST", "/v1/runs"): self._start,
            ("GET", "/v1/runs/{id}"): self._get_run,
            ("GET", "/v1/runs/{id}/events"): self._events,
            ("GET", "/v1/runs/{id}/artifacts"): self._artifacts,
            ("POST", "/v1/runs/{id}/cancel"): self._cancel,
            ("POST", "/v1/runs/{id}/retry"): self._start,
            ("POST", "/v1/runs/{id}/input"): self._get_run,
            ("GET", "/v1/workers"): self._workers,
            ("GET", "/v1/datasets/{id}"): self._get_dataset,
            ("GET", "/v1/datasets/{id}/content"): self._dataset_content,
            ("GET", "/v1/artifacts/{id}"): self._artifact,
            ("GET", "/v1/datasets"): self._list_datasets,
            ("POST", "/v1/datasets"): self._put_dataset,
            ("DELETE", "/v1/datasets/{id}"): self._nothing,
            ("GET", "/v1/limits"): self._limits,
            ("GET", "/v1/audit"): self._audit,
            ("PUT", "/v1/limits"): self._set_limits,
            ("GET", "/v1/budgets"): self._list_budgets,
            ("PUT", "/v1/budgets"): self._set_budgets,
            ("GET", "/v1/policy"): self._get_policy,
            ("PUT", "/v1/policy"): self._set_policy,
            ("GET", "/v1/api-keys"): self._keys,
            ("POST", "/v1/api-keys"): self._create_key,
            ("DELETE", "/v1/api-keys/{id}"): self._nothing,
        }
        return Starlette(
            routes=[
                Route(path, self._checked(answer), methods=[method])
                for (method, path), answer in routes.items()
            ]
        )

    def _checked(self, answer: Any) -> Any:
        async def respond(request: Request) -> Response:
            body: Any = None
            if request.headers.get("content-type", "").startswith("application/json"):
                body = json.loads(await request.body())
            self.requests.append((request.method, request.url.path, body))
            self.headers.append(dict(request.headers))
            self.queries.append(dict(request.query_params))
            response: Response
            if waiting := self.problems.get(request.url.path):
                response = waiting.pop(0)
            elif request.url.path.startswith("/v1/") and not self._knows(request):
                response = problem(401, "invalid_credentials", "the key is unknown or revoked")
            else:
                response = await answer(request)
            now = datetime.now(UTC) + self.clock_ahead
            response.headers["Date"] = format_datetime(now, usegmt=True)
            return response

        return respond

    def _knows(self, request: Request) -> bool:
        return request.headers.get("authorization") == f"Bearer {KEY}"

    async def _health(self, request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def _ready(self, request: Request) -> Response:
        ready = all(state == "serving" for state in self.dependencies.values())
        return JSONResponse(
            {"ready": ready, "dependencies": self.dependencies}, 200 if ready else 503
        )

    async def _openapi(self, request: Request) -> Response:
        return JSONResponse({"info": {"version": self.version}})

    async def _me(self, request: Request) -> Response:
        return JSONResponse(
            {
                "user": {"id": "u1", "email": "owner@localhost"},
                "org": {"id": "o1", "name": "default"},
                "role": "owner",
                "key": {"id": "k1", "scopes": []},
                "permissions": ["keys.own", "runs.read"],
            }
        )

    async def _crews(self, request: Request) -> Response:
        return JSONResponse({"items": [self.crew], "next_cursor": None})

    async def _get_crew(self, request: Request) -> Response:
        if request.path_params["name"] != self.crew["name"]:
            return problem(404, "not_found", "no such crew")
        return JSONResponse(self.crew)

    async def _put_crew(self, request: Request) -> Response:
        self.pushed.append(await request.body())
        crew = self.crew | {"name": request.path_params["name"], "version": "3"}
        return JSONResponse(crew | {"changed": len(self.pushed) == 1})

    async def _versions(self, request: Request) -> Response:
        version = {"created_at": event(1, "")["at"], "created_by": "u1"}
        version["created_by_email"] = "owner@localhost"
        items = [
            version | {"version": "2", "current": False},
            version | {"version": "1", "current": True},
        ]
        return JSONResponse({"items": items, "next_cursor": None})

    async def _diff(self, request: Request) -> Response:
        query = request.query_params
        answer = {"name": "mine", "from": query.get("from", "1"), "to": query.get("to", "2")}
        diff = "" if answer["from"] == answer["to"] else "--- a\n+++ b\n-\x1b[2Jx\n"
        return JSONResponse(answer | {"diff": diff})

    async def _tools(self, request: Request) -> Response:
        schema = {
            "properties": {"sql": {"type": "string", "description": "The query."}, "n": {}},
            "required": ["sql"],
        }
        tool = {"name": "query_sql", "description": "Runs SQL.", "side_effects": True}
        return JSONResponse({"items": [tool | {"arguments": schema}], "next_cursor": None})

    async def _start(self, request: Request) -> Response:
        return JSONResponse(self._run_json() | {"status": "queued"}, 202)

    async def _runs(self, request: Request) -> Response:
        more = "next" if request.query_params.get("limit") == "1" else None
        return JSONResponse({"items": [self._run_json()], "next_cursor": more})

    async def _get_run(self, request: Request) -> Response:
        if request.path_params["id"] != RUN_ID:
            return problem(404, "not_found", "no such run")
        return JSONResponse(self._run_json())

    def _run_json(self) -> dict[str, Any]:
        status = self.run.status
        last = self.run.events[-1]
        tasks = [{"name": t["name"], "agent": t["agent"]} for t in self.crew["tasks"]]
        times = {"status": "completed", "output": "A row.", "started_at": None, "finished_at": None}
        return {
            "id": RUN_ID,
            "crew": self.crew["name"],
            "crew_version": "1.0.0",
            "status": status,
            "inputs": {"dataset": "d1", "question": "Which?"},
            "output": self.run.output if status == "succeeded" else None,
            "output_json": None,
            "error": last["payload"] if status == "failed" else None,
            "attempt": 1,
            "max_attempts": 3,
            "usage": {"total_tokens": 120, "model_calls": 1},
            "worker_id": "worker-1",
            "last_seq": last["seq"],
            "tasks": [task | times for task in tasks],
            "created_at": event(1, "")["at"],
            "started_at": event(1, "", at=0.1)["at"],
            "finished_at": last["at"] if status != "running" else None,
        }

    async def _events(self, request: Request) -> Response:
        if "text/event-stream" not in request.headers["accept"]:
            after = int(request.query_params["after"])
            rest = [each for each in self.run.events if each["seq"] > after]
            return JSONResponse({"items": rest, "next_cursor": None})
        last_seen = request.headers.get("last-event-id")
        self.run.on_connection(len(self.run.connections))
        self.run.connections.append(last_seen)
        return StreamingResponse(self._stream(int(last_seen or 0)), media_type="text/event-stream")

    async def _stream(self, after: int) -> AsyncIterator[str]:
        cut = self.run.cuts.pop(0) if self.run.cuts else None
        yield ": hello\n\n"
        sent = 0
        while True:
            for each in [e for e in self.run.events if e["seq"] > after]:
                text = f"id: {each['seq']}\nevent: {each['type']}\ndata: {json.dumps(each)}\n\n"
                if sent == cut:
                    yield text[: len(text) // 2]
                    raise ConnectionResetError("cut by the script")
                await asyncio.sleep(self.run.pause_seconds)
                yield text
                sent, after = sent + 1, each["seq"]
            if self.run.status != "running":
                return
            await asyncio.to_thread(self.run.cancelled.wait)
            self.run.events.append(event(after + 1, "run.cancelled", {"reason": "asked"}, at=9))

    async def _cancel(self, request: Request) -> Response:
        self.run.cancelled.set()
        return JSONResponse(self._run_json())

    async def _artifacts(self, request: Request) -> Response:
        item = {"id": "a1", "name": "chart.png", "media_type": "image/png"}
        return JSONResponse({"items": [item | {"url": "/v1/artifacts/a1"}], "next_cursor": None})

    async def _artifact(self, request: Request) -> Response:
        return Response(b"\x89PNG", media_type="image/png")

    async def _list_datasets(self, request: Request) -> Response:
        return JSONResponse({"items": self.datasets, "next_cursor": None})

    async def _put_dataset(self, request: Request) -> Response:
        async with request.form() as form:
            content = await form["file"].read()
            dataset = {
                "id": str(uuid.uuid4()),
                "name": form["name"],
                "media_type": form["file"].content_type,
                "size_bytes": len(content),
                "sha256": "",
                "created_at": event(1, "")["at"],
            }
        self.datasets.append(dataset)
        self.contents[str(dataset["id"])] = content
        return JSONResponse(dataset, 201)

    async def _get_dataset(self, request: Request) -> Response:
        return JSONResponse(next(d for d in self.datasets if d["id"] == request.path_params["id"]))

    async def _dataset_content(self, request: Request) -> Response:
        return Response(self.contents[request.path_params["id"]])

    async def _workers(self, request: Request) -> Response:
        queue = {"queued": 2, "running": 2, "waiting": 0, "oldest_queued_at": None}
        fleet = {"items": self.workers, "next_cursor": None, "lease_seconds": 15}
        return JSONResponse(fleet | {"queue": queue})

    async def _limits(self, request: Request) -> Response:
        return JSONResponse(self.limits)

    async def _set_limits(self, request: Request) -> Response:
        self.limits = await request.json()
        return JSONResponse(self.limits)

    async def _audit(self, request: Request) -> Response:
        after = int(request.query_params.get("cursor", 0))
        rest = [entry for entry in self.audit if entry["seq"] > after]
        page = rest[:2]
        cursor = str(page[-1]["seq"]) if len(rest) > len(page) else None
        return JSONResponse({"items": page, "next_cursor": cursor, "head": self.audit_head})

    async def _keys(self, request: Request) -> Response:
        key = {"id": "k1", "name": "first", "prefix": "cm_abcd", "scopes": ["*"]}
        times = {"created_at": event(1, "")["at"], "last_used_at": None, "revoked_at": None}
        return JSONResponse({"items": [key | times], "next_cursor": None})

    async def _users(self, request: Request) -> Response:
        ci = {"id": "u2", "email": "ci@example.org", "name": "CI", "role": "operator"}
        more = {"service_account": True, "created_at": event(1, "")["at"]}
        return JSONResponse({"items": [ci | more], "next_cursor": None})

    async def _list_budgets(self, request: Request) -> Response:
        gone = {"spent_tokens": 5, "spent_usd": 0.5, "reserved_tokens": 1, "reserved_usd": 0.25}
        return JSONResponse({"items": [budget | gone for budget in self.budgets]})

    async def _set_budgets(self, request: Request) -> Response:
        self.budgets = (await request.json())["items"]
        return await self._list_budgets(request)

    async def _get_policy(self, request: Request) -> Response:
        return JSONResponse(self.policy)

    async def _set_policy(self, request: Request) -> Response:
        self.policy = await request.json()
        return JSONResponse(self.policy)

    async def _create_key(self, request: Request) -> Response:
        return JSONResponse({"id": "k2", "name": "ci", "secret": "cm_new"}, 201)

    async def _nothing(self, request: Request) -> Response:
        return Response(status_code=204)


def problem(
    status: int, code: str, detail: str, *, headers: dict[str, str] | None = None, **more: Any
) -> Response:
    """An RFC 9457 answer."""
    content = {"status": status, "title": "", "detail": detail, "code": code, "request_id": "r1"}
    return JSONResponse(
        content | more, status, headers=headers, media_type="application/problem+json"
    )
