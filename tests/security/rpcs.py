"""Every rpc that is called on a person's behalf."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from crewmesh.common.access import access_to
from tests.protos import services
from tests.security.conftest import Front

# What workers serve; the rest is the store's, which the gateway calls for a person.
OUTSIDE = {"AgentService", "SessionService"}


def methods() -> Iterator[MethodDescriptor]:
    """Yield them all; the others are the mesh's own."""
    for service in services():
        for method in service.methods:
            if access_to(f"/{service.full_name}/{method.name}").permission:
                yield method


async def call(
    front: Front, method: MethodDescriptor, message: Message, metadata: Any
) -> tuple[grpc.StatusCode, bytes]:
    """Return an rpc's status and its (first) answer."""
    service = method.containing_service
    channel = front.agents if service.name in OUTSIDE else front.store.channel
    kind = [
        "stream" if streams else "unary"
        for streams in (method.client_streaming, method.server_streaming)
    ]
    rpc = getattr(channel, "_".join(kind))(
        f"/{service.full_name}/{method.name}",
        request_serializer=lambda asked: asked.SerializeToString(),
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
    asked = iter([message]) if method.client_streaming else message
    answer = rpc(asked, metadata=metadata, timeout=20)
    try:
        if not method.server_streaming:
            return grpc.StatusCode.OK, (await answer).SerializeToString()
        async for first in answer:
            answer.cancel()
            return grpc.StatusCode.OK, first.SerializeToString()
    except grpc.aio.AioRpcError as error:
        return error.code(), b""
    return grpc.StatusCode.OK, b""
