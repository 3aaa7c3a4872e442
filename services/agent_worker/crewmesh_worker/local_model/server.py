"""The process that serves the model: `python -m crewmesh_worker.local_model.server FD SETTINGS`.

FD is a listening socket, SETTINGS the settings as JSON; the key that callers must have is in
CREWMESH_LOCAL_KEY. It speaks the part of OpenAI's interface that CrewAI's client uses
(`POST /v1/chat/completions`, streamed or not), and ends with the worker that started it.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import os
import select
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import structlog

from crewmesh.common.logging import configure_logging
from crewmesh_worker.local_model.engine import Engine, Piece, Reply
from crewmesh_worker.local_model.environment import CUT_HEADER, KEY_VARIABLE, MODEL
from crewmesh_worker.local_model.settings import LocalModelSettings
from crewmesh_worker.runner import linux

log = structlog.get_logger(__name__)

_MAX_BODY_BYTES: Final = 32 * 1024 * 1024
# Below the worker, which must renew its leases in time: of this process, and of its session.
_NICENESS: Final = 5


class Turns:
    """Lets one caller through at a time, in the order in which they came."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[threading.Lock] = deque()
        self._busy = False

    @contextlib.contextmanager
    def mine(self) -> Iterator[None]:
        """Wait for the turn and hold it for the length of a `with` block."""
        gate = threading.Lock()
        gate.acquire()
        with self._lock:
            if self._busy:
                self._waiting.append(gate)
            else:
                self._busy = True
                gate.release()
        gate.acquire()
        try:
            yield
        finally:
            with self._lock:
                if self._waiting:
                    self._waiting.popleft().release()
                else:
                    self._busy = False


class ModelServer(ThreadingHTTPServer):
    """Serves the model on a socket that somebody else has opened."""

    daemon_threads = True

    def __init__(self, listener: socket.socket, engine: Engine, key: str) -> None:
        super().__init__(listener.getsockname(), Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.engine = engine
        self.key = key
        self.turns = Turns()


class Handler(BaseHTTPRequestHandler):
    """One connection, which is one request."""

    server: ModelServer
    timeout = 600

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Say nothing of single requests: runs' logs tell of them."""

    def do_GET(self) -> None:
        """Name the model."""
        if self._admitted():
            self._answer(200, {"object": "list", "data": [{"id": MODEL, "object": "model"}]})

    def do_POST(self) -> None:
        """Complete a chat."""
        if not self._admitted():
            return
        request = self._read()
        if request is None:
            return
        with contextlib.suppress(ConnectionError), self.server.turns.mine():
            if not self._left():
                self._complete(request)

    def _complete(self, request: dict[str, Any]) -> None:
        began = time.monotonic()
        reply = self.server.engine.reply(request)
        if request.get("stream"):
            self._stream(reply, bool((request.get("stream_options") or {}).get("include_usage")))
        else:
            self._answer(200, _whole(reply), reply)
        log.info(
            "answered",
            prompt_tokens=reply.prompt.tokens,
            cut_tokens=reply.prompt.cut_tokens,
            completion_tokens=reply.completion_tokens,
            seconds=round(time.monotonic() - began, 2),
        )

    def _stream(self, reply: Reply, include_usage: bool) -> None:
        self._begin(200, "text/event-stream", reply)
        head = {**_head("chat.completion.chunk")}
        for piece in reply.pieces:
            if self._left():
                return
            self._send({**head, "choices": [_delta(piece)]})
        if include_usage:
            self._send({**head, "choices": [], "usage": _usage(reply)})
        self.wfile.write(b"data: [DONE]\n\n")

    def _send(self, chunk: dict[str, Any]) -> None:
        self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
        self.wfile.flush()

    def _read(self) -> dict[str, Any] | None:
        length = int(self.headers.get("Content-Length") or 0)
        if not 0 < length <= _MAX_BODY_BYTES:
            self._refuse(413, "the request is empty or too long")
            return None
        try:
            request = json.loads(self.rfile.read(length))
            if isinstance(request["messages"], list) and request["messages"]:
                return dict(request)
        except (ValueError, KeyError, TypeError):
            pass
        self._refuse(400, "the request is no chat completion's")
        return None

    def _admitted(self) -> bool:
        given = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if hmac.compare_digest(given.encode(), self.server.key.encode()):
            return True
        self._refuse(401, "wrong key")
        return False

    def _left(self) -> bool:
        """Tell whether the caller is gone: a killed runner needs no answer."""
        readable, _, _ = select.select([self.connection], [], [], 0)
        return bool(readable) and not self.connection.recv(1, socket.MSG_PEEK)

    def _refuse(self, status: int, message: str) -> None:
        self._answer(status, {"error": {"message": message, "type": "invalid_request_error"}})

    def _answer(self, status: int, content: dict[str, Any], reply: Reply | None = None) -> None:
        self._begin(status, "application/json", reply)
        self.wfile.write(json.dumps(content).encode())

    def _begin(self, status: int, media_type: str, reply: Reply | None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        if reply is not None:
            self.send_header(CUT_HEADER, str(reply.prompt.cut_tokens))
        self.end_headers()


def _head(kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-local", "object": kind, "created": int(time.time()), "model": MODEL}


def _delta(piece: Piece) -> dict[str, Any]:
    delta: dict[str, Any] = {"role": "assistant"}
    if piece.call is not None:
        delta["tool_calls"] = [{"index": 0, **piece.call}]
    elif piece.text:
        delta["content"] = piece.text
    return {"index": 0, "delta": delta, "finish_reason": piece.finish_reason}


def _whole(reply: Reply) -> dict[str, Any]:
    pieces = list(reply.pieces)
    calls = [piece.call for piece in pieces if piece.call is not None]
    message: dict[str, Any] = {
        "role": "assistant",
        "content": None if calls else "".join(piece.text for piece in pieces),
    }
    if calls:
        message["tool_calls"] = calls
    choice = {"index": 0, "message": message, "finish_reason": pieces[-1].finish_reason}
    return {**_head("chat.completion"), "choices": [choice], "usage": _usage(reply)}


def _usage(reply: Reply) -> dict[str, int]:
    prompt, completion = reply.prompt.tokens, reply.completion_tokens
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


def main() -> None:
    """Load the model, then serve until the worker ends."""
    configure_logging("local_model", "INFO")
    linux.die_with_parent(int(os.environ["CREWMESH_LOCAL_PARENT"]), signal.SIGKILL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.nice(_NICENESS)
    linux.lower_session(_NICENESS)
    listener = socket.socket(fileno=int(sys.argv[1]))
    settings = LocalModelSettings.model_validate_json(sys.argv[2])
    began = time.monotonic()
    engine = Engine(settings)
    seconds = round(time.monotonic() - began, 2)
    log.info("the local model is loaded", weights=settings.weights.name, seconds=seconds)
    ModelServer(listener, engine, os.environ[KEY_VARIABLE]).serve_forever()


if __name__ == "__main__":
    main()
