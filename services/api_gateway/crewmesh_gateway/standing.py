"""How an answer tells what is left of a limit: draft-ietf-httpapi-ratelimit-headers-10."""

from __future__ import annotations

import math

from starlette.types import Scope

from crewmesh.common.request_limits import WINDOW_SECONDS, Standing

STANDING_KEY = "crewmesh.standing"
_WINDOW = int(WINDOW_SECONDS)


def standing_headers(scope: Scope) -> list[tuple[bytes, bytes]]:
    """Return `RateLimit` and `RateLimit-Policy`; nothing where nothing limits the request.

    `q` requests in `w` seconds, of which `r` are left; all of them are again after `t` seconds.
    """
    standing: Standing | None = scope.get(STANDING_KEY)
    if standing is None:
        return []
    reset = math.ceil(standing.reset_seconds)
    return [
        (
            b"ratelimit-policy",
            b'"%b";q=%d;w=%d' % (standing.kind.encode(), standing.limit, _WINDOW),
        ),
        (b"ratelimit", b'"%b";r=%d;t=%d' % (standing.kind.encode(), standing.remaining, reset)),
    ]
