"""A host that takes webhooks, and may refuse them or let them wait."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass
class Webhook:
    """One request as it came."""

    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    def is_signed_with(self, secret: str) -> bool:
        """Check as a receiver would."""
        key = base64.b64decode(secret.removeprefix("whsec_"))
        signed = f"{self.id}.{self.headers['webhook-timestamp']}.".encode() + self.body
        digest = hmac.new(key, signed, hashlib.sha256).digest()
        return self.headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"


@dataclass
class Receiver:
    """Answers with `statuses` in turn, then with 200, as soon as `open` is set."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    received: list[Webhook] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.received.append(Webhook(headers, await request.read()))
        await self.open.wait()
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)

    async def has(self, count: int) -> bool:
        return len(self.received) >= count


@contextlib.asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """Listen on a free port of this machine."""
    receiver = Receiver()
    receiver.open.set()
    app = web.Application()
    app.router.add_post("/hook", receiver.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    try:
        yield receiver
    finally:
        receiver.open.set()
        await runner.cleanup()
