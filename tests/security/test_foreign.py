"""Another organisation's things: for every role, route and rpc they aren't there."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc
import psycopg
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message_factory import GetMessageClass

from crewmesh.common.identity import Identity
from crewmesh.common.permissions import PERMISSIONS_BY_ROLE
from crewmesh_store.identity.credentials import hash_of, prefix_of
from tests.integration.gateway.test_permissions import ROUTES
from tests.security.cases import crew
from tests.security.conftest import Front, serving_front
from tests.security.counts import count
from tests.security.rpcs import OUTSIDE, call, methods

# They make something of the caller's own, whoever else has one of that name.
MADE_BY_NAME = {("put", "/v1/crews/{name}"), ("put", "/v1/secrets/{name}")}


@dataclass
class Tenants:
    """Two organisations: what the first has, by the routes' parameters, and who the second is."""

    front: Front
    things: dict[str, str]
    # Of the second's people, by role: an API key, and who they are.
    keys: dict[str, str]
    people: dict[str, Identity]


@pytest.fixture(scope="module")
async def tenants(
    postgres: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Tenants]:
    async with serving_front(postgres, tmp_path_factory.mktemp("tenants")) as front:
        things = await fill(front)
        keys, people = strangers(front)
        yield Tenants(front, things, keys, people)


async def fill(front: Front) -> dict[str, str]:
    """Have the first organisation make one of everything."""

    async def make(method: str, path: str, **content: Any) -> Any:
        answer = await front.http.request(method, path, **content)
        assert answer.status_code < 300, answer.text
        return answer.json()

    run = await make("POST", "/v1/runs", json={"crew": "hello", "inputs": {"topic": "x"}})
    session = await make("POST", "/v1/sessions", json={"crew": "assistant"})
    file = {"file": ("ours.csv", b"a,b\n1,2\n", "text/csv")}
    dataset = await make("POST", "/v1/datasets", files=file)
    key = await make("POST", "/v1/api-keys", json={"name": "ours"})
    person = {"email": "ours@example.org", "role": "viewer"}
    user = await make("POST", "/v1/users", json=person)
    await make("PUT", "/v1/secrets/OUR_KEY", json={"value": "a value of ours"})
    yaml = {"Content-Type": "application/json"}
    await make("PUT", "/v1/crews/ours", content=crew().encode(), headers=yaml)
    return {
        "run_id": run["id"],
        "session_id": session["id"],
        "dataset_id": dataset["id"],
        "key_id": key["id"],
        "user_id": user["id"],
        "artifact_id": run["id"],
    }


def strangers(front: Front) -> tuple[dict[str, str], dict[str, Identity]]:
    keys, people = {}, {}
    with psycopg.connect(front.database_url, autocommit=True) as connection:
        org = one(connection, "INSERT INTO orgs (name) VALUES ('b') RETURNING id")
        for role in PERMISSIONS_BY_ROLE:
            keys[role] = f"cm_{secrets.token_urlsafe(32)}"
            user = one(
                connection,
                "INSERT INTO users (org_id, email, role) VALUES (%s, %s, %s) RETURNING id",
                *(org, f"{role}@b.example", role),
            )
            one(
                connection,
                "INSERT INTO api_keys (org_id, user_id, name, prefix, secret_hash) "
                "VALUES (%s, %s, 'k', %s, %s) RETURNING id",
                *(org, user, prefix_of(keys[role]), hash_of(keys[role])),
            )
            people[role] = Identity("api_gateway", str(org), str(user), role)
    return keys, people


def one(connection: Any, statement: str, *parameters: Any) -> Any:
    return connection.execute(statement, parameters).fetchone()[0]


@pytest.mark.parametrize("role", PERMISSIONS_BY_ROLE)
async def test_no_route_shows_or_changes_them(tenants: Tenants, role: str) -> None:
    before = everything(tenants)
    headers = {"Authorization": f"Bearer {tenants.keys[role]}"}
    expected, seen = {}, {}
    for (method, path), (permission, body) in ROUTES.items():
        nobodys = (method != "get" and "{" not in path) or path == "/v1/tools"
        if nobodys or (method, path) in MADE_BY_NAME:
            continue
        concrete = path.replace("/secrets/{name}", "/secrets/OUR_KEY").replace("{name}", "ours")
        content = {} if body is None else {"json": body}
        answer = await tenants.front.http.request(
            method.upper(), concrete.format(**tenants.things), headers=headers, **content
        )
        may = permission is None or permission in PERMISSIONS_BY_ROLE[role]
        expected[method, path] = 403 if not may else 404 if "{" in path else 200
        seen[method, path] = answer.status_code
        assert not [
            name
            for name, value in tenants.things.items()
            if value in answer.text and "{" not in path
        ]
    count("foreign tenant: routes by role", len(seen))
    assert seen == expected
    assert everything(tenants) == before


@pytest.mark.parametrize("role", PERMISSIONS_BY_ROLE)
async def test_no_rpc_shows_or_changes_them(tenants: Tenants, role: str) -> None:
    before = everything(tenants)
    calls = 0
    for method in methods():
        names = [
            field.name
            for field in method.input_type.fields
            if field.type == FieldDescriptor.TYPE_STRING
            and field.message_type is None
            and (field.name.endswith("id") or field.name == "id_or_name")
        ]
        for value in set(tenants.things.values()) if names else ():
            message = GetMessageClass(method.input_type)(**dict.fromkeys(names, value))
            outside = method.containing_service.name in OUTSIDE
            metadata = (
                (("authorization", f"Bearer {tenants.keys[role]}"),)
                if outside
                else tenants.front.store.signer.metadata(tenants.people[role])
            )
            code, answer = await call(tenants.front, method, message, metadata)
            calls += 1
            assert code != grpc.StatusCode.OK or value.encode() not in answer, method.full_name
    count("foreign tenant: rpcs by role", calls)
    assert everything(tenants) == before


def everything(tenants: Tenants) -> list[Any]:
    """Return the first organisation's rows, but for when a key was last used."""
    with psycopg.connect(tenants.front.database_url) as connection:
        first = one(connection, "SELECT org_id FROM runs WHERE id = %s", tenants.things["run_id"])
        return [
            connection.execute(
                f"SELECT to_jsonb(t) - 'last_used_at' FROM {table} t "  # type: ignore[arg-type]
                "WHERE org_id = %s ORDER BY 1",
                [first],
            ).fetchall()
            for table in ("runs", "sessions", "datasets", "users", "secrets", "crews", "api_keys")
        ]
