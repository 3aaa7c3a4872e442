"""Two branches that wait for each other, and what listens to both."""

import asyncio
import os
import time
from importlib.metadata import version
from pathlib import Path

from crewai.flow import Flow, and_, listen, start
from pydantic import BaseModel


class BranchesState(BaseModel):
    directory: str = ""


class BranchesFlow(Flow[BranchesState]):
    @start()
    def left(self) -> str:
        self._note("left")
        while not self._file("right").exists():
            time.sleep(0.01)
        return "left"

    @start()
    async def right(self) -> str:
        self._note("right")
        while not self._file("left").exists():  # noqa: ASYNC110 - another branch makes it
            await asyncio.sleep(0.01)
        return "right"

    @listen(and_(left, right))
    def join(self) -> str:
        self._note("join", str(os.getpid()))
        while not self._file("go").exists():
            time.sleep(0.01)
        results = sorted(map(str, self.method_outputs))
        return f"{' and '.join(results)}; iniconfig {version('iniconfig')}"

    def _file(self, name: str) -> Path:
        return Path(self.state.directory) / name

    def _note(self, what: str, line: str = "begun") -> None:
        with self._file(what).open("a") as notes:
            notes.write(line + "\n")


def kickoff() -> None:
    BranchesFlow().kickoff()
