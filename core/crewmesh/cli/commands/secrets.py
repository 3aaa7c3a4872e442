"""`crewmesh secrets`: keys that runs find in their environment."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crewmesh.cli import completion
from crewmesh.cli.commands.common import DataDirOption, JsonOption, call, fetch
from crewmesh.cli.console import print_json, print_table, say
from crewmesh.cli.errors import UsageError
from crewmesh.cli.text import ago

if TYPE_CHECKING:
    from crewmesh.client import AsyncClient

app = typer.Typer(
    no_args_is_help=True,
    help="Set, list, show and remove keys that runs find in their environment.",
)

NameArgument = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="A variable's name, such as OPENAI_API_KEY.",
        autocompletion=completion.secrets,
    ),
]


@app.command("ls")
def list_secrets(as_json: JsonOption = False, data_dir: DataDirOption = None) -> None:
    """List your organisation's secrets; their values are never shown."""

    async def act(client: AsyncClient) -> dict[str, Any]:
        return (await client.secrets.list()).raw

    page = call(data_dir, act)
    if as_json:
        print_json(page)
        return
    if not page["items"]:
        say("No secrets yet. Set one with: crewmesh secrets set OPENAI_API_KEY")
        return
    rows = [
        [secret["name"], "…" + secret["ending"], ago(secret["created_at"])]
        for secret in page["items"]
    ]
    print_table(["NAME", "ENDS", "SET"], rows)


@app.command("show")
def show_secret(
    name: NameArgument, as_json: JsonOption = False, data_dir: DataDirOption = None
) -> None:
    """Show what may be known of a secret: its ending, and when it was set."""
    secret = fetch(data_dir, lambda client: client.secrets.get(name))
    if as_json:
        print_json(secret)
        return
    set_at = f"{secret['created_at']} ({ago(secret['created_at'])})"
    say(f"{secret['name']} ends in {secret['ending']}, set {set_at}.")


@app.command("set")
def set_secret(
    name: NameArgument, as_json: JsonOption = False, data_dir: DataDirOption = None
) -> None:
    """Set a secret; its value is asked for, or read from standard input."""
    value = _read_value(name)

    async def act(client: AsyncClient) -> dict[str, Any]:
        return (await client.secrets.set(name, value)).raw

    secret = call(data_dir, act)
    if as_json:
        print_json(secret)
        return
    say(f"Set {secret['name']}; attempts that begin from now on find it.")


@app.command("rm")
def remove_secret(
    name: NameArgument, as_json: JsonOption = False, data_dir: DataDirOption = None
) -> None:
    """Remove a secret."""

    async def act(client: AsyncClient) -> None:
        await client.secrets.delete(name)

    call(data_dir, act)
    if as_json:
        print_json({"removed": name})
        return
    say(f"Removed {name}.")


def _read_value(name: str) -> str:
    """Return what is typed at a terminal, unseen, or comes from standard input."""
    if sys.stdin.isatty():
        import getpass

        value = getpass.getpass(f"{name}: ")
    else:
        value = sys.stdin.read().removesuffix("\n")
    if not value:
        raise UsageError(
            f"no value for {name}",
            next_step=f"type it when asked, or: printf %s VALUE | crewmesh secrets set {name}",
        )
    return value
