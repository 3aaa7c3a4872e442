"""One session of a mesh, message by message."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from crewmesh.cli.chat.answer import Answer
from crewmesh.cli.chat.question import Question
from crewmesh.cli.client import watch
from crewmesh.cli.errors import CliError
from crewmesh.cli.live.outcome import exit_status
from crewmesh.cli.live.state import RunState, apply, from_run
from crewmesh.client import AsyncClient

Json = dict[str, Any]
Print = Callable[[str], None]


@dataclass
class _Turn:
    """A message that is being answered: `seen` is the last event's number."""

    posted: Json
    state: RunState
    answer: Answer = field(default_factory=Answer)
    seen: int = 0


class Conversation:
    """A session: `say` posts a message and prints its answer as it is written.

    What the crew asks a person meanwhile is returned instead, and `reply` goes on from there.
    """

    def __init__(
        self,
        client: AsyncClient,
        session: Json,
        write: Print,
        *,
        live: bool,
        timeout_seconds: int | None = None,
    ) -> None:
        self.session = session
        self._client = client
        self._write = write
        self._live = live
        self._timeout_seconds = timeout_seconds
        self._turn: _Turn | None = None

    async def say(self, text: str) -> Json | Question:
        """Post a message, print what answers it, and return both as the mesh has them.

        When cancelled, so is the run. Raises CliError when there is no answer.
        """
        message = await self._client.sessions.post(
            self.session["id"], text, timeout_seconds=self._timeout_seconds
        )
        posted = message.raw
        self._turn = _Turn(posted, from_run(posted["run"], []))
        return await self._follow(self._turn)

    async def find_question(self) -> Question | None:
        """Return what a message of this session waits for, asked before this conversation."""
        session = self.session["id"]
        runs = await self._client.runs.list(session_id=session, status="waiting", limit=1)
        for run in runs.raw["items"]:
            message = await self._message(2 * run["turn"] - 1)
            turn = self._turn = _Turn({"message": message, "run": run}, from_run(run, []))
            async for event in watch(self._client, run["id"]):
                turn.state, turn.seen = apply(turn.state, event), event["seq"]
                if turn.seen == run["last_seq"] and event["type"] == "input.requested":
                    return Question.of(event)
        return None

    async def reply(self, question: Question, line: str) -> Json | Question:
        """Answer what was asked, and go on as `say` does."""
        assert self._turn is not None
        await self._client.runs.answer(question.run_id, **question.answered_by(line))
        return await self._follow(self._turn)

    async def cancel(self) -> None:
        """End the run that waits for an answer."""
        if self._turn is not None:
            run_id = self._turn.state.run_id
            await self._client.runs.cancel(run_id, reason="Ctrl-C at the command line")

    def has_shown(self, text: str) -> bool:
        """Return whether the text is what was just printed."""
        return self._turn is not None and self._turn.answer.has_shown(text)

    async def _follow(self, turn: _Turn) -> Json | Question:
        try:
            async for event in watch(self._client, turn.state.run_id, after=turn.seen):
                turn.state, turn.seen = apply(turn.state, event), event["seq"]
                if self._live and (text := turn.answer.take(event)):
                    self._write(text)
                if event["type"] == "input.requested":
                    return Question.of(event)
        except asyncio.CancelledError:
            await self.cancel()
            raise
        if turn.state.status != "succeeded":
            raise _unanswered(turn.state)
        run = (await self._client.runs.get(turn.state.run_id)).raw
        self._write(turn.answer.finish(str(run["output"] or "")))
        return {**turn.posted, "run": run, "answer": await self._message(2 * run["turn"])}

    async def _message(self, number: int) -> Json | None:
        page = await self._client.sessions.messages(
            self.session["id"], cursor=str(number - 1), limit=1
        )
        return next((message.raw for message in page.items), None)


def waiting(session: Json, question: Question) -> CliError:
    """Return what tells that nobody has answered the crew's question."""
    return CliError(
        "the crew waits for a person before it answers",
        why=str(question.payload.get("prompt", "")),
        next_step=f"answer it with: crewmesh chat --session {session['id']}",
    )


def _unanswered(state: RunState) -> CliError:
    return CliError(
        f"no answer: the run {state.status.replace('_', ' ')}",
        why=": ".join(part for part in (state.error_code, state.error) if part),
        next_step=f"`crewmesh runs show {state.run_id}` has what it did",
    ).exiting(exit_status(state))
