"""What a run tells the worker, in order, while it goes on."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from crewmesh.v1.runner_pb2 import FromRunner, RunnerEvent, ToRunner
from crewmesh_worker.runner.text import MAX_CHARACTERS, storable

Send = Callable[[FromRunner], None]
# Sends what needs an answer, and waits for it.
Ask = Callable[[FromRunner], ToRunner]

_JOIN_SECONDS: Final = 0.05


@dataclass
class _Chunks:
    """Pieces of one model answer that wait to be sent together."""

    call_id: str
    task: str
    agent: str
    texts: list[str] = field(default_factory=list)
    characters: int = 0


class EventStream:
    """Sends a run's messages from any of its threads.

    The pieces of a model's answer are joined for up to 50 ms; any other message sends
    what was joined before it.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._pid = os.getpid()
        # Reentrant: the garbage collector may run code that prints while it is held.
        self._lock = threading.RLock()
        self._chunks: _Chunks | None = None
        self._chunks_wait = threading.Event()
        self._flusher: threading.Thread | None = None
        self._closed = threading.Event()

    def event(self, type_: str, task: str, agent: str, payload: dict[str, Any]) -> None:
        """Send an event of now."""
        text = json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
        task, agent = storable(task), storable(agent)
        event = RunnerEvent(type=type_, task=task, agent=agent, payload_json=text)
        self.message(FromRunner(event=event))

    def message(self, message: FromRunner) -> None:
        """Send a message after everything before it."""
        if os.getpid() != self._pid:
            return  # a process that a tool has forked
        with self._lock:
            if self._closed.is_set():
                return
            self._flush()
            if message.HasField("event"):
                message.event.at_us = time.time_ns() // 1000
            self._deliver(message)

    def chunk(self, call_id: str, text: str, task: str, agent: str) -> None:
        """Add a piece of a model's answer."""
        text = storable(text)
        with self._lock:
            for start in range(0, len(text), MAX_CHARACTERS):
                self._join(call_id, text[start : start + MAX_CHARACTERS], task, agent)

    def close(self) -> None:
        """Send what is left; whatever comes later is dropped."""
        with self._lock:
            self._flush()
            self._closed.set()
        self._chunks_wait.set()

    def _join(self, call_id: str, text: str, task: str, agent: str) -> None:
        chunks = self._chunks
        if chunks is not None and (
            chunks.call_id != call_id or chunks.characters + len(text) > MAX_CHARACTERS
        ):
            self._flush()
        if self._chunks is None:
            self._chunks = _Chunks(call_id, task, agent)
            self._flush_soon()
        self._chunks.texts.append(text)
        self._chunks.characters += len(text)

    def _flush(self) -> None:
        chunks, self._chunks = self._chunks, None
        if chunks is not None:
            text = "".join(chunks.texts)
            payload = {"call_id": chunks.call_id, "text": text, "chunks": len(chunks.texts)}
            self.event("llm.chunk", chunks.task, chunks.agent, payload)

    def _flush_soon(self) -> None:
        if self._flusher is None:
            self._flusher = threading.Thread(target=self._flush_late, daemon=True)
            self._flusher.start()
        self._chunks_wait.set()

    def _flush_late(self) -> None:
        """Send joined pieces though the model pauses; runs in a thread of its own."""
        while not self._closed.is_set():
            self._chunks_wait.wait()
            self._chunks_wait.clear()
            self._closed.wait(_JOIN_SECONDS)
            with self._lock:
                if not self._closed.is_set():
                    self._flush()

    def _deliver(self, message: FromRunner) -> None:
        try:
            self._send(message)
        except OSError:
            os._exit(1)  # the worker is gone, and nobody will ever know what this run does
