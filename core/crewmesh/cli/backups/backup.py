"""Writing a backup."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from crewmesh.cli.backups.archive import (
    API_KEY,
    DATABASE,
    OBJECTS,
    SECRETS_KEY,
    ArchiveWriter,
    Manifest,
    read_chunks,
)
from crewmesh.cli.backups.database import Snapshot, dump, hold_snapshot
from crewmesh.cli.backups.steps import Steps
from crewmesh.cli.errors import CliError
from crewmesh.cli.mesh.directory import MeshDirectory
from crewmesh.cli.mesh.postgres import Postgres


def back_up(directory: MeshDirectory, postgres: Postgres, path: Path, steps: Steps) -> Manifest:
    """Write the mesh as it is at one moment into the new file `path`.

    Objects never change once they are written, so those that the snapshot names are
    copied after it. One that was deleted meanwhile is noted as missing.
    """
    with ArchiveWriter(path) as archive:
        with (
            steps.step("copying the database") as advance,
            hold_snapshot(postgres.url) as snapshot,
        ):
            archive.add(DATABASE, dump(postgres, snapshot, advance))
        missing = _add_objects(archive, directory, snapshot, steps)
        for name, file in (
            (API_KEY, directory.api_key_file),
            (SECRETS_KEY, directory.secrets_key_file),
        ):
            if file.exists():
                archive.add(name, [file.read_bytes()])
        return archive.finish(
            Manifest(
                created_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
                crewmesh=version("crewmesh"),
                postgres=snapshot.postgres,
                schema=snapshot.schema,
                tables=snapshot.tables,
                missing=missing,
            )
        )


def _add_objects(
    archive: ArchiveWriter, directory: MeshDirectory, snapshot: Snapshot, steps: Steps
) -> list[str]:
    """Add the bytes of every file that the snapshot names; return the ids of those without."""
    paths = [path for path in _files(directory.objects) if path.name in snapshot.files]
    missing = set(snapshot.files)
    total = sum(file.size for file in snapshot.files.values())
    with steps.step("copying datasets and artifacts", total) as advance:
        for path in paths:
            name = OBJECTS + path.relative_to(directory.objects).as_posix()
            try:
                file = path.open("rb")
            except FileNotFoundError:
                continue
            with file:
                part = archive.add(name, read_chunks(file, advance), compress=True)
            if part.sha256 != snapshot.files[path.name].sha256.hex():
                raise CliError(
                    f"{path} is damaged",
                    why="its bytes aren't those that were uploaded, by their SHA-256",
                    next_step="put it back from an earlier backup, or delete what it belongs to",
                )
            missing.discard(path.name)
    return sorted(missing)


def _files(directory: Path) -> Iterator[Path]:
    return (path for path in sorted(directory.rglob("*")) if path.is_file())
