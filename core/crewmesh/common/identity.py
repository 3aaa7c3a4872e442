"""Who is asking: the mesh's short-lived, signed statement, passed from hop to hop.

People and programs outside authenticate at an edge (the gateway, or a worker's
AgentService) with an API key or an access token. From there on the mesh passes a JWT, signed with a
secret that only its services hold, which names the principal. A service that
acts on nobody's behalf (a worker that renews its leases) signs one for itself.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Final

import jwt

from crewmesh.common.errors import ForbiddenError, UnauthenticatedError
from crewmesh.common.permissions import EVERY_SCOPE, RUN_ROLE, permissions_of

IDENTITY_METADATA_KEY: Final = "crewmesh-identity"
TOKEN_SECONDS: Final = 120
# Reason of the error for a statement that can't be trusted.
INVALID_IDENTITY: Final = "INVALID_IDENTITY"
# Who may set what holds for everybody, and who may set what crews need.
MANAGERS: Final = ("owner", "admin")
BUILDERS: Final = ("owner", "admin", "developer")
_AUDIENCE: Final = "crewmesh-mesh"
_ALGORITHM: Final = "HS256"


@dataclass(frozen=True)
class Identity:
    """The caller of an internal rpc.

    `service` signed the statement. `org_id` and `user_id` are empty when the service
    acts for itself.
    """

    service: str
    org_id: str = ""
    user_id: str = ""
    role: str = ""
    email: str = ""
    org_name: str = ""
    # What the credential is limited to; see crewmesh.common.permissions.
    scopes: tuple[str, ...] = (EVERY_SCOPE,)
    # Of the API key that was used, if one was.
    api_key_id: str = ""

    @classmethod
    def of_run(cls, service: str, org_id: str, created_by: str) -> Identity:
        """Return the identity of a service that works on a run."""
        return cls(service, org_id, created_by, RUN_ROLE)

    def for_run(self) -> Identity:
        """Return who asks for what a run of the caller's needs: its crew, policy and data.

        Who may start a run may have it find these, whatever the credential is limited to.
        """
        return self.of_run(self.service, self.org_id, self.user_id)

    @property
    def permissions(self) -> frozenset[str]:
        """What the caller may do."""
        return permissions_of(self.role, self.scopes)

    def require(self, permission: str) -> None:
        """Refuse a caller without this permission."""
        if permission not in self.permissions:
            limited = "" if self.scopes == (EVERY_SCOPE,) else " with this API key's scopes"
            raise ForbiddenError(
                f"this takes the permission {permission!r}, which the role {self.role!r} "
                f"does not give{limited}; an admin of your organisation can change that"
            )

    def require_org(self) -> str:
        """Return the organisation, or refuse a caller that acts for none."""
        if not self.org_id:
            raise ForbiddenError("this call is made on behalf of an organisation only")
        return self.org_id

    def require_role(self, *roles: str) -> str:
        """Return the organisation, or refuse a caller that has none of these roles in it."""
        org_id = self.require_org()
        if self.role not in roles:
            raise ForbiddenError(
                f"this is for the roles {', '.join(roles)}, and yours is {self.role or 'none'}"
            )
        return org_id

    def require_service(self) -> None:
        """Refuse a caller that acts on a person's behalf."""
        if self.org_id:
            raise ForbiddenError("this call is for the mesh's own services only")


@dataclass
class IdentitySigner:
    """Signs statements for one service; keeps each until half of its life is over."""

    secret: str
    service: str
    _kept: dict[Identity, tuple[float, str]] = field(default_factory=dict)

    def token(self, identity: Identity) -> str:
        """Return a token that states `identity`, valid for at least a minute."""
        now = time.time()
        kept = self._kept.get(identity)
        if kept is not None and kept[0] > now + TOKEN_SECONDS / 2:
            return kept[1]
        if len(self._kept) > 10_000:
            self._kept.clear()
        expires = now + TOKEN_SECONDS
        claims = {
            "iss": identity.service,
            "aud": _AUDIENCE,
            "iat": int(now),
            "exp": int(expires),
            "org": identity.org_id,
            "sub": identity.user_id or identity.service,
            "role": identity.role,
            "email": identity.email,
            "org_name": identity.org_name,
            "scopes": identity.scopes,
            "key": identity.api_key_id,
        }
        token = jwt.encode(claims, self.secret, algorithm=_ALGORITHM)
        self._kept[identity] = (expires, token)
        return token

    def metadata(self, identity: Identity | None = None) -> tuple[tuple[str, str], ...]:
        """Return gRPC metadata that states `identity`, by default the service itself."""
        return ((IDENTITY_METADATA_KEY, self.token(identity or Identity(self.service))),)


@dataclass
class IdentityVerifier:
    """Checks statements; remembers those that it has checked until they expire."""

    secret: str
    _checked: dict[str, tuple[float, Identity]] = field(default_factory=dict)

    def verify(self, token: str) -> Identity:
        """Return what the token states; raise UnauthenticatedError if it can't be trusted."""
        now = time.time()
        checked = self._checked.get(token)
        if checked is not None and checked[0] > now:
            return checked[1]
        try:
            claims = jwt.decode(
                token,
                self.secret,
                algorithms=[_ALGORITHM],
                audience=_AUDIENCE,
                options={"require": ["exp", "iat", "iss", "aud", "sub"]},
            )
        except jwt.InvalidTokenError as error:
            raise UnauthenticatedError(
                "the mesh identity is missing, forged or expired", reason=INVALID_IDENTITY
            ) from error
        org_id = claims.get("org", "")
        identity = Identity(
            service=claims["iss"],
            org_id=org_id,
            user_id=claims["sub"] if org_id else "",
            role=claims.get("role", ""),
            email=claims.get("email", ""),
            org_name=claims.get("org_name", ""),
            scopes=tuple(claims.get("scopes", ())),
            api_key_id=claims.get("key", ""),
        )
        if len(self._checked) > 10_000:
            self._checked.clear()
        self._checked[token] = (float(claims["exp"]), identity)
        return identity
