"""An organisation's users: people and service accounts."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from crewmesh.v1.identity_pb2 import (
    CreateUserRequest,
    DeleteUserRequest,
    GetUserRequest,
    ListUsersRequest,
    UpdateUserRequest,
)
from crewmesh_gateway import schemas
from crewmesh_gateway.bodies import JsonRoute
from crewmesh_gateway.openapi import BODY_FAULTS, problems
from crewmesh_gateway.params import Cursor, Id, Limit
from crewmesh_gateway.relay import RequestRelay
from crewmesh_gateway.responses import Json
from crewmesh_gateway.translate import user_json

router = APIRouter(tags=["users"], route_class=JsonRoute)


@router.get(
    "/v1/users",
    summary="List users",
    responses={200: {"model": schemas.Page[schemas.Member]}, **problems(422)},
)
async def list_users(relay: RequestRelay, limit: Limit = 50, cursor: Cursor = None) -> Response:
    """List the organisation's people and service accounts, newest first."""
    request = ListUsersRequest(page_size=limit, page_token=cursor or "")
    answer = await relay.call(relay.mesh.identities.ListUsers, request)
    items = [user_json(user) for user in answer.users]
    return Json({"items": items, "next_cursor": answer.next_page_token or None})


@router.post(
    "/v1/users",
    summary="Add a user",
    status_code=201,
    responses={201: {"model": schemas.Member}, **problems(409, *BODY_FAULTS)},
)
async def create_user(relay: RequestRelay, body: schemas.CreateUser) -> Response:
    """Add a person, with or without a password, or a service account, which has API keys."""
    request = CreateUserRequest(
        email=body.email,
        name=body.name,
        role=body.role,
        service_account=body.service_account,
        password=body.password or "",
    )
    answer = await relay.call(relay.mesh.identities.CreateUser, request)
    return Json(user_json(answer.user), 201, {"Location": f"/v1/users/{answer.user.id}"})


@router.get(
    "/v1/users/{user_id}",
    summary="Show a user",
    responses={200: {"model": schemas.Member}, **problems(404)},
)
async def get_user(relay: RequestRelay, user_id: Id) -> Response:
    """Show a user of the organisation."""
    answer = await relay.call(relay.mesh.identities.GetUser, GetUserRequest(id=user_id))
    return Json(user_json(answer.user))


@router.patch(
    "/v1/users/{user_id}",
    summary="Change a user",
    responses={200: {"model": schemas.Member}, **problems(404, 409, *BODY_FAULTS)},
)
async def update_user(relay: RequestRelay, user_id: Id, body: schemas.UpdateUser) -> Response:
    """Change what is given; another password or a disabled account ends all sign-ins."""
    changes = body.model_dump(exclude_none=True)
    answer = await relay.call(
        relay.mesh.identities.UpdateUser, UpdateUserRequest(id=user_id, **changes)
    )
    relay.gateway.authenticator.forget(lambda principal: principal.user_id == user_id)
    return Json(user_json(answer.user))


@router.delete(
    "/v1/users/{user_id}", summary="Remove a user", status_code=204, responses=problems(404, 409)
)
async def delete_user(relay: RequestRelay, user_id: Id) -> Response:
    """Remove a user with their keys and tokens; their runs stay."""
    await relay.call(relay.mesh.identities.DeleteUser, DeleteUserRequest(id=user_id))
    relay.gateway.authenticator.forget(lambda principal: principal.user_id == user_id)
    return Response(status_code=204)
