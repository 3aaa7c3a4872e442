"""The audit log at a real store: what is written, and what shows of tampering."""

from __future__ import annotations

import json
from typing import Any

import grpc
import psycopg
import pytest

from crewmesh.common.audit_chain import ChainVerifier, Entry
from crewmesh.common.grpc_client import audit_stub, budget_stub, tenant_stub
from crewmesh.common.identity import Identity
from crewmesh.v1 import (
    agent_pb2,
    audit_pb2,
    budget_pb2,
    identity_pb2,
    limit_pb2,
    tenant_pb2,
)
from tests.integration.conftest import StoreClient

PASSWORD = "correct horse battery staple"
SECRET = "sk-a-secret-that-must-not-be-told"


async def entries(store: StoreClient, after: int = 0) -> audit_pb2.ListAuditEntriesResponse:
    request = audit_pb2.ListAuditEntriesRequest(page_size=200, after_seq=after)
    return await audit_stub(store.channel).ListAuditEntries(request, metadata=store.person)


async def told(store: StoreClient, after: int = 0) -> list[dict[str, Any]]:
    return [json.loads(entry.entry_json) for entry in (await entries(store, after)).entries]


async def faults(store: StoreClient) -> list[int]:
    answer = await entries(store)
    chain = ChainVerifier()
    chain.check(Entry(e.seq, e.entry_json, e.hash) for e in answer.entries)
    chain.finish(Entry(answer.head_seq, "", answer.head_hash) if answer.head_seq else None)
    return [fault.seq for fault in chain.faults]


async def add_user(store: StoreClient, email: str, role: str = "developer") -> identity_pb2.User:
    request = identity_pb2.CreateUserRequest(email=email, role=role, password=PASSWORD)
    return (await store.identities.CreateUser(request, metadata=store.person)).user


async def test_what_people_change_is_told_with_who_changed_it(store: StoreClient) -> None:
    beginning = len(await told(store))
    user = await add_user(store, "ana@example.org")
    update = identity_pb2.UpdateUserRequest(id=user.id, role="viewer", password=PASSWORD + "!")
    await store.identities.UpdateUser(update, metadata=store.person)
    limits = limit_pb2.SetLimitsRequest(limits=limit_pb2.Limits(max_running=3, max_queued=9))
    await store.limits.SetLimits(limits, metadata=store.person)
    await tenant_stub(store.channel).PutPolicy(
        tenant_pb2.PutPolicyRequest(policy_json='{"hosts": {"allowed": ["a.example"]}}'),
        metadata=store.person,
    )
    await budget_stub(store.channel).PutBudgets(
        budget_pb2.PutBudgetsRequest(
            budgets=[
                budget_pb2.Budget(
                    period=budget_pb2.BUDGET_PERIOD_DAY,
                    limit=budget_pb2.BudgetLimit(max_tokens=5),
                )
            ]
        ),
        metadata=store.person,
    )
    remove = identity_pb2.DeleteUserRequest(id=user.id)
    await store.identities.DeleteUser(remove, metadata=store.person)

    log = (await told(store))[beginning:]
    assert [entry["action"] for entry in log] == [
        *("user.created", "user.changed", "organisation.changed"),
        *("policy.created", "budget.created", "user.deleted"),
    ]
    assert {entry["actor"]["user_id"] for entry in log} == {store.org.user_id}
    assert {entry["actor"]["role"] for entry in log} == {"owner"}
    assert log[0]["target"] == user.id
    assert log[0]["changes"]["email"] == "ana@example.org"
    assert log[1]["changes"] == {"role": ["developer", "viewer"], "password_hash": "changed"}
    assert log[2]["changes"] == {"max_running": [None, 3], "max_queued": [10_000, 9]}
    assert await faults(store) == []


async def test_the_first_organisation_and_its_owner_are_the_first_entries(
    store: StoreClient,
) -> None:
    log = await told(store)
    assert [entry["action"] for entry in log] == [
        *("organisation.created", "user.created", "api_key.created")
    ]
    assert [entry["seq"] for entry in log] == [1, 2, 3]


async def test_sign_ins_and_keys_are_told_and_nothing_secret_is(
    store: StoreClient, database_url: str
) -> None:
    user = await add_user(store, "ana@example.org")
    sign_in = identity_pb2.SignInRequest(email=user.email, password=PASSWORD)
    tokens = (await store.identities.SignIn(sign_in, metadata=store.service)).tokens
    sign_out = identity_pb2.SignOutRequest(refresh_token=tokens.refresh_token)
    await store.identities.SignOut(sign_out, metadata=store.service)
    create = identity_pb2.CreateApiKeyRequest(name="ci")
    key = await store.identities.CreateApiKey(create, metadata=store.person)
    revoke = identity_pb2.RevokeApiKeyRequest(id=key.api_key.id)
    for _ in range(2):
        await store.identities.RevokeApiKey(revoke, metadata=store.person)

    log = (await told(store))[-4:]
    assert [entry["action"] for entry in log] == [
        *("sign_in.created", "sign_in.changed", "api_key.created", "api_key.changed")
    ]
    assert log[0]["actor"]["user_id"] == user.id
    with psycopg.connect(database_url) as connection:
        hashes = connection.execute(
            "SELECT password_hash FROM users WHERE password_hash IS NOT NULL"
            " UNION SELECT encode(secret_hash, 'hex') FROM api_keys"
        ).fetchall()
    text = json.dumps(await told(store))
    for secret in (PASSWORD, key.secret, tokens.refresh_token, *(row[0] for row in hashes)):
        assert secret not in text


async def test_a_cancelled_run_is_told_and_its_life_is_not(store: StoreClient) -> None:
    beginning = len(await told(store))
    run = (await store.create()).run
    cancel = agent_pb2.CancelRunRequest(run_id=run.id, reason="enough")
    for _ in range(2):
        await store.runs.CancelRun(cancel, metadata=store.person)
    (entry,) = (await told(store))[beginning:]
    assert (entry["action"], entry["target"]) == ("run.changed", run.id)


async def test_a_change_that_fails_leaves_no_entry(store: StoreClient) -> None:
    await add_user(store, "ana@example.org")
    before = await told(store)
    with pytest.raises(grpc.aio.AioRpcError):
        await add_user(store, "ANA@example.org")
    assert await told(store) == before


async def test_who_changes_the_database_by_hand_is_told_too(
    store: StoreClient, database_url: str
) -> None:
    await add_user(store, "ana@example.org")
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE users SET role = 'owner' WHERE email = 'ana@example.org'")
        login = connection.info.user
    entry = (await told(store))[-1]
    assert entry["actor"]["login"] == login
    assert entry["changes"] == {"role": ["developer", "owner"]}


async def test_an_organisation_has_a_log_of_its_own(store: StoreClient, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        row = connection.execute("INSERT INTO orgs (name) VALUES ('b') RETURNING id").fetchone()
    assert row is not None
    store.org = Identity("api_gateway", str(row[0]), "somebody", "owner")
    assert [entry["org_id"] for entry in await told(store)] == [str(row[0])]


async def test_the_newest_come_first_page_by_page(store: StoreClient) -> None:
    for number in range(5):
        await add_user(store, f"u{number}@example.org")
    stub, seen, before = audit_stub(store.channel), [], 0
    while True:
        request = audit_pb2.ListAuditEntriesRequest(page_size=3, before_seq=before)
        page = await stub.ListAuditEntries(request, metadata=store.person)
        seen += [entry.seq for entry in page.entries]
        if not page.more:
            break
        before = seen[-1]
    assert seen == list(range(8, 0, -1))


CHANGES = [
    "UPDATE audit_log SET entry = '{}'",
    "DELETE FROM audit_log",
    "TRUNCATE audit_log",
    "DELETE FROM audit_heads",
]


@pytest.mark.parametrize("change", CHANGES)
async def test_the_database_refuses_to_change_the_log(
    store: StoreClient, database_url: str, change: str
) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="only grows"):
            connection.execute(change.encode())
        for role in ("crewmesh_mesh", "crewmesh_tenant"):
            connection.execute(f"SET ROLE {role}".encode())
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="denied"):
                connection.execute(change.encode())
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="denied"):
                connection.execute("INSERT INTO audit_log VALUES (uuidv7(), 1, '{}', '')")
            connection.execute("RESET ROLE")
    assert await faults(store) == []


@pytest.mark.parametrize(
    ("tampering", "faulty"),
    [
        (
            "UPDATE audit_log SET entry = replace(entry::text, 'ana', 'bob')::json WHERE seq = 4",
            [4],
        ),
        ("UPDATE audit_log SET hash = sha256('x') WHERE seq = 2", [2, 3]),
        ("DELETE FROM audit_log WHERE seq = 2", [2]),
        ("DELETE FROM audit_log WHERE seq >= 4", [4]),
        ("UPDATE audit_log SET seq = 9 WHERE seq = 4", [4, 6, 9, 5]),
        (
            "DELETE FROM audit_log WHERE seq = 5; UPDATE audit_heads SET seq = 4",
            [4],
        ),
    ],
)
async def test_what_a_superuser_does_to_the_log_shows(
    store: StoreClient, database_url: str, tampering: str, faulty: list[int]
) -> None:
    for name in ("ana", "eve"):
        await add_user(store, f"{name}@example.org")
    assert (await faults(store), len(await told(store))) == ([], 5)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(tampering.encode())
    assert await faults(store) == faulty
