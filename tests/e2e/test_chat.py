"""`crewmesh chat` with a crew that asks a person before it answers."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import pty
import re
import select
import sys
import termios
from collections.abc import AsyncIterator

from crewmesh.cli.text import clean
from tests.e2e.conftest import ROOT, Mesh
from tests.e2e.test_sessions import crewmesh
from tests.measuring import MEASURED


class Terminal:
    """A command at a terminal of its own."""

    def __init__(self, process: asyncio.subprocess.Process, descriptor: int) -> None:
        self._process = process
        self._descriptor = descriptor

    @classmethod
    @contextlib.asynccontextmanager
    async def running(cls, mesh: Mesh, *arguments: str) -> AsyncIterator[Terminal]:
        """Start a command, and kill it if it hasn't ended when the `async with` block does."""
        ours, its = pty.openpty()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "crewmesh.cli", *arguments),
            stdin=its, stdout=its, stderr=its, cwd=ROOT, start_new_session=True,
            # Ctrl-C is a signal only at a terminal that is the process's own.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            env={
                **MEASURED,
                "CREWMESH_URL": mesh.url, "CREWMESH_API_KEY": mesh.api_key,
                "PATH": "/usr/bin:/bin", "TERM": "dumb", "COLUMNS": "200",
            },
        )  # fmt: skip
        os.close(its)
        try:
            yield cls(process, ours)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            os.close(ours)

    def type(self, text: str) -> None:
        os.write(self._descriptor, text.encode())

    async def read(self, until: str, again: str = "") -> str:
        """Return what is shown up to and with a prompt; type `again` while nothing is shown."""
        shown, silent = "", 0
        async with asyncio.timeout(60):
            while not shown.endswith(until):
                while not await asyncio.to_thread(self._readable):
                    silent += 1
                    if again and silent % 50 == 0:
                        self.type(again)
                shown = clean(shown + await asyncio.to_thread(self._read))
        return shown

    async def rest(self) -> str:
        """Return what is shown until the command has ended."""
        shown = ""
        while piece := await asyncio.to_thread(self._read):
            shown += piece
        await self._process.wait()
        return clean(shown)

    def _readable(self) -> bool:
        return bool(select.select([self._descriptor], [], [], 0.1)[0])

    def _read(self) -> str:
        try:
            return os.read(self._descriptor, 65_536).decode()
        except OSError:  # nobody has the other end any more
            return ""


async def test_what_a_crew_asks_a_person_is_answered_by_the_next_line(mesh: Mesh) -> None:
    lines = "gRPC\nmake it short\ny\nsomething else\nyes\n"
    status, out, err = await crewmesh(mesh, "chat", "careful", lines=lines)
    assert status == 0, err
    assert out.startswith("draft 1:")
    assert "make it short" in out
    assert out.endswith("\ndraft 0: plain\n")
    assert err.count("Approve the result of the task 'draft'") == 3
    assert "draft 0: plain" in err


async def test_a_question_that_nobody_answered_is_asked_again_when_the_session_goes_on(
    mesh: Mesh,
) -> None:
    status, out, err = await crewmesh(mesh, "chat", "careful", lines="gRPC\n")
    assert (status, out) == (1, "")
    (session,) = re.findall(r"crewmesh chat --session (\S+)", err)
    status, out, err = await crewmesh(mesh, "chat", "--session", session, "--json", lines="y\n")
    assert status == 0, err
    asked, said = map(json.loads, out.splitlines())
    assert asked["asked"]["draft"] == "draft 0: plain"
    assert said["message"]["content"] == "gRPC"
    assert said["answer"]["content"] == "draft 0: plain"
    assert said["run"]["status"] == "succeeded"


async def test_at_a_terminal_a_question_has_a_prompt_and_ctrl_c_cancels_it(mesh: Mesh) -> None:
    async with Terminal.running(mesh, "chat", "careful") as terminal:
        await terminal.read("> ")
        terminal.type("gRPC\n")
        assert "draft 0: plain" in await terminal.read("what to change> ")
        terminal.type("make it long\n")
        assert "draft 1" in await terminal.read("what to change> ")
        terminal.type("\x03")
        # A signal that comes just as readline begins to wait is noticed with the next one only.
        assert "Cancelled." in await terminal.read("\n> ", again="\x03")
        terminal.type("again\n")
        await terminal.read("what to change> ")
        terminal.type("y\n")
        await terminal.read("\n> ")
        terminal.type("\x04")
        (session,) = re.findall(r"--session (\S+)", await terminal.rest())
    runs = (await mesh.get(f"/v1/runs?session_id={session}"))["items"]
    assert [run["status"] for run in runs] == ["succeeded", "cancelled"]
