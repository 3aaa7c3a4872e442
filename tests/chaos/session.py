"""A client at work: starts a run, follows it, answers and cancels, and fetches what it made."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import Any, Final, TypeVar

from tests.chaos.client import TERMINAL_TYPES, Answer, Client, Json
from tests.chaos.crews.names import content_of, digest, note
from tests.chaos.ways import Grpc, RefusedError, Rest, UnreachableError

T = TypeVar("T")

_PAUSE_SECONDS: Final = (0.05, 0.5)
_MOST_DOUBLINGS: Final = 4
_SENT_TWICE: Final = 0.2
_CANCELLED: Final = 0.15
_TWO_WATCHERS: Final = 0.25
_RESTLESS: Final = 0.5
# Of answers: those that content a person, are sent twice at once, or meet another at once.
_CONTENT: Final = 0.5
_ANSWERED_TWICE: Final = 0.3
_CONTRADICTED: Final = 0.2
_MOST_QUESTIONS: Final = 3


class Session:
    """Does all that one client does."""

    def __init__(self, client: Client, rest: Rest, grpc: Grpc, rng: random.Random) -> None:
        self._client = client
        self._rest = rest
        self._grpc = grpc
        self._way = rest if client.way == "rest" else grpc
        self._rng = rng
        # Set once the run is accepted, or will never be.
        self._started = asyncio.Event()
        self._group: asyncio.TaskGroup
        self._questions: set[int] = set()
        self._notes = 0

    async def run(self) -> None:
        """Return when the run has ended and everything was fetched."""
        client = self._client
        if client.has_data and not await self._upload():
            return
        async with asyncio.TaskGroup() as self._group:
            if client.way == "grpc RunCrew":
                self._do(self._watch(partial(self._grpc.run_crew, client)))
            else:
                for _ in range(self._rng.randint(2, 3) if self._chance(_SENT_TWICE) else 1):
                    self._do(self._start())
                self._do(self._watch())
            if self._chance(_TWO_WATCHERS):
                self._do(self._watch())
            if self._chance(_CANCELLED):
                self._do(self._cancel())
        if client.accepted:
            client.final = await self._persist(partial(self._way.get, client.run_id))
            await self._fetch_files()

    def _do(self, work: Any) -> None:
        self._group.create_task(work)

    def _chance(self, probability: float) -> bool:
        return self._rng.random() < probability

    async def _upload(self) -> bool:
        client = self._client
        content = content_of(client.key, "data")
        put = partial(self._rest.upload, f"{client.key}.csv", content)
        client.dataset = await self._persist(put) or ""
        return bool(client.dataset)

    async def _start(self) -> None:
        run = await self._persist(partial(self._way.start, self._client))
        if run is not None:
            self._client.accepted.append(run["id"])
        self._started.set()

    async def _cancel(self) -> None:
        await self._started.wait()
        if not self._client.accepted:
            return
        await asyncio.sleep(self._rng.uniform(0.0, 1.5))
        run = await self._persist(partial(self._way.cancel, self._client.run_id))
        if run is not None:
            self._client.cancels.append(run)

    async def _watch(self, begin: Callable[[], AsyncGenerator[Json]] | None = None) -> None:
        """Follow the run to its end over as many connections as it takes.

        `begin` starts the run, where that is one with watching it.
        """
        client, seen, failures = self._client, list[Json](), 0
        client.seen.append(seen)
        restless = self._chance(_RESTLESS)
        if begin is None:
            await self._started.wait()
        while not (seen and seen[-1]["type"] in TERMINAL_TYPES):
            if begin is None and not client.accepted:
                return
            before = len(seen)
            if begin is not None and not seen:
                stream = begin()
            else:
                stream = self._way.watch(client.run_id, _last(seen))
            try:
                await self._read(stream, seen, self._rng.randint(1, 15) if restless else None)
            except UnreachableError:
                pass
            except RefusedError as refusal:
                client.complaints.append(str(refusal))
                self._started.set()
                return
            failures = 0 if len(seen) > before else failures + 1
            client.reconnects += 1
            await self._pause(failures)

    async def _read(
        self, stream: AsyncGenerator[Json], seen: list[Json], leave_after: int | None
    ) -> None:
        """Read one connection until it ends, or until it has given so many events."""
        begun_with = len(seen)
        async with aclosing(stream) as events:
            async for event in events:
                seen.append(event)
                if not self._started.is_set():
                    self._client.accepted.append(event["run_id"])
                    self._started.set()
                if event["type"] == "input.requested":
                    self._consider(event["seq"])
                if event["type"] in TERMINAL_TYPES or len(seen) - begun_with == leave_after:
                    return

    def _consider(self, question: int) -> None:
        if question not in self._questions:
            self._questions.add(question)
            self._do(self._answer(question))

    async def _answer(self, question: int) -> None:
        """Answer as people do: after a while, perhaps twice, perhaps two of them at once."""
        await asyncio.sleep(self._rng.uniform(0.0, 1.0))
        content = len(self._questions) >= _MOST_QUESTIONS or self._chance(_CONTENT)
        sent = [self._new_answer(question, content)]
        if self._chance(_ANSWERED_TWICE):
            sent.append(sent[0])
        if self._chance(_CONTRADICTED):
            sent.append(self._new_answer(question, not content))
        await asyncio.gather(*map(self._respond, sent))

    def _new_answer(self, question: int, approve: bool) -> Answer:
        self._notes += 1
        answer = Answer(question, note(self._client.asks, self._notes), approve)
        self._client.answers.append(answer)
        return answer

    async def _respond(self, answer: Answer) -> None:
        def refused(refusal: RefusedError) -> None:
            if refusal.reason == "run_not_waiting":
                answer.refused += 1
            else:
                self._client.complaints.append(str(refusal))

        respond = partial(self._way.respond, self._client.run_id, answer)
        if await self._persist(respond, refused) is not None:
            answer.acknowledged += 1

    async def _fetch_files(self) -> None:
        client = self._client
        for event in client.seen[0]:
            if event["type"] == "artifact.created":
                path = f"/v1/artifacts/{event['payload']['id']}"
                content = await self._persist(partial(self._rest.download, path))
                client.downloads[event["payload"]["id"]] = digest(content or b"")
        if client.has_data:
            path = f"/v1/datasets/{client.dataset}/content"
            content = await self._persist(partial(self._rest.download, path))
            client.dataset_came_back_as = digest(content or b"")

    async def _persist(
        self,
        ask: Callable[[], Awaitable[T]],
        refused: Callable[[RefusedError], None] | None = None,
    ) -> T | None:
        """Ask, repeatedly if need be, and return the answer; None where it is a refusal."""
        failures = 0
        while True:
            try:
                return await ask()
            except RefusedError as refusal:
                if refused is None:
                    self._client.complaints.append(str(refusal))
                else:
                    refused(refusal)
                return None
            except UnreachableError:
                failures += 1
                self._client.repetitions += 1
            await self._pause(failures)

    async def _pause(self, failures: int) -> None:
        """Wait a moment, longer after each failure."""
        longer = 2 ** min(failures, _MOST_DOUBLINGS)
        await asyncio.sleep(longer * self._rng.uniform(*_PAUSE_SECONDS))


def _last(seen: list[Json]) -> int:
    return int(seen[-1]["seq"]) if seen else 0
