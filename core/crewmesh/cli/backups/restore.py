"""Making a mesh of a backup."""

from __future__ import annotations

import shutil
from pathlib import Path

from crewmesh.cli.backups.archive import (
    API_KEY,
    DATABASE,
    OBJECTS,
    SECRETS_KEY,
    Archive,
    Manifest,
)
from crewmesh.cli.backups.database import forget_files, load
from crewmesh.cli.backups.steps import Steps
from crewmesh.cli.connection import write_private
from crewmesh.cli.errors import CliError
from crewmesh.cli.mesh.directory import MeshDirectory
from crewmesh.cli.mesh.postgres import Postgres, running_postgres


def check_empty(directory: MeshDirectory) -> None:
    """Raise CliError unless there is nothing in the way of a restored mesh."""
    root = directory.root
    if root.exists() and (not root.is_dir() or {p.name for p in root.iterdir()} - {"lock"}):
        raise CliError(
            f"{root} isn't empty",
            why="a backup is restored into a new or empty data directory only",
            next_step="name another with --data-dir, or move this one away",
        )


async def restore(path: Path, directory: MeshDirectory, steps: Steps) -> Manifest:
    """Check the backup, then fill the directory from it, whole or not at all.

    Everything is made aside and moved into place at the end, the database last: without
    it there is no mesh.
    """
    with Archive(path) as archive:
        with steps.step("checking the backup", archive.manifest.size) as advance:
            await steps.in_thread(archive.verify, advance)
        with directory.locked():
            aside = MeshDirectory(directory.root / "restoring")
            try:
                aside.root.mkdir()
                await steps.in_thread(_write_objects, archive, aside, steps)
                async with running_postgres(aside) as postgres:
                    await steps.in_thread(_load_database, archive, postgres, steps)
                for made, place in (
                    (aside.objects, directory.objects),
                    (aside.api_key_file, directory.api_key_file),
                    (aside.secrets_key_file, directory.secrets_key_file),
                    (aside.postgres, directory.postgres),
                ):
                    if made.exists():
                        made.rename(place)
            except OSError as error:
                raise CliError(f"{directory.root} can't be filled", why=str(error)) from error
            finally:
                shutil.rmtree(aside.root, ignore_errors=True)
        return archive.manifest


def _write_objects(archive: Archive, directory: MeshDirectory, steps: Steps) -> None:
    parts = archive.manifest.objects
    total = sum(part.size for part in parts)
    directory.objects.mkdir(exist_ok=True)
    with steps.step("restoring datasets and artifacts", total) as advance:
        for part in parts:
            path = directory.objects / part.name.removeprefix(OBJECTS)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                file.writelines(archive.read(part.name, advance))
    keys = {API_KEY: directory.api_key_file, SECRETS_KEY: directory.secrets_key_file}
    for name in keys.keys() & {part.name for part in archive.manifest.parts}:
        key = b"".join(archive.read(name, lambda _: None))
        write_private(keys[name], key.decode())


def _load_database(archive: Archive, postgres: Postgres, steps: Steps) -> None:
    total = next(part.size for part in archive.manifest.parts if part.name == DATABASE)
    with steps.step("restoring the database", total) as advance:
        load(postgres, archive.read(DATABASE, advance), archive.manifest.tables)
        forget_files(postgres, archive.manifest.missing)
