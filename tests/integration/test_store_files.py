"""Datasets, artifacts and keys in the store."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import psycopg
import pytest

from crewmesh.common.errors import StateError
from crewmesh.v1 import file_pb2, identity_pb2, run_store_pb2
from crewmesh_store.migrations import migrate
from tests.conftest import API_KEY, until
from tests.integration.conftest import StoreClient, ending, serving_store

CONTENT = bytes(range(256)) * 8192  # 2 MiB


async def parts(*, broken: bool = False) -> AsyncIterator[file_pb2.PutDatasetRequest]:
    header = file_pb2.DatasetHeader(name="my.csv", media_type="text/csv")
    yield file_pb2.PutDatasetRequest(header=header)
    for start in range(0, len(CONTENT), 300_000):
        yield file_pb2.PutDatasetRequest(chunk=CONTENT[start : start + 300_000])
        if broken:
            raise ConnectionError("the client went away")
    yield file_pb2.PutDatasetRequest(end=file_pb2.UploadEnd(size_bytes=len(CONTENT)))


def files_under(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


async def test_a_dataset_comes_back_byte_for_byte(store: StoreClient) -> None:
    stored = (await store.files.PutDataset(parts(), metadata=store.person)).dataset
    assert stored.size_bytes == len(CONTENT)
    assert stored.sha256 == hashlib.sha256(CONTENT).hexdigest()
    read = b""
    async for part in store.files.ReadDataset(
        file_pb2.ReadDatasetRequest(id=stored.id), metadata=store.person
    ):
        read += part.chunk
    assert read == CONTENT
    by_name = await store.files.GetDataset(
        file_pb2.GetDatasetRequest(id_or_name="my.csv"), metadata=store.person
    )
    assert by_name.dataset.id == stored.id


async def test_a_broken_upload_leaves_nothing_behind(store: StoreClient, tmp_path: Path) -> None:
    with pytest.raises((grpc.aio.AioRpcError, asyncio.CancelledError, ConnectionError)):
        await store.files.PutDataset(parts(broken=True), metadata=store.person)
    listed = await store.files.ListDatasets(file_pb2.ListDatasetsRequest(), metadata=store.person)
    assert not listed.datasets

    async def nothing_left() -> bool:
        return not files_under(tmp_path / "objects")

    await until(nothing_left)


async def test_an_upload_without_its_end_is_refused(store: StoreClient, tmp_path: Path) -> None:
    async def all_but_the_end() -> AsyncIterator[file_pb2.PutDatasetRequest]:
        async for part in parts():
            if not part.HasField("end"):
                yield part

    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await store.files.PutDataset(all_but_the_end(), metadata=store.person)
    assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert not files_under(tmp_path / "objects")


async def test_a_deleted_dataset_is_gone_with_its_bytes(store: StoreClient, tmp_path: Path) -> None:
    stored = (await store.files.PutDataset(parts(), metadata=store.person)).dataset
    request = file_pb2.DeleteDatasetRequest(id=stored.id)
    await store.files.DeleteDataset(request, metadata=store.person)
    assert not files_under(tmp_path / "objects")
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await store.files.DeleteDataset(request, metadata=store.person)
    assert raised.value.code() == grpc.StatusCode.NOT_FOUND


async def test_an_artifact_is_taken_only_under_the_runs_lease(store: StoreClient) -> None:
    lease = (await store.create(worker_id="w1")).lease

    await store.files.PutArtifact(chart(lease, lease.epoch), metadata=store.run)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await store.files.PutArtifact(chart(lease, lease.epoch + 1), metadata=store.run)
    assert raised.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    await store.append(ending(lease, 3))
    listed = await store.files.ListArtifacts(
        file_pb2.ListArtifactsRequest(run_id=lease.run.id), metadata=store.person
    )
    assert [artifact.name for artifact in listed.artifacts] == ["chart.png"]


async def test_an_artifact_that_is_sent_again_is_the_same_even_after_the_run_s_end(
    store: StoreClient, tmp_path: Path
) -> None:
    lease = (await store.create(worker_id="w1")).lease
    known = str(uuid.uuid4())
    for _ in range(2):
        sent = chart(lease, lease.epoch, id=known)
        stored = (await store.files.PutArtifact(sent, metadata=store.run)).artifact
        assert stored.id == known
    await store.append(ending(lease, 3))
    late = chart(lease, lease.epoch, id=known)
    assert (await store.files.PutArtifact(late, metadata=store.run)).artifact.id == known
    listed = await store.files.ListArtifacts(
        file_pb2.ListArtifactsRequest(run_id=lease.run.id), metadata=store.person
    )
    assert [artifact.id for artifact in listed.artifacts] == [known]
    request = file_pb2.ReadArtifactRequest(id=known)
    read = [part async for part in store.files.ReadArtifact(request, metadata=store.person)]
    assert b"".join(part.chunk for part in read) == b"png"

    refused = chart(lease, lease.epoch, id=str(uuid.uuid4()))
    with pytest.raises(grpc.aio.AioRpcError):
        await store.files.PutArtifact(refused, metadata=store.run)
    assert len(files_under(tmp_path / "objects")) == 1


async def test_an_artifact_of_another_run_cannot_be_taken_over(store: StoreClient) -> None:
    mine, other = [(await store.create(worker_id="w1")).lease for _ in range(2)]
    known = str(uuid.uuid4())
    await store.files.PutArtifact(chart(mine, mine.epoch, id=known), metadata=store.run)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await store.files.PutArtifact(chart(other, other.epoch, id=known), metadata=store.run)
    assert raised.value.code() == grpc.StatusCode.FAILED_PRECONDITION


async def chart(
    lease: run_store_pb2.Lease, epoch: int, **fields: str
) -> AsyncIterator[file_pb2.PutArtifactRequest]:
    header = file_pb2.ArtifactHeader(
        run_id=lease.run.id, epoch=epoch, name="chart.png", media_type="image/png", **fields
    )
    yield file_pb2.PutArtifactRequest(header=header)
    yield file_pb2.PutArtifactRequest(chunk=b"png")
    yield file_pb2.PutArtifactRequest(end=file_pb2.UploadEnd(size_bytes=3))


async def test_a_revoked_key_is_refused(store: StoreClient) -> None:
    made = await store.identities.CreateApiKey(
        identity_pb2.CreateApiKeyRequest(name="ci"), metadata=store.person
    )
    ask = identity_pb2.AuthenticateRequest(credential=made.secret)
    principal = (await store.identities.Authenticate(ask, metadata=store.service)).principal
    assert principal.role == "owner"
    await store.identities.RevokeApiKey(
        identity_pb2.RevokeApiKeyRequest(id=made.api_key.id), metadata=store.person
    )
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await store.identities.Authenticate(ask, metadata=store.service)
    assert raised.value.code() == grpc.StatusCode.UNAUTHENTICATED


async def test_the_first_owner_is_made_once(database_url: str, tmp_path: Path) -> None:
    for _ in range(2):
        async with serving_store(database_url, tmp_path):
            pass
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM users").fetchone() == (1,)
        stored = connection.execute("SELECT secret_hash FROM api_keys").fetchone()
        assert stored == (hashlib.sha256(API_KEY.encode()).digest(),)


async def test_migrations_started_at_once_run_once(empty_database_url: str) -> None:
    await asyncio.gather(*(asyncio.to_thread(migrate, empty_database_url) for _ in range(3)))


def test_a_newer_schema_is_refused(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StateError, match="newer store"):
        migrate(database_url)
