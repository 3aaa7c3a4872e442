"""Files' metadata in Postgres; each method is a statement of sql/files.sql."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from crewmesh.common.errors import NotFoundError, StateError
from crewmesh.v1 import file_pb2
from crewmesh_store.database import Database, Row, load_statements
from crewmesh_store.files.objects import StoredObject
from crewmesh_store.messages import parse_id, timestamp

SQL = load_statements("files")


class FileRepository:
    """Datasets and artifacts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create_dataset(
        self, dataset_id: UUID, org_id: str, header: file_pb2.DatasetHeader, stored: StoredObject
    ) -> file_pb2.Dataset:
        """Record a dataset whose bytes are stored."""
        row = await self._database.fetch_one(
            SQL["create_dataset"],
            id=dataset_id,
            org_id=org_id,
            name=header.name,
            media_type=header.media_type,
            size_bytes=stored.size_bytes,
            sha256=stored.sha256,
        )
        assert row is not None
        return _dataset_from_row(row)

    async def list_datasets(
        self, org_id: str, before_id: UUID | None, limit: int
    ) -> list[file_pb2.Dataset]:
        """Return at most `limit` datasets, newest first."""
        rows = await self._database.fetch(
            SQL["list_datasets"], org_id=org_id, before_id=before_id, limit=limit
        )
        return [_dataset_from_row(row) for row in rows]

    async def get_dataset(self, org_id: str, id_or_name: str) -> file_pb2.Dataset:
        """Return a dataset by its id, or the newest of that name."""
        row = None
        try:
            dataset_id = UUID(id_or_name)
        except ValueError:
            row = await self._database.fetch_one(
                SQL["get_newest_dataset"], org_id=org_id, name=id_or_name
            )
        else:
            row = await self._database.fetch_one(SQL["get_dataset"], org_id=org_id, id=dataset_id)
        if row is None:
            raise NotFoundError(f"there is no dataset {id_or_name[:64]!r}")
        return _dataset_from_row(row)

    async def delete_dataset(self, org_id: str, dataset_id: str) -> None:
        """Forget a dataset."""
        row = await self._database.fetch_one(
            SQL["delete_dataset"], org_id=org_id, id=parse_id(dataset_id, "dataset")
        )
        if row is None:
            raise NotFoundError(f"there is no dataset {dataset_id!r}")

    async def create_artifact(
        self, artifact_id: UUID, header: file_pb2.ArtifactHeader, stored: StoredObject
    ) -> file_pb2.Artifact:
        """Record an artifact; raise StateError (LEASE_LOST) if the run is no longer the writer's."""
        row = await self._database.fetch_one(
            SQL["create_artifact"],
            id=artifact_id,
            run_id=parse_id(header.run_id, "run"),
            epoch=header.epoch,
            name=header.name,
            media_type=header.media_type,
            size_bytes=stored.size_bytes,
            sha256=stored.sha256,
        )
        if row is None:
            raise StateError("the run's lease is not yours any more", reason="LEASE_LOST")
        return _artifact_from_row(row)

    async def list_artifacts(self, org_id: str, run_id: UUID) -> list[file_pb2.Artifact]:
        """Return a run's artifacts in the order of their making."""
        rows = await self._database.fetch(SQL["list_artifacts"], org_id=org_id, run_id=run_id)
        return [_artifact_from_row(row) for row in rows]

    async def list_artifacts_of(
        self, org_id: str, run_ids: Sequence[UUID]
    ) -> list[file_pb2.Artifact]:
        """Return many runs' artifacts, each run's in the order of their making."""
        rows = await self._database.fetch(
            SQL["list_artifacts_of_runs"], org_id=org_id, run_ids=list(run_ids)
        )
        return [_artifact_from_row(row) for row in rows]

    async def get_artifact(self, org_id: str, artifact_id: str) -> file_pb2.Artifact:
        """Return an artifact's metadata."""
        row = await self._database.fetch_one(
            SQL["get_artifact"], org_id=org_id, id=parse_id(artifact_id, "artifact")
        )
        if row is None:
            raise NotFoundError(f"there is no artifact {artifact_id!r}")
        return _artifact_from_row(row)


def _dataset_from_row(row: Row) -> file_pb2.Dataset:
    return file_pb2.Dataset(
        id=str(row["id"]),
        name=row["name"],
        media_type=row["media_type"],
        size_bytes=row["size_bytes"],
        sha256=row["sha256"].hex(),
        created_at=timestamp(row["created_at"]),
    )


def _artifact_from_row(row: Row) -> file_pb2.Artifact:
    return file_pb2.Artifact(
        id=str(row["id"]),
        run_id=str(row["run_id"]),
        name=row["name"],
        media_type=row["media_type"],
        size_bytes=row["size_bytes"],
        sha256=row["sha256"].hex(),
        created_at=timestamp(row["created_at"]),
    )
