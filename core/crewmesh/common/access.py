"""Who may call an rpc, as its proto says."""

from __future__ import annotations

from functools import cache

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor

from crewmesh.common.identity import Identity
from crewmesh.v1 import access_pb2


def check_access(method: str, identity: Identity) -> None:
    """Raise ForbiddenError unless `identity` may call `method` ("/crewmesh.v1.Service/Rpc")."""
    access = access_to(method)
    if access.mesh_only:
        identity.require_service()
    else:
        identity.require_org()
        identity.require(access.permission)


@cache
def access_to(method: str) -> access_pb2.Access:
    """Return what an rpc's `option (access)` says; nobody has the permission of one without."""
    service, _, name = method.removeprefix("/").rpartition("/")
    found: MethodDescriptor = (
        descriptor_pool.Default().FindServiceByName(service).methods_by_name[name]
    )
    access: access_pb2.Access = found.GetOptions().Extensions[access_pb2.access]
    return access
