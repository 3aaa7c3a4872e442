"""Who is asking, and their API keys."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from crewmesh.v1.identity_pb2 import (
    ChangePasswordRequest,
    CreateApiKeyRequest,
    ListApiKeysRequest,
    RevokeApiKeyRequest,
)
from crewmesh_gateway import schemas
from crewmesh_gateway.bodies import JsonRoute
from crewmesh_gateway.openapi import BODY_FAULTS, problems
from crewmesh_gateway.params import Id
from crewmesh_gateway.relay import RequestRelay
from crewmesh_gateway.responses import Json
from crewmesh_gateway.translate import api_key_json, as_timestamp, principal_json

router = APIRouter(tags=["account"], route_class=JsonRoute)


@router.get("/v1/me", summary="Who am I?", responses={200: {"model": schemas.Me}, **problems()})
async def me(relay: RequestRelay) -> Response:
    """Show the user, the organisation, the role and the key of this request."""
    return Json(principal_json(relay.caller.principal))


@router.post(
    "/v1/api-keys",
    summary="Create an API key",
    status_code=201,
    responses={201: {"model": schemas.CreatedApiKey}, **problems(*BODY_FAULTS)},
)
async def create_api_key(relay: RequestRelay, body: schemas.CreateApiKey) -> Response:
    """Create a key; its secret is in this answer and never again.

    It permits what your role does, within its scopes. With `user_id` it is a service account's.
    """
    request = CreateApiKeyRequest(
        name=body.name,
        scopes=body.scopes,
        expires_at=as_timestamp(body.expires_at),
        user_id=body.user_id or "",
    )
    answer = await relay.call(relay.mesh.identities.CreateApiKey, request)
    content = {**api_key_json(answer.api_key), "secret": answer.secret}
    return Json(content, 201, {"Cache-Control": "no-store"})


@router.get(
    "/v1/api-keys",
    summary="List API keys",
    responses={200: {"model": schemas.Page[schemas.ApiKey]}, **problems()},
)
async def list_api_keys(relay: RequestRelay) -> Response:
    """List your keys, and everybody's where you may manage them; revoked ones too, on one page."""
    answer = await relay.call(relay.mesh.identities.ListApiKeys, ListApiKeysRequest())
    items = [api_key_json(api_key) for api_key in answer.api_keys]
    return Json({"items": items, "next_cursor": None})


@router.delete(
    "/v1/api-keys/{key_id}", summary="Revoke an API key", status_code=204, responses=problems(404)
)
async def revoke_api_key(relay: RequestRelay, key_id: Id) -> Response:
    """Revoke a key; every gateway refuses it within 10 seconds, this one at once."""
    await relay.call(relay.mesh.identities.RevokeApiKey, RevokeApiKeyRequest(id=key_id))
    relay.gateway.authenticator.forget(lambda principal: principal.api_key_id == key_id)
    return Response(status_code=204)


@router.put(
    "/v1/me/password",
    summary="Change my password",
    status_code=204,
    responses=problems(*BODY_FAULTS),
)
async def change_password(relay: RequestRelay, body: schemas.ChangePassword) -> Response:
    """Give yourself another password; all your sign-ins end, your API keys stay."""
    request = ChangePasswordRequest(
        current_password=body.current_password, new_password=body.new_password
    )
    await relay.call(relay.mesh.identities.ChangePassword, request)
    return Response(status_code=204)
