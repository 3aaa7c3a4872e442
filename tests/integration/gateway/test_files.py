from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator

import httpx2
import pytest

from crewmesh_gateway.schemas import Artifact, Dataset, Page
from tests.conftest import until
from tests.integration.gateway.fake_mesh import FakeMesh, serving_gateway

CSV = b"region,amount\nnorth,1\nsouth,2\n"
BOUNDARY = "boundary7"
FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
HEAD = (
    f"--{BOUNDARY}\r\n"
    'Content-Disposition: form-data; name="file"; filename="big.csv"\r\n'
    "Content-Type: text/csv\r\n\r\n"
).encode()
TAIL = f"\r\n--{BOUNDARY}--\r\n".encode()


@pytest.mark.parametrize(
    ("filename", "declared", "media_type"),
    [
        ("sales.csv", "application/octet-stream", "text/csv"),
        ("SALES.CSV", "", "text/csv"),
        ("events.jsonl", "application/json", "application/x-ndjson"),
        ("events.ndjson", "text/plain", "application/x-ndjson"),
        ("t.parquet", "application/octet-stream", "application/vnd.apache.parquet"),
        ("export", "text/csv; charset=utf-8", "text/csv"),
        ("export", "application/jsonl", "application/x-ndjson"),
        ("C:\\Users\\me\\sales.csv", "text/csv", "text/csv"),
    ],
)
async def test_a_dataset_is_what_its_name_or_its_declared_type_says(
    mesh: FakeMesh, client: httpx2.AsyncClient, filename: str, declared: str, media_type: str
) -> None:
    response = await client.post("/v1/datasets", files={"file": (filename, CSV, declared)})

    assert response.status_code == 201
    dataset = response.json()
    Dataset.model_validate(dataset)
    assert response.headers["location"] == f"/v1/datasets/{dataset['id']}"
    assert dataset["media_type"] == media_type
    assert dataset["name"] == filename.rpartition("\\")[2]
    assert mesh.files.datasets[dataset["id"]][1] == CSV


async def test_a_dataset_can_be_named(mesh: FakeMesh, client: httpx2.AsyncClient) -> None:
    response = await client.post(
        "/v1/datasets", data={"name": "Umsätze 2026"}, files={"file": ("a.csv", CSV)}
    )

    assert response.json()["name"] == "Umsätze 2026"


async def test_an_upload_reaches_the_store_while_it_is_still_being_sent(
    mesh: FakeMesh, client: httpx2.AsyncClient
) -> None:
    block = os.urandom(512 * 1024)

    async def body() -> AsyncIterator[bytes]:
        yield HEAD + block
        await asyncio.wait_for(mesh.files.received.wait(), 10)
        yield block + TAIL

    response = await client.post("/v1/datasets", content=body(), headers=FORM)

    assert response.status_code == 201
    assert response.json()["sha256"] == hashlib.sha256(block + block).hexdigest()
    assert max(mesh.files.chunk_sizes) <= 1024 * 1024


async def test_an_upload_that_breaks_off_is_broken_off_at_the_store(
    mesh: FakeMesh, client: httpx2.AsyncClient
) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield HEAD + os.urandom(512 * 1024)
        await mesh.files.received.wait()
        raise ConnectionError("the cable was pulled")

    with pytest.raises(ConnectionError):
        await client.post("/v1/datasets", content=body(), headers=FORM)

    async def is_broken_off() -> bool:
        return mesh.files.broken_off == 1

    await until(is_broken_off)
    assert mesh.files.datasets == {}


async def test_an_upload_that_is_too_large_is_413_and_leaves_nothing(mesh: FakeMesh) -> None:
    async with serving_gateway(mesh, max_upload_mb=1) as served:
        declared = await served.client.post(
            "/v1/datasets", files={"file": ("a.csv", b"x" * 1_100_000)}
        )

        async def body() -> AsyncIterator[bytes]:
            yield HEAD
            for _ in range(20):
                yield b"x" * 65_536

        undeclared = await served.client.post("/v1/datasets", content=body(), headers=FORM)

    assert declared.status_code == undeclared.status_code == 413
    assert declared.json()["code"] == "too_large"
    assert mesh.files.datasets == {}


async def test_what_the_store_says_of_an_upload_is_passed_on(
    mesh: FakeMesh, client: httpx2.AsyncClient
) -> None:
    mesh.files.refuse_after = 100
    response = await client.post("/v1/datasets", files={"file": ("a.csv", b"x" * 1000)})

    assert (response.status_code, response.json()["code"]) == (409, "quota")


async def test_an_upload_that_the_store_breaks_off_is_503(
    mesh: FakeMesh, client: httpx2.AsyncClient
) -> None:
    mesh.files.refuse_after = 100_000
    response = await client.post("/v1/datasets", files={"file": ("a.csv", b"x" * 20_000_000)})

    assert response.status_code == 503


def form(*parts: bytes) -> bytes:
    return b"".join(b"--boundary7\r\n" + part + b"\r\n" for part in parts) + b"--boundary7--\r\n"


FILE = b'Content-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\na,b\n1,2\n'
NAME = b'Content-Disposition: form-data; name="name"\r\n\r\nsales'


@pytest.mark.parametrize(
    ("body", "status", "place"),
    [
        (form(FILE, NAME), 422, "name"),
        (form(FILE, FILE), 422, "file"),
        (form(NAME, NAME, FILE), 422, "name"),
        (form(NAME), 422, "file"),
        (form(FILE.replace(b"a,b\n1,2\n", b"")), 422, "file"),
        (form(FILE.replace(b'; filename="a.csv"', b"")), 422, "file"),
        (form(NAME.replace(b"sales", b"x" * 201), FILE), 422, "name"),
        (form(NAME.replace(b"sales", b"x" * 100_000), FILE), 422, "name"),
        (form(NAME.replace(b"sales", b"a\x00b"), FILE), 422, "name"),
        (form(NAME.replace(b'"name"', b'"colour"'), FILE), 422, "colour"),
        (form(FILE.replace(b"a.csv", b"a.exe")), 415, None),
        (form(FILE.replace(b"a.csv", b"a.json")), 415, None),
        (form(FILE.replace(b"a.csv", b"\xff.csv")), 400, None),
        (form(b"Content-Disposition: form-data\r\n\r\nx"), 400, None),
        (form(b"X: " + b"y" * 100_000 + b"\r\n\r\nx"), 400, None),
        (form(FILE)[:-20], 400, None),
        (b"", 400, None),
        (b"nonsense", 400, None),
    ],
)
async def test_a_form_that_cannot_be_taken_is_refused_with_the_reason(
    shared_client: httpx2.AsyncClient, body: bytes, status: int, place: str | None
) -> None:
    response = await shared_client.post("/v1/datasets", content=body, headers=FORM)

    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    if place is not None:
        assert [fault["loc"] for fault in response.json()["errors"]] == [["body", place]]


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 415),
        ("", 415),
        ("multipart/form-data", 400),
        ("multipart/form-data; boundary=" + "x" * 300, 400),
    ],
)
async def test_only_forms_are_taken(
    shared_client: httpx2.AsyncClient, content_type: str, status: int
) -> None:
    headers = {"Content-Type": content_type}
    response = await shared_client.post("/v1/datasets", content=form(FILE), headers=headers)

    assert response.status_code == status


async def test_datasets_are_listed_shown_downloaded_and_deleted(
    mesh: FakeMesh, client: httpx2.AsyncClient
) -> None:
    content = os.urandom(300_000)
    made = (await client.post("/v1/datasets", files={"file": ("a.parquet", content)})).json()
    url = f"/v1/datasets/{made['id']}"

    listed = (await client.get("/v1/datasets")).json()
    Page[Dataset].model_validate(listed)
    assert listed == {"items": [made], "next_cursor": None}
    assert (await client.get(url)).json() == made
    assert (await client.get("/v1/datasets/a.parquet")).json() == made
    assert (await client.get(f"{url}/content")).content == content
    assert (await client.delete(url)).status_code == 204
    for path in (url, f"{url}/content", "/v1/datasets/a.parquet", "/v1/datasets/x/content"):
        assert (await client.get(path)).status_code == 404
    assert (await client.delete(url)).status_code == 404


async def test_an_artifact_keeps_its_type_and_is_never_rendered(
    mesh: FakeMesh, client: httpx2.AsyncClient
) -> None:
    run_id = mesh.agents.make_run().run.id
    content = b"<script>alert(1)</script>"
    artifact_id = mesh.files.make_artifact(run_id, 'Büro "x".html', "text/html", content)

    listed = (await client.get(f"/v1/runs/{run_id}/artifacts")).json()
    response = await client.get(listed["items"][0]["url"])

    Page[Artifact].model_validate(listed)
    assert listed["items"][0]["id"] == artifact_id
    assert response.content == content
    assert response.headers["content-type"].startswith("text/html")
    assert response.headers["content-length"] == str(len(content))
    assert (
        response.headers["content-disposition"]
        == "attachment; filename*=UTF-8''B%C3%BCro%20%22x%22.html"
    )
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in response.headers["content-security-policy"]


async def test_a_media_type_that_is_none_is_sent_as_bytes(
    mesh: FakeMesh, client: httpx2.AsyncClient
) -> None:
    artifact_id = mesh.files.make_artifact("r", "a", "text/html\r\nSet-Cookie: a=b", b"x")
    response = await client.get(f"/v1/artifacts/{artifact_id}")

    assert response.headers["content-type"] == "application/octet-stream"
    assert "set-cookie" not in response.headers


async def test_a_download_that_breaks_is_not_taken_for_whole(
    mesh: FakeMesh, client: httpx2.AsyncClient
) -> None:
    artifact_id = mesh.files.make_artifact("r", "a.bin", "application/octet-stream", b"x" * 1000)
    artifact, _ = mesh.files.artifacts[artifact_id]
    mesh.files.artifacts[artifact_id] = (artifact, b"x" * 900)

    with pytest.raises(httpx2.RemoteProtocolError):
        await client.get(f"/v1/artifacts/{artifact_id}")
    assert (await client.get("/healthz")).status_code == 200
