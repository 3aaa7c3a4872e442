"""Every route of the gateway, by every role: the services behind it let through whom they may."""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import httpx2
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

from crewmesh.common.errors import NotFoundError
from crewmesh.common.grpc_server import GrpcServer
from crewmesh.common.identity import IDENTITY_METADATA_KEY, Identity, IdentityVerifier
from crewmesh.common.permissions import PERMISSIONS_BY_ROLE
from crewmesh.v1 import identity_pb2
from tests.conftest import MESH_SECRET
from tests.integration.gateway.fake_mesh import FakeMesh, serving_gateway
from tests.protos import services

ID = str(uuid.uuid4())
JSON = "application/json"
# By route: the permission, and a body that the gateway takes. None: everybody who is signed in.
ROUTES: dict[tuple[str, str], tuple[str | None, Any]] = {
    ("get", "/v1/me"): (None, None),
    ("put", "/v1/me/password"): (
        "profile.write",
        {"current_password": "x", "new_password": "y" * 12},
    ),
    ("get", "/v1/api-keys"): ("keys.own", None),
    ("post", "/v1/api-keys"): ("keys.own", {"name": "k"}),
    ("delete", "/v1/api-keys/{key_id}"): ("keys.own", None),
    ("get", "/v1/users"): ("users.read", None),
    ("post", "/v1/users"): ("users.write", {"email": "a@example.org", "role": "viewer"}),
    ("get", "/v1/users/{user_id}"): ("users.read", None),
    ("patch", "/v1/users/{user_id}"): ("users.write", {"name": "A"}),
    ("delete", "/v1/users/{user_id}"): ("users.write", None),
    ("get", "/v1/crews"): ("crews.read", None),
    ("get", "/v1/crews/{name}"): ("crews.read", None),
    ("put", "/v1/crews/{name}"): ("crews.write", {"agents": {}, "tasks": {}}),
    ("delete", "/v1/crews/{name}"): ("crews.write", None),
    ("get", "/v1/crews/{name}/versions"): ("crews.read", None),
    ("get", "/v1/crews/{name}/diff"): ("crews.read", None),
    ("post", "/v1/crews/{name}/rollback"): ("crews.write", {"version": 1}),
    ("get", "/v1/tools"): ("crews.read", None),
    ("post", "/v1/runs"): ("runs.start", {"crew": "hello", "inputs": {}}),
    ("get", "/v1/runs"): ("runs.read", None),
    ("get", "/v1/runs/{run_id}"): ("runs.read", None),
    ("get", "/v1/runs/{run_id}/events"): ("runs.read", None),
    ("post", "/v1/runs/{run_id}/cancel"): ("runs.cancel", None),
    ("post", "/v1/runs/{run_id}/retry"): ("runs.start", None),
    ("post", "/v1/runs/{run_id}/input"): ("runs.answer", {"text": "yes"}),
    ("get", "/v1/runs/{run_id}/artifacts"): ("artifacts.read", None),
    ("get", "/v1/artifacts/{artifact_id}"): ("artifacts.read", None),
    ("post", "/v1/sessions"): ("sessions.write", {"crew": "assistant"}),
    ("get", "/v1/sessions"): ("sessions.read", None),
    ("get", "/v1/sessions/{session_id}"): ("sessions.read", None),
    ("delete", "/v1/sessions/{session_id}"): ("sessions.write", None),
    ("delete", "/v1/sessions/{session_id}/memory"): ("sessions.write", None),
    ("get", "/v1/sessions/{session_id}/messages"): ("sessions.read", None),
    ("post", "/v1/sessions/{session_id}/messages"): ("sessions.write", {"content": "hello"}),
    ("post", "/v1/datasets"): ("datasets.write", {"file": ("a.csv", b"a,b\n1,2\n", "text/csv")}),
    ("get", "/v1/datasets"): ("datasets.read", None),
    ("get", "/v1/datasets/{dataset_id}"): ("datasets.read", None),
    ("get", "/v1/datasets/{dataset_id}/content"): ("datasets.read", None),
    ("delete", "/v1/datasets/{dataset_id}"): ("datasets.write", None),
    ("get", "/v1/workers"): ("workers.read", None),
    ("get", "/v1/limits"): ("limits.read", None),
    ("put", "/v1/limits"): ("limits.write", {"max_running": 1, "max_queued": 1, "crews": {}}),
    ("get", "/v1/budgets"): ("budgets.read", None),
    ("put", "/v1/budgets"): ("budgets.write", {"items": []}),
    ("get", "/v1/audit"): ("audit.read", None),
    ("get", "/v1/usage"): ("usage.read", None),
    ("get", "/v1/policy"): ("policy.read", None),
    ("put", "/v1/policy"): ("policy.write", {}),
    ("get", "/v1/secrets"): ("secrets.read", None),
    ("get", "/v1/secrets/{name}"): ("secrets.read", None),
    ("put", "/v1/secrets/{name}"): ("secrets.write", {"value": "v"}),
    ("delete", "/v1/secrets/{name}"): ("secrets.write", None),
}
# Asked by who has no credential yet, or by what watches the gateway.
OPEN = {
    ("post", "/v1/auth/token"),
    ("post", "/v1/auth/refresh"),
    ("post", "/v1/auth/logout"),
    ("get", "/v1/auth/session"),
    ("post", "/v1/auth/session"),
    ("delete", "/v1/auth/session"),
    ("post", "/v1/auth/session/renew"),
    ("get", "/v1/auth/providers"),
    ("get", "/v1/auth/oidc/start"),
    ("get", "/v1/auth/oidc/callback"),
    ("get", "/.well-known/jwks.json"),
    ("get", "/healthz"),
    ("get", "/readyz"),
    ("get", "/metrics"),
}


class EmptyMesh:
    """Every rpc of the mesh behind the real interceptor; who is let through finds nothing.

    A credential is a role's name.
    """

    def __init__(self) -> None:
        self.server = GrpcServer(self._authenticate)
        for service in services():
            handlers = {method.name: self._handler(method) for method in service.methods}
            self.server.add(
                lambda handler, server: server.add_generic_rpc_handlers((handler,)),
                grpc.method_handlers_generic_handler(service.full_name, handlers),
                service.full_name,
            )

    @staticmethod
    async def _authenticate(metadata: Mapping[str, str], _address: str) -> Identity:
        return IdentityVerifier(MESH_SECRET).verify(metadata[IDENTITY_METADATA_KEY])

    def _handler(self, method: MethodDescriptor) -> Any:
        async def answer(request: Any, context: Any) -> Any:
            if method.name == "Authenticate":
                return identity_pb2.AuthenticateResponse(
                    principal=identity_pb2.Principal(
                        user_id=ID, org_id=ID, org_name="o", email="e", scopes=["*"],
                        role=request.credential,
                    )
                )  # fmt: skip
            if method.client_streaming:
                async for _ in request:
                    pass
            raise NotFoundError("there is nothing here")

        async def answer_stream(request: Any, context: Any) -> AsyncIterator[Any]:
            raise NotFoundError("there is nothing here")
            yield

        make = {
            (False, False): grpc.unary_unary_rpc_method_handler,
            (False, True): grpc.unary_stream_rpc_method_handler,
            (True, False): grpc.stream_unary_rpc_method_handler,
            (True, True): grpc.stream_stream_rpc_method_handler,
        }[method.client_streaming, method.server_streaming]
        return make(
            answer_stream if method.server_streaming else answer,
            GetMessageClass(method.input_type).FromString,
            lambda message: message.SerializeToString(),
        )


@pytest.fixture(scope="module")
async def empty() -> AsyncIterator[httpx2.AsyncClient]:
    mesh = EmptyMesh()
    target = f"ipv4:127.0.0.1:{await mesh.server.start('127.0.0.1:0')}"
    await mesh.server.set_serving(True)
    async with serving_gateway(FakeMesh(worker_target=target, store_target=target)) as served:
        yield served.client
    await mesh.server.stop(0)


async def test_every_route_is_in_the_table(empty: httpx2.AsyncClient) -> None:
    paths = (await empty.get("/openapi.json")).json()["paths"]
    assert {(method, path) for path, methods in paths.items() for method in methods} == {
        *ROUTES,
        *OPEN,
    }


def test_the_reference_says_what_each_route_takes() -> None:
    page = Path(__file__).parents[3] / "docs" / "reference" / "permissions.md"
    said = {
        (method.lower(), path): row.split("`")[1]
        for row in page.read_text(encoding="utf-8").splitlines()
        for method, path in re.findall(r"`([A-Z]+) (/\S+)`", row)
    }
    assert said == {route: permission for route, (permission, _) in ROUTES.items() if permission}


@pytest.mark.parametrize("role", PERMISSIONS_BY_ROLE)
async def test_a_role_gets_through_where_the_table_says_and_nowhere_else(
    empty: httpx2.AsyncClient, role: str
) -> None:
    expected, seen = {}, {}
    for (method, path), (permission, body) in ROUTES.items():
        answer = await ask(empty, method, path, body, role)
        may = permission is None or permission in PERMISSIONS_BY_ROLE[role]
        expected[method, path] = 403 if not may else 200 if permission is None else 404
        seen[method, path] = answer.status_code
    assert seen == expected


# By query of GraphQL: the permission; None: everybody who is signed in.
QUERIES: dict[str, str | None] = {
    "me { role }": None,
    "crews { items { name } }": "crews.read",
    'crew(name: "hello") { name }': "crews.read",
    'crewVersions(name: "hello") { items { version } }': "crews.read",
    "runs { items { id } }": "runs.read",
    f'run(id: "{ID}") {{ id }}': "runs.read",
    "sessions { items { id } }": "sessions.read",
    f'session(id: "{ID}") {{ id }}': "sessions.read",
    "datasets { items { id } }": "datasets.read",
    'dataset(idOrName: "sales") { id }': "datasets.read",
    "workers { items { id } }": "workers.read",
    "budgets { period }": "budgets.read",
    "usage { totalTokens }": "usage.read",
    "users { items { id } }": "users.read",
    "apiKeys { id }": "keys.own",
}


async def test_every_query_of_graphql_is_in_the_table(empty: httpx2.AsyncClient) -> None:
    query = "{ __schema { queryType { fields { name } } } }"
    answer = await graphql(empty, query, "viewer")
    fields = {field["name"] for field in answer["data"]["__schema"]["queryType"]["fields"]}
    assert fields == {re.split(r"[ (]", query)[0] for query in QUERIES}


@pytest.mark.parametrize("role", PERMISSIONS_BY_ROLE)
async def test_a_role_asks_by_graphql_what_it_asks_by_rest(
    empty: httpx2.AsyncClient, role: str
) -> None:
    expected, seen = {}, {}
    for query, permission in QUERIES.items():
        answer = await graphql(empty, f"{{ {query} }}", role)
        may = permission is None or permission in PERMISSIONS_BY_ROLE[role]
        expected[query] = 403 if not may else None if permission is None else 404
        errors = answer.get("errors", [])
        seen[query] = errors[0]["extensions"]["status"] if errors else None
    assert seen == expected


async def graphql(client: httpx2.AsyncClient, query: str, role: str) -> Any:
    headers = {"Authorization": f"Bearer {role}"}
    return (await client.post("/graphql", json={"query": query}, headers=headers)).json()


async def test_without_a_credential_no_route_is_open(empty: httpx2.AsyncClient) -> None:
    for (method, path), (_, body) in ROUTES.items():
        assert (await ask(empty, method, path, body, None)).status_code == 401


async def ask(
    client: httpx2.AsyncClient, method: str, path: str, body: Any, role: str | None
) -> httpx2.Response:
    concrete = path.replace("/secrets/{name}", "/secrets/A_KEY").replace("{name}", "hello")
    for parameter in ("key", "user", "run", "artifact", "session", "dataset"):
        concrete = concrete.replace(f"{{{parameter}_id}}", ID)
    content = {} if body is None else {"files" if "file" in body else "json": body}
    request = client.build_request(method, concrete, **content)
    del request.headers["Authorization"]
    if role is not None:
        request.headers["Authorization"] = f"Bearer {role}"
    return await client.send(request)
