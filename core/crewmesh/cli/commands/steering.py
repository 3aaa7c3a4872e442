"""`crewmesh runs retry|answer`: what a person does about a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from crewmesh.cli.commands.common import DataDirOption, JsonOption, call, fetch
from crewmesh.cli.commands.ids import RunArgument, run_id
from crewmesh.cli.console import print_json, say, tell
from crewmesh.cli.errors import CliError, UsageError

if TYPE_CHECKING:
    from crewmesh.client import AsyncClient

_ASKED = "input.requested"


def retry(run: RunArgument, as_json: JsonOption = False, data_dir: DataDirOption = None) -> None:
    """Start another run of what a run that has ended was asked."""
    known = run_id(run)
    again = fetch(data_dir, lambda client: client.runs.retry(known))
    if as_json:
        print_json(again)
        return
    say(again["id"])
    tell(f"Started. Watch it with: crewmesh runs watch {again['id']}")


def answer(
    run: RunArgument,
    text: Annotated[str, typer.Argument(help="The answer, or what to change.")] = "",
    approve: Annotated[
        bool | None,
        typer.Option("--approve/--reject", help="Whether what it asks about may be done."),
    ] = None,
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Answer a run that waits for a person; it reaches the question that is open now."""
    known = run_id(run)
    if not text and approve is None:
        raise UsageError("no answer", next_step="give a text, --approve or --reject")

    async def act(client: AsyncClient) -> dict[str, Any]:
        asked = await _open_question(client, known)
        return (await client.runs.answer(known, text, approve=approve, question=asked)).raw

    answered = call(data_dir, act)
    if as_json:
        print_json(answered)
        return
    say(f"Answered. Watch how it goes on with: crewmesh runs watch {known}")


async def _open_question(client: AsyncClient, run: str) -> int:
    """Return the number of the event by which the run asked last."""
    last = (await client.runs.get(run)).last_seq
    # A run that waits has said so in its last few events.
    page = await client.runs.list_events(run, after=max(0, last - 50))
    asked = [event.seq for event in page.items if event.type == _ASKED]
    if not asked:
        raise CliError(
            f"run {run} waits for no answer",
            next_step=f"see how it stands: crewmesh runs show {run}",
        )
    return asked[-1]
