"""Which role may do what: one table, for REST and gRPC alike.

Each rpc names the permission that it takes in its proto (`option (access)`), and REST is a
client of those rpcs, so nothing else decides.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Final

# Everyone who is signed in.
_EVERYONE: Final = frozenset({"profile.write", "keys.own"})
_VIEW: Final = _EVERYONE | {
    "runs.read",
    "crews.read",
    "datasets.read",
    "artifacts.read",
    "sessions.read",
    "usage.read",
    "workers.read",
    "limits.read",
    "budgets.read",
    "policy.read",
}
_OPERATE: Final = _VIEW | {
    "runs.start",
    "runs.cancel",
    "runs.answer",
    "sessions.write",
    "audit.read",
}
_DEVELOP: Final = _VIEW | {
    "runs.start",
    "runs.cancel",
    "runs.answer",
    "crews.write",
    "datasets.write",
    "sessions.write",
    "secrets.read",
    "secrets.write",
}
_ADMINISTER: Final = (
    _OPERATE
    | _DEVELOP
    | {
        "users.read",
        "users.write",
        "keys.manage",
        "limits.write",
        "budgets.write",
        "policy.write",
    }
)

PERMISSIONS_BY_ROLE: Final = {
    "viewer": _VIEW,
    # Runs the service: what is there, but nothing new.
    "operator": _OPERATE,
    # Makes crews and what they need.
    "developer": _DEVELOP,
    "admin": _ADMINISTER,
    # Beside all that: makes and unmakes owners.
    "owner": _ADMINISTER | {"owners.write"},
}
ROLES: Final = tuple(PERMISSIONS_BY_ROLE)

# A worker on behalf of a run that it admits or executes; no person has it.
RUN_ROLE: Final = "run"
_OF_A_RUN: Final = frozenset(
    {"crews.read", "policy.read", "datasets.read", "artifacts.read", "artifacts.write", "runs.read"}
)

ALL_PERMISSIONS: Final = PERMISSIONS_BY_ROLE["owner"]
EVERY_SCOPE: Final = "*"


@cache
def permissions_of(role: str, scopes: tuple[str, ...]) -> frozenset[str]:
    """Return what somebody of this role may do with a credential of these scopes.

    A scope is a permission, or all of a kind (`runs.*`), or `*`. It never adds to the role.
    """
    of_role = _OF_A_RUN if role == RUN_ROLE else PERMISSIONS_BY_ROLE.get(role, frozenset())
    return frozenset(p for p in of_role if any(_covers(scope, p) for scope in scopes))


def unknown_scopes(scopes: Iterable[str]) -> list[str]:
    """Return those scopes that cover no permission at all."""
    return [s for s in scopes if not any(_covers(s, p) for p in ALL_PERMISSIONS)]


def _covers(scope: str, permission: str) -> bool:
    if scope.endswith(".*"):
        return permission.startswith(scope.removesuffix("*"))
    return scope in (EVERY_SCOPE, permission)
