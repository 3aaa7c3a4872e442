"""Three steps and a router; the second has a crew and waits for a file."""

import os
import time
from pathlib import Path

from crewai import Agent, Crew, Task
from crewai.flow import Flow, listen, router, start
from pydantic import BaseModel


class Finding(BaseModel):
    text: str


class StepsState(BaseModel):
    directory: str = ""
    findings: list[Finding] = []


class StepsFlow(Flow[StepsState]):
    @start()
    def first(self) -> Finding:
        self._note("first")
        Path("first.txt").write_text("made by first")
        self.state.findings.append(Finding(text="one"))
        return Finding(text="found")

    @router(first)
    def decide(self, finding: Finding) -> str:
        self._note("decide")
        return "go" if finding.text == "found" else "stop"

    @listen("go")
    def second(self) -> str:
        self._note("second")
        output = _crew().kickoff(inputs={"topic": "steps"})
        directory = Path(self.state.directory)
        # Whoever sees the file reads it at once, so it appears with what it says.
        (directory / "pid.new").write_text(str(os.getpid()))
        (directory / "pid.new").replace(directory / "pid")
        while not (directory / "go").exists():
            time.sleep(0.01)
        return output.raw

    @listen(second)
    def third(self, text: str) -> str:
        self._note("third")
        found = ", ".join(finding.text for finding in self.state.findings)
        secret = os.environ.get("PINNED_SECRET", "no secret")
        return f"{Path('first.txt').read_text()}; {found}; {secret}; {len(text) > 0}"

    def _note(self, what: str) -> None:
        with (Path(self.state.directory) / "ledger").open("a") as ledger:
            ledger.write(what + "\n")


def _crew() -> Crew:
    agent = Agent(role="Noter", goal="Note {topic}", backstory="Notes.")
    tasks = [
        Task(name=name, description=f"{name} {{topic}}", expected_output="notes", agent=agent)
        for name in ("collect", "sort")
    ]
    return Crew(agents=[agent], tasks=tasks)


def kickoff():
    StepsFlow().kickoff(inputs={"directory": "."})
