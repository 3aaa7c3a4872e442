"""`crewmesh limits`: how much an organisation may use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from crewmesh.cli.commands.common import DataDirOption, JsonOption, call, fetch
from crewmesh.cli.console import print_json, print_table
from crewmesh.cli.errors import UsageError

if TYPE_CHECKING:
    from crewmesh.client import AsyncClient

app = typer.Typer(no_args_is_help=True, help="See and set how much may run at once, and be asked.")

_NONE = "none"


@app.command("show")
def show_limits(as_json: JsonOption = False, data_dir: DataDirOption = None) -> None:
    """Show your organisation's limits."""
    _print(fetch(data_dir, lambda client: client.limits.get()), as_json)


@app.command("set")
def set_limits(
    max_running: Annotated[
        str | None,
        typer.Option(
            metavar="N|none", help="Runs that may be running at once.", show_default=False
        ),
    ] = None,
    max_queued: Annotated[
        int | None,
        typer.Option(min=1, help="Runs that may wait in the queue.", show_default=False),
    ] = None,
    crews: Annotated[
        list[str] | None,
        typer.Option(
            "--crew",
            metavar="CREW=N|none",
            help="Runs of one crew that may be running at once; repeat it for others.",
            show_default=False,
        ),
    ] = None,
    max_requests: Annotated[
        str | None,
        typer.Option(
            "--max-requests-per-minute",
            metavar="N|none",
            help="Requests of each API key and each person.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Change limits; those that aren't named stay as they are."""
    changes: dict[str, Any] = {}
    if max_running is not None:
        changes["max_running"] = _limit(max_running, "--max-running")
    if max_queued is not None:
        changes["max_queued"] = max_queued
    if max_requests is not None:
        changes["max_requests_per_minute"] = _limit(max_requests, "--max-requests-per-minute")
    changes_of_crews = dict(_crew_limit(text) for text in crews or ())
    if not changes and not changes_of_crews:
        raise UsageError(
            "nothing to set",
            next_step="name a limit: --max-running, --max-queued, --crew or "
            "--max-requests-per-minute",
        )

    async def act(client: AsyncClient) -> dict[str, Any]:
        limits = (await client.limits.get()).raw
        of_crews = {**limits["crews"], **changes_of_crews}
        kept = {crew: limit for crew, limit in of_crews.items() if limit is not None}
        return (await client.limits.set({**limits, **changes, "crews": kept})).raw

    _print(call(data_dir, act), as_json)


def _limit(text: str, option: str) -> int | None:
    """Return the limit that a text names; None for no limit."""
    if text == _NONE:
        return None
    if not text.isdecimal() or int(text) == 0:
        raise UsageError(
            f"{option} {text} is no limit", next_step=f"give a number from 1 on, or {_NONE}"
        )
    return int(text)


def _crew_limit(text: str) -> tuple[str, int | None]:
    crew, separator, limit = text.rpartition("=")
    if not crew or not separator:
        raise UsageError(
            f"--crew {text}: say which crew and how many", next_step="such as --crew hello=2"
        )
    return crew, _limit(limit, f"--crew {crew}")


def _print(limits: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(limits)
        return
    rows = [
        ["runs running", "in all", _number(limits["max_running"])],
        *(["runs running", crew, _number(limit)] for crew, limit in limits["crews"].items()),
        ["runs queued", "in all", _number(limits["max_queued"])],
        ["requests a minute", "each key or person", _number(limits["max_requests_per_minute"])],
    ]
    print_table(["WHAT", "OF", "AT MOST"], rows)


def _number(limit: int | None) -> str:
    return _NONE if limit is None else f"{limit:,}"
