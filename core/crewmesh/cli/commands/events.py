"""`crewmesh runs events|artifacts|artifact`: what a run did and made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crewmesh.cli import completion
from crewmesh.cli.commands.common import DataDirOption, JsonOption, call
from crewmesh.cli.commands.ids import RunArgument, run_id
from crewmesh.cli.console import print_json, print_json_line, print_table, say, tell
from crewmesh.cli.errors import CliError, UsageError
from crewmesh.cli.text import clean, file_name, one_line, size

if TYPE_CHECKING:
    from crewmesh.client import AsyncClient
    from crewmesh.client.models import RunEvent

_PAGE = 1000


def events(
    run: RunArgument,
    after: Annotated[int, typer.Option("--after", min=0, help="Only those after this one.")] = 0,
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on until the run ends, as they come.")
    ] = False,
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Print a run's events, one to a line; with --json, each as one line of JSON.

    To go on after a break, name the last number that was printed as --after.
    """
    known = run_id(run)

    async def act(client: AsyncClient) -> None:
        if follow:
            async for event in client.runs.events(known, after=after):
                _print(event, as_json)
            return
        seen = after
        while True:
            page = await client.runs.list_events(known, after=seen, limit=_PAGE)
            for event in page.items:
                _print(event, as_json)
                seen = event.seq
            if page.next_cursor is None:
                return

    call(data_dir, act)


def artifacts(
    run: RunArgument,
    save: Annotated[
        Path | None,
        typer.Option("--save", metavar="DIR", help="Save them there.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """List what a run has made so far, or save it."""
    known = run_id(run)

    async def act(client: AsyncClient) -> dict[str, Any]:
        page = await client.runs.artifacts(known)
        if save is not None:
            save.mkdir(parents=True, exist_ok=True)
            for artifact in page.items:
                # Two may have one name: the id's end tells them apart.
                name = file_name(artifact.name)
                path = save / name
                if path.exists():
                    path = save / f"{artifact.id[-12:]}-{name}"
                await client.artifacts.save(artifact.id, path)
                tell(f"saved {path}")
        return page.raw

    page = call(data_dir, act)
    if as_json:
        print_json(page)
        return
    if not page["items"]:
        say("It has made no artifacts.")
        return
    rows = [
        [item["id"], item["name"], item["media_type"], size(item.get("size_bytes", 0))]
        for item in page["items"]
    ]
    print_table(["ARTIFACT", "NAME", "TYPE", "SIZE"], rows)


def artifact(
    run: RunArgument,
    name: Annotated[
        str,
        typer.Argument(
            metavar="ARTIFACT",
            help="Its id or its name; the newest that has it.",
            autocompletion=completion.artifacts,
        ),
    ],
    file: Annotated[Path, typer.Argument(help="The file to write, which must not exist yet.")],
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Download one of a run's artifacts."""
    known = run_id(run)
    if file.exists():
        raise UsageError(f"{file} exists already", next_step="name a new file")

    async def act(client: AsyncClient) -> dict[str, Any]:
        made = (await client.runs.artifacts(known)).items
        found = [item for item in made if name in (item.id, item.name)]
        if not found:
            raise CliError(
                f"the run has made no artifact {name!r}",
                next_step=f"see what it has made with: crewmesh runs artifacts {known}",
            )
        await client.artifacts.save(found[-1].id, file)
        return found[-1].raw

    saved = call(data_dir, act)
    if as_json:
        print_json(saved | {"file": str(file)})
        return
    say(f"Saved {clean(saved['name'])} as {file}.")


def _print(event: RunEvent, as_json: bool) -> None:
    if as_json:
        print_json_line(event.raw)
        return
    payload = json.dumps(event.payload, ensure_ascii=False)
    where = f" {event.task}" if event.task else ""
    say(f"{event.seq:>6}  {event.raw['at']}  {event.type}{where}  {one_line(payload, 120)}")
