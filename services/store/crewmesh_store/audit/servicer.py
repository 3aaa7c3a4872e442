"""crewmesh.v1.AuditService."""

from __future__ import annotations

from typing import Any, Final

from crewmesh.common.grpc_server import caller
from crewmesh.v1 import audit_pb2, audit_pb2_grpc
from crewmesh_store.audit.repository import AuditRepository
from crewmesh_store.messages import page_bounds

# Postgres counts to there.
_MOST: Final = 2**63 - 1


class AuditServicer(audit_pb2_grpc.AuditServiceServicer):
    """An organisation's audit log, over gRPC."""

    def __init__(self, audit: AuditRepository) -> None:
        self._audit = audit

    async def ListAuditEntries(
        self, request: audit_pb2.ListAuditEntriesRequest, context: Any
    ) -> audit_pb2.ListAuditEntriesResponse:
        limit, _ = page_bounds(request.page_size, "")
        after = min(request.after_seq, _MOST) if request.HasField("after_seq") else None
        return await self._audit.list_page(
            caller().require_org(), after, min(request.before_seq, _MOST), limit
        )
