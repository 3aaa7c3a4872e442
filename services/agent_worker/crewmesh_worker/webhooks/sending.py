"""Sends one webhook, once; who calls it decides whether to try again."""

from __future__ import annotations

from dataclasses import dataclass

import aiohttp

from crewmesh_worker.webhooks.guard import GuardedResolver, RefusedError, checked_url

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


async def send(url: str, body: bytes, headers: dict[str, str], *, private: bool) -> Receipt:
    """Post the body; never raises for what the address or its host does.

    `private` lets it reach loopback and private networks. Redirects aren't followed.
    """
    try:
        target = checked_url(url, private=private)
        async with (
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(resolver=GuardedResolver(private=private)),
                timeout=aiohttp.ClientTimeout(total=_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,  # a proxy would look names up itself
            ) as session,
            session.post(target, data=body, headers=headers, allow_redirects=False) as response,
        ):
            answer = await response.content.read(_MAX_ANSWER_BYTES)
            return Receipt(response.status, answer.decode(errors="replace"))
    except (RefusedError, aiohttp.InvalidURL) as error:
        return Receipt(0, str(error), refused=True)
    except TimeoutError:
        return Receipt(0, f"no answer within {_SECONDS:.0f} s")
    except (aiohttp.ClientError, OSError) as error:
        return Receipt(0, f"it can't be reached: {error}")
