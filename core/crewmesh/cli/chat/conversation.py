"""One session of a mesh, message by message."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from crewmesh.cli.chat.answer import Answer
from crewmesh.cli.client import MeshClient
from crewmesh.cli.errors import CliError, ExitStatus
from crewmesh.cli.live.outcome import exit_status
from crewmesh.cli.live.state import RunState, apply, from_run

Json = dict[str, Any]
Print = Callable[[str], None]


class Conversation:
    """A session: `say` posts a message and prints its answer as it is written."""

    def __init__(self, client: MeshClient, session: Json, write: Print, *, live: bool) -> None:
        self.session = session
        self._client = client
        self._write = write
        self._live = live

    async def say(self, text: str) -> tuple[Json, RunState]:
        """Post a message, print what answers it, and return both as the mesh has them.

        When cancelled, so is the run. Raises CliError when there is no answer.
        """
        posted = await self._client.post_message(self.session["id"], text)
        try:
            state = await self._follow(posted["run"])
        except asyncio.CancelledError:
            await self._client.cancel_run(posted["run"]["id"], "Ctrl-C at the command line")
            raise
        run = await self._client.get(f"/v1/runs/{state.run_id}")
        return {**posted, "run": run, "answer": await self._answer_of(run)}, state

    async def _follow(self, run: Json) -> RunState:
        state, answer = from_run(run, []), Answer()
        async for event in self._client.watch(run["id"]):
            state = apply(state, event)
            if self._live and (text := answer.take(event)):
                self._write(text)
            if event["type"] == "input.requested":
                raise _waiting(state, event["payload"])
        if state.status != "succeeded":
            raise _unanswered(state)
        full = await self._client.get(f"/v1/runs/{state.run_id}")
        self._write(answer.finish(str(full["output"] or "")))
        return state

    async def _answer_of(self, run: Json) -> Json | None:
        page = await self._client.get(
            f"/v1/sessions/{self.session['id']}/messages", cursor=2 * run["turn"] - 1, limit=1
        )
        answer: Json | None = next(iter(page["items"]), None)
        return answer


def _unanswered(state: RunState) -> CliError:
    return CliError(
        f"no answer: the run {state.status.replace('_', ' ')}",
        why=": ".join(part for part in (state.error_code, state.error) if part),
        next_step=f"`crewmesh runs show {state.run_id}` has what it did",
        exit_status=exit_status(state),
    )


def _waiting(state: RunState, asked: Json) -> CliError:
    return CliError(
        "the crew waits for a person before it answers",
        why=str(asked.get("prompt", "")),
        next_step=f"answer with POST /v1/runs/{state.run_id}/input; this session goes on then",
        exit_status=ExitStatus.FAILED,
    )
