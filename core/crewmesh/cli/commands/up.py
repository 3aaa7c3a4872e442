"""`crewmesh up`: the embedded mesh in the foreground."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def up(
    data_dir: Annotated[
        Path | None,
        typer.Option(
            "--data-dir",
            metavar="DIR",
            help="Where everything is kept; by default CREWMESH_DATA_DIR, or a place of yours.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the REST interface; 0 takes a free one.")
    ] = 8080,
    grpc_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the gRPC interface; 0 takes a free one.")
    ] = 8081,
    workers: Annotated[int, typer.Option(min=1, max=64, help="How many workers.")] = 1,
    slots: Annotated[
        int | None,
        typer.Option(min=1, help="Runs at a time, per worker.", show_default=False),
    ] = None,
    crews: Annotated[
        Path | None,
        typer.Option(
            "--crews",
            metavar="DIR",
            help="Further crews: *.yaml files and CrewAI projects in DIR, or DIR as a project.",
            show_default=False,
        ),
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Run the data-analyst crew on sample data first.")
    ] = False,
    exit_after_demo: Annotated[
        bool, typer.Option("--exit-after-demo", help="Stop after that; its outcome is the status.")
    ] = False,
) -> None:
    """Start a whole mesh on this machine: Postgres, a store, workers and a gateway.

    It stays in the foreground. Ctrl-C or SIGTERM drains and stops it; a second one stops
    it at once. The first start creates an owner, whose key is in DIR/api-key.
    DIR/address.json says where the mesh answers, as long as it does.
    """
    import asyncio

    from crewmesh.cli.connection import default_data_dir
    from crewmesh.cli.errors import UsageError
    from crewmesh.cli.mesh.directory import MeshDirectory
    from crewmesh.cli.mesh.embedded import MeshOptions
    from crewmesh.cli.mesh.serve import serve

    if exit_after_demo and not demo:
        raise UsageError("--exit-after-demo needs --demo", next_step="give both, or neither")
    root = (data_dir or default_data_dir()).expanduser().absolute()
    if crews is not None and not crews.expanduser().is_dir():
        raise UsageError(f"--crews {crews}: no such directory", next_step="name one that exists")
    found = crews.expanduser().absolute() if crews is not None else None
    options = MeshOptions(MeshDirectory(root), port, grpc_port, workers, slots, found)
    raise typer.Exit(asyncio.run(serve(options, demo=demo, exit_after_demo=exit_after_demo)))
