"""What happens around every request: its id, its log line, its counts, the last resort."""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from typing import Any

import structlog
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crewmesh.common import tracing
from crewmesh.common.errors import UnavailableError
from crewmesh_gateway.authentication import WATCHED_PATHS
from crewmesh_gateway.metrics import WEB_SOCKET, Metrics
from crewmesh_gateway.problems import CLIENT_GONE, REQUEST_ID_KEY, problem_of_error, unexpected
from crewmesh_gateway.standing import standing_headers

log = structlog.get_logger(__name__)

_SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_NO_ROUTE = "unmatched"
_SWITCHING_PROTOCOLS = 101
_FORBIDDEN = 403
_SERVER_ERROR = 500
# Nobody guesses another type than the one that is said, and no address is told to other sites.
_SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)


class RequestMiddleware:
    """Names each request, logs one line for it, counts it, and answers for lost errors."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "websocket":
            await self._serve_socket(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = scope[REQUEST_ID_KEY] = _request_id(headers.get("x-request-id"))
        structlog.contextvars.bind_contextvars(request_id=request_id)
        status = CLIENT_GONE

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] += [
                    (b"x-request-id", request_id.encode()),
                    *_SECURITY_HEADERS,
                    *standing_headers(scope),
                ]
            await send(message)

        started = time.perf_counter()
        parent = headers.get(tracing.TRACEPARENT, "")
        with tracing.serving(scope["method"], parent, {}) as span:
            try:
                await self._app(scope, receive, send_named)
            except asyncio.CancelledError:
                # The gateway stops, and this request took longer than it may then.
                if status == CLIENT_GONE:
                    stopping = UnavailableError("the gateway is stopping")
                    await problem_of_error(stopping, scope)(scope, receive, send_named)
            except Exception:
                log.exception("unexpected error")
                if status == CLIENT_GONE:
                    await unexpected(scope)(scope, receive, send_named)
            finally:
                if span is not None:
                    _describe(span, scope, request_id, status)
                method, seconds = scope["method"], time.perf_counter() - started
                self._metrics.count_request(method, _route_of(scope), status, seconds)
                _log(scope, method, status, seconds)

    async def _serve_socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a web socket, whose line and counts are its handshake's, when it has closed."""
        request_id = scope[REQUEST_ID_KEY] = _request_id(Headers(scope=scope).get("x-request-id"))
        structlog.contextvars.bind_contextvars(request_id=request_id)
        status = CLIENT_GONE
        close_code: int | None = None

        async def receive_noted() -> Message:
            nonlocal close_code
            message = await receive()
            if message["type"] == "websocket.disconnect":
                close_code = message.get("code")
            return message

        async def send_noted(message: Message) -> None:
            nonlocal status, close_code
            if message["type"] == "websocket.accept":
                status = _SWITCHING_PROTOCOLS
            elif message["type"] == "websocket.http.response.start":
                status = message["status"]
            elif message["type"] == "websocket.close":
                close_code = message.get("code")
                if status == CLIENT_GONE:
                    status = _FORBIDDEN  # as the server answers a handshake that is refused
            await send(message)

        started = time.perf_counter()
        try:
            with self._metrics.open_sockets.track_inprogress():
                await self._app(scope, receive_noted, send_noted)
        except Exception:
            log.exception("unexpected error")
            raise
        finally:
            self._metrics.count_socket(_route_of(scope), status)
            _log(scope, WEB_SOCKET, status, time.perf_counter() - started, close_code=close_code)


def _log(scope: Scope, method: str, status: int, seconds: float, **more: Any) -> None:
    """Write a request's one line."""
    route = _route_of(scope)
    line: dict[str, Any] = {
        **_ids_of(scope),
        "method": method,
        "route": route,
        "status": status,
        "duration_ms": round(seconds * 1000, 2),
        **more,
    }
    if route in WATCHED_PATHS:  # a line for each would drown the others
        log.debug("request", **line)
    else:
        log.info("request", **line)


def _route_of(scope: Scope) -> str:
    """Return the path's template, of which there are few."""
    route: str = getattr(scope.get("route"), "path_format", _NO_ROUTE)
    return route


def _describe(span: Any, scope: Scope, request_id: str, status: int) -> None:
    """Give a request's span its name, by its route, and what OpenTelemetry's conventions tell."""
    route = _route_of(scope)
    span.update_name(f"{scope['method']} {route}")
    span.set_attributes(
        {
            "http.request.method": scope["method"],
            "http.route": route,
            "http.response.status_code": status,
            "crewmesh.request.id": request_id,
        }
    )
    if status >= _SERVER_ERROR:
        tracing.set_failed(span, str(status))


def _ids_of(scope: Scope) -> dict[str, str]:
    """Return the run that a request is about, where its path names one."""
    run_id = scope.get("path_params", {}).get("run_id")
    return {"run_id": run_id} if run_id else {}


def _request_id(given: str | None) -> str:
    if given is not None and _SANE_REQUEST_ID.fullmatch(given):
        return given
    return uuid.uuid4().hex
