"""What every command has: its options, and a client for the mesh that they name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from crewmesh.cli.console import say

if TYPE_CHECKING:
    from crewmesh.cli.client import MeshClient

T = TypeVar("T")

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
DataDirOption = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        help="Talk to the local mesh of this data directory.",
        show_default=False,
    ),
]
LimitOption = Annotated[int, typer.Option("--limit", min=1, max=200, help="Rows at most.")]
CursorOption = Annotated[
    str | None,
    typer.Option(
        "--cursor", metavar="CURSOR", help="Go on after an earlier page.", show_default=False
    ),
]


def call(data_dir: Path | None, act: Callable[[MeshClient], Awaitable[T]]) -> T:
    """Run `act` with a client for the mesh that the environment or the option names."""
    import asyncio

    from crewmesh.cli.client import MeshClient
    from crewmesh.cli.connection import resolve_connection

    async def act_with_client() -> T:
        async with MeshClient(resolve_connection(data_dir)) as client:
            return await act(client)

    return asyncio.run(act_with_client())


def fetch(data_dir: Path | None, path: str, **query: Any) -> dict[str, Any]:
    """Return the mesh's answer to a GET; parameters that are None are left out."""

    async def act(client: MeshClient) -> dict[str, Any]:
        answer: dict[str, Any] = await client.get(path, **query)
        return answer

    return call(data_dir, act)


def remove(data_dir: Path | None, collection: str, thing: str) -> None:
    """Have the mesh delete a thing of a collection, such as /v1/datasets."""
    from urllib.parse import quote

    async def act(client: MeshClient) -> None:
        await client.delete(f"{collection}/{quote(thing, safe='')}")

    call(data_dir, act)


def tell_next_page(page: dict[str, Any], command: str) -> None:
    """Say how to see more, where there is more."""
    if cursor := page.get("next_cursor"):
        say(f"\nThere are more: {command} --cursor {cursor}")
