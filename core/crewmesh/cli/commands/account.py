"""`crewmesh whoami` and `crewmesh password`: what concerns who asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crewmesh.cli.commands.common import DataDirOption, JsonOption, call
from crewmesh.cli.commands.users import read_password
from crewmesh.cli.console import print_json, say

if TYPE_CHECKING:
    from crewmesh.client import AsyncClient


def whoami(as_json: JsonOption = False, data_dir: DataDirOption = None) -> None:
    """Show whom the mesh takes you for, by which key, and what you may do."""

    async def act(client: AsyncClient) -> dict[str, Any]:
        return {"url": client.url, **(await client.account.me()).raw}

    me = call(data_dir, act)
    if as_json:
        print_json(me)
        return
    facts = {
        "user": f"{me['user']['email']} ({me['user']['id']})",
        "role": f"{me['role']} of {me['org']['name']}",
        "mesh": me["url"],
        "key": me["key"] and me["key"]["id"],
        "may": " ".join(me["permissions"]),
    }
    for name, value in facts.items():
        if value:
            say(f"{name:<5} {value}")


def password(as_json: JsonOption = False, data_dir: DataDirOption = None) -> None:
    """Change your password; your sign-ins end, your API keys stay.

    The current and the new one are asked for, or are two lines of stdin.
    """
    from crewmesh.cli.errors import UsageError

    current = read_password("Current password")
    new = read_password("New password", confirm=True)
    if not current or not new:
        raise UsageError(
            "no password given",
            next_step="run this at a terminal, or give the current and the new one on two lines",
        )
    call(data_dir, lambda client: client.account.change_password(current, new))
    if as_json:
        print_json({"changed": True})
        return
    say("Your password is changed.")
