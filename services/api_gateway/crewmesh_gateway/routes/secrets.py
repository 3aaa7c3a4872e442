"""Secrets: keys that runs find in their environment. No answer shows a value."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from crewmesh.v1.tenant_pb2 import (
    DeleteSecretRequest,
    GetSecretRequest,
    ListSecretsRequest,
    PutSecretRequest,
)
from crewmesh_gateway import schemas_of_tenants as schemas
from crewmesh_gateway.bodies import JsonRoute
from crewmesh_gateway.openapi import BODY_FAULTS, problems
from crewmesh_gateway.params import SecretName
from crewmesh_gateway.relay import RequestRelay
from crewmesh_gateway.responses import Json
from crewmesh_gateway.translate import secret_json

router = APIRouter(tags=["secrets"], route_class=JsonRoute)


@router.get(
    "/v1/secrets",
    summary="List secrets",
    responses={200: {"model": schemas.Secrets}, **problems()},
)
async def list_secrets(relay: RequestRelay) -> Response:
    """List what secrets there are, by name."""
    answer = await relay.call(relay.mesh.tenants.ListSecrets, ListSecretsRequest())
    return Json({"items": [secret_json(secret) for secret in answer.secrets]})


@router.get(
    "/v1/secrets/{name}",
    summary="Show a secret",
    responses={200: {"model": schemas.Secret}, **problems(404)},
)
async def get_secret(relay: RequestRelay, name: SecretName) -> Response:
    """Show what may be known of a secret."""
    answer = await relay.call(relay.mesh.tenants.GetSecret, GetSecretRequest(name=name))
    return Json(secret_json(answer.secret))


@router.put(
    "/v1/secrets/{name}",
    summary="Set a secret",
    responses={200: {"model": schemas.Secret}, **problems(404, 409, *BODY_FAULTS)},
)
async def put_secret(relay: RequestRelay, name: SecretName, body: schemas.SetSecret) -> Response:
    """Keep a value, encrypted; attempts that begin from now on find it in that variable."""
    request = PutSecretRequest(name=name, value=body.value)
    answer = await relay.call(relay.mesh.tenants.PutSecret, request)
    return Json(secret_json(answer.secret))


@router.delete(
    "/v1/secrets/{name}", summary="Forget a secret", status_code=204, responses=problems(404)
)
async def delete_secret(relay: RequestRelay, name: SecretName) -> Response:
    """Forget a secret; attempts that have begun still know it."""
    await relay.call(relay.mesh.tenants.DeleteSecret, DeleteSecretRequest(name=name))
    return Response(status_code=204)
