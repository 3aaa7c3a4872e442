"""What `crewmesh up` says once the mesh serves: where, with which key, and what to try."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

from crewmesh.cli.connection import default_data_dir
from crewmesh.cli.console import say
from crewmesh.cli.mesh.directory import MeshDirectory
from crewmesh.cli.mesh.embedded import EmbeddedMesh


def print_addresses(
    mesh: EmbeddedMesh, directory: MeshDirectory, *, heading: str, with_key: bool
) -> None:
    """Print where the mesh answers and where its key and logs are."""
    key = f"{mesh.connection.api_key}  in {directory.api_key_file}"
    say(f"\n{heading}\n")
    say(f"  console  {mesh.url}/")
    say(f"  REST     {mesh.url}")
    say(f"  docs     {mesh.url}/docs")
    say(f"  gRPC     {mesh.grpc}")
    say(f"  key      {key if with_key else directory.api_key_file}")
    say(f"  logs     {directory.logs}")


def print_next_steps(mesh: EmbeddedMesh, directory: MeshDirectory) -> None:
    """Print commands that work when they are pasted into another terminal."""
    key_file = shlex.quote(str(directory.api_key_file))
    command = shlex.quote(_own_command())
    if directory.root != default_data_dir():
        option = f" --data-dir {shlex.quote(str(directory.root))}"
    else:
        option = ""
    say("\nTry, in another terminal:\n")
    say(f'  curl -H "Authorization: Bearer $(cat {key_file})" {mesh.url}/v1/crews')
    say(f"  {command} crews show data-analyst{option}")
    say(f"  {command} run data-analyst -f data=@FILE.csv -i question='What stands out?'{option}")
    say("\nCtrl-C stops it.")


def _own_command() -> str:
    """Return how the person can call us: by name where that finds us, else by path."""
    here = Path(sys.argv[0]).absolute()
    if here.name != "crewmesh":
        return "crewmesh"
    found = shutil.which("crewmesh")
    if found is not None and Path(found).resolve() == here.resolve():
        return "crewmesh"
    relative = os.path.relpath(here)
    return relative if not relative.startswith("..") else str(here)
