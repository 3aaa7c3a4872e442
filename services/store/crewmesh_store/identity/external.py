"""Sign-ins of people whom an identity provider has vouched for."""

from __future__ import annotations

import structlog

from crewmesh.common.errors import ForbiddenError
from crewmesh.common.permissions import ROLES
from crewmesh.v1 import identity_pb2
from crewmesh_store.database import Database, Row, load_statements
from crewmesh_store.identity.sign_ins import SignIns
from crewmesh_store.identity.users import is_email

SQL = load_statements("identity")

log = structlog.get_logger(__name__)

_OWNER = "owner"
_MAX_CHARACTERS = 255


class ExternalSignIns:
    """Finds, or makes, the user that an issuer's subject is.

    A subject that isn't known yet is found by its address, and only by one that the issuer has
    verified: whoever could claim another's address would else have that account.
    """

    def __init__(self, database: Database, sign_ins: SignIns) -> None:
        self._database = database
        self._sign_ins = sign_ins

    async def sign_in(self, request: identity_pb2.SignInExternallyRequest) -> identity_pb2.Tokens:
        """Return tokens; raise ForbiddenError, with the reason, for who has no account here."""
        _check(request)
        user = await self._database.fetch_one(
            SQL["find_external"], issuer=request.issuer, subject=request.subject
        )
        if user is None:
            user = await self._link(request)
        elif user["org_name"] != request.org_name:
            raise _conflict("this account is in another organisation than the provider says")
        if user["disabled_at"] is not None:
            raise _conflict("this account is disabled")
        if request.role and request.role_is_said:
            await self._database.fetch(SQL["set_said_role"], id=user["id"], role=request.role)
        return await self._sign_ins.begin(str(user["id"]), str(user["org_id"]))

    async def _link(self, request: identity_pb2.SignInExternallyRequest) -> Row:
        if not request.email_verified or not is_email(request.email):
            raise ForbiddenError(
                "the provider has not verified the e-mail address", reason="EMAIL_UNVERIFIED"
            )
        orgs = await self._database.fetch(SQL["find_org"], name=request.org_name)
        if len(orgs) != 1:
            raise ForbiddenError(
                f"there is no organisation {request.org_name!r}", reason="NO_ORGANISATION"
            )
        rows = await self._database.fetch_after(
            SQL["lock_address"],
            SQL["link_external"],
            issuer=request.issuer,
            subject=request.subject,
            email=request.email,
            name=request.name,
            role=request.role,
            org_id=orgs[0]["id"],
        )
        if rows:
            log.info("knows a user by an identity provider now", user_id=str(rows[0]["id"]))
            return rows[0]
        if not request.role:
            raise ForbiddenError(
                "there is no account with this address, and newcomers get no role", reason="NO_ROLE"
            )
        raise _conflict("the account with this address can't be this person's")


def _check(request: identity_pb2.SignInExternallyRequest) -> None:
    """Refuse what a gateway that is as it should be never sends."""
    for value in (request.issuer, request.subject):
        if not value or len(value) > _MAX_CHARACTERS or "\x00" in value:
            raise ForbiddenError("the provider names nobody")
    if request.role and (request.role not in ROLES or request.role == _OWNER):
        raise ForbiddenError(f"a provider gives nobody the role {request.role!r}")


def _conflict(message: str) -> ForbiddenError:
    return ForbiddenError(message, reason="ACCOUNT_CONFLICT")
