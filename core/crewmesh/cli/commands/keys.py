"""`crewmesh keys`: API keys."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crewmesh.cli import completion
from crewmesh.cli.commands.common import DataDirOption, JsonOption, call, fetch
from crewmesh.cli.commands.users import user_id
from crewmesh.cli.console import print_json, print_table, say, tell
from crewmesh.cli.text import ago, parse_time

if TYPE_CHECKING:
    from crewmesh.client import AsyncClient

app = typer.Typer(no_args_is_help=True, help="Create, list and revoke API keys.")


@app.command("ls")
def list_keys(as_json: JsonOption = False, data_dir: DataDirOption = None) -> None:
    """List your organisation's keys."""
    page = fetch(data_dir, lambda client: client.api_keys.list())
    if as_json:
        print_json(page)
        return
    rows = [
        [
            key["id"], key["name"], key["prefix"] + "…", " ".join(key["scopes"]),
            ago(key["created_at"]), _state(key),
        ]
        for key in page["items"]
    ]  # fmt: skip
    print_table(["KEY", "NAME", "BEGINS", "MAY", "CREATED", "STATE"], rows)


@app.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    scopes: Annotated[
        list[str] | None,
        typer.Option("--scope", help="What it may do, as runs.read or runs.*; again for more."),
    ] = None,
    days: Annotated[
        int | None,
        typer.Option("--days", min=1, help="How long it is valid; for ever if not said."),
    ] = None,
    user: Annotated[
        str | None,
        typer.Option(
            "--for",
            metavar="USER",
            help="A service account, by its id or its e-mail address.",
            show_default=False,
            autocompletion=completion.users,
        ),
    ] = None,
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Create a key; its secret is shown this once."""
    expires_at = None if days is None else datetime.now(UTC) + timedelta(days=days)

    async def act(client: AsyncClient) -> dict[str, Any]:
        owner = None if user is None else await user_id(client, user)
        created = await client.api_keys.create(
            name, scopes=scopes or (), expires_at=expires_at, user_id=owner
        )
        return created.raw

    key = call(data_dir, act)
    if as_json:
        print_json(key)
        return
    say(key["secret"])
    tell("Keep it now: it is never shown again.")


@app.command("revoke")
def revoke_key(
    key_id: Annotated[
        str,
        typer.Argument(
            metavar="KEY", help="The key's id, not its secret.", autocompletion=completion.keys
        ),
    ],
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Revoke a key, at once and for good."""
    call(data_dir, lambda client: client.api_keys.revoke(key_id))
    if as_json:
        print_json({"revoked": key_id})
        return
    say(f"Revoked {key_id}.")


def _state(key: dict[str, Any]) -> str:
    if key.get("revoked_at"):
        return f"revoked {ago(key['revoked_at'])}"
    if (expires := key.get("expires_at")) and parse_time(expires) <= datetime.now(UTC):
        return "expired"
    used = key.get("last_used_at")
    return f"used {ago(used)}" if used else "never used"
