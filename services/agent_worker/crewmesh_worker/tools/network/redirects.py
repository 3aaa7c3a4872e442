"""Which redirects are followed."""

from __future__ import annotations

from yarl import URL

from crewmesh_worker.tools.network.errors import RefusedError, UnusableError
from crewmesh_worker.tools.network.policy import NetworkPolicy
from crewmesh_worker.tools.network.urls import Target, parse_url

MAX_REDIRECTS = 5
_STATUSES = frozenset((301, 302, 303, 307, 308))


def is_redirect(status: int, location: str | None) -> bool:
    """Return whether an answer sends elsewhere."""
    return status in _STATUSES and bool(location)


def next_target(current: Target, location: str, followed: int, policy: NetworkPolicy) -> Target:
    """Return where a redirect leads, when that may be reached.

    `followed` redirects led to `current`. Everything that holds for a first URL is checked
    again; raises RefusedError or UnusableError where a redirect is not followed.
    """
    if followed >= MAX_REDIRECTS:
        raise UnusableError(f"{current.url} redirects more than {MAX_REDIRECTS} times")
    try:
        joined = str(current.url.join(URL(location.strip())))
        target = parse_url(joined)
        policy.check_target(target)
    except (RefusedError, ValueError) as error:
        raise RefusedError(f"{current.url} redirects elsewhere, but {error}") from error
    if current.scheme == "https" and target.scheme == "http":
        raise RefusedError(
            f"{current.url} redirects to {target.url}, which is not encrypted: not followed"
        )
    return target
