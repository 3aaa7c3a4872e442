"""Who may do what, whole."""

from __future__ import annotations

import pytest
from google.protobuf.descriptor import FileDescriptor

from crewmesh.common.access import access_to
from crewmesh.common.permissions import (
    ALL_PERMISSIONS,
    PERMISSIONS_BY_ROLE,
    RUN_ROLE,
    permissions_of,
    unknown_scopes,
)
from crewmesh.v1 import agent_pb2, file_pb2, identity_pb2, run_store_pb2

EVERYTHING = ("*",)

# v viewer, o operator, d developer, a admin, w owner
TABLE = {
    "artifacts.read": "vodaw",
    "audit.read": "oaw",
    "budgets.read": "vodaw",
    "budgets.write": "aw",
    "crews.read": "vodaw",
    "crews.write": "daw",
    "datasets.read": "vodaw",
    "datasets.write": "daw",
    "keys.manage": "aw",
    "keys.own": "vodaw",
    "limits.read": "vodaw",
    "limits.write": "oaw",
    "owners.write": "w",
    "policy.read": "vodaw",
    "policy.write": "aw",
    "profile.write": "vodaw",
    "runs.answer": "odaw",
    "runs.cancel": "odaw",
    "runs.read": "vodaw",
    "runs.start": "odaw",
    "secrets.read": "daw",
    "secrets.write": "daw",
    "sessions.read": "vodaw",
    "sessions.write": "odaw",
    "usage.read": "vodaw",
    "users.read": "aw",
    "users.write": "aw",
    "workers.read": "vodaw",
}
LETTERS = {"viewer": "v", "operator": "o", "developer": "d", "admin": "a", "owner": "w"}
SERVICES: list[FileDescriptor] = [
    agent_pb2.DESCRIPTOR,
    file_pb2.DESCRIPTOR,
    identity_pb2.DESCRIPTOR,
    run_store_pb2.DESCRIPTOR,
]
RPCS = [
    f"/{service.full_name}/{method.name}"
    for file in SERVICES
    for service in file.services_by_name.values()
    for method in service.methods
]


def test_the_table_is_whole() -> None:
    assert set(TABLE) == ALL_PERMISSIONS
    assert set(LETTERS) == set(PERMISSIONS_BY_ROLE)


@pytest.mark.parametrize("role", PERMISSIONS_BY_ROLE)
def test_a_role_permits_what_the_table_says_and_nothing_else(role: str) -> None:
    permitted = {p for p, roles in TABLE.items() if LETTERS[role] in roles}
    assert permissions_of(role, EVERYTHING) == permitted


def test_a_run_may_read_its_data_and_store_its_files() -> None:
    assert permissions_of(RUN_ROLE, EVERYTHING) == {"datasets.read", "artifacts.write"}


def test_an_unknown_role_permits_nothing() -> None:
    assert permissions_of("root", EVERYTHING) == set()


@pytest.mark.parametrize(
    ("scopes", "expected"),
    [
        (("runs.read",), {"runs.read"}),
        (("runs.*",), {"runs.read"}),
        (("runs.read", "usage.read"), {"runs.read", "usage.read"}),
        (("users.write",), set()),
        (("run",), set()),
        (("*.read",), set()),
        ((), set()),
    ],
)
def test_scopes_only_narrow_what_a_role_permits(
    scopes: tuple[str, ...], expected: set[str]
) -> None:
    assert permissions_of("viewer", scopes) == expected


def test_scopes_that_cover_nothing_are_named() -> None:
    assert unknown_scopes(["runs.read", "runs.*", "*", "runs.fly", "nonsense"]) == [
        "runs.fly",
        "nonsense",
    ]


@pytest.mark.parametrize("rpc", RPCS)
def test_every_rpc_says_who_may_call_it(rpc: str) -> None:
    access = access_to(rpc)

    assert access.mesh_only != bool(access.permission)
    assert access.mesh_only or access.permission in {*ALL_PERMISSIONS, "artifacts.write"}
