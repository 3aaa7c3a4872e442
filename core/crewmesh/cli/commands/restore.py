"""`crewmesh restore`: a mesh out of a backup."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from crewmesh.cli.commands.backup import contents, summary
from crewmesh.cli.commands.common import JsonOption
from crewmesh.cli.console import print_json, say


def restore(
    file: Annotated[Path, typer.Argument(help="A file that `crewmesh backup` wrote.")],
    data_dir: Annotated[
        Path | None,
        typer.Option(
            "--data-dir",
            metavar="DIR",
            help="A new or empty directory; by default CREWMESH_DATA_DIR, or a place of yours.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a mesh of a backup, in a new or empty data directory.

    Every byte of the backup is checked first. Nothing is left behind when it fails.
    """
    import asyncio
    import shlex

    from crewmesh.cli.backups.restore import check_empty
    from crewmesh.cli.backups.restore import restore as restore_mesh
    from crewmesh.cli.backups.steps import Steps
    from crewmesh.cli.connection import default_data_dir
    from crewmesh.cli.mesh.directory import MeshDirectory

    os.umask(0o077)
    directory = MeshDirectory((data_dir or default_data_dir()).expanduser().absolute())
    check_empty(directory)
    manifest = asyncio.run(restore_mesh(file, directory, Steps()))
    if as_json:
        print_json(summary(manifest, file))
        return
    say(f"Restored {contents(manifest)}, as of {manifest.created_at}, into {directory.root}.")
    say(f"Start it with: crewmesh up --data-dir {shlex.quote(str(directory.root))}")
