"""Server-sent events: a run's log on the wire."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Iterable
from contextlib import AsyncExitStack

import orjson
import structlog
from starlette.responses import Response

from crewmesh.common.errors import CrewmeshError
from crewmesh.v1.run_pb2 import RunEvent
from crewmesh_gateway.relay import Relay
from crewmesh_gateway.responses import ByteStream
from crewmesh_gateway.translate import event_json
from crewmesh_gateway.watch import RunWatch

log = structlog.get_logger(__name__)

MEDIA_TYPE = "text/event-stream"
SILENCE_SECONDS = 15.0

_COMMENT = b":\n\n"
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


async def answer_events(relay: Relay, run_id: str, after_seq: int) -> Response:
    """Return a stream of a run's events after a number; 204 when none will ever come.

    A browser's EventSource takes a 204 as the order not to come again.
    """
    watch = RunWatch(relay, run_id, after_seq)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(watch.close)
        if not await watch.open():
            return Response(status_code=204)
        close = stack.pop_all().aclose
    return ByteStream(_stream(relay, watch), close, media_type=MEDIA_TYPE, headers=_HEADERS)


async def _stream(relay: Relay, watch: RunWatch) -> AsyncGenerator[bytes]:
    with relay.gateway.metrics.open_streams.track_inprogress():
        try:
            while (events := await watch.next_batch(SILENCE_SECONDS)) is not None:
                yield encode_events(events) if events else _COMMENT
        except CrewmeshError as error:
            # Too late to tell; the client comes again after the last event that it saw.
            log.warning("event stream given up", reason=error.reason, detail=error.message)


def encode_events(events: Iterable[RunEvent]) -> bytes:
    """Return events in the wire format of server-sent events."""
    return b"".join(
        b"id: %d\nevent: %b\ndata: %b\n\n"
        % (event.seq, _event_name(event.type), orjson.dumps(event_json(event)))
        for event in events
    )


@functools.lru_cache(maxsize=256)
def _event_name(event_type: str) -> bytes:
    return " ".join(event_type.splitlines()).encode()
