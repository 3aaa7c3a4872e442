"""How clients reach the mesh: REST at its gateways, gRPC at its workers."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC
from typing import Any, Final, Protocol

import aiohttp
import grpc
from grpc_status import rpc_status

from crewmesh.common.errors import error_from_rpc
from crewmesh.common.grpc_client import agent_stub
from crewmesh.v1 import agent_pb2, run_pb2
from tests.chaos.client import Answer, Client, Json

# A client that isn't answered asks somebody else.
_CALL_SECONDS: Final = 15.0
# Over REST, the gateway says something every 15 s.
_SILENCE_SECONDS: Final = 20.0
_TRY_AGAIN_STATUSES: Final = frozenset({429, 502, 503, 504})
_TRY_AGAIN_CODES: Final = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    }
)
# What gRPC says itself of a connection that broke in the middle of something.
_BROKEN_CODES: Final = frozenset(
    {grpc.StatusCode.CANCELLED, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}
)


class UnreachableError(Exception):
    """Nobody answered, or nobody who could; it may be asked again."""


class RefusedError(Exception):
    """The mesh says no, with a reason such as `run_not_waiting`."""

    def __init__(self, reason: str, words: str) -> None:
        super().__init__(words)
        self.reason = reason


class Way(Protocol):
    """What a client can do. Everything raises UnreachableError and RefusedError."""

    async def start(self, client: Client) -> Json:
        """Start the client's run and return it."""

    def watch(self, run_id: str, after: int) -> AsyncGenerator[Json]:
        """Yield the run's events after a number, until the connection ends."""

    async def get(self, run_id: str) -> Json:
        """Return the run."""

    async def cancel(self, run_id: str) -> Json:
        """Cancel the run and return it."""

    async def respond(self, run_id: str, answer: Answer) -> Json:
        """Answer the run's question and return the run."""


class Rest:
    """The REST interface, at any of the gateways."""

    def __init__(
        self, http: aiohttp.ClientSession, urls: Sequence[str], rng: random.Random
    ) -> None:
        self._http = http
        self._urls = urls
        self._rng = rng

    async def start(self, client: Client) -> Json:
        body = {"crew": "chaos", "inputs": client.inputs, "max_attempts": client.max_attempts}
        headers = {"Idempotency-Key": client.key}
        return _object(await self._ask("POST", "/v1/runs", json=body, headers=headers))

    async def watch(self, run_id: str, after: int) -> AsyncGenerator[Json]:
        headers = {"Accept": "text/event-stream"}
        if after:
            headers["Last-Event-ID"] = str(after)
        timeout = aiohttp.ClientTimeout(total=None, sock_read=_SILENCE_SECONDS)
        url = f"{self._rng.choice(self._urls)}/v1/runs/{run_id}/events"
        try:
            async with self._http.get(url, headers=headers, timeout=timeout) as response:
                await _check(response)
                async for line in response.content:
                    if line.startswith(b"data: "):
                        yield json.loads(line[6:])
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UnreachableError from error

    async def get(self, run_id: str) -> Json:
        return _object(await self._ask("GET", f"/v1/runs/{run_id}"))

    async def cancel(self, run_id: str) -> Json:
        return _object(await self._ask("POST", f"/v1/runs/{run_id}/cancel", json={}))

    async def respond(self, run_id: str, answer: Answer) -> Json:
        body = {"text": answer.text, "approve": answer.approve, "question": answer.question}
        return _object(await self._ask("POST", f"/v1/runs/{run_id}/input", json=body))

    async def upload(self, name: str, content: bytes) -> str:
        """Store a dataset and return its id."""
        form = aiohttp.FormData()
        form.add_field("file", content, filename=name, content_type="text/csv")
        dataset = _object(await self._ask("POST", "/v1/datasets", data=form))
        return str(dataset["id"])

    async def download(self, path: str) -> bytes:
        """Return a file, such as `/v1/artifacts/ID`."""
        return await self._ask("GET", path)

    async def _ask(self, method: str, path: str, **what: Any) -> bytes:
        timeout = aiohttp.ClientTimeout(total=_CALL_SECONDS)
        url = self._rng.choice(self._urls) + path
        try:
            async with self._http.request(method, url, timeout=timeout, **what) as response:
                await _check(response)
                return await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UnreachableError from error


def _object(text: bytes) -> Json:
    answer: Json = json.loads(text)
    return answer


async def _check(response: aiohttp.ClientResponse) -> None:
    if response.status < 300:
        return
    if response.status in _TRY_AGAIN_STATUSES:
        raise UnreachableError
    text = await response.text()
    words = f"{response.method} {response.url.path}: {response.status} {text}"
    raise RefusedError(json.loads(text).get("code", ""), words)


class Grpc:
    """The gRPC interface, at any of the workers, as internal services use it."""

    def __init__(
        self, channels: Sequence[grpc.aio.Channel], api_key: str, rng: random.Random
    ) -> None:
        self._agents = [agent_stub(channel) for channel in channels]
        self._options: Any = {"metadata": (("authorization", f"Bearer {api_key}"),)}
        self._rng = rng

    async def start(self, client: Client) -> Json:
        request = agent_pb2.StartRunRequest(spec=_spec(client))
        return _run_json((await self._ask("StartRun", request)).run)

    async def run_crew(self, client: Client) -> AsyncGenerator[Json]:
        """Start the client's run and yield its events, until the connection ends."""
        request = agent_pb2.RunCrewRequest(spec=_spec(client))
        async for event in self._stream("RunCrew", request):
            yield event

    async def watch(self, run_id: str, after: int) -> AsyncGenerator[Json]:
        request = agent_pb2.WatchRunRequest(run_id=run_id, after_seq=after)
        async for event in self._stream("WatchRun", request):
            yield event

    async def get(self, run_id: str) -> Json:
        request = agent_pb2.GetRunRequest(run_id=run_id)
        return _run_json((await self._ask("GetRun", request)).run)

    async def cancel(self, run_id: str) -> Json:
        request = agent_pb2.CancelRunRequest(run_id=run_id)
        return _run_json((await self._ask("CancelRun", request)).run)

    async def respond(self, run_id: str, answer: Answer) -> Json:
        request = agent_pb2.RespondToRunRequest(
            run_id=run_id, text=answer.text, approve=answer.approve, question_seq=answer.question
        )
        return _run_json((await self._ask("RespondToRun", request)).run)

    async def _ask(self, method: str, request: Any) -> Any:
        call = getattr(self._rng.choice(self._agents), method)
        try:
            return await call(request, timeout=_CALL_SECONDS, **self._options)
        except grpc.aio.AioRpcError as error:
            raise _translated(method, error) from error

    async def _stream(self, method: str, request: Any) -> AsyncGenerator[Json]:
        call = getattr(self._rng.choice(self._agents), method)(request, **self._options)
        try:
            while True:
                async with asyncio.timeout(_SILENCE_SECONDS):
                    batch = await call.read()
                if batch is grpc.aio.EOF:
                    return
                for event in batch.events:
                    yield _event_json(event)
        except grpc.aio.AioRpcError as error:
            raise _translated(method, error) from error
        except TimeoutError as error:
            raise UnreachableError from error
        finally:
            call.cancel()


def _spec(client: Client) -> agent_pb2.RunSpec:
    return agent_pb2.RunSpec(
        crew="chaos",
        inputs_json=json.dumps(client.inputs),
        max_attempts=client.max_attempts,
        idempotency_key=client.key,
    )


def _translated(method: str, error: grpc.aio.AioRpcError) -> Exception:
    ours = rpc_status.from_call(error) is not None  # type: ignore[arg-type]  # it has the same methods
    if error.code() in _TRY_AGAIN_CODES or (error.code() in _BROKEN_CODES and not ours):
        return UnreachableError()
    reason = error_from_rpc(error).reason
    return RefusedError(reason.lower(), f"{method}: {reason} {error.details()}")


def _run_json(run: run_pb2.Run) -> Json:
    """Return what is compared of a run, as REST shows it."""
    status = run_pb2.RunStatus.Name(run.status).removeprefix("RUN_STATUS_").lower()
    return {
        "id": run.id,
        "status": status,
        "output": run.output if status == "succeeded" else None,
    }


def _event_json(event: run_pb2.RunEvent) -> Json:
    """Return an event as REST shows it."""
    return {
        "seq": event.seq,
        "run_id": event.run_id,
        "at": event.at.ToDatetime(tzinfo=UTC).isoformat(),
        "attempt": event.attempt,
        "type": event.type,
        "task": event.task or None,
        "agent": event.agent or None,
        "payload": json.loads(event.payload_json),
    }
