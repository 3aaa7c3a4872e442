"""Users in Postgres: people and service accounts."""

from __future__ import annotations

import re
from uuid import UUID

from crewmesh.common.errors import (
    ConflictError,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
    StateError,
    Violation,
)
from crewmesh.common.identity import Identity
from crewmesh.common.permissions import ROLES
from crewmesh.v1 import identity_pb2
from crewmesh_store.database import Database, Row, load_statements
from crewmesh_store.identity.passwords import Passwords, check_password
from crewmesh_store.messages import parse_id, timestamp

SQL = load_statements("identity")

# Good enough to catch slips; only a letter that arrives proves an address.
_EMAIL = re.compile(r"[^@\s\x00-\x1f\x7f]{1,64}@[^@\s\x00-\x1f\x7f]{1,190}")
_NAME = re.compile(r"[^\x00-\x1f\x7f]{0,100}")
_OWNER = "owner"


class UserRepository:
    """Who belongs to an organisation. One owner who can act is always left."""

    def __init__(self, database: Database, passwords: Passwords) -> None:
        self._database = database
        self._passwords = passwords

    async def create(
        self, identity: Identity, request: identity_pb2.CreateUserRequest
    ) -> identity_pb2.User:
        """Add a user; raise ConflictError when the address is taken."""
        _check_new(request)
        _check_may_give(identity, request.role)
        row = await self._database.fetch_one(
            SQL["create_user"],
            org_id=identity.require_org(),
            email=request.email,
            name=request.name,
            role=request.role,
            service_account=request.service_account,
            password_hash=await self._passwords.hash(request.password)
            if request.password
            else None,
        )
        if row is None:
            raise ConflictError("there is an account with this address already")
        return _from_row(row)

    async def list_page(
        self, org_id: str, before_id: UUID | None, limit: int
    ) -> list[identity_pb2.User]:
        """Return at most `limit` users, newest first."""
        rows = await self._database.fetch(
            SQL["list_users"], org_id=org_id, before_id=before_id, limit=limit
        )
        return [_from_row(row) for row in rows]

    async def get(self, org_id: str, user_id: str) -> identity_pb2.User:
        """Return a user of the organisation; raise NotFoundError if there is none."""
        row = await self._database.fetch_one(
            SQL["get_user"], id=parse_id(user_id, "user"), org_id=org_id
        )
        if row is None:
            raise NotFoundError(f"there is no user {user_id!r}")
        return _from_row(row)

    async def update(
        self, identity: Identity, request: identity_pb2.UpdateUserRequest
    ) -> identity_pb2.User:
        """Change a user; raise StateError when no owner who can act would be left."""
        user = await self.get(identity.require_org(), request.id)
        _check_change(user, request)
        _check_may_give(identity, user.role)
        if request.HasField("role"):
            _check_may_give(identity, request.role)
        password = request.password if request.HasField("password") else None
        rows = await self._database.fetch_after(
            SQL["lock_owners"],
            SQL["update_user"],
            id=user.id,
            org_id=identity.org_id,
            name=request.name if request.HasField("name") else None,
            role=request.role if request.HasField("role") else None,
            disabled=request.disabled if request.HasField("disabled") else None,
            password_hash=await self._passwords.hash(password) if password else None,
        )
        if not rows:
            raise _last_owner()
        if password or request.disabled:
            await self._database.fetch(SQL["end_families_of_user"], user_id=user.id)
        return _from_row(rows[0])

    async def delete(self, identity: Identity, user_id: str) -> None:
        """Remove a user with their keys and tokens; raise StateError for the last owner."""
        user = await self.get(identity.require_org(), user_id)
        _check_may_give(identity, user.role)
        rows = await self._database.fetch_after(
            SQL["lock_owners"], SQL["delete_user"], id=user.id, org_id=identity.org_id
        )
        if not rows:
            raise _last_owner()

    async def change_password(self, identity: Identity, current: str, new: str) -> None:
        """Give the caller another password, and end their sign-ins.

        Raises InvalidInputError when `current` is wrong.
        """
        check_password(new, "new_password")
        row = await self._database.fetch_one(
            SQL["get_password_hash"], id=identity.user_id, org_id=identity.require_org()
        )
        right, _ = await self._passwords.verify(current, row["password_hash"] if row else None)
        if not right:
            raise InvalidInputError(
                "the current password is another",
                violations=[Violation("current_password", "it is not right")],
            )
        password_hash = await self._passwords.hash(new)
        await self._database.fetch(
            SQL["set_password_hash"], id=identity.user_id, password_hash=password_hash
        )
        await self._database.fetch(SQL["end_families_of_user"], user_id=identity.user_id)


def is_email(text: str) -> bool:
    """Say whether an account can have this address."""
    return _EMAIL.fullmatch(text) is not None


def _check_may_give(identity: Identity, role: str) -> None:
    """Only owners make, change and remove owners."""
    if role == _OWNER and "owners.write" not in identity.permissions:
        raise ForbiddenError("only an owner can do this to an owner")


def _check_new(request: identity_pb2.CreateUserRequest) -> None:
    faults = _faults(request.name, request.role)
    if not is_email(request.email):
        faults.append(Violation("email", "an e-mail address, at most 255 characters"))
    if request.service_account and request.password:
        faults.append(Violation("password", "a service account has API keys and no password"))
    _raise(faults)
    if request.password:
        check_password(request.password)


def _check_change(user: identity_pb2.User, request: identity_pb2.UpdateUserRequest) -> None:
    role = request.role if request.HasField("role") else user.role
    faults = _faults(request.name, role)
    if request.HasField("password") and user.service_account:
        faults.append(Violation("password", "a service account has API keys and no password"))
    _raise(faults)
    if request.HasField("password"):
        check_password(request.password)


def _faults(name: str, role: str) -> list[Violation]:
    faults = []
    if not _NAME.fullmatch(name):
        faults.append(Violation("name", "at most 100 printable characters"))
    if role not in ROLES:
        faults.append(Violation("role", f"one of {', '.join(ROLES)}"))
    return faults


def _raise(faults: list[Violation]) -> None:
    if faults:
        raise InvalidInputError("this can't be a user", violations=faults)


def _last_owner() -> StateError:
    return StateError(
        "the organisation needs an owner who can act; make somebody else an owner first",
        reason="LAST_OWNER",
    )


def _from_row(row: Row) -> identity_pb2.User:
    return identity_pb2.User(
        id=str(row["id"]),
        email=row["email"],
        name=row["name"],
        role=row["role"],
        service_account=row["service_account"],
        created_at=timestamp(row["created_at"]),
        disabled_at=timestamp(row["disabled_at"]),
        last_sign_in_at=timestamp(row["last_sign_in_at"]),
    )
