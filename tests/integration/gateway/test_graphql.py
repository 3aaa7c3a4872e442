"""GraphQL; where loaders matter, before a real store. Crews and runs' steps are fake workers'."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
import structlog
import websockets
from strawberry.utils.str_converters import to_camel_case
from websockets.asyncio.client import ClientConnection, connect

from crewmesh.v1 import agent_pb2, crew_pb2, file_pb2
from crewmesh_gateway import middleware, schemas
from crewmesh_gateway.graphql.context import Connection
from tests.conftest import API_KEY, until
from tests.integration.conftest import StoreClient, append, event
from tests.integration.gateway.fake_mesh import FakeMesh, ServedGateway, serving_gateway

PROTOCOL = "graphql-transport-ws"
NESTED = """
query ($limit: Int! = 20) {
  crews(limit: 10) { items { name runs(limit: $limit) {
    id status
    tasks { name events(limit: 10) { seq } }
    events(limit: 10) { seq type payload }
    artifacts { name url }
  } } }
}
"""


@pytest.fixture
async def stored(mesh: FakeMesh, store: StoreClient) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of a gateway before a real store, which takes seconds to set up."""
    mesh.store_target = f"ipv4:127.0.0.1:{store.port}"
    async with serving_gateway(mesh) as served:
        yield served.client


async def ask(client: httpx2.AsyncClient, query: str, **variables: Any) -> dict[str, Any]:
    response = await client.post("/graphql", json={"query": query, "variables": variables})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def make_runs(store: StoreClient, crew: str, count: int) -> None:
    """Make runs that have a log, whatever their worker."""
    for _ in range(count):
        await store.create(crew=crew)


def crews(*names: str) -> list[crew_pb2.Crew]:
    source = crew_pb2.CREW_SOURCE_UPLOADED
    return [crew_pb2.Crew(name=name, version="1", source=source) for name in names]


async def count_calls(
    client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch, query: str = NESTED
) -> tuple[Counter[str], dict[str, Any]]:
    made: Counter[str] = Counter()
    call = Connection.call

    async def counted(self: Connection, method: Any, request: Any, **more: Any) -> Any:
        made[type(request).__name__.removesuffix("Request")] += 1
        return await call(self, method, request, **more)

    with monkeypatch.context() as patched:
        patched.setattr(Connection, "call", counted)
        answer = await ask(client, query)
    return made, answer


async def test_each_level_is_one_call_however_much_there_is(
    mesh: FakeMesh,
    store: StoreClient,
    stored: httpx2.AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mesh.agents.crews = crews("a")
    await make_runs(store, "a", 1)
    few, _ = await count_calls(stored, monkeypatch)
    mesh.agents.crews = crews("a", "b", "c")
    for crew in ("a", "b", "c"):
        await make_runs(store, crew, 4)
    many, answer = await count_calls(stored, monkeypatch)
    levels = ("ListCrews", "BatchListRuns", "BatchGetRuns", "BatchListRunEvents")
    assert few == many == dict.fromkeys((*levels, "BatchListArtifacts"), 1)
    assert "errors" not in answer
    found = answer["data"]["crews"]["items"]
    assert [len(crew["runs"]) for crew in found] == [5, 4, 4]
    run = found[0]["runs"][0]
    assert run["events"][0] == {
        "seq": 1,
        "type": "run.queued",
        "payload": {"crew": "a", "crew_version": "1", "priority": 0},
    }


async def test_mutations_start_and_steer_runs(mesh: FakeMesh, client: httpx2.AsyncClient) -> None:
    start = """mutation ($key: String) {
      startRun(crew: "data-analyst", inputs: {question: "Why?"}, idempotencyKey: $key) { id inputs }
    }"""
    first = (await ask(client, start, key="k"))["data"]["startRun"]
    again = (await ask(client, start, key="k"))["data"]["startRun"]
    assert first == again == {"id": first["id"], "inputs": {"question": "Why?"}}
    cancel = "mutation ($id: ID!) { cancelRun(id: $id) { status } }"
    assert await ask(client, cancel, id=first["id"]) == {
        "data": {"cancelRun": {"status": "cancelled"}}
    }
    answer = 'mutation ($id: ID!) { answerRun(id: $id, text: "yes") { status } }'
    refused = (await ask(client, answer, id=first["id"]))["errors"][0]
    assert refused["extensions"]["code"] == "run_not_waiting"
    assert refused["extensions"]["status"] == 409


async def test_a_run_is_started_with_all_that_rest_takes(
    mesh: FakeMesh, client: httpx2.AsyncClient
) -> None:
    body = {
        "crew": "data-analyst",
        "inputs": {"question": "Why?"},
        "session_id": "s-1",
        "priority": 5,
        "timeout_seconds": 60,
        "max_attempts": 2,
        "models": ["openai/gpt-5-mini", "offline"],
        "budget": {"max_tokens": 10**12, "max_usd": 0.5},
        "webhook": {"url": "https://example.org/", "secret": "whsec_YQ=="},
    }
    await client.post("/v1/runs", json=body, headers={"Idempotency-Key": "k"})
    start = """mutation ($inputs: JSON!, $budget: Budget, $webhook: Webhook) {
      startRun(
        crew: "data-analyst", inputs: $inputs, sessionId: "s-1", priority: 5, timeoutSeconds: 60,
        maxAttempts: 2, models: ["openai/gpt-5-mini", "offline"], budget: $budget,
        webhook: $webhook, idempotencyKey: "k"
      ) { id }
    }"""
    answer = await ask(
        client,
        start,
        inputs=body["inputs"],
        budget={"maxTokens": 10**12, "maxUsd": 0.5},
        webhook=body["webhook"],
    )
    assert "errors" not in answer
    by_rest, by_graphql = (request.spec for request in mesh.agents.started)
    assert by_rest == by_graphql
    assert set(schemas.StartRun.model_fields) == set(body)


async def test_who_waits_gets_the_run_when_it_has_ended(
    mesh: FakeMesh, client: httpx2.AsyncClient
) -> None:
    ending: list[asyncio.Task[None]] = []
    mesh.agents.on_start = lambda run: ending.append(asyncio.create_task(run.end("done")))
    start = 'mutation { startRun(crew: "data-analyst", wait: 30) { status output } }'
    answer = await ask(client, start)
    assert answer["data"]["startRun"] == {"status": "succeeded", "output": "done"}


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        ("priority: 101", ["priority"]),
        ("maxAttempts: 0", ["maxAttempts"]),
        ("timeoutSeconds: 86401", ["timeoutSeconds"]),
        ('models: ["offline", "no model"]', ["models", 1]),
        ('sessionId: "no session"', ["sessionId"]),
        ("budget: {}", ["budget"]),
        ("budget: {maxTokens: 0.5}", ["budget", "maxTokens"]),
        ('webhook: {url: ""}', ["webhook", "url"]),
        ('inputs: "no object"', ["inputs"]),
        ('idempotencyKey: "no key"', ["idempotencyKey"]),
        ("wait: 61", ["wait"]),
    ],
)
async def test_what_rest_refuses_is_refused(
    shared_client: httpx2.AsyncClient, arguments: str, place: list[str | int]
) -> None:
    query = f'mutation {{ startRun(crew: "data-analyst", {arguments}) {{ id }} }}'
    (error,) = (await ask(shared_client, query))["errors"]
    assert error["extensions"]["code"] == "invalid_input"
    assert error["extensions"]["status"] == 422
    assert [fault["loc"] for fault in error["extensions"]["errors"]] == [place]


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ('{ runs(crew: "no crew") { items { id } } }', "crew"),
        ('{ runs(createdBy: "you") { items { id } } }', "createdBy"),
        ('{ runs(status: "no-status") { items { id } } }', "status"),
        ('{ runs(cursor: "no cursor") { items { id } } }', "cursor"),
        ('{ runs(createdAfter: "2026-11-23T06:39:00") { items { id } } }', "createdAfter"),
        ("{ users(limit: 0) { items { id } } }", "limit"),
        ('mutation { createApiKey(name: "ci", scopes: ["No"]) { secret } }', "scopes"),
    ],
)
async def test_bounds_of_other_arguments_are_rests(
    shared_client: httpx2.AsyncClient, query: str, place: str
) -> None:
    (error,) = (await ask(shared_client, query))["errors"]
    assert error["extensions"]["errors"][0]["loc"][0] == place


async def test_a_run_says_how_its_webhook_stands(
    mesh: FakeMesh, store: StoreClient, stored: httpx2.AsyncClient
) -> None:
    mesh.agents.crews = crews("a")
    await store.create(crew="a", webhook=agent_pb2.Webhook(url="https://example.org/"))
    await store.create(crew="a")
    query = "{ crews { items { runs { webhook { url status tries deliveredAt } } } } }"
    found = (await ask(stored, query))["data"]["crews"]["items"][0]["runs"]
    state = {"url": "https://example.org/", "status": "waiting", "tries": 0, "deliveredAt": None}
    assert [run["webhook"] for run in found] == [None, state]


async def test_what_can_be_no_id_is_not_found(shared_client: httpx2.AsyncClient) -> None:
    (error,) = (await ask(shared_client, '{ run(id: "no id") { id } }'))["errors"]
    assert error["extensions"]["status"] == 404


async def test_users_come_in_pages(stored: httpx2.AsyncClient) -> None:
    for name in ("ana", "eve", "kim"):
        body = {"email": f"{name}@example.org", "role": "viewer"}
        assert (await stored.post("/v1/users", json=body)).status_code == 201
    query = """query ($cursor: String) {
      users(limit: 3, cursor: $cursor) { items { email } nextCursor }
    }"""
    first = (await ask(stored, query))["data"]["users"]
    second = (await ask(stored, query, cursor=first["nextCursor"]))["data"]["users"]
    emails = [user["email"].partition("@")[0] for user in first["items"] + second["items"]]
    assert emails == ["kim", "eve", "ana", "owner"]
    assert second["nextCursor"] is None


async def test_a_tasks_events_are_its_own_from_the_whole_log(
    mesh: FakeMesh,
    store: StoreClient,
    stored: httpx2.AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mesh.agents.crews = crews("a")
    for _ in range(2):
        lease = (await store.create(crew="a", worker_id="w")).lease
        await store.append(
            append(
                lease,
                lease.next_seq,
                event("task.started", '{"index": 0, "total": 2}', task="first"),
                *(event("log", task="first") for _ in range(20)),
                event("task.completed", '{"index": 0, "output": "x"}', task="first"),
                event("task.started", '{"index": 1, "total": 2}', task="second"),
                event("log", task="second"),
            )
        )
    made, answer = await count_calls(stored, monkeypatch)
    # A run's events are one level, its tasks' events another.
    assert made["BatchListRunEvents"] == 2
    for run in answer["data"]["crews"]["items"][0]["runs"]:
        first, second = run["tasks"]
        # After run.queued and run.started.
        assert [each["seq"] for each in first["events"]] == list(range(3, 13))
        assert [each["seq"] for each in second["events"]] == [25, 26]


FILES = """{
  crews(limit: 5) { items { runs(limit: 5) {
    id crewDefinition { name runs(limit: 5) { id } }
    tasks { name artifacts { id name } }
    events { type artifact { id name } }
  } } }
}"""


async def test_files_are_their_tasks_and_events_and_a_run_leads_back_to_its_crew(
    mesh: FakeMesh,
    store: StoreClient,
    stored: httpx2.AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mesh.agents.crews = crews("a")
    await make_run_with_files(store, "a")
    few, _ = await count_calls(stored, monkeypatch, FILES)
    mesh.agents.crews = crews("a", "b")
    made = {crew: await make_run_with_files(store, crew) for crew in ("a", "b")}
    many, answer = await count_calls(stored, monkeypatch, FILES)
    # Two levels of crews, of runs, of events (the runs' own; which of them tell of files), and of
    # files (the tasks' and the events').
    levels = ("ListCrews", "BatchListRuns", "BatchListRunEvents", "BatchListArtifacts")
    most = Counter(dict.fromkeys(levels, 2) | {"BatchGetRuns": 1})
    # What two levels ask at the same moment is one call.
    assert few <= most, few
    assert many <= most, many
    for crew, (run, *_) in zip(
        "ab", (c["runs"] for c in answer["data"]["crews"]["items"]), strict=True
    ):
        assert run["crewDefinition"]["name"] == crew
        assert run["crewDefinition"]["runs"][0]["id"] == run["id"]
        assert run["tasks"] == [
            {"name": task, "artifacts": [{"id": file, "name": f"{task}.png"}]}
            for task, file in made[crew].items()
        ]
        told = [event["artifact"] for event in run["events"] if event["artifact"]]
        assert [each["id"] for each in told] == list(made[crew].values())


async def test_a_run_of_a_crew_that_was_removed_has_none(
    mesh: FakeMesh, client: httpx2.AsyncClient
) -> None:
    for crew in ("data-analyst", "gone"):
        mesh.agents.make_run(agent_pb2.RunSpec(crew=crew, inputs_json="{}"))
    query = "{ runs { items { crew crewDefinition { name } } } }"
    items = (await ask(client, query))["data"]["runs"]["items"]
    assert {run["crew"]: run["crewDefinition"] for run in items} == {
        "data-analyst": {"name": "data-analyst"},
        "gone": None,
    }


async def make_run_with_files(store: StoreClient, crew: str) -> dict[str, str]:
    """Make a run whose two tasks made a file each; return the files' ids by task."""
    lease = (await store.create(crew=crew, worker_id="w")).lease
    made: dict[str, str] = {}
    events = []
    for index, task in enumerate(("first", "second")):

        async def sent(name: str = f"{task}.png") -> AsyncIterator[file_pb2.PutArtifactRequest]:
            header = file_pb2.ArtifactHeader(
                run_id=lease.run.id, epoch=lease.epoch, name=name, media_type="image/png"
            )
            yield file_pb2.PutArtifactRequest(header=header)
            yield file_pb2.PutArtifactRequest(chunk=b"png")
            yield file_pb2.PutArtifactRequest(end=file_pb2.UploadEnd(size_bytes=3))

        stored = await store.files.PutArtifact(sent(), metadata=store.run)
        made[task] = stored.artifact.id
        events += [
            event("task.started", json.dumps({"index": index, "total": 2}), task=task),
            event("artifact.created", json.dumps({"id": made[task]}), task=task),
        ]
    await store.append(append(lease, lease.next_seq, *events))
    return made


async def test_a_run_has_the_fields_that_rest_has(
    mesh: FakeMesh, client: httpx2.AsyncClient
) -> None:
    run = mesh.agents.make_run().run
    run.models.append("offline")
    run.budget.max_tokens = 10**12
    run.priority = 7
    run.output_json = '{"rows": [1]}'
    fields = set(schemas.Run.model_fields) - {"webhook", "tasks", "budget", "usage", "error"}
    names = {to_camel_case(name): name for name in fields}
    query = f'{{ run(id: "{run.id}") {{ {" ".join(names)} budget {{ maxTokens maxUsd }} }} }}'
    by_graphql = (await ask(client, query))["data"]["run"]
    by_rest = (await client.get(f"/v1/runs/{run.id}")).json()
    assert by_graphql.pop("budget") == {"maxTokens": 10**12, "maxUsd": None}
    times = {name for name in names if name.endswith("At")}
    for name in names.keys() - times:
        assert by_graphql[name] == by_rest[names[name]], name
    assert (by_graphql["priority"], by_graphql["models"]) == (7, ["offline"])


async def test_the_organisation_answers_as_by_rest(
    mesh: FakeMesh, stored: httpx2.AsyncClient
) -> None:
    upload = {"file": ("sales.csv", b"a,b\n1,2\n", "text/csv")}
    dataset = (await stored.post("/v1/datasets", files=upload)).json()
    body = {"items": [{"period": "month", "max_tokens": 10**12}]}
    assert (await stored.put("/v1/budgets", json=body)).status_code == 200
    query = """query ($id: String!) {
      me { userId email orgName role apiKeyId permissions }
      workers { items { id } queue { queued running waiting oldestQueuedAt } leaseSeconds }
      datasets { items { id name sizeBytes mediaType } nextCursor }
      dataset(idOrName: $id) { id }
      budgets { apiKeyId period maxTokens maxUsd spentTokens periodStart }
      usage(groupBy: ["crew"], after: "2026-01-01T00:00:00Z") { crew totalTokens }
    }"""
    answer = await ask(stored, query, id=dataset["id"])
    assert "errors" not in answer, answer
    data = answer["data"]
    me = (await stored.get("/v1/me")).json()
    assert data["me"] == {
        "userId": me["user"]["id"], "email": me["user"]["email"], "orgName": me["org"]["name"],
        "role": me["role"], "apiKeyId": me["key"]["id"], "permissions": me["permissions"],
    }  # fmt: skip
    fleet = (await stored.get("/v1/workers")).json()
    assert data["workers"]["items"] == [{"id": worker["id"]} for worker in fleet["items"]]
    assert data["workers"]["queue"]["queued"] == fleet["queue"]["queued"]
    assert data["datasets"]["items"][0]["id"] == data["dataset"]["id"] == dataset["id"]
    (budget,) = data["budgets"]
    assert (budget["period"], budget["maxTokens"], budget["maxUsd"]) == ("month", 10**12, None)
    assert data["usage"] == []


async def test_crews_have_their_definition_and_versions(
    mesh: FakeMesh, client: httpx2.AsyncClient
) -> None:
    query = """{
      crew(name: "data-analyst", version: "1.0.0") {
        description currentVersion definition agents { role tools } tasks { name agent }
      }
      crewVersions(name: "data-analyst") { items { version current } nextCursor }
    }"""
    data = (await ask(client, query))["data"]
    assert data["crew"] == {
        "description": "Answers questions about data.",
        "currentVersion": "2",
        "definition": {"name": "data-analyst"},
        "agents": [{"role": "Analyst", "tools": ["query_data"]}],
        "tasks": [{"name": "analyse", "agent": "Analyst"}],
    }
    versions = (await client.get("/v1/crews/data-analyst/versions")).json()
    assert data["crewVersions"]["items"] == [
        {"version": item["version"], "current": item["current"]} for item in versions["items"]
    ]
    wrong = '{ crew(name: "data-analyst", version: "no version") { name } }'
    (error,) = (await ask(client, wrong))["errors"]
    assert error["extensions"]["errors"][0]["loc"] == ["version"]


async def test_a_user_is_renamed_and_keys_are_made_and_revoked(stored: httpx2.AsyncClient) -> None:
    me = (await stored.get("/v1/me")).json()["user"]["id"]
    rename = 'mutation ($id: ID!) { renameUser(id: $id, name: "Ana") { name } }'
    assert (await ask(stored, rename, id=me))["data"] == {"renameUser": {"name": "Ana"}}
    create = 'mutation { createApiKey(name: "ci", scopes: ["runs.read"]) { secret key { id } } }'
    made = (await ask(stored, create))["data"]["createApiKey"]

    # Its scope permits to read, not to change.
    headers = {"Authorization": f"Bearer {made['secret']}"}
    async with httpx2.AsyncClient(base_url=stored.base_url, headers=headers) as reader:
        assert (await ask(reader, "{ runs { items { id } } }"))["data"]["runs"] == {"items": []}
        refused = (await ask(reader, rename, id=me))["errors"][0]
        rest = await reader.patch(f"/v1/users/{me}", json={"name": "Eve"})
        assert refused["extensions"]["code"] == rest.json()["code"]
        assert refused["extensions"]["status"] == rest.status_code == 403
        revoke = "mutation ($id: ID!) { revokeApiKey(id: $id) }"
        await ask(stored, revoke, id=made["key"]["id"])
        gone = await reader.post("/graphql", json={"query": "{ __typename }"})
        assert gone.status_code == 401


async def test_errors_have_rests_codes_and_nothing_internal(
    mesh: FakeMesh, client: httpx2.AsyncClient
) -> None:
    query = "query ($id: ID!) { run(id: $id) { id } }"
    missing = (await ask(client, query, id="0199aa3c-5f0e-7c41-9d0b-2f6f3f1f7a10"))["errors"][0]
    assert missing["extensions"]["code"] == "run_not_found"
    assert missing["path"] == ["run"]
    mesh.agents.failures = [RuntimeError("a secret of ours")]
    failed = (await ask(client, "{ crews { items { name } } }"))["errors"][0]
    assert failed["extensions"]["status"] == 500
    assert "secret" not in json.dumps(failed)
    wrong = (await ask(client, "{ nothing }"))["errors"][0]
    assert wrong["extensions"]["code"] == "invalid_query"
    assert wrong["extensions"]["request_id"]
    much = (await ask(client, "{ runs(limit: 1000) { items { id } } }"))["errors"][0]
    (fault,) = much["extensions"]["errors"]
    assert fault["loc"] == ["limit"]
    assert "200" in fault["msg"]


_ALIASES = " ".join(f"a{number}: id" for number in range(300))
# Each fragment spreads the next one twice: 2 to the power of 60 fields, to who follows each spread.
_TWOFOLD = "{ runs { items { ...F0 } } } fragment F60 on Run { id } " + " ".join(
    f"fragment F{n} on Run {{ ...F{n + 1} ...F{n + 1} }}" for n in range(60)
)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        (f"{{ crews(limit: 20) {{ items {{ runs {{ {_ALIASES} }} }} }} }}", "up to 120,"),
        (_TWOFOLD, "up to"),
        (f"{{ runs {{ items {{ {_ALIASES} {_ALIASES} }} }} }}", "1000 tokens"),
        ("{ crews(limit: 200) { items { runs(limit: 200) { events(limit: 200) { seq } } } } }", "up to"),
        ("{ a: crews(limit: 200) { items { runs(limit: 200) { artifacts { id } } } } }", "up to"),
        ("fragment F on Run { tasks { events(limit: 200) { seq } } } { runs(limit: 200) { items { ...F } } }", "up to"),
        ("{ __schema { types { fields { type { fields { type { fields { type { fields { type { name } } } } } } } } } } }", "depth"),
    ],
)  # fmt: skip
async def test_queries_that_ask_for_too_much_are_refused(
    mesh: FakeMesh, client: httpx2.AsyncClient, query: str, words: str
) -> None:
    (error,) = (await ask(client, query))["errors"]
    assert words in error["message"]
    assert mesh.agents.callers == []


async def test_the_schema_is_told_unless_it_is_switched_off(
    mesh: FakeMesh, client: httpx2.AsyncClient
) -> None:
    query = "{ __schema { queryType { name } } }"
    assert (await ask(client, query))["data"]
    async with serving_gateway(mesh, graphql_introspection=False, graphql_max_depth=3) as closed:
        deep = await ask(closed.client, "{ crews { items { runs { events { seq } } } } }")
        assert "levels deep" in deep["errors"][0]["message"]
        assert "errors" in await ask(closed.client, query)
        assert (await ask(closed.client, "{ runs { items { id } } }"))["data"]


async def test_who_may_not_is_refused_before_anything_is_read(gateway: ServedGateway) -> None:
    body = {"query": "{ __typename }"}
    async with httpx2.AsyncClient(base_url=gateway.url) as stranger:
        assert (await stranger.post("/graphql", json=body)).status_code == 401
        # By the console's cookie, from our own pages only.
        signed_in = await stranger.post(
            "/v1/auth/session", json={"api_key": API_KEY}, headers={"Sec-Fetch-Site": "same-origin"}
        )
        assert signed_in.status_code == 200
        own = await stranger.post("/graphql", json=body, headers={"Sec-Fetch-Site": "same-origin"})
        other = await stranger.post("/graphql", json=body, headers={"Sec-Fetch-Site": "cross-site"})
        by_get = await stranger.get("/graphql", params=body, headers={"Accept": "application/json"})
        assert (own.status_code, other.status_code) == (200, 403)
        assert by_get.status_code == 400
    assert (await gateway.client.post("/graphql", content=b"x" * 2_000_000)).status_code == 413


async def subscribe(socket: ClientConnection, run_id: str, after: int) -> AsyncIterator[int]:
    """Yield the numbers of a run's events to the end of the subscription."""
    query = f'subscription {{ runEvents(id: "{run_id}", after: {after}) {{ seq }} }}'
    message = {"id": "1", "type": "subscribe", "payload": {"query": query}}
    await socket.send(json.dumps(message))
    async for text in socket:
        told = json.loads(text)
        if told["type"] == "complete":
            return
        assert told["type"] == "next", told
        assert "errors" not in told["payload"], told
        yield told["payload"]["data"]["runEvents"]["seq"]


def socket_url(gateway: ServedGateway) -> str:
    return gateway.url.replace("http", "ws", 1) + "/graphql"


async def open_socket(socket: ClientConnection, payload: dict[str, Any]) -> None:
    await socket.send(json.dumps({"type": "connection_init", "payload": payload}))
    assert json.loads(await socket.recv())["type"] == "connection_ack"


async def test_events_are_followed_from_a_number_on(mesh: FakeMesh, gateway: ServedGateway) -> None:
    run = mesh.agents.make_run()
    await run.append("run.queued")
    await run.append("run.started")
    async with connect(socket_url(gateway), subprotocols=[PROTOCOL]) as socket:
        await open_socket(socket, {"authorization": f"Bearer {API_KEY}"})
        seen = []
        async for seq in subscribe(socket, run.run.id, 1):
            seen.append(seq)
            if seq == 2:
                metrics = (await gateway.client.get("/metrics")).text
                assert "crewmesh_gateway_web_sockets_open 1.0" in metrics
                assert "crewmesh_gateway_subscriptions_open 1.0" in metrics
                await run.end()
    assert seen == [2, 3]


async def test_a_gateway_that_stops_has_its_sockets_opened_anew_and_ends_no_subscription(
    mesh: FakeMesh, gateway: ServedGateway
) -> None:
    run = mesh.agents.make_run()
    await run.append("run.started")
    async with connect(socket_url(gateway), subprotocols=[PROTOCOL]) as socket:
        await open_socket(socket, {"authorization": f"Bearer {API_KEY}"})
        events = subscribe(socket, run.run.id, 0)
        assert await anext(events) == 1
        gateway.stop.set()
        # Not StopAsyncIteration, which is `complete`, as at the run's end.
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await anext(events)
    assert closed.value.rcvd is not None
    # Service restart: a code that graphql-ws connects anew after.
    assert closed.value.rcvd.code == 1012
    await gateway.serving
    await run.append("run.log")
    async with (
        serving_gateway(mesh) as next_one,
        connect(socket_url(next_one), subprotocols=[PROTOCOL]) as socket,
    ):
        await open_socket(socket, {"authorization": f"Bearer {API_KEY}"})
        await run.end()
        assert [seq async for seq in subscribe(socket, run.run.id, 1)] == [2, 3]


async def test_a_socket_has_a_log_line_and_is_counted_when_it_has_closed(
    gateway: ServedGateway, lines: list[dict[str, Any]]
) -> None:
    headers = {"X-Request-ID": "of-the-socket"}
    address = socket_url(gateway)
    async with connect(address, subprotocols=[PROTOCOL], additional_headers=headers) as socket:
        await open_socket(socket, {"authorization": f"Bearer {API_KEY}"})
    with pytest.raises(websockets.InvalidStatus):
        await connect(
            address,
            subprotocols=[PROTOCOL],
            additional_headers={"Origin": "https://evil.example", "Cookie": "crewmesh=x"},
        )

    async def is_closed() -> bool:
        return len(lines) == 2

    await until(is_closed, 10)
    served, refused = lines
    assert (served["method"], served["route"], served["status"]) == ("WEBSOCKET", "/graphql", 101)
    assert (served["request_id"], served["close_code"]) == ("of-the-socket", 1000)
    assert served["org_id"]
    assert refused["status"] == 403
    metrics = (await gateway.client.get("/metrics")).text
    counted = 'crewmesh_gateway_requests_total{method="WEBSOCKET",route="/graphql",status='
    assert f'{counted}"101"}} 1.0' in metrics
    assert "crewmesh_gateway_web_sockets_open 0.0" in metrics


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The requests' log lines, with what is bound to their context."""
    written: list[dict[str, Any]] = []

    def write(event: str, **line: Any) -> None:
        written.append({**structlog.contextvars.get_contextvars(), **line})

    monkeypatch.setattr(middleware, "log", SimpleNamespace(info=write, debug=write))
    return written


@pytest.mark.parametrize("payload", [{}, {"authorization": "Bearer cm_wrong"}])
async def test_a_socket_of_a_stranger_is_closed(
    gateway: ServedGateway, payload: dict[str, str]
) -> None:
    async with connect(socket_url(gateway), subprotocols=[PROTOCOL]) as socket:
        await socket.send(json.dumps({"type": "connection_init", "payload": payload}))
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await socket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4403


async def test_another_sites_page_cannot_open_a_socket_by_the_cookie(
    gateway: ServedGateway,
) -> None:
    async with httpx2.AsyncClient(base_url=gateway.url) as browser:
        same = {"Sec-Fetch-Site": "same-origin"}
        await browser.post("/v1/auth/session", json={"api_key": API_KEY}, headers=same)
        cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    headers = {"Cookie": cookie, "Origin": gateway.url}
    address = socket_url(gateway)
    async with connect(address, subprotocols=[PROTOCOL], additional_headers=headers) as socket:
        await open_socket(socket, {})
    headers["Origin"] = "https://evil.example"
    with pytest.raises(websockets.InvalidStatus, match="403"):
        await connect(address, subprotocols=[PROTOCOL], additional_headers=headers)
