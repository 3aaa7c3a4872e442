"""Conversations in the store: order, atomicity, ends, and who may see them."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import grpc
import psycopg
import pytest

from crewmesh.common.errors import CrewmeshError, error_from_rpc
from crewmesh.common.grpc_client import session_store_stub
from crewmesh.common.identity import Identity
from crewmesh.v1 import agent_pb2, memory_pb2, run_pb2, run_store_pb2, session_pb2
from crewmesh.v1 import session_store_pb2 as store_pb2
from crewmesh_store.runs.repository import MAX_OPEN_TURNS
from tests.integration.conftest import StoreClient, append, ending, event
from tests.integration.test_store_runs import Attached


class Conversation:
    """One session, and what a worker and a person do with it."""

    def __init__(self, store: StoreClient, session: session_pb2.Session) -> None:
        self.store = store
        self.id = session.id
        self.sessions = session_store_stub(store.channel)

    @classmethod
    async def begin(cls, store: StoreClient) -> Conversation:
        request = session_pb2.CreateSessionRequest(crew="talker", title="t", inputs_json="{}")
        answer = await session_store_stub(store.channel).CreateSession(
            request, metadata=store.person
        )
        return cls(store, answer.session)

    async def post(
        self, text: str, worker_id: str = "", **spec: Any
    ) -> run_store_pb2.CreateRunResponse:
        return await self.store.create(
            worker_id,
            crew="talker",
            session_id=self.id,
            message=text,
            inputs_json=json.dumps({"message": text}),
            **spec,
        )

    async def messages(self, **request: Any) -> list[tuple[int, str, str]]:
        answer = await self.sessions.ListMessages(
            session_pb2.ListMessagesRequest(session_id=self.id, page_size=200, **request),
            metadata=self.store.person,
        )
        return [(m.number, m.role, m.content) for m in answer.messages]

    async def get(self) -> session_pb2.Session:
        request = session_pb2.GetSessionRequest(session_id=self.id)
        return (await self.sessions.GetSession(request, metadata=self.store.person)).session

    async def delete(self) -> None:
        request = session_pb2.DeleteSessionRequest(session_id=self.id)
        await self.sessions.DeleteSession(request, metadata=self.store.person)


@pytest.fixture
async def conversation(store: StoreClient) -> Conversation:
    return await Conversation.begin(store)


async def answer(store: StoreClient, lease: run_store_pb2.Lease, text: str, **changes: Any) -> None:
    end = append(
        lease,
        lease.next_seq,
        event("run.succeeded"),
        status=run_pb2.RUN_STATUS_SUCCEEDED,
        output=text,
    )
    if changes:
        end.memories.CopyFrom(memory_pb2.MemoryChanges(**changes))
    assert await store.append(end) == ["STORED"]


async def refused(call: Any) -> CrewmeshError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return error_from_rpc(raised.value)


async def test_a_message_and_its_run_are_recorded_together_and_the_end_is_the_answer(
    store: StoreClient, conversation: Conversation
) -> None:
    created = await conversation.post("Which month is wettest?", "w1")
    assert created.lease.run.turn == 1
    assert list(created.lease.history) == []
    assert await conversation.messages() == [(1, "user", "Which month is wettest?")]
    await answer(store, created.lease, "November.")
    assert await conversation.messages() == [
        (1, "user", "Which month is wettest?"),
        (2, "assistant", "November."),
    ]
    session = await conversation.get()
    assert (session.turns, session.open_turns) == (1, 0)


async def test_a_run_is_told_what_was_said_before_also_at_its_second_attempt(
    store: StoreClient, conversation: Conversation
) -> None:
    first = await conversation.post("one", "w1")
    await answer(store, first.lease, "ONE")
    second = await conversation.post("two", "w1")
    expected = [("user", "one"), ("assistant", "ONE")]
    assert [(m.role, m.content) for m in second.lease.history] == expected
    lost = append(second.lease, 3, event("run.queued"), status=run_pb2.RUN_STATUS_QUEUED)
    assert await store.append(lost) == ["STORED"]
    await conversation.post("three")
    worker = Attached(store, "w2")
    await worker.say(free_slots=4, hello=True)
    again = await worker.lease()
    assert again.run.id == second.run.id
    assert [(m.role, m.content) for m in again.history] == expected


@pytest.mark.parametrize(
    ("status", "error", "note"),
    [
        (
            run_pb2.RUN_STATUS_FAILED,
            run_pb2.RunError(code="crew_error", message="no luck"),
            "No answer: the run failed (crew_error: no luck).",
        ),
        (
            run_pb2.RUN_STATUS_CANCELLED,
            run_pb2.RunError(code="cancelled", message="on request"),
            "No answer: the run was cancelled.",
        ),
        (
            run_pb2.RUN_STATUS_TIMED_OUT,
            run_pb2.RunError(code="timed_out", message="not within 1 s"),
            "No answer: the run timed out (timed_out: not within 1 s).",
        ),
    ],
)
async def test_a_run_that_ends_without_an_answer_leaves_a_note(
    store: StoreClient,
    conversation: Conversation,
    status: run_pb2.RunStatus.ValueType,
    error: run_pb2.RunError,
    note: str,
) -> None:
    lease = (await conversation.post("hello?", "w1")).lease
    end = append(lease, 3, event("run.ended"), status=status, error=error)
    assert await store.append(end) == ["STORED"]
    assert (await conversation.messages())[1] == (2, "system", note)
    assert (await conversation.get()).open_turns == 0


async def test_a_queued_message_can_be_cancelled_and_the_next_goes_on(
    store: StoreClient, conversation: Conversation
) -> None:
    first = await conversation.post("one", "w1")
    second = await conversation.post("two", "w1")
    third = await conversation.post("three", "w1")
    cancel = agent_pb2.CancelRunRequest(run_id=second.run.id)
    await store.runs.CancelRun(cancel, metadata=store.person)
    assert (4, "system", "No answer: the run was cancelled.") in await conversation.messages()
    worker = Attached(store, "w1")
    await worker.say(free_slots=2, hello=True)
    await answer(store, first.lease, "ONE")
    lease = await worker.lease()
    assert lease.run.id == third.run.id
    history = [(m.number, m.role) for m in lease.history]
    assert history == [(1, "user"), (2, "assistant"), (3, "user"), (4, "system")]


async def test_only_the_first_of_messages_posted_at_once_starts_at_once(
    conversation: Conversation,
) -> None:
    created = await asyncio.gather(*(conversation.post(f"m{n}", "w1") for n in range(10)))
    assert sorted(c.run.turn for c in created) == list(range(1, 11))
    assert [c.run.turn for c in created if c.HasField("lease")] == [1]
    messages = await conversation.messages()
    assert [number for number, _, _ in messages] == list(range(1, 20, 2))
    said = {(number + 1) // 2: text for number, _, text in messages}
    assert said == {c.run.turn: json.loads(c.run.inputs_json)["message"] for c in created}


async def test_sessions_run_one_at_a_time_in_order_whatever_happens_to_their_workers(
    store: StoreClient,
) -> None:
    """Many sessions, posts from many sides, and attempts that are lost half-way."""
    chance = random.Random(4)
    conversations = [await Conversation.begin(store) for _ in range(5)]
    running: dict[str, str] = {}
    finished: dict[str, list[int]] = {c.id: [] for c in conversations}
    total = len(conversations) * 8
    worker = Attached(store, "w1")
    received = ended = 0
    await worker.say(free_slots=6, hello=True)

    async def post_all(conversation: Conversation) -> None:
        for number in range(8):
            await conversation.post(f"m{number}")

    async def execute(lease: run_store_pb2.Lease) -> None:
        nonlocal ended
        session = lease.run.session_id
        assert session not in running, "two runs of one session at once"
        running[session] = lease.run.id
        numbers = [m.number for m in lease.history]
        assert numbers == list(range(1, 2 * lease.run.turn - 1))
        await asyncio.sleep(chance.random() / 100)
        del running[session]
        if chance.random() < 0.3:
            back = append(
                lease, lease.next_seq, event("run.queued"), status=run_pb2.RUN_STATUS_QUEUED
            )
            assert await store.append(back) == ["STORED"]
        else:
            finished[session].append(lease.run.turn)
            await answer(store, lease, f"answer {lease.run.turn}")
        ended += 1
        await worker.say(free_slots=6 - received + ended, leases_received=received)

    posting = asyncio.gather(*(post_all(c) for c in conversations))
    tasks = set()
    while sum(map(len, finished.values())) < total:
        lease = asyncio.create_task(worker.lease())
        while not lease.done():
            await asyncio.wait({lease, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            for task in [task for task in tasks if task.done()]:
                tasks.discard(task)
                task.result()
            if sum(map(len, finished.values())) == total:
                break
        else:
            received += 1
            tasks.add(asyncio.create_task(execute(lease.result())))
    await posting
    await asyncio.gather(*tasks)
    lease.cancel()
    assert all(turns == list(range(1, 9)) for turns in finished.values())
    for conversation in conversations:
        roles = [role for _, role, _ in await conversation.messages()]
        assert roles == ["user", "assistant"] * 8


async def test_a_key_stands_for_one_message(store: StoreClient, conversation: Conversation) -> None:
    both = await asyncio.gather(
        *(conversation.post("once", "w1", idempotency_key="k") for _ in range(5))
    )
    assert len({created.run.id for created in both}) == 1
    assert sum(created.replayed for created in both) == 4
    assert len(await conversation.messages()) == 1
    error = await refused(conversation.post("else", idempotency_key="k"))
    assert error.reason == "IDEMPOTENCY_KEY_REUSED"


async def test_a_key_is_not_used_up_by_a_message_that_was_refused(
    store: StoreClient, conversation: Conversation
) -> None:
    leases = [await conversation.post(f"m{n}", "w1") for n in range(MAX_OPEN_TURNS)]
    error = await refused(conversation.post("too much", idempotency_key="later"))
    assert error.reason == "SESSION_BUSY"
    await answer(store, leases[0].lease, "at last")
    assert not (await conversation.post("too much", idempotency_key="later")).replayed


async def test_there_is_nothing_of_another_organisations_session(
    store: StoreClient, conversation: Conversation, database_url: str
) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        row = connection.execute("INSERT INTO orgs (name) VALUES ('b') RETURNING id").fetchone()
        assert row is not None
    other = StoreClient(
        store.channel, Identity("agent_worker", str(row[0]), "u2", "developer"), store.port
    )
    theirs = Conversation(other, await conversation.get())
    calls = [theirs.get(), theirs.messages(), theirs.delete(), theirs.post("hi", "w1")]
    assert [(await refused(call)).reason for call in calls] == ["SESSION_NOT_FOUND"] * 4
    forget = session_pb2.ForgetMemoryRequest(session_id=conversation.id)
    error = await refused(theirs.sessions.ForgetMemory(forget, metadata=other.person))
    assert error.reason == "SESSION_NOT_FOUND"
    listed = await theirs.sessions.ListSessions(
        session_pb2.ListSessionsRequest(), metadata=other.person
    )
    assert not listed.sessions
    assert await conversation.messages() == []


async def test_a_deleted_session_takes_its_messages_along_and_cancels_what_is_open(
    store: StoreClient, conversation: Conversation
) -> None:
    running = await conversation.post("one", "w1")
    queued = await conversation.post("two", "w1")
    await conversation.delete()
    assert (await refused(conversation.get())).reason == "SESSION_NOT_FOUND"
    assert (await refused(conversation.post("three"))).reason == "SESSION_NOT_FOUND"
    assert (await store.get(queued.run.id)).status == run_pb2.RUN_STATUS_CANCELLED
    assert (await store.get(running.run.id)).HasField("cancel_requested_at")
    # Its end finds no session, and no fault.
    assert await store.append(ending(running.lease, 3)) == ["STORED"]


async def test_messages_come_in_pages_from_either_end(
    store: StoreClient, conversation: Conversation
) -> None:
    for number in range(3):
        await answer(store, (await conversation.post(f"q{number}", "w1")).lease, f"a{number}")
    assert [n for n, _, _ in await conversation.messages(after_number=4)] == [5, 6]
    newest = await conversation.messages(newest_first=True)
    assert [n for n, _, _ in newest] == [6, 5, 4, 3, 2, 1]
    older = await conversation.messages(newest_first=True, after_number=3)
    assert [n for n, _, _ in older] == [2, 1]


def memory(number: int, importance: float = 0.5, content: str = "") -> memory_pb2.Memory:
    return memory_pb2.Memory(
        id=f"00000000-0000-4000-8000-{number:012d}",
        content=content or f"fact {number}",
        record_json="{}",
        embedding=b"\x00\x00\x80?",
        embedder="test-1",
        importance=importance,
    )


async def read(store: StoreClient, lease: run_store_pb2.Lease) -> list[str]:
    answer = await session_store_stub(store.channel).ReadMemories(
        store_pb2.ReadMemoriesRequest(run_id=lease.run.id, epoch=lease.epoch),
        metadata=store.service,
    )
    return [m.content for m in answer.memories]


async def test_memories_are_of_one_session_and_go_with_it(
    store: StoreClient, conversation: Conversation
) -> None:
    other = await Conversation.begin(store)
    lease = (await conversation.post("one", "w1")).lease
    assert await read(store, lease) == []
    await answer(store, lease, "ok", saved=[memory(1, content="mine"), memory(2)])
    lease = (await conversation.post("two", "w1")).lease
    assert sorted(await read(store, lease)) == ["fact 2", "mine"]
    await answer(store, lease, "ok", deleted=[memory(2).id])
    theirs = (await other.post("one", "w1")).lease
    assert await read(store, theirs) == []
    # The same id in another session is another record.
    await answer(store, theirs, "ok", saved=[memory(1, content="theirs")])
    without = (await store.create("w1", crew="talker")).lease
    assert await read(store, without) == []
    labelled = (await store.create("w1", crew="talker", session_id="a-label")).lease
    assert await read(store, labelled) == []
    lease = (await conversation.post("three", "w1")).lease
    assert await read(store, lease) == ["mine"]
    forget = session_pb2.ForgetMemoryRequest(session_id=conversation.id)
    answered = await other.sessions.ForgetMemory(forget, metadata=store.person)
    assert answered.deleted == 1
    assert await read(store, lease) == []
    await answer(store, (await other.post("two", "w1")).lease, "ok", saved=[memory(3)])
    await other.delete()
    fourth = (await conversation.store.create("w1", crew="talker", session_id=other.id)).lease
    assert await read(store, fourth) == []


async def test_runs_without_a_session_share_their_crews_memory_in_their_organisation(
    store: StoreClient, database_url: str
) -> None:
    await answer(store, (await store.create("w1", crew="a")).lease, "ok", saved=[memory(1)])
    assert await read(store, (await store.create("w1", crew="a")).lease) == ["fact 1"]
    assert await read(store, (await store.create("w1", crew="b")).lease) == []
    with psycopg.connect(database_url, autocommit=True) as connection:
        row = connection.execute("INSERT INTO orgs (name) VALUES ('b') RETURNING id").fetchone()
        assert row is not None
    other = StoreClient(
        store.channel, Identity("agent_worker", str(row[0]), "u2", "developer"), store.port
    )
    assert await read(store, (await other.create("w1", crew="a")).lease) == []


async def test_a_memory_is_bounded_and_the_least_important_goes_first(store: StoreClient) -> None:
    lease = (await store.create("w1", crew="a")).lease
    kept = [memory(n, importance=0.9) for n in range(400)]
    await answer(store, lease, "ok", saved=[*kept, *(memory(1000 + n, 0.1) for n in range(100))])
    lease = (await store.create("w1", crew="a")).lease
    await answer(store, lease, "ok", saved=[memory(2000 + n, 0.5) for n in range(150)])
    contents = await read(store, (await store.create("w1", crew="a")).lease)
    assert len(contents) == 500
    assert {f"fact {n}" for n in range(400)} <= set(contents)
    assert not any(content.startswith("fact 10") and len(content) == 9 for content in contents)


async def test_memories_are_kept_only_under_the_lease(store: StoreClient) -> None:
    lease = (await store.create("w1", crew="a")).lease
    stale = append(lease, 3, event())
    stale.epoch += 1
    stale.memories.saved.append(memory(1))
    assert await store.append(stale) == ["LEASE_LOST"]
    assert await read(store, lease) == []
    request = store_pb2.ReadMemoriesRequest(run_id=lease.run.id, epoch=lease.epoch + 1)
    sessions = session_store_stub(store.channel)
    error = await refused(sessions.ReadMemories(request, metadata=store.service))
    assert error.reason == "LEASE_LOST"
