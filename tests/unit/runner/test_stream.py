from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator

import pytest

from crewmesh.v1.runner_pb2 import FromRunner
from crewmesh_worker.runner.stream import EventStream


class Sent:
    """What a stream has sent; others can wait for it."""

    def __init__(self) -> None:
        self.messages: list[FromRunner] = []
        self._news = threading.Condition()

    def __call__(self, message: FromRunner) -> None:
        with self._news:
            self.messages.append(message)
            self._news.notify_all()

    def wait_for(self, count: int) -> None:
        with self._news:
            assert self._news.wait_for(lambda: len(self.messages) >= count, timeout=10)

    @property
    def events(self) -> list[tuple[str, dict]]:
        return [(m.event.type, json.loads(m.event.payload_json)) for m in self.messages]


@pytest.fixture
def sent() -> Sent:
    return Sent()


@pytest.fixture
def stream(sent: Sent) -> Iterator[EventStream]:
    stream = EventStream(sent)
    yield stream
    stream.close()


def test_pieces_are_joined_and_sent_before_the_next_event(stream: EventStream, sent: Sent) -> None:
    for piece in ("Hel", "lo ", "you"):
        stream.chunk("call", piece, "task", "agent")
    stream.event("llm.completed", "task", "agent", {"call_id": "call"})
    assert sent.events == [
        ("llm.chunk", {"call_id": "call", "text": "Hello you", "chunks": 3}),
        ("llm.completed", {"call_id": "call"}),
    ]
    assert (sent.messages[0].event.task, sent.messages[0].event.agent) == ("task", "agent")
    assert sent.messages[0].event.at_us <= sent.messages[1].event.at_us


def test_pieces_do_not_wait_for_a_model_that_pauses(stream: EventStream, sent: Sent) -> None:
    stream.chunk("call", "first", "task", "agent")
    sent.wait_for(1)
    stream.chunk("call", "second", "task", "agent")
    sent.wait_for(2)
    assert [payload["text"] for _, payload in sent.events] == ["first", "second"]


def test_pieces_of_different_calls_are_kept_apart(stream: EventStream, sent: Sent) -> None:
    for call, piece in (("a", "1"), ("b", "2"), ("a", "3")):
        stream.chunk(call, piece, "task", "agent")
    stream.close()
    assert [(p["call_id"], p["text"]) for _, p in sent.events] == [
        ("a", "1"),
        ("b", "2"),
        ("a", "3"),
    ]


def test_no_character_is_lost_however_long_the_pieces_are(stream: EventStream, sent: Sent) -> None:
    pieces = ["a" * 20_000, "b" * 7_999, "c" * 2, "d" * 8_000, ""]
    for piece in pieces:
        stream.chunk("call", piece, "task", "agent")
    stream.close()
    texts = [payload["text"] for _, payload in sent.events]
    assert "".join(texts) == "".join(pieces)
    assert max(map(len, texts)) <= 8_000


def test_many_threads_lose_no_piece(stream: EventStream, sent: Sent) -> None:
    def talk(call: str) -> None:
        for number in range(200):
            stream.chunk(call, f"{number} ", "task", "agent")
            if number % 50 == 0:
                stream.event("log", "task", "agent", {})

    threads = [threading.Thread(target=talk, args=(call,)) for call in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stream.close()
    for call in "abcd":
        said = "".join(p["text"] for _, p in sent.events if p.get("call_id") == call)
        assert said == "".join(f"{number} " for number in range(200))


def test_what_comes_after_the_end_is_dropped(stream: EventStream, sent: Sent) -> None:
    stream.chunk("call", "last words", "task", "agent")
    stream.close()
    stream.event("log", "", "", {"message": "too late"})
    stream.chunk("call", "too late", "task", "agent")
    assert [payload["text"] for _, payload in sent.events] == ["last words"]


def test_a_process_that_a_tool_forks_says_nothing(stream: EventStream) -> None:
    reader, writer = os.pipe()
    stream._send = lambda message: os.write(writer, b"spoke")
    pid = os.fork()
    if pid == 0:
        stream.event("log", "", "", {})
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(writer)
    assert os.read(reader, 10) == b""
    os.close(reader)
