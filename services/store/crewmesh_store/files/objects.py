"""The bytes of files, in an object store: a local directory or anything S3-like."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

import obstore
from obstore.exceptions import BaseError
from obstore.store import ObjectStore, S3Store, from_url

from crewmesh.common.errors import InvalidInputError, NotFoundError, UnavailableError

if TYPE_CHECKING:
    from obstore.store import S3Config

_CHUNK_BYTES = 512 * 1024


@dataclass(frozen=True)
class StoredObject:
    """What was written."""

    size_bytes: int
    sha256: bytes


@dataclass(frozen=True)
class S3Options:
    """How to reach an S3-compatible server; what is empty is left to AWS's own variables."""

    endpoint: str = ""
    region: str = ""
    access_key: str = ""
    secret_key: str = ""

    def config(self) -> S3Config:
        """Return them as obstore takes them."""
        config: S3Config = {}
        if self.endpoint:
            config["endpoint"] = self.endpoint.rstrip("/")
        if self.region:
            config["region"] = self.region
        if self.access_key:
            config["access_key_id"] = self.access_key
        if self.secret_key:
            config["secret_access_key"] = self.secret_key
        return config


class Objects:
    """Writes, reads and deletes objects by key, in streams.

    `s3` is for URLs that begin with s3://. Raises InvalidInputError for a URL that can't be used.
    """

    def __init__(self, url: str, s3: S3Options | None = None) -> None:
        self._store = _open(url, s3 or S3Options())

    async def write(self, key: str, chunks: AsyncIterator[bytes]) -> StoredObject:
        """Store all chunks under the key; on any error, nothing stays.

        Raises UnavailableError where the object store can't be written; there may be no such bucket.
        """
        digest = hashlib.sha256()
        size = 0

        async def measured() -> AsyncIterator[bytes]:
            nonlocal size
            async for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                yield chunk

        try:
            await obstore.put_async(self._store, key, measured())
        except (BaseError, FileNotFoundError) as error:
            raise UnavailableError("the object store can't be written") from error
        except BaseException:
            await self.delete(key)
            raise
        return StoredObject(size, digest.digest())

    async def read(self, key: str) -> AsyncIterator[bytes]:
        """Yield the object's bytes in chunks of about half a MiB.

        Raises NotFoundError for an object that isn't there.
        """
        try:
            result = await obstore.get_async(self._store, key)
            async for chunk in result.stream(min_chunk_size=_CHUNK_BYTES):
                view = memoryview(chunk)
                for start in range(0, len(view), 2 * _CHUNK_BYTES):
                    yield bytes(view[start : start + 2 * _CHUNK_BYTES])
        except FileNotFoundError as error:
            raise NotFoundError(
                "the object store doesn't have the file's bytes: they were deleted just now, or the "
                "store's CREWMESH_OBJECT_STORE_URL is another than when they were stored"
            ) from error
        except BaseError as error:
            raise UnavailableError("the object store can't be read") from error

    async def delete(self, key: str) -> None:
        """Delete the object, if it is there."""
        try:
            with contextlib.suppress(FileNotFoundError):
                await obstore.delete_async(self._store, key)
        except BaseError as error:
            raise UnavailableError("the object store can't be written") from error


def _open(url: str, s3: S3Options) -> ObjectStore:
    try:
        if url.startswith("s3://"):
            # Plain HTTP only where the endpoint's address asks for it.
            plain = s3.endpoint.startswith("http://")
            return S3Store.from_url(url, config=s3.config(), client_options={"allow_http": plain})
        return from_url(url, mkdir=True) if url.startswith("file://") else from_url(url)
    except (BaseError, ValueError) as error:
        raise InvalidInputError(f"CREWMESH_OBJECT_STORE_URL can't be used: {error}") from error


def dataset_key(org_id: str | UUID, dataset_id: UUID) -> str:
    """Return where a dataset's bytes are."""
    return f"{org_id}/datasets/{dataset_id}"


def artifact_key(org_id: str | UUID, artifact_id: UUID) -> str:
    """Return where an artifact's bytes are."""
    return f"{org_id}/artifacts/{artifact_id}"
