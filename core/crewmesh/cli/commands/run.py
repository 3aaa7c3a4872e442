"""`crewmesh run`: start a run, follow it, print its answer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crewmesh.cli import completion
from crewmesh.cli.commands.common import DataDirOption, JsonOption, TimeoutOption, call
from crewmesh.cli.console import print_json, say, stderr, tell

if TYPE_CHECKING:
    from crewmesh.client import AsyncClient


def run(
    crew: Annotated[
        str,
        typer.Argument(
            help="The crew's name; see `crewmesh crews ls`.", autocompletion=completion.crews
        ),
    ],
    inputs: Annotated[
        list[str] | None,
        typer.Option("-i", "--input", metavar="KEY=VALUE", help="An input.", show_default=False),
    ] = None,
    files: Annotated[
        list[str] | None,
        typer.Option(
            "-f",
            "--file",
            metavar="KEY=@FILE",
            help="A file for an input that is a dataset: CSV, JSON lines or Parquet.",
            show_default=False,
        ),
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Start the run and don't wait for it.")
    ] = False,
    save: Annotated[
        Path | None,
        typer.Option(
            "--save",
            metavar="DIR",
            help="Save the answer and the artifacts there.",
            show_default=False,
        ),
    ] = None,
    session: Annotated[
        str | None,
        typer.Option(
            "--session",
            metavar="ID",
            help="Count it among the runs of this conversation.",
            show_default=False,
            autocompletion=completion.sessions,
        ),
    ] = None,
    priority: Annotated[
        int | None,
        typer.Option(
            "--priority", min=-100, max=100, help="Higher runs first.", show_default=False
        ),
    ] = None,
    timeout: TimeoutOption = None,
    max_attempts: Annotated[
        int | None,
        typer.Option(
            "--max-attempts",
            min=1,
            max=20,
            help="Attempts that may fail through no fault of the crew.",
            show_default=False,
        ),
    ] = None,
    idempotency_key: Annotated[
        str | None,
        typer.Option(
            "--idempotency-key",
            metavar="KEY",
            help="Two starts with one key are one run, whoever sends them.",
            show_default=False,
        ),
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            metavar="MODEL",
            help="Use this model instead of the crew's; repeated, those to go on with.",
            show_default=False,
        ),
    ] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option("--max-tokens", min=1, help="The most it may consume.", show_default=False),
    ] = None,
    max_usd: Annotated[
        float | None,
        typer.Option("--max-usd", min=0.000001, help="The most it may cost.", show_default=False),
    ] = None,
    webhook: Annotated[
        str | None,
        typer.Option(
            "--webhook",
            metavar="URL",
            help="Where the mesh posts the run when it has ended.",
            show_default=False,
        ),
    ] = None,
    webhook_secret: Annotated[
        str | None,
        typer.Option(
            "--webhook-secret",
            envvar="CREWMESH_WEBHOOK_SECRET",
            help="Signs what is posted there.",
            show_default=False,
            show_envvar=True,
        ),
    ] = None,
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Run a crew, watch it live and print its answer.

    Exit status: 0 the run succeeded, 1 it failed, 2 wrong options or inputs,
    3 it was cancelled, 4 it timed out. Ctrl-C cancels the run; a second one only
    stops watching it. With --json, every event is one line of JSON.
    """

    async def act(client: AsyncClient) -> int:
        from crewmesh.cli.live.outcome import finish
        from crewmesh.cli.live.session import watch_own_run

        definition, values = await prepare(client, crew, inputs or [], files or [])
        limits = {"max_tokens": max_tokens, "max_usd": max_usd}
        budget = {name: limit for name, limit in limits.items() if limit is not None}
        begun = await client.runs.start(
            crew,
            values,
            idempotency_key=idempotency_key,
            session_id=session,
            priority=priority,
            timeout_seconds=timeout,
            max_attempts=max_attempts,
            models=models or (),
            budget=budget or None,
            webhook=webhook and {"url": webhook, "secret": webhook_secret or ""},
        )
        started = begun.raw
        if detach:
            _print_started(started, as_json)
            return 0
        state = await watch_own_run(client, started, definition["tasks"], as_json=as_json)
        return await finish(client, state, save_dir=save, as_json=as_json)

    raise typer.Exit(call(data_dir, act))


async def prepare(
    client: AsyncClient, crew: str, pairs: list[str], files: list[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the crew's definition and the inputs, with files uploaded as datasets."""
    from crewmesh.cli.inputs import check_complete, parse_files, parse_inputs

    definition = await get_crew(client, crew)
    schema = definition["inputs"]
    values = parse_inputs(pairs, schema)
    paths = parse_files(files, schema)
    check_complete([*values, *paths], schema, crew)
    for key, path in paths.items():
        values[key] = (await upload(client, path, path.stem))["id"]
    return definition, values


async def get_crew(client: AsyncClient, name: str, version: str | None = None) -> dict[str, Any]:
    """Return a crew, by default in its current version; where there is none, say which there are."""
    from crewmesh.cli.errors import UsageError
    from crewmesh.client.errors import NotFoundError

    try:
        return (await client.crews.get(name, version=version)).raw
    except NotFoundError as error:
        if error.code == "crew_version_not_found":
            raise
        known = [crew.name async for crew in client.crews.iterate()]
        raise UsageError(
            f"there is no crew {name!r}",
            why="the crews here are " + (", ".join(known) or "none"),
            next_step="`crewmesh crews ls` tells what each of them does",
        ) from None


async def upload(client: AsyncClient, path: Path, name: str) -> dict[str, Any]:
    """Upload a file as a dataset, with its progress on stderr, and return the dataset."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    from crewmesh.cli.client import with_progress
    from crewmesh.cli.inputs import media_type
    from crewmesh.cli.text import size

    console = stderr()
    described = {"name": name, "filename": path.name, "media_type": media_type(path)}
    with path.open("rb") as file:
        total = path.stat().st_size
        if not console.is_terminal:
            dataset = await client.datasets.upload(file, **described)
            tell(f"uploaded {path} ({size(total)}) as dataset {dataset.id}")
            return dataset.raw
        columns = TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn()
        with Progress(*columns, console=console, transient=True) as progress:
            bar = progress.add_task(f"Uploading {path.name}", total=total)
            counted = with_progress(file, lambda count: progress.advance(bar, count))
            return (await client.datasets.upload(counted, **described)).raw


def _print_started(run: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(run)
        return
    say(run["id"])
    tell(f"Started. Watch it with: crewmesh runs watch {run['id']}")
