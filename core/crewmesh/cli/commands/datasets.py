"""`crewmesh datasets`: data that crews work on."""

from __future__ import annotations

from pathlib import Path
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
from crewmesh.cli.text import ago, clean, size

if TYPE_CHECKING:
    from crewmesh.client import AsyncClient

app = typer.Typer(no_args_is_help=True, help="Upload, list and remove datasets.")


@app.command("ls")
def list_datasets(
    limit: LimitOption = 50,
    cursor: CursorOption = None,
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """List datasets, newest first."""
    page = fetch(data_dir, lambda client: client.datasets.list(limit=limit, cursor=cursor))
    if as_json:
        print_json(page)
        return
    rows = [
        [
            item["id"],
            item["name"],
            item["media_type"],
            size(item["size_bytes"]),
            ago(item["created_at"]),
        ]
        for item in page["items"]
    ]
    if not rows:
        say("No datasets yet. Upload one with: crewmesh datasets put FILE")
        return
    print_table(["DATASET", "NAME", "TYPE", "SIZE", "CREATED"], rows)
    tell_next_page(page, "crewmesh datasets ls")


@app.command("put")
def put_dataset(
    file: Annotated[Path, typer.Argument(help="A CSV, JSON lines or Parquet file.")],
    name: Annotated[
        str | None,
        typer.Option("--name", help="Its name; by default the file's.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Upload a file."""
    from crewmesh.cli.inputs import dataset_file

    path = dataset_file(file)

    async def act(client: AsyncClient) -> dict[str, Any]:
        from crewmesh.cli.commands.run import upload

        return await upload(client, path, name or path.stem)

    dataset = call(data_dir, act)
    if as_json:
        print_json(dataset)
        return
    say(dataset["id"])


@app.command("show")
def show_dataset(
    dataset: Annotated[
        str,
        typer.Argument(
            metavar="DATASET", help="Its id or its name.", autocompletion=completion.datasets
        ),
    ],
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Show a dataset; a name means the newest that has it."""
    found = fetch(data_dir, lambda client: client.datasets.get(dataset))
    if as_json:
        print_json(found)
        return
    for name, value in found.items():
        say(f"{name:<11} {clean(str(value))}")


@app.command("get")
def get_dataset(
    dataset: Annotated[
        str,
        typer.Argument(
            metavar="DATASET", help="Its id or its name.", autocompletion=completion.datasets
        ),
    ],
    file: Annotated[Path, typer.Argument(help="The file to write, which must not exist yet.")],
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Download a dataset as it was uploaded."""
    from crewmesh.cli.errors import UsageError

    if file.exists():
        raise UsageError(f"{file} exists already", next_step="name a new file")

    async def act(client: AsyncClient) -> dict[str, Any]:
        found = await client.datasets.get(dataset)
        await client.datasets.save(found.id, file)
        return found.raw

    found = call(data_dir, act)
    if as_json:
        print_json(found | {"file": str(file)})
        return
    say(f"Saved {found['name']} as {file}.")


@app.command("rm")
def remove_dataset(
    dataset: Annotated[
        str, typer.Argument(help="The dataset's id.", autocompletion=completion.dataset_ids)
    ],
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Remove a dataset."""
    call(data_dir, lambda client: client.datasets.delete(dataset))
    if as_json:
        print_json({"removed": dataset})
        return
    say(f"Removed {dataset}.")
