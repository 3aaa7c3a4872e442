"""A backup's file is believed whole or not at all."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from crewmesh.cli.backups.archive import Archive, ArchiveWriter, Manifest
from crewmesh.cli.errors import CliError

CONTENT = bytes(range(256)) * 64


def write(path: Path) -> Path:
    with ArchiveWriter(path) as archive:
        archive.add("database.dump", [CONTENT, CONTENT])
        archive.add("objects/org/datasets/id", [CONTENT], compress=True)
        archive.finish(
            Manifest(
                created_at="2026-01-01T00:00:00Z",
                crewmesh="1",
                postgres="18",
                schema="0002",
                tables={"runs": 1},
                missing=[],
            )
        )
    return path


def verify(path: Path) -> None:
    with Archive(path) as archive:
        archive.verify(lambda _: None)


def rewrite(path: Path, **entries: bytes) -> None:
    """Write the file anew with other bytes in some entries; where none are given, as it was."""
    with zipfile.ZipFile(path) as old:
        content = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w") as new:
        for name, data in (content | entries).items():
            new.writestr(name, data)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "b.zip")
    counted = []
    with Archive(path) as archive:
        archive.verify(counted.append)
        assert sum(counted) == archive.manifest.size == 3 * len(CONTENT)
        assert [part.name for part in archive.manifest.objects] == ["objects/org/datasets/id"]
        assert b"".join(archive.read("database.dump", counted.append)) == CONTENT * 2
    assert path.stat().st_mode & 0o777 == 0o600


def broken(error: Exception) -> Iterator[bytes]:
    yield CONTENT
    raise error


@pytest.mark.parametrize(
    ("error", "raised"),
    [(RuntimeError("a bug"), RuntimeError), (OSError(28, "No space left on device"), CliError)],
)
def test_a_backup_that_breaks_off_leaves_no_file(
    tmp_path: Path, error: Exception, raised: type[Exception]
) -> None:
    with pytest.raises(raised, match=r"a bug|can't be written"):  # noqa: SIM117
        with ArchiveWriter(tmp_path / "b.zip") as archive:
            archive.add("database.dump", broken(error))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("part", [0.1, 0.5, 0.97])
def test_a_changed_byte_is_found(tmp_path: Path, part: float) -> None:
    path = write(tmp_path / "b.zip")
    content = bytearray(path.read_bytes())
    content[int(len(content) * part)] ^= 1
    path.write_bytes(content)
    with pytest.raises(CliError, match="no backup, or a damaged one"):
        verify(path)


def test_a_file_that_was_cut_short_is_found(tmp_path: Path) -> None:
    path = write(tmp_path / "b.zip")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CliError, match="no backup, or a damaged one"):
        verify(path)


def test_other_bytes_with_a_right_checksum_of_the_zip_are_found(tmp_path: Path) -> None:
    path = write(tmp_path / "b.zip")
    rewrite(path, **{"database.dump": b"other"})
    with pytest.raises(CliError, match="no backup, or a damaged one"):
        verify(path)


def test_a_part_that_the_manifest_does_not_know_is_found(tmp_path: Path) -> None:
    path = write(tmp_path / "b.zip")
    rewrite(path, more=b"more")
    with pytest.raises(CliError, match="no backup, or a damaged one"):
        verify(path)


def test_a_part_that_would_leave_the_directory_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "b.zip")
    with zipfile.ZipFile(path) as archive:
        manifest = json.loads(archive.read("manifest.json"))
    manifest["parts"][1]["name"] = "objects/../../escaped"
    rewrite(path, **{"manifest.json": json.dumps(manifest).encode()})
    with pytest.raises(CliError, match="no backup, or a damaged one"):
        verify(path)


def test_a_backup_of_another_format_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "b.zip")
    with zipfile.ZipFile(path) as archive:
        manifest = json.loads(archive.read("manifest.json"))
    rewrite(path, **{"manifest.json": json.dumps({**manifest, "format": 99}).encode()})
    with pytest.raises(CliError) as raised:
        verify(path)
    assert "its format is 99" in raised.value.why
