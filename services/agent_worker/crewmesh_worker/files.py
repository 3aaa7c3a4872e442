"""Files of runs: datasets come from the store, artifacts go to it."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final
from weakref import WeakValueDictionary

import grpc

from crewmesh.common.errors import InvalidInputError
from crewmesh.common.grpc_client import ending
from crewmesh.common.grpc_server import rpc_errors
from crewmesh.common.identity import Identity, IdentitySigner
from crewmesh.v1 import file_pb2, file_pb2_grpc, runner_pb2

_CHUNK_BYTES: Final = 1024 * 1024
_CALL_SECONDS: Final = 10.0
_TRANSFER_SECONDS: Final = 600.0
_MAX_ARTIFACT_BYTES: Final = 256 * 1024 * 1024

_SUFFIXES: Final = {
    "text/csv": ".csv",
    "application/x-ndjson": ".jsonl",
    "application/vnd.apache.parquet": ".parquet",
}


class WorkerFiles:
    """Fetches datasets once and keeps them; uploads what runs make."""

    def __init__(
        self, store: file_pb2_grpc.FileServiceAsyncStub, signer: IdentitySigner, cache_dir: Path
    ) -> None:
        self._store = store
        self._signer = signer
        self._cache_dir = cache_dir
        # Each for as long as somebody fetches that dataset.
        self._fetching = WeakValueDictionary[str, asyncio.Lock]()

    def tools_dir(self, identity: Identity) -> Path:
        """Return where runs of the organisation keep what they have made of its datasets."""
        path = self._cache_dir / identity.require_org() / "tools"
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path

    async def find_dataset(self, id_or_name: str, identity: Identity) -> file_pb2.Dataset:
        """Return a dataset of the organisation; raise NotFoundError if there is none."""
        with rpc_errors():
            response = await self._store.GetDataset(
                file_pb2.GetDatasetRequest(id_or_name=id_or_name),
                metadata=self._signer.metadata(identity),
                timeout=_CALL_SECONDS,
            )
        return response.dataset

    async def fetch_dataset(self, dataset_id: str, identity: Identity) -> Path:
        """Return the path of the dataset's file here, downloaded at its first use."""
        dataset = await self.find_dataset(dataset_id, identity)
        suffix = _SUFFIXES.get(dataset.media_type, "")
        path = self._cache_dir / identity.org_id / f"{dataset.id}{suffix}"
        lock = self._fetching.setdefault(dataset.id, asyncio.Lock())
        async with lock:
            if not path.exists():
                await self._download(dataset.id, identity, path)
        return path

    async def _download(self, dataset_id: str, identity: Identity, path: Path) -> None:
        call = self._store.ReadDataset(
            file_pb2.ReadDatasetRequest(id=dataset_id),
            metadata=self._signer.metadata(identity),
            timeout=_TRANSFER_SECONDS,
        )
        await _write(path, call)

    async def put_artifact(
        self,
        work_dir: Path,
        artifact: runner_pb2.RunnerArtifact,
        artifact_id: str,
        run_id: str,
        epoch: int,
        identity: Identity,
    ) -> file_pb2.Artifact:
        """Store a file that a run has made; with the same `artifact_id` again, it's the same.

        Raises InvalidInputError for a path that leads out of the run's directory: what a
        runner says isn't trusted.
        """
        path = (work_dir / artifact.path).resolve()
        if not path.is_relative_to(work_dir.resolve()) or not path.is_file():
            raise InvalidInputError(f"artifact {artifact.name!r}: no such file of the run")
        if path.stat().st_size > _MAX_ARTIFACT_BYTES:
            raise InvalidInputError(f"artifact {artifact.name!r} is larger than 256 MiB")
        header = file_pb2.ArtifactHeader(
            id=artifact_id,
            run_id=run_id,
            epoch=epoch,
            name=artifact.name,
            media_type=artifact.media_type,
        )
        with rpc_errors():
            response = await self._store.PutArtifact(
                _upload(header, path),
                metadata=self._signer.metadata(identity),
                timeout=_TRANSFER_SECONDS,
            )
        return response.artifact

    async def fetch_artifacts(self, run_id: str, identity: Identity, directory: Path) -> None:
        """Write the files that a run has made so far into a directory, the newest of each name."""
        with rpc_errors():
            response = await self._store.ListArtifacts(
                file_pb2.ListArtifactsRequest(run_id=run_id),
                metadata=self._signer.metadata(identity),
                timeout=_CALL_SECONDS,
            )
        directory.mkdir(exist_ok=True)
        newest = {artifact.name: artifact for artifact in response.artifacts}
        for name, artifact in newest.items():
            path = (directory / name).resolve()
            if path.is_relative_to(directory.resolve()):
                call = self._store.ReadArtifact(
                    file_pb2.ReadArtifactRequest(id=artifact.id),
                    metadata=self._signer.metadata(identity),
                    timeout=_TRANSFER_SECONDS,
                )
                await _write(path, call)


async def _write(path: Path, parts: grpc.aio.UnaryStreamCall[Any, Any]) -> None:
    """Write the chunks of a download to a file, which is whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=path.parent)
    try:
        with rpc_errors(), ending(parts), os.fdopen(handle, "wb") as file:
            async for part in parts:
                await asyncio.to_thread(file.write, part.chunk)
        Path(draft).replace(path)
    finally:
        Path(draft).unlink(missing_ok=True)


async def _upload(
    header: file_pb2.ArtifactHeader, path: Path
) -> AsyncIterator[file_pb2.PutArtifactRequest]:
    yield file_pb2.PutArtifactRequest(header=header)
    size = 0
    with path.open("rb") as file:
        while chunk := await asyncio.to_thread(file.read, _CHUNK_BYTES):
            size += len(chunk)
            yield file_pb2.PutArtifactRequest(chunk=chunk)
    yield file_pb2.PutArtifactRequest(end=file_pb2.UploadEnd(size_bytes=size))
