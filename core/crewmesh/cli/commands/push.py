"""`crewmesh crews push`: bring a crew from files here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crewmesh.cli.commands.common import DataDirOption, JsonOption, call
from crewmesh.cli.console import print_json, say

if TYPE_CHECKING:
    from crewmesh.cli.definitions.bundle import Bundle
    from crewmesh.client import AsyncClient


def push(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="FILE|DIR",
            help="A definition (YAML or JSON), or a directory with agents.yaml and tasks.yaml, or "
            "with crew.jsonc and agents/.",
        ),
    ],
    name: Annotated[
        str | None,
        typer.Option(
            "--name",
            help="The crew's name; by default its own, the file's or the directory's.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Bring a crew, or the next version of one; everything wrong with it is listed."""
    from crewmesh.cli.definitions.finding import read_bundle

    bundle = read_bundle(path, name)

    async def act(client: AsyncClient) -> dict[str, Any]:
        return await _put(client, bundle)

    crew = call(data_dir, act)
    if as_json:
        print_json(crew)
        return
    if not crew["changed"]:
        say(f"{crew['name']} is version {crew['version']} already.")
        return
    from crewmesh.cli.inputs import example

    say(f"{crew['name']} is version {crew['version']} now.")
    say(f"Run it with: {example(crew['name'], crew['inputs'].get('required', []), crew['inputs'])}")


async def _put(client: AsyncClient, bundle: Bundle) -> dict[str, Any]:
    from crewmesh.cli.errors import UsageError
    from crewmesh.client.errors import InvalidInputError

    try:
        return (await client.crews.push(bundle.name, bundle.content, bundle.media_type)).raw
    except InvalidInputError as error:
        if not error.faults:
            raise
        # Places begin with "body".
        raise UsageError(
            f"the crew {bundle.name} can't be taken",
            why=error.what,
            details=bundle.describe_all([(place[1:], msg) for place, msg in error.faults]),
            next_step="correct it and push again; see docs/reference/crew-definition.md",
        ) from None
