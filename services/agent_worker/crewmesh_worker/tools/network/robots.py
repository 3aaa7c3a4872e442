"""What hosts ask of programs in their robots.txt, read once a run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from protego import Protego

from crewmesh_worker.tools.network.errors import RefusedError
from crewmesh_worker.tools.network.urls import Target
from crewmesh_worker.tools.registry import ToolError

# Gives the status and the text of an address, redirects followed.
Read = Callable[[str], Awaitable[tuple[int, str]]]

# A robots.txt that isn't there allows everything (RFC 9309, 2.3.1.3).
_NOTHING = Protego.parse("")


class Robots:
    """Answers for one run, under the name that the run's requests carry."""

    def __init__(self, name: str, read: Read, longest_delay: float) -> None:
        self._name = name
        self._read = read
        self._longest_delay = longest_delay
        self._rules: dict[str, asyncio.Task[Protego]] = {}

    async def check(self, target: Target) -> float:
        """Return the seconds that the host wants between requests.

        Raises RefusedError where it doesn't want the URL fetched, or wants a longer pause
        than a run can keep.
        """
        rules = await self._rules_of(target)
        if not rules.can_fetch(str(target.url), self._name):
            raise RefusedError(
                f"{target.url} may not be fetched by programs: {target.origin}/robots.txt says so"
            )
        delay = _delay(rules, self._name)
        if delay > self._longest_delay:
            raise RefusedError(
                f"{target.origin}/robots.txt asks for {delay:g} s between requests, longer than a "
                f"run waits ({self._longest_delay:g} s)"
            )
        return delay

    async def _rules_of(self, target: Target) -> Protego:
        """Return the host's rules: asked for once, however many want to know at a time."""
        loading = self._rules.get(target.origin)
        if loading is None:
            loading = self._rules[target.origin] = asyncio.create_task(self._load(target))
        try:
            return await asyncio.shield(loading)
        except ToolError:
            # A later page of this host may find it in better health.
            self._rules.pop(target.origin, None)
            raise

    async def _load(self, target: Target) -> Protego:
        address = f"{target.origin}/robots.txt"
        status, text = await self._read(address)
        if status >= 500:
            # It may forbid everything: nobody can know (RFC 9309, 2.3.1.4).
            raise RefusedError(
                f"{target.url} was not fetched: {address} answered {status}, so it can't be known "
                "what the host allows; try again later"
            )
        return Protego.parse(text) if status < 300 else _NOTHING


def _delay(rules: Protego, name: str) -> float:
    rate = rules.request_rate(name)
    return max(rules.crawl_delay(name) or 0.0, rate.seconds / rate.requests if rate else 0.0)
