"""Another organisation's things: for every role, route and rpc they aren't there."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import httpx2
import psycopg
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from crewmesh.common.grpc_client import agent_stub
from crewmesh.common.identity import Identity
from crewmesh.common.permissions import PERMISSIONS_BY_ROLE
from crewmesh.v1.agent_pb2 import ListToolsRequest
from crewmesh_store.identity.credentials import hash_of, prefix_of
from tests.integration.gateway.test_permissions import ROUTES
from tests.security.cases import crew
from tests.security.conftest import CREDENTIAL, Front, serving_front
from tests.security.counts import count
from tests.security.rpcs import OUTSIDE, call, methods

# They make something of the caller's own, whoever else has one of that name.
MADE_BY_NAME = {("put", "/v1/crews/{name}"), ("put", "/v1/secrets/{name}")}
# Those that name things in their bodies: one body for each way to name another's.
BY_BODY: dict[tuple[str, str], list[dict[str, Any]]] = {
    ("post", "/v1/runs"): [
        {"crew": "ours", "inputs": {}},
        {"crew": "assistant", "inputs": {}, "session_id": "{session_id}"},
        {"crew": "data-analyst", "inputs": {"data": "{dataset_id}", "question": "x"}},
        {"crew": "data-analyst", "inputs": {"data": "ours.csv", "question": "x"}},
    ],
    ("post", "/v1/sessions"): [{"crew": "ours"}],
    ("post", "/v1/api-keys"): [{"name": "theirs", "user_id": "{user_id}"}],
    ("put", "/v1/budgets"): [
        {"items": [{"api_key_id": "{key_id}", "period": "day", "max_tokens": 1}]}
    ],
}
# Those in which nobody's things can be named.
NAMING_NOTHING = {
    ("put", "/v1/me/password"),
    ("post", "/v1/users"),
    ("post", "/v1/datasets"),
    ("put", "/v1/limits"),
    ("put", "/v1/policy"),
}
# What no answer to another organisation may have, besides ids.
OUR_TEXTS = ("ours.csv", "ours@example.org", "a value of ours", "owner@localhost")

# Strings in rpcs that name things by id, and by name.
IDS = {"id", "id_or_name", "retry_of", "created_by"}
NAMES = {"name", "crew", "crews", "after_name"}
# Any others name nothing of anybody's.
TEXTS = {
    *("content", "crew_version", "current_password", "definition_json", "email", "from_version"),
    *("group_by", "idempotency_key", "inputs_json", "known_version", "media_type", "message"),
    *("models", "new_password", "page_token", "password", "policy_json", "reason", "role"),
    *("scopes", "secret", "task", "text", "title", "to_version", "traceparent", "types", "url"),
    *("value", "version", "webhook"),
}


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
        # A process tells what tools there are, once; it imports all of them.
        await agent_stub(front.agents).ListTools(
            ListToolsRequest(), metadata=CREDENTIAL, timeout=100
        )
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


def test_each_route_that_changes_something_is_known_to_name_things_or_not() -> None:
    """Of a new one, say above which: the other routes are asked whatever they are."""
    changing = {(method, path) for method, path in ROUTES if method != "get" and "{" not in path}
    assert changing == {*BY_BODY, *NAMING_NOTHING}


def test_each_string_of_an_rpc_is_known_to_name_things_or_not() -> None:
    """Of a new one, say above which: all that names something is tried."""
    names = {field.name for method in methods() for field in strings(method.input_type)}
    assert {name for name in names if not is_id(name)} - IDS == NAMES | TEXTS


@pytest.mark.parametrize("role", PERMISSIONS_BY_ROLE)
async def test_no_route_shows_or_changes_them(tenants: Tenants, role: str) -> None:
    before = everything(tenants)
    headers = {"Authorization": f"Bearer {tenants.keys[role]}"}
    expected, seen = {}, {}
    for (method, path), (permission, body) in ROUTES.items():
        if (method, path) in {*BY_BODY, *NAMING_NOTHING, *MADE_BY_NAME}:
            continue
        content = {} if body is None else {"json": body}
        answer = await ask(tenants, method, path, headers, **content)
        may = permission is None or permission in PERMISSIONS_BY_ROLE[role]
        expected[method, path] = 403 if not may else 404 if "{" in path else 200
        seen[method, path] = answer.status_code
        assert "{" in path or not ours_in(tenants, answer.text), path
    count("foreign tenant: routes by role", len(seen))
    assert seen == expected
    assert everything(tenants) == before


@pytest.mark.parametrize("role", PERMISSIONS_BY_ROLE)
async def test_no_body_names_them(tenants: Tenants, role: str) -> None:
    before = everything(tenants)
    headers = {"Authorization": f"Bearer {tenants.keys[role]}"}
    for (method, path), bodies in BY_BODY.items():
        permission = ROUTES[method, path][0]
        may = permission in PERMISSIONS_BY_ROLE[role]
        for body in bodies:
            named = json.dumps(body)
            for parameter, value in tenants.things.items():
                named = named.replace(f"{{{parameter}}}", value)
            answer = await ask(tenants, method, path, headers, json=json.loads(named))
            count("foreign tenant: bodies by role", 1)
            # It takes a further permission to make a key for somebody else, whoever that is.
            refusals = (403,) if not may else (403, 404) if "user_id" in body else (404, 422)
            assert answer.status_code in refusals, (path, answer.text)
    assert everything(tenants) == before


@pytest.mark.parametrize(("method", "path"), sorted(MADE_BY_NAME))
async def test_what_is_made_under_their_name_is_ones_own(
    tenants: Tenants, method: str, path: str
) -> None:
    before = everything(tenants)
    headers = {"Authorization": f"Bearer {tenants.keys['owner']}"}
    body = json.loads(crew()) if "crews" in path else {"value": "another's value"}
    assert (await ask(tenants, method, path, headers, json=body)).status_code < 300
    assert (await ask(tenants, "get", path, headers)).status_code == 200
    assert everything(tenants) == before
    assert (await ask(tenants, "delete", path, headers)).status_code < 300
    assert everything(tenants) == before


async def ask(
    tenants: Tenants, method: str, path: str, headers: dict[str, str], **content: Any
) -> httpx2.Response:
    concrete = path.replace("/secrets/{name}", "/secrets/OUR_KEY").replace("{name}", "ours")
    return await tenants.front.http.request(
        method.upper(), concrete.format(**tenants.things), headers=headers, **content
    )


@pytest.mark.parametrize("role", PERMISSIONS_BY_ROLE)
async def test_no_rpc_shows_or_changes_them(tenants: Tenants, role: str) -> None:
    before = everything(tenants)
    calls = 0
    for method in methods():
        outside = method.containing_service.name in OUTSIDE
        metadata = (
            (("authorization", f"Bearer {tenants.keys[role]}"),)
            if outside
            else tenants.front.store.signer.metadata(tenants.people[role])
        )
        for message in naming(method, tenants):
            code, answer = await call(tenants.front, method, message, metadata)
            calls += 1
            if code == grpc.StatusCode.OK:
                shown = ours_in(tenants, answer.decode(errors="replace"))
                assert not shown, (method.full_name, message)
    count("foreign tenant: rpcs by role", calls)
    assert everything(tenants) == before


def ours_in(tenants: Tenants, text: str) -> list[str]:
    return [ours for ours in (*tenants.things.values(), *OUR_TEXTS) if ours in text]


def naming(method: MethodDescriptor, tenants: Tenants) -> Iterator[Message]:
    """Yield messages that name the first organisation's things, and one that names nothing."""
    request = GetMessageClass(method.input_type)
    yield request()
    fields = list(strings(method.input_type))
    if any(is_id(field.name) for field in fields):
        for value in sorted({*tenants.things.values(), "ours.csv"}):
            yield filled(request(), is_id, value)
    if any(field.name in NAMES for field in fields):
        for value in ("ours", "OUR_KEY"):
            yield filled(request(), NAMES.__contains__, value)


def is_id(field: str) -> bool:
    return field in IDS or field.endswith(("_id", "_ids"))


def strings(message: Descriptor, *within: Descriptor) -> Iterator[FieldDescriptor]:
    """Yield the fields of strings, those of messages in it among them."""
    for field in message.fields:
        inner = field.message_type
        if field.type == FieldDescriptor.TYPE_STRING:
            yield field
        elif inner and inner not in within and not inner.full_name.startswith("google."):
            yield from strings(inner, message, *within)


def filled(message: Message, wanted: Callable[[str], bool], value: str) -> Message:
    """Put a value wherever a string of such a name can be, at any depth."""
    for field in message.DESCRIPTOR.fields:
        inner = field.message_type
        if field.type == FieldDescriptor.TYPE_STRING and wanted(field.name):
            if field.is_repeated:
                getattr(message, field.name).append(value)
            else:
                setattr(message, field.name, value)
        elif inner and any(wanted(one.name) for one in strings(inner)):
            into = getattr(message, field.name)
            filled(into.add() if field.is_repeated else into, wanted, value)
    return message


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
