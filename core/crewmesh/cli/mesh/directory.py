"""A mesh's data directory: where everything is, and who may use it."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from crewmesh.cli.connection import read_local_address, write_private
from crewmesh.cli.errors import CliError

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - a private directory in it
# A container has 64 MB unless told otherwise, which a few runs would fill.
_LEAST_SHARED_MEMORY = 256_000_000


@dataclass(frozen=True)
class MeshDirectory:
    """The layout under `root`, which is absolute."""

    root: Path

    @property
    def postgres(self) -> Path:
        """Return the database cluster's directory."""
        return self.root / "postgres"

    @property
    def objects(self) -> Path:
        """Return where datasets and artifacts are kept."""
        return self.root / "objects"

    @property
    def dataset_cache(self) -> Path:
        """Return where workers keep copies of datasets that runs use."""
        return self.root / "cache" / "datasets"

    @property
    def projects(self) -> Path:
        """Return where workers keep the environments and snapshots of CrewAI projects."""
        return self.root / "cache" / "projects"

    @property
    def logs(self) -> Path:
        """Return where each service has its log."""
        return self.root / "logs"

    @property
    def demo(self) -> Path:
        """Return where the demo saves its files."""
        return self.root / "demo"

    @property
    def mesh_secret_file(self) -> Path:
        """Return the file of the secret that the services sign with."""
        return self.root / "mesh-secret"

    @property
    def secrets_key_file(self) -> Path:
        """Return the file of the key that encrypts tenants' secrets."""
        return self.root / "secrets-key"

    @property
    def api_key_file(self) -> Path:
        """Return the file of the owner's API key."""
        return self.root / "api-key"

    @property
    def address_file(self) -> Path:
        """Return the file that says where the mesh answers."""
        return self.root / "address.json"

    @property
    def runtime(self) -> Path:
        """Return a directory that lives as long as the mesh: sockets, ready files, scratch.

        It has a short path, because a socket's may have at most 107 characters, and is on
        tmpfs where there is a large one, because runs write to it all the time.
        """
        parent = _SHARED_MEMORY if _has_shared_memory() else Path(tempfile.gettempdir())
        digest = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:12]
        return parent / f"crewmesh-{os.getuid()}-{digest}"

    def prepare(self) -> None:
        """Create what a start needs; the owner's key only where there is no database yet."""
        try:
            for path in (self.objects, self.logs):
                path.mkdir(parents=True, exist_ok=True)
            if not self.mesh_secret_file.exists():
                write_private(self.mesh_secret_file, secrets.token_urlsafe(48) + "\n")
            if not self.secrets_key_file.exists():
                key = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
                write_private(self.secrets_key_file, key + "\n")
            if not self.api_key_file.exists() and not self.postgres.exists():
                write_private(self.api_key_file, f"cm_{secrets.token_urlsafe(32)}\n")
        except OSError as error:
            raise _unusable(self.root, error) from None

    def renew_runtime(self) -> None:
        """Start with an empty, private runtime directory."""
        self.remove_runtime()
        try:
            self.runtime.mkdir(mode=0o700)
        except FileExistsError:
            raise CliError(
                f"{self.runtime} belongs to somebody else",
                next_step="remove it, or choose another --data-dir",
            ) from None

    def remove_runtime(self) -> None:
        """Remove the runtime directory, as far as it is ours."""
        shutil.rmtree(self.runtime, ignore_errors=True)

    def write_address(self, url: str, grpc: str, metrics: Mapping[str, str]) -> None:
        """Tell where the mesh answers, and Prometheus is answered, now that it does."""
        address = {"url": url, "grpc": grpc, "pid": os.getpid(), "metrics": dict(metrics)}
        write_private(self.address_file, json.dumps(address) + "\n")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory for this process; refuse when another mesh does."""
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _unusable(self.root, error) from None
        with os.fdopen(descriptor, "r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise self._held_by(file.read().strip()) from None
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            self.address_file.unlink(missing_ok=True)
            try:
                yield
            finally:
                self.address_file.unlink(missing_ok=True)

    def _held_by(self, pid: str) -> CliError:
        address = read_local_address(self.root)
        where = f" and answers at {address.url}" if address else " and is starting or stopping"
        return CliError(
            f"a mesh already runs in {self.root}",
            why=f"process {pid or 'unknown'} holds it{where}",
            next_step=f"use that one, stop it with `kill {pid}`, or choose another --data-dir",
        )


def _has_shared_memory() -> bool:
    if not os.access(_SHARED_MEMORY, os.W_OK):
        return False
    return shutil.disk_usage(_SHARED_MEMORY).total >= _LEAST_SHARED_MEMORY


def _unusable(path: Path, error: OSError) -> CliError:
    return CliError(
        f"{path} can't be used as the data directory",
        why=f"{error.filename or path}: {error.strerror}",
        next_step="choose another with --data-dir or CREWMESH_DATA_DIR",
    )
