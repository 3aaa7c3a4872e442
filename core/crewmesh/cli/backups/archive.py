"""A backup's file: written part by part, and believed only after every byte was checked."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import IO, Self

from crewmesh.cli.errors import CliError

DATABASE = "database.dump"
API_KEY = "api-key"
SECRETS_KEY = "secrets-key"
OBJECTS = "objects/"
CHUNK_BYTES = 1 << 20
_MANIFEST = "manifest.json"
_FORMAT = 1

Advance = Callable[[int], None]


@dataclass(frozen=True)
class Part:
    """One entry of the file, as it is when unpacked."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a backup holds. `tables` counts rows; `missing` are ids of files without bytes."""

    created_at: str
    crewmesh: str
    postgres: str
    schema: str
    tables: dict[str, int]
    missing: list[str]
    parts: list[Part] = field(default_factory=list)
    format: int = _FORMAT

    @property
    def objects(self) -> list[Part]:
        """Return the parts that are bytes of datasets and artifacts."""
        return [part for part in self.parts if part.name.startswith(OBJECTS)]

    @property
    def size(self) -> int:
        """Return how many bytes all parts have."""
        return sum(part.size for part in self.parts)


class ArchiveWriter:
    """Writes a new file, which appears under its name only when it is whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._draft = path.with_name(path.name + ".partial")
        self._parts: list[Part] = []

    def __enter__(self) -> Self:
        try:
            descriptor = os.open(self._draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        except OSError as error:
            raise CliError(f"{self._draft} can't be written", why=error.strerror or "") from None
        self._file = os.fdopen(descriptor, "w+b")
        self._zip = zipfile.ZipFile(self._file, "w", zipfile.ZIP_STORED)
        return self

    def __exit__(
        self, _kind: object, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._zip.close()
        with contextlib.suppress(OSError):
            self._file.close()
        self._draft.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise CliError(
                f"{self.path} can't be written",
                why=str(error),
                next_step="make room, or name another place; nothing was left behind",
            ) from error

    def add(self, name: str, chunks: Iterable[bytes], *, compress: bool = False) -> Part:
        """Add a part and return what it is."""
        digest, size = hashlib.sha256(), 0
        info = zipfile.ZipInfo(name)
        info.compress_type = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
        info.external_attr = 0o600 << 16
        with self._zip.open(info, "w", force_zip64=True) as entry:
            for chunk in chunks:
                entry.write(chunk)
                digest.update(chunk)
                size += len(chunk)
        part = Part(name, size, digest.hexdigest())
        self._parts.append(part)
        return part

    def finish(self, manifest: Manifest) -> Manifest:
        """Add the manifest, make the file durable and give it its name."""
        manifest.parts.extend(self._parts)
        self._zip.writestr(_MANIFEST, json.dumps(asdict(manifest), indent=1))
        self._zip.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._draft.rename(self.path)
        return manifest


class Archive:
    """Reads a backup."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Self:
        with self._readable():
            self._zip = zipfile.ZipFile(self.path)
        try:
            with self._readable():
                self.manifest = _parse_manifest(self._zip.read(_MANIFEST))
        except BaseException:
            self._zip.close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._zip.close()

    def verify(self, advance: Advance) -> None:
        """Read everything; raise CliError unless it is exactly what the manifest says."""
        names = {part.name for part in self.manifest.parts} | {_MANIFEST}
        if odd := names.symmetric_difference(self._zip.namelist()):
            raise self._damaged(f"it has too few or too many parts: {', '.join(sorted(odd)[:3])}")
        for part in self.manifest.parts:
            digest, size = hashlib.sha256(), 0
            for chunk in self.read(part.name, advance):
                digest.update(chunk)
                size += len(chunk)
            if (size, digest.hexdigest()) != (part.size, part.sha256):
                raise self._damaged(f"{part.name} isn't what was written")

    def read(self, name: str, advance: Advance) -> Iterator[bytes]:
        """Yield a part's bytes."""
        with self._readable(), self._zip.open(name) as entry:
            yield from read_chunks(entry, advance)

    @contextlib.contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise CliError(f"{self.path} can't be read", why=error.strerror or "") from None
        except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, TypeError) as error:
            raise self._damaged(str(error)) from None

    def _damaged(self, why: str) -> CliError:
        return CliError(
            f"{self.path} is no backup, or a damaged one",
            why=why,
            next_step="take another one; nothing was restored",
        )


def read_chunks(file: IO[bytes], advance: Advance) -> Iterator[bytes]:
    """Yield a file's bytes, telling `advance` of each chunk."""
    while chunk := file.read(CHUNK_BYTES):
        yield chunk
        advance(len(chunk))


def _parse_manifest(text: bytes) -> Manifest:
    content = json.loads(text)
    if content["format"] != _FORMAT:
        raise ValueError(f"its format is {content['format']}, and this crewmesh knows {_FORMAT}")
    content["parts"] = [Part(**part) for part in content["parts"]]
    manifest = Manifest(**content)
    for part in manifest.objects:
        path = PurePosixPath(part.name)
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"a part is called {part.name!r}")
    return manifest
