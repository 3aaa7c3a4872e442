"""How the mesh's services reach each other."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from typing import TypeVar

import grpc
from google.protobuf.descriptor_pb2 import MethodOptions

from crewmesh.common.call_tracing import client_interceptors
from crewmesh.common.mesh_tls import TlsDirectory
from crewmesh.common.renewing_channel import RenewingChannel
from crewmesh.v1 import (
    agent_pb2,
    agent_pb2_grpc,
    audit_pb2,
    audit_pb2_grpc,
    budget_pb2,
    budget_pb2_grpc,
    crew_store_pb2,
    crew_store_pb2_grpc,
    delivery_pb2,
    delivery_pb2_grpc,
    file_pb2,
    file_pb2_grpc,
    identity_pb2,
    identity_pb2_grpc,
    limit_pb2,
    limit_pb2_grpc,
    run_store_pb2,
    run_store_pb2_grpc,
    session_pb2,
    session_pb2_grpc,
    session_store_pb2,
    session_store_pb2_grpc,
    tenant_pb2,
    tenant_pb2_grpc,
)

Call = TypeVar("Call", bound=grpc.aio.Call)

_MODULES = (
    agent_pb2,
    audit_pb2,
    budget_pb2,
    crew_store_pb2,
    delivery_pb2,
    file_pb2,
    identity_pb2,
    limit_pb2,
    run_store_pb2,
    session_pb2,
    session_store_pb2,
    tenant_pb2,
)


def repeatable_methods() -> list[dict[str, str]]:
    """Return the rpcs that may be sent again, in the form of gRPC's service config.

    They are those that the protos call idempotent, or free of side effects: calls that change
    nothing, or that carry what makes a repetition harmless, such as a lease's epoch or an event's
    number. Nothing else is ever sent twice. A stream is begun again only if it broke before its
    first message.
    """
    return [
        {"service": service.full_name, "method": method.name}
        for module in _MODULES
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
        if method.GetOptions().idempotency_level != MethodOptions.IDEMPOTENCY_UNKNOWN
    ]


_SERVICE_CONFIG = json.dumps(
    {
        "loadBalancingConfig": [{"round_robin": {}}],
        # Who says that it isn't serving gets no calls: it drains, or waits for its database.
        "healthCheckConfig": {"serviceName": ""},
        "methodConfig": [
            {
                "name": repeatable_methods(),
                "retryPolicy": {
                    "maxAttempts": 4,
                    "initialBackoff": "0.05s",
                    "maxBackoff": "1s",
                    "backoffMultiplier": 3,
                    # A server that stops cancels what it can't finish.
                    "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
                },
            }
        ],
    }
)

# What either side of a call may send ahead of its reader. By default gRPC raises this to
# megabytes a stream where it measures a fast network, and a client that doesn't read costs so
# much at every hop.
FLOW_CONTROL: Sequence[tuple[str, int]] = (
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 256 * 1024),
)

_OPTIONS: Sequence[tuple[str, str | int]] = (
    ("grpc.service_config", _SERVICE_CONFIG),
    ("grpc.enable_retries", 1),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    *FLOW_CONTROL,
    # Errors list every fault of what was sent.
    ("grpc.max_metadata_size", 256 * 1024),
    ("grpc.absolute_max_metadata_size", 256 * 1024),
    ("grpc.initial_reconnect_backoff_ms", 100),
    # A replica that is back must be found before the next one is restarted.
    ("grpc.max_reconnect_backoff_ms", 500),
)


@contextlib.contextmanager
def ending(call: Call) -> Iterator[Call]:
    """End a stream together with its reader.

    gRPC keeps what is neither read to its end nor cancelled, with all that has come of it, for as
    long as the process lives.
    """
    try:
        yield call
    finally:
        call.cancel()


def open_channel(target: str, tls: TlsDirectory | None = None, role: str = "") -> grpc.aio.Channel:
    """Return a channel that balances its calls over every address of `target`.

    `target` is a gRPC name: `dns:///store:8082`, `ipv4:127.0.0.1:1,127.0.0.1:2`. With `tls`, only
    a server whose certificate names `role` is spoken to.
    """
    interceptors = client_interceptors()
    if tls is None:
        return grpc.aio.insecure_channel(target, options=_OPTIONS, interceptors=interceptors)
    options = (*_OPTIONS, ("grpc.ssl_target_name_override", role))
    return RenewingChannel(target, tls, options, interceptors)


# The generated classes serve both kinds of channel, but name the blocking one's types.


def agent_stub(channel: grpc.aio.Channel) -> agent_pb2_grpc.AgentServiceAsyncStub:
    """Return a client of the agent workers."""
    return agent_pb2_grpc.AgentServiceStub(channel)  # type: ignore[return-value]


def run_store_stub(channel: grpc.aio.Channel) -> run_store_pb2_grpc.RunStoreServiceAsyncStub:
    """Return a client of the store's runs."""
    return run_store_pb2_grpc.RunStoreServiceStub(channel)  # type: ignore[return-value]


def identity_stub(channel: grpc.aio.Channel) -> identity_pb2_grpc.IdentityServiceAsyncStub:
    """Return a client of the store's identities."""
    return identity_pb2_grpc.IdentityServiceStub(channel)  # type: ignore[return-value]


def limit_stub(channel: grpc.aio.Channel) -> limit_pb2_grpc.LimitServiceAsyncStub:
    """Return a client of the store's limits."""
    return limit_pb2_grpc.LimitServiceStub(channel)  # type: ignore[return-value]


def file_stub(channel: grpc.aio.Channel) -> file_pb2_grpc.FileServiceAsyncStub:
    """Return a client of the store's files."""
    return file_pb2_grpc.FileServiceStub(channel)  # type: ignore[return-value]


def delivery_stub(channel: grpc.aio.Channel) -> delivery_pb2_grpc.DeliveryServiceAsyncStub:
    """Return a client of the store's webhooks."""
    return delivery_pb2_grpc.DeliveryServiceStub(channel)  # type: ignore[return-value]


def crew_store_stub(channel: grpc.aio.Channel) -> crew_store_pb2_grpc.CrewStoreServiceAsyncStub:
    """Return a client of the store's crews."""
    return crew_store_pb2_grpc.CrewStoreServiceStub(channel)  # type: ignore[return-value]


def audit_stub(channel: grpc.aio.Channel) -> audit_pb2_grpc.AuditServiceAsyncStub:
    """Return a client of the store's audit logs."""
    return audit_pb2_grpc.AuditServiceStub(channel)  # type: ignore[return-value]


def budget_stub(channel: grpc.aio.Channel) -> budget_pb2_grpc.BudgetServiceAsyncStub:
    """Return a client of the store's budgets."""
    return budget_pb2_grpc.BudgetServiceStub(channel)  # type: ignore[return-value]


def tenant_stub(channel: grpc.aio.Channel) -> tenant_pb2_grpc.TenantServiceAsyncStub:
    """Return a client of the store's secrets and policies."""
    return tenant_pb2_grpc.TenantServiceStub(channel)  # type: ignore[return-value]


def session_stub(channel: grpc.aio.Channel) -> session_pb2_grpc.SessionServiceAsyncStub:
    """Return a client of the agent workers' conversations."""
    return session_pb2_grpc.SessionServiceStub(channel)  # type: ignore[return-value]


def session_store_stub(
    channel: grpc.aio.Channel,
) -> session_store_pb2_grpc.SessionStoreServiceAsyncStub:
    """Return a client of the store's sessions."""
    return session_store_pb2_grpc.SessionStoreServiceStub(channel)  # type: ignore[return-value]
