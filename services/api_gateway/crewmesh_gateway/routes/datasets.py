"""Data that runs work on."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from crewmesh.v1.file_pb2 import (
    DeleteDatasetRequest,
    GetDatasetRequest,
    ListDatasetsRequest,
    ReadDatasetRequest,
)
from crewmesh_gateway.download import answer_file
from crewmesh_gateway.openapi import BODY_FAULTS, problems
from crewmesh_gateway.params import Cursor, Id, IdOrName, Limit
from crewmesh_gateway.relay import RequestRelay
from crewmesh_gateway.responses import Json
from crewmesh_gateway.schemas import Dataset, Page
from crewmesh_gateway.translate import dataset_json
from crewmesh_gateway.upload import store_upload

router = APIRouter(tags=["datasets"])

# The form is read as it arrives, which FastAPI can't describe by itself.
_FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "name": {
                            "type": "string",
                            "maxLength": 200,
                            "description": "Default: the file's name. Must come before `file`.",
                        },
                        "file": {"type": "string", "format": "binary"},
                    },
                }
            }
        },
    }
}


@router.post(
    "/v1/datasets",
    summary="Upload a dataset",
    status_code=201,
    responses={201: {"model": Dataset}, **problems(*BODY_FAULTS)},
    openapi_extra=_FORM,
)
async def put_dataset(relay: RequestRelay, request: Request) -> Response:
    """Store a CSV, JSON lines or Parquet file.

    What it is, is told by the file's name (`.csv`, `.jsonl`, `.ndjson`, `.parquet`) or else
    by the part's declared media type.
    """
    dataset = await store_upload(request, relay)
    return Json(dataset_json(dataset), 201, {"Location": f"/v1/datasets/{dataset.id}"})


@router.get(
    "/v1/datasets",
    summary="List datasets",
    responses={200: {"model": Page[Dataset]}, **problems(422)},
)
async def list_datasets(relay: RequestRelay, limit: Limit = 50, cursor: Cursor = None) -> Response:
    """List datasets, newest first."""
    answer = await relay.call(
        relay.mesh.files.ListDatasets, ListDatasetsRequest(page_size=limit, page_token=cursor or "")
    )
    return Json(
        {
            "items": [dataset_json(dataset) for dataset in answer.datasets],
            "next_cursor": answer.next_page_token or None,
        }
    )


@router.get(
    "/v1/datasets/{dataset_id}",
    summary="Show a dataset",
    responses={200: {"model": Dataset}, **problems(404)},
)
async def get_dataset(relay: RequestRelay, dataset_id: IdOrName) -> Response:
    """Show a dataset; a name means the newest that has it."""
    request = GetDatasetRequest(id_or_name=dataset_id)
    answer = await relay.call(relay.mesh.files.GetDataset, request)
    return Json(dataset_json(answer.dataset))


@router.get(
    "/v1/datasets/{dataset_id}/content",
    summary="Download a dataset",
    responses={200: {"content": {"application/octet-stream": {}}}, **problems(404)},
    response_class=Response,
)
async def read_dataset(relay: RequestRelay, dataset_id: Id) -> Response:
    """Return a dataset's bytes as they were uploaded."""
    return await answer_file(relay, relay.mesh.files.ReadDataset, ReadDatasetRequest(id=dataset_id))


@router.delete(
    "/v1/datasets/{dataset_id}",
    summary="Delete a dataset",
    status_code=204,
    responses=problems(404),
)
async def delete_dataset(relay: RequestRelay, dataset_id: Id) -> Response:
    """Delete a dataset and its bytes; runs that read it before keep what they made of it."""
    await relay.call(relay.mesh.files.DeleteDataset, DeleteDatasetRequest(id=dataset_id))
    return Response(status_code=204)
