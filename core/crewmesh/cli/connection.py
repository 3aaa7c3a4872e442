"""Which mesh a command talks to, and with which key."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from crewmesh.cli.errors import CliError

_START_ONE = "start one with `crewmesh up`, or name one with `crewmesh login`"


@dataclass(frozen=True)
class Connection:
    """A mesh's address, the key for it, and where both were found.

    `key_id` is the key's where `crewmesh login` made it for this machine.
    """

    url: str
    api_key: str
    source: str
    key_id: str = ""


@dataclass(frozen=True)
class LocalAddress:
    """What address.json says of the mesh that runs in a data directory."""

    url: str
    grpc: str
    pid: int

    @property
    def alive(self) -> bool:
        """Whether the process that wrote it still runs."""
        try:
            os.kill(self.pid, 0)
        except (ProcessLookupError, OverflowError):
            return False
        except PermissionError:
            return True
        return True


def default_data_dir() -> Path:
    """Return CREWMESH_DATA_DIR, or the platform's place for a person's data."""
    if chosen := os.environ.get("CREWMESH_DATA_DIR"):
        return Path(chosen).expanduser().absolute()
    return platformdirs.user_data_path("crewmesh", appauthor=False)


def profile_path() -> Path:
    """Return where `crewmesh login` keeps the address and the key."""
    return platformdirs.user_config_path("crewmesh", appauthor=False) / "profile.json"


def read_profile() -> Connection | None:
    """Return what `crewmesh login` kept, if anything."""
    path = profile_path()
    profile = _read_json(path, {"url": str, "api_key": str}, "log in again with `crewmesh login`")
    if profile is None:
        return None
    key_id = str(profile.get("key_id", ""))
    return Connection(profile["url"], profile["api_key"], f"the profile in {path}", key_id)


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)


def read_local_address(data_dir: Path) -> LocalAddress | None:
    """Return the address of the mesh in `data_dir`; None when none has written one."""
    kinds = {"url": str, "grpc": str, "pid": int}
    repair = "start the mesh again with `crewmesh up`, or remove the file"
    address = _read_json(data_dir / "address.json", kinds, repair)
    if address is None:
        return None
    return LocalAddress(address["url"], address["grpc"], address["pid"])


def resolve_connection(data_dir: Path | None = None) -> Connection:
    """Return the mesh to talk to.

    A data directory named on the command line wins, then CREWMESH_URL, then the
    profile, then the mesh in the default data directory. A key found elsewhere is
    never sent to an address that it doesn't belong to.
    """
    if data_dir is not None:
        return _local_connection(data_dir.expanduser().absolute())
    url = os.environ.get("CREWMESH_URL", "").rstrip("/")
    key = os.environ.get("CREWMESH_API_KEY", "").strip()
    if url and key:
        return Connection(url, key, "CREWMESH_URL")
    profile = read_profile()
    if not url and profile is None:
        return _local_connection(default_data_dir(), key)
    if not url:
        assert profile is not None
        return Connection(profile.url, key or profile.api_key, profile.source)
    return Connection(url, _key_of(url, profile), "CREWMESH_URL")


def _key_of(url: str, profile: Connection | None) -> str:
    if profile is not None and profile.url == url:
        return profile.api_key
    data_dir = default_data_dir()
    address = read_local_address(data_dir)
    if address is not None and address.url == url:
        return _read_key(data_dir)
    raise CliError(
        f"there is no API key for {url}",
        why="CREWMESH_URL is set, CREWMESH_API_KEY is not",
        next_step="set CREWMESH_API_KEY, or run `crewmesh login`",
    )


def _local_connection(data_dir: Path, key: str = "") -> Connection:
    address = read_local_address(data_dir)
    if address is None:
        raise CliError(
            "no mesh to talk to",
            why=f"CREWMESH_URL isn't set, nobody has logged in, and no mesh runs in {data_dir}",
            next_step=_START_ONE,
        )
    if not address.alive:
        raise CliError(
            f"the mesh in {data_dir} is not running",
            why=f"its process {address.pid} is gone and left address.json behind",
            next_step="start it again with `crewmesh up`",
        )
    return Connection(address.url, key or _read_key(data_dir), f"the local mesh in {data_dir}")


def _read_key(data_dir: Path) -> str:
    path = data_dir / "api-key"
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise CliError(
            "the local mesh's API key can't be read",
            why=f"{path}: {error.strerror}",
            next_step="run this as the user who started the mesh, or set CREWMESH_API_KEY",
        ) from None


def _read_json(path: Path, kinds: Mapping[str, type], repair: str) -> dict[str, Any] | None:
    """Return what a file of ours has, None where there is none; raise CliError for another's."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except PermissionError:
        raise CliError(
            f"{path} can't be read",
            why="it is closed to you",
            next_step="run crewmesh as the user whom it belongs to, or set CREWMESH_URL and "
            "CREWMESH_API_KEY",
        ) from None
    except (OSError, ValueError) as error:
        raise CliError(f"{path} can't be read", why=str(error), next_step=repair) from None
    content = content if isinstance(content, dict) else {}
    if missing := [name for name, kind in kinds.items() if not isinstance(content.get(name), kind)]:
        raise CliError(
            f"{path} isn't as crewmesh writes it",
            why=f"it doesn't say {', '.join(missing)}",
            next_step=repair,
        )
    return content
