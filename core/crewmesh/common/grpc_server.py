"""How the mesh's services serve gRPC: health, errors as rich statuses, keepalive."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping
from contextvars import ContextVar
from typing import Any
from urllib.parse import unquote

import grpc
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status

from crewmesh.common import tracing
from crewmesh.common.access import access_to, check_access, request_type
from crewmesh.common.errors import (
    CrewmeshError,
    InvalidInputError,
    UnauthenticatedError,
    UnavailableError,
    error_from_rpc,
    status_from_error,
)
from crewmesh.common.grpc_client import FLOW_CONTROL
from crewmesh.common.identity import IDENTITY_METADATA_KEY, INVALID_IDENTITY, Identity
from crewmesh.common.mesh_tls import TlsDirectory, role_of_peer
from crewmesh.common.message_checks import check_message, decoding
from crewmesh.common.metrics import CallMetrics

# Names the outside request in the logs of every service that works on it.
REQUEST_ID_METADATA_KEY = "x-request-id"

log = structlog.get_logger(__name__)

_OPTIONS = (
    ("grpc.so_reuseport", 0),
    # Without an age limit, clients would never find replicas that came later.
    ("grpc.max_connection_age_ms", 300_000),
    ("grpc.max_connection_age_grace_ms", 3_600_000),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    *FLOW_CONTROL,
)


# Errors travel in the trailing metadata, of which a client takes 8 KiB unless told otherwise;
# the mesh's own channels are (see grpc_client).
_ANYONES_FAULTS_BYTES = 5 * 1024
_MESH_FAULTS_BYTES = 96 * 1024

# Takes a call's metadata and the network address that it comes from ("" where there is none), and
# returns who makes it, or raises UnauthenticatedError.
Authenticate = Callable[[Mapping[str, str], str], Awaitable[Identity]]

_caller: ContextVar[Identity] = ContextVar("caller")


def caller() -> Identity:
    """Return who makes the call that is being served."""
    return _caller.get()


def calling() -> Identity | None:
    """Return who makes the call that is being served, None outside of one."""
    return _caller.get(None)


@contextlib.contextmanager
def acting_as(identity: Identity) -> Iterator[None]:
    """Have what is done meanwhile count as done in a call of this identity's."""
    token = _caller.set(identity)
    try:
        yield
    finally:
        _caller.reset(token)


class GrpcServer:
    """A gRPC server with the standard health service, which needs no credentials.

    Health says NOT_SERVING until `set_serving(True)`. `calls` counts what is answered.
    """

    def __init__(
        self,
        authenticate: Authenticate,
        *,
        reflect: bool = False,
        tls: TlsDirectory | None = None,
        peers: Collection[str] = (),
        calls: CallMetrics | None = None,
    ) -> None:
        """With `tls`, only certificates of `peers`' roles may bring the mesh's signed statements."""
        self._server = grpc.aio.server(
            interceptors=[_CallInterceptor(authenticate, None if tls is None else peers, calls)],
            options=_OPTIONS,
        )
        self._tls = tls
        self._health = HealthServicer()
        self._reflect = reflect
        self._services = ["grpc.health.v1.Health"]
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)

    def add(
        self, register: Callable[[Any, grpc.aio.Server], None], servicer: object, service: str
    ) -> None:
        """Register a servicer under its full name, such as `crewmesh.v1.AgentService`."""
        register(servicer, self._server)
        self._services.append(service)

    async def start(self, address: str) -> int:
        """Listen on `address` ("host:port", port 0 picks one) and return the port."""
        if self._reflect:
            reflection.enable_server_reflection(
                [*self._services, reflection.SERVICE_NAME], self._server
            )
        await self.set_serving(False)
        port = add_port(self._server, address, self._tls)
        await self._server.start()
        return port

    def add_public_port(self, address: str, tls: TlsDirectory) -> int:
        """Before the start: also listen where callers need no certificate of their own.

        They need an API key or a token there: what the mesh's services say of others is refused.
        """
        return add_port(self._server, address, tls, ask_clients=False)

    async def set_serving(self, serving: bool) -> None:
        """Tell health checks whether to send calls here."""
        status = (
            health_pb2.HealthCheckResponse.SERVING
            if serving
            else health_pb2.HealthCheckResponse.NOT_SERVING
        )
        for service in ["", *self._services]:
            await self._health.set(service, status)

    async def stop(self, grace_seconds: float) -> None:
        """Refuse new calls and give those under way `grace_seconds` to end."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace_seconds)


def add_port(
    server: grpc.aio.Server, address: str, tls: TlsDirectory | None, *, ask_clients: bool = True
) -> int:
    """Have a server listen on `address`, in plain text without `tls`; return the port."""
    if tls is None:
        return server.add_insecure_port(address)
    return server.add_secure_port(address, tls.server_credentials(ask_clients=ask_clients))


class _CallInterceptor(grpc.aio.ServerInterceptor):
    """Authenticates, authorises and checks each call; turns what is raised into a status.

    Counts and traces it, too.
    """

    def __init__(
        self,
        authenticate: Authenticate,
        peers: Collection[str] | None,
        calls: CallMetrics | None,
    ) -> None:
        self._authenticate = authenticate
        self._peers = peers
        self._calls = calls

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        handler = await continuation(handler_call_details)
        method: str = handler_call_details.method
        if handler is None or method.startswith("/grpc."):
            return handler
        check: Callable[[Any], Any] = _check_stream if handler.request_streaming else _checked
        deserializer = decoding(request_type(method), handler.request_deserializer)
        if access_to(method).trusted:
            check, deserializer = _unchecked, handler.request_deserializer

        async def answer(request: Any, context: Any) -> Any:
            behaviour = handler.stream_unary if handler.request_streaming else handler.unary_unary
            with self._observed(method, context, is_stream=handler.request_streaming):
                try:
                    await self._enter(method, context)
                    return await behaviour(check(request), context)
                except Exception as error:  # noqa: BLE001 - the boundary: every error becomes a status
                    await _abort(method, error, context)

        async def answer_stream(request: Any, context: Any) -> AsyncIterator[Any]:
            behaviour = handler.stream_stream if handler.request_streaming else handler.unary_stream
            with self._observed(method, context, is_stream=True):
                try:
                    await self._enter(method, context)
                    async with contextlib.aclosing(behaviour(check(request), context)) as responses:
                        async for response in responses:
                            yield response
                except Exception as error:  # noqa: BLE001 - the boundary: every error becomes a status
                    await _abort(method, error, context)

        make = _HANDLER_FACTORIES[handler.request_streaming, handler.response_streaming]
        return make(
            answer_stream if handler.response_streaming else answer,
            deserializer,
            handler.response_serializer,
        )

    @contextlib.contextmanager
    def _observed(self, method: str, context: Any, *, is_stream: bool) -> Iterator[None]:
        """Count the call, with the status that it ends with, and trace it if its caller does."""
        started = time.perf_counter()
        code = grpc.StatusCode.OK
        try:
            with _span_of_call(method, context) as span:
                try:
                    yield
                except BaseException as error:
                    code = _code_of(error, context)
                    if span is not None:
                        tracing.set_failed(span, code.name)
                    raise
        finally:
            if self._calls is not None:
                seconds = None if is_stream else time.perf_counter() - started
                self._calls.ended(method, code.name, seconds)

    async def _enter(self, method: str, context: Any) -> None:
        metadata = dict(context.invocation_metadata() or ())
        if request_id := metadata.get(REQUEST_ID_METADATA_KEY):
            structlog.contextvars.bind_contextvars(request_id=request_id)
        if self._peers is not None and IDENTITY_METADATA_KEY in metadata:
            _check_peer(role_of_peer(context.auth_context()), self._peers)
        identity = await self._authenticate(metadata, _address_of(context.peer()))
        if identity.org_id:
            structlog.contextvars.bind_contextvars(org_id=identity.org_id)
        check_access(method, identity)
        _caller.set(identity)


def _address_of(peer: str) -> str:
    """Return the address in gRPC's name of a peer, such as `ipv6:%5B::1%5D:50551`."""
    family, _, place = peer.partition(":")
    return unquote(place).rpartition(":")[0].strip("[]") if family.startswith("ip") else ""


def _check_peer(role: str, peers: Collection[str]) -> None:
    """Refuse a signed statement from one who isn't of the mesh, whatever it says."""
    if role not in peers:
        whose = f"the role {role!r}" if role else "none of the mesh's roles"
        raise UnauthenticatedError(
            f"the caller's certificate is of {whose}, and only {' and '.join(peers)} may speak for "
            "others here",
            reason=INVALID_IDENTITY,
        )


def _span_of_call(method: str, context: Any) -> contextlib.AbstractContextManager[Any]:
    """Trace a call that a traced one made, or one from outside; not the mesh's own errands."""
    if tracing.tracer() is None:
        return contextlib.nullcontext()
    parent = dict(context.invocation_metadata() or ()).get(tracing.TRACEPARENT, "")
    if not parent and not method.startswith(_EDGES):
        return contextlib.nullcontext()
    name = method.lstrip("/")
    return tracing.serving(name, parent, {"rpc.system": "grpc", "rpc.method": name})


def _code_of(error: BaseException, context: Any) -> grpc.StatusCode:
    """Return the status with which a call ends that was left by this error."""
    if isinstance(error, (asyncio.CancelledError, GeneratorExit)):
        return grpc.StatusCode.CANCELLED
    return _CODES.get(context.code(), grpc.StatusCode.UNKNOWN)


_CODES = {key: code for code in grpc.StatusCode for key in (code, code.value[0])}
# Where traces begin that nobody outside has begun.
_EDGES = ("/crewmesh.v1.AgentService/", "/crewmesh.v1.SessionService/")


def _checked(request: Any) -> Any:
    """Return a request that a servicer may see; raise InvalidInputError for any other."""
    if isinstance(request, InvalidInputError):
        raise request
    check_message(request)
    return request


async def _check_stream(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for request in requests:
        yield _checked(request)


def _unchecked(request: Any) -> Any:
    return request


# By (request streams, response streams).
_HANDLER_FACTORIES: dict[tuple[bool, bool], Callable[..., Any]] = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


async def _abort(method: str, error: Exception, context: Any) -> None:
    if isinstance(error, grpc.aio.AbortError):
        raise error
    if isinstance(error, grpc.aio.AioRpcError):
        error = error_from_rpc(error)
    if not isinstance(error, CrewmeshError):
        log.error("unexpected error", method=method, exc_info=error)
        error = CrewmeshError("internal error; the service's log has it, by time and method")
    if isinstance(error, UnavailableError):
        log.warning("unavailable", method=method, reason=error.reason, detail=error.message)
    ours = IDENTITY_METADATA_KEY in dict(context.invocation_metadata() or ())
    status = status_from_error(error, _MESH_FAULTS_BYTES if ours else _ANYONES_FAULTS_BYTES)
    await context.abort_with_status(rpc_status.to_status(status))


def request_metadata() -> tuple[tuple[str, str], ...]:
    """Return what names the outside request, for calls that are made on its account."""
    request_id = structlog.contextvars.get_contextvars().get("request_id")
    return ((REQUEST_ID_METADATA_KEY, request_id),) if request_id else ()


@contextlib.contextmanager
def rpc_errors() -> Iterator[None]:
    """Raise a failed call's error as the class that the other side raised."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise error_from_rpc(error) from error
