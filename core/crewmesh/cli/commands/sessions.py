"""`crewmesh sessions`: look at conversations, delete them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from crewmesh.cli import completion
from crewmesh.cli.commands.common import (
    CursorOption,
    DataDirOption,
    JsonOption,
    LimitOption,
    call,
    fetch,
    tell_next_page,
)
from crewmesh.cli.console import print_json, print_table, say
from crewmesh.cli.text import ago, clean, one_line

if TYPE_CHECKING:
    from crewmesh.client import AsyncClient

app = typer.Typer(no_args_is_help=True, help="Look at conversations, delete them.")

SessionArgument = Annotated[
    str,
    typer.Argument(metavar="SESSION", help="The session's id.", autocompletion=completion.sessions),
]


@app.command("ls")
def list_sessions(
    crew: Annotated[
        str | None,
        typer.Option(
            "--crew",
            help="Only with this crew.",
            show_default=False,
            autocompletion=completion.crews,
        ),
    ] = None,
    limit: LimitOption = 20,
    cursor: CursorOption = None,
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """List conversations, newest first."""

    async def act(client: AsyncClient) -> dict[str, Any]:
        return (await client.sessions.list(crew=crew, limit=limit, cursor=cursor)).raw

    page = call(data_dir, act)
    if as_json:
        print_json(page)
        return
    rows = [
        [
            session["id"],
            session["crew"],
            f"{session['turns']:,}",
            ago(session["updated_at"]),
            one_line(session["title"], 60),
        ]
        for session in page["items"]
    ]
    if not rows:
        say("No conversations yet. Begin one with: crewmesh chat CREW")
        return
    print_table(["SESSION", "CREW", "MESSAGES", "LAST", "TITLE"], rows)
    tell_next_page(page, "crewmesh sessions ls")


@app.command("show")
def show_session(
    name: SessionArgument, as_json: JsonOption = False, data_dir: DataDirOption = None
) -> None:
    """Show a conversation from its first message to its last."""

    async def act(client: AsyncClient) -> dict[str, Any]:
        found = await client.sessions.get(session_id(name))
        messages: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            page = await client.sessions.messages(found.id, limit=200, cursor=cursor)
            messages += page.raw["items"]
            if (cursor := page.next_cursor) is None:
                return {**found.raw, "messages": messages}

    session = call(data_dir, act)
    if as_json:
        print_json(session)
        return
    say(f"session  {session['id']}")
    say(f"crew     {clean(session['crew'])}")
    if session["title"]:
        say(f"title    {clean(session['title'])}")
    say(f"last     {ago(session['updated_at'])}")
    for message in session["messages"]:
        say()
        say(f"{message['role']}: {clean(message['content'])}")


@app.command("rm")
def remove_session(
    name: SessionArgument, as_json: JsonOption = False, data_dir: DataDirOption = None
) -> None:
    """Delete a conversation, with its messages and what the crew remembers of it."""
    known = session_id(name)
    call(data_dir, lambda client: client.sessions.delete(known))
    if as_json:
        print_json({"removed": known})
        return
    say(f"Deleted session {known}.")


@app.command("forget")
def forget(
    name: SessionArgument, as_json: JsonOption = False, data_dir: DataDirOption = None
) -> None:
    """Delete what the crew remembers of a conversation; its messages stay."""
    known = session_id(name)
    answer = fetch(data_dir, lambda client: client.sessions.forget(known))
    if as_json:
        print_json(answer)
        return
    say(f"Deleted {answer['deleted']} memories.")


def session_id(text: str) -> str:
    """Return the id of a session that a text names; raise UsageError for what isn't one."""
    from uuid import UUID

    from crewmesh.cli.errors import UsageError

    try:
        return str(UUID(text))
    except ValueError:
        raise UsageError(
            f"{text!r} is no session's id",
            next_step="`crewmesh sessions ls` lists sessions with their ids",
        ) from None
