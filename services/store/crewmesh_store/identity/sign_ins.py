"""Sign-ins: a password against tokens, and tokens against newer ones."""

from __future__ import annotations

import math
from datetime import timedelta
from uuid import UUID

from uuid6 import uuid7

from crewmesh.common.errors import ExhaustedError, UnauthenticatedError
from crewmesh.v1 import identity_pb2
from crewmesh_store.database import Database, load_statements
from crewmesh_store.identity.credentials import hash_of, new_refresh_token
from crewmesh_store.identity.passwords import Passwords
from crewmesh_store.identity.signing import ACCESS_LIFETIME, KeyRing
from crewmesh_store.identity.throttle import ACCOUNT_FAILURES, ADDRESS_FAILURES, seconds_to_wait

SQL = load_statements("identity")

# From the first sign-in on, however often the tokens are renewed.
_FAMILY_LIFETIME = timedelta(days=30)


class SignIns:
    """Token families: one begins with a sign-in, and ends with a sign-out or a misuse."""

    def __init__(self, database: Database, passwords: Passwords, keys: KeyRing) -> None:
        self._database = database
        self._passwords = passwords
        self._keys = keys

    async def sign_in(self, email: str, password: str, network_address: str) -> identity_pb2.Tokens:
        """Return tokens for the right password.

        Raises UnauthenticatedError, the same and after the same time whether the account
        exists or not, and ExhaustedError after too many failures.
        """
        account, address = f"account:{email.lower()}", f"address:{network_address}"
        await self._refuse_if_throttled(account, ACCOUNT_FAILURES)
        await self._refuse_if_throttled(address, ADDRESS_FAILURES)
        row = await self._database.fetch_one(SQL["find_sign_in"], email=email)
        right, renewed = await self._passwords.verify(
            password, row["password_hash"] if row else None
        )
        if row is None or not right:
            subjects = [account, address] if network_address else [account]
            await self._database.fetch(SQL["count_sign_in_failure"], subjects=subjects)
            raise UnauthenticatedError("the e-mail address or the password is wrong")
        await self._database.fetch(SQL["forget_sign_in_failures"], subject=account)
        if renewed:
            await self._database.fetch(
                SQL["set_password_hash"], id=row["id"], password_hash=renewed
            )
        return await self.begin(str(row["id"]), str(row["org_id"]))

    async def refresh(self, refresh_token: str) -> identity_pb2.Tokens:
        """Return new tokens for the newest refresh token of a family.

        An older one ends the family: two have it, and one of them must not.
        """
        following = new_refresh_token()
        row = await self._database.fetch_one(
            SQL["use_refresh_token"], hash=hash_of(refresh_token), next_hash=hash_of(following)
        )
        if row is None or row["reused"]:
            raise UnauthenticatedError("the refresh token is not valid; sign in again")
        access = await self._keys.sign(str(row["user_id"]), str(row["org_id"]), row["family_id"])
        return _tokens(access, following)

    async def sign_out(self, refresh_token: str) -> None:
        """End a family; a token that is good for nothing anyway is no error."""
        await self._database.fetch(SQL["end_family"], hash=hash_of(refresh_token))

    async def forget_old(self) -> None:
        """Delete what has expired."""
        await self._database.fetch(SQL["forget_families"])

    async def begin(self, user_id: str, org_id: str) -> identity_pb2.Tokens:
        """Return the first tokens of somebody who has proved who they are."""
        family_id, refresh_token = UUID(bytes=uuid7().bytes), new_refresh_token()
        await self._database.fetch(
            SQL["begin_family"],
            family_id=family_id,
            org_id=org_id,
            user_id=user_id,
            hash=hash_of(refresh_token),
            lifetime=_FAMILY_LIFETIME,
        )
        return _tokens(await self._keys.sign(user_id, org_id, family_id), refresh_token)

    async def _refuse_if_throttled(self, subject: str, free: int) -> None:
        row = await self._database.fetch_one(SQL["read_sign_in_failures"], subject=subject)
        if row is None or row["failures"] is None:
            return
        wait = seconds_to_wait(row["failures"], free, float(row["seconds_ago"]))
        if wait > 0:
            raise ExhaustedError(
                f"too many failed sign-ins; try again in {math.ceil(wait)} s",
                reason="SIGN_IN_THROTTLED",
                retry_after_seconds=wait,
            )


def _tokens(access_token: str, refresh_token: str) -> identity_pb2.Tokens:
    return identity_pb2.Tokens(
        access_token=access_token,
        expires_in_seconds=int(ACCESS_LIFETIME.total_seconds()),
        refresh_token=refresh_token,
    )
