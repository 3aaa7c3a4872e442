"""crewmesh.v1.FileService."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from uuid6 import uuid7

from crewmesh.common.errors import InvalidInputError, NotFoundError, StateError, Violation
from crewmesh.common.grpc_server import caller
from crewmesh.v1 import file_pb2, file_pb2_grpc
from crewmesh_store.files.objects import Objects, artifact_key, dataset_key
from crewmesh_store.files.repository import FileRepository
from crewmesh_store.messages import batch_of_ids, page_bounds, parse_id
from crewmesh_store.runs.repository import RunRepository

DATASET_MEDIA_TYPES = frozenset(
    {"text/csv", "application/x-ndjson", "application/vnd.apache.parquet"}
)


class FileServicer(file_pb2_grpc.FileServiceServicer):
    """Datasets and artifacts, over gRPC."""

    def __init__(self, files: FileRepository, objects: Objects, runs: RunRepository) -> None:
        self._files = files
        self._objects = objects
        self._runs = runs

    async def PutDataset(
        self, request_iterator: AsyncIterator[file_pb2.PutDatasetRequest], context: Any
    ) -> file_pb2.PutDatasetResponse:
        org_id = caller().require_org()
        header = (await _first(request_iterator)).header
        _check_dataset(header)
        dataset_id = _new_id()
        key = dataset_key(org_id, dataset_id)
        stored = await self._objects.write(key, _chunks(request_iterator))
        if stored.size_bytes == 0:
            await self._objects.delete(key)
            raise InvalidInputError(
                "the dataset is empty", violations=[Violation("file", "holds no byte")]
            )
        dataset = await self._files.create_dataset(dataset_id, org_id, header, stored)
        return file_pb2.PutDatasetResponse(dataset=dataset)

    async def ListDatasets(
        self, request: file_pb2.ListDatasetsRequest, context: Any
    ) -> file_pb2.ListDatasetsResponse:
        limit, before = page_bounds(request.page_size, request.page_token)
        datasets = await self._files.list_datasets(caller().require_org(), before, limit + 1)
        more = len(datasets) > limit
        return file_pb2.ListDatasetsResponse(
            datasets=datasets[:limit], next_page_token=datasets[limit - 1].id if more else ""
        )

    async def GetDataset(
        self, request: file_pb2.GetDatasetRequest, context: Any
    ) -> file_pb2.GetDatasetResponse:
        dataset = await self._files.get_dataset(caller().require_org(), request.id_or_name)
        return file_pb2.GetDatasetResponse(dataset=dataset)

    async def ReadDataset(
        self, request: file_pb2.ReadDatasetRequest, context: Any
    ) -> AsyncIterator[file_pb2.ReadDatasetResponse]:
        org_id = caller().require_org()
        dataset = await self._files.get_dataset(org_id, request.id)
        yield file_pb2.ReadDatasetResponse(header=dataset)
        async for chunk in self._objects.read(dataset_key(org_id, UUID(dataset.id))):
            yield file_pb2.ReadDatasetResponse(chunk=chunk)

    async def DeleteDataset(
        self, request: file_pb2.DeleteDatasetRequest, context: Any
    ) -> file_pb2.DeleteDatasetResponse:
        org_id = caller().require_org()
        await self._files.delete_dataset(org_id, request.id)
        await self._objects.delete(dataset_key(org_id, UUID(request.id)))
        return file_pb2.DeleteDatasetResponse()

    async def PutArtifact(
        self, request_iterator: AsyncIterator[file_pb2.PutArtifactRequest], context: Any
    ) -> file_pb2.PutArtifactResponse:
        org_id = caller().require_org()
        header = (await _first(request_iterator)).header
        artifact_id = parse_id(header.id, "artifact") if header.id else _new_id()
        if (artifact := await self._find_artifact(org_id, artifact_id)) is None:
            artifact = await self._store_artifact(org_id, artifact_id, header, request_iterator)
        elif artifact.run_id != header.run_id:
            raise StateError("that artifact is another run's", reason="WRONG_RUN")
        return file_pb2.PutArtifactResponse(artifact=artifact)

    async def _store_artifact(
        self,
        org_id: str,
        artifact_id: UUID,
        header: file_pb2.ArtifactHeader,
        requests: AsyncIterator[file_pb2.PutArtifactRequest],
    ) -> file_pb2.Artifact:
        key = artifact_key(org_id, artifact_id)
        stored = await self._objects.write(key, _chunks(requests))
        try:
            return await self._files.create_artifact(artifact_id, header, stored)
        except StateError:
            # Any other error may hide that the row is there. And so it may be now, by an
            # upload of the same at the same time; later it can't, the lease being lost.
            if await self._find_artifact(org_id, artifact_id) is None:
                await self._objects.delete(key)
            raise

    async def _find_artifact(self, org_id: str, artifact_id: UUID) -> file_pb2.Artifact | None:
        try:
            return await self._files.get_artifact(org_id, str(artifact_id))
        except NotFoundError:
            return None

    async def ListArtifacts(
        self, request: file_pb2.ListArtifactsRequest, context: Any
    ) -> file_pb2.ListArtifactsResponse:
        org_id = caller().require_org()
        if await self._runs.get(request.run_id, org_id) is None:
            raise NotFoundError(f"there is no run {request.run_id!r}")
        artifacts = await self._files.list_artifacts(org_id, parse_id(request.run_id, "run"))
        return file_pb2.ListArtifactsResponse(artifacts=artifacts)

    async def BatchListArtifacts(
        self, request: file_pb2.BatchListArtifactsRequest, context: Any
    ) -> file_pb2.BatchListArtifactsResponse:
        artifacts = await self._files.list_artifacts_of(
            caller().require_org(), batch_of_ids(request.run_ids, "run_ids")
        )
        return file_pb2.BatchListArtifactsResponse(artifacts=artifacts)

    async def ReadArtifact(
        self, request: file_pb2.ReadArtifactRequest, context: Any
    ) -> AsyncIterator[file_pb2.ReadArtifactResponse]:
        org_id = caller().require_org()
        artifact = await self._files.get_artifact(org_id, request.id)
        yield file_pb2.ReadArtifactResponse(header=artifact)
        async for chunk in self._objects.read(artifact_key(org_id, UUID(artifact.id))):
            yield file_pb2.ReadArtifactResponse(chunk=chunk)


def _new_id() -> UUID:
    return UUID(bytes=uuid7().bytes)


def _check_dataset(header: file_pb2.DatasetHeader) -> None:
    violations = []
    if not 1 <= len(header.name) <= 200 or not header.name.isprintable():
        violations.append(Violation("name", "1 to 200 printable characters"))
    if header.media_type not in DATASET_MEDIA_TYPES:
        violations.append(
            Violation("media_type", f"one of {', '.join(sorted(DATASET_MEDIA_TYPES))}")
        )
    if violations:
        raise InvalidInputError("the dataset can't be taken", violations=violations)


async def _first(requests: AsyncIterator[Any]) -> Any:
    request = await anext(aiter(requests), None)
    if request is None or not request.HasField("header"):
        raise InvalidInputError("an upload begins with its header")
    return request


async def _chunks(requests: AsyncIterator[Any]) -> AsyncIterator[bytes]:
    """Yield the chunks up to the upload's end.

    A call that breaks off may look like one whose client has said all it wanted to, so
    only what the client says at the end tells that everything has come.
    """
    size = 0
    async for request in requests:
        part = request.WhichOneof("part")
        if part == "chunk":
            size += len(request.chunk)
            yield request.chunk
        elif part == "end" and request.end.size_bytes == size:
            return
        else:
            break
    raise InvalidInputError("an upload is a header, chunks, and an end that says their size")
