"""Who did what."""

from __future__ import annotations

from typing import Annotated, Literal

import orjson
from fastapi import APIRouter, Query
from starlette.responses import Response

from crewmesh.common.run_json import JsonObject
from crewmesh.v1.audit_pb2 import AuditEntry, ListAuditEntriesRequest
from crewmesh_gateway import schemas
from crewmesh_gateway.bodies import JsonRoute
from crewmesh_gateway.openapi import problems
from crewmesh_gateway.params import SEQ, Limit
from crewmesh_gateway.relay import RequestRelay
from crewmesh_gateway.responses import Json

router = APIRouter(tags=["audit"], route_class=JsonRoute)


@router.get(
    "/v1/audit",
    summary="Show the audit log",
    responses={200: {"model": schemas.AuditPage}, **problems(422)},
)
async def list_entries(
    relay: RequestRelay,
    limit: Limit = 50,
    cursor: Annotated[
        str | None, Query(pattern=SEQ, description="`next_cursor` of the page before.")
    ] = None,
    order: Annotated[
        Literal["asc", "desc"], Query(description="As it happened, or the newest first.")
    ] = "desc",
) -> Response:
    """List who changed what in the organisation.

    Each entry's `hash` is SHA-256 of the hash before it and `entry`, so one that is changed or
    missing shows; `crewmesh audit verify` looks for them.
    """
    request = ListAuditEntriesRequest(page_size=limit)
    if order == "asc":
        request.after_seq = int(cursor or 0)
    else:
        request.before_seq = int(cursor or 0)
    answer = await relay.call(relay.mesh.audit.ListAuditEntries, request)
    head = {"seq": answer.head_seq, "hash": answer.head_hash.hex()} if answer.head_seq else None
    return Json(
        {
            "items": [_entry_json(entry) for entry in answer.entries],
            "next_cursor": str(answer.entries[-1].seq) if answer.more else None,
            "head": head,
        }
    )


def _entry_json(entry: AuditEntry) -> JsonObject:
    told = orjson.loads(entry.entry_json)
    return {
        "seq": entry.seq,
        **{name: told.get(name) for name in ("at", "actor", "action", "target", "changes")},
        "entry": entry.entry_json,
        "hash": entry.hash.hex(),
    }
