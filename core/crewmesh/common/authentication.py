"""Whose a credential is: the store says so, and is asked again every few seconds."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import grpc

from crewmesh.common.errors import CrewmeshError, UnauthenticatedError, error_from_rpc
from crewmesh.common.identity import Identity
from crewmesh.v1 import identity_pb2, identity_pb2_grpc

_KNOWN_SECONDS: Final = 10.0
_UNKNOWN_SECONDS: Final = 1.0
_MAX_REMEMBERED: Final = 10_000
_CALL_SECONDS: Final = 5.0

Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated client."""

    principal: identity_pb2.Principal
    identity: Identity


class Authenticator:
    """Turns API keys and access tokens into callers, for a service at the mesh's edge.

    A credential is good for at most 10 s after the store said so, and bad for at most 1 s.
    It is remembered by its SHA-256 only; concurrent requests with one that isn't remembered
    share one call to the store. `translate` makes an error of the call the service's own.
    """

    def __init__(
        self,
        store: identity_pb2_grpc.IdentityServiceAsyncStub,
        service: str,
        translate: Callable[[grpc.aio.AioRpcError], CrewmeshError] = error_from_rpc,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._service = service
        self._translate = translate
        self._clock = clock
        self._remembered: dict[bytes, tuple[float, Caller | UnauthenticatedError]] = {}
        self._asked: dict[bytes, asyncio.Task[Caller]] = {}

    async def authenticate(self, credential: str, metadata: Metadata) -> Caller:
        """Return who holds `credential`; `metadata` goes with a call to the store.

        Raises UnauthenticatedError for one that isn't valid, and the store's error when it
        can't be asked.
        """
        digest = _digest_of(credential)
        remembered = self._remembered.get(digest)
        if remembered is not None and remembered[0] > self._clock():
            if isinstance(remembered[1], UnauthenticatedError):
                raise UnauthenticatedError(remembered[1].message, reason=remembered[1].reason)
            return remembered[1]
        asking = self._asked.get(digest)
        if asking is None:
            asking = asyncio.create_task(self._ask(digest, credential, metadata))
            self._asked[digest] = asking
            asking.add_done_callback(lambda _: self._asked.pop(digest))
        return await asyncio.shield(asking)

    def knows(self, credential: str) -> bool:
        """Say whether a credential was good when the store was last asked about it."""
        remembered = self._remembered.get(_digest_of(credential))
        return remembered is not None and isinstance(remembered[1], Caller)

    def forget(self, concerns: Callable[[identity_pb2.Principal], bool]) -> None:
        """Ask the store again about those whose key or role has just changed."""
        for digest, (_, caller) in list(self._remembered.items()):
            if isinstance(caller, Caller) and concerns(caller.principal):
                del self._remembered[digest]

    async def _ask(self, digest: bytes, credential: str, metadata: Metadata) -> Caller:
        asked_at = self._clock()
        try:
            answer = await self._store.Authenticate(
                identity_pb2.AuthenticateRequest(credential=credential),
                timeout=_CALL_SECONDS,
                metadata=metadata,
            )
        except grpc.aio.AioRpcError as rpc_error:
            error = self._translate(rpc_error)
            if isinstance(error, UnauthenticatedError):
                self._remember(digest, asked_at + _UNKNOWN_SECONDS, error)
            raise error from None
        caller = Caller(answer.principal, self._identity(answer.principal))
        self._remember(digest, asked_at + _KNOWN_SECONDS, caller)
        return caller

    def _remember(self, digest: bytes, until: float, answer: Caller | UnauthenticatedError) -> None:
        if len(self._remembered) >= _MAX_REMEMBERED:
            self._remembered.clear()
        self._remembered[digest] = (until, answer)

    def _identity(self, principal: identity_pb2.Principal) -> Identity:
        return Identity(
            service=self._service,
            org_id=principal.org_id,
            user_id=principal.user_id,
            role=principal.role,
            email=principal.email,
            org_name=principal.org_name,
            scopes=tuple(principal.scopes),
            api_key_id=principal.api_key_id,
        )


def _digest_of(credential: str) -> bytes:
    return hashlib.sha256(credential.encode()).digest()
