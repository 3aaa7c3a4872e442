"""Make the certificates of a Crewmesh that runs with compose; `make secrets` calls it.

Those that are there are left alone, unless they are to be renewed (`make certificates`).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from crewmesh.cli.authority import issue, open_authority
from crewmesh.common.mesh_tls import CERTIFICATE_FILE, GATEWAY, STORE, WORKER

_DAYS = 365
_AUTHORITY_MODE = 0o700
# Containers read these as another user; the directory above keeps others on this machine out.
_ROLE_MODE = 0o755
_FILE_MODE = 0o644


def make_certificates(directory: Path, *, renew: bool = False) -> list[str]:
    """Make those that aren't there, or all, and return whose they are."""
    directory.mkdir(parents=True, exist_ok=True, mode=_AUTHORITY_MODE)
    directory.chmod(_AUTHORITY_MODE)
    authority = open_authority(directory)
    roles = [
        role
        for role in (STORE, WORKER, GATEWAY)
        if renew or not (directory / role / CERTIFICATE_FILE).exists()
    ]
    for role in roles:
        issue(authority, directory, role, [], _DAYS)
        (directory / role).chmod(_ROLE_MODE)
        for path in (directory / role).iterdir():
            path.chmod(_FILE_MODE)
    return roles


def main() -> None:
    """Entry point of the command."""
    parser = argparse.ArgumentParser(description="Make the certificates of docker-compose.yml.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--renew", action="store_true", help="make those that are there anew")
    options = parser.parse_args()
    made = make_certificates(options.directory, renew=options.renew)
    said = f"certificates of {', '.join(made)}" if made else "nothing: all are there"
    sys.stdout.write(f"{options.directory}: made {said}\n")


if __name__ == "__main__":
    main()
