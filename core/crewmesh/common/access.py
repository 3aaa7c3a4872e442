"""Who may call an rpc, as its proto says."""

from __future__ import annotations

from functools import cache

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, MethodDescriptor

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
    access: access_pb2.Access = _descriptor_of(method).GetOptions().Extensions[access_pb2.access]
    return access


def request_type(method: str) -> Descriptor:
    """Return what an rpc is asked with."""
    return _descriptor_of(method).input_type


@cache
def _descriptor_of(method: str) -> MethodDescriptor:
    service, _, name = method.removeprefix("/").rpartition("/")
    found: MethodDescriptor = (
        descriptor_pool.Default().FindServiceByName(service).methods_by_name[name]
    )
    return found
