"""Datasets on their way in: from a form to the store, piece by piece."""

from __future__ import annotations

import asyncio
from pathlib import PureWindowsPath

import grpc
from starlette.exceptions import HTTPException
from starlette.requests import Request

from crewmesh.common.access import check_access
from crewmesh.common.errors import InvalidInputError, UnavailableError, Violation
from crewmesh.v1.file_pb2 import (
    Dataset,
    DatasetHeader,
    PutDatasetRequest,
    PutDatasetResponse,
    UploadEnd,
)
from crewmesh_gateway.mesh import error_of
from crewmesh_gateway.multipart import Part, read_parts
from crewmesh_gateway.relay import Relay

_PUT = "/crewmesh.v1.FileService/PutDataset"
_PIECE_BYTES = 256 * 1024
_UPLOAD_SECONDS = 3600
_MAX_NAME = 200
_MAX_NAME_BYTES = 4 * _MAX_NAME
_NAME_FAULT = f"it must be 1 to {_MAX_NAME} printable characters"

_TYPE_BY_SUFFIX = {
    ".csv": "text/csv",
    ".jsonl": "application/x-ndjson",
    ".ndjson": "application/x-ndjson",
    ".parquet": "application/vnd.apache.parquet",
}
_TYPE_BY_ALIAS = {
    "text/csv": "text/csv",
    "application/csv": "text/csv",
    "application/x-ndjson": "application/x-ndjson",
    "application/ndjson": "application/x-ndjson",
    "application/jsonl": "application/x-ndjson",
    "application/vnd.apache.parquet": "application/vnd.apache.parquet",
}


async def store_upload(request: Request, relay: Relay) -> Dataset:
    """Send the form's file to the store and return the dataset that it became.

    The form has `file` and, before it, optionally `name`. Nothing is kept of an upload
    that breaks off or is refused.
    """
    # The store's refusal would be lost while a write is under way, and the upload made in vain.
    check_access(_PUT, relay.caller.identity)
    seen: set[str] = set()
    name = bytearray()
    upload: _Upload | None = None
    try:
        async for item in read_parts(request, relay.gateway.max_upload_bytes):
            if isinstance(item, Part):
                _check_part(item, seen)
                seen.add(item.name)
                if item.name == "file":
                    upload = _Upload(relay, _header(item, name))
            elif upload is not None:
                await upload.add(item)
            elif len(name) + len(item) > _MAX_NAME_BYTES:
                raise _invalid("name", _NAME_FAULT)
            else:
                name += item
        if upload is None:
            raise _invalid("file", "it is missing")
        return await upload.finish()
    finally:
        if upload is not None:
            upload.cancel()


class _Upload:
    """One PutDataset call, begun with the first piece."""

    def __init__(self, relay: Relay, header: DatasetHeader) -> None:
        self._relay = relay
        self._header = header
        self._pending = bytearray()
        self._size = 0
        self._call: grpc.aio.StreamUnaryCall[PutDatasetRequest, PutDatasetResponse] | None = None

    async def add(self, data: bytes) -> None:
        """Add the file's next bytes."""
        self._pending += data
        if len(self._pending) >= _PIECE_BYTES:
            await self._send_pending()

    async def finish(self) -> Dataset:
        """Send what is left and return what the store made of the file."""
        if self._pending:
            await self._send_pending()
        if self._call is None:
            raise _invalid("file", "it is empty")
        try:
            await self._write(PutDatasetRequest(end=UploadEnd(size_bytes=self._size)))
            await self._call.done_writing()
            return (await self._call).dataset
        except grpc.aio.AioRpcError as error:
            raise error_of(error) from None

    def cancel(self) -> None:
        """Break off; does nothing to an upload that is finished."""
        if self._call is not None:
            self._call.cancel()

    async def _send_pending(self) -> None:
        piece, self._pending = bytes(self._pending), bytearray()
        self._size += len(piece)
        if self._call is None:
            self._call = self._relay.mesh.files.PutDataset(
                timeout=_UPLOAD_SECONDS, metadata=self._relay.metadata()
            )
            await self._write(PutDatasetRequest(header=self._header))
        for start in range(0, len(piece), _PIECE_BYTES):
            await self._write(PutDatasetRequest(chunk=piece[start : start + _PIECE_BYTES]))

    async def _write(self, request: PutDatasetRequest) -> None:
        assert self._call is not None
        try:
            await self._call.write(request)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError) as error:
            # The store ended the call, and gRPC loses its reason when a write is under way.
            raise UnavailableError("the store broke the upload off") from error


def _check_part(part: Part, seen: set[str]) -> None:
    if part.name not in ("file", "name"):
        raise _invalid(part.name, "unknown field: the form takes `name` and then `file`")
    if "file" in seen or part.name in seen:
        raise _invalid(part.name, "the form takes one `file`, and at most one `name` before it")
    if part.name == "file" and not part.filename:
        raise _invalid("file", "it must be a file, with a file name")


def _header(part: Part, name_field: bytearray) -> DatasetHeader:
    filename = PureWindowsPath(part.filename or "").name
    try:
        name = name_field.decode().strip() or filename
    except UnicodeDecodeError:
        raise _invalid("name", "it must be UTF-8") from None
    if not 1 <= len(name) <= _MAX_NAME or not name.isprintable():
        raise _invalid("name", _NAME_FAULT)
    suffix = PureWindowsPath(filename).suffix or PureWindowsPath(name).suffix
    media_type = _TYPE_BY_SUFFIX.get(suffix.lower()) or _TYPE_BY_ALIAS.get(part.media_type)
    if media_type is None:
        raise HTTPException(
            415,
            "a dataset is CSV (.csv), JSON lines (.jsonl, .ndjson) or Parquet (.parquet); "
            f"{filename!r} is none of them by its name or its declared type",
        )
    return DatasetHeader(name=name, media_type=media_type)


def _invalid(field: str, fault: str) -> InvalidInputError:
    return InvalidInputError("the form can't be taken", violations=[Violation(field, fault)])
