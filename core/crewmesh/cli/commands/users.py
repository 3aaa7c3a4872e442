"""`crewmesh users`: who belongs to the organisation, and what they may do."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from crewmesh.cli import completion
from crewmesh.cli.commands.common import (
    CursorOption,
    DataDirOption,
    JsonOption,
    LimitOption,
    call,
    tell_next_page,
)
from crewmesh.cli.console import print_json, print_table, say
from crewmesh.cli.text import ago, clean

if TYPE_CHECKING:
    from crewmesh.client import AsyncClient

app = typer.Typer(no_args_is_help=True, help="Add, list, show, change and remove users.")

Role = Literal["owner", "admin", "developer", "operator", "viewer"]
UserArgument = Annotated[
    str,
    typer.Argument(
        metavar="USER", help="An id or an e-mail address.", autocompletion=completion.users
    ),
]
PasswordOption = Annotated[
    bool, typer.Option("--password", help="Ask for a password, or read it from stdin.")
]


@app.command("ls")
def list_users(
    limit: LimitOption = 50,
    cursor: CursorOption = None,
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """List people and service accounts, newest first."""

    async def act(client: AsyncClient) -> dict[str, Any]:
        return (await client.users.list(limit=limit, cursor=cursor)).raw

    page = call(data_dir, act)
    if as_json:
        print_json(page)
        return
    rows = [
        [u["id"], u["email"], u["role"], ago(u["created_at"]), _state(u)] for u in page["items"]
    ]
    print_table(["USER", "E-MAIL", "ROLE", "ADDED", "STATE"], rows)
    tell_next_page(page, "crewmesh users ls")


@app.command("show")
def show_user(
    user: UserArgument, as_json: JsonOption = False, data_dir: DataDirOption = None
) -> None:
    """Show a person or a service account."""

    async def act(client: AsyncClient) -> dict[str, Any]:
        return (await client.users.get(await user_id(client, user))).raw

    shown = call(data_dir, act)
    if as_json:
        print_json(shown)
        return
    facts = {
        "user": shown["id"],
        "e-mail": shown["email"],
        "name": shown["name"],
        "role": shown["role"],
        "added": f"{shown['created_at']} ({ago(shown['created_at'])})",
        "state": _state(shown),
    }
    for name, value in facts.items():
        if value:
            say(f"{name:<7} {clean(value)}")


@app.command("add")
def add_user(
    email: Annotated[str, typer.Argument(help="Their e-mail address.")],
    role: Annotated[Role, typer.Option("--role", help="What they may do.")] = "developer",
    name: Annotated[str, typer.Option("--name", help="What they are called.")] = "",
    service: Annotated[
        bool, typer.Option("--service", help="A program, which has API keys and no password.")
    ] = False,
    password: PasswordOption = False,
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Add a person or a service account."""
    secret = read_password(confirm=True) if password else None

    async def act(client: AsyncClient) -> dict[str, Any]:
        return (
            await client.users.create(
                email, role, name=name, service_account=service, password=secret
            )
        ).raw

    user = call(data_dir, act)
    if as_json:
        print_json(user)
        return
    say(f"Added {user['email']} as {user['role']}: {user['id']}")
    if service:
        say(f"Make its key with: crewmesh keys create NAME --for {user['id']}")


@app.command("set")
def change_user(
    user: UserArgument,
    role: Annotated[Role | None, typer.Option("--role", help="What they may do.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="What they are called.")] = None,
    disable: Annotated[
        bool | None, typer.Option("--disable/--enable", help="Whether they can sign in.")
    ] = None,
    password: PasswordOption = False,
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Change a user; another password, or a disabled account, ends their sign-ins."""
    from crewmesh.cli.errors import UsageError

    given = {"role": role, "name": name, "disabled": disable}
    changes: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if password:
        changes["password"] = read_password(confirm=True)
    if not changes:
        raise UsageError("nothing to change", next_step="see crewmesh users set --help")

    async def act(client: AsyncClient) -> dict[str, Any]:
        return (await client.users.update(await user_id(client, user), **changes)).raw

    changed = call(data_dir, act)
    if as_json:
        print_json(changed)
        return
    say(f"{changed['email']} is {changed['role']}, {_state(changed)}.")


@app.command("rm")
def remove_user(
    user: UserArgument, as_json: JsonOption = False, data_dir: DataDirOption = None
) -> None:
    """Remove a user, their keys and their tokens. Their runs stay."""

    async def act(client: AsyncClient) -> str:
        known = await user_id(client, user)
        await client.users.delete(known)
        return known

    removed = call(data_dir, act)
    if as_json:
        print_json({"removed": removed})
        return
    say(f"Removed {user}.")


def read_password(prompt: str = "Password", *, confirm: bool = False) -> str:
    """Ask for a password at a terminal, or read a line of stdin; never an option or argument."""
    if sys.stdin.isatty():
        return str(typer.prompt(prompt, hide_input=True, confirmation_prompt=confirm, err=True))
    return sys.stdin.readline().rstrip("\n")


async def user_id(client: AsyncClient, user: str) -> str:
    """Return the id of whom an id or an e-mail address names."""
    from crewmesh.cli.errors import UsageError

    if "@" not in user:
        return user
    async for found in client.users.iterate():
        if found.email.lower() == user.lower():
            return found.id
    raise UsageError(f"nobody here has the address {user}", next_step="crewmesh users ls")


def _state(user: dict[str, Any]) -> str:
    if user["disabled_at"]:
        return "disabled"
    if user["service_account"]:
        return "service account"
    seen = user["last_sign_in_at"]
    return f"signed in {ago(seen)}" if seen else "never signed in"
