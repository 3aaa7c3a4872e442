"""What every command has: its options, and a client for the mesh that they name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from crewmesh.cli.console import say

if TYPE_CHECKING:
    from crewmesh.client import AsyncClient
    from crewmesh.client.models import Model

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
TimeoutOption = Annotated[
    int | None,
    typer.Option(
        "--timeout",
        metavar="SECONDS",
        min=1,
        max=86_400,
        help="Time limit of one attempt.",
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


def call(data_dir: Path | None, act: Callable[[AsyncClient], Awaitable[T]]) -> T:
    """Run `act` with a client for the mesh that the environment or the option names."""
    import asyncio

    from crewmesh.cli.client import open_client
    from crewmesh.cli.connection import resolve_connection

    async def act_with_client() -> T:
        async with open_client(resolve_connection(data_dir)) as client:
            return await act(client)

    return asyncio.run(act_with_client())


def fetch(data_dir: Path | None, ask: Callable[[AsyncClient], Awaitable[Model]]) -> dict[str, Any]:
    """Return the mesh's answer to one call as JSON, as it came."""

    async def act(client: AsyncClient) -> dict[str, Any]:
        return (await ask(client)).raw

    return call(data_dir, act)


def tell_next_page(page: dict[str, Any], command: str) -> None:
    """Say how to see more, where there is more."""
    if cursor := page.get("next_cursor"):
        say(f"\nThere are more: {command} --cursor {cursor}")
