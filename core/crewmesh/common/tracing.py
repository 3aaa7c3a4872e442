"""Traces, by OpenTelemetry: on only where an OTLP endpoint is set.

Off, nothing of OpenTelemetry is imported, and each function here returns at once. On, spans go to
that endpoint by OTLP over HTTP and nowhere else. Runners import this, so gRPC is elsewhere: see
`call_tracing`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

TRACEPARENT: Final = "traceparent"
# OpenTelemetry's own variables switch tracing on, too.
_STANDARD_VARIABLES: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_FLUSH_MS: Final = 3000


@dataclass(frozen=True)
class _Tracing:
    provider: TracerProvider
    tracer: Tracer


_on: _Tracing | None = None


def configure_tracing(service: str, version: str, endpoint: str) -> None:
    """Begin to trace, if there is an endpoint: this one, or that of OpenTelemetry's variables.

    `endpoint` is a collector's base address, such as http://otel-collector:4318.
    """
    global _on
    if _on is not None or not (endpoint or any(map(os.environ.get, _STANDARD_VARIABLES))):
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create({"service.name": f"crewmesh-{service}", "service.version": version})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces" if endpoint else None)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    _on = _Tracing(provider, provider.get_tracer("crewmesh", version))


async def stop_tracing() -> None:
    """Send what hasn't been sent yet, for some seconds at most."""
    global _on
    if _on is not None:
        provider, _on = _on.provider, None
        await asyncio.to_thread(provider.force_flush, _FLUSH_MS)
        await asyncio.to_thread(provider.shutdown)


def tracer() -> Tracer | None:
    """Return what makes spans; None while tracing is off."""
    return _on.tracer if _on is not None else None


def traceparent() -> str:
    """Return the current span as W3C's header names it; empty where there is none."""
    if _on is None:
        return ""
    from opentelemetry import trace

    here = trace.get_current_span().get_span_context()
    if not here.is_valid:
        return ""
    return f"00-{here.trace_id:032x}-{here.span_id:016x}-{here.trace_flags:02x}"


def ids() -> dict[str, str]:
    """Return the current trace's and span's ids, for a line of the log."""
    _, trace_id, span_id, *_ = (*traceparent().split("-"), "", "", "")
    return {"trace_id": trace_id, "span_id": span_id} if trace_id else {}


def context_of(parent: str) -> Context:
    """Return the context in which a span's parent is that of a `traceparent`, if it is one."""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({TRACEPARENT: parent})


@contextlib.contextmanager
def serving(name: str, parent: str, attributes: Mapping[str, Any]) -> Iterator[Span | None]:
    """Trace the serving of a request whose header `traceparent` was this, or empty."""
    if _on is None:
        yield None
        return
    from opentelemetry.trace import SpanKind

    with _on.tracer.start_as_current_span(
        name,
        context_of(parent),
        SpanKind.SERVER,
        attributes,
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        yield span


@contextlib.contextmanager
def calling_database(system: str) -> Iterator[None]:
    """Trace a call of the database that a traced request makes; no other call."""
    if _on is None or not traceparent():
        yield
        return
    from opentelemetry.trace import SpanKind

    with _on.tracer.start_as_current_span(
        system, kind=SpanKind.CLIENT, attributes={"db.system.name": system}
    ):
        yield


def set_failed(span: Span, error_type: str) -> None:
    """Mark a span as failed; with OpenTelemetry's `error.type`."""
    from opentelemetry.trace import StatusCode

    span.set_attribute("error.type", error_type)
    span.set_status(StatusCode.ERROR)
