"""The network as one run's tools use it, which are called from ordinary threads.

The run's client lives in an event loop of its own, in a thread of its own: what the tools of
a run do at the same time shares its limits, its connections and what it knows of robots.txt.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from crewmesh_worker.runner import endings
from crewmesh_worker.tools.context import current_run
from crewmesh_worker.tools.network.client import Answer, NetworkClient
from crewmesh_worker.tools.network.policy import NetworkPolicy
from crewmesh_worker.tools.network.settings import private_network, user_agent

T = TypeVar("T")

_opening = threading.Lock()


class Network:
    """A client and the thread that it works in."""

    def __init__(self, policy: NetworkPolicy) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="network", daemon=True)
        self._thread.start()
        self._client = self._wait_for(_open(policy))

    def do(self, work: Callable[[NetworkClient], Coroutine[Any, Any, T]]) -> T:
        """Have the client do something, and wait for it; from any thread."""
        return self._wait_for(work(self._client))

    @contextmanager
    def stream_file(self, url: str) -> Iterator[tuple[Answer, Iterator[bytes]]]:
        """Ask for a URL, as the client's `open` does, and give its body piece by piece.

        The pieces are received in the client's thread and handed to the calling one.
        """
        opened = self._client.open(url, max_bytes=self._client.limits.file_bytes)
        answer = self._wait_for(opened.__aenter__())
        try:
            yield answer, self._pieces(answer)
        except BaseException as error:
            self._wait_for(opened.__aexit__(type(error), error, error.__traceback__))
            raise
        else:
            self._wait_for(opened.__aexit__(None, None, None))

    def close(self) -> None:
        """Close every connection, and end the thread."""
        self._wait_for(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _pieces(self, answer: Answer) -> Iterator[bytes]:
        chunks = answer.chunks()
        while (piece := self._wait_for(anext(chunks, None))) is not None:
            yield piece

    def _wait_for(self, awaitable: Awaitable[T]) -> T:
        return asyncio.run_coroutine_threadsafe(_await(awaitable), self._loop).result()


def network() -> Network:
    """Return the network of the run that the calling tool works for, opened at its first use."""
    context = current_run()
    with _opening:
        if context.network is None:
            context.network = Network(
                NetworkPolicy.of(context.policy, private_network=private_network())
            )
            endings.at_end(context.network.close)
        return context.network


async def _await(awaitable: Awaitable[T]) -> T:
    return await awaitable


async def _open(policy: NetworkPolicy) -> NetworkClient:
    return NetworkClient(policy, user_agent())
