"""What has to be known of the provider, and of what its claims mean here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from crewmesh.common.permissions import ROLES

CALLBACK_PATH: Final = "/v1/auth/oidc/callback"
# Signatures by a key that only the provider has: no `none`, and no secret that both know.
ALGORITHMS: Final = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519",
)  # fmt: skip
_OWNER: Final = "owner"
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class NotAdmittedError(Exception):
    """The provider knows this person, and its claims give them no place here; `code` says why."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


@dataclass(frozen=True)
class Admission:
    """Where a person belongs: an organisation by its name, and a role.

    `role_is_said` when the provider gives it, at each sign-in anew; else it is for newcomers.
    """

    org_name: str
    role: str
    role_is_said: bool


@dataclass(frozen=True)
class OidcSettings:
    """One provider. The maps go from a claim's values to organisations' names and to roles."""

    issuer: str
    client_id: str
    redirect_uri: str
    client_secret: str = ""
    scopes: str = "openid email profile"
    label: str = "single sign-on"
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    trust_email: bool = False
    org: str = "default"
    org_claim: str = ""
    orgs: Mapping[str, str] = field(default_factory=dict)
    role: str = ""
    role_claim: str = ""
    roles: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, url in (("ISSUER", self.issuer), ("REDIRECT_URI", self.redirect_uri)):
            if not is_safe_url(url):
                raise ValueError(
                    f"CREWMESH_OIDC_{name} must be an https:// address, and is {url!r}"
                )
        if urlsplit(self.redirect_uri).path != CALLBACK_PATH:
            raise ValueError(f"CREWMESH_OIDC_REDIRECT_URI must end with {CALLBACK_PATH}")
        if not self.client_id:
            raise ValueError("CREWMESH_OIDC_CLIENT_ID is missing: the provider gives it")
        if "openid" not in self.scopes.split():
            raise ValueError("CREWMESH_OIDC_SCOPES must have openid among them")
        if not self.algorithms or (unknown := set(self.algorithms) - set(ALGORITHMS)):
            raise ValueError(
                f"CREWMESH_OIDC_ALGORITHMS: {', '.join(sorted(unknown)) if self.algorithms else 'none'}; "
                f"take some of {', '.join(ALGORITHMS)}"
            )
        if bool(self.role_claim) != bool(self.roles) or bool(self.org_claim) != bool(self.orgs):
            raise ValueError(
                "CREWMESH_OIDC_ROLE_CLAIM and _ROLES, _ORG_CLAIM and _ORGS go together"
            )
        for role in filter(None, (self.role, *self.roles.values())):
            if role not in ROLES or role == _OWNER:
                allowed = ", ".join(known for known in ROLES if known != _OWNER)
                raise ValueError(
                    f"CREWMESH_OIDC_ROLES and _ROLE: {role!r} is none of {allowed}; owners are made by owners"
                )

    def admit(self, claims: Mapping[str, Any]) -> Admission:
        """Return where these claims put a person; raise NotAdmittedError for nowhere."""
        orgs = self._mapped(claims, self.org_claim, self.orgs)
        if self.org_claim and len(set(orgs)) != 1:
            raise NotAdmittedError(
                "no_organisation", f"{self.org_claim} names {len(orgs)} of the organisations"
            )
        roles = self._mapped(claims, self.role_claim, self.roles)
        # ROLES is in order, the one that may most last.
        role = max(roles, key=list(ROLES).index, default=self.role)
        if self.role_claim and not role:
            raise NotAdmittedError("no_role", f"{self.role_claim} names none of the roles")
        return Admission(orgs[0] if orgs else self.org, role, bool(self.role_claim))

    @staticmethod
    def _mapped(claims: Mapping[str, Any], claim: str, meanings: Mapping[str, str]) -> list[str]:
        value = claim_of(claims, claim) if claim else None
        values = value if isinstance(value, list) else [value]
        return [meanings[one] for one in values if isinstance(one, str) and one in meanings]


def claim_of(claims: Mapping[str, Any], name: str) -> Any:
    """Return a claim by its name, or by a path such as `realm_access.roles`; None if missing."""
    if name in claims:
        return claims[name]
    value: Any = claims
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def is_safe_url(url: str) -> bool:
    """Say whether it is https, or plain http that doesn't leave this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    safe = parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK)
    return bool(safe and host and not parts.fragment and parts.username is None)


def parse_map(text: str) -> dict[str, str]:
    """Return `value=meaning` pairs, which commas part; raise ValueError for another form."""
    pairs = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        matched = re.fullmatch(r"(.+)=([^=]+)", part)
        if matched is None:
            raise ValueError(f"{part!r} is no value=meaning")
        pairs[matched[1].strip()] = matched[2].strip()
    return pairs
