"""The client: every request of every tool goes through `NetworkClient.open`."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from crewmesh_worker.tools.network.errors import UnusableError
from crewmesh_worker.tools.network.failures import told
from crewmesh_worker.tools.network.limits import Limits
from crewmesh_worker.tools.network.pace import Pace
from crewmesh_worker.tools.network.policy import NetworkPolicy
from crewmesh_worker.tools.network.redirects import is_redirect, next_target
from crewmesh_worker.tools.network.resolver import Lookup, checked_connector, look_up
from crewmesh_worker.tools.network.robots import Robots
from crewmesh_worker.tools.network.settings import PRODUCT
from crewmesh_worker.tools.network.urls import Target, parse_url

ANY_TYPE = ("*/*",)
_CHUNK_BYTES = 64 * 1024
_NO_LIMIT = 2**63


@dataclass(frozen=True)
class Body:
    """A whole answer. `url` is where redirects have led."""

    url: str
    status: int
    media_type: str
    content: bytes
    charset: str | None

    @property
    def text(self) -> str:
        """The content as text; what can't be decoded is replaced."""
        try:
            return self.content.decode(self.charset or "utf-8", errors="replace")
        except LookupError:
            return self.content.decode(errors="replace")


class Answer:
    """An answer whose body has not been read yet."""

    def __init__(self, response: aiohttp.ClientResponse, target: Target, max_bytes: int) -> None:
        self._response = response
        self._max_bytes = max_bytes
        self.url = str(target.url)
        self.status = response.status
        # Without a Content-Type it is "application/octet-stream".
        self.media_type = response.content_type.lower()
        self.charset = response.charset
        self.headers: Mapping[str, str] = response.headers

    async def chunks(self) -> AsyncIterator[bytes]:
        """Give the body piece by piece; raise UnusableError when it gets too large."""
        declared = self._response.content_length
        if declared is not None and declared > self._max_bytes:
            raise self._too_large()
        size = 0
        # Decompressed piece by piece: what a small body would become is never held whole.
        async for chunk in self._response.content.iter_chunked(_CHUNK_BYTES):
            size += len(chunk)
            if size > self._max_bytes:
                raise self._too_large()
            yield chunk

    def _too_large(self) -> UnusableError:
        return UnusableError(f"{self.url} is larger than {self._max_bytes:,} bytes: not read")


class NetworkClient:
    """Reaches what the policy allows, within the limits. Belongs to one event loop."""

    def __init__(
        self,
        policy: NetworkPolicy,
        user_agent: str,
        limits: Limits | None = None,
        lookup: Lookup = look_up,
    ) -> None:
        self.limits = limits or Limits()
        self._policy = policy
        self._pace = Pace(self.limits.host_rate, self.limits.concurrent)
        self._robots = Robots(PRODUCT, self._read_robots, self.limits.longest_delay)
        self._session = aiohttp.ClientSession(
            connector=checked_connector(policy, lookup),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": user_agent},
            # A proxy from the environment would look names up itself.
            trust_env=False,
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()

    @asynccontextmanager
    async def open(
        self,
        url: str,
        *,
        types: tuple[str, ...] = ANY_TYPE,
        max_bytes: int | None = None,
        robots: bool = True,
    ) -> AsyncIterator[Answer]:
        """Ask for a URL and follow its redirects, each checked like the first.

        `types` are the media types that are of use; without `robots` the URL is an API's,
        made for programs. Raises RefusedError, UnreachableError or UnusableError.
        """
        target = parse_url(url)
        self._policy.check_target(target)
        remaining, followed = self.limits.total_seconds, 0
        while True:
            delay = await self._robots.check(target) if robots else 0.0
            async with AsyncExitStack() as stack:
                await stack.enter_async_context(self._pace.turn(target.host, delay))
                started = time.monotonic()
                stack.enter_context(told(target, self.limits.total_seconds))
                response = await stack.enter_async_context(self._request(target, types, remaining))
                location = response.headers.get("Location")
                if not is_redirect(response.status, location):
                    _check_type(response, target, types)
                    yield Answer(response, target, max_bytes or self.limits.page_bytes)
                    return
            target = next_target(target, location or "", followed, self._policy)
            followed += 1
            remaining = max(0.1, remaining - (time.monotonic() - started))

    async def get(self, url: str, **options: Any) -> Body:
        """Return the whole answer for a URL; the options are those of `open`."""
        async with self.open(url, **options) as answer:
            content = b"".join([chunk async for chunk in answer.chunks()])
            return Body(answer.url, answer.status, answer.media_type, content, answer.charset)

    async def get_json(self, url: str) -> tuple[int, Any]:
        """Return the status and the value that an API answers; raise UnusableError for none."""
        body = await self.get(url, types=ANY_TYPE, robots=False)
        try:
            return body.status, json.loads(body.content)
        except ValueError as error:
            raise UnusableError(
                f"{body.url} answered {body.status} with {body.media_type} instead of JSON: "
                "try again later"
            ) from error

    def _request(
        self, target: Target, types: tuple[str, ...], seconds: float
    ) -> aiohttp.client._RequestContextManager:
        return self._session.get(
            target.url,
            allow_redirects=False,
            headers={"Accept": ", ".join(types)},
            timeout=aiohttp.ClientTimeout(
                total=seconds, sock_connect=min(seconds, self.limits.connect_seconds)
            ),
        )

    async def _read_robots(self, address: str) -> tuple[int, str]:
        """Return the status and the beginning of a robots.txt."""
        content = bytearray()
        async with self.open(address, max_bytes=_NO_LIMIT, robots=False) as answer:
            async for chunk in answer.chunks():
                content += chunk
                if len(content) >= self.limits.robots_bytes:
                    break
            return answer.status, content[: self.limits.robots_bytes].decode(errors="replace")


def require_success(answer: Answer | Body) -> None:
    """Raise UnusableError unless the answer's status is a success."""
    if answer.status >= 400:
        raise UnusableError(f"{answer.url} answered {answer.status}: {_meaning(answer.status)}")


def _meaning(status: int) -> str:
    if status in (401, 402, 403, 407):
        return "it isn't open to everybody"
    if status in (404, 410):
        return "there is no such page"
    return "it gets too many requests: try again later" if status == 429 else "try again later"


def _check_type(response: aiohttp.ClientResponse, target: Target, types: tuple[str, ...]) -> None:
    given = response.content_type.lower()
    # An error's page may be of any type: its status is what counts.
    if types != ANY_TYPE and response.ok and given not in types:
        raise UnusableError(
            f"{target.url} is {given}, which can't be read here; readable are: {', '.join(types)}"
        )
