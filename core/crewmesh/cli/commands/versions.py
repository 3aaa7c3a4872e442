"""`crewmesh crews versions|diff|rollback|rm`: what became of a crew."""

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
    tell_next_page,
)
from crewmesh.cli.console import print_json, print_table, say
from crewmesh.cli.text import ago, clean

if TYPE_CHECKING:
    from crewmesh.client import AsyncClient

CrewArgument = Annotated[
    str, typer.Argument(metavar="CREW", help="The crew's name.", autocompletion=completion.crews)
]


def list_versions(
    name: CrewArgument,
    limit: LimitOption = 50,
    cursor: CursorOption = None,
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """List a crew's versions, newest first."""

    async def act(client: AsyncClient) -> dict[str, Any]:
        return (await client.crews.versions(name, limit=limit, cursor=cursor)).raw

    page = call(data_dir, act)
    if as_json:
        print_json(page)
        return
    rows = [
        [
            item["version"],
            "current" if item["current"] else "",
            ago(item["created_at"]) if item["created_at"] else "",
            item.get("created_by_email") or item["created_by"] or "",
        ]
        for item in page["items"]
    ]
    print_table(["VERSION", "", "MADE", "BY"], rows)
    tell_next_page(page, f"crewmesh crews versions {name}")


def diff(
    name: CrewArgument,
    first: Annotated[
        str | None,
        typer.Argument(
            metavar="[A]",
            help="By default the version before B.",
            show_default=False,
            autocompletion=completion.versions,
        ),
    ] = None,
    second: Annotated[
        str | None,
        typer.Argument(
            metavar="[B]",
            help="By default the current one.",
            show_default=False,
            autocompletion=completion.versions,
        ),
    ] = None,
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Show what changed from version A to version B."""

    async def act(client: AsyncClient) -> dict[str, Any]:
        return (await client.crews.diff(name, first, second)).raw

    answer = call(data_dir, act)
    if as_json:
        print_json(answer)
    elif answer["diff"]:
        say(clean(answer["diff"]).rstrip("\n"))
    else:
        say(f"Versions {answer['from']} and {answer['to']} of {name} are the same.")


def roll_back(
    name: CrewArgument,
    version: Annotated[
        str,
        typer.Argument(
            help="The version that becomes current.", autocompletion=completion.versions
        ),
    ],
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Go back to a version; runs that were accepted keep theirs."""

    async def act(client: AsyncClient) -> dict[str, Any]:
        return (await client.crews.roll_back(name, version)).raw

    crew = call(data_dir, act)
    if as_json:
        print_json(crew)
        return
    say(f"{crew['name']} is version {crew['version']} now.")


def remove(name: CrewArgument, as_json: JsonOption = False, data_dir: DataDirOption = None) -> None:
    """Remove a crew; runs of it that were accepted go on."""

    async def act(client: AsyncClient) -> None:
        await client.crews.delete(name)

    call(data_dir, act)
    if as_json:
        print_json({"removed": name})
        return
    say(f"Removed {name}.")
