"""Requests' bodies: bounded in size, time and depth, and JSON by the letter."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from crewmesh.common.documents.json_text import is_deeper

MAX_DEPTH = 64

_READ_SECONDS = 30
_JSON_TYPE = re.compile(r"application/(json|[\w.+-]+\+json)\s*(;.*)?", re.IGNORECASE)
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


class JsonRoute(APIRoute):
    """A route that parses its JSON body strictly before FastAPI validates it."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler behind a strict parser, where the route takes a body."""
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle

        async def handle_json(request: Request) -> Response:
            content = await read_body(request, request.app.state.gateway.max_body_bytes)
            if not content:
                return await handle(_ParsedRequest(request, b"", None))
            if not _JSON_TYPE.fullmatch(request.headers.get("content-type", "")):
                raise HTTPException(
                    415, "the body must be JSON, with Content-Type: application/json"
                )
            return await handle(_ParsedRequest(request, content, parse_json(content)))

        return handle_json


class _ParsedRequest(Request):
    """A request whose body has been read and parsed."""

    def __init__(self, request: Request, content: bytes, value: Any) -> None:
        super().__init__(request.scope, request.receive)
        self._content = content
        self._value = value

    async def body(self) -> bytes:
        return self._content

    async def json(self) -> Any:
        return self._value


async def read_body(request: Request, max_bytes: int) -> bytes:
    """Return the whole body.

    Raises HTTPException: 413 when it is longer than `max_bytes`, 408 when it doesn't
    come in time.
    """
    refuse_declared_size(request, max_bytes)
    content = bytearray()
    try:
        async with asyncio.timeout(_READ_SECONDS):
            async for chunk in request.stream():
                content += chunk
                if len(content) > max_bytes:
                    raise too_large(max_bytes)
    except TimeoutError:
        raise HTTPException(408, f"the body did not arrive within {_READ_SECONDS} s") from None
    return bytes(content)


def refuse_declared_size(request: Request, max_bytes: int) -> None:
    """Raise HTTPException 413 when the request announces more than `max_bytes`."""
    if int(request.headers.get("content-length", 0)) > max_bytes:
        raise too_large(max_bytes)


def too_large(max_bytes: int) -> HTTPException:
    """Return the error for a body of more than `max_bytes`."""
    return HTTPException(
        413, f"the body is longer than the {max_bytes:,} bytes that are taken here"
    )


def parse_json(content: bytes) -> Any:
    """Return the value of a JSON text.

    Raises HTTPException 400 for what isn't JSON, and RequestValidationError for JSON that
    can't be stored and passed on unchanged: NaN and infinite numbers, NUL characters,
    lone surrogates, keys that are there twice, more than 64 levels.
    """
    try:
        value = json.loads(
            content.decode(), parse_constant=_refuse_constant, object_pairs_hook=_only_once
        )
        text = dump_json(value)
        text.encode()
    except UnicodeDecodeError:
        raise HTTPException(400, "the body is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise HTTPException(
            400, f"the body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from None
    except RecursionError:
        raise _unfit(f"it is nested more than {MAX_DEPTH} levels deep") from None
    except UnicodeEncodeError:
        raise _unfit("a text in it holds half of a surrogate pair") from None
    except ValueError:
        raise _unfit("a number in it is not finite or has thousands of digits") from None
    if _NUL.search(text):
        raise _unfit("a text in it holds a NUL character")
    if is_deeper(value, MAX_DEPTH):
        raise _unfit(f"it is nested more than {MAX_DEPTH} levels deep")
    return value


def dump_json(value: Any) -> str:
    """Return the shortest JSON text of a parsed value; numbers keep all their digits."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _only_once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(members)
    if len(value) < len(members):
        raise _unfit("a key in it is there twice")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _unfit(fault: str) -> RequestValidationError:
    return RequestValidationError([{"type": "json_unfit", "loc": ("body",), "msg": fault}])
