"""`crewmesh login`: keep a mesh's address and key."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crewmesh.cli.commands.common import JsonOption
from crewmesh.cli.console import print_json, say

if TYPE_CHECKING:
    from crewmesh.cli.connection import Connection


def login(
    url: Annotated[
        str | None,
        typer.Option("--url", help="The mesh's address, such as https://crews.example.com."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Keep a mesh's address and your API key, once they are found to work.

    The key is asked for, or read from stdin where that is no terminal; it is never an
    option, where other users could see it.
    """
    import asyncio

    from crewmesh.cli.connection import Connection, profile_path, write_private

    connection = Connection(_read_url(url), _read_key(), "login")
    me = asyncio.run(_who_am_i(connection))
    path = profile_path()
    write_private(path, json.dumps({"url": connection.url, "api_key": connection.api_key}) + "\n")
    if as_json:
        print_json({"url": connection.url, "profile": str(path), "me": me})
        return
    who = f"{me['user']['email']} ({me['role']} of {me['org']['name']})"
    say(f"Logged in to {connection.url} as {who}; kept in {path}.")


async def _who_am_i(connection: Connection) -> dict[str, Any]:
    from crewmesh.cli.client import MeshClient

    async with MeshClient(connection) as client:
        me: dict[str, Any] = await client.get("/v1/me")
        return me


def _read_url(url: str | None) -> str:
    from urllib.parse import urlsplit

    from crewmesh.cli.errors import UsageError

    if url is None:
        if not sys.stdin.isatty():
            raise UsageError("no address given", next_step="crewmesh login --url https://...")
        url = str(typer.prompt("Address", default="http://127.0.0.1:8080", err=True))
    url = url.strip().rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise UsageError(f"{url!r} is no address", next_step="write it like https://host:port")
    return url


def _read_key() -> str:
    from crewmesh.cli.errors import UsageError

    if sys.stdin.isatty():
        key = str(typer.prompt("API key", hide_input=True, err=True))
    else:
        key = sys.stdin.readline()
    if not key.strip():
        raise UsageError("no API key given", next_step="pipe it in, or run this at a terminal")
    return key.strip()
