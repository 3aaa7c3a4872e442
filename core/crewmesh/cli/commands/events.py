"""`crewmesh runs events|artifacts`: what a run did and made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crewmesh.cli.commands.common import DataDirOption, JsonOption, call
from crewmesh.cli.commands.ids import RunArgument, run_id
from crewmesh.cli.console import print_json, print_json_line, print_table, say, tell
from crewmesh.cli.text import file_name, one_line, size

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


def _print(event: RunEvent, as_json: bool) -> None:
    if as_json:
        print_json_line(event.raw)
        return
    payload = json.dumps(event.payload, ensure_ascii=False)
    where = f" {event.task}" if event.task else ""
    say(f"{event.seq:>6}  {event.raw['at']}  {event.type}{where}  {one_line(payload, 120)}")
