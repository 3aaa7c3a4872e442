"""Make the secrets of a Crewmesh that runs with compose; `make secrets` calls it.

Each is a file of a private directory, made once: one that is there is left alone. Nothing but the
standard library is needed.
"""

from __future__ import annotations

import argparse
import base64
import secrets
import sys
from collections.abc import Callable
from pathlib import Path

# Containers read them as another user than the one who made them, so the directory keeps others
# on this machine out, not the files' modes.
_DIRECTORY_MODE = 0o700
_FILE_MODE = 0o644


def make_secrets(directory: Path) -> list[str]:
    """Make those that aren't there and return their names."""
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(_DIRECTORY_MODE)
    password = _read(directory / "postgres-password") or secrets.token_urlsafe(32)
    contents: dict[str, Callable[[], str]] = {
        "postgres-password": lambda: password,
        "database-url": lambda: f"postgresql://crewmesh:{password}@postgres:5432/crewmesh",
        "mesh-secret": lambda: secrets.token_urlsafe(48),
        "secrets-key": lambda: base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "api-key": lambda: f"cm_{secrets.token_urlsafe(32)}",
        "s3-access-key": lambda: secrets.token_hex(10),
        "s3-secret-key": lambda: secrets.token_urlsafe(32),
        "grafana-password": lambda: secrets.token_urlsafe(16),
    }
    made = [name for name in contents if not (directory / name).exists()]
    for name in made:
        path = directory / name
        path.write_text(contents[name](), encoding="utf-8")
        path.chmod(_FILE_MODE)
    return made


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip() if path.exists() else ""


def main() -> None:
    """Entry point of the command."""
    parser = argparse.ArgumentParser(description="Make the secrets that docker-compose.yml names.")
    parser.add_argument("directory", type=Path, nargs="?", default=Path("secrets"))
    directory = parser.parse_args().directory
    made = make_secrets(directory)
    sys.stdout.write(f"{directory}: made {', '.join(made) if made else 'nothing: all are there'}\n")
    sys.stdout.write(f"The owner's API key is in {directory / 'api-key'}.\n")


if __name__ == "__main__":
    main()
