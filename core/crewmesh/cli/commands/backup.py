"""`crewmesh backup`: an embedded mesh in one file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crewmesh.cli.commands.common import JsonOption
from crewmesh.cli.console import print_json, say, tell

if TYPE_CHECKING:
    from crewmesh.cli.backups.archive import Manifest
    from crewmesh.cli.backups.steps import Steps


def backup(
    file: Annotated[Path, typer.Argument(help="The file to write, which must not exist yet.")],
    data_dir: Annotated[
        Path | None,
        typer.Option(
            "--data-dir",
            metavar="DIR",
            help="The mesh's data directory; by default CREWMESH_DATA_DIR, or a place of yours.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Back up the mesh of this machine, while it runs or not, into one file.

    The file has everything as it is at one moment: runs and their events, datasets,
    artifacts, and the owner's key. Keep it as safe as the mesh.
    """
    import asyncio

    from crewmesh.cli.backups.steps import Steps
    from crewmesh.cli.connection import default_data_dir
    from crewmesh.cli.errors import UsageError

    os.umask(0o077)
    if file.exists():
        raise UsageError(f"{file} exists already", next_step="name a new file")
    root = (data_dir or default_data_dir()).expanduser().absolute()
    manifest = asyncio.run(_back_up(root, file, Steps()))
    if as_json:
        print_json(summary(manifest, file))
        return
    say(f"Backed up {contents(manifest)} to {file}.")
    if manifest.missing:
        tell(
            f"{len(manifest.missing)} datasets or artifacts were deleted meanwhile, or have lost "
            "their bytes; a restored mesh doesn't have them."
        )


def contents(manifest: Manifest) -> str:
    """Return what people count in a mesh."""
    from crewmesh.cli.text import plural

    runs, datasets, artifacts = (
        plural(manifest.tables[table], table.removesuffix("s"))
        for table in ("runs", "datasets", "artifacts")
    )
    return f"{runs}, {datasets} and {artifacts}"


def summary(manifest: Manifest, file: Path) -> dict[str, Any]:
    """Return what there is to say for programs."""
    return {
        "file": str(file),
        "created_at": manifest.created_at,
        "crewmesh": manifest.crewmesh,
        "schema": manifest.schema,
        "tables": manifest.tables,
        "objects": len(manifest.objects),
        "missing": manifest.missing,
    }


async def _back_up(root: Path, path: Path, steps: Steps) -> Manifest:
    from crewmesh.cli.backups.backup import back_up
    from crewmesh.cli.connection import read_local_address
    from crewmesh.cli.errors import CliError
    from crewmesh.cli.mesh.directory import MeshDirectory
    from crewmesh.cli.mesh.postgres import Postgres, running_postgres

    directory = MeshDirectory(root)
    if not directory.postgres.exists():
        raise CliError(f"there is no mesh in {root}", next_step="name its --data-dir")
    address = read_local_address(root)
    if address is not None and address.alive:
        return await steps.in_thread(back_up, directory, Postgres(directory), path, steps)
    with directory.locked():
        async with running_postgres(directory) as postgres:
            return await steps.in_thread(back_up, directory, postgres, path, steps)
