"""HTTP/1.1 as uvicorn speaks it, with a limit on a request's head."""

from __future__ import annotations

import uuid

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from crewmesh_gateway.problems import REQUEST_ID_KEY, problem

MAX_HEAD_BYTES = 64 * 1024


class BoundedProtocol(HttpToolsProtocol):
    """Refuses a head that goes on and on, which uvicorn would take, and answers with problems."""

    _in_head = True
    _head_bytes = 0

    def data_received(self, data: bytes) -> None:
        """Take bytes from the client."""
        was_in_head = self._in_head
        super().data_received(data)
        if was_in_head and self._in_head and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.send_400_response(f"the request's head is longer than {MAX_HEAD_BYTES} bytes")

    def on_message_begin(self) -> None:
        """Begin to count a head's bytes."""
        self._in_head = True
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Stop counting: the body has limits of its own."""
        self._in_head = False
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what isn't HTTP, and close the connection."""
        scope = {REQUEST_ID_KEY: uuid.uuid4().hex}
        headers = {"Connection": "close", "X-Request-ID": scope[REQUEST_ID_KEY]}
        answer = problem(scope, 400, "malformed_request", msg, headers=headers)
        lines = [b"%b: %b\r\n" % header for header in answer.raw_headers]
        self.transport.write(b"".join([STATUS_LINE[400], *lines, b"\r\n", answer.body]))
        self.transport.close()
