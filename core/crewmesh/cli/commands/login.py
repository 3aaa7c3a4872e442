"""`crewmesh login` and `logout`: keep a mesh's address and key, and forget them."""

from __future__ import annotations

import json
import platform
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crewmesh.cli.commands.common import JsonOption
from crewmesh.cli.commands.users import read_password
from crewmesh.cli.console import print_json, say

if TYPE_CHECKING:
    from crewmesh.cli.connection import Connection
    from crewmesh.client.models import CreatedApiKey

_KEY_DAYS = 90


def login(
    url: Annotated[
        str | None,
        typer.Option("--url", help="The mesh's address, such as https://crews.example.com."),
    ] = None,
    email: Annotated[
        str | None,
        typer.Option("--email", help="Sign in with a password, and make a key for this machine."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Keep a mesh's address and your API key, once they are found to work.

    The key, or the password, is asked for, or read from stdin where that is no terminal; it
    is never an option, where other users could see it.
    """
    import asyncio

    from crewmesh.cli.connection import Connection, profile_path, write_private

    address = _read_url(url)
    if email is None:
        profile = {"url": address, "api_key": _read_key()}
    else:
        made = asyncio.run(_key_for_password(address, email))
        profile = {"url": address, "api_key": made.secret, "key_id": made.id}
    connection = Connection(address, profile["api_key"], "login")
    me = asyncio.run(_who_am_i(connection))
    path = profile_path()
    write_private(path, json.dumps(profile) + "\n")
    if as_json:
        print_json({"url": connection.url, "profile": str(path), "me": me})
        return
    who = f"{me['user']['email']} ({me['role']} of {me['org']['name']})"
    say(f"Logged in to {connection.url} as {who}; kept in {path}.")


def logout(
    keep_key: Annotated[
        bool, typer.Option("--keep-key", help="Only forget the key; it stays valid.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Forget what `crewmesh login` kept, and revoke the key if it was made by it.

    A key that you gave stays valid: something else may use it.
    """
    import asyncio

    from crewmesh.cli.connection import profile_path, read_profile

    connection = read_profile()
    revoked = ""
    if connection is not None:
        if not keep_key and connection.key_id:
            asyncio.run(_revoke(connection))
            revoked = connection.key_id
        profile_path().unlink(missing_ok=True)
    if as_json:
        print_json({"url": connection and connection.url, "revoked": revoked or None})
    elif connection is None:
        say("Nobody is logged in.")
    else:
        key = "its key is revoked" if revoked else "its key stays valid"
        say(f"Logged out of {connection.url}; {key}.")


async def _revoke(connection: Connection) -> None:
    from crewmesh.cli.client import open_client
    from crewmesh.cli.errors import CliError
    from crewmesh.client.errors import AuthenticationError, MeshError, NotFoundError

    try:
        async with open_client(connection) as client:
            await client.api_keys.revoke(connection.key_id)
    except (AuthenticationError, NotFoundError):
        # It has ended already: it was revoked, its 90 days are over, or its user is gone.
        return
    except MeshError as error:
        raise CliError(
            f"the key {connection.key_id} could not be revoked",
            why=f"{error.what}: {error.why}" if error.why else error.what,
            next_step="try again, or only forget it here: crewmesh logout --keep-key",
        ) from None


async def _key_for_password(url: str, email: str) -> CreatedApiKey:
    """Make an API key by a sign-in that ends with it."""
    from crewmesh.cli.client import open_client
    from crewmesh.cli.connection import Connection

    password = read_password()
    async with open_client(Connection(url, "", "login")) as client:
        tokens = await client.account.sign_in(email, password)
        async with open_client(Connection(url, tokens.access_token, "login")) as signed_in:
            expires_at = datetime.now(UTC) + timedelta(days=_KEY_DAYS)
            name = f"command line on {_host()}"
            key = await signed_in.api_keys.create(name, expires_at=expires_at)
        await client.account.sign_out(tokens.refresh_token)
    return key


def _host() -> str:
    name = "".join(c for c in platform.node() if c.isprintable())
    return name[:60] or "a computer"


async def _who_am_i(connection: Connection) -> dict[str, Any]:
    from crewmesh.cli.client import open_client

    async with open_client(connection) as client:
        return (await client.account.me()).raw


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
