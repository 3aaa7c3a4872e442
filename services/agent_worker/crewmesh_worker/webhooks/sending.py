"""Sends one webhook, once; who calls it decides whether to try again."""

from __future__ import annotations

from dataclasses import dataclass

import aiohttp

from crewmesh_worker.tools.network.errors import RefusedError, UnreachableError, UnusableError
from crewmesh_worker.tools.network.failures import told
from crewmesh_worker.tools.network.policy import NetworkPolicy
from crewmesh_worker.tools.network.resolver import Lookup, checked_connector, look_up
from crewmesh_worker.tools.network.urls import Target, parse_url

_SECONDS = 15.0
_MAX_ANSWER_BYTES = 2_000
# What a later try may mend.
_PASSING = frozenset((408, 425, 429))


@dataclass(frozen=True)
class Receipt:
    """What came of one try. `status` is 0 where no answer came; `detail` says more."""

    status: int
    detail: str
    refused: bool = False

    @property
    def delivered(self) -> bool:
        """Whether the receiver has said that it has it."""
        return 200 <= self.status < 300

    @property
    def worth_retrying(self) -> bool:
        """Whether a later try may end better."""
        passing = self.status == 0 or self.status >= 500 or self.status in _PASSING
        return passing and not self.refused


async def send(
    url: str,
    body: bytes,
    headers: dict[str, str],
    policy: NetworkPolicy,
    lookup: Lookup = look_up,
) -> Receipt:
    """Post the body; never raises for what the address or its host does.

    It reaches what the policy allows. Redirects aren't followed.
    """
    try:
        target = parse_url(url)
        policy.check_target(target)
        with told(target, _SECONDS):
            return await _post(target, body, headers, checked_connector(policy, lookup))
    except RefusedError as error:
        return Receipt(0, str(error), refused=True)
    except (UnreachableError, UnusableError) as error:
        return Receipt(0, str(error))


async def _post(
    target: Target, body: bytes, headers: dict[str, str], connector: aiohttp.BaseConnector
) -> Receipt:
    async with (
        aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,  # a proxy would look names up itself
        ) as session,
        session.post(target.url, data=body, headers=headers, allow_redirects=False) as response,
    ):
        answer = await response.content.read(_MAX_ANSWER_BYTES)
        return Receipt(response.status, answer.decode(errors="replace"))
