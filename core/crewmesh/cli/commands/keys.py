"""`crewmesh keys`: API keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from crewmesh.cli.commands.common import DataDirOption, JsonOption, call, fetch, remove
from crewmesh.cli.console import print_json, print_table, say, tell
from crewmesh.cli.text import ago

if TYPE_CHECKING:
    from crewmesh.cli.client import MeshClient

app = typer.Typer(no_args_is_help=True, help="Create, list and revoke API keys.")


@app.command("ls")
def list_keys(as_json: JsonOption = False, data_dir: DataDirOption = None) -> None:
    """List your organisation's keys."""
    page = fetch(data_dir, "/v1/api-keys")
    if as_json:
        print_json(page)
        return
    rows = [
        [key["id"], key["name"], key["prefix"] + "…", ago(key["created_at"]), _state(key)]
        for key in page["items"]
    ]
    print_table(["KEY", "NAME", "BEGINS", "CREATED", "STATE"], rows)


@app.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Create a key; its secret is shown this once."""

    async def act(client: MeshClient) -> dict[str, Any]:
        key: dict[str, Any] = await client.post("/v1/api-keys", {"name": name})
        return key

    key = call(data_dir, act)
    if as_json:
        print_json(key)
        return
    say(key["secret"])
    tell("Keep it now: it is never shown again.")


@app.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(metavar="KEY", help="The key's id, not its secret.")],
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Revoke a key, at once and for good."""
    remove(data_dir, "/v1/api-keys", key_id)
    if as_json:
        print_json({"revoked": key_id})
        return
    say(f"Revoked {key_id}.")


def _state(key: dict[str, Any]) -> str:
    if key.get("revoked_at"):
        return f"revoked {ago(key['revoked_at'])}"
    used = key.get("last_used_at")
    return f"used {ago(used)}" if used else "never used"
