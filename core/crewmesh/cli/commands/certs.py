"""`crewmesh certs`: a private authority, and a certificate for each of the mesh's roles."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crewmesh.cli.commands.common import JsonOption
from crewmesh.cli.console import print_json, say


def certs(
    directory: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="Where they are, or go: DIR/ROLE is a CREWMESH_TLS_DIR."
        ),
    ],
    roles: Annotated[
        str,
        typer.Option(
            help="Whose certificates, with commas: store, agent-worker, api-gateway, client."
        ),
    ] = "store,agent-worker,api-gateway",
    days: Annotated[
        int, typer.Option(min=1, max=3650, help="How long the certificates are good.")
    ] = 365,
    host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A further name or address that the certificates are for; may be repeated.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a private authority and a certificate for each role of the mesh.

    With an authority in DIR already, only the certificates are made anew: running services take
    them within seconds. Keep DIR/ca-key.pem where no service is; nothing but this command reads it.
    """
    from crewmesh.cli.authority import check_hosts, issue, open_authority
    from crewmesh.cli.errors import CliError, UsageError
    from crewmesh.common.mesh_tls import ROLES

    wanted = [role.strip() for role in roles.split(",") if role.strip()]
    if not wanted or (unknown := [role for role in wanted if role not in ROLES]):
        raise UsageError(
            f"--roles {roles}: not a role: {', '.join(unknown) if wanted else 'none is named'}",
            next_step=f"name some of {', '.join(ROLES)}",
        )
    check_hosts(host or [])
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        authority = open_authority(directory)
        expiries = {role: issue(authority, directory, role, host or [], days) for role in wanted}
    except OSError as error:
        raise CliError(
            f"{error.filename or directory} can't be written: {error.strerror}",
            next_step="name a directory of yours",
        ) from None
    if as_json:
        print_json(
            {
                "directory": str(directory),
                "authority": {
                    "made": authority.made_now,
                    "expires_at": authority.not_after.isoformat(),
                },
                "certificates": [
                    {
                        "role": role,
                        "directory": str(directory / role),
                        "expires_at": expires.isoformat(),
                    }
                    for role, expires in expiries.items()
                ],
            }
        )
        return
    made = "made" if authority.made_now else "kept"
    say(f"Authority in {directory}: {made}, good until {authority.not_after:%Y-%m-%d}.")
    for role, expires in expiries.items():
        say(f"{role}: {directory / role}, good until {expires:%Y-%m-%d}")
    if authority.made_now:
        say(f"Give each service its own directory, and keep {directory / 'ca-key.pem'} elsewhere.")
