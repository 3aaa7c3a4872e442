"""Traces the calls that a channel makes, where tracing is on.

Off, no interceptor is in any call's way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import grpc

from crewmesh.common import tracing

if TYPE_CHECKING:
    from opentelemetry.trace import Span


def client_interceptors() -> Sequence[grpc.aio.ClientInterceptor] | None:
    """Return what traces a channel's calls; None while tracing is off."""
    return (
        [_UnaryClient(), _StreamClient(), _UploadClient()] if tracing.tracer() is not None else None
    )


class _Client:
    """Traces calls that a traced request makes, from their start to their end.

    Calls that belong to no request (leases, logs of many runs) make no span. A span ends with its
    call, however that ends: a stream's reader may just go away.
    """

    async def _trace(self, proceed: Callable[[Any, Any], Any], details: Any, request: Any) -> Any:
        tracer = tracing.tracer()
        if tracer is None or not tracing.traceparent():
            return await proceed(details, request)
        from opentelemetry import trace

        name = details.method.decode().lstrip("/")
        attributes = {"rpc.system": "grpc", "rpc.method": name}
        span = tracer.start_span(name, kind=trace.SpanKind.CLIENT, attributes=attributes)
        with trace.use_span(span, end_on_exit=False):
            metadata = grpc.aio.Metadata(
                *(details.metadata or ()), (tracing.TRACEPARENT, tracing.traceparent())
            )
            call = await proceed(details._replace(metadata=metadata), request)
        call.add_done_callback(lambda _: _end_soon(span, call))
        return call


_ending: set[asyncio.Task[None]] = set()


def _end_soon(span: Span, call: Any) -> None:
    task = asyncio.ensure_future(_end(span, call))
    _ending.add(task)
    task.add_done_callback(_ending.discard)


async def _end(span: Span, call: Any) -> None:
    code = await call.code()
    if code is not grpc.StatusCode.OK:
        tracing.set_failed(span, code.name)
    span.end()


class _UnaryClient(_Client, grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        return await self._trace(continuation, details, request)


class _StreamClient(_Client, grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
        return await self._trace(continuation, details, request)


class _UploadClient(_Client, grpc.aio.StreamUnaryClientInterceptor):
    async def intercept_stream_unary(self, continuation: Any, details: Any, requests: Any) -> Any:
        return await self._trace(continuation, details, requests)
