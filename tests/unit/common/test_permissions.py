"""Who may do what, whole."""

from __future__ import annotations

import contextlib

import pytest
from grpc_health.v1 import health_pb2  # noqa: F401 - rpcs that say nothing

from crewmesh.common.access import access_to, check_access
from crewmesh.common.errors import ForbiddenError
from crewmesh.common.identity import Identity
from crewmesh.common.permissions import (
    ALL_PERMISSIONS,
    PERMISSIONS_BY_ROLE,
    RUN_ROLE,
    permissions_of,
    unknown_scopes,
)
from crewmesh.v1 import access_pb2
from tests.protos import services

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
    "limits.write": "aw",
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
# Of a run, which no role has.
OF_RUNS = {"artifacts.write"}
# By rpc; empty where only the mesh's own services may call it.
RPCS = {
    "AuditService/ListAuditEntries": "audit.read",
    "AgentService/ListCrews": "crews.read",
    "AgentService/GetCrew": "crews.read",
    "AgentService/PutCrew": "crews.write",
    "AgentService/DeleteCrew": "crews.write",
    "AgentService/ListCrewVersions": "crews.read",
    "AgentService/DiffCrew": "crews.read",
    "AgentService/RollbackCrew": "crews.write",
    "AgentService/ListTools": "crews.read",
    "AgentService/StartRun": "runs.start",
    "AgentService/RunCrew": "runs.start",
    "AgentService/RetryRun": "runs.start",
    "AgentService/WatchRun": "runs.read",
    "AgentService/ListRunEvents": "runs.read",
    "AgentService/GetRun": "runs.read",
    "AgentService/ListRuns": "runs.read",
    "AgentService/CancelRun": "runs.cancel",
    "AgentService/RespondToRun": "runs.answer",
    "BudgetService/ReserveBudget": "",
    "BudgetService/SettleBudget": "",
    "BudgetService/ListBudgets": "budgets.read",
    "BudgetService/PutBudgets": "budgets.write",
    "BudgetService/GetUsage": "usage.read",
    "CrewStoreService/PutStoredCrew": "crews.write",
    "CrewStoreService/GetStoredCrew": "crews.read",
    "CrewStoreService/ListStoredCrews": "crews.read",
    "CrewStoreService/ListStoredVersions": "crews.read",
    "CrewStoreService/SetCurrentVersion": "crews.write",
    "CrewStoreService/DeleteStoredCrew": "crews.write",
    "CrewStoreService/PublishCrews": "",
    "DeliveryService/ClaimDeliveries": "",
    "DeliveryService/ReportDelivery": "",
    "FileService/PutDataset": "datasets.write",
    "FileService/ListDatasets": "datasets.read",
    "FileService/GetDataset": "datasets.read",
    "FileService/ReadDataset": "datasets.read",
    "FileService/DeleteDataset": "datasets.write",
    "FileService/PutArtifact": "artifacts.write",
    "FileService/ListArtifacts": "artifacts.read",
    "FileService/ReadArtifact": "artifacts.read",
    "IdentityService/Authenticate": "",
    "IdentityService/SignIn": "",
    "IdentityService/SignInExternally": "",
    "IdentityService/RefreshTokens": "",
    "IdentityService/SignOut": "",
    "IdentityService/GetKeySet": "",
    "IdentityService/CreateApiKey": "keys.own",
    "IdentityService/ListApiKeys": "keys.own",
    "IdentityService/RevokeApiKey": "keys.own",
    "IdentityService/CreateUser": "users.write",
    "IdentityService/ListUsers": "users.read",
    "IdentityService/GetUser": "users.read",
    "IdentityService/UpdateUser": "users.write",
    "IdentityService/DeleteUser": "users.write",
    "IdentityService/ChangePassword": "profile.write",
    "LimitService/GetLimits": "limits.read",
    "LimitService/SetLimits": "limits.write",
    "LimitService/CountRequests": "",
    "RunStoreService/CreateRun": "runs.start",
    "RunStoreService/AttachWorker": "",
    "RunStoreService/RenewLeases": "",
    "RunStoreService/AppendEvents": "",
    "RunStoreService/RecordEffect": "",
    "RunStoreService/GetRun": "runs.read",
    "RunStoreService/BatchGetRuns": "runs.read",
    "RunStoreService/BatchListRuns": "runs.read",
    "RunStoreService/BatchListRunEvents": "runs.read",
    "FileService/BatchListArtifacts": "artifacts.read",
    "RunStoreService/ListRuns": "runs.read",
    "RunStoreService/ListRunEvents": "runs.read",
    "RunStoreService/WatchRun": "runs.read",
    "RunStoreService/CancelRun": "runs.cancel",
    "RunStoreService/RespondToRun": "runs.answer",
    "RunStoreService/ListWorkers": "workers.read",
    "SessionService/CreateSession": "sessions.write",
    "SessionService/GetSession": "sessions.read",
    "SessionService/ListSessions": "sessions.read",
    "SessionService/DeleteSession": "sessions.write",
    "SessionService/PostMessage": "sessions.write",
    "SessionService/ListMessages": "sessions.read",
    "SessionService/ForgetMemory": "sessions.write",
    "SessionStoreService/CreateSession": "sessions.write",
    "SessionStoreService/GetSession": "sessions.read",
    "SessionStoreService/ListSessions": "sessions.read",
    "SessionStoreService/DeleteSession": "sessions.write",
    "SessionStoreService/ListMessages": "sessions.read",
    "SessionStoreService/ForgetMemory": "sessions.write",
    "SessionStoreService/ReadMemories": "",
    "TenantService/PutSecret": "secrets.write",
    "TenantService/ListSecrets": "secrets.read",
    "TenantService/GetSecret": "secrets.read",
    "TenantService/DeleteSecret": "secrets.write",
    "TenantService/GetPolicy": "policy.read",
    "TenantService/PutPolicy": "policy.write",
}


def served() -> dict[str, access_pb2.Access]:
    """Every rpc of every proto, and what it says of itself."""
    return {
        f"{service.name}/{method.name}": access_to(f"/{service.full_name}/{method.name}")
        for service in services()
        for method in service.methods
    }


def test_the_table_is_whole() -> None:
    assert set(TABLE) == ALL_PERMISSIONS
    assert set(LETTERS) == set(PERMISSIONS_BY_ROLE)


@pytest.mark.parametrize("role", PERMISSIONS_BY_ROLE)
def test_a_role_permits_what_the_table_says_and_nothing_else(role: str) -> None:
    permitted = {p for p, roles in TABLE.items() if LETTERS[role] in roles}
    assert permissions_of(role, EVERYTHING) == permitted


def test_a_run_may_read_what_it_needs_and_store_its_files() -> None:
    assert permissions_of(RUN_ROLE, EVERYTHING) == {
        *("artifacts.read", "crews.read", "policy.read", "datasets.read", "runs.read"),
        *OF_RUNS,
    }


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


def test_every_rpc_says_who_may_call_it() -> None:
    assert {rpc: access.permission for rpc, access in served().items()} == RPCS
    assert all(access.mesh_only != bool(access.permission) for access in served().values())
    assert {*RPCS.values()} - {""} <= ALL_PERMISSIONS | OF_RUNS


@pytest.mark.parametrize("rpc", RPCS)
@pytest.mark.parametrize("role", [*PERMISSIONS_BY_ROLE, "", "root"])
def test_an_rpc_is_open_to_whom_the_table_says_and_to_nobody_else(rpc: str, role: str) -> None:
    may = LETTERS.get(role, "-") in TABLE.get(RPCS[rpc], "")
    refused = contextlib.nullcontext() if may else pytest.raises(ForbiddenError)
    with refused:
        check_access(f"/crewmesh.v1.{rpc}", Identity("api_gateway", "org", "somebody", role))


@pytest.mark.parametrize("rpc", RPCS)
def test_a_service_of_the_mesh_calls_for_itself_only_what_is_the_meshs(rpc: str) -> None:
    refused = pytest.raises(ForbiddenError) if RPCS[rpc] else contextlib.nullcontext()
    with refused:
        check_access(f"/crewmesh.v1.{rpc}", Identity("agent_worker"))


def test_an_rpc_that_says_nothing_is_closed() -> None:
    with pytest.raises(ForbiddenError):
        check_access("/grpc.health.v1.Health/Check", Identity("api_gateway", "org", "me", "owner"))
